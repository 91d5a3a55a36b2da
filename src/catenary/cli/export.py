"""``catenary export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.options import Run

__all__ = ["export"]


class Format(StrEnum):
    """What a model is written as."""

    hdf5 = "hdf5"


def export(
    run: Run,
    to: Annotated[Format, typer.Option(metavar="|".join(Format), help="The format.")] = Format.hdf5,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to; beside the model when left out.")] = None,
) -> None:
    """Write a model in another format.

    Weights and the card (preprocessing, classes, thresholds, provenance) go into one file, which predict reads too.

    Examples:
        catenary export runs/skin --to hdf5 --out skin.h5
    """
    from catenary import workflow
    from catenary.cli import show

    show.files({"model": workflow.export(run, to=to.value, out=out)})
