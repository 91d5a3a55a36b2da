"""``catenary align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["align"]

Crs = typer.Option(metavar="CRS", help="Its coordinate reference system where the file states none: EPSG:32637.")


def align(
    pre: Annotated[Path, typer.Argument(metavar="PRE", show_default=False, help="The earlier image; its grid counts.")],
    post: Annotated[Path, typer.Argument(metavar="POST", show_default=False, help="The later image.")],
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder of the result.")],
    pre_crs: Annotated[str | None, Crs] = None,
    post_crs: Annotated[str | None, Crs] = None,
    block: Annotated[int, typer.Option(min=32, metavar="PIXELS", help="Side of the blocks that are compared.")] = 256,
    reach: Annotated[
        int, typer.Option(min=2, metavar="PIXELS", help="How far a block is looked for around the scene's own shift.")
    ] = 32,
) -> None:
    """Lay two images of one place onto each other.

    Georeferenced images of two dates seldom meet exactly. Whatever their CRS, resolution and colours, this finds how
    the later one is displaced, smoothly over the scene and finer than a pixel, and says where it is not sure.

    Examples:
        catenary align before.tif after.tif --out aligned
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        found = workflow.align(
            pre, post, out=out, pre_crs=pre_crs, post_crs=post_crs, block=block, reach=reach, progress=progress
        )
    show.registration(found)
