"""The optic disc and its cup: ratios, rim, and what ophthalmologists look at, from a label map.

Both outlines are made robust first: the largest part, its holes filled, smoothed by a Gaussian of `SMOOTH` of its
radius, cut at one half. Specks, spurs and ragged edges hardly count then. Diameters are extents of these outlines,
finer than a pixel. Rim widths are read along rays from the disc's centre: what of a ray lies in the disc and not in the
cup.

Nothing is guessed: without a disc, or with two of similar size, no number is given and `Disc.finding` says why. No
number here is a diagnosis.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8
from numpy.typing import NDArray

from catenary.data.extent import bounding_box
from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.measures.fundus import Side, eye_from_disc, field_of_view
from catenary.measures.quantity import Quantity, known_phases, quantity, steps_of
from catenary.types import Grid

__all__ = ["Disc", "disc", "disc_of", "planes_of"]

Array = NDArray[Any]

#: Deviation of the Gaussian that smooths an outline, over the radius of a circle of the same area.
SMOOTH = 0.08
#: A second part with this share of the largest one's pixels could as well be the disc.
SIMILAR = 0.3
#: Rays, one a degree, clockwise from straight up; and points on each.
RAYS, POINTS = 360, 256
#: Degrees over which a rim width is averaged: a clock hour at the four axes, and at the thinnest place.
HOUR, THINNEST = 30, 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Disc:
    """Optic disc and cup; lengths and areas in the unit of the spacing, None where they are not defined.

    Attributes:
        finding: What stands in the way of an answer, or of a part of it, in a sentence; empty where nothing does.
        disc_parts: Parts that could be the disc: 1 for an answer.
        cdr_vertical: Vertical cup-to-disc ratio: extents along the image's columns, 0..1.
        cdr_horizontal: The same along its rows.
        cdr_long: The same along the disc's own long axis.
        cdr_short: The same along its short axis.
        cup_disc_area: Area of the cup over that of the disc.
        disc_area: Area of the disc.
        disc_height: Its vertical diameter.
        disc_width: Its horizontal diameter.
        rim_inferior: Mean rim width within 15 degrees of straight down, as at 6 o'clock.
        rim_superior: The same straight up.
        rim_nasal: The same towards the nose; None where the eye is not known.
        rim_temporal: The same towards the temple.
        rim_thinnest: Least rim width over the disc's diameter in that direction, 0..0.5 (the rim-to-disc ratio of the
            disc damage likelihood scale, Spaeth et al. 2002).
        thinnest_at: Its direction in degrees clockwise from straight up in the image.
        isnt: 1 where inferior >= superior >= nasal >= temporal rim (Jonas et al. 1988, read at the axes as by Harizman
            et al. 2006), else 0; None where the eye is not known.
        centre: Row and column of the disc's centre in pixels.
        eye: Whose eye the nasal side was taken from.
    """

    finding: str = ""
    disc_parts: int = 0
    cdr_vertical: float | None = None
    cdr_horizontal: float | None = None
    cdr_long: float | None = None
    cdr_short: float | None = None
    cup_disc_area: float | None = None
    disc_area: float | None = None
    disc_height: float | None = None
    disc_width: float | None = None
    rim_inferior: float | None = None
    rim_superior: float | None = None
    rim_nasal: float | None = None
    rim_temporal: float | None = None
    rim_thinnest: float | None = None
    thinnest_at: float | None = None
    isnt: int | None = None
    centre: tuple[float, float] | None = None
    eye: Side | None = None


#: Fields of `Disc` that are quantities; a direction has no error bar on a line.
MEASURED = tuple(field.name for field in fields(Disc) if field.name not in ("finding", "thinnest_at", "centre", "eye"))


def disc_of(
    whole: Bool[np.ndarray, "h w"],
    cup: Bool[np.ndarray, "*c"],
    *,
    eye: Side | None = None,
    spacing: Sequence[float] | None = None,
) -> Disc:
    """Measure an optic disc.

    Args:
        whole: True in the disc, the cup included.
        cup: True in the cup; what lies outside the disc does not count.
        eye: Whose eye it is, in an upright picture; see `catenary.measures.fundus.eye_of`.
        spacing: Size of a pixel ``(h, w)``; without it the answer is in pixels.

    Raises:
        InputError: The masks differ in shape, or the spacing is not two numbers above zero.

    >>> away = np.hypot(*np.ogrid[-119.5:120, -119.5:120])
    >>> found = disc_of(away < 100, away < 40, eye="right", spacing=(0.01, 0.01))
    >>> round(found.cdr_vertical, 2), round(found.disc_height, 2), round(found.rim_nasal, 2), found.finding
    (0.4, 2.0, 0.6, '')
    """
    if whole.shape != cup.shape:
        raise InputError(f"disc and cup must have one shape, found {whole.shape} and {cup.shape}; crop them")
    steps = steps_of(spacing, 2)
    count, main = _main_part(whole)
    if not count:
        return Disc(finding="no optic disc was found")
    if count > 1:
        return Disc(finding=f"{count} parts could be the optic disc, which is not decided here", disc_parts=count)
    cut = bool(main[[0, -1]].any() or main[:, [0, -1]].any())
    box = bounding_box(main, margin=4 + max(main.shape) // 50)  # room for the blur
    main, cup = main[box], cup[box]
    centre, axes = _middle(main, steps)
    around = _outline(main, steps)
    hollow = _main_part(cup & main)[1]
    inner = _outline(hollow, steps)
    # Without a cup all is rim.
    radius = _lengths(_smoothed(main), centre, steps)
    rim = radius - _lengths(_smoothed(hollow), centre, steps)
    share = _averaged(rim / (radius + np.roll(radius, RAYS // 2)), THINNEST)
    thinnest = int(share.argmin())
    width = _averaged(rim, HOUR)
    up, right, down, left = (float(width[turn]) for turn in (0, 90, 180, 270))
    nasal, temporal = {"right": (right, left), "left": (left, right), None: (None, None)}[eye]
    holds = None if nasal is None or temporal is None else int(down >= up >= nasal >= temporal)
    along = [(1.0, 0.0), (0.0, 1.0), *axes]
    ratios = [float(np.ptp(inner @ axis) / np.ptp(around @ axis)) for axis in along]
    area, hole = _area(around), _area(inner)
    there = bool(hollow.any())
    findings = {
        "the disc is cut off by the border of the picture": cut,
        "no cup was found in the disc": not there,
        "it is not known whose eye it is, so that nasal and temporal rim cannot be told": eye is None,
    }
    return Disc(
        finding="; ".join(text for text, holds in findings.items() if holds),
        disc_parts=1,
        cdr_vertical=ratios[0],
        cdr_horizontal=ratios[1],
        cdr_long=ratios[2],
        cdr_short=ratios[3],
        cup_disc_area=hole / area,
        disc_area=area,
        disc_height=float(np.ptp(around[:, 0])),
        disc_width=float(np.ptp(around[:, 1])),
        rim_inferior=down,
        rim_superior=up,
        rim_nasal=nasal,
        rim_temporal=temporal,
        rim_thinnest=float(share[thinnest]),
        thinnest_at=float(thinnest) if there else None,
        isnt=holds,
        centre=(float(centre[0] + box[0].start), float(centre[1] + box[1].start)),
        eye=eye,
    )


def planes_of(
    mask: UInt8[np.ndarray, "h w"], labels: LabelSet
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Where disc and cup are in a label map, by the last words of the names of its classes and regions.

    The cup is always told; the disc as a region, or as the rim (or what of the disc is not cup) beside the cup.

    Raises:
        InputError: The names do not tell.

    >>> whole, cup = planes_of(np.array([[0, 1, 2]], np.uint8), LabelSet(names=("background", "disc rim", "optic_cup")))
    >>> whole.tolist(), cup.tolist()
    ([[False, True, True]], [[False, False, True]])
    """
    classes = {_last_word(name): (index,) for index, name in enumerate(labels.names)}
    members = classes | {_last_word(name): tuple(found) for name, found in labels.regions.items()}
    ring = members.get("disc") or members.get("rim")
    if "cup" not in members or ring is None:
        told = ", ".join((*labels.names, *labels.regions))
        raise InputError(
            f"the optic disc is measured on classes or regions named cup, and disc or rim, found {told}; name them in "
            "dataset.toml"
        )
    cup = np.isin(mask, members["cup"])
    return np.isin(mask, ring) | cup, cup


