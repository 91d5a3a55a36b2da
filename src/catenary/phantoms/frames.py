"""The part of the ground that a picture shows, and textures that cover all ground without seams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2 as opencv
import numpy as np
from numpy.typing import NDArray

from catenary.phantoms.districts import Box

__all__ = ["BITS", "GRAIN", "TILE", "Frame", "Tiles", "tiles"]

cv2: Any = opencv  # its type stubs refuse much that it takes
Array = NDArray[Any]

#: Sub-pixel bits of OpenCV's coordinates.
BITS = 4
#: Side in pixels of the textures, which repeat.
TILE = 1024
#: Deviation of the grain's values.
GRAIN = 30
#: Pieces of rubble in a texture.
PIECES = 60_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The part of the ground that is drawn: `shape` pixels of `pixel` metres, from pixel ``(row, column)`` on."""

    row: int
    column: int
    shape: tuple[int, int]
    pixel: float

    @property
    def box(self) -> Box:
        """Left, top, right and bottom in metres."""
        (height, width), pixel = self.shape, self.pixel
        return self.column * pixel, self.row * pixel, (self.column + width) * pixel, (self.row + height) * pixel

    def fixed(self, points: Array) -> Array:
        """Points ``(..., 2)`` in metres as OpenCV's sub-pixel integers, whose origin is the first pixel's centre."""
        pixels = points / self.pixel - (self.column + 0.5, self.row + 0.5)
        return np.asarray(np.rint(pixels * 2**BITS).astype(np.int32))

    def cut(self, tile: Array) -> Array:
        """The frame's part of a texture of `tiles`."""
        row, column = self.row % TILE, self.column % TILE
        return np.asarray(tile[row : row + self.shape[0], column : column + self.shape[1]])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tiles:
    """Textures with a period of `TILE` pixels, two periods each way.

    Attributes:
        relief: Brightness of rough ground, int8 with deviation 40.
        blotches: Smooth noise, uint8, every value as frequent as any other.
        speckle: The same, with fine parts.
        clutter: Factor on the brightness of flat roofs in percent: boxes, ducts, parapets.
        rubble: Broken slabs, red, green and blue.
        grain: Noise of a camera, 128 and deviation `GRAIN`, three channels, one period.
    """

    relief: NDArray[np.int8]
    blotches: NDArray[np.uint8]
    speckle: NDArray[np.uint8]
    clutter: NDArray[np.uint8]
    rubble: NDArray[np.uint8]
    grain: NDArray[np.uint8]


@lru_cache(maxsize=1)
def tiles() -> Tiles:
    """The textures; they are those of every city."""
    rng = np.random.default_rng(20)
    rough = 0.75 * _noise(rng, 1.2) + 0.45 * _noise(rng, 3) + 0.5 * _noise(rng, 40)
    blotches, fine = _noise(rng, 10), _noise(rng, 1.5)
    clutter = np.full((TILE, TILE), 100, np.uint8)
    for row, column, height, width, value in rng.integers(
        (0, 0, 1, 1, 55), (TILE, TILE, 6, 6, 135), (9000, 5)
    ).tolist():
        clutter[row : row + height, column : column + width] = value
    return Tiles(
        relief=_twice(np.clip(np.rint(rough * 40 / rough.std()), -127, 127).astype(np.int8)),
        blotches=_twice(_even(blotches)),
        speckle=_twice(_even(blotches + 0.8 * fine)),
        clutter=_twice(clutter),
        rubble=_twice(_rubble(rng)),
        grain=np.clip(np.rint(rng.normal(128, GRAIN, (TILE, TILE, 3))), 0, 255).astype(np.uint8),
    )


def _noise(rng: np.random.Generator, length: float) -> Array:
    """Periodic Gaussian noise of deviation 1, smoothed over about `length` pixels."""
    rows, columns = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    field = np.fft.irfft2(spectrum * np.exp(-2 * (length * np.pi / 2) ** 2 * (rows**2 + columns**2)))
    return np.asarray(field / field.std())


def _even(field: Array) -> NDArray[np.uint8]:
    """Values 0..255 by rank."""
    rank = np.empty(field.size, np.int64)
    rank[field.argsort(axis=None)] = np.arange(field.size)
    return (rank * 256 // field.size).astype(np.uint8).reshape(field.shape)


def _rubble(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pieces of concrete, wood, tiles and sheet, each with a dark side."""
    kinds = np.array([(158, 150, 139), (182, 175, 165), (134, 124, 110), (150, 104, 80), (104, 98, 92), (76, 72, 68)])
    picture = np.empty((TILE, TILE, 3), np.uint8)
    picture[:] = (136, 126, 112)
    centre = rng.uniform(0, TILE, (PIECES, 1, 2))
    half = np.stack([rng.gamma(1.6, 0.85, PIECES) + 0.5, rng.gamma(2.0, 0.3, PIECES) + 0.4], 1)
    angle = rng.uniform(0, np.pi, PIECES)[:, None]
    box = half[:, None] * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    c, s = np.cos(angle), np.sin(angle)
    corners = centre + np.stack([c * box[..., 0] - s * box[..., 1], s * box[..., 0] + c * box[..., 1]], -1)
    points = np.rint(corners * 2**BITS).astype(np.int32)
    colours = kinds[rng.choice(len(kinds), PIECES, p=(0.3, 0.15, 0.2, 0.12, 0.13, 0.1))] + rng.normal(
        0, 14, (PIECES, 1)
    )
    for piece, colour in zip(points, np.clip(colours, 0, 255).tolist(), strict=True):
        cv2.fillConvexPoly(picture, piece + 12, (74, 69, 64), cv2.LINE_8, BITS)
        cv2.fillConvexPoly(picture, piece, colour, cv2.LINE_8, BITS)
    return picture


def _twice(tile: Array) -> Array:
    return np.tile(tile, (2, 2) + (1,) * (tile.ndim - 2))
