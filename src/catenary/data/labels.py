"""What the values in a mask mean."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from catenary.types import IGNORE

__all__ = ["PALETTE", "LabelSet"]

Colour = tuple[int, int, int]

#: Display colours of classes 1, 2, ... (Okabe and Ito 2008, safe for colour-blind readers); class 0 is black.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167), (150, 150, 150),
)  # fmt: skip

#: Display colours of classes that have one by custom: damage from green to red, of the same palette.
CUSTOMARY: dict[str, Colour] = {
    "no-damage": (0, 158, 115),
    "minor-damage": (240, 228, 66),
    "major-damage": (230, 159, 0),
    "destroyed": (213, 94, 0),
}


class LabelSet(BaseModel):
    """The classes of a data set: their names, how they stand in a mask file, how they are drawn.

    Everywhere inside catenary a label map is uint8 ``(h, w)`` holding class *indices* 0..K-1 (0 is background)
    and `IGNORE` (255) where nothing is known. `LabelSet` says how a file's values become indices.

    Attributes:
        scope: ``"pixel"``: every pixel has a class; ``"image"``: a whole image has one, and of two classes ``names[0]``
            counts as negative.
        names: Class names in index order; ``names[0]`` is the background.
        encoding: ``"index"``: the file holds one number a class (`values`). ``"colour"``: the file holds RGB, one
            exact colour a class (`colours`), any other colour is an unexpected value. ``"painted"``: the classes
            were painted in exact colours (`colours`) over a copy of the image, any other colour is background.
        values: File value of each class, in index order (used by ``"index"``; 0/255 masks have ``(0, 255)``).
        colours: File colour of each class, in index order (used by ``"colour"`` and ``"painted"``).
        ignore: File value that means "unknown, do not count", or None (``"index"`` only).
        ignore_colour: The same for ``"colour"`` and ``"painted"``.
        regions: Overlapping targets made of classes, name -> class indices, for example
            ``{"disc": (1, 2), "cup": (2,)}``; empty when classes exclude one another. When a label map is made
            from predicted regions, a later region is painted over an earlier one with that region's first class
            that no later region contains.

    >>> labels = LabelSet(names=("background", "nucleus"), values=(0, 255))
    >>> labels.count, labels.task
    (2, 'binary')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    scope: Literal["pixel", "image"] = "pixel"
    encoding: Literal["index", "colour", "painted"] = "index"
    values: tuple[int, ...] = ()
    colours: tuple[Colour, ...] = ()
    ignore: int | None = None
    ignore_colour: Colour | None = None
    regions: dict[str, tuple[int, ...]] = {}

    @model_validator(mode="after")
    def _check(self) -> LabelSet:
        count = len(self.names)
        if not 2 <= count <= 254:
            raise ValueError(f"a label set needs 2 to 254 classes with the background, found {count}")
        if len(set(self.names)) != count:
            raise ValueError(f"class names must differ, found {self.names}")
        if self.values and len(self.values) != count:
            raise ValueError(f"{count} class names but {len(self.values)} values; give one value a class")
        if self.encoding != "index" and len(self.colours) != count:
            raise ValueError(f"{count} class names but {len(self.colours)} colours; give one colour a class")
        for kind, given in (("values", self.values), ("colours", self.colours)):
            if len(set(given)) != len(given):
                raise ValueError(f"the {kind} of the classes must differ, found {given}")
        if self.encoding == "index" and self.ignore is not None and self.ignore in self.file_values:
            raise ValueError(f"value {self.ignore} cannot be both a class and the ignore value; change one of them")
        if self.encoding != "index" and self.ignore_colour in self.colours:
            raise ValueError(
                f"colour {self.ignore_colour} cannot be both a class and to be ignored; change one of them"
            )
        for name, members in self.regions.items():
            if not members or not all(0 < m < count for m in members):
                raise ValueError(f"region '{name}' must list class indices 1 to {count - 1}, found {members}")
        return self

    @property
    def count(self) -> int:
        """Number of classes, background included."""
        return len(self.names)

    @property
    def task(self) -> Literal["binary", "exclusive", "overlapping"]:
        """``"binary"``: one class beside background; ``"exclusive"``: several; ``"overlapping"``: regions."""
        if self.regions:
            return "overlapping"
        return "binary" if self.count == 2 else "exclusive"

    @property
    def channels(self) -> int:
        """Number of logits a network needs: 1 (binary), the class count (exclusive), the region count."""
        return {"binary": 1, "exclusive": self.count, "overlapping": len(self.regions)}[self.task]

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of what is scored: the foreground classes, or the regions."""
        return tuple(self.regions) if self.regions else self.names[1:]

    @property
    def file_values(self) -> tuple[int, ...]:
        """File value of each class; the index itself where `values` is empty."""
        return self.values or tuple(range(self.count))

    def target_members(self) -> tuple[tuple[int, ...], ...]:
        """Class indices of each of `target_names`.

        >>> LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)}).target_members()
        ((1, 2), (2,))
        """
        return tuple(self.regions.values()) if self.regions else tuple((i,) for i in range(1, self.count))

    def target_within(self) -> tuple[tuple[int, ...], ...]:
        """For each of `target_names`, which others it is a part of: those with all of its classes and more.

        >>> LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)}).target_within()
        ((), (0,))
        """
        members = [set(classes) for classes in self.target_members()]
        return tuple(tuple(i for i, other in enumerate(members) if own < other) for own in members)

    def multi_hot(self) -> NDArray[np.uint8]:
        """Table ``(256, channels)`` from class index to the 0/1 target of each logit; the row of IGNORE is zero.

        >>> LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)}).multi_hot()[:3]
        array([[0, 0],
               [1, 0],
               [1, 1]], dtype=uint8)
        """
        table = np.zeros((256, self.channels), np.uint8)
        members = self.target_members() if self.task != "exclusive" else tuple((i,) for i in range(self.count))
        for channel, classes in enumerate(members):
            table[list(classes), channel] = 1
        table[IGNORE] = 0
        return table

    def display_colour(self, index: int) -> Colour:
        """Colour in which class `index` is drawn: the data set's own, else by its name, else from `PALETTE`."""
        if index < len(self.colours):
            return self.colours[index]
        if self.names[index] in CUSTOMARY:
            return CUSTOMARY[self.names[index]]
        return (0, 0, 0) if index == 0 else PALETTE[(index - 1) % len(PALETTE)]
