"""``catenary city``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["city"]


def city(
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder of the files.")],
    size: Annotated[
        tuple[int, int], typer.Option(metavar="ROWS COLUMNS", help="Pixels of the earlier image, any number.")
    ] = (2048, 2048),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Another one gives another city.")] = 0,
    shift: Annotated[
        float, typer.Option(metavar="PIXELS", min=0, max=20, help="Largest displacement of the later image.")
    ] = 0.0,
    colours: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="How much the dates differ in colour, haze and season.")
    ] = 0.5,
    pixel: Annotated[float, typer.Option(metavar="METRES", help="Side of a pixel.")] = 0.5,
    crs: Annotated[str, typer.Option(metavar="CRS", help="Coordinate reference system, in metres.")] = "EPSG:32637",
    post_crs: Annotated[str | None, typer.Option(metavar="CRS", help="Another one for the later image.")] = None,
    post_pixel: Annotated[
        float | None, typer.Option(metavar="UNITS", help="Side of the later image's pixels in units of its CRS.")
    ] = None,
    nodata: Annotated[bool, typer.Option("--nodata", help="Each image lacks a corner.")] = False,
    tiles: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="NUMBER SIDE", help="A set to train on instead: so many pairs of so many pixels a side."),
    ] = None,
) -> None:
    """Draw a made-up city before and after a storm, with the damage of every building.

    Writes pre.tif and post.tif of any size in constant memory, truth.tif with the grade of every pixel, and
    buildings.gpkg with that of every building. With --tiles, a set in the layout of xBD cut from several cities.

    Examples:
        catenary city --tiles 64 256 --out tiles
        catenary fit tiles --recipe building-damage --out runs/damage --minutes 20
        catenary city --shift 6 --post-crs EPSG:4326 --nodata --seed 7 --out city
        catenary predict runs/damage --pre city/pre.tif --post city/post.tif --out map
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        written = workflow.write_city(
            out,
            shape=size,
            seed=seed,
            shift=shift,
            colour_change=colours,
            crs=crs,
            pixel=pixel,
            post_crs=post_crs,
            post_pixel=post_pixel,
            nodata=nodata,
            tiles=tiles,
            progress=progress,
        )
    show.files(written)
