"""How sure a score is: bootstrap intervals and a permutation test, both over groups.

Images of one patient or specimen resemble each other, so whole groups are drawn with replacement (cluster bootstrap;
Davison and Hinkley 1997, section 3.8). Everything is a product of one matrix of draws with sums over groups, so that
thousands of resamples of all metrics take milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "draw_groups",
    "group_index",
    "percentile_interval",
    "resample_means",
    "sign_flip_p",
    "sum_groups",
]

#: Resamples of the bootstrap.
RESAMPLES = 2000
#: Coverage of the intervals.
LEVEL = 0.95
#: Up to this many groups all sign flips are tried; beyond, a number of random ones.
_EXACT_GROUPS = 12
_FLIPS = 9999

Array = NDArray[Any]


def group_index(groups: Sequence[str]) -> tuple[Int[np.ndarray, " n"], int]:
    """Number of each image's group, and how many groups there are.

    >>> group_index(["b", "a", "b"])
    (array([1, 0, 1]), 2)
    """
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return index.reshape(-1), len(names)


def draw_groups(
    groups: int, *, resamples: int = RESAMPLES, rng: np.random.Generator
) -> Float[np.ndarray, "resamples groups"]:
    """How often each group occurs in each bootstrap resample.

    Each row adds up to the number of groups.

    >>> draw_groups(3, resamples=4, rng=np.random.default_rng(0)).sum(axis=1)
    array([3., 3., 3., 3.])
    """
    drawn = rng.integers(0, groups, (resamples, groups))
    drawn += np.arange(resamples)[:, None] * groups
    return np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(np.float64)


def sum_groups(
    values: Float[np.ndarray, "n ..."], index: Int[np.ndarray, " n"], groups: int
) -> Float[np.ndarray, "groups ..."]:
    """Sums over the images of each group.

    >>> sum_groups(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 1]), 2)
    array([1., 6.])
    """
    sums = np.zeros((groups, *values.shape[1:]), np.float64)
    np.add.at(sums, index, values)
    return sums


def resample_means(
    values: Float[np.ndarray, "n ..."], index: Int[np.ndarray, " n"], draws: Float[np.ndarray, "r g"]
) -> Float[np.ndarray, "r ..."]:
    """Mean over images in each resample; NaN values are left out, and a resample with nothing else is NaN.

    Args:
        values: One row an image.
        index: Group of each image, see `group_index`.
        draws: See `draw_groups`.

    >>> values = np.array([[1.0], [3.0], [np.nan]])
    >>> resample_means(values, np.array([0, 1, 1]), np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([[2.],
           [1.]])
    """
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    groups = draws.shape[1]
    sums = draws @ sum_groups(np.where(known, flat, 0.0), index, groups)
    numbers = draws @ sum_groups(known.astype(np.float64), index, groups)
    means = np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)
    return means.reshape(len(draws), *values.shape[1:])


def percentile_interval(
    resampled: Float[np.ndarray, "r ..."], *, level: float = LEVEL
) -> tuple[Float[np.ndarray, ...], Float[np.ndarray, ...]]:
    """Lower and upper end of the central `level` of the resamples, interpolated linearly; NaN resamples are left out.

    >>> low, high = percentile_interval(np.arange(101.0)[:, None], level=0.9)
    >>> round(float(low[0]), 6), round(float(high[0]), 6)
    (5.0, 95.0)
    """
    ordered = np.sort(resampled, axis=0)  # NaN last
    last = np.count_nonzero(~np.isnan(ordered), axis=0) - 1
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        place = np.maximum(last, 0) * share
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(last, 0))
        a = np.take_along_axis(ordered, below[None], axis=0)[0]
        b = np.take_along_axis(ordered, above[None], axis=0)[0]
        ends.append(a + (b - a) * (place - below))
    return ends[0], ends[1]


def sign_flip_p(parts: Float[np.ndarray, "g ..."], *, rng: np.random.Generator) -> Float[np.ndarray, ...]:
    """Two-sided p-value of "no difference", from flipping the signs of whole groups' paired differences.

    Up to 12 groups all flips are tried and the value is exact; beyond, 9999 random ones, the observed one added
    (Phipson and Smyth 2010).

    Args:
        parts: What each group adds to the mean difference; the columns sum up to the observed differences.
        rng: For the random flips.

    >>> parts = np.array([[0.1], [0.2], [0.3], [0.1]])
    >>> float(sign_flip_p(parts, rng=np.random.default_rng(0))[0])
    0.125
    """
    flat = parts.reshape(len(parts), -1)
    # Sums of the same numbers in another order differ in the last bits; a hair's slack keeps ties as ties.
    limit = np.abs(flat.sum(axis=0)) - 1e-12 * np.abs(flat).sum(axis=0)
    groups = len(flat)
    if groups <= _EXACT_GROUPS:
        bits = np.arange(1 << groups)[:, None] >> np.arange(groups) & 1
        p = (np.abs((1.0 - 2.0 * bits) @ flat) >= limit).mean(axis=0)
    else:
        reached, left = np.ones(flat.shape[1]), _FLIPS
        while left:
            rows = min(left, 1000)
            signs = 1.0 - 2.0 * rng.integers(0, 2, (rows, groups), dtype=np.int8)
            reached += (np.abs(signs @ flat) >= limit).sum(axis=0)
            left -= rows
        p = reached / (_FLIPS + 1)
    shaped: Array = np.asarray(p).reshape(parts.shape[1:])
    return shaped
