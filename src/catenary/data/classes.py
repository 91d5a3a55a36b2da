"""Data sets whose classes are of whole images: how they lie in folders and tables, and which class is which.

Order matters where there are two classes: the first is the negative one (healthy, stable), the second is what a
probability, a sensitivity and a predictive value are about.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from catenary.data.cases import Case
from catenary.data.description import Description
from catenary.data.labels import LabelSet
from catenary.data.pairs import SPLITS, Found, finding, is_mask_name, natural
from catenary.data.tables import read_rows
from catenary.errors import ConfigError, DataError, near_match
from catenary.io import find_images, stem

__all__ = ["class_folders", "class_labels", "grape", "in_class_order", "without_class"]

#: Words for the absence of what is looked for, anywhere in a class's name, and at its beginning.
_NEGATIVE = frozenset((
    "healthy", "normal", "negative", "neg", "none", "control", "controls", "stable", "benign", "absent", "unaffected",
    "false", "0",
))  # fmt: skip
_NOT = frozenset(("no", "non", "not", "without"))
#: Folders of these names, without marks between words, hold no class: images or masks, dates, views, results.
_NO_CLASS = re.compile(
    r"(?:images?|imgs?|inputs?|pictures|photos|masks?|labels?|annotations?|segmentations?|segs?|gts?|groundtruths?"
    r"|targets?|instances|overlays?|previews?|thumbnails?|predictions?|pre|post|before|after)(?:tr|ts|train|test|val)?"
)
#: Folders below the root that are looked into: part, source, class.
_DEEP = 4
#: Columns of a GRAPE table, any of which marks an eye as progressing.
_PROGRESS = ("PLR2", "PLR3", "MD")


def in_class_order(names: Sequence[str]) -> tuple[str, ...]:
    """Class names with those that sound negative first, the others in natural order.

    >>> in_class_order(["glaucoma", "healthy"]), in_class_order(["no_dr", "mild", "severe", "mild"])
    (('healthy', 'glaucoma'), ('no_dr', 'mild', 'severe'))
    >>> in_class_order(["a", "non-a"]), in_class_order(["10", "9"]), in_class_order(["normal tension", "normal"])
    (('non-a', 'a'), ('9', '10'), ('normal', 'normal tension'))
    """

    def rank(name: str) -> int:
        words = re.split(r"[_\-. ]+", name.lower())
        if name.lower() in _NEGATIVE | _NOT:
            return 0
        return 1 if _NEGATIVE & set(words) or words[0] in _NOT or words[0].startswith("non") else 2

    return tuple(sorted(dict.fromkeys(names), key=lambda name: (rank(name), natural(name), name)))


def class_labels(
    cases: Sequence[Case], found: Sequence[str], described: Description, classes: Sequence[str] | None = None
) -> tuple[list[Case], LabelSet]:
    """The cases with the index of their class, and the classes: as stated, else as they were found.

    Args:
        cases: Their labels count along `found`.
        found: Classes as the layout found them.
        described: The content of ``dataset.toml``: names in their order, and the number of each where a table holds
            numbers.
        classes: Names that count more than those.

    Raises:
        ConfigError: What is stated makes no label set.
        DataError: An image is of a class that is not stated, or all are of one.
    """
    names = tuple(classes or described.classes or (entry.name for entry in described.entries)) or tuple(found)
    entries = () if classes or described.classes else described.entries
    values = tuple(index if entry.value is None else entry.value for index, entry in enumerate(entries))
    place = {str(value): index for index, value in enumerate(described.values or values or range(len(names)))}
    place |= {name.casefold(): index for index, name in enumerate(names)}
    for name in found:
        if name.casefold() not in place:
            raise DataError(
                f"images are of the class '{name}', which is not among the stated {', '.join(names)}; "
                f"{near_match(name, names)}; name every class, the negative one too"
            )
    if len(names) == 1:
        raise DataError(
            f"all {len(cases)} images are of the class '{names[0]}'; add images of another, or name the classes "
            'in dataset.toml: classes = ["negative", "positive"]'
        )
    try:
        labels = LabelSet(names=names, scope="image")
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"the classes do not fit together: {what}") from None
    index = [place[name.casefold()] for name in found]
    return [case if case.label is None else replace(case, label=index[case.label]) for case in cases], labels


def class_folders(root: Path) -> Found | None:
    """A folder for each class, ``healthy/x.jpg`` and ``glaucoma/y.jpg``.

    Folders above them are parts (``train/``, ``val/``, ``test/``) or sources (``clinic_a/healthy/x.jpg``).
    """
    files = [file for file in find_images(root, depth=_DEEP) if file.parent != root]
    ways = {file: file.relative_to(root).parts[:-1] for file in files}
    plain = {re.sub(r"[_\-. ]", "", part.lower()) for way in ways.values() for part in way}
    held = Counter(way[-1] for way in ways.values())
    few = len(held) > 2 and len(files) <= 2 * len(held)  # a folder a case, rather
    if len(held) < 2 or few or any(_NO_CLASS.fullmatch(part) for part in plain):
        return None
    if any(name.lower() in SPLITS for name in held):
        return None
    names = in_class_order([*held])
    found = Found(layout=f"class folders ({', '.join(names)})", scope="image", classes=names)
    above = {file: [part for part in way[:-1] if part.lower() not in SPLITS] for file, way in ways.items()}
    depths = {len(parts) for parts in above.values()}
    if len(depths) > 1 or any(part in held for parts in above.values() for part in parts):
        text = "folders of images lie at different depths, so that the class of some is not clear"
        unclear = sorted({"/".join(way) for way in ways.values()}, key=natural)
        found.findings.append(finding("error", "class-folders", text, "keep all classes on one level", unclear))
        return found
    drawn = [file for file in files if is_mask_name(stem(file))]
    if drawn:
        text = f"{len(drawn)} files within class folders are named like masks and are left out"
        remedy = "keep masks elsewhere, or pair them in a manifest.csv to segment"
        found.findings.append(finding("warning", "masks-in-classes", text, remedy, [file.name for file in drawn]))
    for file in sorted(set(files) - set(drawn), key=lambda file: natural(str(file))):
        split = next((SPLITS[part.lower()] for part in ways[file] if part.lower() in SPLITS), None)
        label, source = names.index(ways[file][-1]), "/".join(above[file])
        found.cases.append(Case(name=stem(file), images=(file,), mask=None, split=split, label=label, source=source))
    return found


def grape(root: Path) -> Found | None:
    """GRAPE (Huang 2023): ``baseline.csv``, ``follow_up.csv`` and photographs of the disc, several of each eye.

    A case is a photograph. It is ``progressing`` when ``baseline.csv`` marks its eye by PLR2, PLR3 or MD, else
    ``stable``; the label says what the eye did over all its visits, so a photograph of a late visit is no forecast.
    The group is the subject, with both eyes.

    Raises:
        DataError: A table cannot be read.
    """
    tables = [root / "baseline.csv", root / "follow_up.csv"]
    if not tables[0].is_file():
        return None
    eyes = read_rows(tables[0])
    if not {"Subject Number", "Laterality", "Corresponding CFP", *_PROGRESS} <= eyes[0].keys():
        return None
    found = Found(layout="GRAPE", scope="image", classes=("stable", "progressing"), cut="close-up")
    marks = {_eye(row): {row[column] for column in _PROGRESS} for row in eyes}
    photos: dict[str, Path] = {}
    for file in sorted(find_images(root, depth=2), key=lambda file: natural(str(file))):
        photos.setdefault(file.name, file)
    owner = {row["Corresponding CFP"]: _eye(row) for row in eyes}
    if tables[1].is_file():
        owner |= {row.get("Corresponding CFP", ""): _eye(row) for row in read_rows(tables[1])}
    for name in (name for name in owner if name in photos):
        label = int("1" in marks[owner[name]]) if marks.get(owner[name], {""}) <= {"0", "1"} else None
        found.cases.append(
            Case(name=stem(photos[name]), images=(photos[name],), mask=None, group=owner[name][0], label=label)
        )
    without_class(found)
    alone = [name for name in photos if name not in owner]
    if alone:
        text = f"{len(alone)} photographs are named in no row of baseline.csv and follow_up.csv and are left out"
        found.findings.append(finding("warning", "no-label", text, "correct 'Corresponding CFP'", alone))
    return found


def without_class(found: Found) -> None:
    """Leave the cases out that have no class, and say so."""
    names = [case.name for case in found.cases if case.label is None]
    if names:
        text = f"{len(names)} images have no class and are left out"
        found.findings.append(finding("warning", "no-label", text, "give each a class, or ignore this", names))
        found.cases[:] = [case for case in found.cases if case.label is not None]


def _eye(row: dict[str, str]) -> tuple[str, str]:
    return row.get("Subject Number", ""), row.get("Laterality", "")
