"""Outlines of what a label map shows: polygons along pixels' borders, their place and their area on the ground.

Arrays of outlines are object arrays of shapely polygons and multipolygons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Int32
from numpy.typing import NDArray

from catenary.errors import MissingExtra
from catenary.types import Grid

__all__ = [
    "Outlines",
    "geo_extra",
    "ground_areas",
    "ground_frame",
    "polygonise",
    "reproject",
    "to_pixels",
    "to_world",
    "turned_to",
]

Outlines = NDArray[np.object_]
#: A projection that changes areas by no more than this share, as UTM does within a zone, is taken at its word.
TRUE_TO_AREA = 0.002


@contextmanager
def geo_extra() -> Iterator[None]:
    """Turn the failed import of a package of ``catenary[geo]`` into a `MissingExtra` that names it."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(str(error.name), "geo") from None


def polygonise(labels: Int32[np.ndarray, "h w"], *, row: int = 0) -> tuple[NDArray[np.int64], Outlines]:
    """Polygons along the borders of the pixels of each value but 0, holes kept; y is the row, x the column.

    Pixels that touch at a corner only become two polygons of one value, since one would not be valid.

    Args:
        labels: The values.
        row: Row of the first pixel.

    Returns:
        The value of each polygon, and the polygons.

    Raises:
        MissingExtra: rasterio or shapely is not installed.

    >>> values, outlines = polygonise(np.array([[7, 7], [0, 7]], np.int32), row=10)
    >>> values.tolist(), outlines[0].area, outlines[0].bounds
    ([7], 3.0, (0.0, 10.0, 2.0, 12.0))
    """
    with geo_extra():
        import shapely
        from rasterio.features import shapes
    found = [(value, shape["coordinates"]) for shape, value in shapes(labels, mask=labels != 0, connectivity=4)]
    rings = [np.asarray(ring) for _, part in found for ring in part]
    lines = shapely.linearrings(
        np.concatenate([np.empty((0, 2)), *rings]) + np.array([0, row]),
        indices=np.repeat(np.arange(len(rings)), [len(ring) for ring in rings]),
    )
    outlines = shapely.polygons(lines, indices=np.repeat(np.arange(len(found)), [len(part) for _, part in found]))
    return np.array([value for value, _ in found], np.int64), outlines


def to_world(outlines: Outlines, grid: Grid) -> Outlines:
    """Outlines in pixels (x the column, y the row, from the outer corner of the first pixel) in the CRS of the grid.

    >>> import shapely
    >>> grid = Grid(affine=(0.5, 0.0, 100.0, 0.0, -0.5, 50.0))
    >>> to_world(np.array([shapely.box(2, 0, 4, 6)]), grid)[0].bounds
    (101.0, 47.0, 102.0, 50.0)
    """
    a, b, c, d, e, f = grid.affine or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return _transformed(outlines, lambda xy: xy @ np.array([[a, d], [b, e]]) + (c, f))


def to_pixels(outlines: Outlines, grid: Grid) -> Outlines:
    """The inverse of `to_world`."""
    a, b, c, d, e, f = grid.affine or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    back = np.linalg.inv(np.array([[a, d], [b, e]]))
    return _transformed(outlines, lambda xy: (xy - (c, f)) @ back)


def reproject(outlines: Outlines, source: str, target: str) -> Outlines:
    """Outlines in another coordinate reference system, corner by corner; None for those that lie beyond its reach."""
    from pyproj import CRS, Transformer

    if CRS(source).equals(CRS(target), ignore_axis_order=True):
        return outlines
    change = Transformer.from_crs(source, target, always_xy=True).transform
    return _transformed(outlines, lambda xy: np.stack(change(*xy.T), 1))


