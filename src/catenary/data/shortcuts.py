"""What a network could learn instead of the disease: the camera, the size of the file, the black rim.

Where the ill were photographed in one clinic and the healthy in another, a network that tells the clinics apart looks
excellent until it meets a third. The tests here see no more than the survey's facts. They fit ridge regressions,
judged by cross-validation that keeps groups together; what so little can tell, a network will find.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from catenary.data.cases import Dataset
from catenary.data.facts import LEVELS, CaseFacts, miniatures
from catenary.data.survey import Survey

__all__ = ["Shortcut", "auc_from", "class_from_facts", "source_from_image"]

#: Folds of the cross-validation, and divisions that it is averaged over.
_FOLDS, _REPEATS = 5, 3
#: Standard errors by which an area must lie above chance to be told.
_CLEAR = 2.5
_SHOWN = (0.05, 0.5, 0.95)
#: Side of the miniature that stands for the coarse look of an image.
_COARSE = 8


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """How well the source can be told from the image, and the class from the source.

    Attributes:
        sources, classes: Their names.
        cases: Number of cases of each source and class, a row a source.
        told: Area under the ROC curve, source against the others, of a classifier of coarse look, colours and size;
            mean over the sources, cross-validated by group. 0.5 is chance.
        association: Cramer's V of source and class (Cramer 1946), 0 (independent) to 1 (one settles the other).
        known: Area under the ROC curve, class against the others, of who knows the source and nothing else;
            cross-validated alike.
        clear: Whether `told` and `known` lie above chance by more than chance does.
    """

    sources: tuple[str, ...]
    classes: tuple[str, ...]
    cases: tuple[tuple[int, ...], ...]
    told: float
    association: float
    known: float
    clear: tuple[bool, bool]


def source_from_image(dataset: Dataset, survey: Survey, *, seed: int = 0) -> Shortcut | None:
    """Whether the source can be told from the image, and the class from the source.

    Args:
        dataset: Cases with a source and a class.
        survey: Facts of the same cases.
        seed: Of the division into folds.

    Returns:
        None where fewer than two sources, or two classes, have two groups each.
    """
    facts = [f for f in survey.facts if f.readable and dataset[f.name].source and dataset[f.name].label is not None]
    facts = _with_enough(facts, lambda f: dataset[f.name].source)
    facts = _with_enough(facts, lambda f: dataset[f.name].label)
    names = tuple(sorted({dataset[f.name].source for f in facts}))
    labels = [dataset[f.name].label for f in facts]
    found = sorted({label for label in labels if label is not None})
    if len(names) < 2 or len(found) < 2:
        return None
    source = np.array([names.index(dataset[f.name].source) for f in facts])
    label = np.array([found.index(x) for x in labels if x is not None])
    table = np.zeros((len(names), len(found)), np.int64)
    np.add.at(table, (source, label), 1)
    groups = [f.group for f in facts]
    look = np.hstack([_file_facts(facts), _colours(facts), _coarse(facts)])
    told, known = (
        auc_from(features, of, groups, seed=seed)
        for features, of in ((look, source), (np.eye(len(names))[source], label))
    )
    return Shortcut(
        sources=names,
        classes=tuple(dataset.labels.names[index] for index in found),
        cases=tuple(tuple(int(n) for n in row) for row in table),
        told=told,
        association=_cramers_v(table),
        known=known,
        clear=(_is_clear(told, source, groups), _is_clear(known, label, groups)),
    )


def class_from_facts(
    dataset: Dataset, survey: Survey, *, seed: int = 0
) -> tuple[tuple[float, bool], tuple[float, bool], str] | None:
    """How well the class can be told from what should say nothing of it.

    Returns:
        Area under the ROC curve (class against the others, mean, cross-validated by group) and whether that is clearly
        above chance: of file format, number type, size and black rim; of these and mean colours. Then what differs
        most, in words. None where fewer than two classes have two groups each.
    """
    facts = [f for f in survey.facts if f.readable and dataset[f.name].label is not None]
    facts = _with_enough(facts, lambda f: dataset[f.name].label)
    label = np.array([dataset[f.name].label for f in facts])
    if len(np.unique(label)) < 2:
        return None
    groups = [f.group for f in facts]
    files = np.hstack([_file_facts(facts), _formats(dataset, facts)])
    areas = []
    for features in (files, np.hstack([files, _colours(facts)])):
        area = auc_from(features, label, groups, seed=seed)
        areas.append((area, _is_clear(area, label, groups)))
    return areas[0], areas[1], _what_differs(dataset, facts, label)


def auc_from(
    features: Float[np.ndarray, "n f"], of: Int[np.ndarray, "n"], groups: Sequence[str], *, seed: int = 0
) -> float:
    """Area under the ROC curve of a cross-validated ridge regression, each class against the others, mean.

    Args:
        features: ``(n, f)``; a constant one says nothing.
        of: Classes, at least two, each in two groups or more.
        groups: Whose cases stay in one fold.
        seed: Of the folds.

    Returns:
        0 to 1; 0.5 is chance.

    >>> rng = np.random.default_rng(0)
    >>> of = np.arange(60) % 2
    >>> round(auc_from(of[:, None] + rng.normal(0, 0.1, (60, 3)), of, [str(i) for i in range(60)]), 2)
    1.0
    """
    kinds, index = np.unique(of, return_inverse=True)
    wanted = np.eye(len(kinds))[index]
    areas = []
    for repeat in range(_REPEATS):
        fold = _folds(index, groups, np.random.default_rng([seed, repeat]))
        scores = np.zeros_like(wanted)
        for held in range(fold.max() + 1):
            scores[fold == held] = _ridge(features[fold != held], wanted[fold != held], features[fold == held])
        areas.append([_area(scores[:, k], index == k) for k in range(len(kinds))])
    return float(np.mean(areas))


def _folds(index: NDArray[np.int64], groups: Sequence[str], rng: np.random.Generator) -> NDArray[np.int64]:
    """A fold for each case: groups in random order, dealt out class by class."""
    names, member = np.unique(list(groups), return_inverse=True)
    rarity = np.bincount(index)
    first = np.full(len(names), index[0])
    for case in np.argsort(-rarity[index], kind="stable"):  # a group counts as of its rarest class
        first[member[case]] = index[case]
    order = rng.permutation(len(names))
    order = order[np.argsort(first[order], kind="stable")]
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % min(_FOLDS, len(names))
    return fold[member]


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Answers for `new` of a ridge regression; the penalty halves what an average feature says."""
    mean, std = x.mean(0), x.std(0)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-9)
    a, b = (x - mean) * scale, np.clip((new - mean) * scale, -5, 5)
    weights = np.linalg.solve(a.T @ a + len(a) * np.eye(a.shape[1]), a.T @ (y - y.mean(0)))
    answers: NDArray[np.float64] = b @ weights  # without the mean, which would tell a fold by what it lacks
    return answers


