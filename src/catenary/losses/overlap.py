"""Losses of overlap: soft Dice and Tversky.

The absent class. A class without one target pixel (in the batch, or in the image when taken image by image) has no
overlap to measure. Its term is then the mean probability that it was given: 0 when nothing is predicted, 1 when it
is predicted everywhere, with the same pull on every false positive however many there are. A class that is present
always has a denominator above 0, so there is no smoothing constant, which would reward the neglect of small objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from catenary.losses.parts import Reduce, counted, exclusive, itself, loss, multi_hot, weights_of

__all__ = ["overlap", "soft_dice", "tversky"]


@loss
def tversky(
    logits: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    *,
    alpha: float = 0.5,
    table: UInt8[Tensor, "256 k"] | None = None,
    class_weights: Sequence[float] = (),
    batch: bool = True,
    background: bool = False,
    reduce: Reduce = itself,
) -> Float[Tensor, ""]:
    """One minus the Tversky index, ``TP / (TP + alpha FP + (1 - alpha) FN)`` with soft counts (Salehi et al. 2017).

    Args:
        logits: Network outputs.
        target: Label map; pixels of `catenary.types.IGNORE` count nowhere.
        alpha: Weight of false positives, 0..1; false negatives get the rest. 0.5 is `soft_dice`.
        table: Target of each logit by label, `LabelSet.multi_hot`; probabilities are then sigmoids. Without it one
            logit is the sigmoid of class 1, several are a softmax over exclusive classes.
        class_weights: Weight of each logit in the average over classes; equal when empty.
        batch: Counts run over the whole batch; else each image has its own index, and they are averaged.
        background: Let class 0 of exclusive classes take part.
        reduce: Adds the counts of all processes (only when `batch`).

    Returns:
        A value in 0..1; see the module on classes that are absent.

    >>> target, logits = torch.tensor([[[1, 0, 0, 0]]]), torch.tensor([[[[50.0, 50.0, -50.0, -50.0]]]])
    >>> round(tversky(logits, target, alpha=0.2).item(), 4)  # 1 - 1 / (1 + 0.2 * 1 + 0.8 * 0)
    0.1667
    """
    probability = logits.softmax(1) if exclusive(logits, table) else logits.sigmoid()
    first = int(exclusive(logits, table) and not background)
    truth = multi_hot(target, table, logits.shape[1], logits.dtype)
    weights = weights_of(class_weights, logits)
    return overlap(
        probability[:, first:],
        truth[:, first:],
        counted(target),
        weights[first:],
        alpha=alpha,
        batch=batch,
        reduce=reduce,
    )


def soft_dice(
    logits: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    *,
    table: UInt8[Tensor, "256 k"] | None = None,
    class_weights: Sequence[float] = (),
    batch: bool = True,
    background: bool = False,
    reduce: Reduce = itself,
) -> Float[Tensor, ""]:
    """One minus the soft Dice coefficient, ``1 - 2 sum(p y) / (sum(p) + sum(y))``, averaged over classes.

    After Milletari et al. (2016), with plain sums instead of squares. Arguments and result are those of `tversky`.

    >>> target = torch.tensor([[[1, 1, 0, 0]]])
    >>> round(soft_dice(torch.tensor([[[[50.0, -50.0, -50.0, -50.0]]]]), target).item(), 4)  # 1 - 2 * 1 / (1 + 2)
    0.3333
    """
    return tversky(
        logits, target, alpha=0.5, table=table, class_weights=class_weights, batch=batch, background=background,
        reduce=reduce,
    )  # fmt: skip


def overlap(
    probability: Float[Tensor, "b k *s"],
    truth: Float[Tensor, "b k *s"],
    valid: Tensor,
    weights: Float[Tensor, " k"],
    *,
    alpha: float,
    batch: bool,
    reduce: Reduce,
) -> Float[Tensor, ""]:
    """The Tversky loss of probabilities; `truth` is 0 where not `valid`, of shape ``(b, *s)``."""
    p, y, seen = probability.flatten(2), truth.flatten(2), valid.flatten(1)[:, None].to(probability.dtype)
    counts = torch.stack([(p * y).sum(2), (p * seen).sum(2), y.sum(2), seen.sum(2).expand(-1, p.shape[1])])
    if batch:
        counts = reduce(counts.sum(1, keepdim=True))
    hit, given, there, pixels = counts
    # TP + alpha FP + (1 - alpha) FN with FP = given - hit and FN = there - hit
    whole = (alpha * given + (1 - alpha) * there).clamp_min(1e-6)
    terms = torch.where(there > 0, 1 - hit / whole, given / pixels.clamp_min(1))
    return (terms * weights).sum(1).mean() / weights.sum().clamp_min(1e-12)
