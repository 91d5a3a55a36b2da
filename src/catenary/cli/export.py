"""``catenary export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from catenary.workflow import Exported

__all__ = ["export"]


class Format(StrEnum):
    """What a model is written as."""

    onnx = "onnx"
    openvino = "openvino"
    hdf5 = "hdf5"
    bioimageio = "bioimageio"
    phone = "phone"
    site = "phone-site"


class Precision(StrEnum):
    """Numbers that a network is kept in."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|PIPELINE", show_default=False, help="Folder of a run or of a pipeline.")
    ],
    to: Annotated[Format, typer.Option(metavar="|".join(Format), help="The format.")] = Format.onnx,
    precision: Annotated[
        Precision | None,
        typer.Option(
            metavar="|".join(Precision),
            help="fp16: weights of 16 bits; int8: eight bits, with ranges from training images. fp16 for phones, else "
            "fp32, when left out.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Data set or folder of images to compare on; the run's own when left out, made-up tiles where that is "
            "gone.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="File or folder; beside the model when left out.")
    ] = None,
    drift: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Largest share of pixels that may change class, a tenth of what Dice may lose; of classifiers, "
            "largest mean change of a probability.",
        ),
    ] = 0.001,
) -> None:
    """Write a model, or those of a pipeline, for other programs.

    Each copy is run on real images and compared with torch; one that departs further than --drift is refused. All that
    turns pixels into its input and its answer into a mask travels in the file, and in export.json beside it.

    Examples:
        catenary export runs/skin --to onnx --precision fp16
        catenary export runs/skin --to openvino --precision int8 --data lesions
        catenary export runs/skin --to hdf5 --out skin.h5
        catenary export screening --to phone --data photos --out phone
    """
    from catenary import workflow
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        found = workflow.export(
            source, to=to.value, precision="" if precision is None else precision.value, data=data, out=out,
            drift=drift, progress=progress,
        )  # fmt: skip
    _show(found)


def _show(found: Exported) -> None:
    """Each file with how far it departs from torch."""
    from catenary.cli.show import add_row, new_table, the_console

    numbers = ("MB", "change class", "Dice", "p, most", "p, mean")
    table = new_table("file", "precision", *numbers, "compared on", right=numbers)
    for one in found.written:
        drift = one.drift
        dice = f"{min(drift.dice.values()):.5f}" if drift.dice else ""
        add_row(
            table, one.path.name, one.description["precision"], f"{one.size / 1e6:.1f}", f"{100 * drift.changed:.3f} %",
            dice, f"{drift.probability_max:.1e}", f"{drift.probability_mean:.1e}", f"{drift.tiles} tiles: {drift.on}",
        )  # fmt: skip
    the_console().print(table)
    for note in found.notes:
        print(f"note: {note}")
    print(f"written to {found.path}")
