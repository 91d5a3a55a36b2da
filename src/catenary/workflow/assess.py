"""Measuring a model: thresholds on validation data, scores on test data, the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catenary.data.cases import Dataset
from catenary.data.hashing import content_hash
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.io.files import write_text
from catenary.measures import Curve, average, curves_of
from catenary.metrics.baselines import fit_baselines
from catenary.metrics.evaluation import Comparison, DamageScorer, Evaluation, Scorer, has_damage_grades
from catenary.metrics.evaluation import compare as compare_evaluations
from catenary.plan import Plan
from catenary.types import IGNORE, Grid, Progress, silent
from catenary.workflow.look import Known, as_dataset
from catenary.workflow.run import EVALUATION, load, read_scores
from catenary.workflow.samples import samples_of

if TYPE_CHECKING:
    from catenary.metrics.classes import ClassComparison, ClassEvaluation
    from catenary.predict import Card, Predictor
    from catenary.predict.classify import ClassPredictor
    from catenary.predict.quantities import CasePair
    from catenary.report import GalleryCase, Measurement, VolumeRow

__all__ = ["calibrate", "compare", "evaluate", "evaluate_run"]

#: A threshold other than 0.5 must gain this much validation Dice, or it is noise.
THRESHOLD_GAIN = 0.003
GALLERY = 6
#: So many images are also segmented in one piece, to see what tiling changes.
SEAM_IMAGES = 3


def evaluate(
    model: str | Path | Predictor | ClassPredictor,
    data: str | Path | Dataset,
    *,
    split: str = "test",
    out: str | Path | None = None,
    prevalence: float | None = None,
    progress: Progress = silent,
) -> Evaluation | ClassEvaluation:
    """Measure a model on a part of a data set, beside trivial baselines.

    Args:
        model: A run's folder, a model file, or what `load` gave.
        data: Folder, manifest or open data set.
        split: ``"test"``, ``"val"``, ``"train"`` or ``"all"``; the first three as the run divided its data, or as the
            data set itself states.
        out: Folder for ``report.html`` and ``report.json``.
        prevalence: Share of the second of two whole-image classes where the model will be used, for predictive values.
        progress: Called after each case.

    Raises:
        ConfigError: The split is not known for this data set, or its classes are not the model's.
    """
    from catenary.predict import Predictor

    predictor = load(model) if isinstance(model, str | Path) else model
    dataset = as_dataset(data)
    if dataset.labels.count != predictor.card.labels.count:
        dataset = dataset.with_classes(predictor.card.recipe.data.classes)
    wish = predictor.card.recipe.data
    dataset = dataset.with_regions(wish.regions).with_channels(wish.channels)
    _same_classes(predictor.card.labels, dataset.labels)
    names, train = _part(dataset, predictor.card.provenance.get("splits"), split)
    if not isinstance(predictor, Predictor):
        from catenary.workflow.classes import measure_classes
        from catenary.workflow.reporting import write_class_report

        where = model if isinstance(model, str | Path) else None
        found = measure_classes(predictor, dataset, names, split, run=where, prevalence=prevalence, progress=progress)
        if out is not None:
            write_class_report(Path(out), predictor.card, dataset, found)
        return found.evaluation
    if prevalence is not None:
        raise ConfigError("a prevalence is for models of whole images, and this one segments; leave it out")
    measured = _measure(predictor, dataset, names, train, split, progress)
    if out is not None:
        from catenary.workflow.reporting import write_evaluation_report

        write_evaluation_report(Path(out), predictor.card, dataset, measured)
    return measured.evaluation


def compare(run_a: str | Path, run_b: str | Path) -> Comparison | ClassComparison:
    """Set the test scores of two runs side by side, paired case by case.

    Raises:
        ModelError: A folder holds no finished run.
        InputError: The runs were measured on different cases.
    """
    names = (Path(run_a).name, Path(run_b).name)
    if names[0] == names[1]:
        names = (str(run_a), str(run_b))
    one, other = read_scores(run_a), read_scores(run_b)
    if isinstance(one, Evaluation) and isinstance(other, Evaluation):
        return compare_evaluations(one, other, names=names)
    if isinstance(one, Evaluation) or isinstance(other, Evaluation):
        raise InputError(f"of {names[0]} and {names[1]} one segments and one classifies; compare two of a kind")
    from catenary.workflow.classes import compare_class_runs

    return compare_class_runs(one, other, names)


def calibrate(folder: Path, card: Card, known: Known, *, progress: Progress = silent) -> Card:
    """Choose thresholds and tidying, and learn the errors of what is measured, on the validation cases only."""
    from catenary.predict import open_predictor

    predictor = open_predictor(folder, engine="torch")
    thresholds, cleaning, update = _look_at_validation(predictor, known, progress)
    if thresholds != predictor.card.thresholds:  # masks are others now, and so are their errors
        predictor.card = predictor.card.model_copy(update={"thresholds": thresholds})
        _, cleaning, update = _look_at_validation(predictor, known, progress)
    if cleaning:
        predictor.card = predictor.card.model_copy(update={"cleaning": cleaning})
        _, _, update = _look_at_validation(predictor, known, progress)
    return card.model_copy(update=update | {"thresholds": thresholds, "cleaning": cleaning})


def _look_at_validation(
    predictor: Predictor, known: Known, progress: Progress
) -> tuple[tuple[float, ...], dict[str, tuple[str, ...]], dict[str, Any]]:
    """The best thresholds, the tidying that pays, and the errors of shares and quantities at the present ones."""
    from catenary.predict.cleaning import choose_steps, dice_of_steps
    from catenary.predict.prediction import as_regions
    from catenary.predict.quantities import case_pair

    labels, measures = known.dataset.labels, predictor.card.recipe.predict.measures
    tidies = predictor.card.rank == 3 and predictor.card.recipe.predict.clean == "auto"
    candidates = np.round(np.arange(0.2, 0.81, 0.05), 2)
    dice: list[NDArray[np.float64]] = []
    tidied: list[NDArray[np.float64]] = []
    shares: list[NDArray[np.float64]] = []
    pairs: list[CasePair] = []
    for done, name in enumerate(known.splits.val):
        case = known.dataset[name]
        image, label = known.dataset.read_pair(case)
        # Thresholds are chosen from probabilities, of which volumes keep none unasked.
        prediction = predictor(image, probability=True if labels.task != "exclusive" else None)
        shares.append(_share_difference(label, prediction.mask, labels))
        if measures:
            pairs.append(case_pair(measures, case.group, image, label, prediction.mask, labels))
        if labels.task != "exclusive" and prediction.probability is not None:
            dice.append(_dice_at(label, prediction.probability, labels, candidates))
        if tidies:
            planes = as_regions(prediction.mask, labels) if prediction.regions is None else prediction.regions
            tidied.append(dice_of_steps(label, planes, labels))
        progress("choosing thresholds", done + 1, len(known.splits.val))
    errors = np.sqrt(np.mean(np.square(shares), axis=0)) if shares else np.zeros(len(labels.target_names))
    update = {
        "share_errors": {name: float(e) for name, e in zip(labels.target_names, errors, strict=True)},
        "quantities": tuple(pairs),
    }
    cleaning = choose_steps(tidied, labels.target_names)
    if not dice:
        return (), cleaning, update
    mean = np.mean(dice, axis=0)
    middle = int(np.flatnonzero(candidates == 0.5)[0])
    best = mean.argmax(axis=0)
    gained = mean[best, np.arange(mean.shape[1])] - mean[middle] >= THRESHOLD_GAIN
    if not gained.any():
        return (), cleaning, update
    chosen = tuple(float(candidates[b]) if g else 0.5 for b, g in zip(best, gained, strict=True))
    return chosen, cleaning, update


def evaluate_run(
    folder: Path, known: Known, plan: Plan, card: Card, *, progress: Progress = silent
) -> tuple[Evaluation, Path]:
    """Score a fresh run on its test cases (validation cases when there are none), and write its report."""
    from catenary.predict import open_predictor
    from catenary.workflow.reporting import write_run_report

    split = "test" if known.splits.test else "val"
    names, train = known.splits.parts[split], known.splits.train
    progress("preparing fast prediction", 0, 1)
    predictor = open_predictor(folder, samples=samples_of(known, card))
    progress("preparing fast prediction", 1, 1)
    measured = _measure(
        predictor, known.dataset, names, train, split, progress, before=_started_from(plan, known.dataset.labels)
    )
    write_text(folder / EVALUATION, measured.evaluation.model_dump_json(indent=1))
    return measured.evaluation, write_run_report(folder, known, plan, card, measured)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An evaluation with what its report shows beside it.

    Attributes:
        evaluation: The scores.
        gallery: Cases to look at.
        shares: Share of each target in each case.
        volumes: Volume of each target in each case, where the cases are volumes.
        quantities: Published quantities of each case, where the recipe names a set.
        curves: Those that are functions of a distance, mean over the cases: of the true and of the predicted masks.
        how: The engine and its tiles, and what they change, in words.
    """

    evaluation: Evaluation
    gallery: tuple[GalleryCase, ...]
    shares: tuple[Measurement, ...]
    volumes: tuple[VolumeRow, ...]
    quantities: dict[str, CasePair]
    curves: tuple[tuple[Curve, Curve], ...]
    how: dict[str, str]


