"""PNG, JPEG and BMP."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io.files import atomic
from catenary.types import Grid, Image

__all__ = ["read_bytes", "read_picture", "write_png"]

#: Largest image that is decoded whole, in pixels; larger ones are refused before their memory is asked for.
LARGEST = 1 << 30


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, or an `InputError` that says why not."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give a file") from None
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; check the name") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its rights") from error
    if not data:
        raise InputError(f"{path} is empty (0 bytes); copy it again from its source")
    return data


def read_picture(path: Path) -> Image:
    """Read a PNG, JPEG or BMP as channels-first pixels.

    Grey stays one channel, palettes become RGB, 16-bit PNG keeps its 16 bits. The orientation that a camera noted is
    applied. An alpha channel becomes `Image.valid` where it hides pixels, since what it holds is no measurement.

    Raises:
        InputError: The file is missing, empty, truncated, not a picture, or too large.
    """
    array = _decode(path, palette_as_index=False)
    if array.ndim == 2:
        return Image(array=array[None], source=str(path))
    valid = None
    if array.shape[2] in (2, 4):
        alpha = array[..., -1]
        array = array[..., :-1]
        if (alpha == 0).any() and not (alpha == 0).all():
            valid = alpha > 0
    return Image(array=np.ascontiguousarray(np.moveaxis(array, -1, 0)), valid=valid, source=str(path))


def read_picture_mask(path: Path) -> NDArray[Any]:
    """Read a mask as its file holds it: ``(h, w)`` numbers (palette indices, grey values) or ``(h, w, 3)`` colours.

    RGB files whose three channels are equal are grey values; an alpha channel is dropped.

    Raises:
        InputError: See `read_picture`.
    """
    array = _decode(path, palette_as_index=True)
    if array.ndim == 3 and array.shape[2] in (2, 4):
        array = array[..., :-1]
    if array.ndim == 3 and (array.shape[2] == 1 or (array[..., :1] == array).all()):
        array = array[..., 0]
    return array


def _decode(path: Path, *, palette_as_index: bool) -> NDArray[Any]:
    from PIL import Image as Pillow
    from PIL import ImageFile, ImageOps, UnidentifiedImageError

    data = read_bytes(path)
    Pillow.MAX_IMAGE_PIXELS = None  # the limit below is ours, and an error instead of a warning
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > LARGEST:
                raise InputError(
                    f"{path} has {picture.width}x{picture.height} pixels, more than {LARGEST}; cut it into parts"
                )
            if picture.format == "PNG" and data[24] == 16 and picture.mode not in ("I;16", "I"):
                return _decode_16_bit(path, data)  # Pillow would keep 8 of the 16 bits of colour
            turned: Pillow.Image = ImageOps.exif_transpose(picture)
            if turned.mode == "P" and not palette_as_index:
                turned = turned.convert("RGBA" if "transparency" in turned.info else "RGB")
            elif turned.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
                turned = turned.convert("RGB")
            elif turned.mode == "I":
                return np.asarray(turned).astype(np.uint16)
            array = np.asarray(turned)
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image that can be read; give PNG, JPEG, BMP or TIFF") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path} is truncated or damaged ({error}); copy it again from its source") from error
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def _decode_16_bit(path: Path, data: bytes) -> NDArray[Any]:
    import cv2

    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise InputError(f"{path} is truncated or damaged; copy it again from its source")
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(array.shape[2] if array.ndim == 3 else 1)
    return np.asarray(array if order is None else array[..., order])


def write_png(path: Path, array: NDArray[Any], *, colours: Any = None, grid: Grid | None = None) -> None:
    """Write ``(h, w)`` or ``(h, w, 3)`` pixels; with `colours`, a palette image whose values stay the indices.

    Raises:
        OutputError: The file cannot be written.
        InputError: PNG does not hold this type.
    """
    from PIL import Image as Pillow

    if array.dtype not in (np.uint8, np.uint16) or (array.dtype == np.uint16 and array.ndim == 3):
        import cv2

        if array.dtype != np.uint16:
            raise InputError(f"PNG holds 8 or 16 bit, found {array.dtype}; write {path.name} as .tif")
        _, encoded = cv2.imencode(".png", array[..., ::-1])
        with atomic(path) as temporary:
            temporary.write_bytes(encoded.tobytes())
        return
    picture = Pillow.fromarray(array)
    if colours is not None:
        picture = Pillow.frombytes("P", array.shape[::-1], np.ascontiguousarray(array).tobytes())
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colours)] = colours
        palette[255] = (255, 255, 255)
        picture.putpalette(palette.tobytes())
    with atomic(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=3)
