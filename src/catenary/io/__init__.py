"""Reading and writing pixels, one file a format family.

`READERS`, `MASK_READERS` and `WRITERS` say which function serves which ending; one line adds a format. What a file
is, its first bytes decide: a PNG that is named ``.jpg`` is read as what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, OutputError
from catenary.io.pictures import read_bytes, read_picture, read_picture_mask, write_png
from catenary.io.tiff import read_tiff, read_tiff_mask, write_tiff
from catenary.types import Grid, Image

__all__ = [
    "IMAGE_SUFFIXES",
    "MASK_READERS",
    "READERS",
    "WRITERS",
    "image_size",
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
MASK_READERS: dict[str, Callable[[Path], NDArray[Any]]] = {
    ".png": read_picture_mask,
    ".jpg": read_picture_mask,
    ".jpeg": read_picture_mask,
    ".bmp": read_picture_mask,
    ".tif": read_tiff_mask,
    ".tiff": read_tiff_mask,
}
WRITERS: dict[str, Callable[..., None]] = {".png": write_png, ".tif": write_tiff, ".tiff": write_tiff}
IMAGE_SUFFIXES = tuple(READERS)

#: First bytes of formats whose name may lie.
_SIGNATURES = {
    b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"BM": ".bmp",
    b"II*\x00": ".tif", b"MM\x00*": ".tif", b"II+\x00": ".tif", b"MM\x00+": ".tif",
}  # fmt: skip


def read_image(path: str | Path) -> Image:
    """Read an image of any supported format, channels first, in the type the file has.

    Raises:
        InputError: The file is missing, empty, truncated, of no known format, or holds NaN.
    """
    path = Path(path)
    return READERS[_kind(path)](path)


def read_mask(path: str | Path) -> NDArray[Any]:
    """Read a mask as its file holds it: ``(h, w)`` whole numbers, or ``(h, w, 3)`` uint8 colours.

    Raises:
        InputError: See `read_image`.
    """
    path = Path(path)
    return MASK_READERS[_kind(path)](path)


def image_size(path: str | Path) -> tuple[int, int]:
    """Rows and columns of an image file, from its header alone.

    Raises:
        InputError: The file is missing or of no known format.
    """
    path = Path(path)
    if _kind(path) in (".tif", ".tiff"):
        import tifffile

        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            return int(page.imagelength), int(page.imagewidth)
    from PIL import Image as Pillow

    with Pillow.open(path) as picture:
        return picture.height, picture.width


def write_image(path: str | Path, array: Shaped[np.ndarray, "*s"], *, grid: Grid | None = None) -> None:
    """Write ``(c, h, w)`` or ``(h, w)`` pixels in the format of the ending.

    Raises:
        OutputError: The ending is not known or the file cannot be written.
        InputError: The format does not hold this type or number of channels.
    """
    if array.ndim == 3:
        array = array[0] if len(array) == 1 else array
    if array.ndim == 3 and len(array) == 3:
        array = np.ascontiguousarray(np.moveaxis(array, 0, -1))
    elif array.ndim == 3 and Path(path).suffix.lower() == ".png":
        raise InputError(f"PNG holds 1 or 3 channels, found {len(array)}; write {Path(path).name} as .tif")
    _writer(path)(Path(path), array, grid=grid)


def write_mask(
    path: str | Path,
    label: UInt8[np.ndarray, "h w"],
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
    grid: Grid | None = None,
) -> None:
    """Write a label map whose pixels stay class indices; `colours` show them in viewers without changing them.

    Raises:
        OutputError: The ending is not known or the file cannot be written.
    """
    _writer(path)(Path(path), label, colours=colours, grid=grid)


def write_probability(path: str | Path, probability: Float32[np.ndarray, "k h w"], *, grid: Grid | None = None) -> None:
    """Write probabilities as a TIFF of float32 channels.

    Raises:
        OutputError: The file cannot be written.
    """
    write_tiff(Path(path), probability if len(probability) > 1 else probability[0], grid=grid)


def _writer(path: str | Path) -> Callable[..., None]:
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise OutputError(f"cannot write '{suffix}' files such as {Path(path).name}; use {', '.join(WRITERS)}")
    return WRITERS[suffix]


def _kind(path: Path) -> str:
    """The ending that fits the content."""
    if path.is_dir() or not path.exists():
        read_bytes(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its rights") from error
    for signature, suffix in _SIGNATURES.items():
        if head.startswith(signature):
            return suffix
    if not head:
        read_bytes(path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise InputError(f"{path} is of no known image format; give one of {', '.join(READERS)}")
    return suffix
