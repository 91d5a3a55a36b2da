"""A three-phase porous electrode as an X-ray tomograph shows it: two phases nearly alike, rings, streaks, noise."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.phantoms.fields import add_noise, blurred, coordinates, correlated, to_uint8

__all__ = ["microstructure"]


def microstructure(
    rng: np.random.Generator, size: tuple[int, int] = (256, 256)
) -> tuple[UInt8[np.ndarray, "1 h w"], UInt8[np.ndarray, "h w"]]:
    """Pore, electrolyte and nickel grains as level sets of two correlated random fields.

    Hard for thresholds: electrolyte and nickel differ by less than noise, shading and rings together; the blurred
    edge between pore and nickel has the electrolyte's grey (partial volume).

    Args:
        rng: Where randomness comes from.
        size: Pixels ``(h, w)``; grains are about 15 to 30 pixels wide whatever it is.

    Returns:
        Grey image ``(1, h, w)`` and label map: 0 pore, 1 electrolyte, 2 nickel.

    >>> image, label = microstructure(np.random.default_rng(0), (96, 96))
    >>> sorted(set(label.ravel().tolist()))
    [0, 1, 2]
    """
    label = _phases(rng, size)
    contrast = rng.uniform(0.11, 0.15)
    grey = np.array([0.20, 0.56, 0.56 + contrast], np.float32)[label]
    # Electrolyte is sintered from fine powder, nickel is smooth: a faint texture that a threshold cannot use.
    grain = correlated(rng, size, 2.5)
    grey += np.array([0.015, 0.04, 0.0], np.float32)[label] * grain
    image = blurred(grey, rng.uniform(0.9, 1.3))
    image += np.float32(0.045) * correlated(rng, size, 0.5 * max(size))
    image += _rings(rng, size) + _streaks(rng, label)
    # Reconstruction correlates noise between neighbours.
    noise = blurred(rng.standard_normal(size, dtype=np.float32), 0.6)
    image += np.float32(rng.uniform(0.045, 0.06) / max(float(noise.std()), 1e-6)) * noise
    return to_uint8(add_noise(image, rng, read=0.02))[None], label


def _phases(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    length = rng.uniform(9, 13)
    # The difference of two scales has one typical grain size, where one scale alone has islands of every size.
    pores, metal = (correlated(rng, size, length) - np.float32(0.6) * correlated(rng, size, 3 * length) for _ in "ab")
    solid = pores > np.quantile(pores, rng.uniform(0.22, 0.38))
    nickel = metal > np.quantile(metal, rng.uniform(0.45, 0.6))
    return (solid.astype(np.uint8) + (solid & nickel)).astype(np.uint8)


def _rings(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Concentric rings about the axis of rotation, which may lie outside the picture."""
    centre = [side * rng.uniform(-0.2, 1.2) for side in size]
    rows = np.arange(size[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    columns = np.arange(size[1], dtype=np.float32)[None, :] - np.float32(centre[1])
    radius = np.sqrt(rows**2 + columns**2)
    steps = math.ceil(float(radius.max())) + 2
    profile = rng.standard_normal(steps).astype(np.float32) * np.float32(0.012)
    bad = rng.random(steps) < 0.02
    profile[bad] += rng.choice((-1, 1), int(bad.sum())).astype(np.float32) * np.float32(0.06)
    below = radius.astype(np.intp)
    part = radius - below.astype(np.float32)
    rings: NDArray[np.float32] = profile[below] * (1 - part) + profile[below + 1] * part
    return rings


def _streaks(rng: np.random.Generator, label: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bands across the picture along a few directions, as from dense grains and missing views."""
    rows, columns = coordinates(label.shape)
    image = np.zeros(label.shape, np.float32)
    for _ in range(rng.integers(2, 6)):
        turn, pitch = rng.uniform(0, math.pi), rng.uniform(20, 60)
        wave = np.float32(math.cos(turn)) * rows + np.float32(math.sin(turn)) * columns
        image += np.cos(np.float32(pitch) * wave + np.float32(rng.uniform(0, 2 * math.pi)))
    image *= np.float32(rng.uniform(0.008, 0.016))
    return image
