"""Does an eye get worse? Straight lines through its visual fields, and published rules of what they say.

- PLR2, PLR3: at least 2, 3 points whose least-squares slope is significantly negative; MD: the same of one number a
  visit (Huang et al. 2023, Sci Data 10:520, the labels of GRAPE).
- Gardiner and Crabb 2002 (IOVS 43:1400): a point counts when it loses 1 dB a year or more at p < 0.01 and new visits
  confirm it, each of the last ones in turn standing in for the others ("two-omitting", "three-omitting").
- PoPLR (O'Leary, Chauhan and Artes 2012, IOVS 53:6776): are the p-values of all points together smaller than those of
  the same fields in other orders?
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from catenary.errors import ConfigError
from catenary.fields.series import Series

__all__ = ["Criteria", "Lines", "Poplr", "Trend", "assess", "gardiner_crabb", "poplr", "regress"]

#: Fewest visits through which a line says anything.
FEWEST = 3
#: Correlations count as no greater than this: whether a few whole dB lie exactly on a line is left to no rounding.
_PERFECT = 1 - 1e-12


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """The thresholds of the rules.

    Attributes:
        p: A point's slope is significant below this (PLR2, PLR3).
        sides: 1: probability of so negative a slope; 2: of so steep a slope either way.
        md_p: The slope of MD is significant below this, one-sided.
        gc_slope, gc_p: A point counts for Gardiner and Crabb from this slope in dB a year, below this two-sided p.
        omit: Last visits of which each must confirm it: 2 is "two-omitting", 3 "three-omitting", 1 a plain regression.
        truncate: PoPLR combines the p-values below this.
        permutations: Orders that PoPLR tries; all there are where these are no more. All orders of 7 visits are 5040.
        seed: Of the random orders.

    Raises:
        ConfigError: A threshold is out of range.
    """

    p: float = 0.01
    sides: int = 1
    md_p: float = 0.05
    gc_slope: float = -1.0
    gc_p: float = 0.01
    omit: int = 2
    truncate: float = 0.05
    permutations: int = 5040
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("p", "md_p", "gc_p", "truncate"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name):g}; give a probability between 0 and 1")
        if self.sides not in (1, 2):
            raise ConfigError(f"sides is {self.sides}; give 1 for one-sided or 2 for two-sided p-values")
        if self.omit < 1 or self.permutations < 20:
            raise ConfigError(
                f"omit is {self.omit} and permutations {self.permutations}; give at least 1 and at least 20"
            )


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Least-squares lines, NaN where fewer than three values are known.

    Attributes:
        slope: ``(..., k)`` in units a year.
        intercept: ``(..., k)`` value at time 0.
        error: ``(..., k)`` standard error of the slope.
        t: ``(..., k)`` Student's t of the slope; 0 where all values are equal.
        df: ``(k,)`` its degrees of freedom.
    """

    slope: Float[np.ndarray, "*m k"]
    intercept: Float[np.ndarray, "*m k"]
    error: Float[np.ndarray, "*m k"]
    t: Float[np.ndarray, "*m k"]
    df: Float[np.ndarray, " k"]

    def p(self, sides: int = 1) -> Float[np.ndarray, "*m k"]:
        """Probability, 0 to 1, of a slope so negative (1) or so steep either way (2) when nothing changes."""
        from scipy.special import stdtr

        tail: np.ndarray = stdtr(self.df, self.t if sides == 1 else -np.abs(self.t))
        return sides * tail

    def interval(self, level: float = 0.95) -> tuple[Float[np.ndarray, "*m k"], Float[np.ndarray, "*m k"]]:
        """Ends of the interval of the slope."""
        from scipy.special import stdtrit

        reach = stdtrit(self.df, (1 + level) / 2) * self.error
        return self.slope - reach, self.slope + reach


