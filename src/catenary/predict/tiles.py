"""Tiles: where they lie, how their answers are blended. Pure geometry and sums; no network, no torch.

Tiles are walked row by row of tiles (of a volume, layer by layer). After each such row the image rows above the next
one are finished and handed on, so that memory depends on the image's width and the tile, not on its height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped
from numpy.typing import NDArray

from catenary.errors import ConfigError

__all__ = ["Rows", "Tiling", "blend", "gaussian", "in_memory", "pad_to"]

#: Gives, for the first row of a row of tiles, pixels ``(c, th, *w)`` and where they hold data (None: everywhere).
Rows = Callable[[int], tuple[NDArray[Any], NDArray[np.bool_] | None]]


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How an image or volume of `shape` is cut; every size has one number an axis.

    Attributes:
        shape: Size of the padded image; multiples of `multiple`, no smaller than `tile`.
        tile: Size of a tile.
        overlap: Pixels that neighbours share at least, when blending with Gaussian weights.
        halo: When above 0, each tile's outer ring of this width is thrown away instead of blended (it is kept at the
            image's own border). With the network's receptive field as halo the answer is the whole image's.
        multiple: Tiles start at multiples of this, so that pooling grids fall together.

    >>> Tiling.of((100, 300), tile=(64, 64), overlap=16, multiple=16).starts(1)
    (0, 48, 96, 144, 192, 240)
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    overlap: tuple[int, ...]
    halo: tuple[int, ...]
    multiple: tuple[int, ...]

    @staticmethod
    def of(
        shape: tuple[int, ...],
        *,
        tile: tuple[int, ...],
        overlap: int | tuple[int, ...] = 64,
        halo: int | tuple[int, ...] = 0,
        multiple: int | tuple[int, ...] = 1,
    ) -> Tiling:
        """The tiling of an image of any size: tiles are no larger than the image needs.

        Raises:
            ConfigError: The halo leaves nothing of a tile.
        """
        each = [(n,) * len(shape) if isinstance(n, int) else n for n in (overlap, halo, multiple)]
        multiples = each[2]
        sides = [min(_up(t, m), _up(s, m)) for t, s, m in zip(tile, shape, multiples, strict=True)]
        padded = [max(_up(s, m), t) for s, t, m in zip(shape, sides, multiples, strict=True)]
        halos = tuple(_up(h, m) for h, m in zip(each[1], multiples, strict=True))
        for p, t, h in zip(padded, sides, halos, strict=True):
            if p > t and t <= 2 * h:
                raise ConfigError(
                    f"a halo of {h} px leaves nothing of {'x'.join(map(str, sides))} tiles; set predict.tile to more "
                    f"than {2 * h}"
                )
        return Tiling(shape=tuple(padded), tile=tuple(sides), overlap=each[0], halo=halos, multiple=multiples)

    def starts(self, axis: int) -> tuple[int, ...]:
        """First rows (axis 0) or columns (axis 1) of the tiles; the last tile ends with the image."""
        size, tile, multiple = self.shape[axis], self.tile[axis], self.multiple[axis]
        step = tile - (2 * self.halo[axis] or self.overlap[axis])
        step = max(multiple, step // multiple * multiple)
        return (*range(0, size - tile, step), size - tile)

    def weights(self, axis: int) -> NDArray[np.float32]:
        """``(tiles, tile)``: weight of each tile along one axis, positive where it counts."""
        starts, tile, size, halo = self.starts(axis), self.tile[axis], self.shape[axis], self.halo[axis]
        if not halo:
            return np.repeat(gaussian(tile)[None], len(starts), axis=0)
        rows = np.zeros((len(starts), tile), np.float32)
        for row, start in zip(rows, starts, strict=True):
            row[0 if start == 0 else halo : tile if start + tile == size else tile - halo] = 1
        return rows

    @cached_property
    def sums(self) -> tuple[NDArray[np.float32], ...]:
        """Sum of all tiles' weights along each axis: ``(shape[axis],)``."""
        found = []
        for axis, size in enumerate(self.shape):
            total = np.zeros(size, np.float32)
            for start, weight in zip(self.starts(axis), self.weights(axis), strict=True):
                total[start : start + self.tile[axis]] += weight
            found.append(total)
        return tuple(found)


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def gaussian(size: int) -> Float32[np.ndarray, " n"]:
    """Bell-shaped weights with sigma = size / 8 (as in nnU-Net), at least 1e-3 everywhere.

    >>> weights = gaussian(8)
    >>> bool(weights.min() > 0), bool(weights[3] == weights[4])
    (True, True)
    """
    x = (np.arange(size) - (size - 1) / 2) / (size / 8)
    return np.maximum(np.exp(-0.5 * x * x), 1e-3).astype(np.float32)