def _started_from(plan: Plan, labels: LabelSet) -> Predictor | None:
    """The model that training took its weights from, where it knows the same classes."""
    from catenary.predict import load_card, open_predictor

    start = plan.recipe.transfer.init
    if not start or load_card(start).labels.names != labels.names or load_card(start).labels.regions != labels.regions:
        return None
    found = open_predictor(start, engine="torch")
    own, its = (model.channels - len(model.disasters) for model in (plan.recipe.model, found.card.recipe.model))
    return found if own == its else None


def _measure(
    predictor: Predictor,
    dataset: Dataset,
    names: Sequence[str],
    train: Sequence[str],
    split: str,
    progress: Progress,
    *,
    before: Predictor | None = None,
) -> Measured:
    from catenary.predict.quantities import case_pair
    from catenary.report import gallery_cases, pick_cases, volume_rows

    labels = dataset.labels
    grid = _common_grid(dataset, names)
    baselines = fit_baselines(_training_pairs(dataset, train), labels)
    scorer, earlier = (Scorer(labels, spacing=grid.spacing, unit=grid.unit) for _ in range(2))
    rivals = {name: Scorer(labels, spacing=grid.spacing, unit=grid.unit) for name in baselines.names}
    damage, damage_before = (DamageScorer(labels) if has_damage_grades(dataset) else None for _ in range(2))
    shares: list[Measurement] = []
    volumes: list[VolumeRow] = []
    measures = predictor.card.recipe.predict.measures
    pairs: dict[str, CasePair] = {}
    curves: tuple[list[Sequence[Curve]], ...] = ([], [])
    trained, seen = set(predictor.card.provenance.get("training_content", ())), []
    seams: list[float] = []
    for done, name in enumerate(names):
        case = dataset[name]
        image, label = dataset.read_pair(case)
        own = image.grid.spacing if dataset.rank == 3 else None  # scans differ; pictures share the data set's
        if trained and content_hash(image.array) in trained:
            seen.append(name)
        if len(seams) < SEAM_IMAGES and (seam := predictor.seam_difference(image)) is not None:
            seams.append(seam)
        prediction = predictor(image)
        answer = prediction.mask if prediction.regions is None else prediction.regions
        scores = scorer.add(name, case.group, label, answer, spacing=own)
        if before is not None:
            old = before(image)
            answer = old.mask if old.regions is None else old.regions
            earlier.add(name, case.group, label, answer, spacing=own)
            if damage_before is not None:
                damage_before.add(name, case.group, label, old.mask)
        if damage is not None:
            damage.add(name, case.group, label, prediction.mask)
        for rival, guess in baselines.predict(image.array).items():
            rivals[rival].add(name, case.group, label, guess, spacing=own)
        shares += _share_rows(name, label, prediction.mask, labels)
        volumes += volume_rows(scores, image.grid) if label.ndim == 3 else []
        if measures:
            pairs[name] = case_pair(measures, case.group, image, label, prediction.mask, labels)
            for side, mask in zip(curves, (label, prediction.mask), strict=True):
                side.append(curves_of(measures, mask, labels, image.grid, valid=label != IGNORE))
        progress("evaluating", done + 1, len(names))
    evaluation = _with_damage(scorer.result(split, baselines=rivals), damage)
    gain = None
    if before is not None:
        gain = compare_evaluations(
            _with_damage(earlier.result(split), damage_before), evaluation, names=("before", "after")
        )
    evaluation = evaluation.model_copy(update={"trained_on": seen, "gain": gain})
    gallery: list[GalleryCase] = []
    for name in pick_cases(evaluation, GALLERY):
        case = dataset[name]
        image, label = dataset.read_pair(case)
        gallery += gallery_cases(name, image, _as_answered(label, labels), predictor(image).mask)
    return Measured(
        evaluation=evaluation,
        gallery=tuple(gallery),
        shares=tuple(shares),
        volumes=tuple(volumes),
        quantities=pairs,
        curves=tuple(zip(*(average(side) for side in curves), strict=True)),
        how=_how(predictor, dataset, names, seams),
    )


