"""From what a run knows to what a report tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from catenary.data.cases import Dataset
from catenary.plan import Plan, levels_of
from catenary.recipe import Model, Recipe
from catenary.report import CurvePair, QuantityRow, ReportData, write_report
from catenary.workflow.look import Known

if TYPE_CHECKING:
    from catenary.predict import Card
    from catenary.workflow.assess import Measured

__all__ = ["write_evaluation_report", "write_run_report"]


def write_run_report(folder: Path, known: Known, plan: Plan, card: Card, measured: Measured) -> Path:
    """The report of a fresh run: data, plan, course of training, scores; gives the HTML file."""
    from catenary.train.log import read_log

    data = _common(known.dataset, card, measured) | {
        "fingerprint": known.fingerprint,
        "findings": known.findings,
        "splits": known.splits.parts | {"left_out": known.splits.left_out},
        "split_how": known.splits.how,
        "plan": plan.rows(),
        "history": read_log(folder / "log.csv"),
        "monitor": plan.recipe.train.monitor,
    }
    return write_report(ReportData(**data), folder)


def write_evaluation_report(folder: Path, card: Card, dataset: Dataset, measured: Measured) -> Path:
    """The report of a model measured on some data set; gives the HTML file."""
    data = _common(dataset, card, measured) | {"fingerprint": card.fingerprint, "findings": dataset.findings}
    return write_report(ReportData(**data), folder)


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
        "provenance": {k: v for k, v in card.provenance.items() if k not in ("splits", "training_content")}
        | measured.how,
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
    if model.encoder:
        return f"{name} on {model.encoder}, decoder widths {model.widths[0]} to {model.widths[-1]}"
    words = {"topology": "topology", "block": "blocks", "skip": "skips"}
    chosen = {part: getattr(model, part) for part in words if getattr(model, part) != getattr(plain, part)}
    other = [f"{value} {words[part]}".replace("_", " ") for part, value in chosen.items()]
    return ", ".join([name, *other, f"{levels_of(recipe)} levels, widths {model.widths[0]} to {model.widths[-1]}"])
