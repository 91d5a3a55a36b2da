"""Ways in which a test can be no test: the same thing on both sides of a cut.

Copies, slices of one volume next to each other, several images of one patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catenary.data.cases import Dataset
from catenary.data.copies import MOST, look_alikes
from catenary.data.facts import CaseFacts, miniatures
from catenary.data.findings import Finding
from catenary.data.splits import Splits, in_order

__all__ = ["Series", "as_series", "duplicates", "group_pattern", "order", "possible_groups", "torn_groups"]

#: A set is a series when neighbours correlate more than other pairs by at least this.
_SERIES = 0.25
#: Fewer cases say nothing about an order.
_ENOUGH = 8


def duplicates(
    facts: Sequence[CaseFacts], split: Splits | None, *, near: bool = True, dataset: Dataset | None = None
) -> Iterator[Finding]:
    """Findings about images that occur more than once.

    Args:
        facts: Readable cases. Constant images are passed over: they are told as such.
        split: Division to check, if there is one.
        near: Look for near duplicates too: saved again, resized, brightened, mirrored, turned.
        dataset: The same cases, where their classes and sources are to be compared, and crops found where whole images
            have a class.
    """
    facts = [f for f in facts if not f.constant]
    same: dict[str, list[CaseFacts]] = {}
    for f in facts:
        same.setdefault(f.content, []).append(f)
    exact = [cluster for cluster in same.values() if len(cluster) > 1]
    yield from _copies(exact, split)
    crops = dataset is not None and dataset.labels.scope == "image"
    alike = [(facts[i], facts[j], how) for i, j, how in look_alikes(facts, crops=crops)] if near else []
    pairs = [(a, b, how) for a, b, how in alike if a.content != b.content]
    yield from _near_copies(pairs, split)
    if crops and near and len(facts) > MOST:
        yield Finding(
            level="note",
            code="crops-not-searched",
            message=f"copies that were cropped are looked for among {MOST} images at most, and these are {len(facts)}",
            remedy="give the images of one patient one group, so that none lies in two parts",
        )
    if dataset is not None:
        yield from _disagreeing(dataset, [*exact, *([a, b] for a, b, _ in pairs)])


def _disagreeing(dataset: Dataset, clusters: Sequence[Sequence[CaseFacts]]) -> Iterator[Finding]:
    """Copies of one image that have two classes, or come from two sources."""
    names = dataset.labels.names
    whole = dataset.labels.scope == "image"
    known = {case.name: case for case in dataset.cases}
    labels = {n: names[c.label] for n, c in known.items() if whole and c.label is not None}
    sources = {n: c.source for n, c in known.items() if c.source}
    for told, code, what, remedy in (
        (
            labels,
            "duplicates-with-different-classes",
            "copies of one image have two classes",
            "find out which is right, and remove the other copies: as they are, one of them is wrong",
        ),
        (
            sources,
            "duplicate-across-sources",
            "copies of one image come from two sources",
            "keep one of each: a test on another source that holds them is none",
        ),
    ):
        torn = [c for c in clusters if len({told[f.name] for f in c if f.name in told}) > 1]
        if torn:
            shown = ", ".join(" = ".join(f"{f.name} ({told.get(f.name)})" for f in c[:3]) for c in torn[:3])
            yield Finding(
                level="warning",
                code=code,
                message=f"{len(torn)} times {what}: {shown}{_more(len(torn))}",
                remedy=remedy,
                cases=_flat(torn),
            )


def _copies(clusters: Sequence[Sequence[CaseFacts]], split: Splits | None) -> Iterator[Finding]:
    crossing = [c for c in clusters if split is not None and len(_parts(c, split)) > 1]
    inside = [c for c in clusters if c not in crossing]
    if crossing:
        yield Finding(
            level="error",
            code="duplicate-across-splits",
            message=f"{len(crossing)} images lie in two parts of the split pixel for pixel: {_pairs(crossing, split)}",
            remedy="remove all but one of each: a score on images that were trained on means nothing",
            cases=_flat(crossing),
        )
    if inside:
        yield Finding(
            level="warning",
            code="duplicates",
            message=f"{len(inside)} images occur more than once, pixel for pixel: {_pairs(inside)}",
            remedy="remove all but one of each; until then they are kept in one part of the split",
            cases=_flat(inside),
        )
    differing = [c for c in clusters if len({f.mask_content for f in c if f.counts}) > 1]
    if differing:
        yield Finding(
            level="warning",
            code="duplicates-with-different-masks",
            message=f"{len(differing)} of the repeated images have masks that differ: {_pairs(differing)}",
            remedy="keep the right mask; if two people annotated, keep one here and the other for comparison",
            cases=_flat(differing),
        )
    torn = [c for c in clusters if len({f.group for f in c}) > 1 and any(f.group != f.name for f in c)]
    if torn:
        yield Finding(
            level="warning",
            code="duplicate-across-groups",
            message=f"{len(torn)} images occur in two groups, pixel for pixel: {_pairs(torn)}",
            remedy="correct the groups: these are not independent, and intervals over groups would be too narrow",
            cases=_flat(torn),
        )


def _near_copies(pairs: Sequence[tuple[CaseFacts, CaseFacts, str]], split: Splits | None) -> Iterator[Finding]:
    crossing = [p for p in pairs if split is not None and len(_parts(p[:2], split)) > 1]
    inside = [p for p in pairs if p not in crossing]
    for some, code, where, remedy in (
        (
            crossing,
            "near-duplicate-across-splits",
            " and lie in two parts of the split",
            "look at them; remove copies, or give them one group",
        ),
        (
            inside,
            "near-duplicates",
            "",
            "look at them; re-saved, resized, brightened, mirrored or cropped copies add nothing",
        ),
    ):
        if some:
            told = ", ".join(f"{a.name} = {b.name} ({how})" for a, b, how in some[:3])
            yield Finding(
                level="warning",
                code=code,
                message=f"{len(some)} pairs of images look the same{where}: {told}{_more(len(some))}",
                remedy=remedy,
                cases=_flat([p[:2] for p in some]),
            )


def torn_groups(facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    """Error when a group lies in two parts of the division."""
    if split is None:
        return
    groups: dict[str, list[CaseFacts]] = {}
    for f in facts:
        groups.setdefault(f.group, []).append(f)
    torn = {group: cases for group, cases in groups.items() if len(_parts(cases, split)) > 1}
    if torn:
        told = ", ".join(f"'{g}' in {' and '.join(sorted(_parts(c, split)))}" for g, c in list(torn.items())[:3])
        yield Finding(
            level="error",
            code="group-across-splits",
            message=f"{len(torn)} groups lie in two parts of the split: {told}{_more(len(torn))}",
            remedy="correct the split column so that a group is in one part only, or leave it out to have it divided",
            cases=_flat(list(torn.values())),
        )


@dataclass(frozen=True)
class Series:
    """A set whose names run along an order in which neighbours resemble each other.

    Attributes:
        names: In that order.
        near, far: Median correlation of neighbours and of random pairs.
        correlations: Of each case with the next, ``(n - 1,)``.
        gap: Cases to leave out on each side of a cut so that little of the resemblance is left.
        what: ``"images"`` or ``"masks"``: where it shows most.
    """

    names: tuple[str, ...]
    near: float
    far: float
    correlations: NDArray[np.float64]
    gap: int
    what: str


def as_series(facts: Sequence[CaseFacts]) -> Series | None:
    """Whether the cases, in natural order of their names, form a series; None when they do not.

    Neighbours' thumbnails (and those of their masks) must correlate clearly more than those of pairs at random,
    and most neighbours must, so that pairs of one subject are not taken for a series.
    """
    if len(facts) < _ENOUGH:
        return None
    by_name = {f.name: f for f in facts}
    names = in_order(list(by_name))
    row = [by_name[name] for name in names]
    best: Series | None = None
    for what, pictures in (("images", miniatures(row)), ("masks", miniatures(row, masks=True))):
        if pictures.std(axis=(1, 2)).min() == 0 and what == "masks":
            continue  # an empty mask correlates with nothing
        lags = [_lagged(pictures, lag) for lag in range(1, max(2, min(25, len(row) // 3)))]
        rng = np.random.default_rng(0)
        first, second = rng.integers(0, len(row), (2, 2000))
        apart = np.abs(first - second) >= max(2, len(row) // 4)
        far = _correlations(pictures[first[apart]], pictures[second[apart]])
        near, usual = float(np.median(lags[0])), float(np.median(far))
        most = float(np.mean(lags[0] > np.quantile(far, 0.9)))
        if near - usual < _SERIES or most < 0.7 or (best is not None and near - usual <= best.near - best.far):
            continue
        faded = (lag for lag, r in enumerate(lags, start=1) if np.median(r) - usual < 0.25 * (near - usual))
        reach = next(faded, len(lags))
        gap = int(np.clip(reach // 2, 1, max(1, len(row) // 20)))
        best = Series(names=tuple(names), near=near, far=usual, correlations=lags[0], gap=gap, what=what)
    return best


def _lagged(pictures: NDArray[np.uint8], lag: int) -> NDArray[np.float64]:
    return _correlations(pictures[:-lag], pictures[lag:])


def _correlations(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Pearson correlation of each row of `a` with the same row of `b`."""
    x, y = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (a, b))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    norm = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    out: NDArray[np.float64] = np.divide((x * y).sum(1), norm, out=np.zeros(len(x)), where=norm > 1e-9)
    return out


