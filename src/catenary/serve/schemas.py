"""What the API takes and gives, as its OpenAPI page shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BundleInfo", "Failure", "FileInfo", "Health", "JobInfo", "JobList", "ModelInfo", "Options", "ProgressInfo"]


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Message(_Told):
    """One sentence."""

    message: str = Field(description="What is wrong, the value found, the remedy.")


class Complaint(Message):
    """A refusal."""

    code: str = Field(description="For programs: too_large, wrong_type, cannot_be_used, busy, ...")


class Failure(_Told):
    """Every answer whose status is 400 or above."""

    error: Complaint


class ClassInfo(_Told):
    """A class of a model."""

    value: int = Field(description="Its number in masks.")
    name: str
    color: str = Field(description="As in #e69f00.")


class TargetInfo(ClassInfo):
    """What a segmentation finds: a class, or a region of several classes."""

    threshold: float | None = Field(description="Probability from which it is found; null: the likeliest class wins.")
    within: list[int] = Field(
        default=[], description="Targets that it is a part of; it counts only where they are found."
    )


class ModelInfo(_Told):
    """A served model."""

    name: str
    kind: Literal["segmentation", "classification", "pipeline", "damage"]
    rank: int = Field(description="2 for images, 3 for volumes.")
    channels: int
    channel_names: list[str] = []
    stages: list[str] = Field(default=[], description="Of a pipeline.")
    classes: list[ClassInfo]
    targets: list[TargetInfo] = []
    task: Literal["exclusive", "regions"] = Field(
        description="exclusive: every pixel has one class; regions: each target decides for itself."
    )
    thresholds: dict[str, float]
    dates: int = Field(description="1, or 2: an image before and one after.")
    disasters: list[str] = Field(default=[], description="Types of disaster that it can be told of.")
    unit: str | None
    accepts: list[str]
    sha256: str
    trained: dict[str, Any]
    warning: str = Field(description="What its answers are worth; empty when nothing is to be said.")
    trouble: str = Field(description="Why it cannot be used now; empty when it can.")


class ProgressInfo(_Told):
    """How far a job is."""

    stage: str
    done: int
    total: int = Field(description="0: not known.")
    seconds_left: float | None
    ahead: int = Field(default=0, description="Jobs that wait before this one.")


class FileInfo(_Told):
    """A file of a result."""

    name: str
    role: str = Field(description="mask, overlay, table, probability, vectors, raster, report, view.")
    type: str
    bytes: int
    url: str


class JobInfo(_Told):
    """One case and what became of it."""

    id: str
    model: str
    kind: Literal["image", "classes", "volume", "map", "screening"]
    name: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: ProgressInfo | None
    error: Message | None
    created: float = Field(description="Seconds since 1970.")
    started: float | None
    ended: float | None
    expires: float | None = Field(description="When the job and all its files are deleted.")
    view: dict[str, Any] | None = Field(description="What a page shows; its field kind says which fields it has.")
    files: list[FileInfo]


class JobList(_Told):
    """A page of jobs, the most recent first."""

    total: int
    offset: int
    jobs: list[JobInfo]


class BundleInfo(_Told):
    """A pipeline for phones."""

    name: str
    url: str = Field(description="Of its bundle.json, from /phone/.")
    version: str = Field(description="Hash of all that it holds.")


class Health(_Told):
    """Whether the server can answer."""

    status: Literal["ok", "starting", "degraded"]
    version: str
    models: dict[str, str] = Field(description="Name of each model, and why it cannot be used; empty when it can.")
    queue: dict[str, int] = Field(description="Jobs that wait and that run.")


class Options(_Told):
    """What a job may ask for, as JSON in the field `options`."""

    probability: bool = Field(default=False, description="Write the probabilities in full size, too.")
    tta: bool = Field(default=False, description="Average over flips: slower, a little better.")
    overlay: bool = Field(default=True, description="Write the image with the answer over it.")
    vectors: bool = Field(default=False, description="Write the objects as polygons.")
    looks: bool = Field(default=True, description="Of a classification: show where the network looked.")
    align: Literal["auto", "none"] = Field(default="auto", description="Of two dates: undo the displacement.")
    disaster: str = Field(
        default="", max_length=40, description="Of two dates: the type of disaster, for a model that lists some."
    )
    outlines: Literal["pixels", "simple", "regular"] = Field(
        default="simple", description="How the buildings of a map are drawn."
    )
