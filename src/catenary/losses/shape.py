"""Losses of shape: how far from the outline errors lie, and whether thin structures stay in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from torch import Tensor

from catenary.losses.parts import Pair, in_full_precision, mean_of, mean_over_classes

__all__ = ["boundary", "centreline_dice", "outline_distance", "soft_skeleton"]


@in_full_precision
def boundary(pair: Pair, *, background: bool = False) -> Float[Tensor, ""]:
    """Mean error, each pixel weighted by its distance to the outline of the truth (Kervadec et al. 2019).

    The paper's loss is the mean of probability times signed distance. Two things are different, neither of which moves
    the minimum: the value of the truth itself is taken off, which leaves ``|distance| * |p - y|`` and makes a perfect
    answer 0; and the distances of an image and class are divided by their mean, so that neither the number of pixels
    nor the resolution matters. A class that an image lacks or is full of has no outline: all pixels weigh the same.

    The distances come from the CPU, one exact transform an image and class.

    Args:
        pair: Logits and label map, of one to three spatial axes. Its class weights weigh the pixels of each class.
        background: Let class 0 of exclusive classes take part.

    Returns:
        A value in 0..1; 0 when no pixel counts.

    >>> target = torch.tensor([[[0, 0, 0, 1, 1, 1]]])
    >>> near = torch.where(torch.arange(6) == 2, 50.0, 100 * target - 50.0)[None]  # wrong beside the outline
    >>> far = torch.where(torch.arange(6) == 0, 50.0, 100 * target - 50.0)[None]
    >>> round(boundary(Pair(near, target)).item(), 4), round(boundary(Pair(far, target)).item(), 4)
    (0.0556, 0.2778)
    """
    judged = pair.judged(background)
    truth, weights = pair.truth[:, judged], pair.weights[judged]
    found = outline_distance(truth.bool().cpu().numpy(), pair.counted.cpu().numpy())
    distance = torch.from_numpy(found).to(truth)
    errors = truth + (1 - 2 * truth) * pair.probability[:, judged]  # |p - y|
    total = (errors * distance).flatten(2).sum((0, 2)) @ weights
    return mean_of(total, pair.mask.sum() * weights.sum(), pair.reduce)


def outline_distance(
    truth: Bool[np.ndarray, "b k *s"], counted: Bool[np.ndarray, "b *s"]
) -> Float32[np.ndarray, "b k *s"]:
    """Distance of each pixel to the outline, divided by its mean over the pixels that count; 0 in the others.

    The outline runs half-way between pixels of the class and others. It is looked for among the pixels that count
    only; where a class has none, or all of them, the distance is 1 everywhere.

    >>> truth = np.array([[[False, False, False, True]]])
    >>> (outline_distance(truth, np.ones((1, 4), bool)) * 1.25).tolist()  # the mean of 2.5, 1.5, 0.5 and 0.5
    [[[2.5, 1.5, 0.5, 0.5]]]
    """
    result = np.empty(truth.shape, np.float32)
    for image, known in enumerate(counted):
        for channel, inside in enumerate(truth[image]):
            result[image, channel] = _relative_distance(inside & known, ~inside & known)
    return result


def _relative_distance(inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> NDArray[np.float32]:
    import edt

    known = inside | outside
    if not (inside.any() and outside.any()):
        return known.astype(np.float32)
    if known.all():  # one transform of two labels gives the distance of each to the other
        distance: NDArray[np.float32] = edt.edt(inside.astype(np.uint8) + 1, parallel=1)
    else:
        distance = np.where(inside, edt.edt(~outside, parallel=1), edt.edt(~inside, parallel=1))
    distance = (distance - np.float32(0.5)) * known
    return distance / np.float32(distance[known].mean(dtype=np.float64))


@in_full_precision
def centreline_dice(pair: Pair, *, steps: int = 10, batch: bool = True, background: bool = False) -> Float[Tensor, ""]:
    """One minus the centreline Dice (clDice, Shit et al. 2021), for vessels, roads, cracks: whether lines connect.

    The harmonic mean of two shares: of the predicted skeleton that lies in the truth, and of the true skeleton that is
    predicted. A break in a line costs what its length deserves, however thin the line is.

    Args:
        pair: Logits and label map, of one to three spatial axes. Its class weights are those of the average over
            classes.
        steps: See `soft_skeleton`.
        batch: Sums run over the whole batch; else each image has its own index, and they are averaged.
        background: Let class 0 of exclusive classes take part.

    Returns:
        A value in 0..1. For a class that is absent it is the mean probability that the class was given.

    >>> target = torch.zeros(1, 5, 9, dtype=torch.uint8)
    >>> target[0, 2, :8] = 1  # a line of 8 pixels, of which 2 are found
    >>> logits = torch.full((1, 1, 5, 9), -50.0)
    >>> logits[0, 0, 2, :2] = 50
    >>> round(centreline_dice(Pair(logits, target)).item(), 4)  # 1 - 2 * 1 * 0.25 / (1 + 0.25)
    0.6
    """
    judged = pair.judged(background)
    p, y, counted = pair.probability[:, judged], pair.truth[:, judged], pair.counted[:, None]
    thin_p = soft_skeleton(p, counted, steps=steps) * pair.mask
    thin_y = soft_skeleton(y, counted, steps=steps) * pair.mask
    pixels = pair.mask.expand_as(y)
    parts = (thin_p * y, thin_p, thin_y * p, thin_y, p * pair.mask, y, pixels)
    counts = torch.stack([part.flatten(2).sum(2) for part in parts])
    if batch:
        counts = pair.reduce(counts.sum(1, keepdim=True))
    claimed_right, claimed, found, asked, given, there, seen = counts
    # One pixel more on both sides: the share of next to nothing would have a slope without bound.
    precision = (claimed_right + 1) / (claimed + 1)
    recall = found / asked.clamp_min(1e-6)
    index = 2 * precision * recall / (precision + recall)
    terms = torch.where(there > 0, 1 - index, given / seen.clamp_min(1))
    return mean_over_classes(terms, pair.weights[judged])


def soft_skeleton(
    x: Float[Tensor, "b k *s"], counted: Bool[Tensor, "b 1 *s"], *, steps: int = 10
) -> Float[Tensor, "b k *s"]:
    """What openings take away from ever more eroded versions of `x`: its skeleton, differentiably (Shit et al. 2021).

    What is thicker than the erosions reach keeps its core, unlike in the paper, where it has no skeleton: a prediction
    of foreground everywhere would claim nothing wrong and miss nothing.

    Args:
        x: Probabilities.
        counted: Pixels outside it are passed over, as those beyond the image are.
        steps: Erosions; half the width in pixels of the widest structure that shall be thinned to a line.

    Returns:
        Values in 0..1, of the shape of `x`.

    >>> bar = torch.zeros(1, 1, 5, 7)
    >>> bar[:, :, 1:4] = 1
    >>> soft_skeleton(bar, torch.ones(1, 1, 5, 7, dtype=torch.bool), steps=2)[0, 0, :, 3]
    tensor([0., 0., 1., 0., 0.])
    """
    skeleton = torch.zeros_like(x)
    hidden = None if counted.all() else ~counted
    for _ in range(steps + 1):
        if not x.requires_grad and not x.any():
            break  # a truth of thin structures is gone after few erosions
        eroded = -_largest(-_filled(x, hidden, 1.0), tuple(range(2, x.ndim)))
        opened = _filled(eroded, hidden, 0.0)
        for axis in range(2, x.ndim):
            opened = _largest(opened, (axis,))
        rest = (x - opened).relu()
        skeleton = skeleton + rest * (1 - skeleton)
        x = eroded
    return skeleton + x * (1 - skeleton)


def _filled(x: Tensor, hidden: Tensor | None, value: float) -> Tensor:
    return x if hidden is None else x.masked_fill(hidden, value)


def _largest(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    result: Tensor = _Largest.apply(x, axes)
    return result


class _Largest(torch.autograd.Function):
    """Largest value among a pixel and those that share a face with it across each of the axes.

    On a CPU several times faster than max pooling, which keeps an index for each pixel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        out = x.clone()
        for axis in axes:
            for here, there in _neighbours(x.shape[axis], axis):
                torch.maximum(out[here], x[there], out=out[here])
        ctx.save_for_backward(x, out)
        ctx.axes = axes
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, out = ctx.saved_tensors
        left = gradients[0]  # what has not found the pixel that it belongs to; of equal ones it goes to the first
        result = left * (x == out)
        left = left - result
        for axis in ctx.axes:
            for here, there in _neighbours(x.shape[axis], axis):
                found = left[here] * (x[there] == out[here])
                result[there] += found
                left[here] -= found
        return result, None


def _neighbours(size: int, axis: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Pixels that have a neighbour after and before them along `axis`, each with those neighbours."""
    before = (*[slice(None)] * axis, slice(0, size - 1))
    after = (*[slice(None)] * axis, slice(1, size))
    return [(before, after), (after, before)]
