"""`screen`: photographs through the stages of a pipeline, each with an answer or the stage that stopped it and why."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import CatenaryError, writing
from catenary.io import read_image
from catenary.io.files import atomic, write_json
from catenary.measures.disc import Disc, disc_of, planes_of
from catenary.measures.fundus import Quality, eye_from_disc, eye_of, quality_of
from catenary.predict.around import around
from catenary.types import Image, Progress, silent
from catenary.workflow.pipeline import DiscStage, JudgeStage, Pipeline, QualityStage, read_pipeline

if TYPE_CHECKING:
    from catenary.predict import Predictor
    from catenary.predict.classify import Classified, ClassPredictor
    from catenary.report.screening import Sheet

__all__ = ["COLUMNS", "Screened", "Screener", "open_pipeline", "screen", "sheet_of"]

#: A disc fills this share of the ellipse of its height and width, and is at most so many times as long as wide.
FILLED, LONG = 0.8, 1.6
#: One row a photo; what every pipeline can say.
COLUMNS = (
    "photo", "result", "stopped_at", "reason", "quality", "vcdr", "vcdr_low", "vcdr_high", "eye", "warnings", "seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Screened:
    """What the stages say of one photo.

    Attributes:
        source: The file.
        stopped_at: Name of the stage that stopped it; empty when every stage that was due has answered.
        reason: Why, in plain words.
        image: The photo; None when it cannot be read.
        quality: What the quality gate saw.
        mask: Disc and cup: 0 background, 1 rim, 2 cup.
        disc: Its measurements.
        vcdr: Vertical cup-to-disc ratio with its 95 % interval from validation cases: value, low, high; None where it
            is not defined.
        crop: What the judges saw, where that was a part of the photo.
        answers: Stage -> what a judge says.
        warnings: What makes the answers doubtful.
        seconds: Time from the file to the answer.
    """

    source: Path
    stopped_at: str = ""
    reason: str = ""
    image: Image | None = None
    quality: Quality | None = None
    mask: NDArray[np.uint8] | None = None
    disc: Disc | None = None
    vcdr: tuple[float, float | None, float | None] | None = None
    crop: Image | None = None
    answers: dict[str, Classified] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def result(self) -> str:
        """The last answer in a word or two; "no answer" where a stage stopped it."""
        if self.stopped_at:
            return "no answer"
        last = next(reversed(self.answers.values()), None)
        return "disc measured" if last is None else ", ".join(one.name for one in self.answers.values())

    def row(self) -> dict[str, Any]:
        """The `COLUMNS`, and for each judge its class, probability, interval and threshold."""
        value, low, high = self.vcdr or (None, None, None)
        found: dict[str, Any] = {
            "photo": self.source.name,
            "result": self.result,
            "stopped_at": self.stopped_at,
            "reason": self.reason,
            "quality": None if self.quality is None else self.quality.verdict,
            "vcdr": value,
            "vcdr_low": low,
            "vcdr_high": high,
            "eye": None if self.disc is None else self.disc.eye,
            "warnings": "; ".join(self.warnings),
            "seconds": round(self.seconds, 3),
        }
        for stage, one in self.answers.items():
            low, high = one.interval or (None, None)
            found |= {
                stage: one.name,
                f"p({stage})": float(one.probability[1]),
                f"p({stage})_low": low,
                f"p({stage})_high": high,
                f"{stage}_threshold": one.threshold,
            }
        return found


class Screener:
    """A pipeline with its models open; call it with a file.

    Args:
        pipeline: The stages.
        finder: The model of the disc stage, where there is one.
        judges: Stage -> model of those that classify.
    """

    def __init__(self, pipeline: Pipeline, finder: Predictor | None, judges: dict[str, ClassPredictor]) -> None:
        self.pipeline = pipeline
        self._finder, self._judges = finder, judges

    @property
    def models(self) -> tuple[Predictor | ClassPredictor, ...]:
        """All that are open."""
        return (*([] if self._finder is None else [self._finder]), *self._judges.values())

    def __call__(self, source: str | Path) -> Screened:
        """Screen one photo; whatever is wrong with it is in the answer."""
        start = time.perf_counter()
        found = self._run(Path(source))
        return _with(found, seconds=time.perf_counter() - start)

    def _run(self, source: Path) -> Screened:
        try:
            image = read_image(source)
        except CatenaryError as error:
            return Screened(source=source, stopped_at="reading", reason=str(error))
        found = Screened(source=source, image=image)
        for stage in self.pipeline.stages:
            try:
                if isinstance(stage, QualityStage):
                    found = _gate(found, image, stage)
                elif isinstance(stage, DiscStage):
                    found = self._find_disc(found, image, stage)
                elif not stage.after or (stage.after in found.answers and found.answers[stage.after].label == 1):
                    found = self._judge(found, image, stage)
            except CatenaryError as error:
                return _with(found, stopped_at=stage.name, reason=str(error))
            if found.stopped_at:
                return found
        return found

    def _find_disc(self, found: Screened, image: Image, stage: DiscStage) -> Screened:
        assert self._finder is not None
        prediction = self._finder(image)
        whole, cup = planes_of(prediction.mask, prediction.labels)
        mask = (whole.astype(np.uint8) + cup).astype(np.uint8)
        measured = disc_of(whole, cup, spacing=image.grid.spacing)
        found = _with(found, mask=mask, disc=measured, warnings=(*found.warnings, *prediction.warnings))
        why = measured.finding if measured.disc_parts != 1 or measured.centre is None else _no_disc_shape(measured)
        if why or measured.centre is None:
            reason = f"{why}; take the photo again, with the disc well in view"
            return _with(found, stopped_at=stage.name, reason=reason)
        eye = eye_of(found.source.stem)
        if eye is None and found.quality is not None and found.quality.field is not None:
            eye = eye_from_disc(measured.centre, found.quality.field)
        measured = disc_of(whole, cup, eye=eye, spacing=image.grid.spacing)
        rows = [row for row in prediction.quantities if row["quantity"] == "cdr_vertical"]
        vcdr = None
        if measured.cdr_vertical is not None:
            vcdr = (measured.cdr_vertical, *((rows[0]["low"], rows[0]["high"]) if rows else (None, None)))
        more = tuple(
            text for text in measured.finding.split("; ") if text and "whose eye" not in text
        )  # stands in the facts
        crop = around(image, whole, stage.margin)
        return _with(found, disc=measured, vcdr=vcdr, crop=crop, warnings=(*found.warnings, *more))

    def _judge(self, found: Screened, image: Image, stage: JudgeStage) -> Screened:
        seen = image if stage.sees == "photo" or found.crop is None else found.crop
        answer = self._judges[stage.name](seen)
        return _with(
            found,
            answers=found.answers | {stage.name: answer},
            warnings=(*found.warnings, *(f"{stage.name}: {text}" for text in answer.warnings)),
        )


def _no_disc_shape(one: Disc) -> str:
    """Why what was found cannot be a disc by its shape; empty where it can."""
    height, width, area = one.disc_height or 0.0, one.disc_width or 0.0, one.disc_area or 0.0
    if not height or not width or area < FILLED * math.pi / 4 * height * width:
        return "what was found has not the shape of an optic disc"
    return "" if max(height, width) <= LONG * min(height, width) else "what was found is too long for an optic disc"


def _gate(found: Screened, image: Image, stage: QualityStage) -> Screened:
    if image.array.dtype != np.uint8 or image.channels != 3:
        reason = (
            f"a photo has three channels of 8 bit, found {image.channels} of {image.array.dtype}; give a colour photo"
        )
        return _with(found, stopped_at=stage.name, reason=reason)
    quality = quality_of(image.array)
    found = _with(found, quality=quality)
    if quality.verdict == "reject" or (stage.least == "good" and quality.verdict != "good"):
        return _with(found, stopped_at=stage.name, reason="; ".join(quality.reasons))
    return _with(found, warnings=(*found.warnings, *quality.reasons))


def _with(found: Screened, **changes: Any) -> Screened:
    return replace(found, **changes)


def open_pipeline(path: str | Path, *, engine: str = "auto") -> Screener:
    """Open a pipeline with all its models.

    Args:
        path: The folder that `catenary.workflow.pipeline` made.
        engine: See `catenary.workflow.load`; ``"auto"`` is full precision: faster engines that change the class of a
            pixel in thousands still move a ratio or a probability of one photo, and a photo takes a second either way.

    Raises:
        ModelError: There is no pipeline, or a model is damaged or of the wrong kind.
    """
    from catenary.predict import open_predictor
    from catenary.predict.classify import open_classifier

    found, folder = read_pipeline(path)
    if engine == "auto":
        engine = "onnx" if find_spec("onnxruntime") else "torch"
    finders = [open_predictor(folder / s.model, engine=engine) for s in found.stages if isinstance(s, DiscStage)]
    judges = {
        s.name: open_classifier(folder / s.model, engine=engine) for s in found.stages if isinstance(s, JudgeStage)
    }
    return Screener(found, finders[0] if finders else None, judges)


def screen(
    pipeline: str | Path,
    photos: Sequence[str | Path],
    *,
    out: str | Path,
    engine: str = "auto",
    progress: Progress = silent,
) -> list[Screened]:
    """Screen photographs: ``screening.csv`` and ``screening.json`` with a row each, ``report.html`` with a page each.

    Args:
        pipeline: The folder that `catenary.workflow.pipeline` made.
        photos: Files, folders and patterns.
        out: Folder for the results, made when needed.
        engine: See `open_pipeline`.
        progress: Called after each photo.

    Returns:
        One answer a photo, without the pixels of all but the last.

    Raises:
        ModelError: The pipeline cannot be opened.
        InputError: No photo was found.
        OutputError: The folder cannot be written.
    """
    from catenary.predict.files import find_inputs
    from catenary.report.screening import write_screening

    folder = Path(out)
    inputs = find_inputs(photos)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    screener = open_pipeline(pipeline, engine=engine)
    done: list[Screened] = []
    sheets: list[Sheet] = []
    for number, one in enumerate(inputs, start=1):
        found = screener(one.source)
        sheets.append(sheet_of(found))
        done.append(_with(found, image=None, mask=None, crop=None))  # a thousand photos would fill the memory
        progress("screening", number, len(inputs))
    names = [one.source.name for one in done]
    rows = [one.row() | ({"photo": str(one.source)} if names.count(one.source.name) > 1 else {}) for one in done]
    columns = list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)]))
    with atomic(folder / "screening.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    write_json(folder / "screening.json", {"pipeline": list(screener.pipeline.names), "photos": rows})
    write_screening(sheets, screener.pipeline.names, folder / "report.html")
    return done


def sheet_of(found: Screened) -> Sheet:
    """What the page of a screening shows of a photo."""
    from catenary.report.screening import Gauge, Sheet, disc_pictures
    from catenary.report.words import number

    measured = found.mask if found.stopped_at == "" else None
    photo, disc = ("", "") if found.image is None else disc_pictures(found.image.array, measured)
    facts = []
    if found.vcdr is not None:
        value, low, high = found.vcdr
        expected = "" if low is None else f" ({number(low, 2)} to {number(high, 2)})"
        facts.append(("Vertical cup-to-disc ratio", f"{number(value, 2)}{expected}"))
    if found.disc is not None and not found.stopped_at:
        one = found.disc
        facts.append(("Horizontal cup-to-disc ratio", number(one.cdr_horizontal, 2)))
        rims = {
            "inferior": one.rim_inferior,
            "superior": one.rim_superior,
            "nasal": one.rim_nasal,
            "temporal": one.rim_temporal,
        }
        height = one.disc_height or 1.0
        told = [f"{name} {number(rim / height, 2)}" for name, rim in rims.items() if rim is not None]
        facts.append(("Rim over disc height", ", ".join(told)))
        if one.rim_thinnest is not None and one.thinnest_at is not None:
            clock = round(one.thinnest_at / 30) % 12 or 12
            facts.append(
                ("Thinnest rim over disc", f"{number(one.rim_thinnest, 2)}, at {clock} o'clock in the picture")
            )
        if one.isnt is not None:
            facts.append(("Inferior ≥ superior ≥ nasal ≥ temporal", "holds" if one.isnt else "does not hold"))
        facts.append(("Eye", one.eye or "not known"))
    if found.quality is not None:
        facts.append(("Quality", found.quality.verdict))
    gauges = tuple(
        Gauge(
            name=stage, found=one.name, positive=one.label == 1, value=float(one.probability[1]),
            low=one.interval[0] if one.interval else None, high=one.interval[1] if one.interval else None,
            threshold=one.threshold or 0.5,
        )
        for stage, one in found.answers.items()
    )  # fmt: skip
    return Sheet(
        name=found.source.name,
        result=found.result,
        stopped_at=found.stopped_at,
        reason=found.reason.rstrip("."),
        photo=photo,
        disc=disc,
        quality="" if found.quality is None else found.quality.verdict,
        vcdr=None if found.vcdr is None else found.vcdr[0],
        gauges=gauges,
        facts=tuple(facts),
        warnings=found.warnings,
    )
