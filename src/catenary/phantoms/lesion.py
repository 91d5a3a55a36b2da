"""A pigmented skin lesion as a dermatoscope shows it: ragged border, many colours, hair, dark corners, ruler."""

from __future__ import annotations

import math
from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.phantoms.fields import add_noise, blurred, coordinates, correlated, to_uint8

__all__ = ["lesion"]

cv2: Any = opencv  # its type stubs refuse much that it takes

Colour = tuple[float, float, float]

#: Skin from pale to tanned, and pigments from tan over brown and grey-blue to black, RGB 0..1.
SKIN: tuple[Colour, ...] = ((0.93, 0.76, 0.69), (0.88, 0.66, 0.56), (0.80, 0.60, 0.48), (0.70, 0.50, 0.39))
PIGMENT: tuple[Colour, ...] = (
    (0.68, 0.44, 0.31), (0.54, 0.33, 0.22), (0.43, 0.26, 0.18), (0.62, 0.38, 0.33), (0.26, 0.17, 0.14),
    (0.42, 0.38, 0.40),
)  # fmt: skip


def lesion(
    rng: np.random.Generator, size: tuple[int, int] = (256, 256)
) -> tuple[UInt8[np.ndarray, "3 h w"], UInt8[np.ndarray, "h w"]]:
    """One lesion near the middle of a dermoscopy picture.

    Hard for a threshold: corners, hair, ruler and shade are as dark as pigment, parts of the lesion are as light
    as skin elsewhere.

    Args:
        rng: Where randomness comes from.
        size: Pixels ``(h, w)``; the lesion scales with the shorter side.

    Returns:
        RGB image ``(3, h, w)`` and label map: 0 skin, 1 lesion.

    >>> image, label = lesion(np.random.default_rng(0), (64, 96))
    >>> image.shape, bool(label[32, 48])
    ((3, 64, 96), True)
    """
    depth = _depth(rng, size)
    label: NDArray[np.uint8] = (depth > 0).astype(np.uint8)
    tone = _tone(rng)
    image = _skin(rng, size, tone)
    # How much pigment covers the skin: half at the border of the truth, over a border that is sharp or soft.
    softness = rng.uniform(0.012, 0.05)
    cover = (1 / (1 + np.exp(np.clip(-depth / np.float32(softness / 2), -30, 30))))[..., None]
    strength = np.float32(rng.uniform(0.7, 0.95))
    # Pigment filters the light that the skin sends back, so its colours darken with the skin's tone.
    image += strength * cover * (_pigment(rng, depth) * (tone / np.array(SKIN[0], np.float32)) - image)
    if rng.random() < 0.5:
        _bubbles(rng, image)
    image = blurred(image, max(0.3, min(size) / 256 * rng.uniform(0.5, 1.0)))
    if rng.random() < 0.65:
        _hairs(rng, image)
    if rng.random() < 0.4:
        _ruler(rng, image)
    image *= _light(rng, size)[..., None]
    image = add_noise(image, rng, read=0.012)
    return np.ascontiguousarray(to_uint8(image).transpose(2, 0, 1)), label


