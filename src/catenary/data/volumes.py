"""Layouts of scans: the Medical Segmentation Decathlon's and nnU-Net's, and a folder for each case as in BraTS."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from catenary.data.cases import Case
from catenary.data.pairs import SPLITS, Found, finding, is_mask_name, natural, report_alone, split_of
from catenary.errors import DataError
from catenary.io import ending, find_images, is_series, stem

__all__ = ["SEQUENCES", "case_folders", "decathlon", "files_of_cases"]

#: Sequences of MRI, in the order of their channels, and the words in names of files that tell them; the first counts.
SEQUENCES: dict[str, tuple[str, ...]] = {
    "flair": ("flair", "t2f"),
    "t1c": ("t1c", "t1ce", "t1gd", "t1post", "t1wce"),
    "t1": ("t1", "t1n", "t1w"),
    "t2": ("t2", "t2w"),
    "adc": ("adc",),
    "dwi": ("dwi",),
    "swi": ("swi",),
    "ct": ("ct",),
    "pet": ("pet",),
}
#: Words for the file of labels, beside those of `is_mask_name`.
_LABELS = ("ot", "otmulticlass", "truth", "seg", "label", "labels", "segmentation")
#: Words for a mask of the whole brain, which is neither a sequence nor labels.
_BRAINS = ("brainmask", "maskbrain")
#: Endings of pictures, which do not make a folder a case.
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
#: Folders below the data set within which folders of cases may lie (``HGG/case``, ``Training/HGG/case``).
_DEEP = 3


@dataclass(kw_only=True)
class _Parts:
    """The files of one case: an image a sequence, and the labels."""

    name: str
    mask: Path | None
    split: str | None = None
    images: dict[str, Path] = field(default_factory=dict)


def decathlon(root: Path) -> Found | None:
    """Scans ``imagesTr/X.nii.gz`` with ``labelsTr/X.nii.gz``.

    Images of several files are ``X_0000.nii.gz``, ``X_0001.nii.gz`` and so on, one for each channel. ``imagesTs/`` with
    ``labelsTs/`` is the stated test part. ``dataset.json``, of the Medical Segmentation Decathlon or of nnU-Net, gives
    the names of the classes, regions and channels, and the licence.

    Raises:
        DataError: ``dataset.json`` is not valid.
    """
    if not ((root / "imagesTr").is_dir() and (root / "labelsTr").is_dir()):
        return None
    found = Found(layout="imagesTr/ and labelsTr/")
    stated = _stated(root / "dataset.json", found)
    parts: list[_Parts] = []
    without: list[str] = []
    alone: list[str] = []
    tested = (root / "imagesTs").is_dir() and (root / "labelsTs").is_dir()
    for end, split in (("Tr", None), *([("Ts", "test")] if tested else [])):
        masks = {stem(file): file for file in find_images(root / f"labels{end}")}
        cases = _by_channel(find_images(root / f"images{end}"), masks)
        parts += [_Parts(name=n, mask=masks[n], split=split, images=cases[n]) for n in cases if n in masks]
        without += [name for name in cases if name not in masks]
        alone += [masks[name].name for name in masks if name not in cases]
    report_alone(found, without, alone)
    channels = sorted({key for part in parts for key in part.images})
    _stack(found, parts, channels, {key: stated.get(str(int(key)), key) for key in channels})
    if len(channels) == 1:
        found.channel_names = tuple(stated.values())  # one file holds all that is stated
    return found


def case_folders(root: Path) -> Found | None:
    """A folder for each case with its sequences (``flair``, ``t1c``, ..., told by words in the names) and its labels.

    The labels are the file with ``seg``, ``label``, ``truth``, ``OT`` or the like in its name; a mask of the brain and
    what is no scan is passed over. Folders may lie in folders such as ``HGG/`` or ``train/``.
    """
    found = Found(layout="a folder a case")
    parts: list[_Parts] = []
    twice: list[str] = []
    for folder in _folders(root):
        labels, images = _sorted(folder)
        if not images or 1 < len(labels) == len(images):
            continue  # a folder of labels, or of pairs side by side
        part = _Parts(name=folder.name, mask=labels[0] if labels else None, split=split_of(folder, root))
        for sequence, file in images:
            if sequence in part.images or len(labels) > 1:
                twice.append(folder.name)
            part.images.setdefault(sequence, file)
        parts.append(part)
    if not any(part.mask for part in parts):
        return None
    if all(len(part.images) == 1 for part in parts) and len({key for part in parts for key in part.images}) > 1:
        for part in parts:  # one image each, under names of their own
            part.images = {"image": next(iter(part.images.values()))}
    if twice:
        text = "cases have two files of one sequence, or of labels"
        found.findings.append(finding("error", "two-images", text, "keep one of each in the folder", twice))
    report_alone(found, [part.name for part in parts if part.mask is None], [])
    known = list(SEQUENCES)
    every = {key for part in parts for key in part.images}
    order = sorted(every, key=lambda key: (known.index(key) if key in known else len(known), natural(key)))
    _stack(found, [part for part in parts if part.mask is not None], order, {})
    return found


def files_of_cases(folder: Path, channels: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Scans without labels whose channels lie in files of their own: case -> its files, in the order of `channels`.

    Args:
        folder: A case (``BraTS_001/`` with its sequences), a folder of cases, or of ``X_0000``, ``X_0001``, ... files.
        channels: Names of the sequences that are wanted; numbers such as ``"0000"`` where they have none.

    Returns:
        The cases that have all channels; none where the folder holds nothing of the kind.
    """
    wanted = [channel.lower() for channel in channels]
    found: dict[str, tuple[Path, ...]] = {}
    for place in (folder, *_folders(folder)):
        files = {sequence.lower(): file for sequence, file in _sorted(place)[1]}
        if wanted and all(channel in files for channel in wanted):
            found[place.resolve().name] = tuple(files[channel] for channel in wanted)
    if found:
        return found
    numbered = _by_channel(find_images(folder), {})
    cases = {name: parts for name, parts in numbered.items() if len(parts) == len(wanted) > 1}
    return {name: tuple(parts[number] for number in sorted(parts)) for name, parts in cases.items()}


