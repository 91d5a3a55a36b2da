"""``catenary fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.options import (
    Data,
    Epochs,
    Group,
    Minutes,
    ModelName,
    RecipeName,
    Seed,
    Settings,
    Steps,
    seeded,
)

__all__ = ["fit"]


def fit(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="RUN", show_default=False, help="Folder of the run, made if need be.")],
    recipe: RecipeName = "default",
    model: ModelName = None,
    minutes: Minutes = 0.0,
    epochs: Epochs = 0,
    steps: Steps = 0,
    settings: Settings = None,
    group: Group = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")] = False,
    devices: Annotated[int, typer.Option(min=1, metavar="N", help="Processes (CPU) or cards (GPU).")] = 1,
    seed: Seed = None,
    init: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run whose network and weights this one starts from.")
    ] = None,
) -> None:
    """Train a model and evaluate it.

    Reads the data set, refuses what is wrong in it, plans, trains, measures on the test cases, and writes the model
    and a report into the run's folder. Killed at any moment, the same command with --resume goes on.

    Examples:
        catenary fit lesions --out runs/skin --minutes 30
        catenary fit lesions --out runs/deep --epochs 40 --set model.depth=6 --set train.lr=0.0005
        catenary fit xbd --recipe building-damage --model unetpp --out runs/damage
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress
    from catenary.recipes import with_model

    recipe, chosen = with_model(recipe, model)
    with show_progress() as progress:
        run = workflow.fit(
            data,
            out=out,
            recipe=recipe,
            minutes=minutes,
            epochs=epochs,
            steps=steps,
            settings=[*chosen, *seeded(settings, seed)],
            group=group,
            resume=resume,
            devices=devices,
            init=init,
            progress=progress,
        )
    show.run(run)
