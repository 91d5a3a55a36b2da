"""Roofs as they were, and what a disaster left of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.phantoms.aerial import Look, depths
from catenary.phantoms.frames import Frame, tiles

__all__ = ["draw_roofs"]

Array = NDArray[Any]

#: Tiles, slate and sheet; then what covers flat roofs.
COLOURS = np.array(
    [(158, 92, 68), (140, 80, 62), (172, 112, 84), (122, 92, 76), (104, 100, 98), (84, 84, 88), (134, 130, 124),
     (158, 152, 142), (180, 174, 164), (206, 202, 194), (150, 138, 118), (112, 118, 126), (126, 138, 148),
     (94, 76, 66)],
    np.float32,
)  # fmt: skip
#: Of `COLOURS`, the first and how many for each kind of roof: hipped, gabled, flat.
CHOICE = np.array([(0, 7), (0, 8), (4, 10)])
#: What lies on roofs in patches: solar panels, tarpaulins, sheets, felt.
PATCHES = np.array(
    [(40, 48, 78), (48, 78, 160), (208, 208, 204), (150, 148, 140), (62, 100, 186), (168, 140, 104)], np.float32
)
#: What shows under a light roof and under a dark one, felt and wood; and what shows in a hole.
UNDER, HOLE = np.array([(84, 76, 70), (146, 120, 92)], np.float32), np.array((46, 44, 44), np.float32)
#: How much brighter a side that faces the sun is, for each kind of roof.
PITCH = np.array([0.3, 0.3, 0.0])


def draw_roofs(
    buildings: Array, frame: Frame, pictures: tuple[Array, Array], pair: tuple[Look, Look]
) -> NDArray[np.uint8]:
    """Draw the roofs of both dates onto their pictures ``(h, w, 3)``; what is destroyed, on the first only.

    Returns:
        The grade of the building at each pixel ``(h, w)``, 0 for none; a pixel is a building's if its centre is.
    """
    index = np.full(frame.shape, -1, np.intp)
    for number, window, depth in depths(buildings, frame, 0.0):
        index[window][depth <= 0] = number
    roofs = _Roofs(buildings, frame, index)
    salt = buildings["salt"]
    for date, (picture, look) in enumerate(zip(pictures, pair, strict=True)):
        colours = roofs.colours(look)
        # Panels and repairs lie on sound roofs too; some came between the dates.
        roofs.patch(colours, salt[:, 0] < (0.16 if date else 0.10), salt[:, 1:4])
        if date:
            roofs.damage(colours)
        kept = roofs.of(buildings["grade"]) < 4 if date else slice(None)
        picture.reshape(-1, 3)[roofs.at[kept]] = np.clip(colours[kept], 0, 255).astype(np.uint8)
    return np.append(buildings["grade"], 0).astype(np.uint8)[index]


class _Roofs:
    """All pixels on roofs in one list.

    Attributes:
        at: Their numbers in the picture.
        which: The building of each.
        u, v: Where each lies on its roof, from -1 to 1 along either axis.
        shade: Brightness of ridges, parapets, clutter and grain.
    """

    def __init__(self, buildings: Array, frame: Frame, index: Array) -> None:
        self.buildings, self._frame = buildings, frame
        self.at = np.flatnonzero(index >= 0)
        self.which = index.ravel()[self.at]
        (left, top, _, _), pixel = frame.box, np.float32(frame.pixel)
        rows, columns = (n.astype(np.float32) + np.float32(0.5) for n in np.divmod(self.at, frame.shape[1]))
        x = columns * pixel - self.of(buildings["centre"][:, 0] - left)
        y = rows * pixel - self.of(buildings["centre"][:, 1] - top)
        cos, sin = self.of(np.cos(buildings["angle"])), self.of(np.sin(buildings["angle"]))
        a, b = (self.of(buildings["half"][:, axis]) for axis in range(2))
        u, v = cos * x + sin * y, cos * y - sin * x
        self.u, self.v = u / a, v / b
        flat, gable = (self.of(buildings["roof"]) == kind for kind in (2, 1))
        edges = a - np.abs(u), b - np.abs(v)
        # Sides that look along u: of a gabled roof the long ones, of a hipped roof where that edge is nearer.
        self._along = np.where(gable, a < b, edges[0] < edges[1])
        hip, ridge = np.abs(edges[0] - edges[1]), np.abs(np.where(self._along, u, v))
        line = np.where(flat, np.minimum(*edges), np.where(gable, ridge, hip)) < 0.4
        self.shade = 1 + 0.12 * line.astype(np.float32) + self.tile("relief") * np.float32(0.0011)
        self.shade[flat] *= self.tile("clutter")[flat] * np.float32(0.01)

    def of(self, values: Array) -> Array:
        """A value of each building, for each pixel."""
        return values.astype(np.float32).take(self.which, 0)

    def tile(self, name: str) -> Array:
        """A texture, for each pixel."""
        cut = np.ascontiguousarray(self._frame.cut(getattr(tiles(), name)))
        return np.asarray(cut.reshape(-1, *cut.shape[2:])[self.at], np.float32)

    def colours(self, look: Look) -> Array:
        """Of sound roofs in the light of a date, ``(n, 3)``; sides that face the sun are brighter."""
        angle, pitch = self.buildings["angle"], PITCH[self.buildings["roof"]]
        cos, sin, (x, y) = np.cos(angle), np.sin(angle), look.sun
        along, across = (np.sign(self.u), pitch * (cos * x + sin * y)), (np.sign(self.v), pitch * (cos * y - sin * x))
        facing = np.where(self._along, along[0] * self.of(along[1]), across[0] * self.of(across[1]))
        return np.asarray(self.of(_colours(self.buildings)) * (self.shade * (1 + facing))[:, None])

    def patch(self, colours: Array, flags: Array, salt: Array) -> None:
        """A rectangle in a colour of its own on each flagged building, where three salts ``(n, 3)`` put it."""
        some = np.flatnonzero(flags[self.which])
        u, v, size = (salt.astype(np.float32)[self.which[some]] - 0.5).T
        inside = (np.abs(self.u[some] - u) < 0.4 + 0.35 * size) & (np.abs(self.v[some] - v) < 0.45 - 0.3 * size)
        some = some[inside]
        sheet = PATCHES[(salt.sum(1) * 997).astype(int) % len(PATCHES)]
        colours[some] = self.of(sheet)[some] * self.shade[some, None]

    def damage(self, colours: Array) -> None:
        """Minor and major damage.

        Minor is tarpaulins, or tiles gone in places; major is more of that, holes into the dark, and one end in rubble.
        """
        salt, grade = self.buildings["salt"], self.buildings["grade"]
        minor, major, covered = grade == 2, grade == 3, salt[:, 4] < 0.4
        for number in range(2):
            self.patch(colours, (minor & covered) | (major & (salt[:, 4] < 0.15)), salt[:, 2 * number + np.arange(3)])
        some = np.flatnonzero((minor | major)[self.which])
        k = self.which[some]

        def part(values: Array) -> Array:
            return values.astype(np.float32).take(k, 0)

        blotches, speckle, rubble = (self.tile(name)[some] for name in ("blotches", "speckle", "rubble"))
        # A ragged patch around a point that also an L-shape has, so that no building keeps its roof whole.
        from_point = np.hypot(self.u[some] + part(0.1 + 0.5 * salt[:, 1]), self.v[some] + part(0.1 + 0.5 * salt[:, 3]))
        bare = np.select([major, minor & covered], [0.5 + 0.13 * salt[:, 5], 0.38], 0.45 + 0.13 * salt[:, 5])
        under = UNDER[(_colours(self.buildings).mean(1) < 105).astype(int)]
        hit = 0.58 * from_point + blotches * np.float32(0.42 / 255) < part(bare)
        colours[some[hit]] = part(under)[hit] * self.shade[some[hit], None]
        open_ = np.select([major, salt[:, 4] > 0.7], [0.1 + 0.2 * salt[:, 7], 0.05], 0.0)
        hit = speckle > 255 * part(1 - open_)
        colours[some[hit]] = HOLE
        turn = 2 * np.pi * salt[:, 6]
        end = self.u[some] * part(np.cos(turn)) + self.v[some] * part(np.sin(turn)) + (speckle - 128) / 255
        hit = part(major) * end > part(0.1 + 0.6 * salt[:, 3])
        colours[some[hit]] = rubble[hit]


def _colours(buildings: Array) -> Array:
    """Of each building's roof ``(n, 3)``."""
    first, count = CHOICE[buildings["roof"]].T
    pick = buildings["tone"] * count
    return np.asarray(COLOURS[first + pick.astype(int)] * (0.85 + 0.3 * (pick % 1))[:, None])
