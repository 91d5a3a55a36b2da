"""Quantities of a mask: area, share, objects, in pixels and in physical units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from catenary.data.labels import LabelSet
from catenary.predict.prediction import as_regions
from catenary.types import IGNORE, Grid

__all__ = ["COLUMNS", "drop_small", "measure"]

COLUMNS = (
    "class", "area_px", "share", "share_error", "objects", "mean_diameter_px", "median_diameter_px", "area",
    "mean_diameter", "median_diameter", "unit",
)  # fmt: skip


def measure(
    mask: UInt8[np.ndarray, "h w"], labels: LabelSet, grid: Grid, share_errors: Mapping[str, float] | None = None
) -> tuple[dict[str, Any], ...]:
    """One row for each target.

    `share` is the part of the pixels that hold data, `share_error` the root mean square error that this share had on
    validation images. Objects are 8-connected components; the equivalent diameter of an area A is ``2 sqrt(A / pi)``.
    `area` is in ``unit^2``, the diameters in `unit`; None without spacing.

    >>> mask = np.zeros((10, 10), np.uint8)
    >>> mask[:2, :2], mask[5:7, 5:9] = 1, 1
    >>> row = measure(mask, LabelSet(names=("background", "cell")), Grid(spacing=(0.5, 0.5), unit="um"))[0]
    >>> row["objects"], row["area_px"], row["area"], row["unit"]
    (2, 12, 3.0, 'um')
    """
    import cv2

    rows = []
    pixels = max(1, int(np.count_nonzero(mask != IGNORE)))
    scale = None if grid.pixel_size is None else math.sqrt(grid.pixel_size)
    for name, plane in zip(labels.target_names, as_regions(mask, labels), strict=True):
        _, _, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
        diameters = 2 * np.sqrt(stats[1:, cv2.CC_STAT_AREA] / math.pi)
        area = int(plane.sum())
        mean, median = (float(f(diameters)) if len(diameters) else 0.0 for f in (np.mean, np.median))
        rows.append(
            {
                "class": name,
                "area_px": area,
                "share": area / pixels,
                "share_error": (share_errors or {}).get(name),
                "objects": len(diameters),
                "mean_diameter_px": mean,
                "median_diameter_px": median,
                "area": None if scale is None else area * scale * scale,
                "mean_diameter": None if scale is None else mean * scale,
                "median_diameter": None if scale is None else median * scale,
                "unit": grid.unit if scale is not None else None,
            }
        )
    return tuple(rows)


def drop_small(mask: UInt8[np.ndarray, "h w"], smallest: int) -> UInt8[np.ndarray, "h w"]:
    """Turn objects of fewer than `smallest` pixels into background, class by class.

    >>> drop_small(np.array([[1, 0, 2, 2]], np.uint8), 2)
    array([[0, 0, 2, 2]], dtype=uint8)
    """
    import cv2

    kept = mask.copy()
    for value in np.setdiff1d(mask, (0, IGNORE)):
        _, parts, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < smallest
        small[0] = False
        kept[small[parts]] = 0
    return kept