def disc(
    mask: UInt8[np.ndarray, "*m"],
    labels: LabelSet,
    grid: Grid,
    *,
    valid: Bool[np.ndarray, "*v"] | None = None,
    image: Num[np.ndarray, "c *i"] | None = None,
    eye: Side | None = None,
) -> tuple[Quantity, ...]:
    """Measure the optic disc in a label map; `catenary.measures.registry` has the table of quantities.

    Args:
        mask: Label map.
        labels: Its classes or regions, see `planes_of`.
        grid: Its pixels' size and unit.
        valid: False where nothing is known.
        image: The upright photo, RGB of 8 bits; where `eye` is not given, the place of the disc in its field of view
            tells the eye unless the disc is near the middle.
        eye: Whose eye it is.

    Raises:
        InputError: Not a picture, or labels, names, `valid` or spacing do not fit.

    >>> labels = LabelSet(names=("background", "rim", "cup"))
    >>> rows = disc(np.zeros((8, 8), np.uint8), labels, Grid())
    >>> [(row.key, row.value, row.unit) for row in rows if row.name in ("disc_parts", "disc_area")]
    [('disc_parts disc', 0.0, ''), ('disc_area disc', None, 'px^2')]
    """
    if mask.ndim != 2:
        raise InputError(f"an optic disc is measured on a picture (h, w), found shape {mask.shape}; give one slice")
    whole, cup = planes_of(known_phases(mask, labels.count, valid), labels)
    found = disc_of(whole, cup, eye=eye or _eye_in(whole, image), spacing=grid.spacing)
    return tuple(quantity(name, "disc", getattr(found, name), grid, 2) for name in MEASURED)


