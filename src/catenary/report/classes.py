"""What the page shows of a classifier of whole images: tables and charts of a `ClassEvaluation`.

`class_view` gives everything that the template ``classes.html.j2`` lays out; a page includes that template with the
view under the name ``classes``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from catenary.metrics.classresults import SCORES, CaseAnswer, ClassEvaluation, ClassScore
from catenary.report.charts import ACCENT, INK, MUTED, PAPER, RULE, SECOND, chart, shorten
from catenary.report.words import count, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["class_view", "worst_mistakes"]

#: Scores of the first table; the others stand in the second.
MAIN = ("auc", "sensitivity", "specificity", "precision", "npv", "ppv_at_prevalence", "npv_at_prevalence", "accuracy",
        "balanced_accuracy", "f1", "mcc", "sensitivity_at_specificity")  # fmt: skip
NOTHING = ClassScore(value=None, n=0)
#: Side of a chart in points.
_SIDE = 250.0


def class_view(evaluation: ClassEvaluation, *, worst: int = 12) -> dict[str, Any]:
    """Everything that the template shows: rows of tables, charts as SVG, sentences.

    Args:
        evaluation: What was measured.
        worst: How many mistakes are listed.
    """
    from markupsafe import Markup

    e = evaluation
    keys = [key for key in SCORES if key in e.mean]
    return {
        "contents": [
            ("class-scores", "Scores"),
            ("class-curves", "Curves"),
            ("class-calibration", "Calibration"),
            *([("class-sources", "Sources")] if e.sources else []),
            ("class-mistakes", "Mistakes"),
            ("class-rules", "How it was measured"),
        ],
        "sentence": _sentence(e),
        "notes": e.notes,
        "confusion": _confusion(e),
        "names": e.names,
        "columns": [*e.targets, *(["mean"] if len(e.targets) > 1 else [])],
        "baselines": list(e.baselines),
        "main_rows": [_row(e, key) for key in keys if key in MAIN],
        "other_rows": [_row(e, key) for key in keys if key not in MAIN],
        "targets": [
            {
                "name": target,
                "roc": Markup(_roc(e, target, f"roc{i}")),
                "pr": Markup(_pr(e, target, f"pr{i}")),
                "decision": Markup(_decision(e, target, f"decision{i}")),
                "reliability": Markup(_reliability(e, target, f"reliability{i}")),
                "calibration": _calibration(e, target),
            }
            for i, target in enumerate(e.targets)
        ],
        "sources": e.sources,
        "mistakes": worst_mistakes(e, worst),
        "wrong": sum(case.truth != case.called for case in e.cases),
        "n": e.n,
        "n_words": f"{count(e.n, 'image')} of {count(e.groups, 'patient')}",
        "rules": [(name[:1].upper() + name[1:].replace("_", " "), rule) for name, rule in e.conventions.items()
                  if not name.startswith("score: ")],
        "score_rules": [(name.removeprefix("score: "), rule) for name, rule in e.conventions.items()
                        if name.startswith("score: ")],
    }  # fmt: skip


def worst_mistakes(evaluation: ClassEvaluation, most: int = 12) -> list[CaseAnswer]:
    """The cases that were called wrong, those first whose true class seemed least likely."""
    place = {name: i for i, name in enumerate(evaluation.names)}
    wrong = [case for case in evaluation.cases if case.truth != case.called]
    return sorted(wrong, key=lambda case: (case.probability[place[case.truth]], case.name))[:most]


def _sentence(e: ClassEvaluation) -> str:
    """The result in two plain sentences."""
    area = e.mean["auc"]
    images = f"{count(e.n, 'image')} of {count(e.groups, 'patient')}"
    if area.value is None:
        return f"How well the classes are told apart cannot be said from these {images}: they are all of one class."
    span = (
        "" if area.low is None or area.high is None else f" (95 % interval {number(area.low)} to {number(area.high)})"
    )
    first = f"On {images} the AUC is {number(area.value)}{span}, where 0.5 is chance and 1 is perfect."
    if len(e.targets) > 1:
        return f"{first} {percent(e.mean['accuracy'].value)} of the images get their true class."
    scores = e.classes[e.targets[0]]
    return (
        f"{first} Called {e.targets[0]} from a probability of {number(e.threshold)} on, "
        f"{percent(scores['sensitivity'].value)} of the {e.targets[0]} images are found and "
        f"{percent(scores['specificity'].value)} of the others are left alone."
    )


def _confusion(e: ClassEvaluation) -> list[dict[str, Any]]:
    rows = []
    for i, (name, counts) in enumerate(zip(e.names, e.confusion, strict=True)):
        total = sum(counts)
        cells = [
            {"text": n, "ratio": f"{n / total:.3f}" if total else "0", "right": i == j} for j, n in enumerate(counts)
        ]
        rows.append({"name": name, "cells": cells, "total": total})
    return rows


def _row(e: ClassEvaluation, key: str) -> dict[str, Any]:
    """A score of every target and of the baselines."""
    tables = [e.classes[target] for target in e.targets] + ([e.mean] if len(e.targets) > 1 else [])
    fact = SCORES[key]
    title = f"{fact.title} ({percent(e.prevalence)})" if key.endswith("at_prevalence") else fact.title
    return {
        "label": title,
        "scores": [table.get(key, NOTHING) for table in tables],
        "rivals": [rival.get(key) for rival in e.baselines.values()],
        "formula": fact.formula,
        "lower": fact.higher is False,
    }


def _calibration(e: ClassEvaluation, target: str) -> dict[str, Any]:
    return {
        "error": e.classes[target]["calibration_error"],
        "plain": e.details[target].calibration_error_plain,
        "chance": e.details[target].calibration_error_chance,
        "brier": e.details[target].brier,
        "score": e.classes[target]["brier"],
    }


def _square(draw: Callable[[Axes], None], *, name: str, alt: str, title: str, x: str, y: str) -> str:
    """A chart from 0 to 1 both ways."""

    def whole(axes: Axes) -> None:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        _frame(axes, title, x, y)
        draw(axes)

    return chart(whole, name=name, alt=alt, height=_SIDE, width=_SIDE)


def _frame(axes: Axes, title: str, x: str, y: str) -> None:
    axes.grid(color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    axes.set_title(shorten(title, 34), loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _ring(axes: Axes, x: float | None, y: float | None) -> None:
    """The operating point."""
    if x is not None and y is not None:
        axes.plot([x], [y], "o", ms=9, mfc="none", mec=INK, mew=1.3, clip_on=False)


def _roc(e: ClassEvaluation, target: str, name: str) -> str:
    curves, scores = e.details[target].curves, e.classes[target]

    def draw(axes: Axes) -> None:
        axes.axvspan(0, 0.1, color=RULE, alpha=0.45, lw=0)
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)))
        axes.plot(curves.fpr, curves.sensitivity, color=ACCENT, lw=1.8, clip_on=False)
        _ring(axes, scores["fpr"].value, scores["sensitivity"].value)

    alt = (
        f"ROC curve of {target}: AUC {scores['auc']}; operating point at sensitivity "
        f"{number(scores['sensitivity'].value)} and specificity {number(scores['specificity'].value)}"
    )
    return _square(draw, name=name, alt=alt, title="ROC", x="1 − specificity", y="sensitivity")


def _pr(e: ClassEvaluation, target: str, name: str) -> str:
    curves, scores = e.details[target].curves, e.classes[target]

    def draw(axes: Axes) -> None:
        axes.axhline(scores["prevalence"].value or 0.0, color=MUTED, lw=1, ls=(0, (4, 3)))
        if curves.recall:
            # Steps: no precision is promised between two cuts.
            axes.step(
                [0.0, *curves.recall], [curves.precision[0], *curves.precision], color=ACCENT, lw=1.8, where="pre"
            )
        _ring(axes, scores["sensitivity"].value, scores["precision"].value)

    alt = (
        f"Precision over sensitivity of {target}: average precision {scores['average_precision']}, prevalence "
        f"{number(scores['prevalence'].value)}"
    )
    return _square(
        draw, name=name, alt=alt, title="Precision and recall", x="sensitivity (recall)", y="precision (PPV)"
    )


def _reliability(e: ClassEvaluation, target: str, name: str) -> str:
    bins, seen = e.details[target].reliability, np.array(e.details[target].histogram, float)

    def draw(axes: Axes) -> None:
        axes.bar((np.arange(20) + 0.5) / 20, 0.22 * seen / seen.max(), width=0.045, color=RULE)
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)))
        for bin_ in bins:
            if bin_.low is not None and bin_.high is not None:
                axes.plot([bin_.probability] * 2, [bin_.low, bin_.high], color=ACCENT, lw=1.6)
        points = [(bin_.probability, bin_.frequency) for bin_ in bins]
        axes.plot(*zip(*points, strict=True), "o", color=ACCENT, ms=5.5, mec=PAPER, mew=0.8, clip_on=False)

    spoken = "; ".join(f"{number(b.probability, 2)} said, {number(b.frequency, 2)} seen" for b in bins)
    alt = f"Reliability of the probability of {target}: {spoken}"
    return _square(draw, name=name, alt=alt, title="Reliability", x="probability said", y="frequency seen")


def _decision(e: ClassEvaluation, target: str, name: str) -> str:
    curve = e.details[target].decision

    def draw(axes: Axes) -> None:
        top = max(*curve.model, *curve.treat_all, 0.02) * 1.12
        if curve.low:
            axes.fill_between(curve.threshold, curve.low, curve.high, color=ACCENT, alpha=0.18, lw=0)
        axes.axhline(0, color=MUTED, lw=1)
        axes.plot(curve.threshold, curve.treat_all, color=SECOND, lw=1.3, label="call all")
        axes.plot(curve.threshold, curve.model, color=ACCENT, lw=1.8, label="model")
        if e.threshold is not None:
            axes.axvline(e.threshold, color=INK, lw=0.9, ls=(0, (1, 2)))
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.3 * top, top)
        _frame(axes, "Decision curve", "threshold probability", "net benefit")
        axes.legend(frameon=False, fontsize=9.5, labelcolor=MUTED, handlelength=1.4, loc="upper right")

    useful = _useful(curve.threshold, curve.model, curve.treat_all)
    alt = f"Decision curve of {target}: {useful}"
    return chart(draw, name=name, alt=alt, height=_SIDE, width=_SIDE)


def _useful(threshold: Sequence[float], model: Sequence[float], everyone: Sequence[float]) -> str:
    """Where the model is worth more than calling all and than calling none, in words.

    >>> _useful([0.1, 0.2, 0.3], [0.1, 0.2, 0.1], [0.2, 0.1, 0.0])
    'of use from 0.20 to 0.30'
    """
    use = [t for t, own, others in zip(threshold, model, everyone, strict=True) if own > max(others, 0.0) + 1e-12]
    if not use:
        return "nowhere of more use than calling all or none"
    gaps = not math.isclose(
        use[-1] - use[0], threshold[1] * (len(use) - 1) - threshold[0] * (len(use) - 1), abs_tol=1e-6
    )
    return f"of use from {use[0]:.2f} to {use[-1]:.2f}" + (", with gaps" if gaps else "")
