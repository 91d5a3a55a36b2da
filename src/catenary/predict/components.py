"""Connected components of a class map that arrives in bands of rows, and their outlines.

Rows and columns are pixels; outlines in pixels have x the column and y the row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8
from numpy.typing import NDArray

from catenary.io.outlines import Outlines, ground_areas, polygonise, to_world
from catenary.types import Grid

__all__ = ["FIT", "JOG", "OUTLINES", "Components", "draw"]

#: How outlines are drawn.
OUTLINES = ("pixels", "simple", "regular")

#: Intersection over union with its pixels from which an outline with right angles stands for a building.
FIT = 0.8
#: Shortest side in pixels of an outline with right angles; what is shorter is a jog that pixels make.
JOG = 2.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Components:
    """The parts of a class map that are of any grade, joined over the bands of rows that they lie in.

    Pixels that touch at a corner are connected. A component is finished when it cannot grow; of those that may, sums
    and the outlines of their pieces in each band are kept, no pixels.

    Args:
        shape: Rows and columns of the map.
        grid: Where it lies.
        grades: Number of grades; they are the classes 1, 2, ... of the map.
        smallest: Area in m2 of the pixels of the smallest component that is kept.

    >>> grid = Grid(affine=(1.0, 0.0, 5e5, 0.0, -1.0, 4e6), crs="EPSG:32637")
    >>> components, sure = Components((2, 3), grid, grades=2, smallest=2.0), np.full((1, 3), 200, np.uint8)
    >>> len(components.add(0, np.array([[1, 0, 2]], np.uint8), sure)[0])
    0
    >>> sums, outlines = components.add(1, np.array([[2, 0, 0]], np.uint8), sure)
    >>> sums.tolist(), outlines[0].bounds
    ([[400, 1, 1]], (0.0, 0.0, 1.0, 2.0))
    """

    def __init__(self, shape: tuple[int, int], grid: Grid, *, grades: int, smallest: float) -> None:
        self._shape, self._grid, self._grades, self._smallest = shape, grid, grades, smallest
        # Of those that may grow: confidence and pixels of each grade; place of the last pixel, counted row by row.
        self._sums, self._last = np.zeros((0, grades + 1), np.int64), np.zeros(0, np.int64)
        self._pieces, self._owners = np.zeros(0, object), np.zeros(0, np.int64)
        self._bottom = np.zeros(shape[1], np.int64)  # which of them lies in the last row, from 1; 0 for none

    def add(self, row: int, label: UInt8[np.ndarray, "h w"], sure: UInt8[np.ndarray, "h w"]) -> tuple[Ints, Outlines]:
        """Take the next rows.

        Args:
            row: The first of them.
            label: Classes; what is beyond the grades is no building.
            sure: Confidence, 0 to 255.

        Returns:
            Of each component that is finished, in the order of their last pixels: sum of the confidence and pixels of
            each grade ``(n, 1 + grades)``, and outlines in pixels, multipolygons or polygons.
        """
        import cv2

        building = (label > 0) & (label <= self._grades)
        number, names = cv2.connectedComponents(building.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
        count, owner = self._joined(names[0], number - 1)
        sums, last = self._added(row, label, sure, np.flatnonzero(building), names, owner, count)
        before = len(self._last)
        growing = np.zeros(count, bool)
        if row + len(label) < self._shape[0]:
            growing[owner[before - 1 + names[-1][names[-1] > 0]]] = True
        kept = growing | self._is_large(sums, last)

        new = owner[before:]
        table = np.append(0, (new + 1) * kept[new]).astype(np.int32)
        values, traced = polygonise(table[names], row=row)
        owners, pieces = np.append(owner[self._owners], values - 1), np.append(self._pieces, traced)
        done = np.flatnonzero(kept & ~growing)
        done = done[np.argsort(last[done])]

        ranks = np.cumsum(growing) * growing  # from 1
        going = growing[owners]
        self._sums, self._last = sums[growing], last[growing]
        self._pieces, self._owners = pieces[going], ranks[owners[going]] - 1
        self._bottom = np.append(0, ranks)[table[names[-1]]]
        return sums[done], _united(owners, pieces, done, count)

    def _joined(self, top: Int32[np.ndarray, "w"], new: int) -> tuple[int, Ints]:
        """How many components there are, and to which each that could grow and each in the new rows belongs."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        size, above = len(self._last) + new, np.pad(self._bottom, 1)
        if not size:
            return 0, np.zeros(0, np.int64)
        pairs = np.concatenate([np.stack([above[at : at + len(top)], top]) for at in range(3)], 1)  # 8 neighbours
        upper, lower = pairs[:, (pairs > 0).all(0)] - 1
        links = coo_array((np.ones(len(upper)), (upper, lower + len(self._last))), shape=(size, size))
        count, owner = connected_components(links, directed=False)
        return int(count), owner.astype(np.int64)

    def _added(
        self,
        row: int,
        label: UInt8[np.ndarray, "h w"],
        sure: UInt8[np.ndarray, "h w"],
        places: Ints,
        names: Int32[np.ndarray, "h w"],
        owner: Ints,
        count: int,
    ) -> tuple[Ints, Ints]:
        """Sums and last pixels of all components; `places` are their pixels in the new rows."""
        sums, last = np.zeros((count, self._grades + 1), np.int64), np.zeros(count, np.int64)
        before = len(self._last)
        np.add.at(sums, owner[:before], self._sums)
        np.maximum.at(last, owner[:before], self._last)
        which = owner[before - 1 + names.ravel()[places]]
        pixels = np.bincount(which * self._grades + label.ravel()[places] - 1, minlength=count * self._grades)
        sums[:, 1:] += pixels.reshape(count, self._grades)
        sums[:, 0] += np.bincount(which, sure.ravel()[places], count).astype(np.int64)
        last[which] = places + row * self._shape[1]  # of equal indices the latter counts, and places ascend
        return sums, last

    def _is_large(self, sums: Ints, last: Ints) -> NDArray[np.bool_]:
        import shapely

        row, column = np.divmod(last, self._shape[1])
        pixels = to_world(shapely.box(column, row, column + 1, row + 1), self._grid)
        areas = sums[:, 1:].sum(1) * ground_areas(pixels, self._grid.crs or "")
        return np.asarray(areas >= self._smallest * (1 - 1e-9))


