"""How volumes are planned for: spacing, patch, pooling and kernels along each axis, batch, augmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from catenary.data.fingerprint import Fingerprint
from catenary.plan.choices import Budget, Choices, levels_of
from catenary.plan.common import base_width, widths_from

__all__ = ["for_volumes", "vary_volumes"]

#: Voxels of a patch of a network of rank 3, on a processor and on a card.
VOXELS = {"cpu": 64**3, "gpu": 128**3}
#: Side of a patch of slices, and how few and how many slices a step sees.
PATCH, SLICES = 224, (8, 32)
#: Voxels of a scan above which a coarser spacing is worth looking at.
LARGE = 128**3
#: Voxels that the thinnest class keeps across at a coarser spacing.
ACROSS = 8
#: An axis is pooled, and convolved, while its voxels are no more than this much longer than the finest axis' (as in
#: nnU-Net, Isensee et al. 2021).
ANISOTROPIC = 2.0
#: Voxels along an axis that pooling leaves at least.
LEFT = 4
#: Spacings of the scans that differ by no more than this are taken as one.
ALIKE = 1.05
#: With fewer training scans than this, augmentation is strong: a scan shows an organ from all sides at once.
FEW_SCANS = 20
#: Deepest network.
LEVELS = 6
#: Intensities below this in scans of whole numbers are Hounsfield units of air.
AIR = -500


def for_volumes(choices: Choices, data: Fingerprint, budget: Budget) -> None:
    """Decide what depends on the volumes' size, spacing and content."""
    choices.decide(
        {"model.rank": 2 if choices.recipe.model.slices > 1 else 3},
        "the data are volumes: the network sees all three axes (2 takes slices)",
    )
    _spacing(choices, data, budget)
    _normalisation(choices, data)
    _patch(choices, data, budget)
    _levels(choices, data, budget)
    _batch(choices, budget)


def _spacing(choices: Choices, data: Fingerprint, budget: Budget) -> None:
    own = data.spacing_median
    if not own:
        choices.decide({"prepare.spacing": ()}, "no spacing is known: every scan keeps its own voxels")
        return
    wide = min((t for t in data.thickness if t > 0), default=0.0)
    coarser = min(3.0, wide / ACROSS) if math.prod(data.size_median) > LARGE else 1.0
    told = " x ".join(f"{n:g}" for n in own)
    if coarser >= 1.5:
        finest = min(own)
        target = tuple(round(max(n, finest * coarser), 4) for n in own)
        choices.decide(
            {"prepare.spacing": target},
            f"scans are large ({_by(data.size_median)}) and no class thinner than {wide:.0f} voxels: a spacing "
            f"{coarser:.1f} times as coarse as the median {told} shows more of a scan at once",
        )
    elif data.spacing_spread > ALIKE:
        choices.decide({"prepare.spacing": own}, "the scans' spacings differ: all are brought to the median")
    else:
        choices.decide({"prepare.spacing": ()}, f"all scans have the spacing {told}: nothing is resampled")


def _working_spacing(choices: Choices, data: Fingerprint) -> tuple[float, ...]:
    return choices.recipe.prepare.spacing or data.spacing_median or (1.0, 1.0, 1.0)


def _working_size(choices: Choices, data: Fingerprint) -> tuple[int, ...]:
    own = data.spacing_median or (1.0, 1.0, 1.0)
    target = _working_spacing(choices, data)
    return tuple(max(1, round(n * a / b)) for n, a, b in zip(data.size_median, own, target, strict=True))