def _depth(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Positive inside the lesion, zero on its border; 1 is the longer half side."""
    rows, columns = coordinates(size)
    short = min(size) / max(size)
    rows, columns = (
        rows - np.float32(short * rng.uniform(-0.2, 0.2)),
        columns - np.float32(short * rng.uniform(-0.2, 0.2)),
    )
    tilt, stretch = rng.uniform(0, math.pi), math.sqrt(rng.uniform(1.0, 1.7))
    along = (np.float32(math.cos(tilt)) * columns + np.float32(math.sin(tilt)) * rows) / np.float32(stretch)
    across = (np.float32(math.cos(tilt)) * rows - np.float32(math.sin(tilt)) * columns) * np.float32(stretch)
    radius = np.sqrt(along**2 + across**2)
    angle = np.arctan2(across, along)
    border = np.full(size, short * rng.uniform(0.34, 0.68), np.float32)
    for order in range(2, 6):
        swing = rng.normal(0, 0.11 / order) * float(border[0, 0])
        border += np.float32(swing) * np.cos(order * angle + np.float32(rng.uniform(0, 6.3)))
    ragged = np.float32(0.05 * short) * correlated(rng, size, 0.14 * min(size))
    ragged += np.float32(0.02 * short) * correlated(rng, size, 0.05 * min(size))
    depth: NDArray[np.float32] = border - radius
    # Raggedness fades with distance, so that no islands float far out on the skin or hollow out the middle.
    depth += ragged * np.exp(-((depth / np.float32(0.2 * short)) ** 2))
    return depth


def _tone(rng: np.random.Generator) -> NDArray[np.float32]:
    """A colour between two skins."""
    first, second = rng.choice(len(SKIN), 2)
    mix = np.float32(rng.uniform(0, 1))
    return np.array(SKIN[first], np.float32) * mix + np.array(SKIN[second], np.float32) * (1 - mix)


def _skin(rng: np.random.Generator, size: tuple[int, int], tone: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pink mottling, pores and fine lines on a tone."""
    mottle = correlated(rng, size, 0.2 * min(size))
    fine = correlated(rng, size, max(1.5, min(size) / 100))
    change = np.stack([0.010 * mottle, -0.016 * mottle, -0.012 * mottle], 2) + (0.022 * fine)[..., None]
    return (tone + change).astype(np.float32)


def _pigment(rng: np.random.Generator, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two to four colours in patches, lighter towards the border, with a network of fine dark lines."""
    size = depth.shape
    image = np.empty((*size, 3), np.float32)
    image[:] = PIGMENT[rng.integers(4)]
    for name in rng.choice(len(PIGMENT), rng.integers(1, 4), replace=False):
        patch = correlated(rng, size, rng.uniform(0.15, 0.4) * min(size)) - np.float32(rng.uniform(0.2, 1.0))
        image += (1 / (1 + np.exp(-6 * patch)))[..., None] * (np.array(PIGMENT[name], np.float32) - image)
    # A net: thin ridges where a field passes through zero.
    net = np.exp(-((correlated(rng, size, max(2.0, min(size) / 64)) / np.float32(0.45)) ** 2))
    image *= (1 - np.float32(rng.uniform(0.0, 0.22)) * net)[..., None]
    rim = np.exp(-np.maximum(depth, 0) / np.float32(0.12))[..., None]
    return image + np.float32(rng.uniform(0.0, 0.14)) * rim


def _hairs(rng: np.random.Generator, image: NDArray[np.float32]) -> None:
    """Dark or light curved lines, drawn with soft edges."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.uint8)
    spread = rng.uniform(0.3, 3.0)
    lean = rng.uniform(0, 2 * math.pi)
    for _ in range(rng.integers(3, 22)):
        turn = lean + rng.normal(0, spread / 3)
        reach = rng.uniform(0.3, 1.1) * max(height, width)
        start = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        step = np.array([math.cos(turn), math.sin(turn)]) * reach / 2
        bend = np.array([-step[1], step[0]]) * rng.normal(0, 0.3)
        t = np.linspace(0, 1, 24)[:, None]
        points = (1 - t) ** 2 * (start - step) + 2 * t * (1 - t) * (start + bend) + t**2 * (start + step)
        thickness = 1 + int(rng.random() < 0.35) * max(1, min(height, width) // 256)
        cv2.polylines(cover, [np.rint(points * 16).astype(np.int32)], False, 255, thickness, cv2.LINE_AA, 4)
    dark = rng.uniform(0.04, 0.28)
    colour = np.array([dark, 0.8 * dark, 0.7 * dark], np.float32)
    share = (cover.astype(np.float32) * np.float32(rng.uniform(0.6, 0.95) / 255))[..., None]
    image += share * (colour - image)


def _ruler(rng: np.random.Generator, image: NDArray[np.float32]) -> None:
    """Dark ticks along one edge, every fifth longer."""
    height, width = image.shape[:2]
    pitch = max(4, round(min(height, width) / rng.uniform(16, 28)))
    edge = rng.integers(4)
    for number, place in enumerate(range(pitch // 2, width if edge % 2 == 0 else height, pitch)):
        reach = round((0.085 if number % 5 == 0 else 0.045) * min(height, width))
        near, far = (0, reach) if edge < 2 else ((height if edge == 2 else width) - 1 - reach, height + width)
        ends = ((place, near), (place, far)) if edge % 2 == 0 else ((near, place), (far, place))
        cv2.line(image, *ends, (0.12, 0.11, 0.12), max(1, min(height, width) // 200), cv2.LINE_8)


def _bubbles(rng: np.random.Generator, image: NDArray[np.float32]) -> None:
    """Bubbles in the contact gel: a bright rim with a glint."""
    height, width = image.shape[:2]
    shine = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 8)):
        radius = max(1, round(min(height, width) * rng.uniform(0.012, 0.05)))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(shine, (x, y), radius, rng.uniform(0.15, 0.35), max(1, radius // 5))
        cv2.circle(shine, (x - radius // 3, y - radius // 3), max(1, radius // 4), 0.7, -1)
    image += blurred(shine, 0.8)[..., None]


def _light(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """A slanting shade, dark corners, and sometimes the round black edge of the dermatoscope's field."""
    rows, columns = coordinates(size)
    turn, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.3)
    shade = 1 + np.float32(slope) * (np.float32(math.sin(turn)) * rows + np.float32(math.cos(turn)) * columns)
    distance = np.sqrt(rows**2 + columns**2)
    shade *= 1 - np.float32(rng.uniform(0.1, 0.35)) * distance**2
    if rng.random() < 0.45:
        field = rng.uniform(0.95, 1.2) * math.hypot(*size) / max(size) / math.sqrt(2)
        shade *= np.float32(0.1) + np.float32(0.9) / (
            1 + np.exp(np.clip((distance - np.float32(field)) / 0.02, -30, 30))
        )
    return shade.astype(np.float32)
