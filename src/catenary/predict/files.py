"""From files, folders and globs to masks on disk."""

from __future__ import annotations

import csv
import glob
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catenary.data.cases import Case, Dataset
from catenary.data.volumes import files_of_cases
from catenary.errors import CatenaryError, InputError, OutputError, writing
from catenary.io import VOLUME_WRITERS, ending, find_images, is_series, orientation, read_image, stem
from catenary.io.dicomseg import write_dicom_seg
from catenary.io.files import atomic
from catenary.predict.large import is_large, predict_large
from catenary.predict.measure import COLUMNS
from catenary.predict.prediction import Prediction
from catenary.predict.predictor import Predictor
from catenary.predict.quantities import COLUMNS as QUANTITY_COLUMNS
from catenary.types import Image, Progress, silent

__all__ = ["PredictionRecord", "find_inputs", "predict_files"]

#: Endings of results, so that a folder of results is not segmented again.
_OURS = ("_mask", "_overlay", "_probability", "_looks")


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """What became of one input.

    Attributes:
        source: The input file.
        mask: The mask that was written; None when it failed.
        error: Why it failed, in one sentence; empty when it did not.
        warnings: What makes the answer doubtful.
        measurements: See `catenary.predict.measure`.
        quantities: See `catenary.predict.quantities`.
        engine: What ran the network.
    """

    source: Path
    mask: Path | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    measurements: tuple[dict[str, Any], ...] = ()
    quantities: tuple[dict[str, Any], ...] = ()
    engine: str = ""


@dataclass(frozen=True, kw_only=True)
class Input:
    """Something to segment.

    Attributes:
        source: What the user named, or found in it.
        files: Its files; several where each holds some of its channels.
        name: What its results are called.
    """

    source: Path
    files: tuple[Path, ...]
    name: str


def find_inputs(inputs: Sequence[str | Path], *, channels: Sequence[str] = ()) -> list[Input]:
    """Images that the inputs name: files and folders of a DICOM series themselves, images within other folders, matches
    of patterns; each once, in order.

    Args:
        inputs: Files, folders, patterns.
        channels: Names of the channels where these may lie in files of their own: folders of cases are then understood
            as `catenary.data.volumes.files_of_cases` does.

    Raises:
        InputError: An input names nothing.
    """
    found: dict[Path, None] = {}
    cases: list[Input] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir() and not is_series(path):
            parts = files_of_cases(path, channels) if channels else {}
            if parts:
                cases += [Input(source=files[0].parent, files=files, name=name) for name, files in parts.items()]
                continue
            files = [f for f in find_images(path) if not stem(f).endswith(_OURS)]
            if not files:
                raise InputError(
                    f"the folder {path} holds no images; give PNG, JPEG, BMP, TIFF, NIfTI, NRRD, MetaImage or DICOM"
                )
        elif path.exists() or not glob.has_magic(str(given)):
            if not path.exists():
                raise InputError(f"there is no file {path}; check the name")
            files = [path]
        else:
            files = sorted(Path(match) for match in glob.glob(str(given), recursive=True) if Path(match).is_file())
            if not files:
                raise InputError(f"no file matches '{given}'; check the pattern")
        found |= dict.fromkeys(files)
    if not found and not cases:
        raise InputError("no input was given; name files, folders or patterns")
    names = _names([*found])
    return cases + [Input(source=path, files=(path,), name=names[path]) for path in found]


def predict_files(
    predictor: Predictor,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    probability: bool = False,
    overlay: bool = False,
    dicom_seg: bool = False,
    model: Path | None = None,
    progress: Progress = silent,
) -> list[PredictionRecord]:
    """Segment every input and write ``<name>_mask`` and ``measurements.csv`` (and ``quantities.csv`` where the recipe
    names some). Masks of volumes have the format of the input, NIfTI for DICOM; else they are TIFF for TIFF, or PNG.

    An input that cannot be read becomes a record with an error; the others go on. The next image is read, and the last
    one written, while the network works.

    Args:
        predictor: The model.
        inputs: See `find_inputs`.
        out: Folder for the results.
        probability, overlay: Write the probabilities, and the mask over the image.
        dicom_seg: Write the masks of DICOM series as DICOM segmentations, too.
        model: Run or file of the model. With it, georeferenced images of very many pixels are done row by row, see
            `catenary.predict.large`.
        progress: Called after each input.

    Raises:
        InputError: No input was found.
        OutputError: The folder cannot be written.
    """
    every = find_inputs(inputs, channels=_channels(predictor))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    records: list[PredictionRecord] = []
    large = {one.name for one in every if model is not None and not overlay and is_large(one.files[0], predictor)}
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        waiting = []
        for done, (one, image) in enumerate(_read_ahead(every, reader, predictor, large), start=1):
            try:
                if image is None:
                    assert model is not None
                    records.append(_streamed(predictor, model, one, out, probability, progress))
                    continue
                if isinstance(image, CatenaryError):
                    raise image
                found = predictor(image, probability=probability)
                if orientation(one.files[0]) != 1:
                    turned = f"{one.source}: was turned upright as its EXIF orientation says; its mask is upright too"
                    found = replace(found, warnings=(*found.warnings, turned))
                mask = out / f"{one.name}_mask{_mask_ending(one.files[0], len(image.shape))}"
                # What is read as a volume but never written as one is DICOM.
                is_dicom = len(image.shape) == 3 and ending(one.files[0]) not in VOLUME_WRITERS
                series = one.files[0] if dicom_seg and is_dicom else None
                waiting.append(writer.submit(_write, found, mask, out / one.name, probability, overlay, series))
                records.append(
                    PredictionRecord(
                        source=one.source,
                        mask=mask,
                        warnings=found.warnings,
                        measurements=tuple(dict(row) for row in found.measurements),
                        quantities=tuple(dict(row) for row in found.quantities),
                        engine=predictor.engine.name,
                    )
                )
            except OutputError:
                raise
            except CatenaryError as error:
                records.append(PredictionRecord(source=one.source, error=str(error), engine=predictor.engine.name))
            while waiting and (len(waiting) > 2 or done == len(every)):
                waiting.pop(0).result()
            progress("segmenting", done, len(every))
        for last in waiting:
            last.result()
    _write_rows(out / "measurements.csv", COLUMNS, [(r, r.measurements) for r in records])
    if any(record.quantities for record in records):
        _write_rows(out / "quantities.csv", QUANTITY_COLUMNS, [(r, r.quantities) for r in records])
    return records


