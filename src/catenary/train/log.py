"""What training writes down while it runs: one CSV row a validation, and the same for TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catenary.errors import writing

__all__ = ["COLUMNS", "Log", "read_log"]

COLUMNS = ("step", "epoch", "minutes", "train_loss", "val_loss", "val_score", "lr")


class Log:
    """Appends rows to ``log.csv`` and scalars to ``tensorboard/`` in the run folder.

    Args:
        folder: The run folder.
        keep_until: When a run is resumed, rows after this step are dropped: they will be made again.
    """

    def __init__(self, folder: Path, *, keep_until: int | None = None) -> None:
        self.path = folder / "log.csv"
        self.rows = [] if keep_until is None else [row for row in read_log(self.path) if row["step"] <= keep_until]
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._write()
        self._tensorboard = _writer(folder / "tensorboard", purge_step=keep_until)

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row with the `COLUMNS`."""
        self.rows.append({name: float(row[name]) for name in COLUMNS})
        with writing(self.path):
            self._write()
        for name in COLUMNS[3:]:
            self._tensorboard.add_scalar(name, row[name], int(row["step"]))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add one scalar to TensorBoard only."""
        self._tensorboard.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush everything."""
        self._tensorboard.close()

    def _write(self) -> None:
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows of a ``log.csv``; none when it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _writer(folder: Path, *, purge_step: int | None) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder), purge_step=purge_step)