def _normalisation(choices: Choices, data: Fingerprint) -> None:
    if data.channels == 1 and min(data.low) < AIR and not data.dtype.startswith("uint"):
        low, high = data.foreground_low[0], data.foreground_high[0]
        choices.decide(
            {
                "prepare.normalise": "dataset",
                "prepare.window": (low, high),
                "prepare.mean": data.foreground_mean,
                "prepare.std": tuple(max(s, 1e-6) for s in data.foreground_std),
            },
            f"intensities reach {min(data.low):.0f}, as Hounsfield units do: cut to {low:.0f} to {high:.0f}, what "
            "the classes of the training set hold, and brought to their mean and deviation",
        )
    else:
        choices.decide(
            {"prepare.normalise": "body"},
            "the unit of intensities differs from scan to scan: each sequence of each scan is brought to its own mean "
            "and deviation, over the voxels that are not empty",
        )
    if choices.recipe.prepare.normalise == "dataset" and not choices.recipe.prepare.mean:
        std = tuple(max(float(s), 1e-6) for s in data.std)
        choices.decide({"prepare.mean": data.mean, "prepare.std": std}, "measured on the training scans")


def _patch(choices: Choices, data: Fingerprint, budget: Budget) -> None:
    size, spacing = _working_size(choices, data), _working_spacing(choices, data)
    if choices.recipe.model.rank == 2:
        sides = [max(32, min(side, PATCH)) for side in size[1:]]
        each = _divisors(sides, spacing[1:])
        patch = tuple(m * math.ceil(side / m) for side, m in zip(sides, each, strict=True))
        choices.decide(
            {"sample.patch": patch}, f"slices are {_by(size[1:])} voxels at working resolution: patches of {_by(patch)}"
        )
        return
    limit = VOXELS["cpu" if budget.device == "cpu" else "gpu"]
    sides = list(size)
    # The axis that is longest in millimetres shrinks first, so that a patch comes near to a cube of tissue.
    while math.prod(_rounded(sides, spacing)) > 1.1 * limit:
        longest = max(range(3), key=lambda axis: sides[axis] * spacing[axis])
        sides[longest] = int(sides[longest] * 0.9)
    patch = _rounded(sides, spacing)
    whole = all(1.2 * p >= n for p, n in zip(patch, size, strict=True))
    choices.decide(
        {"sample.patch": patch},
        f"scans are {_by(size)} voxels at working resolution: "
        + (
            f"a patch of {_by(patch)} holds nearly all of a scan"
            if whole
            else f"patches of {_by(patch)} are what a step can afford"
        ),
    )


