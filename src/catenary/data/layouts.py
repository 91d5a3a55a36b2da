"""From a folder to a data set: which files belong together.

`LAYOUTS` is tried in its order; one line adds a layout.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from catenary.data.cases import Case, Dataset
from catenary.data.findings import Finding
from catenary.data.guess import work_out
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, DataError, near_match
from catenary.io import IMAGE_SUFFIXES
from catenary.types import Grid

__all__ = ["LAYOUTS", "open_dataset"]

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "inputs", "input")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "segmentations", "gt", "groundtruth", "ground_truth")
MASK_MARKS = re.compile(r"([_\-. ](masks?|seg|segmentation|labels?|gt|annotation))$", re.IGNORECASE)
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NAMED = 5


@dataclass
class Found:
    """Pairs that a layout found."""

    layout: str
    cases: list[Case] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class ClassEntry(BaseModel):
    """One class in ``dataset.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: int | None = None
    colour: tuple[int, int, int] | None = None


class Description(BaseModel):
    """The content of ``dataset.toml``; everything in it is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    licence: str = ""
    classes: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    class_: tuple[ClassEntry, ...] = ()
    encoding: str = ""
    ignore: int | None = None
    ignore_colour: tuple[int, int, int] | None = None
    spacing: tuple[float, float] | None = None
    unit: str | None = None
    group: str | None = None
    regions: dict[str, tuple[int, ...]] = {}


def open_dataset(path: str | Path, *, group: str | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """Find pairs of images and masks, their classes and groups.

    Understands a ``manifest.csv`` (any image columns, ``mask``, optional ``name``, ``group``, ``split``), ISIC pairs
    (``x.jpg`` with ``x_segmentation.png``), and ``images/`` beside ``masks/``, also within ``train/``, ``val/``,
    ``test/``. A ``dataset.toml`` beside them may say ``name``, ``licence``, ``classes``, ``values``, ``[[class]]``
    (name, value or colour), ``ignore``, ``spacing``, ``unit``, ``group``, ``regions``.

    Args:
        path: The folder, or the manifest itself.
        group: Regular expression on case names; its first group (or the whole match) is the case's group.
        classes: Class names, background first or left out.

    Raises:
        DataError: Nothing in the folder can be understood.
        ConfigError: ``dataset.toml`` or `group` is not valid.
    """
    root, manifest = _root(Path(path))
    described = _description(root)
    found: Found | None = None
    if manifest is not None:
        found = _manifest(root, manifest)
    else:
        for detect in LAYOUTS.values():
            found = detect(root)
            if found is not None:
                break
    if found is None or not any(case.mask for case in found.cases):
        raise DataError(
            f"no pairs of images and masks were found in {root}; give a folder with images/ and masks/, ISIC pairs "
            "(x.jpg and x_segmentation.png), or a manifest.csv with the columns image and mask"
        )
    cases = _grouped(found.cases, group or described.group)
    masks = [case.mask for case in cases if case.mask is not None]
    labels, noticed = _labels(masks, classes or described.classes or None, described)
    return Dataset(
        root=root,
        name=described.name or root.resolve().name,
        layout=found.layout,
        cases=tuple(sorted(cases, key=lambda case: natural(case.name))),
        labels=labels,
        grid=Grid(spacing=described.spacing, unit=described.unit),
        licence=described.licence,
        findings=(*found.findings, *noticed),
    )


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key in which ``x2`` comes before ``x10``.

    >>> sorted(["x10", "x2", "a"], key=natural)
    ['a', 'x2', 'x10']
    """
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]


def _root(path: Path) -> tuple[Path, Path | None]:
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise DataError(f"{path} is a file; give the folder of the data set, or a manifest in CSV")
        return path.parent, path
    if not path.exists():
        raise DataError(f"there is no folder {path}; check the name")
    try:
        if not any(path.iterdir()):
            raise DataError(f"the folder {path} is empty; put images/ and masks/ into it")
    except PermissionError:
        raise DataError(f"the folder {path} cannot be read; check its rights") from None
    return path, None


def _manifest_layout(root: Path) -> Found | None:
    path = root / "manifest.csv"
    return _manifest(root, path) if path.is_file() else None


