"""Cases and the data set that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.data.encoding import decode
from catenary.data.findings import Finding
from catenary.data.grids import apart, laid_onto
from catenary.data.labels import LabelSet
from catenary.data.windows import Sources, Window, read_scene, read_truth
from catenary.errors import CatenaryError, ConfigError, InputError, near_match
from catenary.io import image_size, read_image, read_mask
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
        label: Index of the class of the whole image, where it has one.
        source: Where the image comes from (a camera, a clinic, another data set); empty where it is not known.
        disaster: Type of the disaster between two dates, such as ``"flood"``; empty where it is not known.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path | None
    group: str = ""
    split: str | None = None
    window: Window | None = None
    label: int | None = None
    source: str = ""
    disaster: str = ""

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
        channel_names: Names of the channels, such as the sequences of MRI, where they are known.
        resample: Lay images and labels of a volume that have other grids onto that of its first image.
        cut: How far around the optic disc photographs reach that were cut (``"0.5"``, ``"50px"``; ``"close-up"`` where
            nobody knows); empty for whole ones.
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
    channel_names: tuple[str, ...] = ()
    resample: bool = False
    cut: str = ""

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
        merge = _table(names, parts)
        cases = tuple(case if case.label is None else replace(case, label=merge[case.label]) for case in self.cases)
        labels = labels.model_copy(update={"scope": old.scope})
        return replace(self, cases=cases, labels=labels, merged_from=old, merge=merge)

    def with_regions(self, regions: Mapping[str, Sequence[str]]) -> Dataset:
        """The data set with overlapping targets: each region made of some of its classes, in the order of painting.

        Args:
            regions: Name -> class names (or indices as text). They take the place of regions that it has already;
                where there are none, nothing changes.

        Raises:
            ConfigError: A class is not known, is the background, or a region is empty.
        """
        if not regions:
            return self
        known = {name: index for index, name in enumerate(self.labels.names)}
        known |= {str(index): index for index in range(self.labels.count)}
        members: dict[str, tuple[int, ...]] = {}
        for name, classes in regions.items():
            for one in classes:
                if one not in known:
                    raise ConfigError(
                        f"region '{name}' names the class '{one}', which the data set does not have; "
                        f"{near_match(one, self.labels.names)}"
                    )
            members[name] = tuple(known[one] for one in classes)
            if not members[name] or 0 in members[name]:
                raise ConfigError(
                    f"region '{name}' is made of {', '.join(classes) or 'nothing'}; give it classes other than the "
                    f"background: {', '.join(self.labels.names[1:])}"
                )
        return replace(self, labels=self.labels.model_copy(update={"regions": members}))

    def with_channels(self, channels: Sequence[str]) -> Dataset:
        """The data set with some of its channels only, in this order; all where none is named.

        Args:
            channels: Names of `channel_names`, in any case, or numbers from 1 as text.

        Raises:
            ConfigError: A channel is not known.
        """
        if not channels:
            return self
        known = {name.lower(): index for index, name in enumerate(self.channel_names)}
        count = len(self.channel_names) or max((len(case.images) for case in self.cases), default=1)
        known |= {str(index + 1): index for index in range(count)}
        for name in channels:
            if name.lower() not in known:
                raise ConfigError(
                    f"the data set has no channel '{name}'; {near_match(name, self.channel_names or [*known])}"
                )
        chosen = [known[name.lower()] for name in channels]
        if any(len(case.images) != count for case in self.cases):
            raise ConfigError(
                f"data.channels chooses among files, one a channel, but cases have {len(self.cases[0].images)} of them "
                f"for {count} channels; leave it out"
            )
        cases = tuple(replace(case, images=tuple(case.images[index] for index in chosen)) for case in self.cases)
        names = tuple(self.channel_names[index] for index in chosen) if self.channel_names else ()
        return replace(self, cases=cases, channel_names=names)

    @cached_property
    def rank(self) -> int:
        """2 where the cases are images, 3 where they are volumes, as the first readable one shows; 2 where none is."""
        for case in self.cases:
            if case.window is not None:
                return 2
            try:
                return len(image_size(case.images[0]))
            except CatenaryError:
                continue  # the survey tells about it
        return 2

    def decode(self, raw: NDArray[Any]) -> UInt8[np.ndarray, "*s"]:
        """Class indices of a mask as its file holds it; see `catenary.data.encoding.decode`."""
        label = decode(raw, self.file_labels)
        return label if not self.merge else np.asarray(self.merge, np.uint8)[label]

    def read_image(self, case: Case) -> Image:
        """Read the pixels of a case; a spacing that the data set states counts more than the file's.

        The channels of several files are stacked in their order, in a type that holds all; a pixel is valid where it
        is in all of them.

        Raises:
            InputError: A file cannot be read, or the files of one case lie on different grids.
        """
        if case.window is not None:
            parts = [read_scene(case.images, case.window, self.sources)]
        else:
            parts = [read_image(path) for path in case.images]
        first = parts[0]
        if len({len(part.shape) for part in parts}) > 1 or (
            len(first.shape) == 2 and any(part.shape != first.shape for part in parts)
        ):
            sizes = ", ".join("x".join(map(str, part.shape)) for part in parts)
            raise InputError(f"the images of case '{case.name}' differ in size ({sizes}); bring them onto one grid")
        parts = [first, *(self._on_grid(part, first) for part in parts[1:])]
        array = first.array if len(parts) == 1 else _stacked([part.array for part in parts])
        valid = [part.valid for part in parts if part.valid is not None]
        grid = first.grid
        if self.grid.spacing is not None:
            grid = replace(grid, spacing=self.grid.spacing, unit=self.grid.unit)
        known = np.logical_and.reduce(valid) if valid else None
        return replace(first, array=array, grid=grid, valid=known, disaster=case.disaster)

    def read_mask(self, case: Case) -> NDArray[Any]:
        """Read the mask of a case as its file holds it: ``(h, w)`` or ``(d, h, w)`` numbers, or ``(h, w, 3)`` colours.

        Raises:
            InputError: The case has no mask, or the file cannot be read.
        """
        if case.mask is None:
            raise InputError(f"case '{case.name}' has no mask; add one or leave the image out")
        if case.window is not None:
            ignore = IGNORE if self.file_labels.ignore is None else self.file_labels.ignore
            return read_truth(case.mask, case.images, case.window, self.sources, ignore=ignore)
        return read_mask(case.mask, palette="index" if self.file_labels.encoding == "index" else "colour")

    def read_label(self, case: Case) -> UInt8[np.ndarray, "*s"]:
        """Read the mask of a case as class indices; unexpected values become `IGNORE`.

        It stays on its own grid; `read_pair` compares that with the image's. The class of a whole image is a map of one
        pixel.

        Raises:
            InputError: The case has no mask, or the file cannot be read.
        """
        if self.labels.scope == "image":
            return np.full((1,) * self.rank, self._class_of(case), np.uint8)
        return self.decode(self.read_mask(case))

    def read_pair(self, case: Case) -> tuple[Image, UInt8[np.ndarray, "*s"]]:
        """Read image and label map of a case; where the image holds no data, the label is `IGNORE`.

        The class of a whole image is a map of one pixel, ``(1, 1)`` or ``(1, 1, 1)``.

        Raises:
            InputError: The case has no mask, a file cannot be read, or the labels of a volume lie on another grid.
        """
        image = self.read_image(case)
        if self.labels.scope == "image":
            return image, np.full((1,) * len(image.shape), self._class_of(case), np.uint8)
        return image, without_data(self.decode(self.fitted(case, self.read_mask(case), image)), image.valid)

    def _class_of(self, case: Case) -> int:
        if case.label is None:
            raise InputError(f"case '{case.name}' has no class; give it one, or leave the image out")
        return case.label

    def fitted(self, case: Case, raw: NDArray[Any], image: Image) -> NDArray[Any]:
        """The labels of a volume, as `read_mask` gave them, on the grid of its image: checked, or resampled as told.

        Raises:
            InputError: The two grids differ, and `resample` is not set.
        """
        if case.mask is None or raw.ndim != 3 or len(image.shape) != 3:
            return raw
        state = case.mask.stat()
        grid = _grid_of(case.mask, (state.st_mtime_ns, state.st_size))
        how = apart(grid, raw.shape, image.grid, image.shape)
        if not how:
            return raw
        if self.resample and grid.affine is not None and image.grid.affine is not None:
            found: NDArray[Any] = laid_onto(raw[None], grid, image.grid, image.shape, order=0)[0]
            return found
        raise InputError(
            f"the labels {case.mask.name} of case '{case.name}' do not lie on the grid of {Path(image.source).name}: "
            f"{case.mask.name} {how}; correct the pairing, or set resample = true in dataset.toml to have it "
            "resampled"
        )

    def _on_grid(self, part: Image, first: Image) -> Image:
        """A further image of a case on the grid of its first."""
        how = apart(part.grid, part.shape, first.grid, first.shape)
        if not how:
            return part
        names = Path(part.source).name, Path(first.source).name
        if self.resample and part.grid.affine is not None and first.grid.affine is not None:
            array = laid_onto(part.array, part.grid, first.grid, first.shape, order=1)
            return replace(part, array=array, grid=first.grid, valid=None)
        raise InputError(
            f"{part.source} does not lie on the grid of {names[1]}: {names[0]} {how}; register or resample it, or set "
            "resample = true in dataset.toml to have it resampled"
        )

    @cached_property
    def _by_name(self) -> dict[str, Case]:
        return {case.name: case for case in self.cases}


@lru_cache(4096)
def _grid_of(mask: Path, state: object) -> Grid:
    """The grid of a file of labels in a state; read once, since only its pixels are wanted later."""
    try:
        return read_image(mask).grid
    except CatenaryError:
        return Grid()  # a file of labels only, which cannot be read as an image


def _stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Channels of several files in one array, of float32 where whole numbers meet others."""
    kind = np.result_type(*arrays)
    mixed = kind.kind == "f" and len({array.dtype for array in arrays}) > 1
    return np.concatenate(arrays, dtype=np.float32 if mixed else kind, casting="same_kind" if not mixed else "unsafe")


def without_data(label: UInt8[np.ndarray, "*s"], valid: NDArray[np.bool_] | None) -> UInt8[np.ndarray, "*s"]:
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
