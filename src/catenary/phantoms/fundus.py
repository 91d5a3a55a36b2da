"""A photo of the back of the eye: optic disc and cup of known size, vessels, macula, light, and what a bad photo is.

Everything is placed in degrees of the eye, from the disc's centre, x towards the nose and y down. A right eye is
drawn, whose disc lies to the right of the macula; a left eye is its mirror image. `catenary.phantoms.faults` spoils
such photos and draws pictures that are none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2 as opencv
import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, near_match
from catenary.phantoms.fields import add_noise, blurred, correlated, to_uint8

__all__ = ["CAMERAS", "PARTS", "Eye", "Fundus", "fundus", "random_patient", "risk_of"]

cv2: Any = opencv  # its type stubs refuse much that it takes

Array = NDArray[Any]
Colour = tuple[float, float, float]

#: Classes of the label map, in order of their value; the disc is rim and cup.
PARTS = ("background", "rim", "cup")
#: Centre of the macula in degrees.
FOVEA = np.array((-15.5, 1.5))
#: What vessels let through of each colour.
ARTERY, VEIN = np.array((0.93, 0.62, 0.66), np.float32), np.array((0.78, 0.44, 0.52), np.float32)
BLOOD = np.array((0.50, 0.07, 0.05), np.float32)
#: Vessels are drawn on a canvas with at least this short side, so that fine ones keep their width.
CANVAS = 1024
#: Fixed-point bits of drawn points.
BITS = 4


class Camera(NamedTuple):
    """How a camera shows an eye; colours are RGB 0..1.

    `reach` is the radius of the field of view over half the picture's short side; above and below the field is cut
    `cut` radii from its middle. `falloff` is the light lost at the field's edge, `noise` the deviation of the noise.
    """

    retina: Colour
    rim: Colour
    cup: Colour
    reach: float
    cut: float
    falloff: float
    noise: float


#: A red table-top camera, and a brown hand-held one.
CAMERAS: dict[str, Camera] = {
    "clinic": Camera((0.84, 0.30, 0.14), (1.0, 0.60, 0.40), (1.0, 0.93, 0.64), 0.97, 1.0, 0.35, 0.010),
    "handheld": Camera((0.58, 0.35, 0.20), (0.85, 0.58, 0.40), (0.94, 0.88, 0.62), 0.98, 0.93, 0.55, 0.016),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Eye:
    """What an eye has.

    Attributes:
        side: Whose eye it is.
        ratio: Vertical cup-to-disc ratio of the cup without its notch, 0.1..0.92.
        notch: Share of the rim that a notch takes away, 0..1.
        inferior: The notch is in the lower rim, else in the upper one.
        haemorrhage: A splinter of blood lies across the disc's border.
        glaucoma: The eye has glaucoma.
        progressing: Its glaucoma gets worse.
    """

    side: Literal["right", "left"] = "right"
    ratio: float = 0.4
    notch: float = 0.0
    inferior: bool = True
    haemorrhage: bool = False
    glaucoma: bool = False
    progressing: bool = False


class Fundus(NamedTuple):
    """A photo with its truth.

    Attributes:
        image: RGB.
        label: 0 background, 1 rim, 2 cup.
        vcdr: Vertical cup-to-disc ratio of the outlines that were drawn, notch included.
        disc: Row and column of the disc's centre.
        centre: Row and column of the middle of the field of view.
        radius: Radius of the field of view in pixels.
    """

    image: UInt8[np.ndarray, "3 h w"]
    label: UInt8[np.ndarray, "h w"]
    vcdr: float
    disc: tuple[float, float]
    centre: tuple[float, float]
    radius: float


def risk_of(ratio: float, notch: float) -> float:
    """Probability that an eye of `random_patient` has glaucoma: 1/2 at a ratio of 0.62, 0.95 with a notch, or above.

    >>> [round(risk_of(*eye), 2) for eye in ((0.4, 0.0), (0.62, 0.0), (0.8, 0.0), (0.5, 0.6))]
    [0.0, 0.5, 0.99, 0.95]
    """
    return max(1 / (1 + math.exp((0.62 - ratio) / 0.04)), 0.95 if notch else 0.0)


def random_patient(rng: np.random.Generator) -> tuple[Eye, Eye]:
    """The right and the left eye of a patient, which resemble each other.

    About half the patients have large cups, of which some have a notch. Glaucoma is drawn with the probability of
    `risk_of`, so that even the truth about disc and cup leaves doubt. Of the eyes with glaucoma a quarter bleeds at
    the disc; 0.8 of these get worse, and 0.15 of the others.

    >>> right, left = random_patient(np.random.default_rng(1))
    >>> right.side, left.side, abs(right.ratio - left.ratio) < 0.2
    ('right', 'left', True)
    """
    base = rng.normal(0.70, 0.09) if rng.random() < 0.5 else rng.normal(0.40, 0.10)
    eyes = []
    for side in ("right", "left"):
        ratio = float(np.clip(base + rng.normal(0, 0.03), 0.15, 0.92))
        notch = float(rng.uniform(0.45, 0.8)) * bool(ratio > 0.5 and rng.random() < 0.35)
        glaucoma = bool(rng.random() < risk_of(ratio, notch))
        bleeds = glaucoma and bool(rng.random() < 0.25)
        worse = glaucoma and bool(rng.random() < (0.8 if bleeds else 0.15))
        eyes.append(
            Eye(
                side=side, ratio=ratio, notch=notch, inferior=bool(rng.random() < 0.65), haemorrhage=bleeds,
                glaucoma=glaucoma, progressing=worse,
            )
        )  # fmt: skip
    return eyes[0], eyes[1]


def fundus(
    rng: np.random.Generator,
    size: tuple[int, int] = (256, 256),
    *,
    eye: Eye | None = None,
    camera: str = "clinic",
    view: float | None = None,
    reach: float | None = None,
    aim: float | None = None,
) -> Fundus:
    """Take a photo.

    Args:
        rng: Where randomness comes from.
        size: Pixels ``(h, w)``.
        eye: What is seen; without it a right eye with a ratio of 0.25 to 0.8.
        camera: One of `CAMERAS`.
        view: Degrees across the field of view, 20 to 60; without it 30 to 45. A disc is about 6 degrees high.
        reach: Radius of the field over half the short side, in place of the camera's; 3 and an aim of 0 give a crop of
            the disc without a dark surround.
        aim: Where the camera looks: 0 at the disc, 1 at the macula, or as near to it as the disc stays in view.

    Raises:
        InputError: The camera is not known, or size, view, reach, ratio or notch is out of range.

    >>> found = fundus(np.random.default_rng(0), (64, 96), eye=Eye(ratio=0.5))
    >>> found.image.shape, sorted(set(found.label.ravel().tolist())), round(found.vcdr, 3)
    ((3, 64, 96), [0, 1, 2], 0.5)
    """
    eye = Eye(ratio=float(rng.uniform(0.25, 0.8))) if eye is None else eye
    view = float(rng.uniform(30, 45)) if view is None else view
    _check(size, eye, camera, view, reach)
    look = CAMERAS[camera]
    reach = look.reach if reach is None else reach
    radius = reach * min(size) / 2
    scale = radius / (view / 2)  # pixels a degree
    nearest = min(1.0, max(0.0, (0.45 * view - 4.5) / float(np.hypot(*FOVEA))))
    middle = FOVEA * nearest * (float(rng.uniform(0, 1)) if aim is None else aim)
    half = (np.array(size[::-1]) - 1) / 2
    x = ((np.arange(size[1]) - half[0]) / scale + middle[0])[None].astype(np.float32)
    y = ((np.arange(size[0]) - half[1]) / scale + middle[1])[:, None].astype(np.float32)

    nerve = _nerve(rng, eye)
    tree = _tree(rng)
    depth, hollow, label, box = _seen(nerve, x, y)
    image = _retina(rng, size, look, x, y, scale)
    _draw_nerve(rng, image[box], look, depth, hollow, x[:, box[1]])
    _draw_vessels(image, tree, scale, half - middle * scale)
    flame = math.radians(rng.normal(115, 12)) * (1 if eye.inferior else -1)
    if eye.haemorrhage:
        _bleed(image, nerve, x, y, flame)
    image = blurred(image, max(0.35, 0.0012 * min(size)))
    image *= _light(rng, look, x - np.float32(middle[0]), y - np.float32(middle[1]), view / 2, scale)[..., None]
    image = add_noise(image, rng, read=look.noise)
    pixels = np.ascontiguousarray(to_uint8(image).transpose(2, 0, 1))
    column, row = half - middle * scale
    if eye.side == "left":
        pixels, label = np.ascontiguousarray(pixels[..., ::-1]), np.ascontiguousarray(label[:, ::-1])
        column = size[1] - 1 - column
    return Fundus(pixels, label, nerve.vcdr, (float(row), float(column)), (float(half[1]), float(half[0])), radius)


def _check(size: tuple[int, int], eye: Eye, camera: str, view: float, reach: float | None) -> None:
    if camera not in CAMERAS:
        raise InputError(f"there is no camera '{camera}'; {near_match(camera, CAMERAS)}")
    if min(size) < 16:
        raise InputError(f"a fundus photo needs a height and a width of at least 16 pixels, found {size}; ask for more")
    if not (20 <= view <= 60 and 0.1 <= eye.ratio <= 0.92 and 0 <= eye.notch <= 1 and (reach is None or reach > 0)):
        raise InputError(
            f"a photo needs a view of 20 to 60 degrees, a reach above 0, a ratio of 0.1 to 0.92 and a notch of 0 to 1, "
            f"found {view}, {reach}, {eye.ratio} and {eye.notch}; correct them"
        )


@dataclass(frozen=True, kw_only=True)
class _Nerve:
    """Outlines of disc and cup.

    In the plane (u, v) of the disc it is the unit circle; `matrix` takes that plane to degrees, `inverse` back. The cup
    is an ellipse at `centre` with the half axes `axes`, from which a notch takes the share `notch` of the way to the
    disc's border in the direction `turn`.
    """

    matrix: Float[np.ndarray, "2 2"]
    centre: Float[np.ndarray, " 2"]
    axes: Float[np.ndarray, " 2"]
    notch: float
    turn: float

    def reach(self, u: Array, v: Array) -> Array:
        """How far the cup reaches in the directions (u, v) from its centre."""
        away = np.maximum(np.hypot(u, v), 1e-6)
        u, v = u / away, v / away
        ellipse = 1 / np.hypot(u / self.axes[0], v / self.axes[1])
        along = u * self.centre[0] + v * self.centre[1]
        border = np.sqrt(along**2 + 1 - float(self.centre @ self.centre)) - along
        apart = np.arccos(np.clip(u * math.cos(self.turn) + v * math.sin(self.turn), -1, 1))
        return np.asarray(ellipse + self.notch * np.exp(-((apart / 0.38) ** 2)) * (border - ellipse))

    @property
    def vcdr(self) -> float:
        """Vertical extent of the cup over that of the disc."""
        angles = np.linspace(0, 2 * math.pi, 3600, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)])
        cup = self.reach(*circle) * circle
        return float(np.ptp(self.matrix[1] @ cup) / np.ptp(self.matrix[1] @ circle))


def _nerve(rng: np.random.Generator, eye: Eye) -> _Nerve:
    """A disc a little higher than wide, whose rim is mostly broadest below and narrowest at the temple's side."""
    height = rng.normal(3.1, 0.18)
    tilt = rng.normal(0, 0.15)
    turned = np.array([(math.cos(tilt), -math.sin(tilt)), (math.sin(tilt), math.cos(tilt))])
    matrix = turned * (height * rng.uniform(0.84, 0.95), height)
    margin = 1 - eye.ratio
    axes = np.array((1 - margin * rng.uniform(0.72, 0.9), eye.ratio))
    # The extents of an ellipse are the lengths of the matrix's rows; they scale with it.
    axes *= eye.ratio / (np.hypot(*(matrix[1] * axes)) / np.hypot(*matrix[1]))
    centre = margin * np.array((rng.normal(-0.06, 0.04), rng.normal(-0.10, 0.05)))
    # A notch lies a little to the temporal side of the pole.
    turn = math.radians(rng.normal(105, 8)) * (1 if eye.inferior else -1)
    return _Nerve(matrix=matrix, centre=centre, axes=axes, notch=eye.notch, turn=turn)


