"""`tune`: many short trainings, shared by processes and machines, and the recipe of the best."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catenary.data.cases import Dataset
from catenary.errors import CatenaryError, ConfigError, OutputError, TrainingError, near_match, writing
from catenary.io.files import write_json
from catenary.metrics.evaluation import Difference
from catenary.metrics.evaluation import compare as compare_evaluations
from catenary.plan import Plan
from catenary.recipe import Recipe, choose, fields, is_set, override, parse
from catenary.search import (
    Range,
    Space,
    Trial,
    best_of,
    default_space,
    grid,
    pinned,
    read_space,
    space_to_data,
    write_trials,
)
from catenary.search.backend import PRUNERS, SAMPLERS, need_optuna, show_url
from catenary.search.importance import Importance, importances
from catenary.search.study import Study
from catenary.types import Progress, silent
from catenary.workflow.fit import provenance
from catenary.workflow.look import Known, as_recipe, decide_plan, get_to_know
from catenary.workflow.run import read_evaluation
from catenary.workflow.team import threads, train_together
from catenary.workflow.trial import metric_of, planned

__all__ = ["Tuned", "tune"]

STORAGE, BEST, TABLE = "study.db", "best.json", "trials.csv"
#: Trials of a search when nobody says how many.
TRIALS = 20
#: A grid of more points is taken for a mistake.
MOST = 2000
#: Fields of a trial's plan that a longer run on any machine decides for itself.
_OPEN = (
    "train.minutes", "train.epochs", "train.steps", "train.ema", "train.precision", "train.channels_last",
    "train.devices", "prepare.mean", "prepare.std", "model.channels", "model.classes", "name",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search found.

    Attributes:
        path: Its folder; ``trials/NNNN`` in it are runs that `catenary.load` opens.
        storage, study: Where its record is shared; a password in the address is hidden.
        metric: What `value` is: the mean over the validation images at their own resolution.
        settings: Searched field -> value of the best trial.
        value: Its validation score.
        trials: Every trial by its number.
        importances: How much each field mattered; empty with few trials.
        gain: The best trial against the planner's own choice, paired over the validation images; None where the
            planner's choice was not tried, or elsewhere.
        recipe: The best recipe, for `fit`.
        table: All trials as CSV.
        report: The HTML report.
    """

    path: Path
    storage: str
    study: str
    metric: str
    settings: Mapping[str, Any]
    value: float
    trials: tuple[Trial, ...]
    importances: tuple[Importance, ...]
    gain: Difference | None
    recipe: Path
    table: Path
    report: Path


