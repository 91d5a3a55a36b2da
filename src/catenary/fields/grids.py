"""Where the points of a visual field lie.

Positions are degrees from fixation as a right eye sees them, x to its temporal side, y up. Tables hold left eyes in the
order of right ones; `FieldGrid.seen_by` mirrors them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["BLIND_SPOT", "GRIDS", "FieldGrid"]

#: Middle of the blind spot of a right eye in degrees (Wang et al. 2017, Sci Rep 7:6143).
BLIND_SPOT = (14.3, -2.1)


@dataclass(frozen=True, kw_only=True)
class FieldGrid:
    """A pattern of test points.

    Attributes:
        title: Its name on paper.
        positions: ``(x, y)`` of each point that counts, in the order of the tables.
        blind: Number of columns of a table -> indices of those that lie in the blind spot and do not count.
    """

    title: str
    positions: tuple[tuple[float, float], ...]
    blind: dict[int, tuple[int, ...]]

    def seen_by(self, eye: str) -> Float[np.ndarray, "k 2"]:
        """Positions in degrees as the eye ``"OD"`` or ``"OS"`` sees them: x to the right, y up.

        >>> GRIDS["24-2"].seen_by("OD")[0].tolist(), GRIDS["24-2"].seen_by("OS")[0].tolist()
        ([-9.0, 21.0], [9.0, 21.0])
        """
        return np.array(self.positions) * (1.0 if eye == "OD" else -1.0, 1.0)


def _rows_24_2() -> tuple[tuple[float, float], ...]:
    """Row by row from the upper left: 6 degrees apart, two points more on the nasal side."""
    spans = {21: (-9, 9), 15: (-15, 15), 9: (-21, 21), 3: (-27, 21)}
    rows = [(y, spans[abs(y)]) for y in (21, 15, 9, 3, -3, -9, -15, -21)]
    points = [(float(x), float(y)) for y, (first, last) in rows for x in range(first, last + 1, 6)]
    return tuple(point for point in points if point not in ((15.0, 3.0), (15.0, -3.0)))


# Rings from the centre, each beginning on the temporal side below the horizontal and going round by way of the lower
# half (Flammer et al. 1987; sources differ by a degree at four points). In the third ring the two places at the blind
# spot are the columns 21 and 32 of GRAPE.
_G1 = (
    (0, 0),
    (2, -2), (-2, -2), (-2, 2), (2, 2),
    (4, -4), (-4, -4), (-4, 4), (4, 4),
    (8, -2), (8, -8), (3, -8), (-3, -8), (-8, -8), (-8, -2), (-8, 2), (-8, 8), (-3, 8), (3, 8), (8, 8), (8, 2),
    (12, -12), (4, -14), (-4, -14), (-12, -12), (-14, -4), (-14, 4), (-12, 12), (-4, 14), (4, 14), (12, 12),
    (22, -4), (20, -12), (20, -20), (12, -20), (4, -20), (-4, -20), (-12, -20), (-20, -20), (-20, -12), (-20, -4),
    (-20, 4), (-20, 12), (-20, 20), (-12, 20), (-4, 20), (4, 20), (12, 20), (20, 20), (20, 12), (22, 4),
    (26, -8), (8, -26), (-8, -26), (-26, -4), (-26, 4), (-8, 26), (8, 26), (26, 8),
)  # fmt: skip

#: Name of a grid -> its points.
GRIDS: dict[str, FieldGrid] = {
    "24-2": FieldGrid(title="24-2", positions=_rows_24_2(), blind={54: (25, 34), 52: ()}),
    "g1": FieldGrid(title="Octopus G1", positions=_G1, blind={61: (21, 32), 60: (21,), 59: ()}),
}
