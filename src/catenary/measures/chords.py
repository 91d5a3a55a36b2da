"""Chords: the runs of one phase along the lines of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from catenary.measures.quantity import known_phases, steps_of
from catenary.types import IGNORE

__all__ = ["Chords", "chord_distribution", "chords", "mean_chord", "mean_intercept"]


class Chords(NamedTuple):
    """All chords along one axis, in the order in which they lie in the image.

    Attributes:
        phase: Phase of each chord.
        length: Its pixels.
        cut: How many of its two ends are the image's border or a pixel that is not known, 0 to 2. Only chords with
            none are known in full.
    """

    phase: UInt8[np.ndarray, " n"]
    length: Int[np.ndarray, " n"]
    cut: UInt8[np.ndarray, " n"]


def chords(
    mask: UInt8[np.ndarray, "*s"], phases: int, axis: int, *, valid: Bool[np.ndarray, "*v"] | None = None
) -> Chords:
    """The chords of all phases along one axis of a slice or volume.

    Raises:
        InputError: Labels or `valid` do not fit.

    >>> chords(np.array([[0, 0, 1, 1, 1, 0]], np.uint8), 2, axis=1)
    Chords(phase=array([0, 1, 0], dtype=uint8), length=array([2, 3, 1]), cut=array([1, 0, 1], dtype=uint8))
    """
    lines = np.moveaxis(known_phases(mask, phases, valid), axis, -1)
    flat, size = lines.ravel(), lines.shape[-1]
    starts = np.ones(lines.shape, bool)
    starts[..., 1:] = lines[..., 1:] != lines[..., :-1]
    begin = np.flatnonzero(starts)
    phase = flat[begin]
    # A run is cut where its line begins or ends, or where the run beside it is unknown.
    new_line, unknown = begin % size == 0, phase == IGNORE
    before = new_line | np.roll(unknown, 1)
    after = np.roll(new_line, -1) | np.roll(unknown, -1)
    length = np.diff(begin, append=flat.size)
    cut = before.astype(np.uint8) + after.astype(np.uint8)
    return Chords(phase[~unknown], length[~unknown], cut[~unknown])


def chord_distribution(found: Chords, phase: int) -> Int[np.ndarray, " longest"]:
    """How many complete chords of a phase have 0, 1, 2, ... pixels.

    >>> chord_distribution(chords(np.array([[0, 1, 1, 0, 1, 0]], np.uint8), 2, axis=1), 1)
    array([0, 1, 1])
    """
    return np.bincount(found.length[(found.phase == phase) & (found.cut == 0)])


def mean_chord(found: Chords, phase: int) -> float:
    """Mean length of the complete chords of a phase in pixels; NaN where there is none.

    Long chords are cut more often than short ones, so leaving cut ones out makes this mean too small where chords are
    not short against the image; `mean_intercept` has no such bias.

    >>> mean_chord(chords(np.array([[0, 1, 1, 0, 1, 0, 0, 0]], np.uint8), 2, axis=1), 1)
    1.5
    """
    lengths = found.length[(found.phase == phase) & (found.cut == 0)]
    return float(lengths.mean()) if lengths.size else float("nan")


def mean_intercept(found: Sequence[Chords], phase: int, *, spacing: Sequence[float] | None = None) -> float:
    """Mean intercept length of a phase over several axes; NaN where it has no end within the image.

    Along one axis the length of all chords, cut ones included, is divided by half the number of their ends that are
    not cut (Underwood 1970): it is unbiased for any image size. Axes are joined by the mean of the reciprocals, as
    the mean number of crossings asks for: ``4 V / S`` of the phase with volume V and surface S.

    Args:
        found: Chords along each axis, of all axes in order.
        phase: The phase.
        spacing: Size of a pixel along each axis; without it the answer is in pixels.

    >>> lines = np.array([[1, 1, 0, 1, 0, 0]], np.uint8)  # three pixels of phase 1 with three ends
    >>> mean_intercept([chords(lines, 2, axis=1)], 1)
    2.0
    """
    crossings = []
    for one, step in zip(found, steps_of(spacing, len(found)), strict=True):
        its = one.phase == phase
        ends = int((2 - one.cut[its].astype(np.intp)).sum())
        total = float(one.length[its].sum()) * step
        crossings.append(ends / 2 / total if total else float("nan"))
    mean = float(np.mean(crossings))
    return 1 / mean if mean > 0 else float("nan")
