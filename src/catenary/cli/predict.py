"""``catenary predict``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.options import Run

__all__ = ["predict"]


class Engine(StrEnum):
    """What runs the network."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"
    onnx = "onnx"


def predict(
    run: Run,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", show_default=False, help="Images, folders of images, or patterns: 'in/*.png'."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder for the masks.")],
    engine: Annotated[
        Engine, typer.Option(metavar="|".join(Engine), help="What runs the network; auto: the fastest that agrees.")
    ] = Engine.auto,
    tta: Annotated[bool, typer.Option("--tta", help="Average the answers to the flipped images too.")] = False,
    probability: Annotated[bool, typer.Option("--probability", help="Write the probabilities too.")] = False,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the mask drawn over the image too.")] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.95,
            metavar="SHARE",
            help="Share of a tile that neighbours share; the run's own when not given.",
        ),
    ] = None,
) -> int:
    """Segment images of any size.

    Writes one mask an image, of the image's own size, and measurements.csv. An input that cannot be read is named at
    the end, and the exit code is 2; the others are done all the same.

    Examples:
        catenary predict runs/skin photo.jpg --out masks
        catenary predict runs/skin 'new/*.tif' more/ --out masks --overlay --tta
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        records = workflow.predict(
            run,
            inputs,
            out=out,
            engine=engine.value,
            tta=tta,
            probability=probability,
            overlay=overlay,
            overlap=overlap,
            progress=progress,
        )
    return show.predictions(records, out)