def _seen(nerve: _Nerve, x: Array, y: Array) -> tuple[Array, Array, NDArray[np.uint8], tuple[slice, slice]]:
    """Depth in degrees within the disc and within the cup in a window, the label map of all, and the window."""
    columns, rows = np.flatnonzero(np.abs(x[0]) < 6), np.flatnonzero(np.abs(y[:, 0]) < 6)
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inverse = np.linalg.inv(nerve.matrix).astype(np.float32)
    u = inverse[0, 0] * x[:, box[1]] + inverse[0, 1] * y[box[0]]
    v = inverse[1, 0] * x[:, box[1]] + inverse[1, 1] * y[box[0]]
    unit = np.float32(math.sqrt(np.linalg.det(nerve.matrix)))
    depth = (1 - np.hypot(u, v)) * unit
    cu, cv = u - np.float32(nerve.centre[0]), v - np.float32(nerve.centre[1])
    hollow = ((nerve.reach(cu, cv) - np.hypot(cu, cv)) * unit).astype(np.float32)
    label = np.zeros((y.size, x.size), np.uint8)
    label[box] = (depth > 0).astype(np.uint8) + ((depth > 0) & (hollow > 0))
    return depth, hollow, label, box


def _retina(
    rng: np.random.Generator, size: tuple[int, int], look: Camera, x: Array, y: Array, scale: float
) -> NDArray[np.float32]:
    """Orange-red ground with the choroid's pattern, pigment, the macula, and the sheen of nerve fibres."""
    pigment = rng.uniform(-1, 1)
    tone = np.array(look.retina, np.float32) * np.exp(np.float32(pigment) * np.array((0.10, 0.22, 0.30), np.float32))
    mottle = correlated(rng, size, 5 * scale)
    fine = correlated(rng, size, max(1.5, 0.35 * scale))
    strands = np.exp(-((correlated(rng, size, max(1.5, 1.8 * scale)) / np.float32(0.6)) ** 2))
    shade = 1 + np.float32(0.05) * mottle + np.float32(0.035) * fine + np.float32(rng.uniform(0, 0.07)) * strands
    to_fovea = (x - np.float32(FOVEA[0])) ** 2 + (y - np.float32(FOVEA[1])) ** 2
    shade -= np.float32(rng.uniform(0.2, 0.35)) * np.exp(-to_fovea / np.float32(2 * 2.6**2))
    shade -= np.float32(0.14) * np.exp(-to_fovea / np.float32(2 * 0.7**2))
    away = np.sqrt(x**2 + y**2)
    fibres = np.exp(-away / 5) * (np.float32(0.25) + np.abs(y) / (away + 1))
    shade += np.float32(rng.uniform(0.1, 0.3)) * fibres
    image: NDArray[np.float32] = shade[..., None] * tone
    image[..., 1] += np.float32(0.012) * strands + np.float32(0.06) * fibres
    return image


