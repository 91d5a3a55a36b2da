"""How far two outlines lie apart, and how much the bands along them overlap.

Definitions, the same in 2D and 3D:

- The *surface* of a mask runs between its pixels and the others, halfway between their centres; what lies beyond the
  image is outside. So every mask that is not empty has a surface. It is made of elements at the corners of pixels, the
  pieces that marching cubes (in 2D: squares) puts there, and each counts by its length or area (`elements`).
- The *distance* of an element is that to the nearest element of the other surface, in the unit of `spacing` (pixels
  without one). Definition of surface, distances and shares: Nikolov et al. 2021, equal to their ``surface-distance``.
- The *boundary* of a mask is made of its own pixels that share a face with a pixel outside it, and its *band* of its
  own pixels less than a width from the centre of a boundary pixel; only `boundary_iou` counts pixels.

Where truth and prediction are both empty the answer is perfect: distance 0, shares 1. Where one of them is empty every
value is the worst possible one: the distance is the image's diagonal, the shares are 0. Nothing is left out of a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.metrics.elements import cell_codes, element_sizes
from catenary.metrics.nearest import distances_to

__all__ = [
    "BAND",
    "Band",
    "Surface",
    "asd",
    "boundary_iou",
    "check_spacing",
    "find_boundary",
    "hd95",
    "measure_band",
    "measure_surface",
    "nsd",
]

#: Width of the band of `boundary_iou` as a share of the image's diagonal (Cheng et al. 2021, section 5).
BAND = 0.02

#: Numbers are compared with a hair's slack, so that the same shape at another spacing gives the same answer.
_SLACK = 1e-6

#: Pixels of a mask from which on the two are looked at beside each other.
_WORTH_A_THREAD = 1 << 16

T = TypeVar("T")
Array = NDArray[Any]


class Surface(NamedTuple):
    """How far the surfaces of two masks lie apart; numbers, or arrays of one shape.

    The first two may be added up over images.

    Attributes:
        close: Size of both surfaces (length in 2D, area in 3D) that lies within the tolerance of the other.
        total: Size of both surfaces.
        hd95: 95 % Hausdorff distance, in the unit of the spacing.
        asd: Average symmetric surface distance, in the unit of the spacing.
    """

    close: Array
    total: Array
    hd95: Array
    asd: Array


class Band(NamedTuple):
    """Bands inside the outlines of two masks; numbers, or arrays of one shape, to be added up over images.

    Attributes:
        both: Pixels that are in both bands.
        either: Pixels that are in one band or both.
    """

    both: Array
    either: Array


def measure_surface(
    truth: Bool[np.ndarray, "*s"],
    prediction: Bool[np.ndarray, "*p"],
    *,
    tolerance: float = 2.0,
    spacing: Sequence[float] | None = None,
) -> Surface:
    """Compare the surfaces of two masks.

    Args:
        truth: True inside the target, 2D or 3D.
        prediction: True where it is predicted.
        tolerance: Distance that counts as no error in `nsd`, in the unit of `spacing`.
        spacing: Size of a pixel along each axis; 1 for all when None, so that distances are in pixels.

    Returns:
        The `Surface` of this pair, each part an array of shape ``()``.

    Raises:
        InputError: The shapes differ, are neither 2D nor 3D, or spacing or tolerance is not a number above zero.

    >>> square = np.zeros((20, 20), bool)
    >>> square[5:15, 5:15] = True
    >>> float(hd95(measure_surface(square, np.roll(square, 3, axis=0))))
    3.0
    """
    steps = _checked(truth, prediction, spacing)
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"the tolerance must be zero or more, found {tolerance}; give it in the unit of the spacing")
    diagonal = _diagonal(truth.shape, steps)
    masks = _cropped(truth, prediction)
    if masks is None:
        return _surface(0.0, 0.0, 0.0, 0.0)
    order = np.argsort(steps, kind="stable")  # no value hangs on the order of axes, only the time
    steps = tuple(steps[axis] for axis in order)
    masks = [mask.transpose(order) for mask in masks]
    one, other = _both(lambda side: _pieces(masks[side], steps), masks[0].size)
    total = float(one.sizes.sum() + other.sizes.sum())
    if not (len(one.cells) and len(other.cells)):
        return _surface(0.0, total, diagonal, diagonal)
    within = tolerance * (1 + _SLACK)

    def compare(side: int) -> tuple[float, float, float]:
        """Size of one surface within the tolerance of the other, its percentile, and the sum of its distances."""
        own, others = (other, one) if side else (one, other)
        distance = distances_to(others.edge, own.cells, steps)
        close = float(own.sizes[distance <= within].sum())
        return close, _percentile(distance, own.sizes, 0.95), float(distance @ own.sizes)

    close, far, sums = zip(*_both(compare, masks[0].size), strict=True)
    return _surface(sum(close), total, max(far), sum(sums) / total)


class _Pieces(NamedTuple):
    """The surface of a mask: which cells it runs through, their numbers, and its size in each."""

    edge: Array
    cells: Array
    sizes: Array


def _pieces(mask: Array, steps: tuple[float, ...]) -> _Pieces:
    code = cell_codes(np.ascontiguousarray(mask))
    edge = (code > 0) & (code < (1 << (1 << mask.ndim)) - 1)
    cells = np.flatnonzero(edge)
    return _Pieces(edge, cells, element_sizes(steps)[code.ravel()[cells]])


def _both(work: Callable[[int], T], pixels: int) -> tuple[T, T]:
    """``work(0)`` and ``work(1)``, beside each other where that is worth a thread."""
    if pixels < _WORTH_A_THREAD:
        return work(0), work(1)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(work, 1)
        return work(0), second.result()


def measure_band(
    truth: Bool[np.ndarray, "*s"], prediction: Bool[np.ndarray, "*p"], *, spacing: Sequence[float] | None = None
) -> Band:
    """Compare the bands of pixels inside the outlines of two masks.

    Args:
        truth: True inside the target, 2D or 3D.
        prediction: True where it is predicted.
        spacing: Size of a pixel along each axis; 1 for all when None.

    Returns:
        The `Band` of this pair, each part an array of shape ``()``.

    Raises:
        InputError: The shapes differ, are neither 2D nor 3D, or spacing is not a number above zero.

    >>> square = np.ones((10, 10), bool)
    >>> measure_band(square, square).both
    array(36)
    """
    import edt

    steps = _checked(truth, prediction, spacing)
    masks = _cropped(truth, prediction)
    if masks is None:
        return Band(np.asarray(0), np.asarray(0))
    smallest = min(steps)
    width = smallest * max(1, round(BAND * _diagonal(truth.shape, steps) / smallest))
    bands = []
    for mask in masks:
        # A mask without boundary is empty; its field is infinite.
        field = edt.edt(~find_boundary(mask), anisotropy=steps, black_border=False, parallel=2)
        bands.append(mask & (field < width * (1 - _SLACK)))
    return Band(*(np.asarray(np.count_nonzero(part)) for part in (bands[0] & bands[1], bands[0] | bands[1])))


def check_spacing(spacing: Sequence[float], rank: int) -> tuple[float, ...]:
    """The spacing as floats; `InputError` where it is not one number above zero for each axis."""
    steps = tuple(float(step) for step in spacing)
    if len(steps) != rank or not all(np.isfinite(step) and step > 0 for step in steps):
        raise InputError(f"spacing needs {rank} numbers above zero, one an axis, found {spacing}; correct it")
    return steps


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


def boundary_iou(b: Band) -> Array:
    """Intersection over union of the bands along both outlines, 0 to 1 (Cheng et al. 2021).

    The band is 2 % of the image's diagonal wide, at least one pixel. Distances are Euclidean, as in the paper; the
    authors' program counts steps of a 3x3 square instead and therefore has a slightly wider band along diagonals.

    Empty: truth and prediction both empty 1; only one of them empty 0.
    """
    return _share(b.both, b.either)


def nsd(s: Surface) -> Array:
    """Normalised surface distance, or surface Dice: share of both surfaces within the tolerance of the other.

    0 to 1 (Nikolov et al. 2021), weighted by length or area.

    Empty: truth and prediction both empty 1; only one of them empty 0.
    """
    return _share(s.close, s.total)


def hd95(s: Surface) -> Array:
    """95 % Hausdorff distance, lower is better: the larger of the two directed 95th percentiles of surface distances.

    A directed percentile is the smallest distance within which 95 % of that surface lies, by length or area.

    Empty: truth and prediction both empty 0; only one of them empty: the image's diagonal.
    """
    return np.asarray(s.hd95, np.float64)


def asd(s: Surface) -> Array:
    """Average symmetric surface distance, lower is better: mean over both surfaces, weighted by length or area.

    Empty: truth and prediction both empty 0; only one of them empty: the image's diagonal.
    """
    return np.asarray(s.asd, np.float64)


def _share(top: Any, bottom: Any) -> Array:
    some = np.asarray(bottom) > 0
    return np.where(some, top / np.where(some, bottom, 1), 1.0)


def _surface(*values: float) -> Surface:
    return Surface(*(np.asarray(value, np.float64) for value in values))


def _percentile(distance: Array, size: Array, share: float) -> float:
    """The smallest distance within which this share of the size lies."""
    wanted = share * float(size.sum()) * (1 - _SLACK)
    # Only the farthest are put in order: as many as could hold the rest of the size if all of them were small.
    rest = int((float(size.sum()) - wanted) / float(size.min())) + 2
    farthest = np.argpartition(distance, -rest)[-rest:] if rest < len(distance) else np.arange(len(distance))
    order = farthest[np.argsort(distance[farthest])]
    reached = np.cumsum(size[order])
    reached += float(size.sum()) - reached[-1]
    return float(distance[order[np.searchsorted(reached, wanted)]])


def _checked(truth: Array, prediction: Array, spacing: Sequence[float] | None) -> tuple[float, ...]:
    if truth.shape != prediction.shape:
        raise InputError(
            f"truth and prediction must have one shape, found {truth.shape} and {prediction.shape}; "
            "bring the prediction to the truth's own grid"
        )
    if truth.ndim not in (2, 3):
        raise InputError(
            f"outlines are measured in 2D and 3D, found the shape {truth.shape}; give an image or a volume"
        )
    return (1.0,) * truth.ndim if spacing is None else check_spacing(spacing, truth.ndim)


def _diagonal(shape: Sequence[int], steps: Sequence[float]) -> float:
    return float(np.hypot.reduce(np.multiply(shape, steps)))


def _cropped(truth: Array, prediction: Array) -> list[Array] | None:
    """Both masks in their smallest common box; None where both are empty. No outline lies outside it."""
    box: tuple[slice, ...] = ()
    either = truth | prediction
    for axis in range(either.ndim):
        hit = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        if hit.size == 0:
            return None
        box += (slice(int(hit[0]), int(hit[-1]) + 1),)
        either = either[(slice(None),) * axis + box[-1:]]
    return [np.ascontiguousarray(mask[box]) for mask in (truth, prediction)]