def _united(owners: Ints, parts: Outlines, wanted: Ints, count: int) -> Outlines:
    """One outline of the parts of each wanted owner, always with the same corners in the same order."""
    import shapely

    place = np.full(count, -1)
    place[wanted] = np.arange(len(wanted))
    order = np.argsort(place[owners], kind="stable")
    order = order[place[owners][order] >= 0]
    outlines: Outlines = shapely.multipolygons(parts[order], indices=place[owners][order])
    several = shapely.get_num_geometries(outlines) > 1
    # What the union leaves along the border of two bands are corners on a straight line; these go.
    outlines[several] = shapely.simplify(shapely.union_all(outlines[several, None], axis=1), 0)
    normal: Outlines = shapely.normalize(outlines)
    return normal


def draw(traced: Outlines, how: str, frame: Floats) -> Outlines:
    """Outlines along pixels' borders, drawn in another way.

    Args:
        traced: Outlines in pixels.
        how: One of `OUTLINES`. ``"simple"`` leaves out corners that lie within a pixel (Douglas and Peucker 1973).
            ``"regular"`` has right angles only, none of its sides shorter than `JOG`, where that fits by `FIT`; else it
            is simple.
        frame: See `catenary.io.outlines.ground_frame`.

    >>> import shapely
    >>> stairs = np.array([shapely.Polygon([(0, 0), (9, 0), (9, 5), (4, 5), (4, 6), (0, 6)])])
    >>> [shapely.get_num_coordinates(draw(stairs, how, np.eye(2)))[0].item() for how in OUTLINES]
    [7, 5, 5]
    """
    import shapely

    if how == "pixels":
        return traced
    simple: Outlines = shapely.simplify(traced, 1.0)
    if how == "simple":
        return simple
    regular = np.array([_regular(outline, frame) for outline in simple], object)
    regular[~shapely.is_valid(regular)] = None
    shared = shapely.area(shapely.intersection(traced, regular))
    fits = shared >= FIT * (shapely.area(traced) + shapely.area(regular) - shared)
    return np.where(fits, regular, simple)


def _regular(outline: Any, frame: Floats) -> Any:
    """The outline with right angles on the ground, along the direction of most of its length; None if it has no such.

    Args:
        outline: Polygons in pixels.
        frame: See `catenary.io.outlines.ground_frame`.
    """
    import shapely

    parts = shapely.get_parts(outline)
    rings = [[np.asarray(ring.coords) @ frame for ring in (part.exterior, *part.interiors)] for part in parts]
    sides = np.concatenate([np.diff(ring, axis=0) for part in rings for ring in part]) @ (1, 1j)
    turn = np.angle((sides**4 / np.abs(sides) ** 2).sum()) / 4  # the fourth power takes a right angle for none
    upright = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    jog, back = JOG * abs(np.linalg.det(frame)) ** 0.5, np.linalg.inv(frame @ upright)
    squared = [[_squared(ring[:-1] @ upright, jog) for ring in part] for part in rings]
    if any(part[0] is None for part in squared):
        return None
    return shapely.MultiPolygon([(part[0] @ back, [h @ back for h in part[1:] if h is not None]) for part in squared])


def _squared(ring: Floats, jog: float) -> Floats | None:
    """A ring ``(n, 2)`` of horizontal and vertical sides near another one, none shorter than `jog` if it can be."""
    following = _next(ring)
    length, middle = np.abs(following - ring), (ring + following) / 2
    flat = length[:, 0] >= length[:, 1]
    starts = np.flatnonzero(flat != np.append(flat[-1], flat[:-1]))
    if len(starts) < 4:
        return None
    side = (np.searchsorted(starts, np.arange(len(ring)), "right") - 1) % len(starts)
    weight = length.max(1)
    weights = np.bincount(side, weight)
    levels = np.bincount(side, weight * np.where(flat, middle[:, 1], middle[:, 0])) / weights  # a y where flat, else x
    flats = flat[starts]
    while len(levels) > 4:
        short = np.abs(_next(levels) - np.append(levels[-1], levels[:-1]))
        at = int(np.argmin(short))
        if short[at] >= jog:
            break
        ends = [at - 1, (at + 1) % len(levels)]  # the sides that it joins become one
        levels[ends[0]] = np.average(levels[ends], weights=weights[ends])
        weights[ends[0]] = weights[ends].sum()
        stay = np.delete(np.arange(len(levels)), [at, ends[1]])
        levels, weights, flats = levels[stay], weights[stay], flats[stay]
    following = _next(levels)
    return np.stack([np.where(flats, following, levels), np.where(flats, levels, following)], 1)


def _next(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values[1:], values[:1]])  # a fraction of the time of np.roll
