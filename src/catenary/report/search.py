"""The report of a search: what was tried, what it gave, and how far that can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catenary.errors import writing
from catenary.io.files import write_text
from catenary.metrics.evaluation import Difference
from catenary.report.charts import ACCENT, INK, MUTED, RULE, SECOND, chart, shorten
from catenary.report.html import fill, provenance_rows
from catenary.report.words import count, metric_label, number, percent
from catenary.search import Choices, Range, Space, Trial, describe
from catenary.search.importance import FEWEST, Importance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SearchData", "write_search_report"]


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """Everything that the report of a search tells.

    Attributes:
        dataset, licence: The data.
        metric: What trials are compared by.
        space: What was searched.
        trials: Every trial by its number.
        best: The best of them.
        importances: How much each field mattered; empty with few trials.
        gain: The best against the planner's own choice, paired; None where unknown.
        planned: Whether trial 0 was the planner's own choice.
        training, validation, test: Numbers of cases.
        rounds: Validation rounds of a trial.
        plan: Rows ``(field, value, reason)`` of the best trial.
        provenance: What made it.
    """

    dataset: str
    licence: str
    metric: str
    space: Space
    trials: Sequence[Trial]
    best: Trial
    importances: Sequence[Importance]
    gain: Difference | None
    planned: bool
    training: int
    validation: int
    test: int
    rounds: int
    plan: Sequence[tuple[str, str, str]]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_search_report(data: SearchData, folder: Path) -> Path:
    """Write ``report.html``, one file that needs nothing else.

    Raises:
        OutputError: The folder cannot be written.
    """
    from markupsafe import Markup

    view: dict[str, Any] = {
        "label": metric_label(data.metric),
        "counts": _counts(data),
        "lede": _lede(data),
        "cautions": _cautions(data),
        "history": Markup(_history(data)),
        "importance": Markup(_importance(data)) if data.importances else "",
        "importance_note": _importance_note(data),
        "slices": [Markup(_slice(data, key, f"slice{i}")) for i, key in enumerate(data.space)],
        "rows": _rows(data),
        "several": len({trial.host for trial in data.trials if trial.host}) > 1,
    } | provenance_rows(data.provenance)
    page = fill("search.html.j2", data=data, view=view, describe=describe)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return write_text(folder / "report.html", page)


def _counts(data: SearchData) -> dict[str, int]:
    states = [trial.state for trial in data.trials]
    return {state: states.count(state) for state in ("complete", "pruned", "failed", "running", "waiting")}


def _lede(data: SearchData) -> str:
    label, counts = metric_label(data.metric), _counts(data)
    text = (
        f"The best of {count(counts['complete'], 'complete trial')} reaches a validation {label} of "
        f"{number(data.best.value)} on {data.dataset}"
    )
    first = data.trials[0]
    if not data.planned or first.value is None:
        return text + "."
    if data.best.number == 0:
        return text + ": it is the planner's own choice, which no other trial exceeded."
    text += f"; the planner's own choice reached {number(first.value)}"
    if data.gain is None or data.gain.low is None or data.gain.high is None:
        return text + "."
    text += (
        f". The difference is {number(data.gain.value)} (95 % interval {number(data.gain.low)} to "
        f"{number(data.gain.high)}, image by image)"
    )
    return text + ("." if data.gain.low > 0 else ": it may be chance.")


def _cautions(data: SearchData) -> list[str]:
    counts = _counts(data)
    said = [
        f"The score is the highest of {counts['complete']} on the same {count(data.validation, 'validation image')}, "
        "so luck is a part of it: expect less on new images.",
        f"The {count(data.test, 'test image')} played no part in the search: none was segmented or scored. Train with "
        "best.json and the report of that run tells what the recipe is worth."
        if data.test
        else "There is no test part: nothing can tell what the recipe is worth on new images.",
        "Trials are short. What wins in a short training need not win in a long one, the learning rate least of all.",
    ]
    if counts["complete"] < FEWEST:
        said.append(f"Only {count(counts['complete'], 'trial')} came to an end: too few to say which field mattered.")
    if "prepare.size" in data.space and counts["pruned"]:
        said.append("Trials were ended early by scores at their own working size, which differed between them.")
    if open_ := counts["running"] + counts["waiting"]:
        said.append(f"{count(open_, 'trial')} had not ended when this page was written.")
    return said


def _importance_note(data: SearchData) -> str:
    if not data.importances:
        complete = _counts(data)["complete"]
        return (
            f"Not told: it takes {FEWEST} complete trials of different scores, here were {complete}."
            if complete < FEWEST
            else "Not told: all trials have the same score."
        )
    clear = [row.field for row in data.importances if row.clear]
    if not clear:
        return "No field stands clear of what shuffled scores give: none of them can be said to have mattered."
    return f"Clear of what shuffled scores give: {', '.join(clear)}. Of the others nothing can be said."


def _rows(data: SearchData) -> list[dict[str, Any]]:
    order = {"complete": 0, "running": 1, "pruned": 2, "failed": 3, "waiting": 4}
    ranked = sorted(data.trials, key=lambda t: (order[t.state], -(_height(t) or 0.0), t.number))
    return [
        {
            "number": trial.number,
            "best": trial.number == data.best.number,
            "planned": data.planned and trial.number == 0,
            "state": trial.state,
            "value": trial.value,
            "settings": [describe(trial.settings[key]) if key in trial.settings else "–" for key in data.space],
            "rounds": len(trial.rounds),
            "steps": trial.steps,
            "minutes": trial.minutes,
            "host": trial.host.partition("-")[0],
            "reason": trial.reason,
        }
        for trial in ranked
    ]


def _height(trial: Trial) -> float | None:
    """Where a trial stands in a chart: its score, or the last it had before it was pruned."""
    if trial.value is not None:
        return trial.value
    last = list(trial.rounds.values())[-1] if trial.rounds and trial.state == "pruned" else math.nan
    return last if math.isfinite(last) and 0 <= last <= 1 else None


def _dots(axes: Axes, data: SearchData, points: Sequence[tuple[float, Trial]]) -> None:
    """A dot a trial; those far below all complete ones lie as triangles on the edge, so as not to squeeze them."""
    complete = [trial.value for trial in data.trials if trial.value is not None]
    low, high = min(complete), max(complete)
    floor = low - max(0.25 * (high - low), 0.01)
    axes.set_ylim(floor, high + max(0.12 * (high - low), 0.01))
    for x, trial in points:
        y = _height(trial)
        if y is None:
            continue
        look: dict[str, Any] = {"color": ACCENT, "alpha": 0.75, "mew": 0}
        if trial.state != "complete":
            look = {"mfc": "none", "mec": MUTED}
        axes.plot([x], [max(y, floor)], "v" if y < floor else "o", ms=5, clip_on=False, **look)
        if trial.number == data.best.number:
            axes.plot([x], [y], "o", ms=10, mfc="none", mec=INK, mew=1.2, clip_on=False)


def _history(data: SearchData) -> str:
    def draw(axes: Axes) -> None:
        complete = [trial for trial in data.trials if trial.value is not None]
        values = [trial.value for trial in complete if trial.value is not None]
        best = np.maximum.accumulate(values)
        axes.step([t.number for t in complete], best, where="post", color=SECOND, lw=1.3)
        _dots(axes, data, [(trial.number, trial) for trial in data.trials])
        failed = [trial.number for trial in data.trials if trial.state == "failed"]
        axes.plot(failed, [axes.get_ylim()[0]] * len(failed), "x", color=SECOND, ms=5, mew=1.4, clip_on=False)
        axes.set_xlim(-0.5, len(data.trials) - 0.5)
        axes.locator_params(axis="x", integer=True)
        axes.grid(axis="y", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("trial")
        axes.set_title(f"Validation {metric_label(data.metric)}", loc="left", fontsize=10.5, color=INK)

    alt = f"Validation score of each trial, best {number(data.best.value)} in trial {data.best.number}"
    return chart(draw, name="history", alt=alt, height=200.0, width=420.0)


def _importance(data: SearchData) -> str:
    rows = list(data.importances)

    def draw(axes: Axes) -> None:
        at = np.arange(len(rows))[::-1]
        for y, row in zip(at, rows, strict=True):
            axes.barh([y], [row.share], height=0.5, color=ACCENT, alpha=0.85 if row.clear else 0.35)
            axes.plot([row.chance, row.chance], [y - 0.38, y + 0.38], color=SECOND, lw=1.6, clip_on=False)
        axes.set_yticks(at, [shorten(row.field) for row in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlim(0, 1.05 * max(max(row.share, row.chance) for row in rows))
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="x", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("share of the importance")

    alt = "Importance: " + "; ".join(f"{row.field} {percent(row.share)}" for row in rows)
    return chart(draw, name="importance", alt=alt, height=48.0 + 24 * len(rows), width=420.0)


def _slice(data: SearchData, key: str, name: str) -> str:
    """Score against one field, over all values of the others."""
    dimension = data.space[key]

    def draw(axes: Axes) -> None:
        tried = [trial for trial in data.trials if key in trial.settings]
        if isinstance(dimension, Choices):
            # Dots of equal values are set apart sideways.
            seen: dict[int, int] = {}
            points = []
            for trial in tried:
                place = dimension.values.index(trial.settings[key])
                seen[place] = seen.get(place, -1) + 1
                points.append((place + (((seen[place] * 0.618034) % 1.0) - 0.5) * 0.45, trial))
            ticks = [shorten(describe(value), 12) for value in dimension.values]
            slanted = sum(map(len, ticks)) > 24
            axes.set_xticks(range(len(ticks)), ticks, rotation=25 * slanted, ha="right" if slanted else "center")
            axes.set_xlim(-0.6, len(ticks) - 0.4)
        else:
            points = [(float(trial.settings[key]), trial) for trial in tried]
            if dimension.log:
                axes.set_xscale("log")
            _span(axes, dimension)
        _dots(axes, data, points)
        axes.grid(axis="y", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_title(shorten(key, 34), loc="left", fontsize=10.5, color=INK)

    alt = f"Score against {key}; best at {describe(data.best.settings[key])}"
    return chart(draw, name=name, alt=alt, height=180.0)


def _span(axes: Axes, dimension: Range) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    if dimension.log:
        axes.set_xlim(dimension.low / 1.15, dimension.high * 1.15)
        wide = dimension.high >= 30 * dimension.low
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
    else:
        room = 0.04 * (dimension.high - dimension.low)
        axes.set_xlim(dimension.low - room, dimension.high + room)
