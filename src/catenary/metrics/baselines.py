"""Answers that need no learning: what every model has to beat.

Fitted on training images only, from histograms of a few pixels of each, and applied to the images that are scored:

- ``majority``: every pixel gets the most frequent class (each region: the more frequent of inside and outside).
- ``thresholds``: one channel, or the mean of all, cut at fixed intensities; classes in the order of their mean
  intensity, two classes in either order. Channel and cuts are those of the highest mean Dice on the pixels of all
  training images together.

>>> image = np.array([[[10, 10, 200, 210]]], np.uint8)
>>> label = np.array([[0, 0, 1, 1]], np.uint8)
>>> fitted = fit_baselines([(image, label)], LabelSet(names=("background", "cell")))
>>> print(fitted.predict(image)["thresholds"])
[[0 0 1 1]]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.types import IGNORE

__all__ = ["Baselines", "Cut", "fit_baselines"]

#: Pixels taken of each training image and of all together, and the most bins of the histograms they go into.
PIXELS = 20_000
TOTAL = 500_000
BINS = 512

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Cut:
    """A classification by intensity.

    Attributes:
        channel: Which channel; -1 for the mean of all.
        cuts: Ascending intensities; a value equal to a cut lies above it.
        classes: Class below the first cut, between the cuts, above the last; one more than cuts.
    """

    channel: int
    cuts: tuple[float, ...]
    classes: tuple[int, ...]

    def __call__(self, image: Shaped[np.ndarray, "c ..."]) -> UInt8[np.ndarray, "*s"]:
        """Classify the pixels of an image, channels first.

        >>> Cut(0, (5.0,), (1, 0))(np.array([[[1, 5, 9]]], np.uint8))
        array([[1, 0, 0]], dtype=uint8)
        """
        out = np.full(image.shape[1:], self.classes[0], np.uint8)
        if not self.cuts:
            return out
        values = _feature(image, self.channel)
        for cut, index in zip(self.cuts, self.classes[1:], strict=True):
            out[values >= cut] = index
        return out

    def __str__(self) -> str:
        if not self.cuts:
            return f"class {self.classes[0]} everywhere"
        where = "mean of all channels" if self.channel < 0 else f"channel {self.channel + 1}"
        between = ", ".join(str(index) for index in self.classes)
        return f"{where} cut at {', '.join(f'{cut:.4g}' for cut in self.cuts)} into classes {between}"


@dataclass(frozen=True, slots=True)
class Baselines:
    """Fitted baselines.

    Attributes:
        labels: The classes.
        cuts: Name of the baseline -> one `Cut` for label maps, or one a region whose classes are 0 and 1.
    """

    labels: LabelSet
    cuts: dict[str, tuple[Cut, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the baselines."""
        return tuple(self.cuts)

    @property
    def descriptions(self) -> dict[str, str]:
        """What each baseline does, in words."""
        targets = self.labels.target_names if self.labels.regions else ("",)
        return {
            name: "; ".join(f"{target}: {cut}".removeprefix(": ") for target, cut in zip(targets, cuts, strict=True))
            for name, cuts in self.cuts.items()
        }

    def predict(
        self, image: Shaped[np.ndarray, "c ..."]
    ) -> dict[str, UInt8[np.ndarray, "*s"] | Bool[np.ndarray, "r ..."]]:
        """The answer of each baseline: a label map, or one mask a region where targets overlap.

        Raises:
            InputError: The image lacks a channel that a baseline needs.
        """
        needed = max(cut.channel for cuts in self.cuts.values() for cut in cuts)
        if needed >= len(image):
            raise InputError(
                f"the image has {len(image)} channels but a threshold was fitted on channel {needed + 1}; "
                "give images of the training set's kind"
            )
        answers: dict[str, Array] = {}
        for name, cuts in self.cuts.items():
            maps = [cut(image) for cut in cuts]
            answers[name] = np.stack(maps) == 1 if self.labels.regions else maps[0]
        return answers


def fit_baselines(
    pairs: Iterable[tuple[Shaped[np.ndarray, "c ..."], UInt8[np.ndarray, "*s"]]],
    labels: LabelSet,
    *,
    pixels: int = PIXELS,
    seed: int = 0,
) -> Baselines:
    """Fit all baselines on training images.

    Args:
        pairs: Images (channels first) with their label maps, read one at a time.
        labels: The classes.
        pixels: Pixels taken at random of each image.
        seed: Of the choice of pixels.

    Raises:
        InputError: There is no training pixel with a known class, or images differ in their number of channels.
    """
    values, classes = _sample(pairs, labels, pixels, np.random.default_rng(seed))
    if labels.regions:
        truths = [np.isin(classes, members).astype(np.intp) for members in labels.target_members()]
        count = 2
    else:
        truths, count = [classes.astype(np.intp)], labels.count
    majority = tuple(Cut(-1, (), (int(np.bincount(truth, minlength=count).argmax()),)) for truth in truths)
    thresholds = tuple(_best_cut(values, truth, count) for truth in truths)
    return Baselines(labels, {"majority": majority, "thresholds": thresholds})


