"""Which mask belongs to which image, by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from catenary.data.cases import Case
from catenary.data.findings import Finding
from catenary.io import stem

__all__ = ["SPLITS", "Found", "finding", "is_mask_name", "make_unique", "natural", "pair", "report_alone", "split_of"]

#: Words in the names of folders, in small letters, and the part of a division that they state.
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

_MASK = r"(?:masks?|segmentations?|seg|labels?|gt|ground_?truth|annotations?|anno|targets?)"
_IMAGE = r"(?:images?|img)"
_MASK_MARKS = re.compile(rf"^{_MASK}[_\-. ]|[_\-. ]{_MASK}$", re.IGNORECASE)
_IMAGE_MARKS = re.compile(rf"^{_IMAGE}[_\-. ]|[_\-. ]{_IMAGE}$", re.IGNORECASE)
#: Names that a message shows before it counts the rest.
_NAMED = 5


@dataclass
class Found:
    """Pairs that a layout found, and what it noticed.

    Attributes:
        layout: How they were found, in words.
        scope: ``"image"`` where whole images have a class: `Case.label` then counts along `classes`.
        classes, ignore: Names of the values 0, 1, ... and the value to ignore, where the layout says what they mean.
        values: Those of `classes`, where they are not 0, 1, 2, ...
        regions: Overlapping targets, name -> indices of `classes`, where the layout states them.
        channel_names: Names of the channels, where the layout knows them.
        licence: Of the data, where the layout states it.
        cut: See `catenary.data.cases.Dataset.cut`.
        cases, findings: The pairs, and what was noticed.
    """

    layout: str
    scope: Literal["pixel", "image"] = "pixel"
    classes: tuple[str, ...] = ()
    ignore: int | None = None
    values: tuple[int, ...] = ()
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    licence: str = ""
    cut: str = ""
    cases: list[Case] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key in which ``x2`` comes before ``x10``.

    >>> sorted(["x10", "x2", "B", "a"], key=natural)
    ['a', 'B', 'x2', 'x10']
    """
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name.lower())]


def is_mask_name(name: str) -> bool:
    """Whether a file's stem says that it is a mask.

    >>> is_mask_name("cell_7_mask"), is_mask_name("gt-7"), is_mask_name("masked_ball")
    (True, True, False)
    """
    return bool(_MASK_MARKS.search(name))


def pair(found: Found, images: Sequence[Path], masks: Sequence[Path], split: str | None = None) -> None:
    """Add the pairs to `found`: stems equal, or equal without marks such as ``_mask``, ``seg_``, ``_image``.

    An image or mask with several partners is an error finding, one with none a warning, left out.
    """
    pictures: dict[str, Path] = {}
    twice = []
    for image in images:
        if stem(image) in pictures:
            twice.append(stem(image))
        pictures.setdefault(stem(image), image)
    partners = _partners(pictures, masks)
    owners: dict[Path, list[str]] = defaultdict(list)
    for name, files in partners.items():
        owners[files[0]].append(name)
        found.cases.append(Case(name=name, images=(pictures[name],), mask=files[0], split=split))
    shared = [name for names in owners.values() if len(names) > 1 for name in names]
    if twice or shared:
        text = "several images have one mask"
        found.findings.append(finding("error", "two-images", text, "keep one image for each mask", twice + shared))
    doubled = [name for name, files in partners.items() if len(files) > 1]
    if doubled:
        text = "images have more than one mask"
        found.findings.append(finding("error", "two-masks", text, "keep one mask for each image", doubled))
    used = {file for files in partners.values() for file in files}
    report_alone(found, [name for name in pictures if name not in partners], [m.name for m in masks if m not in used])


def _partners(pictures: dict[str, Path], masks: Sequence[Path]) -> dict[str, list[Path]]:
    """Masks of each image that has any."""
    by_plain: dict[str, list[str]] = defaultdict(list)
    for name in pictures:
        for plain in dict.fromkeys((name.lower(), _IMAGE_MARKS.sub("", name).lower())):
            by_plain[plain].append(name)
    partners: dict[str, list[Path]] = {}
    rest = []
    for mask in masks:
        partners.setdefault(stem(mask), []).append(mask) if stem(mask) in pictures else rest.append(mask)
    for mask in rest:
        plain = stem(mask).lower()
        for key in (plain, _MASK_MARKS.sub("", plain)):
            for name in by_plain.get(key, ()):
                partners.setdefault(name, []).append(mask)
            if key in by_plain:
                break
    return {name: partners[name] for name in pictures if name in partners}


def report_alone(found: Found, images: Sequence[str], masks: Sequence[str]) -> None:
    """Say which images and masks have no partner."""
    for code, what, missing, names in (("no-mask", "images", "mask", images), ("no-image", "masks", "image", masks)):
        if names:
            text = f"{len(names)} {what} have no {missing} and are left out"
            found.findings.append(finding("warning", code, text, f"add the {missing}s, or ignore this", names))


def finding(
    level: Literal["error", "warning", "note"], code: str, text: str, remedy: str, names: Iterable[str]
) -> Finding:
    """A finding about named files or cases; the message shows the first few."""
    names = tuple(dict.fromkeys(names))
    told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return Finding(level=level, code=code, message=f"{text}: {told}", remedy=remedy, cases=names)


def make_unique(found: Found, root: Path) -> None:
    """Give cases of one name the names of their folders too; where that does not help, report and keep the first."""
    named: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(found.cases):
        named[case.name].append(index)
    for name, indices in named.items():
        if len(indices) > 1:
            folders = [_folders(found.cases[index].images[0], root) for index in indices]
            depth = max(map(len, folders))
            levels = [tuple(parts[level] if level < len(parts) else "" for parts in folders) for level in range(depth)]
            telling = [level for level in levels if len(set(level)) > 1]
            for place, index in enumerate(indices):
                parts = [level[place] for level in telling if level[place]]
                found.cases[index] = _renamed(found.cases[index], "_".join([*parts, name]))
    seen: dict[str, Case] = {}
    again = [case.name for case in found.cases if seen.setdefault(case.name, case) is not case]
    if again:
        text = "several cases have one name, only the first is kept"
        found.findings.append(finding("error", "same-name", text, "add a column 'name' or rename the files", again))
        found.cases[:] = seen.values()


def split_of(path: Path, root: Path) -> str | None:
    """The part of a division that the folders above a file state.

    >>> split_of(Path("set/Validation_Data/a.png"), Path("set"))
    'val'
    """
    words = [word for part in path.relative_to(root).parts[:-1] for word in re.split(r"[_\-. ]", part.lower())]
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    try:
        return path.relative_to(root).parts[:-1]
    except ValueError:
        return path.parts[-3:-1]


def _renamed(case: Case, name: str) -> Case:
    return replace(case, name=name, group=name if case.group == case.name else case.group)
