"""A prediction as a map: one HTML file with the images, the damage and the doubts, for a browser, paper and a GIS."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catenary.align import Alignment
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.io.files import write_text
from catenary.io.raster import Raster, Scene, open_raster
from catenary.report.html import TEMPLATES, fill, provenance_rows
from catenary.report.mapdata import Buildings, Sheet, read_buildings, unsure_cells
from catenary.report.mappictures import Covers, class_covers, doubts, photos, tint
from catenary.report.words import count, figures, number, percent
from catenary.types import Progress, silent

__all__ = ["write_map_page"]

#: Bytes of a page, to which the images are fitted.
BUDGET = 4_900_000
#: Buildings in view up to which each has a line around and a pattern.
FEW = 2000
#: Buildings in the table.
WORST = 50
#: Longitudes and latitudes are given at so many places along each side, and lie evenly between them.
NODES = 17
#: The map is not narrower or wider than this, width over height.
NARROW, WIDE = 0.75, 1.5
#: Colour of doubt, and of what has no grade.
DOUBT, NO_GRADE = (170, 0, 150), (150, 150, 150)


def write_map_page(
    out: str | Path,
    *,
    title: str,
    images: Mapping[str, Scene],
    classes: str | Path,
    confidence: str | Path,
    labels: LabelSet,
    buildings: str | Path | None = None,
    alignment: Alignment | None = None,
    notes: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Path:
    """Write a map of a prediction as one HTML file of at most about 5 MB that needs nothing else, no network either.

    It shows the images (two with a swipe between them), classes, confidence, buildings and places of unsure
    alignment, counts and areas by grade, and the worst-hit buildings with their coordinates. It works with keyboard,
    mouse and touch, tells grades by pattern and name besides colour, and keeps pictures and tables on paper and
    without JavaScript. Pictures are overviews of at most `catenary.report.mappictures.SIDE` pixels; areas are counted
    at full resolution, window by window.

    Args:
        out: The new file, ``.html``.
        title: What the page is called.
        images: One image or two, such as ``{"before": ..., "after": ...}``, on the grid of `classes`.
        classes: GeoTIFF of class indices, uint8, one band; 255, a nodata value or a mask say where nothing is known.
        confidence: GeoTIFF on the same grid, uint8: probability of the winning class times 255.
        labels: The classes: background, then the grades from the least to the gravest.
        buildings: Vector file of `catenary.predict.buildings`, in any CRS. Of at most
            `catenary.report.mapdata.MOST` each one can be clicked, more are drawn into a picture.
        alignment: Of the two images; where it is not reliable, the map says so.
        notes: What the reader has to know.
        facts: Model, date, command, engine and so on, by name; `command` is shown as one to repeat.
        progress: Told of the windows and of the buildings.

    Returns:
        The file.

    Raises:
        ConfigError: There is no image, or more than two.
        InputError: A file cannot be used, or sizes differ.
        OutputError: The file cannot be written; what stood there before is untouched.
        MissingExtra: A package of ``catenary[geo]`` is not installed.
    """
    if not 1 <= len(images) <= 2:
        raise ConfigError(f"a map page shows one image or two, found {len(images)}; give one of each date")
    with open_raster(classes) as raster, open_raster(confidence) as sure:
        sizes = {str(confidence): sure.shape} | {f"the image '{name}'": scene.shape for name, scene in images.items()}
        sizes |= {"the alignment": alignment.shape} if alignment else {}
        _check(raster, sizes)
        sheet = Sheet.of(raster)
        covers = class_covers(raster, labels, progress)
        doubt = tint(doubts(sure), DOUBT)
    found = None
    if buildings is not None:
        found = read_buildings(Path(buildings), labels=labels, sheet=sheet, alignment=alignment, progress=progress)
    told = provenance_rows(facts or {})
    view = _frame(sheet) | _grades(labels, covers, found) | told
    view |= {
        "doubt": doubt,
        "layers": _layers(labels, covers, sheet, found),
        "worst": _worst(labels, found),
        "unsure": unsure_cells(alignment, sheet).round(1).tolist() if alignment else [],
        "lede": _lede(labels, covers, found),
        "notes": [*notes, *_own_notes(found, alignment)],
        "facts": [*_facts(raster, sheet, covers), *told["provenance"]],
        "data": _data(labels, sheet, found),
    }
    script = (TEMPLATES / "map.js").read_text("utf-8")

    def page(sources: Sequence[str]) -> str:
        return fill(
            "map.html.j2", title=title, view=view, photos=[*zip(images, sources, strict=True)], **_script(script)
        )

    room = BUDGET - len(page([""] * len(images)).encode())
    return write_text(out, page(photos(images.values(), room)))


def _check(raster: Raster, sizes: Mapping[str, tuple[int, int]]) -> None:
    if (raster.bands, raster.dtype) != (1, "uint8"):
        found = f"{raster.bands} of {raster.dtype}"
        raise InputError(f"{raster.path} must have one band of uint8, found {found}; give what predict wrote")
    for name, size in sizes.items():
        if tuple(size) != raster.shape:
            texts = (f"{rows}x{columns}" for rows, columns in (size, raster.shape))
            raise InputError("{} has {} pixels, the class map {}; bring it onto one grid".format(name, *texts))


def _script(text: str) -> dict[str, Any]:
    """The script, and its hash: the page runs no other."""
    from markupsafe import Markup

    return {
        "script": Markup(text),
        "digest": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii"),
    }


def _frame(sheet: Sheet) -> dict[str, Any]:
    """The part of the plane that is shown at first, and the scale bar of it."""
    width, height = sheet.size
    aspect = min(max(width / height, NARROW), WIDE)
    wide = max(width, height * aspect)
    metres = wide * sheet.metres / 4
    power = 10.0 ** math.floor(math.log10(metres))
    bar = next((step for step in (5, 2) if step * power <= metres), 1) * power
    return {
        "size": (width, height),
        "box": [(width - wide) / 2, (height - wide / aspect) / 2, wide, wide / aspect],
        "bar": {
            "percent": 100 * bar / sheet.metres / wide,
            "text": f"{bar / 1000:g} km" if bar >= 1000 else f"{bar:g} m",
        },
        "north": sheet.north,
    }


def _grades(labels: LabelSet, covers: Covers, found: Buildings | None) -> dict[str, Any]:
    """Numbers by grade, the gravest first."""
    counts = found.counts(labels.count) if found else [0] * labels.count
    graded, mapped = sum(counts[1:]), float(covers.areas[1:-1].sum())
    rows = [
        {
            "index": index,
            "name": labels.names[index],
            "colour": _colour(labels.display_colour(index)),
            "pattern": (index - 1) % 5,
            "count": _whole(counts[index]),
            "share": percent(counts[index] / graded if graded else None),
            "area": _area(np.nansum(found.area[found.grade == index])) if found else "",
            "mapped": _area(covers.areas[index]),
            "part": percent(covers.areas[index] / mapped if mapped else None),
        }
        for index in range(labels.count - 1, 0, -1)
    ]
    return {
        "grades": rows,
        "count": _whole(graded) if found else None,
        "mapped": _area(mapped),
        "area": _area(np.nansum(found.area[found.grade > 0])) if found else "",
        "ungraded": {
            "count": _whole(counts[0]) if counts[0] else "",
            "colour": _colour(NO_GRADE),
            "reasons": [(reason, _whole(n)) for reason, n in found.reasons.items()] if found else [],
        },
    }


def _lede(labels: LabelSet, covers: Covers, found: Buildings | None) -> str:
    amounts = np.array(found.counts(labels.count), float) if found else covers.areas[:-1]
    all_, graver = float(amounts[1:].sum()), float(amounts[2:].sum())
    if found:
        text = f"{_whole(all_)} {count(int(all_), 'building').split()[1]} on {_area(covers.areas[:-1].sum())}"
    else:
        text = f"{_area(all_)} of {_area(covers.areas[:-1].sum())} are mapped as {_either(labels.names[1:])}"
    if labels.count > 2 and all_:
        text += f"; {percent(graver / all_)} of them graver than {labels.names[1]}"
    return text + "."


def _own_notes(found: Buildings | None, alignment: Alignment | None) -> list[str]:
    notes = []
    if alignment is not None and alignment.unsure > 0:
        text = f"The two images are not surely aligned on {percent(alignment.unsure)} of their common area (striped)"
        if found is not None and found.unsure.any():
            text += (
                f", where {count(int(found.unsure.sum()), 'building')} {'lie' if found.unsure.sum() > 1 else 'lies'}"
            )
        notes.append(text + ": damage there may be a shift of the images.")
    if found is not None and found.paths is None:
        notes.append(
            f"With {_whole(len(found.ids))} buildings they are drawn into the map as a picture and cannot be clicked; "
            "open the vector file in a GIS for each."
        )
    return notes


def _layers(labels: LabelSet, covers: Covers, sheet: Sheet, found: Buildings | None) -> dict[str, Any]:
    """Classes and buildings of each grade, each as a picture or as paths."""
    rows, columns = covers.opacity.shape[1:]
    colours = [NO_GRADE, *(labels.display_colour(index) for index in range(1, labels.count))]
    return {
        "size": (columns * covers.step * sheet.scale[0], rows * covers.step * sheet.scale[1]),
        "classes": [
            (index, tint(picture, colours[index])) for index, picture in enumerate(covers.opacity, 1) if picture.any()
        ],
        "paths": found.paths if found else None,
        "many": found is not None and int(found.shown.sum()) > FEW,
        "painted": [
            (index, tint(picture, colours[index])) for index, picture in enumerate(found.pictures) if picture.any()
        ]
        if found and found.pictures is not None
        else [],
        "painted_size": sheet.pixels[::-1],
    }


def _worst(labels: LabelSet, found: Buildings | None) -> dict[str, Any]:
    """The gravest, of these the largest, as rows and as CSV; grades that are no damage left out."""
    if found is None:
        return {"rows": []}
    least = 1 if labels.count == 2 else 2
    order = np.lexsort((-np.nan_to_num(found.area), -found.grade))
    order = order[found.grade[order] >= least][:WORST]
    rows = []
    for index in order:
        same = np.flatnonzero(found.shown & (found.grade == found.grade[index]))
        lon, lat = found.degrees[index]
        rows.append(
            {
                "id": int(found.ids[index]),
                "grade": labels.names[found.grade[index]],
                "confidence": number(found.confidence[index], 2),
                "area": _area(found.area[index]),
                "lon": f"{lon:.6f}",
                "lat": f"{lat:.6f}",
                "unsure": bool(found.unsure[index]),
                "at": " ".join(f"{part:.1f}" for part in found.place[index]),
                "path": f"{found.grade[index]} {np.searchsorted(same, index)}" if found.shown[index] else "",
            }
        )
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("lon", "lat", "damage", "confidence", "area_m2", "feature", "alignment"))
    for row, index in zip(rows, order, strict=True):
        aligned = "unsure" if row["unsure"] else ""
        sure, area = (f"{values[index]:.3f}" for values in (found.confidence, found.area))
        writer.writerow((row["lon"], row["lat"], row["grade"], sure, area, row["id"], aligned))
    return {
        "rows": rows,
        "csv": table.getvalue(),
        "title": "Worst-hit buildings" if least > 1 else "Largest buildings",
        "unsure": any(row["unsure"] for row in rows),
    }


def _facts(raster: Raster, sheet: Sheet, covers: Covers) -> list[tuple[str, str]]:
    height, width = raster.shape
    (lon, lat), *_ = sheet.degrees(np.array([sheet.size]) / 2)
    pixel = " × ".join(dict.fromkeys(f"{figures(side * sheet.metres)} m" for side in sheet.scale))
    return [
        ("Centre", f"{lon:.5f}, {lat:.5f} (longitude, latitude)"),
        ("Grid", f"{_whole(width)} × {_whole(height)} pixels of {pixel}, {sheet.crs[:60]}"),
        (
            "Known",
            f"{_area(covers.areas[:-1].sum())}, {percent(covers.areas[:-1].sum() / covers.areas.sum())} of the map",
        ),
        ("Pictures here", f"{figures(sheet.metres)} m a pixel or coarser; all of it is in {raster.path.name}"),
    ]


def _data(labels: LabelSet, sheet: Sheet, found: Buildings | None) -> dict[str, Any]:
    """What the script needs: numbers of each building in the order of the paths, and the lattice of degrees."""
    width, height = sheet.size
    x, y = (side * np.arange(NODES) / (NODES - 1) for side in (width, height))
    places = np.stack(np.meshgrid(x, y), axis=-1)
    lattice = sheet.degrees(places.reshape(-1, 2)).reshape(NODES, NODES, 2)
    rows: list[list[list[Any]]] = []
    if found and found.paths:
        parts = np.column_stack([found.confidence, found.area, found.shares])
        for grade in range(labels.count):
            mine = np.flatnonzero(found.shown & (found.grade == grade))
            rows.append(
                [
                    [int(found.ids[i]), *_plain(found.degrees[i], 6), int(found.unsure[i]), *_plain(parts[i], 2)]
                    for i in mine
                ]
            )
    if np.isfinite(lattice).all():
        lattice[..., 0] = np.unwrap(np.unwrap(lattice[..., 0], period=360, axis=0), period=360, axis=1)
    return {
        "metres": sheet.metres,
        "size": [width, height],
        "few": FEW,
        "nodes": NODES,
        "lattice": [_plain(place, 7) for place in lattice.reshape(-1, 2)],
        "names": ["no grade", *labels.names[1:]],
        "rows": rows,
    }


def _plain(values: Any, digits: int) -> list[float | None]:
    """Numbers for JSON, which knows no NaN."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in values]


def _colour(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _either(names: Sequence[str]) -> str:
    """
    >>> _either(("minor", "major", "destroyed"))
    'minor, major or destroyed'
    """
    return " or ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)


def _whole(value: float) -> str:
    """
    >>> _whole(12345)
    '12\u202f345'
    """
    return f"{round(value):,}".replace(",", "\u202f")


def _area(square_metres: float) -> str:
    """An area in the unit that suits its size.

    >>> _area(87.3), _area(12345.0), _area(2.5e6), _area(float("nan"))
    ('87.3 m²', '1.23 ha', '2.5 km²', '–')
    """
    if not math.isfinite(square_metres):
        return "–"
    size, unit = next((s, u) for s, u in ((1e6, "km²"), (1e4, "ha"), (0, "m²")) if square_metres >= s)
    return f"{figures(square_metres / (size or 1))} {unit}"
