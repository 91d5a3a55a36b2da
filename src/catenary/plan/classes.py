"""How the classification of whole images is planned for: size, network, batch, loss, sampling, augmentation."""

from __future__ import annotations

import math

from catenary.data.fingerprint import Fingerprint
from catenary.errors import ConfigError
from catenary.plan.choices import Budget, Choices
from catenary.plan.common import FEW_CASES, base_width, widths_from
from catenary.plan.images import normalisation
from catenary.recipe import is_set

__all__ = ["for_classes", "loss_of_classes", "vary_classes"]

#: Longer side in pixels that images are brought to: twice the side at which ImageNet is classified shows no more of a
#: photograph's disc, and costs four times as much.
SIDE = 256
LEVELS = 6
BATCH = 16


def for_classes(choices: Choices, data: Fingerprint, budget: Budget) -> None:
    """Decide what depends on the images' size.

    Raises:
        ConfigError: The cases are volumes.
    """
    if data.rank == 3:
        raise ConfigError(
            "classes of whole volumes cannot be learnt, found scans; classify images, or segment the scans"
        )
    if not is_set(choices.recipe, "model.name"):
        choices.decide({"model.name": "classifier"}, "images have one class each: an encoder, a mean over it, a head")
    side = choices.recipe.model.side or SIDE
    longest = max(data.size_median)
    size = side if choices.recipe.model.side or longest > side else 32 * math.ceil(longest / 32)
    choices.decide({"prepare.size": size}, f"images are about {longest} px long and are seen whole, at {size} px")
    normalisation(choices, data)
    full = choices.recipe.prepare.size or size
    choices.decide({"sample.patch": (full, full)}, "the whole image, its shorter side mirrored at the ends")
    base, why = base_width(budget, choices)
    if choices.recipe.model.name == "classifier":
        levels = max(3, min(LEVELS, int(math.log2(full / 8)) + 1))
        choices.decide({"model.widths": widths_from(base, levels)}, f"{levels} levels; {why}")
    pixels = math.prod(choices.recipe.sample.patch)
    # Activations kept for the backward pass: about 12 maps of 64 channels at full size, in 4 bytes.
    fits = max(1, int(0.6 * budget.memory / (pixels * 64 * 12 * 4)))
    batch = max(1, min(BATCH, fits, data.cases))
    choices.decide({"sample.batch": batch}, f"{batch} images a step: steady statistics at a fair price")
    if choices.recipe.model.name == "encoder_classifier":
        return  # timm's networks bring their own
    steady = choices.recipe.sample.batch >= 4
    choices.decide(
        {"model.norm": "batch" if steady else "instance"},
        "the batch is large enough for batch statistics"
        if steady
        else "batch statistics need at least 4 images a step",
    )


def loss_of_classes(choices: Choices, data: Fingerprint) -> None:
    """Decide the loss and which images a step sees."""
    choices.decide(
        {"loss.name": "ce" if data.task == "exclusive" else "bce"},
        "cross-entropy is the proper score of a probability",
    )
    shares = dict(zip(data.class_names, data.class_shares, strict=True))
    told = ", ".join(f"{name} {100 * share:.3g} %" for name, share in shares.items())
    rare = min(shares.values()) < 0.5 / len(shares)
    choices.decide(
        {"sample.balance": rare},
        f"{told}: " + ("training draws each class equally often" if rare else "no class is rare"),
    )
    choices.decide(
        {"train.monitor": "loss"}, "few validation images tell two models apart by their probabilities, not by hits"
    )


def vary_classes(choices: Choices, data: Fingerprint) -> None:
    """Decide the augmentation."""
    few = data.cases < FEW_CASES
    choices.decide(
        {"augment.flip": (0.5, 0.5), "augment.transpose": 0.0},
        "flips cost nothing; set them to 0 where up and down, or left and right, carry meaning",
    )
    choices.decide(
        {"augment.rotate": 30.0 if few else 15.0, "augment.elastic": 0.0, "augment.shift": 0.1},
        f"{data.cases} training images: " + ("few, so they are varied strongly" if few else "many, so mild changes do"),
    )
    choices.decide(
        {"augment.colour": 0.05 if data.channels >= 3 else 0.0},
        "channels shift against one another as cameras do" if data.channels >= 3 else "too few channels for colour",
    )
