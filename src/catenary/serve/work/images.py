"""A photo, a micrograph, any image: its mask, and what a page needs to show it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.data.contact import to_rgb
from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.io import orientation
from catenary.predict import Prediction, Predictor
from catenary.predict.measure import COLUMNS
from catenary.predict.quantities import COLUMNS as QUANTITIES
from catenary.serve.catalogue import targets_of
from catenary.serve.work.output import Output, Task, Teller, plain, shown_size, shrunk, shrunk_label
from catenary.types import Image

__all__ = ["segment_image", "tiles_of"]

_UPRIGHT = "was turned upright as its EXIF orientation says; its mask is upright too"


def segment_image(task: Task, predictor: Predictor, place: Path, tell: Teller) -> tuple[dict[str, Any], Output]:
    """Segment an image, or two dates of one place that were brought onto each other already.

    Returns:
        The view, and the files.

    Raises:
        InputError: An image cannot be read, or does not suit the model.
    """
    out = Output(task)
    paths = task.paths("image", "post")
    images = [task.read(path) for path in paths]
    image = images[0]
    if len(images) > 1:
        if images[0].shape != images[1].shape:
            sizes = " and ".join("x".join(map(str, one.shape)) for one in images)
            raise InputError(f"the two dates have {sizes} pixels; give images of one size, or georeferenced ones")
        image = replace(image, array=np.concatenate([one.array for one in images]))
    tell.expect(tiles_of(predictor, image))
    found = predictor(image, probability=True if task.options.get("probability") else None)
    tell("drawing", 0, 0)
    warnings = list(found.warnings)
    if orientation(paths[0]) != 1:
        warnings.append(f"{task.name}: {_UPRIGHT}")
    view = _view(out, found, images, predictor, warnings)
    suffix = ".tif" if paths[0].suffix == ".tif" else ".png"
    found.save(task.folder / f"mask{suffix}")
    out.add(f"mask{suffix}", "mask")
    if task.options.get("overlay", True):
        shown = replace(found, image=images[-1])
        out.picture("overlay.jpg", shown.overlay(), "overlay")
    if task.options.get("probability"):
        found.save_probability(task.folder / "probability.tif")
        out.add("probability.tif", "probability")
    if task.options.get("vectors"):
        from catenary.serve.work.vectors import write_outlines

        write_outlines(found.mask, found.labels, task.folder / "outlines.geojson")
        out.add("outlines.geojson", "vectors")
    out.table("measurements.csv", COLUMNS, found.measurements)
    if found.quantities:
        out.table("quantities.csv", QUANTITIES, found.quantities)
    return view, out


def tiles_of(predictor: Predictor, image: Image) -> int:
    """How many tiles an image is cut into."""
    tiling = predictor.tiling(image.shape, image.grid.spacing)
    return math.prod(len(tiling.starts(axis)) for axis in range(len(tiling.shape)))


def _view(
    out: Output, found: Prediction, images: list[Image], predictor: Predictor, warnings: list[str]
) -> dict[str, Any]:
    labels: LabelSet = found.labels
    height, width = found.mask.shape
    size = shown_size((height, width))
    targets = targets_of(labels, predictor.card.thresholds)
    before = {}
    if len(images) > 1:
        before = {"before": out.picture("before.jpg", shrunk(to_rgb(images[0].array), size))}
    probability = []
    if found.probability is None:
        warnings.append(
            f"{out.task.name}: is so large that its probabilities were not kept; thresholds stay as they are"
        )
    else:
        for number, target in enumerate(targets):
            plane = shrunk(_grey(found.probability[target.plane]), size)
            address = out.picture(f"probability-{number}.png", plane)
            probability.append({"target": target.name, "url": address})
    return {
        "kind": "image",
        "width": width,
        "height": height,
        "shown": {"width": size[1], "height": size[0]},
        "image": out.picture("image.jpg", shrunk(to_rgb(images[-1].array), size)),
        **before,
        "mask": out.picture("mask-shown.png", shrunk_label(found.mask, size)),
        "probability": probability,
        "task": "exclusive" if labels.task == "exclusive" else "regions",
        "targets": [target.told() for target in targets],
        "measurements": plain([dict(row) for row in found.measurements]),
        "quantities": plain([dict(row) for row in found.quantities]),
        "warnings": warnings,
    }


def _grey(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 as 0..255; what is not known as 0."""
    scaled: NDArray[np.uint8] = np.rint(np.nan_to_num(plane) * 255).clip(0, 255).astype(np.uint8)
    return scaled
