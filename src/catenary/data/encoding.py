"""How the values of a mask file become class indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.types import IGNORE

__all__ = ["code", "colour", "decode", "histogram", "is_coloured", "pack", "unexpected"]


def is_coloured(raw: Shaped[np.ndarray, "*s"]) -> bool:
    """Whether a mask as its file holds it is ``(h, w, 3)`` colours, and not numbers of ``(h, w)`` or ``(d, h, w)``.

    Colours are unsigned; `catenary.io.read_mask` gives labels of a volume that is three voxels wide as signed numbers.

    >>> is_coloured(np.zeros((9, 9, 3), np.uint8)), is_coloured(np.zeros((3, 9, 9), np.uint8))
    (True, False)
    """
    return raw.ndim == 3 and raw.shape[-1] == 3 and raw.dtype.kind == "u"


def decode(raw: Shaped[np.ndarray, "*s"], labels: LabelSet) -> UInt8[np.ndarray, "*t"]:
    """Class indices of a mask as its file holds it; values that are no class become `IGNORE`.

    0/255 masks are cut at half, which is what undoes smooth scaling and JPEG; `unexpected` tells how often.

    >>> decode(np.array([[0, 255, 7]], np.uint8), LabelSet(names=("background", "cell"), values=(0, 255)))
    array([[0, 1, 0]], dtype=uint8)
    """
    if labels.encoding != "index":
        return _decode_colours(pack(raw), labels)
    if not is_coloured(raw):
        return _decode_values(raw, labels)
    label = _decode_values(raw[..., 0], labels)
    label[(raw[..., 1:3] != raw[..., :1]).any(-1)] = IGNORE  # a colour is no number
    return label


def unexpected(raw: Shaped[np.ndarray, "*s"], labels: LabelSet) -> dict[str, int]:
    """Values (or colours) of a mask file that are no class, with their number of pixels, the most frequent first.

    >>> unexpected(np.array([[0, 1], [7, 7]], np.uint8), LabelSet(names=("background", "cell")))
    {'7': 2}
    """
    if labels.encoding == "painted":
        return {}
    if labels.encoding == "index" and not is_coloured(raw):
        known = {*labels.file_values, *(() if labels.ignore is None else (labels.ignore,))}
        odd = {value: n for value, n in histogram(raw).items() if value not in known}
        return {str(value): n for value, n in sorted(odd.items(), key=lambda item: -item[1])}
    if labels.encoding == "index":
        numbers = labels.file_values if labels.ignore is None else (*labels.file_values, labels.ignore)
        known = {code((value, value, value)) for value in numbers}
    else:
        known = {code(paint) for paint in (*labels.colours, labels.ignore_colour or labels.colours[0])}
    odd = {packed: n for packed, n in histogram(pack(raw)).items() if packed not in known}
    return {str(colour(packed)): n for packed, n in sorted(odd.items(), key=lambda item: -item[1])}


def _decode_values(raw: NDArray[Any], labels: LabelSet) -> NDArray[np.uint8]:
    values = labels.file_values
    low, high = int(raw.min(initial=0)), int(raw.max(initial=0))
    size = max(high, *values, labels.ignore or 0) + 1
    if low < 0 or min(values) < 0 or size > 1 << 20:
        label = np.full(raw.shape, IGNORE, np.uint8)
        for index, value in enumerate(values):
            label[raw == value] = index
        return label
    table = np.full(max(size, 256), IGNORE, np.uint8)
    if tuple(values) == (0, 255):
        table[:128], table[128:256] = 0, 1
    table[list(values)] = np.arange(len(values), dtype=np.uint8)
    if labels.ignore is not None and labels.ignore >= 0:
        table[labels.ignore] = IGNORE
    return np.take(table, raw)


def _decode_colours(packed: NDArray[np.int32], labels: LabelSet) -> NDArray[np.uint8]:
    painted = labels.encoding == "painted"
    label = np.full(packed.shape, 0 if painted else IGNORE, np.uint8)
    for index, paint in enumerate(labels.colours):
        if index or not painted:
            label[packed == code(paint)] = index
    if labels.ignore_colour is not None:
        label[packed == code(labels.ignore_colour)] = IGNORE
    return label


def histogram(array: Shaped[np.ndarray, "*s"]) -> dict[int, int]:
    """Pixels of each value, fast on the flat areas that masks are made of.

    >>> histogram(np.array([7, 7, -1]))
    {-1: 1, 7: 2}
    """
    flat = array.ravel()
    if flat.dtype in (np.uint8, np.uint16):
        counts = np.bincount(flat)
        present = np.flatnonzero(counts)
        return dict(zip(present.tolist(), counts[present].tolist(), strict=True))
    # Masks are runs of one value: sort the runs instead of the pixels.
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])) if flat.size else np.zeros(0, np.int64)
    values, which = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(np.append(starts, flat.size))
    counts = np.bincount(which.ravel(), weights=lengths).astype(np.int64)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def pack(raw: Shaped[np.ndarray, "*s"]) -> NDArray[np.int32]:
    """One number a colour, see `code`; grey values count as the grey colour."""
    planes = [raw[..., i] for i in range(3)] if is_coloured(raw) else [raw] * 3
    packed = planes[0].astype(np.int32)
    for plane in planes[1:]:
        packed <<= 8
        packed |= plane.astype(np.uint8)  # a number beyond 255 keeps the rest above, and equals no colour
    return packed


def code(paint: tuple[int, int, int]) -> int:
    """The number 0xRRGGBB of a colour.

    >>> colour(code((1, 2, 3)))
    (1, 2, 3)
    """
    return (paint[0] << 16) + (paint[1] << 8) + paint[2]


def colour(number: int) -> tuple[int, int, int]:
    """The colour of a number that `code` gave."""
    return number >> 16, number >> 8 & 255, number & 255
