"""Looking before training: `inspect` and `plan`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from catenary.data.cases import Dataset
from catenary.data.contact import contact_sheet
from catenary.data.doctor import examine, stop_on_errors
from catenary.data.findings import Finding
from catenary.data.fingerprint import Fingerprint, fingerprint
from catenary.data.layouts import open_dataset
from catenary.data.splits import Splits, split_cases
from catenary.data.survey import Survey, survey
from catenary.errors import ConfigError, DataError, near_match
from catenary.plan import ENOUGH_SLICES, ENOUGH_STEPS, Budget, Plan, candidates
from catenary.plan import plan as decide
from catenary.recipe import Recipe, choose, is_set, override, parse
from catenary.recipes import PRESETS, RECIPES
from catenary.types import Progress, silent

__all__ = ["Inspection", "Known", "adapted", "as_dataset", "as_recipe", "decide_plan", "get_to_know", "inspect", "plan"]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        dataset: The cases, classes and layout.
        survey: The facts of each file.
        findings: What is wrong or worth knowing, worst first.
        fingerprint: The data set in numbers; None when no case could be read.
        contact_sheet: Picture of overlays; None when no folder for it was given.
    """

    dataset: Dataset
    survey: Survey
    findings: tuple[Finding, ...]
    fingerprint: Fingerprint | None
    contact_sheet: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What training needs to know of its data: the doctor let it pass and it is divided."""

    dataset: Dataset
    survey: Survey
    findings: tuple[Finding, ...]
    splits: Splits
    fingerprint: Fingerprint


def inspect(
    data: str | Path | Dataset,
    *,
    group: str | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
) -> Inspection:
    """Find pairs, classes and groups, and tell what is wrong; trains nothing.

    Args:
        data: Folder, manifest or open data set.
        group: Regular expression on case names; its first group names the patient, specimen or place.
        out: Folder for ``contact_sheet.png`` and ``findings.json``; nothing is written without it.
        progress: Called while files are read.

    Raises:
        DataError: Nothing in the folder can be understood as a data set.
    """
    dataset = as_dataset(data, group)
    found = survey(dataset, progress=progress)
    try:
        splits = split_cases(dataset, found)
    except DataError:
        splits = None  # the doctor says what is wrong with the set
    findings = examine(dataset, found, splits)
    readable = [facts.name for facts in found.facts if facts.readable]
    sheet = None
    if out is not None:
        from catenary.io.files import write_json

        folder = Path(out)
        sheet = folder / "contact_sheet.png"
        contact_sheet(dataset, [case.name for case in dataset.cases], sheet, findings=findings)
        write_json(folder / "findings.json", [finding.to_dict() for finding in findings])
    known = fingerprint(dataset, found, readable) if readable else None
    return Inspection(dataset=dataset, survey=found, findings=findings, fingerprint=known, contact_sheet=sheet)


def plan(
    data: str | Path | Dataset,
    *,
    recipe: Recipe | str | Path = "default",
    minutes: float = 0.0,
    epochs: int = 0,
    steps: int = 0,
    settings: Sequence[str] = (),
    group: str | None = None,
    progress: Progress = silent,
) -> Plan:
    """What `fit` would do and why; trains nothing, and times a few steps only when a budget in minutes is given.

    Args:
        data: Folder, manifest or open data set.
        recipe: A recipe, the name of one, or a JSON or TOML file.
        minutes, epochs, steps: The budget.
        settings: ``section.field=value`` overrides.
        group: See `inspect`.
        progress: Called while files are read.

    Raises:
        DataError: The doctor found an error.
        ConfigError: A setting is unknown or cannot work with this data.
    """
    wish = override(as_recipe(recipe), settings)
    known = get_to_know(data, wish, group=group, progress=progress)
    timed = bool(minutes or wish.train.minutes)
    return decide_plan(known, wish, minutes=minutes, epochs=epochs, steps=steps, timed=timed, progress=progress)


def as_dataset(data: str | Path | Dataset, group: str | None = None) -> Dataset:
    """Open `data` unless it is open already."""
    return data if isinstance(data, Dataset) else open_dataset(data, group=group)


def as_recipe(recipe: Recipe | str | Path) -> Recipe:
    """A recipe from itself, its name, or a JSON or TOML file.

    Raises:
        ConfigError: There is no such recipe or file, or it is not valid.
    """
    import json
    import tomllib

    if isinstance(recipe, Recipe):
        return recipe
    if str(recipe) in RECIPES:
        return RECIPES[str(recipe)]()
    path = Path(recipe)
    if not path.is_file():
        raise ConfigError(f"there is no recipe or file '{recipe}'; {near_match(str(recipe), RECIPES)}")
    try:
        text = path.read_text("utf-8")
        return parse(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a valid recipe file ({error}); write it as JSON or TOML") from error


def get_to_know(
    data: str | Path | Dataset, recipe: Recipe, *, group: str | None = None, progress: Progress = silent
) -> Known:
    """Read everything once, let the doctor decide, divide, and measure the training part."""
    dataset = adapted(as_dataset(data, group), recipe)
    found = survey(dataset, progress=progress)
    stop_on_errors(examine(dataset, found))
    splits = split_cases(dataset, found, **recipe.split.model_dump())
    findings = examine(dataset, found, splits)
    stop_on_errors(findings)
    return Known(
        dataset=dataset,
        survey=found,
        findings=findings,
        splits=splits,
        fingerprint=fingerprint(dataset, found, splits.train),
    )


def adapted(dataset: Dataset, recipe: Recipe) -> Dataset:
    """The data set as a recipe wants to see it: its classes, regions and channels."""
    wish = recipe.data
    return dataset.with_classes(wish.classes).with_regions(wish.regions).with_channels(wish.channels)


def decide_plan(
    known: Known,
    recipe: Recipe,
    *,
    minutes: float = 0.0,
    epochs: int = 0,
    steps: int = 0,
    timed: bool = True,
    progress: Progress = silent,
) -> Plan:
    """Let the planner decide; when `timed`, after timing what it wants timed."""
    from catenary.models import literals
    from catenary.train.probe import best_device, measure

    if recipe.transfer.init:  # the network that the weights are of
        recipe = _with_defaults(recipe, _network_of(recipe.transfer.init))
    if recipe.model.encoder and not is_set(recipe, "model.name"):
        whole = known.fingerprint.scope == "image"
        recipe = choose(recipe, {"model.name": "encoder_classifier" if whole else "encoder_unet"})
    if is_set(recipe, "model.name"):  # a named network brings its own numbers
        recipe = _with_defaults(recipe, {f"model.{k}": value for k, value in literals(recipe.model.name).items()})
    if recipe.transfer.weights:
        recipe = _with_defaults(recipe, _as_pretrained(recipe, known.fingerprint) | {"transfer.encoder_lr": 0.1})
    if is_set(recipe, "augment.preset"):
        recipe = _with_defaults(recipe, _preset(recipe.augment.preset))
    device = best_device()
    if device == "cuda":
        import torch

        memory = torch.cuda.mem_get_info()[0]
    else:
        memory = psutil.virtual_memory().available // 2
    budget = Budget(
        minutes=minutes or recipe.train.minutes,
        epochs=epochs or recipe.train.epochs,
        steps=steps or recipe.train.steps,
        memory=memory,
        device=device,
        enough=ENOUGH_STEPS,
    )
    if recipe.transfer.init or recipe.transfer.weights:  # what cannot start is said before time is spent
        from catenary.train.start import begin

        begin(decide(known.fingerprint, budget, recipe).recipe, known.dataset.labels, progress=progress)
    if not timed:
        return decide(known.fingerprint, budget, recipe)
    progress("timing a few steps", 0, 1)
    worth = candidates(known.fingerprint, budget, recipe)
    if _of_slices(known, recipe):
        enough = max(ENOUGH_STEPS, math.ceil(ENOUGH_SLICES / worth[0].sample.batch))
        budget = budget.model_copy(update={"enough": enough})
    speeds = measure(
        worth,
        known.dataset.labels,
        device=device,
        minutes=budget.minutes,
        enough=budget.enough,
    )
    progress("timing a few steps", 1, 1)
    return decide(known.fingerprint, budget.model_copy(update={"speeds": speeds}), recipe)


def _of_slices(known: Known, recipe: Recipe) -> bool:
    """Whether the recipe asks for a network that sees volumes slice by slice."""
    flat = recipe.model.slices > 1 or (is_set(recipe, "model.rank") and recipe.model.rank == 2)
    return known.fingerprint.rank == 3 and flat


def _with_defaults(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with `values` where nobody has set another."""
    return choose(recipe, {key: value for key, value in values.items() if not is_set(recipe, key)})


