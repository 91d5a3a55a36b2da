"""PNG, JPEG and BMP."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io.files import atomic
from catenary.io.pixels import (
    LARGEST,
    check_size,
    grid_from_text,
    grid_to_text,
    levels_of_palette,
    read_bytes,
    split_alpha,
    upright,
)
from catenary.types import IGNORE, Grid, Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["picture_header", "read_picture", "read_picture_mask", "write_bmp", "write_jpeg", "write_png"]

#: Keyword of the PNG text chunk that keeps the grid.
_KEY = "catenary"
_ORIENTATION = 274
_END_OF_JPEG = b"\xff\xd9"


@dataclass(frozen=True)
class _Decoded:
    """Pixels as the file holds them, turned upright: ``(h, w)`` or ``(h, w, c)``."""

    array: NDArray[Any]
    alpha: bool = False
    colours: NDArray[np.uint8] | None = None
    grid: Grid = field(default_factory=Grid)


def read_picture(path: Path) -> Image:
    """Read a PNG, JPEG or BMP as channels-first pixels.

    Grey stays one channel, palettes become RGB (or grey, when all their colours are), 1 bit becomes 0 and 255,
    16-bit PNG keeps its 16 bits. The orientation that a camera noted is applied. An alpha channel, or the
    transparent colour of a PNG, becomes `Image.valid` where it hides pixels. Dots per inch are a printer's matter
    and no spacing.

    Raises:
        InputError: The file is missing, empty, truncated, not a picture, or too large.
    """
    found = _decode(path)
    array, valid = found.array, None
    if found.colours is not None:
        levels = levels_of_palette(found.colours)
        array = (found.colours if levels is None else levels)[array]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if found.alpha:
        array, valid = split_alpha(array)
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    return Image(array=np.ascontiguousarray(array), grid=found.grid, valid=valid, source=str(path))


def read_picture_mask(path: Path, *, palette: str = "index") -> NDArray[Any]:
    """Read a mask as its file holds it: ``(h, w)`` numbers, or ``(h, w, 3)`` colours.

    Colours that are grey in the whole file are numbers, 1 bit is 0 and 1, transparent pixels are 0.

    Args:
        path: The file.
        palette: What the pixels of a palette image are: its ``"index"`` (grey palettes: the grey level), or the
            ``"colour"``, for sets whose palettes differ from file to file.

    Raises:
        InputError: See `read_picture`.
    """
    found = _decode(path)
    array = found.array
    if found.colours is not None:
        levels = levels_of_palette(found.colours)
        if levels is not None:
            array = levels[array]
        elif palette == "colour":
            array = found.colours[array]
    if found.alpha:
        array, valid = split_alpha(array)
        array = array if valid is None else np.where(valid[..., None], array, np.zeros((), array.dtype))
    if array.ndim == 3 and all((array[..., 0] == array[..., i]).all() for i in range(1, array.shape[2])):
        array = array[..., 0]
    return array.astype(np.uint8) if array.dtype == np.bool_ else np.ascontiguousarray(array)


def picture_header(path: Path) -> tuple[tuple[int, int], int]:
    """Rows and columns of the upright picture, and the orientation that the camera noted (1: as it stands).

    Raises:
        InputError: The file is missing, empty or not a picture.
    """
    with _opened(path, path) as picture:
        check_size(path, picture.height, picture.width)
        orientation = _orientation(picture)
        size = (picture.width, picture.height) if orientation >= 5 else (picture.height, picture.width)
        return size, orientation


def _decode(path: Path) -> _Decoded:
    data = read_bytes(path)
    with _opened(path, io.BytesIO(data)) as picture:
        check_size(path, picture.height, picture.width)
        grid = grid_from_text(picture.info.get(_KEY)) or Grid()
        decoded = _decode_fast(picture, data)
        found = _decode_any(picture) if decoded is None else _Decoded(decoded, alpha=_has_alpha(decoded))
        array = np.ascontiguousarray(upright(found.array, _orientation(picture)))
        array = array if array.flags.writeable else array.copy()  # Pillow lends its pixels, torch wants its own
        return _Decoded(array, alpha=found.alpha, colours=found.colours, grid=grid)


def _decode_fast(picture: Picture, data: bytes) -> NDArray[Any] | None:
    """Pixels by imagecodecs, where it is measured to be faster than Pillow (RGB: 1.4 to 1.9x) or keeps more bits."""
    if picture.format == "JPEG" and picture.mode in ("L", "RGB") and data.rstrip(b"\0").endswith(_END_OF_JPEG):
        # The fast decoder fills a truncated file with grey; a file without its end goes to the strict one.
        from imagecodecs import jpeg_decode

        return np.asarray(jpeg_decode(data))
    if picture.format == "PNG":
        bits, kind = data[24], data[25]
        if (bits == 16 and kind != 0) or (bits == 8 and kind == 2 and "transparency" not in picture.info):
            from imagecodecs import png_decode

            return np.asarray(png_decode(data))
    return None


def _decode_any(picture: Picture) -> _Decoded:
    if picture.mode == "P":
        array = np.asarray(picture)
        table = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        if "transparency" in picture.info:
            rgba = np.asarray(picture.convert("RGBA"))
            if (rgba[..., 3] == 0).any() and (rgba[..., 3] != 0).any():
                return _Decoded(rgba, alpha=True)
        colours = np.zeros((max(int(array.max(initial=0)) + 1, len(table)), 3), np.uint8)
        colours[: len(table)] = table
        return _Decoded(array, colours=colours)
    if picture.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "F"):
        picture = picture.convert("RGBA" if picture.mode in ("PA", "La", "RGBa") else "RGB")
    array = np.asarray(picture)
    if picture.mode == "I" and picture.format == "PNG":
        array = array.astype(np.uint16)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, (int, tuple)) and picture.mode in ("L", "RGB", "I;16", "I"):
        same = array == np.asarray(transparent)
        seen = ~(same if same.ndim == 2 else same.all(-1))
        alpha = seen.astype(array.dtype)[..., None]
        array = np.concatenate([array[..., None] if array.ndim == 2 else array, alpha], axis=2)
        return _Decoded(array, alpha=True)
    return _Decoded(array, alpha=_has_alpha(array))


def _has_alpha(array: NDArray[Any]) -> bool:
    return array.ndim == 3 and array.shape[2] in (2, 4)


def _orientation(picture: Picture) -> int:
    # Asking a PNG without EXIF for it would decode the whole picture.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    value = picture.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextlib.contextmanager
def _opened(path: Path, source: Any) -> Iterator[Picture]:
    """Pillow's picture, its many errors turned into ours."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    if Pillow.MAX_IMAGE_PIXELS is not None and Pillow.MAX_IMAGE_PIXELS < LARGEST:
        Pillow.MAX_IMAGE_PIXELS = LARGEST  # beyond it `check_size` refuses; Pillow's own limit is a tenth of that
    try:
        with Pillow.open(source) as picture:
            yield picture
    except (InputError, MemoryError):
        raise
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise InputError(f"{path} has more than the {LARGEST} pixels that are read whole; cut it into parts") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image that can be read; give PNG, JPEG, BMP or TIFF") from None
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; check the name") from None
    except Exception as error:  # the decoders raise many kinds for damaged files, some of them their own
        reason = str(error).strip() or type(error).__name__
        raise InputError(f"{path} is truncated or damaged ({reason}); copy it again from its source") from error


