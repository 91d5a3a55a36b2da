"""The models of a pipeline for other programs: a folder of ONNX files, what a phone's browser loads, a static site."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catenary.errors import ConfigError, ModelError, OutputError, writing
from catenary.io.files import file_digest, write_json
from catenary.types import Image, Progress, silent
from catenary.workflow.pipeline import (
    PIPELINE,
    DiscStage,
    JudgeStage,
    Pipeline,
    QualityStage,
    read_pipeline,
)

if TYPE_CHECKING:
    from catenary.export.formats import Written
    from catenary.export.original import Original
    from catenary.predict import Card
    from catenary.workflow.export import Exported

__all__ = ["BUNDLE", "LARGEST", "SITE", "export_pipeline"]

#: What a phone reads first.
BUNDLE = "bundle.json"
FORMAT = "catenary.phone/1"
#: Bytes that the models of a phone may take together.
LARGEST = 40_000_000
#: Where the built page of the phone lies in the package.
SITE = Path(__file__).resolve().parents[1] / "serve" / "static" / "phone"
#: Photographs that copies are compared on.
PHOTOS = 32
_NAME = "cdr_vertical"


def export_pipeline(
    source: Path,
    *,
    to: str,
    out: str | Path | None = None,
    precision: str = "",
    data: Path | None = None,
    limit: float = 0.001,
    progress: Progress = silent,
) -> Exported:
    """Write every network of a pipeline as ONNX, with the list of stages; see `catenary.workflow.export`.

    Raises:
        ConfigError: The format is not for pipelines, or the pipeline does what phones do not.
        ModelError: A model is damaged, or its copy answers otherwise; the models are too large for a phone.
        OutputError: The folder is in use or cannot be written, or the page for the phone is not built.
    """
    from catenary.workflow.export import Exported

    if to not in ("onnx", "phone", "phone-site"):
        raise ConfigError(f"a pipeline is exported to onnx, phone or phone-site, found '{to}'; export its runs to {to}")
    pipeline, folder = read_pipeline(source)
    name = folder.resolve().name
    target = Path(out) if out is not None else folder.resolve().with_name(f"{name}-{to}")
    if target.is_file() or (target.exists() and any(target.iterdir())):
        raise OutputError(f"{target} is in use; choose a new folder for --out")
    if to == "phone-site":
        _check_page()
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as place:
            made = Path(place) / "made"
            inner = made / "models" / name if to == "phone-site" else made
            inner.mkdir(parents=True)
            precision = precision or ("fp32" if to == "onnx" else "fp16")
            written, notes = _write_models(pipeline, folder, inner, precision, data, limit, progress)
            if to == "onnx":
                _list_stages(pipeline, inner, written)
            else:
                write_bundle(pipeline, folder, inner, name, written)
            if to == "phone-site":
                _add_page(made, name, inner)
            made.chmod(0o755)
            if target.exists():  # empty, see above
                target.rmdir()
            made.rename(target)
    return Exported(path=target, written=tuple(written.values()), notes=notes)


def _write_models(
    pipeline: Pipeline,
    folder: Path,
    out: Path,
    precision: str,
    data: Path | None,
    limit: float,
    progress: Progress,
) -> tuple[dict[str, Written], tuple[str, ...]]:
    from catenary.export.formats import write
    from catenary.workflow.export import notes_of

    stages = [stage for stage in pipeline.stages if not isinstance(stage, QualityStage)]
    progress("looking at photos", 0, len(stages))
    pictures = {} if data is None else _seen_by_stage(folder, pipeline, data)
    written: dict[str, Written] = {}
    notes: list[str] = []
    for number, stage in enumerate(stages):
        progress(f"exporting {stage.name}", number, len(stages))
        original = _original(folder / stage.model, stage.name, pictures.get(stage.name, []), data)
        written[stage.name] = write(original, out / f"{stage.name}.onnx", to="onnx", precision=precision, limit=limit)
        notes += notes_of(original)
    progress("exporting", len(stages), len(stages))
    return written, tuple(notes)


def _original(model: Path, name: str, images: list[Image], data: Path | None) -> Original:
    from catenary.export.original import Original
    from catenary.predict.card import load_card
    from catenary.workflow.samples import Pictures

    if not images:
        return Original.opened(model, name=name)
    readers = tuple(lambda image=image: image for image in images)
    told = f"what its stage sees of {'' if data is None else data.name}"
    pictures = Pictures(check=readers[::2], ranges=readers[1::2], told=told)
    return Original.opened(model, name=name, samples=pictures.samples(load_card(model)), on=told)


def _seen_by_stage(folder: Path, pipeline: Pipeline, data: Path) -> dict[str, list[Image]]:
    """What each network sees of photographs: as the stages before it hand them on."""
    from catenary.workflow.samples import files_in
    from catenary.workflow.screen import open_pipeline

    stages = tuple(s.model_copy(update={"after": ""}) if isinstance(s, JudgeStage) else s for s in pipeline.stages)
    screener = open_pipeline(folder, engine="torch")
    screener.pipeline = Pipeline(stages=stages)  # whatever a judge says, the next one sees the photo too
    found: dict[str, list[Image]] = {stage.name: [] for stage in stages}
    files = files_in(data)
    for file in files[:: max(1, len(files) // PHOTOS)][:PHOTOS]:
        answer = screener(file)
        for stage in stages:
            if isinstance(stage, QualityStage) or answer.image is None:
                continue
            seen = answer.image
            if isinstance(stage, JudgeStage) and stage.sees == "disc":
                if stage.name not in answer.answers:
                    continue
                seen = answer.crop or seen
            found[stage.name].append(seen)
    return found


def _list_stages(pipeline: Pipeline, out: Path, written: dict[str, Written]) -> None:
    """The list of stages with the new files, and beside it what each file says of itself."""
    from catenary.workflow.export import record

    stages = [
        stage if isinstance(stage, QualityStage) else stage.model_copy(update={"model": f"{stage.name}.onnx"})
        for stage in pipeline.stages
    ]
    write_json(out / PIPELINE, Pipeline(stages=tuple(stages)).model_dump(mode="json"))
    record(out, [*written.values()])


def write_bundle(pipeline: Pipeline, folder: Path, out: Path, name: str, written: dict[str, Written]) -> Path:
    """Write ``bundle.json`` beside the models of a phone.

    Raises:
        ConfigError: A network averages over flips, which phones do not.
        ModelError: The models are too large together.
    """
    size = sum(one.size for one in written.values())
    if size > LARGEST:
        raise ModelError(
            f"the models take {size / 1e6:.1f} MB together and a phone loads {LARGEST / 1e6:.0f} MB at most; export "
            "with --precision int8, or train smaller networks"
        )
    stages = [*_stages(pipeline, folder, written)]
    version = hashlib.sha256(json.dumps(stages, sort_keys=True).encode()).hexdigest()
    bundle = {
        "format": FORMAT,
        "name": name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": version,
        "stages": stages,
    }
    return write_json(out / BUNDLE, bundle)


def _stages(pipeline: Pipeline, folder: Path, written: dict[str, Written]) -> Iterator[dict[str, Any]]:
    from catenary.predict.card import load_card

    for stage in pipeline.stages:
        if isinstance(stage, QualityStage):
            yield stage.model_dump(mode="json")
            continue
        card = load_card(folder / stage.model)
        if card.recipe.predict.tta:
            raise ConfigError(
                f"the network of '{stage.name}' averages over flips (predict.tta), which a phone does not; train it "
                "without"
            )
        model = _model(written[stage.name])
        if isinstance(stage, DiscStage):
            yield stage.model_dump(mode="json") | {
                "model": model,
                "measures": card.recipe.predict.measures == "disc",
                "ratio": _ratio(card),
            }
            continue
        described = written[stage.name].description
        yield stage.model_dump(mode="json") | {
            "model": model,
            "calibration": described["calibration"],
            "threshold": described["output"]["thresholds"][0],
            "operating": described["operating"],
            "judged": described["judged"],
            "familiar": described["familiar"],
        }


def _model(one: Written) -> dict[str, Any]:
    """A network as a phone needs to know it."""
    described = one.description
    warning = "compared with torch on made-up tiles only" if one.drift.made_up else ""
    return {
        "file": one.path.name,
        "bytes": one.size,
        "sha256": file_digest(one.path),
        "precision": described["precision"],
        "drift": described["drift"],
        "input": described["input"],
        "output": described["output"],
        "warning": warning,
    }


def _ratio(card: Card) -> dict[str, float] | None:
    """How far below and above a measured vertical ratio the truth lies, by the validation cases; None for too few."""
    from catenary.measures import with_error

    pairs, groups = [], []
    for case in card.quantities:
        for key, (_, truth) in case.truth.items():
            if key.startswith(_NAME) and key in case.prediction:
                pairs.append((truth, case.prediction[key][1]))
                groups.append(case.group)
    error = with_error(0.0, pairs, groups=groups)
    if error.low is None or error.high is None:
        return None
    return {"shift_low": -error.low, "shift_high": -error.high}


def _check_page() -> None:
    if not (SITE / "index.html").is_file():
        raise OutputError(
            "the page for the phone is not built; build it with `make web` (needs node), or export --to phone"
        )


def _add_page(site: Path, name: str, bundle: Path) -> None:
    """The built page around a bundle; every address in it is relative."""
    shutil.copytree(SITE, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("models", "models.json"))
    version = json.loads((bundle / BUNDLE).read_text("utf-8"))["version"]
    entry = {"name": name, "url": f"models/{name}/{BUNDLE}", "version": version}
    write_json(site / "models.json", [entry])
