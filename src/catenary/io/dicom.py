"""DICOM images, by pydicom: the pixels of a series, as quantities, in canonical orientation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io.dicomseries import Frame, load_pydicom, open_series, reading, told
from catenary.io.orient import canonical_grid, canonical_shape
from catenary.io.scans import scan_image
from catenary.types import Grid, Image

__all__ = ["dicom_size", "read_dicom"]

#: Modalities whose values are quantities whatever way they are shown.
_QUANTITIES = ("CT", "PT")


def read_dicom(path: Path) -> Image:
    """A series in canonical orientation, ``(c, d, h, w)``; one frame without a place is a picture, ``(c, h, w)``.

    Slices are sorted by their positions along their normal; their distance is that of the positions, not the stated
    thickness. Values are rescaled as the header says and whole where slope and intercept are. Where low values are
    shown bright (MONOCHROME1), as in many radiographs, they are inverted; those of CT and PET are quantities and stay.

    Args:
        path: A folder (with its subfolders), a zip archive, which is read in place, or a file.

    Raises:
        InputError: There is no DICOM, or several series, no or equal positions, a gap, slices of several sizes or
            directions, a gantry tilt, pixels that are damaged or of an unknown encoding, or one that needs a package.
        MissingExtra: pydicom is not installed.
    """
    with open_series(path) as series:
        pixels: NDArray[Any] | None = None
        dtype = np.result_type(*(_value_type(frame) for frame in series.frames))
        read = ""
        for place, frame in sorted(enumerate(series.frames), key=lambda one: one[1].file):  # each file once
            if frame.file != read:
                read, stored = frame.file, _pixels(path, frame.file, frame.header, series.files[frame.file])
            if pixels is None:
                pixels = np.empty((stored.shape[-1], *series.shape[::-1]), dtype)
            pixels[:, place] = np.moveaxis(_values(stored[frame.number], frame, dtype), -1, 0)
        assert pixels is not None
        if series.affine is None:
            spacing = series.frames[0].spacing
            return Image(
                array=np.ascontiguousarray(pixels[:, 0]),
                grid=Grid(spacing=spacing, unit="mm") if spacing else Grid(),
                source=str(path),
            )
        return scan_image(pixels.transpose(0, 3, 2, 1), series.affine, path)


def dicom_size(path: Path) -> tuple[int, ...]:
    """Size ``(d, h, w)`` in canonical orientation, or ``(h, w)`` of a picture, from the headers alone.

    Raises:
        InputError: See `read_dicom`.
    """
    with open_series(path) as series:
        if series.affine is None:
            return series.shape[1], series.shape[0]
        return canonical_shape(series.shape, canonical_grid(series.shape, series.affine, source=str(path)))


def _pixels(path: Path, name: str, header: Any, action: Callable[[], Any]) -> NDArray[Any]:
    """The stored values of a file, ``(frames, rows, columns, c)``."""
    pydicom = load_pydicom()
    syntax: Any = header.file_meta.get("TransferSyntaxUID")
    try:
        decoder = pydicom.pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"{told(path, name)} is stored in the transfer syntax {syntax}, which is not known; save it "
            "uncompressed, for example with gdcmconv --raw"
        ) from error
    if not decoder.is_available:
        raise InputError(
            f"{told(path, name)} is compressed ({syntax.name}) and no decoder for it is installed; install one with: "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        )
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(f"{told(path, name)} holds the colours of a palette; convert it to grey or RGB")
    with reading(path, name), action() as file:
        found = np.asarray(pydicom.pixels.pixel_array(pydicom.dcmread(file)))
        count = int(header.get("NumberOfFrames", 1) or 1)
        return found.reshape(count, int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel", 1)))


def _range(header: Any) -> tuple[int, int]:
    """The least and the greatest value that the stored bits can hold."""
    bits, signed = int(header.get("BitsStored", 16)), int(header.get("PixelRepresentation", 0))
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _value_type(frame: Frame) -> np.dtype[Any]:
    """The smallest type that holds every value the frame can have."""
    if "BitsStored" not in frame.header or not all(n.is_integer() for n in frame.rescale):
        return np.dtype(np.float32)
    slope, intercept = map(int, frame.rescale)
    low, high = sorted(slope * n + intercept for n in _range(frame.header))
    return np.min_scalar_type(high if low >= 0 else min(low, -high - 1))


def _values(stored: NDArray[Any], frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    header = frame.header
    if header.get("PhotometricInterpretation") == "MONOCHROME1" and header.get("Modality") not in _QUANTITIES:
        stored = sum(_range(header)) - stored.astype(np.int64)
    if frame.rescale == (1.0, 0.0):
        return stored.astype(dtype)
    return (stored * np.float64(frame.rescale[0]) + frame.rescale[1]).astype(dtype)
