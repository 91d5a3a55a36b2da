"""Stages of screening in one folder: what they are; `catenary.workflow.join` puts them together.

A pipeline is a list that can be read: a quality gate, a network that finds disc and cup, classifiers that look at the
disc, each of which may wait for an earlier one to be positive.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catenary.errors import ModelError
from catenary.predict.around import Margin

__all__ = [
    "PIPELINE",
    "DiscStage",
    "JudgeStage",
    "Pipeline",
    "QualityStage",
    "Stage",
    "check_stage",
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