def _sample(
    pairs: Iterable[tuple[Array, Array]], labels: LabelSet, pixels: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Values ``(features, n)``, one row a channel and their mean last, and the classes ``(n,)``."""
    values: list[Array] = []
    classes: list[Array] = []
    for image, label in pairs:
        known = np.flatnonzero(label != IGNORE)
        if values and len(image) != len(values[0]) - 1:
            raise InputError(
                f"training images have {len(values[0]) - 1} and {len(image)} channels; give all the same number"
            )
        if known.size > pixels:
            known = known[rng.integers(0, known.size, pixels)]
        chosen = image.reshape(len(image), -1)[:, known].astype(np.float32)
        good = np.isfinite(chosen).all(axis=0)
        values.append(np.concatenate([chosen, chosen.mean(axis=0, keepdims=True)])[:, good])
        classes.append(label.reshape(-1)[known][good])
    if not sum(part.size for part in classes):
        raise InputError("the training images hold no pixel with a known class, found 0; give masks that hold classes")
    joined = np.concatenate(classes)
    if joined.max() >= labels.count:
        raise InputError(
            f"a training mask holds the value {joined.max()}, but the classes are 0 to {labels.count - 1}; "
            "check the label set"
        )
    features = np.concatenate(values, axis=1)
    if joined.size > TOTAL:
        kept = rng.integers(0, joined.size, TOTAL)
        features, joined = features[:, kept], joined[kept]
    return features, joined


def _best_cut(values: Array, truth: Array, count: int) -> Cut:
    """The cut of the highest mean Dice of the foreground classes over all features."""
    best, best_score = None, -1.0
    channels = len(values) - 1
    for feature, row in enumerate(values):
        if channels == 1 and feature == 1:
            continue  # the mean of one channel is that channel
        edges = _edges(row)
        bins = np.searchsorted(edges, row, side="right")
        table = np.bincount(truth * (len(edges) + 1) + bins, minlength=count * (len(edges) + 1))
        cumulated = np.zeros((count, len(edges) + 2))
        np.cumsum(table.reshape(count, -1), axis=1, out=cumulated[:, 1:])
        present = np.flatnonzero(cumulated[:, -1] > 0)
        sums = np.bincount(truth, weights=row, minlength=count)
        order = present[np.argsort(sums[present] / cumulated[present, -1], kind="stable")]
        for ordered in (order, order[::-1]) if len(order) == 2 else (order,):
            places, score = _place_cuts(cumulated, ordered)
            if score > best_score:
                best, best_score = _cut_of(feature if feature < channels else -1, edges, places, ordered), score
    assert best is not None
    return best


def _edges(row: Array) -> Array:
    """Ascending places where a cut may lie: between any two values when these are few, else at quantiles."""
    distinct = np.unique(row)
    if len(distinct) > BINS:
        distinct = np.unique(np.quantile(row, np.linspace(0, 1, BINS), method="nearest"))
    middle: Array = (distinct[1:].astype(np.float64) + distinct[:-1]) / 2
    return middle


def _place_cuts(cumulated: Array, order: Array) -> tuple[list[int], float]:
    """Cuts between classes in the given order, as numbers of bins below each, and the mean Dice they reach.

    Starts from the cuts of the best balanced accuracy, which a dynamic programme finds exactly, then moves one cut at a
    time to the best Dice until none gains.
    """
    last = cumulated.shape[1] - 1
    places = _balanced_cuts(cumulated, order)
    score = _mean_dice(cumulated, order, np.array([places], np.intp))[0]
    for _ in range(10):
        before = score
        for k in range(len(places)):
            low = places[k - 1] if k else 0
            high = places[k + 1] if k + 1 < len(places) else last
            trials = np.tile(places, (high - low + 1, 1))
            trials[:, k] = np.arange(low, high + 1)
            scores = _mean_dice(cumulated, order, trials)
            if scores.max() > score:
                places, score = trials[scores.argmax()].tolist(), float(scores.max())
        if score <= before:
            break
    return places, float(score)


def _balanced_cuts(cumulated: Array, order: Array) -> list[int]:
    """The cuts that maximise the sum over classes of the share of each that lies in its own interval."""
    shares = cumulated[order] / cumulated[order, -1:]
    reached = shares[0].copy()  # best sum when class k ends at this bin
    steps: list[Array] = []
    for share in shares[1:]:
        gain = reached - share
        start = np.maximum.accumulate(gain)
        fresh = np.where(gain == start, np.arange(len(gain)), 0)
        steps.append(np.maximum.accumulate(fresh))
        reached = start + share
    places: list[int] = []
    place = cumulated.shape[1] - 1
    for back in reversed(steps):
        place = int(back[place])
        places.append(place)
    return places[::-1]


def _mean_dice(cumulated: Array, order: Array, places: Array) -> Array:
    """Mean Dice of the foreground classes for each row of cuts; a class that does not occur is not counted."""
    rows, last = len(places), cumulated.shape[1] - 1
    ends = np.concatenate([np.zeros((rows, 1), int), places, np.full((rows, 1), last)], axis=1)
    everything = cumulated.sum(axis=0)
    scores = []
    for k, index in enumerate(order):
        if index == 0:
            continue
        own = cumulated[index]
        found = own[ends[:, k + 1]] - own[ends[:, k]]
        taken = everything[ends[:, k + 1]] - everything[ends[:, k]]
        scores.append(2 * found / (taken + own[-1]))
    return np.mean(scores, axis=0) if scores else np.ones(rows)


def _cut_of(channel: int, edges: Array, places: Sequence[int], order: Array) -> Cut:
    """The same in intensities; a class whose interval is empty is dropped."""
    ends = [0, *places, len(edges) + 1]
    kept = [(start, int(index)) for start, end, index in zip(ends[:-1], ends[1:], order, strict=True) if start < end]
    return Cut(channel, tuple(float(edges[start - 1]) for start, _ in kept[1:]), tuple(index for _, index in kept))


def _feature(image: Array, channel: int) -> Array:
    if channel >= 0 or len(image) == 1:
        one: Array = image[max(channel, 0)]
        return one
    mean: Array = image.mean(axis=0, dtype=np.float32)
    return mean
