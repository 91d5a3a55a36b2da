"""``catenary crop``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.options import Data, Group

__all__ = ["crop"]


def crop(
    data: Data,
    disc: Annotated[Path, typer.Option(metavar="RUN", show_default=False, help="Run that finds disc and cup.")],
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder of the crops, made if need be.")],
    margin: Annotated[
        str, typer.Option(metavar="50px|0.5", help="How far around the disc is kept, in pixels or in disc diameters.")
    ] = "0.5",
    group: Group = None,
) -> None:
    """Cut the discs out of fundus photographs.

    The photographs have a known class; the crops are a data set for `catenary fit`, with the class, patient and source
    of each. Photographs in which no disc, or more than one, is found are named and left out.

    Examples:
        catenary crop photos --disc runs/disc --out crops
        catenary crop photos --disc runs/disc --out crops --margin 50px
    """
    import sys

    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        folder, without = workflow.crop(data, disc=disc, out=out, margin=margin, group=group, progress=progress)
    if without:
        print(f"catenary: warning: no single disc was found in {', '.join(without)}; left out", file=sys.stderr)
    show.files({"crops": folder})
    print(f"Learn from them with: catenary fit {folder} --recipe glaucoma-detection --out RUN")
