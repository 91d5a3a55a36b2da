"""Losses that are a mean over pixels: cross-entropy, its binary form, focal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor
from torch.nn import functional as F

from catenary.losses.parts import Reduce, counted, exclusive, itself, loss, mean_of, multi_hot, weights_of
from catenary.types import IGNORE

__all__ = ["binary_cross_entropy", "cross_entropy", "focal", "surprise", "surprises"]


@loss
def cross_entropy(
    logits: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    *,
    table: UInt8[Tensor, "256 k"] | None = None,
    class_weights: Sequence[float] = (),
    reduce: Reduce = itself,
) -> Float[Tensor, ""]:
    """Mean of ``-log p`` of the true class over the pixels that count.

    Args:
        logits: Network outputs.
        target: Label map; pixels of `catenary.types.IGNORE` count nowhere.
        table: Target of each logit by label, `LabelSet.multi_hot`; with it, or with a single logit, this is
            `binary_cross_entropy`. Without it several logits are a softmax over exclusive classes.
        class_weights: Weight of each class; the mean is then the weighted one, as in `torch.nn.functional`.
        reduce: Adds sums over all processes.

    Returns:
        A value from 0 up; 0 when no pixel counts.

    Raises:
        IndexError: When a label is neither a class nor IGNORE.

    >>> round(cross_entropy(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)).item(), 4)  # log(4)
    1.3863
    """
    if not exclusive(logits, table):
        return binary_cross_entropy(logits, target, table=table, class_weights=class_weights, reduce=reduce)
    return surprise(logits.log_softmax(1), target, class_weights, reduce)


def surprise(
    log_probability: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    class_weights: Sequence[float],
    reduce: Reduce,
) -> Float[Tensor, ""]:
    """`cross_entropy` from the logarithms of the probabilities."""
    weights = weights_of(class_weights, log_probability)
    label = target.long()
    total = F.nll_loss(log_probability, label, weights, ignore_index=IGNORE, reduction="sum")
    weight = _weight_of_pixels(label, weights).sum() if class_weights else counted(target).sum().to(total.dtype)
    return mean_of(total, weight, reduce)


@loss
def binary_cross_entropy(
    logits: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    *,
    table: UInt8[Tensor, "256 k"] | None = None,
    class_weights: Sequence[float] = (),
    reduce: Reduce = itself,
) -> Float[Tensor, ""]:
    """Mean of ``-y log p - (1 - y) log(1 - p)``, one sigmoid a logit, over logits and the pixels that count.

    Args:
        logits: Network outputs.
        target: Label map; pixels of `catenary.types.IGNORE` count nowhere.
        table: Target of each logit by label, `LabelSet.multi_hot`; without it a single logit stands for class 1,
            several for each class against the rest.
        class_weights: Factor on the positive pixels of each logit (``pos_weight`` of `torch.nn.functional`).
        reduce: Adds sums over all processes.

    Returns:
        A value from 0 up; 0 when no pixel counts.

    >>> round(binary_cross_entropy(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8)).item(), 4)
    0.6931
    """
    truth = multi_hot(target, table, logits.shape[1], logits.dtype)
    return surprises(logits, truth, target, class_weights, reduce)


def surprises(
    logits: Float[Tensor, "b k *s"],
    truth: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    class_weights: Sequence[float],
    reduce: Reduce,
) -> Float[Tensor, ""]:
    """`binary_cross_entropy` where the target of each logit is known already."""
    factor = _along_channels(weights_of(class_weights, logits), logits) if class_weights else None
    mask = counted(target)[:, None].to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, truth, weight=mask, pos_weight=factor, reduction="sum")
    return mean_of(total, mask.sum() * logits.shape[1], reduce)


@loss
def focal(
    logits: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    *,
    gamma: float = 2.0,
    table: UInt8[Tensor, "256 k"] | None = None,
    class_weights: Sequence[float] = (),
    reduce: Reduce = itself,
) -> Float[Tensor, ""]:
    """Cross-entropy in which a pixel counts the less the surer it is: ``-(1 - p)**gamma log p`` (Lin et al. 2017).

    Args:
        logits: Network outputs.
        target: Label map; pixels of `catenary.types.IGNORE` count nowhere.
        gamma: Exponent, from 0 up; 0 is `cross_entropy`.
        table: As in `cross_entropy`.
        class_weights: As in `cross_entropy` for exclusive classes, as in `binary_cross_entropy` for sigmoids.
        reduce: Adds sums over all processes.

    Returns:
        A value from 0 up, the mean over pixels (not over positive ones as in the paper); 0 when no pixel counts.

    >>> round(focal(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8)).item(), 4)  # log(2) / 4
    0.1733
    """
    weights = weights_of(class_weights, logits)
    if exclusive(logits, table):
        label = target.long()
        surprises = F.nll_loss(logits.log_softmax(1), label, ignore_index=IGNORE, reduction="none")
        doubt = -torch.expm1(-surprises)  # 1 - p without cancellation
        weight = _weight_of_pixels(label, weights)
        # the bound keeps the slope of a root (gamma below 1) finite where the network is certain
        return mean_of((weight * doubt.clamp_min(1e-6) ** gamma * surprises).sum(), weight.sum(), reduce)
    truth = multi_hot(target, table, logits.shape[1], logits.dtype)
    mask = counted(target)[:, None].to(logits.dtype)
    towards = (2 * truth - 1) * logits  # the logit of being right
    terms = mask * torch.exp(gamma * F.logsigmoid(-towards)) * -F.logsigmoid(towards)
    if class_weights:
        terms = terms * (1 + truth * (_along_channels(weights, logits) - 1))
    return mean_of(terms.sum(), mask.sum() * logits.shape[1], reduce)


def _weight_of_pixels(label: Tensor, weights: Tensor) -> Tensor:
    by_label = weights.new_zeros(256)
    by_label[: len(weights)] = weights
    return by_label[label]


def _along_channels(weights: Tensor, logits: Tensor) -> Tensor:
    return weights.reshape(-1, *[1] * (logits.ndim - 2))
