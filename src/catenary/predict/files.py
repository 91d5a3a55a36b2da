"""From files, folders and globs to masks on disk."""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catenary.errors import CatenaryError, InputError, OutputError, writing
from catenary.io import IMAGE_SUFFIXES, orientation, read_image
from catenary.io.files import atomic
from catenary.predict.measure import COLUMNS
from catenary.predict.predictor import Predictor
from catenary.predict.quantities import COLUMNS as QUANTITY_COLUMNS
from catenary.types import Image, Progress, silent

__all__ = ["PredictionRecord", "find_inputs", "predict_files"]

#: Endings of results, so that a folder of results is not segmented again.
_OURS = ("_mask", "_overlay", "_probability")


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


def find_inputs(inputs: Sequence[str | Path]) -> list[Path]:
    """Files that the inputs name: files themselves, images within folders, matches of patterns; each once, in order.

    Raises:
        InputError: An input names nothing.
    """
    found: dict[Path, None] = {}
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
            files = [f for f in files if not f.stem.endswith(_OURS)]
            if not files:
                raise InputError(f"the folder {path} holds no images; give PNG, JPEG, BMP or TIFF files")
        elif path.exists() or not glob.has_magic(str(given)):
            if not path.exists():
                raise InputError(f"there is no file {path}; check the name")
            files = [path]
        else:
            files = sorted(Path(match) for match in glob.glob(str(given), recursive=True) if Path(match).is_file())
            if not files:
                raise InputError(f"no file matches '{given}'; check the pattern")
        found |= dict.fromkeys(files)
    if not found:
        raise InputError("no input was given; name files, folders or patterns")
    return list(found)


def predict_files(
    predictor: Predictor,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    probability: bool = False,
    overlay: bool = False,
    progress: Progress = silent,
) -> list[PredictionRecord]:
    """Segment every input and write ``<stem>_mask`` (TIFF for TIFF inputs, else PNG) and ``measurements.csv``
    (and ``quantities.csv`` where the recipe names some).

    A file that cannot be read becomes a record with an error; the others go on. The next image is read, and the last
    one written, while the network works.

    Raises:
        InputError: No input was found.
        OutputError: The folder cannot be written.
    """
    files = find_inputs(inputs)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    records: list[PredictionRecord] = []
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        waiting = []
        for done, (path, name, image) in enumerate(_read_ahead(files, reader), start=1):
            try:
                if isinstance(image, CatenaryError):
                    raise image
                found = predictor(image, probability=probability)
                if orientation(path) != 1:
                    turned = f"{path}: was turned upright as its EXIF orientation says; its mask is upright too"
                    found = replace(found, warnings=(*found.warnings, turned))
                mask = out / f"{name}_mask{'.tif' if path.suffix.lower() in ('.tif', '.tiff') else '.png'}"
                waiting.append(writer.submit(_write, found, mask, out / name, probability, overlay))
                records.append(
                    PredictionRecord(
                        source=path,
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
                records.append(PredictionRecord(source=path, error=str(error), engine=predictor.engine.name))
            while waiting and (len(waiting) > 2 or done == len(files)):
                waiting.pop(0).result()
            progress("segmenting", done, len(files))
        for last in waiting:
            last.result()
    _write_rows(out / "measurements.csv", COLUMNS, [(r, r.measurements) for r in records])
    if any(record.quantities for record in records):
        _write_rows(out / "quantities.csv", QUANTITY_COLUMNS, [(r, r.quantities) for r in records])
    return records


def _read_ahead(files: Sequence[Path], reader: ThreadPoolExecutor) -> Iterator[tuple[Path, str, Image | CatenaryError]]:
    """Each file with a unique name for its results and its pixels, or why they cannot be had."""
    names = _names(files)
    pending = reader.submit(_try_read, files[0])
    for index, path in enumerate(files):
        image = pending.result()
        if index + 1 < len(files):
            pending = reader.submit(_try_read, files[index + 1])
        yield path, names[path], image


def _try_read(path: Path) -> Image | CatenaryError:
    try:
        return read_image(path)
    except CatenaryError as error:
        return error


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """Stems; with the ending or the folder where two files share one."""
    names = {path: path.stem for path in files}
    for longer in (lambda p: p.name.replace(".", "_"), lambda p: f"{p.parent.name}_{p.name.replace('.', '_')}"):
        taken = list(names.values())
        names = {path: longer(path) if taken.count(name) > 1 else name for path, name in names.items()}
    taken = list(names.values())
    return {
        path: f"{name}_{index}" if taken.count(name) > 1 else name for index, (path, name) in enumerate(names.items())
    }


def _write(found: Any, mask: Path, stem: Path, probability: bool, overlay: bool) -> None:
    found.save(mask)
    if probability:
        found.save_probability(stem.with_name(stem.name + "_probability.tif"))
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
