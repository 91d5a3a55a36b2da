"""From files, folders and globs to a table of classes on disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from catenary.data.contact import to_rgb
from catenary.data.labels import PALETTE
from catenary.errors import CatenaryError, OutputError, writing
from catenary.io import write_image
from catenary.io.files import atomic
from catenary.predict.classify import Classified, ClassPredictor
from catenary.predict.files import find_inputs
from catenary.predict.inputs import as_image
from catenary.predict.saliency import Saliency
from catenary.types import Image, Progress, silent

__all__ = ["CLASSES", "ClassRecord", "classify_files", "tinted"]

#: The table of answers.
CLASSES = "classes.csv"
#: Ending of pictures of where the network looked.
LOOKS = "_looks"


@dataclass(frozen=True, kw_only=True)
class ClassRecord:
    """What became of one input.

    Attributes:
        source: The input file.
        answer: What the model says; None when it failed.
        error: Why it failed, in one sentence; empty when it did not.
        warnings: What makes the answer doubtful.
        engine: What ran the network.
    """

    source: Path
    answer: Classified | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    engine: str = ""


def classify_files(
    classifier: ClassPredictor,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    looks: Path | None = None,
    progress: Progress = silent,
) -> list[ClassRecord]:
    """Classify every input and write `CLASSES`, one row each: class, probability of each class, threshold, warnings.

    An input that cannot be read becomes a record, and a row, with an error; the others go on.

    Args:
        classifier: The model.
        inputs: See `catenary.predict.files.find_inputs`.
        out: Folder for the table, made when needed.
        looks: The run, or model file, that the classifier was opened from: ``<name>_looks.png`` is then written too,
            the image with what spoke for its class (`catenary.predict.saliency`) tinted.
        progress: Called after each input.

    Raises:
        InputError: No input was found.
        OutputError: The folder cannot be written.
    """
    every = find_inputs(inputs)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    records = []
    saliency = None if looks is None else Saliency(looks)
    for done, one in enumerate(every, start=1):
        try:
            found = classifier(one.source)
            if saliency is not None:
                image = as_image(one.source, classifier.card)
                picture = tinted(image, saliency(image, found.label))
                write_image(out / f"{one.name}{LOOKS}.png", np.ascontiguousarray(np.moveaxis(picture, -1, 0)))
            record = ClassRecord(
                source=one.source, answer=found, warnings=found.warnings, engine=classifier.engine.name
            )
        except OutputError:
            raise
        except CatenaryError as error:
            record = ClassRecord(source=one.source, error=str(error), engine=classifier.engine.name)
        records.append(record)
        progress("classifying", done, len(every))
    _write(out / CLASSES, records, classifier.card.labels.names)
    return records


def tinted(image: Image, strength: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """An image in grey with a map of 0 to 1 over it, from nothing to orange.

    >>> tinted(Image(array=np.zeros((3, 1, 2), np.uint8)), np.array([[0, 1]], np.float32))[0, 1].tolist()
    [199, 150, 38]
    """
    grey = to_rgb(image.array).mean(axis=2, keepdims=True)
    share = 0.7 * strength[..., None]
    picture: NDArray[np.uint8] = np.rint((1 - share) * grey + share * np.array(PALETTE[0])).astype(np.uint8)
    return picture


def _write(path: Path, records: Sequence[ClassRecord], names: Sequence[str]) -> None:
    known = [record.source.name for record in records]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", *(f"p({name})" for name in names), "threshold", "warnings", "error"])
        for record in records:
            source = record.source.name if known.count(record.source.name) == 1 else str(record.source)
            cells: list[str] = ["", *("" for _ in names), ""]
            if record.answer is not None:
                threshold = "" if record.answer.threshold is None else f"{record.answer.threshold:.4g}"
                cells = [record.answer.name, *(f"{p:.4f}" for p in record.answer.probability), threshold]
            writer.writerow([source, *cells, "; ".join(record.warnings), record.error])
