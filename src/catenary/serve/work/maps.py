"""A georeferenced image, or two dates of one place, as a map: rasters, buildings, a page, and tiles for a viewer."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catenary.io.files import atomic
from catenary.io.layers import open_layer
from catenary.io.outlines import geo_extra, reproject
from catenary.predict import Predictor
from catenary.serve.catalogue import Target, targets_of
from catenary.serve.tiles import CONFIDENCE, bounds_of, with_overviews, zooms_of
from catenary.serve.work.output import Output, Task, Teller

__all__ = ["map_place"]


def map_place(task: Task, predictor: Predictor, place: Path, tell: Teller) -> tuple[dict[str, Any], Output]:
    """Make a map; what an interrupted try has left is gone on with.

    Returns:
        The view, and the files.

    Raises:
        InputError: An image cannot be read or placed, or the two have nothing in common.
    """
    from catenary.predict.mosaic import UNFINISHED
    from catenary.workflow.mosaic import MapScene, MapSettings, check_scene, map_scene

    out = Output(task)
    pre, *posts = (*task.paths("image"), *task.paths("post"))
    footprints = next(iter(task.paths("footprints")), None)
    buildings = bool(posts) or footprints is not None or bool(task.options.get("vectors"))
    scene = MapScene(
        pre=pre, post=posts[0] if posts else None, footprints=footprints, out=task.folder, title=task.name
    )  # fmt: skip
    settings = MapSettings(
        align=task.options.get("align", "auto"),
        vectors="gpkg" if buildings else None,
        outlines=task.options.get("outlines", "simple"),
    )
    resume = (task.folder / UNFINISHED).exists()
    if not resume:  # what is left by one that was killed at its very end
        shutil.rmtree(task.folder)
        task.folder.mkdir()
    check_scene(scene, settings, resume=resume)
    mapped = map_scene(predictor, place, scene, settings, resume=resume, progress=tell)
    for path, role in ((mapped.files.classes, "raster"), (mapped.files.confidence, "raster"), (mapped.page, "report")):
        out.add(path.name, role)
    out.add("summary.json", "table")
    address = None
    if mapped.buildings is not None:
        out.add(mapped.buildings.path.name, "vectors")
        tell("drawing buildings", 0, 0)
        _to_geojson(mapped.buildings.path, task.folder / "buildings.geojson")
        address = out.add("buildings.geojson", "vectors")
    if mapped.alignment is not None:
        out.add(mapped.alignment.name, "table")
    for image in (pre, *posts):
        with_overviews(image)
    labels = predictor.card.labels
    targets = targets_of(labels, predictor.card.thresholds)
    least, most = zooms_of(mapped.files.classes)
    summary = json.loads((task.folder / "summary.json").read_text("utf-8"))
    summary["images"] = [task.readable(one) for one in summary["images"]]
    summary["alignment"] = None if mapped.alignment is None else mapped.alignment.name
    view = {
        "kind": "map",
        "bounds": bounds_of(mapped.files.classes),
        "minzoom": least,
        "maxzoom": most,
        "layers": _layers(task, targets, dates=1 + len(posts)),
        "rasters": {
            "damage": mapped.files.classes.name,
            "confidence": mapped.files.confidence.name,
            "pre": pre.name,
            **({"post": posts[0].name} if posts else {}),
        },
        "buildings": address,
        "targets": [one.told() for one in targets],
        "summary": summary,
        "warnings": [task.readable(note) for note in mapped.notes],
    }
    return view, out


def _layers(task: Task, targets: Sequence[Target], *, dates: int) -> list[dict[str, Any]]:
    """What can be laid onto the map, from below."""
    names = {"pre": "Before" if dates == 2 else "Image", "post": "After"}
    layers: list[dict[str, Any]] = [{"id": key, "name": names[key], "legend": None} for key in ("pre", "post")[:dates]]
    legend = [{"name": one.name, "color": one.color} for one in targets]
    layers.append({"id": "damage", "name": "Damage" if dates == 2 else "Classes", "legend": legend})
    layers.append({"id": "confidence", "name": "Confidence", "legend": CONFIDENCE})
    for layer in layers:
        layer["tiles"] = f"/api/jobs/{task.id}/tiles/{layer['id']}/{{z}}/{{x}}/{{y}}.png"
    return layers


def _to_geojson(source: Path, target: Path) -> None:
    """Buildings in longitudes and latitudes, for a viewer in the browser."""
    with geo_extra():
        import shapely
        from pyogrio import raw

    layer = open_layer(source)
    meta, _, found, values = raw.read(source)
    outlines = reproject(shapely.from_wkb(found), layer.crs, "EPSG:4326")
    features = []
    for number, outline in enumerate(outlines):
        properties = {name: _plain(column[number]) for name, column in zip(meta["fields"], values, strict=True)}
        geometry = None if outline is None else json.loads(shapely.to_geojson(outline))
        features.append({"type": "Feature", "id": number, "properties": properties, "geometry": _rounded(geometry)})
    with atomic(target) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(value: Any) -> Any:
    """Coordinates to a hundredth of a metre or so, which is a third of the bytes."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 7) if isinstance(value, float) else value
