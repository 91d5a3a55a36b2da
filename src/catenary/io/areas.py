"""Polygons as areas on pixels: repaired, without lines and points, and filled by the centres of the pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

__all__ = ["fill", "only_areas", "repair"]

_POLYGON, _MULTIPOLYGON, _MISSING = 3, 6, -1
#: Pixels filled at a time.
_BAND = 1 << 22


def only_areas(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """The same shapely geometries without their lines and points; those that were nothing else are empty.

    >>> import shapely
    >>> mixed = shapely.GeometryCollection([shapely.box(0, 0, 1, 1), shapely.Point(5, 5)])
    >>> shapely.bounds(only_areas(np.array([mixed]))).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    import shapely

    found = geometries.copy()
    for index in np.flatnonzero(~np.isin(shapely.get_type_id(found), (_POLYGON, _MULTIPOLYGON, _MISSING))):
        parts = shapely.get_parts(shapely.get_parts(found[index]))  # a collection may hold multipolygons
        found[index] = shapely.multipolygons(parts[shapely.get_type_id(parts) == _POLYGON])
    return found


def repair(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Valid areas: of an outline that crosses itself every lobe counts, and of parts that overlap both."""
    import shapely

    return only_areas(shapely.make_valid(geometries))


def fill(polygons: NDArray[np.object_], row: int, column: int, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The pixels of a window whose centre lies in one of some valid polygons, or on the left or upper edge of one.

    On its way from the left to a centre, a line crosses edges that lead up and edges that lead down; it is in as many
    polygons as it crossed more of the one than of the other, when all outlines turn the same way. The crossings are
    found in pixels of the whole grid, so that every window agrees with the whole.

    Args:
        polygons: shapely polygons in pixels, x the column and y the row; pixel ``(r, c)`` has its centre at
            ``(c + 0.5, r + 0.5)``.
        row, column, height, width: The window.

    >>> import shapely
    >>> fill(np.array([shapely.box(1.5, 0, 3.5, 2)]), 1, 1, 2, 4).astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 0, 0]])
    """
    filled = np.zeros((height, width), bool)
    upper, lower, sense = _edges(polygons)
    band = max(1, _BAND // width)
    for first in range(row, row + height, band):
        last = min(first + band, row + height)
        top, bottom = (np.clip(np.ceil(ends[:, 1] - 0.5), first, last).astype(np.int64) for ends in (upper, lower))
        count = bottom - top  # rows whose centres an edge passes
        which = np.repeat(np.arange(len(count)), count)
        rows = np.arange(len(which)) - np.repeat(np.cumsum(count) - count - top, count)
        (x0, y0), (x1, y1) = upper[which].T, lower[which].T
        crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(crossings - 0.5), column, column + width).astype(np.int64)
        turns = np.zeros((last - first, width + 1), np.int32)
        np.add.at(turns, (rows - first, columns - column), sense[which])
        np.not_equal(np.cumsum(turns[:, :width], axis=1, dtype=np.int32), 0, out=filled[first - row : last - row])
    return filled


def _edges(polygons: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Upper and lower end of each edge ``(n, 2)``, and 1 where it leads down, -1 where up."""
    import shapely

    rings = shapely.get_rings(shapely.get_parts(shapely.normalize(polygons)))  # outlines turn one way, holes the other
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    first = np.flatnonzero(ring[1:] == ring[:-1])
    start, end = xy[first], xy[first + 1]
    down = end[:, 1] > start[:, 1]
    return (
        np.where(down[:, None], start, end),
        np.where(down[:, None], end, start),
        np.where(down, 1, -1).astype(np.int32),
    )
