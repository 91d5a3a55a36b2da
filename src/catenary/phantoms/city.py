"""A city of any size before and after a storm, drawn window by window, with the damage of every building.

The ground has no end and is drawn in squares of `CHUNK` pixels that depend on the city's settings only, so a window is
the cut of the whole, whatever other windows are asked for. The truth refers to the grid of the earlier image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import Bool, Float64, UInt8
from numpy.typing import NDArray

from catenary.errors import ConfigError
from catenary.phantoms.aerial import SHADE, draw_ground, expose, looks
from catenary.phantoms.districts import plan
from catenary.phantoms.frames import Frame
from catenary.phantoms.roofs import draw_roofs

__all__ = ["GRADES", "City", "CityWindow"]

cv2: Any = opencv  # its type stubs refuse much that it takes

#: Classes of the label map, in order of their value.
GRADES = ("background", "no-damage", "minor-damage", "major-damage", "destroyed")
#: Side in pixels of the squares that are drawn at once.
CHUNK = 512
#: Largest shift in pixels.
FURTHEST = 20.0
#: Waves of the shift: how many, their lengths in pixels, and the share of the shift that is the same everywhere.
WAVES, LENGTHS, CONSTANT = 4, (900.0, 4000.0), 0.4
#: Every how many pixels the shift is worked out to move the later image; in between it is linear.
STEP = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CityWindow:
    """A window of a city.

    Attributes:
        pre, post: Red, green and blue before and after ``(3, h, w)``, 0 where there is no data.
        label: Damage at each pixel of `pre` ``(h, w)``, an index of `GRADES`.
        valid_pre, valid_post: Where each has data ``(h, w)``.
    """

    pre: UInt8[np.ndarray, "3 h w"]
    post: UInt8[np.ndarray, "3 h w"]
    label: UInt8[np.ndarray, "h w"]
    valid_pre: Bool[np.ndarray, "h w"]
    valid_post: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class City:
    """What the city is; nothing is drawn before it is asked for.

    Attributes:
        shape: Rows and columns.
        seed: Another one gives another city.
        pixel: Side of a pixel in metres.
        damage: Shares of undamaged, slightly, heavily damaged and destroyed buildings; they hold over a large city,
            since damage lies in bands.
        colour_change: How much colour, haze and season differ between the dates, 0 to 1.
        amplitude: Largest shift of the later image against the earlier in pixels, 0 to 20; it varies smoothly.
        nodata: Each image lacks a corner.

    Raises:
        ConfigError: A value is out of range.

    >>> city = City(shape=(600, 800), seed=1)
    >>> window = city.window(100, 200, 64, 96)
    >>> window.pre.shape, window.label.shape, len(city.buildings(100, 200, 64, 96))
    ((3, 64, 96), (64, 96), 8)
    """

    shape: tuple[int, int]
    seed: int = 0
    pixel: float = 0.5
    damage: tuple[float, float, float, float] = (0.6, 0.14, 0.12, 0.14)
    colour_change: float = 0.5
    amplitude: float = 0.0
    nodata: bool = False

    def __post_init__(self) -> None:
        problem = ""
        if min(self.shape) < 1:
            problem = f"a city needs at least one row and column, found {self.shape}; ask for more"
        elif self.seed < 0:
            problem = f"a seed is 0 or more, found {self.seed}; give such a one"
        elif not 0.1 <= self.pixel <= 4:
            problem = f"a pixel of a city has a side of 0.1 to 4 m, found {self.pixel:g}; give one in that range"
        elif len(self.damage) != 4 or min(self.damage) < 0 or abs(sum(self.damage) - 1) > 1e-6:
            problem = f"shares of damage are four numbers that add up to 1, found {self.damage}; correct them"
        elif not 0 <= self.colour_change <= 1:
            problem = f"the change of colours lies from 0 to 1, found {self.colour_change:g}; correct it"
        elif not 0 <= self.amplitude <= FURTHEST:
            problem = f"the shift is 0 to {FURTHEST:g} pixels, found {self.amplitude:g}; ask for less"
        if problem:
            raise ConfigError(problem)

    def window(self, row: int, column: int, height: int, width: int) -> CityWindow:
        """Both dates and the truth, from pixel ``(row, column)`` on.

        Raises:
            ConfigError: The window is empty or reaches beyond the city.
        """
        self._check(row, column, height, width)
        pre, post = (np.empty((3, height, width), np.uint8) for _ in range(2))
        label = np.empty((height, width), np.uint8)
        for i in range(row // CHUNK, (row + height - 1) // CHUNK + 1):
            for j in range(column // CHUNK, (column + width - 1) // CHUNK + 1):
                chunk = _chunk(self.seed, self.pixel, self.damage, self.colour_change, self.amplitude, i, j)
                top, left = max(row, i * CHUNK), max(column, j * CHUNK)
                bottom, right = min(row + height, (i + 1) * CHUNK), min(column + width, (j + 1) * CHUNK)
                here = (slice(top - row, bottom - row), slice(left - column, right - column))
                there = (
                    slice(top - i * CHUNK, bottom - i * CHUNK),
                    slice(left - j * CHUNK, right - j * CHUNK),
                )
                pre[:, *here], post[:, *here] = (p[there].transpose(2, 0, 1) for p in chunk[:2])
                label[here] = chunk[2][there]
        valid = self._valid(row, column, height, width)
        for picture, known in zip((pre, post), valid, strict=True):
            if not known.all():
                picture *= known
        return CityWindow(pre=pre, post=post, label=label, valid_pre=valid[0], valid_post=valid[1])

    def shift(self, row: int, column: int, height: int, width: int) -> Float64[np.ndarray, "2 h w"]:
        """What lies at ``(y, x)`` before, lies at ``(y, x) + shift[:, y, x]`` after: rows and columns, in pixels."""
        rows, columns = np.arange(row, row + height)[:, None], np.arange(column, column + width)[None]
        return _shift(self.seed, self.amplitude, rows, columns)

    def buildings(self, row: int, column: int, height: int, width: int) -> list[tuple[Float64[np.ndarray, "n 2"], int]]:
        """Outline and grade 1..4 of each building whose bounding box meets the window.

        An outline's corners are ``(x, y)``, column before row, in pixels from the outer corner of the city's first
        pixel; pixel ``(r, c)`` is the building's if ``(c + 0.5, r + 0.5)`` lies within. Buildings may leave the window.

        Raises:
            ConfigError: The window is empty or reaches beyond the city.
        """
        self._check(row, column, height, width)
        box = Frame(row=row, column=column, shape=(height, width), pixel=self.pixel).box
        found = plan(self.seed, self.damage, box).buildings
        outlines, notched = found["outline"], np.any(found["notch"] < found["half"], axis=1)
        low, high = outlines.min(1), outlines.max(1)
        meets = np.all((low < box[2:]) & (high > box[:2]), axis=1)
        return [
            (outline / self.pixel if notch else outline[[0, 1, 2, 5]] / self.pixel, int(grade))
            for outline, notch, grade in zip(outlines[meets], notched[meets], found["grade"][meets], strict=True)
        ]

    def _check(self, row: int, column: int, height: int, width: int) -> None:
        inside = 0 <= row < row + height <= self.shape[0] and 0 <= column < column + width <= self.shape[1]
        if not inside:
            raise ConfigError(
                f"a window lies within the city's {self.shape[0]} x {self.shape[1]} pixels, found {height} x {width} "
                f"at ({row}, {column}); ask for less"
            )

    def _valid(self, row: int, column: int, height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        if not self.nodata:
            return np.ones((height, width), bool), np.ones((height, width), bool)
        down = (np.arange(row, row + height)[:, None] + 0.5) / self.shape[0]
        right = (np.arange(column, column + width)[None] + 0.5) / self.shape[1]
        return down / 0.45 + right / 0.15 > 1, (1 - down) / 0.25 + (1 - right) / 0.5 > 1


@lru_cache(maxsize=16)
def _chunk(
    seed: int,
    pixel: float,
    damage: tuple[float, ...],
    change: float,
    amplitude: float,
    i: int,
    j: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """A square of the ground: both pictures ``(CHUNK, CHUNK, 3)`` and the label map."""
    margin = 4 + math.ceil(amplitude)
    side = CHUNK + 2 * margin
    frame = Frame(row=i * CHUNK - margin, column=j * CHUNK - margin, shape=(side, side), pixel=pixel)
    pair = looks(seed, change)
    things = plan(seed, damage, frame.box, SHADE)
    pictures = draw_ground(things, frame, pair[0], 0), draw_ground(things, frame, pair[1], 1)
    label = draw_roofs(things.buildings, frame, pictures, pair)
    rng = np.random.default_rng([seed, 5, i, j])
    inner = (slice(margin, margin + CHUNK), slice(margin, margin + CHUNK))
    post = pictures[1] if not amplitude else _displaced(pictures[1], frame, seed, amplitude)
    seen = [expose(picture, look, rng)[inner] for picture, look in zip((pictures[0], post), pair, strict=True)]
    return seen[0], seen[1], label[inner]


def _displaced(picture: NDArray[np.uint8], frame: Frame, seed: int, amplitude: float) -> NDArray[np.uint8]:
    """The picture of a frame as it lies after the shift."""
    # Nodes lie in the middles of squares of STEP pixels, one more on each side, as `resize` wants them.
    nodes = [
        start + STEP * (np.arange(-1, math.ceil(side / STEP) + 1) + 0.5) - 0.5
        for start, side in zip((frame.row, frame.column), frame.shape, strict=True)
    ]
    after = np.stack(np.meshgrid(*nodes, indexing="ij"))
    before = after
    for _ in range(4):  # the shift changes by less than a tenth of a pixel from pixel to pixel, so this converges fast
        before = after - _shift(seed, amplitude, *before)
    inner = (slice(STEP, STEP + frame.shape[0]), slice(STEP, STEP + frame.shape[1]))
    y, x = (
        cv2.resize((node - start).astype(np.float32), None, fx=STEP, fy=STEP, interpolation=cv2.INTER_LINEAR)[inner]
        for node, start in zip(before, (frame.row, frame.column), strict=True)
    )
    moved: NDArray[np.uint8] = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved


def _shift(seed: int, amplitude: float, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float64]:
    """A constant and a few long waves, each in a direction of its own; their sum is no longer than `amplitude`."""
    rng = np.random.default_rng([seed, 6])
    heading, course = rng.uniform(0, 2 * math.pi, (2, WAVES + 1))
    size = amplitude * np.array([CONSTANT, *[(1 - CONSTANT) / WAVES] * WAVES])
    frequency = 2 * math.pi / np.exp(rng.uniform(math.log(LENGTHS[0]), math.log(LENGTHS[1]), WAVES + 1))
    phase = rng.uniform(0, 2 * math.pi, WAVES + 1)
    frequency[0], phase[0] = 0.0, 0.0
    total = np.zeros((2, *np.broadcast_shapes(rows.shape, columns.shape)))
    for n in range(WAVES + 1):
        wave = np.cos(frequency[n] * (math.sin(course[n]) * rows + math.cos(course[n]) * columns) + phase[n])
        total += size[n] * np.array([math.sin(heading[n]), math.cos(heading[n])])[:, None, None] * wave
    return total
