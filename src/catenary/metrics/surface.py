"""How far two outlines lie apart. All distances of a target come from one pair of distance transforms.

Definitions, the same in 2D and 3D:

- The *boundary* of a mask is made of its own pixels that share a face with a pixel outside the mask; what lies beyond
  the image is outside. So every mask that is not empty has a boundary.
- Distances run between centres of pixels, in the unit of `spacing` (pixels without one).
- The *band* of a mask is made of its own pixels within a width d of its outline: boundary pixels are the first layer,
  and a pixel is in the band when it lies less than d from a boundary pixel.

Where truth and prediction are both empty the answer is perfect: distance 0, shares 1. Where one of them is empty every
value is the worst possible one: the distance is the image's diagonal, the shares are 0. Nothing is left out of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from catenary.errors import InputError

__all__ = ["BAND", "Surface", "asd", "boundary_iou", "find_boundary", "hd95", "measure_surface", "nsd"]

#: Width of the band of `boundary_iou` as a share of the image's diagonal (Cheng et al. 2021, section 5).
BAND = 0.02

#: Distances are compared with a hair's slack, so that the same shape at another spacing gives the same answer.
_SLACK = 1e-5

Array = NDArray[Any]


class Surface(NamedTuple):
    """What two masks have to do with one another along their outlines; numbers, or arrays of one shape.

    The first four may be added up over images.

    Attributes:
        both: Pixels that are in both bands.
        either: Pixels that are in one band or both.
        close: Boundary pixels of either mask that lie within the tolerance of the other mask's boundary.
        total: Boundary pixels of both masks.
        hd95: 95 % Hausdorff distance, in the unit of the spacing.
        asd: Average symmetric surface distance, in the unit of the spacing.
    """

    both: Array
    either: Array
    close: Array
    total: Array
    hd95: Array
    asd: Array


def measure_surface(
    truth: Bool[np.ndarray, "*s"],
    prediction: Bool[np.ndarray, "*p"],
    *,
    tolerance: float = 2.0,
    spacing: Sequence[float] | None = None,
) -> Surface:
    """Compare the outlines of two masks.

    Args:
        truth: True inside the target, 2D or 3D.
        prediction: True where it is predicted.
        tolerance: Distance that counts as no error in `nsd`, in the unit of `spacing`.
        spacing: Size of a pixel along each axis; 1 for all when None, so that distances are in pixels.

    Returns:
        The `Surface` of this pair, each part an array of shape ``()``.

    Raises:
        InputError: The shapes differ, or spacing or tolerance is not a number above zero.

    >>> square = np.zeros((20, 20), bool)
    >>> square[5:15, 5:15] = True
    >>> float(hd95(measure_surface(square, np.roll(square, 3, axis=0))))
    3.0
    """
    steps = _checked(truth, prediction, tolerance, spacing)
    diagonal = float(np.hypot.reduce(np.multiply(truth.shape, steps)))
    box = _bounding_box(truth | prediction)
    if box is None:
        return _surface(0, 0, 0, 0, 0.0, 0.0)
    # Nothing outside the common box matters: all boundary pixels, hence all nearest ones, lie inside it.
    masks = [np.ascontiguousarray(mask[box]) for mask in (truth, prediction)]
    edges = [find_boundary(mask) for mask in masks]
    sizes = [int(np.count_nonzero(edge)) for edge in edges]
    smallest = min(steps)
    width = smallest * max(1, round(BAND * diagonal / smallest))
    if not all(sizes):
        field = _to_boundary(edges[0] | edges[1], steps)
        band = int(np.count_nonzero((masks[0] | masks[1]) & (field < width * (1 - _SLACK))))
        return _surface(0, band, 0, sum(sizes), diagonal, diagonal)
    far = [_to_boundary(edge, steps) for edge in edges]
    bands = [mask & (distance < width * (1 - _SLACK)) for mask, distance in zip(masks, far, strict=True)]
    there, back = far[1][edges[0]], far[0][edges[1]]
    within = tolerance * (1 + _SLACK)
    return _surface(
        int(np.count_nonzero(bands[0] & bands[1])),
        int(np.count_nonzero(bands[0] | bands[1])),
        int(np.count_nonzero(there <= within)) + int(np.count_nonzero(back <= within)),
        sum(sizes),
        max(float(np.percentile(there, 95)), float(np.percentile(back, 95))),
        (float(there.sum(dtype=np.float64)) + float(back.sum(dtype=np.float64))) / sum(sizes),
    )


def find_boundary(mask: Bool[np.ndarray, "*s"]) -> Bool[np.ndarray, "*s"]:
    """Pixels of a mask that share a face with a pixel outside it; beyond the image is outside.

    >>> find_boundary(np.ones((3, 3), bool)).astype(int)
    array([[1, 1, 1],
           [1, 0, 1],
           [1, 1, 1]])
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        along, source = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        along[1:] &= source[:-1]
        along[:-1] &= source[1:]
        along[:1] = False
        along[-1:] = False
    edge: NDArray[np.bool_] = mask & ~inner
    return edge


