"""The report's sentences: what the numbers mean, and what to be careful about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from catenary.metrics.evaluation import Interval
from catenary.metrics.registry import METRICS
from catenary.report.document import Headline

__all__ = [
    "IMAGES",
    "SPLIT_WORDS",
    "Nouns",
    "count",
    "decimals",
    "figures",
    "headline",
    "interval",
    "metric_label",
    "metric_meaning",
    "nouns_of",
    "number",
    "percent",
    "sentence",
]

#: Fewer scored cases or groups than these call for a caution.
FEW_CASES, FEW_GROUPS = 20, 10
#: An interval wider than this calls for a caution.
WIDE = 0.1


class Nouns(NamedTuple):
    """What the scored things and their parts are called."""

    image: str
    pixel: str
    outline: str
    area: str


IMAGES = Nouns("image", "pixel", "outline", "area")
VOLUMES = Nouns("case", "voxel", "surface", "volume")


def nouns_of(volumes: Sequence[object]) -> Nouns:
    """What things are called in a report that tells of these volumes of targets, or of none.

    >>> nouns_of([]).pixel
    'pixel'
    """
    return VOLUMES if volumes else IMAGES


#: What each metric of `catenary.metrics` says, for readers who do not think in formulas.
_MEANINGS = {
    "dice": "overlap: twice the shared {area} over the sum of both {area}s; 1 is perfect",
    "iou": "shared {area} over the {area} of both together; stricter than Dice",
    "thresholded_jaccard": "the same, but counts 0 below 0.65",
    "accuracy": "share of all {pixel}s that are right; flatters rare classes",
    "sensitivity": "share of the true {area} that was found",
    "specificity": "share of the rest that was left alone",
    "precision": "share of the predicted {area} that is right",
    "npv": "share of the {area} left alone that is rightly so",
    "fpr": "share of the rest that was marked; 0 is perfect",
    "fdr": "share of the predicted {area} that is wrong; 0 is perfect",
    "fnr": "share of the true {area} that was missed; 0 is perfect",
    "mcc": "correlation of truth and prediction, fair to rare classes",
    "f1": "the same as Dice",
    "boundary_iou": "overlap of bands along the {outline}s: how well edges fit",
    "hd95": "distance in {unit} that 95 % of the {outline}s keep to; 0 is perfect",
    "asd": "average distance between the {outline}s in {unit}; 0 is perfect",
    "nsd": "share of both {outline}s that lie within {tolerance} {unit} of each other",
    "object_precision": "share of predicted objects that match a true one",
    "object_recall": "share of true objects that were found",
    "object_f1": "objects found and not invented, in one number",
    "object_false_positives": "objects that were invented, a {image}; 0 is perfect",
    "volume_difference": "how far the predicted {area} is from the true one; 0 is perfect",
    "relative_volume_difference": "the same as a share of the true {area}",
}

SPLIT_WORDS = {"test": "test", "val": "validation", "train": "training"}


def metric_label(metric: str) -> str:
    """How a metric is called on paper.

    >>> metric_label("hd95"), metric_label("cup_to_disc")
    ('HD95', 'cup to disc')
    """
    return METRICS[metric].title if metric in METRICS else metric.replace("_", " ")


def metric_meaning(metric: str, *, tolerance: float, unit: str, nouns: Nouns = IMAGES) -> str:
    """What a metric says, in plain words; its formula where there are none.

    Args:
        metric: Its key.
        tolerance: Distance that counts as no error.
        unit: Unit of distances.
        nouns: What things are called.

    >>> metric_meaning("nsd", tolerance=2.0, unit="pixels")
    'share of both outlines that lie within 2 pixels of each other'
    """
    if metric in _MEANINGS:
        return _MEANINGS[metric].format(tolerance=f"{tolerance:g}", unit=unit, **nouns._asdict())
    return METRICS[metric].formula if metric in METRICS else ""


def number(value: float | int | None, digits: int = 3) -> str:
    """A score for reading: three decimals, fewer for large values, an en dash where there is none.

    >>> number(0.91234), number(12.3456), number(None)
    ('0.912', '12.3', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 10:
        digits = 1 if abs(value) < 1000 else 0
    return f"{value:.{digits}f}".replace("-", "−")


def figures(value: float | None) -> str:
    """A quantity of any size for reading: three figures, no exponent where it can be done without.

    >>> figures(4123.4), figures(0.0), figures(-0.00042), figures(2.5e9), figures(None)
    ('4120', '0', '−0.00042', '2.5e+09', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = math.floor(math.log10(abs(value))) if value else 0
    text = f"{value:.3g}" if not -5 < size < 6 else f"{round(value, 2 - size):.{max(0, 2 - size)}f}"
    if "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def decimals(score: Interval) -> int:
    """Decimals for a score and its interval alike: three for shares, fewer for distances.

    >>> decimals(Interval(value=0.9, low=0.8, high=1.0, n=9)), decimals(Interval(value=9.8, low=9.2, high=12.34, n=9))
    (3, 1)
    """
    largest = max(abs(v or 0) for v in (score.value, score.low, score.high))
    return 3 if largest <= 1 else 2 if largest < 10 else 1


def interval(score: Interval) -> str:
    """A score's interval for reading, both ends with the same number of decimals.

    >>> interval(Interval(value=9.8, low=9.2, high=12.34, n=9))
    '9.2 to 12.3'
    """
    return f"{number(score.low, decimals(score))} to {number(score.high, decimals(score))}"


def percent(share: float | int | None) -> str:
    """A share for reading, with two significant digits when it is small.

    >>> percent(0.4567), percent(0.00312), percent(0.0)
    ('45.7 %', '0.31 %', '0 %')
    """
    if share is None or not math.isfinite(share):
        return "–"
    value = share * 100
    if value in (0, 100):
        return f"{value:.0f} %"
    digits = 1 if abs(value) >= 1 else min(4, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f} %".replace("-", "−")


def count(number_of: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "image"), count(2, "class"), count(3, "case"), count(2, "study")
    ('1 image', '2 classes', '3 cases', '2 studies')
    """
    if number_of != 1:
        if noun.endswith("y"):
            noun = noun[:-1] + "ies"
        else:
            noun += "es" if noun.endswith(("s", "x")) else "s"
    return f"{number_of} {noun}"


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop.

    >>> sentence("two images look the same")
    'Two images look the same.'
    """
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) or not text else ".")


def headline(
    *,
    dataset: str,
    split: str,
    n: int,
    groups: int,
    mean: Interval,
    baselines: Mapping[str, float | None],
    weak_classes: Sequence[str],
    absent_classes: Sequence[str],
    warnings: int,
    trained_on: Sequence[str] = (),
    nouns: Nouns = IMAGES,
) -> Headline:
    """The result in words, with the cautions that its reader needs.

    Args:
        dataset: Name of the data set.
        split: Which cases were scored.
        n: How many.
        groups: From how many groups.
        mean: Mean Dice over the classes.
        baselines: Mean Dice of each trivial baseline.
        weak_classes: Classes whose interval does not lie above their best baseline.
        absent_classes: Classes that none of the scored cases holds.
        warnings: How many warnings (and errors) the doctor gave.
        trained_on: Scored images that the model was trained on.
        nouns: What things are called.
    """
    known = {name: value for name, value in baselines.items() if value is not None}
    best = max(known, key=lambda name: known[name]) if known else ""
    verdict = _verdict(mean, known[best] if best else None)
    if split == "all":
        where = f"On {'all ' if n > 1 else ''}{count(n, nouns.image)} of {dataset}"
    else:
        where = f"On {count(n, f'{SPLIT_WORDS.get(split, split)} {nouns.image}')} of {dataset}"
    if mean.value is None:
        sentence = f"{where} no Dice could be computed, so nothing can be said about the model."
    else:
        sentence = f"{where}, the model reaches a mean Dice of {number(mean.value)}{_interval(mean)}"
        sentence += _against(verdict, best, known.get(best))
    return Headline(
        sentence=sentence,
        verdict=verdict,
        baseline=best,
        cautions=[
            *_trained_on(trained_on, n, nouns.image),
            *_cautions(verdict, split, n, groups, mean, weak_classes, absent_classes, warnings, nouns.image),
        ],
    )


def _verdict(mean: Interval, rival: float | None) -> str:
    if rival is None or mean.value is None:
        return "alone"
    low = mean.value if mean.low is None else mean.low
    high = mean.value if mean.high is None else mean.high
    if low > rival:
        return "above"
    return "below" if high < rival else "unclear"


def _interval(mean: Interval) -> str:
    if mean.low is None or mean.high is None:
        return ""
    return f" (95 % interval {number(mean.low)} to {number(mean.high)})"


def _against(verdict: str, best: str, rival: float | None) -> str:
    name, value = best.replace("_", " "), number(rival)
    return {
        "above": f", above the {value} of the best answer that needs no learning ({name}).",
        "unclear": f". The best answer that needs no learning ({name}) reaches {value}: "
        "this test does not show that the model does better.",
        "below": f". The best answer that needs no learning ({name}) reaches {value}: the model does worse.",
        "alone": ". No trivial baseline was measured beside it.",
    }[verdict]


def _trained_on(names: Sequence[str], n: int, image: str) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [
        f"The model was trained on {len(names)} of the {n} scored {image}s ({shown}): the scores are better than "
        f"those of new {image}s. Take these {image}s out of the test."
    ]


def _cautions(
    verdict: str,
    split: str,
    n: int,
    groups: int,
    mean: Interval,
    weak: Sequence[str],
    absent: Sequence[str],
    warnings: int,
    image: str,
) -> list[str]:
    said: list[str] = []
    if split not in ("test", "all"):  # all cases may be of another place; those that training saw are named
        words = SPLIT_WORDS.get(split, split)
        said.append(f"These are {words} cases, not unseen test cases: expect lower scores on new {image}s.")
    if verdict in ("unclear", "below"):
        said.append(
            "The interval does not lie above the trivial baseline. Do not rely on this model before more training, "
            "more data or better labels show otherwise."
        )
    if n < FEW_CASES:
        said.append(
            f"Only {count(n, image)} {'was' if n == 1 else 'were'} scored: one unusual {image} moves the mean by up to "
            f"{number(1 / max(n, 1), 2)}, and the interval itself is uncertain."
        )
    if groups < min(n, FEW_GROUPS):
        said.append(
            f"The {n} {image}s come from only {count(groups, 'group')}: {image}s of one group resemble each other, "
            "so the result rests on few independent observations."
        )
    if mean.value is not None and mean.low is None:
        said.append("There is no interval: too few cases to say how far chance moves the score.")
    elif mean.low is not None and mean.high is not None and mean.high - mean.low > WIDE:
        said.append(f"The interval is {number(mean.high - mean.low, 2)} wide: more test cases would tell more.")
    if weak and verdict == "above":
        said.append(f"Not clearly better than a trivial baseline for: {', '.join(weak)}.")
    if absent:
        said.append(f"No test case holds: {', '.join(absent)}. Nothing was measured about finding it.")
    if warnings:
        said.append(f"The doctor gave {count(warnings, 'warning')} about these data; see “Data”.")
    return said
