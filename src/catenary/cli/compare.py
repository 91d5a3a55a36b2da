"""``catenary compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="Folder of a run.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="Folder of another run.")],
) -> None:
    """Set two runs side by side, case by case.

    Both must have been measured on the same test cases; the difference is paired and stands with its 95 % interval.

    Examples:
        catenary compare runs/skin runs/deep
    """
    from catenary import workflow
    from catenary.cli import show

    show.comparison(workflow.compare(run_a, run_b))