def _channels(predictor: Predictor) -> tuple[str, ...]:
    """Names of the channels, for scans whose sequences lie in files of their own."""
    card = predictor.card
    if card.rank == 2:
        return ()
    return card.channel_names or (tuple(f"{n:04d}" for n in range(card.channels)) if card.channels > 1 else ())


def _read_ahead(
    inputs: Sequence[Input], reader: ThreadPoolExecutor, predictor: Predictor, large: Collection[str]
) -> Iterator[tuple[Input, Image | CatenaryError | None]]:
    """Each input and its pixels, or why they cannot be had; None for one that is too large."""

    def read(one: Input) -> Image | CatenaryError | None:
        return None if one.name in large else _try_read(one, predictor)

    pending = reader.submit(read, inputs[0])
    for index, one in enumerate(inputs):
        image = pending.result()
        if index + 1 < len(inputs):
            pending = reader.submit(read, inputs[index + 1])
        yield one, image


def _streamed(
    predictor: Predictor, model: Path, one: Input, out: Path, probability: bool, progress: Progress
) -> PredictionRecord:
    mask, measurements, warnings = predict_large(
        predictor, model, one.files[0], out, one.name, probability=probability, progress=progress
    )
    return PredictionRecord(
        source=one.source, mask=mask, warnings=warnings, measurements=measurements, engine=predictor.engine.name
    )


def _try_read(one: Input, predictor: Predictor) -> Image | CatenaryError:
    try:
        if len(one.files) == 1:
            return read_image(one.files[0])
        labels = predictor.card.labels
        together = Dataset(root=one.source, name=one.name, layout="files of a case", cases=(), labels=labels)
        return together.read_image(Case(name=one.name, images=one.files, mask=None))
    except CatenaryError as error:
        return error


def _mask_ending(path: Path, rank: int) -> str:
    if rank == 3:
        return ending(path) if ending(path) in VOLUME_WRITERS else ".nii.gz"
    return ".tif" if ending(path) in (".tif", ".tiff") else ".png"


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """Stems; with the ending or the folder where two files share one."""
    names = {path: stem(path) for path in files}
    for longer in (lambda p: p.name.replace(".", "_"), lambda p: f"{p.parent.name}_{p.name.replace('.', '_')}"):
        taken = list(names.values())
        names = {path: longer(path) if taken.count(name) > 1 else name for path, name in names.items()}
    taken = list(names.values())
    return {
        path: f"{name}_{index}" if taken.count(name) > 1 else name for index, (path, name) in enumerate(names.items())
    }


def _write(
    found: Prediction, mask: Path, stem: Path, probability: bool, overlay: bool, series: Path | None = None
) -> None:
    found.save(mask)
    if series is not None:
        write_dicom_seg(stem.with_name(stem.name + "_seg.dcm"), found.mask, source=series, names=found.labels.names)
    if probability:
        found.save_probability(
            stem.with_name(stem.name + f"_probability{'.tif' if found.mask.ndim == 2 else '.nii.gz'}")
        )
    if overlay:
        found.save_overlay(stem.with_name(stem.name + "_overlay.png"))


def _write_rows(
    path: Path, columns: Sequence[str], rows: Sequence[tuple[PredictionRecord, Sequence[dict[str, Any]]]]
) -> None:
    known = [record.source.name for record, _ in rows]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("file", *columns))
        writer.writeheader()
        for record, found in rows:
            source = record.source.name if known.count(record.source.name) == 1 else str(record.source)
            for row in found:
                cells = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
                writer.writerow({"file": source} | cells)
