"""From what a run knows to what a report tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from catenary.data.cases import Dataset
from catenary.plan import Plan, levels_of
from catenary.recipe import Model, Recipe
from catenary.report import CurvePair, QuantityRow, ReportData, write_report
from catenary.report.classpage import write_class_report as page_of_classes
from catenary.report.data import ClassReportData
from catenary.workflow.look import Known

if TYPE_CHECKING:
    from catenary.predict import Card
    from catenary.workflow.assess import Measured
    from catenary.workflow.classes import MeasuredClasses

__all__ = ["write_class_report", "write_class_run_report", "write_evaluation_report", "write_run_report"]


def write_run_report(folder: Path, known: Known, plan: Plan, card: Card, measured: Measured) -> Path:
    """The report of a fresh run: data, plan, course of training, scores; gives the HTML file."""
    data = _common(known.dataset, card, measured) | _of_run(folder, known, plan)
    return write_report(ReportData(**data), folder)


def write_evaluation_report(folder: Path, card: Card, dataset: Dataset, measured: Measured) -> Path:
    """The report of a model measured on some data set; gives the HTML file."""
    data = _common(dataset, card, measured) | {"fingerprint": card.fingerprint, "findings": dataset.findings}
    return write_report(ReportData(**data), folder)


def write_class_run_report(folder: Path, known: Known, plan: Plan, card: Card, measured: MeasuredClasses) -> Path:
    """The report of a fresh run of whole-image classes; gives the HTML file."""
    data = _of_classes(known.dataset, card, measured) | _of_run(folder, known, plan)
    return page_of_classes(ClassReportData(**data), folder)


def write_class_report(folder: Path, card: Card, dataset: Dataset, measured: MeasuredClasses) -> Path:
    """The report of a classifier measured on some data set; gives the HTML file."""
    data = _of_classes(dataset, card, measured) | {"fingerprint": card.fingerprint, "findings": dataset.findings}
    return page_of_classes(ClassReportData(**data), folder)


def _of_run(folder: Path, known: Known, plan: Plan) -> dict[str, Any]:
    """Data, plan and course of training."""
    from catenary.train.log import read_log

    return {
        "fingerprint": known.fingerprint,
        "findings": known.findings,
        "splits": known.splits.parts | {"left_out": known.splits.left_out},
        "split_how": known.splits.how,
        "plan": plan.rows(),
        "history": read_log(folder / "log.csv"),
        "monitor": plan.recipe.train.monitor,
    }


def _of_classes(dataset: Dataset, card: Card, measured: MeasuredClasses) -> dict[str, Any]:
    chosen = [] if card.calibration is None else [f"Probabilities are {card.calibration.reason}"]
    if card.operating is not None:
        chosen.append(f"Threshold {card.operating.reason}")
    elif card.labels.count == 2:
        chosen.append("Threshold 0.5: there are too few validation images of a class to choose another")
    return {
        "title": f"Classes of {dataset.name}",
        "model": describe(card.recipe),
        "dataset": dataset.name,
        "folder": dataset.root.name,
        "licence": dataset.licence,
        "labels": dataset.labels,
        "evaluation": measured.evaluation,
        "gallery": measured.gallery,
        "chosen": chosen,
        "provenance": _provenance(card) | measured.how,
    }


def _provenance(card: Card) -> dict[str, Any]:
    return {k: v for k, v in card.provenance.items() if k not in ("splits", "training_content")}


def _common(dataset: Dataset, card: Card, measured: Measured) -> dict[str, Any]:
    return {
        "title": f"Segmentation of {dataset.name}",
        "model": describe(card.recipe),
        "dataset": dataset.name,
        "folder": dataset.root.name,
        "licence": dataset.licence,
        "labels": dataset.labels,
        "evaluation": measured.evaluation,
        "gallery": measured.gallery,
        "measurements": measured.shares,
        "volumes": measured.volumes,
        "share_errors": card.share_errors,
        "quantities": [
            QuantityRow(case=name, quantity=key, unit=unit, truth=truth, prediction=pair.prediction[key][1])
            for name, pair in measured.quantities.items()
            for key, (unit, truth) in pair.truth.items()
        ],
        "curves": [
            CurvePair(
                quantity=f"{truth.name} {truth.of}",
                unit=truth.unit,
                distance=truth.distance.tolist(),
                truth=truth.value.tolist(),
                prediction=found.value.tolist(),
            )
            for truth, found in measured.curves
        ],
        "provenance": _provenance(card) | measured.how,
    }


def describe(recipe: Recipe) -> str:
    """The network in a few words.

    >>> describe(Recipe())
    'U-Net, 5 levels, widths 32 to 512'
    >>> describe(Recipe(model=Model(block="recurrent_residual", skip="attention")))
    'U-Net, recurrent residual blocks, attention skips, 5 levels, widths 32 to 512'
    """
    model, plain = recipe.model, Model()
    name = {"unet": "U-Net"}.get(model.name, model.name)
    if recipe.model.name in ("classifier", "encoder_classifier") or "_cnn" in name:
        return (
            f"{name} on {model.encoder}" if model.encoder else f"{name}, widths {model.widths[0]} to {model.widths[-1]}"
        )
    if model.encoder:
        return f"{name} on {model.encoder}, decoder widths {model.widths[0]} to {model.widths[-1]}"
    words = {"topology": "topology", "block": "blocks", "skip": "skips"}
    chosen = {part: getattr(model, part) for part in words if getattr(model, part) != getattr(plain, part)}
    other = [f"{value} {words[part]}".replace("_", " ") for part, value in chosen.items()]
    return ", ".join([name, *other, f"{levels_of(recipe)} levels, widths {model.widths[0]} to {model.widths[-1]}"])
