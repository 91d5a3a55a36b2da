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
from catenary.errors import InputError, OutputError, writing
from catenary.io.files import write_json
from catenary.io.layers import open_layer
from catenary.io.meridian import meet
from catenary.io.raster import Scene, open_raster
from catenary.types import Progress, silent

if TYPE_CHECKING:
    from catenary.predict import Predictor
    from catenary.predict.buildings import BuildingSummary
    from catenary.predict.mosaic import MosaicFiles, MosaicJob

__all__ = [
    "MapScene", "MapSettings", "Mapped", "begin_scene", "check_scene", "finish_scene", "map_scene", "predict_mosaic",
    "predictor_of",
]  # fmt: skip

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


@dataclass(frozen=True, kw_only=True)
class MapScene:
    """A place to map; plain data, which travels between processes.

    Attributes:
        pre: The image; of two dates the earlier one, whose grid counts.
        post: The later image, in any CRS and resolution.
        footprints: Vector file of building outlines that damage is told for; the map's own buildings when None.
        out: Folder of the results.
        title: Of the page; the name of `out` when empty.
    """

    pre: Path
    post: Path | None = None
    footprints: Path | None = None
    out: Path
    title: str = ""

    @property
    def images(self) -> tuple[Path, ...]:
        """One image or two."""
        return (self.pre,) if self.post is None else (self.pre, self.post)

    @property
    def stem(self) -> str:
        """What the raster of classes is called."""
        return "classes" if self.post is None else "damage"

    @property
    def finished(self) -> bool:
        """Whether its map is there."""
        from catenary.predict.mosaic import UNFINISHED

        return (self.out / f"{self.stem}.tif").exists() and not (self.out / UNFINISHED).exists()


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """How places are mapped; plain data.

    Attributes:
        align: ``"auto"`` measures how `post` is displaced and undoes it, ``"none"`` does not, else a file that
            ``catenary align`` wrote.
        pre_crs, post_crs, footprints_crs: Coordinate reference system of a file that states none.
        vectors: Format of the buildings, which are made for two dates or footprints, or when a format is given.
        outlines: How the map's own buildings are drawn, see `catenary.predict.buildings.buildings_of_map`.
        engine, tta, overlap, disaster: See `catenary.workflow.predict`.
        grow: Pixels by which areas without data grow.
        probability: Write the probability of every class too.
    """

    align: str | Path = "auto"
    pre_crs: str | None = None
    post_crs: str | None = None
    footprints_crs: str | None = None
    vectors: Literal["gpkg", "fgb", "geojson"] | None = None
    outlines: Literal["pixels", "simple", "regular"] = "simple"
    engine: str = "auto"
    tta: bool = False
    overlap: float | None = None
    disaster: str = ""
    grow: int = 8
    probability: bool = False

    def crs(self, scene: MapScene) -> tuple[str | None, ...]:
        """What is said of each image."""
        return (self.pre_crs, self.post_crs)[: len(scene.images)]


def predict_mosaic(
    run: str | Path,
    pre: str | Path,
    post: str | Path | None = None,
    *,
    out: str | Path,
    footprints: str | Path | None = None,
    settings: MapSettings | None = None,
    resume: bool = False,
    cluster: str | None = None,
    workers: int = 2,
    progress: Progress = silent,
) -> Mapped:
    """Predict georeferenced images of any size in constant memory, on the grid of `pre`.

    Writes Cloud Optimized GeoTIFFs (``classes.tif`` or, for two dates, ``damage.tif``; ``confidence.tif``), for two
    dates buildings as vectors, and ``map.html``. `catenary.workflow.predict_mosaics` maps several places.

    Args:
        run: Folder of a run, or a model file.
        pre, post, footprints, out: See `MapScene`.
        settings: How; the defaults of `MapSettings` when None.
        resume: Go on with what an interrupted call left.
        cluster: Run parts as Ray tasks: ``"local"``, or the address of a cluster that shares this file system.
        workers: Tasks at a time on a local cluster.
        progress: Told of all long steps.

    Raises:
        ModelError: The model cannot be opened.
        InputError: An image cannot be read or placed, or the two have nothing in common.
        ConfigError: A setting does not suit.
        OutputError: The folder cannot be written, or holds a result or, without `resume`, an unfinished one.
        MissingExtra: A package of ``catenary[geo]`` or ``catenary[cluster]`` is not installed.
    """
    settings = settings or MapSettings()
    scene = MapScene(
        pre=Path(pre), post=None if post is None else Path(post), out=Path(out),
        footprints=None if footprints is None else Path(footprints),
    )  # fmt: skip
    check_scene(scene, settings, resume=resume)
    predictor = predictor_of(Path(run), settings)
    if cluster is not None:
        from catenary.workflow.cluster import map_on_cluster

        found = map_on_cluster(
            Path(run), {"": scene}, settings, predictor, address=cluster, workers=workers, progress=progress,
        )[""]  # fmt: skip
        if isinstance(found, Exception):
            raise found
        return found
    return map_scene(predictor, Path(run), scene, settings, resume=resume, progress=progress)


def predictor_of(run: Path, settings: MapSettings) -> Predictor:
    """The model, opened as `settings` say."""
    from catenary.predict import open_predictor

    return open_predictor(
        run, engine=settings.engine, tta=settings.tta, overlap=settings.overlap, disaster=settings.disaster
    )


