"""What an evaluation of whole-image classes says, as frozen models that are plain JSON; undefined scores are None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from catenary.metrics.results import Difference, Interval

__all__ = [
    "SCORES",
    "BrierParts",
    "CaseAnswer",
    "ClassComparison",
    "ClassCurves",
    "ClassDetails",
    "ClassEvaluation",
    "ClassScore",
    "DecisionCurve",
    "Fact",
    "ReliabilityBin",
    "SourceScores",
]


class Fact(NamedTuple):
    """A score: how it is called, what it is, when it is not defined, whether higher is better (None: neither)."""

    title: str
    formula: str
    undefined: str = ""
    higher: bool | None = True


_NO_POSITIVE, _NO_NEGATIVE = "there is no positive case", "there is no negative case"
_ONE_CLASS = "the cases are all positive or all negative"
_NO_FALSE = "there is no false positive, or a class is missing"
_NO_TRUE = "there is no true negative, or a class is missing"
_NONE_CALLED, _ALL_CALLED = "nothing was called positive", "everything was called positive"

#: Key -> what the score is, in the order of tables.
SCORES: Mapping[str, Fact] = {
    "auc": Fact("AUC", "share of pairs of a positive and a negative in the right order, ties half", _ONE_CLASS),
    "sensitivity": Fact("sensitivity", "TP / (TP + FN)", _NO_POSITIVE),
    "specificity": Fact("specificity", "TN / (TN + FP)", _NO_NEGATIVE),
    "precision": Fact("precision (PPV)", "TP / (TP + FP)", _NONE_CALLED),
    "npv": Fact("NPV", "TN / (TN + FN)", _ALL_CALLED),
    "accuracy": Fact("accuracy", "(TP + TN) / n"),
    "balanced_accuracy": Fact("balanced accuracy", "(sensitivity + specificity) / 2", _ONE_CLASS),
    "f1": Fact("F1", "2 TP / (2 TP + FP + FN)", "there is no true and no called positive"),
    "mcc": Fact("MCC", "correlation of truth and answer, −1 to 1", "truth or answers are all of one class"),
    "fpr": Fact("FPR", "FP / (FP + TN)", _NO_NEGATIVE, False),
    "fdr": Fact("FDR", "FP / (FP + TP)", _NONE_CALLED, False),
    "fnr": Fact("FNR", "FN / (FN + TP)", _NO_POSITIVE, False),
    "lr_positive": Fact("LR+", "likelihood ratio of a positive answer, sensitivity / FPR", _NO_FALSE),
    "lr_negative": Fact("LR−", "likelihood ratio of a negative answer, FNR / specificity", _NO_TRUE, False),
    "prevalence": Fact("prevalence", "share of positives among the scored cases", "", None),
    "ppv_at_prevalence": Fact("PPV at stated prevalence", "by Bayes from sensitivity and specificity", _NONE_CALLED),
    "npv_at_prevalence": Fact("NPV at stated prevalence", "by Bayes from sensitivity and specificity", _ALL_CALLED),
    "average_precision": Fact("average precision", "area of steps under the precision-recall curve", _NO_POSITIVE),
    "partial_auc": Fact("partial AUC", "area under the ROC curve at 90 to 100 % specificity, 0 to 0.1", _ONE_CLASS),
    "partial_auc_standardised": Fact(
        "partial AUC, standardised", "the same, brought to 0.5 for chance and 1 for perfect (McClish 1989)", _ONE_CLASS
    ),
    "sensitivity_at_specificity": Fact(
        "sensitivity at 95 % specificity", "the best of a cut whose specificity is at least 0.95", _ONE_CLASS
    ),
    "specificity_at_sensitivity": Fact(
        "specificity at 95 % sensitivity", "the best of a cut whose sensitivity is at least 0.95", _ONE_CLASS
    ),
    "brier": Fact("Brier score", "mean squared error of the probability", "", False),
    "log_loss": Fact("log loss", "mean of −log of the true class's probability, in nats", "", False),
    "calibration_error": Fact("calibration error, debiased", "mean |probability − frequency| over bins", "", False),
}  # fmt: skip


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassScore(Interval):
    """A score of whole images with its 95 % interval over patients."""

    left_out: float = Field(0.0, ge=0, le=1, description="share of resamples that do not define it; left out")


class ClassCurves(_Frozen):
    """ROC and precision-recall curve of one class against the rest; each a broken line, ends included."""

    fpr: list[float] = Field(description="1 - specificity, rising from 0 to 1; empty where one class is missing")
    sensitivity: list[float] = Field(description="of the same cuts")
    recall: list[float] = Field(description="sensitivity of each cut that calls anything positive, rising")
    precision: list[float] = Field(description="of the same cuts")


class DecisionCurve(_Frozen):
    """Net benefit over the probability from which on one would act (Vickers and Elkin 2006)."""

    threshold: list[float]
    model: list[float]
    low: list[float] = Field(description="lower end of the 95 % interval of `model`; empty with too few groups")
    high: list[float] = Field(description="upper end")
    treat_all: list[float] = Field(description="of calling every case positive; calling none has 0")


class ReliabilityBin(_Frozen):
    """Cases of like probability; see `catenary.metrics.calibration.equal_mass`."""

    n: int
    probability: float = Field(description="mean probability")
    frequency: float = Field(description="share of positives")
    low: float | None = Field(None, description="lower end of the 95 % interval of `frequency`")
    high: float | None = Field(None, description="upper end")


class BrierParts(_Frozen):
    """Brier score = miscalibration - discrimination + uncertainty (Dimitriadis et al. 2021)."""

    score: float
    miscalibration: float = Field(description="what perfect recalibration of these cases would save")
    discrimination: float = Field(description="what the recalibrated probabilities save against the prevalence")
    uncertainty: float = Field(description="Brier score of the prevalence")


class ClassDetails(_Frozen):
    """Curves and calibration of one class against the rest."""

    curves: ClassCurves
    decision: DecisionCurve
    reliability: list[ReliabilityBin]
    histogram: list[int] = Field(description="images by probability in 20 equal bins from 0 to 1")
    brier: BrierParts
    calibration_error_plain: float = Field(description="calibration error without debiasing")
    calibration_error_chance: float = Field(description="what of it chance alone gives a perfectly calibrated model")


class SourceScores(_Frozen):
    """The cases of one source (camera, clinic, data set)."""

    source: str
    n: int
    groups: int
    cases: dict[str, int] = Field(description="class -> number of cases")
    scores: dict[str, ClassScore] = Field(description="auc, accuracy, sensitivity, specificity; means over the classes")
    note: str = Field(description="what could not be measured here; empty where all could")


class CaseAnswer(_Frozen):
    """The answer about one image."""

    name: str
    group: str = Field(description="patient")
    source: str
    truth: str
    called: str
    probability: list[float] = Field(description="of each class")


class ClassComparison(_Frozen):
    """Two models on the same cases, paired."""

    a: str
    b: str
    n: int
    groups: int
    scores: dict[str, Difference] = Field(description="score -> b - a; means over the classes where there are several")
    conventions: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.n} cases in {self.groups} groups, paired; {self.b} - {self.a}"]
        for key, d in self.scores.items():
            if d.a is None or d.b is None or d.value is None:
                continue
            ends = "" if d.low is None or d.high is None else f" ({d.low:+.3f} to {d.high:+.3f})"
            p = "" if d.p is None else f", p = {d.p:.4f}"
            lines.append(f"{SCORES[key].title}: {d.a:.3f}, {d.b:.3f}, difference {d.value:+.3f}{ends}{p}")
        return "\n".join(lines)


class ClassEvaluation(_Frozen):
    """All that was measured of a classifier on a set of images."""

    split: str = Field(description="which images: test, val, ...")
    n: int = Field(description="number of images")
    groups: int = Field(description="number of patients among them")
    names: list[str] = Field(description="all classes")
    targets: list[str] = Field(
        description="what is scored against the rest: the positive class of two, else every class"
    )
    threshold: float | None = Field(description="positive from this probability on; null: the most probable class")
    prevalence: float | None = Field(description="stated prevalence of the predictive values")
    confusion: list[list[int]] = Field(description="images, confusion[true class][called class]")
    classes: dict[str, dict[str, ClassScore]] = Field(description="target -> score -> value")
    mean: dict[str, ClassScore] = Field(
        description="score -> mean of `classes` over the targets that define it; accuracy, balanced accuracy, MCC and "
        "log loss are over all classes at once"
    )
    details: dict[str, ClassDetails] = Field(description="target -> curves and calibration")
    sources: list[SourceScores] = Field(description="one row a source; empty where there is only one")
    baselines: dict[str, dict[str, float | None]] = Field(
        description="answer that needs no learning -> score -> mean over the targets"
    )
    cases: list[CaseAnswer]
    notes: list[str] = Field(description="what is not defined, left out or unsure, in words")
    conventions: dict[str, str] = Field(description="rule or score -> what was done, for people")

    def __str__(self) -> str:
        columns = [*self.targets, *(["mean"] if len(self.targets) > 1 else [])]
        tables = [self.classes.get(name, self.mean) for name in columns]
        keys = [key for key in SCORES if any(key in table for table in tables)]
        rows = [[self.split, *columns]] + [
            [SCORES[key].title, *(str(table.get(key, "–")) for table in tables)] for key in keys
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{self.n} cases in {self.groups} groups; 95 % intervals over groups.", *self.notes])
