"""The objects of a mask as polygons in its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.io.files import write_json

__all__ = ["write_outlines"]


def write_outlines(mask: NDArray[np.uint8], labels: LabelSet, path: Path) -> int:
    """Write each object of each class as a polygon with its holes; returns how many.

    Coordinates are columns and rows of pixel centres from the upper left, no longitudes: the file says so.

    Args:
        mask: Class indices ``(h, w)``.
        labels: Their names.
        path: A ``.geojson``.

    Raises:
        OutputError: It cannot be written.
    """
    features: list[dict[str, Any]] = []
    for index in range(1, labels.count):
        plane = (mask == index).astype(np.uint8)
        if not plane.any():
            continue
        rings, tree = cv2.findContours(plane, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        for number, ring in enumerate(rings):
            _, _, child, parent = tree[0][number]
            if parent >= 0:
                continue
            holes = []
            while child >= 0:
                holes.append(_closed(rings[child]))
                child = tree[0][child][0]
            features.append(
                {
                    "type": "Feature",
                    "properties": {"class": labels.names[index], "value": index, "area_px": _area(ring)},
                    "geometry": {"type": "Polygon", "coordinates": [_closed(ring), *holes]},
                }
            )
    data = {"type": "FeatureCollection", "coordinates": "pixels: column, row", "features": features}
    write_json(path, data)
    return len(features)


def _closed(ring: NDArray[np.int32]) -> list[list[int]]:
    corners: list[list[int]] = ring.reshape(-1, 2).tolist()
    while len(corners) < 3:  # a single pixel or a line
        corners.append(corners[-1])
    return [*corners, corners[0]]


def _area(ring: NDArray[np.int32]) -> float:
    """Area within the outer ring of pixel centres."""
    return float(cv2.contourArea(ring))
