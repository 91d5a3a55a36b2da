"""The slices of a DICOM series, by pydicom: found in a folder, a zip archive or one file, sorted, and checked."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from catenary.errors import CatenaryError, InputError, MissingExtra
from catenary.io.orient import SQUARE
from catenary.io.pixels import LARGEST, check_size

__all__ = ["Frame", "Series", "is_segmentation", "is_series", "load_pydicom", "open_series", "reading", "told"]

#: Opens a file for reading bytes.
Opener = Callable[[], Any]

#: Most bytes that the files of an archive may have together when unpacked.
LARGEST_ARCHIVE = 4 * LARGEST
#: Deviation from even distances between slices, in parts of a distance, that the rounding of headers explains.
_UNEVEN = 0.1
#: Files of a folder that are looked at before it is held for one without DICOM.
_LOOKED_AT = 8
#: From DICOM's world (to the left, back and head) to that of a grid.
_LPS = np.array([-1.0, -1.0, 1.0])
#: Bit of a member's flags in an archive.
_ENCRYPTED = 1


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One slice of a series.

    Attributes:
        file: Name of its file within the source.
        header: The file's pydicom data set without pixels.
        number: Its place among the frames of its file, from 0.
        size: Columns and rows.
        position: Centre of its first pixel, in millimetres to the left, back and head; None where not stated.
        directions: Along a row and along a column, six cosines; None where not stated.
        spacing: Millimetres between rows and between columns; None where not stated.
        thickness: Stated millimetres from slice to slice, else of a slice; None where neither is.
        rescale: Slope and intercept from stored values to those meant.
    """

    file: str
    header: Any
    number: int
    size: tuple[int, int]
    position: tuple[float, ...] | None
    directions: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: tuple[float, ...] | None
    rescale: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Series:
    """The slices of a volume in order.

    Attributes:
        frames: Sorted along the normal of the slices.
        shape: Columns, rows and slices: the file's own axes ``(i, j, k)``.
        affine: From their indices to millimetres to the right, front and head; None for a picture without a place.
        files: How to open each file.
    """

    frames: tuple[Frame, ...]
    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"] | None
    files: dict[str, Opener]

    @property
    def headers(self) -> dict[str, Any]:
        """The header of each file, in the order of the slices."""
        return {frame.file: frame.header for frame in self.frames}


