"""What a classifier's answers are worth to those who act on them: predictive values, net benefit, the threshold to use.

>>> positive, negative = predictive_values(0.9, 0.9, prevalence=0.02)
>>> round(float(positive), 3), round(float(negative), 4)
(0.155, 0.9977)
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from catenary.errors import ConfigError, InputError
from catenary.metrics.ranking import Cuts, cuts

__all__ = ["GRID", "Operating", "choose_threshold", "net_benefit", "predictive_values", "treat_all"]

#: Probabilities of a decision curve.
GRID = np.arange(1, 100) / 100

Array = NDArray[Any]
Numbers = NDArray[Any] | float


class Operating(BaseModel):
    """The probability from which on a case is called positive, and why this one; plain JSON.

    >>> chosen = choose_threshold(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.5, 0.8]), specificity=0.9)
    >>> chosen.threshold, chosen.sensitivity, chosen.specificity
    (0.65, 0.5, 1.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: float = Field(description="a case is positive where its probability is at least this")
    rule: Literal["youden", "sensitivity", "specificity", "cost"] = Field(description="what chose it")
    sensitivity: float = Field(description="reached on the cases that chose it, so a little flattering")
    specificity: float = Field(description="the same")
    reason: str = Field(description="the choice in words")


def choose_threshold(
    positive: Bool[np.ndarray, " n"],
    probability: Float[np.ndarray, " n"],
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    cost: float | None = None,
    prevalence: float | None = None,
) -> Operating:
    """Choose the operating threshold on validation cases, never on those that are scored.

    Without a rule it is the one of the largest ``sensitivity + specificity - 1`` (Youden 1950). The threshold lies
    midway between two neighbouring probabilities, so that it hangs on no single case; of equally good ones the highest.

    Args:
        positive: Which validation cases are positive.
        probability: Of being positive, 0 to 1, calibrated if the model's will be.
        sensitivity: Reach this with the best specificity.
        specificity: Reach this with the best sensitivity.
        cost: What a missed case costs, a false alarm being 1; the expected cost is made least.
        prevalence: Where the model will be used; that of the cases when None. Only with `cost`.

    Raises:
        ConfigError: Two rules are given, or a value is out of its range.
        InputError: The cases are all of one class.
    """
    rules = {"sensitivity": sensitivity, "specificity": specificity, "cost": cost}
    given = {name: value for name, value in rules.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(f"a threshold follows one rule, found {' and '.join(given)}; give one of them")
    for name, value in given.items():
        if not (0 < value < math.inf if name == "cost" else 0 < value <= 1):
            wanted = "above 0" if name == "cost" else "above 0 and at most 1"
            raise ConfigError(f"the {name} that chooses a threshold must be {wanted}, found {value:g}; change it")
    if positive.all() or not positive.any():
        raise InputError(
            f"a threshold is chosen between two classes, found {int(positive.sum())} positive of {len(positive)} cases"
            "; give validation cases of both"
        )
    found = cuts(positive, np.asarray(probability, np.float64))
    hit, alarm = found.tp / found.tp[-1], found.fp / found.fp[-1]
    best = _best(hit, alarm, sensitivity, specificity, cost, _share(positive, prevalence))
    rule: Any = next(iter(given), "youden")
    words = {
        "youden": "the largest sum of sensitivity and specificity (Youden)",
        "sensitivity": f"the best specificity at a sensitivity of at least {sensitivity}",
        "specificity": f"the best sensitivity at a specificity of at least {specificity}",
        "cost": f"the least cost, a missed case counting as {cost} false alarms at a prevalence of "
        f"{_share(positive, prevalence):.3g}",
    }[rule]
    threshold = _between(found, best)
    return Operating(
        threshold=threshold,
        rule=rule,
        sensitivity=float(hit[best]),
        specificity=float(1 - alarm[best]),
        reason=f"{threshold:.4g}: {words} on {len(positive)} validation cases, where it gives sensitivity "
        f"{hit[best]:.3f} and specificity {1 - alarm[best]:.3f}",
    )


def predictive_values(sensitivity: Numbers, specificity: Numbers, *, prevalence: float) -> tuple[Array, Array]:
    """Positive and negative predictive value at a stated prevalence, by Bayes; NaN where nobody gets that answer.

    Args:
        sensitivity: Any shape.
        specificity: The same shape.
        prevalence: Share of the ill where the model will be used, 0 to 1.

    Raises:
        ConfigError: The prevalence is not between 0 and 1.
    """
    if not 0 < prevalence < 1:
        raise ConfigError(f"a prevalence lies between 0 and 1, found {prevalence:g}; give the share of the ill")
    ill, well = prevalence, 1 - prevalence
    with np.errstate(invalid="ignore"):
        positive = sensitivity * ill / (sensitivity * ill + (1 - specificity) * well)
        negative = specificity * well / (specificity * well + (1 - sensitivity) * ill)
    return np.asarray(positive), np.asarray(negative)


def net_benefit(tp: Numbers, fp: Numbers, n: Numbers, threshold: Numbers) -> Array:
    """``TP / n - FP / n * t / (1 - t)``: true positives a case, less what the false alarms are worth.

    Whoever treats from a probability of t on holds one missed case to be as bad as ``(1 - t) / t`` false alarms; a
    model is of use at t where its net benefit exceeds that of treating all and that of treating none, which is 0
    (Vickers and Elkin 2006).

    >>> float(net_benefit(20.0, 10.0, 100.0, 0.5))
    0.1
    """
    return np.asarray(tp / n - fp / n * threshold / (1 - threshold))


def treat_all(prevalence: Numbers, threshold: Numbers) -> Array:
    """Net benefit of calling every case positive."""
    return net_benefit(prevalence, 1 - prevalence, 1.0, threshold)


def _share(positive: Array, prevalence: float | None) -> float:
    if prevalence is None:
        return float(positive.mean())
    if not 0 < prevalence < 1:
        raise ConfigError(f"a prevalence lies between 0 and 1, found {prevalence:g}; give the share of the ill")
    return prevalence


def _best(
    hit: Array, alarm: Array, sensitivity: float | None, specificity: float | None, cost: float | None, share: float
) -> int:
    """Number of the best cut; the first, that is the highest threshold, of equally good ones."""
    slack = 1e-9
    if sensitivity is not None:
        return int(np.flatnonzero(hit >= sensitivity - slack)[0])
    if specificity is not None:
        return int(np.where(1 - alarm >= specificity - slack, hit, -1.0).argmax())
    if cost is not None:
        return int(np.round(cost * share * (1 - hit) + (1 - share) * alarm, 12).argmin())
    return int(np.round(hit - alarm, 12).argmax())


def _between(found: Cuts, best: int) -> float:
    """The threshold midway between the scores of a cut and of the next."""
    inside, beyond = found.threshold[best], found.threshold[best + 1] if best + 1 < len(found.threshold) else 0.0
    if math.isinf(inside):  # nothing is positive
        inside = max(1.0, float(np.nextafter(beyond, 2.0)))
        return float(inside if beyond >= 1 else (inside + beyond) / 2)
    middle = float((inside + beyond) / 2)
    return middle if middle > beyond else float(inside)  # neighbouring floats have no middle
