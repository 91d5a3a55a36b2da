"""Tables of visual fields: one row a visit.

Read are GRAPE (``baseline.csv`` and ``follow_up.csv``), the layout of the R package visualFields, and any table with a
column for the patient, the eye, the time and the points or MD; see ``docs/fields.md``.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from jaxtyping import Float

from catenary.data.findings import Finding
from catenary.data.pairs import finding, natural
from catenary.errors import ConfigError, InputError, near_match
from catenary.fields.grids import GRIDS
from catenary.fields.series import MD, MEAN_DEVIATION, MEAN_SENSITIVITY, Series
from catenary.fields.trend import FEWEST

__all__ = ["FieldTable", "read_fields"]

#: What a column is called, in small letters without spaces and signs.
_NAMES = {
    "patient": ("patient", "patientid", "id", "subject", "subjectnumber"),
    "eye": ("eye", "laterality"),
    "years": ("years", "year", "intervalyears"),
    "date": ("date", "visitdate", "examdate"),
    "md": ("md", "meandeviation"),
}
_EYES = {"od": "OD", "r": "OD", "re": "OD", "right": "OD", "os": "OS", "l": "OS", "le": "OS", "left": "OS"}
_POINT, _DEVIATION = re.compile(r"(?:l|p|s|point)?\s?_?(\d+)"), re.compile(r"td\s?_?(\d+)")
_STATED = ("PLR2", "PLR3", "MD")
_FOLLOW_UP, _BASELINE = "follow_up.csv", "baseline.csv"
#: No perimeter's scale reaches further, in dB.
_TOP = 60.0
_YEAR = 365.25


@dataclass(frozen=True, kw_only=True)
class FieldTable:
    """The series of a table, by patient and eye, and what was noticed while reading.

    Attributes:
        name: The table's name.
        series: One an eye.
        findings: Visits that were sorted, eyes with too few of them, what stands for MD.
    """

    name: str
    series: tuple[Series, ...]
    findings: tuple[Finding, ...]


@dataclass
class _Visits:
    """The visits of one eye as they are found."""

    lines: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    md: list[float] = field(default_factory=list)
    stated: dict[str, bool] = field(default_factory=dict)


def read_fields(table: str | Path, *, grid: str | None = None) -> FieldTable:
    """Read a table of visual fields.

    Args:
        table: A CSV file, or a folder with GRAPE's ``baseline.csv`` and ``follow_up.csv``.
        grid: Where the points lie, a key of `GRIDS`; None asks the table: GRAPE's is ``"g1"``, that of visualFields
            with 54 points ``"24-2"``, of others nobody knows.

    Raises:
        InputError: The table cannot be read, a column is missing, or a cell makes no sense.
        ConfigError: There is no such grid, or it has another number of points.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "visits.csv"
    ...     _ = file.write_text("patient,eye,years,1,2\\n7,right,1.5,21,<0\\n7,right,0,24,3\\n")
    ...     eye = read_fields(file).series[0]
    >>> eye.name, eye.times.tolist(), eye.values.tolist(), eye.md.tolist()
    ('7 OD', [0.0, 1.5], [[24.0, 3.0], [21.0, 0.0]], [13.5, 10.5])
    """
    if grid is not None and grid not in GRIDS:
        raise ConfigError(f"there is no grid '{grid}'; {near_match(grid, GRIDS)}")
    path = Path(table)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        path = folder / _FOLLOW_UP
        if not path.is_file():
            raise InputError(f"{folder} holds no {_FOLLOW_UP}; give the CSV file itself")
    sheet = _Sheet(path)
    if sheet.baseline:
        if not (folder / _FOLLOW_UP).is_file():
            raise InputError(
                f"{path} holds one visit an eye and no {_FOLLOW_UP} lies beside it; give both files in one folder"
            )
        sheet = _Sheet(folder / _FOLLOW_UP)
    if grid is None:
        grid = "g1" if sheet.grape else "24-2" if sheet.points == [f"l{i}" for i in range(1, 55)] else ""
    eyes = sheet.read(grid)
    if sheet.grape and (folder / _BASELINE).is_file():
        _add_baseline(eyes, _Sheet(folder / _BASELINE), grid)
    return _assemble(path.name if not sheet.grape else folder.resolve().name, sheet, eyes, grid)


class _Sheet:
    """One CSV file: which column is which, and its cells as numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header, self.rows = _cells(path)
        plain = {column: re.sub(r"[^a-z0-9]", "", column.lower()) for column in self.header}
        self.column = {
            key: next((column for column in self.header if plain[column] in names), "") for key, names in _NAMES.items()
        }  # empty where there is none
        self.grape = {"subjectnumber", "laterality", "intervalyears"} <= set(plain.values())
        self.baseline = {"subjectnumber", "laterality", "totalvisits"} <= set(plain.values()) and not self.grape
        found = [c for c in self.header if _POINT.fullmatch(c.lower())]
        self.deviations = [c for c in self.header if _DEVIATION.fullmatch(c.lower())]
        self.points = found or self.deviations
        self.sensitivities = bool(found)
        self._check()

    def _check(self) -> None:
        told = ", ".join(self.header[:12]) + (", ..." if len(self.header) > 12 else "")
        needed = ["patient", "eye"] if self.baseline else ["patient", "eye", "years or date"]
        for what in needed:
            if not any(self.column[key] for key in what.split(" or ")):
                raise InputError(f"{self.path} has no column '{what}' among {told}; name one so, see docs/fields.md")
        if not self.points and (self.baseline or not self.column["md"]):
            raise InputError(
                f"{self.path} has neither columns of points (1, 2, ... or l1, l2, ...) nor 'md' among {told}; add them"
            )

    def kept(self, grid: str) -> list[str]:
        """The columns of points outside the blind spot."""
        if not grid or not self.points:
            return self.points
        blind = GRIDS[grid].blind
        if len(self.points) not in blind:
            sizes = " or ".join(map(str, sorted(blind)))
            raise ConfigError(
                f"{self.path} has {len(self.points)} points, the grid {grid} has {sizes}; choose another grid, or none"
            )
        left_out = blind[len(self.points)]
        return [column for i, column in enumerate(self.points) if i not in left_out]

    def read(self, grid: str) -> dict[tuple[str, str], _Visits]:
        """Visits of each patient and eye, in the order of the file."""
        kept = self.kept(grid)
        eyes: dict[tuple[str, str], _Visits] = defaultdict(_Visits)
        for line, row in self.rows:
            visits = eyes[self._whose(line, row)]
            time = 0.0 if self.baseline else self._time(line, row)
            if time in visits.times:
                first = visits.lines[visits.times.index(time)]
                raise InputError(
                    f"{self.path}, lines {first} and {line} are the same visit of patient {row[self.column['patient']]}"
                    f"; keep one of them"
                )
            visits.lines.append(line)
            visits.times.append(time)
            visits.values.append([self._decibel(line, row, column, self.sensitivities) for column in kept])
            visits.md.append(self._global(line, row))
            if self.baseline:
                visits.stated = {c: row[c] == "1" for c in _STATED if row.get(c) in ("0", "1")}
        return dict(eyes)

    def _whose(self, line: int, row: dict[str, str]) -> tuple[str, str]:
        patient, eye = (row[self.column[key]] for key in ("patient", "eye"))
        if not patient:
            raise InputError(f"{self.path}, line {line} names no patient; fill in column '{self.column['patient']}'")
        if eye.lower() not in _EYES:
            raise InputError(f"{self.path}, line {line}: the eye '{eye}' is not known; write OD or right, OS or left")
        return patient, _EYES[eye.lower()]

    def _time(self, line: int, row: dict[str, str]) -> float:
        if column := self.column["years"]:
            years = self._number(line, row, column)
            # GRAPE's own labels come out of years to two decimals, as it states them; its file has more digits.
            return round(years, 2) if self.grape else years
        column = self.column["date"]
        text = row[column]
        try:
            return date.fromisoformat(text).toordinal() / _YEAR
        except ValueError:
            pass
        try:
            return float(text) / _YEAR  # days since some day
        except ValueError:
            raise InputError(
                f"{self.path}, line {line}: '{text}' in column '{column}' is no date; write it as 2024-05-31"
            ) from None

    def _decibel(self, line: int, row: dict[str, str], column: str, sensitivity: bool) -> float:
        text = row[column]
        if text.lower() in ("", "na", "nan"):
            return np.nan
        if sensitivity and (text.startswith("<") or ((self.grape or self.baseline) and text in ("-1", "-1.0"))):
            return 0.0  # not seen
        value = self._number(line, row, column)
        if sensitivity and not 0 <= value <= _TOP:
            raise InputError(
                f"{self.path}, line {line}: {value:g} dB in column '{column}' is no sensitivity; write 0 to {_TOP:g}, "
                "<0 for a light not seen, nothing for one not shown, or name total deviations td1, td2, ..."
            )
        return value

    def _global(self, line: int, row: dict[str, str]) -> float:
        """The table's MD or the mean of its total deviations; NaN where it has neither."""
        if (column := self.column["md"]) and not self.baseline:
            return self._decibel(line, row, column, sensitivity=False)
        known = [self._decibel(line, row, c, sensitivity=False) for c in self.deviations]
        known = [value for value in known if np.isfinite(value)]
        return float(np.mean(known)) if known else np.nan

    def _number(self, line: int, row: dict[str, str], column: str) -> float:
        try:
            value = float(row[column])
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise InputError(f"{self.path}, line {line}: '{row[column]}' in column '{column}' is no number; correct it")
        return value


