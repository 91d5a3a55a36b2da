"""TIFF: pictures and stacks, any number of channels, any type, sizes in physical units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io.files import atomic
from catenary.io.geotiff import geo_grid, geo_tags
from catenary.io.pixels import (
    check_size,
    grid_from_text,
    grid_to_text,
    levels_of_palette,
    read_bytes,
    split_alpha,
    upright,
    whole_numbers,
)
from catenary.types import IGNORE, Grid, Image

__all__ = ["read_tiff", "read_tiff_mask", "tiff_header", "write_stack", "write_tiff"]

#: Most pages of one size without a named axis that are taken for channels (more are slices), and the same where a
#: program noted the array's shape. Samples of one page are channels in any number.
MOST_PAGES, MOST_SHAPED = 8, 16

T = TypeVar("T")

_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 2, 3, 5
_ALPHA = (1, 2)
_CENTIMETRE = 3
_UNITS = {"micron": "um", "microns": "um", "\\u00b5m": "um", "µm": "um", "μm": "um", "um": "um", "mm": "mm", "nm": "nm",
          "cm": "cm", "m": "m", "pixel": None, "inch": None}  # fmt: skip
_PER_CENTIMETRE = {"um": 1e4, "mm": 10.0, "nm": 1e7, "cm": 1.0, "m": 0.01}
#: Pixels an inch that printers and screens put into files; they measure paper, not the picture's subject.
_PRINTER = (
    1,
    72,
    75,
    90,
    96,
    100,
    120,
    144,
    150,
    180,
    200,
    220,
    240,
    250,
    254,
    300,
    350,
    360,
    400,
    600,
    720,
    1200,
    2400,
)


@dataclass(frozen=True)
class _Decoded:
    """Pixels as the file holds them, upright: ``(h, w, c)`` or ``(d, h, w, c)``."""

    array: NDArray[Any]
    grid: Grid
    alpha: bool
    colours: NDArray[np.uint8] | None
    nodata: float | None


def read_tiff(path: Path) -> Image:
    """Read a TIFF (also BigTIFF, also compressed) as channels-first pixels in the file's type.

    Channels are the file's samples, its planes, or up to 8 pages of one size. A stack, ``(c, d, h, w)``, is a file
    whose pages are slices by ImageJ, OME or this package, or that has more pages than that; save a thin one with the
    axis Z, so that its slices are not taken for channels.

    Palettes become RGB (or grey, when all their colours are), 1 bit becomes 0 and 255, files in which white is zero
    are inverted, the orientation tag is applied. Spacing is taken from what this package, ImageJ, OME or a
    georeference wrote, or from a resolution in centimetres that is no printer's; dots an inch are ignored; a stack has
    one where all three sizes are known. Pixels of a GDAL no-data value, and those an alpha channel hides, are False in
    `Image.valid`, and 0.

    Raises:
        InputError: The file is missing, empty, damaged, a film, of complex numbers, or holds NaN or infinity.
    """
    found = _decode(path)
    array, valid = found.array, None
    if found.colours is not None:
        levels = levels_of_palette(found.colours)
        array = found.colours[array[..., 0]] if levels is None else levels[array]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if found.alpha:
        array, valid = split_alpha(array)
    planes = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    if found.nodata is not None:
        lacking = np.isnan(planes).any(0) if np.isnan(found.nodata) else (planes == found.nodata).all(0)
        if lacking.any():
            valid = ~lacking if valid is None else valid & ~lacking
            planes = np.where(valid, planes, np.zeros((), planes.dtype))
    if planes.dtype.kind == "f" and not np.isfinite(planes).all():
        count = int((~np.isfinite(planes)).sum())
        raise InputError(
            f"{path} has {count} pixels that are NaN or infinite; replace them or name a no-data value in the file"
        )
    return Image(array=planes, grid=found.grid, valid=valid, source=str(path))


def read_tiff_mask(path: Path, *, palette: str = "index") -> NDArray[Any]:
    """Read a mask as its file holds it: ``(h, w)`` or ``(d, h, w)`` numbers, or ``(h, w, 3)`` colours.

    Args:
        path: The file.
        palette: What the pixels of a palette image are: its ``"index"``, or the ``"colour"``.

    Raises:
        InputError: See `read_tiff`; or the values are not whole numbers.
    """
    found = _decode(path)
    array = found.array
    if found.colours is not None:
        levels = levels_of_palette(found.colours)
        if levels is not None or palette == "colour":
            array = levels[array] if levels is not None else found.colours[array[..., 0]]
    if found.alpha:
        array, valid = split_alpha(array)
        array = array if valid is None else np.where(valid[..., None], array, np.zeros((), array.dtype))
    channels = array.shape[-1]
    if channels not in (1, 3):
        raise InputError(f"{path} has {channels} channels; a mask has one, or three that hold a colour")
    array = whole_numbers(array, path)
    if channels == 3 and not all((array[..., 0] == array[..., i]).all() for i in (1, 2)):
        if array.dtype != np.uint8 or array.ndim == 4:
            raise InputError(
                f"{path} holds colours of type {array.dtype} in {array.ndim - 1} axes; the colours of a mask are 8-bit "
                "RGB in two, and a volume's mask holds one whole number a class"
            )
        return np.ascontiguousarray(array)
    array = np.ascontiguousarray(array[..., 0])
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def tiff_header(path: Path) -> tuple[tuple[int, ...], int]:
    """Size of the upright image, ``(h, w)`` or ``(d, h, w)``, and the orientation tag (1: as it stands).

    Raises:
        InputError: The file is missing, empty, a film or not a TIFF.
    """
    with _opened(path) as file:
        page = _reading(path, lambda: file.pages.first)
        orientation = _orientation(page)
        shape = _reading(path, lambda: _arranged(path, file.series[0], _grid(file, page)).shape)[:-1]
        return (*shape[:-2], *(shape[:-3:-1] if orientation >= 5 else shape[-2:])), orientation


def write_tiff(
    path: Path,
    array: NDArray[Any],
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
    grid: Grid | None = None,
) -> None:
    """Write ``(h, w)`` or ``(h, w, c)`` pixels of any type, DEFLATE-compressed, with the grid.

    Three channels of whole numbers are RGB, other channels are planes without a meaning. With `colours`, the file
    is a palette image that holds the indices.

    Raises:
        OutputError: The file cannot be written.
    """
    import tifffile

    options: dict[str, Any] = {"compression": "zlib", "compressionargs": {"level": 1}, "metadata": None}
    options |= {"predictor": 3 if array.dtype.kind == "f" and array.dtype.itemsize in (2, 4, 8) else None}
    if colours is not None and array.dtype == np.uint8:
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(colours)] = np.asarray(colours, np.uint16).T * 257
        table[:, IGNORE] = (65535, 0, 65535)  # not grey, whatever the classes have: readers keep the indices
        options |= {"photometric": "palette", "colormap": table}
    elif array.ndim == 3 and array.shape[2] == 3 and array.dtype in (np.uint8, np.uint16):
        options |= {"photometric": "rgb"}
    else:
        options |= {"photometric": "minisblack"}
        if array.ndim == 3:
            array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
            options |= {"planarconfig": "separate", "extrasamples": [0] * (len(array) - 1)} if len(array) > 1 else {}
            array = array[0] if len(array) == 1 else array
    if grid is not None and grid.spacing is not None and grid.unit in _PER_CENTIMETRE:
        each = _PER_CENTIMETRE[grid.unit]
        options |= {"resolution": (each / grid.spacing[-1], each / grid.spacing[-2]), "resolutionunit": _CENTIMETRE}
    options |= {"description": grid_to_text(grid), "extratags": geo_tags(grid), "software": "catenary"}
    with atomic(path) as temporary:
        tifffile.imwrite(temporary, array, **options)


def write_stack(
    path: Path,
    array: NDArray[Any],
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
    grid: Grid | None = None,
) -> None:
    """Write a volume ``(d, h, w)`` or ``(c, d, h, w)`` as OME-TIFF, a page a slice, DEFLATE-compressed, with the grid.

    The slices stand in the order of the array; `colours` are not kept.

    Raises:
        OutputError: The file cannot be written.
    """
    import tifffile

    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    metadata: dict[str, Any] = {"axes": "CZYX"[-array.ndim :], "Description": grid_to_text(grid)}
    if grid is not None and grid.spacing is not None and grid.unit is not None:
        for axis, size in zip("ZYX", grid.spacing, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": grid.unit.replace("u", "µ")}
    options: dict[str, Any] = {"compression": "zlib", "compressionargs": {"level": 1}, "photometric": "minisblack"}
    with atomic(path) as temporary:
        tifffile.imwrite(temporary, array, ome=True, metadata=metadata, software="catenary", **options)


def _opened(path: Path) -> Any:
    import tifffile

    if not path.is_file() or path.stat().st_size == 0:
        read_bytes(path)  # raises the right sentence
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters is raised
    return _reading(path, lambda: tifffile.TiffFile(path))


def _reading(path: Path, action: Callable[[], T]) -> T:
    try:
        return action()
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its rights") from error
    except Exception as error:  # the library raises many kinds for damaged files
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"{path} is truncated or damaged ({reason}); copy it again from its source") from error


def _decode(path: Path) -> _Decoded:
    with _opened(path) as file:
        return _reading(path, lambda: _decode_file(path, file))


def _decode_file(path: Path, file: Any) -> _Decoded:
    page = file.pages.first
    check_size(path, int(page.imagelength), int(page.imagewidth))
    series, *others = file.series
    rival = [other for other in others if np.prod(other.shape) >= np.prod(series.shape)]
    if rival:
        raise InputError(
            f"{path} holds several images ({series.shape} and {rival[0].shape}); save the one that is meant alone"
        )
    if page.photometric is not None and int(page.photometric) == _CMYK:
        raise InputError(f"{path} is CMYK, made for printing; save it as RGB")
    if series.dtype is None or series.dtype.kind not in "buif":
        raise InputError(f"{path} holds values of type {series.dtype}; images are whole or real numbers")
    grid = _grid(file, page)
    arranged = _arranged(path, series, grid)
    check_size(path, *arranged.shape)
    array = np.asarray(series.asarray()).reshape(arranged.sizes).transpose(arranged.order).reshape(arranged.shape)
    if int(page.photometric) == _WHITE_IS_ZERO and array.dtype.kind in "bu":
        array = ~array
    extra = tuple(int(sample) for sample in page.extrasamples)
    colours = None
    if int(page.photometric) == _PALETTE and page.colormap is not None and array.shape[-1] == 1:
        table = np.asarray(page.colormap).T
        colours = (table >> 8 if table.max(initial=0) > IGNORE else table).astype(np.uint8)
    return _Decoded(
        array=np.ascontiguousarray(_upright(array, _orientation(page))),
        grid=grid if grid.spacing is None or len(grid.spacing) == array.ndim - 1 else Grid(),
        alpha=len(extra) == 1 and extra[0] in _ALPHA and array.shape[-1] in (2, 4),
        colours=colours,
        nodata=_nodata(page),
    )


@dataclass(frozen=True)
class _Arranged:
    """How the axes of a file become ``(h, w, c)`` or ``(d, h, w, c)``: its sizes, their order, the sizes found."""

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]


def _arranged(path: Path, series: Any, grid: Grid) -> _Arranged:
    """What the axes of a file mean; what is neither picture nor stack is refused before it is decoded."""
    axes = [(name, int(size)) for name, size in zip(series.axes, series.shape, strict=True) if size > 1 or name in "YX"]
    names, sizes = "".join(name for name, _ in axes), tuple(size for _, size in axes)
    other = [name for name in names if name not in "YXSC"]
    if other and other[0] not in "ZTLR" and len(names) == 3:  # pages that no program named
        told = series.kind == "shaped"
        if told and names[0] == other[0] and min(*sizes[:2], MOST_SHAPED + 1) > sizes[2]:
            # A program wrote (rows, columns, channels) and the library made a page of each row.
            names = "YXC"
        else:
            few = len(grid.spacing or ()) != 3 and sizes[names.index(other[0])] <= (MOST_SHAPED if told else MOST_PAGES)
            names = names.replace(other[0], "C" if few else "Z")
    if len(set(names)) != len(names) or not {"Y", "X"} <= set(names) <= set("ZYXSC") or {"S", "C"} <= set(names):
        raise InputError(
            f"{path} has axes {series.axes} of {'x'.join(map(str, series.shape))}: a film or a set of several volumes; "
            "save one picture, or one stack with the axis Z and channels at most (in ImageJ: Hyperstacks, Re-order)"
        )
    if len(grid.spacing or ()) == 3 and "Z" not in names:  # a stack of one slice
        names, sizes = "Z" + names, (1, *sizes)
    if not set("SC") & set(names):
        names, sizes = names + "C", (*sizes, 1)
    order = tuple(names.index(name) for name in "ZYXSC" if name in names)
    return _Arranged(sizes, order, tuple(sizes[k] for k in order))


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    if array.ndim == 3:
        return upright(array, orientation)
    return np.moveaxis(upright(np.moveaxis(array, 0, -1), orientation), -1, 0)


def _orientation(page: Any) -> int:
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1


def _nodata(page: Any) -> float | None:
    tag = page.tags.get("GDAL_NODATA")
    try:
        return None if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:
        return None


def _grid(file: Any, page: Any) -> Grid:
    """The most trustworthy statement about size and place: our own, a georeference, OME, ImageJ, the resolution."""
    own = grid_from_text(page.description)
    if own is not None:
        return own
    placed = geo_grid(page.geotiff_tags or {}) if page.tags.get(33550) or page.tags.get(34264) else Grid()
    if placed.affine is not None:
        return placed
    if page.is_ome or file.is_ome:
        return _ome(file.ome_metadata or "")
    x, y = page.tags.get("XResolution"), page.tags.get("YResolution")
    if x is None or y is None or not all(tag.value[0] and tag.value[1] for tag in (x, y)):
        return Grid()
    across, down = (tag.value[0] / tag.value[1] for tag in (x, y))
    imagej = file.imagej_metadata or {}
    unit = _UNITS.get(str(imagej.get("unit", "")).lower())
    if imagej:
        # "spacing" also stands in pictures that were cut from a stack.
        deep = (float(imagej.get("spacing", 0)),) if imagej.get("slices", 1) > 1 else ()
        return Grid(spacing=(*deep, 1 / down, 1 / across), unit=unit) if unit and all(n > 0 for n in deep) else Grid()
    resolution = page.tags.get("ResolutionUnit")
    printer = any(abs(across * 2.54 - dots) < 0.02 * dots or across == dots for dots in _PRINTER)
    if resolution is not None and int(resolution.value) == _CENTIMETRE and not printer:
        return Grid(spacing=(1e4 / down, 1e4 / across), unit="um")
    return Grid()


def _ome(xml: str) -> Grid:
    """The grid that this package noted in the description of an OME file, else the sizes that OME states."""
    import re
    from html import unescape

    noted = re.search(r"<Description>(.*?)</Description>", xml, re.DOTALL)
    own = grid_from_text(unescape(noted.group(1)) if noted else None)
    if own is not None:
        return own
    spacing, units = [], set()
    deep = re.search(r'\bSizeZ="([0-9]+)"', xml)
    for axis in "ZYX" if deep and int(deep.group(1)) > 1 else "YX":
        size = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', xml)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', xml)
        units.add(_UNITS.get(unescape(unit.group(1)).lower()) if unit else "um")
        spacing.append(float(size.group(1)) if size else 0.0)
    if min(spacing) <= 0 or len(units) != 1 or None in units:
        return Grid()
    return Grid(spacing=tuple(spacing), unit=units.pop())
