"""Refinement of probabilities: neighbouring voxels of like intensity come to agree, so that outlines follow edges.

A conditional random field in which every voxel is joined to all within a reach (Krähenbühl and Koltun 2011, with the
reach of the convolutional form of Teichmann and Cipolla 2018), solved by a few mean-field steps. Works on bands as they
arrive: a band waits until the slices below that have a say in it are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

__all__ = ["refine", "refined"]

#: Mean-field steps, and voxels along an axis that one looks around.
STEPS, REACH = 3, 2
#: Standard deviations of the kernel: in voxels of the finest axis, and of normalised intensities.
NEAR, ALIKE = 1.5, 0.5

Array = NDArray[Any]


def refine(
    probability: Float32[np.ndarray, "k *s"],
    image: Float32[np.ndarray, "c *s"],
    *,
    weight: float,
    exclusive: bool = True,
    spacing: Sequence[float] | None = None,
) -> Float32[np.ndarray, "k *s"]:
    """Probabilities that agree more with those of neighbours of like intensity.

    Each step is ``q = normalised(p * exp(weight * m))``, where m is the mean of q over the neighbours, weighed by
    ``exp(-distance² / 2 NEAR² - difference² / 2 ALIKE²)``.

    Args:
        probability: Of each class; 0 to 1.
        image: Normalised intensities; differences are added up over channels.
        weight: How much neighbours count; 0 changes nothing.
        exclusive: Whether the classes share one probability; else each plane stands against its own complement.
        spacing: Size of a voxel along each axis; equal where None.

    >>> image = np.array([[0, 0, 0, 0, 5, 5, 5]], np.float32)
    >>> found = refine(np.array([[0.9, 0.9, 0.4, 0.9, 0.1, 0.1, 0.1]], np.float32), image, weight=3.0, exclusive=False)
    >>> (found[0] > 0.5).astype(int).tolist()
    [1, 1, 1, 1, 0, 0, 0]
    """
    if weight == 0:
        return probability
    rank = image.ndim - 1
    size = np.ones(rank) if spacing is None else np.asarray(spacing, np.float64) / min(spacing)
    half = [o for o in product(range(-REACH, REACH + 1), repeat=rank) if o > (0,) * rank]
    reached = [o for o in half if all(abs(step) < side for step, side in zip(o, image.shape[1:], strict=True))]
    kernels = [(_ends(o), _kernel(image, o, size)) for o in reached]
    total = np.full(image.shape[1:], 1e-12, np.float32)
    for (here, there), kernel in kernels:
        total[here] += kernel
        total[there] += kernel
    q = probability
    for _ in range(STEPS):
        message = np.zeros_like(probability)
        for (here, there), kernel in kernels:
            message[:, *here] += kernel * q[:, *there]
            message[:, *there] += kernel * q[:, *here]
        message /= total
        if exclusive:
            q = probability * np.exp(np.float32(weight) * message)
            q /= np.maximum(q.sum(axis=0), np.float32(1e-30))
        else:  # p e^(w m) / (p e^(w m) + (1 - p) e^(w (1 - m)))
            q = probability / (probability + (1 - probability) * np.exp(np.float32(weight) * (1 - 2 * message)))
    return q


def _ends(offset: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where the voxels lie that have a neighbour at this offset, and where those neighbours are."""
    here = tuple(slice(max(0, -step), -step if step > 0 else None) for step in offset)
    there = tuple(slice(max(0, step), step if step < 0 else None) for step in offset)
    return here, there


def _kernel(image: Array, offset: Sequence[int], size: Array) -> Array:
    here, there = _ends(offset)
    apart = float(((np.asarray(offset) * size) ** 2).sum()) / (2 * NEAR**2)
    difference = ((image[:, *here] - image[:, *there]) ** 2).sum(axis=0) / np.float32(2 * ALIKE**2)
    kernel: Array = np.exp(-difference - np.float32(apart))
    return kernel


def refined(
    bands: Iterator[NDArray[np.float32]],
    pixels: Callable[[int, int], NDArray[np.float32]],
    rows: int,
    **settings: Any,
) -> Iterator[NDArray[np.float32]]:
    """The bands of an image of `rows` rows, refined; equal to `refine` of the whole.

    Args:
        bands: Probabilities ``(k, n, *w)`` from top to bottom.
        pixels: Gives the normalised rows ``(c, n, *w)`` from one to another.
        rows: Number of rows of the image.
        settings: See `refine`.
    """
    reach = STEPS * REACH  # rows that have a say in another
    held: Array | None = None
    first = done = 0  # the first row that is held, and the first that was not handed on
    for band in bands:
        held = band.copy() if held is None else np.concatenate([held, band], axis=1)
        last = first + held.shape[1]
        ready = last if last == rows else last - reach
        if ready <= done:
            continue
        whole = refine(held, pixels(first, last), **settings)
        yield whole[:, done - first : ready - first]
        done = ready
        keep = max(first, done - reach)
        held, first = held[:, keep - first :], keep
