"""Evaluations and comparisons as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from catenary.metrics.registry import METRICS
from catenary.metrics.results import Comparison, Difference, Evaluation

__all__ = ["SHOWN", "comparison_rows", "format_comparison", "format_table", "table_rows"]

#: Metrics shown unless others are asked for.
SHOWN = ("dice", "iou", "sensitivity", "precision", "boundary_iou", "hd95", "nsd", "object_f1")


def table_rows(evaluation: Evaluation, metrics: Sequence[str] = SHOWN) -> list[list[str]]:
    """Header, one row a target, the mean, and the mean of each baseline; ``value (low to high)`` in each cell."""
    keys = [key for key in metrics if key in evaluation.mean]
    rows = [[evaluation.split, *(METRICS[key].title if key in METRICS else key for key in keys)]]
    rows += [[name, *(str(scores[key]) for key in keys)] for name, scores in evaluation.classes.items()]
    if len(evaluation.classes) > 1:
        rows.append(["mean", *(str(evaluation.mean[key]) for key in keys)])
    for name, rival in evaluation.baselines.items():
        rows.append([f"without learning: {name}", *(str(rival.mean.get(key, "–")) for key in keys)])
    return rows


def format_table(evaluation: Evaluation, metrics: Sequence[str] = SHOWN) -> str:
    """`table_rows` in aligned columns, with what is needed to read them below."""
    note = (
        f"{evaluation.n} cases in {evaluation.groups} groups; means over cases with 95 % intervals over groups; "
        f"distances in {evaluation.unit}."
    )
    return _aligned(table_rows(evaluation, metrics)) + "\n" + note


def comparison_rows(comparison: Comparison, metrics: Sequence[str] = SHOWN) -> list[list[str]]:
    """Header, then one row a target and metric."""
    rows = [["target", "metric", comparison.a, comparison.b, "difference (95 %)", "p", "better"]]
    tables = dict(comparison.classes)
    if len(tables) > 1:
        tables["mean"] = comparison.mean
    for target, scores in tables.items():
        shown = [key for key in metrics if key in scores]
        rows += [[target, METRICS[key].title, *_cells(scores[key], comparison)] for key in shown]
    rows += [["damage", title, *_cells(found, comparison)] for title, found in comparison.damage.items()]
    return rows


def format_comparison(comparison: Comparison, metrics: Sequence[str] = SHOWN) -> str:
    """`comparison_rows` in aligned columns."""
    note = f"{comparison.n} cases in {comparison.groups} groups, paired; difference = {comparison.b} - {comparison.a}."
    return _aligned(comparison_rows(comparison, metrics)) + "\n" + note


def _cells(d: Difference, comparison: Comparison) -> list[str]:
    if d.value is None or d.a is None or d.b is None:
        return ["–"] * 4 + ["unclear"]
    interval = "" if d.low is None or d.high is None else f" ({d.low:+.3f} to {d.high:+.3f})"
    better = {"a": comparison.a, "b": comparison.b}.get(d.better, "unclear")
    p = "–" if d.p is None else f"{d.p:.4f}"
    return [f"{d.a:.3f}", f"{d.b:.3f}", f"{d.value:+.3f}{interval}", p, better]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
