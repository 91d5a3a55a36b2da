"""Procedural pictures with exact truth: every pixel's class is known because it was drawn.

They are made so that grey value alone does not tell the classes (uneven light, overlapping intensities, hair, dark
corners), while shape and surroundings do: a network has to learn something, and can.

>>> image, label = SCENES["cells"](np.random.default_rng(0), (64, 80))
>>> image.shape, label.shape, sorted(set(label.ravel().tolist()))
((1, 64, 80), (64, 80), [0, 1])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, near_match
from catenary.phantoms.cells import cells
from catenary.phantoms.lesion import lesion
from catenary.phantoms.microstructure import microstructure

__all__ = ["CLASSES", "SCENES", "Scene", "phantoms"]

#: Draws one picture ``(c, h, w)`` and its label map ``(h, w)``.
Scene = Callable[[np.random.Generator, tuple[int, int]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]

#: Every scene by name.
SCENES: dict[str, Scene] = {"cells": cells, "microstructure": microstructure, "lesion": lesion}

#: Class names of each scene, in label order.
CLASSES: dict[str, tuple[str, ...]] = {
    "cells": ("background", "nucleus"),
    "microstructure": ("pore", "electrolyte", "nickel"),
    "lesion": ("skin", "lesion"),
}


def phantoms(
    scene: str, *, count: int, size: tuple[int, int] = (256, 256), seed: int = 0
) -> Iterator[tuple[str, UInt8[np.ndarray, "c h w"], UInt8[np.ndarray, "h w"]]]:
    """Draw `count` pictures of one scene.

    Args:
        scene: Which of `SCENES`.
        count: How many.
        size: Pixels ``(h, w)``.
        seed: Picture number i depends on `seed` and i only, so a longer set begins with the shorter one.

    Yields:
        Name, image ``(c, h, w)`` and label map ``(h, w)``.

    Raises:
        InputError: When the scene is unknown or the size is not positive.

    >>> [name for name, image, label in phantoms("cells", count=2, size=(32, 32))]
    ['cells_000', 'cells_001']
    """
    if scene not in SCENES:
        raise InputError(f"there is no scene '{scene}'; {near_match(scene, SCENES)}")
    if min(size) < 1:
        raise InputError(f"a picture needs a height and a width of at least 1 pixel, found {size}; ask for more")
    for number in range(count):
        image, label = SCENES[scene](np.random.default_rng([seed, number]), size)
        yield f"{scene}_{number:03d}", image, label
