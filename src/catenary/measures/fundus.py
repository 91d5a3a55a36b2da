"""Is this a photo of the back of the eye, and can it be used? And whose eye is it?

The judgement is plain arithmetic on a copy of at most 256 x 256 pixels: means over boxes, percentiles, circles through
three points. A page in a browser can do the same before the photo is sent. It was set on photos of four cameras, whole
fields and crops of the disc; see `LIMITS`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.errors import InputError

__all__ = [
    "LIMITS", "Field", "Limit", "Quality", "Side", "Verdict", "eye_from_disc", "eye_of", "field_of_view", "quality_of",
]  # fmt: skip

Array = NDArray[Any]
Side = Literal["right", "left"]
Verdict = Literal["good", "usable", "reject"]

#: Longest side of the copy that is judged, and of that of a crop, which shows things larger.
SIDE, CROP = 256, 112
#: Share of the 99th percentile of red above which a pixel is lit, and the least level of red that is light at all.
LIT, LEAST = 0.12, 7.0
#: Directions in which the border of the field is sought, and how far from the circle it may run, in radii.
BINS, ROUND = 120, 0.03
#: A circle is the field of view when this share of the border runs on it, and this share of the light lies within it.
ON, WITHIN = 0.4, 0.95
#: Of a retina at least this share is redder than green and greener than blue, and its blue over red is at most so
#: much: 0.42 was the most of 490 photos of eyes, 0.53 the least of 62 photos of skin through a dermatoscope.
COLOURED, BLUE = 0.85, 0.47
#: Level of all three colours from which on light is white.
WHITE = 170
#: Without a round field a picture needs this share of lit pixels, this contrast, and at most this grain.
FULL, STRUCTURE, GRAIN = 0.9, 0.05, 0.4


class Field(NamedTuple):
    """The round field of view: row and column of its middle, and its radius, in pixels of the photo."""

    row: float
    column: float
    radius: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What was seen of a photo; the numbers are None where the picture is no photo of the back of the eye.

    Attributes:
        fundus: It is one.
        field: Its field of view; None where the retina fills the picture, or where there is none.
        view: Radius of the field over half the picture's short side; 1 where the retina fills it.
        exposure: Median of red and green over the field, 0..1.
        light: Median of green over the field, 0..1.
        contrast: Half the distance between the 2nd and 98th percentile of what green differs from its surroundings,
            over its mean: how far vessels and disc stand out, 0 is flat.
        sharpness: How much of the strongest detail is left in the finest, noise taken off; 0 is a fog. It does not
            depend on the photo's size from 256 pixels on.
        grain: Noise over the strongest detail.
        glare: Share of the field in white light.
        evenness: Brightness of the darkest tenth of the regions of the field over that of the brightest tenth, 0..1.
        verdict: ``"good"``, ``"usable"`` (answers may be worse than measured) or ``"reject"``.
        reasons: What is wrong and what to do, in plain words, the worst first; empty for a good photo.
    """

    fundus: bool
    field: Field | None = None
    view: float | None = None
    exposure: float | None = None
    light: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    grain: float | None = None
    glare: float | None = None
    evenness: float | None = None
    verdict: Verdict = "reject"
    reasons: tuple[str, ...] = ()


class Limit(NamedTuple):
    """From where on a number of `Quality` makes a photo only usable, and from where on it is rejected.

    Where `reject` lies above `usable`, less is better.
    """

    number: str
    usable: float
    reject: float
    reason: str


