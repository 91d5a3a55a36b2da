"""All metrics, one entry each.

An entry is all that a new metric needs to be measured, averaged, compared and explained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from catenary.metrics import counts, objects, surface, volumes

__all__ = ["CONVENTIONS", "METRICS", "Metric"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric is and what can be said about it.

    Attributes:
        title: Name for people.
        part: What `function` takes: ``"counts"`` (`Counts`), ``"band"`` (`Band`), ``"surface"`` (`Surface`),
            ``"objects"`` (`Objects`) or ``"volumes"`` (`Volumes`).
        function: Gives the value of each element of the arrays in its part.
        formula: The definition in one line.
        empty: What happens where a mask is empty.
        higher: Whether more is better.
        low: Smallest possible value.
        high: Largest possible value; None for a distance, which is at most the image's diagonal, and for what has none.
        pooled: Whether the metric of the summed parts of all images means something.
        gains: Whether it may improve when a bad answer is deleted, because it credits what is rightly left alone, or
            more is farther from the true volume than nothing.
    """

    title: str
    part: Literal["counts", "band", "surface", "objects", "volumes"]
    function: Callable[[Any], NDArray[Any]]
    formula: str
    empty: str
    higher: bool = True
    low: float = 0.0
    high: float | None = 1.0
    pooled: bool = True
    gains: bool = False

    @property
    def best(self) -> float:
        """The value of a perfect answer."""
        return self.low if not self.higher or self.high is None else self.high


_OVERLAP = "both empty 1, one of them empty 0"
_DISTANCE = "both empty 0, one of them empty: the image's diagonal"
_NO_TRUTH = "left out where the truth is empty; else an empty answer scores {}"
_FULL_TRUTH = "left out where the truth fills all counted pixels"
_NO_ANSWER = "an empty answer scores {} where the truth is empty too, else {}"

#: Metric by its key in every output.
METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", "counts", counts.dice, "2 TP / (2 TP + FP + FN)", _OVERLAP),
    "iou": Metric("IoU (Jaccard)", "counts", counts.iou, "TP / (TP + FP + FN)", _OVERLAP),
    "thresholded_jaccard": Metric(
        "Thresholded Jaccard", "counts", counts.thresholded_jaccard, "IoU of the image, 0 where below 0.65", _OVERLAP,
        pooled=False,
    ),
    "accuracy": Metric(
        "Accuracy", "counts", counts.accuracy, "(TP + TN) / (TP + FP + FN + TN)", "always defined", gains=True
    ),
    "sensitivity": Metric(
        "Sensitivity (recall)", "counts", counts.sensitivity, "TP / (TP + FN)", _NO_TRUTH.format(0)
    ),
    "specificity": Metric(
        "Specificity", "counts", counts.specificity, "TN / (TN + FP)", _FULL_TRUTH, gains=True
    ),
    "precision": Metric("Precision", "counts", counts.precision, "TP / (TP + FP)", _NO_ANSWER.format(1, 0)),
    "npv": Metric(
        "Negative predictive value", "counts", counts.npv, "TN / (TN + FN)",
        "an answer that fills all counted pixels scores 1 where the truth fills them too, else 0", gains=True,
    ),
    "fpr": Metric(
        "False positive rate", "counts", counts.fpr, "FP / (FP + TN)", _FULL_TRUTH, higher=False, gains=True
    ),
    "fdr": Metric(
        "False discovery rate", "counts", counts.fdr, "FP / (FP + TP)", _NO_ANSWER.format(0, 1), higher=False
    ),
    "fnr": Metric(
        "False negative rate", "counts", counts.fnr, "FN / (FN + TP)", _NO_TRUTH.format(1), higher=False
    ),
    "mcc": Metric(
        "Matthews correlation", "counts", counts.mcc,
        "(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))",
        "where truth or answer is empty or fills all counted pixels: 1 when they are equal, else 0",
        low=-1.0, gains=True,
    ),
    "f1": Metric("F1", "counts", counts.f1, "harmonic mean of precision and sensitivity, equal to Dice", _OVERLAP),
    "boundary_iou": Metric(
        "Boundary IoU", "band", surface.boundary_iou,
        "IoU of the bands inside both outlines, 2 % of the image's diagonal wide", _OVERLAP,
    ),
    "hd95": Metric(
        "HD95", "surface", surface.hd95, "larger of the two directed 95th percentiles of distances between surfaces",
        _DISTANCE, higher=False, high=None, pooled=False,
    ),
    "asd": Metric(
        "Average surface distance", "surface", surface.asd, "mean distance from both surfaces to the other one",
        _DISTANCE, higher=False, high=None, pooled=False,
    ),
    "nsd": Metric(
        "Normalised surface distance", "surface", surface.nsd,
        "share of both surfaces within the tolerance of the other surface", _OVERLAP,
    ),
    "object_precision": Metric(
        "Object precision", "objects", objects.object_precision, "matched / predicted objects",
        "no predicted object scores 1 where there is no true one either, else 0",
    ),
    "object_recall": Metric(
        "Object recall", "objects", objects.object_recall, "matched / true objects",
        "left out where there is no true object; else no predicted one scores 0",
    ),
    "object_f1": Metric(
        "Object F1", "objects", objects.object_f1, "2 matched / (true + predicted objects)",
        "neither true nor predicted objects 1, only one kind 0",
    ),
    "object_false_positives": Metric(
        "False positive objects", "objects", objects.object_false_positives, "predicted - matched objects, per case",
        "no predicted object scores 0", higher=False, high=None, pooled=False, gains=True,
    ),
    "volume_difference": Metric(
        "Volume difference", "volumes", volumes.volume_difference, "|predicted - true volume|",
        "both empty 0, one of them empty: the other's volume", higher=False, high=None, pooled=False, gains=True,
    ),
    "relative_volume_difference": Metric(
        "Relative volume difference", "volumes", volumes.relative_volume_difference,
        "|predicted - true volume| / true volume", _NO_TRUTH.format(1),
        higher=False, high=None, pooled=False, gains=True,
    ),
}  # fmt: skip

