"""Counting things instead of pixels: connected components, matched one to one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

__all__ = [
    "MATCH",
    "Objects",
    "Overlaps",
    "find_overlaps",
    "match_objects",
    "object_f1",
    "object_false_positives",
    "object_precision",
    "object_recall",
]

#: Intersection over union from which a predicted object matches a true one.
MATCH = 0.5

#: Below this many pairs of objects a table of all pairs is cheaper than sorting.
_TABLE = 1 << 22

Array = NDArray[Any]


class Objects(NamedTuple):
    """Objects of one target; numbers, or arrays of one shape. All may be added up over images.

    Attributes:
        true: Objects in the truth.
        predicted: Objects in the prediction.
        matched: Pairs that match.
        merges: Predicted objects that hold most (over half) of two or more true ones.
        splits: True objects that hold most of two or more predicted ones.
    """

    true: Array
    predicted: Array
    matched: Array
    merges: Array
    splits: Array


class Overlaps(NamedTuple):
    """The objects of two masks and which of them share pixels.

    Attributes:
        true: Number of the true object at each pixel, from 1; 0 outside.
        predicted: The same of the predicted ones.
        area_true: Pixels of each true object; those outside at 0.
        area_predicted: The same of the predicted ones.
        pairs: ``(2, n)``, numbers of the true and the predicted object of each pair that shares pixels.
        shared: Pixels that each pair shares.
    """

    true: Array
    predicted: Array
    area_true: Array
    area_predicted: Array
    pairs: Array
    shared: Array

    @property
    def matches(self) -> Array:
        """The columns of `pairs` whose intersection over union is 0.5 or more; each object stands in one at most."""
        # One to one by itself: above 0.5 an object fits one other only, and at exactly 0.5 a second fit would be the
        # other half of the same connected object, which would have been connected to the first.
        union = self.area_true[self.pairs[0]] + self.area_predicted[self.pairs[1]] - self.shared
        matched: Array = self.pairs[:, self.shared >= MATCH * union]
        return matched


def find_overlaps(truth: Bool[np.ndarray, "*s"], prediction: Bool[np.ndarray, "*s"]) -> Overlaps:
    """Find the objects of two masks and which of them share pixels; see `match_objects`.

    >>> found = find_overlaps(np.array([[1, 1, 0, 1, 1]], bool), np.array([[1, 1, 1, 1, 0]], bool))
    >>> found.true.tolist(), found.pairs.tolist(), found.shared.tolist(), found.matches.tolist()
    ([[1, 1, 0, 2, 2]], [[1, 2], [1, 1]], [2, 1], [[1], [1]])
    """
    true, n_true = _label(truth)
    predicted, n_predicted = _label(prediction)
    area_true, area_predicted = (
        np.bincount(objects.ravel()) if n else np.array([objects.size])
        for objects, n in ((true, n_true), (predicted, n_predicted))
    )
    t, p, shared = _shared(true, predicted, n_true, n_predicted)
    return Overlaps(true, predicted, area_true, area_predicted, np.stack([t, p]), shared)


def match_objects(truth: Bool[np.ndarray, "*s"], prediction: Bool[np.ndarray, "*s"]) -> Objects:
    """Find the objects of two masks and match them one to one at an intersection over union of 0.5 or more.

    An object is a connected component; pixels that touch at a corner are connected (8 neighbours in 2D, 26 in 3D).

    Args:
        truth: True inside the target, 2D or 3D.
        prediction: True where it is predicted.

    Returns:
        The `Objects` of this pair, each part an array of shape ``()``.

    >>> truth = np.array([[1, 1, 0, 0, 1, 1]], bool)
    >>> answer = np.array([[1, 1, 0, 0, 0, 0]], bool)
    >>> [int(n) for n in match_objects(truth, answer)]
    [2, 1, 1, 0, 0]
    """
    found = find_overlaps(truth, prediction)
    t, p = found.pairs
    matched = found.matches.shape[1]
    merges = np.count_nonzero(np.bincount(p[2 * found.shared > found.area_true[t]]) > 1)
    splits = np.count_nonzero(np.bincount(t[2 * found.shared > found.area_predicted[p]]) > 1)
    numbers = (len(found.area_true) - 1, len(found.area_predicted) - 1, matched, merges, splits)
    return Objects(*(np.asarray(n, np.int64) for n in numbers))


def object_precision(o: Objects) -> Array:
    """Share of the predicted objects that match a true one, 0 to 1.

    Empty: no predicted object scores 1 where there is no true one either, else 0.
    """
    return _share(o.matched, o.predicted, np.where(np.asarray(o.true) == 0, 1.0, 0.0))


def object_recall(o: Objects) -> Array:
    """Share of the true objects that were matched, 0 to 1; also lesion-wise sensitivity.

    Empty: NaN where there is no true object; no predicted one 0.
    """
    return _share(o.matched, o.true, np.nan)


def object_f1(o: Objects) -> Array:
    """``2 matched / (true + predicted)``, 0 to 1: harmonic mean of object precision and recall.

    Empty: neither true nor predicted objects 1; only one kind 0.
    """
    return _share(2 * o.matched, o.true + o.predicted, 1.0)


def object_false_positives(o: Objects) -> Array:
    """Predicted objects that match no true one, a number, lower is better; its mean over cases is "per case".

    Empty: no predicted object 0.
    """
    return np.asarray(o.predicted - o.matched, np.float64)


def _share(top: Any, bottom: Any, empty: Any) -> Array:
    some = np.asarray(bottom) > 0
    value: Array = np.where(some, top / np.where(some, bottom, 1), empty)
    return value


def _label(mask: Array) -> tuple[Array, int]:
    import cc3d

    if not mask.any():
        return np.zeros(mask.shape, np.uint16), 0
    labels, found = cc3d.connected_components(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=26 if mask.ndim == 3 else 8, return_N=True
    )
    return labels, int(found)


def _shared(true: Array, predicted: Array, n_true: int, n_predicted: int) -> tuple[Array, Array, Array]:
    """Pairs of objects that share pixels, and how many."""
    if not (n_true and n_predicted):
        return (np.zeros(0, np.int64),) * 3
    both = (true > 0) & (predicted > 0)
    code = true[both].astype(np.int64) * (n_predicted + 1) + predicted[both]
    if (n_true + 1) * (n_predicted + 1) <= _TABLE:
        table = np.bincount(code)
        codes = np.flatnonzero(table)
        shared = table[codes]
    else:
        codes, shared = np.unique(code, return_counts=True)
    t, p = np.divmod(codes, n_predicted + 1)
    return t, p, shared
