"""Size and shape of a skin lesion, after the letters of the clinical ABCD rule: asymmetry, border, colour, diameter.

Everything is measured on the main part: the largest 8-connected part, with its holes filled. Its outline runs half-way
between pixel centres, so a digital disc of radius r is about 2 r wide. Nothing here is a diagnosis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.measures.interfaces import boundary_length
from catenary.measures.quantity import Quantity, known_phases, quantity, steps_of
from catenary.types import IGNORE, Grid

__all__ = ["Shape", "colour_spread", "lesion", "shape_of"]

#: Axes that `Shape.asymmetry_least` tries.
AXES = 36

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Size and shape of the main part of a mask; lengths and areas in the unit of the spacing.

    An empty mask has 0 parts and lengths and areas of 0; what remains is then None.

    Attributes:
        area: Pixels times their size.
        perimeter: Length of the outline by Crofton's formula in 8 directions; the image's border is outline.
        equivalent_diameter: Diameter of the disc of this area, ``2 sqrt(area / pi)``.
        largest_diameter: Largest distance between two points of the outline (Feret diameter).
        orthogonal_diameter: Width at right angles to the largest diameter.
        asymmetry: Mean of the next two.
        asymmetry_long: Share of the area that its reflection about the long principal axis through the centroid leaves
            uncovered, 0..1 (after Stoecker, Li and Moss 1992).
        asymmetry_short: The same about the short principal axis.
        asymmetry_least: The smallest such share over the principal axes and 36 others. Unlike the principal axes it is
            stable for lesions about as long as wide.
        irregularity: ``perimeter^2 / (4 pi area)``: 1 for a disc, larger for ragged or long outlines.
        roughness: Perimeter over that of the convex hull: 1 for convex outlines however long, larger for ragged ones.
        solidity: Area over that of the convex hull, at most 1.
        eccentricity: Of the ellipse with the same second moments: 0 for a disc, towards 1 for a line.
        parts: 8-connected parts of the whole mask.
        main_share: Share of the mask's pixels in the main part.
        cut_off: 1 where the main part touches the image's border or unknown pixels, so that its size is a lower bound
            only; else 0.
    """

    area: float
    perimeter: float
    equivalent_diameter: float
    largest_diameter: float
    orthogonal_diameter: float
    asymmetry: float | None
    asymmetry_long: float | None
    asymmetry_short: float | None
    asymmetry_least: float | None
    irregularity: float | None
    roughness: float | None
    solidity: float | None
    eccentricity: float | None
    parts: int
    main_share: float | None
    cut_off: int | None


def shape_of(
    plane: Bool[np.ndarray, "h w"],
    *,
    valid: Bool[np.ndarray, "h w"] | None = None,
    spacing: Sequence[float] | None = None,
) -> Shape:
    """Measure the main part of a mask.

    Args:
        plane: True inside the lesion.
        valid: False where nothing is known; such pixels are not lesion.
        spacing: Size of a pixel ``(h, w)``; without it the answer is in pixels.

    Raises:
        InputError: The spacing is not two numbers above zero.

    >>> shape = shape_of(np.hypot(*np.ogrid[-40:41, -40:41]) < 40.5, spacing=(0.1, 0.1))
    >>> round(shape.equivalent_diameter, 1), round(shape.irregularity, 2), round(shape.asymmetry, 2)
    (8.1, 1.0, 0.0)
    """
    steps = steps_of(spacing, 2)
    known = plane if valid is None else plane & valid
    parts, main, corner, share = _main_part(known)
    if not parts:
        return Shape(
            area=0.0, perimeter=0.0, equivalent_diameter=0.0, largest_diameter=0.0, orthogonal_diameter=0.0,
            asymmetry=None, asymmetry_long=None, asymmetry_short=None, asymmetry_least=None, irregularity=None,
            roughness=None, solidity=None, eccentricity=None, parts=0, main_share=None, cut_off=None,
        )  # fmt: skip
    area = float(np.count_nonzero(main)) * math.prod(steps)
    perimeter = boundary_length(main, spacing=steps)
    hull = _hull(main) * steps
    largest, orthogonal = _diameters(hull)
    centre, axes, eccentricity = _ellipse(main, steps)
    folds = [_fold(main, centre, axis, steps) for axis in axes]
    angles = np.arange(AXES) * (math.pi / AXES)
    others = [_fold(main, centre, np.array([math.sin(turn), math.cos(turn)]), steps) for turn in angles]
    return Shape(
        area=area,
        perimeter=perimeter,
        equivalent_diameter=2 * math.sqrt(area / math.pi),
        largest_diameter=largest,
        orthogonal_diameter=orthogonal,
        asymmetry=sum(folds) / 2,
        asymmetry_long=folds[0],
        asymmetry_short=folds[1],
        asymmetry_least=min(*folds, *others),
        irregularity=perimeter**2 / (4 * math.pi * area),
        roughness=perimeter / _closed_length(hull),
        solidity=min(1.0, area / _polygon_area(hull)),
        eccentricity=eccentricity,
        parts=parts,
        main_share=share,
        cut_off=int(_touches(main, corner, plane.shape, valid)),
    )


