"""The plan of a city without end: districts with their streets, lots, buildings, trees and cars, from seeds alone.

Districts are the Voronoi cells of a jittered lattice; each has a street grid at an angle of its own. Everything is in
metres, x to the right and y downwards as rows grow, and lies within its district. Things are structured arrays; each
has a ``centre`` and a ``reach``, the radius of the circle around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUNDS", "Plan", "plan"]

Array = NDArray[Any]
Box = tuple[float, float, float, float]

#: Metres between the middles of districts, and how far a middle strays, as a share of that.
SPACING, JITTER = 400.0, 0.3
#: A district ends within this distance of its middle: every point has the middle of its own lattice square as near.
REACH = SPACING * math.sqrt(2) * (0.5 + JITTER)
#: Half widths in metres of the avenues between districts, of pavements beside streets.
AVENUE, PAVEMENT = 8.0, 2.5
#: What lots are covered with; `catenary.phantoms.aerial` has their colours.
GROUNDS = ("lawn", "dry grass", "soil", "paving", "gravel")
#: Keeps the seeds of lattice squares positive.
_ORIGIN = 1 << 30

_BODY: list[Any] = [("centre", "f8", 2), ("reach", "f8")]
BUILDING = np.dtype(
    [*_BODY, ("angle", "f8"), ("half", "f8", 2), ("notch", "f8", 2), ("outline", "f8", (6, 2)), ("height", "f8"),
     ("roof", "i4"), ("tone", "f8"), ("grade", "i4"), ("salt", "f8", 8)]
)  # fmt: skip
LOT = np.dtype([*_BODY, ("outline", "f8", (4, 2)), ("ground", "i4"), ("tone", "f8")])
STREET = np.dtype([*_BODY, ("outline", "f8", (4, 2)), ("kerb", "f8", (4, 2)), ("ends", "f8", (2, 2)), ("half", "f8")])
TREE = np.dtype([*_BODY, ("tone", "f8")])
CAR = np.dtype([*_BODY, ("outline", "f8", (4, 2)), ("tone", "f8"), ("date", "i4")])


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How a district is built.

    Attributes:
        lots: Lots of a block, along and across.
        lot: Their size in metres.
        street: Half the width of a street in metres.
        half: Least and greatest half sides of a building in metres, along and across.
        notched: Share of L-shapes.
        roofs: Shares of hipped, gabled and flat roofs.
        height: Least and greatest height in metres.
        grounds: Shares of `GROUNDS`.
        trees: Chance of a tree in each square of `TREES` metres.
    """

    lots: tuple[int, int]
    lot: tuple[float, float]
    street: float
    half: tuple[tuple[float, float], tuple[float, float]]
    notched: float
    roofs: tuple[float, float, float]
    height: tuple[float, float]
    grounds: tuple[float, float, float, float, float]
    trees: float


