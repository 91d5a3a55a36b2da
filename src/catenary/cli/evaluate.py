"""``catenary evaluate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.options import Data, Run

__all__ = ["evaluate"]


class Part(StrEnum):
    """Which cases are measured."""

    test = "test"
    val = "val"
    train = "train"
    all = "all"


def evaluate(
    run: Run,
    data: Data,
    split: Annotated[
        Part, typer.Option(metavar="|".join(Part), help="Which cases of the run's own split are measured.")
    ] = Part.test,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for report.html and report.json.")] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of the ill where the model will be used, for predictive values."),
    ] = None,
) -> None:
    """Measure a model: table, JSON and report.

    Scores stand with their 95 % intervals and beside trivial baselines.

    Examples:
        catenary evaluate runs/skin lesions --split test --out measured
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        evaluation = workflow.evaluate(run, data, split=split.value, out=out, prevalence=prevalence, progress=progress)
    show.evaluation(evaluation)
    if out is not None:
        show.files({"report": out / "report.html"})