def _with_damage(evaluation: Evaluation, damage: DamageScorer | None) -> Evaluation:
    return evaluation.model_copy(update={"damage": damage.result() if damage else None})


def _common_grid(dataset: Dataset, names: Sequence[str]) -> Grid:
    """What distances are measured in: the spacing that the data set states, or that its scans have."""
    if dataset.grid.spacing is not None or dataset.rank == 2:
        return dataset.grid
    return dataset.read_image(dataset[names[0]]).grid


def _how(predictor: Predictor, dataset: Dataset, names: Sequence[str], seams: Sequence[float]) -> dict[str, str]:
    """The engine and its tiles, and how far both depart from the exact answer."""
    engine = predictor.engine.name
    if "fp32" not in engine or not engine.startswith("torch"):
        engine += f", another class than torch in full precision in {100 * predictor.drift:.3f} % of the pixels"
    engine = "; ".join([engine, *predictor.notes])
    if not seams:
        return {"engine": engine, "tiles": "every image in one piece"}
    first = dataset.read_image(dataset[names[0]])
    tile = "x".join(map(str, predictor.tiling(first.shape, first.grid.spacing).tile))
    return {
        "engine": engine,
        "tiles": f"{tile} pixels; another class than in one piece in {100 * max(seams):.3f} % of the pixels at most "
        f"(the middle of {len(seams)} images)",
    }