def boundary_iou(s: Surface) -> Array:
    """Intersection over union of the bands along both outlines, 0 to 1 (Cheng et al. 2021).

    The band is 2 % of the image's diagonal wide, at least one pixel. Distances are Euclidean, as in the paper; the
    authors' program counts steps of a 3x3 square instead and therefore has a slightly wider band along diagonals.

    Empty: truth and prediction both empty 1; only one of them empty 0.
    """
    return _share(s.both, s.either)


def nsd(s: Surface) -> Array:
    """Normalised surface distance, or surface Dice: share of both boundaries within the tolerance of the other.

    0 to 1 (Nikolov et al. 2021), counted over boundary pixels.

    Empty: truth and prediction both empty 1; only one of them empty 0.
    """
    return _share(s.close, s.total)


def hd95(s: Surface) -> Array:
    """95 % Hausdorff distance, lower is better: the larger of the two directed 95th percentiles of boundary distances.

    Percentiles are interpolated linearly.

    Empty: truth and prediction both empty 0; only one of them empty: the image's diagonal.
    """
    return np.asarray(s.hd95, np.float64)


def asd(s: Surface) -> Array:
    """Average symmetric surface distance, lower is better: mean over the boundary pixels of both masks.

    Empty: truth and prediction both empty 0; only one of them empty: the image's diagonal.
    """
    return np.asarray(s.asd, np.float64)


def _share(top: Any, bottom: Any) -> Array:
    some = np.asarray(bottom) > 0
    return np.where(some, top / np.where(some, bottom, 1), 1.0)


def _surface(both: int, either: int, close: int, total: int, hd: float, mean: float) -> Surface:
    sums = [np.asarray(n, np.int64) for n in (both, either, close, total)]
    return Surface(sums[0], sums[1], sums[2], sums[3], np.asarray(hd), np.asarray(mean))


def _checked(truth: Array, prediction: Array, tolerance: float, spacing: Sequence[float] | None) -> tuple[float, ...]:
    if truth.shape != prediction.shape:
        raise InputError(
            f"truth and prediction must have one shape, found {truth.shape} and {prediction.shape}; "
            "bring the prediction to the truth's own grid"
        )
    steps = (1.0,) * truth.ndim if spacing is None else tuple(float(step) for step in spacing)
    if len(steps) != truth.ndim or not all(np.isfinite(step) and step > 0 for step in steps):
        raise InputError(f"spacing needs {truth.ndim} numbers above zero, one an axis, found {spacing}; correct it")
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"the tolerance must be zero or more, found {tolerance}; give it in the unit of the spacing")
    return steps


def _bounding_box(mask: Array) -> tuple[slice, ...] | None:
    """The smallest box around all that is True."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if hit.size == 0:
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)


def _to_boundary(edge: Array, steps: tuple[float, ...]) -> Array:
    """Distance of every pixel to the nearest boundary pixel."""
    import edt

    field: Array = edt.edt(~edge, anisotropy=steps, black_border=False, parallel=1)
    return field
