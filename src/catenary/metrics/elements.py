"""The surface of a mask as pieces between its pixels: what marching cubes puts into each cell, and its size.

A *cell* is the square (or cube) between the centres of neighbouring pixels; its *code* has one bit a corner, set where
that pixel is inside. The surface cuts the cell's edges in their middle. Where a side of a cell has its two inside
corners across from one another they are kept apart, after the fewer of inside and outside corners in the cell: a code
and its complement have one surface. A polygon that is not flat is the fan of triangles with the largest area.

Sources: Lorensen and Cline 1987 (marching cubes); Nikolov et al. 2021 (elements weighted by their size).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from numpy.typing import NDArray

__all__ = ["cell_codes", "element_sizes"]

Array = NDArray[Any]
Point = tuple[float, ...]


def cell_codes(mask: Bool[np.ndarray, "*s"]) -> UInt8[np.ndarray, "*t"]:
    """Code of every cell that touches the array, one more along each axis than pixels; beyond the array is outside.

    The corner that is last along all axes has bit 0, the bits of the last axis lie side by side.

    >>> cell_codes(np.array([[True]]))
    array([[1, 2],
           [4, 8]], dtype=uint8)
    """
    codes: Array = np.pad(mask.view(np.uint8), 1)
    for axis in reversed(range(mask.ndim)):
        ahead, behind = ([slice(None)] * mask.ndim for _ in range(2))
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        codes = codes[tuple(ahead)] | codes[tuple(behind)] << (1 << (mask.ndim - 1 - axis))
    return codes


def element_sizes(spacing: Sequence[float]) -> Float64[np.ndarray, " n"]:
    """Size of the surface in a cell of each code: length in 2D (16 codes), area in 3D (256).

    Args:
        spacing: Size of a pixel along each axis, two or three numbers.

    >>> element_sizes((3.0, 4.0))[[0, 1, 3, 5, 6, 15]]
    array([0. , 2.5, 4. , 3. , 5. , 0. ])
    """
    steps = np.asarray(spacing, np.float64)
    sizes: Array = np.linalg.norm(_normals(len(steps)) * (steps.prod() / steps), axis=-1).sum(axis=-1)
    return sizes


@cache
def _normals(rank: int) -> Array:
    """``(codes, pieces, rank)``: normals as long as their piece is large, at spacing 1; filled up with zeros."""
    corners: list[Point] = list(product((0, 1), repeat=rank))
    found = []
    for code in range(1 << len(corners)):
        inside = {corner: bool(code >> i & 1) for i, corner in enumerate(reversed(corners))}
        if 2 * sum(inside.values()) > len(corners):
            inside = {corner: not value for corner, value in inside.items()}
        found.append(_segment_normals(inside) if rank == 2 else _triangle_normals(inside))
    table = np.zeros((len(found), max(map(len, found)), rank))
    for row, normals in zip(table, found, strict=True):
        row[: len(normals)] = np.reshape(normals, (-1, rank))
    return table


def _segment_normals(inside: dict[Point, bool]) -> list[Point]:
    return [(b[1] - a[1], a[0] - b[0]) for a, b in _cut([(0, 0), (0, 1), (1, 1), (1, 0)], inside)]


def _triangle_normals(inside: dict[Point, bool]) -> list[Array]:
    normals: list[Array] = []
    for loop in _loops(inside):
        fans = [np.roll(loop, turn, axis=0) for turn in range(len(loop))]
        crosses = [np.cross(fan[1:-1] - fan[0], fan[2:] - fan[0]) / 2 for fan in fans]
        normals += [*max(crosses, key=lambda cross: round(float(np.linalg.norm(cross, axis=1).sum()), 9))]
    return normals


def _loops(inside: dict[Point, bool]) -> list[Array]:
    """Polygons in a cube: the segments on its six sides, joined end to end."""
    neighbours: dict[Point, list[Point]] = {}
    for axis, side in product(range(3), (0, 1)):
        corners = [(*square[:axis], side, *square[axis:]) for square in ((0, 0), (0, 1), (1, 1), (1, 0))]
        for a, b in _cut(corners, inside):
            neighbours.setdefault(a, []).append(b)
            neighbours.setdefault(b, []).append(a)
    loops = []
    while neighbours:
        loop = [next(iter(neighbours))]
        while ahead := [point for point in neighbours.pop(loop[-1]) if point in neighbours]:
            loop.append(ahead[0])
        loops.append(np.array(loop))
    return loops


def _cut(corners: Sequence[Point], inside: dict[Point, bool]) -> list[tuple[Point, Point]]:
    """Segments that part the inside corners of a square (in order around it) from the others."""
    middles = [tuple((x + y) / 2 for x, y in zip(a, corners[i - 1], strict=True)) for i, a in enumerate(corners)]
    cut = [i for i, corner in enumerate(corners) if inside[corner] != inside[corners[i - 1]]]
    if len(cut) < 4:
        return [(middles[cut[0]], middles[cut[1]])] if cut else []
    return [(middles[i], middles[(i + 1) % 4]) for i, corner in enumerate(corners) if inside[corner]]
