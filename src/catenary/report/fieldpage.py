"""The page of visual fields: an overview of all eyes, then for each its course, a map of its points, the worst of them.

The drawings are a few circles and lines, written as SVG directly: matplotlib would take minutes over some hundred eyes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from catenary.data.findings import Finding
from catenary.fields import GRIDS, Criteria, Trend
from catenary.fields.grids import BLIND_SPOT
from catenary.report.html import fill
from catenary.report.words import count, number, percent

__all__ = ["FieldData", "chance", "render_fields"]

#: Points drawn one by one where the map shows all of them.
WORST = 6
#: Slopes beyond this many dB a year have the full colour.
STEEP = 2.0
#: Half the width of a map in degrees.
_REACH = 31.0
_MARKS = {True: "yes", False: "no", None: "–"}


@dataclass(frozen=True, kw_only=True)
class FieldData:
    """Everything that the page tells.

    Attributes:
        table: Name of the table.
        trends: What was found, one an eye.
        criteria: Thresholds of the rules.
        agreement: Label -> eyes on which it is the table's own, and eyes compared.
        findings: What was noticed while reading.
    """

    table: str
    trends: Sequence[Trend]
    criteria: Criteria
    agreement: Mapping[str, tuple[int, int]]
    findings: Sequence[Finding]


def render_fields(data: FieldData) -> str:
    """The page as HTML text, one file that needs nothing else."""
    judged = [trend for trend in data.trends if trend.progressing is not None]
    worse = [trend for trend in judged if trend.progressing]
    ranked = sorted(data.trends, key=_rank)
    view = {
        "lede": _lede(data, judged, worse),
        "judged": len(judged),
        "progressing": len(worse),
        "visits": sum(trend.series.visits for trend in data.trends),
        "years": float(np.median([trend.series.years for trend in data.trends])),
        "placed": any(trend.series.grid for trend in data.trends),
        "md_is": " or ".join(sorted({trend.series.md_is for trend in data.trends})),
        "cautions": _cautions(data, judged),
        "agreement": [(name, same, of) for name, (same, of) in data.agreement.items()],
        "rows": [_row(trend, index) for index, trend in enumerate(ranked)],
        "eyes": [_eye(trend, index) for index, trend in enumerate(ranked)],
        "rules": _rules(data.criteria),
    }
    return fill("fields.html.j2", data=data, view=view)


def chance(points: int, least: int, p: float) -> float:
    """Probability that a stable eye has at least `least` of its points below `p`, were they independent.

    >>> round(chance(59, 2, 0.01), 3), round(chance(59, 3, 0.01), 3)
    (0.118, 0.021)
    """
    return 1 - sum(math.comb(points, n) * p**n * (1 - p) ** (points - n) for n in range(least))


def _rank(trend: Trend) -> tuple[int, float]:
    """Progressing eyes first, the fastest at the top; eyes without a label last."""
    slope = float(trend.md.slope[0])
    return {True: 0, False: 1, None: 2}[trend.progressing], slope if math.isfinite(slope) else math.inf


def _lede(data: FieldData, judged: Sequence[Trend], worse: Sequence[Trend]) -> str:
    if not judged:
        return f"None of {count(len(data.trends), 'eye')} has the three visits that a line needs: nothing can be said."
    text = f"{len(worse)} of {count(len(judged), 'eye')} progress by at least one of the three labels."
    if len(judged) < len(data.trends):
        text += f" {count(len(data.trends) - len(judged), 'eye')} with fewer than three visits got no label."
    return text


def _cautions(data: FieldData, judged: Sequence[Trend]) -> list[str]:
    said = []
    points = [int(np.isfinite(trend.p).sum()) for trend in judged]
    if points and (middle := int(np.median(points))) > 1:
        p = data.criteria.p / data.criteria.sides
        said.append(
            f"Of stable eyes too some are flagged: were the {middle} points of a field independent, "
            f"{percent(chance(middle, 2, p))} of them by PLR2, {percent(chance(middle, 3, p))} by PLR3 and "
            f"{percent(data.criteria.md_p)} by MD."
        )
    few = sum(trend.series.visits < 5 for trend in judged)
    if few:
        said.append(
            f"{few} of {count(len(judged), 'labelled eye')} have fewer than five visits: whether a few values lie on a "
            "line is largely chance, and PoPLR cannot fall below 1/6 with three visits or 1/24 with four."
        )
    short = sum(trend.series.years < 1 for trend in judged)
    if short:
        said.append(
            f"{count(short, 'labelled eye')} were followed for less than a year: their slopes a year reach beyond."
        )
    said.append("A slope does not tell its cause: cataract, learning, fatigue and a change of lens move fields too.")
    return said


def _rules(rule: Criteria) -> list[tuple[str, str]]:
    side = "one-sided" if rule.sides == 1 else "two-sided"
    return [
        ("PLR2, PLR3", f"at least 2, 3 points with a negative slope at {side} p < {rule.p:g}"),
        ("MD", f"negative slope of MD, or of what stands for it, at one-sided p < {rule.md_p:g}"),
        ("Progressing", "any of these three"),
        (
            "Gardiner and Crabb",
            f"at least one point with a slope of at most {number(rule.gc_slope, 1)} dB a year at two-sided "
            f"p < {rule.gc_p:g}, with each of the last {rule.omit} visits alone after the others",
        ),
        (
            "PoPLR",
            f"points below p = {rule.truncate:g} combined, against the same fields in other orders (all of them, or "
            f"{rule.permutations})",
        ),
    ]


def _p(value: float) -> str:
    """A p-value for reading.

    >>> _p(0.0004), _p(0.0312), _p(float("nan"))
    ('< 0.001', '0.031', '–')
    """
    return "< 0.001" if value < 0.001 else number(value)


def _row(trend: Trend, index: int) -> dict[str, Any]:
    low, high = trend.md.interval()
    return {
        "anchor": f"eye-{index}",
        "name": trend.series.name,
        "visits": trend.series.visits,
        "years": trend.series.years,
        "slope": number(float(trend.md.slope[0]), 2),
        "interval": f"{number(float(low[0]), 2)} to {number(float(high[0]), 2)}" if math.isfinite(low[0]) else "",
        "points": "–" if trend.plr2 is None else int(trend.significant.sum()),
        "labels": [(_MARKS[label], bool(label)) for label in (*trend.labels.values(), trend.progressing)],
        "crabb": _MARKS[trend.gardiner_crabb],
        "poplr": _p(trend.poplr.p) if trend.poplr else "–",
        "differs": [n for n, stated in trend.series.stated.items() if trend.labels[n] not in (None, stated)],
    }


def _eye(trend: Trend, index: int) -> dict[str, Any]:
    from markupsafe import Markup

    series = trend.series
    judged = bool(np.isfinite(trend.points.slope).any())
    order = np.lexsort((np.where(np.isfinite(trend.points.slope), trend.points.slope, np.inf), ~trend.significant))
    shown = [int(i) for i in (order[:WORST] if series.grid else range(len(series.points)))]
    return {
        "anchor": f"eye-{index}",
        "name": series.name,
        "side": "right eye" if series.eye == "OD" else "left eye",
        "verdict": _verdict(trend),
        "course": Markup(_course(trend)),
        "map": Markup(_map(trend)) if series.grid and judged else "",
        "sparks": [Markup(_spark(trend, i)) for i in shown] if judged else [],
        "placed": bool(series.grid),
    }


def _verdict(trend: Trend) -> str:
    series = trend.series
    if trend.progressing is None:
        return f"No label: {count(series.visits, 'visit')}, and a line needs three."
    by = [name for name, label in trend.labels.items() if label]
    text = f"Progressing by {', '.join(by)}. " if by else "Not progressing by PLR2, PLR3 or MD. "
    low, high = trend.md.interval()
    if math.isfinite(trend.md.slope[0]):
        text += (
            f"The {series.md_is} changes by {number(float(trend.md.slope[0]), 2)} dB a year (95 % interval "
            f"{number(float(low[0]), 2)} to {number(float(high[0]), 2)})"
        )
        text += f" over {count(series.visits, 'visit')} in {number(series.years, 1)} years. "
    if trend.poplr:
        text += f"PoPLR: p {_p(trend.poplr.p) if trend.poplr.p < 0.001 else '= ' + _p(trend.poplr.p)}. "
    if trend.gardiner_crabb is not None and trend.confirmed is not None:
        text += f"Gardiner and Crabb: {count(int(trend.confirmed.sum()), 'point')}."
    return text.strip()


# --- drawings


def _course(trend: Trend) -> str:
    """MD over the years with its line."""
    series = trend.series
    known = np.isfinite(series.md)
    if not known.any():
        return ""
    width, height, left, bottom = 420.0, 190.0, 44.0, 38.0
    ends = _ticks(float(series.md[known].min()) - 0.5, float(series.md[known].max()) + 0.5)
    span = max(series.years, 0.01)

    def at(year: float, level: float) -> tuple[float, float]:
        x = left + year / span * (width - left - 12)
        return x, 22 + (ends[-1] - level) / (ends[-1] - ends[0]) * (height - bottom - 22)

    parts = []
    for tick in ends:
        _, y = at(0, tick)
        parts.append(f'<path d="M{left:.1f} {y:.1f}H{width - 8:.1f}" stroke="var(--rule)" stroke-width=".7"/>')
        parts.append(_text(left - 7, y + 4, f"{tick:g}".replace("-", "−"), "end"))
    years = [tick for tick in _ticks(0.0, span) if tick <= span]
    parts += [_text(at(year, ends[0])[0], height - 18, f"{year:g}", "middle") for year in years]
    parts.append(_text((left + width) / 2, height - 2, "years since the first visit", "middle"))
    parts.append(_text(2, 12, f"{series.md_is[:1].upper()}{series.md_is[1:]}, dB", "start", "var(--ink)"))
    if math.isfinite(trend.md.slope[0]):
        slope, start = float(trend.md.slope[0]), float(trend.md.intercept[0])
        (x1, y1), (x2, y2) = at(0, start), at(series.years, start + slope * series.years)
        parts.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="var(--second)" stroke-width="1.6"/>')
    for year, level in zip(series.times[known], series.md[known], strict=True):
        x, y = at(year, level)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="var(--accent)"/>')
    told = f"{series.md_is} of {series.name} over {number(series.years, 1)} years"
    return _svg("".join(parts), f"0 0 {width:g} {height:g}", told)


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that enclose an interval.

    >>> _ticks(0.0, 0.22), _ticks(23.4, 26.9)
    ([0.0, 0.1, 0.2, 0.3], [23.0, 24.0, 25.0, 26.0, 27.0])
    """
    wide = max(high - low, 1e-6)
    unit = 10.0 ** math.floor(math.log10(wide / 4))
    step = next(unit * k for k in (1, 2, 5, 10) if wide / (unit * k) <= 4)
    return [round(step * k, 9) for k in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _map(trend: Trend) -> str:
    """The points at their places, as the eye sees them, in the colours of their slopes."""
    series = trend.series
    places = GRIDS[series.grid].seen_by(series.eye)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    radii = np.minimum(2.5, 0.47 * apart.min(axis=1))
    side = 1 if series.eye == "OD" else -1
    parts = [
        f'<path d="M{-_REACH} 0H{_REACH}M0 {-_REACH}V{_REACH}" stroke="var(--rule)" stroke-width=".25"/>',
        f'<ellipse cx="{side * BLIND_SPOT[0]}" cy="{-BLIND_SPOT[1]}" rx="2.7" ry="3.7" fill="var(--tint)" '
        'stroke="var(--muted)" stroke-width=".25" stroke-dasharray=".8 .6"/>',
    ]
    for word, end in (("temporal", side), ("nasal", -side)):
        anchor = "end" if end > 0 else "start"
        parts.append(_text(end * _REACH, -_REACH + 2.2, word, anchor, size=2.3))
    for i, (x, y) in enumerate(places):
        slope, p = float(trend.points.slope[i]), float(trend.p[i])
        told = f"point {series.points[i]} ({x:g}°, {y:g}°): {number(slope, 2)} dB a year, p {_p(p)}"
        colour, width = ("ink", ".55") if trend.significant[i] else ("muted", ".15")
        circle = f'<circle cx="{x:g}" cy="{-y:g}" r='
        parts.append(
            f'{circle}"{radii[i]:.2f}" fill="{_colour(slope)}" stroke="var(--{colour})" stroke-width="{width}">'
            f"<title>{escape(told)}</title></circle>"
        )
        if trend.confirmed is not None and trend.confirmed[i]:
            parts.append(f'{circle}"{0.3 * radii[i]:.2f}" fill="var(--ink)"/>')
    told = f"map of the slopes of {series.name}: {count(int(trend.significant.sum()), 'significant point')}"
    return _svg("".join(parts), f"{-_REACH - 1:g} {-_REACH - 1:g} {2 * _REACH + 2:g} {2 * _REACH + 2:g}", told)


def _colour(slope: float) -> str:
    if not math.isfinite(slope):
        return "none"
    share = round(100 * min(1.0, abs(slope) / STEEP))
    return f"color-mix(in srgb, var(--{'second' if slope < 0 else 'accent'}) {share}%, var(--paper))"


def _spark(trend: Trend, i: int) -> str:
    """One point's values and its line; the lower edge is 0 dB, or as low as total deviations go."""
    series = trend.series
    values = series.values[:, i]
    known = np.isfinite(values)
    if not known.any():
        return ""
    low = min(0.0, float(np.nanmin(series.values)))
    top = max(35.0, float(np.nanmax(series.values))) if low == 0 else 5.0
    span = max(series.years, 0.01)

    def at(year: float, level: float) -> str:
        return f"{6 + year / span * 128:.1f} {34 + (top - min(max(level, low), top)) / (top - low) * 56:.1f}"

    slope, start = float(trend.points.slope[i]), float(trend.points.intercept[i])
    place = ""
    if series.grid:
        x, y = GRIDS[series.grid].seen_by(series.eye)[i]
        place = f" ({x:g}°, {y:g}°)".replace("-", "−")
    strong = "var(--ink)" if trend.significant[i] else "var(--muted)"
    parts = [
        _text(6, 11, f"{series.points[i]}{place}", "start", strong, weight=600 if trend.significant[i] else 400),
        _text(6, 24, f"{number(slope, 1)} dB/yr, p {_p(float(trend.p[i]))}", "start", strong, size=9.5),
        '<path d="M6 90H134" stroke="var(--rule)" stroke-width=".8"/>',
    ]
    if math.isfinite(slope):
        end = start + slope * series.years
        line = f"M{at(0, start)}L{at(series.years, end)}"
        parts.append(f'<path d="{line}" stroke="var(--second)" stroke-width="1.3" fill="none"/>')
    for year, level in zip(series.times[known], values[known], strict=True):
        x_y = at(year, level).split()
        parts.append(f'<circle cx="{x_y[0]}" cy="{x_y[1]}" r="2.3" fill="var(--accent)"/>')
    return _svg("".join(parts), "0 0 140 94", f"point {series.points[i]} of {series.name}")


def _text(
    x: float, y: float, words: str, anchor: str, colour: str = "var(--muted)", size: float = 11, weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def _svg(body: str, box: str, told: str) -> str:
    return f'<svg class="chart" role="img" aria-label="{escape(told, quote=True)}" viewBox="{box}">{body}</svg>'