STYLES = {
    "houses": Style(
        lots=(5, 2), lot=(19, 25), street=4.0, half=((4.5, 7.0), (3.8, 6.5)), notched=0.3, roofs=(0.5, 0.4, 0.1),
        height=(3.5, 8), grounds=(0.55, 0.2, 0.1, 0.1, 0.05), trees=0.3,
    ),
    "flats": Style(
        lots=(3, 2), lot=(29, 26), street=5.5, half=((7.5, 11.5), (6.5, 9.5)), notched=0.35, roofs=(0.15, 0.1, 0.75),
        height=(9, 20), grounds=(0.25, 0.15, 0.15, 0.35, 0.1), trees=0.15,
    ),
    "old town": Style(
        lots=(6, 3), lot=(14, 17), street=2.8, half=((4.5, 5.8), (4.5, 7.2)), notched=0.25, roofs=(0.4, 0.25, 0.35),
        height=(4, 10), grounds=(0.1, 0.15, 0.2, 0.5, 0.05), trees=0.07,
    ),
    "works": Style(
        lots=(2, 1), lot=(48, 52), street=6.0, half=((12, 21), (12, 22)), notched=0.25, roofs=(0.0, 0.45, 0.55),
        height=(5, 10), grounds=(0.05, 0.1, 0.25, 0.35, 0.25), trees=0.04,
    ),
}  # fmt: skip
#: Share of the districts of each style, of blocks that are parks and that lie waste, of lots that are built on.
COMMON = (0.45, 0.25, 0.2, 0.1)
PARKS, WASTE, BUILT = 0.05, 0.05, 0.93
#: Metres between places for trees and for cars.
TREES, CARS = 6.5, 9.0
#: Waves of the damage: how many, their lengths in metres, and their share in a building's fate.
WAVES, LENGTHS, CLUSTERED = 6, (500.0, 2500.0), 0.55


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What stands in a district, or in a box."""

    buildings: Array
    lots: Array
    streets: Array
    trees: Array
    cars: Array
    heaps: Array


def plan(seed: int, shares: tuple[float, ...], box: Box, shade: float = 0.0) -> Plan:
    """All that touches the box ``(left, top, right, bottom)`` in metres, buildings also up to `shade` metres beyond."""
    left, top, right, bottom = box
    reach = REACH + 2 * AVENUE + shade  # avenues lie across the border
    far = reach + SPACING
    squares = [
        (i, j)
        for j in range(math.floor((top - far) / SPACING), math.floor((bottom + far) / SPACING) + 1)
        for i in range(math.floor((left - far) / SPACING), math.floor((right + far) / SPACING) + 1)
    ]
    found = [_district(seed, shares, i, j) for i, j in squares if _away(_site(seed, i, j), box) <= reach]
    middle = np.array([left + right, top + bottom]) / 2
    half = np.array([right - left, bottom - top]) / 2

    def near(name: str) -> Array:
        margin = shade if name == "buildings" else 0.0
        parts = []
        for district in found:
            things = getattr(district, name)
            away = np.abs(things["centre"] - middle) - half
            parts.append(things[(away <= things["reach"][:, None] + margin).all(1)])
        return np.concatenate(parts)

    return Plan(**{part.name: near(part.name) for part in fields(Plan)})


def _away(point: tuple[float, float], box: Box) -> float:
    """Metres from a point to a box."""
    (x, y), (left, top, right, bottom) = point, box
    return math.hypot(max(left - x, x - right, 0.0), max(top - y, y - bottom, 0.0))


@lru_cache(maxsize=16384)
def _site(seed: int, i: int, j: int) -> tuple[float, float]:
    stray = np.random.default_rng([seed, 1, i + _ORIGIN, j + _ORIGIN]).uniform(-JITTER, JITTER, 2)
    return (i + 0.5 + float(stray[0])) * SPACING, (j + 0.5 + float(stray[1])) * SPACING


@lru_cache(maxsize=256)
def _district(seed: int, shares: tuple[float, ...], i: int, j: int) -> Plan:
    rng = np.random.default_rng([seed, 2, i + _ORIGIN, j + _ORIGIN])
    style = STYLES[list(STYLES)[rng.choice(len(STYLES), p=COMMON)]]
    cell = _Cell(seed, i, j, rng.uniform(-math.pi / 4, math.pi / 4))
    pitch = np.array(style.lots) * style.lot + 2 * (style.street + PAVEMENT)
    blocks = np.ceil(cell.reach / pitch).astype(int)
    use = rng.random(2 * blocks)  # of each block
    park, waste = use < PARKS, use > 1 - WASTE
    # Lots of the whole lattice: `part` is the lot's number within the block, `block` the block's.
    axes = []
    for axis in range(2):
        block, part = np.divmod(np.arange(2 * blocks[axis] * style.lots[axis]), style.lots[axis])
        edge = (block - blocks[axis]) * pitch[axis] + style.street + PAVEMENT
        axes.append((block, edge + (part + 0.5) * style.lot[axis]))
    middle = np.stack(np.meshgrid(axes[0][1], axes[1][1], indexing="ij"), -1).reshape(-1, 2)
    lot_block = np.ix_(axes[0][0], axes[1][0])
    park, waste = park[lot_block].ravel(), waste[lot_block].ravel()
    lots = _lots(rng, cell, style, middle, park, waste)
    streets = _streets(cell, style, pitch, blocks)
    buildings = _buildings(rng, cell, style, middle[~(park | waste)])
    buildings["grade"] = _grades(seed, shares, buildings["centre"], rng.standard_normal(len(buildings)))
    return Plan(
        buildings=buildings,
        lots=lots,
        streets=streets,
        trees=_trees(rng, cell, style, pitch, blocks, use),
        cars=_cars(rng, streets),
        heaps=_heaps(rng, cell, style, middle[waste]),
    )


class _Cell:
    """A Voronoi cell with a frame of its own: where points lie, and how far inside."""

    def __init__(self, seed: int, i: int, j: int, angle: float) -> None:
        around = [(a, b) for a in range(-3, 4) for b in range(-3, 4) if (a, b) != (0, 0)]
        self.site = np.array(_site(seed, i, j))
        self.angle = angle
        away = np.array([_site(seed, i + a, j + b) for a, b in around]) - self.site
        length = np.linalg.norm(away, axis=1)
        normal, limit = away / length[:, None], length / 2
        self._normal, self._limit = normal, limit
        on, along = self.site + normal * limit[:, None], np.stack([-normal[:, 1], normal[:, 0]], 1)
        first, last = self.clip(on, along)
        real = first < last
        edges = np.stack([on + first[:, None] * along, on + last[:, None] * along], 1)
        self.reach = float(np.linalg.norm(edges[real] - self.site, axis=-1).max())
        self.edges = edges[real & np.array([step > (0, 0) for step in around])]  # the others are the neighbours'
        self._normal, self._limit = normal[real], limit[real]

    def clip(self, point: Array, along: Array) -> tuple[Array, Array]:
        """From where to where lines ``(n, 2)`` lie within the cell, in metres from their points."""
        slack = self._limit - (point - self.site) @ self._normal.T
        rate = along @ self._normal.T
        with np.errstate(divide="ignore", invalid="ignore"):
            at = slack / rate
        first = np.where(rate < -1e-9, at, -np.inf).max(1)
        last = np.where(rate > 1e-9, at, np.inf).min(1)
        return first, last

    def gap(self, points: Array) -> Array:
        """Metres from points ``(..., 2)`` to the cell's border; negative outside."""
        return np.asarray((self._limit - (points - self.site) @ self._normal.T).min(-1))

    def world(self, points: Array) -> Array:
        """Points ``(..., 2)`` of the cell's frame in the city's."""
        return np.asarray(self.site + turned(points, self.angle))


