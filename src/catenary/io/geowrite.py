"""Georeferenced rasters of any size, written window by window: tiled GeoTIFF, Cloud Optimized GeoTIFF, another CRS.

Nothing here holds a whole raster, and every file appears under its name only when all of it is there.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catenary.errors import ConfigError, InputError, MissingExtra, OutputError, near_match
from catenary.io.files import atomic
from catenary.io.raster import CACHE, Raster, open_raster
from catenary.types import Grid, Progress, silent

__all__ = ["RasterWriter", "raster_writer", "to_cog", "warp_raster"]

#: Rows and columns that are read and written at a time.
_WINDOW = 2048


class RasterWriter:
    """A raster that is being written; made by `raster_writer`."""

    def __init__(self, target: Any, *, mask: bool) -> None:
        self._target = target
        self._mask = mask

    def write(self, row: int, column: int, array: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> None:
        """Write a window whose first pixel is ``(row, column)``.

        Windows of whole blocks are fastest. Pixels that no window covers are 0, and invalid where there is a mask.

        Args:
            row, column: Where it begins.
            array: ``(bands, h, w)``; all of it lies within the raster.
            valid: ``(h, w)``, False where there is no data: kept by the mask, else as the nodata value.

        Raises:
            ConfigError: `valid` is given, but the raster has neither mask nor nodata value.
            OutputError: The disk is full, or other trouble with the file.
        """
        window = ((row, row + array.shape[1]), (column, column + array.shape[2]))
        if self._mask:
            whole = np.ones(array.shape[1:], bool) if valid is None else valid
            self._target.write_mask(whole, window=window)
        elif valid is not None and not valid.all():
            if self._target.nodata is None:
                raise ConfigError(
                    "pixels without data need a raster with a mask or a nodata value, found neither; name one"
                )
            array = np.where(valid, array, np.array(self._target.nodata, array.dtype))
        self._target.write(array, window=window)


@contextmanager
def raster_writer(
    path: str | Path,
    *,
    shape: tuple[int, int],
    grid: Grid,
    bands: int = 1,
    dtype: str = "uint8",
    nodata: float | None = None,
    mask: bool = False,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    descriptions: Sequence[str] = (),
    block: int = 512,
) -> Iterator[RasterWriter]:
    """Begin a tiled GeoTIFF (ZSTD level 1); it stands under `path` when the block ends well, and vanishes else.

    Args:
        path: The file; its folder is made when needed, an older file is replaced.
        shape: Rows and columns.
        grid: Where the pixels lie: any affine, rotated too; CRS as authority code or WKT.
        bands: Number of bands.
        dtype: Type of the pixels, as numpy names it.
        nodata: Value that stands for no data.
        mask: Keep an internal mask of valid pixels.
        colours: Red, green and blue 0..255 of values, for viewers; one uint8 band only.
        descriptions: Names of the bands.
        block: Side of the blocks in pixels, a multiple of 16.

    Raises:
        ConfigError: `colours` for more than one uint8 band.
        InputError: The CRS is none.
        OutputError: The file cannot be written.
        MissingExtra: rasterio is not installed.

    >>> import tempfile
    >>> grid = Grid(affine=(0.5, 0.0, 500000.0, 0.0, -0.5, 4100000.0), crs="EPSG:32637")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with raster_writer(Path(folder) / "a.tif", shape=(600, 700), grid=grid) as raster:
    ...         raster.write(10, 20, np.ones((1, 30, 40), np.uint8))
    ...     with open_raster(Path(folder) / "a.tif") as back:
    ...         back.shape, back.grid.affine == grid.affine, int(back.read(0, 0, 600, 700).array.sum())
    ((600, 700), True, 1200)
    """
    rasterio = _rasterio()
    from rasterio.errors import NotGeoreferencedWarning

    if colours and (bands, dtype) != (1, "uint8"):
        raise ConfigError(f"a colour table needs one band of uint8, found {bands} of {dtype}; leave the colours out")
    profile: dict[str, Any] = {
        "count": bands,
        "height": shape[0],
        "width": shape[1],
        "dtype": dtype,
        "nodata": nodata,
        "crs": _crs(grid.crs) if grid.crs else None,
    }
    if grid.affine:
        profile["transform"] = rasterio.Affine(*grid.affine)
    if bands != 3 or dtype != "uint8":  # else the library takes a fourth band for alpha
        profile |= {"photometric": "minisblack", "alpha": "unspecified"}
    layout = {"tiled": True, "blockxsize": block, "blockysize": block, "interleave": "pixel", "bigtiff": "if_safer"}
    packing = {"compress": "zstd", "zstd_level": 1, "predictor": _predictor(bands, dtype)}
    with atomic(path, ".tif") as temporary, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), _writing(Path(path)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a grid may have no place on earth
            target = rasterio.open(temporary, "w", driver="GTiff", **profile, **layout, **packing)
        with target:
            if colours:
                target.write_colormap(1, colours)
            for number, text in enumerate(descriptions, 1):
                target.set_band_description(number, text)
            if mask:  # made at once, so that what is never written is without data
                target.write_mask(np.zeros((1, 1), bool), window=((0, 1), (0, 1)))
            yield RasterWriter(target, mask=mask)
        _check_whole(temporary, Path(path), 1 + mask)


def to_cog(
    source: str | Path,
    destination: str | Path,
    *,
    resampling: Literal["nearest", "mode", "average"] = "nearest",
    progress: Progress = silent,
) -> Path:
    """Copy a raster as a Cloud Optimized GeoTIFF (OGC 21-026): ZSTD, blocks of 512, overviews; mask and colours stay.

    Args:
        source: What GDAL opens.
        destination: The new file.
        resampling: How overviews are made: ``"nearest"`` or ``"mode"`` for class values, ``"average"`` for imagery.
        progress: Told at the beginning and at the end.

    Raises:
        InputError: `source` cannot be read.
        OutputError: `destination` cannot be written.
        MissingExtra: rasterio is not installed.
    """
    rasterio = _rasterio()
    from rasterio.shutil import copy

    what = f"write {Path(destination).name}"
    progress(what, 0, 1)
    with open_raster(source) as raster:
        predictor = _predictor(raster.bands, raster.dtype)
    options = {
        "compress": "zstd",
        "blocksize": 512,
        "predictor": "no" if predictor == 1 else "yes",
        "resampling": resampling,
        "overviews": "ignore_existing",
        "bigtiff": "if_safer",
        "num_threads": "all_cpus",
    }
    with (
        atomic(destination, ".tif") as temporary,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        _writing(Path(destination)),
    ):
        copy(source, temporary, driver="COG", **options)
        _check_whole(temporary, Path(destination))
    progress(what, 1, 1)
    return Path(destination)


def warp_raster(
    source: str | Path,
    destination: str | Path,
    *,
    crs: str,
    resolution: float | None = None,
    resampling: str = "bilinear",
    progress: Progress = silent,
) -> Path:
    """Copy a raster into another CRS and resolution as a tiled GeoTIFF; pixels without data stay so.

    Args:
        source: The georeferenced raster.
        destination: The new file.
        crs: Its coordinate reference system, for example ``"EPSG:4326"``.
        resolution: Side of its pixels in units of `crs`; None keeps about as many pixels as there are.
        resampling: ``"nearest"``, ``"bilinear"``, ``"cubic"``, ``"average"``, ... as rasterio names them.
        progress: Told of the windows.

    Raises:
        InputError: `source` cannot be read, or `crs` is no coordinate reference system.
        ConfigError: `resolution` is not positive, or `resampling` unknown.
        OutputError: `destination` cannot be written.
        MissingExtra: rasterio is not installed.
    """
    rasterio = _rasterio()
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    if resampling not in Resampling.__members__:
        raise ConfigError(f"there is no resampling '{resampling}'; {near_match(resampling, Resampling.__members__)}")
    if resolution is not None and not resolution > 0:
        raise ConfigError(f"a pixel's side must be positive, found {resolution:g}; give one in units of {crs}")
    with open_raster(source) as original:
        file = original._source
        bare = file.nodata is None and file.count == original.bands
        view = {"crs": _crs(crs), "resampling": Resampling[resampling], "add_alpha": bare, "warp_mem_limit": 64}
        if resolution:
            with WarpedVRT(file, crs=view["crs"]) as whole:
                left, bottom, right, top = whole.bounds
            size = [max(1, math.ceil(side / resolution - 1e-6)) for side in (right - left, top - bottom)]
            view |= {"width": size[0], "height": size[1]}
            view |= {"transform": rasterio.Affine(resolution, 0, left, 0, -resolution, top)}
        with (
            WarpedVRT(file, **view) as warped,
            Raster(original.path, warped, warped.crs) as raster,
            raster_writer(
                destination,
                shape=raster.shape,
                grid=raster.grid,
                bands=raster.bands,
                dtype=raster.dtype,
                nodata=file.nodata,
                mask=file.nodata is None,
                colours=_colours(file),
                descriptions=[text or "" for text in file.descriptions[: raster.bands]],
            ) as writer,
        ):
            corners = [(r, c) for r in range(0, raster.shape[0], _WINDOW) for c in range(0, raster.shape[1], _WINDOW)]
            for done, (row, column) in enumerate(corners, 1):
                height, width = (min(_WINDOW, n - at) for n, at in zip(raster.shape, (row, column), strict=True))
                image = raster.read(row, column, height, width)
                writer.write(row, column, image.array, image.valid)
                progress(f"warp {original.path.name}", done, len(corners))
    return Path(destination)


def _rasterio() -> Any:
    """The library, its cache bounded before it is first used."""
    try:
        import rasterio
    except ImportError:
        raise MissingExtra("rasterio", "geo") from None
    os.environ.setdefault("GDAL_CACHEMAX", str(CACHE >> 20))
    return rasterio


def _crs(name: str) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(name)
    except CRSError as error:
        raise InputError(f"'{name}' is no coordinate reference system; give one such as EPSG:32637") from error


def _predictor(bands: int, dtype: str) -> int:
    """How values are written as differences: imagery shrinks by it, class values do not."""
    if np.issubdtype(np.dtype(dtype), np.floating):
        return 3
    return 2 if bands > 1 else 1


def _colours(file: Any) -> dict[int, tuple[int, int, int]] | None:
    """The colour table of an open file."""
    if file.colorinterp[0].name != "palette":
        return None
    return {value: colour[:3] for value, colour in file.colormap(1).items()}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the library's errors into ours."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        told = error.__cause__ or error  # the outer one says only that there is an inner one
        raise _trouble(path, str(told).strip().splitlines()[0].rstrip(".")) from error


def _trouble(path: Path, reason: str) -> OutputError:
    return OutputError(f"cannot write {path}: {reason}; check the folder's rights and the free space")


def _check_whole(file: Path, path: Path, images: int = 1) -> None:
    """Refuse a TIFF that breaks off: the library keeps silent about a disk that fills while it closes a file."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters is raised
    size = file.stat().st_size
    try:
        with tifffile.TiffFile(file) as tiff:
            whole = len(tiff.pages) >= images and all(_is_whole(page, size) for page in tiff.pages)
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError):
        whole = False
    if not whole:
        raise _trouble(path, "its end could not be written")


def _is_whole(page: Any, size: int) -> bool:
    """Whether every block lies within a file of `size` bytes; blocks of a mask may be absent, which means no data."""
    absent_allowed = page.tags["NewSubfileType"].value & 4 if "NewSubfileType" in page.tags else False
    blocks = zip(page.dataoffsets, page.databytecounts, strict=True)
    return all(start + count <= size and (count > 0 or absent_allowed) for start, count in blocks)
