"""`export`: a model, or the models of a pipeline, as files of other programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catenary.errors import ConfigError, InputError, OutputError, near_match
from catenary.types import Progress, silent

if TYPE_CHECKING:
    from catenary.export.formats import Written
    from catenary.export.original import Original

__all__ = ["LIMIT", "RECORD", "TARGETS", "Exported", "export"]

#: Largest share of pixels that may change class, a tenth of what Dice may lose; of classifiers, largest mean change
#: of a probability.
LIMIT = 0.001
#: What lies beside exported files and says the same as their metadata, file name -> description.
RECORD = "export.json"
#: What a model is exported to -> ending of its file, or "" for a folder.
TARGETS = {"onnx": ".onnx", "openvino": ".xml", "hdf5": ".h5", "phone": "", "phone-site": "", "bioimageio": ""}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What `export` wrote.

    Attributes:
        path: The file, or the folder.
        written: Each network in it.
        notes: What the user should know.
    """

    path: Path
    written: tuple[Written, ...]
    notes: tuple[str, ...] = ()


def export(
    source: str | Path,
    *,
    to: str = "onnx",
    out: str | Path | None = None,
    precision: str = "",
    data: str | Path | None = None,
    drift: float = LIMIT,
    progress: Progress = silent,
) -> Exported:
    """Write the model of a run, or those of a pipeline, for other programs; run each copy and compare it with torch.

    Args:
        source: Folder of a run, a model file, or the folder of a pipeline.
        to: ``"onnx"``, ``"openvino"`` or ``"hdf5"``; of a pipeline ``"onnx"``, ``"phone"`` or ``"phone-site"``; of a
            run also ``"bioimageio"``.
        out: The file, or the folder where there are several; beside the model when None.
        precision: ``"fp32"``, ``"fp16"`` (weights of 16 bits) or ``"int8"`` (weights and activations of 8 bits);
            "" takes fp16 for phones and fp32 otherwise.
        data: A data set, or a folder of images, on which copies are compared with torch; the run's own when None. Where
            that is not to be found, made-up tiles serve. int8 needs real images.
        drift: Largest share of pixels that may change class, a tenth of what Dice may lose; of classifiers, largest
            mean change of a probability.
        progress: Told of each network.

    Raises:
        ModelError: There is no model, it is damaged, or its copy answers otherwise.
        ConfigError: There is no such format or precision, or it is not for this kind of model.
        OutputError: The file is there already, or cannot be written.
        MissingExtra: The format's package is not installed.
    """
    from catenary.workflow.bundle import export_pipeline
    from catenary.workflow.pipeline import PIPELINE

    if to not in TARGETS:
        raise ConfigError(f"there is no format '{to}'; {near_match(to, TARGETS)}")
    if not 0 <= drift < 1:
        raise ConfigError(f"--drift is a share from 0 to 1, found {drift:g}; use 0.001 for 0.1 %")
    place = Path(data) if data is not None else None
    if place is not None and not place.exists():
        raise InputError(f"there is no data {place}; check the name")
    given = Path(source)
    if given.name == PIPELINE or (given / PIPELINE).is_file():
        return export_pipeline(given, to=to, out=out, precision=precision, data=place, limit=drift, progress=progress)
    if to in ("phone", "phone-site"):
        raise ConfigError(f"{to} takes a pipeline, found {source}; give a folder that `catenary pipeline` made")
    return _export_run(given, to, out, precision or "fp32", place, drift, progress)


def _export_run(
    run: Path, to: str, out: str | Path | None, precision: str, data: Path | None, limit: float, progress: Progress
) -> Exported:
    from catenary.export.formats import write
    from catenary.predict.card import model_path

    model = model_path(run)
    if to == "bioimageio":
        return _export_to_zoo(run, out, precision, data, limit)
    default = model.with_name(f"{model.stem}{'' if precision == 'fp32' else f'-{precision}'}{TARGETS[to]}")
    target = Path(out) if out is not None else default
    if target.is_dir():
        raise OutputError(f"{target} is a folder; give a file for --out, such as {target / default.name}")
    progress("opening the model", 0, 3)
    original = open_original(run, data)
    progress("converting and comparing", 1, 3)
    written = write(original, target, to=to, precision=precision, limit=limit)
    record(target.parent, [written])
    progress("done", 3, 3)
    return Exported(path=target, written=(written,), notes=notes_of(original))


def _export_to_zoo(run: Path, out: str | Path | None, precision: str, data: Path | None, limit: float) -> Exported:
    from catenary.export.bioimageio import write_bioimageio
    from catenary.predict.card import model_path

    target = Path(out) if out is not None else model_path(run).with_name("bioimageio")
    original = open_original(run, data)
    return Exported(
        path=target,
        written=(write_bioimageio(original, target, precision=precision, limit=limit),),
        notes=notes_of(original),
    )


def open_original(run: Path, data: Path | None) -> Original:
    """The model of a run, with tiles of the named data, of the run's own, or made-up ones."""
    from catenary.export.original import Original
    from catenary.predict.card import load_card, model_path
    from catenary.workflow.samples import pictures_in, pictures_of_run

    model = model_path(run)
    card = load_card(model)
    pictures = pictures_of_run(model.parent, card) if data is None else pictures_in(data, card)
    name = run.name if run.is_dir() else run.stem
    samples = None if pictures is None else pictures.samples(card)
    return Original.opened(model, name=name, samples=samples, on="" if pictures is None else pictures.told)


def notes_of(original: Original) -> tuple[str, ...]:
    """What the user should know of a comparison."""
    if not original.made_up:
        return ()
    return (
        f"{original.name}: its images were not found, so it was compared with torch on made-up tiles; name images with "
        "--data",
    )


def record(folder: Path, written: list[Written]) -> Path:
    """Enter exported files into the record beside them."""
    from catenary.io.files import write_json

    file = folder / RECORD
    try:
        known = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        known = {}
    known |= {one.path.name: one.description | {"bytes": one.size} for one in written}
    return write_json(file, {name: entry for name, entry in known.items() if (folder / name).exists()})