def turned(points: Array, angle: float | Array) -> Array:
    """Vectors ``(..., 2)`` turned by an angle in radians, from x to y."""
    c, s = np.cos(angle), np.sin(angle)
    x, y = points[..., 0], points[..., 1]
    return np.asarray(np.stack([c * x - s * y, s * x + c * y], -1))


def _box(half: Array) -> Array:
    """Corners ``(n, 4, 2)`` of boxes with half sides ``(n, 2)`` around the origin."""
    return np.asarray(half[:, None] * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]))


def _lots(rng: np.random.Generator, cell: _Cell, style: Style, middle: Array, park: Array, waste: Array) -> Array:
    lots = np.zeros(len(middle), LOT)
    lots["centre"] = cell.world(middle)
    lots["reach"] = math.hypot(*style.lot) / 2
    lots["outline"] = cell.world(middle[:, None] + _box(np.array([style.lot]) / 2))
    lots["ground"] = rng.choice(len(GROUNDS), len(middle), p=style.grounds)
    lots["ground"][park] = GROUNDS.index("lawn")
    lots["ground"][waste] = rng.choice([GROUNDS.index("soil"), GROUNDS.index("gravel")], int(waste.sum()))
    lots["tone"] = rng.random(len(middle))
    return np.asarray(lots[cell.gap(lots["outline"]).min(1) > AVENUE])


