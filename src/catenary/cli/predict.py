"""``catenary predict``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catenary.cli.options import Run
from catenary.errors import ConfigError

if TYPE_CHECKING:
    from catenary.workflow import MapSettings

__all__ = ["predict"]


class Engine(StrEnum):
    """What runs the network."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"
    onnx = "onnx"


class Vectors(StrEnum):
    """Formats of vector files."""

    gpkg = "gpkg"
    fgb = "fgb"
    geojson = "geojson"


class Outlines(StrEnum):
    """How the map's own buildings are drawn."""

    pixels = "pixels"
    simple = "simple"
    regular = "regular"


PANEL = "Maps"


def for_maps(metavar: str, help: str, *, least: int | None = None) -> Any:
    """An option for maps."""
    return typer.Option(metavar=metavar, help=help, min=least, rich_help_panel=PANEL)


def predict(
    run: Run,
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder of the results.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]",
            show_default=False,
            help="Images, scans, folders of them or of a DICOM series, or patterns: 'in/*.png'.",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(metavar="|".join(Engine), help="What runs the network; auto: the fastest that agrees.")
    ] = Engine.auto,
    tta: Annotated[bool, typer.Option("--tta", help="Average the answers to the flipped images too.")] = False,
    probability: Annotated[bool, typer.Option("--probability", help="Write the probabilities too.")] = False,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the mask drawn over the image too.")] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.95,
            metavar="SHARE",
            help="Share of a tile that neighbours share; the run's own when not given.",
        ),
    ] = None,
    other: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="RUN", help="A further run that answers too, averaged; may be repeated."),
    ] = None,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Write masks of DICOM series as DICOM segmentations too.")
    ] = False,
    disaster: Annotated[
        str, typer.Option(metavar="NAME", help="Type of the disaster, for a run that was trained to be told.")
    ] = "",
    pre: Annotated[
        list[Path] | None,
        for_maps(
            "FILE|DIR",
            "A georeferenced image of any size; with --post the earlier one, whose grid counts. Repeat it, or give a "
            "folder, for several places.",
        ),
    ] = None,
    post: Annotated[
        list[Path] | None,
        for_maps("FILE|DIR", "The later image of the place, in any CRS and resolution; in the order of --pre."),
    ] = None,
    footprints: Annotated[
        list[Path] | None,
        for_maps("FILE|DIR", "Outlines of buildings to grade, for all places or one each; else the map's own."),
    ] = None,
    align: Annotated[
        str,
        for_maps("auto|none|FILE", "Undo the displacement of --post: measured, not at all, or as `align` found it."),
    ] = "auto",
    pre_crs: Annotated[str | None, for_maps("CRS", "CRS of --pre where it states none.")] = None,
    post_crs: Annotated[str | None, for_maps("CRS", "CRS of --post where it states none.")] = None,
    footprints_crs: Annotated[str | None, for_maps("CRS", "CRS of --footprints where it states none.")] = None,
    vectors: Annotated[
        Vectors | None, for_maps("|".join(Vectors), "Format of the buildings; without --post, asks for them.")
    ] = None,
    outlines: Annotated[
        Outlines,
        for_maps("|".join(Outlines), "How the map's own buildings are drawn: as pixels, smoothed, right-angled."),
    ] = Outlines.simple,
    grow: Annotated[int, for_maps("PIXELS", "How far areas without data grow.", least=0)] = 8,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was interrupted.", rich_help_panel=PANEL)
    ] = False,
    cluster: Annotated[
        str | None,
        for_maps("local|ADDRESS", "Run places and parts as Ray tasks, here or on others that share the files."),
    ] = None,
    workers: Annotated[int, for_maps("N", "Tasks at a time on a local cluster.", least=1)] = 2,
) -> int:
    """Segment images of any size.

    Writes one mask an image, of the image's own size, and measurements.csv. An input that cannot be read is named at
    the end, and the exit code is 2; the others are done all the same.

    With --pre, georeferenced images of any size become maps in constant memory: Cloud Optimized GeoTIFFs, and for two
    dates buildings with their damage and a page to look at. Of several places each gets a folder of its name.

    Examples:
        catenary predict runs/skin photo.jpg --out masks
        catenary predict runs/skin 'new/*.tif' more/ --out masks --overlay --tta
        catenary predict runs/damage --pre before.tif --post after.tif --footprints houses.gpkg --out map
        catenary predict runs/damage --pre before/ --post after/ --out maps --cluster local
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    if pre and inputs:
        raise ConfigError(f"--pre is for maps, found INPUT {inputs[0]} besides; give one of the two")
    if not pre and (post or not inputs):
        raise ConfigError("nothing to predict was named; give INPUT, or --pre (and --post) for maps")
    if pre:
        settings = workflow.MapSettings(
            align=align,
            pre_crs=pre_crs,
            post_crs=post_crs,
            footprints_crs=footprints_crs,
            vectors=vectors.value if vectors else None,
            outlines=outlines.value,
            engine=engine.value,
            tta=tta,
            overlap=overlap,
            disaster=disaster,
            grow=grow,
            probability=probability,
        )
        return _map(run, pre, post or [], footprints or [], out, settings, resume, cluster, workers)
    with show_progress() as progress:
        records = workflow.predict(
            run,
            inputs or [],
            out=out,
            engine=engine.value,
            tta=tta,
            probability=probability,
            overlay=overlay,
            overlap=overlap,
            others=other or [],
            dicom_seg=dicom_seg,
            disaster=disaster,
            progress=progress,
        )
    return show.predictions(records, out)


def _map(
    run: Path,
    pre: list[Path],
    post: list[Path],
    footprints: list[Path],
    out: Path,
    settings: MapSettings,
    resume: bool,
    cluster: str | None,
    workers: int,
) -> int:
    """Maps of one place, straight into `out`, or of several."""
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress

    scenes = workflow.find_scenes(pre, post, footprints, out=out)
    if len(pre) > 1 or pre[0].is_dir():
        with show_progress() as progress:
            records = workflow.predict_mosaics(
                run, scenes, out=out, settings=settings, resume=resume, cluster=cluster, workers=workers,
                progress=progress,
            )  # fmt: skip
        return show.scenes(records, out)
    (scene,) = scenes.values()
    with show_progress() as progress:
        mapped = workflow.predict_mosaic(
            run, scene.pre, scene.post, footprints=scene.footprints, out=out, settings=settings, resume=resume,
            cluster=cluster, workers=workers, progress=progress,
        )  # fmt: skip
    show.mapped(mapped)
    return 0
