"""Metrics that are functions of four counts: true and false positives and negatives.

`count_targets` compares two label maps in one pass; every metric here is a plain function of `Counts` and works on
arrays of any one shape, so that images, pooled images and bootstrap resamples all go through the same line.

Where a formula divides 0 by 0, three rules hold, and each docstring says which one applies:

- Nothing to find and nothing found is a perfect answer and scores 1.
- A score that the prediction leaves undefined (the precision of an empty answer) takes its worst value,
  because leaving it out would reward a model for giving no answer.
- A score that the truth alone leaves undefined (the sensitivity where there is nothing to find) is NaN, and that image
  is left out of the mean of that score; no prediction can change which images these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.types import IGNORE

__all__ = [
    "JACCARD_THRESHOLD",
    "Counts",
    "accuracy",
    "check_values",
    "confusion_matrix",
    "count",
    "count_targets",
    "dice",
    "f1",
    "fdr",
    "fnr",
    "fpr",
    "iou",
    "mcc",
    "npv",
    "precision",
    "sensitivity",
    "specificity",
    "thresholded_jaccard",
]

#: An image whose Jaccard lies below this counts 0 in `thresholded_jaccard` (ISIC 2018 challenge, task 1).
JACCARD_THRESHOLD = 0.65

Array = NDArray[Any]


class Counts(NamedTuple):
    """Pixels of one target, or arrays of such counts that all have one shape.

    Attributes:
        tp: In the target, and predicted.
        fp: Not in the target, yet predicted.
        fn: In the target, not predicted.
        tn: Neither.
    """

    tp: Array
    fp: Array
    fn: Array
    tn: Array


def confusion_matrix(
    truth: UInt8[np.ndarray, "*s"], prediction: UInt8[np.ndarray, "*p"], classes: int
) -> Int64[np.ndarray, "k k1"]:
    """Pixels by true class (rows) and predicted class (columns), in one pass.

    Args:
        truth: Label map; pixels of value `IGNORE` are not counted.
        prediction: Label map; `IGNORE` means that no answer was given there.
        classes: Number of classes K, background included.

    Returns:
        ``(K, K + 1)``; the last column counts the pixels without an answer.

    Raises:
        InputError: The shapes differ, or a value is neither a class index nor `IGNORE`.

    >>> confusion_matrix(np.array([0, 1, 1, 255], np.uint8), np.array([0, 1, 0, 1], np.uint8), 2)
    array([[1, 0, 0],
           [1, 1, 0]])
    """
    if truth.shape != prediction.shape:
        raise InputError(
            f"truth and prediction must have one shape, found {truth.shape} and {prediction.shape}; "
            "bring the prediction to the truth's own grid"
        )
    # Both bytes as one number: ignored pixels fall into a row of their own, so that no mask is needed.
    code = truth.astype(np.uint16)
    code <<= 8
    code |= prediction
    table = np.bincount(code.ravel(), minlength=1 << 16).reshape(256, 256)
    _check_table(table.sum(1), classes, "truth")
    _check_table(table.sum(0), classes, "prediction")
    return np.ascontiguousarray(table[:classes, [*range(classes), IGNORE]]).astype(np.int64, copy=False)


def check_values(label: UInt8[np.ndarray, "*s"], classes: int, what: str) -> None:
    """Raise `InputError` where a label map holds a value that is neither a class index nor `IGNORE`.

    >>> check_values(np.array([0, 1, 255], np.uint8), 2, "truth")
    """
    _check_table(np.bincount(label.ravel(), minlength=256), classes, what)


def count_targets(matrix: Int64[np.ndarray, "k k1"], members: Sequence[Sequence[int]]) -> Counts:
    """Counts of targets that are made of classes, from a confusion matrix.

    Args:
        matrix: See `confusion_matrix`.
        members: Class indices of each target (`LabelSet.target_members`); targets may overlap.

    Returns:
        Counts of shape ``(targets,)``. A pixel without an answer is a negative.

    >>> truth, answer = np.array([0, 1, 2, 2], np.uint8), np.array([0, 2, 2, 1], np.uint8)
    >>> counts = count_targets(confusion_matrix(truth, answer, 3), [(1, 2), (2,)])
    >>> counts.tp, counts.fn
    (array([3, 1]), array([0, 1]))
    """
    rows = []
    total = int(matrix.sum())
    for classes in members:
        inside = list(classes)
        tp = int(matrix[np.ix_(inside, inside)].sum())
        true, predicted = int(matrix[inside].sum()), int(matrix[:, inside].sum())
        rows.append((tp, predicted - tp, true - tp, total - true - predicted + tp))
    return Counts(*np.array(rows, np.int64).reshape(-1, 4).T)


def count(
    truth: Bool[np.ndarray, "*s"], prediction: Bool[np.ndarray, "*s"], known: Bool[np.ndarray, "*s"] | None = None
) -> Counts:
    """Counts of one target given as two masks.

    Args:
        truth: True inside the target.
        prediction: True where it is predicted.
        known: False where nothing is counted; all is counted when None.

    >>> float(dice(count(np.array([True, True, False]), np.array([True, False, False]))))
    0.6666666666666666
    """
    if known is not None:
        truth, prediction = truth & known, prediction & known
    total = truth.size if known is None else int(np.count_nonzero(known))
    tp = int(np.count_nonzero(truth & prediction))
    true, predicted = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    values = (tp, predicted - tp, true - tp, total - true - predicted + tp)
    return Counts(*(np.asarray(value, np.int64) for value in values))


def dice(c: Counts) -> Array:
    """Dice coefficient ``2 TP / (2 TP + FP + FN)``, 0 to 1 (Dice 1945).

    Empty: truth and prediction both empty 1; only one of them empty 0.
    """
    return _share(2 * c.tp, 2 * c.tp + c.fp + c.fn, 1.0, c)


def iou(c: Counts) -> Array:
    """Intersection over union, or Jaccard index, ``TP / (TP + FP + FN)``, 0 to 1 (Jaccard 1912).

    Empty: truth and prediction both empty 1; only one of them empty 0.
    """
    return _share(c.tp, c.tp + c.fp + c.fn, 1.0, c)


def thresholded_jaccard(c: Counts) -> Array:
    """Jaccard index of an image, counted as 0 where it lies below 0.65 (ISIC 2018 challenge, task 1).

    Empty: as `iou`.
    """
    value = iou(c)
    return np.where(value < JACCARD_THRESHOLD, 0.0, value)


def accuracy(c: Counts) -> Array:
    """Share of pixels that are right, ``(TP + TN) / (TP + FP + FN + TN)``, 0 to 1.

    Empty: always defined.
    """
    return _share(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn, 1.0, c)


def sensitivity(c: Counts) -> Array:
    """Share of the true pixels that were found, ``TP / (TP + FN)``, 0 to 1; also recall, true positive rate.

    Empty: NaN where the truth is empty; prediction empty and truth not 0.
    """
    return _share(c.tp, c.tp + c.fn, np.nan, c)


def specificity(c: Counts) -> Array:
    """Share of the pixels outside the target that were left alone, ``TN / (TN + FP)``, 0 to 1.

    Empty: NaN where the truth fills all counted pixels.
    """
    return _share(c.tn, c.tn + c.fp, np.nan, c)


def precision(c: Counts) -> Array:
    """Share of the predicted pixels that are right, ``TP / (TP + FP)``, 0 to 1; also positive predictive value.

    Empty: an empty prediction scores 1 where the truth is empty too, else 0.
    """
    return _share(c.tp, c.tp + c.fp, np.where(c.fn == 0, 1.0, 0.0), c)


def npv(c: Counts) -> Array:
    """Negative predictive value ``TN / (TN + FN)``, 0 to 1.

    Empty: a prediction that fills all counted pixels scores 1 where the truth fills them too, else 0.
    """
    return _share(c.tn, c.tn + c.fn, np.where(c.fp == 0, 1.0, 0.0), c)


def fpr(c: Counts) -> Array:
    """False positive rate ``FP / (FP + TN) = 1 - specificity``, 0 to 1, lower is better.

    Empty: NaN where the truth fills all counted pixels.
    """
    return _share(c.fp, c.fp + c.tn, np.nan, c)


def fdr(c: Counts) -> Array:
    """False discovery rate ``FP / (FP + TP) = 1 - precision``, 0 to 1, lower is better.

    Empty: an empty prediction scores 0 where the truth is empty too, else 1.
    """
    return _share(c.fp, c.fp + c.tp, np.where(c.fn == 0, 0.0, 1.0), c)


def fnr(c: Counts) -> Array:
    """False negative rate ``FN / (FN + TP) = 1 - sensitivity``, 0 to 1, lower is better.

    Empty: NaN where the truth is empty; prediction empty and truth not 1.
    """
    return _share(c.fn, c.fn + c.tp, np.nan, c)


def mcc(c: Counts) -> Array:
    """Matthews correlation coefficient, -1 to 1 (Matthews 1975).

    ``(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))``.

    Empty: where truth or prediction is empty or fills all counted pixels, 1 when they are equal, else 0.
    """
    tp, fp, fn, tn = (np.asarray(part, np.float64) for part in c)  # the product of four counts passes 64 bit
    bottom = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    value = _share(tp * tn - fp * fn, bottom, np.where(fp + fn == 0, 1.0, 0.0), c)
    return np.asarray(np.clip(value, -1.0, 1.0))  # the roots round


def f1(c: Counts) -> Array:
    """Harmonic mean of `precision` and `sensitivity`; over pixels this is `dice` under another name.

    Empty: as `dice`.
    """
    return dice(c)


def _check_table(numbers: Array, classes: int, what: str) -> None:
    unknown = np.flatnonzero(numbers[classes:IGNORE])
    if unknown.size:
        raise InputError(
            f"the {what} holds the value {classes + int(unknown[0])}, but the classes are 0 to {classes - 1} "
            f"and {IGNORE} is unknown; check the label set"
        )


def _share(top: Any, bottom: Any, empty: Any, c: Counts) -> Array:
    """`top` / `bottom`, `empty` where bottom is 0, NaN where no pixel was counted at all."""
    counted = np.asarray(c.tp + c.fp + c.fn + c.tn) > 0
    defined = np.asarray(bottom) > 0
    value = np.where(defined, top / np.where(defined, bottom, 1), empty)
    return np.where(counted, value, np.nan)