def tune(
    data: str | Path | Dataset,
    *,
    out: str | Path,
    space: Mapping[str, Any] | Sequence[str] | str | Path | None = None,
    sampler: str = "tpe",
    trials: int | None = None,
    minutes: float = 0.0,
    epochs: int = 0,
    steps: int = 0,
    recipe: Recipe | str | Path = "default",
    settings: Sequence[str] = (),
    storage: str | None = None,
    study: str | None = None,
    workers: int = 1,
    pruner: str = "median",
    seed: int = 0,
    resume: bool = False,
    group: str | None = None,
    progress: Progress = silent,
) -> Tuned:
    """Search for settings that train better, by the score on the validation cases; test cases are never used.

    Each trial is a training like that of `fit`, with the same planner and the same loop. All that is not searched is
    planned once and kept for every trial. The first trial is the planner's own choice where the space holds it (not in
    a grid), so that the gain of the search can be told.

    Args:
        data: Folder, manifest or open data set.
        out: Folder for the results; it must be new or empty unless `resume`.
        space: What may change: field -> values, texts such as ``"train.lr=1e-4..1e-2:log"``, or a TOML file (see
            `catenary.search.read_space`); None takes a space that suits the data, or that of the study that is joined.
        sampler: ``"tpe"`` (Bayesian), ``"random"``, or ``"grid"`` (every combination).
        trials: How many; 20 when None, or all points of a grid.
        minutes, epochs, steps: The budget of each trial.
        recipe: A recipe, the name of one, or a JSON or TOML file.
        settings: ``section.field=value`` overrides, the same for all trials.
        storage: URL of a database that several searches share; ``study.db`` in `out` when None.
        study: Name of the search in its storage, which others join by; the data set's name when None.
        workers: Processes of this machine that train side by side.
        pruner: What ends poor trials after a validation round: ``"median"``, ``"hyperband"`` or ``"none"``.
        seed: Of what the sampler draws; trials themselves are seeded by ``train.seed``.
        resume: Go on with the search in `out`; everything but `trials` and `workers` must be as it was.
        group: Regular expression on case names; its first group names the patient, specimen or place.
        progress: Called while long work goes on.

    Raises:
        MissingExtra: Optuna is not installed.
        DataError: The doctor found an error in the data.
        ConfigError: The space, a setting or the storage is wrong, or the study was begun with others.
        OutputError: The folder is in use or cannot be written, or the storage was lost.
        TrainingError: No trial was complete.
    """
    need_optuna()
    _check(sampler, pruner, trials, workers)
    wish = override(as_recipe(recipe), settings)
    wanted = None if space is None else read_space(space)
    folder = Path(out)
    _claim(folder, resume)
    url = storage or f"sqlite:///{(folder / STORAGE).absolute()}"
    if storage is not None:
        Study(url, "any")  # a storage that is out of reach is told before the data are read
    known = get_to_know(data, wish, group=group, progress=progress)
    if known.dataset.labels.scope == "image":
        raise ConfigError("a search compares segmentations, found images with one class each; give images with masks")
    if not known.splits.val:
        raise ConfigError("a search scores trials on validation cases, but there are none; set split.val above 0")
    request = {
        "recipe": wish.model_dump(mode="json", exclude_unset=True),
        "minutes": minutes,
        "epochs": epochs,
        "steps": steps,
        "sampler": sampler,
        "pruner": pruner,
        "seed": seed,
        "cases": _digest(known),
    }
    shared = _begin(url, study or known.dataset.name, folder, known, wish, wanted, request, trials, workers, progress)
    train_together(shared, folder, known, workers, progress)
    return _conclude(shared, folder, known)


def _check(sampler: str, pruner: str, trials: int | None, workers: int) -> None:
    for what, value, names in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in names:
            raise ConfigError(f"unknown {what} '{value}'; {near_match(value, names)}")
    if trials is not None and trials < 1:
        raise ConfigError(f"trials = {trials} is no search; give 1 or more")
    if workers < 1:
        raise ConfigError(f"workers = {workers} does no work; give 1 or more")


