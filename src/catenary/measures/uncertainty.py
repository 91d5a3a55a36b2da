"""How far a measured quantity may be off, from the errors it had on validation images.

A mask that a network made is not the truth, so neither is what is measured on it. Validation images have both: the
quantity of the true mask, t, and of the predicted one, p. Their errors tell what to expect of the next image.

With errors ``e_i = p_i - t_i`` of n images, their mean b (`Estimate.bias`), their standard deviation s (divisor n - 1),
and a value x that is the mean over m new images, the truth lies with probability `level` in

    ``x - b ± t s sqrt(1/m + 1/n)``,

t being the two-sided quantile of Student's distribution with n - 1 degrees of freedom: the prediction interval
for normal errors (Hahn and Meeker 1991). It is about the *next* image, not about the mean error: with n it narrows
towards ``± 2 s`` and no further. On the scale ``"log"`` errors are ``log(p_i / t_i)``, for quantities whose error grows
with their size, and the interval becomes ``x exp(-b ± ...)``.

It holds for images like those of the validation set. Slices of one volume, or images of one patient, share their
errors; with `groups` the number of groups stands in for n in the root and in the degrees of freedom, which is on the
safe side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catenary.errors import ConfigError, InputError
from catenary.measures.quantity import QUANTITIES, Quantity

__all__ = ["LEVEL", "Estimate", "with_error", "with_errors"]

#: Probability that the truth lies in an interval.
LEVEL = 0.95

Pair = tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A measured value with its error.

    Attributes:
        value: As measured on the prediction; None where it is not defined.
        corrected: `value` less the bias: the middle of the interval on its own scale.
        low: Lower end of the interval for the truth; None with fewer than two validation images (or groups).
        high: Upper end of it.
        bias: Mean error on the validation images, in the unit of the value on both scales.
        rmse: Root mean square error on them, the bias included, in the unit of the value on both scales.
        cases: Validation images that the errors come from.
        level: Probability that the interval was made for.
    """

    value: float | None
    corrected: float | None
    low: float | None
    high: float | None
    bias: float | None
    rmse: float | None
    cases: int
    level: float


def with_error(
    value: float | None,
    pairs: Iterable[Pair],
    *,
    groups: Sequence[str] | None = None,
    scale: Literal["linear", "log"] = "linear",
    images: int = 1,
    level: float = LEVEL,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """Give a value the error that its quantity had on validation images; the module has the formula.

    Args:
        value: The quantity on a new image, or its mean over several.
        pairs: The quantity of each validation image from the true mask and from the predicted one, in the unit of
            `value`. Pairs in which either is None or NaN are left out (on the scale ``"log"`` also those not above 0).
        groups: Group of each pair (patient, specimen, volume); each on its own without it.
        scale: ``"linear"``: errors are differences; ``"log"``: errors are ratios.
        images: How many new images `value` is the mean of; their errors must be independent.
        level: Probability that the truth lies in the interval.
        bounds: Smallest and largest value possible; the interval ends there.

    Raises:
        ConfigError: A level outside 0..1, no images, or an unknown scale.
        InputError: Not one group for each pair, or a value on the scale ``"log"`` that is not above 0.

    >>> validation = [(0.30, 0.32), (0.25, 0.26), (0.40, 0.43), (0.35, 0.37)]
    >>> e = with_error(0.33, validation, bounds=(0.0, 1.0))
    >>> round(e.bias, 3), round(e.rmse, 4), round(e.corrected, 3), round(e.low, 3), round(e.high, 3)
    (0.02, 0.0212, 0.31, 0.281, 0.339)
    """
    if not 0 < level < 1 or images < 1 or scale not in ("linear", "log"):
        raise ConfigError(
            f"an error needs a level between 0 and 1, at least one image and the scale linear or log, found {level}, "
            f"{images} and '{scale}'; correct them"
        )
    listed = [(math.nan if t is None else float(t), math.nan if p is None else float(p)) for t, p in pairs]
    if groups is not None and len(groups) != len(listed):
        raise InputError(f"{len(listed)} validation pairs but {len(groups)} groups; give one group a pair")
    table = np.asarray(listed, np.float64).reshape(-1, 2)
    fits = np.isfinite(table) if scale == "linear" else np.isfinite(table) & (table > 0)
    known: NDArray[np.bool_] = np.asarray(fits.all(axis=1))
    truth, found = table[known].T
    shown = None if value is None or not math.isfinite(value) else float(value)
    if scale == "log" and shown is not None and shown <= 0:
        raise InputError(f"a value on the log scale must be above 0, found {shown}; use the linear scale")
    cases = int(known.sum())
    if not cases:
        return Estimate(
            value=shown, corrected=None, low=None, high=None, bias=None, rmse=None, cases=0, level=level
        )  # fmt: skip
    errors = np.log(found / truth) if scale == "log" else found - truth
    centre = float(errors.mean())
    units = cases if groups is None else len({g for g, k in zip(groups, known, strict=True) if k})
    half = math.inf if units < 2 else _quantile(level, units - 1) * float(errors.std(ddof=1)) * math.sqrt(
        1 / images + 1 / units
    )  # fmt: skip
    corrected = low = high = None
    if shown is not None:
        corrected, low, high = (_minus(shown, shift, scale, bounds) for shift in (centre, centre + half, centre - half))
    return Estimate(
        value=shown,
        corrected=corrected,
        low=low if units > 1 else None,
        high=high if units > 1 else None,
        bias=float((found - truth).mean()),
        rmse=float(np.sqrt(((found - truth) ** 2).mean())),
        cases=cases,
        level=level,
    )


def with_errors(
    rows: Mapping[str, Quantity],
    validation: Sequence[tuple[Mapping[str, Quantity], Mapping[str, Quantity]]],
    *,
    groups: Sequence[str] | None = None,
    scale: Literal["linear", "log"] = "linear",
    images: int = 1,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """`with_error` for all rows of `catenary.measures.registry.measure_all` at once.

    Args:
        rows: What was measured on the new image.
        validation: The same of each validation image, from the true mask and from the predicted one.
        groups: See `with_error`, as the others.
        scale: See there.
        images: See there.
        level: See there.

    Raises:
        InputError: A row was measured in another unit on a validation image.

    >>> def rows(fraction):
    ...     return {"phase_fraction metal": Quantity("phase_fraction", "metal", fraction, "", fraction)}
    >>> validation = [(rows(0.3), rows(0.31)), (rows(0.4), rows(0.40)), (rows(0.2), rows(0.22))]
    >>> e = with_errors(rows(0.02), validation)["phase_fraction metal"]
    >>> round(e.corrected, 3), e.low, round(e.high, 3)  # a fraction is never below 0
    (0.01, 0.0, 0.06)
    """
    answer = {}
    for key, row in rows.items():
        pairs = []
        for case in validation:
            truth, found = (side.get(key) for side in case)
            for other in (truth, found):
                if other is not None and other.unit != row.unit:
                    raise InputError(
                        f"'{key}' is in '{row.unit}', but '{other.unit}' in validation; measure both in one unit"
                    )
            pairs.append((None if truth is None else truth.value, None if found is None else found.value))
        kind = QUANTITIES[row.name]
        answer[key] = with_error(
            row.value, pairs, groups=groups, scale=scale, images=images, level=level, bounds=(kind.low, kind.high)
        )  # fmt: skip
    return answer


def _quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def _minus(value: float, shift: float, scale: str, bounds: tuple[float, float]) -> float:
    """Value less an error, within the bounds."""
    moved = value * math.exp(-shift) if scale == "log" else value - shift
    return min(max(moved, bounds[0]), bounds[1])
