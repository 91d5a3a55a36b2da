"""Boxes and polygons from one coordinate reference system in another, also across the 180th meridian."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError

if TYPE_CHECKING:
    from pyproj import Transformer

__all__ = ["Box", "box_in", "brought_into", "in_degrees", "meet", "stop_beyond_the_edge", "turned"]

#: West, south, east, north.
Box = tuple[float, float, float, float]


def in_degrees(crs: str) -> bool:
    """Whether a CRS is one of longitudes and latitudes.

    >>> in_degrees("EPSG:4326"), in_degrees("EPSG:32637")
    (True, False)
    """
    return _kind(crs)[0]


def box_in(crs: str, other: str, box: Box) -> Box:
    """A box of `other` in `crs`; where that is in degrees, its east may lie beyond 180.

    Raises:
        InputError: There is no way from one to the other there.

    >>> [round(edge, 2) for edge in box_in("EPSG:4326", "EPSG:32760", (800_000, 8e6, 840_000, 8.01e6))]
    [179.83, -18.07, 180.21, -17.97]
    """
    from pyproj.exceptions import ProjError

    if crs == other:
        return box
    try:
        west, south, east, north = _transformer(other, crs).transform_bounds(*box, densify_pts=21, errcheck=True)
    except ProjError:
        west = south = east = north = np.inf
    if not np.isfinite((west, south, east, north)).all():
        raise InputError(f"the image has no place in the CRS of the polygons ({_short(crs)}); check the CRS of both")
    return west, south, east + 360 * (west > east and in_degrees(crs)), north


def meet(box: Box, crs: str, other_box: Box, other: str) -> bool:
    """Whether a box of `crs` and a box of `other` have a place in common.

    Raises:
        InputError: There is no way from one to the other there.

    >>> meet((-180, -18, -179.9, -17.9), "EPSG:4326", (800_000, 8e6, 840_000, 8.01e6), "EPSG:32760")
    True
    """
    west, south, east, north = box_in(crs, other, other_box)
    turns = (-360, 0, 360) if in_degrees(crs) else (0,)
    return south <= box[3] and north >= box[1] and any(west + t <= box[2] and east + t >= box[0] for t in turns)


def brought_into(crs: str, other: str, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points ``(n, 2)``, x and y, of `other` in `crs`.

    Raises:
        InputError: Some have no place there.
    """
    if crs == other:
        return xy
    moved = np.stack(_transformer(other, crs).transform(xy[:, 0], xy[:, 1]), axis=1)
    if not np.isfinite(moved).all():
        raise InputError(
            f"some polygons have no place in the image's CRS ({_short(crs)}); cut them to its surroundings"
        )
    return moved


def stop_beyond_the_edge(crs: str, west: float, east: float, y: float) -> None:
    """Refuse a window that leaves a CRS of the whole world at one side, since that comes back on the other.

    Raises:
        InputError: It does.
    """
    degrees, geodetic = _kind(crs)
    if degrees or not geodetic:
        return
    x = np.array([west + 0.01 * (east - west), east - 0.01 * (east - west)])
    back = _transformer(geodetic, crs).transform(*_transformer(crs, geodetic).transform(x, np.full(2, y)))[0]
    if not np.allclose(back, x, rtol=0, atol=0.01 * (east - west)):
        raise InputError(
            f"the window from x = {west:.0f} to {east:.0f} reaches beyond the edge of its CRS ({_short(crs)}) at the "
            "180th meridian; warp the image into a local CRS such as that of its UTM zone"
        )


def turned(
    polygons: NDArray[np.object_], values: NDArray[np.uint8], west: float, east: float
) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
    """Polygons in degrees, whole across the 180th meridian, at each turn of 360 at which they meet a window.

    A polygon wider than half the earth is taken for one that crosses the meridian (cut there or not).

    Args:
        polygons, values: Each with its value; copies keep it.
        west, east: Of the window, in degrees of any turn.
    """
    import shapely

    bounds = shapely.bounds(polygons)
    xy, owner = shapely.get_coordinates(polygons, return_index=True)
    crossing = bounds[:, 2] - bounds[:, 0] > 180
    xy[:, 0] += 360 * (crossing[owner] & (xy[:, 0] < 0))
    copies = [shapely.set_coordinates(polygons.copy(), xy + np.array((turn, 0))) for turn in (-360, 0, 360)]
    bounds = np.concatenate([shapely.bounds(copy) for copy in copies])
    meets = (bounds[:, 0] <= east) & (bounds[:, 2] >= west)
    return np.concatenate(copies)[meets], np.tile(values, len(copies))[meets]


@lru_cache(64)
def _transformer(crs: str, other: str) -> Transformer:
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    try:
        return Transformer.from_crs(crs, other, always_xy=True)
    except ProjError as error:
        raise InputError(f"there is no way from {_short(crs)} to {_short(other)}; check the CRS of both") from error


@lru_cache(64)
def _kind(crs: str) -> tuple[bool, str]:
    """Whether it is in degrees, and the WKT of the degrees that it is made from (empty where it is tied to none)."""
    from pyproj import CRS

    found = CRS.from_user_input(crs)
    return bool(found.is_geographic), "" if found.geodetic_crs is None else found.geodetic_crs.to_wkt()


def _short(crs: str) -> str:
    return crs if len(crs) < 40 else crs[:37] + "..."
