"""What travels with an exported network: everything that turns a file's pixels into its input and its answer into a
mask, as plain JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, ModelError
from catenary.predict.card import Card
from catenary.predict.engines import Opened
from catenary.predict.prediction import paint_regions

__all__ = ["FORMAT", "KEY", "describe", "read_description"]

#: Version of the description.
FORMAT = "catenary.export/1"
#: Under which name a file's metadata hold it.
KEY = "catenary"
#: A side that is larger than any tile.
_LARGE = 1 << 15


def describe(card: Card, *, name: str, precision: str, digest: str, opened: Opened) -> dict[str, Any]:
    """The description of a network.

    Args:
        card: Of the model.
        name: What the model is called, for people.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        digest: SHA-256 of the model file, in hexadecimal.
        opened: An engine that runs the network.

    Returns:
        Only dicts, lists, texts, numbers, booleans and None. ``input`` says what the network is fed, ``output`` what it
        answers and how a mask is made of that; the other fields are those of the model's card.
    """
    from importlib.metadata import version

    return {
        "format": FORMAT,
        "name": name,
        "precision": precision,
        "catenary": version("catenary"),
        "model_sha256": digest,
        "input": _input(card, opened),
        "output": _output(card),
        "classes": _classes(card.labels),
        **_judgement(card),
        "trained": {key: card.provenance.get(key, "") for key in ("data", "licence", "created")},
        "scores": card.scores,
    }


def read_description(text: str, source: object) -> dict[str, Any]:
    """The description that a file's metadata hold.

    Raises:
        ModelError: There is none, it is damaged, or of a newer version.
    """
    if not text:
        raise ModelError(f"{source} holds no description of catenary; give a file that catenary exported")
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError("it has another format")
    except ValueError as error:
        raise ModelError(f"the description in {source} cannot be read ({error}); export the model again") from error
    return found


def _input(card: Card, opened: Opened) -> dict[str, Any]:
    recipe = card.recipe
    wish = recipe.prepare
    if wish.normalise == "local":
        raise ConfigError(
            "the model looks at local contrast (prepare.normalise=local), which programs that take an exported network "
            "cannot make; use it with `catenary predict`, or train with --set prepare.normalise=image"
        )
    return {
        "name": "x",
        "channels": recipe.model.channels,
        "channel_names": list(card.channel_names),
        "rank": recipe.model.rank,
        "disasters": list(recipe.model.disasters),
        "dates": 1 if recipe.model.fusion == "none" else 2,
        "slices": recipe.model.slices,
        "dtype": card.dtype,
        "normalise": wish.normalise,
        "mean": list(wish.mean),
        "std": list(wish.std),
        "window": list(wish.window),
        "match": wish.match,
        "size": wish.size,
        "spacing": list(wish.spacing),
        "low": card.fingerprint.get("low"),
        "high": card.fingerprint.get("high"),
        "patch": list(recipe.sample.patch),
        **_sides(card, opened),
    }


def _sides(card: Card, opened: Opened) -> dict[str, Any]:
    """How an image is cut: one frame for a classifier, tiles of a multiple of some pixels otherwise."""
    rank = card.recipe.model.rank
    if card.labels.scope == "image":
        return {
            "framed": True, "frame": list(card.recipe.sample.patch), "multiple": [1] * rank, "least": [1] * rank,
            "tile": list(card.recipe.sample.patch), "overlap": [0] * rank, "halo": [0] * rank,
        }  # fmt: skip
    from catenary.geometry import axes_of
    from catenary.predict.backends import least_sides
    from catenary.predict.predictor import Predictor

    predictor = Predictor(card, opened)
    tiling = predictor.tiling((_LARGE,) * rank)
    return {
        "framed": False,
        "frame": list(predictor.frame(rank)),
        "multiple": [axis.multiple for axis in axes_of(**card.recipe.model.model_dump())],
        "least": list(least_sides(card)),
        "tile": list(tiling.tile[-rank:]),
        "overlap": list(tiling.overlap[-rank:]),
        "halo": list(tiling.halo[-rank:]),
    }


def _output(card: Card) -> dict[str, Any]:
    labels = card.labels
    found: dict[str, Any] = {
        "name": "probability",
        "activation": "softmax" if labels.task == "exclusive" else "sigmoid",
        "task": labels.task,
        "scope": labels.scope,
        "names": list(labels.names),
        "regions": {name: list(members) for name, members in labels.regions.items()},
        "targets": list(labels.target_names if labels.task != "exclusive" else labels.names),
        "thresholds": [],
        "cleaning": {target: list(steps) for target, steps in card.cleaning.items()},
        "smallest": card.recipe.predict.smallest,
    }
    if labels.scope == "image":
        found["decide"] = "likeliest"
        if labels.count == 2:  # the network answers for the second class alone
            found |= {"decide": "second", "thresholds": list(card.thresholds or (0.5,))}
        return found
    if labels.task == "exclusive":
        return found | {"decide": "likeliest" if card.recipe.model.fusion == "none" else "building"}
    return found | {
        "decide": "above",
        "thresholds": list(card.thresholds or (0.5,) * labels.channels),
        "values": _painted(labels),
        "within": [list(around) for around in labels.target_within()],
    }


def _painted(labels: LabelSet) -> list[int]:
    """The class with which each target is painted, in this order, over the ones before."""
    if labels.task == "binary":
        return [1]
    planes = np.eye(len(labels.regions), dtype=bool)[:, :, None]
    return [int(value) for value in paint_regions(planes, labels)[:, 0]]


def _classes(labels: LabelSet) -> list[dict[str, Any]]:
    return [
        {"value": value, "name": name, "color": "#{:02x}{:02x}{:02x}".format(*labels.display_colour(value))}
        for value, name in enumerate(labels.names)
    ]


def _judgement(card: Card) -> dict[str, Any]:
    """What of an answer's meaning was learnt on validation cases."""
    return {
        "calibration": None if card.calibration is None else card.calibration.model_dump(mode="json"),
        "operating": None if card.operating is None else card.operating.model_dump(mode="json"),
        "judged": [list(pair) for pair in card.judged],
        "familiar": None if card.familiar is None else card.familiar.model_dump(mode="json"),
        "measures": card.recipe.predict.measures,
        "errors": {"share": card.share_errors},
    }
