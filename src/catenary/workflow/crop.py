"""`crop`: discs cut out of photographs whose class is known, as the data that a later stage learns from."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from catenary.data.cases import Dataset
from catenary.errors import ConfigError, DataError, OutputError, writing
from catenary.io import write_image
from catenary.io.files import write_text
from catenary.measures.disc import disc_of, planes_of
from catenary.predict.around import Margin, around
from catenary.types import Progress, silent
from catenary.workflow.look import as_dataset
from catenary.workflow.pipeline import check_stage

if TYPE_CHECKING:
    from catenary.predict import Predictor

__all__ = ["crop"]


def crop(
    data: str | Path | Dataset,
    *,
    disc: str | Path,
    out: str | Path,
    margin: str = "0.5",
    group: str | None = None,
    engine: str = "auto",
    progress: Progress = silent,
) -> tuple[Path, list[str]]:
    """Cut the disc out of every photograph of a data set of whole-image classes; the crops are a data set too.

    Class, patient, source and part of each photograph go along in ``manifest.csv``. The same cut is what
    `catenary.workflow.screen` shows to its judges.

    Args:
        data: Folder, manifest or open data set.
        disc: Run or model file that finds disc and cup.
        out: Folder for the crops, new or empty.
        margin: How far around the disc is kept: ``"50px"``, or in disc diameters ``"0.5"``.
        group: Regular expression on case names; its first group names the patient.
        engine: See `catenary.workflow.load`.
        progress: Called after each photograph.

    Returns:
        The folder, and the names of the photographs without one disc, which are left out.

    Raises:
        ConfigError: The data set's classes are not of whole images, or the margin is none.
        DataError: No photograph shows a disc.
        ModelError: The model cannot be opened, or finds no disc and cup.
        OutputError: The folder is in use or cannot be written.
    """
    from catenary.predict import open_predictor
    from catenary.predict.card import model_path

    dataset, folder, reach = as_dataset(data, group), Path(out), Margin.read(margin)
    if dataset.labels.scope != "image":
        raise ConfigError(f"{dataset.name} has masks, and crops are of images with one class; give class folders")
    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise OutputError(f"{folder} is in use; choose a new folder for the crops")
    check_stage("disc", model_path(disc))
    model = open_predictor(disc, engine=engine)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".writing-") as temporary:
            stage = Path(temporary) / "crops"
            without = _cut(dataset, model, stage, reach, progress)
            stage.rename(folder)
    return folder, without


def _cut(dataset: Dataset, model: Predictor, folder: Path, reach: Margin, progress: Progress) -> list[str]:
    """Write the crops with their table; gives the names of the photographs without one disc."""
    rows, without = [], []
    for done, case in enumerate(dataset.cases, start=1):
        image = dataset.read_image(case)
        found = model(image)
        whole, cup = planes_of(found.mask, found.labels)
        if case.label is None or disc_of(whole, cup).disc_parts != 1:
            without.append(case.name)
        else:
            file = f"images/{case.name.replace('/', '_')}.png"
            write_image(folder / file, around(image, whole, reach).array)
            rows.append((file, dataset.labels.names[case.label], case.name, case.group, case.source, case.split or ""))
        progress("cutting out", done, len(dataset.cases))
    if not rows:
        raise DataError(
            f"none of the {len(dataset)} photographs of {dataset.name} shows one disc; is the model theirs?"
        )
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["image", "label", "name", "group", "source", "split"])
        writer.writerows(rows)
    classes = ", ".join(f'"{name}"' for name in dataset.labels.names)
    write_text(folder / "dataset.toml", f'name = "{dataset.name}, discs"\nclasses = [{classes}]\ncut = "{reach}"\n')
    return without
