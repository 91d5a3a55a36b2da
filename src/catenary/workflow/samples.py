"""Tiles of real images that a converted network is made and checked with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.data.cases import Dataset
from catenary.data.layouts import open_dataset
from catenary.errors import CatenaryError
from catenary.types import Image
from catenary.workflow.look import Known

if TYPE_CHECKING:
    from catenary.predict import Card
    from catenary.predict.engines import Samples

__all__ = ["RECORDED", "Pictures", "files_in", "pictures_in", "pictures_of_run", "samples_of", "tiles_of"]

#: So many pixels of training images tell the ranges of a network in integers; a quarter as many check it.
SAMPLED = 64 * 256 * 256
#: The same of networks for whole images, counted in images.
CHECKED, RANGED = 16, 64
#: Where a run keeps the path of its data, under ``"data"``.
RECORDED = "request.json"

Reader = Callable[[], Image]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Images to compare with, and images that tell the ranges of integers; read one by one when they are needed.

    Attributes:
        check: Validation cases where they are known.
        ranges: Training cases where they are known; others than `check`.
        told: What they are, in words.
    """

    check: tuple[Reader, ...]
    ranges: tuple[Reader, ...] = ()
    told: str = ""

    def samples(self, card: Card) -> Samples:
        """Tiles of them, as many as serve; without a second set of images no ranges."""
        from catenary.predict.engines import Samples

        check, ranges = _numbers(card)
        return Samples(
            check=tiles_of(card, _spread(self.check, check)),
            ranges=tiles_of(card, _spread(self.ranges, ranges)) if self.ranges else None,
        )


def samples_of(known: Known, card: Card) -> Samples:
    """What a converted network is checked with, of validation images; its ranges come from training images."""
    from catenary.predict.engines import Samples

    check, ranges = _numbers(card)
    return Samples(
        check=tiles_of(card, _readers(known.dataset, _spread(known.splits.val, check))),
        ranges=tiles_of(card, _readers(known.dataset, _spread(known.splits.train, ranges))),
    )


def pictures_of_run(run: Path, card: Card) -> Pictures | None:
    """The cases of a run's own data set; None where that is gone, or the run does not say where it was."""
    try:
        place = json.loads((run / RECORDED).read_text("utf-8")).get("data")
        return pictures_in(Path(place), card) if place and Path(place).exists() else None
    except (OSError, ValueError, CatenaryError):
        return None


def pictures_in(place: Path, card: Card) -> Pictures:
    """Images of a data set, or any images in a folder.

    The run's validation and training cases where the data set has them; else every other image for either.

    Args:
        place: A data set, a folder of images, or one image.
        card: Of the model that is to see them.

    Raises:
        InputError: There are no images.
    """
    try:
        dataset = open_dataset(place).with_channels(card.recipe.data.channels)
    except CatenaryError:  # images without masks or classes serve as well
        return _plain(place, card)
    names = {case.name for case in dataset.cases}
    parts = card.provenance.get("splits") or {}
    val, train = ([name for name in parts.get(part, ()) if name in names] for part in ("val", "train"))
    if val:
        return Pictures(
            check=_readers(dataset, val), ranges=_readers(dataset, train), told=f"validation cases of {dataset.name}"
        )
    ordered = [case.name for case in dataset.cases]
    return _halves(_readers(dataset, ordered), f"images of {dataset.name}")


def tiles_of(card: Card, readers: Sequence[Reader]) -> Float32[np.ndarray, "n c *s"]:
    """Normalised tiles as large as a training patch: the middle of each image, or all of it as a classifier sees it."""
    if card.labels.scope == "image":
        from catenary.predict.classify import seen_by

        return np.stack([seen_by(card, read()) for read in readers])
    return np.stack([*_middles(card, readers)])


def _middles(card: Card, readers: Sequence[Reader]) -> Iterator[NDArray[np.float32]]:
    from catenary.predict.frames import in_frame, margins
    from catenary.predict.prepare import Normaliser, prepare, told_of

    recipe = card.recipe
    patch = recipe.sample.patch
    for read in readers:
        wish = recipe.prepare
        image = read()
        pixels = prepare(image, Normaliser.from_config(wish), wish.size, wish.spacing).normalised()
        if pixels.ndim - 1 > len(patch):  # the middle slices of a volume, as channels
            middle, half = pixels.shape[1] // 2, recipe.model.slices // 2
            places = np.clip(np.arange(middle - half, middle + half + 1), 0, pixels.shape[1] - 1)
            pixels = np.concatenate([pixels[:, place] for place in places])
        starts = [max(0, side - wanted) // 2 for side, wanted in zip(pixels.shape[1:], patch, strict=True)]
        pixels = pixels[:, *(slice(start, start + wanted) for start, wanted in zip(starts, patch, strict=True))]
        framed = in_frame(pixels, ((0, 0), *margins(pixels.shape[1:], patch)))
        told = told_of(image.disaster, recipe.model.disasters)
        yield np.concatenate([framed, *(np.full((1, *framed.shape[1:]), value, np.float32) for value in told)])


def _numbers(card: Card) -> tuple[int, int]:
    """How many images check a network, and how many tell its ranges."""
    if card.labels.scope == "image":
        return CHECKED, RANGED
    most = max(2, SAMPLED // math.prod(card.recipe.sample.patch))
    return max(2, most // 4), most


def _spread(some: Sequence[T], most: int) -> Sequence[T]:
    return some[:: max(1, len(some) // most)][:most]


def _readers(dataset: Dataset, names: Sequence[str]) -> tuple[Reader, ...]:
    return tuple(lambda case=dataset[name]: dataset.read_image(case) for name in names)


def files_in(place: Path) -> list[Path]:
    """The images of a data set's cases, of a folder, or the one file.

    Raises:
        InputError: There are no images.
    """
    from catenary.predict.files import find_inputs

    try:
        return [case.images[0] for case in open_dataset(place).cases]
    except CatenaryError:  # images without masks or classes
        return [one.source for one in find_inputs([place])]


def _plain(place: Path, card: Card) -> Pictures:
    from catenary.predict.inputs import as_image

    readers = tuple(lambda file=file: as_image(file, card) for file in files_in(place))
    return _halves(readers, f"images of {place.name}")


def _halves(readers: tuple[Reader, ...], told: str) -> Pictures:
    """Every other image checks, the others tell the ranges; one alone checks."""
    return Pictures(check=readers[::2], ranges=readers[1::2], told=told)
