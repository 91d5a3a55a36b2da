"""Scores of answers about whole images, from how many were right and wrong.

Every score is a plain function of `Counts` and works on arrays of any one shape, so that one data set, its classes and
thousands of bootstrap resamples go through the same line. Where a formula divides 0 by 0 the score is not defined and
NaN: answers that call nobody ill have no precision, neither 0 nor 1. (The scores of pixels in `catenary.metrics.counts`
follow the customs of empty masks instead.)

>>> screened = Counts(*(np.array(n) for n in (104, 6, 2, 82)))
>>> round(float(mcc(screened)), 4)
0.9173
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer, Num
from numpy.typing import NDArray

from catenary.metrics.counts import Counts
from catenary.metrics.intervals import sum_groups

__all__ = [
    "COUNTED",
    "accuracy",
    "balanced_accuracy",
    "confusion_matrices",
    "f1",
    "fdr",
    "fnr",
    "fpr",
    "lr_negative",
    "lr_positive",
    "mcc",
    "multiclass_mcc",
    "npv",
    "one_vs_rest",
    "precision",
    "prevalence",
    "ratio",
    "sensitivity",
    "share_right",
    "specificity",
]

Array = NDArray[Any]


def sensitivity(c: Counts) -> Array:
    """Share of the positives that were called so, ``TP / (TP + FN)``; NaN without positives."""
    return ratio(c.tp, c.tp + c.fn)


def specificity(c: Counts) -> Array:
    """Share of the negatives that were called so, ``TN / (TN + FP)``; NaN without negatives."""
    return ratio(c.tn, c.tn + c.fp)


def precision(c: Counts) -> Array:
    """Positive predictive value ``TP / (TP + FP)`` at the data's prevalence; NaN where nothing was called positive."""
    return ratio(c.tp, c.tp + c.fp)


def npv(c: Counts) -> Array:
    """Negative predictive value ``TN / (TN + FN)`` at the data's prevalence; NaN where all was called positive."""
    return ratio(c.tn, c.tn + c.fn)


def fpr(c: Counts) -> Array:
    """False positive rate ``FP / (FP + TN) = 1 - specificity``; NaN without negatives."""
    return ratio(c.fp, c.fp + c.tn)


def fdr(c: Counts) -> Array:
    """False discovery rate ``FP / (FP + TP) = 1 - precision``; NaN where nothing was called positive."""
    return ratio(c.fp, c.fp + c.tp)


def fnr(c: Counts) -> Array:
    """False negative rate ``FN / (FN + TP) = 1 - sensitivity``; NaN without positives."""
    return ratio(c.fn, c.fn + c.tp)


def f1(c: Counts) -> Array:
    """``2 TP / (2 TP + FP + FN)``, harmonic mean of precision and sensitivity; NaN without true or called positives."""
    return ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def mcc(c: Counts) -> Array:
    """Matthews correlation coefficient, -1 to 1 (Matthews 1975); NaN where truth or answers are all of one class.

    ``(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))``.
    """
    tp, fp, fn, tn = (np.asarray(part, np.float64) for part in c)  # the product of four counts passes 64 bit
    bottom = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    return np.asarray(np.clip(ratio(tp * tn - fp * fn, bottom), -1.0, 1.0))  # the roots round


def accuracy(c: Counts) -> Array:
    """Share of the answers that are right, ``(TP + TN) / n``."""
    return ratio(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn)


def balanced_accuracy(c: Counts) -> Array:
    """Mean of sensitivity and specificity; NaN where one of the classes is not there."""
    return np.asarray((sensitivity(c) + specificity(c)) / 2)


def prevalence(c: Counts) -> Array:
    """Share of the positives among all, ``(TP + FN) / n``."""
    return ratio(c.tp + c.fn, c.tp + c.fp + c.fn + c.tn)


def lr_positive(c: Counts) -> Array:
    """Likelihood ratio of a positive answer, ``sensitivity / (1 - specificity)``; infinite without false positives."""
    return ratio(sensitivity(c), fpr(c))


def lr_negative(c: Counts) -> Array:
    """Likelihood ratio of a negative answer, ``(1 - sensitivity) / specificity``; infinite without true negatives."""
    return ratio(fnr(c), specificity(c))


#: Name of a score -> its function of counts.
COUNTED: Mapping[str, Callable[[Counts], Array]] = {
    "sensitivity": sensitivity,
    "specificity": specificity,
    "precision": precision,
    "npv": npv,
    "fpr": fpr,
    "fdr": fdr,
    "fnr": fnr,
    "f1": f1,
    "mcc": mcc,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "prevalence": prevalence,
    "lr_positive": lr_positive,
    "lr_negative": lr_negative,
}


def confusion_matrices(
    truth: Integer[np.ndarray, " n"],
    called: Integer[np.ndarray, " n"],
    classes: int,
    index: Int[np.ndarray, " n"],
    draws: Float[np.ndarray, "r g"],
) -> Float[np.ndarray, "r k k"]:
    """Cases by true class (rows) and by the class they were called (columns), in each resample.

    Args:
        truth: Class of each case.
        called: What each was called.
        classes: Number of classes, k.
        index: Group of each case, see `catenary.metrics.intervals.group_index`.
        draws: How often each group occurs in each resample; one row of ones for the data as they are.

    >>> own = np.arange(3)
    >>> confusion_matrices(np.array([0, 1, 1]), np.array([0, 0, 1]), 2, own, np.ones((1, 3)))[0]
    array([[1., 0.],
           [1., 1.]])
    """
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), truth * classes + called] = 1
    return np.asarray(draws @ sum_groups(cells, index, draws.shape[1])).reshape(-1, classes, classes)


def one_vs_rest(confusion: Num[np.ndarray, "*b k k"]) -> Counts:
    """Counts ``(*b, k)`` of each class against all others.

    >>> print(one_vs_rest(np.array([[82, 6], [2, 104]])).tp)
    [ 82 104]
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    missed, invented = confusion.sum(-1) - right, confusion.sum(-2) - right
    return Counts(right, invented, missed, confusion.sum((-2, -1))[..., None] - right - missed - invented)


def share_right(confusion: Num[np.ndarray, "*b k k"]) -> Array:
    """Share of the cases that got their true class, 0 to 1."""
    return ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def multiclass_mcc(confusion: Num[np.ndarray, "*b k k"]) -> Array:
    """Correlation of truth and answers over all classes, -1 to 1 (Gorodkin 2004); `mcc` where there are two.

    >>> float(multiclass_mcc(np.eye(3)))
    1.0
    """
    confusion = np.asarray(confusion, np.float64)
    true, called, total = confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))
    top = np.trace(confusion, axis1=-2, axis2=-1) * total - (true * called).sum(-1)
    bottom = np.sqrt(total**2 - (true**2).sum(-1)) * np.sqrt(total**2 - (called**2).sum(-1))
    return np.asarray(np.clip(ratio(top, bottom), -1.0, 1.0))


def ratio(top: Any, bottom: Any) -> Array:
    """`top` / `bottom`; 0/0 is NaN, and anything else over 0 is infinite.

    >>> float(ratio(1, 4)), float(ratio(0, 0))
    (0.25, nan)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.true_divide(top, bottom))
