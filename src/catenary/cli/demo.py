"""``catenary demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for data, run and predictions.")] = Path("runs/demo"),
) -> None:
    """The whole path on made-up images, in a few minutes.

    Draws a phantom data set with exact truth, trains on it, measures the model and segments new images. Nothing is
    downloaded.
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        run = workflow.demo(out, progress=progress)
    show.run(run, overlays=out / "predictions")