def regress(times: Float[np.ndarray, "*m n"], values: Float[np.ndarray, "n k"]) -> Lines:
    """Least-squares lines through `k` series at once, for one or `m` assignments of times to the visits.

    Args:
        times: ``(n,)`` or ``(m, n)`` years of the visits.
        values: ``(n, k)``; NaN is left out.

    >>> lines = regress(np.array([0.0, 1, 2, 3]), np.array([[30.0, 20], [28, 20], [27, 20], [25, 20]]))
    >>> lines.slope.round(2).tolist(), lines.p().round(4).tolist(), lines.p(2).round(4).tolist()
    ([-1.6, 0.0], [0.0039, 0.5], [0.0077, 1.0])
    """
    known = np.isfinite(values)
    mask = known.astype(float)
    n = mask.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(known, values, 0.0).sum(axis=0) / n
        y = np.where(known, values - level, 0.0)
        start = times.mean(axis=-1, keepdims=True)
        x = times - start
        middle = x @ mask / n
        sxx = x**2 @ mask - n * middle**2
        sxy, syy = x @ y, (y**2).sum(axis=0)
        enough = (n >= FEWEST) & (sxx > 1e-9)
        slope = np.where(enough, sxy / sxx, np.nan)
        flat = syy <= 1e-9
        r = np.where(flat, 0.0, np.clip(sxy / np.sqrt(sxx * syy), -_PERFECT, _PERFECT))
        df = np.where(n >= FEWEST, n - 2, np.nan)
        return Lines(
            slope=slope,
            intercept=level - slope * (middle + start),
            error=np.where(enough, np.sqrt((1 - r**2) * syy / df / sxx), np.nan),
            t=np.where(enough, r * np.sqrt(df / (1 - r**2)), np.nan),
            df=df,
        )


def gardiner_crabb(
    times: Float[np.ndarray, " n"],
    values: Float[np.ndarray, "n k"],
    *,
    slope: float = -1.0,
    p: float = 0.01,
    omit: int = 2,
) -> Bool[np.ndarray, " k"] | None:
    """Which points progress by the omitting rule of Gardiner and Crabb (2002).

    The last `omit` visits take turns: with the visits before them, each alone must give a slope of at most `slope` dB
    a year at a two-sided p below `p`. So two-omitting leaves out the last visit, then the last but one.

    Returns:
        ``(k,)``, or None where fewer than ``omit + 2`` visits leave no line to draw.

    >>> steps = np.array([[30.0, 30], [28.1, 30], [26.2, 30], [24.1, 22], [22.3, 30]])
    >>> gardiner_crabb(np.arange(5.0), steps).tolist()
    [True, False]
    """
    before = len(times) - omit
    if before + 1 < FEWEST:
        return None
    found = np.ones(values.shape[1], bool)
    for last in range(before, len(times)):
        kept = [*range(before), last]
        lines = regress(times[kept], values[kept])
        found &= (lines.slope <= slope) & (lines.p(2) < p)
    return found


@dataclass(frozen=True, kw_only=True)
class Poplr:
    """What PoPLR found.

    Attributes:
        statistic: Minus the sum of the natural logarithms of the points' one-sided p-values below the truncation.
        p: Share of the orders, the true one among them, whose statistic is as large: 0 to 1, never 0.
        orders: How many orders were tried.
        exact: Whether these are all there are.
    """

    statistic: float
    p: float
    orders: int
    exact: bool


def poplr(
    times: Float[np.ndarray, " n"],
    values: Float[np.ndarray, "n k"],
    *,
    truncate: float = 0.05,
    permutations: int = 5040,
    seed: int = 0,
) -> Poplr | None:
    """Permutation of pointwise linear regression: one p-value for the whole field (O'Leary et al. 2012).

    Whole fields change places, so that neighbouring points stay as alike as they are. The p-values of the points are
    combined by their truncated product (Zaykin et al. 2002). With n visits p is at least 1 / n!: 0.17 with three.

    Args:
        times: ``(n,)`` years.
        values: ``(n, k)`` dB, NaN where unknown.
        truncate: p-values from this on do not count.
        permutations: Orders to try; all n! where there are no more than that.
        seed: Of random orders.

    Returns:
        None where there are fewer than three visits or no points.

    >>> falling = 30 - np.arange(5.0)[:, None] * np.array([2.0, 1.5]) + np.array([[0, 0.1, 0, -0.1, 0]]).T
    >>> poplr(np.arange(5.0), falling).p == 1 / 120
    True
    """
    from scipy.special import stdtr, stdtrit

    kept = values[:, np.isfinite(values).sum(axis=0) >= FEWEST]
    if len(times) < FEWEST or not kept.shape[1]:
        return None
    orders, exact = _orders(len(times), permutations, seed)
    # Times go to the fields in another order, which is the same as fields to the times.
    lines = regress(times[orders], kept)
    falls = lines.t < stdtrit(lines.df, truncate)  # few: to look up all p-values would take ten times as long
    logs = np.zeros(lines.t.shape)
    logs[falls] = -np.log(stdtr(np.broadcast_to(lines.df, falls.shape)[falls], lines.t[falls]))
    combined = logs.sum(axis=1)
    share = float(np.mean(combined >= combined[0] - 1e-9))
    return Poplr(statistic=float(combined[0]), p=share, orders=len(orders), exact=exact)


