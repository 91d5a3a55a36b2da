"""How far things reach in an array: what is not empty, the box around it, the diameter of a like-sized disc or ball."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Shaped
from numpy.typing import NDArray

__all__ = ["bounding_box", "equivalent_diameter", "find_body"]

Number = TypeVar("Number", float, NDArray[Any])


def bounding_box(mask: Bool[np.ndarray, "*s"], *, margin: int = 0) -> tuple[slice, ...]:
    """The box around all that is True, `margin` pixels wider as far as the array goes; of no size where nothing is.

    >>> mask = np.zeros((5, 6), bool); mask[2, 3:5] = True
    >>> bounding_box(mask), bounding_box(mask, margin=3), bounding_box(mask & False)[0]
    ((slice(2, 3, None), slice(3, 5, None)), (slice(0, 5, None), slice(0, 6, None)), slice(0, 0, None))
    """
    box = []
    for axis, side in enumerate(mask.shape):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        first, last = (int(hit[0]) - margin, int(hit[-1]) + 1 + margin) if hit.size else (0, 0)
        box.append(slice(max(0, first), min(side, last)))
    return tuple(box)


def find_body(image: Shaped[np.ndarray, "c *s"]) -> Bool[np.ndarray, "*s"]:
    """Where something is: the pixels that differ, in any channel, from what most corners of the image hold.

    >>> find_body(np.array([[[0, 0, 0], [0, 7, 9], [0, 0, 0]]])).astype(int)
    array([[0, 0, 0],
           [0, 1, 1],
           [0, 0, 0]])
    """
    corners = image[:, *(slice(None, None, max(1, side - 1)) for side in image.shape[1:])]
    empty = np.median(corners.reshape(len(image), -1), axis=1).astype(image.dtype)
    found: NDArray[np.bool_] = image[0] != empty[0]
    for plane, nothing in zip(image[1:], empty[1:], strict=True):
        found |= plane != nothing
    return found


def equivalent_diameter(content: Number, rank: int) -> Number:
    """Diameter of a disc of this area (rank 2) or of a ball of this volume (rank 3).

    >>> equivalent_diameter(math.pi, 2), round(equivalent_diameter(math.pi / 6, 3), 9)
    (2.0, 1.0)
    """
    diameter: Number = 2 * (content / math.pi) ** 0.5 if rank == 2 else (6 * content / math.pi) ** (1 / 3)
    return diameter
