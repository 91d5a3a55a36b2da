"""``catenary fields``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from catenary.workflow.fields import Fields

__all__ = ["fields"]


def fields(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", show_default=False, help="CSV with one row a visit, or the folder of GRAPE's two tables."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder of the result.")],
    p: Annotated[
        float, typer.Option("--p", metavar="P", help="A point's slope is significant below this (PLR2, PLR3).")
    ] = 0.01,
    sides: Annotated[int, typer.Option(metavar="1|2", help="One-sided or two-sided p of the points.")] = 1,
    md_p: Annotated[
        float, typer.Option("--md-p", metavar="P", help="The slope of MD is significant below this, one-sided.")
    ] = 0.05,
    omit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Last visits that must each confirm a point (Gardiner and Crabb).")
    ] = 2,
    permutations: Annotated[
        int, typer.Option(metavar="N", help="Orders that PoPLR tries; all there are where these are no more.")
    ] = 5040,
    grid: Annotated[
        str | None, typer.Option(metavar="24-2|g1", help="Where the points lie, where the table cannot say.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the random orders of PoPLR.")] = 0,
) -> None:
    """Tell from visual fields over the years which eyes get worse.

    Fits a line to every point and to MD, gives the labels PLR2, PLR3 and MD, the rule of Gardiner and Crabb and the p
    of PoPLR, and writes labels.csv, slopes.csv, fields.json and report.html with a section for each eye. Tables of
    GRAPE and of visualFields are known; any other has columns patient, eye, years or date, and points or md.

    Examples:
        catenary fields visits.csv --out fields
        catenary fields grape --out fields --p 0.0175 --sides 2
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress
    from catenary.fields import Criteria

    criteria = Criteria(p=p, sides=sides, md_p=md_p, omit=omit, permutations=permutations, seed=seed)
    with show_progress() as progress:
        found = workflow.fields(table, out=out, criteria=criteria, grid=grid, progress=progress)
    _show(found)
    show.findings(found.findings)
    print(f"Open {found.page}")


def _show(found: Fields) -> None:
    """How many eyes each rule flags, beside the table's own labels."""
    from catenary.cli import show

    judged = [trend for trend in found.trends if trend.progressing is not None]
    title = f"{len(found.trends)} eyes, {len(judged)} of them labelled"
    table = show.new_table("rule", "flagged", "of", "as in the table", title=title, right=("flagged", "of"))
    rules = {
        "PLR2": [trend.plr2 for trend in judged],
        "PLR3": [trend.plr3 for trend in judged],
        "MD": [trend.md_worse for trend in judged],
        "progressing (any of these)": [trend.progressing for trend in judged],
        "Gardiner and Crabb": [trend.gardiner_crabb for trend in judged],
        "PoPLR, p < 0.05": [trend.poplr.p < 0.05 if trend.poplr else None for trend in judged],
    }
    for name, labels in rules.items():
        known = [label for label in labels if label is not None]
        same, of = found.agreement.get(name, (0, 0))
        show.add_row(table, name, sum(known), len(known), f"{same} of {of}" if of else "")
    show.the_console().print(table)