def _streets(cell: _Cell, style: Style, pitch: Array, blocks: Array) -> Array:
    """Streets of the lattice, cut off at the border, and the avenues along it."""
    ends = [cell.edges]
    for axis in range(2):
        on = np.zeros((2 * blocks[axis] + 1, 2))
        on[:, axis] = (np.arange(len(on)) - blocks[axis]) * pitch[axis]
        along = np.zeros_like(on)
        along[:, 1 - axis] = 1.0
        on, along = cell.world(on), turned(along, cell.angle)
        first, last = cell.clip(on, along)
        kept = first < last
        ends.append(np.stack([on + first[:, None] * along, on + last[:, None] * along], 1)[kept])
    streets = np.zeros(sum(map(len, ends)), STREET)
    streets["ends"] = np.concatenate(ends)
    streets["half"] = style.street
    streets["half"][: len(cell.edges)] = AVENUE - PAVEMENT
    streets["centre"] = streets["ends"].mean(1)
    half = np.diff(streets["ends"], axis=1)[:, 0] / 2
    length = np.linalg.norm(half, axis=1)
    streets["reach"] = length + AVENUE
    angle = np.arctan2(half[:, 1], half[:, 0])[:, None]
    for name, width in (("outline", streets["half"]), ("kerb", streets["half"] + PAVEMENT)):
        # Longer by their width, so that crossings are filled.
        streets[name] = streets["centre"][:, None] + turned(_box(np.stack([length + width, width], 1)), angle)
    return streets


def _buildings(rng: np.random.Generator, cell: _Cell, style: Style, middle: Array) -> Array:
    count = len(middle)
    least, most = np.array(style.half).T
    half = least + (most - least) * rng.random((count, 2))
    tilt = rng.normal(0, 0.04, count)
    # Neighbours keep 2 m apart, however they are turned and moved within their lots.
    extent = half * np.cos(tilt)[:, None] + half[:, ::-1] * np.abs(np.sin(tilt))[:, None]
    room = np.array(style.lot) / 2 - 1.0
    half *= np.minimum(1, room / extent).min(1, keepdims=True)
    centre = middle + np.maximum(room - extent, 0) * rng.uniform(-1, 1, (count, 2))
    notched = (rng.random(count) < style.notched)[:, None]
    notch = np.where(notched, half * rng.uniform(-0.4, 0.4, (count, 2)), half)
    buildings = _bodies(cell.world(centre), cell.angle + tilt + math.pi * rng.integers(0, 2, count), half, notch)
    buildings["roof"] = rng.choice(3, count, p=style.roofs)
    buildings["height"] = rng.uniform(*style.height, count)
    buildings["tone"] = rng.random(count)
    buildings["salt"] = rng.random((count, 8))
    kept = (rng.random(count) < BUILT) & (cell.gap(buildings["centre"]) > buildings["reach"] + AVENUE + 2)
    return np.asarray(buildings[kept])


def _bodies(centre: Array, angle: Array, half: Array, notch: Array) -> Array:
    """Rectangles that lack the corner beyond `notch`, all in their own frames."""
    bodies = np.zeros(len(centre), BUILDING)
    bodies["centre"], bodies["angle"], bodies["half"], bodies["notch"] = centre, angle, half, notch
    bodies["reach"] = np.linalg.norm(half, axis=1)
    (a, b), (p, q) = half.T, notch.T
    corners = np.stack([np.stack(xy, 1) for xy in ((-a, -b), (a, -b), (a, q), (p, q), (p, b), (-a, b))], 1)
    bodies["outline"] = centre[:, None] + turned(corners, angle[:, None])
    return bodies


