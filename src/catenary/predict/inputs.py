"""What a model is given: read, checked against its card, and looked at for what makes the answer doubtful."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io import read_image
from catenary.predict.card import Card
from catenary.types import Image

__all__ = ["as_image", "doubts"]


def as_image(source: str | Path | Image | NDArray[Any], card: Card) -> Image:
    """Read what a model is to look at, in the form that the model was trained on.

    Args:
        source: A file, an `Image`, or an array ``(c, h, w)``, ``(h, w, c)``, ``(h, w)`` or ``(c, d, h, w)``.
        card: Of the model.

    Raises:
        InputError: It cannot be read, or is not of the kind that the model was trained on.
    """
    image = source
    if isinstance(image, str | Path):
        image = read_image(image)
    elif not isinstance(image, Image):
        array = np.asarray(image)
        if array.ndim == 2 or (array.ndim == 3 and card.rank == 3):
            array = array[None]
        elif array.ndim == 3 and array.shape[0] != card.channels and array.shape[2] == card.channels:
            array = np.moveaxis(array, -1, 0)
        if array.ndim != card.rank + 1:
            wanted = "(h, w, c)" if card.rank == 2 else "(c, d, h, w)"
            raise InputError(f"an image array for this model has the axes {wanted}, found shape {np.shape(image)}")
        image = Image(array=np.ascontiguousarray(array))
    if image.array.dtype.kind not in "buif":
        raise InputError(f"{image.source} has pixels of type {image.array.dtype}; give whole or real numbers")
    if len(image.shape) != card.rank:
        raise InputError(
            f"{image.source} has the size {'x'.join(map(str, image.shape))} but the model was trained on "
            f"{'volumes' if card.rank == 3 else 'images'}; give one of these"
        )
    if image.channels != card.channels:
        raise InputError(
            f"{image.source} has {image.channels} channel(s) but the model was trained on {card.channels}; convert it, "
            "or use a model trained on such images"
        )
    if min(image.shape) == 0:
        raise InputError(f"{image.source} has no pixels (size {image.shape}); give a whole image")
    if image.array.dtype.kind == "f" and not np.isfinite(image.array).all():
        count = int((~np.isfinite(image.array)).sum())
        raise InputError(f"{image.source} has {count} pixels that are NaN or infinite; replace them")
    if image.array.dtype == np.bool_:
        image = replace(image, array=image.array.astype(np.uint8))
    return image


def doubts(image: Image, card: Card) -> list[str]:
    """What makes the answer doubtful: an input unlike those of the training set, in words."""
    found = []
    low, high = float(image.array.min()), float(image.array.max())
    if low == high:
        found.append(f"{image.source}: every pixel is {low:g}; there is nothing to segment")
    if str(image.array.dtype) != card.dtype:
        found.append(f"{image.source}: pixels are {image.array.dtype}, the model was trained on {card.dtype}")
    trained = card.fingerprint
    if trained.get("low") and trained.get("high") and low != high:
        bottom, top = min(trained["low"]), max(trained["high"])
        step = max(1, image.array[0].size // 100_000)
        middle = float(np.median(image.array.reshape(image.channels, -1)[:, ::step]))
        reach = 0.5 * (top - bottom)
        if not bottom - reach <= middle <= top + reach:
            found.append(
                f"{image.source}: the median intensity {middle:g} lies far outside the training images' range "
                f"{bottom:g} to {top:g}"
            )
    return found
