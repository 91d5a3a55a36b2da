"""Layouts of georeferenced scenes: pairs of dates, or one date, with labels as polygons or rasters.

A scene that is larger than a window is cut into windows of nearly one size, each a case; the scene is their group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from catenary.data.cases import Case
from catenary.data.description import Description, read_description
from catenary.data.encoding import histogram
from catenary.data.findings import Finding
from catenary.data.pairs import Found, finding, natural, report_alone
from catenary.data.windows import TIFF, Sources, Window, dates, label_raster, polygons, read_scene
from catenary.errors import ConfigError, DataError, InputError
from catenary.io import read_mask
from catenary.io.polygons import DAMAGE
from catenary.io.vectors import VECTOR_SUFFIXES
from catenary.types import IGNORE

__all__ = ["one_date", "pairs_of_dates", "sources_of"]

#: Stems of a file of labels for all images; the earlier one wins.
_LABELS = ("labels", "buildings")
#: A scene that stands alone is divided into at least so many blocks along its longer side, of at most so many windows.
_BLOCKS, _MOST = 3, 4
#: Rows and columns of a raster of labels that are counted together.
_BAND = 2048


def pairs_of_dates(root: Path) -> Found | None:
    """Scenes ``pre/X.tif`` and ``post/X.tif`` (or one, ``pre.tif`` and ``post.tif``) with their labels.

    Labels are ``labels/X``, or one file ``labels`` or ``buildings`` for all, as polygons (``.gpkg``, ``.fgb``,
    ``.geojson``, ``.shp``) or a raster (``.tif``, ``.png``). A case's image holds the bands before, then those after,
    on the grid of those before.

    Raises:
        DataError: There are such scenes with labels, and none can be used.
        ConfigError: ``dataset.toml`` is not valid, or names labels that are not there.
    """
    single = _tiffs(root)
    if "pre" in single and "post" in single:
        before, after = {"scene": single["pre"]}, {"scene": single["post"]}
    else:
        before, after = _tiffs(root / "pre"), _tiffs(root / "post")
    if not before or not after:
        return None
    found = Found(layout="pre and post")
    alone = [file.name for stem, file in (before | after).items() if not (stem in before and stem in after)]
    if alone:
        text = "rasters have none of the same name at the other date, and are left out"
        found.findings.append(finding("warning", "unpaired", text, "rename them, or add what is missing", alone))
    both = {stem: (before[stem], after[stem]) for stem in before if stem in after}
    _with_labels(root, found, both, (*VECTOR_SUFFIXES, *TIFF, ".png"))
    return found


def one_date(root: Path) -> Found | None:
    """``images/X.tif``, georeferenced, with polygons in one file ``labels`` or ``buildings``, or in ``labels/X``.

    Raises:
        DataError: There are such images with labels, and none can be used.
        ConfigError: ``dataset.toml`` is not valid, or names labels that are not there.
    """
    found = Found(layout="images/ and polygons")
    _with_labels(root, found, {stem: (file,) for stem, file in _tiffs(root / "images").items()}, VECTOR_SUFFIXES)
    return found if found.cases else None


def sources_of(described: Description) -> Sources:
    """What ``dataset.toml`` says about georeferenced files."""
    return Sources(
        crs=(described.pre_crs, described.post_crs),
        labels_crs=described.labels_crs,
        layer=described.layer,
        column=described.column,
        grades=tuple(described.grades.items()),
    )


def _with_labels(root: Path, found: Found, scenes: Mapping[str, tuple[Path, ...]], suffixes: Sequence[str]) -> None:
    """Add the windows of all scenes that have labels and can be opened, and the classes of the labels."""
    described = read_description(root)
    sources = sources_of(described)
    labels = _labels(root, described, list(scenes), suffixes)
    report_alone(found, [stem for stem in scenes if stem not in labels], [])
    meanings: dict[Path, Mapping[int, str]] = {}
    used: list[str] = []
    for stem in sorted(labels, key=natural):
        try:
            if labels[stem] not in meanings:
                meanings[labels[stem]] = _meanings(labels[stem], sources, found)
            scene = Case(name=stem, images=scenes[stem], mask=labels[stem], disaster=_disaster(described, stem))
            cases = _windows(scene, sources, described.window)
        except InputError as error:
            message, _, remedy = str(error).rpartition("; ")
            found.findings.append(
                Finding(level="error", code="unusable-scene", message=message, remedy=remedy, cases=(stem,))
            )
            continue
        found.cases += cases
        used.append(stem)
    if labels and not used:
        first = next(f for f in found.findings if f.code == "unusable-scene")
        raise DataError(f"{first.message}; {first.remedy}")
    names = {value: name for meaning in meanings.values() for value, name in meaning.items()}
    values = sorted(names.keys() - {0, IGNORE}) or [IGNORE if IGNORE in names else 1]
    words = {value: word for word, value in DAMAGE.items()} if values[-1] <= 4 and values != [1] else {}
    other = "building" if len(values) == 1 else "class {}"
    found.values = (0, *values)
    found.classes = ("background", *(names.get(v) or words.get(v) or other.format(v) for v in values))
    found.ignore = -1 if IGNORE in values else IGNORE
    if len(used) == 1 and len(found.cases) > 1:
        _divide(found, used[0])


def _disaster(described: Description, scene: str) -> str:
    told = described.disaster
    return told if isinstance(told, str) else told.get(scene, "")


def _labels(root: Path, described: Description, stems: Sequence[str], suffixes: Sequence[str]) -> dict[str, Path]:
    """The file of labels of each scene that has one."""
    place = root / (described.labels or "labels")
    if described.labels and not place.exists():
        raise ConfigError(f"dataset.toml names the labels '{described.labels}' and they are not there; correct it")
    if place.is_file():
        return dict.fromkeys(stems, place)
    shared = [root / f"{name}{suffix}" for name in _LABELS for suffix in suffixes if not described.labels]
    choices = {stem: [*(place / f"{stem}{suffix}" for suffix in suffixes), *shared] for stem in stems}
    chosen = {stem: next((file for file in files if file.is_file()), None) for stem, files in choices.items()}
    return {stem: file for stem, file in chosen.items() if file is not None}


def _windows(scene: Case, sources: Sources, side: int) -> list[Case]:
    """The parts of a scene in which some pixel is valid in all dates.

    Raises:
        InputError: A file cannot be opened or placed on earth, or no pixel is.
    """
    shape = dates(scene.images, sources)[0].shape
    rows, columns = (np.linspace(0, n, math.ceil(n / side) + 1).round().astype(int).tolist() for n in shape)
    cases = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            window = (top, left, bottom - top, right - left)
            if _holds_data(scene, window, sources):
                name = scene.name if len(rows) == len(columns) == 2 else f"{scene.name}_{top}_{left}"
                cases.append(replace(scene, name=name, window=window))
    if not cases:
        what = "pixels in common" if len(scene.images) > 1 else "pixels that hold data"
        raise InputError(f"the images of '{scene.name}' have no {what}; check their CRS and their no-data value")
    return cases


def _holds_data(scene: Case, window: Window, sources: Sources) -> bool:
    """Whether some pixel of a window is valid in all dates; the one in its middle mostly tells."""
    row, column, height, width = window
    for part in ((row + height // 2, column + width // 2, 1, 1), window):
        valid = read_scene(scene.images, part, sources).valid
        if valid is None or valid.any():
            return True
    return False


def _divide(found: Found, scene: str) -> None:
    """Give the windows of the only scene groups of their own: blocks of neighbours."""
    windows = [case.window for case in found.cases if case.window is not None]
    tops, lefts = (sorted({window[axis] for window in windows}) for axis in (0, 1))
    side = max(1, min(_MOST, max(len(tops), len(lefts)) // _BLOCKS))
    found.cases[:] = [
        replace(case, group=f"{scene}_{tops.index(window[0]) // side}_{lefts.index(window[1]) // side}")
        for case, window in zip(found.cases, windows, strict=True)
    ]
    blocks = len({case.group for case in found.cases})
    found.findings.append(
        Finding(
            level="warning",
            code="one-scene",
            message=f"all {len(windows)} windows are of one scene, '{scene}': training and test are divided by "
            f"{blocks} blocks of neighbours, which touch one another",
            remedy="a score here does not show how it does elsewhere; add scenes of other places",
        )
    )


def _meanings(path: Path, sources: Sources, found: Found) -> Mapping[int, str]:
    """The values in a file of labels with their names, where it tells them; notes what is wrong with its polygons.

    Raises:
        InputError: It cannot be read, or a grade is not known.
    """
    if path.suffix.lower() in VECTOR_SUFFIXES:
        vectors = polygons(path, sources)
        contents = vectors.contents
        if contents.invalid or contents.empty:
            found.findings.append(
                Finding(
                    level="note",
                    code="odd-polygons",
                    message=f"{path.name} holds {vectors.count} polygons, of which {contents.invalid} cross themselves "
                    f"and are repaired, and {contents.empty} have no area and are left out",
                    remedy="look at them if there are many",
                )
            )
        values = {value or 1 for value in contents.values} - {IGNORE}  # without a grade is the first
        worded = values <= set(vectors.grades.values())  # numbers beyond the words mean something else
        return {value: vectors.name(value) if worded else f"class {value}" for value in values}
    if path.suffix.lower() not in TIFF:
        picture = read_mask(path)
        if picture.ndim != 2:
            raise InputError(f"{path} holds colours; write the labels as numbers, one value a class")
        return dict.fromkeys(histogram(picture), "")
    raster = label_raster(path, sources)
    height, width = raster.shape
    seen: set[int] = set()
    for row in range(0, height, _BAND):
        for column in range(0, width, _BAND):
            size = (min(_BAND, height - row), min(_BAND, width - column))
            seen |= histogram(raster.read(row, column, *size).array).keys()
    return dict.fromkeys(seen, "")


def _tiffs(folder: Path) -> dict[str, Path]:
    """The TIFF files of a folder by their stems."""
    files = sorted(folder.glob("*")) if folder.is_dir() else []
    return {f.stem: f for f in files if f.suffix.lower() in TIFF and not f.name.startswith(".") and f.is_file()}
