"""Images brought to another size, and answers brought back, a few slices at a time; pictures and volumes, no torch.

Pixels are areas, not points: both grids cover the same ground, and pixel i of the result has its centre at
``(i + 1/2) n_in / n_out - 1/2`` in pixels of the source (skimage's ``resize``, ``align_corners=False`` elsewhere);
beyond the outer centres the outer values go on. Along an axis that grows, or shrinks by no more than `SHRINK`, values
are interpolated linearly; along one that shrinks further they are averaged over the new pixel's area, without which
fine structures would alias. Axes are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from numpy.typing import NDArray

from catenary.errors import ConfigError, InputError

__all__ = ["resample_bands", "resample_image", "resample_label", "running_argmax", "working_shape_of"]

#: Axes that shrink by more than this are averaged.
SHRINK = 1.5
#: Pixels of a finished band, as far as that makes whole rows (of a volume: slices), one at least.
BLOCK = 1 << 18

Array = NDArray[Any]


def working_shape_of(shape: Sequence[int], spacing: Sequence[float] | None, target: Sequence[float]) -> tuple[int, ...]:
    """Spatial size of an image once its pixels are `target` large; at least 1 along each axis.

    Args:
        shape: Its own size.
        spacing: Size of its pixels along each axis.
        target: Wanted size in the same unit; empty keeps `shape`.

    Raises:
        InputError: The image has no spacing.
        ConfigError: `target` has another number of axes.

    >>> working_shape_of((155, 240, 240), (1.0, 1.0, 1.0), (3.0, 1.5, 1.5))
    (52, 160, 160)
    """
    if not target:
        return tuple(shape)
    if spacing is None:
        raise InputError(
            f"an image of size {tuple(shape)} without spacing cannot be brought to spacing {tuple(target)}; state the "
            "spacing in the file or in dataset.toml"
        )
    if len(target) != len(shape):
        raise ConfigError(f"prepare.spacing needs {len(shape)} numbers, one an axis, found {tuple(target)}; correct it")
    return tuple(max(1, round(n * own / new)) for n, own, new in zip(shape, spacing, target, strict=True))


def resample_image(array: Shaped[np.ndarray, "c *s"], shape: tuple[int, ...]) -> Shaped[np.ndarray, "c *n"]:
    """Bring an image ``(c, h, w)`` or ``(c, d, h, w)`` to the size `shape`; the type stays, whole numbers are rounded.

    Beside the result a few slices are in memory (float32; float64 for types that float32 cannot hold).

    >>> resample_image(np.array([[[0, 10]]], np.uint8), (1, 4))
    array([[[ 0,  2,  8, 10]]], dtype=uint8)
    """
    if array.shape[1:] == shape:
        return array
    out = np.empty((len(array), *shape), array.dtype)
    top = 0
    for band in resample_bands([array], array.shape[1:], shape):
        if array.dtype.kind != "f":
            np.rint(band, out=band)
        out[:, top : top + band.shape[1]] = band
        top += band.shape[1]
    return out


def resample_label(label: Shaped[np.ndarray, "*s"], shape: tuple[int, ...]) -> Shaped[np.ndarray, "*n"]:
    """Bring a label map ``(h, w)`` or ``(d, h, w)`` to the size `shape` by the nearest pixel, on the same grids.

    >>> resample_label(np.array([[1, 2, 3]], np.uint8), (1, 5))
    array([[1, 1, 2, 3, 3]], dtype=uint8)
    """
    out: Array = label
    sizes = list(zip(label.shape, shape, strict=True))
    for axis in sorted(range(label.ndim), key=lambda axis: sizes[axis][1] / sizes[axis][0]):  # what shrinks goes first
        before, after = sizes[axis]
        if before != after:
            out = out.take((2 * np.arange(after) + 1) * before // (2 * after), axis)
    return out


def resample_bands(
    bands: Iterable[Shaped[np.ndarray, "k rows *p"]], before: tuple[int, ...], after: tuple[int, ...]
) -> Iterator[Float[np.ndarray, "k rows *q"]]:
    """Bring planes from the size `before` to the size `after` while they arrive, and hand them on finished.

    Of a volume only the slices that the next ones need are kept, two where it is interpolated, and one slice of the
    result (of a picture a band of rows): memory does not depend on the depth.

    Args:
        bands: Bands ``(k, rows, w)`` or ``(k, rows, h, w)`` along the first spatial axis, in order, that together have
            the size `before`. Each may be overwritten when the next is asked for.
        before: Spatial size of what comes, ``(h, w)`` or ``(d, h, w)``.
        after: Spatial size of what goes.

    Yields:
        Bands ``(k, rows, ...)`` that together have the size `after`, float32 (float64 where the type needs it); a
        buffer that the next band may overwrite.

    >>> answers = iter([np.zeros((2, 1, 3, 3), np.float32), np.ones((2, 1, 3, 3), np.float32)])
    >>> [band[0, :, 0, 0].tolist() for band in resample_bands(answers, (2, 3, 3), (4, 6, 6))]
    [[0.0], [0.25, 0.75, 1.0]]
    """
    if before == after:
        yield from bands
        return
    begins, ends = _reach(before[0], after[0])
    rows = max(1, BLOCK // math.prod(after[1:]))
    tail, end, done = None, 0, 0
    for band in bands:
        top, end = end, end + band.shape[1]
        tail = band[:, :0] if tail is None else tail
        ready = int(np.searchsorted(ends, end, side="right"))
        for first in range(done, ready, rows):
            last = min(first + rows, ready)
            source = _rows(tail, band, top, int(begins[first]), int(ends[last - 1]))
            yield _mixed(source, _weights(before[0], after[0], first, last), (last - first, *after[1:]))
        done = ready
        tail = _rows(tail, band, top, int(begins[done]), end) if done < after[0] else band[:, :0]


def running_argmax(
    planes: Float[np.ndarray, "k *s"], out: UInt8[np.ndarray, "*s"] | None = None
) -> UInt8[np.ndarray, "*s"]:
    """Index of the largest plane at each pixel, the first of equals; many times faster than ``argmax(axis=0)``.

    Args:
        planes: At most 256 planes.
        out: Where the answer goes; a new array without it.

    >>> running_argmax(np.array([[0.1, 0.5, 0.2], [0.8, 0.5, 0.2], [0.1, 0.0, 0.6]], np.float32))
    array([1, 0, 2], dtype=uint8)
    """
    winner = np.empty(planes.shape[1:], np.uint8) if out is None else out
    winner[...] = 0
    best = planes[0]
    for index in range(1, len(planes)):
        better = (planes[index] > best).view(np.uint8)
        better *= np.uint8(index)  # indices rise: the last plane that was better than all before it wins
        np.maximum(winner, better, out=winner)
        if index + 1 < len(planes):
            best = np.maximum(best, planes[index], out=None if index == 1 else best)
    return winner


def _places(n_in: int, n_out: int, first: int, last: int) -> tuple[Array, Array]:
    """Where the pixels `first` to `last` of the result begin and end (averaged) or both lie (interpolated)."""
    ratio, i = n_in / n_out, np.arange(first, last, dtype=np.float64)
    if ratio > SHRINK:
        return i * ratio, np.minimum((i + 1) * ratio, n_in)
    centre = np.clip((i + 0.5) * ratio - 0.5, 0, n_in - 1)
    return centre, centre


def _reach(n_in: int, n_out: int) -> tuple[Array, Array]:
    """First pixel of the source that each pixel of the result needs, and the one after the last."""
    low, high = _places(n_in, n_out, 0, n_out)
    single = n_in / n_out <= SHRINK
    return np.floor(low).astype(np.intp), np.ceil(high).astype(np.intp) + single


def _weights(n_in: int, n_out: int, first: int, last: int) -> Array:
    """How much each pixel of the source that is needed counts in the pixels `first` to `last` of the result."""
    low, high = (ends[:, None] for ends in _places(n_in, n_out, first, last))
    if n_in / n_out > SHRINK:
        source = np.arange(int(low[0, 0]), math.ceil(high[-1, 0]))
        weights = np.minimum(high, source + 1) - np.maximum(low, source)
    else:
        source = np.arange(int(low[0, 0]), math.ceil(high[-1, 0]) + 1)
        weights = 1 - np.abs(low - source)
    weights = np.maximum(weights, 0)
    shares: Array = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _rows(tail: Array, band: Array, top: int, first: int, last: int) -> Array:
    """Rows `first` to `last` as floating numbers; `band` begins at `top`, and `tail` ends there."""
    start = top - tail.shape[1]
    parts = (
        tail[:, max(0, first - start) : max(0, last - start)],
        band[:, max(0, first - top) : max(0, last - top)],
    )
    work = np.result_type(band.dtype, np.float32)
    return np.concatenate(parts, axis=1, dtype=work, casting="unsafe")


def _mixed(source: Array, weights: Array, shape: tuple[int, ...]) -> Array:
    """Rows of the source ``(k, n, ...)`` mixed to those of the result, then brought to `shape` along the other axes."""
    planes, count = source.shape[:2]
    rows = np.matmul(weights.astype(source.dtype), source.reshape(planes, count, -1))
    mixed = rows.reshape(planes, shape[0], *source.shape[2:])
    out: Array = mixed
    if mixed.shape[1:] == shape:
        return out
    out = np.empty((planes, *shape), source.dtype)
    for there, here in zip(out.reshape(-1, *shape[-2:]), mixed.reshape(-1, *mixed.shape[-2:]), strict=True):
        _resize(here, there)
    return out


def _resize(plane: Array, out: Array) -> None:
    """Bring a plane to the size of `out`, each axis by its own rule."""
    import cv2 as opencv

    cv2: Any = opencv  # its type stubs refuse much that it takes
    shrunk = tuple(new if old / new > SHRINK else old for old, new in zip(plane.shape, out.shape, strict=True))
    if shrunk != plane.shape:
        plane = cv2.resize(plane, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != out.shape:
        cv2.resize(plane, out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    else:
        out[...] = plane
