"""Grades of building damage: the xView2 score, stricter scores beside it, and scores of whole buildings.

All is counted into two tables a case, pixels and buildings by true and predicted class; every score is a function of
such tables added up, so that the whole set, each bootstrap resample and each trivial answer go through the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray

from catenary.data.cases import Dataset
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.io.polygons import DAMAGE
from catenary.metrics.counts import Counts, confusion_matrix, dice
from catenary.metrics.intervals import draw_groups, group_index, percentile_interval, sum_groups
from catenary.metrics.objects import find_overlaps
from catenary.metrics.results import (
    DamageBuildings,
    DamageCase,
    DamagePixels,
    DamageScores,
    Difference,
    Interval,
)
from catenary.metrics.summary import interval_of
from catenary.types import IGNORE

__all__ = ["DamageScorer", "compare_damage", "count_buildings", "damage_f1", "has_damage_grades", "xview2_score"]

Array = NDArray[Any]

#: How things are counted, for every output.
CONVENTIONS: dict[str, str] = {
    "xView2 score": "0.3 localisation + 0.7 damage, of pixels added up over all images, as the reference scorer of the "
    "challenge does. Localisation: F1 of building against background. Damage: n / sum(1 / (F1 + 0.000001)), the "
    "harmonic mean of the F1 of the n grades; a perfect answer passes 1 in the sixth decimal.",
    "F1 on true buildings": "Only pixels of true buildings count, so that a grade painted where no building stands "
    "costs localisation alone. A true building without a predicted one is a miss of its grade.",
    "strict F1": "All known pixels count, those of the background too: a false alarm costs the grade that it claims. "
    "Equal to the pooled Dice.",
    "absent grades": "The F1 of a grade that no true pixel holds is not defined; the damage score counts it as 0, as "
    "published, and the score over the grades present leaves it out. Without any true building there is no score.",
    "unknown pixels": "Pixels whose truth is unknown (255, un-classified buildings) count nowhere, and no building "
    "reaches into them; the challenge's own scorer knows no such pixels. A pixel without an answer is background.",
    "buildings": "Connected pixels of any grade, corners connected: buildings that touch are one. True and predicted "
    "ones match one to one at IoU 0.5. A building has the grade of most of its pixels, of two equal the graver. Its "
    "grades are scored among the matched ones, and strictly: a missed building is a miss, a false alarm a false one.",
    "without learning": "One grade for every building, painted on the buildings that the model predicts and on the "
    "true ones. 2p / (1 + p) is the F1 on true buildings of giving all of them a grade that holds the share p of them.",
    "intervals": "95 % percentile bootstrap over groups, none with fewer than two. A resample whose truth lacks a "
    "grade that the set holds says nothing about that grade, and is left out of its F1 and of the scores made of it.",
}


def has_damage_grades(dataset: Dataset) -> bool:
    """Whether the classes of a data set are a background and two or more grades of damage, from light to grave.

    The classes of its files must be named as in `catenary.io.polygons.DAMAGE`, all of them or some, in that order. They
    may have been merged (`Dataset.with_classes`) under any names, as long as the order holds and no grade has become
    background.
    """
    known = [name for name, value in DAMAGE.items() if value != IGNORE]
    first, *names = dataset.file_labels.names
    if first in known or names != [name for name in known if name in names]:
        return False
    grades = list(dataset.merge[1 : len(names) + 1] or range(1, len(names) + 1))
    return dataset.labels.task == "exclusive" and 0 not in grades and grades == sorted(grades)


def damage_f1(grades: Float[np.ndarray, "*s g"]) -> Float[np.ndarray, "*s"]:
    """The damage part of the xView2 score: ``n / sum(1 / (F1 + 1e-6))`` over the last axis, 0 to 1.000001.

    NaN where one of them is.

    >>> round(float(damage_f1(np.array([0.5, 1.0]))), 4)
    0.6667
    """
    value: Array = np.asarray(grades.shape[-1] / np.sum(1 / (grades + 1e-6), axis=-1))
    return value


def xview2_score(localisation: Float[np.ndarray, "*s"], damage: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """Score of the xView2 challenge, ``0.3 localisation + 0.7 damage``, 0 to 1.000001.

    Source: Gupta et al. 2019, arXiv:1911.09296, and the challenge's own scorer, github.com/DIUx-xView/xView2_scoring at
    ea0793d. (Another revision of it does not count a grade painted in an image whose truth holds none of that grade.)

    >>> float(xview2_score(np.array(1.0), np.array(0.0)))
    0.3
    """
    return np.asarray(0.3 * localisation + 0.7 * damage)


def count_buildings(
    truth: UInt8[np.ndarray, "*s"], prediction: UInt8[np.ndarray, "*s"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """Buildings by true grade (rows) and predicted grade (columns), matched as `CONVENTIONS` says.

    Args:
        truth: Label map, 0 where no building stands, no `IGNORE`.
        prediction: Label map, the same.
        classes: Number of classes, background included.

    Returns:
        ``(K, K)``; column 0 counts the missed buildings, row 0 the false alarms, and ``[0, 0]`` is 0.

    >>> truth = np.array([[1, 1, 0, 2, 2, 2, 0, 1]], np.uint8)
    >>> answer = np.array([[1, 1, 0, 2, 1, 1, 0, 0]], np.uint8)
    >>> count_buildings(truth, answer, 3)
    array([[0, 0, 0],
           [1, 1, 0],
           [0, 1, 0]])
    """
    found = find_overlaps(truth > 0, prediction > 0)
    true = _majority(found.true, truth, len(found.area_true), classes)
    alone = _majority(found.predicted, prediction, len(found.area_predicted), classes)
    t, p = found.matches
    answer = np.zeros_like(true)
    answer[t], alone[p] = alone[p], 0
    table = np.bincount(true * classes + answer, minlength=classes**2).reshape(classes, classes)
    table[0] += np.bincount(alone, minlength=classes)
    table[0, 0] = 0  # what lies outside the buildings
    return table.astype(np.int64, copy=False)


class Row(NamedTuple):
    """What is kept of a case: its group, and pixels and buildings ``(k, k)`` by true and predicted class."""

    group: str
    pixels: Array
    buildings: Array


class DamageScorer:
    """Collects counts case by case and scores grades of damage; see `CONVENTIONS`.

    Args:
        labels: A background and the grades, from light to grave.

    Raises:
        ConfigError: The classes are regions that overlap.

    >>> scorer = DamageScorer(LabelSet(names=("background", "no-damage", "destroyed")))
    >>> truth = np.array([[0, 1, 1, 0, 2, 2, 0, 1]], np.uint8)
    >>> scorer.add("a", "storm", truth, np.array([[0, 1, 1, 0, 2, 1, 0, 0]], np.uint8))
    >>> pixels = scorer.result().pixels
    >>> print(pixels.localisation, pixels.grades["no-damage"], pixels.grades["destroyed"], pixels.score)
    0.889 0.667 0.667 0.733
    """

    def __init__(self, labels: LabelSet) -> None:
        if labels.regions:
            raise ConfigError(
                f"grades of damage exclude one another, found the regions {', '.join(labels.regions)}; "
                "give a label set without regions"
            )
        self.labels = labels
        self.rows: dict[str, Row] = {}

    def add(self, name: str, group: str, truth: UInt8[np.ndarray, "*s"], prediction: UInt8[np.ndarray, "*p"]) -> None:
        """Count one case.

        Args:
            name: Its name; each may come once.
            group: Scene, event or place it belongs to; the name itself when empty.
            truth: Label map; `IGNORE` is not counted.
            prediction: Label map of the same shape.

        Raises:
            InputError: The name came before, shapes differ, or a value is not a class.
        """
        if name in self.rows:
            raise InputError(f"case '{name}' was scored before; give every case a name of its own")
        try:
            matrix = confusion_matrix(truth, prediction, self.labels.count)
        except InputError as error:
            raise InputError(f"case '{name}': {error}") from error
        matrix[:, 0] += matrix[:, -1]  # no answer is background
        known = truth != IGNORE
        true, answer = (np.where(known & (label != IGNORE), label, np.uint8(0)) for label in (truth, prediction))
        self.rows[name] = Row(group or name, matrix[:, :-1], count_buildings(true, answer, self.labels.count))

    def result(self, *, seed: int = 0) -> DamageScores:
        """All scores with their intervals, beside trivial answers.

        Args:
            seed: Of the bootstrap.

        Raises:
            InputError: No case was added.
        """
        rows = list(self.rows.values())
        if not rows:
            raise InputError("no case was scored, found 0; choose a split that has cases with a mask")
        index, groups = group_index([row.group for row in rows])
        draws = draw_groups(groups, rng=np.random.default_rng(seed))
        counted = sum(bool(row.pixels.any()) for row in rows)
        pixels, buildings = (
            _sample(np.stack(tables), index, draws, counted) for tables in list(zip(*rows, strict=True))[1:]
        )
        grades = self.labels.names[1:]
        on_grade = pixels.total[1:].sum(axis=1)
        shares = on_grade / on_grade.sum() if on_grade.any() else np.full(len(grades), np.nan)
        return DamageScores(
            pixels=_score_pixels(pixels, self.labels.names),
            buildings=_score_buildings(buildings, self.labels.names),
            baselines={
                f"all {grades[grade - 1]}, on {which} buildings": _score_pixels(
                    _paint(pixels, grade, which == "true"), self.labels.names
                )
                for grade in (1, len(grades))
                for which in ("predicted", "true")
            },
            shares={grade: _finite(p) for grade, p in zip(grades, shares, strict=True)},
            trivial_f1={grade: _finite(2 * p / (1 + p)) for grade, p in zip(grades, shares, strict=True)},
            absent=[grade for grade, n in zip(grades, on_grade, strict=True) if n == 0],
            cases=[
                DamageCase(name=name, group=row.group, pixels=row.pixels.tolist(), buildings=row.buildings.tolist())
                for name, row in sorted(self.rows.items())
            ],
            conventions=CONVENTIONS,
        )


def compare_damage(a: DamageScores, b: DamageScores, *, seed: int = 0) -> dict[str, Difference]:
    """Differences ``b - a`` of the scores of two answers to the same images, of counts added up over all of them.

    The intervals are paired: each resample draws the same groups for both.

    Args:
        a: Scores of one answer.
        b: Of the other.
        seed: Of the bootstrap.

    Returns:
        xView2 score, localisation, damage, F1 of each grade on true buildings, and of whole buildings the localisation
        and the share with the right grade, by name. Empty where the grades or cases are others, or were not kept.

    >>> labels = LabelSet(names=("background", "no-damage", "destroyed"))
    >>> truth = np.array([[0, 1, 1, 0, 2, 2]], np.uint8)
    >>> scorers = [DamageScorer(labels), DamageScorer(labels)]
    >>> for scorer, answer in zip(scorers, (np.minimum(truth, 1), truth), strict=True):
    ...     scorer.add("x", "", truth, answer)
    >>> found = compare_damage(*(scorer.result() for scorer in scorers))
    >>> round(found["F1 destroyed"].value, 3), found["localisation"].value
    (1.0, 0.0)
    """
    names = a.buildings.confusion_names
    one, other = ({case.name: case for case in scores.cases} for scores in (a, b))
    if not one or one.keys() != other.keys() or names != b.buildings.confusion_names:
        return {}
    index, groups = group_index([one[name].group for name in one])
    draws = draw_groups(groups, rng=np.random.default_rng(seed))
    values, drawn = [], []
    for cases in (one, other):
        pixels, buildings = (
            _sample(np.array([getattr(cases[name], what) for name in one], np.int64), index, draws, len(one))
            for what in ("pixels", "buildings")
        )
        held = pixels.total[1:].sum(axis=1) > 0
        values.append(_compared(pixels.total, buildings.total, held))
        if pixels.drawn is not None and buildings.drawn is not None:
            drawn.append(_compared(pixels.drawn, buildings.drawn, held))
    low, high = percentile_interval(drawn[1] - drawn[0]) if drawn else (values[0] * np.nan,) * 2
    titles = ("xView2 score", "localisation", "damage", *(f"F1 {grade}" for grade in names[1:]), "buildings found",
              "buildings graded right")  # fmt: skip
    return {
        title: _difference(before, after, least, most, len(one))
        for title, before, after, least, most in zip(titles, *values, low, high, strict=True)
        if np.isfinite((before, after)).all()
    }


def _compared(pixels: Array, buildings: Array, held: Array) -> Array:
    """The scores of `compare_damage` along the last axis."""
    score, _, localisation, damage = np.moveaxis(_heads(pixels, held), -1, 0)
    found = np.stack([_localisation(buildings), _accuracy(buildings)], axis=-1)
    return np.concatenate([np.stack([score, localisation, damage], axis=-1), _on_buildings(pixels), found], axis=-1)


def _difference(a: float, b: float, low: float, high: float, n: int) -> Difference:
    better = "b" if low > 0 else "a" if high < 0 else "unclear"
    return Difference(
        a=float(a), b=float(b), value=float(b - a), low=_finite(low), high=_finite(high), n=n, better=better
    )


class _Sample(NamedTuple):
    """Tables of the whole set ``(k, k)`` and of each resample ``(r, k, k)``, None with one group; number of images."""

    total: Array
    drawn: Array | None
    n: int

    def intervals(self, names: Sequence[str], measure: Callable[[Array], Array]) -> dict[str, Interval]:
        """What `measure` makes of the last two axes of a table, one value a name."""
        values = measure(self.total)
        low, high = (values * np.nan,) * 2 if self.drawn is None else percentile_interval(measure(self.drawn))
        return {
            name: interval_of(value, a, b, self.n) for name, value, a, b in zip(names, values, low, high, strict=True)
        }


def _sample(tables: Array, index: Array, draws: Array, n: int) -> _Sample:
    groups = draws.shape[1]
    by_group = sum_groups(tables.astype(np.float64), index, groups)
    drawn = np.tensordot(draws, by_group, axes=1) if groups > 1 else None
    return _Sample(tables.sum(axis=0), drawn, n)


def _score_pixels(pixels: _Sample, names: Sequence[str]) -> DamagePixels:
    held = pixels.total[1:].sum(axis=1) > 0
    heads = ("score", "score_present", "localisation", "damage")
    return DamagePixels(
        **pixels.intervals(heads, lambda table: _heads(table, held)),
        grades=pixels.intervals(names[1:], _on_buildings),
        strict=pixels.intervals(names, _strict),
    )


def _score_buildings(buildings: _Sample, names: Sequence[str]) -> DamageBuildings:
    table = buildings.total
    matched = table[1:, 1:]
    return DamageBuildings(
        true=int(table[1:].sum()),
        predicted=int(table[:, 1:].sum()),
        matched=int(matched.sum()),
        missed=int(table[1:, 0].sum()),
        false_alarms=int(table[0, 1:].sum()),
        right=int(np.trace(matched)),
        **buildings.intervals(("localisation", "accuracy"), lambda t: np.stack([_localisation(t), _accuracy(t)], -1)),
        grades=buildings.intervals(names[1:], _matched),
        strict=buildings.intervals(names[1:], lambda t: _strict(t)[..., 1:]),
        confusion=table.tolist(),
        confusion_names=list(names),
    )


def _paint(pixels: _Sample, grade: int, on_truth: bool) -> _Sample:
    """The tables of an answer that gives one grade to all buildings, the true ones or those that were predicted."""

    def paint(table: Array) -> Array:
        painted = np.zeros_like(table)
        if on_truth:
            painted[..., 0, 0] = table[..., 0, :].sum(axis=-1)
            painted[..., 1:, grade] = table[..., 1:, :].sum(axis=-1)
        else:
            painted[..., 0] = table[..., 0]
            painted[..., grade] = table[..., 1:].sum(axis=-1)
        return painted

    return _Sample(paint(pixels.total), None if pixels.drawn is None else paint(pixels.drawn), pixels.n)


def _heads(table: Array, held: Array) -> Array:
    """Score, score over the grades that the truth of the whole set holds, localisation, damage."""
    if not held.any():
        return np.full((*table.shape[:-2], 4), np.nan)
    grades, localisation = _on_buildings(table), _localisation(table)
    damage = damage_f1(np.where(held, grades, 0.0))
    present = damage_f1(grades[..., held])
    scores = [xview2_score(localisation, part) for part in (damage, present)]
    return np.stack([*scores, localisation, damage], axis=-1)


def _on_buildings(table: Array) -> Array:
    """F1 of each grade where a true building stands."""
    inside = table.copy()
    inside[..., 0, :] = 0
    counts = _counts(inside)
    return _f1(counts, counts.tp + counts.fn > 0)[..., 1:]


def _matched(table: Array) -> Array:
    """F1 of each grade among matched buildings; 0 where true buildings of it are there and none was matched."""
    return _f1(_counts(table[..., 1:, 1:]), table[..., 1:, :].sum(axis=-1) > 0)


def _strict(table: Array) -> Array:
    """F1 of each class, background included."""
    return dice(_counts(table))


def _localisation(table: Array) -> Array:
    """F1 of building against background."""
    merged = np.add.reduceat(np.add.reduceat(table, (0, 1), axis=-1), (0, 1), axis=-2)
    counts = _counts(merged)
    return _f1(counts, counts.tp + counts.fn > 0)[..., 1]


def _accuracy(table: Array) -> Array:
    """Share of the matched buildings that have the right grade; 0 where none was matched."""
    right = np.trace(table[..., 1:, 1:], axis1=-2, axis2=-1)
    matched = table[..., 1:, 1:].sum(axis=(-2, -1))
    return np.where(table[..., 1:, :].sum(axis=(-2, -1)) > 0, right / np.maximum(matched, 1), np.nan)


def _counts(table: Array) -> Counts:
    """Counts ``(..., k)`` of each class."""
    tp = np.diagonal(table, axis1=-2, axis2=-1)
    fp, fn = table.sum(axis=-2) - tp, table.sum(axis=-1) - tp
    return Counts(tp, fp, fn, table.sum(axis=(-2, -1))[..., None] - tp - fp - fn)


def _f1(c: Counts, held: Array) -> Array:
    """``2 TP / (2 TP + FP + FN)``, 0 for 0 / 0; NaN where the truth does not hold a class."""
    return np.where(held, 2 * c.tp / np.maximum(2 * c.tp + c.fp + c.fn, 1), np.nan)


def _majority(objects: Array, label: Array, n: int, classes: int) -> Array:
    """Class of most pixels of each object, of two equal the higher; 0 for number 0, which is no object."""
    inside = objects > 0
    table = np.bincount(objects[inside].astype(np.int64) * classes + label[inside], minlength=n * classes)
    best: Array = classes - 1 - table.reshape(n, classes)[:, :0:-1].argmax(axis=1)
    best[0] = 0
    return best


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
