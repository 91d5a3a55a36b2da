"""`fit`: fingerprint, plan, train, evaluate, report."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catenary.data.cases import Dataset
from catenary.data.fingerprint import Fingerprint
from catenary.data.splits import Splits
from catenary.errors import ConfigError, ModelError, OutputError
from catenary.io.files import write_json
from catenary.plan import Plan
from catenary.recipe import Recipe, override
from catenary.types import Progress, silent
from catenary.workflow.look import Known, as_recipe, decide_plan, get_to_know
from catenary.workflow.run import MODEL, PLAN, SPLITS, Run

if TYPE_CHECKING:
    from catenary.metrics.classes import ClassEvaluation
    from catenary.metrics.evaluation import Evaluation
    from catenary.predict import Card
    from catenary.train import Trained
    from catenary.train.loop import Judge

__all__ = ["fit", "train_model"]

REQUEST, FINGERPRINT = "request.json", "fingerprint.json"


def fit(
    data: str | Path | Dataset,
    *,
    out: str | Path,
    recipe: Recipe | str | Path = "default",
    minutes: float = 0.0,
    epochs: int = 0,
    steps: int = 0,
    settings: Sequence[str] = (),
    group: str | None = None,
    resume: bool = False,
    devices: int = 1,
    init: str | Path | None = None,
    progress: Progress = silent,
) -> Run:
    """Train a model on a data set and measure it on cases it has not seen.

    Args:
        data: Folder, manifest or open data set.
        out: Folder of the run; it must be new or empty unless `resume`.
        recipe: A recipe, the name of one, or a JSON or TOML file.
        minutes: Wall-clock budget of reading, planning and training; the final evaluation comes on top.
        epochs, steps: The budget in other units; the first that is met ends training.
        settings: ``section.field=value`` overrides.
        group: Regular expression on case names; its first group names the patient, specimen or place.
        resume: Go on with a run that was interrupted; everything else must be as it was.
        devices: Processes (CPU) or cards (GPU) that train together.
        init: A run or model file whose network and weights this one starts from.
        progress: Called while long work goes on.

    Raises:
        DataError: The doctor found an error in the data.
        ConfigError: A setting is wrong, or the run to resume was started with others.
        OutputError: The folder is in use or cannot be written.
        TrainingError: Training collapsed.
    """
    started = time.perf_counter()
    folder = Path(out)
    more = [f"train.devices={devices}"] if devices > 1 else []
    more += [f"transfer.init={json.dumps(str(init))}"] if init else []
    wish = override(as_recipe(recipe), [*settings, *more])
    request = {
        "recipe": wish.model_dump(mode="json", exclude_unset=True),
        "minutes": minutes,
        "epochs": epochs,
        "steps": steps,
        "group": group,
    }
    goes_on = _claim(folder, request, resume)
    known = get_to_know(data, wish, group=group, progress=progress)
    if goes_on:
        plan, known = _recorded(folder, known)
    else:
        plan = decide_plan(known, wish, minutes=minutes, epochs=epochs, steps=steps, progress=progress)
        _record(folder, known, plan, request)
    return _train(folder, known, plan, started, progress)


def _claim(folder: Path, request: dict[str, Any], resume: bool) -> bool:
    """Whether the folder holds a run to go on with; says early when it cannot be used, and makes nothing yet."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder for the run")
    recorded = folder / REQUEST
    if recorded.is_file():
        if not resume:
            raise OutputError(f"{folder} already holds a run; add --resume to go on with it, or choose another --out")
        before = json.loads(recorded.read_text("utf-8"))
        changed = sorted(key for key in request if before.get(key) != json.loads(json.dumps(request[key])))
        if changed:
            raise ConfigError(
                f"the run in {folder} was started with other settings ({', '.join(changed)}); "
                "resume it with the same command, or choose another --out"
            )
        return (folder / PLAN).is_file()
    if folder.exists() and any(folder.iterdir()) and not resume:
        raise OutputError(f"{folder} is not empty; choose a new folder for the run")
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"cannot make {folder}: {there} is no folder that may be written; choose another --out")
    return False


def _record(folder: Path, known: Known, plan: Plan, request: dict[str, Any]) -> None:
    write_json(folder / SPLITS, json.loads(known.splits.to_json()))
    write_json(folder / FINGERPRINT, known.fingerprint.model_dump(mode="json"))
    write_json(folder / "findings.json", [finding.to_dict() for finding in known.findings])
    write_json(folder / "recipe.json", plan.recipe.model_dump(mode="json"))
    write_json(folder / PLAN, plan.model_dump(mode="json"))
    write_json(folder / REQUEST, request | {"data": str(known.dataset.root.absolute())})  # an export looks there again


