"""`predict`: from files to masks and measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from catenary.types import Progress, silent

if TYPE_CHECKING:
    from catenary.predict import PredictionRecord
    from catenary.predict.class_files import ClassRecord

__all__ = ["predict"]


def predict(
    run: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path,
    engine: str = "auto",
    tta: bool = False,
    probability: bool = False,
    overlay: bool = False,
    overlap: float | None = None,
    others: Sequence[str | Path] = (),
    dicom_seg: bool = False,
    disaster: str = "",
    progress: Progress = silent,
) -> list[PredictionRecord] | list[ClassRecord]:
    """Write a mask for every input, and ``measurements.csv`` for all; of a model of whole images ``classes.csv``.

    Args:
        run: Folder of a run, or a model file.
        inputs: Files, folders and globs; for scans also folders of a DICOM series, and cases whose sequences lie in
            files of their own.
        out: Folder for the results, made when needed.
        engine: See `load`.
        tta: Average over flips; slower, a little better.
        probability: Write the probabilities too.
        overlay: Write pictures of the answer over the image too; of a model of whole images, where it looked.
        overlap: Share of a tile that neighbours share; the model's own when None.
        others: Further runs whose probabilities are averaged with this one's, such as other folds.
        dicom_seg: Write the masks of DICOM series as DICOM segmentations too.
        disaster: Type of the disaster between two dates, for a model that was trained to be told.
        progress: Called after each file.

    Returns:
        One record a file; a record whose ``error`` is set had a bad input, the others are complete.

    Raises:
        ModelError: The model cannot be opened.
        InputError: No input was found.
        OutputError: The folder cannot be written.
    """
    from catenary.predict import load_card, open_predictor, predict_files
    from catenary.predict.class_files import classify_files
    from catenary.predict.classify import open_classifier

    if load_card(run).labels.scope == "image":
        classifier = open_classifier(Path(run), engine=engine, tta=tta, others=others)
        looks = Path(run) if overlay else None
        return classify_files(classifier, inputs, Path(out), looks=looks, progress=progress)
    predictor = open_predictor(Path(run), engine=engine, tta=tta, overlap=overlap, others=others, disaster=disaster)
    return predict_files(
        predictor,
        inputs,
        Path(out),
        probability=probability,
        overlay=overlay,
        dicom_seg=dicom_seg,
        model=Path(run),
        progress=progress,
    )
