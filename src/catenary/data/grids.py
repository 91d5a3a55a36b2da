"""Whether two volumes lie on one grid, and laying one onto the grid of another."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from catenary.types import Grid

__all__ = ["apart", "laid_onto"]

#: Distance in voxels that is none: headers of one scan that two programs wrote differ by so much in rounding.
ROUNDING = 0.05


def apart(grid: Grid, shape: tuple[int, ...], other: Grid, other_shape: tuple[int, ...]) -> str:
    """How the grid of a volume differs from another one, in words; empty where it does not.

    Two grids are one when they have one shape and no corner lies apart by more than a twentieth of a voxel. Of grids
    without an affine, only the shapes count.

    Args:
        grid, shape: Of the volume that is told about, ``(d, h, w)``.
        other, other_shape: Of the volume that it is compared with.

    >>> here = Grid(affine=(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    >>> there = Grid(affine=(1.0, 0.0, 0.0, 3.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    >>> apart(here, (4, 4, 4), here, (4, 4, 4)), apart(here, (4, 4, 4), there, (4, 4, 4))
    ('', 'lies 3 voxels away')
    >>> apart(here, (4, 4, 4), here, (4, 4, 5))
    'is 4x4x4 voxels against 4x4x5'
    """
    if shape != other_shape:
        return f"is {'x'.join(map(str, shape))} voxels against {'x'.join(map(str, other_shape))}"
    if grid.affine is None or other.affine is None or len(shape) != 3:
        return ""
    corners = np.array(np.meshgrid(*([0, side - 1] for side in shape), [1], indexing="ij"), np.float64).reshape(4, -1)
    distance = np.linalg.norm((_between(other, grid) @ corners - corners)[:3], axis=0).max()
    if distance <= ROUNDING:
        return ""
    steps, others = (np.linalg.norm(_matrix(g)[:3, :3], axis=0) for g in (grid, other))
    if not np.allclose(steps, others, rtol=1e-3):
        return f"has voxels of {_told(steps)} mm against {_told(others)}"
    return f"lies {distance:.3g} voxels away"


def laid_onto(
    array: Shaped[np.ndarray, "c d h w"], grid: Grid, target: Grid, shape: tuple[int, ...], *, order: Literal[0, 1]
) -> Shaped[np.ndarray, "c d2 h2 w2"]:
    """A volume on the grid of another; beyond its own field of view it has each channel's smallest value.

    Args:
        array, grid: The volume and its grid; both grids have an affine.
        target, shape: The grid to lay it onto, and its ``(d, h, w)``.
        order: 1 interpolates between voxels (the type becomes float32), 0 takes the nearest (the type stays).

    >>> unit = Grid(affine=(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    >>> moved = Grid(affine=(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0))
    >>> laid_onto(np.arange(4.0).reshape(1, 1, 1, 4), unit, moved, (1, 1, 4), order=1).ravel().tolist()
    [1.0, 2.0, 3.0, 0.0]
    """
    from scipy.ndimage import affine_transform

    matrix = _between(grid, target)
    kind = np.dtype(np.float32) if order else array.dtype
    return np.stack([
        affine_transform(
            channel.astype(kind, copy=False), matrix, output_shape=shape, order=order, mode="grid-constant",
            cval=float(channel.min()),
        )
        for channel in array
    ])  # fmt: skip


def _between(grid: Grid, other: Grid) -> NDArray[np.float64]:
    """From indices on `other` to indices on `grid`, 4x4."""
    return np.asarray(np.linalg.solve(_matrix(grid), _matrix(other)))


def _matrix(grid: Grid) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3] = np.reshape(np.asarray(grid.affine, np.float64), (3, 4))
    return matrix


def _told(steps: NDArray[Any]) -> str:
    return " x ".join(f"{step:.4g}" for step in steps)
