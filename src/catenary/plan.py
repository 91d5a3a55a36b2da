"""The planner: from what is known of the data and of the machine to every setting, each with its reason.

Pure: `plan` reads nothing and times nothing. What was timed comes in with the `Budget`; `candidates` says what is
worth timing. A field that the recipe sets is kept, and its reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from catenary.data.balance import class_weights_from
from catenary.data.fingerprint import Fingerprint
from catenary.errors import ConfigError
from catenary.recipe import Recipe, choose, is_set

__all__ = ["Budget", "Plan", "Speed", "candidates", "levels_of", "plan"]

#: Base widths the planner considers, narrow to wide.
WIDTHS = (8, 12, 16, 24, 32, 48, 64)
#: Steps below which a wider network is not worth its time: it would see too few patches to use its capacity.
ENOUGH_STEPS = 400
#: Steps after which an unlimited run is ended when nobody gives a budget.
DEFAULT_STEPS = 2000
#: Widest level; deeper levels keep it, as further doubling adds parameters but little accuracy.
WIDEST = 512
PATCH = 256
#: Objects wider than this share of the image are seen whole rather than in crops, as long as a patch then has no more
#: than `WHOLE` times the pixels of a square of `PATCH`.
FILLS, WHOLE = 0.15, 1.6
#: With fewer training images than this, augmentation is strong.
FEW_CASES = 100


class Speed(BaseModel):
    """One timed training step."""

    model_config = ConfigDict(frozen=True)

    base: int
    seconds: float
    precision: str = "fp32"
    channels_last: bool = False
    note: str = ""


class Budget(BaseModel):
    """What training may use.

    Attributes:
        minutes, epochs, steps: The budget; 0 where not given.
        memory: Bytes that training may use.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        speeds: Timed steps of the `candidates`, narrow to wide.
    """

    model_config = ConfigDict(frozen=True)

    minutes: float = 0.0
    epochs: int = 0
    steps: int = 0
    memory: int = 4 << 30
    device: str = "cpu"
    speeds: tuple[Speed, ...] = ()


class Plan(BaseModel):
    """A recipe in which nothing is left open, and why each field has its value.

    Attributes:
        recipe: The decided recipe.
        reasons: ``"section.field"`` -> reason in words, for each field that the planner or the user decided.
        expected_steps: Optimiser steps that the budget is expected to hold; 0 when unknown.
    """

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    reasons: dict[str, str]
    expected_steps: int = 0

    def rows(self) -> list[tuple[str, str, str]]:
        """Table rows ``(field, value, reason)``, in the order of decision."""
        rows = []
        for key, reason in self.reasons.items():
            section, _, name = key.rpartition(".")
            rows.append((key, _show(getattr(getattr(self.recipe, section), name)), reason))
        return rows


class _Choices:
    """Collects decisions, and leaves alone what somebody has set."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.reasons: dict[str, str] = {}

    def decide(self, values: Mapping[str, Any], reason: str) -> None:
        open_values = {key: value for key, value in values.items() if not is_set(self.recipe, key)}
        for key in values:
            self.reasons[key] = reason if key in open_values else "set by you or the recipe"
        self.recipe = choose(self.recipe, open_values)


def levels_of(recipe: Recipe) -> int:
    """Number of levels of the network that the recipe describes."""
    return recipe.model.depth or len(recipe.model.widths)


def candidates(fingerprint: Fingerprint, budget: Budget, recipe: Recipe) -> tuple[Recipe, ...]:
    """The recipes worth timing before `plan` decides on a width, narrow to wide; one when the width is set."""
    if is_set(recipe, "model.widths") or not budget.minutes:
        return (plan(fingerprint, budget, recipe).recipe,)
    first = plan(fingerprint, budget.model_copy(update={"speeds": ()}), recipe).recipe
    levels = levels_of(first)
    return tuple(choose(first, {"model.widths": _widths(base, levels)}) for base in WIDTHS)


def plan(fingerprint: Fingerprint, budget: Budget, recipe: Recipe) -> Plan:
    """Decide every open field of `recipe`.

    Raises:
        ConfigError: A set field cannot work with this data.
    """
    choices = _Choices(recipe)
    _network_ends(choices, fingerprint)
    _resolution(choices, fingerprint)
    _normalisation(choices, fingerprint)
    _patch(choices, fingerprint)
    _depth_and_width(choices, fingerprint, budget)
    _batch(choices, fingerprint, budget)
    _loss_and_sampling(choices, fingerprint)
    _augmentation(choices, fingerprint)
    steps = _schedule(choices, fingerprint, budget)
    _check(choices.recipe, fingerprint)
    return Plan(recipe=choices.recipe, reasons=choices.reasons, expected_steps=steps)


