"""Random textures and optics that the scenes share."""

from __future__ import annotations

import math
from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import Float32, UInt8

__all__ = ["add_noise", "blurred", "coordinates", "correlated", "to_uint8"]

cv2: Any = opencv  # its type stubs refuse much that it takes


def correlated(rng: np.random.Generator, size: tuple[int, int], length: float) -> Float32[np.ndarray, "h w"]:
    """A Gaussian random field of mean 0 and deviation 1 whose structures are about `length` pixels wide.

    White noise on a grid as coarse as `length` allows, smoothed there and enlarged: the cost hardly grows with it.

    >>> field = correlated(np.random.default_rng(0), (64, 96), 8.0)
    >>> field.shape, abs(round(float(field.std()), 2))
    ((64, 96), 1.0)
    """
    step = max(1.0, length / 4)
    rows, columns = (math.ceil(side / step) + 8 for side in size)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    coarse = cv2.GaussianBlur(coarse, (0, 0), length / step / 2, borderType=cv2.BORDER_REFLECT_101)
    whole = coarse if step == 1 else cv2.resize(coarse, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    edge = round(3 * step)
    field = whole[edge : edge + size[0], edge : edge + size[1]]
    field = field - field.mean()
    spread = float(field.std())
    return np.ascontiguousarray(field / np.float32(spread) if spread > 0 else field)


def coordinates(size: tuple[int, int]) -> tuple[Float32[np.ndarray, "h 1"], Float32[np.ndarray, "1 w"]]:
    """Row and column of each pixel from -1 to 1 over the longer side, centred."""
    half = max(max(size) - 1, 1) / 2
    rows, columns = ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / half for side in size)
    return rows[:, None].astype(np.float32), columns[None, :].astype(np.float32)


def blurred(image: Float32[np.ndarray, "..."], sigma: float) -> Float32[np.ndarray, "..."]:
    """Gaussian blur of ``(h, w)`` or ``(h, w, c)``."""
    answer: np.ndarray = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return answer


def add_noise(
    image: Float32[np.ndarray, "..."], rng: np.random.Generator, *, read: float, shot: float = 0.0
) -> Float32[np.ndarray, "..."]:
    """Camera noise: a constant part `read`, and one that grows with the square root of the light (`shot` at 1)."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if shot:
        noise *= np.sqrt(np.float32(read**2) + np.float32(shot**2) * np.maximum(image, 0))
    else:
        noise *= np.float32(read)
    noise += image
    return noise


def to_uint8(image: Float32[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Intensities 0..1 as 8 bits, clipped."""
    pixels: np.ndarray = cv2.convertScaleAbs(np.maximum(image, 0), alpha=255)
    return pixels.reshape(image.shape)
