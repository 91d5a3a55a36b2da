"""Scoring case by case: images are measured as they come and not kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError, near_match
from catenary.metrics.counts import Counts, check_values, confusion_matrix, count, count_targets
from catenary.metrics.objects import Objects, match_objects
from catenary.metrics.registry import METRICS, Metric
from catenary.metrics.results import CaseScores, Evaluation
from catenary.metrics.surface import Band, Surface, check_spacing, measure_band, measure_surface
from catenary.metrics.volumes import Volumes, measure_volumes, volume_unit
from catenary.types import IGNORE

__all__ = ["Scorer"]

Array = NDArray[Any]
Parts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a case: sums that metrics are functions of, and the metrics themselves.

    Attributes:
        parts: Name of a part -> `Counts`, `Band`, `Surface`, `Objects` or `Volumes` of shape ``(targets,)``.
        values: Metrics, ``(targets, metrics)``; NaN where the truth leaves one undefined.
    """

    group: str
    scores: CaseScores
    parts: Parts
    values: NDArray[np.float64]


class Scorer:
    """Collects scores case by case.

    Args:
        labels: The classes; its `target_names` are scored.
        tolerance: Distance that counts as no error in ``nsd``, in the unit of `spacing`: 2 mm is what is mostly asked
            of scans.
        spacing: Size of a pixel along each axis, of cases that bring none; distances are in pixels where there is none.
        unit: Unit of all spacings; three axes in ``"mm"`` give volumes in ml.
        metrics: Keys of `METRICS` to measure; all when None. Fewer parts (see `Metric`) take less time.

    Raises:
        ConfigError: A metric is not known.

    >>> scorer = Scorer(LabelSet(names=("background", "cell")))
    >>> truth = np.array([[0, 1, 1, 0]], np.uint8)
    >>> case = scorer.add("a", "dish 1", truth, np.array([[0, 1, 0, 0]], np.uint8))
    >>> case.classes["cell"]["precision"], case.classes["cell"]["sensitivity"]
    (1.0, 0.5)
    """

    def __init__(
        self,
        labels: LabelSet,
        *,
        tolerance: float = 2.0,
        spacing: Sequence[float] | None = None,
        unit: str | None = None,
        metrics: Collection[str] | None = None,
    ) -> None:
        for key in metrics or ():
            if key not in METRICS:
                raise ConfigError(f"there is no metric '{key}'; {near_match(key, METRICS)}")
        self.labels = labels
        self.tolerance = tolerance
        self.spacing = None if spacing is None else tuple(spacing)
        self.rank: int | None = None
        self._spaced = spacing is not None
        self._unit = unit or "units of the spacing"
        self.metrics: dict[str, Metric] = {k: m for k, m in METRICS.items() if metrics is None or k in metrics}
        self.rows: dict[str, Row] = {}
        self.confusion = np.zeros((labels.count, labels.count + 1), np.int64)
        self._parts = {metric.part for metric in self.metrics.values()} | {"counts"}

    @property
    def unit(self) -> str:
        """Unit of distances."""
        return self._unit if self._spaced else "voxels" if self.rank == 3 else "pixels"

    @property
    def volume_unit(self) -> str:
        """Unit of volumes, of areas in 2D."""
        return volume_unit(self._unit if self._spaced else None, self.rank or 2)

    def add(
        self,
        name: str,
        group: str,
        truth: UInt8[np.ndarray, "*s"],
        prediction: UInt8[np.ndarray, "*p"] | Bool[np.ndarray, "r ..."],
        *,
        spacing: Sequence[float] | None = None,
    ) -> CaseScores:
        """Measure one case.

        Args:
            name: Its name; each may come once.
            group: Patient, specimen or place it belongs to; the name itself when empty.
            truth: Label map, 2D or 3D; `IGNORE` is not counted.
            prediction: Label map of the same shape, or for overlapping targets one mask a target.
            spacing: This case's own spacing, in the scorer's unit; the scorer's own when None.

        Returns:
            The scores of this case.

        Raises:
            InputError: The name came before, shapes differ, a value is not a class, or only some cases have a spacing
                or the same number of axes.
        """
        if name in self.rows:
            raise InputError(f"case '{name}' was scored before; give every case a name of its own")
        spacing = self.spacing if spacing is None else spacing
        try:
            matrix, counts, masks = self._count(truth, prediction)
            spacing = None if spacing is None else check_spacing(spacing, truth.ndim)
            self._check_kind(truth.ndim, spacing)
            parts = self._measure(counts, masks, spacing)
        except InputError as error:
            raise InputError(f"case '{name}': {error}") from error
        values = np.stack([metric.function(parts[metric.part]) for metric in self.metrics.values()], axis=-1)
        known = int(sum(part[0] for part in counts))
        if known == 0:
            values = np.full_like(values, np.nan)
        if matrix is not None:
            self.confusion += matrix
        self.rank, self._spaced = truth.ndim, spacing is not None
        scores = self._scores(name, group or name, parts, values, known, truth.size - known)
        self.rows[name] = Row(group or name, scores, parts, values)
        return scores

    def result(self, split: str, *, baselines: Mapping[str, Scorer] | None = None, seed: int = 0) -> Evaluation:
        """All scores with their intervals.

        Args:
            split: Which cases these are: ``"test"``, ``"val"``, ...
            baselines: Scorers of trivial answers, which were given the same cases.
            seed: Of the bootstrap.

        Raises:
            InputError: No case was added, or a baseline has other cases.
        """
        from catenary.metrics.summary import summarise

        return summarise(self, split, baselines or {}, seed)

    def _check_kind(self, rank: int, spacing: Sequence[float] | None) -> None:
        if self.rows and rank != self.rank:
            raise InputError(f"it has {rank} axes, the cases before it {self.rank}; score images and volumes apart")
        if self.rows and self._spaced != (spacing is not None):
            before = "with" if self._spaced else "without"
            raise InputError(
                f"its spacing is {spacing or 'unknown'}, but it comes after cases {before} one; give every case its "
                "spacing or none of them, so that distances have one unit"
            )

    def _count(
        self, truth: UInt8[np.ndarray, "*s"], prediction: UInt8[np.ndarray, "*p"] | Bool[np.ndarray, "r ..."]
    ) -> tuple[Array | None, Counts, list[tuple[Array, Array]]]:
        """Confusion matrix (of label maps only), counts of every target, and its two masks."""
        members = self.labels.target_members()
        inside = [_in_classes(truth, classes) for classes in members]
        known = truth != IGNORE
        if prediction.dtype != np.bool_:
            matrix = confusion_matrix(truth, prediction, self.labels.count)
            answers = [_in_classes(prediction, classes) & known for classes in members]
            return matrix, count_targets(matrix, members), list(zip(inside, answers, strict=True))
        check_values(truth, self.labels.count, "truth")
        if prediction.shape != (len(members), *truth.shape):
            raise InputError(
                f"masks of the targets must have the shape {(len(members), *truth.shape)}, found {prediction.shape}; "
                "give one mask a target, on the truth's own grid"
            )
        answers = [mask & known for mask in prediction]
        pairs = list(zip(inside, answers, strict=True))
        rows = [count(t, p, known) for t, p in pairs]
        return None, Counts(*(np.stack(column) for column in zip(*rows, strict=True))), pairs

    def _measure(self, counts: Counts, masks: list[tuple[Array, Array]], spacing: Sequence[float] | None) -> Parts:
        parts: Parts = {"counts": counts}
        if "band" in self._parts:
            bands = [measure_band(t, p, spacing=spacing) for t, p in masks]
            parts["band"] = Band(*(np.stack(column) for column in zip(*bands, strict=True)))
        if "surface" in self._parts:
            rows = [measure_surface(t, p, tolerance=self.tolerance, spacing=spacing) for t, p in masks]
            parts["surface"] = Surface(*(np.stack(column) for column in zip(*rows, strict=True)))
        if "objects" in self._parts:
            found = [match_objects(t, p) for t, p in masks]
            parts["objects"] = Objects(*(np.stack(column) for column in zip(*found, strict=True)))
        if "volumes" in self._parts:
            parts["volumes"] = measure_volumes(counts, spacing=spacing, unit=self._unit)
        return parts

    def _scores(self, name: str, group: str, parts: Parts, values: Array, known: int, ignored: int) -> CaseScores:
        targets = self.labels.target_names
        counts: Counts = parts["counts"]
        volumes: Volumes | None = parts.get("volumes")
        error = [] if volumes is None else (volumes.predicted - volumes.true).tolist()
        return CaseScores(
            name=name,
            group=group,
            n_pixels=known,
            n_ignored=ignored,
            classes={
                target: {key: None if v != v else v for key, v in zip(self.metrics, row.tolist(), strict=True)}
                for target, row in zip(targets, values, strict=True)
            },
            truth_pixels=dict(zip(targets, (counts.tp + counts.fn).tolist(), strict=True)),
            predicted_pixels=dict(zip(targets, (counts.tp + counts.fp).tolist(), strict=True)),
            volume_error=dict(zip(targets, error, strict=False)),
        )


def _in_classes(label: Array, classes: Sequence[int]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = label == classes[0]
    for index in classes[1:]:
        mask |= label == index
    return mask
