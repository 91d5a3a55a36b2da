"""A scan: its labels as NIfTI on the scan's own grid, beside the scan itself for a viewer of slices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from catenary.data.cases import Case, Dataset
from catenary.errors import InputError
from catenary.io import write_image
from catenary.predict import Predictor
from catenary.predict.measure import COLUMNS
from catenary.predict.quantities import COLUMNS as QUANTITIES
from catenary.serve.catalogue import targets_of
from catenary.serve.work.images import tiles_of
from catenary.serve.work.output import Output, Task, Teller, plain
from catenary.types import Image

__all__ = ["segment_volume"]


def segment_volume(task: Task, predictor: Predictor, place: Path, tell: Teller) -> tuple[dict[str, Any], Output]:
    """Segment a scan: a NIfTI, a stack, a DICOM series as files or as a zip, or a file a channel.

    Returns:
        The view, and the files.

    Raises:
        InputError: It cannot be read, or does not suit the model.
    """
    out = Output(task)
    image = _read(task, predictor)
    tell.expect(tiles_of(predictor, image))
    found = predictor(image, probability=bool(task.options.get("probability")))
    tell("writing", 0, 0)
    channels = []
    names = predictor.card.channel_names or tuple(f"channel {n + 1}" for n in range(image.channels))
    for number, (name, volume) in enumerate(zip(names, image.array, strict=True)):
        file = f"image-{number}.nii.gz"
        write_image(task.folder / file, np.ascontiguousarray(volume), grid=image.grid)
        channels.append({"name": name, "url": out.add(file, "view")})
    found.save(task.folder / "mask.nii.gz")
    mask = out.add("mask.nii.gz", "mask")
    if task.options.get("overlay", True):
        out.picture("overlay.jpg", found.overlay(), "overlay")
    if task.options.get("probability"):
        found.save_probability(task.folder / "probability.nii.gz")
        out.add("probability.nii.gz", "probability")
    out.table("measurements.csv", COLUMNS, found.measurements)
    if found.quantities:
        out.table("quantities.csv", QUANTITIES, found.quantities)
    labels = predictor.card.labels
    view = {
        "kind": "volume",
        "shape": list(image.shape),
        "image": channels[0]["url"],
        "channels": channels if len(channels) > 1 else [],
        "mask": mask,
        "targets": [target.told() for target in targets_of(labels, predictor.card.thresholds)],
        "spacing": None if image.grid.spacing is None else list(image.grid.spacing),
        "unit": image.grid.unit,
        "measurements": plain([dict(row) for row in found.measurements]),
        "quantities": plain([dict(row) for row in found.quantities]),
        "warnings": list(found.warnings),
    }
    return view, out


def _read(task: Task, predictor: Predictor) -> Image:
    files = task.paths("image")
    if len(files) == 1:
        return task.read(files[0])
    if files[0].suffix == ".dcm":  # the slices of a series
        folder = files[0].parent / "series"
        folder.mkdir(exist_ok=True)
        for file in files:
            if file.exists():
                os.replace(file, folder / file.name)
        return task.read(folder)
    card = predictor.card
    if len(files) != card.channels:
        raise InputError(
            f"found {len(files)} files, but the model was trained on scans of {card.channels} channels; send one file "
            "a channel, or one file with all of them"
        )
    order = _in_order([one["name"] for one in task.inputs if one["role"] == "image"], card.channel_names)
    case = Case(name=task.name, images=tuple(files[place] for place in order), mask=None)
    together = Dataset(root=files[0].parent, name=task.name, layout="files of a case", cases=(), labels=card.labels)
    return replace(together.read_image(case), source=task.name)


def _in_order(names: Sequence[str], channels: Sequence[str]) -> list[int]:
    """Places of the files in the order of the channels, by words in their names; as they came where that is not clear.

    >>> _in_order(["p1_t1c.nii.gz", "p1_flair.nii.gz"], ("flair", "t1c")), _in_order(["a", "b"], ("flair", "t1c"))
    ([1, 0], [0, 1])
    """
    found = []
    for channel in channels:
        fitting = [place for place, name in enumerate(names) if channel.lower() in name.lower()]
        found.append(fitting[0] if len(fitting) == 1 else -1)
    return found if sorted(found) == list(range(len(names))) else list(range(len(names)))