#: How things are counted, for every output; `catenary.metrics.evaluation` adds each metric's own lines.
CONVENTIONS: dict[str, str] = {
    "averages": "'classes' holds the mean over images; 'mean' the mean of these over the classes; 'pooled' adds up the "
    "pixels (or objects) of all images first and applies the formula once, so that large targets weigh more.",
    "ignored pixels": "Pixels whose truth is unknown are not counted; for outlines and objects they belong to neither "
    "mask. An image without any known pixel is left out. A pixel without an answer counts as background.",
    "empty masks": "Nothing to find and nothing found is perfect. A score that only the answer leaves undefined takes "
    "its worst value. An image is left out of the mean of a score only where the truth alone leaves it undefined.",
    "deleted answers": "Deleting the whole answer for a target that is there gives the image the worst value of every "
    "score but accuracy, specificity, negative predictive value, false positive rate, Matthews correlation and false "
    "positive objects, which credit what is rightly left alone, and volume differences, of which an answer more than "
    "twice too large has more. Deleting correct pixels improves no score of pixel counts, and of volumes where the "
    "answer is not too large; deleting a matched object improves no score of objects; deleting objects that are right "
    "to the pixel, where the others are too, improves no score at all.",
    "distances": "Surfaces run halfway between the pixels of a mask and the others; beyond the image is outside. They "
    "are made of the pieces that marching cubes puts at the corners of pixels, each weighted by its area (in 2D its "
    "length); distances run between these corners. For boundary IoU pixels are counted, between their centres.",
    "objects": "Objects are connected components, corners connected (8 neighbours, 26 in 3D). They match one to one at "
    "IoU 0.5 or more; a predicted object without a match is a false positive, a true one is missed.",
    "volumes": "Pixels of the target times their size, where the truth is known; in 2D areas. Differences say nothing "
    "of where it lies. Each case keeps its error with the sign, predicted minus true.",
    "intervals": "95 % percentile bootstrap intervals from resampled groups (patients, specimens, places), not pixels "
    "or images; none where there are fewer than two groups.",
}
