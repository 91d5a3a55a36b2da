"""``dataset.toml``: what the owner of a data set says about it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from catenary.data.findings import Finding
from catenary.data.guess import work_out
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, DataError, near_match

__all__ = ["ClassEntry", "Description", "describe_labels", "read_description"]

Byte = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
Length = Annotated[float, Field(gt=0)]


class ClassEntry(BaseModel):
    """One class: ``[[class]]`` with ``name`` and ``value``, or ``name`` and ``colour``; the background first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: int | None = None
    colour: Colour | None = None


class Description(BaseModel):
    """The content of ``dataset.toml``; everything in it is optional.

    Attributes:
        name, licence: Of the data set.
        classes: Class names, background first or left out.
        values: File value of each class, where they are not 0, 1, 2, ...
        entries: The classes as ``[[class]]`` tables instead.
        encoding: How the files tell classes, where it cannot be seen.
        ignore, ignore_colour: File value or colour that means "unknown".
        spacing, unit: Size of a pixel, one number or one for each axis, ``[rows, columns]`` or ``[slices, rows,
            columns]``; counts more than what files say.
        group: Regular expression on case names, whose first group is the case's group.
        regions: Overlapping targets, name -> class names or indices, for example ``whole = [1, 2, 3, 4]``.
        resample: Lay images and labels of a volume that have other grids onto that of its first image.
        cut: How far around the optic disc photographs were cut, as `catenary crop` records it; empty for whole ones.
        window: Side in pixels of the windows into which a larger georeferenced scene is cut.
        pre_crs, post_crs, labels_crs: Coordinate reference systems of georeferenced images (of the earlier date, where
            there are two), of later ones, and of labels, where their files state none.
        labels: File or folder of the labels of georeferenced images, where its name does not tell.
        disaster: Type of the disaster between two dates, for all scenes or by the name of the scene.
        layer, column, grades: Layer of a vector file, its column of grades, and the value of each of its words; see
            `catenary.io.vectors.open_vectors`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    licence: str = ""
    classes: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    entries: tuple[ClassEntry, ...] = Field((), alias="class")
    encoding: Literal["", "index", "colour", "painted"] = ""
    ignore: int | None = None
    ignore_colour: Colour | None = None
    spacing: Annotated[tuple[Length, ...], Field(min_length=1, max_length=3)] | None = None
    unit: str | None = None
    group: str | None = None
    regions: dict[str, tuple[int | str, ...]] = {}
    resample: bool = False
    cut: str = ""
    window: Annotated[int, Field(ge=32)] = 1024
    pre_crs: str | None = None
    post_crs: str | None = None
    labels_crs: str | None = None
    labels: str | None = None
    disaster: str | dict[str, str] = ""
    layer: str | None = None
    column: str | None = None
    grades: dict[str, Annotated[int, Field(ge=1, le=255)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_number(cls, data: dict[str, Any]) -> dict[str, Any]:
        if isinstance(data.get("spacing"), (int, float)):
            data = data | {"spacing": (data["spacing"],)}
        return data

    @model_validator(mode="after")
    def _check(self) -> Description:
        if (self.spacing is None) != (self.unit is None):
            raise ValueError('spacing and unit belong together, such as spacing = 0.25 and unit = "um"')
        if self.entries and (self.classes or self.values):
            raise ValueError("give the classes either as classes and values, or as [[class]] tables")
        if self.values and len(self.values) != len(self.classes):
            raise ValueError(f"{len(self.classes)} class names but {len(self.values)} values; give one value a class")
        coloured = [entry.colour is not None for entry in self.entries]
        if any(coloured) and not all(coloured):
            raise ValueError("give every [[class]] a colour, or none")
        if any(entry.value is not None and entry.colour is not None for entry in self.entries):
            raise ValueError("give a [[class]] a value or a colour, not both")
        return self


def read_description(root: Path) -> Description:
    """What ``dataset.toml`` in a folder says; nothing where there is none.

    Raises:
        ConfigError: It is not valid TOML, has an unknown key (the near match is told), or contradicts itself.
    """
    path = root / "dataset.toml"
    if not path.is_file():
        return Description()
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); correct it or remove it") from error
    known = [info.alias or name for name, info in Description.model_fields.items()]
    _check_keys(path, "", data, known)
    for entry in data["class"] if isinstance(data.get("class"), list) else []:
        _check_keys(path, " in [[class]]", entry if isinstance(entry, dict) else {}, list(ClassEntry.model_fields))
    try:
        return Description.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}; correct it") from None


def describe_labels(
    masks: Sequence[Path], described: Description, classes: Sequence[str] | None = None
) -> tuple[LabelSet, tuple[Finding, ...]]:
    """The label set: what is stated, and the rest as the mask files show it.

    Args:
        masks: The mask files; not read where all is stated.
        described: The content of ``dataset.toml``.
        classes: Class names that count more than the stated ones.

    Raises:
        ConfigError: What is stated makes no label set.
        DataError: The mask files hold no classes, or other ones than stated.
    """
    try:
        labels, noticed = _stated(masks, described, classes)
        regions = {name: _indices(name, members, labels.names) for name, members in described.regions.items()}
        return LabelSet(**(labels.model_dump() | {"regions": regions})), noticed
    except ValidationError as error:
        raise ConfigError(f"the classes do not fit together: {_first(error)}") from None


def _stated(
    masks: Sequence[Path], described: Description, classes: Sequence[str] | None
) -> tuple[LabelSet, tuple[Finding, ...]]:
    entries = described.entries
    if classes is None and entries and entries[0].colour is not None:
        return _coloured(masks, described)
    if classes is None and entries:
        values = tuple(index if entry.value is None else entry.value for index, entry in enumerate(entries))
        return LabelSet(names=tuple(e.name for e in entries), values=values, ignore=described.ignore), ()
    if classes is None and described.values:
        return LabelSet(names=described.classes, values=described.values, ignore=described.ignore), ()
    labels, noticed = work_out(masks, classes or described.classes or None, ignore=described.ignore)
    if described.encoding not in ("", labels.encoding):
        raise DataError(
            f"dataset.toml says that the masks are '{described.encoding}' but they look like '{labels.encoding}'; "
            "state the classes with [[class]] or correct it"
        )
    return labels.model_copy(update={"ignore_colour": described.ignore_colour}), noticed


def _coloured(masks: Sequence[Path], described: Description) -> tuple[LabelSet, tuple[Finding, ...]]:
    names = [entry.name for entry in described.entries]
    colours = [entry.colour for entry in described.entries if entry.colour is not None]
    encoding: str = described.encoding
    noticed: tuple[Finding, ...] = ()
    if not encoding:
        try:
            found, said = work_out(masks)
            encoding = "painted" if found.encoding == "painted" else "colour"
            noticed = tuple(finding for finding in said if finding.code == "soft-masks")
        except DataError:
            encoding = "painted"  # more colours than classes, and now we are told which ones count
    if encoding == "painted" and names[0].lower() != "background":
        names, colours = ["background", *names], [next(c for c in ((0, 0, 0), (1, 1, 1)) if c not in colours), *colours]
    labels = LabelSet(
        names=tuple(names), encoding=encoding, colours=tuple(colours), ignore_colour=described.ignore_colour
    )
    return labels, noticed


def _indices(region: str, members: Sequence[int | str], names: Sequence[str]) -> tuple[int, ...]:
    found = []
    for member in members:
        if isinstance(member, str) and member not in names:
            raise ConfigError(f"region '{region}' names the class '{member}'; {near_match(member, names)}")
        found.append(names.index(member) if isinstance(member, str) else member)
    return tuple(found)


def _check_keys(path: Path, where: str, data: dict[str, Any], known: Sequence[str]) -> None:
    for key in data:
        if key not in known:
            raise ConfigError(f"{path} has the unknown key '{key}'{where}; {near_match(key, known)}")


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return (where + ": " if where else "") + first["msg"].removeprefix("Value error, ")
