"""Cases and the data set that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.data.encoding import decode
from catenary.data.findings import Finding
from catenary.data.labels import LabelSet
from catenary.data.windows import Sources, Window, read_scene, read_truth
from catenary.errors import ConfigError, InputError, near_match
from catenary.io import read_image, read_mask
from catenary.types import IGNORE, Grid, Image

__all__ = ["Case", "Dataset", "without_data"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image with its mask.

    Attributes:
        name: Unique within the data set.
        images: One file or more; their channels are stacked in this order.
        mask: The mask's file; None where there is none.
        group: Patient, specimen, place: what must not be torn apart by a split; `name` where none is given.
        split: ``"train"``, ``"val"`` or ``"test"`` where the data set itself states it.
        window: Row, column, height and width in the first image, where the case is a part of a georeferenced scene:
            the other images, and the mask (a raster or polygons), are then brought onto that image's grid.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path | None
    group: str = ""
    split: str | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.name)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Pairs of images and masks, and what the masks mean.

    `catenary.data.layouts.open_dataset` makes one from a folder; code that has its own way of finding files makes one
    from a list of cases.

    Attributes:
        root: The folder.
        name: Its name, or the one that ``dataset.toml`` gives.
        layout: How the pairs were found, in words.
        cases: The cases, in natural order of their names.
        labels: The classes.
        merged_from: The classes of the files, where `labels` came about by `with_classes`.
        grid: Spacing of all images where ``dataset.toml`` states one.
        licence: Of the data, where stated.
        findings: What was noticed while opening.
        merge: New class index of each old one, 0 to 255, where classes were merged.
        sources: What the files of cases with a window do not say themselves.
    """

    root: Path
    name: str
    layout: str
    cases: tuple[Case, ...]
    labels: LabelSet
    merged_from: LabelSet | None = None
    grid: Grid = field(default_factory=Grid)
    licence: str = ""
    findings: tuple[Finding, ...] = ()
    merge: tuple[int, ...] = ()
    sources: Sources = field(default_factory=Sources)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, name: str) -> Case:
        """The case of that name.

        Raises:
            InputError: There is none.
        """
        if name not in self._by_name:
            raise InputError(f"the data set has no case '{name}'; {near_match(name, self._by_name)}")
        return self._by_name[name]

    def select(self, names: Sequence[str]) -> Dataset:
        """The data set with these cases only, in this order."""
        return replace(self, cases=tuple(self[name] for name in names))

    @property
    def file_labels(self) -> LabelSet:
        """What the values in the mask files mean."""
        return self.merged_from or self.labels

    def with_classes(self, classes: Mapping[str, Sequence[str]]) -> Dataset:
        """The data set with other classes: each new one made of some of the old.

        Args:
            classes: New name -> old names (or old indices as text). The old background stays background, and so does
                what no new class names. The background may be given too, under the old or a new name, first.

        Raises:
            ConfigError: A name is not known or named twice, or the data set's regions would lose their meaning.
        """
        old = self.file_labels
        if not classes:
            return self
        if old.regions:
            raise ConfigError(
                f"the regions {', '.join(old.regions)} are made of the data set's own classes; leave data.classes out"
            )
        known = {name: index for index, name in enumerate(old.names)} | {str(i): i for i in range(old.count)}
        parts: dict[str, tuple[int, ...]] = {}
        for name, members in classes.items():
            for member in members:
                if member not in known:
                    raise ConfigError(f"the data set has no class '{member}'; {near_match(member, old.names)}")
            parts[name] = tuple(known[member] for member in members)
        every = [index for members in parts.values() for index in members]
        if len(set(every)) != len(every) or not all(parts.values()):
            raise ConfigError(f"data.classes must use each class once and leave none empty, found {dict(classes)}")
        background = next((name for name, members in parts.items() if 0 in members), old.names[0])
        names = (background, *(name for name in parts if name != background))
        if len(names) != len(set(names)) or len(names) < 2:
            raise ConfigError(f"data.classes must leave a class beside '{background}', found {dict(classes)}")
        colours = [old.display_colour(parts[name][0]) for name in names[1:]]
        labels = LabelSet(names=names, colours=((0, 0, 0), *colours) if len(set(colours)) == len(colours) else ())
        return replace(self, labels=labels, merged_from=old, merge=_table(names, parts))

    def decode(self, raw: NDArray[Any]) -> UInt8[np.ndarray, "h w"]:
        """Class indices of a mask as its file holds it; see `catenary.data.encoding.decode`."""
        label = decode(raw, self.file_labels)
        return label if not self.merge else np.asarray(self.merge, np.uint8)[label]

    def read_image(self, case: Case) -> Image:
        """Read the pixels of a case; a spacing that the data set states counts more than the file's.

        The channels of several files are stacked in their order; a pixel is valid where it is in all of them.

        Raises:
            InputError: A file cannot be read, or the files of one case differ in size.
        """
        if case.window is not None:
            parts = [read_scene(case.images, case.window, self.sources)]
        else:
            parts = [read_image(path) for path in case.images]
        first = parts[0]
        if any(part.shape != first.shape for part in parts):
            sizes = ", ".join("x".join(map(str, part.shape)) for part in parts)
            raise InputError(f"the images of case '{case.name}' differ in size ({sizes}); bring them onto one grid")
        array = first.array if len(parts) == 1 else np.concatenate([part.array for part in parts])
        valid = [part.valid for part in parts if part.valid is not None]
        grid = first.grid
        if self.grid.spacing is not None:
            grid = replace(grid, spacing=self.grid.spacing, unit=self.grid.unit)
        return replace(first, array=array, grid=grid, valid=np.logical_and.reduce(valid) if valid else None)

    def read_mask(self, case: Case) -> NDArray[Any]:
        """Read the mask of a case as its file holds it: ``(h, w)`` numbers or ``(h, w, 3)`` colours.

        Raises:
            InputError: The case has no mask, or the file cannot be read.
        """
        if case.mask is None:
            raise InputError(f"case '{case.name}' has no mask; add one or leave the image out")
        if case.window is not None:
            ignore = IGNORE if self.file_labels.ignore is None else self.file_labels.ignore
            return read_truth(case.mask, case.images, case.window, self.sources, ignore=ignore)
        return read_mask(case.mask, palette="index" if self.file_labels.encoding == "index" else "colour")

    def read_label(self, case: Case) -> UInt8[np.ndarray, "h w"]:
        """Read the mask of a case as class indices; unexpected values become `IGNORE`.

        Raises:
            InputError: The case has no mask, or the file cannot be read.
        """
        return self.decode(self.read_mask(case))

    def read_pair(self, case: Case) -> tuple[Image, UInt8[np.ndarray, "h w"]]:
        """Read image and label map of a case; where the image holds no data, the label is `IGNORE`.

        Raises:
            InputError: The case has no mask, or a file cannot be read.
        """
        image = self.read_image(case)
        return image, without_data(self.read_label(case), image.valid)

    @cached_property
    def _by_name(self) -> dict[str, Case]:
        return {case.name: case for case in self.cases}


def without_data(label: UInt8[np.ndarray, "h w"], valid: NDArray[np.bool_] | None) -> UInt8[np.ndarray, "h w"]:
    """The label map with `IGNORE` where an image of its size holds no data."""
    if valid is None or valid.shape != label.shape:
        return label
    return np.where(valid, label, np.uint8(IGNORE))


def _table(names: Sequence[str], parts: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    table = [0] * 256
    table[IGNORE] = IGNORE
    for index, name in enumerate(names):
        for old in parts.get(name, ()):
            table[old] = index
    return tuple(table)