def _area(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mann-Whitney's statistic, ties counting half."""
    _, index, ties = np.unique(score.round(9), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[index]  # scipy's rankdata; importing scipy.stats takes seconds
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(score) - count)))


def _cramers_v(table: NDArray[np.int64]) -> float:
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    square = float(((table - expected) ** 2 / expected).sum())
    return float(np.sqrt(square / (table.sum() * (min(table.shape) - 1))))


def _is_clear(area: float, of: NDArray[np.int64], groups: Sequence[str]) -> bool:
    """Whether an area is above chance by more than the standard error of chance, with a group counting once."""
    rare = min(len({g for g, mine in zip(groups, of == kind, strict=True) if mine}) for kind in np.unique(of))
    rest = max(1, len(set(groups)) - rare)
    return area - 0.5 > _CLEAR * float(np.sqrt((rare + rest + 1) / (12 * rare * rest)))


def _with_enough(facts: list[CaseFacts], of: Callable[[CaseFacts], object]) -> list[CaseFacts]:
    """Without cases of a kind that has one group only."""
    groups: dict[object, set[str]] = {}
    for f in facts:
        groups.setdefault(of(f), set()).add(f.group)
    return [f for f in facts if len(groups[of(f)]) >= 2]


def _file_facts(facts: Sequence[CaseFacts]) -> NDArray[np.float64]:
    """Sides and shape, channels, and the share of each side that is not empty rim."""
    rows = []
    for f in facts:
        high, wide = f.size[-2:]
        body = (f.body or f.size)[-2:]
        grey = float(f.channels == 1 or f.same_channels)
        rows.append([np.log(high), np.log(wide), np.log(high / wide), body[0] / high, body[1] / wide, grey])
    return np.array(rows, np.float64)


def _formats(dataset: Dataset, facts: Sequence[CaseFacts]) -> NDArray[np.float64]:
    """One column for each format of files and type of numbers."""
    told = [f"{_format(dataset, f)} {f.dtype}" for f in facts]
    kinds = sorted(set(told))
    return np.array([[float(one == kind) for kind in kinds] for one in told])


def _format(dataset: Dataset, f: CaseFacts) -> str:
    suffix = Path(dataset[f.name].images[0]).suffix.lower().removeprefix(".")
    return {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix)


def _colours(facts: Sequence[CaseFacts]) -> NDArray[np.float64]:
    """Mean, deviation and three quantiles of each channel; of their mean where images differ in channels."""
    at = [LEVELS.index(level) for level in _SHOWN]
    each = [np.column_stack([f.mean, f.std, np.array(f.quantiles)[:, at]]) for f in facts]
    if len({rows.shape for rows in each}) > 1:
        each = [rows.mean(0, keepdims=True) for rows in each]
    return np.array(each, np.float64).reshape(len(facts), -1)


def _coarse(facts: Sequence[CaseFacts]) -> NDArray[np.float64]:
    small = miniatures(facts).astype(np.float64)
    step = small.shape[1] // _COARSE
    coarse: NDArray[np.float64] = small.reshape(len(facts), _COARSE, step, _COARSE, step).mean((2, 4))
    return coarse.reshape(len(facts), -1)


def _what_differs(dataset: Dataset, facts: Sequence[CaseFacts], label: NDArray[np.int64]) -> str:
    """The fact of files that tells the two commonest classes apart best, with its usual value in each."""
    first, second = np.sort(np.argsort(-np.bincount(label), kind="stable")[:2])
    names = [dataset.labels.names[index] for index in (first, second)]
    parts = [[f for f, mine in zip(facts, label == index, strict=True) if mine] for index in (first, second)]
    kinds: dict[str, Callable[[CaseFacts], str]] = {
        "size": lambda f: "x".join(map(str, f.size)),
        "format": lambda f: _format(dataset, f),
        "number type": lambda f: f.dtype,
        "width without the rim": lambda f: f"{100 * (f.body or f.size)[-1] / f.size[-1]:.0f} %",
    }
    best, words = -1.0, ""
    for what, of in kinds.items():
        shares = [{v: n / len(part) for v, n in Counter(map(of, part)).items()} for part in parts]
        apart = sum(abs(shares[0].get(v, 0) - shares[1].get(v, 0)) for v in shares[0].keys() | shares[1].keys()) / 2
        if apart > best + 1e-9:
            usual = [max(share, key=lambda v: (share[v], v)) for share in shares]
            both = zip(usual, shares, names, strict=True)
            told = " and ".join(f"{value} in {100 * share[value]:.0f} % of '{name}'" for value, share, name in both)
            best, words = apart, f"{what}: {told}"
    return words
