"""A checked table of a classifier's answers, and every score of it in one pass over the resamples.

What `catenary.metrics.classes` evaluates and compares by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.metrics.calibration import TINY, calibration_error, equal_mass, log_losses, pool
from catenary.metrics.classification import COUNTED, confusion_matrices, multiclass_mcc, one_vs_rest, share_right
from catenary.metrics.classresults import SCORES, ClassScore
from catenary.metrics.counts import Counts
from catenary.metrics.decision import predictive_values
from catenary.metrics.intervals import RESAMPLES, draw_groups, group_index, percentile_interval, resample_means
from catenary.metrics.ranking import resample_ranked

__all__ = [
    "FEWEST_GROUPS",
    "Answers",
    "Table",
    "case_scores",
    "check_answers",
    "column",
    "ends_of",
    "finite",
    "joined",
    "measure",
    "scored",
    "summarise_answers",
]

#: With fewer groups a percentile bootstrap covers far less than it says, so no interval is given.
FEWEST_GROUPS = 10

Array = NDArray[Any]
#: Score -> its values in the resamples.
Table = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A checked table of answers."""

    names: tuple[str, ...]
    truth: Array
    probability: Array
    groups: tuple[str, ...]
    threshold: float | None

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes that are scored against the rest."""
        return (1,) if len(self.names) == 2 else tuple(range(len(self.names)))

    @property
    def called(self) -> Array:
        """Class that each case was given, ``(n,)``."""
        if self.threshold is None:
            return np.asarray(self.probability.argmax(axis=1))
        return (self.probability[:, 1] >= self.threshold).astype(np.intp)

    def positive(self, target: int) -> Array:
        """Which cases are of a class, ``(n,)``."""
        return np.asarray(self.truth == target)

    def part(self, mask: Array) -> Answers:
        """Some of the cases."""
        groups = tuple(group for group, kept in zip(self.groups, mask, strict=True) if kept)
        return replace(self, truth=self.truth[mask], probability=self.probability[mask], groups=groups)

    def draws(self, seed: int, resamples: int = RESAMPLES) -> Array | None:
        """Resamples of the groups; None where these are too few."""
        count = group_index(self.groups)[1]
        return (
            draw_groups(count, resamples=resamples, rng=np.random.default_rng(seed)) if count >= FEWEST_GROUPS else None
        )


def check_answers(
    truth: Sequence[int] | Array,
    probability: Array,
    names: Sequence[str],
    groups: Sequence[str],
    threshold: float | None,
) -> Answers:
    """The table, after checking it; see `catenary.metrics.classes.evaluate_classes`.

    Raises:
        InputError: It is empty, of unequal lengths, or holds what is no class or no probability.
    """
    given, answer = np.asarray(truth), np.asarray(probability, np.float64)
    k = len(names)
    if k < 2 or answer.ndim != 2 or answer.shape[1] != k or len(answer) == 0:
        raise InputError(
            f"answers are a table of cases by classes, found the shape {answer.shape} and {k} class names; give "
            "the probability of every class for at least one case"
        )
    if given.shape != answer.shape[:1] or len(groups) != len(answer):
        raise InputError(
            f"there are {len(answer)} answers, {given.size} true classes and {len(groups)} groups; give one of "
            "each a case"
        )
    if not np.isin(given, np.arange(k)).all():
        odd = given[~np.isin(given, np.arange(k))][0]
        raise InputError(f"a true class is {odd}, but the classes are 0 to {k - 1}; check the label set")
    if not (np.isfinite(answer).all() and (answer >= 0).all() and np.allclose(answer.sum(axis=1), 1, atol=1e-3)):
        row = int(
            np.flatnonzero(~np.isfinite(answer).all(1) | (answer < 0).any(1) | (abs(answer.sum(1) - 1) > 1e-3))[0]
        )
        raise InputError(
            f"the probabilities of case {row} are {answer[row].round(4).tolist()}, which are not from 0 to 1 with the "
            "sum 1; give the softmax of the network's answers"
        )
    if k > 2 and threshold is not None:
        raise InputError(f"a threshold is of two classes, found {k}; leave it out, the most probable class is called")
    return Answers(
        names=tuple(names),
        truth=given.astype(np.intp),
        probability=answer,
        groups=tuple(str(group) for group in groups),
        threshold=(0.5 if threshold is None else float(threshold)) if k == 2 else None,
    )


def measure(table: Answers, draws: Array, prevalence: float | None, *, resampled: bool = False) -> tuple[Table, Table]:
    """In each resample: scores of the targets ``(r, t)``, scores over all classes ``(r,)``."""
    index, _ = group_index(table.groups)
    k, targets = len(table.names), list(table.targets)
    confusion = confusion_matrices(table.truth, table.called, k, index, draws)
    each = one_vs_rest(confusion)
    counts = Counts(*(part[:, targets] for part in each))
    found: Table = {key: function(counts) for key, function in COUNTED.items()}
    if prevalence is not None:
        found["ppv_at_prevalence"], found["npv_at_prevalence"] = predictive_values(
            found["sensitivity"], found["specificity"], prevalence=prevalence
        )
    ranked, errors = [], []
    for t in targets:
        positive, score = table.positive(t), table.probability[:, t]
        ranked.append(resample_ranked(positive, score, index, draws))
        pooled = pool(positive.astype(float), score, equal_mass(score), index, draws)
        errors.append(calibration_error(pooled, scatter=2 if resampled else 1))
    found |= {key: np.stack([scores[key] for scores in ranked], axis=1) for key in ranked[0]}
    hot = table.truth[:, None] == targets
    chance = table.probability[:, targets]
    found["brier"] = resample_means((chance - hot) ** 2, index, draws)
    own_chance = np.where(hot, chance, 1 - chance)
    found["log_loss"] = resample_means(-np.log(np.maximum(own_chance, TINY)), index, draws)
    found["calibration_error"] = np.stack(errors, axis=1)
    recall = COUNTED["sensitivity"](each)
    overall = {
        "accuracy": share_right(confusion),
        "balanced_accuracy": recall.mean(axis=1),
        "mcc": multiclass_mcc(confusion),
        "log_loss": resample_means(log_losses(table.truth, table.probability)[:, None], index, draws)[:, 0],
    }
    return found, overall


def summarise_answers(table: Answers, draws: Array | None) -> tuple[Table, Table | None]:
    """`joined` scores of the data, and of the resamples where there are such."""
    whole = measure(table, np.ones((1, group_index(table.groups)[1])), None)
    return joined(whole, None if draws is None else measure(table, draws, None, resampled=True))


def joined(found: tuple[Table, Table], drawn: tuple[Table, Table] | None) -> tuple[Table, Table | None]:
    """Means over the targets that the whole data define, and what is of all classes over all, from `measure`.

    A resample that lacks one of these targets has no mean.
    """
    whole, resampled = {}, {}
    for key, values in found[0].items():
        there = ~np.isnan(values[0]) if not np.isnan(values[0]).all() else np.ones(values.shape[1], bool)
        whole[key] = values[:, there].mean(axis=1)
        if drawn is not None:
            resampled[key] = drawn[0][key][:, there].mean(axis=1)
    return whole | found[1], None if drawn is None else resampled | drawn[1]


def column(found: Mapping[str, Array], target: int) -> Table:
    """The values of one target, ``(r,)`` each."""
    return {key: values[:, target] for key, values in found.items()}


def scored(found: Mapping[str, Array], drawn: Mapping[str, Array] | None, n: int) -> dict[str, ClassScore]:
    """One score a key, from its value ``(1,)`` and its values in the resamples ``(r,)``."""
    scores = {}
    for key in [key for key in SCORES if key in found]:
        value = finite(found[key][0])
        low = high = None
        left_out = 0.0
        if drawn is not None and value is not None:
            left_out = float(np.isnan(drawn[key]).mean())
            low, high = ends_of(drawn[key])
        scores[key] = ClassScore(value=value, low=low, high=high, n=n, left_out=left_out)
    return scores


def case_scores(table: Answers) -> tuple[Array, Array, Array]:
    """Of each case: whether it is right, its log loss, its squared error as a mean over the targets."""
    targets = list(table.targets)
    squared = ((table.probability[:, targets] - (table.truth[:, None] == targets)) ** 2).mean(axis=1)
    right = (table.called == table.truth).astype(np.float64)
    return right, log_losses(table.truth, table.probability), squared


def ends_of(drawn: Array) -> tuple[float | None, float | None]:
    """Interval of the resamples; an end that is infinite, as of likelihood ratios, is None."""
    if np.isnan(drawn).all():
        return None, None
    with np.errstate(invalid="ignore"):
        low, high = percentile_interval(drawn)
    return finite(low), finite(high)


def finite(value: Any) -> float | None:
    """The number, None where it is none or infinite."""
    return float(value) if np.isfinite(value) else None
