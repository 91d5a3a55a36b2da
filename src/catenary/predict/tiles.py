"""Tiles: where they lie, how their answers are blended. Pure geometry and sums; no network, no torch.

Tiles are walked row by row of tiles. After each such row the image rows above the next one are finished and handed
on, so that memory depends on the image's width and the tile, not on its height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped
from numpy.typing import NDArray

from catenary.errors import ConfigError

__all__ = ["Rows", "Tiling", "blend", "gaussian", "in_memory", "pad_to"]

#: Gives, for the first row of a row of tiles, pixels ``(c, th, w)`` and where they hold data (None: everywhere).
Rows = Callable[[int], tuple[NDArray[Any], NDArray[np.bool_] | None]]


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How an image of `shape` is cut.

    Attributes:
        shape: ``(h, w)`` of the padded image; multiples of `multiple`, no smaller than `tile`.
        tile: ``(h, w)`` of a tile.
        overlap: Pixels that neighbours share at least, when blending with Gaussian weights.
        halo: When above 0, each tile's outer ring of this width is thrown away instead of blended (it is kept at the
            image's own border). With the network's receptive field as halo the answer is the whole image's.
        multiple: Tiles start at multiples of this, so that pooling grids fall together.

    >>> Tiling.of((100, 300), tile=(64, 64), overlap=16, multiple=16).starts(1)
    (0, 48, 96, 144, 192, 240)
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    overlap: int = 64
    halo: int = 0
    multiple: int = 1

    @staticmethod
    def of(
        shape: tuple[int, ...], *, tile: tuple[int, ...], overlap: int = 64, halo: int = 0, multiple: int = 1
    ) -> Tiling:
        """The tiling of an image of any size: tiles are no larger than the image needs.

        Raises:
            ConfigError: The halo leaves nothing of a tile.
        """

        def up(n: int) -> int:
            return -(-n // multiple) * multiple

        sides = [min(up(t), up(s)) for t, s in zip(tile, shape, strict=True)]
        padded = [max(up(s), t) for s, t in zip(shape, sides, strict=True)]
        halo = up(halo)
        if any(p > t and t <= 2 * halo for p, t in zip(padded, sides, strict=True)):
            raise ConfigError(
                f"a halo of {halo} px leaves nothing of {sides[0]}x{sides[1]} tiles; set predict.tile to more than "
                f"{2 * halo}"
            )
        return Tiling(
            shape=(padded[0], padded[1]), tile=(sides[0], sides[1]), overlap=overlap, halo=halo, multiple=multiple
        )

    def starts(self, axis: int) -> tuple[int, ...]:
        """First rows (axis 0) or columns (axis 1) of the tiles; the last tile ends with the image."""
        size, tile = self.shape[axis], self.tile[axis]
        step = tile - (2 * self.halo or self.overlap)
        step = max(self.multiple, step // self.multiple * self.multiple)
        return (*range(0, size - tile, step), size - tile)

    def weights(self, axis: int) -> NDArray[np.float32]:
        """``(tiles, tile)``: weight of each tile along one axis, positive where it counts."""
        starts, tile, size = self.starts(axis), self.tile[axis], self.shape[axis]
        if not self.halo:
            return np.repeat(gaussian(tile)[None], len(starts), axis=0)
        rows = np.zeros((len(starts), tile), np.float32)
        for row, start in zip(rows, starts, strict=True):
            row[0 if start == 0 else self.halo : tile if start + tile == size else tile - self.halo] = 1
        return rows

    @cached_property
    def sums(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sum of all tiles' weights at each row, and at each column."""
        found = []
        for axis in (0, 1):
            total = np.zeros(self.shape[axis], np.float32)
            for start, weight in zip(self.starts(axis), self.weights(axis), strict=True):
                total[start : start + self.tile[axis]] += weight
            found.append(total)
        return found[0], found[1]


def gaussian(size: int) -> Float32[np.ndarray, " n"]:
    """Bell-shaped weights with sigma = size / 8 (as in nnU-Net), at least 1e-3 everywhere.

    >>> weights = gaussian(8)
    >>> bool(weights.min() > 0), bool(weights[3] == weights[4])
    (True, True)
    """
    x = (np.arange(size) - (size - 1) / 2) / (size / 8)
    return np.maximum(np.exp(-0.5 * x * x), 1e-3).astype(np.float32)


def pad_to(array: Shaped[np.ndarray, "c h w"], shape: tuple[int, int]) -> Shaped[np.ndarray, "c ph pw"]:
    """Mirror the image at its lower and right border until it has `shape`."""
    rows, columns = shape[0] - array.shape[1], shape[1] - array.shape[2]
    if not rows and not columns:
        return array
    return np.pad(array, [(0, 0), (0, rows), (0, columns)], mode="reflect")


def in_memory(image: Shaped[np.ndarray, "c h w"], tiling: Tiling) -> Rows:
    """The `Rows` of an image that is all there, padded to ``tiling.shape``."""
    return lambda top: (image[:, top : top + tiling.tile[0]], None)


def blend(
    answer: Callable[[NDArray[Any]], Float32[np.ndarray, "n k th tw"]],
    rows: Rows,
    tiling: Tiling,
    *,
    logits: int,
    batch: int = 8,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Float32[np.ndarray, "k rows w"]]:
    """Blended answers of all tiles, as bands of finished rows from top to bottom.

    Args:
        answer: Gives ``(n, k, th, tw)`` for a list of tiles ``(n, c, th, tw)`` in the image's own type.
        rows: Gives the pixels of a row of tiles.
        tiling: The cut.
        logits: k, the number of planes of an answer.
        batch: Tiles a call.
        first, last: Which bands, by the number of their row of tiles; all by default. Each has the same bytes
            whatever others are asked for: rows of tiles above `first` that reach into it are computed, too.

    Yields:
        Bands that together have the image's height; each array is a buffer that the next band may overwrite. Where
        no tile has data, all is 0.
    """
    (th, tw), (_, width) = tiling.tile, tiling.shape
    tops, lefts = tiling.starts(0), tiling.starts(1)
    down, across = tiling.weights(0), tiling.weights(1)
    row_sums, column_sums = tiling.sums
    band = np.zeros((logits, th, width), np.float32)  # one for all: it is the largest thing in memory
    tail = np.zeros((logits, 0, width), np.float32)
    begin = next(number for number, top in enumerate(tops) if top + th > tops[first])
    for number, top in enumerate(tops[:last]):
        if number < begin:
            continue
        pixels, valid = rows(top)
        used = [i for i, left in enumerate(lefts) if valid is None or valid[:, left : left + tw].any()]
        band[:] = 0
        for start in range(0, len(used), batch):
            places = used[start : start + batch]
            answers = answer(np.stack([pixels[..., lefts[i] : lefts[i] + tw] for i in places]))
            if len(lefts) == 1:
                band[:] = answers[0]
                continue
            for i, found in zip(places, answers, strict=True):
                band[:, :, lefts[i] : lefts[i] + tw] += found * across[i]
        if len(lefts) > 1:
            band /= column_sums
        if len(tops) == 1:
            yield band
            return
        band *= down[number][:, None]
        band[:, : tail.shape[1]] += tail
        end = tops[number + 1] if number + 1 < len(tops) else top + th
        tail = band[:, end - top :].copy()
        if number >= first:
            finished = band[:, : end - top]
            finished /= row_sums[top:end, None]
            yield finished