def _draw_nerve(rng: np.random.Generator, image: Array, look: Camera, depth: Array, hollow: Array, x: Array) -> None:
    """Rim and cup over the window of the picture that holds them, half their colour on the outlines."""
    texture = correlated(rng, depth.shape, max(1.5, depth.shape[0] / 30))
    disc = _sigmoid(depth / np.float32(rng.uniform(0.06, 0.14)))
    cup = _sigmoid(hollow / np.float32(rng.uniform(0.08, 0.22)))
    rim = np.array(look.rim, np.float32) * np.float32(rng.uniform(0.92, 1.02))
    pale = (np.float32(0.03) * texture - np.float32(0.02) * x)[..., None]  # the temporal rim is the paler one
    nerve = (rim + pale) * (1 + np.float32(0.05) * np.exp(-((depth / np.float32(0.25)) ** 2)))[..., None]
    nerve += cup[..., None] * (np.array(look.cup, np.float32) + pale - nerve)
    # The floor of a deep cup shows the grey pores of the lamina.
    nerve -= (np.float32(0.06) * cup * _sigmoid((hollow - 1) / np.float32(0.3)) * (texture > 0.6))[..., None]
    image += disc[..., None] * (nerve - image)


def _sigmoid(value: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -30, 30))), np.float32)


