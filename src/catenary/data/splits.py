"""Dividing cases into training, validation and test.

Whatever must not be torn apart moves as one unit: the cases of one group, and cases that show the same scene.
Among many random ways to deal the units out, the one is kept whose parts agree best in size, in foreground share
and in the classes present.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.data.cases import Dataset
from catenary.data.copies import look_alikes
from catenary.data.facts import CaseFacts
from catenary.data.survey import Survey
from catenary.errors import ConfigError, DataError, near_match

__all__ = ["Splits", "in_order", "split_cases"]

#: Random divisions that are compared.
_TRIES = 400
#: Features of a group before those that count classes.
_FIXED = 6


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Names of the cases in each part, each in natural order.

    Attributes:
        train, val, test: The three parts; `test` may be empty.
        left_out: Cases in no part: without a usable mask, or within the gap of a cut.
        seed: Seed of the division.
        how: How it was made, in words.

    >>> splits = Splits(train=("a", "b"), val=("c",), test=(), seed=0, how="by hand")
    >>> Splits.from_json(splits.to_json()) == splits, splits.part_of("c")
    (True, 'val')
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    seed: int = 0
    how: str = ""

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The three parts by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def part_of(self, name: str) -> str | None:
        """``"train"``, ``"val"`` or ``"test"``; None when the case is in none of them."""
        return self._part_of.get(name)

    @cached_property
    def _part_of(self) -> dict[str, str]:
        return {name: part for part, names in self.parts.items() for name in names}

    def to_json(self) -> str:
        """The division as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Splits:
        """Read what `to_json` wrote.

        Raises:
            DataError: The text is not such a record.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            fields |= {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
            return cls(**fields)
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"not a record of splits ({error}); give the splits.json of a run") from error


def in_order(names: Sequence[str]) -> list[str]:
    """Names in natural order: numbers inside them count as numbers.

    >>> in_order(["z10", "z9", "a"])
    ['a', 'z9', 'z10']
    """

    def key(name: str) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", name)
        return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]

    return sorted(names, key=key)


def split_cases(
    dataset: Dataset,
    survey: Survey,
    *,
    val: float = 0.15,
    test: float = 0.2,
    folds: int = 0,
    fold: int = 0,
    ordered: bool = False,
    gap: int = 0,
    source: str = "",
    seed: int = 0,
) -> Splits:
    """Divide the cases that can be read and have a mask, or a class.

    - Groups never cross a cut, and neither do exact or near duplicates.
    - Parts that the data set states itself are kept; only what it leaves out is filled in, from its training cases
      and from cases without a stated part.
    - ``folds=k`` deals all cases into k folds. Fold `fold` is the test part (so that after k runs every case was
      tested once, by a model that never saw it) and `val` is taken from the rest. Where the data set states a test
      part, that stays sealed, and fold `fold` of the others is the validation part.
    - ``ordered`` cuts contiguous blocks along the natural order of the names; the seed chooses which part comes
      first. `gap` cases are left out on each side of each cut.
    - ``source`` holds all cases of one source out as the test part, with whole groups; what the data set states of
      parts then does not count.

    Args:
        dataset: The cases with their groups and stated parts.
        survey: Facts of the same cases.
        val: Share of the cases for validation, above 0.
        test: Share of the cases for the test; 0 for none.
        folds, fold: Number of cross-validation folds (0: none, else at least 2), and which one.
        ordered, gap, source: See above.
        seed: Same seed, same cases: same division, in whatever order the files lie.

    Raises:
        ConfigError: The numbers cannot work together, or there is no such source.
        DataError: There are too few groups.
    """
    _check_numbers(val=val, test=test, folds=folds, fold=fold, ordered=ordered, gap=gap)
    facts = {f.name: f for f in survey.facts if f.readable and f.labelled}
    if source:
        stated = _held_out(dataset, facts, source)
    else:
        stated = {c.name: c.split for c in dataset.cases if c.name in facts and c.split is not None}
        _check_stated(stated)
    if folds:
        stated = {name: part for name, part in stated.items() if part == "test"}
    fixed, pool = _keep_stated(_groups(facts, near=not ordered, crops=dataset.labels.scope == "image"), stated)
    has = set(fixed.values())
    shares = {part: share for part, share in (("test", test), ("val", val)) if share and part not in has}
    if folds:
        chosen = _by_folds(pool, facts, shares, folds=folds, fold=fold, ordered=ordered, seed=seed)
    else:
        outside = sum(share for part, share in (("test", test), ("val", val)) if part in has)
        shares = {part: share / (1 - outside) for part, share in shares.items()}
        chosen = _by_shares(pool, facts, shares, ordered=ordered, seed=seed)
    assigned = fixed | chosen
    if ordered and gap:
        assigned = _leave_gap(assigned, gap)
    named = {p: tuple(in_order([n for n, part in assigned.items() if part == p])) for p in ("train", "val", "test")}
    return Splits(
        train=named["train"],
        val=named["val"],
        test=named["test"],
        left_out=tuple(in_order([c.name for c in dataset.cases if c.name not in assigned])),
        seed=seed,
        how=_in_words(
            f"the source '{source}' is the test part" if source else _as_stated(has),
            shares,
            folds=folds,
            fold=fold,
            ordered=ordered,
            gap=gap,
            groups=len(pool) < len(chosen),
            balanced="classes" if dataset.labels.scope == "image" else "foreground share and classes",
        ),
    )


def _check_numbers(*, val: float, test: float, folds: int, fold: int, ordered: bool, gap: int) -> None:
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise ConfigError(
            f"split.val={val:g} and split.test={test:g} leave no training, or no validation cases; "
            "choose val above 0 and val + test below 1"
        )
    if folds == 1 or folds < 0:
        raise ConfigError(f"split.folds={folds} makes no cross-validation; choose 0 for one split, or 2 and more")
    if folds and not 0 <= fold < folds:
        raise ConfigError(f"split.fold={fold} is none of the {folds} folds; choose 0 to {folds - 1}")
    if gap < 0 or (gap and not ordered):
        raise ConfigError(
            f"split.gap={gap} has a meaning only for ordered sets; add split.ordered=true, or set it to 0"
        )


def _check_stated(stated: Mapping[str, str | None]) -> None:
    unknown = sorted({str(part) for part in stated.values()} - {"train", "val", "test"})
    if unknown:
        raise DataError(f"the data set names the part '{unknown[0]}'; the parts are called train, val and test")


def _held_out(dataset: Dataset, facts: Mapping[str, CaseFacts], source: str) -> dict[str, str | None]:
    """The cases of a source, all of the test part."""
    sources = {c.source for c in dataset.cases if c.name in facts and c.source}
    if source not in sources:
        told = near_match(source, sources) if sources else "no case states one; give a column 'source' or leave it out"
        raise ConfigError(f"split.source='{source}' is no source of the cases; {told}")
    if len({c.source for c in dataset.cases if c.name in facts}) == 1:
        raise ConfigError(f"split.source='{source}' holds all cases out; leave it out, all are of that source")
    return {c.name: "test" for c in dataset.cases if c.name in facts and c.source == source}


def _groups(facts: Mapping[str, CaseFacts], *, near: bool, crops: bool) -> list[tuple[str, ...]]:
    """Names that must stay together, in natural order of their first: groups, joined where contents are the same."""
    names = in_order(list(facts))
    root = {name: name for name in names}

    def find(name: str) -> str:
        while root[name] != name:
            root[name] = name = root[root[name]]
        return name

    def members() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(find(name), []).append(name)
        return found

    for key in ("group", "content") if near else ("group",):
        first: dict[str, str] = {}
        for name in names:
            root[find(name)] = find(first.setdefault(getattr(facts[name], key), name))
    if near:
        before = dict(root)
        for i, j, _ in look_alikes([facts[n] for n in names], crops=crops):
            root[find(names[i])] = find(names[j])
        # A dense series of slices hangs together as one chain: joining it would leave nothing to divide.
        limit = max(4, len(names) // 10)
        for chain in members().values():
            if len(chain) > limit:
                root.update({name: before[name] for name in chain})
    return [tuple(chain) for chain in members().values()]


def _keep_stated(
    groups: Sequence[tuple[str, ...]], stated: Mapping[str, str | None]
) -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """The cases whose part is settled by the data set, and the groups that are free (or for training)."""
    fixed: dict[str, str] = {}
    pool = []
    for names in groups:
        parts = {part for name in names if (part := stated.get(name)) in ("val", "test")}
        if not parts:
            pool.append(names)
        # A group that the data set itself tears apart stays torn: the doctor reports it.
        fixed |= {name: stated.get(name) or min(parts) for name in names if parts}
    return fixed, pool


def _by_shares(
    pool: Sequence[tuple[str, ...]],
    facts: Mapping[str, CaseFacts],
    shares: Mapping[str, float],
    *,
    ordered: bool,
    seed: int,
) -> dict[str, str]:
    parts = [*shares, "train"]
    weights = [*shares.values(), 1.0 - sum(shares.values())]
    if len(pool) < len(parts):
        several = any(len(names) > 1 for names in pool)
        raise DataError(
            f"{len(pool)} {'group' if several else 'case'}{'s' * (len(pool) != 1)} cannot be divided into "
            f"{' and '.join(parts)}: at least {len(parts)} are needed; add cases"
            + (", give a group pattern that joins fewer of them" if several else "")
            + (", or set split.test=0 to do without a test part" if "test" in shares else "")
        )
    if ordered:
        turn = list(itertools.permutations(range(len(parts))))[::-1]
        order = turn[seed % len(turn)]  # seed 0: train, val, test
        parts, weights = [parts[i] for i in order], [weights[i] for i in order]
    dealt = _deal(pool, facts, weights, None if ordered else np.random.default_rng(seed))
    return {name: parts[p] for names, p in zip(pool, dealt, strict=True) for name in names}


def _by_folds(
    pool: Sequence[tuple[str, ...]],
    facts: Mapping[str, CaseFacts],
    shares: Mapping[str, float],
    *,
    folds: int,
    fold: int,
    ordered: bool,
    seed: int,
) -> dict[str, str]:
    least = 2 if folds == 2 and "test" in shares else 1  # what is left of two folds must still be divided
    if len(pool) < max(folds * least, 3):
        raise DataError(
            f"{len(pool)} groups of cases cannot make {folds} folds; "
            + (f"set split.folds to at most {len(pool)}" if len(pool) >= 3 else "at least 3 groups are needed")
        )
    rng = None if ordered else np.random.default_rng(seed)
    dealt = _deal(pool, facts, [1 / folds] * folds, rng, least=least)
    held = [names for names, p in zip(pool, dealt, strict=True) if p == fold]
    after = [names for names, p in zip(pool, dealt, strict=True) if p > fold]
    rest = after + [names for names, p in zip(pool, dealt, strict=True) if p < fold]
    part = "test" if "test" in shares else "val"
    assigned = {name: part for names in held for name in names}
    if part == "val":
        return assigned | {name: "train" for names in rest for name in names}
    share = min(0.5, shares["val"] * folds / (folds - 1))
    inner = _deal(rest, facts, [share, 1.0 - share], None if ordered else np.random.default_rng([seed, fold]))
    return assigned | {n: ("val", "train")[p] for names, p in zip(rest, inner, strict=True) for n in names}


def _deal(
    groups: Sequence[tuple[str, ...]],
    facts: Mapping[str, CaseFacts],
    shares: Sequence[float],
    rng: np.random.Generator | None,
    *,
    least: int = 1,
) -> list[int]:
    """Part of each group: the groups in a row, cut at the shares. Without `rng` the row is the given one, with it
    the best of many shuffled rows."""
    features = _features(groups, facts)
    sizes = features[:, 0]
    count, parts = len(groups), len(shares)
    tries = 1 if rng is None else int(np.clip(4_000_000 // count, 16, _TRIES))
    rows = np.arange(count)[None] if rng is None else np.array([rng.permutation(count) for _ in range(tries)])
    ends = np.cumsum(sizes[rows], axis=1)
    middles = ends - sizes[rows] / 2
    dealt = np.zeros((tries, count), np.int64)
    previous = np.zeros(tries, np.int64)
    for p, bound in enumerate(np.cumsum(shares)[:-1] * sizes.sum(), start=1):
        cut = np.clip((middles < bound).sum(1), previous + least, count - least * (parts - p))  # no part is empty
        dealt[np.arange(count)[None] >= cut[:, None]] = p
        previous = cut
    of_group = np.empty_like(dealt)
    np.put_along_axis(of_group, rows, dealt, axis=1)
    return [int(p) for p in of_group[int(np.argmin(_imbalance(of_group, features, shares).round(9)))]]


def _features(groups: Sequence[tuple[str, ...]], facts: Mapping[str, CaseFacts]) -> NDArray[np.float64]:
    """Sums over each group's cases, ``(groups, 6 + classes)``: cases, quarters of the foreground share, the share
    itself (twice, in standard deviations), and whether each class is present."""
    names = [name for group in groups for name in group]
    share = np.array([facts[name].foreground for name in names])
    quarter = np.searchsorted(np.quantile(share, (0.25, 0.5, 0.75)), share)
    presence = np.array([facts[name].counts for name in names]) > 0  # of the first too: images may lack it
    score = 2 * (share - share.mean()) / max(float(share.std()), 1e-9)
    table = np.column_stack([np.ones(len(names)), np.eye(4)[quarter], score, presence])
    starts = np.cumsum([0, *(len(group) for group in groups)])[:-1]
    return np.add.reduceat(table, starts, axis=0)


def _imbalance(dealt: NDArray[np.int64], features: NDArray[np.float64], shares: Sequence[float]) -> NDArray[np.float64]:
    """How unlike the parts of each division are, ``(tries,)``; a class missing from a part weighs most."""
    whole = features.sum(0)
    spread = (features[:, _FIXED:] > 0).sum(0) >= len(shares)  # classes that could be in every part
    cost = np.zeros(len(dealt))
    for part, share in enumerate(shares):
        inside = (dealt == part).astype(np.float64) @ features
        mean = inside[:, 1:] / inside[:, :1]
        cost += 2 * np.abs(inside[:, 0] / whole[0] - share)
        cost += np.abs(mean - whole[1:] / whole[0]).sum(1)
        cost += 4 * ((inside[:, _FIXED:] == 0) & spread).sum(1)
    return cost


def _leave_gap(assigned: Mapping[str, str], gap: int) -> dict[str, str]:
    names = in_order(list(assigned))
    cuts = [i for i in range(1, len(names)) if assigned[names[i]] != assigned[names[i - 1]]]
    dropped = {names[i] for cut in cuts for i in range(max(0, cut - gap), min(len(names), cut + gap))}
    kept = {name: part for name, part in assigned.items() if name not in dropped}
    lost = sorted(set(assigned.values()) - set(kept.values()))
    if lost:
        raise DataError(
            f"a gap of {gap} cases on each side of {len(cuts)} cuts leaves nothing in {' and '.join(lost)} of "
            f"{len(names)} cases; set split.gap to a smaller number"
        )
    return kept


def _as_stated(has: set[str]) -> str:
    return f"{' and '.join(sorted(has))} as the data set states" if has else ""


def _in_words(
    given: str,
    shares: Mapping[str, float],
    *,
    folds: int,
    fold: int,
    ordered: bool,
    gap: int,
    groups: bool,
    balanced: str,
) -> str:
    words = [given] if given else []
    if folds:
        part = "test" if "test" in shares else "validation"
        words.append(f"fold {fold} of {folds} is the {part} part" + (", validation from the rest" * (part == "test")))
    elif shares:
        drawn = " and ".join(f"{part} {100 * share:.0f} %" for part, share in shares.items())
        words.append(f"{drawn} of the {'other ' if given else ''}cases")
    if folds or shares:
        words.append("whole groups only" if groups else "case by case")
        words.append("contiguous blocks in the order of the names" if ordered else f"balanced in {balanced}")
    if ordered and gap:
        words.append(f"{gap} cases left out on each side of a cut")
    return "; ".join(words)
