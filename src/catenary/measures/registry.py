"""All sets of quantities that can be measured on a mask, by name.

With a spacing L stands for its unit, else for pixels. "Crofton" is explained in `catenary.measures.interfaces`.

``microstructure``, for slices (2D) and volumes (3D):

===================== ==== ====== ===================================================================================
quantity              rank unit   meaning and source
===================== ==== ====== ===================================================================================
phase_fraction        2, 3        share of the known pixels
interface_length      2    L      of each pair of phases, Crofton in 8 directions (Legland, Kieu and Devaux 2007)
interface_density     2    1/L    interface length over known area
interface_area        3    L^2    of each pair of phases, Crofton in 13 directions (the same)
specific_surface      2, 3 1/L    interface area over volume, of each pair, and of each phase with all others; from a
                                  slice ``4 / pi`` times the interface density (Underwood 1970), for isotropic material
triple_points         2           points where three phases meet
triple_point_density  2    1/L^2  triple points over area
triple_line_length    3    L      voxel edges among three phases, divided by 1.5 (Jorgensen et al. 2014)
triple_line_density   2, 3 1/L^2  triple line length over volume; from a slice twice the triple point density
                                  (Underwood 1970), for isotropic material
mean_chord            2, 3 L      mean of complete chords of each phase along each axis (Torquato 2002)
mean_intercept        2, 3 L      phase length over half the chord ends, unbiased by the border (Underwood 1970)
correlation_length    2, 3 L      where the two-point correlation has fallen to 1/e (Torquato 2002); None where it
                                  does not within a quarter of the image's shortest side
===================== ==== ====== ===================================================================================

``lesion``, for pictures, of the main part of each target (see `catenary.measures.lesion.Shape`):

===================== ==== ====== ===================================================================================
area                  2    L^2    pixels times their size, holes filled
perimeter             2    L      Crofton in 8 directions
equivalent_diameter   2    L      ``2 sqrt(area / pi)``
largest_diameter      2    L      Feret diameter
orthogonal_diameter   2    L      width at right angles to it
asymmetry             2           mean of the next two (after Stoecker, Li and Moss 1992)
asymmetry_long        2           share of area without a counterpart beyond the long principal axis
asymmetry_short       2           the same for the short one
asymmetry_least       2           the smallest such share over axes in all directions
irregularity          2           ``perimeter^2 / (4 pi area)`` (Golston, Stoecker, Moss and Dhillon 1992)
roughness             2           perimeter over that of the convex hull
solidity              2           area over that of the convex hull
eccentricity          2           of the ellipse with the same second moments
parts                 2           connected parts of the target
main_share            2           share of its pixels in the main part
cut_off               2           1 where the main part touches the image's border or unknown pixels
colour_spread         2           root mean square CIE 1976 colour difference from the mean, whole target
===================== ==== ====== ===================================================================================

``volume``, for bodies in scans (see `catenary.measures.volume`); volumes are told in ml where L is mm:

===================== ==== ====== ===================================================================================
volume                3    L^3    voxels times their size
surface_area          3    L^2    Crofton in 13 directions
axial_diameter        3    L      longest diameter of the main part within a slice (h, w) (as for RECIST 1.1)
axial_orthogonal      3    L      longest chord at right angles to it in the same outline
largest_diameter      3    L      Feret diameter of the main part
parts                 3           26-connected parts of the target
main_volume           3    L^3    volume of the largest of them, the main part
===================== ==== ====== ===================================================================================

``disc``, for photos of the back of the eye with classes or regions named cup, and disc or rim (see
`catenary.measures.disc.Disc`); without a disc, or with several, only `disc_parts` has a value:

===================== ==== ====== ===================================================================================
disc_parts            2           parts that could be the disc
cdr_vertical          2           extent of the cup over that of the disc, along columns
cdr_horizontal        2           the same along rows
cdr_long              2           the same along the disc's own long axis
cdr_short             2           the same along its short axis
cup_disc_area         2           area of the cup over that of the disc
disc_area             2    L^2    area within the disc's outline
disc_height           2    L      its vertical diameter
disc_width            2    L      its horizontal diameter
rim_inferior          2    L      mean rim width within 15 degrees of straight down
rim_superior          2    L      the same straight up
rim_nasal             2    L      the same towards the nose; None where it is not known whose eye it is
rim_temporal          2    L      the same towards the temple
rim_thinnest          2           least rim width over the disc's diameter there (Spaeth et al. 2002)
isnt                  2           1 where inferior >= superior >= nasal >= temporal (Jonas et al. 1988)
===================== ==== ====== ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Num, UInt8

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError, near_match
from catenary.measures.curves import Curve, microstructure_curves
from catenary.measures.disc import disc
from catenary.measures.lesion import lesion
from catenary.measures.microstructure import microstructure
from catenary.measures.quantity import Quantity
from catenary.measures.volume import volume
from catenary.types import Grid

__all__ = ["CURVES", "MEASURES", "curves_of", "measure_all"]

#: Sets of quantities: called as ``f(mask, labels, grid, valid=, image=)``.
MEASURES: dict[str, Callable[..., tuple[Quantity, ...]]] = {
    "microstructure": microstructure,
    "lesion": lesion,
    "volume": volume,
    "disc": disc,
}

#: Sets that also have curves: called as ``f(mask, labels, grid, valid=)``.
CURVES: dict[str, Callable[..., tuple[Curve, ...]]] = {"microstructure": microstructure_curves}


def measure_all(
    name: str,
    mask: UInt8[np.ndarray, "*s"],
    labels: LabelSet,
    grid: Grid,
    *,
    valid: Bool[np.ndarray, "*v"] | None = None,
    image: Num[np.ndarray, "c *i"] | None = None,
) -> dict[str, Quantity]:
    """All quantities of one set on one mask, by `Quantity.key`; the keys depend on name, labels and rank only.

    Args:
        name: One of `MEASURES`.
        mask: Label map ``(h, w)`` or ``(d, h, w)``.
        labels: Names of its classes.
        grid: Its pixels' size and unit.
        valid: False where nothing is known.
        image: The image it belongs to, for quantities of colour.

    Raises:
        ConfigError: There is no such set.
        InputError: Mask, `valid`, spacing or image do not fit.

    >>> rows = measure_all("lesion", np.ones((4, 4), np.uint8), LabelSet(names=("skin", "lesion")), Grid())
    >>> rows["area lesion"].value, rows["area lesion"].unit, rows["cut_off lesion"].value
    (16.0, 'px^2', 1.0)
    """
    if name not in MEASURES:
        raise ConfigError(f"there is no set of measures '{name}'; {near_match(name, MEASURES)}")
    if name == "lesion" and mask.ndim != 2:
        raise InputError(f"a lesion is measured on a picture (h, w), found shape {mask.shape}; give one slice")
    return {row.key: row for row in MEASURES[name](mask, labels, grid, valid=valid, image=image)}


def curves_of(
    name: str,
    mask: UInt8[np.ndarray, "*s"],
    labels: LabelSet,
    grid: Grid,
    *,
    valid: Bool[np.ndarray, "*v"] | None = None,
) -> tuple[Curve, ...]:
    """The curves of one set on one mask; none where the set has only numbers. Arguments as for `measure_all`.

    >>> curves_of("lesion", np.ones((4, 4), np.uint8), LabelSet(names=("skin", "lesion")), Grid())
    ()
    """
    return CURVES[name](mask, labels, grid, valid=valid) if name in CURVES else ()