def colour_spread(image: Num[np.ndarray, "3 *i"], plane: Bool[np.ndarray, "h w"]) -> float | None:
    """How much the colour varies inside a mask, in CIE 1976 colour differences; None for an empty mask.

    The root of the summed variances of L*, a* and b*: the root mean square colour difference from the mean colour. 1 is
    about the least difference that is seen.

    Args:
        image: sRGB, whole numbers over their type's range or floats 0..1.
        plane: True inside the lesion.

    Raises:
        InputError: Floats outside 0..1, or mask and image of different sizes.

    >>> image = np.zeros((3, 2, 2), np.uint8)
    >>> image[:, 0] = 255  # black and white: L* is 0 or 100
    >>> round(colour_spread(image, np.ones((2, 2), bool)), 1)
    50.0
    """
    from skimage.color import rgb2lab

    if image.shape[1:] != plane.shape:
        raise InputError(f"image and mask must have one size, found {image.shape[1:]} and {plane.shape}; crop")
    inside = image[:, plane].T.astype(np.float64)
    if not inside.size:
        return None
    if np.issubdtype(image.dtype, np.integer):
        inside /= np.iinfo(image.dtype).max
    elif inside.min() < 0 or inside.max() > 1:
        raise InputError(
            f"float colours must lie in 0 to 1, found {inside.min():.3g} to {inside.max():.3g}; give the image as read"
        )
    lab = rgb2lab(inside[None])[0]
    return float(np.sqrt(lab.var(axis=0).sum()))


def lesion(
    mask: UInt8[np.ndarray, "h w"],
    labels: LabelSet,
    grid: Grid,
    *,
    valid: Bool[np.ndarray, "*v"] | None = None,
    image: Num[np.ndarray, "c *i"] | None = None,
) -> tuple[Quantity, ...]:
    """Measure every target of a label map as a lesion; `catenary.measures.registry` has the table of quantities.

    Args:
        mask: Label map.
        labels: Its classes, or regions.
        grid: Its pixels' size and unit.
        valid: False where nothing is known.
        image: The sRGB image, for `colour_spread`; left out without it or when it has not three channels.

    Raises:
        InputError: Not a picture, or labels, `valid`, spacing or image do not fit.

    >>> rows = lesion(np.zeros((8, 8), np.uint8), LabelSet(names=("skin", "lesion")), Grid())
    >>> [(row.key, row.value, row.unit) for row in rows if row.name in ("area", "asymmetry")]
    [('area lesion', 0.0, 'px^2'), ('asymmetry lesion', None, '')]
    """
    if mask.ndim != 2:
        raise InputError(f"a lesion is measured on a picture (h, w), found shape {mask.shape}; give one slice")
    known = known_phases(mask, labels.count, valid)
    seen = known != IGNORE
    rows = []
    for name, classes in zip(labels.target_names, labels.target_members(), strict=True):
        plane = np.isin(known, classes)
        shape = shape_of(plane, valid=seen, spacing=grid.spacing)
        values = {field.name: getattr(shape, field.name) for field in fields(shape)}
        if image is not None and image.shape[0] == 3:
            values["colour_spread"] = colour_spread(image, plane)
        rows += [quantity(key, name, value, grid, 2) for key, value in values.items()]
    return tuple(rows)


