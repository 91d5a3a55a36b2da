"""Cases and the data set that holds them."""

from __future__ import annotations

from collections.abc import Sequence
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
from catenary.errors import InputError, near_match
from catenary.io import read_image, read_mask
from catenary.types import Grid, Image

__all__ = ["Case", "Dataset"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image with its mask.

    Attributes:
        name: Unique within the data set.
        images: One file or more; their channels are stacked in this order.
        mask: The mask's file; None where there is none.
        group: Patient, specimen, place: what must not be torn apart by a split; `name` where none is given.
        split: ``"train"``, ``"val"`` or ``"test"`` where the data set itself states it.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path | None
    group: str = ""
    split: str | None = None

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
        grid: Spacing of all images where ``dataset.toml`` states one.
        licence: Of the data, where stated.
        findings: What was noticed while opening.
    """

    root: Path
    name: str
    layout: str
    cases: tuple[Case, ...]
    labels: LabelSet
    grid: Grid = field(default_factory=Grid)
    licence: str = ""
    findings: tuple[Finding, ...] = ()

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

    def read_image(self, case: Case) -> Image:
        """Read the pixels of a case; a spacing that the data set states counts more than the file's.

        The channels of several files are stacked in their order; a pixel is valid where it is in all of them.

        Raises:
            InputError: A file cannot be read, or the files of one case differ in size.
        """
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
        return read_mask(case.mask, palette="index" if self.labels.encoding == "index" else "colour")

    def read_label(self, case: Case) -> UInt8[np.ndarray, "h w"]:
        """Read the mask of a case as class indices; unexpected values become `IGNORE`.

        Raises:
            InputError: The case has no mask, or the file cannot be read.
        """
        return decode(self.read_mask(case), self.labels)

    @cached_property
    def _by_name(self) -> dict[str, Case]:
        return {case.name: case for case in self.cases}