def write_png(
    path: Path,
    array: NDArray[Any],
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
    grid: Grid | None = None,
) -> None:
    """Write ``(h, w)`` or ``(h, w, c)`` pixels, c at most 4; with `colours`, a palette image that holds the indices.

    Raises:
        OutputError: The file cannot be written.
        InputError: PNG does not hold this type or number of channels.
    """
    if array.dtype not in (np.uint8, np.uint16, np.bool_) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        channels = 1 if array.ndim == 2 else array.shape[2]
        raise InputError(
            f"PNG holds 1 to 4 channels of 1, 8 or 16 bit, found {channels} of {array.dtype}; write {path.name} as .tif"
        )
    if array.dtype == np.bool_ or (colours is not None and array.dtype == np.uint8):
        data = _encode_by_pillow(array, colours)
    else:
        from imagecodecs import png_encode

        # Filters help photographs; the flat areas of a mask pack as well without, in less than half the time.
        level, filter_ = (3, 8) if array.ndim == 2 and array.dtype == np.uint8 else (1, None)
        # Flat and back, since numpy lets axes of length 1 keep strides that the encoder refuses.
        data = bytes(png_encode(np.ravel(array).reshape(array.shape), level=level, filter=filter_))
    text = grid_to_text(grid)
    if text is not None:
        body = b"tEXt" + _KEY.encode() + b"\0" + text.encode("latin-1", "replace")
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        data = data[:33] + chunk + data[33:]  # behind signature and header
    _write_bytes(path, data)


def write_jpeg(path: Path, array: NDArray[Any], *, colours: Any = None, grid: Grid | None = None) -> None:
    """Write ``(h, w)`` or ``(h, w, 3)`` uint8 pixels, for looking at: JPEG changes them, so it takes no label map.

    Raises:
        OutputError: The file cannot be written.
        InputError: JPEG does not hold this type, or a label map was given.
    """
    if colours is not None or array.dtype != np.uint8 or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"JPEG holds 8-bit grey or RGB and no label maps; write {path.name} as .png or .tif")
    from imagecodecs import jpeg_encode

    _write_bytes(path, bytes(jpeg_encode(np.ravel(array).reshape(array.shape), level=92)))


def write_bmp(path: Path, array: NDArray[Any], *, colours: Any = None, grid: Grid | None = None) -> None:
    """Write ``(h, w)`` or ``(h, w, 3)`` uint8 pixels.

    Raises:
        OutputError: The file cannot be written.
        InputError: BMP does not hold this type.
    """
    if array.dtype != np.uint8 or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"BMP holds 8-bit grey or RGB, found {array.dtype}; write {path.name} as .png or .tif")
    _write_bytes(path, _encode_by_pillow(array, colours, kind="BMP"))


def _encode_by_pillow(array: NDArray[Any], colours: Any, *, kind: str = "PNG") -> bytes:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.ascontiguousarray(array))
    if colours is not None:
        picture = Pillow.frombytes("P", array.shape[::-1], np.ascontiguousarray(array).tobytes())
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colours)] = colours
        # A colour that is not grey, whatever the classes have: it makes the readers keep the indices.
        palette[IGNORE] = (255, 0, 255)
        picture.putpalette(palette.tobytes())
    out = io.BytesIO()
    picture.save(out, format=kind, compress_level=3)
    return out.getvalue()


def _write_bytes(path: Path, data: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(data)