def _cells(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header, and the trimmed cells of each row with its line in the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count))
        table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({error}); save it as UTF-8 with a header row") from error
    table = [(line, row) for line, row in table if any(row)]
    if len(table) < 2:
        raise InputError(f"{path} has no rows below a header; give one row a visit")
    header = table[0][1]
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        raise InputError(f"{path} has the column '{twice[0]}' twice; rename one")
    for line, row in table[1:]:
        if len(row) > len(header):
            raise InputError(f"{path}, line {line} has {len(row)} cells and the header {len(header)}; correct the line")
    padding = [""] * len(header)
    return header, [(line, dict(zip(header, [*row, *padding], strict=False))) for line, row in table[1:]]


def _add_baseline(eyes: dict[tuple[str, str], _Visits], sheet: _Sheet, grid: str) -> None:
    """GRAPE's labels, and the first visit of eyes whose later ones are told without it."""
    for key, first in sheet.read(grid).items():
        visits = eyes.setdefault(key, _Visits())
        visits.stated = first.stated
        if not visits.times or min(visits.times) > 0:
            for name in ("lines", "times", "values", "md"):
                getattr(visits, name).insert(0, getattr(first, name)[0])


def _assemble(name: str, sheet: _Sheet, eyes: dict[tuple[str, str], _Visits], grid: str) -> FieldTable:
    md_is = MD if sheet.column["md"] else MEAN_DEVIATION if sheet.deviations else MEAN_SENSITIVITY
    series, unsorted = [], []
    for patient, eye in sorted(eyes, key=lambda key: (natural(key[0]), key[1])):
        visits = eyes[patient, eye]
        order = np.argsort(visits.times)
        if (np.diff(order) < 0).any():
            unsorted.append(f"{patient} {eye}")
        times = np.array(visits.times)[order]
        values = np.array(visits.values, float).reshape(len(order), -1)[order]
        md = np.array(visits.md, float)[order]
        series.append(
            Series(
                patient=patient,
                eye=eye,
                times=times - times[0],
                values=values,
                points=tuple(sheet.kept(grid)),
                md=md if md_is != MEAN_SENSITIVITY else _mean(values),
                md_is=md_is,
                grid=grid,
                stated=visits.stated,
            )
        )
    return FieldTable(name=name, series=tuple(series), findings=tuple(_findings(sheet, series, unsorted)))