def pad_to(array: Shaped[np.ndarray, "c *s"], shape: tuple[int, ...]) -> Shaped[np.ndarray, "c *p"]:
    """Mirror the image at the end of each axis until it has `shape`."""
    more = [wanted - side for wanted, side in zip(shape, array.shape[1:], strict=True)]
    if not any(more):
        return array
    return np.pad(array, [(0, 0), *((0, n) for n in more)], mode="reflect")


def in_memory(image: Shaped[np.ndarray, "c *s"], tiling: Tiling) -> Rows:
    """The `Rows` of an image that is all there, padded to ``tiling.shape``."""
    return lambda top: (image[:, top : top + tiling.tile[0]], None)


def blend(
    answer: Callable[[NDArray[Any]], Float32[np.ndarray, "n k *t"]],
    rows: Rows,
    tiling: Tiling,
    *,
    logits: int,
    batch: int = 8,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Float32[np.ndarray, "k rows *w"]]:
    """Blended answers of all tiles, as bands of finished rows from top to bottom.

    Args:
        answer: Gives ``(n, k, th, *tw)`` for a list of tiles ``(n, c, th, *tw)`` in the image's own type.
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
    th, width = tiling.tile[0], tiling.shape[1:]
    tops, down = tiling.starts(0), tiling.weights(0)
    row_sums, across_sums = tiling.sums[0], tiling.sums[1:]
    places = _across(tiling)
    band = np.zeros((logits, th, *width), np.float32)  # one for all: it is the largest thing in memory
    tail = np.zeros((logits, 0, *width), np.float32)
    begin = next(number for number, top in enumerate(tops) if top + th > tops[first])
    for number, top in enumerate(tops[:last]):
        if number < begin:
            continue
        pixels, valid = rows(top)
        used = [place for place in places if valid is None or valid[:, *place.window].any()]
        band[:] = 0
        for start in range(0, len(used), batch):
            some = used[start : start + batch]
            answers = answer(np.stack([pixels[:, :, *place.window] for place in some]))
            if len(places) == 1:
                band[:] = answers[0]
                continue
            for place, found in zip(some, answers, strict=True):
                band[:, :, *place.window] += found * place.weight
        if len(places) > 1:
            for axis, sums in enumerate(across_sums):
                band /= sums.reshape(-1, *(1,) * (len(width) - 1 - axis))
        if len(tops) == 1:
            yield band
            return
        along = (-1, *(1,) * len(width))
        band *= down[number].reshape(along)
        band[:, : tail.shape[1]] += tail
        end = tops[number + 1] if number + 1 < len(tops) else top + th
        tail = band[:, end - top :].copy()
        if number >= first:
            finished = band[:, : end - top]
            finished /= row_sums[top:end].reshape(along)
            yield finished


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tile lies across its row of tiles, and what its pixels weigh there."""

    window: tuple[slice, ...]
    weight: NDArray[np.float32]


def _across(tiling: Tiling) -> list[_Place]:
    axes = range(1, len(tiling.shape))
    choices = [[*zip(tiling.starts(axis), tiling.weights(axis), strict=True)] for axis in axes]
    places = []
    for chosen in product(*choices):
        window = tuple(slice(start, start + tiling.tile[axis]) for axis, (start, _) in zip(axes, chosen, strict=True))
        places.append(_Place(window, reduce(np.multiply.outer, [weight for _, weight in chosen])))
    return places
