"""``catenary inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.options import Data, Group

__all__ = ["inspect"]


def inspect(
    data: Data,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the contact sheet and the findings.")
    ] = None,
    group: Group = None,
) -> int:
    r"""What is there and what is wrong; trains nothing.

    Ends with exit code 2 when something is found that training would refuse.

    Examples:
        catenary inspect lesions --out look
        catenary inspect eyes --group '(\d+)[LR]'
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        found = workflow.inspect(data, group=group, out=out, progress=progress)
    show.dataset(found.dataset, found.fingerprint)
    show.findings(found.findings)
    if found.contact_sheet is not None:
        show.files({"contact sheet": found.contact_sheet})
    return 2 if any(finding.level == "error" for finding in found.findings) else 0