#: Set between real photos (30 of Drishti-GS1, 30 of HRF, 18 of CHASE_DB1, 412 crops of GRAPE), of which hardly any
#: should be rejected, and copies spoiled by `catenary.phantoms.faults`. No overexposed photo was at hand for `light`.
LIMITS: tuple[Limit, ...] = (
    Limit("exposure", 0.14, 0.06, "too dark: use more light"),
    Limit("light", 0.65, 0.80, "too bright: use less light"),
    Limit("view", 0.60, 0.30, "the round view is small: move closer"),
    Limit("sharpness", 0.16, 0.08, "blurred: hold still and focus again"),
    Limit("contrast", 0.06, 0.03, "hazy: clean the lens and move closer"),
    Limit("grain", 0.15, 0.40, "grainy: use more light"),
    Limit("grain", 0.012, 0.0, "too strongly compressed: send the original, not a copy from a messenger"),
    Limit("glare", 0.03, 0.15, "bright reflections: tilt the camera a little, or dim the room"),
    Limit("evenness", 0.30, 0.10, "unevenly lit: aim through the middle of the pupil"),
)

_BLACK = "the picture is black: take the cap off and use more light"
_STRANGE = "not a photo of the back of the eye: fill the picture with the round view of the retina"


def quality_of(rgb: UInt8[np.ndarray, "3 h w"]) -> Quality:
    """Judge a photo.

    Args:
        rgb: The photo, RGB.

    Raises:
        InputError: A side has fewer than 32 pixels.

    >>> quality_of(np.zeros((3, 64, 64), np.uint8)).reasons
    ('the picture is black: take the cap off and use more light',)
    """
    small, step = _reduced(rgb, SIDE)
    if float(np.percentile(small[0], 99)) < 2 * LEAST:
        return Quality(fundus=False, reasons=(_BLACK,))
    lit = _lit(small)
    circle = _circle(lit)
    if circle is None:
        small = _reduced(small, CROP)[0]
        lit = _lit(small)
    inside = _within(circle, 0.93, lit.shape)
    numbers = _numbers(small, inside)
    if not (_coloured(small, lit & inside) and (circle is not None or _filled(lit, numbers))):
        return Quality(fundus=False, reasons=(_STRANGE,))
    field = None if circle is None else _unreduced(circle, step)
    numbers["view"] = 1.0 if field is None else field.radius / (min(rgb.shape[1:]) / 2)
    bad, poor = [], []
    for limit in LIMITS:
        sign = 1 if limit.usable > limit.reject else -1
        if sign * numbers[limit.number] < sign * limit.reject:
            bad.append(limit.reason)
        elif sign * numbers[limit.number] < sign * limit.usable:
            poor.append(limit.reason)
    verdict: Verdict = "reject" if bad else "usable" if poor else "good"
    return Quality(fundus=True, field=field, verdict=verdict, reasons=(*bad, *poor), **numbers)


def field_of_view(rgb: UInt8[np.ndarray, "3 h w"]) -> Field | None:
    """The circle that a photo shows of the eye; None where none is seen, as in a crop.

    Its border may be cut by the picture's, or be dark on one side.

    Args:
        rgb: The photo.

    Raises:
        InputError: A side has fewer than 32 pixels.

    >>> away = np.hypot(*np.ogrid[-50:51, -60:61])
    >>> found = field_of_view(np.where(away < 40, np.array([200, 80, 40])[:, None, None], 0).astype(np.uint8))
    >>> [round(number) for number in found]
    [50, 60, 40]
    """
    small, step = _reduced(rgb, SIDE)
    circle = _circle(_lit(small))
    return None if circle is None else _unreduced(circle, step)


def eye_of(name: str | Path) -> Side | None:
    """Whose eye a file shows by its name: OD, R or right, OS, L or left as a word of it; None where it does not tell.

    >>> [eye_of(name) for name in ("12_OD_3.jpg", "Image_01L.jpg", "left-eye.png", "drishti_002.jpg", "od_vs_os.jpg")]
    ['right', 'left', 'left', None, None]
    """
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", Path(name).stem)}
    right, left = words & {"od", "r", "right"}, words & {"os", "l", "left"}
    if bool(right) == bool(left):
        return None
    return "right" if right else "left"