def is_series(folder: Path) -> bool:
    """Whether a folder directly holds several DICOM files of one series, and so is one image.

    A folder whose DICOM files are each a series of their own holds several images.
    """
    seen: set[str] = set()
    files = _in_folder(folder, "*")
    if not any(_is_dicom(folder, *file) for file in islice(files.items(), _LOOKED_AT)):
        return False
    for name, action in files.items():
        if _is_dicom(folder, name, action):
            with reading(folder, name):
                uid = str(_header(folder, name, action).get("SeriesInstanceUID", name))
            if uid in seen:
                return True
            seen.add(uid)
    return False


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM segmentation, an answer and no image."""
    file = path, path.name, partial(path.open, "rb")
    with reading(path, path.name):
        return path.is_file() and _is_dicom(*file) and _is_answer(_header(*file))


@contextmanager
def open_series(path: Path) -> Iterator[Series]:
    """The one series of a folder, archive or file, its headers read and checked; open while the block runs.

    Raises:
        InputError: See `read_dicom`.
    """
    with reading(path, path.name), _files(path) as files:
        files = {name: action for name, action in files.items() if _is_dicom(path, name, action)}
        if not files:
            what = "is a folder that holds" if path.is_dir() else "holds"
            raise InputError(
                f"{path} {what} no DICOM file; give a file, or a folder or zip archive of one DICOM series"
            )
        headers = {name: _header(path, name, action) for name, action in files.items()}
        headers = {name: header for name, header in headers.items() if "Rows" in header and not _is_answer(header)}
        if not headers:
            raise InputError(f"{path} holds DICOM files without an image only; give the files of one image series")
        _one_series(path, list(headers.values()))
        frames: list[Frame] = []
        for name, header in headers.items():
            with reading(path, name):
                frames += _frames(path, name, header)
        sizes = sorted({frame.size for frame in frames})
        if len(sizes) > 1:
            found = ", ".join(f"{rows}x{columns}" for columns, rows in sizes)
            raise InputError(f"{path} has slices of several sizes ({found}); give the files of one volume")
        check_size(path, len(frames), *sizes[0])
        if len(frames) == 1 and frames[0].position is None:
            affine = None
        else:
            frames, affine = _placed(path, frames)
        yield Series(frames=tuple(frames), shape=(*sizes[0], len(frames)), affine=affine, files=files)


@contextmanager
def _files(path: Path) -> Iterator[dict[str, Opener]]:
    """How to open each file of a folder, an archive or a single file, by name."""
    if path.is_dir():
        yield _in_folder(path, "**/*")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            size = sum(member.file_size for member in members)  # zipfile reads no more of a member than this
            if size > LARGEST_ARCHIVE:
                raise InputError(
                    f"{path} would unpack to {size} bytes, more than the {LARGEST_ARCHIVE} that are read; unpack it "
                    "and give the folder of one series"
                )
            if any(member.flag_bits & _ENCRYPTED for member in members):
                raise InputError(f"{path} is locked with a password; pack the files again without one")
            yield {member.filename: partial(archive.open, member) for member in members}
    else:
        yield {path.name: partial(path.open, "rb")}


def _in_folder(path: Path, pattern: str) -> dict[str, Opener]:
    files = sorted(f for f in path.glob(pattern) if f.is_file() and not f.name.startswith("."))
    return {str(file.relative_to(path)): partial(file.open, "rb") for file in files}


def _is_dicom(path: Path, name: str, action: Opener) -> bool:
    with reading(path, name), action() as file:
        return bool(file.read(132)[128:] == b"DICM")


def _is_answer(header: Any) -> bool:
    """Whether a file is a segmentation, which may lie beside its series."""
    return str(header.get("Modality", "")) == "SEG"


def _header(path: Path, name: str, action: Opener) -> Any:
    pydicom = load_pydicom()
    with reading(path, name), action() as file:
        return pydicom.dcmread(file, stop_before_pixels=True)


def _one_series(path: Path, headers: Sequence[Any]) -> None:
    counts = Counter((str(h.get("SeriesInstanceUID", "none")), str(h.get("Modality", "?"))) for h in headers)
    if len(counts) > 1:
        parts = [f"{uid} ({modality}, {n} {_plural(n, 'file')})" for (uid, modality), n in counts.most_common(4)]
        more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
        raise InputError(
            f"{path} mixes {len(counts)} series by SeriesInstanceUID: {', '.join(parts)}{more}; give each series a "
            "folder of its own"
        )


def _frames(path: Path, name: str, header: Any) -> list[Frame]:
    """The slices of a file, by its own attributes or, in enhanced files, by the functional groups of each frame."""
    count = int(header.get("NumberOfFrames", 1) or 1)
    each = header.get("PerFrameFunctionalGroupsSequence") or [{}] * count
    shared = (header.get("SharedFunctionalGroupsSequence") or [{}])[0]
    if "ModalityLUTSequence" in header:
        raise InputError(f"{told(path, name)} maps its values by a table (Modality LUT); convert it to plain values")
    if len(each) != count:
        raise InputError(f"{told(path, name)} states {count} frames but describes {len(each)}; copy it again")

    def numbers(groups: Any, sequence: str, keyword: str, length: int) -> tuple[float, ...] | None:
        holder = (groups.get(sequence) or shared.get(sequence) or [header])[0]
        value = holder.get(keyword)
        found = () if value is None else tuple(map(float, value if length > 1 else [value]))
        return found if len(found) == length and np.isfinite(found).all() else None

    found = []
    for number, groups in enumerate(each):
        slope = numbers(groups, "PixelValueTransformationSequence", "RescaleSlope", 1) or (1.0,)
        intercept = numbers(groups, "PixelValueTransformationSequence", "RescaleIntercept", 1) or (0.0,)
        between = numbers(groups, "PixelMeasuresSequence", "SpacingBetweenSlices", 1)
        spacing = numbers(groups, "PixelMeasuresSequence", "PixelSpacing", 2)
        found.append(
            Frame(
                file=name,
                header=header,
                number=number,
                size=(int(header.Columns), int(header.Rows)),
                position=numbers(groups, "PlanePositionSequence", "ImagePositionPatient", 3),
                directions=numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
                spacing=spacing or numbers({}, "", "ImagerPixelSpacing", 2),
                thickness=between or numbers(groups, "PixelMeasuresSequence", "SliceThickness", 1),
                rescale=(slope[0], intercept[0]),
            )
        )
    return found


def _placed(path: Path, frames: Sequence[Frame]) -> tuple[list[Frame], Float64[np.ndarray, "4 4"]]:
    """The slices in order, and the affine of their indices ``(i, j, k)``."""
    for frame in frames:
        for value, keyword in (
            (frame.position, "image position (ImagePositionPatient)"),
            (frame.directions, "orientation (ImageOrientationPatient)"),
            (frame.spacing, "PixelSpacing"),
        ):
            if value is None:
                raise InputError(
                    f"{told(path, frame.file)} has in frame {frame.number + 1} no {keyword}, so that its place in the "
                    "volume is unknown; export the original series, or convert it to NIfTI with known geometry"
                )
    for what in ("directions", "spacing"):
        values = np.array([getattr(frame, what) for frame in frames])
        if np.abs(values - values[0]).max() > SQUARE:
            other = int(np.abs(values - values[0]).max(1).argmax())
            raise InputError(
                f"{path} has slices that differ in {what}: {frames[0].file} {_short(values[0])} and "
                f"{frames[other].file} {_short(values[other])}; give each volume a folder of its own"
            )
    along_row, along_column = np.reshape(frames[0].directions or (), (2, 3))
    normal = np.cross(along_row, along_column)
    frames = sorted(frames, key=lambda frame: float(normal @ np.array(frame.position)))
    positions = np.array([frame.position for frame in frames])
    if len(frames) > 1:
        step = _step(path, frames, positions, normal)
    else:
        (thickness,) = frames[0].thickness or (0.0,)
        if thickness <= 0:
            raise InputError(f"{path} is one slice of unknown thickness; give the whole series, or set SliceThickness")
        step = normal * thickness
    rows, columns = frames[0].spacing or ()
    affine = np.eye(4)
    affine[:3] = np.stack([along_row * columns, along_column * rows, step, positions[0]], axis=1) * _LPS[:, None]
    return frames, affine


def _step(path: Path, frames: Sequence[Frame], positions: NDArray[Any], normal: NDArray[Any]) -> NDArray[np.float64]:
    """From one slice to the next, in millimetres; what is no even stack is refused."""
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    same = np.flatnonzero(gaps < 1e-3 * max(usual, 1.0))
    if len(same):
        raise InputError(
            f"{path} has {len(same) + 1} or more slices at equal positions, for example {frames[same[0]].file} and "
            f"{frames[same[0] + 1].file} at {heights[same[0]]:.2f} mm; give one time, echo or direction a folder"
        )
    lacking = [(int(k), round(gaps[k] / usual) - 1) for k in np.flatnonzero(gaps > 1.5 * usual)]
    if lacking:
        count = sum(n for _, n in lacking)
        parts = [f"{n} between {frames[k].file} and {frames[k + 1].file} ({heights[k]:.2f} mm)" for k, n in lacking[:3]]
        more = f" and {len(lacking) - 3} more gaps" if len(lacking) > 3 else ""
        raise InputError(
            f"{path} misses {count} {_plural(count, 'slice')} of a spacing of {usual:g} mm: {', '.join(parts)}{more}; "
            "copy the missing files"
        )
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(frames) - 1)
    tilt = float(np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1))))
    if tilt > np.degrees(SQUARE):
        raise InputError(
            f"{path} is sheared: its slices are stacked {tilt:.1f} degrees off their normal (gantry tilt); resample it "
            "onto a rectangular grid, for example with dcm2niix"
        )
    line = positions[0] + np.arange(len(frames))[:, None] * step
    if np.abs(positions - line).max() > _UNEVEN * usual:
        raise InputError(
            f"{path} has slices that are {gaps.min():g} to {gaps.max():g} mm apart and not evenly in a row; resample "
            "it onto a rectangular grid"
        )
    return step


@contextmanager
def reading(path: Path, name: str) -> Iterator[None]:
    """Turn whatever the archive, the decoders and pydicom raise for a damaged file into an `InputError`.

    pydicom converts a value when it is asked for, so that a damaged one may raise anywhere.
    """
    try:
        yield
    except (CatenaryError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{told(path, name)} is truncated or damaged ({reason}); copy it again") from error


def told(path: Path, name: str) -> str:
    """A file within a source, for messages."""
    return str(path) if path.name == name else f"{path}: {name}"


def load_pydicom() -> Any:
    """The package.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise MissingExtra("pydicom", "medical") from error
    return pydicom


def _short(values: NDArray[Any]) -> str:
    return "\\".join(f"{n:.4g}" for n in values)


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else noun + "s"
