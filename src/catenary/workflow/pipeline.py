"""Stages of screening in one folder: what they are, and how `pipeline` puts them together.

A pipeline is a list that can be read: a quality gate, a network that finds disc and cup, classifiers that look at the
disc, each of which may wait for an earlier one to be positive.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catenary.errors import ConfigError, ModelError, OutputError, writing
from catenary.io.files import write_json
from catenary.predict.around import Margin
from catenary.types import Progress, silent

__all__ = [
    "PIPELINE",
    "DiscStage",
    "JudgeStage",
    "Pipeline",
    "QualityStage",
    "check_stage",
    "pipeline",
    "read_pipeline",
]

#: The list of stages, in the pipeline's folder.
PIPELINE = "pipeline.json"


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QualityStage(_Stage):
    """Refuses what is no fundus photograph or too poor to judge.

    Attributes:
        least: The worst quality that goes on.
    """

    kind: Literal["quality"] = "quality"
    name: str = "quality"
    least: Literal["usable", "good"] = "usable"


class DiscStage(_Stage):
    """Finds disc and cup, measures them, and hands on the disc with a margin.

    Attributes:
        model: File of the model, beside the list.
        margin: How far around the disc the next stages see, see `catenary.predict.around.Margin`.
    """

    kind: Literal["disc"] = "disc"
    name: str = "disc"
    model: str
    margin: Margin = Margin(diameters=0.5)


class JudgeStage(_Stage):
    """Classifies the disc, or the whole photograph.

    Attributes:
        name: What it judges.
        model: File of the model, beside the list.
        sees: ``"disc"``: what the disc stage hands on; ``"photo"``: the photograph.
        after: Name of an earlier judge that must have found the second of its classes; "" for none.
    """

    kind: Literal["judge"] = "judge"
    name: str
    model: str
    sees: Literal["disc", "photo"] = "disc"
    after: str = ""


Stage = Annotated[QualityStage | DiscStage | JudgeStage, Field(discriminator="kind")]


class Pipeline(_Stage):
    """Stages in their order.

    >>> Pipeline(stages=(QualityStage(), DiscStage(model="disc.safetensors"))).names
    ('quality', 'disc')
    """

    format: Literal["catenary.pipeline/1"] = "catenary.pipeline/1"
    stages: tuple[Stage, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stages."""
        return tuple(stage.name for stage in self.stages)


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
    progress: Progress = silent,
) -> Path:
    """Join trained stages to one folder that `catenary.workflow.screen` runs; a stage given as data is trained first.

    Args:
        out: Folder of the pipeline, new or empty.
        disc, glaucoma, progression: For each stage a run, a model file, or the data to train it on by its recipe; a
            stage that is None is left out.
        margin: How far around the disc later stages see: ``"50px"``, or in disc diameters ``"0.5"``.
        quality: ``"usable"``, ``"good"``, or ``"off"``.
        sees: ``"disc"`` or ``"photo"``: what glaucoma is judged from.
        minutes: Budget of each training.
        progress: Told of the trainings.

    Raises:
        ConfigError: No stage is given, or one does not fit the others.
        ModelError: A model cannot be opened, or is of the wrong kind.
        OutputError: The folder is in use or cannot be written.
    """
    from catenary.predict.engines import kept_in

    folder = Path(out)
    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise OutputError(f"{folder} is in use; choose a new folder for the pipeline")
    given = {"disc": disc, "glaucoma": glaucoma, "progression": progression}
    wanted = {name: Path(source) for name, source in given.items() if source is not None}
    stages = _stages(wanted, Margin.read(margin), quality, sees)
    models = {
        name: _trained(source, name, folder.parent / f"{folder.name}-{name}", minutes, progress)
        for name, source in wanted.items()
    }
    for name, model in models.items():
        check_stage(name, model)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in models.items():
            target = folder / f"{name}.safetensors"
            shutil.copyfile(model, target)
            if kept_in(model).is_dir():  # conversions that were checked on the run's own images
                shutil.copytree(kept_in(model), kept_in(target))
    write_json(folder / PIPELINE, Pipeline(stages=stages).model_dump(mode="json"))
    return folder


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


def _trained(source: Path, name: str, run: Path, minutes: float, progress: Progress) -> Path:
    """The model file of a stage, after training where data is given."""
    from catenary.predict.card import MODEL, model_path

    if source.is_file() or (source / MODEL).is_file():
        return model_path(source)
    if not source.exists():
        raise ModelError(f"there is no run, model or data {source}; check the name")
    from catenary.workflow.fit import fit

    recipe = {"disc": "glaucoma"}.get(name, f"glaucoma-{'detection' if name == 'glaucoma' else name}")
    return model_path(fit(source, out=run, recipe=recipe, minutes=minutes, resume=run.exists(), progress=progress).path)


def check_stage(name: str, model: Path) -> None:
    """Say when a model file is not of the kind that a stage needs.

    Raises:
        ModelError: See above.
    """
    from catenary.predict.card import load_card

    labels = load_card(model).labels
    if name == "disc" and not {"disc", "cup"} <= set(labels.target_names):
        raise ModelError(
            f"{model} finds {', '.join(labels.target_names)}, not disc and cup; train with --recipe glaucoma"
        )
    if name != "disc" and (labels.scope != "image" or labels.count != 2):
        raise ModelError(f"{model} does not tell two classes of whole images apart; give a classifier for '{name}'")


def read_pipeline(path: str | Path) -> tuple[Pipeline, Path]:
    """The stages of a pipeline, and the folder that holds its models.

    Raises:
        ModelError: There is no pipeline, it is damaged, or a model is missing.
    """
    place = Path(path)
    file = place if place.is_file() else place / PIPELINE
    if not file.is_file():
        raise ModelError(f"{place} holds no {PIPELINE}; give the folder that `catenary pipeline` made")
    try:
        found = Pipeline.model_validate(json.loads(file.read_text("utf-8")))
    except (ValidationError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({str(error).splitlines()[0]}); make the pipeline again") from error
    missing = [
        s.model for s in found.stages if not isinstance(s, QualityStage) and not (file.parent / s.model).is_file()
    ]
    if missing:
        raise ModelError(f"{file} names {', '.join(missing)}, which is not there; make the pipeline again")
    return found, file.parent