@lru_cache(maxsize=32)
def _orders(n: int, permutations: int, seed: int) -> tuple[Int[np.ndarray, "m n"], bool]:
    """Orders of n visits, the true one first; all of them where they are few."""
    if math.factorial(n) <= permutations:
        return np.array(list(itertools.permutations(range(n)))), True
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(n), (permutations - 1, 1)), axis=1)
    return np.concatenate([np.arange(n)[None], drawn]), False


@dataclass(frozen=True, kw_only=True)
class Trend:
    """What one eye's fields say; labels are None where there are too few visits, or no points.

    Attributes:
        series: The fields.
        points: Lines of the points.
        p: ``(k,)`` p-value of each point, one- or two-sided as the criteria say.
        significant: ``(k,)`` points of significantly negative slope.
        md: Line of MD, ``k = 1``.
        confirmed: ``(k,)`` points by Gardiner and Crabb, None with too few visits.
        poplr: What PoPLR found.
        plr2, plr3, md_worse: The three labels.
        progressing: Whether any of them says so.
    """

    series: Series
    points: Lines
    p: Float[np.ndarray, " k"]
    significant: Bool[np.ndarray, " k"]
    md: Lines
    confirmed: Bool[np.ndarray, " k"] | None
    poplr: Poplr | None
    plr2: bool | None
    plr3: bool | None
    md_worse: bool | None
    progressing: bool | None

    @property
    def gardiner_crabb(self) -> bool | None:
        """Whether at least one point progresses by the omitting rule."""
        return None if self.confirmed is None or not len(self.confirmed) else bool(self.confirmed.any())

    @property
    def labels(self) -> dict[str, bool | None]:
        """The three labels by the names that tables give them."""
        return {"PLR2": self.plr2, "PLR3": self.plr3, "MD": self.md_worse}


def assess(series: Series, criteria: Criteria | None = None) -> Trend:
    """All rules for one eye.

    >>> times = np.arange(5.0)
    >>> values = 25 - times[:, None] * np.array([1.0, 2.0, 0.0]) + np.array([[0, 0.2, -0.1, 0.1, 0]]).T
    >>> eye = Series(patient="1", eye="OD", times=times, values=values, points=("a", "b", "c"), md=values.mean(axis=1))
    >>> trend = assess(eye)
    >>> trend.plr2, trend.plr3, trend.md_worse, trend.progressing, trend.md.slope.round(2).tolist()
    (True, False, True, True, [-1.01])
    """
    rule = criteria or Criteria()
    points = regress(series.times, series.values)
    md = regress(series.times, series.md[:, None])
    p = points.p(rule.sides)
    significant = (points.slope < 0) & (p < rule.p)
    judged = bool(np.isfinite(points.slope).any())
    worse = bool(md.slope[0] < 0 and md.p()[0] < rule.md_p) if np.isfinite(md.slope[0]) else None
    plr2, plr3 = (bool(significant.sum() >= least) if judged else None for least in (2, 3))
    known = [label for label in (plr2, plr3, worse) if label is not None]
    return Trend(
        series=series,
        points=points,
        p=p,
        significant=significant,
        md=md,
        confirmed=gardiner_crabb(series.times, series.values, slope=rule.gc_slope, p=rule.gc_p, omit=rule.omit),
        poplr=poplr(
            series.times, series.values, truncate=rule.truncate, permutations=rule.permutations, seed=rule.seed
        ),
        plr2=plr2,
        plr3=plr3,
        md_worse=worse,
        progressing=any(known) if known else None,
    )
