"""`fields`: do the eyes of a table of visual fields get worse?"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catenary.data.findings import Finding
from catenary.errors import OutputError
from catenary.fields import GRIDS, Criteria, Trend, assess, read_fields
from catenary.io.files import write_json, write_text
from catenary.phantoms.series import field_series
from catenary.report.fieldpage import FieldData, render_fields
from catenary.types import Progress, silent

__all__ = ["Fields", "fields", "write_series"]

#: Name and version of ``fields.json``.
FORMAT = "catenary.fields/1"
LABELS, SLOPES, RECORD, PAGE = "labels.csv", "slopes.csv", "fields.json", "report.html"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What `fields` found and wrote.

    Attributes:
        folder: Where the files lie.
        trends: One an eye.
        criteria: The thresholds.
        agreement: Label -> eyes on which it is that of the table, and eyes on which both have one; empty where the
            table states no labels.
        findings: What was noticed while reading.
    """

    folder: Path
    trends: tuple[Trend, ...]
    criteria: Criteria
    agreement: dict[str, tuple[int, int]]
    findings: tuple[Finding, ...]

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.folder / PAGE


def fields(
    table: str | Path,
    *,
    out: str | Path,
    criteria: Criteria | None = None,
    grid: str | None = None,
    progress: Progress = silent,
) -> Fields:
    """Label every eye of a table of visual fields and write slopes, labels and a page of plots.

    Writes ``labels.csv`` (one row an eye), ``slopes.csv`` (one row an eye and point), ``fields.json`` and
    ``report.html``. Nothing is written before all of it is known.

    Args:
        table: A CSV file with one row a visit, or the folder of GRAPE's two; see ``docs/fields.md``.
        out: Folder for the files.
        criteria: Thresholds of the rules.
        grid: Where the points lie, see `catenary.fields.read_fields`.
        progress: Told of the eyes.

    Raises:
        InputError: The table cannot be used; the message says which line and column.
        ConfigError: A threshold or the grid makes no sense.
        OutputError: The folder cannot be written, or holds labels already.
    """
    folder, rule = Path(out), criteria or Criteria()
    if (folder / LABELS).exists():
        raise OutputError(f"{folder} already holds {LABELS}; choose another --out")
    read = read_fields(table, grid=grid)
    trends = []
    for done, series in enumerate(read.series, 1):
        trends.append(assess(series, rule))
        progress("eyes", done, len(read.series))
    agreement = _agreement(trends)
    data = FieldData(table=read.name, trends=trends, criteria=rule, agreement=agreement, findings=read.findings)
    page = render_fields(data)
    record = {
        "format": FORMAT,
        "table": read.name,
        "criteria": asdict(rule),
        "agreement": {name: {"same": same, "of": of} for name, (same, of) in agreement.items()},
        "findings": [finding.to_dict() for finding in read.findings],
        "eyes": [_label(trend) for trend in trends],
    }
    write_text(folder / LABELS, _csv(_label(trend) for trend in trends))
    write_text(folder / SLOPES, _csv(row for trend in trends for row in _slopes(trend)))
    write_json(folder / RECORD, record)
    write_text(folder / PAGE, page)
    return Fields(folder=folder, trends=tuple(trends), criteria=rule, agreement=agreement, findings=read.findings)


def write_series(table: str | Path, *, eyes: int = 6, seed: int = 0, visits: int = 7, rate: float = -2.0) -> Path:
    """Write a table of phantom eyes, two a patient; every other patient's eyes lose `rate` dB a year at some points.

    Raises:
        OutputError: The table cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     len(write_series(Path(folder) / "visits.csv", eyes=2, visits=3).read_text("utf-8").splitlines())
    7
    """
    rows = []
    for eye in range(eyes):
        drawn = field_series(seed + eye, visits=visits, points=54, rate=rate if eye // 2 % 2 else 0.0)
        for time, values in zip(drawn.times, drawn.values, strict=True):
            who = {"patient": eye // 2 + 1, "eye": ("OD", "OS")[eye % 2], "years": f"{time:.3f}"}
            rows.append(who | {f"l{i}": f"{value:.0f}" for i, value in enumerate(values, 1)})
    return write_text(table, _csv(rows))


def _agreement(trends: Sequence[Trend]) -> dict[str, tuple[int, int]]:
    pairs: dict[str, list[bool]] = {}
    for trend in trends:
        for name, stated in trend.series.stated.items():
            if (found := trend.labels[name]) is not None:
                pairs.setdefault(name, []).append(found == stated)
    return {name: (sum(same), len(same)) for name, same in pairs.items()}


def _label(trend: Trend) -> dict[str, Any]:
    """One row of ``labels.csv``."""
    series, low_high = trend.series, trend.md.interval()
    judged = np.isfinite(trend.points.slope)
    row: dict[str, Any] = {
        "patient": series.patient,
        "eye": series.eye,
        "visits": series.visits,
        "years": round(series.years, 3),
        "points": int(judged.sum()),
        "significant": int(trend.significant.sum()) if judged.any() else None,
        "plr2": trend.plr2,
        "plr3": trend.plr3,
        "md": trend.md_worse,
        "progressing": trend.progressing,
        "gardiner_crabb": trend.gardiner_crabb,
        "gardiner_crabb_points": None if trend.confirmed is None else int(trend.confirmed.sum()),
        "poplr_p": _plain(trend.poplr.p) if trend.poplr else None,
        "poplr_orders": trend.poplr.orders if trend.poplr else None,
        "md_is": series.md_is,
        "md_slope": _plain(trend.md.slope[0]),
        "md_low": _plain(low_high[0][0]),
        "md_high": _plain(low_high[1][0]),
        "md_p": _plain(trend.md.p()[0]),
    }
    return row | {f"table_{name.lower()}": stated for name, stated in series.stated.items()}


def _slopes(trend: Trend) -> list[dict[str, Any]]:
    """The rows of one eye in ``slopes.csv``; x and y in degrees as the eye sees them."""
    series = trend.series
    places = GRIDS[series.grid].seen_by(series.eye).tolist() if series.grid else [(None, None)] * len(series.points)
    return [
        {
            "patient": series.patient,
            "eye": series.eye,
            "point": point,
            "x": x,
            "y": y,
            "slope": _plain(trend.points.slope[i]),
            "error": _plain(trend.points.error[i]),
            "p": _plain(trend.p[i]),
            "significant": bool(trend.significant[i]) if np.isfinite(trend.p[i]) else None,
        }
        for i, (point, (x, y)) in enumerate(zip(series.points, places, strict=True))
    ]


def _plain(value: float) -> float | None:
    """A number for a file: six figures, None where there is none."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV text: 1 and 0 for yes and no, empty where unknown."""
    listed = list(rows)
    columns = list(dict.fromkeys(name for row in listed for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if columns:
        writer.writeheader()
    writer.writerows({k: int(v) if isinstance(v, bool) else v for k, v in row.items()} for row in listed)
    return text.getvalue()
