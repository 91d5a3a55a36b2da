"""Arguments and options that several commands share, so that each is worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Data",
    "Epochs",
    "Group",
    "Minutes",
    "ModelName",
    "RecipeName",
    "Run",
    "Seed",
    "Settings",
    "Steps",
    "seeded",
]

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", show_default=False, help="Folder of the data set: images, masks, or a manifest.csv."
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="Folder of a run that fit wrote.")]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Which cases belong together (one patient, one specimen): the first (group) of this pattern in the name.",
    ),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", metavar="NAME|FILE", help="A recipe by name, or a saved one (.json, .toml).")
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A network by name, see `catenary models`; or a recipe's own variant of that name.",
    ),
]
Minutes = Annotated[float, typer.Option(min=0, metavar="N", help="Budget in minutes, start-up included; 0 for none.")]
Epochs = Annotated[int, typer.Option(min=0, metavar="N", help="Budget in passes over the training cases; 0 for none.")]
Steps = Annotated[int, typer.Option(min=0, metavar="N", help="Budget in optimiser steps; 0 for none.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Fix one field, as in model.depth=5; may be given many times."),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", help="Seed of the split, the weights, the sampling and the augmentation.", min=0),
]


def seeded(settings: list[str] | None, seed: int | None) -> list[str]:
    """The settings with ``--seed`` spelt out; what ``--set`` says itself wins.

    >>> seeded(["train.seed=3"], 1)
    ['split.seed=1', 'train.seed=1', 'train.seed=3']
    """
    spelt = [] if seed is None else [f"split.seed={seed}", f"train.seed={seed}"]
    return spelt + list(settings or ())