def sequence_of(name: str, folder: str = "") -> str:
    """What the name of a scan says that it is: a sequence, ``"label"``, ``"brain"``, or else the name in small letters.

    Args:
        name: Of the file, without its ending.
        folder: Of its folder, which is often the beginning of the name and then says nothing.

    >>> sequence_of("BraTS20_007_t1ce", "BraTS20_007"), sequence_of("VSD.Brain.XX.O.MR_Flair.54512")
    ('t1c', 'flair')
    >>> sequence_of("OTMultiClass"), sequence_of("brainmask"), sequence_of("Perfusion")
    ('label', 'brain', 'perfusion')
    """
    rest = name[len(folder) :] if folder and name.startswith(folder) and name != folder else name
    words = [word for word in re.split(r"[^a-z0-9]+", rest.lower()) if word]
    joined = {*words, *(a + b for a, b in pairwise(words))}
    if joined.intersection(_BRAINS):
        return "brain"
    if is_mask_name(rest) or joined.intersection(_LABELS):
        return "label"
    found = (sequence for sequence, known in SEQUENCES.items() if joined.intersection(known))
    return next(found, "_".join(words) or name.lower())


def _folders(place: Path, depth: int = _DEEP) -> Iterator[Path]:
    """Folders that hold scans and do not only name a part of the division, at any depth that is looked at."""
    for folder in sorted((f for f in place.iterdir() if f.is_dir()), key=lambda f: natural(f.name)):
        if folder.name.startswith(".") or is_series(folder):
            continue
        if folder.name.lower() not in SPLITS and _scans(folder):
            yield folder
        elif depth > 1:
            yield from _folders(folder, depth - 1)


def _scans(folder: Path) -> list[Path]:
    return [file for file in find_images(folder) if ending(file) not in _PICTURES or file.is_dir()]


def _sorted(folder: Path) -> tuple[list[Path], list[tuple[str, Path]]]:
    """The labels, and the images with their sequences."""
    files = [(sequence_of(stem(file), folder.name), file) for file in _scans(folder)]
    labels = [file for sequence, file in files if sequence == "label"]
    return labels, [(sequence, file) for sequence, file in files if sequence not in ("label", "brain")]