def _recorded(folder: Path, known: Known) -> tuple[Plan, Known]:
    """The plan and division of the interrupted run; the data must still be the same."""
    try:
        plan = Plan.model_validate_json((folder / PLAN).read_text("utf-8"))
        splits = Splits.from_json((folder / SPLITS).read_text("utf-8"))
        fingerprint = Fingerprint.model_validate_json((folder / FINGERPRINT).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the run in {folder} cannot be read ({error}); choose another --out") from error
    if splits != known.splits or fingerprint != known.fingerprint:
        raise ConfigError(f"the data changed since the run in {folder} was started; start a new run in another --out")
    return plan, known


def train_model(
    folder: Path,
    known: Known,
    plan: Plan,
    *,
    spent: float = 0.0,
    judge: Judge | None = None,
    progress: Progress = silent,
) -> tuple[Trained, Card]:
    """Train by a plan; gives what came out, and the card it is saved with.

    Args:
        folder: Checkpoints and logs go there; a checkpoint that lies there is gone on with.
        known: The data, divided.
        plan: What to do.
        spent: Seconds of a budget in minutes that were used already.
        judge: See `catenary.train.loop.Judge`.
        progress: Told of the steps.

    Raises:
        TrainingError: Training collapsed.
    """
    from catenary.predict import Card
    from catenary.train import Job, best_device, launch

    job = Job(
        dataset=known.dataset,
        train=known.splits.train,
        val=known.splits.val,
        recipe=plan.recipe,
        folder=folder,
        resume=True,
        device=best_device(),
        spent=spent,
        memory=int(plan.recipe.train.memory * 2**30),
    )
    trained = launch(job, progress=progress) if judge is None else launch(job, progress=progress, judge=judge)
    card = Card(
        recipe=plan.recipe,
        labels=known.dataset.labels,
        channels=known.fingerprint.channels,
        rank=known.fingerprint.rank,
        channel_names=known.dataset.channel_names,
        dtype=known.fingerprint.dtype,
        scores={plan.recipe.train.monitor: trained.score},
        fingerprint=known.fingerprint.model_dump(mode="json"),
        provenance=provenance(known, plan, trained.minutes, trained.steps, trained.why_ended, trained.start),
    )
    return trained, card


def _train(folder: Path, known: Known, plan: Plan, started: float, progress: Progress) -> Run:
    from catenary.predict import save_model
    from catenary.workflow.assess import calibrate, evaluate_run
    from catenary.workflow.classes import calibrate_classes, evaluate_class_run

    whole = known.dataset.labels.scope == "image"
    trained, card = train_model(folder, known, plan, spent=time.perf_counter() - started, progress=progress)
    save_model(folder / MODEL, trained.weights, card)
    card = (calibrate_classes if whole else calibrate)(folder, card, known, progress=progress)
    save_model(folder / MODEL, trained.weights, card)
    evaluation: Evaluation | ClassEvaluation
    if whole:
        evaluation, report = evaluate_class_run(folder, known, plan, card, progress=progress)
    else:
        evaluation, report = evaluate_run(folder, known, plan, card, progress=progress)
    return Run(
        path=folder,
        plan=plan,
        splits=known.splits,
        evaluation=evaluation,
        report=report,
        start=trained.start,
        minutes=(time.perf_counter() - started) / 60,
    )


def provenance(known: Known, plan: Plan, minutes: float, steps: int, why_ended: str, start: str = "") -> dict[str, Any]:
    """What made a model: data, versions, machine, budget, command."""
    from importlib.metadata import version

    import psutil
    import torch

    hardware = f"{platform.machine()}, {psutil.cpu_count(logical=False) or psutil.cpu_count()} cores"
    if torch.cuda.is_available():
        hardware += f", {torch.cuda.get_device_name()}"
    return {
        "data": known.dataset.name,
        "licence": known.dataset.licence,
        "splits": {part: list(names) for part, names in known.splits.parts.items()},
        "created": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": _command(),
        # so that an evaluation elsewhere knows an image again, whatever its name
        "training_content": sorted({f.content for f in known.survey.facts if f.name in set(known.splits.train)}),
        "seed": plan.recipe.train.seed,
        "training_minutes": round(minutes, 2),
        "training_steps": steps,
        "start": start,
        "ended": why_ended,
        "hardware": hardware,
        "versions": {
            "catenary": version("catenary"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": version("numpy"),
        },
    }


def _command() -> str:
    """The command line that started this, or how it was called from Python."""
    import shlex

    if Path(sys.argv[0]).name in {"catenary", "__main__.py"}:
        return shlex.join(["catenary", *sys.argv[1:]])
    return "catenary.fit(...) from Python"