class _Vessel(NamedTuple):
    """Points ``(n, 2)`` and widths ``(n,)`` in degrees."""

    points: Array
    widths: Array
    vein: bool


def _tree(rng: np.random.Generator) -> list[_Vessel]:
    """Arteries and veins: arcades around the macula, straighter trunks towards the nose, and their branches."""
    found: list[_Vessel] = []
    for vein in (False, True):
        width = rng.uniform(0.38, 0.46) if vein else rng.uniform(0.27, 0.33)
        for below in (-1, 1):
            start = np.array((rng.normal(0.35, 0.12), below * rng.uniform(-0.25, 0.2)))
            first, last = rng.uniform(80, 112), rng.uniform(178, 200)
            _grow(rng, found, start, below * np.radians((first, last)), width, rng.uniform(26, 34), vein, 3)
            first, last = rng.uniform(45, 78), rng.uniform(5, 45)
            _grow(rng, found, start, below * np.radians((first, last)), 0.75 * width, rng.uniform(16, 24), vein, 2)
        for _ in range(2):  # small ones straight towards the macula
            turns = np.radians(rng.normal(180, 28) + np.array((0, rng.normal(0, 20))))
            _grow(rng, found, np.array((0.3, 0.0)), turns, 0.35 * width, rng.uniform(7, 12), vein, 1)
    return sorted(found, key=lambda vessel: float(vessel.widths[0]))


