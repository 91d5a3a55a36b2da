"""``catenary screen``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.predict import Engine

__all__ = ["screen"]


def screen(
    pipeline: Annotated[
        Path, typer.Argument(metavar="PIPELINE", show_default=False, help="Folder that `catenary pipeline` made.")
    ],
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO...", show_default=False, help="Photographs, folders of them, or patterns."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder of the results.")],
    engine: Annotated[
        Engine, typer.Option(metavar="|".join(Engine), help="What runs the networks; auto: full precision.")
    ] = Engine.auto,
) -> int:
    """Screen fundus photographs for glaucoma.

    Writes one row a photograph to screening.csv and screening.json, and a page a photograph to report.html. A photo
    that a stage stops has no answer, and the reason is told; the exit code is 2 when a file could not be read.

    Examples:
        catenary screen screening photo.jpg --out answers
        catenary screen screening 'clinic/*.jpg' --out answers
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        found = workflow.screen(pipeline, photos, out=out, engine=engine.value, progress=progress)
    return show.screened(found, out)
