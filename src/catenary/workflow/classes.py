"""Classification of whole images: what `fit`, `evaluate` and `predict` do where images have one class each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catenary.data.cases import Dataset
from catenary.data.hashing import content_hash
from catenary.errors import ConfigError, InputError
from catenary.io.files import write_text
from catenary.metrics.calibration import choose_calibration
from catenary.metrics.classes import ClassComparison, ClassEvaluation, compare_classes, evaluate_classes
from catenary.metrics.decision import choose_threshold
from catenary.plan import Plan
from catenary.types import Progress, silent
from catenary.workflow.look import Known
from catenary.workflow.run import EVALUATION
from catenary.workflow.samples import samples_of

if TYPE_CHECKING:
    from catenary.predict import Card
    from catenary.predict.classify import ClassPredictor
    from catenary.report.data import ClassCase

__all__ = [
    "Answers",
    "MeasuredClasses",
    "answer",
    "calibrate_classes",
    "compare_class_runs",
    "evaluate_class_run",
    "measure_classes",
]

#: Training images whose features tell other kinds of images from theirs.
SUMMED = 2000
#: With fewer validation images of a class no threshold but 0.5 is chosen: it would be that of one image.
FEWEST_TO_CHOOSE = 5
#: Mistakes that the report shows.
SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier says of cases whose class is known.

    Attributes:
        cases: Names.
        truth: Class indices ``(n,)``.
        plain, probability: Probabilities before and after calibration ``(n, k)``.
        groups, sources: Patient and origin of each.
        trained_on: Names of those whose pixels the model was trained on.
    """

    cases: tuple[str, ...]
    truth: NDArray[np.int64]
    plain: NDArray[np.float64]
    probability: NDArray[np.float64]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    trained_on: tuple[str, ...] = ()


def answer(
    model: ClassPredictor,
    dataset: Dataset,
    names: Sequence[str],
    *,
    what: str = "evaluating",
    progress: Progress = silent,
) -> Answers:
    """Ask a classifier about cases.

    Raises:
        InputError: An image cannot be read, or is not of the kind that the model was trained on.
    """
    trained, seen = set(model.card.provenance.get("training_content", ())), []
    found = []
    for done, name in enumerate(names, start=1):
        image = dataset.read_image(dataset[name])
        if trained and content_hash(image.array) in trained:
            seen.append(name)
        found.append(model(image))
        progress(what, done, len(names))
    cases = [dataset[name] for name in names]
    return Answers(
        cases=tuple(names),
        truth=np.array([case.label for case in cases], np.int64),
        plain=np.stack([one.plain for one in found]),
        probability=np.stack([one.probability for one in found]),
        groups=tuple(case.group for case in cases),
        sources=tuple(case.source for case in cases),
        trained_on=tuple(seen),
    )


