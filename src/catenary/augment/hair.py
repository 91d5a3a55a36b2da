"""Hairs across a picture of skin, so that a network learns to look past them; the labels stay.

Curved lines of drawn length, width and darkness, as in hair simulation for testing hair removal (Attia et al. 2020
give the idea; ours are plain quadratic curves).
"""

from __future__ import annotations

from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

__all__ = ["draw_hairs"]

cv2: Any = opencv  # its type stubs refuse much that it takes

_POINTS = 24
_FINE = 4  # OpenCV takes coordinates in sixteenths of a pixel when told four fractional bits


def draw_hairs(
    image: Shaped[np.ndarray, "h w c"], rng: np.random.Generator, *, low: NDArray[Any], high: NDArray[Any]
) -> Shaped[np.ndarray, "h w c"]:
    """A copy of `image` with 4 to 24 hairs.

    Args:
        image: Any real type.
        rng: Decides all of it.
        low, high: Intensity range of each channel; hairs are dark, one picture in ten has light ones.

    >>> skin = np.full((64, 64, 3), 180, np.uint8)
    >>> hairy = draw_hairs(skin, np.random.default_rng(0), low=np.zeros(3), high=np.full(3, 255.0))
    >>> 0.02 < float(np.mean(hairy < 170)) < 0.6
    True
    """
    height, width = image.shape[:2]
    side = max(height, width)
    cover = np.zeros((height, width), np.uint8)
    towards = rng.uniform(0, np.pi)  # hairs of one place lie alike
    for _ in range(int(rng.integers(4, 25))):
        middle = rng.uniform(0, 1, 2) * (width, height)
        angle = towards + rng.normal(0, 0.5)
        half = 0.5 * rng.uniform(0.2, 1.0) * side * np.array([np.cos(angle), np.sin(angle)])
        bend = rng.normal(0, 0.12) * side * np.array([-np.sin(angle), np.cos(angle)])
        t = np.linspace(-1, 1, _POINTS)[:, None]
        curve = middle + t * half + (1 - t * t) * bend
        thickness = int(rng.integers(1, max(1, side // 160) + 1))
        depth = int(255 * rng.uniform(0.6, 1.0))
        points = np.round(curve * 2**_FINE).astype(np.int32)
        cv2.polylines(cover, [points], False, depth, thickness, cv2.LINE_AA, _FINE)
    share = rng.uniform(0.75, 0.95) if rng.random() < 0.1 else rng.uniform(0.0, 0.25)
    brown = np.array([1.0, 0.75, 0.6]) if image.shape[2] == 3 else np.ones(image.shape[2])
    colour = low + share * brown * (high - low)
    alpha = (cover / np.float32(255))[..., None]
    value: NDArray[Any] = image * (1 - alpha) + colour.astype(np.float32) * alpha
    value = np.rint(value) if image.dtype.kind in "ui" else value
    return value.astype(image.dtype)
