"""Tiles for a map in the browser, drawn on the fly: web mercator, 256 pixels, transparent where nothing is known.

Of the rasters only the window of a tile is read, from the overview that fits its scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.io.outlines import geo_extra
from catenary.types import IGNORE

__all__ = ["CONFIDENCE", "DEEPEST", "SIDE", "bounds_of", "tile", "with_overviews", "zooms_of"]

#: Pixels along a side of a tile; length of the equator in metres; deepest zoom.
SIDE, EQUATOR, DEEPEST = 256, 2 * math.pi * 6378137.0, 24
#: Longer side from which an image needs overviews.
LARGE = 4096
#: Colours of confidence, from none to full.
CONFIDENCE = [
    {"name": "unsure", "color": "#440154"},
    {"name": "half sure", "color": "#21918c"},
    {"name": "sure", "color": "#fde725"},
]
_RAMP = ((68, 1, 84), (33, 145, 140), (253, 231, 37))


def bounds_of(path: Path) -> list[float]:
    """West, south, east and north of a raster in degrees."""
    with geo_extra():
        import rasterio
        from rasterio.warp import transform_bounds

        with rasterio.open(path) as file:
            return [float(n) for n in transform_bounds(file.crs, "EPSG:4326", *file.bounds, densify_pts=21)]


def zooms_of(path: Path) -> tuple[int, int]:
    """Zoom at which a raster fills a tile or two, and the one at which its pixels are those of the map."""
    with geo_extra():
        import rasterio
        from rasterio.warp import transform_bounds
    with rasterio.open(path) as file:
        left, bottom, right, top = transform_bounds(file.crs, "EPSG:3857", *file.bounds, densify_pts=21)
        pixel = math.sqrt((right - left) * (top - bottom) / (file.width * file.height))
    most = min(max(math.ceil(math.log2(EQUATOR / SIDE / pixel)), 0), DEEPEST)
    across = max(right - left, top - bottom) / (EQUATOR / 2**most)  # tiles at that zoom
    return max(0, most - math.ceil(math.log2(max(across, 1.0))) - 1), most


def with_overviews(path: Path) -> None:
    """Give a large image without overviews some, in a file beside it: a tile from afar would read all of it."""
    with geo_extra():
        import rasterio
        from rasterio.enums import Resampling
    with rasterio.Env(COMPRESS_OVERVIEW="ZSTD"), rasterio.open(path, driver="GTiff") as file:
        if max(file.shape) > LARGE and not file.overviews(1):
            steps = [2**n for n in range(1, 16) if max(file.shape) >> n >= SIDE]
            file.build_overviews(steps, Resampling.average)


@lru_cache(maxsize=256)
def tile(path: Path, layer: str, z: int, x: int, y: int, colours: tuple[tuple[int, int, int], ...] = ()) -> bytes:
    """A tile as PNG with transparency.

    Args:
        path: A georeferenced raster: an image, class indices, or confidence times 255.
        layer: ``"pre"``, ``"post"``, ``"damage"`` or ``"confidence"``.
        z, x, y: Of the tile, y from the north.
        colours: Of the classes, for ``"damage"``; the first is not drawn.

    Raises:
        rasterio.errors.RasterioError: The file is damaged there.
    """
    from imagecodecs import png_encode

    values, known = _warped(path, z, x, y, nearest=layer == "damage")
    if layer == "damage":
        rgba = _of_classes(values[0], known, colours)
    elif layer == "confidence":
        rgba = _of_confidence(values[0], known)
    else:
        rgba = _of_image(path, values, known)
    return bytes(png_encode(np.ascontiguousarray(rgba), level=3))


def _warped(path: Path, z: int, x: int, y: int, *, nearest: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Bands ``(c, 256, 256)`` of a tile and where they are known."""
    with geo_extra():
        import rasterio
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT
    length = EQUATOR / 2**z
    west, north = x * length - EQUATOR / 2, EQUATOR / 2 - y * length
    transform = rasterio.Affine(length / SIDE, 0.0, west, 0.0, -length / SIDE, north)
    with rasterio.open(path, driver="GTiff") as file:
        how = Resampling.nearest if nearest else Resampling.bilinear
        bands = [n for n, kind in enumerate(file.colorinterp, 1) if kind.name != "alpha"][:3]
        with WarpedVRT(
            file, crs="EPSG:3857", transform=transform, width=SIDE, height=SIDE, resampling=how, add_alpha=True
        ) as view:
            found = view.read([*bands, view.count])
    return found[:-1], found[-1] > 0


def _of_classes(
    values: NDArray[Any], known: NDArray[np.bool_], colours: Sequence[tuple[int, int, int]]
) -> NDArray[np.uint8]:
    table = np.zeros((256, 4), np.uint8)
    for index, colour in enumerate(colours):
        table[index] = (*colour, 255 if index else 0)
    rgba: NDArray[np.uint8] = table[np.where(known, values, IGNORE)]
    return rgba


def _of_confidence(values: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    steps = [np.interp(np.arange(256), (0, 128, 255), channel) for channel in zip(*_RAMP, strict=True)]
    table = np.rint(np.stack([*steps, np.full(256, 255)], axis=1)).astype(np.uint8)
    rgba: NDArray[np.uint8] = table[values]
    rgba[~known] = 0
    return rgba


def _of_image(path: Path, values: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    stat = path.stat()
    low, high = _stretch(path, stat.st_mtime_ns)
    shown = np.repeat(values, 3, axis=0) if len(values) == 1 else values[[0, 1, min(2, len(values) - 1)]]
    scaled = np.nan_to_num((shown.astype(np.float32) - low) * (255 / max(high - low, 1e-9))).clip(0, 255)
    return np.dstack([*np.rint(scaled).astype(np.uint8), np.where(known, 255, 0).astype(np.uint8)])


@lru_cache(maxsize=256)
def _stretch(path: Path, changed: int) -> tuple[float, float]:
    """What is shown black and white: 0 and 255 for 8 bit, else percentiles of an overview, one for the whole file."""
    import rasterio

    with rasterio.open(path, driver="GTiff") as file:
        if file.dtypes[0] == "uint8":
            return 0.0, 255.0
        factor = min(1.0, 512 / max(file.shape))
        size = tuple(max(1, round(n * factor)) for n in file.shape)
        view = file.read(out_shape=(file.count, *size), masked=True).astype(np.float32)
    found = view.compressed()
    found = found[np.isfinite(found)]
    low, high = (float(q) for q in np.percentile(found, (0.5, 99.5))) if found.size else (0.0, 1.0)
    return low, high
