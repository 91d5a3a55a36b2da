"""Streams of bands: several joined, cut to size, put into the volume that a box was cut from; slices as channels.

A band is a run of finished rows (of a volume, slices) ``(k, rows, *w)``, see `catenary.predict.tiles.blend`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from catenary.data.extent import bounding_box, find_body
from catenary.data.labels import LabelSet
from catenary.predict.tiles import Rows, Tiling

__all__ = ["averaged", "body_box", "cropped", "placed", "slabs"]


def body_box(array: Shaped[np.ndarray, "c *s"], *, margin: int = 0) -> tuple[slice, ...]:
    """The box around what is not empty in a scan, `margin` voxels wider; the whole where nothing is.

    >>> scan = np.zeros((1, 9, 9, 9)); scan[0, 4:6, 3, 2:8] = 1
    >>> body_box(scan)
    (slice(4, 6, None), slice(3, 4, None), slice(2, 8, None))
    """
    box = bounding_box(find_body(array), margin=margin)
    return box if box[0].stop else tuple(slice(0, side) for side in array.shape[1:])


def averaged(streams: Sequence[Iterator[NDArray[np.float32]]]) -> Iterator[NDArray[np.float32]]:
    """Mean of several streams of bands ``(k, rows, *w)`` that cover the same rows, however each is cut.

    >>> one = iter([np.zeros((1, 3, 2), np.float32)])
    >>> other = iter([np.ones((1, 1, 2), np.float32), np.ones((1, 2, 2), np.float32)])
    >>> [band[0, :, 0].tolist() for band in averaged([one, other])]
    [[0.5], [0.5, 0.5]]
    """
    waiting: list[NDArray[np.float32] | None] = [None] * len(streams)
    while True:
        for index, stream in enumerate(streams):
            if waiting[index] is None:
                band = next(stream, None)
                if band is None:
                    return
                waiting[index] = band.copy()  # the stream may overwrite it
        bands = [band for band in waiting if band is not None]
        rows = min(band.shape[1] for band in bands)
        total = bands[0][:, :rows].copy()
        for band in bands[1:]:
            total += band[:, :rows]
        total /= len(bands)
        waiting = [band[:, rows:] if band.shape[1] > rows else None for band in bands]
        yield total


def slabs(image: NDArray[Any], tiling: Tiling, slices: int) -> Rows:
    """The `Rows` of a volume for a network that sees `slices` neighbours of each slice as channels."""
    half = slices // 2

    def rows(top: int) -> tuple[NDArray[Any], None]:
        places = np.arange(top, top + tiling.tile[0])
        last = image.shape[1] - 1
        shifted = [image[:, np.clip(places + step, 0, last)] for step in range(-half, half + 1)]
        return (np.concatenate(shifted) if half else shifted[0]), None

    return rows


def cropped(
    bands: Iterator[NDArray[np.float32]], shape: tuple[int, ...], first: tuple[int, ...] = ()
) -> Iterator[NDArray[np.float32]]:
    """The bands of an image of `shape` that begins at `first` in what was answered, without all around it.

    >>> whole = np.arange(12.0, dtype=np.float32).reshape(1, 4, 3)
    >>> [band[0].tolist() for band in cropped(iter([whole[:, :2], whole[:, 2:]]), (2, 1), (1, 2))]
    [[[5.0]], [[8.0]]]
    """
    first = first or (0,) * len(shape)
    skip, left = first[0], shape[0]
    across = tuple(slice(start, start + side) for start, side in zip(first[1:], shape[1:], strict=True))
    for band in bands:
        rows = band[:, skip : skip + left, *across]
        skip = max(0, skip - band.shape[1])
        left -= rows.shape[1]
        if rows.shape[1]:
            yield rows


def placed(
    bands: Iterator[NDArray[np.float32]], box: tuple[slice, ...], shape: tuple[int, ...], labels: LabelSet
) -> Iterator[NDArray[np.float32]]:
    """Bands of a box as bands of the volume it lies in; outside is background."""

    def empty(rows: int) -> NDArray[np.float32]:
        found = np.zeros((labels.channels, rows, *shape[1:]), np.float32)
        if labels.task == "exclusive":
            found[0] = 1
        return found

    for _ in range(box[0].start):
        yield empty(1)
    for band in bands:
        whole = empty(band.shape[1])
        whole[:, :, *box[1:]] = band
        yield whole
    for _ in range(shape[0] - box[0].stop):
        yield empty(1)
