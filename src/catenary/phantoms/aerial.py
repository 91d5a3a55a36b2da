"""How a city looks from above at two dates: ground, shadows, rubble, and what the camera makes of it.

Colours are red, green, blue 0..255. All is drawn on the ground as it lies; the caller displaces the later picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2 as opencv
import numpy as np
from numpy.typing import NDArray

from catenary.phantoms.districts import Plan
from catenary.phantoms.frames import BITS, GRAIN, TILE, Frame, tiles

__all__ = ["SHADE", "Look", "depths", "draw_ground", "expose", "looks"]

cv2: Any = opencv  # its type stubs refuse much that it takes
Array = NDArray[Any]

#: Longest shadow in metres: buildings as far off may darken a picture.
SHADE = 45.0
#: How far debris spills over a building's outline, in metres.
SPILL = 5.0
#: Least and greatest length of a shadow at each date, in metres for each metre of height.
SHADOWS = ((0.35, 0.7), (0.5, 1.1))
#: Light that is left in the shadow.
SHADOW = (112.0, 121.0, 142.0)

#: Lawn, dry grass, soil, paving, gravel: colour and strength of the texture.
GROUND = np.array([(84, 98, 60, 34), (124, 116, 82, 34), (141, 121, 96, 30), (140, 137, 130, 14), (152, 144, 130, 40)])
VERGE = np.array((101, 104, 70, 36))
KERB, ASPHALT, LINE = (146, 143, 137, 10), (98, 98, 100, 12), (158, 157, 150, 10)
CANOPY = np.array([(52, 72, 38, 70), (66, 84, 46, 70), (78, 88, 50, 60), (60, 78, 52, 70)])
CARS = np.array(
    [(214, 214, 212, 0), (170, 172, 174, 0), (52, 52, 56, 0), (110, 112, 116, 0), (140, 44, 40, 0), (50, 72, 118, 0)]
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Look:
    """Light, season and camera of a date.

    Attributes:
        sun: Horizontal direction towards the sun.
        shadow: Metres of shadow for each metre of height.
        plants: Factors on the colours of plants.
        curves: What the camera makes of each value, ``(256, 1, 3)``.
        blur: Deviation of the camera's blur in pixels.
        noise: Deviation of its noise.
        leaves: Factor on the radius of trees.
    """

    sun: Array
    shadow: float
    plants: Array
    curves: NDArray[np.uint8]
    blur: float
    noise: float
    leaves: float


@lru_cache(maxsize=16)
def looks(seed: int, change: float) -> tuple[Look, Look]:
    """The two dates of a city. Light always differs; colours and season as far as `change`, 0 to 1, says."""
    rng = np.random.default_rng([seed, 4])
    azimuth = rng.uniform(-math.pi, math.pi)
    found = []
    for date in range(2):
        turn = change * date
        azimuth += date * rng.choice([-1, 1]) * rng.uniform(0.35, 1.0)
        plants = [rng.uniform(0.0, 0.4), rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.3), 0]
        gain, gamma = np.exp(turn * rng.normal(0, 0.10, 3)), np.exp(turn * rng.normal(0, 0.14, 3))
        gain *= math.exp(turn * rng.normal(0, 0.18))
        haze = turn * rng.uniform(0.0, 0.22)
        value = np.arange(256)[:, None] / 255
        curves = 255 * (haze * np.array([0.62, 0.66, 0.72]) + (1 - haze) * gain * value**gamma)
        found.append(
            Look(
                sun=np.array([math.cos(azimuth), math.sin(azimuth)]),
                shadow=rng.uniform(*SHADOWS[date]),
                plants=1 + turn * np.array(plants),
                curves=np.clip(np.rint(curves), 0, 255).astype(np.uint8)[:, None],
                blur=rng.uniform(0.45, 0.6) + 0.15 * turn * rng.random(),
                noise=rng.uniform(2.0, 3.5),
                leaves=1 - 0.25 * turn * rng.random(),
            )
        )
    return found[0], found[1]


def draw_ground(plan: Plan, frame: Frame, look: Look, date: int) -> NDArray[np.uint8]:
    """All but the roofs ``(h, w, 3)``, with the shadows on it and the rubble that lies there at that date."""
    canvas = np.empty((*frame.shape, 4), np.uint8)  # the fourth channel is the strength of the texture
    canvas[:] = VERGE * look.plants

    def fill(outlines: Array, colours: Array) -> None:
        for outline, colour in zip(frame.fixed(outlines), colours.tolist(), strict=True):
            cv2.fillConvexPoly(canvas, outline, colour, cv2.LINE_8, BITS)

    lots, streets = plan.lots, plan.streets
    cars = plan.cars[plan.cars["date"] == date]
    covers = np.concatenate([GROUND[:2] * look.plants, GROUND[2:]])
    fill(lots["outline"], covers[lots["ground"]] * (0.85 + 0.3 * lots["tone"][:, None]))
    fill(streets["kerb"], np.tile(KERB, (len(streets), 1)))
    fill(streets["outline"], np.tile(ASPHALT, (len(streets), 1)))
    for ends in frame.fixed(streets["ends"][streets["half"] > 5]).tolist():
        cv2.line(canvas, *ends, LINE, 1, cv2.LINE_8, BITS)
    fill(cars["outline"], _painted(CARS, cars["tone"]))
    radius = plan.trees["reach"] * look.leaves
    _discs(canvas, frame, plan.trees["centre"], radius, _painted(CANOPY, plan.trees["tone"]) * look.plants)
    relief = (frame.cut(tiles().relief) * canvas[..., 3].astype(np.int16)) >> 7
    lit = cv2.add(cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB), cv2.merge([relief] * 3), dtype=cv2.CV_8U)
    picture: NDArray[np.uint8] = cv2.multiply(lit, _light(plan, frame, look, date), scale=1 / 255)
    _cover(picture, frame, plan.heaps if not date else np.concatenate([plan.heaps, plan.buildings[_gone(plan)]]))
    return picture


def expose(picture: NDArray[np.uint8], look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera makes of a picture ``(h, w, 3)``."""
    height, width = picture.shape[:2]
    seen = cv2.GaussianBlur(cv2.LUT(picture, look.curves), (3, 3), look.blur)
    row, column = rng.integers(0, (TILE - height, TILE - width))
    grain = tiles().grain[row : row + height, column : column + width]
    share = look.noise / GRAIN
    noisy: NDArray[np.uint8] = cv2.addWeighted(seen, 1.0, grain, share, -128 * share)
    return noisy


