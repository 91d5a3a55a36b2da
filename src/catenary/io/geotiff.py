"""The place of a TIFF on earth: affine and coordinate reference system, as far as an EPSG code tells it.

Source: OGC 19-008r4, GeoTIFF standard 1.1, tags 33550, 33922, 34264 and 34735.
"""

from __future__ import annotations

from typing import Any

from catenary.types import Grid

__all__ = ["geo_grid", "geo_tags"]

_USER_DEFINED = 32767
_METRE = 9001
_PIXEL_IS_POINT = 2


def geo_grid(tags: dict[str, Any]) -> Grid:
    """The grid that a file's GeoTIFF tags state; empty where they state none.

    The affine is ``(a, b, c, d, e, f)`` with ``x = a column + b row + c`` and ``y = d column + e row + f``, from the
    outer corner of the first pixel. Spacing is set where the system is a projected one in metres.

    >>> geo_grid({"ModelPixelScale": [2.0, 2.0, 0.0], "ModelTiepoint": [0, 0, 0, 100.0, 50.0, 0]}).affine
    (2.0, 0.0, 100.0, 0.0, -2.0, 50.0)
    """
    affine = _affine(tags)
    if affine is None:
        return Grid()
    projected, geographic = (_code(tags.get(k)) for k in ("ProjectedCSTypeGeoKey", "GeographicTypeGeoKey"))
    code = projected or geographic
    a, b, _, d, e, _ = affine
    metres = projected is not None and (_code(tags.get("ProjLinearUnitsGeoKey")) == _METRE or _is_utm(projected))
    spacing = ((b * b + e * e) ** 0.5, (a * a + d * d) ** 0.5) if metres else None
    return Grid(
        spacing=spacing,
        unit="m" if spacing else None,
        affine=affine,
        crs=None if code is None else f"EPSG:{code}",
    )


def geo_tags(grid: Grid | None) -> list[tuple[int, str, int, Any, bool]]:
    """The tags that `geo_grid` reads, as tifffile's ``extratags``; none without an affine.

    >>> [tag[0] for tag in geo_tags(Grid(affine=(2.0, 0.0, 100.0, 0.0, -2.0, 50.0), crs="EPSG:32645"))]
    [33550, 33922, 34735]
    """
    if grid is None or grid.affine is None or len(grid.affine) != 6:
        return []
    a, b, c, d, e, f = grid.affine
    if b == d == 0 and a > 0 > e:
        tags: list[tuple[int, str, int, Any, bool]] = [
            (33550, "d", 3, (a, -e, 0.0), True),
            (33922, "d", 6, (0.0, 0.0, 0.0, c, f, 0.0), True),
        ]
    else:
        matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        tags = [(34264, "d", 16, matrix, True)]
    authority, _, number = (grid.crs or "").partition(":")
    if authority == "EPSG" and number.isdigit():
        geographic = 4000 < int(number) < 5000
        keys = [
            (1024, 0, 1, 2 if geographic else 1),
            (1025, 0, 1, 1),
            (2048 if geographic else 3072, 0, 1, int(number)),
        ]
        directory = (1, 1, 0, len(keys), *(part for key in keys for part in key))
        tags.append((34735, "H", len(directory), directory, True))
    return tags


def _affine(tags: dict[str, Any]) -> tuple[float, ...] | None:
    matrix, scale, tie = (tags.get(name) for name in ("ModelTransformation", "ModelPixelScale", "ModelTiepoint"))
    if matrix is not None:
        flat = [float(value) for row in matrix for value in (row if hasattr(row, "__len__") else (row,))]
        if len(flat) < 8:
            return None
        a, b, c, d, e, f = flat[0], flat[1], flat[3], flat[4], flat[5], flat[7]
    elif scale is not None and tie is not None and len(scale) >= 2 and len(tie) == 6:
        a, b, d, e = float(scale[0]), 0.0, 0.0, -float(scale[1])
        c, f = float(tie[3]) - a * float(tie[0]), float(tie[4]) - e * float(tie[1])
    else:
        return None
    if _code(tags.get("GTRasterTypeGeoKey")) == _PIXEL_IS_POINT:
        c, f = c - (a + b) / 2, f - (d + e) / 2
    return a, b, c, d, e, f


def _code(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return None if number in (0, _USER_DEFINED) else number


def _is_utm(code: int) -> bool:
    return 32601 <= code <= 32660 or 32701 <= code <= 32760 or 26901 <= code <= 26923
