"""DICOM segmentations (DICOM-SEG), by highdicom: answers that lie on the slices of their source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, MissingExtra
from catenary.io.dicom import read_dicom
from catenary.io.dicomseries import Series, is_segmentation, open_series
from catenary.io.files import atomic
from catenary.io.orient import canonical_grid, canonical_shape, from_file, to_file
from catenary.io.scans import scan_label
from catenary.types import IGNORE

__all__ = ["read_dicom_mask", "read_dicom_seg", "write_dicom_seg"]

#: Lists of codes of the standard (DICOM PS3.16, context groups) in which the name of a class is looked up, and the
#: category of each.
_CODES = {"cid7194": "MorphologicallyAbnormalStructure", "cid7192": "AnatomicalStructure", "cid7191": "Tissue"}
#: Names that are common for classes, and what the standard calls them.
_CALLED = {"Tumor": "Neoplasm", "Tumour": "Neoplasm", "Oedema": "Edema"}
_SERIES_NUMBER = 1000


def write_dicom_seg(
    path: str | Path,
    label: UInt8[np.ndarray, "d h w"],
    *,
    source: str | Path,
    names: Sequence[str],
    description: str = "",
) -> None:
    """Write a label map as a binary DICOM segmentation of the series that it answers, one segment a class.

    The codes of a segment are those of the standard whose name is that of the class ("Liver", "Edema"), else plainly
    "Tissue". Slices without an object are left out, as usual.

    Args:
        path: The file.
        label: Class indices in canonical orientation; 0 is the background and 255 is not known: both are left out.
        source: The folder, archive or file of the series that was segmented.
        names: Name of each class in index order, the background first.
        description: Of the new series, at most 64 characters; made from the names by default.

    Raises:
        InputError: The source cannot be read, is no volume or of another size, lacks what a segmentation must repeat,
            or the label has a class without a name.
        OutputError: The file cannot be written.
        MissingExtra: highdicom is not installed.
    """
    hd = _highdicom()
    label = np.where(label == IGNORE, np.uint8(0), label)
    if len(names) < 2 or label.max(initial=0) >= len(names):
        raise InputError(f"the label has class {label.max(initial=0)} but names are {list(names)}; name each class")
    with open_series(Path(source)) as series:
        frames = _frames_of(label, series, source)
        segments = [_segment(hd, index, name) for index, name in enumerate(names) if index]
        try:
            found = hd.seg.Segmentation(
                source_images=list(series.headers.values()),
                pixel_array=frames,
                segmentation_type="BINARY",
                segment_descriptions=segments,
                series_instance_uid=hd.UID(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=hd.UID(),
                instance_number=1,
                manufacturer="catenary",
                manufacturer_model_name="catenary",
                software_versions=version("catenary"),
                device_serial_number="none",
                content_label="SEGMENTATION",
                omit_empty_frames=bool(label.any()),
                series_description=(description or f"Segmentation: {', '.join(names[1:])}")[:64],
            )
        except (AttributeError, KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"{source} lacks what a DICOM segmentation must repeat ({error}); complete the headers, or write NIfTI"
            ) from error
        with atomic(path) as temporary:
            found.save_as(temporary)


def read_dicom_seg(path: str | Path, *, source: str | Path | None = None) -> UInt8[np.ndarray, "d h w"]:
    """The segment number of each voxel of a DICOM segmentation, 0 for none, in canonical orientation.

    Args:
        path: The file.
        source: The series that was segmented: the answer has its size. Without it, the answer ends with the first and
            the last slice that hold an object.

    Raises:
        InputError: The file is no segmentation, has overlapping segments or more than 254, or does not lie on the
            slices of `source`.
        MissingExtra: highdicom is not installed.
    """
    hd = _highdicom()
    try:
        file = hd.seg.segread(path)
        volume = file.get_volume(combine_segments=True, dtype=np.uint8)
        if source is not None:
            with open_series(Path(source)) as series:
                volume = volume.match_geometry(_geometry(hd, series, source))
    except InputError:
        raise
    except Exception as error:  # highdicom and pydicom raise many kinds
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{path} is no DICOM segmentation that can be read here ({reason}); check the file") from error
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    return np.ascontiguousarray(from_file(volume.array, canonical_grid(volume.shape, affine, source=str(path))))


def read_dicom_mask(path: Path, *, palette: str = "index") -> NDArray[Any]:
    """A label map: of a DICOM segmentation its segment numbers, else the values of the series.

    Raises:
        InputError: See `read_dicom_seg` and `catenary.io.dicom.read_dicom`.
        MissingExtra: highdicom or pydicom is not installed.
    """
    return read_dicom_seg(path) if is_segmentation(path) else scan_label(read_dicom(path))


def _frames_of(label: NDArray[np.uint8], series: Series, source: object) -> NDArray[np.uint8]:
    """The label map in the order of the source's files and frames, ``(slices, rows, columns)``."""
    if series.affine is None:
        raise InputError(f"{source} is a picture without a place; write its mask as PNG")
    grid = canonical_grid(series.shape, series.affine, source=str(source))
    if label.shape != canonical_shape(series.shape, grid):
        raise InputError(
            f"the label is {label.shape} and {source} is {canonical_shape(series.shape, grid)}; give the series that "
            "was segmented"
        )
    slices = to_file(label, grid).transpose(2, 1, 0)
    order = np.arange(len(slices))
    if len(series.headers) == 1:
        order = np.argsort([frame.number for frame in series.frames])
    return np.ascontiguousarray(slices[order])


def _geometry(hd: Any, series: Series, source: object) -> Any:
    if series.affine is None:
        raise InputError(f"{source} is a picture without a place; give the series that was segmented")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ series.affine
    return hd.VolumeGeometry(affine, series.shape, coordinate_system="PATIENT")


def _segment(hd: Any, index: int, name: str) -> Any:
    from pydicom.sr.codedict import codes

    word = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))
    word = _CALLED.get(word, word)
    groups = (group for group in _CODES if word in getattr(codes, group).dir())
    group = next(groups, None)
    return hd.seg.SegmentDescription(
        segment_number=index,
        segment_label=name[:64],
        segmented_property_category=getattr(codes.SCT, _CODES[group] if group else "Tissue"),
        segmented_property_type=getattr(getattr(codes, group), word) if group else codes.SCT.Tissue,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="catenary", version=version("catenary"), family=codes.DCM.ArtificialIntelligence
        ),
    )


def _highdicom() -> Any:
    try:
        import highdicom
        import highdicom.seg
    except ImportError as error:
        raise MissingExtra("highdicom", "medical") from error
    return highdicom