def _manifest(root: Path, path: Path) -> Found:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); save it as UTF-8 with a header row") from error
    if not rows:
        raise DataError(f"{path} has no rows; give one row a case with the columns image and mask")
    columns = [name for name in rows[0] if name]
    if "mask" not in columns:
        raise DataError(f"{path} has no column 'mask', found {', '.join(columns)}; name the column of the masks so")
    known = {"mask", "group", "split", "name"}
    images = [c for c in columns if c not in known and Path(rows[0][c] or "").suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(f"{path} has no column of image files, found {', '.join(columns)}; add a column 'image'")
    found = Found(layout="manifest.csv")
    missing: list[str] = []
    for row in rows:
        files = tuple(root / (row[column] or "") for column in images)
        mask = root / row["mask"] if row["mask"] else None
        absent = [f for f in (*files, mask) if f is not None and not f.is_file()]
        if absent:
            missing += [str(f.relative_to(root)) for f in absent]
            continue
        split = SPLITS.get((row.get("split") or "").strip().lower()) if row.get("split") else None
        if row.get("split") and split is None:
            raise DataError(f"{path} names the split '{row['split']}'; use train, val or test")
        name = row.get("name") or files[0].stem
        found.cases.append(Case(name=name, images=files, mask=mask, group=row.get("group") or "", split=split))
    if missing:
        found.findings.append(
            _finding(
                "error", "missing-files", f"{path.name} names files that are not there", "correct the names", missing
            )
        )
    _unique(found)
    return found


def _isic_layout(root: Path) -> Found | None:
    files = _files(root, depth=2)
    masks = {f.stem[: -len("_segmentation")]: f for f in files if f.stem.lower().endswith("_segmentation")}
    images = [f for f in files if f.suffix.lower() in (".jpg", ".jpeg", ".png") and "superpixels" not in f.stem]
    pairs = [f for f in images if f.stem in masks and f != masks[f.stem]]
    if not pairs:
        return None
    found = Found(layout="ISIC pairs")
    for f in pairs:
        mask = masks.pop(f.stem)
        found.cases.append(Case(name=f.stem, images=(f,), mask=mask, split=_split_of(f, root)))
    alone = [
        f.stem for f in images if f.stem not in {c.name for c in found.cases} and not f.stem.endswith("_segmentation")
    ]
    _report_alone(found, alone, sorted(masks))
    _unique(found)
    return found


def _folders_layout(root: Path) -> Found | None:
    places = [(root, None), *((d, SPLITS[d.name.lower()]) for d in _folders(root) if d.name.lower() in SPLITS)]
    found = Found(layout="images/ and masks/")
    for place, split in places:
        images, masks = _named(place, IMAGE_FOLDERS), _named(place, MASK_FOLDERS)
        if images is not None and masks is not None:
            _pair(found, images, masks, split)
    return found if found.cases or found.findings else None


LAYOUTS: dict[str, Callable[[Path], Found | None]] = {
    "manifest.csv": _manifest_layout,
    "ISIC pairs": _isic_layout,
    "images/ and masks/": _folders_layout,
}


def _pair(found: Found, images: Path, masks: Path, split: str | None) -> None:
    by_key: dict[str, list[Path]] = defaultdict(list)
    for mask in _files(masks, depth=1):
        by_key[_key(mask)].append(mask)
    pictures: dict[str, list[Path]] = defaultdict(list)
    for image in _files(images, depth=1):
        pictures[image.stem].append(image)
    twice = [stem for stem, files in pictures.items() if len(files) > 1]
    if twice:
        found.findings.append(
            _finding("error", "two-images", "several images have one name and one mask", "keep one of them", twice)
        )
    used, alone, doubled = set(), [], []
    for stem, files in pictures.items():
        mask_key = stem if stem in by_key else stem.removesuffix("_image").removesuffix("_img")
        candidates = by_key.get(mask_key, [])
        exact = [m for m in candidates if m.stem == stem]
        candidates = exact if len(exact) == 1 else candidates
        if len(candidates) > 1:
            doubled.append(stem)
        if not candidates:
            alone.append(stem)
            continue
        used.add(mask_key)
        found.cases.append(Case(name=stem, images=(files[0],), mask=candidates[0], split=split))
    if doubled:
        found.findings.append(
            _finding("error", "two-masks", "an image has more than one mask", "keep one of them", doubled)
        )
    _report_alone(found, alone, sorted(set(by_key) - used))
    _unique(found)


def _report_alone(found: Found, images: Sequence[str], masks: Sequence[str]) -> None:
    if images:
        found.findings.append(
            _finding(
                "warning", "no-mask", "images have no mask and are left out", "add their masks, or ignore this", images
            )
        )
    if masks:
        found.findings.append(
            _finding(
                "warning", "no-image", "masks have no image and are left out", "add the images, or ignore this", masks
            )
        )


def _unique(found: Found) -> None:
    """Case names must be unique; the folder's name makes them so."""
    counts: dict[str, int] = defaultdict(int)
    for case in found.cases:
        counts[case.name] += 1
    if max(counts.values(), default=0) > 1:
        found.cases[:] = [
            Case(
                name=f"{case.images[0].parent.parent.name}/{case.name}" if counts[case.name] > 1 else case.name,
                images=case.images,
                mask=case.mask,
                group=case.group,
                split=case.split,
            )
            for case in found.cases
        ]
    names = [case.name for case in found.cases]
    again = sorted({name for name in names if names.count(name) > 1})
    if again:
        found.findings.append(
            _finding("error", "same-name", "several cases have one name", "add a column 'name' or rename files", again)
        )
        seen: set[str] = set()
        found.cases[:] = [c for c in found.cases if not (c.name in seen or seen.add(c.name))]  # type: ignore[func-returns-value]


def _finding(level: str, code: str, message: str, remedy: str, names: Sequence[str]) -> Finding:
    told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return Finding(level=level, code=code, message=f"{message}: {told}", remedy=remedy, cases=tuple(names))  # type: ignore[arg-type]


def _grouped(cases: Iterable[Case], pattern: str | None) -> list[Case]:
    if pattern is None:
        return [_with_group(case, case.group or case.name) for case in cases]
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"the group pattern '{pattern}' is not a regular expression ({error}); correct it") from error
    grouped, unmatched = [], []
    for case in cases:
        match = regex.search(case.name)
        if match is None:
            unmatched.append(case.name)
            continue
        grouped.append(_with_group(case, match.group(1) if regex.groups else match.group(0)))
    if unmatched:
        raise ConfigError(
            f"the group pattern '{pattern}' does not match {len(unmatched)} case names, the first is '{unmatched[0]}'; "
            "correct the pattern"
        )
    return grouped


