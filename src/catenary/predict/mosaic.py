"""Images of any size, one date or two, in constant memory: read a row of tiles, predict, blend, write what is finished.

Finished rows lie as small GeoTIFFs in the folder ``unfinished/`` beside a ``state.json``; a VRT over them opens in any
GIS at any time. A row depends on nothing but the images and the model, so that a run goes on where it was killed, and
several processes may each do a part: the bytes are the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catenary.align import Aligned, read_alignment
from catenary.errors import ConfigError, InputError, OutputError
from catenary.io.files import file_digest, write_json
from catenary.io.geowrite import raster_writer, to_cog
from catenary.io.pieces import Piece, write_vrt
from catenary.io.raster import Raster, Scene, Stacked, Windowed, open_raster
from catenary.predict.card import model_path
from catenary.predict.predictor import Predictor
from catenary.predict.prepare import Coefficients
from catenary.predict.tiles import Tiling
from catenary.types import IGNORE, Progress, silent

__all__ = [
    "UNFINISHED",
    "MosaicFiles",
    "MosaicJob",
    "begin_mosaic",
    "check_bands",
    "finish_mosaic",
    "predict_rows",
    "rows_left",
]

UNFINISHED, STATE = "unfinished", "state.json"
#: Longer side of the overview that tells the colours of a scene.
OVERVIEW = 2048
#: So many columns are read at a time, which bounds what warping and moving them takes.
COLUMNS = 4096


@dataclass(frozen=True, kw_only=True)
class MosaicFiles:
    """What `finish_mosaic` wrote: Cloud Optimized GeoTIFFs on the grid of the (earlier) image.

    Attributes:
        classes: Class index of each pixel, with a colour table, and a mask of where it is known.
        confidence: Probability of that class times 255.
        probability: That of each logit times 255; None when nobody asked for it.
    """

    classes: Path
    confidence: Path
    probability: Path | None


@dataclass(frozen=True, kw_only=True)
class MosaicJob:
    """What is predicted and how; plain data, which travels between processes and is kept as ``state.json``.

    Attributes:
        images: One image, or the one before and the one after.
        crs: Coordinate reference system of each where its file states none.
        alignment: File of the displacement of the second image; None for none.
        folder: Where unfinished rows go.
        shape: Rows and columns of the result.
        coefficients: What pixels are normalised with, a list a coefficient.
        fill: Value of each channel where there is no data.
        grow: Pixels by which the area without data grows, because answers beside it lean on what was filled in.
        probability: Keep probabilities too.
        inputs: Size and time of change of the images, and a hash of the model: what must not change under way.
    """

    images: tuple[Path, ...]
    crs: tuple[str | None, ...]
    alignment: Path | None
    folder: Path
    shape: tuple[int, int]
    coefficients: tuple[tuple[float, ...] | None, ...]
    fill: tuple[float, ...]
    grow: int
    probability: bool
    inputs: dict[str, Any]

    @contextmanager
    def opened(self) -> Iterator[tuple[Raster, Scene]]:
        """The first image, whose grid counts, and all channels as one."""
        with ExitStack() as stack:
            first, *later = (
                stack.enter_context(open_raster(path, crs=crs)) for path, crs in zip(self.images, self.crs, strict=True)
            )
            views: list[Scene] = [first]
            for raster in later:
                view: Scene = stack.enter_context(raster.onto(first))
                if self.alignment is not None:
                    view = Aligned(view, read_alignment(self.alignment))
                views.append(view)
            yield first, views[0] if len(views) == 1 else Stacked(views)


def begin_mosaic(
    predictor: Predictor,
    model: Path,
    images: tuple[Path, ...],
    out: Path,
    *,
    crs: tuple[str | None, ...] = (),
    alignment: Path | None = None,
    grow: int = 8,
    probability: bool = False,
    resume: bool = False,
) -> MosaicJob:
    """Look at the images once, from afar, and lay down what is to be done; or take up what was begun.

    Args:
        predictor: The opened model.
        model: Its run or file.
        images: One georeferenced image, or the one before and the one after.
        out: Folder of the result.
        crs, alignment, grow, probability: See `MosaicJob`.
        resume: Go on with unfinished rows; they must be of the same images, model and settings.

    Raises:
        InputError: An image cannot be read or placed, the two have no pixel in common, or their channels do not suit.
        ConfigError: Something unfinished lies there and `resume` is not said, or it is of another job; or the model
            cannot predict without seeing the whole image.
    """
    if predictor.card.recipe.prepare.size:
        raise ConfigError(
            f"this model brings images to {predictor.card.recipe.prepare.size} pixels, which a mosaic has not; train "
            "one with --set prepare.size=0"
        )
    if weight := predictor.card.recipe.predict.refine:
        raise ConfigError(
            f"this model refines its outlines (predict.refine = {weight:g}), which is not done for a mosaic; train one "
            "with --set predict.refine=0"
        )
    if predictor.card.labels.task == "overlapping":
        raise ConfigError(
            f"a mosaic gets one class a pixel, but {', '.join(predictor.card.labels.regions)} overlap; cut it into "
            "images of moderate size"
        )
    inputs = {
        "model": file_digest(model_path(model)),
        "engine": predictor.engine.name,
        "images": [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in images if path.is_file()],
        "alignment": None if alignment is None else file_digest(alignment),
        "tiles": [*predictor.tile_settings],
        "disaster": predictor.disaster,
    }
    job = MosaicJob(
        images=images, crs=crs or (None,) * len(images), alignment=alignment, folder=out / UNFINISHED, shape=(0, 0),
        coefficients=(), fill=(), grow=grow, probability=probability, inputs=inputs,
    )  # fmt: skip
    if job.folder.exists():
        return _taken_up(job, resume)
    check_bands(predictor, images, job.crs)
    if predictor.normaliser.mode == "local":
        raise ConfigError(
            "the model looks at local contrast (prepare.normalise=local), which needs whole images; predict them "
            "without --pre, or train with --set prepare.normalise=image"
        )
    with job.opened() as (first, source):
        view = source.overview(OVERVIEW)
        known = view.valid if view.valid is not None else np.ones(view.shape, bool)
        if view.array.dtype.kind == "f":
            known = known & np.isfinite(view.array).all(axis=0)
        if not known.any():
            what = "have no pixel in common" if len(images) > 1 else "holds no data"
            raise InputError(f"{' and '.join(map(str, images))} {what}; give images of one place")
        coefficients = predictor.normaliser.coefficients(view.array, known)
        fill = tuple(float(plane[known].mean()) for plane in view.array)
        job = replace(
            job,
            shape=first.shape,
            coefficients=tuple(None if c is None else tuple(map(float, c)) for c in coefficients),
            fill=fill,
        )
    write_json(job.folder / STATE, _record(job))
    return job


def check_bands(predictor: Predictor, images: tuple[Path, ...], crs: tuple[str | None, ...]) -> None:
    """Say that images have other bands than the model knows.

    Raises:
        InputError: They have.
    """
    bands = []
    for path, name in zip(images, crs, strict=True):
        with open_raster(path, crs=name) as raster:
            bands.append(raster.bands)
    if sum(bands) != predictor.card.channels:
        told = " and ".join(f"{path} {number}" for path, number in zip(images, bands, strict=True))
        raise InputError(
            f"the model was trained on {predictor.card.channels} channels, found {told}; give the bands it was "
            "trained on"
        )


def _record(job: MosaicJob) -> dict[str, Any]:
    return {
        "images": [str(path) for path in job.images],
        "crs": list(job.crs),
        "alignment": None if job.alignment is None else str(job.alignment),
        "shape": list(job.shape),
        "coefficients": [None if c is None else list(c) for c in job.coefficients],
        "fill": list(job.fill),
        "grow": job.grow,
        "probability": job.probability,
        "inputs": job.inputs,
    }


def _taken_up(job: MosaicJob, resume: bool) -> MosaicJob:
    """The job that lies in the folder, if it is this one."""
    if not resume:
        raise OutputError(f"{job.folder} holds an unfinished prediction; add --resume to go on, or remove it")
    try:
        record = json.loads((job.folder / STATE).read_text("utf-8"))
        found = replace(
            job,
            shape=tuple(record["shape"]),
            coefficients=tuple(None if c is None else tuple(c) for c in record["coefficients"]),
            fill=tuple(record["fill"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{job.folder} cannot be gone on with ({error}); remove it and begin again") from error
    now = _record(found)
    changed = [key for key in now if key != "inputs" and now[key] != record[key]]
    changed += [key for key in job.inputs if record["inputs"].get(key) != job.inputs[key]]
    if changed:
        raise ConfigError(
            f"{job.folder} was begun with another {changed[0]}; use the same again, or remove the folder to begin anew"
        )
    return found


def rows_left(predictor: Predictor, job: MosaicJob) -> list[int]:
    """Numbers of the rows of tiles whose finished rows are not there yet."""
    tops = _tiling(predictor, job).starts(0)
    return [number for number in range(len(tops)) if not _piece(job, number).is_file()]


def predict_rows(predictor: Predictor, job: MosaicJob, first: int, last: int, *, progress: Progress = silent) -> None:
    """Predict the bands of the rows of tiles `first` to `last` (not included) and write them.

    Raises:
        InputError: An image is damaged there.
        OutputError: The folder cannot be written.
    """
    tiling, labels = _tiling(predictor, job), predictor.card.labels
    tops = tiling.starts(0)
    bands = 2 + (labels.channels if job.probability else 0)
    with job.opened() as (grid, source):
        reader = _Reader(source, job, tiling)
        coefficients = _coefficients(job)
        found = predictor.blended(reader.rows, tiling, coefficients, first=first, last=last)
        for number, band in zip(range(first, last), found, strict=True):
            top = tops[number]
            height, width = min(band.shape[1], job.shape[0] - top), job.shape[1]
            if height <= 0:
                continue  # only padding below
            band = band[:, :height, :width]
            planes = _planes(predictor, band, bands)
            valid = reader.known(top, height)
            planes[0][~valid] = IGNORE
            with raster_writer(
                _piece(job, number), shape=(height, width), grid=grid.grid.window(top, 0), bands=bands, mask=True,
                block=256,
            ) as writer:  # fmt: skip
                writer.write(0, 0, planes, valid)
            _write_vrts(job, predictor, grid, tops)
            progress("predicting", top + height, job.shape[0])


def finish_mosaic(
    predictor: Predictor, job: MosaicJob, out: Path, *, stem: str, keep: bool = False, progress: Progress = silent
) -> MosaicFiles:
    """Join all rows to Cloud Optimized GeoTIFFs in `out`, and remove what was unfinished unless told to `keep` it.

    Raises:
        OutputError: A row is missing, or the files cannot be written.
    """
    left = rows_left(predictor, job)
    if left:
        raise OutputError(f"{len(left)} parts of {job.folder} are missing; add --resume to make them")
    with job.opened() as (grid, _):
        vrts = _write_vrts(job, predictor, grid, _tiling(predictor, job).starts(0))
    files = {name: out / (f"{stem}.tif" if name == "classes" else f"{name}.tif") for name in vrts}
    for name, vrt in vrts.items():
        to_cog(vrt, files[name], resampling="mode" if name == "classes" else "average", progress=progress)
    if not keep:
        shutil.rmtree(job.folder)
    return MosaicFiles(classes=files["classes"], confidence=files["confidence"], probability=files.get("probability"))


class _Reader:
    """Rows of tiles from a source, each pixel read once; what holds no data is filled."""

    def __init__(self, source: Windowed, job: MosaicJob, tiling: Tiling) -> None:
        self._source, self._tiling, self._grow = source, tiling, job.grow
        self._height, self._width = job.shape
        self._fill = job.fill
        self._top = 0
        self._array: NDArray[Any] | None = None
        self._valid = np.zeros((0, self._width), bool)

    def rows(self, top: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """See `catenary.predict.tiles.Rows`; mirrored beyond the image's right and lower border."""
        th, width = self._tiling.tile[0], self._tiling.shape[1]
        self._reach(max(0, top - self._grow), min(self._height, top + th + self._grow))
        assert self._array is not None
        inside = slice(top - self._top, min(self._height, top + th) - self._top)
        array, valid = self._array[:, inside], self._valid[inside]
        down, right = th - array.shape[1], width - self._width
        if down or right:
            array = np.pad(array, [(0, 0), (0, down), (0, right)], mode="reflect")
            valid = np.pad(valid, [(0, down), (0, right)], mode="reflect")
        return array, valid

    def known(self, row: int, height: int) -> NDArray[np.bool_]:
        """Where the answers of some rows are known: with data, and not beside a place without."""
        low, high = max(0, row - self._grow), min(self._height, row + height + self._grow)
        valid = self._valid[low - self._top : high - self._top]
        if self._grow:
            side = 2 * self._grow + 1
            valid = cv2.erode(valid.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        return valid[row - low : row - low + height]

    def _reach(self, low: int, high: int) -> None:
        """Hold the rows from `low` to `high`."""
        if self._array is None:
            self._top, end = low, low
        else:
            end = self._top + self._valid.shape[0]
            self._array, self._valid = self._array[:, low - self._top :], self._valid[low - self._top :]
            self._top = low
        if high <= end:
            return
        parts = []
        for column in range(0, self._width, COLUMNS):
            image = self._source.read(end, column, high - end, min(COLUMNS, self._width - column))
            assert image.valid is not None
            known = image.valid
            if image.array.dtype.kind == "f":
                known = known & np.isfinite(image.array).all(axis=0)
            for plane, value in zip(image.array, self._fill, strict=True):
                plane[~known] = value if plane.dtype.kind == "f" else round(value)
            parts.append((image.array, known))
        array = np.concatenate([part for part, _ in parts], axis=2)
        valid = np.concatenate([part for _, part in parts], axis=1)
        self._array = array if self._array is None else np.concatenate([self._array, array], axis=1)
        self._valid = np.concatenate([self._valid, valid])


def _planes(predictor: Predictor, band: NDArray[np.float32], bands: int) -> NDArray[np.uint8]:
    """Class, confidence and, where there is room, every probability as planes of 8 bits."""
    planes = np.empty((bands, *band.shape[1:]), np.uint8)
    decided = predictor.decide(band)
    planes[0] = decided
    if len(band) > 1:
        best = np.take_along_axis(band, decided[None].astype(np.intp), axis=0)[0]
    else:
        best = np.where(decided == 1, band[0], 1 - band[0])
    planes[1] = np.rint(best * 255)
    if bands > 2:
        planes[2:] = np.rint(band * 255)
    return planes


def _tiling(predictor: Predictor, job: MosaicJob) -> Tiling:
    return predictor.tiling(job.shape)


def _coefficients(job: MosaicJob) -> Coefficients:
    scale, offset, low, high = (None if c is None else np.asarray(c, np.float32) for c in job.coefficients)
    assert scale is not None
    assert offset is not None
    return scale, offset, low, high


def _piece(job: MosaicJob, number: int) -> Path:
    return job.folder / f"rows-{number:05d}.tif"


def _write_vrts(job: MosaicJob, predictor: Predictor, grid: Raster, tops: tuple[int, ...]) -> dict[str, Path]:
    """Views over all finished rows: one a kind of result."""
    heights = [min(end, job.shape[0]) - top for top, end in zip(tops, (*tops[1:], job.shape[0]), strict=True)]
    pieces = [
        Piece(path=_piece(job, number), row=top, height=height)
        for number, (top, height) in enumerate(zip(tops, heights, strict=True))
        if _piece(job, number).is_file()
    ]
    labels = predictor.card.labels
    colours = {index: labels.display_colour(index) for index in range(labels.count)}
    write = partial(write_vrt, pieces=pieces, shape=job.shape, grid=grid.grid)
    found = {
        "classes": write(job.folder / "classes.vrt", bands=(1,), colours=colours),
        "confidence": write(job.folder / "confidence.vrt", bands=(2,)),
    }
    if job.probability:
        found["probability"] = write(job.folder / "probability.vrt", bands=tuple(range(3, 3 + labels.channels)))
    return found