def _network_ends(choices: _Choices, data: Fingerprint) -> None:
    choices.decide(
        {"model.channels": data.channels},
        "the images are grey" if data.channels == 1 else f"the images have {data.channels} channels",
    )
    what = {
        "binary": "one class beside background: one logit through a sigmoid",
        "exclusive": "classes exclude one another: one logit a class through a softmax",
        "overlapping": "regions overlap: one logit a region, each through a sigmoid",
    }[data.task]
    choices.decide({"model.classes": data.logits}, what)


def _resolution(choices: _Choices, data: Fingerprint) -> None:
    longest = max(data.size_median)
    present = [d for d in data.object_diameter if d > 0]
    widths = [t for t in data.thickness if t > 0]
    if not present or not widths:
        choices.decide({"prepare.size": 0}, "no objects to measure: images keep their own resolution")
        return
    same_size = data.size_min == data.size_max
    # Half a pixel of boundary on each side costs a structure of width t about 1 / t of its area: 2 % at 48 px.
    scale = max(48 / min(widths), PATCH / longest)
    if scale < 0.75 and (_fills(data) >= FILLS or same_size):
        size = 32 * math.ceil(scale * longest / 32)
        choices.decide(
            {"prepare.size": size},
            f"objects are about {max(present):.0f} px wide and nowhere thinner than {min(widths):.0f} px in images of "
            f"{longest} px: at {size} px the network sees whole objects and their outlines stay exact",
        )
    else:
        choices.decide(
            {"prepare.size": 0},
            f"the finest class is {min(widths):.0f} px wide: shrinking {longest} px images would lose it"
            if scale >= 0.75
            else "image sizes differ while objects stay small: each image keeps its own resolution",
        )


def _fills(data: Fingerprint) -> float:
    """Diameter of the largest class's objects as a share of the images' longer side."""
    return max((d for d in data.object_diameter if d > 0), default=0.0) / max(data.size_median)


def _normalisation(choices: _Choices, data: Fingerprint) -> None:
    low, high, spread = min(data.low), max(data.high), data.image_means_spread
    if spread > 0.6 or data.dtype.startswith("float"):
        mode = "image"
        reason = (
            f"brightness differs between images by {spread:.2f} standard deviations: each image is brought to its own "
            "mean and deviation"
        )
    else:
        mode = "dataset"
        reason = f"brightness is alike in all images (range {low:.0f} to {high:.0f}): constants of the training set"
    choices.decide({"prepare.normalise": mode}, reason)
    if choices.recipe.prepare.normalise == "dataset":
        std = tuple(max(float(s), 1e-6) for s in data.std)
        choices.decide(
            {"prepare.mean": tuple(float(m) for m in data.mean), "prepare.std": std}, "measured on the training images"
        )


def _working_size(recipe: Recipe, data: Fingerprint) -> tuple[int, int]:
    height, width = data.size_median
    scale = recipe.prepare.size / max(height, width) if recipe.prepare.size else 1.0
    return max(1, round(height * scale)), max(1, round(width * scale))


def _patch(choices: _Choices, data: Fingerprint) -> None:
    height, width = _working_size(choices.recipe, data)
    full = tuple(max(32, 32 * math.ceil(side / 32)) for side in (height, width))
    patch = tuple(min(PATCH, side) for side in full)
    # A crop cuts large objects off from what they are told by; a little more than a crop's pixels buys the whole.
    if _fills(data) >= FILLS and math.prod(full) <= WHOLE * PATCH**2:
        patch = full
    whole = all(p >= side for p, side in zip(patch, (height, width), strict=True))
    choices.decide(
        {"sample.patch": patch},
        f"images are {height}x{width} at working resolution: "
        + ("a patch holds a whole image" if whole else f"{patch[0]}x{patch[1]} crops hold enough context"),
    )


def _widths(base: int, levels: int) -> tuple[int, ...]:
    return tuple(min(base * 2**i, max(WIDEST, base)) for i in range(levels))


def _depth_and_width(choices: _Choices, data: Fingerprint, budget: Budget) -> None:
    recipe = choices.recipe
    height, width = _working_size(recipe, data)
    shrink = max(height, width) / max(data.size_median)
    diameter = max([d * shrink for d in data.object_diameter if d > 0], default=32.0)
    deepest = max(2, int(math.log2(max(16, min(recipe.sample.patch)) / 8)) + 1)
    # Two 3x3 convolutions a level give a field of view of about 18 * 2^(levels - 1) pixels across.
    wanted = math.ceil(math.log2(max(4 * diameter, 140) / 18)) + 1
    levels = max(min(wanted, deepest, 6), min(4, deepest))
    if recipe.model.depth:
        levels = recipe.model.depth
    base, why = _base_width(budget, choices)
    choices.decide(
        {"model.widths": _widths(base, levels)},
        f"{levels} levels see about {18 * 2 ** (levels - 1)} px around a pixel, objects are about {diameter:.0f} px; "
        + why,
    )


