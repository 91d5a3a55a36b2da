"""Cases that are windows of georeferenced scenes: all dates on the first one's grid, labels as a raster or polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io import read_mask
from catenary.io.raster import Raster, Stacked, kept_raster
from catenary.io.vectors import VECTOR_SUFFIXES, Vectors, open_vectors
from catenary.types import Image

__all__ = ["TIFF", "Sources", "Window", "dates", "label_raster", "polygons", "read_scene", "read_truth"]

#: Row, column, height and width in pixels.
Window = tuple[int, int, int, int]

TIFF = (".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the files of georeferenced scenes do not say themselves.

    Attributes:
        crs: Coordinate reference system of the first images, of the second, ... that state none.
        labels_crs: The same for the labels.
        layer, column, grades: See `catenary.io.vectors.open_vectors`; `grades` as pairs.
    """

    crs: tuple[str | None, ...] = ()
    labels_crs: str | None = None
    layer: str | None = None
    column: str | None = None
    grades: tuple[tuple[str, int], ...] = ()


def dates(images: Sequence[Path], sources: Sources) -> list[Raster]:
    """The images of a case, on the grid of the first; they stay open and are this thread's.

    Raises:
        InputError: One cannot be opened or placed on earth.
    """
    known = (*sources.crs, *(None for _ in images))
    first = kept_raster(images[0], crs=known[0])
    return [first, *(kept_raster(path, crs=crs, onto=first) for path, crs in zip(images[1:], known[1:], strict=False))]


def polygons(path: Path, sources: Sources) -> Vectors:
    """The labels in a vector file; all threads share what is open.

    Raises:
        InputError: See `open_vectors`.
    """
    state = path.stat() if path.is_file() else None
    return _opened(path, sources, state and (state.st_mtime_ns, state.st_size))


@lru_cache(16)
def _opened(path: Path, sources: Sources, state: object) -> Vectors:
    return open_vectors(
        path,
        layer=sources.layer,
        crs=sources.labels_crs,
        grades=dict(sources.grades) or None,
        column=sources.column,
    )


def read_scene(images: Sequence[Path], window: Window, sources: Sources) -> Image:
    """The pixels of a window in all dates, stacked; valid where they are in all, 0 elsewhere.

    Raises:
        InputError: A file cannot be read.
    """
    image = Stacked(dates(images, sources)).read(*window)
    if image.valid is None or image.valid.all():
        return replace(image, valid=None)
    return image.with_array(np.where(image.valid, image.array, image.array.dtype.type(0)))


def label_raster(path: Path, sources: Sources) -> Raster:
    """A georeferenced raster of labels; it stays open and is this thread's.

    Raises:
        InputError: It cannot be opened or placed on earth, or holds more than a number a pixel.
    """
    raster = kept_raster(path, crs=sources.labels_crs)
    if raster.bands != 1:
        raise InputError(f"{path} has {raster.bands} bands; write the labels as one band with one value a class")
    return raster


def read_truth(
    mask: Path, images: Sequence[Path], window: Window, sources: Sources, *, ignore: int
) -> Shaped[np.ndarray, "h w"]:
    """The labels of a window as their file holds them, in whole numbers.

    Args:
        mask: Polygons, a georeferenced raster of any grid, or a picture of the first image's size.
        images: The first one's grid counts.
        window: In its pixels.
        sources: See `Sources`.
        ignore: Value of the pixels that lie beyond the raster.

    Raises:
        InputError: A file cannot be read, holds no whole numbers, or the picture is of another size.
    """
    scene = dates(images[:1], sources)[0]
    if mask.suffix.lower() in VECTOR_SUFFIXES:
        return polygons(mask, sources).rasterise(scene.grid, *window)
    row, column, height, width = window
    if mask.suffix.lower() not in TIFF:
        whole = read_mask(mask)
        if whole.shape != scene.shape:
            here, there = ("x".join(map(str, shape)) for shape in (whole.shape, scene.shape))
            raise InputError(f"{mask} has {here} pixels and {images[0].name} {there}; give it the image's size")
        return whole[row : row + height, column : column + width]
    native = label_raster(mask, sources)
    found = kept_raster(mask, crs=sources.labels_crs, onto=scene, resampling="nearest")
    part = found.read(*window)
    raw: NDArray[Any] = part.array[0]
    if raw.dtype.kind == "f":
        if not np.array_equal(raw, np.round(raw)):
            raise InputError(f"{mask} holds numbers that are not whole; write one whole number a class")
        raw = raw.astype(np.int32)
    # In the file itself every value is a class, whatever it calls no data; a warped one has borders.
    return raw if found is native or part.valid is None else np.where(part.valid, raw, np.int16(ignore))