def _claim(folder: Path, resume: bool) -> None:
    """Say early when the folder cannot be used; makes nothing yet."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder for the search")
    if folder.exists() and any(folder.iterdir()) and not resume:
        what = "already holds a search; add --resume to go on with it" if (folder / "trials").exists() else "is in use"
        raise OutputError(f"{folder} {what}, or choose another --out")
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"cannot make {folder}: {there} is no folder that may be written; choose another --out")


def _digest(known: Known) -> str:
    """A short name of the cases, their division and their classes."""
    parts = {part: list(names) for part, names in known.splits.parts.items()} | {"": known.dataset.labels.names}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _begin(
    url: str,
    name: str,
    folder: Path,
    known: Known,
    wish: Recipe,
    space: Space | None,
    request: dict[str, Any],
    trials: int | None,
    workers: int,
    progress: Progress,
) -> Study:
    """The study, joined where it exists, else set up."""
    default = url == f"sqlite:///{(folder / STORAGE).absolute()}"
    if default and not (folder / STORAGE).exists():
        record, number = _plan_search(known, wish, space, request, trials, workers, progress)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        study = Study(url, name)
    else:
        study = Study(url, name)
        if not study.exists():
            record, number = _plan_search(known, wish, space, request, trials, workers, progress)
    if not study.exists() and study.create(record, number):
        return study
    study.join()
    _same_search(study, request, space)
    if trials is not None:
        _, _, most = _points(study.record["sampler"], study.space, trials)
        study.extend(most)
    return study


def _same_search(study: Study, request: Mapping[str, Any], space: Space | None) -> None:
    before = study.record["request"]
    where = f"the study '{study.name}' in {show_url(study.url)}"
    if request["cases"] != before["cases"]:
        raise ConfigError(f"{where} has other cases or another division; give the same data, or another --study")
    if space is not None and space_to_data(space) != study.record["space"]:
        raise ConfigError(
            f"{where} searches another space ({', '.join(study.space)}); leave --space out to join it, "
            "or choose another --study"
        )
    changed = sorted(key for key in before if request[key] != before[key])
    if changed:
        raise ConfigError(f"{where} was begun with other settings ({', '.join(changed)}); give the same, "
                          "or choose another --study")  # fmt: skip


def _plan_search(
    known: Known,
    wish: Recipe,
    space: Space | None,
    request: dict[str, Any],
    trials: int | None,
    workers: int,
    progress: Progress,
) -> tuple[dict[str, Any], int]:
    """Decide everything that all trials share; what goes into the storage, and the number of trials."""
    budget = {name: request[name] for name in ("minutes", "epochs", "steps")}
    with threads(workers):
        made = decide_plan(known, wish, **budget, progress=progress)
    if space is None:
        if request["sampler"] == "grid":
            raise ConfigError("a grid needs a space of its own; give one, as in --space train.lr=1e-4,1e-3,1e-2")
        space = default_space(made.recipe, wish, longest=max(known.fingerprint.size_median))
    _check_space(known, made.recipe, wish, space, budget)
    start = {key: _value_of(made.recipe, key) for key in space}
    points, every, number = _points(request["sampler"], space, trials)
    if not every and all(start[key] in dimension for key, dimension in space.items()):
        points = [start]
    record = {
        "request": request,
        "space": space_to_data(space),
        "recipe": pinned(made.recipe, wish, space).model_dump(mode="json", exclude_unset=True),
        "reasons": made.reasons,
        "points": [{key: list(v) if isinstance(v, tuple) else v for key, v in point.items()} for point in points],
        "planned": bool(points) and not every,
        "rounds": made.recipe.train.validations,
        "startup": min(10, max(4, number // 3)),
        **{name: request[name] for name in ("sampler", "pruner", "seed")},
    }
    return record, number


def _points(sampler: str, space: Space, trials: int | None) -> tuple[list[dict[str, Any]], bool, int]:
    """The points of a grid, whether it is one, and the number of trials."""
    if sampler != "grid":
        return [], False, trials or TRIALS
    points = grid(space)
    if len(points) > MOST:
        raise ConfigError(f"the grid has {len(points)} points; give fewer values, or use --sampler random")
    if trials is not None and trials < len(points):
        raise ConfigError(
            f"the grid has {len(points)} points but only {trials} trials are asked for; give fewer values, "
            f"--trials {len(points)}, or --sampler random"
        )
    return points, True, len(points)


def _check_space(known: Known, made: Recipe, wish: Recipe, space: Space, budget: Mapping[str, float]) -> None:
    """What only the data and the networks can tell about a space."""
    problems = [f"{key} is both set and searched; drop one of them" for key in space if is_set(wish, key)]
    if any(key.startswith("loss.") for key in space) and made.train.monitor == "loss":
        problems.append("train.monitor=loss cannot compare trials of different losses; set train.monitor=dice")
    searched = [key for key in space if key in ("train.minutes", "train.epochs", "train.steps")]
    if searched and (len(searched) > 1 or any(budget.values())):
        problems.append(f"{searched[0]} is searched, so that the trials need no other budget; give one of them only")
    for key, dimension in space.items():
        if not isinstance(dimension, Range):
            problems += [text for value in dimension.values if (text := _unbuildable(known, made, key, value))]
    if problems:
        raise ConfigError("; ".join(problems))


def _unbuildable(known: Known, made: Recipe, key: str, value: Any) -> str:
    """What is wrong with a name; empty where nothing is."""
    import torch

    from catenary.losses import build_loss
    from catenary.models import build, literals

    if not isinstance(value, str):
        return ""
    try:
        changed = choose(made, {key: value})
        if key == "model.name":
            literals(value)
        elif key.startswith("model."):
            with torch.device("meta"):
                build(**changed.model.model_dump())
        elif key.startswith("loss."):
            build_loss(changed.loss, known.dataset.labels)
    except ConfigError as error:
        return f"{key} = {value} in the space: {error}"
    return ""


def _value_of(recipe: Recipe, key: str) -> Any:
    section, _, name = key.rpartition(".")
    return getattr(getattr(recipe, section), name)


def _conclude(study: Study, folder: Path, known: Known) -> Tuned:
    """Write the table, the best recipe and the report."""
    from catenary.report.search import SearchData, write_search_report

    rows = tuple(study.trials())
    metric = metric_of(parse(study.record["recipe"]))
    table = write_trials(folder / TABLE, rows, list(study.space), metric)
    best = best_of(rows)
    if best is None:
        reasons = [row.reason for row in rows if row.reason]
        often = max(reasons, key=reasons.count, default="none was run")
        raise TrainingError(f"none of the {len(rows)} trials was complete ({often}); see {table}")
    assert best.value is not None
    made = planned(study, known, best.settings)
    recipe = write_json(folder / BEST, _best_recipe(made.recipe, study))
    found = importances(rows, study.space)
    gain = _gain(rows, best, metric) if study.record["planned"] else None
    report = write_search_report(
        SearchData(
            dataset=known.dataset.name,
            licence=known.dataset.licence,
            metric=metric,
            space=study.space,
            trials=rows,
            best=best,
            importances=found,
            gain=gain,
            planned=study.record["planned"],
            validation=len(known.splits.val),
            training=len(known.splits.train),
            test=len(known.splits.test),
            rounds=study.record["rounds"],
            plan=made.rows(),
            provenance=_provenance(study, known, made),
        ),
        folder,
    )
    return Tuned(
        path=folder,
        storage=show_url(study.url),
        study=study.name,
        metric=metric,
        settings=dict(best.settings),
        value=best.value,
        trials=rows,
        importances=found,
        gain=gain,
        recipe=recipe,
        table=table,
        report=report,
    )


def _best_recipe(made: Recipe, study: Study) -> dict[str, Any]:
    """What the search settled, for `fit`: without the trials' short budget and what a machine or data set decides."""
    wish = parse(study.record["request"]["recipe"])
    keep = [
        key
        for key in fields()
        if is_set(made, key) and (key not in _OPEN or key in study.space or ("." in key and is_set(wish, key)))
    ]
    chosen = choose(Recipe(name="tuned"), {key: _value_of(made, key) for key in keep})
    return chosen.model_dump(mode="json", exclude_unset=True)


def _gain(rows: Sequence[Trial], best: Trial, metric: str) -> Difference | None:
    """The best trial against the planner's own choice, where both were run on this machine."""
    if best.number == 0 or rows[0].state != "complete":
        return None
    try:
        both = compare_evaluations(read_evaluation(rows[0].folder), read_evaluation(best.folder))
    except CatenaryError:
        return None
    return both.mean[metric]


def _provenance(study: Study, known: Known, made: Plan) -> dict[str, Any]:
    request = study.record["request"]
    budget = ", ".join(f"{request[name]:g} {name}" for name in ("minutes", "epochs", "steps") if request[name])
    known_facts = provenance(known, made, 0.0, 0, "")
    default = study.url.startswith("sqlite:///")
    return {
        "command": known_facts["command"],
        "created": known_facts["created"],
        "budget": budget or "that of the plan",
        "sampler": study.record["sampler"],
        "pruner": study.record["pruner"],
        "seed": study.record["seed"],
        "study": study.name,
        "storage": Path(study.url).name if default else show_url(study.url),
        "hardware": known_facts["hardware"],
        "versions": known_facts["versions"] | {"optuna": _version("optuna")},
    }


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