def _mean(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Mean over the points known at every visit, so that a gap does not look like a change."""
    whole = np.isfinite(values).all(axis=0)
    chosen = values[:, whole]
    return chosen.mean(axis=1) if chosen.shape[1] else np.full(len(values), np.nan)


def _findings(sheet: _Sheet, series: Sequence[Series], unsorted: Iterable[str]) -> list[Finding]:
    found = []
    if not sheet.column["md"]:
        found.append(
            Finding(
                level="note",
                code="no-md",
                message=f"the table has no MD; the {series[0].md_is} stands for it",
                remedy="add a column 'md' where the perimeter gave it" if sheet.sensitivities else "nothing to do",
            )
        )
    if sheet.grape:
        text = "years are taken to two decimals, from which GRAPE's own labels come out"
        found.append(Finding(level="note", code="rounded-years", message=text, remedy="nothing to do"))
    if unsorted := list(unsorted):
        text = f"the visits of {len(unsorted)} eyes were not in the order of time and were sorted"
        found.append(finding("note", "unsorted", text, "check that their dates are right", unsorted))
    single = [eye.name for eye in series if eye.visits == 1]
    if single:
        text = f"{len(single)} eyes have a single visit and get no label"
        found.append(finding("warning", "single-visit", text, "progression needs at least three visits", single))
    two = [eye.name for eye in series if 1 < eye.visits < FEWEST]
    if two:
        text = f"{len(two)} eyes have two visits, through which no line can be judged, and get no label"
        found.append(finding("warning", "two-visits", text, "progression needs at least three visits", two))
    three = [eye.name for eye in series if eye.visits == FEWEST]
    if three:
        text = f"{len(three)} eyes have three visits only, so that chance has much to say in their labels"
        found.append(finding("note", "three-visits", text, "repeat the test before acting on one label", three))
    return found
