"""Quantities that are functions of a distance: two-point correlation and the lengths of chords."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.measures.chords import chords
from catenary.measures.correlation import radial, two_point
from catenary.measures.quantity import known_phases, steps_of
from catenary.types import IGNORE, Grid

__all__ = ["Curve", "average", "microstructure_curves"]


class Curve(NamedTuple):
    """One quantity over a distance.

    Attributes:
        name: ``"two_point_correlation"`` or ``"chord_lengths"``.
        of: The phase.
        unit: Of the distance.
        distance: In that unit, from 0 on.
        value: At each distance; NaN where it is not defined.
    """

    name: str
    of: str
    unit: str
    distance: Float[np.ndarray, " r"]
    value: Float[np.ndarray, " r"]


def microstructure_curves(
    mask: UInt8[np.ndarray, "*s"],
    labels: LabelSet,
    grid: Grid,
    *,
    valid: Bool[np.ndarray, "*v"] | None = None,
) -> tuple[Curve, ...]:
    """Two curves for each phase of a slice ``(h, w)`` or volume ``(d, h, w)``, up to a quarter of its shortest side.

    ``two_point_correlation`` is S2 over all directions: the chance that both ends of a stick of that length lie in the
    phase (Torquato 2002); it begins at the phase's fraction. ``chord_lengths`` is the share of the complete chords
    along the axes, each weighted by its length, that are no longer.

    Raises:
        InputError: Labels, `valid` or spacing do not fit.

    >>> mask = np.zeros((40, 40), np.uint8)
    >>> mask[:, ::4] = mask[:, 1::4] = 1  # stripes of two pixels
    >>> s2, lengths, *_ = microstructure_curves(mask, LabelSet(names=("pore", "metal")), Grid())
    >>> s2.of, float(s2.value[0]), lengths.value[:4]
    ('pore', 0.5, array([0., 0., 1., 1.]))
    """
    steps = steps_of(grid.spacing, mask.ndim)
    unit = "px" if grid.spacing is None else grid.unit or "units"
    known = known_phases(mask, labels.count, valid)
    seen = known != IGNORE
    lines = [chords(known, labels.count, axis) for axis in range(mask.ndim)]
    bins = np.arange(int(min(n * step for n, step in zip(mask.shape, steps, strict=True)) / min(steps)) // 4 + 1)
    found = []
    for phase, name in enumerate(labels.names):
        ring = radial(two_point(known == phase, valid=None if seen.all() else seen), spacing=steps)
        found.append(Curve("two_point_correlation", name, unit, ring.distance, ring.value))
        lengths = np.concatenate(
            [
                line.length[(line.phase == phase) & (line.cut == 0)] * step
                for line, step in zip(lines, steps, strict=True)
            ]
        )
        distance = bins * min(steps)
        shares = np.histogram(lengths, [-np.inf, *(distance + 0.5 * min(steps))], weights=lengths)[0].cumsum()
        value = shares / lengths.sum() if lengths.size else np.full(len(bins), np.nan)
        found.append(Curve("chord_lengths", name, unit, distance, value))
    return tuple(found)


def average(cases: Sequence[Sequence[Curve]]) -> tuple[Curve, ...]:
    """The mean of each curve over cases, as far as the shortest reaches; a case without a value counts nowhere.

    Raises:
        InputError: The cases are in different units.
    """
    means = []
    for same in zip(*cases, strict=True):
        units = {one.unit for one in same}
        if len(units) > 1:
            raise InputError(f"curves in different units cannot be averaged, found {', '.join(sorted(units))}")
        shortest = min(same, key=lambda one: float(one.distance[-1]))
        rows = np.stack([np.interp(shortest.distance, one.distance, one.value) for one in same])
        count = np.isfinite(rows).sum(axis=0)
        value = np.divide(np.nansum(rows, axis=0), count, out=np.full(rows.shape[1], np.nan), where=count > 0)
        means.append(shortest._replace(value=value))
    return tuple(means)
