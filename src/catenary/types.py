"""The few things that every part passes on: `Image`, `Grid`, and the legend of axis names.

Array annotations name their axes with these letters::

    b batch    c channels of an image    k classes (or regions) of an answer
    d slices   h rows                    w columns

An array's axes always stand in the order ``b c d h w`` (those that it has), channels first. Spatial tuples
(sizes, spacings, patches) follow the same order: ``(h, w)`` in 2D, ``(d, h, w)`` in 3D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IGNORE", "Grid", "Image", "Progress", "silent"]

#: Label value of pixels that count neither in a loss nor in a metric. Classes use 0..254.
IGNORE = 255

#: Called as ``progress(what, done, total)`` from long work; ``done`` grows to ``total``.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The `Progress` that shows nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Where the pixels of an array lie in the world.

    Attributes:
        spacing: Size of one pixel along each spatial axis in `unit`, in array order; None where unknown.
        unit: Unit of `spacing`, for example ``"um"`` or ``"mm"``.
        affine: Row-major affine from pixel to world coordinates; None where the file has none. In 2D six numbers, from
            ``(column, row)`` as the file states it; in 3D twelve, from ``(d, h, w)`` to millimetres with x to the
            right, y to the front and z to the head of the patient (as in NIfTI).
        crs: Coordinate reference system of `affine` as an authority code or WKT.
        axes: How a scan lies in its file: for each spatial axis of the array the file's own axis along it, counted
            from 1 and negative where it runs the other way; None where they are the same or nothing is known.

    >>> Grid(spacing=(0.5, 0.5), unit="um").pixel_size
    0.25
    """

    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    affine: tuple[float, ...] | None = None
    crs: str | None = None
    axes: tuple[int, ...] | None = None

    @property
    def pixel_size(self) -> float | None:
        """Area (2D) or volume (3D) of one pixel in `unit` to the power of the rank; None without spacing."""
        return None if self.spacing is None else float(np.prod(self.spacing))

    def window(self, row: int, column: int) -> Grid:
        """The grid of a part of an image that begins at a pixel.

        >>> Grid(affine=(2.0, 0.0, 100.0, 0.0, -2.0, 50.0)).window(10, 5).affine
        (2.0, 0.0, 110.0, 0.0, -2.0, 30.0)
        """
        if self.affine is None:
            return self
        a, b, c, d, e, f = self.affine
        return replace(self, affine=(a, b, a * column + b * row + c, d, e, d * column + e * row + f))


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """Pixels with all that is needed to put an answer back onto them.

    Attributes:
        array: ``(c, h, w)`` or ``(c, d, h, w)`` in the type the file had (uint8, uint16, float32, ...).
        grid: Where the pixels lie.
        valid: Boolean ``(h, w)`` or ``(d, h, w)``, False where the file has no data; None when all is valid.
        source: The file or other origin, for messages.
        disaster: Type of the disaster between two dates, such as ``"flood"``; empty where it is not known.

    >>> image = Image(array=np.zeros((3, 4, 5), np.uint8))
    >>> image.channels, image.shape
    (3, (4, 5))
    """

    array: NDArray[Any]
    grid: Grid = field(default_factory=Grid)
    valid: NDArray[np.bool_] | None = None
    source: str = "array"
    disaster: str = ""

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial size, ``(h, w)`` or ``(d, h, w)``."""
        return tuple(int(n) for n in self.array.shape[1:])

    def with_array(self, array: NDArray[Any]) -> Image:
        """The same image with other pixels."""
        return replace(self, array=array)
