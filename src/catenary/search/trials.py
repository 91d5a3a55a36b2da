"""What was tried, as plain records and as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from catenary.io.files import write_text

__all__ = ["Trial", "best_of", "write_trials"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training of a search.

    Attributes:
        number: From 0; its folder is ``trials/NNNN``.
        state: ``"complete"``, ``"pruned"`` (stopped early: others were better by then), ``"failed"``, ``"running"`` or
            ``"waiting"``.
        settings: Searched field -> value.
        value: Validation score at the images' own resolution; None unless complete.
        rounds: Number of the validation round -> score at working resolution.
        minutes: Of its last attempt; earlier ones were interrupted.
        steps: Optimiser steps.
        reason: Why it failed or was pruned, in a sentence.
        host: Name of the machine that ran it.
        folder: Where its files are, on that machine.
    """

    number: int
    state: Literal["complete", "pruned", "failed", "running", "waiting"]
    settings: Mapping[str, Any]
    value: float | None = None
    rounds: Mapping[int, float]
    minutes: float = 0.0
    steps: int = 0
    reason: str = ""
    host: str = ""
    folder: str = ""


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial of the highest value, of equals the first; None when none is complete.

    >>> from dataclasses import replace
    >>> row = Trial(number=0, state="complete", settings={}, value=0.5, rounds={})
    >>> best_of([row, replace(row, number=1, value=0.7), replace(row, number=2, value=0.7)]).number
    1
    """
    complete = [trial for trial in trials if trial.value is not None]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def write_trials(path: Path, trials: Sequence[Trial], fields: Sequence[str], metric: str) -> Path:
    """Write one CSV row a trial; lists of numbers are JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["trial", "state", f"val_{metric}", *fields, "minutes", "steps", "rounds", "host", "folder", "reason"]
    )
    for trial in trials:
        settings = [_cell(trial.settings.get(field)) for field in fields]
        value = "" if trial.value is None else f"{trial.value:.6f}"
        tail = [f"{trial.minutes:.2f}", trial.steps, len(trial.rounds), trial.host, trial.folder, trial.reason]
        writer.writerow([trial.number, trial.state, value, *settings, *tail])
    return write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    return "" if value is None else json.dumps(value) if isinstance(value, tuple | list) else value
