"""Losses that are a mean over pixels: cross-entropy, its binary form, focal."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from catenary.losses.parts import Pair, in_full_precision, mean_of
from catenary.types import IGNORE

__all__ = ["binary_cross_entropy", "cross_entropy", "focal"]


@in_full_precision
def cross_entropy(pair: Pair) -> Float[Tensor, ""]:
    """Mean of ``-log p`` of the true class over the pixels that count; `binary_cross_entropy` for sigmoids.

    Args:
        pair: Logits and label map. Its class weights weigh the pixels of each class; the mean is then the weighted
            one, as in `torch.nn.functional`.

    Returns:
        A value from 0 up; 0 when no pixel counts.

    Raises:
        IndexError: When a label is neither a class nor IGNORE.

    >>> pair = Pair(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))
    >>> round(cross_entropy(pair).item(), 4)  # log(4)
    1.3863
    """
    if not pair.exclusive:
        return binary_cross_entropy(pair)
    total = F.nll_loss(pair.log_probability, pair.label, pair.weights, ignore_index=IGNORE, reduction="sum")
    weight = _weight_of_pixels(pair).sum() if pair.weighted else pair.mask.sum()
    return mean_of(total, weight, pair.reduce)


@in_full_precision
def binary_cross_entropy(pair: Pair) -> Float[Tensor, ""]:
    """Mean of ``-y log p - (1 - y) log(1 - p)``, one sigmoid a logit, over logits and the pixels that count.

    Args:
        pair: Logits and label map. Each of exclusive classes is taken against the rest. Its class weights are factors
            on the positive pixels of each logit (``pos_weight`` of `torch.nn.functional`).

    Returns:
        A value from 0 up; 0 when no pixel counts.

    >>> pair = Pair(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8))
    >>> round(binary_cross_entropy(pair).item(), 4)  # log(2)
    0.6931
    """
    factor = _along_channels(pair) if pair.weighted else None
    total = F.binary_cross_entropy_with_logits(
        pair.logits, pair.truth, weight=pair.mask, pos_weight=factor, reduction="sum"
    )
    return mean_of(total, pair.mask.sum() * len(pair.weights), pair.reduce)


@in_full_precision
def focal(pair: Pair, *, gamma: float = 2.0) -> Float[Tensor, ""]:
    """Cross-entropy in which a pixel counts the less the surer it is: ``-(1 - p)**gamma log p`` (Lin et al. 2017).

    Args:
        pair: Logits and label map. Its class weights are those of `cross_entropy` for exclusive classes, those of
            `binary_cross_entropy` for sigmoids.
        gamma: Exponent, from 0 up; 0 is `cross_entropy`.

    Returns:
        A value from 0 up, the mean over pixels (not over positive ones as in the paper); 0 when no pixel counts.

    >>> pair = Pair(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8))
    >>> round(focal(pair).item(), 4)  # log(2) / 4
    0.1733
    """
    if pair.exclusive:
        surprises = F.nll_loss(pair.log_probability, pair.label, ignore_index=IGNORE, reduction="none")
        doubt = -torch.expm1(-surprises)  # 1 - p without cancellation
        weight = _weight_of_pixels(pair)
        # the bound keeps the slope of a root (gamma below 1) finite where the network is certain
        return mean_of((weight * doubt.clamp_min(1e-6) ** gamma * surprises).sum(), weight.sum(), pair.reduce)
    towards = (2 * pair.truth - 1) * pair.logits  # the logit of being right
    terms = pair.mask * torch.exp(gamma * F.logsigmoid(-towards)) * -F.logsigmoid(towards)
    if pair.weighted:
        terms = terms * (1 + pair.truth * (_along_channels(pair) - 1))
    return mean_of(terms.sum(), pair.mask.sum() * len(pair.weights), pair.reduce)


def _weight_of_pixels(pair: Pair) -> Float[Tensor, "b *s"]:
    by_label = pair.weights.new_zeros(256)
    by_label[: len(pair.weights)] = pair.weights
    return by_label[pair.label]


def _along_channels(pair: Pair) -> Tensor:
    return pair.weights.reshape(-1, *[1] * (pair.logits.ndim - 2))
