"""NRRD and MetaImage scans, by SimpleITK."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy.typing import NDArray

from catenary.errors import InputError, MissingExtra, writing
from catenary.io.orient import canonical_grid, canonical_shape
from catenary.io.pixels import check_size
from catenary.io.scans import file_pixels, scan_image
from catenary.types import Grid, Image

__all__ = ["itk_size", "read_itk", "write_itk"]

#: From ITK's world (to the left, back and head) to that of a grid.
_LPS = np.diag([-1.0, -1.0, 1.0])


def read_itk(path: Path) -> Image:
    """A scan in canonical orientation, ``(c, d, h, w)``; the components of vector pixels are channels.

    Raises:
        InputError: The file or the data file it names is missing, truncated or damaged, is no volume, holds NaN, or
            its axes are not at right angles.
        MissingExtra: SimpleITK is not installed.
    """
    file, _, affine = _opened(path)
    sitk = _simpleitk()
    try:
        pixels = sitk.GetArrayFromImage(file.Execute())
    except RuntimeError as error:
        raise _damaged(path, error) from error
    array: NDArray[Any] = pixels[..., None] if pixels.ndim == 3 else pixels  # (k, j, i, c)
    return scan_image(array.transpose(3, 2, 1, 0), affine, path)


def itk_size(path: Path) -> tuple[int, ...]:
    """Size ``(d, h, w)`` in canonical orientation, from the header alone.

    Raises:
        InputError: See `read_itk`.
    """
    _, shape, affine = _opened(path)
    return canonical_shape(shape, canonical_grid(shape, affine, source=str(path)))


def write_itk(
    path: Path, array: Shaped[np.ndarray, "*c d h w"], *, grid: Grid | None = None, colours: Any = None
) -> None:
    """Write a compressed volume in the orientation of the file that `grid` came from; channels become vectors.

    ``.mhd`` and ``.nhdr`` are headers, with the pixels in a second file beside them.

    Raises:
        OutputError: The file cannot be written.
        MissingExtra: SimpleITK is not installed.
    """
    sitk = _simpleitk()
    pixels, affine = file_pixels(array, grid)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(pixels.T), isVector=pixels.ndim == 4)
    image.SetSpacing(lengths.tolist())
    image.SetDirection((_LPS @ affine[:3, :3] / lengths).ravel().tolist())
    image.SetOrigin((_LPS @ affine[:3, 3]).tolist())
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
            try:
                sitk.WriteImage(image, str(Path(folder) / path.name), useCompression=True)
            except RuntimeError as error:
                raise OSError(_reason(error)) from error
            # The file that was asked for comes last: where it is, its pixels are.
            for file in sorted(Path(folder).iterdir(), key=lambda f: f.name == path.name):
                os.replace(file, path.parent / file.name)


def _opened(path: Path) -> tuple[Any, tuple[int, int, int], Float64[np.ndarray, "4 4"]]:
    """A reader that has the header, the size ``(i, j, k)``, and the affine in millimetres."""
    file = _simpleitk().ImageFileReader()
    file.SetFileName(str(path))
    try:
        file.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    shape = tuple(map(int, file.GetSize()))
    check_size(path, *shape, file.GetNumberOfComponents())
    if len(shape) != 3:
        raise InputError(f"{path} holds an array {shape}; give one volume of three axes a file, channels as vectors")
    affine = np.eye(4)
    affine[:3, :3] = _LPS @ np.reshape(file.GetDirection(), (3, 3)) * file.GetSpacing()
    affine[:3, 3] = _LPS @ file.GetOrigin()
    return file, shape, affine


def _damaged(path: Path, error: Exception) -> InputError:
    reason = _reason(error)
    told = "" if reason.startswith("Reason") else f" ({reason})"  # then it is the last error of the system, whichever
    beside = ", and the file of pixels that it names" if path.suffix.lower() in (".mhd", ".nhdr") else ""
    return InputError(f"{path} is truncated, damaged or not what its ending says{told}; copy it again{beside}")


def _reason(error: Exception) -> str:
    """The last line of ITK's report, which says what happened; the lines before say where in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition("): ")[2].rstrip(".") if lines else type(error).__name__


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingExtra("SimpleITK", "medical") from error
    sitk: Any = SimpleITK
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what matters is raised
    return sitk
