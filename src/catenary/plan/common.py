"""Decisions that images and volumes share."""

from __future__ import annotations

import math

from catenary.data.balance import class_weights_from
from catenary.data.fingerprint import Fingerprint
from catenary.errors import ConfigError
from catenary.geometry import CLASSIFIERS, check_depth
from catenary.plan.choices import Budget, Choices, levels_of
from catenary.recipe import Recipe, choose

__all__ = [
    "ENOUGH_SLICES",
    "ENOUGH_STEPS",
    "FEW_CASES",
    "WIDTHS",
    "base_width",
    "check",
    "loss_and_sampling",
    "network_ends",
    "schedule",
    "widths_from",
]

#: Base widths the planner considers, narrow to wide.
WIDTHS = (8, 12, 16, 24, 32, 48, 64)
#: Steps below which a wider network is not worth its time: it would see too few patches to use its capacity. A slice
#: shows little, so that for a network of slices their number counts.
ENOUGH_STEPS, ENOUGH_SLICES = 400, 16_000
#: Steps after which an unlimited run is ended when nobody gives a budget.
DEFAULT_STEPS = 2000
#: Widest level; deeper levels keep it, as further doubling adds parameters but little accuracy.
WIDEST = 512
#: With fewer training images than this, augmentation is strong.
FEW_CASES = 100


def network_ends(choices: Choices, data: Fingerprint) -> None:
    """Decide how many channels enter and leave."""
    slices = choices.recipe.model.slices if data.rank == 3 and choices.recipe.model.rank == 2 else 1
    told = "the images are grey" if data.channels == 1 else f"the images have {data.channels} channels"
    if slices > 1:
        told += f", {slices} slices are seen at once"
    if choices.recipe.data.disasters:
        choices.decide({"model.disasters": data.disasters}, "the types of disaster of the training cases")
    kinds = len(choices.recipe.model.disasters)
    if kinds:
        told += f", and {kinds} more tell the type of disaster"
    choices.decide({"model.channels": data.channels * slices + kinds}, told)
    what = {
        "binary": f"{'two classes' if data.scope == 'image' else 'one class beside background'}: one logit through a "
        "sigmoid",
        "exclusive": "classes exclude one another: one logit a class through a softmax",
        "overlapping": "regions overlap: one logit a region, each through a sigmoid",
    }[data.task]
    choices.decide({"model.classes": data.logits}, what)


def widths_from(base: int, levels: int) -> tuple[int, ...]:
    """Channels at each level, doubled from `base` down to the widest.

    >>> widths_from(48, 6)
    (48, 96, 192, 384, 512, 512)
    """
    return tuple(min(base * 2**i, max(WIDEST, base)) for i in range(levels))


def base_width(budget: Budget, choices: Choices) -> tuple[int, str]:
    """Channels of the top level, the widest that makes enough steps, and why."""
    seconds = 60 * budget.minutes / choices.haste  # in the time of steps as they were timed
    fitting = [speed for speed in budget.speeds if seconds / speed.seconds >= budget.enough]
    if budget.speeds:
        best = fitting[-1] if fitting else budget.speeds[0]
        choices.decide(
            {"train.precision": best.precision, "train.channels_last": "on" if best.channels_last else "off"},
            best.note or "the fastest of the timed steps",
        )
    if not budget.minutes:
        return 32, "width 32 is the usual choice where time is not limited"
    if not budget.speeds:
        return 16, "width 16 until a step has been timed"
    steps = int(seconds / best.seconds)
    if not fitting:
        return (
            best.base,
            f"width {best.base}, the narrowest timed, makes only {steps} steps in {budget.minutes:g} min; more time "
            "would help",
        )
    each = best.seconds * choices.haste
    return best.base, f"width {best.base} makes about {steps} steps of {each:.2f} s in {budget.minutes:g} min"


def loss_and_sampling(choices: Choices, data: Fingerprint) -> None:
    """Decide the loss, its weights and how often patches hold foreground."""
    foreground = [s for s in data.class_shares[1:] if s > 0]
    rarest = min(foreground, default=0.0)
    name = "dice_ce" if data.task == "exclusive" else "dice_bce"
    choices.decide(
        {"loss.name": name},
        "Dice keeps rare classes in view, cross-entropy keeps the gradients smooth and the probabilities honest",
    )
    how = choices.recipe.loss.balance
    if how != "none":
        shares = _balanced_shares(data, how)
        choices.decide(
            {"loss.class_weights": class_weights_from([*shares.values()], data.task, how)},
            f"{'inverse square root' if how == 'sqrt' else 'median frequency'} of the shares of the pixels: "
            + ", ".join(f"{name} {100 * share:.2g} %" for name, share in shares.items()),
        )
    share = 0.33 if rarest >= 0.05 else 0.5
    choices.decide(
        {"sample.foreground": share},
        f"the rarest class covers {100 * rarest:.2g} % of the pixels: {100 * share:.0f} % of the patches are centred "
        "on a foreground pixel",
    )


