"""What a report is made from: plain fields, filled by whoever ran the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from catenary.data.findings import Finding
from catenary.data.fingerprint import Fingerprint
from catenary.data.labels import LabelSet
from catenary.metrics.classresults import ClassEvaluation
from catenary.metrics.evaluation import Evaluation

__all__ = [
    "ClassCase",
    "ClassReportData",
    "CurvePair",
    "GalleryCase",
    "Measurement",
    "QuantityRow",
    "ReportData",
    "VolumeRow",
]


@dataclass(frozen=True, kw_only=True)
class GalleryCase:
    """One case to look at, or one plane of a volume; planes of one case follow one another under its name.

    Attributes:
        name: The case's name; its scores are found by it.
        image: RGB for looking at (`catenary.report.to_rgb8`).
        truth: Class indices, `IGNORE` where unknown.
        prediction: Class indices.
        dice: Dice of each target, for cases that the evaluation does not hold.
        aspect: Height and width of a pixel, in any one unit.
        view: Which plane of a volume this is; empty for an image.
        note: Why the planes lie where they do.
    """

    name: str
    image: UInt8[ndarray, "h w 3"]
    truth: UInt8[ndarray, "h w"]
    prediction: UInt8[ndarray, "h w"]
    dice: Mapping[str, float] = field(default_factory=dict)
    aspect: tuple[float, float] = (1.0, 1.0)
    view: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Share of one class or region in one case, 0 to 1 of its judged pixels."""

    case: str
    target: str
    truth: float
    prediction: float


@dataclass(frozen=True, kw_only=True)
class VolumeRow:
    """Volume of one class or region of a scored volume, of its judged voxels: in ml where the spacing is in mm."""

    case: str
    target: str
    unit: str
    truth: float
    prediction: float


@dataclass(frozen=True, kw_only=True)
class QuantityRow:
    """One quantity of one case, as the true and the predicted mask have it; None where it is not defined."""

    case: str
    quantity: str
    unit: str
    truth: float | None
    prediction: float | None


@dataclass(frozen=True, kw_only=True)
class CurvePair:
    """One quantity over a distance, mean over the scored cases, of the true and of the predicted masks."""

    quantity: str
    unit: str
    distance: Sequence[float]
    truth: Sequence[float]
    prediction: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that a report tells.

    Attributes:
        title: Title of the page.
        model: The network in a few words, for example ``"U-Net, 5 levels, 7.8 M parameters"``.
        dataset: Name of the data set.
        folder: Name of its folder (never the way to it).
        licence: Licence of the data; empty where none is stated.
        labels: Its classes.
        evaluation: The scores.
        fingerprint: Statistics of the training cases; None where they are not known (a foreign model).
        findings: What the doctor found.
        splits: Names of the ``train``, ``val`` and ``test`` cases, and those ``left_out``.
        split_how: How they were divided, in words.
        plan: Rows ``(field, value, reason)``.
        history: Rows of the training log: step, epoch, minutes, train_loss, val_loss, val_score, lr.
        monitor: What ``val_score`` is.
        gallery: Cases to show; the best is named so, the median and the worst too.
        measurements: Share of each target in each scored case.
        volumes: Volume of each target in each scored case, where the cases are volumes.
        quantities: Published quantities of each scored case.
        curves: Those that are functions of a distance.
        share_errors: Root mean square error of each target's share on the validation cases, 0 to 1.
        provenance: What made the model. Known keys are laid out (command or commands, created, hardware, licence,
            seed, versions, ...), others are listed under their own name.
    """

    title: str
    dataset: str
    labels: LabelSet
    evaluation: Evaluation
    model: str = "U-Net"
    folder: str = ""
    licence: str = ""
    fingerprint: Fingerprint | Mapping[str, Any] | None = None
    findings: Sequence[Finding] = ()
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    split_how: str = ""
    plan: Sequence[tuple[str, str, str]] = ()
    history: Sequence[Mapping[str, float]] = ()
    monitor: str = "dice"
    gallery: Sequence[GalleryCase] = ()
    measurements: Sequence[Measurement] = ()
    volumes: Sequence[VolumeRow] = ()
    share_errors: Mapping[str, float] = field(default_factory=dict)
    quantities: Sequence[QuantityRow] = ()
    curves: Sequence[CurvePair] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClassCase:
    """One image whose class was asked for, to look at.

    Attributes:
        name: Its name; its answer is found by it.
        image: RGB for looking at.
        looks: The same in grey, tinted where the network found what speaks for the class that it called; None where
            that was not asked.
        warning: What makes the answer doubtful.
    """

    name: str
    image: UInt8[ndarray, "h w 3"]
    looks: UInt8[ndarray, "h w 3"] | None = None
    warning: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassReportData:
    """Everything that a report of whole-image classes tells; see `ReportData` for fields of the same names.

    Attributes:
        evaluation: The scores.
        gallery: Images to show, mistakes first.
        chosen: How calibration and threshold were chosen, in sentences.
    """

    title: str
    dataset: str
    labels: LabelSet
    evaluation: ClassEvaluation
    model: str = ""
    folder: str = ""
    licence: str = ""
    fingerprint: Fingerprint | Mapping[str, Any] | None = None
    findings: Sequence[Finding] = ()
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    split_how: str = ""
    plan: Sequence[tuple[str, str, str]] = ()
    history: Sequence[Mapping[str, float]] = ()
    monitor: str = "loss"
    gallery: Sequence[ClassCase] = ()
    chosen: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