def eye_from_disc(centre: tuple[float, float], field: Field) -> Side | None:
    """Whose eye an upright photo shows by where its disc lies: to the right of the middle in a right eye.

    None where the disc lies within 0.3 radii of the middle, as in photos that are aimed at it. A photo through a
    hand-held lens is upside down and tells the other eye, so use it for photos of upright cameras only.

    Args:
        centre: Row and column of the disc's centre.
        field: The field of view.

    >>> view = Field(100.0, 100.0, 90.0)
    >>> eye_from_disc((95.0, 150.0), view), eye_from_disc((95.0, 50.0), view), eye_from_disc((95.0, 110.0), view)
    ('right', 'left', None)
    """
    away = (centre[1] - field.column) / field.radius
    if abs(away) < 0.3:
        return None
    return "right" if away > 0 else "left"


def _reduced(rgb: Array, side: int) -> tuple[Array, float]:
    """A copy with at most `side` rows and columns, each pixel a mean over a box, and the width of such a box."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    height, width = rgb.shape[1:]
    if min(height, width) < 32:
        raise InputError(f"a photo is judged from 32 pixels a side on, found {height} x {width}; give the whole photo")
    step = max(1.0, max(height, width) / side)
    size = (max(1, round(width / step)), max(1, round(height / step)))
    planes = [cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_AREA) for plane in rgb]
    return np.stack(planes).astype(np.float32), step


def _lit(small: Array) -> Array:
    """The largest part of the picture that is not dark."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    lit = (small[0] > max(LEAST, LIT * float(np.percentile(small[0], 99)))).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(cv2.medianBlur(lit, 5), connectivity=4)
    return np.asarray(parts == (1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else -1))


def _circle(lit: Array) -> Field | None:
    """The circle that most of the outermost lit pixels around the middle of the light lie on."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    rows, columns = np.nonzero(lit)
    if rows.size < BINS:
        return None
    middle = complex(columns.mean(), rows.mean())
    rows, columns = np.nonzero(lit & (cv2.blur(lit.astype(np.float32), (3, 3)) < 0.99))
    away = columns + 1j * rows - middle
    # The last pixel of each direction, in the order of the directions; not those that the picture's border cuts off.
    bins = np.floor((np.angle(away) / math.tau + 0.5) * BINS)
    order = np.lexsort((np.abs(away), bins))
    last = order[np.flatnonzero(np.diff(bins[order], append=np.inf))]
    height, width = lit.shape
    free = (rows[last] > 1) & (rows[last] < height - 2) & (columns[last] > 1) & (columns[last] < width - 2)
    points = (columns[last] + 1j * rows[last])[free]
    if len(points) < BINS / 5:
        return None
    gaps = (len(points) // parts for parts in (3, 5, 8))
    found = [_through(points, np.roll(points, -gap), np.roll(points, -2 * gap)) for gap in gaps]
    middles, radii = (np.concatenate(parts) for parts in zip(*found, strict=True))
    on = np.abs(np.abs(points - middles[:, None]) - radii[:, None]) < ROUND * radii[:, None]
    likely = (radii > 0.15 * max(lit.shape)) & (radii < 0.75 * max(lit.shape))
    best = int((on.mean(axis=1) * likely).argmax())
    if not likely[best] or on[best].mean() < ON:
        return None
    middle, radius = _fitted(points[on[best]])
    circle = Field(middle.imag, middle.real, radius + 0.5)  # a pixel reaches half a pixel beyond its centre
    inside = _within(circle, 1 + ROUND, lit.shape)
    return circle if np.count_nonzero(lit & inside) >= WITHIN * np.count_nonzero(lit) else None


def _through(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Middles and radii of circles through three points each, as complex numbers; radius 0 where they lie in line."""
    b, c = b - a, c - a
    cross = 2 * (b.real * c.imag - b.imag * c.real)
    fine = np.abs(cross) > 1e-6
    away = 1j * (c * np.abs(b) ** 2 - b * np.abs(c) ** 2) / -np.where(fine, cross, 1)
    return a + away, np.where(fine, np.abs(away), 0)


