"""How images are planned for: resolution, patch, depth, batch, augmentation."""

from __future__ import annotations

import math

from catenary.data.fingerprint import Fingerprint
from catenary.plan.choices import Budget, Choices
from catenary.plan.common import FEW_CASES, base_width, widths_from
from catenary.recipe import Recipe, is_set

__all__ = ["for_images", "normalisation", "vary_images"]

PATCH = 256
#: Patches a step, and how few where time is short: statistics of a batch need as many.
BATCH, FEWEST = 8, 4
#: A patch that is halved to save time holds so many objects side by side, and has so many pixels a side.
BESIDE, SMALLEST = 3, 96
#: Objects wider than this share of the image are seen whole rather than in crops, as long as a patch then has no more
#: than `WHOLE` times the pixels of a square of `PATCH`.
FILLS, WHOLE = 0.15, 1.6


def for_images(choices: Choices, data: Fingerprint, budget: Budget) -> None:
    """Decide what depends on the images' size and content."""
    _resolution(choices, data)
    normalisation(choices, data)
    batch, why = _patch(choices, data, budget)
    _depth_and_width(choices, data, budget)
    _batch(choices, budget, batch, why)


def _resolution(choices: Choices, data: Fingerprint) -> None:
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


def normalisation(choices: Choices, data: Fingerprint) -> None:
    """Decide by which constants intensities are normalised."""
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


def _patch(choices: Choices, data: Fingerprint, budget: Budget) -> tuple[int, str]:
    """Decide the patch; gives the number of patches a step that goes with it, and why."""
    height, width = _working_size(choices.recipe, data)
    full = tuple(max(32, 32 * math.ceil(side / 32)) for side in (height, width))
    patch = tuple(min(PATCH, side) for side in full)
    # A crop cuts large objects off from what they are told by; a little more than a crop's pixels buys the whole.
    if _fills(data) >= FILLS and math.prod(full) <= WHOLE * PATCH**2:
        patch = full
    whole = all(p >= side for p, side in zip(patch, (height, width), strict=True))
    smaller = () if whole else tuple(32 * (side // 64) for side in patch)
    if smaller and min(smaller) < max(BESIDE * _diameter(choices.recipe, data), SMALLEST):
        smaller = ()
    half, batch, why = _hurry(choices, budget, may_halve=bool(smaller))
    patch = smaller if half else patch
    choices.decide(
        {"sample.patch": patch},
        f"images are {height}x{width} at working resolution: "
        + ("a patch holds a whole image" if whole else f"{patch[0]}x{patch[1]} crops hold enough context")
        + (f"; {why}" if half else ""),
    )
    return batch, why


def _hurry(choices: Choices, budget: Budget, *, may_halve: bool) -> tuple[bool, int, str]:
    """Whether to halve the patch, and how many to take a step, where even the narrowest network is too slow.

    Many steps that see little teach more than few that see much: on three pairs of satellite images, in five minutes
    of one core, 65 steps of 8 patches of 256x256 learnt next to nothing and 425 of 4 of 128x128 two thirds of the
    buildings (F1 on unseen ground 0.15 and 0.67).
    """
    if not budget.minutes or not budget.speeds:
        return False, BATCH, ""
    steps = 60 * budget.minutes / budget.speeds[0].seconds
    free = {key: not is_set(choices.recipe, key) for key in ("sample.patch", "sample.batch")}
    halves = (False, True) if may_halve and free["sample.patch"] else (False,)
    batches = (BATCH, FEWEST) if free["sample.batch"] else (BATCH,)
    ways = sorted(((b / BATCH / (4 if half else 1), half, b) for half in halves for b in batches), reverse=True)
    choices.haste, half, batch = next((way for way in ways if steps / way[0] >= budget.enough), ways[-1])
    if choices.haste == 1:
        return False, BATCH, ""
    return half, batch, f"more at a step would leave {steps:.0f} steps in {budget.minutes:g} min, too few to learn from"


def _diameter(recipe: Recipe, data: Fingerprint) -> float:
    """Pixels across the largest class's objects at working resolution."""
    shrink = max(_working_size(recipe, data)) / max(data.size_median)
    return max([d * shrink for d in data.object_diameter if d > 0], default=32.0)


def _depth_and_width(choices: Choices, data: Fingerprint, budget: Budget) -> None:
    recipe = choices.recipe
    diameter = _diameter(recipe, data)
    deepest = max(2, int(math.log2(max(16, min(recipe.sample.patch)) / 8)) + 1)
    # Two 3x3 convolutions a level give a field of view of about 18 * 2^(levels - 1) pixels across.
    wanted = math.ceil(math.log2(max(4 * diameter, 140) / 18)) + 1
    levels = max(min(wanted, deepest, 6), min(4, deepest))
    if recipe.model.depth:
        levels = recipe.model.depth
    base, why = base_width(budget, choices)
    choices.decide(
        {"model.widths": widths_from(base, levels)},
        f"{levels} levels see about {18 * 2 ** (levels - 1)} px around a pixel, objects are about {diameter:.0f} px; "
        + why,
    )


def _batch(choices: Choices, budget: Budget, wanted: int, why: str) -> None:
    recipe = choices.recipe
    pixels = math.prod(recipe.sample.patch)
    # Activations kept for the backward pass: about 12 maps of the top width at full size, halved a level, in 4 bytes.
    # The top width may be 0: the finest level is then the next one.
    top = next((width / 4**level for level, width in enumerate(recipe.model.widths) if width), 1)
    each = pixels * top * 12 * 4 * 2
    fits = max(1, int(0.6 * budget.memory / each))
    batch = max(1, min(wanted, fits))
    reason = f"{batch} patches a step: " + (why if wanted < BATCH else "steady statistics at a fair price")
    if batch < wanted:
        reason = f"{batch} patches are what {budget.memory / 2**30:.1f} GiB of memory hold"
    choices.decide({"sample.batch": batch}, reason)
    if choices.recipe.sample.batch < 4:
        choices.decide({"model.norm": "instance"}, "batch statistics need at least 4 patches a step")
    else:
        choices.decide(
            {"model.norm": "batch"}, "the batch is large enough for batch statistics, the fastest to predict with"
        )


def vary_images(choices: Choices, data: Fingerprint) -> None:
    """Decide the augmentation of images."""
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