def depths(bodies: Array, frame: Frame, margin: float) -> Iterator[tuple[int, tuple[slice, slice], Array]]:
    """Of each building its number, the window around it, and how far outside of it pixels lie, in metres.

    Inside it is negative. It is the greatest distance to a side, so corners stay sharp.
    """
    left, top, _, _ = frame.box
    first = np.floor((bodies["outline"].min(1) - margin - (left, top)) / frame.pixel).astype(int)
    last = np.ceil((bodies["outline"].max(1) + margin - (left, top)) / frame.pixel).astype(int)
    first, last = np.maximum(first, 0), np.minimum(last, frame.shape[::-1])
    xs = left + (np.arange(frame.shape[1]) + 0.5) * frame.pixel
    ys = top + (np.arange(frame.shape[0]) + 0.5)[:, None] * frame.pixel
    angle = bodies["angle"][:, None]
    shapes = np.concatenate([bodies["centre"], np.cos(angle), np.sin(angle), bodies["half"], bodies["notch"]], 1)
    for number in np.flatnonzero((first < last).all(1)).tolist():
        (c0, r0), (c1, r1) = first[number].tolist(), last[number].tolist()
        cx, cy, c, s, a, b, p, q = shapes[number].tolist()
        x, y = xs[c0:c1] - cx, ys[r0:r1] - cy
        u, v = c * x + s * y, c * y - s * x
        depth = np.maximum(np.maximum(np.abs(u) - a, np.abs(v) - b), np.minimum(u - p, v - q))
        yield number, (slice(r0, r1), slice(c0, c1)), depth


def _light(plan: Plan, frame: Frame, look: Look, date: int) -> Array:
    """How much of the light reaches the ground, 255 for all of it, ``(h, w, 3)``."""
    light = np.full((*frame.shape, 3), 255, np.uint8)
    trees, buildings = plan.trees, plan.buildings
    # A tree's shadow falls on its own far side too, which makes it round.
    shaded = trees["centre"] - look.sun * (look.shadow * trees["reach"])[:, None]
    _discs(light, frame, shaded, trees["reach"] * look.leaves, np.tile(SHADOW, (len(trees), 1)))
    height = buildings["height"] * np.where(date * buildings["grade"] == 3, 0.7, 1.0)
    far = buildings["outline"] - (look.sun * look.shadow) * height[:, None, None]
    hulls = frame.fixed(np.concatenate([buildings["outline"], far], 1))
    for corners in hulls if not date else hulls[~_gone(plan)]:
        cv2.fillConvexPoly(light, cv2.convexHull(corners), SHADOW, cv2.LINE_8, BITS)
    return np.asarray(cv2.blur(light, (3, 3)))


def _discs(canvas: Array, frame: Frame, centre: Array, radius: Array, colours: Array) -> None:
    """Draw discs, sizes in metres."""
    sizes = np.rint(radius / frame.pixel * 2**BITS).astype(int)
    for point, size, colour in zip(*(a.tolist() for a in (frame.fixed(centre), sizes, colours)), strict=True):
        cv2.circle(canvas, point, size, colour, -1, cv2.LINE_8, BITS)


def _gone(plan: Plan) -> NDArray[np.bool_]:
    return np.asarray(plan.buildings["grade"] == 4)


def _cover(picture: Array, frame: Frame, bodies: Array) -> None:
    """Cover bodies with rubble, ragged at the edge."""
    mask = np.zeros(frame.shape, bool)
    spread = frame.cut(tiles().speckle) * np.float32(SPILL * 1.6 / 255) - np.float32(SPILL * 0.55)
    for _, window, depth in depths(bodies, frame, SPILL):
        mask[window] |= depth < spread[window]
    cv2.copyTo(frame.cut(tiles().rubble), mask.astype(np.uint8), picture)


def _painted(colours: Array, tone: Array) -> Array:
    """A colour and a brightness for each tone 0..1."""
    pick = tone * len(colours)
    return np.asarray(colours[pick.astype(int)] * (0.85 + 0.3 * (pick % 1))[:, None])