def _grades(seed: int, shares: tuple[float, ...], centre: Array, luck: Array) -> Array:
    """Damage 1..4 of buildings: along bands that cross the city, as a storm leaves them, and by luck.

    A Gaussian field of a few waves whose crests run nearly one way is mixed with white noise, so that the quantiles of
    the normal distribution give the shares.
    """
    rng = np.random.default_rng([seed, 3])
    heading = rng.uniform(0, math.pi) + rng.normal(0, 0.3, WAVES)
    length = np.exp(rng.uniform(math.log(LENGTHS[0]), math.log(LENGTHS[1]), WAVES))
    phase = rng.uniform(0, 2 * math.pi, WAVES)
    wave = 2 * math.pi / length * np.stack([np.cos(heading), np.sin(heading)])
    field = math.sqrt(2 / WAVES) * np.cos(centre @ wave + phase).sum(1)
    severity = math.sqrt(CLUSTERED) * field + math.sqrt(1 - CLUSTERED) * luck
    steps = [NormalDist().inv_cdf(min(max(below, 1e-9), 1 - 1e-9)) for below in np.cumsum(shares)[:-1]]
    return np.asarray(1 + np.searchsorted(steps, severity))


def _trees(rng: np.random.Generator, cell: _Cell, style: Style, pitch: Array, blocks: Array, use: Array) -> Array:
    steps = [np.arange(-math.ceil(cell.reach / TREES), math.ceil(cell.reach / TREES)) * TREES] * 2
    place = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 2)
    place += rng.uniform(0, TREES, place.shape)
    block, within = np.divmod(place, pitch)
    block = np.clip(block.astype(int) + blocks, 0, 2 * blocks - 1)
    of_block = use[block[:, 0], block[:, 1]]
    dense = np.select([of_block < PARKS, of_block > 1 - WASTE], [0.6, 0.06], style.trees)
    kerb = style.street + 1.0
    kept = (rng.random(len(place)) < dense) & ((within > kerb) & (within < pitch - kerb)).all(1)
    trees = np.zeros(int(kept.sum()), TREE)
    trees["centre"] = cell.world(place[kept])
    trees["reach"] = rng.uniform(1.0, 3.4, len(trees)) ** 1.05
    trees["tone"] = rng.random(len(trees))
    return np.asarray(trees[cell.gap(trees["centre"]) > trees["reach"] + AVENUE - PAVEMENT])


def _cars(rng: np.random.Generator, streets: Array) -> Array:
    """Parked and driving, others at each date."""
    along = streets["ends"][:, 1] - streets["ends"][:, 0]
    length = np.linalg.norm(along, axis=1)
    slots = (length / CARS).astype(int)
    which = np.repeat(np.arange(len(streets)), slots)
    at = (np.arange(len(which)) - np.repeat(np.cumsum(slots) - slots, slots) + 0.5) * CARS
    luck = rng.random((2, len(which)))
    parts = []
    for date in range(2):
        taken = luck[date] < 0.13
        street, t = which[taken], at[taken] + rng.uniform(-1.5, 1.5, int(taken.sum()))
        unit = along[street] / length[street, None]
        side = rng.choice([-1, 1], len(street))
        off = side * np.where(rng.random(len(street)) < 0.6, streets["half"][street] - 1.2, streets["half"][street] / 2)
        cars = np.zeros(len(street), CAR)
        across = np.stack([-unit[:, 1], unit[:, 0]], 1)
        cars["centre"] = streets["ends"][street, 0] + unit * t[:, None] + across * off[:, None]
        size = np.stack([rng.uniform(1.9, 2.6, len(street)), rng.uniform(0.8, 1.0, len(street))], 1)
        angle = np.arctan2(unit[:, 1], unit[:, 0])[:, None]
        cars["outline"] = cars["centre"][:, None] + turned(_box(size), angle)
        cars["reach"] = 3.0
        cars["tone"] = rng.random(len(street))
        cars["date"] = date
        parts.append(cars)
    return np.concatenate(parts)


def _heaps(rng: np.random.Generator, cell: _Cell, style: Style, middle: Array) -> Array:
    """Rubble that lies about at both dates and is no building's."""
    half = rng.uniform(0.15, 0.32, (len(middle), 2)) * style.lot
    heaps = _bodies(cell.world(middle), rng.uniform(0, math.pi, len(middle)), half, half)
    kept = (rng.random(len(middle)) < 0.5) & (cell.gap(heaps["centre"]) > heaps["reach"] + AVENUE)
    return np.asarray(heaps[kept])
