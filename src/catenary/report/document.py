"""The content of ``report.json``: plain numbers and words, frozen and typed. ``report.html`` shows nothing else.

The schema is described for readers in ``docs/report-json.md``; `json_schema` gives it to programs.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catenary.metrics.classresults import ClassEvaluation
from catenary.metrics.evaluation import Baseline, CaseScores, Comparison, DamageScores, Empty, Interval, ObjectTotals

__all__ = [
    "FORMAT",
    "ClassDocument",
    "CurveEntry",
    "DatasetEntry",
    "Document",
    "FindingEntry",
    "Headline",
    "MeasurementEntry",
    "PlanEntry",
    "QuantityEntry",
    "Splits",
    "VolumeEntry",
    "json_schema",
]

#: Name and version of the format; the number grows when a field changes its meaning or goes.
FORMAT = "catenary.report/1"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeasurementEntry(_Entry):
    """One quantity of one case, as the truth and as the prediction have it."""

    case: str
    target: str = Field(description="class or region")
    truth: float = Field(description="share of the judged pixels, 0 to 1, in the truth")
    prediction: float = Field(description="the same in the prediction")


class VolumeEntry(_Entry):
    """Volume of one target in one case, as the truth and as the prediction have it."""

    case: str
    target: str = Field(description="class or region")
    unit: str = Field(description="ml where the spacing is in mm, else the cube of its unit; voxels without one")
    truth: float = Field(ge=0, description="volume of the judged voxels in the truth")
    prediction: float = Field(ge=0, description="the same in the prediction")


class QuantityEntry(_Entry):
    """One published quantity of one case; null where it is not defined."""

    case: str
    quantity: str = Field(description="which quantity, and of what")
    unit: str
    truth: float | None
    prediction: float | None


class CurveEntry(_Entry):
    """One quantity over a distance, mean over the scored cases; null where it is not defined."""

    quantity: str = Field(description="which quantity, and of what")
    unit: str = Field(description="of the distance")
    distance: list[float]
    truth: list[float | None]
    prediction: list[float | None]


class FindingEntry(_Entry):
    """Something that the doctor found in the data set."""

    level: Literal["error", "warning", "note"]
    code: str
    message: str
    remedy: str
    cases: list[str] = Field(description="names of the cases concerned")


class PlanEntry(_Entry):
    """One decision: which field, its value, why."""

    field: str
    value: str
    reason: str


class Splits(_Entry):
    """Names of the cases in each part."""

    train: list[str]
    val: list[str]
    test: list[str]
    left_out: list[str] = Field([], description="cases in no part")
    how: str = Field("", description="how the division was made, in words")


class DatasetEntry(_Entry):
    """The data set."""

    name: str
    folder: str = Field(description="name of its folder, without the way to it")
    licence: str
    classes: list[str] = Field(description="all classes, background first")
    targets: list[str] = Field(description="what is scored: foreground classes, or regions")
    task: Literal["binary", "exclusive", "overlapping"]
    fingerprint: dict[str, Any] = Field(description="statistics of the training cases")


class Headline(_Entry):
    """The result in words."""

    sentence: str = Field(description="the result in one or two plain sentences")
    verdict: Literal["above", "unclear", "below", "alone"] = Field(
        description="the mean Dice against the best baseline: its interval lies above it, holds it, lies below it; "
        "alone: there is no baseline"
    )
    baseline: str = Field("", description="name of the best baseline")
    cautions: list[str] = Field(description="what a reader must know before trusting the number")


class Document(_Entry):
    """All of ``report.json``."""

    format: Literal["catenary.report/1"] = "catenary.report/1"
    title: str
    model: str = Field(description="the network in words")
    headline: Headline
    split: str = Field(description="which images were scored: test, val, ...")
    n: int = Field(ge=0, description="number of scored images")
    groups: int = Field(ge=0, description="number of groups (patients, specimens) among them")
    dataset: DatasetEntry
    classes: dict[str, dict[str, Interval]] = Field(description="target -> metric -> mean over the images")
    mean: dict[str, Interval] = Field(description="metric -> mean of `classes` over the targets")
    pooled: dict[str, dict[str, Interval]] = Field(
        description="target -> metric -> value of the counts added up over all images"
    )
    pooled_mean: dict[str, Interval] = Field(description="metric -> mean of `pooled` over the targets")
    baselines: dict[str, Baseline] = Field(description="answers that need no learning, on the same images")
    confusion: list[list[int]] = Field(
        description="pixels, confusion[true class][predicted class]; empty where regions were predicted"
    )
    confusion_names: list[str] = Field(description="class of each row and column of `confusion`")
    empty: dict[str, Empty] = Field(description="target -> how many images were empty")
    objects: dict[str, ObjectTotals] = Field(description="target -> objects over all images")
    tolerance: float = Field(description="distance that counts as no error in nsd, in `unit`")
    unit: str = Field(description="unit of distances")
    cases: list[CaseScores] = Field(description="every image")
    trained_on: list[str] = Field(description="scored images whose pixels the model was trained on")
    conventions: dict[str, str] = Field(description="rule or metric -> what was done, for example with empty masks")
    damage: DamageScores | None = Field(description="grades of building damage, where the classes are such")
    gain: Comparison | None = Field(description="from the model that training started from (a) to this one (b)")
    measurements: list[MeasurementEntry]
    volumes: list[VolumeEntry] = Field(description="volume of each target in each case; empty for 2D images")
    quantities: list[QuantityEntry] = Field(description="published quantities of each case")
    curves: list[CurveEntry] = Field(description="published quantities over a distance")
    share_errors: dict[str, float] = Field(description="class -> validation error of its share, 0 to 1")
    plan: list[PlanEntry]
    findings: list[FindingEntry]
    splits: Splits
    history: list[dict[str, float | None]] = Field(description="one row a validation")
    provenance: dict[str, Any] = Field(description="versions, seed, commands, hardware, time: what reproduces it")


class ClassDocument(_Entry):
    """All of ``report.json`` where whole images have a class; see `Document` for fields of the same names."""

    format: Literal["catenary.classes/1"] = "catenary.classes/1"
    title: str
    model: str
    dataset: DatasetEntry
    evaluation: ClassEvaluation
    chosen: list[str] = Field(description="how calibration and threshold were chosen")
    plan: list[PlanEntry]
    findings: list[FindingEntry]
    splits: Splits
    history: list[dict[str, float | None]]
    provenance: dict[str, Any]


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of ``report.json``.

    >>> json_schema()["title"]
    'Document'
    """
    return Document.model_json_schema(mode="serialization")