def _with_group(case: Case, group: str) -> Case:
    return Case(name=case.name, images=case.images, mask=case.mask, group=group, split=case.split)


def _labels(
    masks: Sequence[Path], classes: Sequence[str] | None, described: Description
) -> tuple[LabelSet, tuple[Finding, ...]]:
    entries = described.class_
    try:
        if entries and all(entry.colour is not None for entry in entries):
            found, noticed = work_out(masks)
            colours = tuple(entry.colour for entry in entries if entry.colour is not None)
            names = tuple(entry.name for entry in entries)
            if described.encoding == "painted" or found.encoding == "painted":
                kept = {"encoding": "painted", "names": ("background", *names), "colours": ((0, 0, 0), *colours)}
                if names[0] == "background":
                    kept |= {"names": names, "colours": colours}
            else:
                kept = {"encoding": "colour", "names": names, "colours": colours}
            labels = LabelSet(**kept, ignore_colour=described.ignore_colour, regions=described.regions)
            return labels, noticed
        if entries:
            classes = tuple(entry.name for entry in entries)
            values = tuple(index if entry.value is None else entry.value for index, entry in enumerate(entries))
        else:
            values = described.values
        if classes and values:
            labels = LabelSet(names=tuple(classes), values=values, ignore=described.ignore, regions=described.regions)
            return labels, ()
        labels, noticed = work_out(masks, classes, ignore=described.ignore)
        return LabelSet(**(labels.model_dump() | {"regions": described.regions})), noticed
    except ValidationError as error:
        raise ConfigError(f"dataset.toml: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _description(root: Path) -> Description:
    path = root / "dataset.toml"
    if not path.is_file():
        return Description()
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); correct it or remove it") from error
    if "class" in data:
        data["class_"] = data.pop("class")
    known = {name.rstrip("_"): info for name, info in Description.model_fields.items()}
    for key in data:
        if key.rstrip("_") not in known:
            raise ConfigError(f"{path} has the unknown key '{key}'; {near_match(key, known)}")
    try:
        return Description.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]).replace("class_", "class")
        raise ConfigError(f"{path}: {where}: {first['msg']}; correct it") from None


def _files(folder: Path, *, depth: int) -> list[Path]:
    patterns = ["*", "*/*"][:depth]
    files = [f for pattern in patterns for f in folder.glob(pattern)]
    return sorted(
        (f for f in files if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file() and not f.name.startswith(".")),
        key=lambda f: natural(f.name),
    )


def _folders(root: Path) -> list[Path]:
    return sorted(d for d in root.iterdir() if d.is_dir())


def _named(place: Path, names: Sequence[str]) -> Path | None:
    for folder in _folders(place):
        if folder.name.lower() in names:
            return folder
    return None


def _key(mask: Path) -> str:
    return MASK_MARKS.sub("", mask.stem)


def _split_of(path: Path, root: Path) -> str | None:
    for part in path.relative_to(root).parts[:-1]:
        for word in re.split(r"[_\-. ]", part.lower()):
            if word in SPLITS:
                return SPLITS[word]
    return None