def turned_to(outlines: Outlines, middle: float | None = None) -> Outlines:
    """Outlines in degrees, whole across the 180th meridian, and turned by 360 degrees to where they lie near `middle`.

    One that is wider than half the earth is taken for one that crosses the meridian, cut there or not.

    >>> import shapely
    >>> cut = np.array([shapely.union(shapely.box(179.9, 0, 180, 1), shapely.box(-180, 0, -179.9, 1))])
    >>> [shapely.bounds(turned_to(cut, middle))[0].round(1).tolist() for middle in (None, -180)]
    [[179.9, 0.0, 180.1, 1.0], [-180.1, 0.0, -179.9, 1.0]]
    """
    import shapely

    bounds = shapely.bounds(outlines)
    crossing = bounds[:, 2] - bounds[:, 0] > 180
    if crossing.any():
        outlines = outlines.copy()
        outlines[crossing] = shapely.transform(outlines[crossing], lambda xy: xy + np.where(xy < 0, (360, 0), 0))
        bounds = shapely.bounds(outlines)
    if middle is None:
        return outlines
    turns = np.nan_to_num(np.round((middle - (bounds[:, 0] + bounds[:, 2]) / 2) / 360))
    if turns.any():
        outlines = outlines.copy()
        for turn in np.unique(turns[turns != 0]):
            here = turns == turn
            outlines[here] = shapely.transform(outlines[here], lambda xy, turn=turn: xy + np.array([360 * turn, 0]))
    return outlines


def ground_areas(outlines: Outlines, crs: str) -> NDArray[np.float64]:
    """Area of each outline in m2; NaN for None.

    Where the projection keeps areas within `TRUE_TO_AREA`, it is the area in the plane; elsewhere, as in
    degrees or in Web Mercator, it is the area on the ellipsoid, by Lambert's cylindrical equal-area projection (Snyder
    1987, USGS Professional Paper 1395), which equals the geodesic one for outlines as small as buildings.

    Args:
        outlines: Polygons in `crs`.
        crs: Authority code or WKT.

    Raises:
        MissingExtra: pyproj or shapely is not installed.

    >>> import shapely
    >>> float(ground_areas(np.array([shapely.box(500000, 4000000, 500010, 4000010)]), "EPSG:32637")[0])
    100.0
    >>> float(ground_areas(np.array([shapely.box(36.0, 36.0, 36.0001, 36.0001)]), "EPSG:4326")[0].round(1))
    100.0
    """
    with geo_extra():
        import shapely
        from pyproj import CRS, Proj
    system = CRS(crs)
    flat: NDArray[np.float64] = shapely.area(outlines) * system.axis_info[0].unit_conversion_factor ** 2
    if system.geodetic_crs is None:  # a plane of its own
        return flat
    earth = system.get_geod()
    assert earth is not None
    equal = Proj(proj="cea", a=earth.a, b=earth.b, over=True)
    degrees = turned_to(reproject(outlines, crs, system.geodetic_crs.to_wkt()))
    true: NDArray[np.float64] = shapely.area(_transformed(degrees, lambda xy: np.stack(equal(*xy.T), 1)))
    trusted = system.is_projected & (np.abs(flat - true) <= TRUE_TO_AREA * true)
    return np.where(trusted, flat, true)


def ground_frame(grid: Grid, *, row: float, column: float) -> NDArray[np.float64]:
    """Metres that one pixel to the right (first row) and one down (second row) lead east and north, at a place.

    Raises:
        MissingExtra: pyproj is not installed.

    >>> grid = Grid(affine=(0.5, 0.0, 500000.0, 0.0, -0.25, 4e6), crs="EPSG:32637")
    >>> np.abs(ground_frame(grid, row=0, column=0)).round(3)
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    with geo_extra():
        from pyproj import CRS, Transformer
    a, b, c, d, e, f = grid.affine or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    system, step = CRS(grid.crs), 100  # pixels; one alone would lose digits
    if system.geodetic_crs is None:
        return np.array([[a, d], [b, e]]) * system.axis_info[0].unit_conversion_factor
    earth = system.get_geod()
    assert earth is not None
    pixels = np.array([[column, row], [column + step, row], [column, row + step]])
    x, y = (pixels @ np.array([[a, d], [b, e]]) + (c, f)).T
    lon, lat = Transformer.from_crs(system, system.geodetic_crs, always_xy=True).transform(x, y)
    azimuth, _, metres = earth.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    turn = np.radians(azimuth)
    return np.stack([metres * np.sin(turn), metres * np.cos(turn)], 1) / step


def _transformed(outlines: Outlines, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Outlines:
    import shapely

    moved: Outlines = shapely.transform(outlines, change)
    moved[~np.isfinite(shapely.bounds(moved)).all(1)] = None
    return moved
