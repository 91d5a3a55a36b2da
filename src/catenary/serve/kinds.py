"""What an upload is, by its content alone, and whether it is small enough to be opened. Nothing is decoded here.

Every check reads headers: a picture of a hundred megapixels is refused before its memory is asked for, an archive
before anything of it is unpacked.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from catenary.errors import InputError, MissingExtra
from catenary.serve.problem import Problem
from catenary.serve.settings import Settings

__all__ = ["ENDINGS", "VECTORS", "Facts", "facts_of", "kind_of"]

#: Kind -> ending of the stored file. A client's own ending counts for nothing.
ENDINGS = {
    "png": ".png", "jpeg": ".jpg", "bmp": ".bmp", "tiff": ".tif", "nifti": ".nii", "nifti.gz": ".nii.gz",
    "dicom": ".dcm", "zip": ".zip", "geojson": ".geojson", "gpkg": ".gpkg", "fgb": ".fgb",
}  # fmt: skip
#: Kinds of footprints.
VECTORS = ("geojson", "gpkg", "fgb")
#: Pages of a TIFF, files of an archive, bytes of its directory, and times that a file in it may be larger unpacked.
MOST_PAGES, MOST_FILES, DIRECTORY, RATIO = 4096, 5000, 4 << 20, 200
#: Bytes a pixel that decoded images may have.
BYTES = 16
#: A transfer syntax whose whole data set is one deflated stream of unknown length.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_HEAD = 4096


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a header tells.

    Attributes:
        kind: A key of `ENDINGS`.
        shape: ``(h, w)`` or ``(d, h, w)``; () where that is only known when all slices are read.
        placed: Whether it lies somewhere on earth.
    """

    kind: str
    shape: tuple[int, ...] = ()
    placed: bool = False


def kind_of(path: Path) -> str | None:
    """The kind of a file by its first bytes; None for what is not read here.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "innocent.png"
    ...     _ = file.write_bytes(b"<html><script>alert(1)</script>")
    ...     kind_of(file) is None
    True
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:2] == b"\x1f\x8b":
        return "nifti.gz" if _is_nifti(_inflated(head)) else None
    starts = {
        b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"BM": "bmp", b"II*\x00": "tiff", b"MM\x00*": "tiff",
        b"II+\x00": "tiff", b"MM\x00+": "tiff", b"PK\x03\x04": "zip", b"fgb\x03": "fgb",
    }  # fmt: skip
    for signature, kind in starts.items():
        if head.startswith(signature):
            return kind
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"SQLite format 3\x00") and head[68:72] in (b"GPKG", b"GP10", b"GP11"):
        return "gpkg"
    if _is_nifti(head):
        return "nifti"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_geojson = text.startswith(b"{") and any(word in text for word in (b'"FeatureCollection"', b'"Feature"'))
    return "geojson" if is_geojson else None


def facts_of(path: Path, kind: str, name: str, settings: Settings) -> Facts:
    """Look at a header, and refuse what is too large or damaged.

    Args:
        path: The stored file.
        kind: Of it, from `kind_of`.
        name: What the client calls it, for messages.
        settings: The limits.

    Raises:
        Problem: 413 for what is too large, 415 or 422 for what is damaged or cannot be read here.
    """
    try:
        if kind in VECTORS:
            return Facts(kind=kind)
        if kind == "zip":
            _check_archive(path, name, settings)
            return Facts(kind=kind)
        if kind == "dicom":
            _check_dicom(path.open("rb").read(_HEAD), name)
            return Facts(kind=kind)
        if kind == "tiff":
            return _tiff(path, name, settings)
        if kind in ("nifti", "nifti.gz"):
            return _nifti(path, kind, name, settings)
        from catenary.io import image_size

        shape = image_size(path)
        _check_pixels(shape, settings.max_pixels, name)
        return Facts(kind=kind, shape=shape)
    except MissingExtra as error:
        raise Problem(415, f"'{name}' cannot be read by this server: {error}") from error
    except InputError as error:
        text = str(error).replace(str(path), f"'{name}'")
        raise Problem(413 if "read whole" in text else 422, text) from error  # a size that nobody here takes


def _check_pixels(shape: tuple[int, ...], limit: int, name: str, *, channels: int = 1) -> None:
    size = math.prod(shape)
    if size > limit:
        raise Problem(
            413,
            f"'{name}' has {'x'.join(map(str, shape))} = {size / 1e6:.0f} million pixels, more than the "
            f"{limit / 1e6:.0f} million that this server takes; make it smaller, or cut it into parts",
        )
    if size * channels > BYTES * limit:
        raise Problem(413, f"'{name}' has {channels} channels, too many for its size; give fewer, or cut it into parts")


def _tiff(path: Path, name: str, settings: Settings) -> Facts:
    _check_pages(path, name)
    from catenary.io import image_size

    place = _place_of(path)
    if place is not None:
        (rows, columns), bands = place
        _check_pixels((rows, columns), settings.max_map, name, channels=bands)
        return Facts(kind="tiff", shape=(rows, columns), placed=True)
    import tifffile

    shape = image_size(path)
    limit = settings.max_pixels if len(shape) == 2 else settings.max_voxels
    try:
        with tifffile.TiffFile(path) as file:
            values = int(math.prod(file.series[0].shape))
    except Exception as error:  # tifffile raises many kinds for damaged files
        raise Problem(422, f"'{name}' is a damaged TIFF ({str(error)[:80]}); save it again") from error
    _check_pixels(shape, limit, name, channels=max(1, values // max(1, math.prod(shape))))
    return Facts(kind="tiff", shape=shape)


def _place_of(path: Path) -> tuple[tuple[int, int], int] | None:
    """Size and bands of a georeferenced TIFF; None for one without a place, or where that cannot be told."""
    try:
        import rasterio
    except ImportError:
        return None
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(path, driver="GTiff") as file:
                if file.crs is None or file.transform.is_identity or file.transform.is_degenerate:
                    return None
                return (int(file.height), int(file.width)), int(file.count)
    except (rasterio.errors.RasterioError, ValueError, OSError):
        return None


def _check_pages(path: Path, name: str) -> None:
    """Follow the chain of directories of a TIFF, which may be endless or as long as the file."""
    with path.open("rb") as file:
        head = file.read(16)
        order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\x00", b"\x00+")
        count, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
        (place,) = struct.unpack_from(order + offset, head, 8 if big else 4)
        for _ in range(MOST_PAGES):
            if place == 0:
                return
            number = _unpacked(file, place, order + count, name)
            place = _unpacked(file, place + struct.calcsize(count) + number * entry, order + offset, name)
    raise Problem(413, f"'{name}' has more than {MOST_PAGES} pages; give a file with fewer")


def _unpacked(file: BinaryIO, place: int, form: str, name: str) -> int:
    size = struct.calcsize(form)
    try:
        file.seek(place)
        found = file.read(size)
    except (OSError, OverflowError, ValueError):
        found = b""
    if len(found) < size:
        raise Problem(422, f"'{name}' is a truncated TIFF: its directory points beyond its end; send it again")
    return int(struct.unpack(form, found)[0])


def _inflated(head: bytes) -> bytes:
    """The beginning of what a gzip file holds."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 1024)
    except zlib.error:
        return b""


