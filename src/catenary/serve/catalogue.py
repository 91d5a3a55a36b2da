"""What is served: each model described from its card alone, without its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from catenary.data.labels import LabelSet
from catenary.errors import ModelError
from catenary.io.files import file_digest
from catenary.predict.card import Card, load_card, model_path

__all__ = ["Served", "Target", "catalogue", "targets_of"]

#: Formats of files that each kind of input may have, as clients name them.
PICTURES = ("png", "jpeg", "bmp", "tiff")
SCANS = ("nifti", "dicom", "dicom-zip", "tiff")

#: As `catenary.workflow.pipeline.PIPELINE`, without loading all of the workflow to look for one.
_PIPELINE = "pipeline.json"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a model finds.

    Attributes:
        name: Of the class or region.
        value: Its number in a mask.
        color: As in ``"#e69f00"``.
        threshold: Probability from which it is found; None where classes exclude one another.
        plane: Its plane among the probabilities.
        within: Which others it is a part of, by their place in the list; it counts only where they are found, too.
    """

    name: str
    value: int
    color: str
    threshold: float | None
    plane: int
    within: tuple[int, ...] = ()

    def told(self) -> dict[str, Any]:
        """As JSON."""
        told = {"name": self.name, "value": self.value, "color": self.color, "threshold": self.threshold}
        return told | {"within": list(self.within)}


