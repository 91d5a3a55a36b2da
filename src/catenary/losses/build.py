"""Sums of losses, losses by name, and the loss of a recipe."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, near_match
from catenary.losses.damage import damage, damage_ce, standing
from catenary.losses.overlap import focal_tversky, lovasz, soft_dice, tversky
from catenary.losses.parts import Pair, Reduce, check_weights, itself
from catenary.losses.pixelwise import binary_cross_entropy, cross_entropy, focal
from catenary.losses.shape import boundary, centreline_dice
from catenary.recipe import Loss

__all__ = [
    "LOSSES",
    "SINGLE",
    "TAKES",
    "build_after_loss",
    "build_loss",
    "dice_bce",
    "dice_boundary",
    "dice_ce",
    "dice_cldice",
]


def dice_ce(pair: Pair, *, dice_weight: float = 1.0, batch: bool = True, background: bool = False) -> Float[Tensor, ""]:
    """``cross_entropy + dice_weight * soft_dice``: smooth gradients from the one, balance from the other.

    Binary cross-entropy for sigmoids. The other arguments are those of `soft_dice`.

    >>> pair = Pair(torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [0, 1]]]))
    >>> round(dice_ce(pair).item(), 4)  # log(2) + 1 - 2 * 1 / (2 + 2)
    1.1931
    """
    return cross_entropy(pair) + dice_weight * soft_dice(pair, batch=batch, background=background)


def dice_bce(
    pair: Pair, *, dice_weight: float = 1.0, batch: bool = True, background: bool = False
) -> Float[Tensor, ""]:
    """``binary_cross_entropy + dice_weight * soft_dice``, the hybrid with weighted binary cross-entropy.

    The class weights act on the positive pixels of the first part and on the average over classes of the second.
    For exclusive classes the first part takes each class against the rest, the second the softmax.

    >>> pair = Pair(torch.zeros(1, 1, 2, 2), torch.tensor([[[0, 1], [0, 1]]]), class_weights=(3.0,))
    >>> round(dice_bce(pair).item(), 4)  # (3 + 1) / 2 * log(2) + 1 - 2 * 1 / (2 + 2)
    1.8863
    """
    return binary_cross_entropy(pair) + dice_weight * soft_dice(pair, batch=batch, background=background)


def dice_boundary(
    pair: Pair,
    *,
    dice_weight: float = 1.0,
    boundary_weight: float = 1.0,
    batch: bool = True,
    background: bool = False,
) -> Float[Tensor, ""]:
    """``dice_ce + boundary_weight * boundary``: errors far from the outline cost more.

    >>> pair = Pair(torch.zeros(1, 1, 2, 2), torch.tensor([[[0, 1], [0, 1]]]))
    >>> round(dice_boundary(pair, boundary_weight=0.4).item(), 4)  # log(2) + 1 / 2 + 0.4 / 2
    1.3931
    """
    hybrid = dice_ce(pair, dice_weight=dice_weight, batch=batch, background=background)
    return hybrid + boundary_weight * boundary(pair, background=background)


def dice_cldice(
    pair: Pair, *, share: float = 0.5, steps: int = 10, batch: bool = True, background: bool = False
) -> Float[Tensor, ""]:
    """``(1 - share) * soft_dice + share * centreline_dice`` for thin structures (Shit et al. 2021).

    >>> pair = Pair(torch.full((1, 1, 1, 4), -50.0), torch.tensor([[[0, 1, 1, 1]]]))  # nothing found
    >>> round(dice_cldice(pair).item(), 4)
    1.0
    """
    dice = soft_dice(pair, batch=batch, background=background)
    return (1 - share) * dice + share * centreline_dice(pair, steps=steps, batch=batch, background=background)


#: Losses, name -> ``f(Pair, *, ...)``.
LOSSES: dict[str, Callable[..., Tensor]] = {
    "ce": cross_entropy,
    "bce": binary_cross_entropy,
    "focal": focal,
    "dice": soft_dice,
    "tversky": tversky,
    "focal_tversky": focal_tversky,
    "lovasz": lovasz,
    "dice_ce": dice_ce,
    "dice_bce": dice_bce,
    "dice_boundary": dice_boundary,
    "dice_cldice": dice_cldice,
    "damage_ce": damage_ce,
    "damage": damage,
}

#: Losses that mean something for a label map of one pixel, the class of a whole image.
SINGLE = ("bce", "ce", "focal")

_BATCH = {"batch": "batch_dice"}
_SUM = {"batch": "batch_dice", "dice_weight": "dice_weight"}

#: What each loss takes from a recipe, name -> {argument: field of `catenary.recipe.Loss`}; class weights go to all.
TAKES: dict[str, dict[str, str]] = {
    "ce": {},
    "bce": {},
    "focal": {"gamma": "gamma"},
    "dice": _BATCH,
    "tversky": {**_BATCH, "alpha": "alpha"},
    "focal_tversky": {**_BATCH, "alpha": "alpha", "gamma": "tversky_gamma"},
    "lovasz": _BATCH,
    "dice_ce": _SUM,
    "dice_bce": _SUM,
    "dice_boundary": {**_SUM, "boundary_weight": "boundary_weight"},
    "dice_cldice": {**_BATCH, "share": "cldice_share", "steps": "skeleton_steps"},
    "damage_ce": {},
    "damage": {**_SUM, "gamma": "gamma"},
}


def build_after_loss(
    config: Loss, labels: LabelSet, *, reduce: Reduce = itself
) -> Callable[[Float[Tensor, "b 1 h w"], Tensor], Tensor]:
    """The loss on the buildings that stand on the later of two dates, times its weight: binary cross-entropy.

    Args:
        config, labels, reduce: See `build_loss`.

    >>> labels = LabelSet(names=("background", "no-damage", "destroyed"))
    >>> function = build_after_loss(Loss(after=2.0), labels)
    >>> round(function(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)).item(), 4)  # 2 log(2)
    1.3863
    """

    def compute(logits: Tensor, target: Tensor) -> Tensor:
        return config.after * binary_cross_entropy(Pair(logits, standing(target, labels.count), reduce=reduce))

    return compute


def build_loss(config: Loss, labels: LabelSet, *, reduce: Reduce = itself) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a recipe for the classes of a data set, as a function of (logits, label map).

    Args:
        config: Its name and numbers.
        labels: Decides what each logit stands for: sigmoids for binary and overlapping classes, else a softmax.
        reduce: Adds a tensor of sums over all processes, differentiably: `summed_over_processes` for several
            processes, so that they have the gradients of one with the joint batch; `itself` for one.

    Raises:
        ConfigError: On an unknown name, when the class weights are not one a logit, or when a loss of regions is to
            judge classes of whole images.

    >>> labels = LabelSet(names=("background", "cell"))
    >>> round(build_loss(Loss(), labels)(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)).item(), 4)
    1.1931
    """
    if config.name not in LOSSES:
        raise ConfigError(f"unknown loss '{config.name}'; {near_match(config.name, LOSSES)}")
    if labels.scope == "image" and config.name not in SINGLE:
        raise ConfigError(
            f"loss '{config.name}' compares regions of an image, and classes of whole images have none; set loss.name "
            f"to {', '.join(SINGLE[:-1])} or {SINGLE[-1]}"
        )
    weights = config.class_weights
    check_weights(weights, labels.channels)
    function = LOSSES[config.name]
    numbers = {argument: getattr(config, field) for argument, field in TAKES[config.name].items()}
    table = None if labels.task == "exclusive" else torch.from_numpy(labels.multi_hot())

    def compute(logits: Tensor, target: Tensor) -> Tensor:
        nonlocal table
        if table is not None and table.device != logits.device:
            table = table.to(logits.device)
        return function(Pair(logits, target, table=table, class_weights=weights, reduce=reduce), **numbers)

    return compute
