"""Reading and writing pixels, one file a format family.

`READERS`, `MASK_READERS` and `WRITERS` say which function serves which ending; one line adds a format. What a file
is, its first bytes decide: a PNG that is named ``.jpg`` is read as what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, OutputError
from catenary.io.pictures import picture_header, read_picture, read_picture_mask, write_bmp, write_jpeg, write_png
from catenary.io.pixels import read_bytes
from catenary.io.polygons import read_xbd
from catenary.io.tiff import read_tiff, read_tiff_mask, tiff_header, write_tiff
from catenary.types import Grid, Image

__all__ = [
    "IMAGE_SUFFIXES",
    "MASK_READERS",
    "READERS",
    "WRITERS",
    "image_size",
    "orientation",
    "read_image",
    "read_mask",
    "write_image",
    "write_mask",
    "write_probability",
]

READERS: dict[str, Callable[[Path], Image]] = {
    ".png": read_picture,
    ".jpg": read_picture,
    ".jpeg": read_picture,
    ".bmp": read_picture,
    ".tif": read_tiff,
    ".tiff": read_tiff,
}
MASK_READERS: dict[str, Callable[..., NDArray[Any]]] = {
    ".png": read_picture_mask,
    ".jpg": read_picture_mask,
    ".jpeg": read_picture_mask,
    ".bmp": read_picture_mask,
    ".tif": read_tiff_mask,
    ".tiff": read_tiff_mask,
    ".json": read_xbd,
}
WRITERS: dict[str, Callable[..., None]] = {
    ".png": write_png,
    ".jpg": write_jpeg,
    ".jpeg": write_jpeg,
    ".bmp": write_bmp,
    ".tif": write_tiff,
    ".tiff": write_tiff,
}
IMAGE_SUFFIXES = tuple(READERS)

#: First bytes of each format.
_SIGNATURES = {
    b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"BM": ".bmp",
    b"II*\x00": ".tif", b"MM\x00*": ".tif", b"II+\x00": ".tif", b"MM\x00+": ".tif",
}  # fmt: skip


def read_image(path: str | Path) -> Image:
    """Read an image of any supported format, channels first, in the type the file has.

    Raises:
        InputError: The file is missing, empty, truncated, of no known format, a volume, or holds NaN.
    """
    path = Path(path)
    return READERS[_kind(path)](path)


def read_mask(path: str | Path, *, palette: Literal["index", "colour"] = "index") -> NDArray[Any]:
    """Read a mask as its file holds it: ``(h, w)`` whole numbers, or ``(h, w, 3)`` uint8 colours.

    Colours that are all grey are numbers; 1 bit is 0 and 1; transparent pixels are 0; a mask is turned upright like
    an image.

    Args:
        path: The file.
        palette: What the pixels of a palette image are: its ``"index"``, or the ``"colour"`` for sets whose
            palettes differ from file to file. Palettes that hold grey only are grey levels either way.

    Raises:
        InputError: See `read_image`; or the values are not whole numbers.
    """
    path = Path(path)
    return MASK_READERS[_kind(path, MASK_READERS)](path, palette=palette)


def image_size(path: str | Path) -> tuple[int, int]:
    """Rows and columns that `read_image` would give, from the file's header alone.

    Raises:
        InputError: The file is missing, empty or of no known format.
    """
    return _header(Path(path))[:2]


def orientation(path: str | Path) -> int:
    """The orientation that a camera noted in the file (EXIF tag 274): 1 as it stands, 2 to 8 turned when read.

    Raises:
        InputError: See `image_size`.
    """
    return _header(Path(path))[2]


def write_image(path: str | Path, array: Shaped[np.ndarray, "*s"], *, grid: Grid | None = None) -> None:
    """Write ``(c, h, w)`` or ``(h, w)`` pixels in the format of the ending.

    Raises:
        OutputError: The ending is not known or the file cannot be written.
        InputError: The format does not hold this type or number of channels.
    """
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"an image has shape (h, w) or (c, h, w), found {array.shape}; give one image")
    if array.ndim == 3:
        array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    _writer(path)(Path(path), np.ascontiguousarray(array), grid=grid)


def write_mask(
    path: str | Path,
    label: UInt8[np.ndarray, "h w"],
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
    grid: Grid | None = None,
) -> None:
    """Write a label map whose pixels stay class indices; `colours` show them in viewers without changing them.

    Args:
        path: PNG, BMP or TIFF.
        label: Class indices, 255 to ignore.
        colours: Colour of each class in index order; makes a palette image.
        grid: Kept in PNG and TIFF.

    Raises:
        OutputError: The ending is not known, is JPEG (which changes values), or the file cannot be written.
    """
    if Path(path).suffix.lower() in (".jpg", ".jpeg"):
        raise OutputError(f"JPEG changes the values of a mask; write {Path(path).name} as .png or .tif")
    _writer(path)(Path(path), np.ascontiguousarray(label), colours=colours, grid=grid)


def write_probability(path: str | Path, probability: Float32[np.ndarray, "k h w"], *, grid: Grid | None = None) -> None:
    """Write probabilities as a TIFF of float32 planes, whatever the ending: no other format keeps them.

    Raises:
        OutputError: The file cannot be written.
    """
    planes = probability[0] if len(probability) == 1 else np.moveaxis(probability, 0, -1)
    write_tiff(Path(path), planes, grid=grid)


def _writer(path: str | Path) -> Callable[..., None]:
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise OutputError(f"cannot write '{suffix}' files such as {Path(path).name}; use {', '.join(WRITERS)}")
    return WRITERS[suffix]


def _header(path: Path) -> tuple[int, int, int]:
    return tiff_header(path) if _kind(path) in (".tif", ".tiff") else picture_header(path)


def _kind(path: Path, readers: Mapping[str, object] = READERS) -> str:
    """The ending that fits the content."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        head = b""
    if not head:
        read_bytes(path)  # raises the sentence for what is missing, a folder, without rights, or empty
    for signature, suffix in _SIGNATURES.items():
        if head.startswith(signature):
            return suffix
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise InputError(f"{path} is of no known image format; give one of {', '.join(readers)}")
    return suffix
