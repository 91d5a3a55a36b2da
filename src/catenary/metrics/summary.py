"""From the rows of a `Scorer` to an `Evaluation`: means, pooled values, intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.metrics.intervals import draw_groups, group_index, percentile_interval, resample_means, sum_groups
from catenary.metrics.objects import Objects
from catenary.metrics.registry import CONVENTIONS, Metric
from catenary.metrics.results import Baseline, Empty, Evaluation, Interval, ObjectTotals

if TYPE_CHECKING:
    from catenary.metrics.scorer import Row, Scorer

__all__ = ["interval_of", "mean_over_classes", "summarise"]

Array = NDArray[Any]


def summarise(scorer: Scorer, split: str, baselines: Mapping[str, Scorer], seed: int) -> Evaluation:
    """See `Scorer.result`."""
    # In the order of the names, so that no score hangs on the order in which cases came.
    names = sorted(scorer.rows)
    if not names:
        raise InputError("no case was scored, found 0; choose a split that has cases with a mask")
    rows = [scorer.rows[name] for name in names]
    index, groups = group_index([row.group for row in rows])
    draws = draw_groups(groups, rng=np.random.default_rng(seed))
    rivals = {}
    for name, rival in baselines.items():
        only = sorted(set(rival.rows) ^ set(names))
        if only:
            raise InputError(
                f"baseline '{name}' and the model were scored on other cases, found '{only[0]}' in one only; "
                "give both the same cases"
            )
        rivals[name] = Baseline(**_tables(rival, [rival.rows[n] for n in names], index, draws))
    targets = scorer.labels.target_names
    return Evaluation(
        split=split,
        n=len(rows),
        groups=groups,
        **_tables(scorer, rows, index, draws),
        confusion=_confusion(scorer),
        confusion_names=list(scorer.labels.names) if scorer.confusion.any() else [],
        empty={target: _empty(rows, k) for k, target in enumerate(targets)},
        objects={target: _objects(rows, k) for k, target in enumerate(targets) if "objects" in rows[0].parts},
        baselines=rivals,
        conventions=_conventions(scorer),
        tolerance=scorer.tolerance,
        unit=scorer.unit,
        cases=[row.scores for row in rows],
    )


def interval_of(value: float, low: float, high: float, n: int) -> Interval:
    """An `Interval` with None for what is not a number."""
    ends = [None if not np.isfinite(x) else float(x) for x in (value, low, high)]
    return Interval(value=ends[0], low=ends[1], high=ends[2], n=n)


def mean_over_classes(values: Array) -> Array:
    """Mean over the last axis but one, ``(..., targets, metrics)``; NaN values are left out."""
    known = ~np.isnan(values)
    number = known.sum(axis=-2)
    total = np.where(known, values, 0.0).sum(axis=-2)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _tables(scorer: Scorer, rows: Sequence[Row], index: Array, draws: Array) -> dict[str, Any]:
    """The fields that an evaluation and a baseline share."""
    targets, metrics = scorer.labels.target_names, scorer.metrics
    values = np.stack([row.values for row in rows])
    classes = resample_means(values, index, np.ones((1, draws.shape[1])))[0]
    resampled = resample_means(values, index, draws)
    known = ~np.isnan(values)
    pooled_metrics = {key: metric for key, metric in metrics.items() if metric.pooled}
    pooled, pooled_resampled = _pooled(pooled_metrics, rows, index, draws)
    counted = np.array([row.scores.n_pixels > 0 for row in rows])
    number = np.broadcast_to(counted.sum(), pooled.shape)
    sure = draws.shape[1] > 1
    return {
        "classes": _by_target(targets, metrics, classes, resampled, known.sum(axis=0), sure),
        "mean": _by_metric(
            metrics, mean_over_classes(classes), mean_over_classes(resampled), known.any(axis=1).sum(axis=0), sure
        ),
        "pooled": _by_target(targets, pooled_metrics, pooled, pooled_resampled, number, sure),
        "pooled_mean": _by_metric(
            pooled_metrics, mean_over_classes(pooled), mean_over_classes(pooled_resampled), number[0], sure
        ),
    }


def _pooled(metrics: Mapping[str, Metric], rows: Sequence[Row], index: Array, draws: Array) -> tuple[Array, Array]:
    """Metrics ``(targets, metrics)`` of summed parts, and the same for every resample."""
    values, resampled = [], []
    sums = {}
    for name, part in rows[0].parts.items():
        columns = [np.stack([row.parts[name][i] for row in rows]).astype(np.float64) for i in range(len(part))]
        by_group = [sum_groups(column, index, draws.shape[1]) for column in columns]
        sums[name] = (
            type(part)(*(column.sum(axis=0) for column in by_group)),
            type(part)(*(draws @ column for column in by_group)),
        )
    for metric in metrics.values():
        whole, drawn = sums[metric.part]
        values.append(metric.function(whole))
        resampled.append(metric.function(drawn))
    return np.stack(values, axis=-1), np.stack(resampled, axis=-1)


def _by_target(
    targets: Sequence[str], metrics: Iterable[str], values: Array, resampled: Array, number: Array, sure: bool
) -> dict[str, dict[str, Interval]]:
    return {
        target: _by_metric(metrics, values[k], resampled[:, k], number[k], sure) for k, target in enumerate(targets)
    }


def _by_metric(
    metrics: Iterable[str], values: Array, resampled: Array, number: Array, sure: bool
) -> dict[str, Interval]:
    """One `Interval` a metric; without ends where `sure` is False."""
    low, high = percentile_interval(resampled) if sure else (np.full_like(values, np.nan),) * 2
    rows = zip(metrics, values.tolist(), low.tolist(), high.tolist(), number.tolist(), strict=True)
    return {key: interval_of(*row) for key, *row in rows}


def _empty(rows: Sequence[Row], target: int) -> Empty:
    counted = [row.parts["counts"] for row in rows if row.scores.n_pixels > 0]
    truth = np.array([c.tp[target] + c.fn[target] == 0 for c in counted], bool)
    answer = np.array([c.tp[target] + c.fp[target] == 0 for c in counted], bool)
    return Empty(
        images=len(counted),
        n_truth_empty=int(truth.sum()),
        n_pred_empty=int(answer.sum()),
        n_both_empty=int((truth & answer).sum()),
    )


def _objects(rows: Sequence[Row], target: int) -> ObjectTotals:
    totals = np.sum([[part[target] for part in row.parts["objects"]] for row in rows], axis=0).tolist()
    return ObjectTotals(**dict(zip(Objects._fields, totals, strict=True)))


def _confusion(scorer: Scorer) -> list[list[int]]:
    if not scorer.confusion.any():
        return []
    square = scorer.confusion[:, :-1].copy()
    square[:, 0] += scorer.confusion[:, -1]  # no answer counts as background, as everywhere
    rows: list[list[int]] = square.tolist()
    return rows


def _conventions(scorer: Scorer) -> dict[str, str]:
    rules = dict(CONVENTIONS)
    rules["distances"] += f" Unit: {scorer.unit}; tolerance of the normalised surface distance: {scorer.tolerance:g}."
    rules["volumes"] += f" Unit: {scorer.volume_unit}."
    for key, metric in scorer.metrics.items():
        better = "higher" if metric.higher else "lower"
        rules[key] = f"{metric.title} = {metric.formula}; {better} is better. Empty masks: {metric.empty}."
    if scorer.rank == 3:
        rules = {key: rule.replace("pixel", "voxel").replace(" (in 2D its length)", "") for key, rule in rules.items()}
    return rules
