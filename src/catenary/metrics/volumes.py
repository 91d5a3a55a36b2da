"""How much of a target was predicted, wherever it lies: volumes (3D) or areas (2D) against the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catenary.metrics.counts import Counts

__all__ = [
    "Volumes",
    "measure_volumes",
    "relative_volume_difference",
    "volume_difference",
    "volume_of_pixel",
    "volume_unit",
]

Array = NDArray[Any]


class Volumes(NamedTuple):
    """Volumes (3D) or areas (2D) of one target; numbers, or arrays of one shape.

    Attributes:
        true: Volume of the truth, see `volume_unit`.
        predicted: Volume of the prediction.
    """

    true: Array
    predicted: Array


def volume_unit(unit: str | None, rank: int) -> str:
    """Unit of volumes and areas where distances are in `unit`; pixels or voxels where that is None.

    >>> volume_unit("mm", 3), volume_unit("um", 2), volume_unit(None, 2)
    ('ml', 'um²', 'pixels')
    """
    if unit is None:
        return "voxels" if rank == 3 else "pixels"
    if rank == 3:
        return "ml" if unit == "mm" else f"{unit}³"
    return f"{unit}²"


def volume_of_pixel(spacing: Sequence[float] | None, unit: str | None) -> float:
    """Volume (3D) or area (2D) of one pixel in `volume_unit`; 1 without spacing.

    >>> volume_of_pixel((2.0, 1.0, 1.0), "mm"), volume_of_pixel((0.5, 0.5), "um"), volume_of_pixel(None, None)
    (0.002, 0.25, 1.0)
    """
    if spacing is None:
        return 1.0
    size = float(np.prod(spacing))
    return size / 1000 if volume_unit(unit, len(spacing)) == "ml" else size


def measure_volumes(c: Counts, *, spacing: Sequence[float] | None = None, unit: str | None = None) -> Volumes:
    """The volumes of targets from their pixels.

    Args:
        c: Counts; pixels whose truth is unknown are in none of them.
        spacing: Size of a pixel along each axis; pixels are counted when None.
        unit: Unit of `spacing`; three axes in ``"mm"`` give ml.

    >>> ten = Counts(*(np.array(n) for n in (10, 20, 0, 70)))
    >>> found = measure_volumes(ten, spacing=(5.0, 2.0, 1.0), unit="mm")
    >>> float(found.true), float(found.predicted)
    (0.1, 0.3)
    """
    size = volume_of_pixel(spacing, unit)
    return Volumes(np.asarray((c.tp + c.fn) * size), np.asarray((c.tp + c.fp) * size))


def volume_difference(v: Volumes) -> Array:
    """Absolute volume difference ``|predicted - true|``, lower is better.

    Empty: truth and prediction both empty 0; only one of them empty: the other's volume.
    """
    return np.asarray(np.abs(v.predicted - v.true))


def relative_volume_difference(v: Volumes) -> Array:
    """Absolute volume difference as a share of the true volume, ``|predicted - true| / true``, lower is better.

    Empty: NaN where the truth is empty; prediction empty and truth not 1.
    """
    some = np.asarray(v.true) > 0
    return np.where(some, volume_difference(v) / np.where(some, v.true, 1), np.nan)
