"""`predict_mosaic`: a map of any size from one image or a pair of dates, with its buildings and a page to look at."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from catenary.align import Aligned, Alignment, align_rasters, read_alignment
from catenary.errors import OutputError, writing
from catenary.io.files import write_json
from catenary.io.outline_files import open_layer
from catenary.io.raster import Scene, open_raster
from catenary.types import Progress, silent

if TYPE_CHECKING:
    from catenary.predict import Predictor
    from catenary.predict.buildings import BuildingSummary
    from catenary.predict.mosaic import MosaicFiles, MosaicJob

__all__ = ["Mapped", "predict_mosaic"]

ALIGNMENT, MAP, SUMMARY = "alignment.json", "map.html", "summary.json"


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What `predict_mosaic` made.

    Attributes:
        files: The rasters.
        buildings: The vector file and its counts; None for a model that does not grade buildings.
        alignment: How the later image was displaced; None for one image, or when nobody wanted it.
        page: The map page.
        engine: What ran the network.
        minutes: How long it took, this time.
        notes: What the user should know.
    """

    files: MosaicFiles
    buildings: BuildingSummary | None
    alignment: Path | None
    page: Path
    engine: str
    minutes: float
    notes: tuple[str, ...]


def predict_mosaic(
    run: str | Path,
    pre: str | Path,
    post: str | Path | None = None,
    *,
    out: str | Path,
    footprints: str | Path | None = None,
    align: str | Path = "auto",
    pre_crs: str | None = None,
    post_crs: str | None = None,
    footprints_crs: str | None = None,
    vectors: Literal["gpkg", "fgb", "geojson"] | None = None,
    outlines: Literal["pixels", "simple", "regular"] = "simple",
    engine: str = "auto",
    tta: bool = False,
    overlap: float | None = None,
    grow: int = 8,
    probability: bool = False,
    resume: bool = False,
    cluster: str | None = None,
    workers: int = 2,
    predictor: Predictor | None = None,
    title: str = "",
    progress: Progress = silent,
) -> Mapped:
    """Predict georeferenced images of any size in constant memory, on the grid of `pre`.

    Writes Cloud Optimized GeoTIFFs (``classes.tif`` or, for two dates, ``damage.tif``; ``confidence.tif``), for two
    dates buildings as vectors, and ``map.html``.

    Args:
        run: Folder of a run, or a model file.
        pre: The image; of two dates the earlier one, whose grid counts.
        post: The later image, in any CRS and resolution.
        out: Folder of the results.
        footprints: Vector file of building outlines that damage is told for; the map's own buildings when None.
        align: ``"auto"`` measures how `post` is displaced and undoes it, ``"none"`` does not, else a file that
            ``catenary align`` wrote.
        pre_crs, post_crs, footprints_crs: Coordinate reference system of a file that states none.
        vectors: Format of the buildings, which are made for two dates or footprints, or when a format is given.
        outlines: How the map's own buildings are drawn, see `catenary.predict.buildings.buildings_of_map`.
        engine, tta, overlap: See `catenary.workflow.predict`.
        grow: Pixels by which areas without data grow.
        probability: Write the probability of every class too.
        resume: Go on with what an interrupted call left.
        cluster: Run parts as Ray tasks: ``"local"``, or the address of a cluster that shares this file system.
        workers: Tasks at a time on a local cluster.
        predictor: The opened model of `run`, where somebody has it; `engine`, `tta` and `overlap` are then its own.
        title: Of the page; the folder's name when empty.
        progress: Told of all long steps.

    Raises:
        ModelError: The model cannot be opened.
        InputError: An image cannot be read or placed, or the two have nothing in common.
        ConfigError: A setting does not suit.
        OutputError: The folder cannot be written, or holds a result or, without `resume`, an unfinished one.
        MissingExtra: A package of ``catenary[geo]`` or ``catenary[cluster]`` is not installed.
    """
    from catenary.predict import open_predictor
    from catenary.predict.mosaic import UNFINISHED, begin_mosaic, finish_mosaic, predict_rows, rows_left

    started, folder = time.perf_counter(), Path(out)
    stem = "classes" if post is None else "damage"
    images = tuple(Path(image) for image in (pre, post) if image is not None)
    crs = (pre_crs, post_crs)[: len(images)]
    if (folder / f"{stem}.tif").exists() and not (folder / UNFINISHED).exists():
        raise OutputError(f"{folder} already holds a {stem}.tif; choose another --out")
    with ExitStack() as stack:  # what cannot be opened is said before anything is done
        for path, name in zip(images, crs, strict=True):
            stack.enter_context(open_raster(path, crs=name))
    if footprints is not None:
        open_layer(footprints, crs=footprints_crs)
    if predictor is None:
        predictor = open_predictor(Path(run), engine=engine, tta=tta, overlap=overlap)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    alignment = _alignment(align, images, crs, folder, progress) if len(images) > 1 else None
    job = begin_mosaic(
        predictor, Path(run), images, folder, crs=crs, alignment=alignment, grow=grow, probability=probability,
        resume=resume,
    )  # fmt: skip
    if cluster is None:
        for first, last in runs(rows_left(predictor, job)):
            predict_rows(predictor, job, first, last, progress=progress)
    else:
        from catenary.workflow.cluster import predict_on_cluster

        options = {"engine": engine, "tta": tta, "overlap": overlap}
        predict_on_cluster(Path(run), options, predictor, job, address=cluster, workers=workers, progress=progress)
    files = finish_mosaic(predictor, job, folder, stem=stem, keep=True, progress=progress)
    buildings = None
    if post is not None or footprints is not None or vectors is not None:
        buildings = _buildings(
            predictor, files, footprints, footprints_crs, folder / f"buildings.{vectors or 'gpkg'}", outlines, progress
        )
    notes = [*predictor.notes, *_notes(buildings)]
    page = _page(predictor, job, files, buildings, folder, notes, footprints, title)
    minutes = (time.perf_counter() - started) / 60
    done = Mapped(
        files=files, buildings=buildings, alignment=alignment, page=page, engine=predictor.engine.name,
        minutes=minutes, notes=tuple(notes),
    )  # fmt: skip
    write_json(folder / SUMMARY, _summary(done, job))
    shutil.rmtree(job.folder)  # from here on there is nothing to go on with
    return done