def order(facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    """Warning when the cases are a series (slices, frames) and neighbours lie in different parts; a note without."""
    series = as_series(facts)
    if series is None:
        return
    told = (
        f"names run along an order: neighbouring {series.what} correlate {series.near:.2f}, "
        f"pairs far apart {series.far:.2f}"
    )
    if split is None:
        yield Finding(
            level="note",
            code="ordered",
            message=f"{told} (slices of a volume, frames of a film?)",
            remedy=f"a random split would leak; use --set split.ordered=true --set split.gap={series.gap}",
        )
        return
    bar = series.far + 0.5 * (series.near - series.far)
    torn = [
        (a, b)
        for a, b, r in zip(series.names[:-1], series.names[1:], series.correlations, strict=True)
        if r > bar and split.part_of(a) and split.part_of(b) and split.part_of(a) != split.part_of(b)
    ]
    if torn:
        shown = ", ".join(f"{a} ({split.part_of(a)}) beside {b} ({split.part_of(b)})" for a, b in torn[:3])
        yield Finding(
            level="warning",
            code="neighbours-across-splits",
            message=f"{told}, and {len(torn)} neighbours lie in different parts: {shown}{_more(len(torn))}",
            remedy=f"scores will be too good; use --set split.ordered=true --set split.gap={series.gap}",
            cases=tuple(dict.fromkeys(name for pair in torn for name in pair)),
        )


#: Words at the end of a name that tell views of one subject apart.
_VIEWS = r"(?:L|R|left|right|OD|OS|LE|RE|pre|post|before|after|CC|MLO|AP|PA|lat)"


#: Words before the number of a subject.
_SUBJECTS = r"(?<![A-Za-z])(?i:pat|patient|sub|subject)"


def group_pattern(names: Sequence[str]) -> str | None:
    """A regular expression whose first group seems to name the subject, or None.

    Three habits are known: a number followed by a side or view, and perhaps by the number of a visit (``Image_01L``,
    ``p7_pre``, ``12_OD_4``), a number or word that is shared by several names and followed by a running number
    (``patient03_2``, ``spot1_0d_0``), and a number that is said to be of a patient or subject
    (``brats_2013_pat0001_1``, ``sub-07_ses-2``). All names must follow it, and it must make at least two groups, with
    at least two cases in most of them; where the subject is named, in one of them.

    >>> group_pattern(["Image_01L", "Image_01R", "Image_02L", "Image_02R"])
    '^(.*\\\\d)[_-]?(?:L|R)$'
    >>> group_pattern(["ISIC_0001", "ISIC_0002", "ISIC_0003"]) is None
    True
    """
    views = re.compile(rf"^(.*\d)[_\- ]?({_VIEWS})([_\-]\d+)?$", re.IGNORECASE)
    found = [views.match(name) for name in names]
    if found and all(found):
        words = sorted({m.group(2) for m in found if m})
        visits = r"(?:[_-]\d+)?" if any(m.group(3) for m in found if m) else ""
        pattern = rf"^(.*\d)[_-]?(?:{'|'.join(words)}){visits}$"
        return pattern if _joins(pattern, names) else None
    pattern = r"^(.*\d[^\d]*?)[_-][A-Za-z]*\d+$"
    if _joins(pattern, names):
        return pattern
    pattern = rf"^(.*?{_SUBJECTS}[_\-]?\d+)(?:\D|$)"
    return pattern if _joins(pattern, names, most=0.0) else None


def _joins(pattern: str, names: Sequence[str], most: float = 0.5) -> bool:
    matches = [re.search(pattern, name) for name in names]
    if not all(matches):
        return False
    sizes = np.unique([m.group(1) for m in matches if m], return_counts=True)[1]
    return len(sizes) >= 2 and float(np.mean(sizes >= 2)) > most


def possible_groups(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Warning when names look like several images of one subject while no groups are given."""
    if not facts or any(f.group != f.name for f in facts):
        return
    names = [f.name for f in facts]
    pattern = group_pattern(names)
    if pattern is None:
        return
    groups: dict[str, list[str]] = {}
    for name in names:
        match = re.search(pattern, name)
        groups.setdefault(match.group(1) if match else name, []).append(name)
    example = next(members for members in groups.values() if len(members) > 1)
    yield Finding(
        level="warning",
        code="possible-groups",
        message=f"names look like {len(groups)} subjects with several images each ({', '.join(example[:3])}), "
        "but no groups are given",
        remedy=f"if so, keep a subject on one side of the split: --group '{pattern}'",
    )


def _parts(cases: Sequence[CaseFacts], split: Splits) -> set[str]:
    return {part for f in cases if (part := split.part_of(f.name)) is not None}


def _pairs(clusters: Sequence[Sequence[CaseFacts]], split: Splits | None = None) -> str:
    def told(f: CaseFacts) -> str:
        return f.name if split is None else f"{f.name} ({split.part_of(f.name)})"

    return ", ".join(" = ".join(told(f) for f in cluster[:3]) for cluster in clusters[:3]) + _more(len(clusters))


def _more(count: int, shown: int = 3) -> str:
    return f" and {count - shown} more" if count > shown else ""


def _flat(clusters: Sequence[Sequence[CaseFacts]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.name for cluster in clusters for f in cluster))
