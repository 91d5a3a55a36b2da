"""Where an image lies in a frame that is larger: in its middle, mirrored beyond its ends, as training patches have it.

A network knows from the zeros that its convolutions see beyond the frame how far something lies from the frame's ends.
An image that is smaller than a training patch must therefore lie in prediction where it lay in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

__all__ = ["in_frame", "margins", "widened"]


def margins(shape: Sequence[int], frame: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pixels that a frame has before and after an image along each axis; none where the image is no smaller.

    >>> margins((50, 36, 80), (56, 41, 64))
    ((3, 3), (2, 3), (0, 0))
    """
    found = []
    for side, wanted in zip(shape, frame, strict=True):
        more = max(0, wanted - side)
        before = wanted // 2 - side // 2 if more else 0  # the pixel that a patch is centred on is number side // 2
        found.append((before, more - before))
    return tuple(found)


def in_frame(
    array: Shaped[np.ndarray, "*s"], around: Sequence[tuple[int, int]], *, fill: int | None = None
) -> Shaped[np.ndarray, "*f"]:
    """The array with these `margins`, mirrored there, or filled.

    >>> in_frame(np.array([[1, 2, 3]]), ((0, 0), (2, 1))).tolist()
    [[3, 2, 1, 2, 3, 2]]
    """
    if not any(map(any, around)):
        return array
    widths = [*around]
    framed: NDArray[Any] = (
        np.pad(array, widths, mode="reflect")
        if fill is None
        else np.pad(array, widths, mode="constant", constant_values=fill)
    )
    return framed


def widened(box: Sequence[slice], shape: Sequence[int], frame: Sequence[int]) -> tuple[slice, ...]:
    """A box in an image, as large as the frame where the image has room for that, as much of both sides as can be.

    >>> widened((slice(10, 14), slice(0, 5)), (30, 6), (8, 9))
    (slice(8, 16, None), slice(0, 6, None))
    """
    found = []
    for part, side, wanted in zip(box, shape, frame, strict=True):
        more = max(0, min(wanted, side) - (part.stop - part.start))
        start = min(max(0, part.start - more // 2), side - (part.stop - part.start) - more)
        found.append(slice(start, start + part.stop - part.start + more))
    return tuple(found)
