"""The visual fields of one eye in the order of time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

__all__ = ["EYES", "MD", "MEAN_DEVIATION", "MEAN_SENSITIVITY", "Series"]

#: Names of the two eyes: right and left.
EYES = ("OD", "OS")
#: What `Series.md` may be.
MD, MEAN_DEVIATION, MEAN_SENSITIVITY = "MD", "mean of the total deviations", "mean sensitivity"


@dataclass(frozen=True, kw_only=True)
class Series:
    """The visual fields of one eye.

    Attributes:
        patient: Whose eye.
        eye: ``"OD"`` (right) or ``"OS"`` (left).
        times: ``(n,)`` years since the first visit, ascending.
        values: ``(n, k)`` dB of each visit and point: sensitivities, or total deviations where the table has only
            those. NaN where nothing was measured; a light that was not seen is 0 dB, the bottom of the scale, since
            leaving it out would hide the worst loss of all. Points in the blind spot are not among them.
        points: ``(k,)`` names of the points, as the table's columns.
        md: ``(n,)`` dB, one number a visit.
        md_is: What `md` is: the table's own MD, the mean of the total deviations, or the mean sensitivity.
        grid: Key of `catenary.fields.GRIDS`, empty where nobody knows where the points lie.
        stated: Labels that the table itself gives: ``"PLR2"``, ``"PLR3"``, ``"MD"`` -> whether it says so.

    >>> Series(patient="1", eye="OS", times=np.zeros(1), values=np.zeros((1, 0)), points=(), md=np.zeros(1)).name
    '1 OS'
    """

    patient: str
    eye: str
    times: Float[np.ndarray, " n"]
    values: Float[np.ndarray, "n k"]
    points: tuple[str, ...]
    md: Float[np.ndarray, " n"]
    md_is: str = MEAN_SENSITIVITY
    grid: str = ""
    stated: dict[str, bool] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The eye in words."""
        return f"{self.patient} {self.eye}"

    @property
    def visits(self) -> int:
        """Number of visits."""
        return len(self.times)

    @property
    def years(self) -> float:
        """Years from the first visit to the last."""
        return float(self.times[-1] - self.times[0])
