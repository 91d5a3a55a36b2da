"""How well a score orders the cases: curves over every cut, and what is read from them.

`cuts` counts the true and false positives of every cut in one pass; all else is a function of these counts and works on
arrays ``(..., cuts)``, so that a bootstrap is the same call with one row of weights a resample. Equal scores are one
cut: no order is made up among them.

>>> found = cuts(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.4, 0.8]))
>>> float(auc(found))
0.875
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.metrics.classification import ratio
from catenary.metrics.intervals import group_index, sum_groups

__all__ = [
    "LEAST",
    "RANKED",
    "AreaTest",
    "Cuts",
    "auc",
    "average_precision",
    "compare_areas",
    "cuts",
    "partial_auc",
    "resample_ranked",
    "sensitivity_at",
    "specificity_at",
    "standardised_partial_auc",
]

#: The specificity (or sensitivity) at which the other is read, and the least specificity of the partial area.
LEAST = 0.95
HIGH = 0.9
#: Weights held at once while resampling: some ten megabytes an array.
_CHUNK = 1_500_000

Array = NDArray[Any]


class Cuts(NamedTuple):
    """Positive is what scores at or above the cut.

    Attributes:
        threshold: ``(m + 1,)``, falling: infinity (nothing is positive), then every distinct score.
        tp: Positives at or above each cut, ``(..., m + 1)``; the last is their number.
        fp: Negatives at or above it.
    """

    threshold: Array
    tp: Array
    fp: Array


def cuts(
    positive: Bool[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    weight: Float[np.ndarray, "*b n"] | None = None,
) -> Cuts:
    """Count the true and false positives of every cut.

    Args:
        positive: Which cases are positive.
        score: The higher, the more likely positive; finite.
        weight: How often each case counts, for example in each resample; once when None.
    """
    order = np.argsort(-score, kind="stable")
    ranked, hit = score[order], positive[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    weights = np.ones(len(score)) if weight is None else weight[..., order]
    start = np.zeros((*weights.shape[:-1], 1))
    tp = np.cumsum(weights * hit, axis=-1)[..., ends]
    fp = np.cumsum(weights * ~hit, axis=-1)[..., ends]
    return Cuts(
        np.append(np.inf, ranked[ends]), np.concatenate([start, tp], axis=-1), np.concatenate([start, fp], axis=-1)
    )


def auc(c: Cuts) -> Array:
    """Area under the ROC curve: the share of pairs that are in order, equal scores counting half; NaN with one class.

    Equals Mann and Whitney's U over the number of pairs (Hanley and McNeil 1982).
    """
    area = (np.diff(c.fp, axis=-1) * (c.tp[..., 1:] + c.tp[..., :-1])).sum(axis=-1) / 2
    return ratio(area, c.tp[..., -1] * c.fp[..., -1])


def average_precision(c: Cuts) -> Array:
    """Area under the precision-recall curve as a sum of steps, ``sum (R_i - R_{i-1}) P_i``; NaN without positives.

    Nothing is interpolated: a line between two cuts would promise a precision that no cut reaches (Davis and Goadrich
    2006). Without any skill it is the prevalence.
    """
    precise = ratio(c.tp[..., 1:], c.tp[..., 1:] + c.fp[..., 1:])
    steps = np.diff(c.tp, axis=-1)
    return ratio(np.where(steps > 0, steps * precise, 0.0).sum(axis=-1), c.tp[..., -1])


def partial_auc(c: Cuts, specificity: float = HIGH) -> Array:
    """Area under the ROC curve where the specificity is at least this, 0 to ``1 - specificity``; NaN with one class."""
    negatives, positives = c.fp[..., -1:], c.tp[..., -1]
    limit = (1 - specificity) * negatives
    run, rise = np.diff(c.fp, axis=-1), np.diff(c.tp, axis=-1)
    inside = np.clip(limit - c.fp[..., :-1], 0, run)  # of each segment, what lies left of the limit
    slope = rise / np.where(run > 0, run, 1)
    area = (inside * (c.tp[..., :-1] + slope * inside / 2)).sum(axis=-1)
    return ratio(area, positives * negatives[..., 0])


def standardised_partial_auc(c: Cuts, specificity: float = HIGH) -> Array:
    """`partial_auc` brought to 0.5 (chance) and 1 (perfect), by McClish 1989; below 0.5 it is worse than chance."""
    span = 1 - specificity
    chance = span**2 / 2
    return np.asarray((1 + (partial_auc(c, specificity) - chance) / (span - chance)) / 2)


def sensitivity_at(c: Cuts, specificity: float = LEAST) -> Array:
    """The best sensitivity of a cut whose specificity is at least this; NaN with one class.

    Nothing is interpolated: the value is that of a cut that can be used, which is the lower one where few cases leave
    gaps.

    >>> float(sensitivity_at(cuts(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.5, 0.8]))))
    0.5
    """
    allowed = (1 - specificity) * c.fp[..., -1:] * (1 + 1e-9)
    best = np.where(c.fp <= allowed, c.tp, 0.0).max(axis=-1)
    return np.where(c.fp[..., -1] > 0, ratio(best, c.tp[..., -1]), np.nan)


def specificity_at(c: Cuts, sensitivity: float = LEAST) -> Array:
    """The best specificity of a cut whose sensitivity is at least this, nothing interpolated; NaN with one class."""
    needed = sensitivity * c.tp[..., -1:] * (1 - 1e-9)
    fewest = np.where(c.tp >= needed, c.fp, np.inf).min(axis=-1)
    return np.where(c.tp[..., -1] > 0, 1 - ratio(fewest, c.fp[..., -1]), np.nan)


#: Name of a score -> its function of `Cuts`.
RANKED: Mapping[str, Callable[[Cuts], Array]] = {
    "auc": auc,
    "average_precision": average_precision,
    "partial_auc": partial_auc,
    "partial_auc_standardised": standardised_partial_auc,
    "sensitivity_at_specificity": sensitivity_at,
    "specificity_at_sensitivity": specificity_at,
}


def resample_ranked(
    positive: Bool[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    index: Int[np.ndarray, " n"],
    draws: Float[np.ndarray, "r g"],
) -> dict[str, Array]:
    """Every score of `RANKED` in each resample, ``(r,)``; NaN in one that lacks a class.

    Args:
        positive: Which cases are positive.
        score: The higher, the more likely positive.
        index: Group of each case.
        draws: How often each group occurs in each resample, see `catenary.metrics.intervals.draw_groups`.
    """
    rows = max(1, _CHUNK // len(score))
    parts: dict[str, list[Array]] = {key: [] for key in RANKED}
    for start in range(0, len(draws), rows):
        found = cuts(positive, score, draws[start : start + rows, index])
        for key, function in RANKED.items():
            parts[key].append(function(found))
    return {key: np.concatenate(values) for key, values in parts.items()}


class AreaTest(NamedTuple):
    """Two AUCs of the same cases, their difference ``b - a``, its standard error and its two-sided p-value."""

    a: float
    b: float
    error: float
    p: float


def compare_areas(
    positive: Bool[np.ndarray, " n"],
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " n"],
    groups: Sequence[str] | None = None,
) -> AreaTest:
    """Whether two scores of the same cases have one AUC: DeLong's test, by clusters where groups are given.

    DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997 for several images of a patient, which with one image a
    patient is the former.

    Args:
        positive: Which cases are positive.
        a: One score.
        b: The other.
        groups: Patient of each case; each case its own when None.

    Raises:
        InputError: There are fewer than two groups with positives, or with negatives.
    """
    index, count = group_index([str(i) for i in range(len(positive))] if groups is None else groups)
    holding = [len(np.unique(index[side])) for side in (positive, ~positive)]
    if min(holding) < 2:
        raise InputError(
            f"two areas are compared over two groups of each class at least, found {holding[0]} with positives and "
            f"{holding[1]} with negatives; give more cases"
        )
    shares = [_placements(positive, score) for score in (a, b)]
    areas = [float(share[positive].mean()) for share in shares]
    departs = (shares[1] - shares[0]) - (areas[1] - areas[0])
    up, down = (sum_groups(np.where(side, departs, 0.0), index, count) / side.sum() for side in (positive, ~positive))
    scale = [n / (n - 1) for n in (*holding, count)]
    variance = scale[0] * (up @ up) + scale[1] * (down @ down) + 2 * scale[2] * (up @ down)
    error = float(np.sqrt(max(variance, 0.0)))
    gap = areas[1] - areas[0]
    return AreaTest(areas[0], areas[1], error, _two_sided(gap / error) if error > 0 else float(abs(gap) < 1e-12))


def _placements(positive: Array, score: Array) -> Array:
    """Of each positive the share of negatives below it, of each negative the share of positives above it; ties half."""
    out = np.empty(len(score))
    for side, sign in ((positive, 1.0), (~positive, -1.0)):
        others = np.sort(sign * score[~side])
        own = sign * score[side]
        out[side] = (np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")) / (2 * len(others))
    return out


def _two_sided(z: float) -> float:
    from scipy.stats import norm

    return float(2 * norm.sf(abs(z)))