def _balanced_shares(data: Fingerprint, how: str) -> dict[str, float]:
    """Share of the pixels of each class or region; for median frequency among the images in which it occurs."""
    shares, presence = data.region_shares, data.region_presence
    if data.task != "overlapping":
        shares = dict(zip(data.class_names, data.class_shares, strict=True))
        presence = dict(zip(data.class_names, data.class_presence, strict=True))
    # Images of different sizes could push a share above 1.
    return {n: min(1.0, s / presence[n] if how == "median" and presence[n] else s) for n, s in shares.items()}


def schedule(choices: Choices, data: Fingerprint, budget: Budget) -> int:
    """Decide budget, learning rate and averaging; gives the steps that are expected."""
    recipe = choices.recipe
    given = {
        f"train.{name}": value
        for name, value in (("minutes", budget.minutes), ("epochs", budget.epochs), ("steps", budget.steps))
        if value
    }
    if not given and not (recipe.train.minutes or recipe.train.epochs or recipe.train.steps):
        choices.decide({"train.steps": DEFAULT_STEPS}, f"no budget given: {DEFAULT_STEPS} steps")
    elif given:
        choices.recipe = choose(recipe, given)
        for key in given:
            choices.reasons[key] = "the budget you gave"
    recipe = choices.recipe
    if recipe.train.steps:
        steps = recipe.train.steps
    elif recipe.train.epochs:
        slices = data.size_median[0] if data.rank > recipe.model.rank else 1
        steps = recipe.train.epochs * math.ceil(data.cases * slices / recipe.sample.batch)
    else:
        chosen = [s for s in budget.speeds if s.base == recipe.model.widths[0]]
        steps = int(60 * recipe.train.minutes / (chosen[0].seconds * choices.haste)) if chosen else 0
    rate, why = 3e-3 if recipe.model.norm != "none" else 3e-4, "tried on small sets with this optimiser"
    if recipe.transfer.init:
        rate, why = rate / 10, f"a tenth of the {rate:g} of fresh weights, so that what the run has learnt is kept"
    choices.decide({"train.lr": rate}, why)
    decay = 0.99 if not steps else min(0.999, 1 - 10 / max(steps, 20))
    choices.decide(
        {"train.ema": round(max(decay, 0.9), 4)}, "averages the weights over about the last tenth of training"
    )
    return steps


def check(recipe: Recipe, data: Fingerprint) -> None:
    """Say everything in a decided recipe that cannot work.

    Raises:
        ConfigError: Lists all of it.
    """
    problems = []
    if len(recipe.sample.patch) != recipe.model.rank:
        problems.append(f"sample.patch = {recipe.sample.patch} needs {recipe.model.rank} numbers")
    elif data.scope == "pixel":
        try:
            check_depth(recipe.sample.patch, levels_of(recipe), recipe.model.pools)
        except ConfigError as error:
            problems.append(str(error))
    if (recipe.model.name in CLASSIFIERS) != (data.scope == "image"):
        wanted = "give images one class" if recipe.model.name in CLASSIFIERS else "segment"
        problems.append(
            f"model.name = {recipe.model.name} is a network to {wanted}, which these data are not for; leave it out"
        )
    if recipe.model.rank > data.rank:
        problems.append(f"model.rank = {recipe.model.rank} is for volumes, found images; leave it out")
    elif recipe.model.slices % 2 == 0:
        problems.append(f"model.slices = {recipe.model.slices} has no middle; take an odd number")
    seen = recipe.model.slices if data.rank > recipe.model.rank else 1
    if recipe.data.disasters and not recipe.model.disasters:
        problems.append(
            "data.disasters is set but no training case states its type of disaster; add a column 'disaster' to the "
            "manifest, or leave it out"
        )
    if recipe.model.disasters and recipe.model.fusion == "none":
        problems.append("model.disasters are told to a network for two dates; set model.fusion=feature")
    if recipe.model.channels != data.channels * seen + len(recipe.model.disasters):
        problems.append(f"model.channels = {recipe.model.channels} but the images have {data.channels}; leave it out")
    if recipe.model.classes != data.logits:
        problems.append(f"model.classes = {recipe.model.classes} but this data set needs {data.logits}; leave it out")
    for name in ("mean", "std"):
        values = getattr(recipe.prepare, name)
        if recipe.prepare.normalise == "dataset" and len(values) != data.channels:
            problems.append(
                f"prepare.{name} has {len(values)} numbers for {data.channels} channels; give one a channel"
            )
    if len(recipe.prepare.window) not in (0, 2):
        problems.append(f"prepare.window = {recipe.prepare.window} needs two numbers, the lowest and the highest")
    if recipe.augment.transpose and len(set(recipe.sample.patch[-2:])) != 1:
        problems.append("augment.transpose needs a square sample.patch; set it to 0 or make the patch square")
    if problems:
        raise ConfigError("; ".join(problems))