def _eye_in(whole: Array, image: Array | None) -> Side | None:
    """Whose eye it is by the place of the disc in the field of view of an RGB image of 8 bits."""
    if image is None or image.dtype != np.uint8 or len(image) != 3 or min(whole.shape) < 32 or not whole.any():
        return None
    view = field_of_view(image)
    row, column = _middle(_main_part(whole)[1], (1.0, 1.0))[0]
    return None if view is None else eye_from_disc((float(row), float(column)), view)


def _last_word(name: str) -> str:
    return re.split(r"[^a-z]+", name.lower().rstrip("0123456789_- "))[-1]


def _main_part(plane: Array) -> tuple[int, Array]:
    """How many parts are about as large as the largest, and that one with its holes filled, on the whole plane."""
    import cv2 as opencv
    from scipy.ndimage import binary_fill_holes

    cv2: Any = opencv  # its type stubs refuse much that it takes
    count, parts, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
    if count == 1:
        return 0, plane
    sizes = stats[1:, cv2.CC_STAT_AREA]
    main = parts == 1 + int(sizes.argmax())
    box = bounding_box(main)
    main[box] = binary_fill_holes(main[box])
    return int((sizes >= SIMILAR * sizes.max()).sum()), main


def _middle(main: Array, steps: tuple[float, ...]) -> tuple[Array, Array]:
    """Centroid in pixels, and the directions ``(2, 2)`` of the long and of the short axis as rows."""
    places = np.argwhere(main).astype(np.float64)
    centre: Array = places.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(((places - centre) * steps).T, bias=True))
    return centre, axes.T[::-1]


def _smoothed(main: Array) -> Array:
    """The part as 0..1 with a soft border, of the same shape."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    sigma = max(0.3, SMOOTH * math.sqrt(np.count_nonzero(main) / math.pi))
    soft: Array = cv2.GaussianBlur(main.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return soft


def _lengths(soft: Array, centre: Array, steps: tuple[float, ...]) -> Array:
    """How much of each of the `RAYS` from a place in pixels lies where a plane is above 1/2, in the steps' unit."""
    from scipy.ndimage import map_coordinates

    turns = np.radians(np.arange(RAYS))
    way = np.stack([-np.cos(turns), np.sin(turns)])
    rows, columns = bounding_box(soft > 0.5)
    ends = np.array([(r, c) for r in (rows.start, rows.stop) for c in (columns.start, columns.stop)])
    reach = float(np.hypot(*((ends - centre) * steps).T).max()) + max(steps)
    places = way[:, :, None] / np.array(steps)[:, None, None] * np.linspace(0, reach, POINTS) + centre[:, None, None]
    level = map_coordinates(soft, places, order=1, mode="constant") - 0.5
    top, low = np.maximum(level[:, :-1], level[:, 1:]), np.minimum(level[:, :-1], level[:, 1:])
    # Between two points the plane is a straight line: the part of it above one half.
    part = np.clip(top / np.maximum(top - low, 1e-12), 0, 1)
    # The blur has drawn the outline in by half its variance over the radius.
    return np.asarray(part.sum(axis=1) * reach / (POINTS - 1) / (1 - SMOOTH**2 / 2))


def _outline(main: Array, steps: tuple[float, ...]) -> Array:
    """Points ``(RAYS, 2)`` around the centroid, down and to the right of it; all 0 for an empty part."""
    if not main.any():
        return np.zeros((RAYS, 2))
    turns = np.radians(np.arange(RAYS))
    radius = _lengths(_smoothed(main), _middle(main, steps)[0], steps)
    return np.stack([-np.cos(turns) * radius, np.sin(turns) * radius], axis=1)


def _area(outline: Array) -> float:
    (y, x), (v, u) = outline.T, np.roll(outline, 1, axis=0).T
    return abs(float((u * y - x * v).sum())) / 2


def _averaged(values: Array, degrees: int) -> Array:
    """Means over an arc around each ray."""
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(values, degrees + 1, mode="wrap"))