def _preset(name: str) -> dict[str, Any]:
    """The fields of a named augmentation; quarter turns stay the planner's, who knows whether patches are square."""
    if name not in PRESETS:
        raise ConfigError(f"there is no augmentation '{name}'; {near_match(name, PRESETS)}")
    fields = {f"augment.{key}": value for key, value in PRESETS[name].model_dump().items() if key != "preset"}
    if fields["augment.transpose"]:
        del fields["augment.transpose"]
    return fields


def _network_of(run: str) -> dict[str, Any]:
    """The settings of a run's network, but for those that its data decided."""
    from catenary.predict import load_card

    model = load_card(run).recipe.model
    return {
        f"model.{k}": value for k, value in model.model_dump().items() if k not in ("channels", "classes", "disasters")
    }


def _as_pretrained(recipe: Recipe, data: Fingerprint) -> dict[str, Any]:
    """Normalisation by which a pretrained encoder sees the intensities that it was trained on."""
    from catenary.models.pretrained import input_statistics

    if not recipe.model.encoder:
        raise ConfigError(
            f"transfer.weights = {recipe.transfer.weights} is for networks with an encoder of timm, found model.name = "
            f"{recipe.model.name}; set model.encoder=resnet34, for example, or use --init RUN"
        )
    tag = recipe.transfer.weights.partition(":")[2] if recipe.transfer.weights.startswith("hub:") else ""
    name = f"{recipe.model.encoder.partition('.')[0]}.{tag}" if tag else recipe.model.encoder
    top = 255.0 if data.dtype == "uint8" else max(data.high)
    dates = 1 if recipe.model.fusion == "none" else 2
    mean, std = (dates * values for values in input_statistics(name, data.channels // dates, top=top))
    return {"prepare.normalise": "dataset", "prepare.mean": mean, "prepare.std": std}