def _training_pairs(dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8]]]:
    for name in names:
        image, label = dataset.read_pair(dataset[name])
        yield image.array, label


def _as_answered(label: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.uint8]:
    """The truth as an answer shows it: classes that no region tells apart are one."""
    from catenary.predict.prediction import as_regions, paint_regions

    if labels.task != "overlapping":
        return label
    painted = paint_regions(as_regions(label, labels), labels)
    painted[label == IGNORE] = IGNORE
    return painted


def _share_difference(label: NDArray[np.uint8], mask: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.float64]:
    from catenary.predict.prediction import as_regions

    known = label != IGNORE
    truth, answer = as_regions(label, labels)[:, known], as_regions(mask, labels)[:, known]
    difference: NDArray[np.float64] = answer.mean(axis=1) - truth.mean(axis=1)
    return difference


def _share_rows(name: str, label: NDArray[np.uint8], mask: NDArray[np.uint8], labels: LabelSet) -> list[Measurement]:
    from catenary.predict.prediction import as_regions
    from catenary.report import Measurement

    known = label != IGNORE
    if not known.any():
        return []
    truth, answer = as_regions(label, labels)[:, known].mean(axis=1), as_regions(mask, labels)[:, known].mean(axis=1)
    return [
        Measurement(case=name, target=target, truth=float(t), prediction=float(p))
        for target, t, p in zip(labels.target_names, truth, answer, strict=True)
    ]


def _dice_at(
    label: NDArray[np.uint8], probability: NDArray[np.float32], labels: LabelSet, candidates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Dice ``(candidates, targets)`` of one image; 1 where truth and answer are both empty."""
    from catenary.predict.prediction import as_regions

    known = label != IGNORE
    truth = as_regions(label, labels)[:, known]
    values = probability[-len(truth) :][:, known]
    rows = []
    for threshold in candidates:
        answer = values > threshold
        both, total = (answer & truth).sum(1), answer.sum(1) + truth.sum(1)
        rows.append(np.where(total == 0, 1.0, 2 * both / np.maximum(total, 1)))
    return np.stack(rows)


def _part(
    dataset: Dataset, splits: Mapping[str, Sequence[str]] | None, split: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names to score, and names that baselines may be fitted on."""
    whole = dataset.labels.scope == "image"
    every = tuple(case.name for case in dataset.cases if (case.label if whole else case.mask) is not None)
    if splits is not None and not set(splits["train"]) <= set(every):
        splits = None  # another data set than the run's own
    if splits is None:
        stated = {part: tuple(c.name for c in dataset.cases if c.split == part) for part in ("train", "val", "test")}
        if split == "all":
            return every, stated["train"] or every
        if not stated.get(split):
            raise ConfigError(f"this data set has no '{split}' part that the model knows of; use --split all")
        return stated[split], stated["train"] or every
    parts = {part: tuple(names) for part, names in splits.items()} | {"all": every}
    if split not in parts:
        raise ConfigError(f"there is no split '{split}'; use test, val, train or all")
    if not parts[split]:
        raise ConfigError(f"the run's split has no '{split}' cases; use val or all")
    return parts[split], tuple(splits["train"])


def _same_classes(model: LabelSet, data: LabelSet) -> None:
    if model.scope != data.scope:
        told = {"pixel": "masks", "image": "one class an image"}
        raise InputError(
            f"the model was trained on {told[model.scope]} but the data set has {told[data.scope]}; evaluate it on "
            "data of its own kind"
        )
    if model.scope == "image" and model.names != data.names:
        raise InputError(
            f"the model tells {', '.join(model.names)} apart but the data set has {', '.join(data.names)}, in this "
            "order; name and order them alike in dataset.toml"
        )
    if model.count != data.count or set(model.regions) != set(data.regions):
        raise InputError(
            f"the model knows the classes {', '.join(model.names)} but the data set has {', '.join(data.names)}; "
            "evaluate it on a data set with its own classes"
        )
