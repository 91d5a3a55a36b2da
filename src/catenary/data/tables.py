"""Tables of text: a row a case."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from catenary.errors import DataError

__all__ = ["read_rows"]


def read_rows(path: Path, known: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV file with trimmed cells; a row that is cut short has empty ones.

    Args:
        path: UTF-8, with commas, semicolons or tabs, and names of the columns in the first line.
        known: Columns, in small letters, that are known by these names however the file writes them.

    Raises:
        DataError: The file cannot be read, has no rows, or a column twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        header = text.split("\n", 1)[0]
        table = list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=header.count)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); save it as UTF-8 with a header row") from error
    columns = [c.strip().lower() if c.strip().lower() in known else c.strip() for c in table[0]] if table else []
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{path} has the column '{twice[0]}' twice; rename one")
    rows = [[cell.strip() for cell in row] for row in table[1:] if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError(f"{path} has no rows; give one row a case with the columns image and mask")
    return [dict(zip(columns, [*row, *[""] * len(columns)], strict=False)) for row in rows]
