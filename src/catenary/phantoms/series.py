"""Visual fields of one eye over the years, with known progression and the noise of a person who answers a perimeter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["FieldSeries", "answer_deviation", "field_series"]

#: Brightest and dimmest light that the phantom's perimeter shows, in dB.
_SCALE = (0.0, 40.0)


@dataclass(frozen=True, kw_only=True)
class FieldSeries:
    """A phantom eye.

    Attributes:
        times: ``(n,)`` years since the first visit.
        values: ``(n, k)`` what the perimeter wrote down: whole dB, 0 to 40.
        truth: ``(n, k)`` sensitivities in dB without noise.
        slopes: ``(k,)`` true change of each point in dB a year, as long as it is above 0 dB.
    """

    times: Float[np.ndarray, " n"]
    values: Float[np.ndarray, "n k"]
    truth: Float[np.ndarray, "n k"]
    slopes: Float[np.ndarray, " k"]


def answer_deviation(sensitivity: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Standard deviation in dB of the answers at a point, which grows as its sensitivity falls.

    ``ln SD = 3.27 - 0.081 dB``, at most 6 dB: Henson, Chaudry, Artes, Faragher and Ansons 2000 (IOVS 41:417), table 1,
    all eyes together; Gardiner and Crabb 2002 simulate the noise of whole series with it.

    >>> answer_deviation(np.array([32.0, 20.0, 2.0])).round(1).tolist()
    [2.0, 5.2, 6.0]
    """
    deviation: np.ndarray = np.minimum(6.0, np.exp(3.27 - 0.081 * np.maximum(sensitivity, 0.0)))
    return deviation


def field_series(
    seed: int,
    *,
    visits: int = 7,
    years: float = 5.0,
    points: int = 59,
    rate: float = 0.0,
    share: float = 0.2,
    damage: float = 0.2,
) -> FieldSeries:
    """Draw the fields of an eye.

    Args:
        seed: Of everything random.
        visits: How many, at about equal times.
        years: From the first to the last.
        points: Of the grid.
        rate: True change in dB a year of the points that change; 0 for a stable eye.
        share: Share of the points that change, 0 to 1.
        damage: Share of the points that are damaged at the first visit, by 5 to 20 dB.

    >>> eye = field_series(0, visits=5, rate=-2.0)
    >>> eye.values.shape, int((eye.slopes < 0).sum()), eye.times[[0, -1]].tolist()
    ((5, 59), 12, [0.0, 5.0])
    """
    rng = np.random.default_rng(seed)
    times = np.linspace(0.0, years, visits)
    if visits > 2:
        times[1:-1] += rng.uniform(-0.2, 0.2, visits - 2) * years / (visits - 1)
    start = rng.normal(29.0, 1.5, points)
    start -= np.where(rng.random(points) < damage, rng.uniform(5.0, 20.0, points), 0.0)
    slopes = np.zeros(points)
    slopes[rng.choice(points, round(share * points), replace=False)] = rate
    truth = np.clip(start + times[:, None] * slopes, *_SCALE)
    values = np.rint(np.clip(truth + rng.normal(size=truth.shape) * answer_deviation(truth), *_SCALE))
    return FieldSeries(times=times, values=values, truth=truth, slopes=slopes)