def check_scene(scene: MapScene, settings: MapSettings, *, resume: bool) -> None:
    """Say what cannot be opened, or lies elsewhere, before anything is done.

    Raises:
        InputError: A file cannot be read or placed, the dates have no place in common, or no footprint lies there.
        OutputError: The result is there already, or, without `resume`, an unfinished one.
    """
    from catenary.predict.mosaic import UNFINISHED

    if (scene.out / UNFINISHED).exists() and not resume:
        raise OutputError(
            f"{scene.out / UNFINISHED} holds an unfinished prediction; add --resume to go on, or remove it"
        )
    if scene.finished:
        raise OutputError(f"{scene.out} already holds a {scene.stem}.tif; choose another --out")
    with ExitStack() as stack:
        first, *later = [
            stack.enter_context(open_raster(path, crs=name))
            for path, name in zip(scene.images, settings.crs(scene), strict=True)
        ]
        for other in later:
            if not meet(other.bounds, other.grid.crs or "", first.bounds, first.grid.crs or ""):
                raise InputError(
                    f"{first.path} and {other.path} have no place in common; give images of one place, or correct "
                    "their CRS (--pre-crs, --post-crs)"
                )
        if scene.footprints is not None:
            layer = open_layer(scene.footprints, crs=settings.footprints_crs)
            if not meet(layer.bounds, layer.crs, first.bounds, first.grid.crs or ""):
                raise InputError(
                    f"no footprint of {layer.path} lies on {scene.pre}; check the CRS of both (--footprints-crs, "
                    "--pre-crs), or give those of this place"
                )


def map_scene(
    predictor: Predictor, run: Path, scene: MapScene, settings: MapSettings, *, resume: bool, progress: Progress
) -> Mapped:
    """Map a place in this process."""
    from catenary.predict.mosaic import predict_rows, rows_left

    started = time.time()
    job = begin_scene(predictor, run, scene, settings, resume=resume, progress=progress)
    for first, last in runs(rows_left(predictor, job)):
        predict_rows(predictor, job, first, last, progress=progress)
    return finish_scene(predictor, job, scene, settings, started=started, progress=progress)


def begin_scene(
    predictor: Predictor, run: Path, scene: MapScene, settings: MapSettings, *, resume: bool, progress: Progress
) -> MosaicJob:
    """Measure how the dates are displaced, and lay down what is to be done."""
    from catenary.predict.mosaic import begin_mosaic, check_bands

    crs = settings.crs(scene)
    check_bands(predictor, scene.images, crs)
    with writing(scene.out):
        scene.out.mkdir(parents=True, exist_ok=True)
    try:
        alignment = None if scene.post is None else _alignment(settings.align, scene.images, crs, scene.out, progress)
        return begin_mosaic(
            predictor, run, scene.images, scene.out, crs=crs, alignment=alignment, grow=settings.grow,
            probability=settings.probability, resume=resume,
        )  # fmt: skip
    except InputError:
        if not any(scene.out.iterdir()):
            scene.out.rmdir()
        raise


def finish_scene(
    predictor: Predictor,
    job: MosaicJob,
    scene: MapScene,
    settings: MapSettings,
    *,
    started: float,
    progress: Progress,
) -> Mapped:
    """Join the rows, trace or grade the buildings, write the page."""
    from catenary.predict.mosaic import finish_mosaic

    files = finish_mosaic(predictor, job, scene.out, stem=scene.stem, keep=True, progress=progress)
    buildings = None
    if scene.post is not None or scene.footprints is not None or settings.vectors is not None:
        buildings = _buildings(predictor, files, scene, settings, progress)
    notes = [*predictor.notes, *_notes(buildings)]
    page = _page(predictor, job, files, buildings, notes, scene)
    minutes = (time.time() - started) / 60
    done = Mapped(
        files=files, buildings=buildings, alignment=job.alignment, page=page, engine=predictor.engine.name,
        minutes=minutes, notes=tuple(notes),
    )  # fmt: skip
    write_json(scene.out / SUMMARY, _summary(done, job))
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
    predictor: Predictor, files: MosaicFiles, scene: MapScene, settings: MapSettings, progress: Progress
) -> BuildingSummary:
    from catenary.predict.buildings import buildings_of_footprints, buildings_of_map

    labels, path = predictor.card.labels, scene.out / f"buildings.{settings.vectors or 'gpkg'}"
    if scene.footprints is None:
        return buildings_of_map(
            files.classes, files.confidence, path, labels=labels, outlines=settings.outlines, progress=progress
        )
    return buildings_of_footprints(
        files.classes, files.confidence, scene.footprints, path, labels=labels, crs=settings.footprints_crs,
        progress=progress,
    )  # fmt: skip


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
    notes: list[str],
    scene: MapScene,
) -> Path:
    from catenary.report.mappage import write_map_page

    names = ("image",) if len(job.images) == 1 else ("before", "after")
    known: Alignment | None = None if job.alignment is None else read_alignment(job.alignment)
    facts = {
        "images": ", ".join(path.name for path in job.images),
        "model": str(predictor.card.recipe.name),
        "engine": predictor.engine.name,
        "buildings": "found on the map" if scene.footprints is None else scene.footprints.name,
    }
    with ExitStack() as stack:
        first = stack.enter_context(open_raster(job.images[0], crs=job.crs[0]))
        shown: dict[str, Scene] = {names[0]: first}
        for path, crs, name in zip(job.images[1:], job.crs[1:], names[1:], strict=True):
            view: Scene = stack.enter_context(stack.enter_context(open_raster(path, crs=crs)).onto(first))
            shown[name] = view if known is None else Aligned(view, known)
        return write_map_page(
            scene.out / MAP,
            title=scene.title or scene.out.resolve().name,
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
