"""`pipeline`: stages of screening joined to one folder; a stage given as data is trained on the way."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catenary.data.cases import Dataset
from catenary.errors import ConfigError, DataError, ModelError, OutputError, near_match, writing
from catenary.io.files import write_json
from catenary.predict.around import Margin
from catenary.types import Progress, silent
from catenary.workflow.pipeline import (
    PIPELINE,
    DiscStage,
    JudgeStage,
    Pipeline,
    QualityStage,
    Stage,
    check_stage,
)

__all__ = ["RECIPE_OF", "Joined", "pipeline"]

#: The recipe that a stage is trained by.
RECIPE_OF = {"disc": "glaucoma", "glaucoma": "glaucoma-detection", "progression": "glaucoma-progression"}


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What `pipeline` made.

    Attributes:
        path: Folder of the pipeline.
        runs: Stage -> run of those that were trained on the way.
        left_out: Stage -> names of its photographs in which no single disc was found, and which it did not learn from.
    """

    path: Path
    runs: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Training:
    """How stages are trained: where, on what budget, with which settings."""

    beside: Path
    margin: Margin
    budget: dict[str, float]
    settings: dict[str, list[str]]
    progress: Progress

    def folder(self, what: str) -> Path:
        return self.beside.parent / f"{self.beside.name}-{what}"

    def run(self, name: str, data: Dataset) -> Path:
        """The run of a stage, gone on with where it was interrupted."""
        from catenary.workflow.fit import fit

        out = self.folder(name)
        return fit(
            data, out=out, recipe=RECIPE_OF[name], settings=self.settings.get(name, []), resume=out.exists(),
            minutes=self.budget["minutes"], epochs=int(self.budget["epochs"]), steps=int(self.budget["steps"]),
            progress=self.progress,
        ).path  # fmt: skip


def pipeline(
    out: str | Path,
    *,
    disc: str | Path | None = None,
    glaucoma: str | Path | None = None,
    progression: str | Path | None = None,
    margin: str = "0.5",
    quality: str = "usable",
    sees: str = "disc",
    minutes: float = 0.0,
    epochs: int = 0,
    steps: int = 0,
    settings: Sequence[str] = (),
    progress: Progress = silent,
) -> Joined:
    """Join trained stages to one folder that `catenary.workflow.screen` runs; a stage given as data is trained first.

    Runs of such stages lie beside the pipeline, ``NAME-disc`` beside ``NAME``. Where a judge sees the disc, whole
    photographs are first cut by the disc stage, with the pipeline's margin, to ``NAME-glaucoma-discs``; images that
    `catenary.workflow.crop` wrote and the close-ups of GRAPE are taken as they are. Calling it again goes on.

    Args:
        out: Folder of the pipeline, new or empty.
        disc, glaucoma, progression: For each stage a run, a model file, or the data to train it on by its recipe; a
            stage that is None is left out.
        margin: How far around the disc later stages see: ``"50px"``, or in disc diameters ``"0.5"``.
        quality: ``"usable"``, ``"good"``, or ``"off"``.
        sees: ``"disc"`` or ``"photo"``: what glaucoma is judged from.
        minutes, epochs, steps: Budget of each training.
        settings: ``stage.section.field=value`` for those trainings, as in ``glaucoma.sample.batch=4``.
        progress: Told of the trainings.

    Raises:
        ConfigError: No stage is given, a setting is wrong, or a stage does not fit the others.
        DataError: A stage's data cannot be used.
        ModelError: A model cannot be opened, or is of the wrong kind.
        OutputError: The folder is in use or cannot be written.
    """
    folder = Path(out)
    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise OutputError(f"{folder} is in use; choose a new folder for the pipeline")
    given = {"disc": disc, "glaucoma": glaucoma, "progression": progression}
    wanted = {name: Path(source) for name, source in given.items() if source is not None}
    stages = _stages(wanted, Margin.read(margin), quality, sees)
    training = _Training(
        beside=folder,
        margin=Margin.read(margin),
        budget={"minutes": minutes, "epochs": epochs, "steps": steps},
        settings=_settings(settings, wanted),
        progress=progress,
    )
    # All that is given is looked at before the first of perhaps hours of training.
    sources = {name: _source(name, source) for name, source in wanted.items()}
    looks = {stage.name for stage in stages if isinstance(stage, JudgeStage) and stage.sees == "disc"}
    for name in looks:
        _check_cut(name, sources[name], training.margin)
    models, runs, left_out = _models(sources, looks, training)
    _write(folder, models, stages)
    return Joined(path=folder, runs=runs, left_out=left_out)