def _rounded(sides: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """Sides as multiples of what pooling divides them by."""
    each = _divisors(sides, spacing)
    return tuple(m * max(1, round(side / m)) for side, m in zip(sides, each, strict=True))


def _divisors(sides: Sequence[int], spacing: Sequence[float]) -> list[int]:
    """What pooling divides each side by.

    >>> _divisors((50, 36), (1.0, 1.0))
    [8, 8]
    """
    steps = pooling(sides, spacing)
    return [math.prod(step[axis] for step in steps) for axis in range(len(sides))]


def pooling(sides: Sequence[int], spacing: Sequence[float], *, most: int = LEVELS - 1) -> list[tuple[int, ...]]:
    """Factor along each axis between a level and the next.

    >>> pooling((16, 64, 64), (5.0, 1.0, 1.0))
    [(1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]
    """
    left, long = [float(n) for n in sides], list(spacing)
    steps: list[tuple[int, ...]] = []
    while len(steps) < most:
        able = [axis for axis in range(len(left)) if left[axis] >= 2 * LEFT]
        if not able:
            break
        finest = min(long[axis] for axis in able)
        pooled = [axis in able and long[axis] <= ANISOTROPIC * finest for axis in range(len(left))]
        steps.append(tuple(2 if yes else 1 for yes in pooled))
        left = [math.ceil(n / 2) if yes else n for n, yes in zip(left, pooled, strict=True)]
        long = [2 * n if yes else n for n, yes in zip(long, pooled, strict=True)]
    return steps


def _kernels(steps: Sequence[tuple[int, ...]], spacing: Sequence[float]) -> tuple[tuple[int, ...], ...]:
    """Kernel of each level: single voxels along an axis whose voxels are much longer than the finest axis'."""
    long, kernels = list(spacing), []
    for step in (*steps, (1,) * len(spacing)):
        kernels.append(tuple(1 if n > ANISOTROPIC * min(long) else 3 for n in long))
        long = [n * factor for n, factor in zip(long, step, strict=True)]
    return tuple(kernels)


def _levels(choices: Choices, data: Fingerprint, budget: Budget) -> None:
    recipe, spacing = choices.recipe, _working_spacing(choices, data)
    patch, rank = recipe.sample.patch, recipe.model.rank
    along = spacing[-rank:]
    steps = pooling(patch, along)
    if recipe.model.depth:
        steps = pooling(patch, along, most=recipe.model.depth - 1)
    elif recipe.model.widths and "widths" in recipe.model.model_fields_set:
        steps = pooling(patch, along, most=levels_of(recipe) - 1)
    levels = len(steps) + 1
    even = all(set(step) == {2} for step in steps)
    left = _by(tuple(p // math.prod(s[axis] for s in steps) for axis, p in enumerate(patch)))
    choices.decide(
        {"model.pools": () if even else tuple(steps)},
        f"{levels} levels leave {left} voxels of a patch"
        + ("" if even else "; an axis is pooled once its voxels are as short as the others'"),
    )
    kernels = _kernels(steps, along)
    flat = any(1 in kernel for kernel in kernels)
    choices.decide(
        {"model.kernels": kernels if flat else ()},
        "no convolution across slices while they lie much farther apart than voxels within them"
        if flat
        else "voxels are about as long along each axis: 3 along each",
    )
    base, why = base_width(budget, choices)
    choices.decide({"model.widths": widths_from(base, levels)}, why)


def _batch(choices: Choices, budget: Budget) -> None:
    recipe = choices.recipe
    each = math.prod(recipe.sample.patch) * recipe.model.widths[0] * 12 * 4 * 2
    fits = max(1, int(0.6 * budget.memory / each))
    room = VOXELS["cpu" if budget.device == "cpu" else "gpu"] // math.prod(recipe.sample.patch)
    # Where time is short, many steps of few patches learn more than few steps of many. But a slice shows little, and a
    # step of few small ones is mostly overhead.
    wanted = max(SLICES[0], min(room // 4, SLICES[1])) if recipe.model.rank == 2 else max(2, min(room, 4))
    batch = max(1, min(wanted, fits))
    choices.decide(
        {"sample.batch": batch},
        f"{batch} patches of {_by(recipe.sample.patch)} a step"
        + (f", what {budget.memory / 2**30:.1f} GiB of memory hold" if batch == fits else ""),
    )
    if choices.recipe.sample.batch < 4:
        choices.decide({"model.norm": "instance"}, "batch statistics need at least 4 patches a step")
    else:
        choices.decide(
            {"model.norm": "batch"}, "the batch is large enough for batch statistics, the fastest to predict with"
        )


def vary_volumes(choices: Choices, data: Fingerprint) -> None:
    """Decide the augmentation of volumes."""
    recipe, spacing = choices.recipe, _working_spacing(choices, data)
    few, solid = data.cases < FEW_SCANS, recipe.model.rank == 3 and max(spacing) <= ANISOTROPIC * min(spacing)
    directed = data.directed or (False,) * 3
    flips = tuple(0.0 if meant else 0.5 for meant in directed)[-recipe.model.rank :]
    axes = [name for name, meant in zip("dhw", directed, strict=True) if meant]
    choices.decide(
        {"augment.transpose": 0.0, "augment.flip": flips},
        f"classes lie in a fixed order along {' and '.join(axes)}: mirrored scans would contradict it"
        if axes
        else "no classes lie in a fixed order along an axis, so flips cost nothing; set them to 0 where sides matter",
    )
    choices.decide(
        {"augment.rotate": 30.0 if few else 15.0, "augment.tilt": (30.0 if few else 15.0) if solid else 0.0},
        "turned about all axes" if solid else "turned within the slices only: these lie too far apart",
    )
    choices.decide(
        {
            "augment.warp": 0.7 if few else 0.5,
            "augment.elastic": 0.2 if few else 0.1,
            "augment.elastic_sigma": 8.0,
            "augment.elastic_alpha": 60.0,
            "augment.colour": 0.0,
        },
        f"{data.cases} training scans: " + ("few, so they are varied strongly" if few else "many, so mild changes do"),
    )


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
