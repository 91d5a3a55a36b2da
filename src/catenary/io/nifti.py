"""NIfTI scans, by nibabel."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy.typing import NDArray

from catenary.errors import InputError, MissingExtra
from catenary.io.files import atomic
from catenary.io.orient import MILLIMETRES, canonical_grid, canonical_shape
from catenary.io.pixels import check_size
from catenary.io.scans import file_pixels, scan_image
from catenary.types import Grid, Image

__all__ = ["nifti_size", "read_nifti", "write_nifti"]

#: Name of each unit in a header.
_UNITS = {"micron": "um", "mm": "mm", "meter": "m"}
_SCANNER = 1


def read_nifti(path: Path) -> Image:
    """A scan in canonical orientation, ``(c, d, h, w)``; the fourth axis of a file (modalities, times) is channels.

    Pixels are in the file's type, or float32 where the header scales them. The place is that of the header's sform,
    else of its qform, else of the voxel size alone (as nibabel chooses); micrometres and metres become millimetres.

    Raises:
        InputError: The file is truncated or no NIfTI, has five axes, holds NaN or colours, or its axes are not at
            right angles.
        MissingExtra: nibabel is not installed.
    """
    file, shape, affine = _opened(path)
    try:
        array = np.asanyarray(file.dataobj)
    except Exception as error:  # zlib, gzip and nibabel each raise their own
        raise _damaged(path, error) from error
    return scan_image(np.moveaxis(array.reshape(shape), -1, 0), affine, path)


def nifti_size(path: Path) -> tuple[int, ...]:
    """Size ``(d, h, w)`` in canonical orientation, from the header alone.

    Raises:
        InputError: See `read_nifti`.
    """
    _, shape, affine = _opened(path)
    return canonical_shape(shape[:3], canonical_grid(shape[:3], affine, source=str(path)))


def write_nifti(
    path: Path, array: Shaped[np.ndarray, "*c d h w"], *, grid: Grid | None = None, colours: Any = None
) -> None:
    """Write a volume in the orientation of the file that `grid` came from; channels become the fourth axis.

    Raises:
        OutputError: The file cannot be written.
        MissingExtra: nibabel is not installed.
    """
    nib = _nibabel()
    pixels, affine = file_pixels(array, grid)
    if pixels.ndim == 4:
        pixels = np.moveaxis(pixels, 0, -1)
    file = nib.Nifti1Image(pixels, affine, dtype=pixels.dtype)
    file.set_sform(affine, _SCANNER)
    file.set_qform(affine, _SCANNER)
    file.header.set_xyzt_units("mm")
    with atomic(path, ".nii.gz" if path.name.lower().endswith(".gz") else ".nii") as temporary:
        nib.save(file, temporary)


def _opened(path: Path) -> tuple[Any, tuple[int, int, int, int], Float64[np.ndarray, "4 4"]]:
    """The file, its size ``(i, j, k, c)``, and its affine in millimetres."""
    nib = _nibabel()
    try:
        file: Any = nib.load(path)
        unit = MILLIMETRES[_UNITS.get(file.header.get_xyzt_units()[0], "mm")]
        affine: NDArray[np.float64] = np.diag([unit, unit, unit, 1.0]) @ file.affine
        shape = tuple(map(int, file.shape))
    except Exception as error:
        raise _damaged(path, error) from error
    check_size(path, *shape)
    while len(shape) > 4 and 1 in shape[3:]:  # vector images keep their channels on the fifth axis
        place = 3 + shape[3:].index(1)
        shape = shape[:place] + shape[place + 1 :]
    if len(shape) > 4 or file.get_data_dtype().kind not in "buif":
        raise InputError(
            f"{path} holds an array {shape} of {file.get_data_dtype()}; give one volume of numbers a file, with "
            "channels on the fourth axis"
        )
    i, j, k, c = (*shape, 1, 1, 1)[:4]
    return file, (i, j, k, c), affine


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return InputError(f"{path} is truncated, damaged or no NIfTI file ({reason}); copy it again from its source")


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra("nibabel", "medical") from error
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # what matters is raised
    return nibabel
