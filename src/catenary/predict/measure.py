"""Quantities of a mask: area, share, objects, in pixels and in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.data.extent import equivalent_diameter
from catenary.data.labels import LabelSet
from catenary.metrics.volumes import volume_of_pixel, volume_unit
from catenary.predict.prediction import as_regions
from catenary.types import IGNORE, Grid

__all__ = ["COLUMNS", "drop_small", "measure"]

COLUMNS = (
    "class", "area_px", "share", "share_error", "objects", "mean_diameter_px", "median_diameter_px", "area",
    "mean_diameter", "median_diameter", "unit", "volume_ml",
)  # fmt: skip


def measure(
    mask: UInt8[np.ndarray, "*s"], labels: LabelSet, grid: Grid, share_errors: Mapping[str, float] | None = None
) -> tuple[dict[str, Any], ...]:
    """One row for each target.

    `share` is the part of the pixels that hold data, `share_error` the root mean square error that this share had on
    validation images. Objects are 8-connected components; the equivalent diameter of an area A is ``2 sqrt(A / pi)``.
    `area` is in ``unit^2``, the diameters in `unit`; None without spacing. In a volume `area_px` counts voxels, objects
    are 26-connected, with the diameter of a ball, ``(6 V / pi) ** (1 / 3)``; `volume_ml` stands where the unit is mm.

    >>> mask = np.zeros((10, 10), np.uint8)
    >>> mask[:2, :2], mask[5:7, 5:9] = 1, 1
    >>> row = measure(mask, LabelSet(names=("background", "cell")), Grid(spacing=(0.5, 0.5), unit="um"))[0]
    >>> row["objects"], row["area_px"], row["area"], row["unit"]
    (2, 12, 3.0, 'um')
    """
    rows = []
    pixels, rank = max(1, int(np.count_nonzero(mask != IGNORE))), mask.ndim
    side = None if grid.pixel_size is None else grid.pixel_size ** (1 / rank)
    in_ml = side is not None and volume_unit(grid.unit, rank) == "ml"
    for name, plane in zip(labels.target_names, as_regions(mask, labels), strict=True):
        sizes = _objects(plane)[1]
        diameters = equivalent_diameter(sizes, rank)
        size = int(plane.sum())
        mean, median = (float(f(diameters)) if len(diameters) else 0.0 for f in (np.mean, np.median))
        rows.append(
            {
                "class": name,
                "area_px": size,
                "share": size / pixels,
                "share_error": (share_errors or {}).get(name),
                "objects": len(diameters),
                "mean_diameter_px": mean,
                "median_diameter_px": median,
                "area": None if side is None or rank == 3 else size * side * side,
                "mean_diameter": None if side is None else mean * side,
                "median_diameter": None if side is None else median * side,
                "unit": grid.unit if side is not None else None,
                "volume_ml": size * volume_of_pixel(grid.spacing, grid.unit) if in_ml else None,
            }
        )
    return tuple(rows)


def _objects(plane: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Connected objects (8 or 26 neighbours): their numbers from 1, and the size of each."""
    if plane.ndim == 2:
        import cv2

        _, parts, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
        return parts, stats[1:, cv2.CC_STAT_AREA]
    import cc3d

    found = cc3d.connected_components(plane, connectivity=26, binary_image=True)
    return found, np.bincount(found.ravel())[1:]


def drop_small(mask: UInt8[np.ndarray, "*s"], smallest: int) -> UInt8[np.ndarray, "*s"]:
    """Turn objects of fewer than `smallest` pixels into background, class by class.

    >>> drop_small(np.array([[1, 0, 2, 2]], np.uint8), 2)
    array([[0, 0, 2, 2]], dtype=uint8)
    """
    kept = mask.copy()
    for value in np.setdiff1d(mask, (0, IGNORE)):
        parts, sizes = _objects(mask == value)
        small = np.concatenate([[False], sizes < smallest])
        kept[small[parts]] = 0
    return kept
