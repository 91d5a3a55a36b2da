"""A data set in a handful of numbers: what the planner decides from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from catenary.data.cases import Dataset
from catenary.data.facts import LEVELS, CaseFacts
from catenary.data.survey import Survey
from catenary.errors import DataError

__all__ = ["Fingerprint", "fingerprint"]

#: Cases from which an order of two classes says something, and how clear it must be: 95 of 100 cases one way.
ENOUGH, ORDERED = 8, 0.9


class Fingerprint(BaseModel):
    """Statistics of a set of cases; all numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cases: int = Field(description="number of cases")
    groups: int = Field(description="number of groups among them")
    rank: int = Field(description="spatial rank: 2 for images, 3 for volumes")
    channels: int = Field(description="channels of an image")
    dtype: str = Field(description="the commonest number type of the files")
    size_min: tuple[int, ...] = Field(description="smallest extent along each axis, (h, w) or (d, h, w), in pixels")
    size_median: tuple[int, ...] = Field(description="median extent along each axis in pixels")
    size_max: tuple[int, ...] = Field(description="largest extent along each axis in pixels")
    body_median: tuple[int, ...] = Field(
        (), description="median extent in pixels, along each axis, of the box around all that is not empty rim"
    )
    spacing_median: tuple[float, ...] = Field(
        (), description="median size of a pixel along each axis; () where some images do not state it"
    )
    spacing_spread: float = Field(
        1.0, description="largest over smallest spacing of the images along an axis, of the axis where this is most"
    )
    spacing_unit: str = Field("", description="unit of `spacing_median`")
    anisotropy: float = Field(1.0, description="largest over smallest number of `spacing_median`; 1 where unknown")
    mean: tuple[float, ...] = Field(description="mean of each channel over the pixels of all images")
    std: tuple[float, ...] = Field(description="standard deviation of each channel over the pixels of all images")
    low: tuple[float, ...] = Field(description="1st percentile of each channel over the pixels of all images")
    high: tuple[float, ...] = Field(description="99th percentile of each channel over the pixels of all images")
    foreground_mean: tuple[float, ...] = Field(
        (), description="mean of each channel over the foreground pixels of all images; () without any"
    )
    foreground_std: tuple[float, ...] = Field((), description="standard deviation of each channel over these")
    foreground_low: tuple[float, ...] = Field((), description="0.5th percentile of each channel over these")
    foreground_high: tuple[float, ...] = Field((), description="99.5th percentile of each channel over these")
    image_means_spread: float = Field(
        description="how much brightness differs between images: standard deviation of the images' means in units of "
        "`std`, averaged over the channels; 0 (all alike) to 1 (images differ, pixels of one image do not)"
    )
    class_names: tuple[str, ...] = Field(description="all classes, background first")
    class_shares: tuple[float, ...] = Field(description="share of each class in the judged pixels")
    class_presence: tuple[float, ...] = Field(description="share of the labelled cases in which each class occurs")
    region_shares: dict[str, float] = Field(
        {}, description="share of each region in the judged pixels, by name; {} where classes exclude one another"
    )
    region_presence: dict[str, float] = Field(
        {}, description="share of the labelled cases in which each region occurs, by name"
    )
    object_diameter: tuple[float, ...] = Field(
        description="each foreground class: median over the cases of the equivalent diameter in pixels of the object "
        "(of a disc, or a ball) that a random pixel of the class lies in (specks hardly count); 0 when there is none"
    )
    object_count: tuple[float, ...] = Field(description="each foreground class: median number of objects in a case")
    thickness: tuple[float, ...] = Field(
        description="each foreground class: median over the cases of its width in pixels (of the finest axis of a "
        "volume); 0 when there is none"
    )
    directed: tuple[bool, ...] = Field(
        (), description="axes along which two classes lie in the same order in nearly all cases; () with few cases"
    )
    foreground_share: float = Field(description="share of the judged pixels that is not background")
    disasters: tuple[str, ...] = Field((), description="types of disaster that the cases state, in order")
    scope: Literal["pixel", "image"] = Field("pixel", description="whether pixels or whole images have a class")
    task: Literal["binary", "exclusive", "overlapping"] = Field(description="binary, exclusive or overlapping")
    logits: int = Field(description="logits that a network needs")


