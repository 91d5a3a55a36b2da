"""What goes wrong when a photo of the back of the eye is taken, and pictures that are none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, near_match
from catenary.phantoms.fields import add_noise, blurred, coordinates, correlated, to_uint8

__all__ = ["FAULTS", "STRANGERS", "spoiled", "stranger"]

cv2: Any = opencv  # its type stubs refuse much that it takes

Array = NDArray[Any]


def spoiled(
    image: UInt8[np.ndarray, "3 h w"], fault: str, strength: float, rng: np.random.Generator | None = None
) -> UInt8[np.ndarray, "3 h w"]:
    """A photo with one fault.

    Args:
        image: RGB.
        fault: One of `FAULTS`.
        strength: 0, no change, to 1, no use.
        rng: Where randomness comes from; seed 0 without it.

    Raises:
        InputError: The fault is not known, or the strength is not 0 to 1.

    >>> photo = np.full((3, 32, 32), 128, np.uint8)
    >>> int(spoiled(photo, "dark", 0.5).mean()) < 64, bool((spoiled(photo, "glare", 0.0) == photo).all())
    (True, True)
    """
    if fault not in FAULTS:
        raise InputError(f"there is no fault '{fault}'; {near_match(fault, FAULTS)}")
    if not 0 <= strength <= 1:
        raise InputError(f"a fault has a strength of 0 to 1, found {strength}; change it")
    if not strength:
        return image.copy()
    rng = np.random.default_rng(0) if rng is None else rng
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.float32) / 255
    worse = to_uint8(np.ascontiguousarray(FAULTS[fault](pixels, float(strength), rng), np.float32))
    return np.ascontiguousarray(worse.transpose(2, 0, 1))


def stranger(
    kind: str, size: tuple[int, int] = (256, 256), rng: np.random.Generator | None = None
) -> UInt8[np.ndarray, "3 h w"]:
    """A picture of something else, RGB.

    Args:
        kind: One of `STRANGERS`.
        size: Pixels ``(h, w)``.
        rng: Where randomness comes from; seed 0 without it.

    Raises:
        InputError: The kind is not known, or a side has fewer than 16 pixels.

    >>> int(stranger("black", (32, 48)).max()) < 20
    True
    """
    if kind not in STRANGERS:
        raise InputError(f"there is no picture '{kind}'; {near_match(kind, STRANGERS)}")
    if min(size) < 16:
        raise InputError(f"a picture needs a height and a width of at least 16 pixels, found {size}; ask for more")
    drawn = STRANGERS[kind](np.random.default_rng(0) if rng is None else rng, size)
    return np.ascontiguousarray(to_uint8(np.ascontiguousarray(drawn, np.float32)).transpose(2, 0, 1))


def _blur(image: Array, strength: float, rng: np.random.Generator) -> Array:
    return np.asarray(blurred(image, max(0.1, 0.02 * strength * min(image.shape[:2]))))


def _glare(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """White reflections of the cornea: a crescent and spots, and a haze around them."""
    size = image.shape[:2]
    rows, columns = coordinates(size)
    turn = rng.uniform(0, 2 * math.pi)
    row, column = 0.45 * math.sin(turn), 0.45 * math.cos(turn)
    from_middle = np.hypot(rows - row, columns - column)
    outer = np.exp(-((from_middle / (0.15 + 0.45 * strength)) ** 6))
    inner = np.exp(-((np.hypot(rows - 0.6 * row, columns - 0.6 * column) / 0.35) ** 6))
    light = outer * (1 - inner * (1 - strength))
    for _ in range(3):
        row, column = rng.uniform(-0.6, 0.6, 2)
        light = np.maximum(light, np.exp(-((np.hypot(rows - row, columns - column) / (0.03 + 0.09 * strength)) ** 4)))
    light = 1.6 * blurred(light.astype(np.float32), max(1.0, 0.015 * min(size))) + 0.15
    seen = np.clip(blurred(np.ascontiguousarray(image.max(axis=2)), max(1.0, 0.01 * min(size))) / 0.08, 0, 1)
    return np.asarray(image + np.clip(strength * light * seen, 0, 1)[..., None] * (1 - image))


def _uneven(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """A shadow over one side, as from a pupil that is not centred."""
    rows, columns = coordinates(image.shape[:2])
    turn = rng.uniform(0, 2 * math.pi)
    along = math.cos(turn) * columns + math.sin(turn) * rows
    shadow = 1 / (1 + np.exp(np.clip(-(along - 0.5 + 0.7 * strength) / 0.15, -30, 30)))
    return np.asarray(image * (1 - 0.93 * strength * shadow[..., None]))


def _dark(image: Array, strength: float, rng: np.random.Generator) -> Array:
    return np.asarray(add_noise(image * np.float32((1 - strength) ** 2 * 0.97 + 0.03), rng, read=0.012 * strength))


def _vignette(image: Array, strength: float, rng: np.random.Generator) -> Array:
    """A phone before a lens: a small round view that is not centred, with a bright ring."""
    rows, columns = coordinates(image.shape[:2])
    row, column = 0.25 * strength * rng.uniform(-1, 1, 2)
    away = np.hypot(rows - row, columns - column)
    radius = 1.1 - 0.65 * strength
    seen = 1 / (1 + np.exp(np.clip((away - radius) / 0.02, -30, 30)))
    ring = 0.5 * strength * np.exp(-(((away - radius) / 0.03) ** 2))
    return np.asarray(image * seen[..., None] + ring[..., None] * np.array((1.0, 0.95, 0.85)))


def _jpeg(image: Array, strength: float, rng: np.random.Generator) -> Array:
    from imagecodecs import jpeg_decode, jpeg_encode

    coded = jpeg_encode(to_uint8(np.ascontiguousarray(image)), level=round(95 - 92 * strength))
    return np.asarray(jpeg_decode(coded), np.float32) / 255


def _noise(image: Array, strength: float, rng: np.random.Generator) -> Array:
    return np.asarray(add_noise(image, rng, read=0.2 * strength))


#: Faults: called as ``f(image, strength, rng)`` on RGB ``(h, w, 3)``, 0..1.
FAULTS: dict[str, Callable[[Array, float, np.random.Generator], Array]] = {
    "blur": _blur,
    "glare": _glare,
    "uneven": _uneven,
    "dark": _dark,
    "vignette": _vignette,
    "jpeg": _jpeg,
    "noise": _noise,
}


def _canvas(size: tuple[int, int], colour: tuple[float, float, float]) -> Array:
    return np.full((*size, 3), colour, np.float32)


def _black(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return np.asarray(add_noise(_canvas(size, (0.01, 0.01, 0.01)), rng, read=0.006))


def _white_noise(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return rng.random((*size, 3), np.float32)


def _page(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """Lines of words on paper."""
    page = _canvas(size, (0.93, 0.92, 0.89))
    height, width = size
    pitch = max(4, height // 28)
    for row in range(2 * pitch, height - 2 * pitch, pitch):
        column = width // 10
        while column < width * rng.uniform(0.75, 0.92):
            long = max(1, round(pitch * rng.uniform(0.6, 3.0)))
            cv2.rectangle(page, (column, row), (column + long, row + pitch // 2), (0.15, 0.15, 0.18), -1)
            column += long + max(1, pitch // 3)
    return np.asarray(add_noise(blurred(page, max(0.4, min(size) / 500)), rng, read=0.01))


def _portrait(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """Head and shoulders before a wall."""
    height, width = size
    unit = min(size) / 100
    skin = np.array((0.85, 0.62, 0.50)) * rng.uniform(0.55, 1.05)
    wall, cloth = rng.uniform(0.35, 0.8, 3), rng.uniform(0.1, 0.6, 3)
    hair = np.array((0.18, 0.12, 0.09)) * rng.uniform(0.5, 2.0)
    picture = _canvas(size, (wall[0], wall[1], wall[2]))
    middle = np.array((width / 2, height / 2))

    def oval(x: float, y: float, a: float, b: float, colour: Array) -> None:
        place = tuple(int(n) for n in middle + np.array((x, y)) * unit)
        axes = max(1, round(a * unit)), max(1, round(b * unit))
        cv2.ellipse(picture, place, axes, 0, 0, 360, colour.tolist(), -1, cv2.LINE_AA)

    oval(0, 52, 42, 30, cloth)
    oval(0, 24, 9, 14, skin * 0.85)
    oval(0, -10, 23, 29, hair)
    oval(0, -4, 19, 25, skin)
    for side in (-8, 8):
        oval(side, -8, 4, 2, np.array((0.95, 0.95, 0.94)))
        oval(side, -8, 1.8, 1.8, hair)
        oval(side, -13, 5, 1, hair)
    oval(0, 1, 2.5, 4, skin * 0.9)
    oval(0, 10, 6, 1.8, np.array((0.68, 0.32, 0.32)))
    shade = 1 + np.float32(0.06) * correlated(rng, size, 30 * unit)
    return np.asarray(add_noise(blurred(picture, max(0.4, 0.5 * unit)) * shade[..., None], rng, read=0.012))


def _finger(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """A fingertip on the lens: red light without any detail."""
    rows, columns = coordinates(size)
    glow = 1 - 0.35 * np.hypot(rows - rng.uniform(-0.5, 0.5), columns - rng.uniform(-0.5, 0.5))
    return np.asarray(add_noise(glow[..., None] * np.array((0.85, 0.16, 0.08), np.float32), rng, read=0.012))


#: Pictures of something else: called as ``f(rng, size)``.
STRANGERS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "black": _black,
    "noise": _white_noise,
    "page": _page,
    "portrait": _portrait,
    "finger": _finger,
}
