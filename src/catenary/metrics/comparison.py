"""Two evaluations of the same cases, paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.metrics.damage import compare_damage
from catenary.metrics.intervals import (
    draw_groups,
    group_index,
    percentile_interval,
    resample_means,
    sign_flip_p,
    sum_groups,
)
from catenary.metrics.registry import METRICS
from catenary.metrics.results import CaseScores, Comparison, Difference, Evaluation
from catenary.metrics.summary import mean_over_classes

__all__ = ["compare"]

Array = NDArray[Any]

_CONVENTIONS = {
    "differences": "b - a, case by case, then the mean; above zero, b is the larger. 95 % percentile bootstrap "
    "intervals over groups; none where there are fewer than two.",
    "p": "two-sided, signs of whole groups' differences flipped; all flips up to 12 groups, 9999 random ones beyond. "
    "Not corrected for the number of metrics.",
}


def compare(a: Evaluation, b: Evaluation, *, names: tuple[str, str] = ("a", "b"), seed: int = 0) -> Comparison:
    """Paired differences ``b - a`` of two evaluations of the same cases.

    Args:
        a: One evaluation.
        b: The other.
        names: How to call them.
        seed: Of the bootstrap and the permutations.

    Raises:
        InputError: Cases, groups, truths or distances are not the same, or no target or metric is in both.
    """
    targets = [target for target in a.classes if target in b.classes]
    metrics = [key for key in a.mean if key in b.mean and key in METRICS]
    if not targets or not metrics:
        raise InputError(
            f"the evaluations share no target, found {', '.join(a.classes)} and {', '.join(b.classes)}; "
            "compare models of the same classes"
        )
    first, second = _paired(a, b, targets)
    values = _values(first, targets, metrics), _values(second, targets, metrics)
    differences = values[1] - values[0]
    index, groups = group_index([case.group for case in first])
    rng = np.random.default_rng(seed)
    draws = draw_groups(groups, rng=rng)
    whole = np.ones((1, groups))
    means = [resample_means(v, index, whole)[0] for v in (*values, differences)]
    resampled = resample_means(differences, index, draws)
    # What each group adds to the mean over images, and through that to the mean over targets.
    known = ~np.isnan(differences)
    number = known.sum(axis=0)
    parts = sum_groups(np.where(known, differences, 0.0), index, groups) / np.where(number > 0, number, np.nan)
    over_targets = mean_over_classes(parts)
    p = sign_flip_p(np.nan_to_num(parts), rng=rng)
    p_mean = sign_flip_p(np.nan_to_num(over_targets), rng=rng)
    sure = groups > 1
    return Comparison(
        a=names[0],
        b=names[1],
        n=len(first),
        groups=groups,
        classes={
            target: _differences(metrics, [m[k] for m in means], resampled[:, k], p[k], number[k], sure)
            for k, target in enumerate(targets)
        },
        mean=_differences(
            metrics,
            [mean_over_classes(m) for m in means],
            mean_over_classes(resampled),
            p_mean,
            known.any(axis=1).sum(axis=0),
            sure,
        ),
        damage=compare_damage(a.damage, b.damage, seed=seed) if a.damage and b.damage else {},
        conventions=_CONVENTIONS | {key: a.conventions[key] for key in metrics if key in a.conventions},
    )


def _paired(a: Evaluation, b: Evaluation, targets: Sequence[str]) -> tuple[list[CaseScores], list[CaseScores]]:
    """The cases of both in one order, after checking that they are the same."""
    one, two = ({case.name: case for case in e.cases} for e in (a, b))
    only = sorted(set(one) ^ set(two))
    if only:
        raise InputError(
            f"the evaluations are of {len(one)} and {len(two)} cases and {len(only)} of these are in one only, for "
            f"example '{only[0]}'; measure both models on the same split"
        )
    if (a.unit, a.tolerance) != (b.unit, b.tolerance):
        raise InputError(
            f"distances were measured in {a.unit} with tolerance {a.tolerance:g} and in {b.unit} with tolerance "
            f"{b.tolerance:g}; measure both models in the same way"
        )
    for name in sorted(one):
        x, y = one[name], two[name]
        facts = [
            (case.n_pixels, case.n_ignored, case.group, [case.truth_pixels[target] for target in targets])
            for case in (x, y)
        ]
        if facts[0] != facts[1]:
            raise InputError(
                f"case '{name}' has another size, group or truth in the second evaluation "
                f"({x.truth_pixels} and {y.truth_pixels} true pixels); measure both models against the same masks"
            )
    return [one[name] for name in sorted(one)], [two[name] for name in sorted(one)]


def _values(cases: Sequence[CaseScores], targets: Sequence[str], metrics: Sequence[str]) -> Array:
    """``(cases, targets, metrics)``, NaN where a score is not defined."""
    rows = [[[case.classes[target][key] for key in metrics] for target in targets] for case in cases]
    return np.array(rows, np.float64)


def _differences(
    metrics: Sequence[str], means: Sequence[Array], resampled: Array, p: Array, number: Array, sure: bool
) -> dict[str, Difference]:
    low, high = percentile_interval(resampled)
    out = {}
    for i, key in enumerate(metrics):
        if number[i] == 0:
            out[key] = Difference(a=None, b=None, value=None, n=0, better="unclear")
            continue
        ends = (float(low[i]), float(high[i])) if sure else (None, None)
        out[key] = Difference(
            a=float(means[0][i]),
            b=float(means[1][i]),
            value=float(means[2][i]),
            low=ends[0],
            high=ends[1],
            p=float(p[i]) if sure else None,
            n=int(number[i]),
            better=_better(ends[0], ends[1], METRICS[key].higher),
        )
    return out


def _better(low: float | None, high: float | None, higher: bool) -> str:
    if low is None or high is None or low <= 0 <= high:
        return "unclear"
    return "b" if (low > 0) == higher else "a"
