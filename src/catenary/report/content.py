"""From `ReportData` to the `Document` of ``report.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from catenary.metrics.evaluation import Baseline, Evaluation, Interval
from catenary.report.data import ClassReportData, ReportData
from catenary.report.document import (
    CurveEntry,
    DatasetEntry,
    Document,
    FindingEntry,
    Headline,
    MeasurementEntry,
    PlanEntry,
    QuantityEntry,
    Splits,
    VolumeEntry,
)
from catenary.report.words import headline, nouns_of

__all__ = ["document", "plain", "run_facts"]


def document(data: ReportData) -> Document:
    """All numbers and words of the report, in plain types; values that are not finite become null."""
    measured = data.evaluation
    return Document(
        headline=_headline(data, measured),
        **run_facts(data),
        **{name: getattr(measured, name) for name in Evaluation.model_fields},
        measurements=[
            MeasurementEntry(case=row.case, target=row.target, truth=row.truth, prediction=row.prediction)
            for row in data.measurements
        ],
        volumes=[
            VolumeEntry(case=row.case, target=row.target, unit=row.unit, truth=row.truth, prediction=row.prediction)
            for row in data.volumes
        ],
        quantities=[
            QuantityEntry(
                case=row.case,
                quantity=row.quantity,
                unit=row.unit,
                truth=_finite(row.truth),
                prediction=_finite(row.prediction),
            )
            for row in data.quantities
        ],
        curves=[
            CurveEntry(
                quantity=row.quantity,
                unit=row.unit,
                distance=[float(x) for x in row.distance],
                truth=[_finite(float(y)) for y in row.truth],
                prediction=[_finite(float(y)) for y in row.prediction],
            )
            for row in data.curves
        ],
        share_errors={name: float(error) for name, error in data.share_errors.items()},
    )


def run_facts(data: ReportData | ClassReportData) -> dict[str, Any]:
    """What every report of a run tells, whatever was measured: data, plan, findings, splits, training, provenance."""
    return {
        "title": data.title,
        "model": data.model,
        "dataset": DatasetEntry(
            name=data.dataset,
            folder=data.folder,
            licence=data.licence,
            classes=list(data.labels.names),
            targets=list(data.labels.target_names),
            task=data.labels.task,
            fingerprint=plain(data.fingerprint) or {},
        ),
        "plan": [PlanEntry(field=name, value=value, reason=reason) for name, value, reason in data.plan],
        "findings": [FindingEntry.model_validate(plain(finding.to_dict())) for finding in data.findings],
        "splits": Splits(
            train=list(data.splits.get("train", ())),
            val=list(data.splits.get("val", ())),
            test=list(data.splits.get("test", ())),
            left_out=list(data.splits.get("left_out", ())),
            how=data.split_how,
        ),
        "history": [{name: _finite(value) for name, value in row.items()} for row in data.history],
        "provenance": plain(data.provenance) or {},
    }


def _headline(data: ReportData, measured: Evaluation) -> Headline:
    warnings = sum(finding.level in ("warning", "error") for finding in data.findings)
    return headline(
        dataset=data.dataset,
        split=measured.split,
        n=measured.n,
        groups=measured.groups,
        mean=measured.mean["dice"],
        baselines={name: rival.mean["dice"].value for name, rival in measured.baselines.items()},
        weak_classes=_weak(measured.classes, measured.baselines),
        absent_classes=[name for name, empty in measured.empty.items() if empty.n_truth_empty == empty.images],
        warnings=warnings,
        trained_on=measured.trained_on,
        nouns=nouns_of(data.volumes),
    )


def plain(value: Any) -> Any:
    """Anything as JSON knows it: models and tuples opened, paths and the rest as text, no NaN.

    >>> plain({"a": (1, float("nan")), 2: None})
    {'a': [1, None], '2': None}
    """
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return _finite(value)
    return value if value is None or isinstance(value, str | bool | int) else str(value)


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _weak(classes: Mapping[str, Mapping[str, Interval]], baselines: Mapping[str, Baseline]) -> list[str]:
    """Classes whose Dice interval does not lie above their best baseline."""
    weak = []
    for name, row in classes.items():
        rivals = [v for rival in baselines.values() if (v := rival.classes[name]["dice"].value) is not None]
        own = row["dice"]
        low = own.value if own.low is None else own.low
        if rivals and low is not None and low <= max(rivals):
            weak.append(name)
    return weak