def _main_part(plane: Array) -> tuple[int, Array, tuple[int, int], float]:
    """Number of parts; the largest, holes filled, in its own box; the box's first pixel; its share of all pixels."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    count, parts, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
    if count == 1:
        return 0, plane[:0, :0], (0, 0), 0.0
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    left, top, width, height, size = (int(n) for n in stats[largest])
    box = parts[top : top + height, left : left + width] == largest
    # What is outside reaches the frame around the box; the rest of it are holes.
    _, outside = cv2.connectedComponents(np.pad(~box, 1, constant_values=True).astype(np.uint8), connectivity=4)
    filled = outside[1:-1, 1:-1] != outside[0, 0]
    return count - 1, filled, (top, left), size / int(stats[1:, cv2.CC_STAT_AREA].sum())


def _touches(main: Array, corner: tuple[int, int], shape: tuple[int, ...], valid: Array | None) -> bool:
    """Whether a part lies at the image's border or beside unknown pixels."""
    ends = [start + side for start, side in zip(corner, main.shape, strict=True)]
    if min(corner) == 0 or any(end == side for end, side in zip(ends, shape, strict=True)):
        return True
    if valid is None:
        return False
    around = valid[corner[0] - 1 : ends[0] + 1, corner[1] - 1 : ends[1] + 1]
    padded = np.pad(main, 1)
    return any(bool((np.roll(padded, shift, axis) & ~around).any()) for axis in (0, 1) for shift in (1, -1))


def _hull(main: Array) -> Array:
    """Corners ``(n, 2)`` of the convex hull of the middles of all pixel edges."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    # The first and last pixel of each row are enough.
    rows = np.flatnonzero(main.any(axis=1))
    first, last = main[rows].argmax(axis=1), main.shape[1] - 1 - main[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)]).astype(np.float32)
    half = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)], np.float32)
    middles = (ends[:, None] + half).reshape(-1, 2)
    hull: Array = cv2.convexHull(middles).reshape(-1, 2).astype(np.float64)
    return hull


def _diameters(hull: Array) -> tuple[float, float]:
    """Largest distance between corners, and the hull's width at right angles to it."""
    from scipy.spatial.distance import pdist, squareform

    apart = squareform(pdist(hull))
    a, b = np.unravel_index(int(apart.argmax()), apart.shape)
    along = (hull[b] - hull[a]) / apart[a, b]
    across = hull @ np.array([-along[1], along[0]])
    return float(apart[a, b]), float(np.ptp(across))


def _closed_length(polygon: Array) -> float:
    return float(np.linalg.norm(polygon - np.roll(polygon, 1, axis=0), axis=1).sum())


def _polygon_area(polygon: Array) -> float:
    (y, x), (v, u) = polygon.T, np.roll(polygon, 1, axis=0).T
    return abs(float((u * y - x * v).sum())) / 2


def _ellipse(main: Array, steps: tuple[float, ...]) -> tuple[Array, tuple[Array, Array], float]:
    """Centroid in pixels, directions ``(h, w)`` of the long and the short axis, and eccentricity, from moments."""
    places = np.argwhere(main).astype(np.float64)
    centre: Array = places.mean(axis=0)
    apart = (places - centre) * steps
    # A pixel is a square, not a point: its own second moment is a twelfth of its side squared.
    spread = apart.T @ apart / len(apart) + np.diag(np.square(steps)) / 12
    sizes, axes = np.linalg.eigh(spread)
    return centre, (axes[:, 1], axes[:, 0]), math.sqrt(max(0.0, 1 - float(sizes[0] / sizes[1])))


def _fold(main: Array, centre: Array, axis: Array, steps: tuple[float, ...]) -> float:
    """Share of a part that its reflection about a line through the centre does not cover."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    size = np.asarray(steps)
    turn = (2 * np.outer(axis, axis) - np.eye(2)) * size / size[:, None]  # a reflection, seen in pixels
    shift = centre - turn @ centre
    # OpenCV takes (x, y); a reflection is its own inverse, so the way back is the way there.
    matrix = np.array([[turn[1, 1], turn[1, 0], shift[1]], [turn[0, 1], turn[0, 0], shift[0]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mirrored = cv2.warpAffine(main.astype(np.uint8) * 255, matrix, main.shape[::-1], flags=flags)
    return 1 - float(np.count_nonzero(main & (mirrored >= 128)) / np.count_nonzero(main))
