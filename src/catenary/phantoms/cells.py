"""Fluorescent nuclei that touch, differ in size, brightness and focus, on an uneven glowing background."""

from __future__ import annotations

import math
from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.phantoms.fields import add_noise, blurred, coordinates, correlated, to_uint8

__all__ = ["cells"]

cv2: Any = opencv  # its type stubs refuse much that it takes

#: Blur in pixels of the layers that nuclei lie in, from sharp to out of focus.
FOCUS = (0.7, 1.2, 2.0)

#: Pixels of picture for each nucleus.
AREA_EACH = 1100

#: Sub-pixel bits of OpenCV's polygon coordinates.
BITS = 4

#: Corners of an outline on the unit circle, the waves (cosine and sine of 2 to 5 times the angle) that bend it, and
#: their strengths as a share of the radius.
ANGLE = np.linspace(0, 2 * math.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLE), np.sin(ANGLE)])
WAVES = np.stack([turn(order * ANGLE) for order in (2, 3, 4, 5) for turn in (np.cos, np.sin)])
WOBBLE = np.repeat([0.045, 0.045, 0.03, 0.02], 2)


def cells(
    rng: np.random.Generator, size: tuple[int, int] = (256, 256)
) -> tuple[UInt8[np.ndarray, "1 h w"], UInt8[np.ndarray, "h w"]]:
    """Nuclei as a fluorescence microscope shows them.

    Hard for a threshold: dim nuclei are darker than the haze elsewhere, bright debris is not a nucleus.

    Args:
        rng: Where randomness comes from.
        size: Pixels ``(h, w)``; nuclei are about 10 to 30 pixels wide whatever it is.

    Returns:
        Grey image ``(1, h, w)`` and label map: 0 background, 1 nucleus.

    >>> image, label = cells(np.random.default_rng(1), (128, 128))
    >>> bool(0.05 < label.mean() < 0.6)
    True
    """
    label = np.zeros(size, np.uint8)
    layers = [np.zeros(size, np.float32) for _ in FOCUS]
    for centre, radius in _places(rng, size):
        outline = _outline(rng, centre, radius)
        # Log-normal brightness: the brightest nuclei are about six times the dimmest.
        shine = float(np.clip(0.30 * math.exp(0.5 * rng.standard_normal()), 0.15, 0.9))
        layer = layers[rng.choice(len(FOCUS), p=(0.5, 0.3, 0.2))]
        cv2.fillPoly(layer, [outline], shine, lineType=cv2.LINE_8, shift=BITS)
        cv2.fillPoly(label, [outline], 1, lineType=cv2.LINE_8, shift=BITS)
        if radius > 5:
            _nucleoli(rng, layer, centre, radius, shine)
    chromatin = np.float32(1) + np.float32(0.22) * correlated(rng, size, 3.0)
    image = np.zeros(size, np.float32)
    for layer, sigma in zip(layers, FOCUS, strict=True):
        image += blurred(layer * chromatin, sigma)
    glow = blurred(image, 14.0)
    image += np.float32(0.55) * glow + _background(rng, size)
    _debris(rng, image)
    light = _illumination(rng, size)
    return to_uint8(add_noise(image * light, rng, read=0.012, shot=0.07))[None], label


def _places(rng: np.random.Generator, size: tuple[int, int]) -> list[tuple[tuple[float, float], float]]:
    """Centres ``(row, column)`` and mean radii: clusters and loners that touch but hardly overlap."""
    wanted = max(1, round(size[0] * size[1] / AREA_EACH * rng.uniform(0.6, 1.3)))
    placed: list[tuple[tuple[float, float], float]] = []
    seeds = [(rng.uniform(0, size[0]), rng.uniform(0, size[1])) for _ in range(max(1, wanted // 5))]
    typical = rng.uniform(7.5, 11.0)
    for _ in range(4 * wanted):
        if len(placed) == wanted:
            break
        radius = float(np.clip(typical * math.exp(0.25 * rng.standard_normal()), 4.5, 17))
        if rng.random() < 0.7:
            row, column = seeds[rng.integers(len(seeds))]
            row, column = row + rng.normal(0, 18), column + rng.normal(0, 18)
        else:
            row, column = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        if all(math.hypot(row - r, column - c) > 0.88 * (radius + other) for (r, c), other in placed):
            placed.append(((row, column), radius))
    # Nothing may have landed inside a small picture: then the first nucleus goes to its middle.
    if not any(0 <= row < size[0] and 0 <= column < size[1] for (row, column), _ in placed):
        placed.append(((size[0] / 2, size[1] / 2), min(typical, max(1.0, min(size) / 4))))
    return placed


def _outline(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> NDArray[np.int32]:
    """A wobbly ellipse as polygon points ``(x, y)`` in sub-pixels."""
    stretch, tilt = rng.uniform(1.0, 1.6), rng.uniform(0, math.pi)
    wobble = 1 + (rng.standard_normal(WAVES.shape[0]) * WOBBLE) @ WAVES
    along, across = wobble * CIRCLE[0] * math.sqrt(stretch), wobble * CIRCLE[1] / math.sqrt(stretch)
    x = centre[1] + radius * (along * math.cos(tilt) - across * math.sin(tilt))
    y = centre[0] + radius * (along * math.sin(tilt) + across * math.cos(tilt))
    points: NDArray[np.int32] = np.rint(np.stack([x, y], 1) * 2**BITS).astype(np.int32)
    return points


def _nucleoli(
    rng: np.random.Generator, layer: NDArray[np.float32], centre: tuple[float, float], radius: float, light: float
) -> None:
    """A few small dark or bright bodies inside a nucleus."""
    for turn, reach, body, kind in rng.random((rng.integers(0, 4), 4)).tolist():
        x = centre[1] + 0.5 * radius * reach * math.cos(2 * math.pi * turn)
        y = centre[0] + 0.5 * radius * reach * math.sin(2 * math.pi * turn)
        place = (round(x * 2**BITS), round(y * 2**BITS))
        size = round(radius * (0.12 + 0.1 * body) * 2**BITS)
        cv2.circle(layer, place, size, light * (0.55 if kind < 0.5 else 1.5), -1, cv2.LINE_8, BITS)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Haze that is brighter in places than the dim nuclei, with soft cell bodies in it."""
    haze = np.float32(0.10) + np.float32(0.055) * correlated(rng, size, 0.6 * max(size))
    bodies = np.maximum(correlated(rng, size, 34.0), 0) * np.float32(rng.uniform(0.03, 0.075))
    background: NDArray[np.float32] = np.maximum(haze, np.float32(0.02)) + bodies
    return background


def _debris(rng: np.random.Generator, image: NDArray[np.float32]) -> None:
    """Small bright specks and blurred blobs above the focal plane that are no nuclei."""
    height, width = image.shape
    specks = np.zeros_like(image)
    for _ in range(rng.poisson(height * width / 4500)):
        place = (round(rng.uniform(0, width)), round(rng.uniform(0, height)))
        cv2.circle(specks, place, int(rng.integers(1, 3)), rng.uniform(0.2, 0.9), -1)
    image += blurred(specks, 0.8)


def _illumination(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Light that falls off from a bright side, as of a badly centred lamp."""
    rows, columns = coordinates(size)
    turn, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.5)
    side = np.float32(math.sin(turn)) * rows + np.float32(math.cos(turn)) * columns
    light: NDArray[np.float32] = (1 + np.float32(slope) * side) * (1 - np.float32(0.25) * (rows**2 + columns**2))
    return light
