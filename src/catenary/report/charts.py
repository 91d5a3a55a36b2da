"""Charts as SVG text that takes its colours and letters from the page it stands in.

matplotlib draws; then its fixed colours become the page's CSS variables, so that one chart suits light, dark and print,
and its ids get a prefix, so that several charts can stand in one page. Figures are made without pyplot, inside
`matplotlib.rc_context`: nothing of the caller's matplotlib changes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bar", "agreement", "bland_altman", "chart", "curve", "interval_rows", "shorten", "strip"]

# Stand-ins that matplotlib draws with; `_restyle` replaces them by the page's variables.
_COLOURS = {
    "#0a0b01": "var(--ink)",
    "#0a0b02": "var(--muted)",
    "#0a0b03": "var(--rule)",
    "#0a0b04": "var(--accent)",
    "#0a0b05": "var(--second)",
    "#0a0b06": "var(--paper)",
}
INK, MUTED, RULE, ACCENT, SECOND, PAPER = _COLOURS
_FONT = 10.5
_WIDTH = 300.0  # points; about the width of a phone, so that letters keep their size there

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "catenary",
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "font.family": ["DejaVu Sans"],
    "font.size": _FONT,
    "axes.labelsize": _FONT,
    "xtick.labelsize": _FONT - 1,
    "ytick.labelsize": _FONT - 1,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": False,
    "axes.unicode_minus": True,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


class Bar(NamedTuple):
    """One row of `interval_rows`: a value with its interval and the best baseline's value; NaN where unknown."""

    name: str
    value: float
    low: float
    high: float
    baseline: float


def interval_rows(rows: Sequence[Bar], *, name: str, alt: str, label: str) -> str:
    """Dots with whiskers (value and interval), one row each, and a diamond for the baseline; the axis ends at 1."""

    def draw(axes: Axes) -> None:
        at = np.arange(len(rows))[::-1]
        for y, row in zip(at, rows, strict=True):
            axes.plot([row.low, row.high], [y, y], color=ACCENT, lw=2.2)
            axes.plot([row.value], [y], "o", color=ACCENT, ms=6, mec=PAPER, mew=1, clip_on=False)
            axes.plot([row.baseline], [y], "D", color="none", mec=SECOND, ms=5.5, mew=1.4, clip_on=False)
        axes.set_yticks(at, [shorten(row.name) for row in rows])
        known = [v for row in rows for v in (row.low, row.value, row.baseline) if math.isfinite(v)]
        axes.set_xlim(_floor(min(known, default=0.0)) - 0.015, 1.0)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(label)

    return chart(draw, name=name, alt=alt, height=48.0 + 24 * len(rows))


def curve(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    name: str,
    alt: str,
    label: str,
    across: str,
    log: bool = False,
    mark: tuple[float, float] | None = None,
    dots: bool = True,
) -> str:
    """Up to two lines (name -> x, y) over a common axis, the second in the accent colour, with dots where measured.

    Points that are not finite are left out. `mark` draws a ring, for example around the model that was kept.
    """

    def draw(axes: Axes) -> None:
        looks: tuple[dict[str, Any], ...] = (
            {"color": SECOND, "lw": 1.3},
            {"color": ACCENT, "lw": 1.8} | ({"marker": "o", "ms": 2.8} if dots else {"ls": (0, (4, 2))}),
        )
        for (line, (x, y)), look in zip(lines.items(), looks if len(lines) > 1 else looks[1:], strict=False):
            kept = np.isfinite(y)
            axes.plot(np.asarray(x)[kept], np.asarray(y)[kept], label=shorten(line), **look)
        if mark is not None:
            axes.plot(*mark, "o", ms=9, mfc="none", mec=INK, mew=1.2)
        positive = all(v > 0 for _, y in lines.values() for v in y if math.isfinite(v))
        if log and positive:
            axes.set_yscale("log")
            axes.minorticks_off()
        axes.margins(y=0.1)
        axes.grid(axis="y", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(across)
        axes.set_title(label, loc="left", fontsize=_FONT, color=INK)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=_FONT - 1, labelcolor=MUTED, handlelength=1.4, borderaxespad=0.2)

    return chart(draw, name=name, alt=alt, height=180.0)