@dataclass(kw_only=True)
class Served:
    """A model that is served.

    Attributes:
        name: As addresses have it.
        path: The run, model file or pipeline.
        kind: ``"segmentation"``, ``"classification"``, ``"pipeline"`` or ``"damage"`` (two dates).
        card: Of the model; None for a pipeline.
        files: The files that it needs, with their size and time of change when the server began.
        told: What `GET /api/models` says of it.
    """

    name: str
    path: Path
    kind: Literal["segmentation", "classification", "pipeline", "damage"]
    card: Card | None
    files: dict[Path, tuple[int, int]]
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """2 for images, 3 for volumes."""
        return 2 if self.card is None else self.card.rank

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Of its classes."""
        if self.card is None:
            return ()
        labels = self.card.labels
        return tuple(labels.display_colour(index) for index in range(labels.count))

    @property
    def dates(self) -> int:
        """Number of images of a case."""
        return 2 if self.kind == "damage" else 1

    def trouble(self) -> str:
        """Why it cannot be relied on any more; empty when all is well."""
        for file, known in self.files.items():
            now = _stamp(file)
            if now is None:
                return f"the file of the model '{self.name}' has vanished; put it back, or start the server without it"
            if now != known:
                return f"the file of the model '{self.name}' has changed since the server began; start it again"
        return ""


def catalogue(models: Sequence[tuple[str, Path]]) -> dict[str, Served]:
    """Describe the models that are to be served.

    Raises:
        ModelError: One cannot be opened.
    """
    return {name: _described(name, path) for name, path in models}


def targets_of(labels: LabelSet, thresholds: Sequence[float]) -> list[Target]:
    """What a segmentation finds, in the order of its planes of probability.

    >>> [(one.name, one.plane) for one in targets_of(LabelSet(names=("pore", "ysz", "nickel")), ())]
    [('ysz', 1), ('nickel', 2)]
    """
    found = []
    members, within = labels.target_members(), labels.target_within()
    for index, (name, classes) in enumerate(zip(labels.target_names, members, strict=True)):
        later = {c for other in members[index + 1 :] for c in other} if labels.regions else set()
        value = next((c for c in classes if c not in later), classes[0])  # as `paint_regions` paints it
        exclusive = labels.task == "exclusive"
        threshold = None if exclusive else (thresholds[index] if index < len(thresholds) else 0.5)
        found.append(
            Target(
                name=name, value=value, color=_colour(labels, value), threshold=threshold, plane=index + exclusive,
                within=within[index],
            )
        )  # fmt: skip
    return found


def _described(name: str, path: Path) -> Served:
    if (path / _PIPELINE).is_file() or path.name == _PIPELINE:
        return _pipeline(name, path)
    file = model_path(path)
    card = load_card(file)
    labels = card.labels
    kind: Literal["segmentation", "classification", "damage"] = "segmentation"
    if labels.scope == "image":
        kind = "classification"
    elif card.recipe.model.fusion != "none":
        kind = "damage"
    one = Served(name=name, path=path, kind=kind, card=card, files=_stamps([file]))
    one.told = {
        "name": name,
        "kind": kind,
        "rank": card.rank,
        "channels": card.channels,
        "channel_names": list(card.channel_names),
        "classes": _classes(labels),
        "targets": [] if kind == "classification" else [t.told() for t in targets_of(labels, card.thresholds)],
        "task": "exclusive" if labels.task == "exclusive" or kind == "classification" else "regions",
        "thresholds": dict(zip(labels.target_names, card.thresholds, strict=False)),
        "dates": one.dates,
        "disasters": list(card.recipe.model.disasters),
        "unit": card.fingerprint.get("unit"),
        "accepts": [*(SCANS if card.rank == 3 else PICTURES), *(["geotiff"] if card.rank == 2 else [])],
        "sha256": _sha256([file]),
        "trained": _trained(card),
        "warning": _warning(card),
    }
    return one


def _pipeline(name: str, path: Path) -> Served:
    from catenary.workflow.pipeline import QualityStage, read_pipeline

    stages, folder = read_pipeline(path)
    models = {one.name: folder / one.model for one in stages.stages if not isinstance(one, QualityStage)}
    cards = {stage: load_card(file) for stage, file in models.items()}
    judges = {stage: card for stage, card in cards.items() if card.labels.scope == "image"}
    files = [folder / _PIPELINE, *models.values()]
    one = Served(name=name, path=path, kind="pipeline", card=None, files=_stamps(files))
    one.told = {
        "name": name,
        "kind": "pipeline",
        "rank": 2,
        "channels": 3,
        "stages": list(stages.names),
        "classes": next((_classes(card.labels) for card in judges.values()), []),
        "task": "exclusive",
        "thresholds": {stage: card.thresholds[0] if card.thresholds else 0.5 for stage, card in judges.items()},
        "dates": 1,
        "unit": None,
        "accepts": list(PICTURES),
        "sha256": _sha256(files),
        "trained": {stage: _trained(card) for stage, card in cards.items()},
        "warning": "a screening is no diagnosis; the answers are those of a model on photographs like its own",
    }
    return one


def _classes(labels: LabelSet) -> list[dict[str, Any]]:
    return [{"value": index, "name": text, "color": _colour(labels, index)} for index, text in enumerate(labels.names)]


def _colour(labels: LabelSet, index: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*labels.display_colour(index))


def _trained(card: Card) -> dict[str, Any]:
    """What made a model, without the names of its cases."""
    known = card.provenance
    names = ("data", "licence", "created", "training_minutes", "training_steps", "start", "hardware")
    found = {name: known[name] for name in names if known.get(name) not in (None, "")}
    splits = known.get("splits") or {}
    return found | {
        "recipe": card.recipe.name,
        "cases": {part: len(cases) for part, cases in splits.items()},
        "scores": card.scores,
    }


def _warning(card: Card) -> str:
    if not card.scores:
        return "no score of this model is recorded; measure it with `catenary evaluate` before it is relied on"
    return "the model knows images like those it was trained on; measure it on yours before it is relied on"


def _stamps(files: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    found = {file: _stamp(file) for file in files}
    for file, stamp in found.items():
        if stamp is None:
            raise ModelError(f"there is no file {file}; check the name")
    return {file: stamp for file, stamp in found.items() if stamp is not None}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        known = file.stat()
    except OSError:
        return None
    return known.st_size, known.st_mtime_ns


def _sha256(files: Sequence[Path]) -> str:
    """Of a file, or of the list of hashes of several."""
    hashes = []
    for file in files:
        try:
            hashes.append(file_digest(file))
        except OSError as error:
            raise ModelError(f"{file} cannot be read ({error.strerror}); check its rights") from error
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
