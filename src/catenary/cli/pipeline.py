"""``catenary pipeline``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.options import Epochs, Minutes, Steps

__all__ = ["pipeline"]


def pipeline(
    out: Annotated[Path, typer.Argument(metavar="PIPELINE", show_default=False, help="Folder, made if need be.")],
    disc: Annotated[
        Path | None, typer.Option(metavar="RUN|DATA", help="What finds disc and cup; data are trained on first.")
    ] = None,
    glaucoma: Annotated[
        Path | None, typer.Option(metavar="RUN|DATA", help="What tells glaucoma from healthy eyes.")
    ] = None,
    progression: Annotated[
        Path | None, typer.Option(metavar="RUN|DATA", help="What tells progressing from stable glaucoma.")
    ] = None,
    margin: Annotated[
        str, typer.Option(metavar="50px|0.5", help="How far around the disc judges see, in pixels or disc diameters.")
    ] = "0.5",
    quality: Annotated[
        str, typer.Option(metavar="usable|good|off", help="The worst quality of a photo that is judged.")
    ] = "usable",
    sees: Annotated[str, typer.Option(metavar="disc|photo", help="What the judges look at.")] = "disc",
    minutes: Minutes = 0.0,
    epochs: Epochs = 0,
    steps: Steps = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STAGE.KEY=VALUE",
            help="Fix a field of a stage that is trained: disc.train.lr=0.001.",
        ),
    ] = None,
) -> None:
    """Join trained stages to a screening pipeline.

    `catenary screen` runs it. The stages, in their order: a quality gate, disc and cup, glaucoma, and progression where
    glaucoma was found. Each is a finished run, or data to train it on by its recipe; the run then lies beside the
    pipeline. Whole photographs are cut by the disc stage first; crops of `catenary crop`, and GRAPE, stay as they are.
    The same command goes on where it was interrupted.

    Examples:
        catenary pipeline screening --disc runs/disc --glaucoma runs/glaucoma
        catenary pipeline screening --disc PHOTOS_AND_MASKS --glaucoma PHOTOS --progression GRAPE --minutes 20
    """
    import sys

    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        joined = workflow.pipeline(
            out,
            disc=disc,
            glaucoma=glaucoma,
            progression=progression,
            margin=margin,
            quality=quality,
            sees=sees,
            minutes=minutes,
            epochs=epochs,
            steps=steps,
            settings=settings or (),
            progress=progress,
        )
    for name, without in joined.left_out.items():
        if without:
            what = f"no single disc was found in {', '.join(without)}; {name} did not learn from them"
            print(f"catenary: warning: {what}", file=sys.stderr)
    show.files({f"{name} trained": run for name, run in joined.runs.items()} | {"pipeline": joined.path})
    print(f"Screen photographs with: catenary screen {joined.path} PHOTO... --out DIR")
