"""What the readers of all scan formats share: checks of the pixels, and the way to an `Image` or a label map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io.orient import canonical_grid, file_affine, file_grid, from_file, to_file
from catenary.io.pixels import whole_numbers
from catenary.types import Grid, Image

__all__ = ["file_pixels", "scan_image", "scan_label"]


def scan_image(array: Shaped[np.ndarray, "c i j k"], affine: Float64[np.ndarray, "4 4"], path: Path) -> Image:
    """A scan as `Image` in canonical orientation, its pixels in the type they have, float64 as float32.

    float64 stays where float32 would overflow.

    Args:
        array: The pixels as the file orders them.
        affine: From their indices to millimetres, see `catenary.io.orient.canonical_grid`.
        path: The file, for messages.

    Raises:
        InputError: The pixels are NaN or infinite, complex or no numbers, or the affine is none of a scan.
    """
    if array.dtype.kind not in "buif":
        raise InputError(f"{path} holds values of type {array.dtype}; scans are whole or real numbers")
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            raise InputError(
                f"{path} has {int(finite.size - finite.sum())} of {finite.size} voxels that are NaN or infinite; "
                "replace them, for example by 0 (numpy.nan_to_num)"
            )
        if array.dtype.itemsize > 4 and np.abs(array).max() <= np.finfo(np.float32).max:
            array = array.astype(np.float32)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    grid = canonical_grid(array.shape[1:], affine, source=str(path))
    turned = np.ascontiguousarray(from_file(array, grid), dtype=array.dtype.newbyteorder("="))
    return Image(array=turned if turned.flags.writeable else turned.copy(), grid=grid, source=str(path))


def scan_label(image: Image) -> Shaped[np.ndarray, "d h w"]:
    """The labels that a scan of one channel holds.

    Raises:
        InputError: It holds several channels, or fractions.
    """
    if image.channels != 1:
        raise InputError(
            f"{image.source} holds {image.channels} volumes; a mask is one volume of whole numbers, one number a class"
        )
    array: NDArray[Any] = whole_numbers(image.array[0], image.source)
    # Three unsigned numbers side by side are a colour of a picture; labels of a scan three voxels wide are signed.
    return array.astype(np.int32) if array.dtype.kind == "u" and array.shape[-1] == 3 else array


def file_pixels(
    array: Shaped[np.ndarray, "*c d h w"], grid: Grid | None
) -> tuple[Shaped[np.ndarray, "*vector i j k"], Float64[np.ndarray, "4 4"]]:
    """A volume as its file orders it, and the affine that goes with it; a single channel has no axis of its own.

    Booleans and half floats, which scan formats have not, become uint8 and float32.

    Args:
        array: In canonical orientation.
        grid: Of the file that it answers; None for one about the origin.

    Raises:
        InputError: The grid is one of a 2D image.
    """
    shape = array.shape[-3:]
    placed = file_grid(grid, shape)
    if array.dtype in (np.bool_, np.float16):
        array = array.astype(np.uint8 if array.dtype == np.bool_ else np.float32)
    pixels = to_file(array, placed)
    return (pixels[0] if pixels.ndim == 4 and len(pixels) == 1 else pixels), file_affine(placed, shape)