def _base_width(budget: Budget, choices: _Choices) -> tuple[int, str]:
    seconds = 60 * budget.minutes
    fitting = [speed for speed in budget.speeds if seconds / speed.seconds >= ENOUGH_STEPS]
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
    return best.base, f"width {best.base} makes about {steps} steps of {best.seconds:.2f} s in {budget.minutes:g} min"


def _batch(choices: _Choices, data: Fingerprint, budget: Budget) -> None:
    recipe = choices.recipe
    pixels = math.prod(recipe.sample.patch)
    # Activations kept for the backward pass: about 12 maps of the top width at full size, halved a level, in 4 bytes.
    # The top width may be 0: the finest level is then the next one.
    top = next((width / 4**level for level, width in enumerate(recipe.model.widths) if width), 1)
    each = pixels * top * 12 * 4 * 2
    fits = max(1, int(0.6 * budget.memory / each))
    batch = max(1, min(8, fits))
    reason = "8 patches a step: steady statistics at a fair price"
    if batch < 8:
        reason = f"{batch} patches are what {budget.memory / 2**30:.1f} GiB of memory hold"
    choices.decide({"sample.batch": batch}, reason)
    if choices.recipe.sample.batch < 4:
        choices.decide({"model.norm": "instance"}, "batch statistics need at least 4 patches a step")
    else:
        choices.decide(
            {"model.norm": "batch"}, "the batch is large enough for batch statistics, the fastest to predict with"
        )


def _loss_and_sampling(choices: _Choices, data: Fingerprint) -> None:
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
        f"the rarest class covers {100 * rarest:.1f} % of the pixels: {100 * share:.0f} % of the patches are centred "
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


def _augmentation(choices: _Choices, data: Fingerprint) -> None:
    square = len(set(choices.recipe.sample.patch)) == 1
    few = data.cases < FEW_CASES
    choices.decide(
        {"augment.transpose": 0.5 if square else 0.0, "augment.flip": (0.5, 0.5)},
        "flips"
        + (" and quarter turns" if square else "")
        + " cost nothing; set them to 0 where up and down carry meaning",
    )
    choices.decide(
        {"augment.elastic": 0.3 if few else 0.1, "augment.rotate": 30.0 if few else 15.0},
        f"{data.cases} training images: " + ("few, so they are varied strongly" if few else "many, so mild changes do"),
    )
    choices.decide(
        {"augment.colour": 0.05 if data.channels >= 3 else 0.0},
        "channels shift against one another as cameras and stains do"
        if data.channels >= 3
        else "too few channels for colour",
    )


def _schedule(choices: _Choices, data: Fingerprint, budget: Budget) -> int:
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
        steps = recipe.train.epochs * math.ceil(data.cases / recipe.sample.batch)
    else:
        chosen = [s for s in budget.speeds if s.base == recipe.model.widths[0]]
        steps = int(60 * recipe.train.minutes / chosen[0].seconds) if chosen else 0
    choices.decide(
        {"train.lr": 3e-3 if recipe.model.norm != "none" else 3e-4}, "tried on small sets with this optimiser"
    )
    decay = 0.99 if not steps else min(0.999, 1 - 10 / max(steps, 20))
    choices.decide(
        {"train.ema": round(max(decay, 0.9), 4)}, "averages the weights over about the last tenth of training"
    )
    return steps


def _check(recipe: Recipe, data: Fingerprint) -> None:
    problems = []
    if len(recipe.sample.patch) != recipe.model.rank:
        problems.append(f"sample.patch = {recipe.sample.patch} needs {recipe.model.rank} numbers")
    if recipe.model.channels != data.channels:
        problems.append(f"model.channels = {recipe.model.channels} but the images have {data.channels}; leave it out")
    if recipe.model.classes != data.logits:
        problems.append(f"model.classes = {recipe.model.classes} but this data set needs {data.logits}; leave it out")
    for name in ("mean", "std"):
        values = getattr(recipe.prepare, name)
        if recipe.prepare.normalise == "dataset" and len(values) != data.channels:
            problems.append(
                f"prepare.{name} has {len(values)} numbers for {data.channels} channels; give one a channel"
            )
    levels = levels_of(recipe)
    if 2 ** (levels - 1) > min(recipe.sample.patch):
        problems.append(
            f"{levels} levels halve a patch of {'x'.join(map(str, recipe.sample.patch))} px to nothing; "
            f"use model.depth <= {int(math.log2(min(recipe.sample.patch))) + 1} or a larger sample.patch"
        )
    if recipe.augment.transpose and len(set(recipe.sample.patch)) != 1:
        problems.append("augment.transpose needs a square sample.patch; set it to 0 or make the patch square")
    if problems:
        raise ConfigError("; ".join(problems))


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_show(item) for item in value) or "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
