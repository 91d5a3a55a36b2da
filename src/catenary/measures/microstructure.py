"""Quantities of a label map of several phases: fractions, interfaces, triple points, chords, correlation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.measures.chords import chords, mean_chord, mean_intercept
from catenary.measures.correlation import correlation_length, radial, two_point
from catenary.measures.interfaces import interfaces, triple_lines, triple_points
from catenary.measures.quantity import Quantity, known_phases, quantity, steps_of
from catenary.types import IGNORE, Grid

__all__ = ["microstructure", "phase_fractions"]

#: More phases than this make too many pairs and triples to publish.
MOST = 12

Row = tuple[str, str, float]


def phase_fractions(
    mask: UInt8[np.ndarray, "*s"], phases: int, *, valid: Bool[np.ndarray, "*v"] | None = None
) -> Float[np.ndarray, " phases"]:
    """Share of each phase in the pixels that are known; NaN where none is.

    Raises:
        InputError: Labels or `valid` do not fit.

    >>> phase_fractions(np.array([[0, 1, 1, 2, 255]], np.uint8), 3)
    array([0.25, 0.5 , 0.25])
    """
    counts = np.bincount(known_phases(mask, phases, valid).ravel(), minlength=256)[:phases]
    return counts / (counts.sum() or np.nan)


def microstructure(
    mask: UInt8[np.ndarray, "*s"],
    labels: LabelSet,
    grid: Grid,
    *,
    valid: Bool[np.ndarray, "*v"] | None = None,
    image: Any = None,
) -> tuple[Quantity, ...]:
    """Measure a slice ``(h, w)`` or volume ``(d, h, w)``; `catenary.measures.registry` has the table of quantities.

    Every class is a phase, the background too. Unknown pixels count nowhere. Quantities of a slice that speak of a
    volume (`specific_surface`, `triple_line_density`) suppose that the material looks alike in all directions.

    Args:
        mask: Label map.
        labels: Names of its classes.
        grid: Its pixels' size and unit.
        valid: False where nothing is known.
        image: Not used.

    Raises:
        InputError: Labels, `valid` or spacing do not fit, or there are more than 12 phases.

    >>> mask = np.zeros((40, 40), np.uint8)
    >>> mask[:, 20:] = 1
    >>> rows = microstructure(mask, LabelSet(names=("pore", "metal")), Grid(spacing=(0.1, 0.1), unit="um"))
    >>> [(row.key, row.value, row.unit) for row in rows[:2]]
    [('phase_fraction pore', 0.5, ''), ('phase_fraction metal', 0.5, '')]
    """
    names = labels.names
    if len(names) > MOST:
        raise InputError(f"at most {MOST} phases are measured in pairs and triples, found {len(names)}; merge classes")
    steps = steps_of(grid.spacing, mask.ndim)
    known = known_phases(mask, len(names), valid)
    fractions = phase_fractions(known, len(names))
    rows: list[Row] = [("phase_fraction", name, share) for name, share in zip(names, fractions.tolist(), strict=True)]
    rows += _surfaces(known, names, steps)
    rows += _triples(known, names, steps)
    rows += _lengths(known, names, steps)
    return tuple(quantity(name, of, value, grid, mask.ndim) for name, of, value in rows)


def _surfaces(known: UInt8[np.ndarray, "*s"], names: tuple[str, ...], steps: tuple[float, ...]) -> list[Row]:
    table = interfaces(known, len(names), spacing=steps)
    content = float(np.count_nonzero(known != IGNORE) * np.prod(steps)) or np.nan
    rows: list[Row] = []
    for a, b in itertools.combinations(range(len(names)), 2):
        pair, size = f"{names[a]}-{names[b]}", float(table[a, b]) if content > 0 else np.nan
        if known.ndim == 2:
            rows += [("interface_length", pair, size), ("interface_density", pair, size / content)]
        else:
            rows.append(("interface_area", pair, size))
    # A random plane cuts a surface of S for each volume in lines of pi/4 S for each area (Underwood 1970).
    solid = 4 / np.pi if known.ndim == 2 else 1.0
    density = table * (solid / content)
    rows += [
        ("specific_surface", f"{names[a]}-{names[b]}", float(density[a, b]))
        for a, b in itertools.combinations(range(len(names)), 2)
    ]
    if len(names) > 2:
        rows += [("specific_surface", name, float(density[a].sum())) for a, name in enumerate(names)]
    return rows


def _triples(known: UInt8[np.ndarray, "*s"], names: tuple[str, ...], steps: tuple[float, ...]) -> list[Row]:
    rows: list[Row] = []
    triples = list(itertools.combinations(range(len(names)), 3))
    of = {triple: "-".join(names[phase] for phase in triple) for triple in triples}
    something = bool((known != IGNORE).any())
    if known.ndim == 2:
        points, examined = triple_points(known, len(names))
        area = examined * float(np.prod(steps)) or np.nan
        for triple in triples:
            count = len(points.get(triple, ())) if something else np.nan
            # A random plane meets lines of length L for each volume in L / 2 points for each area (Underwood 1970).
            rows += [
                ("triple_points", of[triple], count),
                ("triple_point_density", of[triple], count / area),
                ("triple_line_density", of[triple], 2 * count / area),
            ]
        return rows
    lines = triple_lines(known, len(names), spacing=steps)
    for triple in triples:
        length, density = lines.get(triple, (0.0, 0.0)) if something else (np.nan, np.nan)
        rows += [("triple_line_length", of[triple], length), ("triple_line_density", of[triple], density)]
    return rows


def _lengths(known: UInt8[np.ndarray, "*s"], names: tuple[str, ...], steps: tuple[float, ...]) -> list[Row]:
    rows: list[Row] = []
    found = [chords(known, len(names), axis) for axis in range(known.ndim)]
    valid = known != IGNORE
    seen = None if valid.all() else valid
    pairs = None
    for phase, name in enumerate(names):
        for axis, (letter, step) in enumerate(zip("dhw"[-known.ndim :], steps, strict=True)):
            rows.append(("mean_chord", f"{name} along {letter}", mean_chord(found[axis], phase) * step))
        rows.append(("mean_intercept", name, mean_intercept(found, phase, spacing=steps)))
        correlation = two_point(known == phase, valid=seen, pairs=pairs)
        pairs = correlation.pairs
        rows.append(("correlation_length", name, correlation_length(radial(correlation, spacing=steps))))
    return rows
