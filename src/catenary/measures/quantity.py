"""What a measured number is, and the checks that all measures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.types import IGNORE, Grid

__all__ = ["QUANTITIES", "Kind", "Quantity", "known_phases", "quantity", "steps_of"]


class Kind(NamedTuple):
    """What sort of number a quantity is.

    Attributes:
        power: Power of length in its unit: 1 a length, 2 an area, 3 a volume, -1 a length for each area, 0 a pure
            number.
        low: Smallest value possible.
        high: Largest value possible.
    """

    power: int
    low: float = 0.0
    high: float = float("inf")


#: Every quantity by name; `catenary.measures.registry` explains them.
QUANTITIES: dict[str, Kind] = {
    "phase_fraction": Kind(0, 0.0, 1.0),
    "interface_length": Kind(1),
    "interface_density": Kind(-1),
    "interface_area": Kind(2),
    "specific_surface": Kind(-1),
    "triple_points": Kind(0),
    "triple_point_density": Kind(-2),
    "triple_line_length": Kind(1),
    "triple_line_density": Kind(-2),
    "mean_chord": Kind(1),
    "mean_intercept": Kind(1),
    "correlation_length": Kind(1),
    "area": Kind(2),
    "perimeter": Kind(1),
    "equivalent_diameter": Kind(1),
    "largest_diameter": Kind(1),
    "orthogonal_diameter": Kind(1),
    "asymmetry": Kind(0, 0.0, 1.0),
    "asymmetry_long": Kind(0, 0.0, 1.0),
    "asymmetry_short": Kind(0, 0.0, 1.0),
    "asymmetry_least": Kind(0, 0.0, 1.0),
    "irregularity": Kind(0),
    "roughness": Kind(0),
    "solidity": Kind(0, 0.0, 1.0),
    "eccentricity": Kind(0, 0.0, 1.0),
    "colour_spread": Kind(0),
    "parts": Kind(0),
    "main_share": Kind(0, 0.0, 1.0),
    "cut_off": Kind(0, 0.0, 1.0),
    "volume": Kind(3),
    "surface_area": Kind(2),
    "axial_diameter": Kind(1),
    "axial_orthogonal": Kind(1),
    "main_volume": Kind(3),
    "disc_parts": Kind(0),
    "cdr_vertical": Kind(0, 0.0, 1.0),
    "cdr_horizontal": Kind(0, 0.0, 1.0),
    "cdr_long": Kind(0, 0.0, 1.0),
    "cdr_short": Kind(0, 0.0, 1.0),
    "cup_disc_area": Kind(0, 0.0, 1.0),
    "disc_area": Kind(2),
    "disc_height": Kind(1),
    "disc_width": Kind(1),
    "rim_inferior": Kind(1),
    "rim_superior": Kind(1),
    "rim_nasal": Kind(1),
    "rim_temporal": Kind(1),
    "rim_thinnest": Kind(0, 0.0, 0.5),
    "isnt": Kind(0, 0.0, 1.0),
}


class Quantity(NamedTuple):
    """One measured number.

    Attributes:
        name: Which quantity, a name of `QUANTITIES`.
        of: What it was measured on: a class, or classes joined by hyphens, maybe with an axis.
        value: In `unit`; None where it is not defined.
        unit: Built from the grid's unit, ``"px"`` where the grid has no spacing; empty for pure numbers; ``"ml"`` for
            volumes where it would be ``"mm^3"``.
        pixels: The same in pixels. Where pixels are not square, a pixel's side is the square root of its area (in 3D
            the cube root of its volume), so that areas and volumes stay counts.
    """

    name: str
    of: str
    value: float | None
    unit: str
    pixels: float | None

    @property
    def key(self) -> str:
        """Name of this row: the quantity, a space, and what it was measured on."""
        return f"{self.name} {self.of}"


def quantity(name: str, of: str, value: float | None, grid: Grid, rank: int) -> Quantity:
    """A `Quantity` from its value in the unit of the grid; a value that is not finite counts as not defined.

    Volumes in mm are told in ml, as medicine does.

    >>> quantity("interface_density", "pore-metal", 0.5, Grid(spacing=(2.0, 2.0), unit="um"), 2)
    Quantity(name='interface_density', of='pore-metal', value=0.5, unit='1/um', pixels=1.0)
    """
    power = QUANTITIES[name].power
    base = "px" if grid.spacing is None else grid.unit or "units"
    tall = base if abs(power) == 1 else f"{base}^{abs(power)}"
    unit = "" if power == 0 else tall if power > 0 else f"1/{tall}"
    parts = 1.0
    if unit == "mm^3":
        unit, parts = "ml", 1000.0
    if value is None or not np.isfinite(value):
        return Quantity(name, of, None, unit, None)
    side = 1.0 if grid.pixel_size is None else grid.pixel_size ** (1 / rank)
    return Quantity(name, of, float(value) / parts, unit, float(value) / side**power)


def steps_of(spacing: Sequence[float] | None, rank: int) -> tuple[float, ...]:
    """Size of a pixel along each axis, 1 without spacing.

    Raises:
        InputError: Not one number above zero for each axis.

    >>> steps_of(None, 2)
    (1.0, 1.0)
    """
    steps = (1.0,) * rank if spacing is None else tuple(float(step) for step in spacing)
    if len(steps) != rank or not all(np.isfinite(step) and step > 0 for step in steps):
        raise InputError(f"spacing needs {rank} numbers above zero, one an axis, found {spacing}; correct it")
    return steps


def known_phases(
    mask: UInt8[np.ndarray, "*s"], phases: int, valid: Bool[np.ndarray, "*v"] | None = None
) -> UInt8[np.ndarray, "*s"]:
    """The label map, with `IGNORE` also where `valid` is False.

    Raises:
        InputError: Not a slice or a volume, a label beyond the phases, or `valid` of another shape.

    >>> known_phases(np.array([[0, 1]], np.uint8), 2, np.array([[True, False]]))
    array([[  0, 255]], dtype=uint8)
    """
    if mask.ndim not in (2, 3) or mask.size == 0:
        raise InputError(f"measures take a slice (h, w) or a volume (d, h, w), found shape {mask.shape}; reshape it")
    if valid is not None:
        if valid.shape != mask.shape:
            raise InputError(f"valid must have the shape {mask.shape} of the labels, found {valid.shape}; crop it")
        mask = np.where(valid, mask, np.uint8(IGNORE))
    wrong: NDArray[Any] = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[phases:IGNORE]) + phases
    if wrong.size:
        raise InputError(
            f"labels must be 0 to {phases - 1} or {IGNORE}, found {', '.join(map(str, wrong[:5]))}; map file values to "
            "class indices first"
        )
    return mask
