"""Sums of losses, losses by name, and the loss of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, near_match
from catenary.losses.overlap import overlap, soft_dice, tversky
from catenary.losses.parts import Reduce, counted, exclusive, itself, loss, multi_hot, weights_of
from catenary.losses.pixelwise import binary_cross_entropy, cross_entropy, focal, surprise, surprises
from catenary.recipe import Loss

__all__ = ["LOSSES", "build_loss", "dice_bce", "dice_ce"]


@loss
def dice_ce(
    logits: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    *,
    table: UInt8[Tensor, "256 k"] | None = None,
    class_weights: Sequence[float] = (),
    dice_weight: float = 1.0,
    batch: bool = True,
    background: bool = False,
    reduce: Reduce = itself,
) -> Float[Tensor, ""]:
    """``cross_entropy + dice_weight * soft_dice``: smooth gradients from the one, balance from the other.

    Binary cross-entropy where `table` is given or there is one logit. The arguments are those of the two parts.

    >>> logits, target = torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [0, 1]]])
    >>> round(dice_ce(logits, target).item(), 4)  # log(2) + 1 - 2 * 1 / (2 + 2)
    1.1931
    """
    if not exclusive(logits, table):
        return dice_bce(
            logits,
            target,
            table=table,
            class_weights=class_weights,
            dice_weight=dice_weight,
            batch=batch,
            reduce=reduce,
        )
    log_probability = logits.log_softmax(1)  # once for both
    first = int(not background)
    truth = multi_hot(target, None, logits.shape[1], logits.dtype)[:, first:]
    weights = weights_of(class_weights, logits)[first:]
    dice = overlap(
        log_probability[:, first:].exp(), truth, counted(target), weights, alpha=0.5, batch=batch, reduce=reduce
    )
    return surprise(log_probability, target, class_weights, reduce) + dice_weight * dice


@loss
def dice_bce(
    logits: Float[Tensor, "b k *s"],
    target: Integer[Tensor, " b *s"],
    *,
    table: UInt8[Tensor, "256 k"] | None = None,
    class_weights: Sequence[float] = (),
    dice_weight: float = 1.0,
    batch: bool = True,
    background: bool = False,
    reduce: Reduce = itself,
) -> Float[Tensor, ""]:
    """``binary_cross_entropy + dice_weight * soft_dice``, the hybrid with weighted binary cross-entropy.

    The class weights act on the positive pixels of the first part and on the average over classes of the second.
    For exclusive classes the first part takes each class against the rest, the second the softmax.

    >>> logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[0, 1], [0, 1]]])
    >>> round(dice_bce(logits, target).item(), 4)  # log(2) + 1 - 2 * 1 / (2 + 2)
    1.1931
    """
    truth = multi_hot(target, table, logits.shape[1], logits.dtype)  # once for both
    probability = logits.softmax(1) if exclusive(logits, table) else logits.sigmoid()
    first = int(exclusive(logits, table) and not background)
    weights = weights_of(class_weights, logits)[first:]
    valid = counted(target)
    dice = overlap(probability[:, first:], truth[:, first:], valid, weights, alpha=0.5, batch=batch, reduce=reduce)
    return surprises(logits, truth, target, class_weights, reduce) + dice_weight * dice


#: Losses, name -> ``f(logits, label map, *, table, class_weights, ...)``.
LOSSES: dict[str, Callable[..., Tensor]] = {
    "ce": cross_entropy,
    "bce": binary_cross_entropy,
    "dice": soft_dice,
    "dice_ce": dice_ce,
    "dice_bce": dice_bce,
    "focal": focal,
    "tversky": tversky,
}


def build_loss(config: Loss, labels: LabelSet, *, reduce: Reduce = itself) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a recipe for the classes of a data set, as a function of (logits, label map).

    Args:
        config: Its name and numbers.
        labels: Decides what each logit stands for: sigmoids for binary and overlapping classes, else a softmax.
        reduce: Adds a tensor of sums over all processes, differentiably (`torch.distributed.nn.functional.all_reduce`),
            so that several processes have the gradients of one with the joint batch; `itself` for one process.

    Raises:
        ConfigError: On an unknown name, or when the class weights are not one a logit.

    >>> labels = LabelSet(names=("background", "cell"))
    >>> round(build_loss(Loss(), labels)(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)).item(), 4)
    1.1931
    """
    if config.name not in LOSSES:
        raise ConfigError(f"unknown loss '{config.name}'; {near_match(config.name, LOSSES)}")
    if config.class_weights and len(config.class_weights) != labels.channels:
        raise ConfigError(
            f"loss.class_weights needs one weight for each of the {labels.channels} logits, "
            f"found {len(config.class_weights)}; leave it empty for equal weights"
        )
    function, task = LOSSES[config.name], labels.task
    options: dict[str, object] = {"class_weights": config.class_weights, "reduce": reduce}
    if config.name.startswith("dice_"):
        options["dice_weight"] = config.dice_weight
    if config.name.startswith(("dice", "tversky")):
        options["batch"] = config.batch_dice
    if config.name == "tversky":
        options["alpha"] = config.alpha
    if config.name == "focal":
        options["gamma"] = config.gamma
    table = None if task == "exclusive" else torch.from_numpy(labels.multi_hot())

    def compute(logits: Tensor, target: Tensor) -> Tensor:
        nonlocal table
        if table is not None and table.device != logits.device:
            table = table.to(logits.device)
        return function(logits, target, table=table, **options)

    return compute
