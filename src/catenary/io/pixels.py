"""What all readers share: the bytes of a file, its limits, which way is up, and what an alpha channel means."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.types import Grid

__all__ = [
    "LARGEST",
    "check_size",
    "grid_from_text",
    "grid_to_text",
    "levels_of_palette",
    "read_bytes",
    "split_alpha",
    "upright",
    "whole_numbers",
]

#: Largest image that is decoded whole, in pixels; larger ones are refused before their memory is asked for.
LARGEST = 1 << 30


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: It is missing, a folder, unreadable or empty.
    """
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


def check_size(path: Path, *size: int) -> None:
    """Refuse images and volumes without pixels, and those larger than `LARGEST`.

    Raises:
        InputError: The size is zero or too large.
    """
    if not size or min(size) < 1:
        raise InputError(f"{path} has {'x'.join(map(str, size)) or 0} pixels; an image needs at least one")
    if math.prod(size) > LARGEST:
        raise InputError(
            f"{path} has {'x'.join(map(str, size))} pixels, more than the {LARGEST} that are read whole; cut it into "
            "parts"
        )


def whole_numbers(array: Shaped[np.ndarray, "*s"], source: object) -> Shaped[np.ndarray, "*s"]:
    """The values of a mask as integers; those of an integer type stay in it.

    Raises:
        InputError: A value is a fraction, NaN or beyond 2^30.

    >>> whole_numbers(np.array([0.0, 2.0]), "mask.tif")
    array([0, 2], dtype=int32)
    """
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all() or not (array == np.round(array)).all() or np.abs(array).max(initial=0) > 1 << 30:
        raise InputError(f"{source} holds fractions or NaN; a mask needs whole numbers, one a class")
    return array.astype(np.int32)


def upright(array: Shaped[np.ndarray, "h w *c"], orientation: int) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """Turn pixels the way the camera noted (EXIF and TIFF tag 274); other values than 2 to 8 change nothing.

    Source: TIFF 6.0 specification, tag Orientation: value 6 means that the first row of the file is the right-hand
    side of the picture, and so on.

    >>> upright(np.array([[1, 2], [3, 4]]), 6)
    array([[3, 1],
           [4, 2]])
    """
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def split_alpha(array: Shaped[np.ndarray, "*s c"]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Divide ``(..., c + 1)`` pixels into ``(..., c)`` colours and a valid mask.

    Alpha tells where there is a picture, not what is in it, and one file of a set may have it while the next has
    not. So it never becomes a channel: fully transparent pixels are not valid, half transparent ones are, and an
    alpha channel that is the same everywhere says nothing and is dropped.
    """
    alpha = array[..., -1]
    hidden = alpha == 0
    constant = not hidden.any() or hidden.all()
    return array[..., :-1], None if constant else ~hidden


def levels_of_palette(colours: Shaped[np.ndarray, "n 3"]) -> NDArray[Any] | None:
    """Grey level of each palette entry when all of them are grey, else None.

    Programs that shrink PNG files store grey pictures as palettes in any order: there the levels, not the indices,
    are what was meant. A palette with a colour in it was chosen by hand, one colour a class.

    >>> levels_of_palette(np.array([[255, 255, 255], [0, 0, 0]]))
    array([255,   0])
    >>> levels_of_palette(np.array([[0, 0, 0], [255, 0, 0]])) is None
    True
    """
    return colours[:, 0] if (colours == colours[:, :1]).all() else None


def grid_to_text(grid: Grid | None) -> str | None:
    """The grid as one line of JSON for a file's text field; None when there is nothing to keep."""
    if grid is None or grid == Grid():
        return None
    kept = {"spacing": grid.spacing, "unit": grid.unit, "affine": grid.affine, "crs": grid.crs}
    return json.dumps({"catenary": {key: value for key, value in kept.items() if value is not None}})


def grid_from_text(text: str | None) -> Grid | None:
    """What `grid_to_text` wrote; None for any other text.

    >>> grid_from_text(grid_to_text(Grid(spacing=(0.5, 0.25), unit="um"))).spacing
    (0.5, 0.25)
    >>> grid_from_text("taken on a Monday") is None
    True
    """
    if not text or '"catenary"' not in text:
        return None
    try:
        kept = json.loads(text)["catenary"]
        spacing, affine = kept.get("spacing"), kept.get("affine")
        return Grid(
            spacing=tuple(map(float, spacing)) if spacing else None,
            unit=kept.get("unit"),
            affine=tuple(map(float, affine)) if affine else None,
            crs=kept.get("crs"),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
