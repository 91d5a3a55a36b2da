"""How far each of some cells lies from the nearest of others, exactly and as cheaply as the case allows.

Along the first axis the distance is counted for all cells, as far as a byte tells it. Across the other axes only the
asked ones look around, at offsets of growing length, and stop where nothing nearer can come: surfaces that nearly meet
are told after a few looks. Cells that are far from the target are asked of a k-d tree when they are few, and read from
a Euclidean distance transform of all cells when they are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Integer
from numpy.typing import NDArray

__all__ = ["distances_to"]

#: Cells along the first axis that are counted, and what stands for no target within them: more than any distance that
#: is looked at, and few enough that a byte holds it and a step more.
_REACH, _NONE = 63, 128

#: Offsets are looked at up to this many cells across two axes, its square across one.
_AROUND = 32

#: Between looks of lengths that differ by this many pixels, those that have found their nearest are let go.
_RING = 0.25

#: What things cost, in looks of one cell at one offset (about 5 ns): going on to the next offset; for each cell of the
#: whole, its transform; for each target, its place in a tree; for each cell asked, a search in that tree.
_OFFSET, _TRANSFORM, _PLANT, _SEARCH = 1000, 10, 20, 3000

Array = NDArray[Any]


def distances_to(
    target: Bool[np.ndarray, "*s"], cells: Integer[np.ndarray, " n"], spacing: Sequence[float]
) -> Float64[np.ndarray, " n"]:
    """Euclidean distance from some cells to the nearest cell of a target, 2D or 3D.

    Quickest where the first axis has the finest spacing.

    Args:
        target: True in the cells to reach; at least one.
        cells: Where to start from, as `numpy.flatnonzero` numbers them.
        spacing: Size of a cell along each axis.

    >>> target = np.zeros((4, 5), bool)
    >>> target[0, 0] = True
    >>> distances_to(target, np.array([0, 19]), (1.0, 1.0))
    array([0., 5.])
    """
    steps = np.asarray(spacing, np.float64)
    across = steps[1:] / steps[0]  # cells along the first axis are the unit until the end
    radius = min(float(_REACH), _AROUND ** (2 / len(across)) * float(np.prod(across)) ** (1 / len(across)))
    margin = [min(int(radius / step), size) for step, size in zip(across, target.shape[1:], strict=True)]
    edges = [(0, 0), *((width, width) for width in margin)]
    column = np.pad(_along_columns(target), edges, constant_values=_NONE)
    shifts, lengths = _offsets(margin, across, column.shape, radius)
    places = np.unravel_index(cells, target.shape)
    at = np.ravel_multi_index((places[0], *(p + w for p, w in zip(places[1:], margin, strict=True))), column.shape)
    back = -int(shifts.min(initial=0))
    at, flat = at - back, column.ravel()
    best = flat[at + back].astype(np.float64) ** 2  # that of `_NONE` is beyond the radius
    starts = np.flatnonzero(np.diff(np.sqrt(lengths) // _RING)) + 1
    rings = np.unique([1, *starts, len(lengths)]).tolist()  # the first offset is no step at all
    spent, transform, plant = 0, _TRANSFORM * target.size, _PLANT * int(np.count_nonzero(target))
    active, near = np.arange(len(at)), best
    for start, end in pairwise(rings):
        still = near > lengths[start]
        best[active] = near
        active, at, near = active[still], at[still], near[still]
        spent += (end - start) * (len(active) + _OFFSET)
        other = min(transform, plant + _SEARCH * len(active))
        if not len(active) or (spent > other and (len(shifts) - start) * (len(active) + _OFFSET) > other):
            break
        for shift, length in zip(shifts[start:end], lengths[start:end], strict=True):
            found = flat[back + shift :].take(at, mode="clip").astype(np.float64)
            found *= found
            found += length
            np.minimum(near, found, out=near)
    else:
        best[active] = near
        active = active[near > radius**2]
    distances: Array = np.sqrt(best) * steps[0]
    if len(active):
        by_tree = plant + _SEARCH * len(active) < transform
        distances[active] = (_by_tree if by_tree else _by_transform)(target, cells[active], steps)
    return distances


def _by_tree(target: Array, cells: Array, steps: Array) -> Array:
    from scipy.spatial import cKDTree

    tree = cKDTree(np.argwhere(target) * steps, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(np.stack(np.unravel_index(cells, target.shape), axis=1) * steps)[0])


def _by_transform(target: Array, cells: Array, steps: Array) -> Array:
    import edt

    # What lies beyond the array is no target, so its border must not count as one.
    field: Array = edt.edt(~target, anisotropy=tuple(steps.tolist()), black_border=False, parallel=1)
    return field.ravel()[cells]


def _along_columns(target: Array) -> Array:
    """Number of steps along the first axis to the nearest target, as a byte; `_NONE` or more beyond `_REACH`.

    A step of length n takes over what n cells away is known from steps up to n - 1, so that few are needed.
    """
    steps: Array = np.where(target, np.uint8(0), np.uint8(_NONE))
    ahead = np.empty_like(steps)
    for step in (1 << power for power in range(_REACH.bit_length())):
        if step >= len(steps):
            break
        # Both ways from the same numbers, not one after the other: nothing is counted twice.
        np.add(steps, np.uint8(step), out=ahead)
        np.minimum(steps[step:], ahead[:-step], out=steps[step:])
        np.minimum(steps[:-step], ahead[step:], out=steps[:-step])
    return steps


def _offsets(margin: Sequence[int], across: Array, shape: Sequence[int], radius: float) -> tuple[Array, Array]:
    """Offsets across all axes but the first within a radius, nearest first: in flat cells, and squared lengths."""
    grids = np.meshgrid(*(np.arange(-width, width + 1) for width in margin), indexing="ij")
    strides = np.cumprod([1, *reversed(shape[2:])])[::-1]
    lengths = sum((grid * step) ** 2 for grid, step in zip(grids, across, strict=True)).ravel()
    shifts = sum(grid * stride for grid, stride in zip(grids, strides, strict=True)).ravel()
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius**2]
    return shifts[order], lengths[order]