def _by_channel(images: Sequence[Path], masks: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Case -> channel ``0000``, ... -> file. A name that a label has too is a case's own, not one with a channel."""
    cases: dict[str, dict[str, Path]] = {}
    bare = any(stem(file) in masks for file in images)
    for file in sorted(images, key=lambda f: natural(f.name)):
        match = None if bare else re.fullmatch(r"(.+)_(\d{4})", stem(file))
        name, channel = (match[1], match[2]) if match else (stem(file), "0000")
        cases.setdefault(name, {})[channel] = file
    return cases


def _stack(found: Found, parts: Sequence[_Parts], order: Sequence[str], names: Mapping[str, str]) -> None:
    """Add the cases that have all sequences which most cases have, and say what is left out.

    Args:
        order: All sequences, in the order of their channels.
        names: What they are called, where that is something else.
    """
    held = Counter(frozenset(part.images) for part in parts)
    if not held:
        return
    holders = {some: sum(count for other, count in held.items() if some <= other) for some in held}
    largest = sorted(held, key=lambda some: (-len(some), -holders[some]))
    used = next((some for some in largest if 2 * holders[some] > len(parts)), frozenset.intersection(*held))
    chosen = [key for key in order if key in used]
    told = [names.get(key, key) for key in chosen]
    lacking = []
    for part in parts:
        absent = [names.get(key, key) for key in chosen if key not in part.images]
        lacking += [f"{part.name} ({', '.join(absent)})"] if absent else []
        if not absent and chosen:
            files = tuple(part.images[key] for key in chosen)
            found.cases.append(Case(name=part.name, images=files, mask=part.mask, split=part.split))
    if lacking:
        text = f"{len(lacking)} of {len(parts)} cases lack a sequence that the others have, and are left out"
        remedy = "add the missing files, or take that sequence out of all cases"
        found.findings.append(finding("warning", "missing-sequences", text, remedy, lacking))
    spare = [f"{names.get(key, key)} (in {sum(key in p.images for p in parts)})" for key in order if key not in used]
    if spare:
        text = f"sequences that most of the {len(parts)} cases lack are not used, only {', '.join(told) or 'none'}"
        remedy = "add the missing files if these sequences are wanted"
        found.findings.append(finding("warning" if chosen else "error", "unused-sequences", text, remedy, spare))
    found.channel_names = tuple(told)


# --- dataset.json


def _stated(path: Path, found: Found) -> dict[str, str]:
    """Names of the channels by their numbers; classes, regions and licence go to `found`."""
    if not path.is_file():
        return {}
    try:
        record: Any = json.loads(path.read_text("utf-8-sig"))
        labels, channels = record.get("labels", {}), record.get("channel_names", record.get("modality", {}))
        if labels:
            _classes(found, labels, record.get("regions_class_order"))
        found.licence = str(record.get("licence", record.get("license", "")))
        return {str(int(key)): str(name) for key, name in channels.items()}
    except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is no description of a data set ({error}); correct or remove it") from error


def _classes(found: Found, labels: Mapping[str, Any], order: Sequence[int] | None) -> None:
    """Classes and regions of either flavour: ``{"0": "background"}``, or ``{"background": 0, "whole": [1, 2]}``."""
    if all(key.isdecimal() for key in labels):
        labels = {str(name): int(key) for key, name in labels.items()}
    sets = {name: tuple(map(int, v)) if isinstance(v, list) else (int(v),) for name, v in labels.items()}
    ignore = sets.pop("ignore", None)
    found.ignore = ignore[0] if ignore else None
    alone = {values[0]: name for name, values in sets.items() if len(values) == 1}
    found.values = tuple(sorted({0, *(value for values in sets.values() for value in values)}))
    found.classes = tuple(alone.get(value, f"class {value}" if value else "background") for value in found.values)
    index = {value: i for i, value in enumerate(found.values)}
    if any(len(values) > 1 for values in sets.values()):
        regions = {name: values for name, values in sets.items() if 0 not in values}
        painted = list(order or [])
        for place, (name, values) in enumerate(regions.items()):
            # A region is painted with its first class that no later one holds, so that one has to come first.
            first = [painted[place]] if place < len(painted) and painted[place] in values else []
            found.regions[name] = tuple(index[v] for v in (*first, *(v for v in values if v not in first)))