def strip(values: Mapping[str, Sequence[float]], *, name: str, alt: str, label: str) -> str:
    """One row a class, one dot a case, a tick at the median. Dots are spread up and down only to be told apart."""

    def draw(axes: Axes) -> None:
        at = np.arange(len(values))[::-1]
        lowest = 1.0
        for y, scores in zip(at, values.values(), strict=True):
            kept = np.sort([v for v in scores if math.isfinite(v)])
            if kept.size == 0:
                continue
            lowest = min(lowest, float(kept[0]))
            spread = ((np.arange(kept.size) * 0.618034) % 1.0 - 0.5) * (0.55 if kept.size > 3 else 0.0)
            axes.plot(kept, y + spread, "o", ms=4, color=ACCENT, alpha=0.45, mew=0)
            middle = float(np.median(kept))
            axes.plot([middle, middle], [y - 0.38, y + 0.38], color=INK, lw=1.6)
        axes.set_yticks(at, [shorten(row) for row in values])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlim(_floor(lowest) - 0.02, 1.02)
        axes.set_xticks([tick for tick in axes.get_xticks() if _floor(lowest) - 0.02 <= tick <= 1])  # no score above 1
        axes.set_ylim(-0.6, len(values) - 0.4)
        axes.grid(axis="x", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(label)

    return chart(draw, name=name, alt=alt, height=48.0 + max(34.0, 84 - 10 * len(values)) * len(values))


def agreement(truth: Sequence[float], found: Sequence[float], *, name: str, alt: str, label: str) -> str:
    """Measured against true value, one dot a case, with the line on which both are equal."""

    def draw(axes: Axes) -> None:
        top = max(0.01, *truth, *found) * 1.06
        axes.plot([0, top], [0, top], color=MUTED, lw=1, ls=(0, (4, 3)))
        axes.plot(truth, found, "o", ms=4.5, color=ACCENT, alpha=0.6, mew=0)
        axes.set_xlim(-0.02 * top, top)
        axes.set_ylim(-0.02 * top, top)
        axes.set_aspect("equal")
        axes.grid(color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_title(shorten(label, 34), loc="left", fontsize=_FONT, color=INK)
        axes.set_xlabel("true share, %")
        axes.set_ylabel("predicted share, %")

    return chart(draw, name=name, alt=alt, height=250.0, width=250.0)


def bland_altman(
    truth: Sequence[float],
    found: Sequence[float],
    *,
    limits: tuple[float, float | None, float | None],
    name: str,
    alt: str,
    label: str,
    unit: str,
) -> str:
    """Difference against mean of two measurements, one dot a case (Bland and Altman 1986).

    `limits` are the bias, a full line, and the limits of agreement, dashed ones where they are given.
    """

    def draw(axes: Axes) -> None:
        bias, *ends = limits
        axes.axhline(0, color=MUTED, lw=0.8)
        axes.axhline(bias, color=SECOND, lw=1.3)
        for end in ends:
            if end is not None:
                axes.axhline(end, color=SECOND, lw=1.1, ls=(0, (4, 3)))
        mean, difference = np.add(truth, found) / 2, np.subtract(found, truth)
        axes.plot(mean, difference, "o", ms=4.5, color=ACCENT, alpha=0.6, mew=0)
        far = 1.15 * max(abs(v) for v in (*difference, *limits) if v is not None) or 1.0
        axes.set_ylim(-far, far)  # zero in the middle: a bias is seen at once
        top = 1.06 * float(mean.max()) or 1.0
        axes.set_xlim(-0.02 * top, top)
        axes.grid(color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_title(shorten(label, 34), loc="left", fontsize=_FONT, color=INK)
        axes.set_xlabel(f"mean of true and predicted, {unit}")
        axes.set_ylabel(f"predicted − true, {unit}")

    return chart(draw, name=name, alt=alt, height=250.0, width=250.0)


def shorten(text: str, length: int = 20) -> str:
    """The text, cut in its middle when longer than `length` characters: names often differ at their end only.

    >>> shorten("a precipitate of the second kind")
    'a precipit…cond kind'
    """
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return text[: length - 1 - end] + "…" + text[-end:]


def _floor(lowest: float) -> float:
    """Where an axis that ends at 1 begins."""
    return max(0.0, math.floor((lowest - 0.03) * 10) / 10)


def chart(draw: Callable[[Any], None], *, name: str, alt: str, height: float, width: float = _WIDTH) -> str:
    """What `draw` puts on a matplotlib axes, as SVG in the page's colours; `alt` is read aloud."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = _STYLE
    with mpl.rc_context(style), warnings.catch_warnings():
        # Names in scripts that the measuring font lacks are drawn by the reader's own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        draw(figure.add_subplot())
        target = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(target, metadata={"Date": None, "Creator": None})
    return _restyle(target.getvalue(), name, alt)


def _restyle(svg: str, name: str, alt: str) -> str:
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body)
    assert box is not None
    inner = body[body.index(">") + 1 : body.rindex("</svg>")]
    inner = re.sub(r"<(metadata|style)\b.*?</\1>", "", inner, flags=re.DOTALL)
    # Only inside tags: the texts between them are the user's own words.
    inner = re.sub(r"<[^>]*>", lambda tag: _retag(tag.group(), name), inner)
    words = escape(alt, quote=True)
    return f'<svg class="chart" role="img" aria-label="{words}" viewBox="{box.group(1)}">{inner}</svg>'


def _retag(tag: str, name: str) -> str:
    tag = tag.replace("xlink:href", "href")
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    for stand_in, variable in _COLOURS.items():
        tag = tag.replace(stand_in, variable)
    return re.sub(r"\s*\n\s*", " ", tag)