def _alignment(
    align: str | Path, images: tuple[Path, ...], crs: tuple[str | None, ...], folder: Path, progress: Progress
) -> Path | None:
    """The file of the displacement, measured unless it lies there already."""
    if str(align) == "none":
        return None
    if str(align) != "auto":
        read_alignment(align)
        return Path(align)
    path = folder / ALIGNMENT
    if not path.exists():
        with (
            open_raster(images[0], crs=crs[0]) as first,
            open_raster(images[1], crs=crs[1]) as original,
            original.onto(first) as second,
        ):
            align_rasters(first, second, progress=progress).save(path)
    return path


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Stretches of successive numbers, as first and last (not included).

    >>> runs([0, 1, 4]), runs([])
    ([(0, 2), (4, 5)], [])
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def _buildings(
    predictor: Predictor,
    files: MosaicFiles,
    footprints: str | Path | None,
    crs: str | None,
    path: Path,
    outlines: Literal["pixels", "simple", "regular"],
    progress: Progress,
) -> BuildingSummary:
    from catenary.predict.buildings import buildings_of_footprints, buildings_of_map

    labels = predictor.card.labels
    if footprints is None:
        return buildings_of_map(
            files.classes, files.confidence, path, labels=labels, outlines=outlines, progress=progress
        )
    return buildings_of_footprints(
        files.classes, files.confidence, footprints, path, labels=labels, crs=crs, progress=progress
    )


def _notes(buildings: BuildingSummary | None) -> list[str]:
    """What a reader of the counts should know; of the alignment the page tells itself."""
    found = []
    if buildings is not None and buildings.repaired:
        found.append(f"{buildings.repaired} footprints have invalid outlines and were measured as repaired")
    if buildings is not None and buildings.no_data:
        found.append(f"{buildings.no_data} footprints lie where the images hold no data")
    return found


def _page(
    predictor: Predictor,
    job: MosaicJob,
    files: MosaicFiles,
    buildings: BuildingSummary | None,
    folder: Path,
    notes: list[str],
    footprints: str | Path | None,
    title: str,
) -> Path:
    from catenary.report.mappage import write_map_page

    names = ("image",) if len(job.images) == 1 else ("before", "after")
    known: Alignment | None = None if job.alignment is None else read_alignment(job.alignment)
    facts = {
        "images": ", ".join(path.name for path in job.images),
        "model": str(predictor.card.recipe.name),
        "engine": predictor.engine.name,
        "buildings": "found on the map" if footprints is None else Path(footprints).name,
    }
    with ExitStack() as stack:
        first = stack.enter_context(open_raster(job.images[0], crs=job.crs[0]))
        shown: dict[str, Scene] = {names[0]: first}
        for path, crs, name in zip(job.images[1:], job.crs[1:], names[1:], strict=True):
            view: Scene = stack.enter_context(stack.enter_context(open_raster(path, crs=crs)).onto(first))
            shown[name] = view if known is None else Aligned(view, known)
        return write_map_page(
            folder / MAP,
            title=title or folder.resolve().name,
            images=shown,
            classes=files.classes,
            confidence=files.confidence,
            labels=predictor.card.labels,
            buildings=None if buildings is None else buildings.path,
            alignment=known,
            notes=notes,
            facts=facts,
        )


def _summary(done: Mapped, job: MosaicJob) -> Mapping[str, object]:
    counted = done.buildings
    return {
        "images": [str(path) for path in job.images],
        "rows": job.shape[0],
        "columns": job.shape[1],
        "engine": done.engine,
        "buildings": None
        if counted is None
        else {
            "count": counted.count,
            "grades": counted.grades,
            "no_building": counted.no_building,
            "no_data": counted.no_data,
            "repaired": counted.repaired,
        },
        "alignment": None if done.alignment is None else str(done.alignment),
        "minutes": round(done.minutes, 2),
        "notes": list(done.notes),
    }