def fingerprint(dataset: Dataset, survey: Survey, names: Sequence[str]) -> Fingerprint:
    """Measure the cases `names` (give those for training only: a test set must not steer the plan).

    Args:
        dataset: Where the classes are defined.
        survey: Facts of at least these cases.
        names: Cases to count; those that cannot be read are passed over.

    Raises:
        DataError: None of the cases can be read, or their channels differ, or some are images and some volumes.
    """
    facts = [survey[name] for name in names if survey[name].readable]
    if not facts:
        raise DataError(f"none of {len(names)} cases can be read; nothing can be measured")
    channels = {f.channels for f in facts}
    if len(channels) > 1:
        raise DataError(f"images have {sorted(channels)} channels; save all with the same number")
    ranks = {f.rank for f in facts}
    if len(ranks) > 1:
        raise DataError("some cases are images and some are volumes; keep them in two data sets")
    rank = ranks.pop()
    sizes = np.array([f.size for f in facts])
    pixels = sizes.prod(1).astype(np.float64)
    mean, std, spread = _moments([f.mean for f in facts], [f.std for f in facts], pixels)
    spacing = np.array([f.spacing for f in facts if len(f.spacing) == rank])
    typical = _floats(np.median(spacing, axis=0)) if len(spacing) == len(facts) else ()
    whole = [f.quantiles for f in facts]
    labels = dataset.labels
    labelled = [f for f in facts if f.labelled]
    counts = np.array([f.counts for f in labelled], np.float64).reshape(-1, labels.count)
    shares = counts.sum(0) / max(1.0, counts.sum())
    regions = {name: list(members) for name, members in labels.regions.items()}
    foreground = range(labels.count - 1)
    measured = {f.name for f in facts}
    return Fingerprint(
        cases=len(facts),
        groups=len({f.group for f in facts}),
        rank=rank,
        channels=channels.pop(),
        dtype=Counter(f.dtype for f in facts).most_common(1)[0][0],
        size_min=_integers(sizes.min(0)),
        size_median=_integers(np.median(sizes, axis=0)),
        size_max=_integers(sizes.max(0)),
        body_median=_integers(np.median([f.body or f.size for f in facts], axis=0)),
        spacing_median=typical,
        spacing_spread=float((spacing.max(axis=0) / spacing.min(axis=0)).max()) if typical else 1.0,
        spacing_unit=Counter(f.unit for f in facts).most_common(1)[0][0] if typical else "",
        anisotropy=max(typical) / min(typical) if typical else 1.0,
        mean=_floats(mean),
        std=_floats(std),
        low=_pooled_quantile(whole, pixels, 0.01),
        high=_pooled_quantile(whole, pixels, 0.99),
        **_foreground(facts),
        image_means_spread=spread,
        class_names=labels.names,
        class_shares=_floats(shares),
        class_presence=tuple(_presence(column) for column in counts.T),
        region_shares={name: float(shares[members].sum()) for name, members in regions.items()},
        region_presence={name: _presence(counts[:, members].sum(1)) for name, members in regions.items()},
        object_diameter=tuple(_median([f.diameters[i] for f in labelled if f.diameters[i] > 0]) for i in foreground),
        object_count=tuple(_median([f.objects[i] for f in labelled]) for i in foreground),
        thickness=tuple(_median([f.thickness[i] for f in labelled if f.thickness[i] > 0]) for i in foreground),
        directed=_directed(labelled, rank),
        foreground_share=float(shares[1:].sum()),
        disasters=tuple(sorted({case.disaster for case in dataset.cases if case.name in measured} - {""})),
        scope=labels.scope,
        task=labels.task,
        logits=labels.channels,
    )


def _foreground(facts: Sequence[CaseFacts]) -> dict[str, tuple[float, ...]]:
    """The intensities within the foreground of all cases."""
    inside = [f for f in facts if f.inside_mean]
    if not inside:
        return {}
    pixels = np.array([sum(f.counts[1:]) for f in inside], np.float64)
    mean, std, _ = _moments([f.inside_mean for f in inside], [f.inside_std for f in inside], pixels)
    curves = [f.inside_quantiles for f in inside]
    return {
        "foreground_mean": _floats(mean),
        "foreground_std": _floats(std),
        "foreground_low": _pooled_quantile(curves, pixels, 0.005),
        "foreground_high": _pooled_quantile(curves, pixels, 0.995),
    }


def _directed(facts: Sequence[CaseFacts], rank: int) -> tuple[bool, ...]:
    """Along which axes a mirrored case would be unlike all others, because two classes would change places."""
    order: dict[tuple[int, int, int], list[bool]] = {}
    for one in facts:
        for a, b in combinations(range(len(one.centres)), 2):
            for axis, (x, y) in enumerate(zip(one.centres[a], one.centres[b], strict=False)):
                order.setdefault((a, b, axis), []).append(x < y)
    counted = {
        key: abs(2 * sum(signs) - len(signs)) / len(signs) for key, signs in order.items() if len(signs) >= ENOUGH
    }
    if not counted:
        return ()
    return tuple(
        any(share >= ORDERED for (_, _, along), share in counted.items() if along == axis) for axis in range(rank)
    )


def _moments(
    means_of: Sequence[Sequence[float]], stds_of: Sequence[Sequence[float]], pixels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Mean and deviation of each channel over all pixels, and how much of it lies between the images."""
    weights = pixels / pixels.sum()
    means, stds = np.array(means_of), np.array(stds_of)
    mean = weights @ means
    between = weights @ (means - mean) ** 2
    std = np.sqrt(weights @ stds**2 + between)
    ratio = np.divide(np.sqrt(between), std, out=np.zeros_like(std), where=std > 0)
    return mean, std, float(min(1.0, ratio.mean()))


def _pooled_quantile(
    quantiles: Sequence[Sequence[Sequence[float]]], pixels: NDArray[np.float64], share: float
) -> tuple[float, ...]:
    """Quantile over the pixels of all images, from each image's own quantiles (its distribution, taken as linear
    between them). Found by bisection: the share of pixels below a value only grows with the value."""
    weights = pixels / pixels.sum()
    found = []
    for channel in range(len(quantiles[0])):
        curves = np.array([of_image[channel] for of_image in quantiles])
        low, high = float(curves.min()), float(curves.max())
        for _ in range(60):
            middle = (low + high) / 2
            below = [_share_below(curve, middle) for curve in curves]
            low, high = (middle, high) if float(weights @ below) < share else (low, middle)
        found.append(high)
    return tuple(found)


def _share_below(curve: NDArray[np.float64], value: float) -> float:
    right = int(np.searchsorted(curve, value, side="right"))
    if right == 0:
        return 0.0
    if right == len(curve):
        return 1.0
    inside = (value - curve[right - 1]) / (curve[right] - curve[right - 1])
    return float(LEVELS[right - 1] + inside * (LEVELS[right] - LEVELS[right - 1]))


def _presence(counts: NDArray[np.float64]) -> float:
    return float((counts > 0).mean()) if len(counts) else 0.0


def _integers(values: NDArray[np.generic]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _median(values: Sequence[float | int]) -> float:
    return float(np.median(values)) if values else 0.0