def _grow(
    rng: np.random.Generator, found: list[_Vessel], start: Array, turns: Array, width: float, length: float, vein: bool,
    depth: int,
) -> None:  # fmt: skip
    """A vessel that leaves in the first direction and soon has the second one, and its branches."""
    step = 0.4
    count = max(4, round(length / step))
    way = np.arange(count) * step
    wander = np.cumsum(rng.normal(0, 0.035, count)) + 0.06 * np.sin(way * rng.uniform(0.8, 1.6) + rng.uniform(0, 6.3))
    heading = turns[0] + (turns[1] - turns[0]) * (1 - np.exp(-way / min(6.0, length / 3))) + wander
    points = start + step * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0)
    inside = np.flatnonzero(np.hypot(*(points - FOVEA).T) < 1.3)  # the fovea has no vessels
    count = max(2, int(inside[0])) if inside.size else count
    widths = width * np.linspace(1, 0.45, len(way))
    found.append(_Vessel(points[:count], widths[:count], vein))
    if not depth:
        return
    side = rng.choice((-1, 1))
    place = rng.uniform(2.0, 4.0)
    while place < 0.85 * count * step:
        at = int(place / step)
        away = side * rng.uniform(0.55, 1.1)
        bent = heading[at] + np.array((away, away * rng.uniform(0.2, 0.8)))
        rest = (count - at) * step * rng.uniform(0.35, 0.75)
        _grow(rng, found, points[at], bent, widths[at] * rng.uniform(0.5, 0.72), rest, vein, depth - 1)
        side, place = -side, place + rng.uniform(1.8, 4.5)


def _draw_vessels(image: Array, tree: list[_Vessel], scale: float, origin: Array) -> None:
    """Filter the light through the vessels."""
    height, width = image.shape[:2]
    finer = max(1, math.ceil(CANVAS / min(height, width)))
    for vein, tint in ((True, VEIN), (False, ARTERY)):
        cover = np.zeros((height * finer, width * finer), np.uint8)
        for vessel in tree:
            if vessel.vein != vein:
                continue
            # A pixel's centre lies half a pixel in, on the picture and on the canvas.
            places = np.rint(((vessel.points * scale + origin + 0.5) * finer - 0.5) * 2**BITS).astype(np.int32)
            for at in range(0, len(places) - 1, 8):
                thick = float(vessel.widths[at]) * scale * finer
                level = round(255 * min(1.0, thick) * min(1.0, 0.45 + 2.2 * float(vessel.widths[at])))
                cv2.polylines(cover, [places[at : at + 9]], False, level, max(1, round(thick)), cv2.LINE_AA, BITS)
        small = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)
        image *= 1 - (small.astype(np.float32) / 255)[..., None] * (1 - tint)


def _bleed(image: Array, nerve: _Nerve, x: Array, y: Array, turn: float) -> None:
    """A flame of blood along the nerve fibres, across the disc's border in a direction of the disc's plane."""
    out = nerve.matrix @ np.array((math.cos(turn), math.sin(turn)))
    along = out / np.hypot(*out)
    u = along[0] * (x - 1.08 * out[0]) + along[1] * (y - 1.08 * out[1])
    v = along[0] * (y - 1.08 * out[1]) - along[1] * (x - 1.08 * out[0])
    cover = 0.85 * _sigmoid((1 - np.hypot(u / 0.85, v / 0.22)) * 6)
    image += cover[..., None].astype(np.float32) * (BLOOD - image)


def _light(rng: np.random.Generator, look: Camera, x: Array, y: Array, reach: float, scale: float) -> Array:
    """Light that reaches the film: less towards the edge, a slant, none beyond the field of view."""
    turn, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.2)
    away = np.sqrt(x**2 + y**2) / np.float32(reach)
    light = 1 - np.float32(look.falloff * rng.uniform(0.5, 1.2)) * away**2
    light += np.float32(slope / reach) * (np.float32(math.cos(turn)) * x + np.float32(math.sin(turn)) * y)
    # The edge is one pixel wide.
    edge = np.minimum(1 - away, look.cut - np.abs(y) / np.float32(reach)) * np.float32(reach * scale)
    return np.asarray(np.clip(light, 0.05, None) * np.clip(edge + 0.5, 0, 1) + np.float32(0.006), np.float32)