def _fitted(points: Array) -> tuple[complex, float]:
    """The circle of least algebraic error through points (Kasa 1976)."""
    x, y = points.real, points.imag
    system = np.stack([2 * x, 2 * y, np.ones(len(x))], 1)
    (a, b, c), *_ = np.linalg.lstsq(system, x**2 + y**2, rcond=None)
    return complex(a, b), math.sqrt(c + a * a + b * b)


def _within(circle: Field | None, part: float, shape: tuple[int, ...]) -> Array:
    """True within a part of the circle's radius; everywhere without a circle."""
    if circle is None:
        return np.ones(shape, bool)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(rows - circle.row, columns - circle.column) < part * circle.radius)


def _unreduced(circle: Field, step: float) -> Field:
    return Field((circle.row + 0.5) * step - 0.5, (circle.column + 0.5) * step - 0.5, circle.radius * step)


def _coloured(small: Array, inside: Array) -> bool:
    """Whether the light that is not white has the colours of a retina: much red, some green, less blue."""
    red, green, blue = small[:, inside & (small.min(axis=0) <= WHITE)]
    if red.size < np.count_nonzero(inside) / 2 or not red.size:
        return False
    ordered = min((red >= 1.05 * green).mean(), (green >= 0.95 * blue).mean())
    return bool(ordered >= COLOURED and np.median(blue / (red + 1)) <= BLUE)


def _filled(lit: Array, numbers: dict[str, float]) -> bool:
    """Whether a picture without a round field is full of something with vessels or a disc, not a finger on the lens."""
    return bool(lit.mean() > FULL and numbers["contrast"] > STRUCTURE and numbers["grain"] < GRAIN)


def _numbers(small: Array, inside: Array) -> dict[str, float]:
    """Those of `Quality` but the view, in the field."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes

    def mean(plane: Array, side: int) -> Array:
        return np.asarray(cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT))

    red, green, _ = small
    weight = inside.astype(np.float32)
    bright = (red + green) / 2
    side = 2 * int(0.12 * math.sqrt(np.count_nonzero(inside) / math.pi)) + 1
    around = mean(green * weight, side) / np.maximum(mean(weight, side), 1e-3)
    detail = np.where(inside, (green - around) / (green[inside].mean() + 2), 0).astype(np.float32)
    core = cv2.erode(weight, np.ones((9, 9))) > 0
    core = core if core.any() else inside
    smooth = mean(detail, 3)
    fine, coarse = np.abs(detail - smooth)[core], np.abs(smooth - mean(detail, 17))[core]
    strong = float(np.percentile(coarse, 99))
    # Vessels are few, noise is everywhere: the median of what is fine tells it, 3.8 times which is its 99th percentile.
    noise = float(np.median(fine))
    edges = math.sqrt(max(0.0, float(np.percentile(fine, 99)) ** 2 - (3.8 * noise) ** 2))
    low, high = np.percentile(smooth[core], (2, 98))
    block = max(2, max(inside.shape) // 12)
    cells = (np.array(inside.shape) // block) * block
    tiles = [
        plane[: cells[0], : cells[1]].reshape(cells[0] // block, block, -1, block).mean(axis=(1, 3))
        for plane in (bright, weight)
    ]
    regions = tiles[0][tiles[1] > 0.9] if (tiles[1] > 0.9).any() else bright[inside]
    dark, light = np.percentile(regions, (10, 90))
    return {
        "exposure": float(np.median(bright[inside])) / 255,
        "light": float(np.median(green[inside])) / 255,
        "contrast": float(high - low) / 2,
        "sharpness": edges / (strong + 0.02),
        "grain": noise / (strong + 1e-3),
        "glare": float((small.min(axis=0)[inside] > WHITE).mean()),
        "evenness": float(dark / max(light, 1e-3)),
    }