def _models(
    sources: dict[str, Path | Dataset], looks: set[str], training: _Training
) -> tuple[dict[str, Path], dict[str, Path], dict[str, list[str]]]:
    """Model file of each stage, runs that were trained for it, and photographs that could not be cut."""
    from catenary.data.layouts import open_dataset
    from catenary.predict.card import model_path
    from catenary.workflow.crop import crop

    models: dict[str, Path] = {}
    runs: dict[str, Path] = {}
    left_out: dict[str, list[str]] = {}
    for name, source in sources.items():
        if isinstance(source, Path):
            models[name] = source
            continue
        if name in looks and not source.cut:
            discs = training.folder(f"{name}-discs")
            if not (discs / "manifest.csv").is_file():
                _, left_out[name] = crop(
                    source, disc=models["disc"], out=discs, margin=str(training.margin), progress=training.progress
                )
            source = open_dataset(discs)
        runs[name] = training.run(name, source)
        models[name] = model_path(runs[name])
        check_stage(name, models[name])
    return models, runs, left_out


def _write(folder: Path, models: dict[str, Path], stages: tuple[Stage, ...]) -> None:
    """Models, their checked conversions, and at last the list that makes a pipeline of them."""
    from catenary.predict.engines import kept_in

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in models.items():
            target = folder / f"{name}.safetensors"
            shutil.copyfile(model, target)
            if kept_in(model).is_dir():  # conversions that were checked on the run's own images
                shutil.copytree(kept_in(model), kept_in(target))
    write_json(folder / PIPELINE, Pipeline(stages=stages).model_dump(mode="json"))


def _settings(settings: Sequence[str], wanted: dict[str, Path]) -> dict[str, list[str]]:
    """Settings by stage."""
    found: dict[str, list[str]] = {}
    for setting in settings:
        stage, dot, rest = setting.partition(".")
        if not dot or stage.strip() not in wanted:
            raise ConfigError(
                f"'{setting}' names no stage of this pipeline; write stage.section.field=value, as in "
                f"{next(iter(wanted))}.train.lr=0.001; {near_match(stage.strip(), wanted)}"
            )
        found.setdefault(stage.strip(), []).append(rest)
    return found


def _stages(wanted: dict[str, Path], margin: Margin, quality: str, sees: str) -> tuple[Stage, ...]:
    if not wanted:
        raise ConfigError("a pipeline needs a stage; give a run or data for disc, glaucoma or progression")
    if quality not in ("usable", "good", "off"):
        raise ConfigError(f"there is no quality '{quality}'; use usable, good or off")
    if sees not in ("disc", "photo"):
        raise ConfigError(f"glaucoma is judged from the disc or the photo, found '{sees}'; use one of them")
    if "disc" not in wanted:
        sees = "photo"
    stages: list[Stage] = [] if quality == "off" else [QualityStage.model_validate({"least": quality})]
    if "disc" in wanted:
        stages.append(DiscStage(model="disc.safetensors", margin=margin))
    for name in ("glaucoma", "progression"):
        if name in wanted:
            after = "glaucoma" if name == "progression" and "glaucoma" in wanted else ""
            stages.append(
                JudgeStage.model_validate({"name": name, "model": f"{name}.safetensors", "sees": sees, "after": after})
            )
    return tuple(stages)


def _source(name: str, source: Path) -> Path | Dataset:
    """The model file of a stage, or the data to train it on."""
    from catenary.data.layouts import open_dataset
    from catenary.predict.card import MODEL, model_path

    if (source.is_file() and source.suffix.lower() != ".csv") or (source / MODEL).is_file():
        model = model_path(source)
        check_stage(name, model)
        return model
    if not source.exists():
        raise ModelError(f"there is no run, model or data {source}; check the name")
    data = open_dataset(source)
    if (data.labels.scope == "image") != (name != "disc"):
        what = "images and masks" if name == "disc" else "a folder for each class of photographs"
        raise DataError(f"{source} ({data.layout}) is not what {name} learns from; give {what}, or a trained run")
    if name != "disc" and data.labels.count != 2:
        raise DataError(f"{source} has {data.labels.count} classes ({', '.join(data.labels.names)}); {name} takes two")
    return data


def _check_cut(name: str, source: Path | Dataset, margin: Margin) -> None:
    """Crops that were made with another margin would not be what the stage sees."""
    if isinstance(source, Dataset) and source.cut not in ("", "close-up", str(margin)):
        raise ConfigError(
            f"the images for {name} reach {source.cut} around the disc and the pipeline cuts {margin}; "
            f"give --margin {source.cut}, or the whole photographs"
        )
