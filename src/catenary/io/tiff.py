"""TIFF: any number of channels, any type, sizes in physical units."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io.files import atomic
from catenary.types import Grid, Image

__all__ = ["read_tiff", "read_tiff_mask", "write_tiff"]

#: A third axis up to this length is taken for channels; more pages than this are a volume.
MOST_CHANNELS = 32


def read_tiff(path: Path) -> Image:
    """Read a TIFF as channels-first pixels; pages of one size are channels.

    Spacing is taken from ImageJ's tags or a resolution in centimetres below 1 mm a pixel; dots per inch are a
    printer's matter and ignored. Pixels equal to a GDAL no-data value are marked in `Image.valid`.

    Raises:
        InputError: The file is missing, empty, damaged or a volume.
    """
    array, axes, grid, nodata = _load(path)
    array = _channels_first(path, array, axes)
    valid = None
    if nodata is not None:
        lacking = np.isnan(array).all(0) if np.isnan(nodata) else (array == nodata).all(0)
        if lacking.any():
            valid = ~lacking
            if np.isnan(nodata):
                array = np.where(lacking, 0, array).astype(array.dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(
            f"{path} has {count} pixels that are NaN or infinite; replace them or name a no-data value in the file"
        )
    return Image(array=array, grid=grid, valid=valid, source=str(path))


def read_tiff_mask(path: Path) -> NDArray[Any]:
    """Read a mask as its file holds it: ``(h, w)`` numbers or ``(h, w, 3)`` colours.

    Raises:
        InputError: See `read_tiff`; or the values are not whole numbers.
    """
    array, axes, _, _ = _load(path)
    planes = _channels_first(path, array, axes)
    if len(planes) in (3, 4) and not (planes[:1] == planes[:3]).all():
        return np.ascontiguousarray(np.moveaxis(planes[:3], 0, -1))
    plane = planes[0]
    if len(planes) not in (1, 2, 3, 4):
        raise InputError(f"{path} has {len(planes)} channels; a mask has one, or three that hold a colour")
    if plane.dtype.kind == "f":
        if not (plane == np.round(plane)).all():
            raise InputError(f"{path} holds fractions; a mask needs whole numbers, one a class")
        plane = plane.astype(np.int32)
    return plane


def write_tiff(path: Path, array: NDArray[Any], *, colours: Any = None, grid: Grid | None = None) -> None:
    """Write ``(h, w)``, ``(h, w, 3)`` or ``(c, h, w)`` pixels, DEFLATE-compressed, with the spacing.

    Raises:
        OutputError: The file cannot be written.
    """
    import tifffile

    options: dict[str, Any] = {"compression": "zlib", "compressionargs": {"level": 1}}
    if colours is not None and array.dtype == np.uint8:
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(colours)] = np.asarray(colours, np.uint16).T * 257
        table[:, 255] = 65535
        options |= {"photometric": "palette", "colormap": table}
    elif array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8:
        options["photometric"] = "rgb"
    else:
        options["photometric"] = "minisblack"
    spacing = None if grid is None or grid.unit is None or grid.spacing is None else grid.spacing
    to_cm = None if grid is None else {"um": 1e4, "µm": 1e4, "mm": 10.0, "nm": 1e7, "cm": 1.0}.get(grid.unit or "")
    if spacing is not None and to_cm is not None:
        options |= {"resolution": (to_cm / spacing[-1], to_cm / spacing[-2]), "resolutionunit": "CENTIMETER"}
    with atomic(path) as temporary:
        tifffile.imwrite(temporary, array, **options)


def _load(path: Path) -> tuple[NDArray[Any], str, Grid, float | None]:
    import tifffile

    from catenary.io.pictures import LARGEST, read_bytes

    if not path.is_file() or path.stat().st_size == 0:
        read_bytes(path)  # raises the right sentence
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters is raised
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if int(np.prod(series.shape, dtype=np.int64)) > LARGEST * 4:
                raise InputError(f"{path} has shape {series.shape}, too large to read whole; cut it into parts")
            array = series.asarray()
            page = file.pages.first
            grid, nodata = _grid(file, page), getattr(page, "nodata", None)
            if page.tags.get("GDAL_NODATA") is None:
                nodata = None
            return array, series.axes, grid, None if nodata is None else float(nodata)
    except InputError:
        raise
    except Exception as error:  # the library raises many kinds for damaged files
        raise InputError(f"{path} is truncated or damaged ({error}); copy it again from its source") from error


def _channels_first(path: Path, array: NDArray[Any], axes: str) -> NDArray[Any]:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    array = array.reshape([n for n in array.shape if n != 1] or [1, 1]) if array.ndim > 3 else array
    if array.ndim < 2:
        array = np.atleast_2d(array)
    if array.ndim == 2:
        return array[None]
    if array.ndim > 3:
        raise InputError(f"{path} has axes {axes} of shape {array.shape}; a 2D image has rows, columns and channels")
    last = axes.endswith("S") or (array.shape[2] <= MOST_CHANNELS < array.shape[0])
    planes = np.ascontiguousarray(np.moveaxis(array, -1, 0)) if last else array
    if len(planes) > MOST_CHANNELS:
        raise InputError(f"{path} holds {len(planes)} pages: that is a volume; give single slices for a 2D model")
    if last and len(planes) in (2, 4) and planes.dtype == np.uint8 and (planes[-1] == 255).all():
        planes = planes[:-1]  # an alpha channel that hides nothing
    return planes


def _grid(file: Any, page: Any) -> Grid:
    imagej = file.imagej_metadata or {}
    unit = {"micron": "um", "\\u00B5m": "um", "µm": "um", "um": "um", "mm": "mm", "nm": "nm"}.get(
        imagej.get("unit", "")
    )
    x, y = page.tags.get("XResolution"), page.tags.get("YResolution")
    if x is None or y is None or not all(tag.value[0] and tag.value[1] for tag in (x, y)):
        return Grid()
    columns, rows = (tag.value[1] / tag.value[0] for tag in (x, y))
    if unit:
        return Grid(spacing=(rows, columns), unit=unit)
    resolution = page.tags.get("ResolutionUnit")
    if resolution is not None and int(resolution.value) == 3 and rows < 0.1:
        return Grid(spacing=(rows * 1e4, columns * 1e4), unit="um")
    return Grid()
