"""Losses for graded damage: where are the buildings, and how much is each damaged."""

from __future__ import annotations

from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from catenary.losses.overlap import soft_dice
from catenary.losses.parts import Pair, in_full_precision, mean_of
from catenary.losses.pixelwise import binary_cross_entropy, focal
from catenary.types import IGNORE

__all__ = ["damage", "damage_ce", "standing"]


@in_full_precision
def damage_ce(pair: Pair) -> Float[Tensor, ""]:
    """``CE(building) + CE(grade)``, the second over the pixels of buildings only.

    The first class is the background; the probability of a building is that of all others together. Sigmoids grade
    nothing: for them it is `binary_cross_entropy`.

    Args:
        pair: Logits and label map. Its class weights weigh the grades, the background's is not used.

    Returns:
        A value from 0 up; a part without pixels is 0.

    >>> import torch
    >>> pair = Pair(torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 0], [1, 2]]]))
    >>> round(damage_ce(pair).item(), 4)  # (log(3) + log(3/2)) / 2 + log(2)
    1.4452
    """
    return _graded(pair, 0.0)


def damage(pair: Pair, *, gamma: float = 2.0, dice_weight: float = 1.0, batch: bool = True) -> Float[Tensor, ""]:
    """``damage_ce + dice_weight * soft_dice``, the grades with a focal weight ``(1 - p)**gamma``.

    >>> import torch
    >>> pair = Pair(torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 0], [1, 2]]]))
    >>> round((damage(pair, gamma=0.0) - damage_ce(pair)).item(), 4)  # 1 - 2 / 3 / (4 / 3 + 1)
    0.7143
    """
    return _graded(pair, gamma) + dice_weight * soft_dice(pair, batch=batch)


@in_full_precision
def _graded(pair: Pair, gamma: float) -> Float[Tensor, ""]:
    """The two parts, the second with the focal weight ``(1 - p)**gamma`` (Lin et al. 2017)."""
    if not pair.exclusive:
        return focal(pair, gamma=gamma) if gamma else binary_cross_entropy(pair)
    nothing, grades = pair.log_probability[:, 0], pair.log_probability[:, 1:]
    there = grades.logsumexp(1)
    inside = (pair.counted & (pair.label > 0)).to(nothing.dtype)
    outside = pair.mask[:, 0] - inside
    first = mean_of(-(outside * nothing + inside * there).sum(), pair.mask.sum(), pair.reduce)
    label = (pair.label - 1).clamp(0, grades.shape[1] - 1)  # what is not inside has no weight below
    surprise = there - grades.gather(1, label[:, None])[:, 0]
    weight = inside * pair.weights[1:][label]
    total = weight * surprise
    if gamma:
        # the bound keeps the slope of a root (gamma below 1) finite where the network is certain
        total = total * (-(-surprise).expm1()).clamp_min(1e-6) ** gamma
    return first + mean_of(total.sum(), weight.sum(), pair.reduce)


def standing(target: Integer[Tensor, "b h w"], classes: int) -> UInt8[Tensor, "b h w"]:
    """The map of the buildings that stand after a disaster: those of all grades but the last, the destroyed.

    >>> import torch
    >>> standing(torch.tensor([[[0, 1, 4, 255]]], dtype=torch.uint8), 5)
    tensor([[[  0,   1,   0, 255]]], dtype=torch.uint8)
    """
    after = ((target > 0) & (target < classes - 1)).to(target.dtype)
    return after.masked_fill(target == IGNORE, IGNORE)
