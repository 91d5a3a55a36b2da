"""Whether a probability means what it says, and how to make it so.

`Calibration` is fitted on validation cases and travels in the model's card; `choose_calibration` picks one by the
cross-validated log loss, by group, and leaves probabilities as they are where nothing is gained. The rest measures:
reliability, calibration error, Brier score with its decomposition, log loss.

>>> sharpened = Calibration(method="temperature", temperature=0.5)
>>> print(sharpened(np.array([[0.25, 0.75]])))
[[0.1 0.9]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from catenary.errors import InputError
from catenary.metrics.intervals import group_index, sum_groups

__all__ = [
    "Brier",
    "Calibration",
    "Pool",
    "brier_parts",
    "calibration_error",
    "chance_error",
    "choose_calibration",
    "equal_mass",
    "fit_isotonic",
    "fit_temperature",
    "log_losses",
    "pool",
]

#: Fewer validation groups than these, or groups that hold each class, calibrate nothing.
FEWEST_GROUPS, FEWEST_OF_CLASS = 20, 5
#: Fewer cases than these are too few for the steps of an isotonic regression.
FEWEST_ISOTONIC = 100
#: Temperatures that are tried.
COLDEST, HOTTEST = 0.1, 10.0
FOLDS = 5
#: A probability below this counts as this one in a logarithm.
TINY = 1e-12

Array = NDArray[Any]


class Calibration(BaseModel):
    """What turns a classifier's probabilities into calibrated ones; plain JSON.

    Attributes:
        method: ``"identity"`` changes nothing. ``"temperature"`` divides the logits, that is the logarithms of the
            probabilities, by `temperature` (Guo et al. 2017). ``"isotonic"`` reads the positive class of two off a
            rising broken line (Zadrozny and Elkan 2002).
        temperature: Above 1 makes answers less sure, below 1 surer.
        knots: ``(probability, calibrated probability)`` of the positive class, both rising; constant beyond the ends.
        reason: Why this one, in words.

    >>> Calibration.model_validate_json('{"method": "temperature", "temperature": 2.0}').temperature
    2.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["identity", "temperature", "isotonic"] = "identity"
    temperature: float = Field(1.0, gt=0)
    knots: tuple[tuple[float, float], ...] = ()
    reason: str = ""

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        if (self.method == "isotonic") != bool(self.knots):
            raise ValueError(f"knots belong to isotonic calibration, found {len(self.knots)} with '{self.method}'")
        places = np.array(self.knots).reshape(-1, 2)
        if (np.diff(places[:, 0]) <= 0).any() or (np.diff(places[:, 1]) < 0).any():
            raise ValueError("knots of a calibration must rise; fit it again")
        if self.knots and not ((places >= 0) & (places <= 1)).all():
            raise ValueError(f"knots of a calibration lie from 0 to 1, found {places.min():g} to {places.max():g}")
        return self

    def __call__(self, probability: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Calibrated probabilities, float64; rows add up to 1.

        Raises:
            InputError: The calibration is isotonic and there are not two classes.
        """
        given = np.asarray(probability, np.float64)
        if self.method == "identity":
            return given
        if self.method == "temperature":
            return _heated(given, self.temperature)
        if given.shape[1] != 2:
            raise InputError(
                f"an isotonic calibration is of two classes, found {given.shape[1]}; calibrate by temperature"
            )
        x, y = np.array(self.knots).T
        up = np.interp(given[:, 1], x, y)
        return np.stack([1 - up, up], axis=1)


def fit_temperature(truth: Int[np.ndarray, " n"], probability: Float[np.ndarray, "n k"]) -> Calibration:
    """The temperature of the least log loss on validation cases (Guo et al. 2017), from 0.1 to 10.

    Args:
        truth: Class of each case.
        probability: Of each class; the softmax (or sigmoid) of the network's logits.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(log_losses(truth, _heated(probability, float(np.exp(log_temperature)))).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-6})
    return Calibration(method="temperature", temperature=float(np.exp(found.x)))


def fit_isotonic(truth: Int[np.ndarray, " n"], probability: Float[np.ndarray, "n 2"]) -> Calibration:
    """The rising line of the least squared error on validation cases, by pooling adjacent violators.

    Its values keep within ``1 / (n + 2)`` of 0 and 1 for n cases: none of n is no proof of never.

    Args:
        truth: 1 for positive cases, 0 for the others.
        probability: Of both classes.
    """
    score, risen = _risen(truth, probability[:, 1])
    least = 1 / (len(truth) + 2)
    risen = np.clip(risen, least, 1 - least)
    # Of every run of equal values the two ends are enough.
    kept = np.ones(len(score), bool)
    kept[1:-1] = (risen[1:-1] != risen[:-2]) | (risen[1:-1] != risen[2:])
    return Calibration(method="isotonic", knots=tuple(zip(score[kept].tolist(), risen[kept].tolist(), strict=True)))


def choose_calibration(
    truth: Int[np.ndarray, " n"],
    probability: Float[np.ndarray, "n k"],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> Calibration:
    """The calibration that validation cases call for, with the reason in words.

    Temperature and, for two classes, isotonic regression are fitted on four fifths of the groups and judged by their
    log loss on the last, in turn. One that is more complicated is taken when it gains more than its standard error over
    groups. Then it is fitted on all cases.

    Args:
        truth: Class of each validation case.
        probability: Of each class.
        groups: Patient of each case.
        seed: Of the division into folds.
    """
    index, count = group_index(groups)
    holding = min(len(np.unique(index[truth == k])) for k in range(probability.shape[1]))
    if count < FEWEST_GROUPS or holding < FEWEST_OF_CLASS:
        return Calibration(
            reason=f"left as they are: {count} validation groups, {holding} of the rarest class, where calibration "
            f"asks for {FEWEST_GROUPS} and {FEWEST_OF_CLASS}"
        )
    fits = {"temperature": fit_temperature}
    if probability.shape[1] == 2 and len(truth) >= FEWEST_ISOTONIC:
        fits["isotonic"] = fit_isotonic
    fold = np.random.default_rng(seed).permutation(count)[index] % FOLDS
    losses = {name: np.empty(len(truth)) for name in fits}
    for part in range(FOLDS):
        fitted, judged = fold != part, fold == part
        for name, fit in fits.items():
            answer = fit(truth[fitted], probability[fitted])(probability[judged])
            losses[name][judged] = log_losses(truth[judged], answer)
    best, best_losses = "identity", log_losses(truth, probability)
    said = [f"identity {best_losses.mean():.4f}"] + [f"{name} {loss.mean():.4f}" for name, loss in losses.items()]
    for name, loss in losses.items():
        if _clearly_gained(best_losses - loss, index, count):
            best, best_losses = name, loss
    chosen = fits[best](truth, probability) if best != "identity" else Calibration()
    words = f"log loss over {FOLDS} folds of {count} validation groups: {', '.join(said)}"
    if chosen.method == "temperature" and chosen.temperature < COLDEST * 1.01:
        # All cases were told apart, and any colder temperature would look better still.
        return Calibration(
            reason=f"left as they are: no validation case is wrong, so nothing says how sure to be; {words}"
        )
    kept = "left as they are, nothing gains more than its standard error" if best == "identity" else f"by {best}"
    return chosen.model_copy(update={"reason": f"{kept}; {words}"})


def log_losses(truth: Int[np.ndarray, " n"], probability: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Minus the logarithm of each true class's probability, in nats; a probability of 0 counts as 1e-12.

    >>> print(log_losses(np.array([1]), np.array([[0.5, 0.5]])).round(3))
    [0.693]
    """
    return np.asarray(-np.log(np.maximum(probability[np.arange(len(truth)), truth], TINY)))


class Pool(NamedTuple):
    """Cases in bins of probability; arrays ``(..., bins)``.

    Attributes:
        n: Cases in each bin.
        positive: How many of them are positive.
        expected: How many should be: the sum of their probabilities.
    """

    n: Array
    positive: Array
    expected: Array


def equal_mass(score: Float[np.ndarray, " n"], bins: int = 10) -> Int[np.ndarray, " n"]:
    """Bin of each case, in bins of as equal a number of cases as equal scores allow; fewer bins where cases are few.

    >>> equal_mass(np.array([0.1, 0.2, 0.2, 0.9]), 2)
    array([0, 1, 1, 1])
    """
    bins = max(1, min(bins, len(score) // 2))
    edges = np.unique(np.sort(score)[[len(score) * i // bins for i in range(1, bins)]])
    return np.unique(np.searchsorted(edges, score, side="right"), return_inverse=True)[1].reshape(-1)


def pool(
    positive: Float[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    bins: Int[np.ndarray, " n"],
    index: Int[np.ndarray, " n"],
    draws: Float[np.ndarray, "r g"],
) -> Pool:
    """Sums over the cases of each bin in each resample, ``(r, bins)``.

    Args:
        positive: 1 for positive cases, 0 for others.
        score: Probability of being positive.
        bins: Bin of each case, see `equal_mass`.
        index: Group of each case.
        draws: How often each group occurs in each resample.
    """
    inside = (bins[:, None] == np.arange(bins.max() + 1)).astype(np.float64)
    parts = (inside, inside * positive[:, None], inside * score[:, None])
    return Pool(*(draws @ sum_groups(part, index, draws.shape[1]) for part in parts))


def calibration_error(p: Pool, *, scatter: int = 1) -> Array:
    """Expected calibration error: mean distance of the probability from the frequency over bins, weighted by cases.

    Even a perfectly calibrated model has frequencies that scatter about its probabilities, so the plain value is too
    large, most of all with few cases a bin. By default the expected excess is taken off each bin as if its frequency
    were normal with variance ``f (1 - f) / n`` (Kumar, Liang and Ma 2019; here in closed form, by the mean of a folded
    normal), and the sum is cut at 0. That takes off a part only: `chance_error` says what is left to expect.

    Args:
        p: Cases in bins.
        scatter: How often chance struck: 1 for data, 2 for a bootstrap resample of data, whose frequencies scatter
            about those of the data as these do about the truth; 0 gives the plain value.

    >>> bin_ = Pool(*(np.array([x]) for x in (100.0, 60.0, 50.0)))
    >>> [round(float(calibration_error(bin_, scatter=s)), 3) for s in (0, 1)]
    [0.1, 0.099]
    """
    from scipy.special import erf

    n = np.maximum(p.n, 1e-9)
    gap, share = np.abs(p.positive - p.expected) / n, p.n / p.n.sum(axis=-1, keepdims=True)
    if scatter:
        frequency = p.positive / n
        spread = np.sqrt(np.maximum(scatter * frequency * (1 - frequency) / n, 1e-300))
        folded = spread * np.sqrt(2 / np.pi) * np.exp(-(gap**2) / (2 * spread**2)) + gap * erf(
            gap / spread / np.sqrt(2)
        )
        gap = 2 * gap - folded
    return np.asarray(np.maximum((share * gap).sum(axis=-1), 0.0))


def chance_error(score: Float[np.ndarray, " n"], bins: Int[np.ndarray, " n"]) -> float:
    """The plain calibration error that chance alone gives a perfectly calibrated model, on the mean.

    The mean of ``|frequency - probability|`` in each bin as if its frequency were normal with the variance of
    independent cases, ``sum p (1 - p) / n^2``.

    >>> round(chance_error(np.full(100, 0.5), np.zeros(100, int)), 3)
    0.04
    """
    spread = np.sqrt(np.bincount(bins, weights=score * (1 - score)))
    return float(np.sqrt(2 / np.pi) * spread.sum() / len(score))


class Brier(NamedTuple):
    """Brier score ``= miscalibration - discrimination + uncertainty``, each at least 0; see `brier_parts`."""

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def brier_parts(positive: Float[np.ndarray, " n"], score: Float[np.ndarray, " n"]) -> Brier:
    """Brier score (mean squared error of the probability, 0 to 1) and what it is made of.

    The parts are those of Dimitriadis, Gneiting and Jordan 2021: what recalibrating these cases by isotonic regression
    would save (miscalibration, lower is better; some of it is always chance), what the recalibrated probabilities save
    against the prevalence (discrimination, higher is better), and the prevalence's own score (uncertainty). No bins are
    chosen and the sum is exact.

    >>> brier_parts(np.array([0.0, 1.0]), np.array([0.2, 0.8])).uncertainty
    0.25
    """
    own = float(np.mean((score - positive) ** 2))
    ordered, risen = _risen(positive, score)
    recalibrated = float(np.mean((risen[np.searchsorted(ordered, score)] - positive) ** 2))
    uncertainty = float(positive.mean() * (1 - positive.mean()))
    return Brier(own, max(own - recalibrated, 0.0), max(uncertainty - recalibrated, 0.0), uncertainty)


def _heated(probability: Array, temperature: float) -> Array:
    logits = np.log(np.maximum(probability, TINY)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    heated: Array = raised / raised.sum(axis=1, keepdims=True)
    return heated


def _risen(positive: Array, score: Array) -> tuple[Array, Array]:
    """Distinct scores, rising, and the isotonic frequency of positives at each."""
    from scipy.optimize import isotonic_regression

    distinct, place, number = np.unique(score, return_inverse=True, return_counts=True)
    share = np.bincount(place.reshape(-1), weights=positive) / number
    return distinct, isotonic_regression(share, weights=number.astype(np.float64)).x


def _clearly_gained(gain: Array, index: Array, groups: int) -> bool:
    """Whether a mean gain over cases exceeds its standard error over groups."""
    parts = sum_groups(gain - gain.mean(), index, groups)
    error = np.sqrt(groups / (groups - 1) * (parts**2).sum()) / len(gain)
    return bool(gain.mean() > error)
