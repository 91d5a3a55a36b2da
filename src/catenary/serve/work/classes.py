"""The class of a whole image: probabilities, how far they reach, and where the network looked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from catenary.data.contact import to_rgb
from catenary.errors import ConfigError
from catenary.predict.class_files import tinted
from catenary.predict.classify import ClassPredictor
from catenary.predict.saliency import Saliency
from catenary.serve.work.output import Output, Task, Teller, shown_size, shrunk

__all__ = ["classify_image"]

_OPEN: dict[Path, Saliency] = {}
#: Gradients are kept in the network, so that one image at a time is looked at.
_LOOKING = threading.Lock()


def classify_image(task: Task, model: ClassPredictor, place: Path, tell: Teller) -> tuple[dict[str, Any], Output]:
    """Classify an image.

    Returns:
        The view, and the files.

    Raises:
        InputError: It cannot be read, or does not suit the model.
    """
    out = Output(task)
    image = task.read(task.paths("image")[0])
    tell("classifying", 0, 0)
    found = model(image)
    tell("drawing", 0, 0)
    size = shown_size(image.shape)
    view: dict[str, Any] = {
        "kind": "classes",
        "width": image.shape[1],
        "height": image.shape[0],
        "image": out.picture("image.jpg", shrunk(to_rgb(image.array), size)),
        "answers": [
            {"name": name, "probability": float(p)} for name, p in zip(found.names, found.probability, strict=True)
        ],
        "decided": found.name,
        "threshold": found.threshold,
        "interval": None if found.interval is None else list(found.interval),
        "looked": None,
        "warnings": list(found.warnings),
    }
    if task.options.get("looks", True):
        try:
            with _LOOKING:
                if place not in _OPEN:
                    _OPEN[place] = Saliency(place)
                strength = _OPEN[place](image, found.label)
            view["looked"] = out.picture("looked.jpg", shrunk(tinted(image, strength), size), "overlay")
        except ConfigError as error:  # a network whose last features have no places
            view["warnings"].append(str(error))
    columns = ["file", "class", *(f"p({name})" for name in found.names), "threshold", "low", "high", "warnings"]
    low, high = found.interval or (None, None)
    row = {"file": task.name, "class": found.name, "threshold": found.threshold, "low": low, "high": high}
    row |= {f"p({name})": float(p) for name, p in zip(found.names, found.probability, strict=True)}
    out.table("classes.csv", columns, [row | {"warnings": "; ".join(found.warnings)}])
    return view, out
