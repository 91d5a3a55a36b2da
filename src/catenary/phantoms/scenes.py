"""Made-up images whose true labels are known to the pixel.

Each scene is a function of a random generator and a size; the same generator state gives the same bytes. They are
made so that no intensity threshold solves them: classes overlap in brightness, illumination drifts, optics blur.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

__all__ = ["CLASSES", "SCENES", "cells", "lesion", "microstructure", "phantoms"]

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def cells(
    rng: np.random.Generator, size: tuple[int, int] = (256, 256)
) -> tuple[UInt8[np.ndarray, "1 h w"], UInt8[np.ndarray, "h w"]]:
    """Fluorescent nuclei: touching, of uneven brightness and focus, over a drifting background; labels 0 and 1.

    >>> image, label = cells(np.random.default_rng(0), (64, 64))
    >>> image.shape, sorted(set(label.ravel().tolist()))
    ((1, 64, 64), [0, 1])
    """
    h, w = size
    light, label = np.zeros(size, np.float32), np.zeros(size, np.uint8)
    for _ in range(max(3, int(h * w / 1500 * rng.uniform(0.6, 1.3)))):
        shape = _blob(rng, size, radius=rng.uniform(6, 12), roughness=0.12)
        brightness = rng.uniform(0.18, 0.9)
        texture = 1 + 0.25 * _noise(rng, size, 3.0)
        light = np.maximum(light, shape * brightness * texture)
        label |= (shape > 0.5).astype(np.uint8)
    haze = cv2.GaussianBlur(light, (0, 0), 9) * 0.5 + 0.12 * _noise(rng, size, 50.0) + 0.16
    focus = rng.uniform(0.7, 1.8)
    image = cv2.GaussianBlur(light, (0, 0), focus) * 0.75 + haze
    # Bright debris, no nucleus: too small.
    for _ in range(int(h * w / 4000)):
        y, x = int(rng.integers(h)), int(rng.integers(w))
        cv2.circle(image, (x, y), int(rng.integers(1, 3)), float(rng.uniform(0.5, 1.0)), -1)
    return _expose(rng, image[None], noise=0.035), label


def microstructure(
    rng: np.random.Generator, size: tuple[int, int] = (256, 256)
) -> tuple[UInt8[np.ndarray, "1 h w"], UInt8[np.ndarray, "h w"]]:
    """Three phases of a porous electrode with partial volume, rings, streaks and noise; labels 0, 1, 2.

    Pore is dark; the two solids differ little in brightness but in texture: phase 2 is finely grained.

    >>> image, label = microstructure(np.random.default_rng(0), (64, 64))
    >>> image.shape, label.dtype
    ((1, 64, 64), dtype('uint8'))
    """
    h, w = size
    first, second = _noise(rng, size, 6.0), _noise(rng, size, 8.0)
    label = np.where(first < rng.uniform(-0.55, -0.25), 0, np.where(second > rng.uniform(-0.15, 0.2), 2, 1)).astype(
        np.uint8
    )
    label = np.asarray(cv2.medianBlur(label, 5), np.uint8)
    grey = np.array([0.22, 0.52, 0.6], np.float32)[label]
    grey = grey + np.where(label == 2, 0.13 * _noise(rng, size, 1.2), 0.02 * _noise(rng, size, 1.2))
    image = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8) + 0.1 * _noise(rng, size, 60.0)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    centre = rng.uniform(-0.2, 1.2, 2) * (h, w)
    radius = np.hypot(y - centre[0], x - centre[1])
    image += 0.03 * np.sin(radius / rng.uniform(2, 5) + rng.uniform(0, 6)) * np.exp(-radius / (h + w))
    image += 0.03 * rng.normal(size=(1, w)).astype(np.float32) * (rng.random((1, w)) < 0.1)
    return _expose(rng, image[None], noise=0.04), label


def lesion(
    rng: np.random.Generator, size: tuple[int, int] = (256, 256)
) -> tuple[UInt8[np.ndarray, "3 h w"], UInt8[np.ndarray, "h w"]]:
    """A skin lesion with irregular border, mottled colour, hair, vignetting and a ruler; labels 0 and 1.

    >>> image, label = lesion(np.random.default_rng(0), (64, 96))
    >>> image.shape, bool(label.any())
    ((3, 64, 96), True)
    """
    h, w = size
    short = min(h, w)
    where = (rng.uniform(0.35, 0.65) * h, rng.uniform(0.35, 0.65) * w)
    shape = _blob(rng, size, radius=rng.uniform(0.13, 0.33) * short, roughness=0.3, where=where)
    label = (shape > 0.5).astype(np.uint8)
    skin = np.array(rng.uniform((0.72, 0.5, 0.42), (0.92, 0.72, 0.66)), np.float32)
    dark = skin * np.array(rng.uniform((0.45, 0.35, 0.35), (0.8, 0.7, 0.72)), np.float32)
    edge = cv2.GaussianBlur(shape, (0, 0), rng.uniform(0.5, 3.0))[None]
    mottle = 0.5 + 0.5 * np.clip(0.6 + 0.5 * _noise(rng, size, short / 18), 0, 1)[None]
    image = skin[:, None, None] * (1 - edge * mottle) + dark[:, None, None] * edge * mottle
    image = image + 0.05 * _noise(rng, size, short / 8)[None] + 0.02 * _noise(rng, size, 1.5)[None]
    planes = np.ascontiguousarray(np.moveaxis(image, 0, -1).astype(np.float32))
    for _ in range(int(rng.integers(0, 16))):
        start, angle = rng.uniform(0, 1, 2) * (w, h), rng.uniform(0, 2 * math.pi)
        t = np.linspace(0, rng.uniform(0.4, 1.1) * short, 24)
        bend = rng.uniform(-0.012, 0.012) * 128 / short
        turn = angle + bend * t
        points = np.stack([start[0] + np.cumsum(np.cos(turn)) * t[1], start[1] + np.cumsum(np.sin(turn)) * t[1]], 1)
        colour = tuple(float(v) for v in rng.uniform(0.05, 0.3) * np.ones(3))
        cv2.polylines(planes, [np.round(points).astype(np.int32)], False, colour, int(rng.integers(1, 3)), cv2.LINE_AA)
    if rng.random() < 0.3:
        for x in range(0, w, max(4, w // 32)):
            cv2.line(planes, (x, h - 1), (x, h - 1 - max(3, h // 24)), (0.2, 0.2, 0.2), 1, cv2.LINE_AA)
    y, x_ = np.mgrid[:h, :w].astype(np.float32)
    distance = np.hypot((y - h / 2) / (h / 2), (x_ - w / 2) / (w / 2))
    vignette = 1 - rng.uniform(0.2, 0.65) * np.clip(distance - 0.55, 0, 1) ** 1.3
    return _expose(rng, np.moveaxis(planes * vignette[..., None], -1, 0), noise=0.02), label


#: Name -> scene.
SCENES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Scene]] = {
    "cells": cells,
    "microstructure": microstructure,
    "lesion": lesion,
}
#: Class names of each scene, background first.
CLASSES: dict[str, tuple[str, ...]] = {
    "cells": ("background", "nucleus"),
    "microstructure": ("pore", "electrolyte", "nickel"),
    "lesion": ("skin", "lesion"),
}


def phantoms(
    scene: str, *, count: int, size: tuple[int, int] = (256, 256), seed: int = 0
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """`count` scenes as ``(name, image (c, h, w), label (h, w))``; each depends on `seed` and its number only.

    >>> [name for name, _, _ in phantoms("cells", count=2, size=(32, 32))]
    ['cells_000', 'cells_001']
    """
    for index in range(count):
        image, label = SCENES[scene](np.random.default_rng([seed, index]), size)
        yield f"{scene}_{index:03d}", image, label


def _noise(rng: np.random.Generator, size: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    """Smooth random field of unit variance."""
    step = max(1, int(sigma / 3))
    coarse = tuple(-(-n // step) + 8 for n in size)
    field = cv2.GaussianBlur(rng.normal(size=coarse).astype(np.float32), (0, 0), sigma / step)
    field = cv2.resize(field, (coarse[1] * step, coarse[0] * step), interpolation=cv2.INTER_CUBIC)
    field = field[: size[0], : size[1]]
    spread = 1 / (2 * math.sqrt(math.pi) * max(sigma / step, 0.3))
    return np.asarray(field / spread, np.float32)


def _blob(
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    radius: float,
    roughness: float,
    where: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """A filled closed curve, anti-aliased; its radius varies with the angle in a few random waves."""
    angle = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    wave = np.ones_like(angle)
    for order in range(2, 8):
        wave += roughness / order**0.8 * rng.normal() * np.cos(order * angle + rng.uniform(0, 2 * math.pi))
    stretch, turn = rng.uniform(0.7, 1.0), rng.uniform(0, math.pi)
    across, along = np.cos(angle) * wave * radius, np.sin(angle) * wave * radius * stretch
    y, x = where if where is not None else (rng.uniform(0, size[0]), rng.uniform(0, size[1]))
    points = np.stack(
        [x + across * math.cos(turn) - along * math.sin(turn), y + across * math.sin(turn) + along * math.cos(turn)], 1
    )
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(canvas / np.float32(255), np.float32)


def _expose(rng: np.random.Generator, image: NDArray[np.floating], *, noise: float) -> NDArray[np.uint8]:
    """Brightness, contrast and sensor noise that differ from image to image, as 8 bit."""
    exposed = (image - 0.5) * rng.uniform(0.8, 1.15) + 0.5 + rng.uniform(-0.1, 0.1)
    exposed = exposed + rng.normal(0, noise, image.shape)
    return np.clip(exposed * 255, 0, 255).astype(np.uint8)
