"""How scans lie: every one is turned to one canonical orientation, and answers are turned back.

Canonical means that the array's axes ``(d, h, w)`` run to the head (superior), to the back (posterior) and to the left
of the patient, so that a slice ``[h, w]`` looks as radiologists show it. Axes are only exchanged and reversed, never
interpolated: an oblique scan keeps its oblique affine. A file's own axes are called ``(i, j, k)``, as in NIfTI.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.types import Grid

__all__ = ["MILLIMETRES", "canonical_grid", "canonical_shape", "file_affine", "file_grid", "from_file", "to_file"]

#: Length of each unit of a grid in millimetres.
MILLIMETRES = {"nm": 1e-6, "um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
#: Directions of d, h and w in millimetres to the right, front and head.
CANONICAL = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
#: Order of axes of a new file, whose axes then run left, back and up, as most programs write them.
USUAL = (3, 2, 1)
#: Cosine between two axes from which they are not at right angles; float32 headers stay far below.
SQUARE = 1e-3


def canonical_grid(shape: tuple[int, ...], affine: Float64[np.ndarray, "4 4"], *, source: str) -> Grid:
    """Where the pixels of a scan lie once it is in canonical orientation.

    Args:
        shape: Its size as the file orders it, ``(i, j, k)``.
        affine: From indices of these axes to millimetres, x to the right, y to the front, z to the head.
        source: The file, for messages.

    Raises:
        InputError: The affine holds no numbers, has an axis without length, or axes that are not at right angles.

    >>> grid = canonical_grid((2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]), source="scan")
    >>> grid.spacing, grid.axes, canonical_shape((2, 3, 4), grid)
    ((3.0, 2.0, 1.0), (3, -2, -1), (4, 3, 2))
    >>> grid.affine
    (0.0, 0.0, -1.0, 1.0, 0.0, -2.0, 0.0, 4.0, 3.0, 0.0, 0.0, 0.0)
    """
    columns = np.asarray(affine, np.float64)[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(affine).all() or not lengths.all():
        raise InputError(
            f"{source}: its affine has no three axes with a length (spacing {_times(lengths)} mm); correct the header"
        )
    directions = columns / lengths
    cosine = np.abs(directions.T @ directions)[np.triu_indices(3, 1)].max()
    if cosine > SQUARE:
        raise InputError(
            f"{source}: its axes are not at right angles (cosine {cosine:.3f}); resample the scan onto a "
            "rectangular grid, or correct the header"
        )
    axes = _nearest(CANONICAL @ directions)
    matrix = np.empty((3, 4))
    matrix[:, 3] = affine[:3, 3]
    for axis, a in enumerate(axes):
        k = abs(a) - 1
        matrix[:, axis] = np.sign(a) * columns[:, k]
        if a < 0:
            matrix[:, 3] += (shape[k] - 1) * columns[:, k]
    return Grid(
        spacing=tuple(float(lengths[abs(a) - 1]) for a in axes),
        unit="mm",
        affine=tuple((matrix + 0.0).ravel().tolist()),  # no -0
        axes=None if axes == (1, 2, 3) else axes,
    )


def canonical_shape(shape: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """Size ``(d, h, w)`` of a scan whose file orders it ``(i, j, k)``."""
    return tuple(int(shape[abs(a) - 1]) for a in grid.axes or (1, 2, 3))


def from_file(array: Shaped[np.ndarray, "*c i j k"], grid: Grid) -> Shaped[np.ndarray, "*c d h w"]:
    """Pixels of the file's own order in that of `grid`; a view."""
    if grid.axes is None:
        return array
    lead = array.ndim - 3
    moved = array.transpose(*range(lead), *(lead + abs(a) - 1 for a in grid.axes))
    found: NDArray[Any] = moved[_steps(grid.axes)]
    return found


def to_file(array: Shaped[np.ndarray, "*c d h w"], grid: Grid) -> Shaped[np.ndarray, "*c i j k"]:
    """Pixels in the order of the file that `grid` came from; undoes `from_file`; a view.

    >>> grid, scan = Grid(axes=(3, -2, -1)), np.arange(24).reshape(2, 3, 4)
    >>> bool((to_file(from_file(scan, grid), grid) == scan).all())
    True
    """
    if grid.axes is None:
        return array
    lead = array.ndim - 3
    moved: NDArray[Any] = array[_steps(grid.axes)]
    back = np.argsort([abs(a) for a in grid.axes])
    return moved.transpose(*range(lead), *(lead + int(k) for k in back))


def file_grid(grid: Grid | None, shape: tuple[int, ...]) -> Grid:
    """The grid that a volume is written with: its own, or where it has no place, the spacing about the origin.

    Args:
        grid: Of the array in canonical orientation.
        shape: Its ``(d, h, w)``.

    Raises:
        InputError: The grid is one of a 2D image.

    >>> file_grid(Grid(spacing=(500.0, 250.0, 250.0), unit="um"), (4, 3, 2)).spacing
    (0.5, 0.25, 0.25)
    """
    grid = grid or Grid()
    if grid.affine is not None and len(grid.affine) == 12:
        return grid
    if grid.spacing is not None and len(grid.spacing) != 3:
        raise InputError(f"a volume {_times(shape)} was given a spacing of {len(grid.spacing)} numbers; give three")
    unit = MILLIMETRES.get(grid.unit or "mm", 1.0)
    spacing = tuple(n * unit for n in grid.spacing or (1.0, 1.0, 1.0))
    matrix = np.zeros((3, 4))
    matrix[:, :3] = CANONICAL.T * spacing
    return replace(grid, spacing=spacing, unit="mm", affine=tuple((matrix + 0.0).ravel().tolist()), axes=USUAL)


def file_affine(grid: Grid, shape: tuple[int, ...]) -> Float64[np.ndarray, "4 4"]:
    """The affine of the file's own order of axes; undoes `canonical_grid`.

    Args:
        grid: See `file_grid`.
        shape: Size of the array in canonical orientation, ``(d, h, w)``.

    >>> affine = np.diag([1.0, 2.0, 3.0, 1.0])
    >>> bool(np.allclose(file_affine(canonical_grid((2, 3, 4), affine, source="scan"), (4, 3, 2)), affine))
    True
    """
    matrix = np.reshape(grid.affine or (), (3, 4))
    found = np.eye(4)
    found[:3, 3] = matrix[:, 3]
    for axis, a in enumerate(grid.axes or (1, 2, 3)):
        found[:3, abs(a) - 1] = np.sign(a) * matrix[:, axis]
        if a < 0:
            found[:3, 3] += (shape[axis] - 1) * matrix[:, axis]
    return found


def _steps(axes: tuple[int, ...]) -> Any:
    """An index that walks each spatial axis in its direction."""
    return (..., *(slice(None, None, 1 if a > 0 else -1) for a in axes))


def _nearest(cosines: NDArray[np.float64]) -> tuple[int, ...]:
    """The signed file axis of each canonical axis that fits best, each once."""
    order = max(permutations(range(3)), key=lambda p: sum(abs(cosines[i, k]) for i, k in enumerate(p)))
    return tuple(int(k + 1) if cosines[i, k] >= 0 else -int(k + 1) for i, k in enumerate(order))


def _times(numbers: Any) -> str:
    return " x ".join(f"{n:g}" for n in numbers)
