"""Reading and writing pixels, one file a format family.

`READERS`, `MASK_READERS`, `WRITERS` (of pictures) and `VOLUME_WRITERS` say which function serves which ending; one
line adds a format. What a file is, its first bytes decide: a PNG that is named ``.jpg`` is read as what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, OutputError
from catenary.io.dicom import dicom_size, read_dicom
from catenary.io.dicomseg import read_dicom_mask
from catenary.io.dicomseries import is_series
from catenary.io.files import ending
from catenary.io.nifti import nifti_size, read_nifti, write_nifti
from catenary.io.pictures import picture_header, read_picture, read_picture_mask, write_bmp, write_jpeg, write_png
from catenary.io.pixels import read_bytes
from catenary.io.polygons import read_xbd
from catenary.io.scans import scan_label
from catenary.io.simpleitk import itk_size, read_itk, write_itk
from catenary.io.tiff import read_tiff, read_tiff_mask, tiff_header, write_stack, write_tiff
from catenary.types import Grid, Image

__all__ = [
    "IMAGE_SUFFIXES",
    "MASK_READERS",
    "READERS",
    "VOLUME_WRITERS",
    "WRITERS",
    "ending",
    "find_images",
    "image_size",
    "is_series",
    "orientation",
    "read_image",
    "read_mask",
    "stem",
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
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".nrrd": read_itk,
    ".nhdr": read_itk,
    ".mha": read_itk,
    ".mhd": read_itk,
    ".dcm": read_dicom,
    ".zip": read_dicom,
}
#: Readers of masks whose pixels are not read as those of an image; the masks of other scans are.
MASK_READERS: dict[str, Callable[..., NDArray[Any]]] = {
    ".png": read_picture_mask,
    ".jpg": read_picture_mask,
    ".jpeg": read_picture_mask,
    ".bmp": read_picture_mask,
    ".tif": read_tiff_mask,
    ".tiff": read_tiff_mask,
    ".json": read_xbd,
    ".dcm": read_dicom_mask,
}
WRITERS: dict[str, Callable[..., None]] = {
    ".png": write_png,
    ".jpg": write_jpeg,
    ".jpeg": write_jpeg,
    ".bmp": write_bmp,
    ".tif": write_tiff,
    ".tiff": write_tiff,
}
VOLUME_WRITERS: dict[str, Callable[..., None]] = {
    ".nii.gz": write_nifti,
    ".nii": write_nifti,
    ".nrrd": write_itk,
    ".nhdr": write_itk,
    ".mha": write_itk,
    ".mhd": write_itk,
    ".tif": write_stack,
    ".tiff": write_stack,
}
#: Endings of files that are images wherever they lie (compare with `ending`); an archive is one only where it is named.
IMAGE_SUFFIXES = tuple(suffix for suffix in READERS if suffix != ".zip")

_SIZES: dict[Callable[[Path], Image], Callable[[Path], tuple[int, ...]]] = {
    read_nifti: nifti_size, read_itk: itk_size, read_dicom: dicom_size,
}  # fmt: skip
#: Where each format has which bytes.
_SIGNATURES = {
    (0, b"\x89PNG"): ".png", (0, b"\xff\xd8\xff"): ".jpg", (0, b"BM"): ".bmp",
    (0, b"II*\x00"): ".tif", (0, b"MM\x00*"): ".tif", (0, b"II+\x00"): ".tif", (0, b"MM\x00+"): ".tif",
    (0, b"PK\x03\x04"): ".zip", (128, b"DICM"): ".dcm",
}  # fmt: skip


def read_image(path: str | Path) -> Image:
    """Read an image of any supported format, channels first, in the type the file has.

    Pictures are ``(c, h, w)``. Scans and stacks are ``(c, d, h, w)``; scans are turned so that d runs to the head, h to
    the back and w to the left. A DICOM series is a folder, a ``.zip`` that is never unpacked, or one file of many
    frames.

    Raises:
        InputError: The file is missing, empty, truncated, of no known format, or holds NaN.
        MissingExtra: The package that reads the format is not installed.
    """
    path = Path(path)
    return READERS[_kind(path)](path)


def read_mask(path: str | Path, *, palette: Literal["index", "colour"] = "index") -> NDArray[Any]:
    """Read a mask as its file holds it: ``(h, w)`` or ``(d, h, w)`` whole numbers, or ``(h, w, 3)`` uint8 colours.

    Colours that are all grey are numbers; 1 bit is 0 and 1; transparent pixels are 0; a mask is turned like its image.

    Args:
        path: The file.
        palette: What the pixels of a palette image are: its ``"index"``, or the ``"colour"`` for sets whose
            palettes differ from file to file. Palettes that hold grey only are grey levels either way.

    Raises:
        InputError: See `read_image`; or the values are not whole numbers, or several channels.
    """
    path = Path(path)
    kind = _kind(path, {**READERS, **MASK_READERS})
    return MASK_READERS[kind](path, palette=palette) if kind in MASK_READERS else scan_label(READERS[kind](path))


def image_size(path: str | Path) -> tuple[int, ...]:
    """Spatial size that `read_image` would give, ``(h, w)`` or ``(d, h, w)``, from the file's header alone.

    Raises:
        InputError: The file is missing, empty or of no known format.
    """
    return _header(Path(path))[0]


def orientation(path: str | Path) -> int:
    """The orientation that a camera noted in the file (EXIF tag 274): 1 as it stands, 2 to 8 turned when read.

    Raises:
        InputError: See `image_size`.
    """
    path = Path(path)
    return 1 if READERS[_kind(path)] in _SIZES else _header(path)[1]


def write_image(path: str | Path, array: Shaped[np.ndarray, "*s"], *, grid: Grid | None = None) -> None:
    """Write pixels in the format of the ending: ``(h, w)``, ``(c, h, w)``, or ``(c, d, h, w)`` for a volume.

    Where the ending is one of volumes only, three axes are ``(d, h, w)``.

    Args:
        path: See `WRITERS` and `VOLUME_WRITERS`.
        array: The pixels, a volume in canonical orientation.
        grid: Kept in PNG, TIFF and scans; a scan is written in the orientation of the file that it came from.

    Raises:
        OutputError: The ending is not known or the file cannot be written.
        InputError: The format does not hold this type or number of channels.
    """
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise InputError(f"an image has shape (h, w), (c, h, w) or (c, d, h, w), found {array.shape}; give one image")
    if array.ndim == 4 or (array.ndim == 3 and ending(Path(path)) in VOLUME_WRITERS.keys() - WRITERS.keys()):
        _writer(path, VOLUME_WRITERS)(Path(path), array, grid=grid)
        return
    if array.ndim == 3:
        array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    _writer(path, WRITERS)(Path(path), np.ascontiguousarray(array), grid=grid)


def write_mask(
    path: str | Path,
    label: UInt8[np.ndarray, "*s"],
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
    grid: Grid | None = None,
) -> None:
    """Write a label map whose pixels stay class indices; `colours` show them in viewers without changing them.

    Args:
        path: PNG, BMP or TIFF for ``(h, w)``; NIfTI, NRRD, MetaImage or TIFF for ``(d, h, w)``.
        label: Class indices, 255 to ignore, a volume in canonical orientation.
        colours: Colour of each class in index order; makes a palette image where pictures have them.
        grid: Kept in PNG, TIFF and scans; a scan is written in the orientation of the file that it came from.

    Raises:
        OutputError: The ending is not known, is JPEG (which changes values), or the file cannot be written.
    """
    if ending(Path(path)) in (".jpg", ".jpeg"):
        raise OutputError(f"JPEG changes the values of a mask; write {Path(path).name} as .png or .tif")
    writer = _writer(path, WRITERS if label.ndim == 2 else VOLUME_WRITERS)
    writer(Path(path), np.ascontiguousarray(label), colours=colours, grid=grid)


def write_probability(path: str | Path, probability: Float32[np.ndarray, "k *s"], *, grid: Grid | None = None) -> None:
    """Write probabilities as float32 planes: a TIFF whatever the ending, or for volumes the format of the ending.

    Raises:
        OutputError: The file cannot be written, or its format holds no volume.
    """
    if probability.ndim == 4:
        _writer(path, VOLUME_WRITERS)(Path(path), probability, grid=grid)
        return
    planes = probability[0] if len(probability) == 1 else np.moveaxis(probability, 0, -1)
    write_tiff(Path(path), planes, grid=grid)


def stem(path: Path) -> str:
    """The name of an image without its ending; a folder has none.

    >>> stem(Path("a.b.NII.GZ")), stem(Path("a.b.png"))
    ('a.b', 'a.b')
    """
    return path.name if path.is_dir() else path.name[: len(path.name) - len(ending(path))]


def find_images(folder: Path, *, depth: int = 1) -> list[Path]:
    """The images in a folder, hidden ones left out: files by their endings, and each folder of a DICOM series as one.

    Args:
        folder: Where to look.
        depth: How many levels of folders; 1 is the folder itself.
    """
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if is_series(entry) if entry.is_dir() else ending(entry) in IMAGE_SUFFIXES:
            found.append(entry)
        elif entry.is_dir() and depth > 1:
            found += find_images(entry, depth=depth - 1)
    return found


def _writer(path: str | Path, writers: Mapping[str, Callable[..., None]]) -> Callable[..., None]:
    suffix = ending(Path(path))
    if suffix not in writers:
        what = "volumes to" if writers is VOLUME_WRITERS else "pictures to"
        raise OutputError(f"cannot write {what} '{suffix}' files such as {Path(path).name}; use {', '.join(writers)}")
    return writers[suffix]


def _header(path: Path) -> tuple[tuple[int, ...], int]:
    reader = READERS[_kind(path)]
    if reader in _SIZES:
        return _SIZES[reader](path), 1
    return tiff_header(path) if reader is read_tiff else picture_header(path)


def _kind(path: Path, readers: Mapping[str, object] = READERS) -> str:
    """The ending that fits the content."""
    if path.is_dir():
        return ".dcm"
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        head = b""
    if not head:
        read_bytes(path)  # raises the sentence for what is missing, without rights, or empty
    for (place, signature), suffix in _SIGNATURES.items():
        if head.startswith(signature, place):
            return suffix
    suffix = ending(path)
    if suffix not in readers:
        raise InputError(f"{path} is of no known image format; give one of {', '.join(readers)}")
    return suffix
