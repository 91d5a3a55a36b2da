"""Two rasters of one place, block by block, in constant memory; the result as a small file and as a view."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Num

from catenary.align.blocks import OVERLAP, shift_between
from catenary.align.field import BEND, smooth_field
from catenary.errors import ConfigError, InputError
from catenary.io.files import write_json
from catenary.io.raster import Scene, Windowed
from catenary.types import Grid, Image, Progress, silent

__all__ = ["Aligned", "Alignment", "align_rasters", "read_alignment"]

FORMAT = "catenary.alignment/1"
#: Longer side of the overview on which the shift of the whole scene is looked for first.
OVERVIEW = 1024
#: On it the scene may be shifted by its shorter side divided by this.
WHOLE = 8
#: Blocks are half their side apart, or so far that no more than these lie along the shorter side.
NODES = 48
#: Side of the smallest blocks of the second look.
SMALLEST = 64
#: It looks at least so far: where few shifts are tried, chance has it easier.
LEAST_REACH = 10
#: Confidence from which on a node is called reliable; half of the blocks around it agree.
SURE = 0.1


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Where the pixels of one raster lie in another on the same grid, at nodes; bilinear between them.

    Attributes:
        shape: Rows and columns of both.
        grid: Of both.
        rows, columns: Where the nodes are, in pixels.
        shifts: ``(r, s, 2)``: what lies at ``(y, x)`` in the first lies at ``(y, x) + shift`` in the second.
        confidence: ``(r, s)``, 0 to 1.
        common: ``(r, s)``, whether both have data around a node.
    """

    shape: tuple[int, int]
    grid: Grid
    rows: Float[np.ndarray, " r"]
    columns: Float[np.ndarray, " s"]
    shifts: Float[np.ndarray, "r s 2"]
    confidence: Float[np.ndarray, "r s"]
    common: Bool[np.ndarray, "r s"]

    @property
    def reliable(self) -> Bool[np.ndarray, "r s"]:
        """At which nodes the shift can be relied on."""
        return self.common & (self.confidence >= SURE)

    @property
    def unsure(self) -> float:
        """Share of the nodes with data on both sides whose shift cannot be relied on."""
        return float((self.common & ~self.reliable).sum() / max(1, self.common.sum()))

    def at(self, row: int, column: int, height: int, width: int) -> Float[np.ndarray, "2 h w"]:
        """The shifts of all pixels of a window, rows first.

        >>> nodes = np.array([0.0, 10.0])
        >>> shifts = np.stack(np.meshgrid([0.0, 10.0], [2.0, 2.0], indexing="ij"), axis=-1)
        >>> flat = Alignment(shape=(11, 11), grid=Grid(), rows=nodes, columns=nodes, shifts=shifts,
        ...                  confidence=np.ones((2, 2)), common=np.ones((2, 2), bool))
        >>> flat.at(0, 0, 3, 1)[0].ravel(), flat.at(0, 0, 3, 1)[1].ravel()
        (array([0., 1., 2.]), array([2., 2., 2.]))
        """
        return self.between(self.shifts, row + np.arange(height), column + np.arange(width))

    def between(
        self, values: Num[np.ndarray, "r s v"], rows: Num[np.ndarray, " h"], columns: Num[np.ndarray, " w"]
    ) -> Float[np.ndarray, "v h w"]:
        """Values of the nodes, interpolated to where some rows and columns cross."""
        down, across = _weights(self.rows, rows), _weights(self.columns, columns)
        return np.stack([down @ values[..., index] @ across.T for index in range(values.shape[-1])])

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, a number a node.

        Raises:
            OutputError: The file cannot be written.
        """
        record = {
            "format": FORMAT,
            "shape": self.shape,
            "affine": self.grid.affine,
            "crs": self.grid.crs,
            "rows": self.rows.tolist(),
            "columns": self.columns.tolist(),
            "shift_rows": np.round(self.shifts[..., 0], 3).tolist(),
            "shift_columns": np.round(self.shifts[..., 1], 3).tolist(),
            "confidence": np.round(self.confidence, 3).tolist(),
            "common": self.common.tolist(),
        }
        return write_json(Path(path), record)


def read_alignment(path: str | Path) -> Alignment:
    """Read what `Alignment.save` wrote.

    Raises:
        InputError: There is no such file, or it is another one.
    """
    try:
        record: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
        if record["format"] != FORMAT:
            raise InputError(f"{path} has the format {record['format']}, this program reads {FORMAT}; align again")
        shifts = np.stack([np.asarray(record[f"shift_{name}"], float) for name in ("rows", "columns")], axis=-1)
        rows, columns = np.asarray(record["rows"], float), np.asarray(record["columns"], float)
        confidence, common = np.asarray(record["confidence"], float), np.asarray(record["common"], bool)
        if not (shifts.shape[:2] == confidence.shape == common.shape == (len(rows), len(columns))):
            raise ValueError("sizes differ")
        return Alignment(
            shape=(int(record["shape"][0]), int(record["shape"][1])),
            grid=Grid(affine=None if record["affine"] is None else tuple(record["affine"]), crs=record["crs"]),
            rows=rows,
            columns=columns,
            shifts=shifts,
            confidence=confidence,
            common=common,
        )
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; `catenary align` writes one") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} is no alignment, or damaged ({error}); align again") from error


def align_rasters(
    first: Scene, second: Scene, *, block: int = 256, reach: int = 32, progress: Progress = silent
) -> Alignment:
    """Find where the pixels of `first` lie in `second`, which must be on the same grid.

    The shift of the whole scene is looked for on an overview, then that of each block around it; blocks that depart
    from their neighbours are dropped, and a smooth field is laid through the others. A second look with smaller blocks
    refines it.

    Args:
        first: The raster whose grid counts, for example the image before.
        second: The other one, on that grid (see `catenary.io.raster.Raster.onto`).
        block: Side of a block in pixels.
        reach: How far in pixels a block may be shifted against the shift of the whole scene.
        progress: Told of the blocks.

    Raises:
        ConfigError: `block` or `reach` is too small.
        InputError: The rasters have no pixel in common, or other sizes.
    """
    if block < 32 or reach < 2:
        raise ConfigError(f"block = {block} and reach = {reach} find nothing; give at least 32 and 2 pixels")
    if first.shape != second.shape:
        raise InputError(f"rasters of one grid have one size, found {first.shape} and {second.shape}")
    base = _whole_shift(first, second, reach)
    found = _look(first, second, block, reach, base, partial(progress, "aligning"))
    if not found.common.any():
        raise InputError("the two images have no pixel in common; give images of one place")
    # Once more against the image that is laid straight: smaller blocks, so that the field may bend more.
    block, reach = max(SMALLEST, block // 2), max(LEAST_REACH, reach // 3)
    straight = Aligned(second, found)
    rest = _look(first, straight, block, reach, (0, 0), partial(progress, "refining"), bend=BEND / 2)
    return _composed(found, rest)


def _look(
    first: Windowed,
    second: Windowed,
    block: int,
    reach: int,
    base: tuple[int, int],
    progress: Callable[[int, int], None],
    bend: float = BEND,
) -> Alignment:
    """Compare blocks spread evenly over the rasters, and lay a smooth field through what they say."""
    sides = [min(block, n) for n in first.shape]
    apart = max(block // 2, min(first.shape) // NODES)
    starts = [
        np.unique(np.linspace(0, n - side, math.ceil((n - side) / apart) + 1).round().astype(int))
        for n, side in zip(first.shape, sides, strict=True)
    ]
    shifts = np.zeros((len(starts[0]), len(starts[1]), 2))
    confidence = np.zeros(shifts.shape[:2])
    common = np.zeros(confidence.shape, bool)
    inner = slice(reach, -reach)
    for i, row in enumerate(starts[0]):
        for j, column in enumerate(starts[1]):
            a = first.read(int(row), int(column), *sides)
            b = second.read(int(row) - reach + base[0], int(column) - reach + base[1], *(n + 2 * reach for n in sides))
            both = np.ones(a.shape, bool) if a.valid is None else a.valid
            both = both if b.valid is None else both & b.valid[inner, inner]
            common[i, j] = both.mean() >= OVERLAP
            if both.any():
                found = shift_between(a, b, reach=reach)
                shifts[i, j] = found.rows + base[0], found.columns + base[1]
                confidence[i, j] = found.confidence
        progress(i + 1, len(starts[0]))
    rows, columns = (start + (side - 1) / 2 for start, side in zip(starts, sides, strict=True))
    field = smooth_field(rows, columns, shifts, confidence, bend=bend)
    return Alignment(
        shape=first.shape,
        grid=first.grid,
        rows=rows,
        columns=columns,
        shifts=field.shifts,
        confidence=field.confidence,
        common=common,
    )


def _composed(found: Alignment, rest: Alignment) -> Alignment:
    """`found`, and then `rest`, which was measured on the image that `found` had laid straight."""
    shifts, confidence = rest.shifts.copy(), rest.confidence.copy()
    before = np.concatenate([found.shifts, found.confidence[..., None]], axis=-1)
    for i, row in enumerate(rest.rows):
        for j, column in enumerate(rest.columns):
            at = np.array([row, column]) + rest.shifts[i, j]
            down, across, sure = found.between(before, at[:1], at[1:])[:, 0, 0]
            shifts[i, j] += down, across
            confidence[i, j] = max(confidence[i, j], sure)  # what the larger blocks knew is not forgotten
    return replace(rest, shifts=shifts, confidence=confidence)


class Aligned:
    """The second raster of an alignment as if it lay on the first: each window is resampled when it is read.

    Args:
        source: The second raster, on the grid of the first.
        alignment: What `align_rasters` found.

    Raises:
        InputError: The alignment is of other rasters.
    """

    def __init__(self, source: Scene, alignment: Alignment) -> None:
        if source.shape != alignment.shape:
            raise InputError(f"the alignment is of rasters of {alignment.shape}, found {source.shape}; align these")
        self.shape, self.grid = source.shape, source.grid
        self._source, self._alignment = source, alignment

    def overview(self, side: int) -> Image:
        """The source's own: from afar a shift of a few pixels is not seen."""
        return self._source.overview(side)

    def read(self, row: int, column: int, height: int, width: int) -> Image:
        """The pixels of a window, bilinear; unknown where any pixel that takes part is."""
        shift = self._alignment.at(row, column, height, width)
        (top, left), (bottom, right) = (np.floor(shift.min(axis=(1, 2))), np.ceil(shift.max(axis=(1, 2))))
        top, left = int(top) - 1, int(left) - 1
        size = height + int(bottom) + 1 - top, width + int(right) + 1 - left
        image = self._source.read(row + top, column + left, *size)
        y = (shift[0] + np.arange(height)[:, None] - top).astype(np.float32)
        x = (shift[1] + np.arange(width)[None] - left).astype(np.float32)
        planes = [cv2.remap(plane, x, y, cv2.INTER_LINEAR) for plane in image.array]
        valid = image.valid
        if valid is not None:
            valid = cv2.remap(valid.astype(np.float32), x, y, cv2.INTER_LINEAR) > 0.999
        return Image(array=np.stack(planes), grid=self.grid.window(row, column), valid=valid, source=image.source)


def _whole_shift(first: Scene, second: Scene, reach: int) -> tuple[int, int]:
    """Shift of the whole scene in pixels, (0, 0) where the overviews do not tell it."""
    a, b = first.overview(OVERVIEW), second.overview(OVERVIEW)
    reach = max(reach, min(a.shape) // WHOLE)
    pad = [(reach, reach)] * 2
    valid = np.ones(b.shape, bool) if b.valid is None else b.valid
    wide = Image(array=np.pad(b.array, [(0, 0), *pad]), valid=np.pad(valid, pad))
    found = shift_between(a, wide, reach=reach)
    if found.confidence < SURE:
        return (0, 0)
    factor = first.shape[0] / a.shape[0], first.shape[1] / a.shape[1]
    return round(found.rows * factor[0]), round(found.columns * factor[1])


def _weights(nodes: Float[np.ndarray, " n"], at: np.ndarray) -> Float[np.ndarray, "m n"]:
    """Linear interpolation from nodes to places as a matrix; beyond the outer nodes their value goes on."""
    return np.stack([np.interp(at, nodes, unit) for unit in np.eye(len(nodes))], axis=1)