def _is_nifti(head: bytes) -> bool:
    return head[344:348] == b"n+1\x00" or head[4:8] == b"n+2\x00"


def _nifti(path: Path, kind: str, name: str, settings: Settings) -> Facts:
    from catenary.io import image_size

    with path.open("rb") as file:
        head = file.read(_HEAD)
    if kind == "nifti.gz":
        head = _inflated(head)
    if len(head) < 348:
        raise Problem(422, f"'{name}' is truncated: its header is not whole; send it again")
    order = "<" if struct.unpack_from("<i", head)[0] in (348, 540) else ">"
    if head[4:8] == b"n+2\x00":
        if len(head) < 540:
            raise Problem(422, f"'{name}' is truncated: its header is not whole; send it again")
        axes, sizes = struct.unpack_from(order + "q", head, 16)[0], struct.unpack_from(order + "7q", head, 24)
        bits, start = struct.unpack_from(order + "h", head, 14)[0], struct.unpack_from(order + "q", head, 168)[0]
    else:
        axes, sizes = struct.unpack_from(order + "h", head, 40)[0], struct.unpack_from(order + "7h", head, 42)
        bits, start = struct.unpack_from(order + "h", head, 72)[0], struct.unpack_from(order + "f", head, 108)[0]
    if not 1 <= axes <= 7 or min(sizes[:axes]) < 1 or not 0 <= start <= 1 << 26:
        raise Problem(422, f"'{name}' is no sound NIfTI file: its header states {axes} axes of {sizes}; save it again")
    shape = tuple(int(n) for n in (*sizes[: min(axes, 3)], 1, 1)[:3])
    channels = math.prod(int(n) for n in sizes[3:axes])
    _check_pixels(shape, settings.max_voxels, name, channels=max(1, channels * max(1, bits // 32)))
    return Facts(kind=kind, shape=image_size(path))


def _check_dicom(head: bytes, name: str) -> None:
    if _DEFLATED in head:
        raise Problem(415, f"'{name}' is a deflated DICOM file, whose size nobody knows; save it uncompressed")


def _check_archive(path: Path, name: str, settings: Settings) -> None:
    """Bound the directory before it is read, then the number of files, their sizes and their compression."""
    count, size = _directory(path, name)
    if count > MOST_FILES or size > DIRECTORY:
        raise Problem(413, f"'{name}' holds {count} files, more than the {MOST_FILES} that are taken; send one series")
    limit = 4 * settings.max_upload
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            total = sum(one.file_size for one in members)
            if total > limit:
                raise Problem(
                    413,
                    f"'{name}' would have {total / 1e6:.0f} MB unpacked, more than the {limit / 1e6:.0f} MB that are "
                    "taken; send one series",
                )
            for one in members:
                _check_member(archive, one, name)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, zlib.error, OSError) as error:
        raise Problem(422, f"'{name}' is a damaged archive ({str(error)[:80]}); pack it again") from error
    if not members:
        raise Problem(422, f"'{name}' is an empty archive; pack the files of one DICOM series")


def _check_member(archive: zipfile.ZipFile, one: Any, name: str) -> None:
    if one.flag_bits & 1:
        raise Problem(415, f"'{name}' is locked by a password; pack it without")
    if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Problem(415, f"'{name}' is packed by a rare method; pack it as an ordinary zip")
    if one.file_size > 1 << 20 and one.file_size > RATIO * max(1, one.compress_size):
        raise Problem(413, f"'{name}' holds a file that is {RATIO} times as large unpacked as packed; send real slices")
    with archive.open(one) as file:
        _check_dicom(file.read(_HEAD), name)


def _directory(path: Path, name: str) -> tuple[int, int]:
    """Number of files, and bytes of the directory, as an archive's last record states them."""
    length = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, length - 65557))
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < 22:
        raise Problem(422, f"'{name}' is a truncated archive: it has no end; send it again")
    if tail[max(0, place - 20) : place - 16] == b"PK\x06\x07":
        raise Problem(413, f"'{name}' is an archive of the kind for very many or very large files; send one series")
    count, size = struct.unpack_from("<HI", tail, place + 10)
    return int(count), int(size)
