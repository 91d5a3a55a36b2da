"""From a folder to a data set: which files belong together.

`LAYOUTS` is tried in its order; one line adds a layout.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from catenary.data.cases import Case, Dataset
from catenary.data.classes import class_folders, class_labels, grape, in_class_order, without_class
from catenary.data.description import Description, describe_labels, read_description
from catenary.data.findings import Finding
from catenary.data.geo import one_date, pairs_of_dates, sources_of
from catenary.data.pairs import (
    SPLITS,
    Found,
    finding,
    is_mask_name,
    make_unique,
    natural,
    pair,
    report_alone,
    split_of,
)
from catenary.data.tables import read_rows
from catenary.data.volumes import case_folders, decathlon
from catenary.data.xbd import xbd_layout
from catenary.errors import CatenaryError, ConfigError, DataError
from catenary.io import IMAGE_SUFFIXES, ending, find_images, orientation, stem
from catenary.types import Grid

__all__ = ["LAYOUTS", "open_dataset"]

#: Names of folders, compared in small letters and without ``_ - .`` and spaces; the earlier name wins.
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "inputs", "input", "pictures", "photos")
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "segmentation", "segs", "seg",
    "gts", "gt", "groundtruths", "groundtruth", "targets", "target",
)  # fmt: skip
UNDERSTOOD = (
    "give a folder with images/ and masks/ (also within train/, val/, test/), ISIC pairs (x.jpg and "
    "x_segmentation.png), scans in imagesTr/ and labelsTr/ or a folder a case, GeoTIFFs in images/ (or pre/ and post/) "
    "with labels.gpkg, a folder for each class of images, or a manifest.csv with the columns image and mask (or image "
    "and label)"
)
#: JPEG headers that are looked at for a camera's orientation.
_LOOKED_AT = 1000


def open_dataset(path: str | Path, *, group: str | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """Find pairs of images and masks, or images with one class each, their classes and groups.

    Understands a ``manifest.csv`` (any image columns, whose channels are stacked; ``mask``, or ``label``, the class of
    the whole image; optional ``name``, ``group``, ``split``, ``source``, ``disaster``), ISIC pairs (``x.jpg`` with
    ``x_segmentation.png``, in one folder or two, also the official training, validation and test folders), ``images/``
    beside ``masks/`` (and many synonyms, also within ``train/``, ``val/``, ``test/`` or with those inside them),
    ``x.png`` beside ``x_mask.png``, scans as the Medical Segmentation Decathlon, nnU-Net and BraTS keep them
    (`catenary.data.volumes`), xBD (pairs of satellite images with their JSON labels), georeferenced scenes of one date
    or two with polygons (`catenary.data.geo`), a folder for each class of whole images, and the tables of GRAPE
    (`catenary.data.classes`). A ``dataset.toml`` beside them may say more, see `catenary.data.description.Description`.

    What is wrong with single files becomes `Dataset.findings`; this raises only when nothing is left.

    Args:
        path: The folder, or the manifest itself.
        group: Regular expression on case names; its first group (or the whole match) is the case's group.
        classes: Class names, background first or left out; of whole images all of them, the negative one first.

    Raises:
        DataError: Nothing in the folder can be understood.
        ConfigError: ``dataset.toml``, `group` or `classes` is not valid.
    """
    root, manifest = _root(Path(path))
    described = read_description(root)
    try:
        found = _manifest(root, manifest) if manifest else _detect(root)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read ({error.strerror}); check its rights") from error
    make_unique(found, root)
    if found.scope == "pixel":
        described, classes = _stated(found, described, classes)
    cases = sorted(_grouped(found.cases, group or described.group), key=lambda case: natural(case.name))
    noticed: tuple[Finding, ...] = ()
    if found.scope == "image":
        cases, labels = class_labels(cases, found.classes, described, classes)
    else:
        labels, said = describe_labels([case.mask for case in cases if case.mask is not None], described, classes)
        noticed = (*said, *_turned(cases))
    dataset = Dataset(
        root=root,
        name=described.name or root.resolve().name,
        layout=found.layout,
        cases=tuple(cases),
        labels=labels,
        licence=described.licence or found.licence,
        findings=(*found.findings, *noticed),
        sources=sources_of(described),
        channel_names=found.channel_names,
        resample=described.resample,
        cut=described.cut or found.cut,
    )
    return dataset if described.spacing is None else replace(dataset, grid=_grid(described, dataset.rank))


def _grid(described: Description, rank: int) -> Grid:
    """The stated spacing; one number counts for each axis."""
    spacing = described.spacing or ()
    if len(spacing) not in (1, rank):
        raise ConfigError(
            f"dataset.toml gives {len(spacing)} numbers as spacing ({', '.join(map(str, spacing))}) but the images "
            f"have {rank} axes; give one number, or {rank}"
        )
    return Grid(spacing=spacing if len(spacing) == rank else spacing * rank, unit=described.unit)


def _stated(
    found: Found, described: Description, classes: Sequence[str] | None
) -> tuple[Description, Sequence[str] | None]:
    """The description with what the layout knows of its masks, and the names that are still to be fitted to them."""
    if not found.classes:
        return described, classes
    stated: dict[str, object] = {"ignore": found.ignore if described.ignore is None else described.ignore}
    if classes or not (described.entries or described.values):
        values = found.values or tuple(range(len(found.classes)))
        names = tuple(classes or described.classes or found.classes)
        if len(names) == len(values) - 1:
            names = (found.classes[0], *names)
        if len(names) != len(values):
            raise DataError(
                f"{len(names)} class names were given ({', '.join(names)}) but the labels hold {len(values) - 1} "
                f"classes ({', '.join(found.classes[1:])}); name each"
            )
        stated |= {"classes": names, "values": values, "entries": ()}
        stated |= {"regions": described.regions or found.regions}
    return described.model_copy(update=stated), None


def _root(path: Path) -> tuple[Path, Path | None]:
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise DataError(f"{path} is a file; {UNDERSTOOD}")
        return path.parent, path
    if not path.exists():
        raise DataError(f"there is no folder {path}; check the name")
    try:
        if not any(path.iterdir()):
            raise DataError(f"the folder {path} is empty; {UNDERSTOOD}")
    except PermissionError:
        raise DataError(f"the folder {path} cannot be read; check its rights") from None
    return path, None


def _detect(root: Path) -> Found:
    tried = []
    for detect in LAYOUTS.values():
        found = detect(root)
        if found is not None and found.cases:
            return found
        tried += found.findings if found is not None else []
    files = len(_files(root, depth=2))
    seen = tried[0].message if tried else f"{files} image files lie there" if files else "it holds no image files"
    raise DataError(f"no pairs of images and masks were found in {root} ({seen}); {UNDERSTOOD}")


# --- layouts


def _manifest_layout(root: Path) -> Found | None:
    path = root / "manifest.csv"
    return _manifest(root, path) if path.is_file() else None


def _manifest(root: Path, path: Path) -> Found:
    rows = read_rows(path, known=("mask", "group", "split", "name", "image", "label", "source", "disaster"))
    columns = list(rows[0])
    # The name of a class may be that of the folder of its images, so that only endings tell files here.
    told = {c for c in ("label", "source", "disaster") if c in columns and not any(_is_image(row[c]) for row in rows)}
    if "mask" not in columns and "label" not in told:
        raise DataError(
            f"{path} has no column 'mask', found {', '.join(columns)}; name the column of the masks so, or 'label' the "
            "one of the classes of whole images"
        )
    named = {"mask", "group", "split", "name", *told}
    images = [c for c in columns if c not in named and _holds_files(root, rows, c)]
    if not images:
        raise DataError(f"{path} has no column of image files, found {', '.join(columns)}; add a column 'image'")
    found = Found(layout="manifest.csv")
    if images != ["image"]:
        found = Found(layout=f"manifest.csv ({', '.join(images)})", channel_names=tuple(images))
    names = in_class_order([row["label"] for row in rows if row["label"]] if "label" in told else [])
    if names and not any(row.get("mask") for row in rows):
        found.scope, found.classes = "image", names
    missing: list[str] = []
    owners: dict[Path, list[str]] = defaultdict(list)
    for line, row in enumerate(rows, start=2):
        files = tuple(_place(root, row[column]) for column in images if row[column])
        lacking = [f"line {line}, column {column}" for column in images if not row[column]]
        mask = _place(root, row["mask"]) if row.get("mask") else None
        lacking += [str(file) for file in (*files, mask) if file is not None and not file.exists()]
        missing += lacking
        if lacking:
            continue
        split = SPLITS.get(row.get("split", "").lower())
        if row.get("split") and split is None:
            raise DataError(f"{path} names the split '{row['split']}' in line {line}; use train, val or test")
        case = Case(
            name=row.get("name") or stem(files[0]),
            images=files,
            mask=mask,
            group=row.get("group", ""),
            split=split,
            label=names.index(row["label"]) if names and row["label"] else None,
            source=row["source"] if "source" in told else "",
            disaster=row["disaster"] if "disaster" in told else "",
        )
        found.cases.append(case)
        for file in (*files, mask) if mask is not None or found.scope == "image" else ():
            if file is not None:
                owners[file].append(case.name)
    _report_rows(found, path, missing, owners)
    if not found.cases:
        why = found.findings[0].message if found.findings else "no row has both"
        what = "gives no image a class" if found.scope == "image" else "pairs no image with a mask"
        raise DataError(f"{path} {what} ({why}); correct it")
    return found


def _report_rows(found: Found, path: Path, missing: Sequence[str], owners: Mapping[Path, Sequence[str]]) -> None:
    """Say what is wrong with the rows of a manifest, and leave out those without a mask or class."""
    if missing:
        text = f"{path.name} names files that are not there, their rows are left out"
        found.findings.append(finding("error", "missing-files", text, "correct the names or add the files", missing))
    shared = [name for names in owners.values() if len(names) > 1 for name in names]
    if shared:
        text = f"{path.name} uses one file in several rows"
        remedy = "give each image its own mask, once" if found.scope == "pixel" else "list each image once"
        found.findings.append(finding("error", "two-images", text, remedy, shared))
    if found.scope == "image":
        without_class(found)
    else:
        report_alone(found, [case.name for case in found.cases if case.mask is None], [])
        found.cases[:] = [case for case in found.cases if case.mask is not None]


def _isic_layout(root: Path) -> Found | None:
    end = "_segmentation"
    found = Found(layout="ISIC pairs")
    by_split: dict[str | None, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for file in _files(root, depth=2):
        if "superpixels" not in stem(file).lower():
            by_split[split_of(file, root)][stem(file).lower().endswith(end)].append(file)
    if not any(masks for _, masks in by_split.values()):
        return None
    for split, (images, masks) in by_split.items():
        pair(found, images, masks, split)
    return found


def _folders_layout(root: Path) -> Found | None:
    found = Found(layout="images/ and masks/")
    places = [(root, None), *((d, SPLITS[d.name.lower()]) for d in _folders(root) if d.name.lower() in SPLITS)]
    for place, split in places:
        images, masks = _named(place, IMAGE_FOLDERS), _named(place, MASK_FOLDERS)
        if not images or not masks:
            continue
        if len(images) > 1 or len(masks) > 1:
            rest = [folder.name for folder in (*images[1:], *masks[1:])]
            text = f"{images[0].name}/ and {masks[0].name}/ are taken, other folders that could be meant are not"
            found.findings.append(finding("note", "other-folders", text, "rename or remove what is not meant", rest))
        found.layout = f"{images[0].name}/ and {masks[0].name}/"
        _pair_folders(found, images[0], masks[0], split)
    return found if found.cases or found.findings else None


def _side_by_side_layout(root: Path) -> Found | None:
    found = Found(layout="pairs side by side")
    by_split: dict[str | None, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for file in [*_files(root, depth=1), *(f for d in _folders(root) if d.name.lower() in SPLITS for f in _files(d))]:
        by_split[split_of(file, root)][is_mask_name(stem(file))].append(file)
    for split, (images, masks) in by_split.items():
        pair(found, images, masks, split)
    return found if found.cases else None


LAYOUTS: dict[str, Callable[[Path], Found | None]] = {
    "manifest.csv": _manifest_layout,
    "imagesTr/ and labelsTr/": decathlon,
    "a folder a case": case_folders,
    "xBD": xbd_layout,
    "pre and post": pairs_of_dates,
    "ISIC pairs": _isic_layout,
    "images/ and masks/": _folders_layout,
    "images/ and polygons": one_date,
    "pairs side by side": _side_by_side_layout,
    "GRAPE": grape,
    "class folders": class_folders,
}


def _pair_folders(found: Found, images: Path, masks: Path, split: str | None) -> None:
    """Pair two folders, and their subfolders of one name (``images/train`` with ``masks/train``)."""
    pictures, labels = _files(images), _files(masks)
    inner = {d.name: d for d in _folders(masks)}
    both = [d for d in _folders(images) if d.name in inner]
    if pictures or labels or not both:
        pair(found, pictures, labels, split)
    for folder in both:
        _pair_folders(found, folder, inner[folder.name], SPLITS.get(folder.name.lower(), split))


# --- small things


def _holds_files(root: Path, rows: Sequence[dict[str, str]], column: str) -> bool:
    values = [row[column] for row in rows if row[column]]
    return column == "image" or any(_is_image(v) or _place(root, v).is_dir() for v in values[:100])


def _is_image(value: str) -> bool:
    return ending(Path(value)) in IMAGE_SUFFIXES


def _place(root: Path, value: str) -> Path:
    file = root / value
    return root / value.replace("\\", "/") if "\\" in value and not file.exists() else file


def _grouped(cases: Sequence[Case], pattern: str | None) -> list[Case]:
    if pattern is None:
        return list(cases)
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"the group pattern '{pattern}' is not a regular expression ({error}); correct it") from error
    matches = [(case, regex.search(case.name)) for case in cases]
    names = [case.name for case, match in matches if match is None or not match.group(min(regex.groups, 1))]
    if names:
        raise ConfigError(
            f"the group pattern '{pattern}' finds no group in {len(names)} of {len(cases)} case names, the first is "
            f"'{names[0]}'; correct the pattern"
        )
    return [replace(case, group=match.group(min(regex.groups, 1))) for case, match in matches if match is not None]


def _turned(cases: Sequence[Case]) -> list[Finding]:
    """A note about images that are turned upright as the camera noted, since masks may have been drawn on either."""
    names = []
    for case in cases[:_LOOKED_AT]:
        try:
            jpegs = [file for file in case.images if file.suffix.lower() in (".jpg", ".jpeg")]
            names += [case.name for file in jpegs if orientation(file) != 1]
        except CatenaryError:
            continue  # the survey tells about it
    text = f"{len(names)} images are turned upright as their EXIF orientation says"
    remedy = "check in the contact sheet that the masks were drawn on the upright images"
    return [finding("note", "orientation", text, remedy, names)] if names else []


def _files(folder: Path, *, depth: int = 1) -> list[Path]:
    return sorted(find_images(folder, depth=depth), key=lambda f: (natural(f.name), str(f)))


def _folders(root: Path) -> list[Path]:
    return sorted(d for d in root.iterdir() if d.is_dir() and not d.name.startswith("."))


def _named(place: Path, names: Sequence[str]) -> list[Path]:
    """Folders of these names that hold images, in the order of `names`."""
    plain = [(re.sub(r"[_\-. ]", "", f.name.lower()), f) for f in _folders(place) if _files(f, depth=2)]
    return [folder for name in names for found, folder in plain if found == name]