def calibrate_classes(folder: Path, card: Card, known: Known, *, progress: Progress = silent) -> Card:
    """Calibration and threshold from validation cases only; what training images look like to the network."""
    from catenary.predict.classify import open_classifier
    from catenary.predict.familiar import fit_familiar

    model = open_classifier(folder, engine="torch")
    found = answer(model, known.dataset, known.splits.val, what="calibrating", progress=progress)
    calibration = choose_calibration(found.truth, found.plain, found.groups)
    update: dict[str, Any] = {"calibration": calibration}
    if known.dataset.labels.count == 2:
        update["judged"] = tuple(zip(found.plain[:, 1].tolist(), found.truth.tolist(), strict=True))
        positive = found.truth == 1
        if min(positive.sum(), (~positive).sum()) >= FEWEST_TO_CHOOSE:
            wish = card.recipe.predict
            update["operating"] = choose_threshold(
                positive,
                calibration(found.plain)[:, 1],
                sensitivity=wish.sensitivity or None,
                specificity=wish.specificity or None,
            )
            update["thresholds"] = (update["operating"].threshold,)
    train = known.splits.train[:: max(1, len(known.splits.train) // SUMMED)]
    features = [_features(model, known.dataset, name) for name in train]
    held_out = [_features(model, known.dataset, name) for name in known.splits.val]
    groups = [known.dataset[name].group for name in train]
    update["familiar"] = fit_familiar(np.stack(features), groups=groups, held_out=np.stack(held_out))
    return card.model_copy(update=update)


def _features(model: ClassPredictor, dataset: Dataset, name: str) -> NDArray[np.float32]:
    features: NDArray[np.float32] = model.looked_at([dataset.read_image(dataset[name])])[1][0]
    return features


@dataclass(frozen=True, kw_only=True)
class MeasuredClasses:
    """An evaluation of classes with what its report shows beside it.

    Attributes:
        evaluation: The scores.
        gallery: Images to look at.
        how: The engine, and how far it departs from torch.
    """

    evaluation: ClassEvaluation
    gallery: tuple[ClassCase, ...]
    how: dict[str, str]


def measure_classes(
    model: ClassPredictor,
    dataset: Dataset,
    names: Sequence[str],
    split: str,
    *,
    run: str | Path | None = None,
    prevalence: float | None = None,
    progress: Progress = silent,
) -> MeasuredClasses:
    """Score a classifier on cases; `run` is where its model file lies, for pictures of where it looks."""
    found = answer(model, dataset, names, progress=progress)
    evaluation = evaluate_classes(
        found.truth,
        found.probability,
        names=dataset.labels.names,
        groups=found.groups,
        sources=found.sources,
        cases=found.cases,
        threshold=model.threshold,
        prevalence=prevalence,
        split=split,
    )
    if found.trained_on:
        caution = (
            f"the model was trained on {len(found.trained_on)} of these {evaluation.n} images, so that the scores are "
        )
        notes = [caution + "better than those of new images", *evaluation.notes]
        evaluation = evaluation.model_copy(update={"notes": notes})
    engine = model.engine.name
    if "fp32" not in engine or not engine.startswith("torch"):
        engine += f", probabilities differ from torch's in full precision by {model.drift:.5f} in the mean"
    return MeasuredClasses(
        evaluation=evaluation,
        gallery=tuple(_gallery(model, dataset, evaluation, run)),
        how={"engine": "; ".join([engine, *model.notes])},
    )


def _gallery(
    model: ClassPredictor, dataset: Dataset, evaluation: ClassEvaluation, run: str | Path | None
) -> Iterator[ClassCase]:
    """The worst mistakes and the clearest hits, with what the network looked at where its file is known."""
    from catenary.predict.class_files import tinted
    from catenary.predict.saliency import Saliency
    from catenary.report.classes import worst_mistakes
    from catenary.report.data import ClassCase
    from catenary.report.pictures import to_rgb8

    wrong = worst_mistakes(evaluation, SHOWN)
    right = sorted((case for case in evaluation.cases if case.truth == case.called), key=lambda c: -max(c.probability))
    hits = [next((case for case in right if case.truth == name), None) for name in evaluation.names]
    saliency = None if run is None else Saliency(run)
    for case in [*wrong, *(hit for hit in hits if hit is not None)]:
        image = dataset.read_image(dataset[case.name])
        looks = None
        if saliency is not None:
            try:
                looks = tinted(image, saliency(image, evaluation.names.index(case.called)))
            except ConfigError:  # a network whose last features have no places
                saliency = None
        yield ClassCase(
            name=case.name, image=to_rgb8(image.array), looks=looks, warning="; ".join(model(image).warnings)
        )


def evaluate_class_run(
    folder: Path, known: Known, plan: Plan, card: Card, *, progress: Progress = silent
) -> tuple[ClassEvaluation, Path]:
    """Score a fresh run on its test cases (validation cases when there are none), and write its report."""
    from catenary.predict.classify import open_classifier
    from catenary.workflow.reporting import write_class_run_report

    split = "test" if known.splits.test else "val"
    progress("preparing fast prediction", 0, 1)
    model = open_classifier(folder, samples=samples_of(known, card))
    progress("preparing fast prediction", 1, 1)
    measured = measure_classes(model, known.dataset, known.splits.parts[split], split, run=folder, progress=progress)
    write_text(folder / EVALUATION, measured.evaluation.model_dump_json(indent=1))
    return measured.evaluation, write_class_run_report(folder, known, plan, card, measured)


def compare_class_runs(one: ClassEvaluation, other: ClassEvaluation, names: tuple[str, str]) -> ClassComparison:
    """Two recorded evaluations of the same images, paired.

    Raises:
        InputError: The images or the classes differ.
    """
    cases = [{case.name: case for case in run.cases} for run in (one, other)]
    if one.names != other.names or cases[0].keys() != cases[1].keys():
        raise InputError(
            f"{names[0]} and {names[1]} were measured on different images or classes; evaluate both on the same data"
        )
    order = list(cases[0])
    truth = [one.names.index(cases[0][name].truth) for name in order]
    a, b = (np.array([run[name].probability for name in order]) for run in cases)
    return compare_classes(
        truth, a, b, names=one.names, groups=[cases[0][name].group for name in order], models=names,
        thresholds=(one.threshold, other.threshold),
    )  # fmt: skip
