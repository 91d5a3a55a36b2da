"""Georeferenced images too large to be held whole, among the inputs of an ordinary prediction: row by row."""

from __future__ import annotations

import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from catenary.errors import CatenaryError, ConfigError, InputError, writing
from catenary.io import ending, image_size
from catenary.io.raster import open_raster
from catenary.predict.predictor import Predictor
from catenary.types import IGNORE, Progress

__all__ = ["LARGE", "is_large", "predict_large"]

#: Pixels above which an image is streamed: held whole it would take some 20 bytes for each.
LARGE = 1 << 27
#: Rows of a mask that are counted together.
_BAND = 1024


def is_large(path: Path, predictor: Predictor) -> bool:
    """Whether an image is georeferenced and has more than `LARGE` pixels, and the model can go row by row.

    It cannot where its answer needs the whole mask: objects that are dropped by their size, tidying, refined outlines,
    quantities, images brought to one size, regions that overlap, several models.
    """
    card = predictor.card
    wish = card.recipe.predict
    if card.rank != 2 or card.labels.task == "overlapping" or card.recipe.prepare.size or predictor.averages:
        return False
    if wish.smallest or wish.measures or wish.refine or card.cleaning or ending(path) not in (".tif", ".tiff"):
        return False
    try:
        if math.prod(image_size(path)) <= LARGE:
            return False
        open_raster(path).close()
    except CatenaryError:
        return False  # told where it is read
    return True


def predict_large(
    predictor: Predictor, model: Path, path: Path, out: Path, name: str, *, probability: bool, progress: Progress
) -> tuple[Path, tuple[dict[str, Any], ...], tuple[str, ...]]:
    """Write ``<name>_mask.tif`` and ``<name>_confidence.tif`` of a large image, in constant memory.

    What an interrupted call left is gone on with, where image and model are the same.

    Args:
        predictor: The opened model.
        model: Its run or file.
        path: The image.
        out: Folder of the results.
        name: What they are called.
        probability: Write ``<name>_probability.tif`` too.
        progress: Told of the rows.

    Returns:
        The mask, its measurements (objects are not counted), and what the user should know.

    Raises:
        InputError: The image is damaged or has other channels.
        OutputError: The folder cannot be written.
    """
    # Brings scipy, which ordinary predictions start without.
    from catenary.predict.mosaic import begin_mosaic, finish_mosaic, predict_rows, rows_left

    folder = out / f"{name}_parts"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    begin = partial(begin_mosaic, predictor, model, (path,), folder, probability=probability, resume=True, grow=0)
    try:
        try:
            job = begin()
        except ConfigError:  # left by another model
            shutil.rmtree(folder)
            job = begin()
        left = rows_left(predictor, job)
        if left:
            predict_rows(predictor, job, left[0], left[-1] + 1, progress=progress)
        files = finish_mosaic(predictor, job, folder, stem="mask", progress=progress)
    except InputError:
        shutil.rmtree(folder)
        raise
    mask = out / f"{name}_mask.tif"
    found = {mask: files.classes, out / f"{name}_confidence.tif": files.confidence}
    if files.probability is not None:
        found[out / f"{name}_probability.tif"] = files.probability
    with writing(out):
        for target, source in found.items():
            source.replace(target)
        shutil.rmtree(folder)
    pixels = math.prod(job.shape)
    told = f"{path}: {pixels / 1e6:.0f} million pixels, done row by row; objects are not counted"
    return mask, _measured(mask, predictor), (*predictor.notes, told)


def _measured(mask: Path, predictor: Predictor) -> tuple[dict[str, Any], ...]:
    """Areas and shares of the classes, as `catenary.predict.measure.measure` has them."""
    labels = predictor.card.labels
    counts = np.zeros(256, np.int64)
    with open_raster(mask) as raster:
        grid = raster.grid
        for row in range(0, raster.shape[0], _BAND):
            height = min(_BAND, raster.shape[0] - row)
            image = raster.read(row, 0, height, raster.shape[1])
            plane = image.array[0] if image.valid is None else np.where(image.valid, image.array[0], np.uint8(IGNORE))
            counts += np.bincount(plane.ravel(), minlength=256)
    known = max(1, int(counts[:IGNORE].sum()))
    return tuple(
        {
            "class": name,
            "area_px": int(counts[index]),
            "share": counts[index] / known,
            "share_error": predictor.card.share_errors.get(name),
            "area": None if grid.pixel_size is None else counts[index] * grid.pixel_size,
            "unit": grid.unit,
        }
        for index, name in enumerate(labels.names)
        if index
    )
