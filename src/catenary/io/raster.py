"""Georeferenced images of any size, read window by window: GeoTIFF, COG, VRT and what else GDAL opens.

Nothing here reads a whole file. Another raster's grid is met by warping each window as it is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from catenary.errors import InputError, MissingExtra
from catenary.types import Grid, Image

__all__ = ["Pixels", "Raster", "Scene", "Stacked", "Windowed", "kept_raster", "open_raster"]

#: Bytes of decoded blocks that the library may keep, for all files together; its own default is 5 % of the memory.
CACHE = 128 << 20
#: Files that a thread keeps open.
KEPT = 16


@runtime_checkable
class Windowed(Protocol):
    """What is read window by window."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        ...

    def read(self, row: int, column: int, height: int, width: int) -> Image:
        """The pixels of a window, which may reach beyond the borders: there is no data."""
        ...


@runtime_checkable
class Scene(Windowed, Protocol):
    """What can be looked at as a whole, too."""

    def overview(self, side: int) -> Image:
        """All of it, the longer side brought down to `side` pixels (never up)."""
        ...


class Pixels:
    """An image in memory, read as a file would be."""

    def __init__(self, image: Image) -> None:
        self.shape = (image.shape[0], image.shape[1])
        self.grid = image.grid
        self._image = image

    def read(self, row: int, column: int, height: int, width: int) -> Image:
        """See `Windowed`."""
        array = np.zeros((self._image.channels, height, width), self._image.array.dtype)
        valid = np.zeros((height, width), bool)
        rows = slice(max(0, row), max(0, min(self.shape[0], row + height)))
        columns = slice(max(0, column), max(0, min(self.shape[1], column + width)))
        found = self._image.array[:, rows, columns]
        inside = (
            slice(rows.start - row, rows.start - row + found.shape[1]),
            slice(columns.start - column, columns.start - column + found.shape[2]),
        )
        array[:, *inside] = found
        valid[inside] = True if self._image.valid is None else self._image.valid[rows, columns]
        return Image(array=array, grid=self.grid.window(row, column), valid=valid, source=self._image.source)

    def overview(self, side: int) -> Image:
        """See `Scene`."""
        step = max(1, -(-max(self.shape) // side))
        valid = self._image.valid
        return Image(array=self._image.array[:, ::step, ::step], valid=None if valid is None else valid[::step, ::step])


class Raster:
    """An open file, or a view of one on another grid; a context manager.

    Attributes:
        path: The file.
        shape: Rows and columns.
        bands: Number of bands, an alpha band not counted.
        dtype: Type of the pixels.
        grid: Affine, CRS, and the spacing where the CRS is projected in metres.
    """

    def __init__(self, path: Path, source: Any, crs: Any, *, warped_from: tuple[Any, Any] | None = None) -> None:
        self.path = path
        self.shape = (int(source.height), int(source.width))
        self.dtype = str(source.dtypes[0])
        self.crs = crs
        self._source = source
        self._warped_from = warped_from
        kinds = [kind.name for kind in source.colorinterp]
        self._bands = [number for number, kind in enumerate(kinds, 1) if kind != "alpha"]
        self.bands = len(self._bands)
        self.grid = _grid(source.transform, crs)

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x, least y, largest x, largest y of its corners, in its CRS."""
        a, b, c, d, e, f = self.grid.affine or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        height, width = self.shape
        xs, ys = ([u * x + v * y + w for x in (0, width) for y in (0, height)] for u, v, w in ((a, b, c), (d, e, f)))
        return min(xs), min(ys), max(xs), max(ys)

    def close(self) -> None:
        """Give the file back."""
        self._source.close()

    def read(self, row: int, column: int, height: int, width: int) -> Image:
        """The pixels of a window; beyond the borders, and where the file says so, `Image.valid` is False.

        Raises:
            InputError: The file is damaged there.
        """
        array = np.zeros((self.bands, height, width), self.dtype)
        valid = np.zeros((height, width), bool)
        top, left = max(0, row), max(0, column)
        bottom, right = min(self.shape[0], row + height), min(self.shape[1], column + width)
        if top < bottom and left < right:
            inside = (slice(top - row, bottom - row), slice(left - column, right - column))
            array[:, *inside], valid[inside] = self._pixels(
                ((top, bottom), (left, right)), (bottom - top, right - left)
            )
        return Image(array=array, grid=self.grid.window(row, column), valid=valid, source=str(self.path))

    def overview(self, side: int) -> Image:
        """The whole raster, its longer side brought down to `side` pixels (never up)."""
        factor = min(1.0, side / max(self.shape))
        rows, columns = (max(1, round(n * factor)) for n in self.shape)
        if self._warped_from is not None and factor < 0.5:  # straight to the coarse grid, much faster
            original, crs = self._warped_from
            a, b, c, d, e, f = self.grid.affine or ()
            across, down = self.shape[1] / columns, self.shape[0] / rows
            affine = (a * across, b * down, c, d * across, e * down, f)
            with _warped(original, crs, self.crs, affine, (rows, columns), "average") as view:
                return Raster(self.path, view, self.crs).read(0, 0, rows, columns)
        array, valid = self._pixels(((0, self.shape[0]), (0, self.shape[1])), (rows, columns))
        return Image(array=array, valid=valid, source=str(self.path))

    def onto(self, other: Raster, resampling: Literal["bilinear", "nearest"] = "bilinear") -> Raster:
        """This raster on the grid of another, as a view: each window is warped when it is read.

        Args:
            other: Whose grid counts.
            resampling: ``"nearest"`` is for label maps: every value in the file is one, also that of no data.
        """
        if (self.crs, self.shape) == (other.crs, other.shape) and _same_place(self, other):
            return Raster(self.path, self._source, self.crs)
        with _reading(self.path):
            view = _warped(self._source, self.crs, other.crs, other.grid.affine or (), other.shape, resampling)
        return Raster(self.path, view, other.crs, warped_from=(self._source, self.crs))

    def _pixels(self, window: tuple[tuple[int, int], tuple[int, int]], size: tuple[int, int]) -> tuple[Any, Any]:
        from rasterio.enums import Resampling

        with _reading(self.path):
            array = self._source.read(
                self._bands, window=window, out_shape=(self.bands, *size), resampling=Resampling.average
            )
            valid = self._source.dataset_mask(window=window, out_shape=size, resampling=Resampling.nearest) > 0
        return array, valid


class Stacked:
    """Several rasters on one grid as one with all their bands; data is where all of them have some."""

    def __init__(self, parts: Sequence[Scene]) -> None:
        self._parts = tuple(parts)
        self.shape, self.grid = parts[0].shape, parts[0].grid

    def read(self, row: int, column: int, height: int, width: int) -> Image:
        """See `Windowed`."""
        return self._joined([part.read(row, column, height, width) for part in self._parts])

    def overview(self, side: int) -> Image:
        """See `Scene`."""
        return self._joined([part.overview(side) for part in self._parts])

    def _joined(self, images: Sequence[Image]) -> Image:
        known = [image.valid for image in images if image.valid is not None]
        return Image(
            array=np.concatenate([image.array for image in images]),
            grid=images[0].grid,
            valid=np.logical_and.reduce(known) if known else None,
            source=" and ".join(image.source for image in images),
        )


def open_raster(path: str | Path, *, crs: str | None = None) -> Raster:
    """Open a georeferenced image.

    Args:
        path: GeoTIFF, COG, VRT, ...
        crs: Its coordinate reference system where the file states none, for example ``"EPSG:32637"``.

    Raises:
        InputError: It cannot be opened, has no place on earth, or states another CRS than `crs`.
        MissingExtra: rasterio is not installed.
    """
    try:
        import rasterio
        from rasterio.crs import CRS
        from rasterio.errors import CRSError, NotGeoreferencedWarning
    except ImportError:
        raise MissingExtra("rasterio", "geo") from None
    import os
    import warnings

    path = Path(path)
    if not path.is_file():
        problem = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        raise InputError(f"{problem}; give a georeferenced image, such as a GeoTIFF")
    os.environ.setdefault("GDAL_CACHEMAX", str(CACHE >> 20))
    with _reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said below, in our words
        source = rasterio.open(path)
    try:
        given = CRS.from_user_input(crs) if crs else None
    except CRSError as error:
        source.close()
        raise InputError(f"'{crs}' is no coordinate reference system; give one such as EPSG:32637") from error
    problem = ""
    if source.transform.is_identity:
        problem = f"{path} has no place on earth (no geotransform); georeference it first"
    elif source.crs is None and given is None:
        problem = f"{path} states no coordinate reference system; name it, as in EPSG:32637"
    elif source.crs is not None and given is not None and source.crs != given:
        problem = f"{path} states {_name(source.crs)}, found {crs} given; leave it out, or correct the file"
    elif source.transform.is_degenerate:
        problem = f"{path} has a geotransform that brings all pixels onto a line; georeference it again"
    if problem:
        source.close()
        raise InputError(problem)
    return Raster(path, source, source.crs or given)


class _Kept(threading.local):
    """The open files of a thread; a file may be read by one thread only."""

    def __init__(self) -> None:
        self.rasters: OrderedDict[tuple[object, ...], Raster] = OrderedDict()


_KEPT = _Kept()


def kept_raster(
    path: Path,
    *,
    crs: str | None = None,
    onto: Raster | None = None,
    resampling: Literal["bilinear", "nearest"] = "bilinear",
) -> Raster:
    """`open_raster`, kept open for the next call of this thread; not to be closed.

    Args:
        path, crs: See `open_raster`.
        onto: Another kept raster on whose grid this one is wanted. Where it lies on that grid it is not warped.
        resampling: See `Raster.onto`.

    Raises:
        InputError: See `open_raster`.
    """
    kept = _KEPT.rasters
    state = path.stat() if path.is_file() else None  # a file that was written anew is opened anew
    key = (path, crs, resampling, state and (state.st_mtime_ns, state.st_size), onto and (onto.path, onto.grid))
    if key not in kept:
        raster = open_raster(path, crs=crs) if onto is None else kept_raster(path, crs=crs)
        if onto is not None and (raster.shape, raster.grid) != (onto.shape, onto.grid):
            raster = raster.onto(onto, resampling)
        kept[key] = raster
        while len(kept) > KEPT:
            kept.popitem(last=False)  # closed when the last view of it goes
    kept.move_to_end(key)
    return kept[key]


def _same_place(one: Raster, other: Raster) -> bool:
    """Whether the pixels of two rasters in one CRS lie within a thousandth of a pixel of each other."""
    a, b = (np.reshape(raster.grid.affine or (), (2, 3)) for raster in (one, other))
    far = np.array([one.shape[1], one.shape[0], 1.0])
    return bool(np.abs((a - b) @ far).max() < 1e-3 * np.abs(a[:, :2]).max() and np.allclose(a[:, :2], b[:, :2], 1e-6))


def _warped(source: Any, crs: Any, other: Any, affine: Sequence[float], shape: tuple[int, int], resampling: str) -> Any:
    """A view of an open file on another grid."""
    from rasterio import Affine
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    nodata = None if resampling == "nearest" else source.nodata
    alpha = any(kind.name == "alpha" for kind in source.colorinterp)
    return WarpedVRT(
        source,
        src_crs=crs,
        crs=other,
        transform=Affine(*affine),
        height=shape[0],
        width=shape[1],
        resampling=Resampling[resampling],
        src_nodata=nodata,
        add_alpha=nodata is None and not alpha,
        warp_mem_limit=64,
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, OSError) as error:
        told = error.__cause__ or error  # the outer one says only that there is an inner one
        reason = str(told).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{path} cannot be read ({reason}); copy it again from its source") from error


def _grid(transform: Any, crs: Any) -> Grid:
    a, b, c, d, e, f = transform[:6]
    metres = bool(crs and crs.is_projected and crs.linear_units_factor[1] == 1.0)
    spacing = ((b * b + e * e) ** 0.5, (a * a + d * d) ** 0.5) if metres else None
    return Grid(spacing=spacing, unit="m" if metres else None, affine=(a, b, c, d, e, f), crs=_name(crs))


def _name(crs: Any) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())
