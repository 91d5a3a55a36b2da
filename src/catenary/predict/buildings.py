"""Buildings as vectors from the class map that a prediction wrote: footprints with their damage, or its own outlines.

The rasters may have any size: both ways read windows, and hold no more than a few of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError, near_match
from catenary.io.layers import Layer, open_layer
from catenary.io.meridian import in_degrees
from catenary.io.outline_files import outline_file
from catenary.io.outlines import (
    Outlines,
    geo_extra,
    ground_areas,
    ground_frame,
    reproject,
    to_pixels,
    to_world,
    turned_to,
)
from catenary.io.raster import Raster, open_raster
from catenary.predict.components import OUTLINES, Components, draw
from catenary.types import IGNORE, Progress, silent

__all__ = ["BuildingSummary", "buildings_of_footprints", "buildings_of_map"]

#: Why a footprint has no grade.
REASONS = ("no building seen", "no data", "no outline")
#: Side in pixels of the windows that footprints are measured in; footprints in memory at a time.
TILE, BATCH = 1024, 1 << 16

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BuildingSummary:
    """What a vector file of buildings holds.

    Attributes:
        path: The file.
        count: Number of buildings.
        grades: Buildings of each grade, by name.
        no_building: Footprints in which the raster shows background only.
        no_data: Footprints outside the raster, or where nothing is known.
        no_outline: Features without a polygon.
        repaired: Footprints whose polygon is invalid. A valid one was measured, the file has the one it was given.
    """

    path: Path
    count: int
    grades: dict[str, int]
    no_building: int = 0
    no_data: int = 0
    no_outline: int = 0
    repaired: int = 0


def buildings_of_footprints(
    classes: str | Path,
    confidence: str | Path,
    footprints: str | Path,
    out: str | Path,
    *,
    labels: LabelSet,
    layer: str | None = None,
    crs: str | None = None,
    progress: Progress = silent,
) -> BuildingSummary:
    """Write the footprints of a vector file with the damage that a class map shows within each.

    Shares are exact: a pixel counts by the part of it that lies within the footprint. The grade of a footprint is the
    one with the largest share, of equal ones the gravest, however little of it is seen as a building: filter by
    ``seen`` where that matters. Order, outlines, CRS and columns of the footprints stay, and these are added (an older
    column of the same name gets ``own_`` before it):

    - ``grade``: class index, and ``damage``: its name; null where there is none;
    - ``confidence``: mean over the known part, 0 to 1;
    - ``area_m2``: see `catenary.io.outlines.ground_areas`;
    - ``seen``: share of the known part that is of any grade;
    - ``known``: share of the footprint where the raster has data;
    - ``share_<class>``: share of the known part, of each class, the background too;
    - ``reason``: why there is no grade, one of `REASONS`.

    Args:
        classes: GeoTIFF of class indices, uint8, one band; 255, a nodata value or a mask say where nothing is known.
        confidence: GeoTIFF on the same grid, uint8: probability of the winning class times 255.
        footprints: Polygons in any vector format and CRS.
        out: ``.gpkg``, ``.fgb`` or ``.geojson`` (which is always in EPSG:4326).
        labels: The classes: background, then the grades in order.
        layer: Layer of `footprints`, where it has several.
        crs: CRS of `footprints`, where it states none.
        progress: Told of the footprints.

    Raises:
        InputError: A file cannot be used, the rasters' grids differ, or no footprint lies on them.
        OutputError: `out` has another ending, or cannot be written.
        MissingExtra: A package of ``catenary[geo]`` is not installed.
    """
    tally = np.zeros(labels.count + len(REASONS), np.int64)
    repaired, reached = 0, False
    with _open_scene(classes, confidence, labels) as scene:
        own = open_layer(footprints, layer=layer, crs=crs)
        with outline_file(out, crs=own.crs, own=own) as file:
            for start in range(0, own.count, BATCH):
                ids, found = file.own(start, BATCH)
                outlines, mended = _repair(found)
                pixels = to_pixels(_placed(scene, reproject(outlines, own.crs, scene.crs)), scene.classes.grid)
                covered, certainty = _measure(scene, pixels, progress, start, own.count)
                areas = ground_areas(outlines, own.crs)
                status, columns = _grade(labels, outlines, areas, pixels, covered, certainty)
                file.append(columns, ids=ids)
                tally += np.bincount(status, minlength=len(tally))
                repaired, reached = repaired + mended, reached or bool(covered.any())
            if not reached:
                raise _elsewhere(scene, own)
    counts = [int(number) for number in tally[1:]]
    grades = dict(zip(labels.names[1:], counts, strict=False))
    no_building, no_data, no_outline = counts[-len(REASONS) :]
    return BuildingSummary(
        path=Path(out),
        count=sum(counts),
        grades=grades,
        no_building=no_building,
        no_data=no_data,
        no_outline=no_outline,
        repaired=repaired,
    )


def buildings_of_map(
    classes: str | Path,
    confidence: str | Path,
    out: str | Path,
    *,
    labels: LabelSet,
    smallest: float = 10.0,
    outlines: str = "pixels",
    band: int = 1024,
    progress: Progress = silent,
) -> BuildingSummary:
    """Write the buildings of a class map: its connected parts that are of any grade.

    Pixels that touch at a corner are connected, whatever their grades. The columns are ``grade`` (class index of the
    grade with most pixels, of equal ones the gravest), ``damage`` (its name), ``confidence`` (mean over the pixels, 0
    to 1), ``area_m2`` (of the outline, see `catenary.io.outlines.ground_areas`) and ``share_<grade>`` (share of the
    pixels). Buildings stand in the order of their last pixels, row by row.

    Args:
        classes: GeoTIFF of class indices, uint8, one band; 255, a nodata value or a mask say where nothing is known.
        confidence: GeoTIFF on the same grid, uint8: probability of the winning class times 255.
        out: ``.gpkg``, ``.fgb`` or ``.geojson`` (which is always in EPSG:4326).
        labels: The classes: background, then the grades in order.
        smallest: Area in m2 of the pixels of the smallest building that is kept.
        outlines: ``"pixels"``: along the pixels' borders. ``"simple"``: fewer corners, none of those left out more
            than a pixel away (Douglas and Peucker 1973). ``"regular"``: right angles only, where that fits the pixels
            (`catenary.predict.components.FIT`), else simple. Holes stay. Outlines of the last two kinds may overlap
            where buildings lie a pixel apart.
        band: Rows in memory at a time; the result does not depend on it.
        progress: Told of the rows.

    Raises:
        ConfigError: `smallest` is negative, `band` below 1, or `outlines` unknown.
        InputError: A file cannot be used, or the rasters' grids differ.
        OutputError: `out` has another ending, or cannot be written.
        MissingExtra: A package of ``catenary[geo]`` is not installed.
    """
    if outlines not in OUTLINES:
        raise ConfigError(f"there are no outlines '{outlines}'; {near_match(outlines, OUTLINES)}")
    if band < 1 or not smallest >= 0:
        raise ConfigError(f"band must be 1 or more and smallest 0 or more, found {band} and {smallest}; correct them")
    tally = np.zeros(labels.count, np.int64)
    names = np.array(labels.names, object)
    with _open_scene(classes, confidence, labels) as scene:
        height, width = scene.classes.shape
        grid = scene.classes.grid
        components = Components((height, width), grid, grades=labels.count - 1, smallest=smallest)
        frame = ground_frame(grid, row=height / 2, column=width / 2)
        with outline_file(out, crs=scene.crs) as file:
            for row in range(0, height, band):
                rows = min(band, height - row)
                sums, traced = components.add(row, *scene.read(row, 0, rows, width))
                certainty, counts = sums[:, 0], sums[:, 1:]
                found = to_world(draw(traced, outlines, frame), grid)
                grade, pixels = _gravest(counts) + 1, counts.sum(1)
                columns: dict[str, NDArray[Any]] = {
                    "grade": grade.astype(np.int32),
                    "damage": names[grade],
                    "confidence": certainty / 255 / pixels,
                    "area_m2": ground_areas(found, scene.crs),
                }
                columns |= _shares(labels.names[1:], counts / pixels[:, None])
                file.append(columns, outlines=found)
                tally += np.bincount(grade, minlength=len(tally))
                progress("buildings", row + rows, height)
    grades = {name: int(number) for name, number in zip(labels.names[1:], tally[1:], strict=True)}
    return BuildingSummary(path=Path(out), count=int(tally.sum()), grades=grades)


class _Scene:
    """The two rasters of a prediction."""

    def __init__(self, classes: Raster, confidence: Raster, labels: LabelSet) -> None:
        self.classes, self.confidence = classes, confidence
        self.crs = classes.grid.crs or ""
        self.count = labels.count

    def read(self, row: int, column: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Class indices, ``count`` where nothing is known, and confidence, both ``(h, w)``."""
        image = self.classes.read(row, column, height, width)
        found = image.array[0]
        known = (found != IGNORE) & (True if image.valid is None else image.valid)
        largest = int(found.max(where=known, initial=0))
        if largest >= self.count:
            raise InputError(
                f"{self.classes.path} holds the class {largest}, the labels are 0 to {self.count - 1} or {IGNORE}; "
                "give the labels of the model that wrote it"
            )
        label = np.where(known, found, np.uint8(self.count))
        return label, self.confidence.read(row, column, height, width).array[0]


@contextmanager
def _open_scene(classes: str | Path, confidence: str | Path, labels: LabelSet) -> Iterator[_Scene]:
    with open_raster(classes) as first, open_raster(confidence) as second:
        for raster in (first, second):
            if (raster.bands, raster.dtype) != (1, "uint8"):
                found = f"{raster.bands} of {raster.dtype}"
                raise InputError(f"{raster.path} must have one band of uint8, found {found}; give what predict wrote")
        places = [np.array(raster.grid.affine) for raster in (first, second)]
        near = np.abs(places[0] - places[1]).max() <= 1e-3 * np.abs(places[0][[0, 1, 3, 4]]).max()
        if first.shape != second.shape or first.grid.crs != second.grid.crs or not near:
            raise InputError(
                f"{second.path} has another grid ({second.shape[0]}x{second.shape[1]} pixels) than {first.path} "
                f"({first.shape[0]}x{first.shape[1]}); give the two files of one prediction"
            )
        yield _Scene(first, second, labels)


def _placed(scene: _Scene, outlines: Outlines) -> Outlines:
    """Outlines in the CRS of the raster; where that is in degrees, at the turn at which the raster lies."""
    if not in_degrees(scene.crs):
        return outlines
    west, _, east, _ = scene.classes.bounds
    return turned_to(outlines, (west + east) / 2)


def _elsewhere(scene: _Scene, layer: Layer) -> InputError:
    ours, theirs = (
        f"x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g}"
        for left, bottom, right, top in (_extent(scene, layer), layer.bounds)
    )
    return InputError(
        f"no footprint of {layer.path} ({theirs}) lies on {scene.classes.path} ({ours}, in the footprints' CRS); give "
        "footprints of this place"
    )


def _extent(scene: _Scene, layer: Layer) -> tuple[float, ...]:
    """Bounds of the raster in the CRS of a layer."""
    import shapely

    height, width = scene.classes.shape
    frame = np.array([shapely.segmentize(shapely.box(0, 0, width, height), max(height, width) / 16)])
    return tuple(shapely.bounds(reproject(to_world(frame, scene.classes.grid), scene.crs, layer.crs))[0].tolist())


def _repair(found: Outlines) -> tuple[Outlines, int]:
    """Valid polygons, None for what has no area, and how many were invalid."""
    import shapely

    outlines, invalid = found.copy(), ~shapely.is_valid(found) & ~shapely.is_missing(found)
    odd = invalid | ~np.isin(shapely.get_type_id(found), (3, 6))  # no polygons and multipolygons, such as collections
    outlines[odd] = shapely.buffer(shapely.make_valid(outlines[odd]), 0)  # which keeps the polygons alone
    outlines[~(shapely.area(outlines) > 0)] = None
    return outlines, int(np.count_nonzero(invalid & ~shapely.is_missing(outlines)))


def _measure(scene: _Scene, outlines: Outlines, progress: Progress, done: int, total: int) -> tuple[Floats, Floats]:
    """Pixels of each class and of no known one ``(n, classes + 1)`` in outlines; sum of the confidence where known.

    Window by window, so that each is read once.
    """
    import shapely

    height, width = scene.classes.shape
    covered, certainty = np.zeros((len(outlines), scene.count + 1)), np.zeros(len(outlines))
    rows, columns = (grid.ravel() for grid in np.mgrid[0:height:TILE, 0:width:TILE])
    bottoms, rights = np.minimum(rows + TILE, height), np.minimum(columns + TILE, width)
    tiles, members = shapely.STRtree(outlines).query(shapely.box(columns, rows, rights, bottoms))
    for at, end in pairwise(np.flatnonzero(np.diff(tiles, prepend=-1, append=-1)).tolist()):
        row, column, bottom, right = (int(side[tiles[at]]) for side in (rows, columns, bottoms, rights))
        inside = members[at:end]
        label, sure = scene.read(row, column, bottom - row, right - column)
        index, value, weight, part = _cells(label, sure, row, column, outlines[inside])
        known = value < scene.count
        sums = np.bincount(index * (scene.count + 1) + value, part, len(inside) * (scene.count + 1))
        covered[inside] += sums.reshape(len(inside), -1)
        certainty[inside] += np.bincount(index[known], (part * weight)[known], len(inside))
        progress("buildings", done + len(outlines) * at // len(tiles), total)
    progress("buildings", done + len(outlines), total)
    return covered, certainty


def _cells(
    label: NDArray[np.uint8], sure: NDArray[np.uint8], row: int, column: int, outlines: Outlines
) -> tuple[Ints, Ints, Floats, Floats]:
    """Every pixel that an outline touches in a window: which outline, class, confidence, covered part of the pixel."""
    with geo_extra():
        from exactextract import exact_extract
        from exactextract.feature import JSONFeatureSource
        from exactextract.raster import NumPyRasterSource
    import shapely

    place = (column, -row - label.shape[0], column + label.shape[1], -row)  # there, y grows upwards
    upright = shapely.transform(outlines, lambda xy: xy * (1, -1))
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(o)} for o in upright]
    cells = [
        found["properties"]
        for found in exact_extract(
            NumPyRasterSource(label, *place),
            JSONFeatureSource(features),
            ["values", "weights", "coverage"],
            weights=NumPyRasterSource(sure, *place),
        )
    ]
    values, weights, parts = ([cell[name] for cell in cells] for name in ("values", "weights", "coverage"))
    index = np.repeat(np.arange(len(cells)), [len(part) for part in parts])
    return index, np.concatenate(values).astype(np.int64), np.concatenate(weights), np.concatenate(parts)


def _grade(
    labels: LabelSet, outlines: Outlines, areas: Floats, pixels: Outlines, covered: Floats, certainty: Floats
) -> tuple[Ints, dict[str, NDArray[Any]]]:
    """For each footprint its grade, or beyond the grades the place of its reason; and the columns."""
    import shapely

    extent = covered[:, :-1].sum(1)
    with np.errstate(invalid="ignore"):
        # The library's parts of pixels have 7 digits; what is equal by them must stay equal.
        shares = np.round(covered[:, :-1] / extent[:, None], 6)
        confidence = certainty / 255 / extent
        known = np.clip(np.nan_to_num(extent / shapely.area(pixels)), 0, 1)
    graded = np.nan_to_num(shares[:, 1:]).any(1)
    missing = shapely.is_missing(outlines)
    reason = np.select([missing, extent == 0], [2, 1], 0)
    status = np.where(graded, _gravest(np.nan_to_num(shares[:, 1:])) + 1, labels.count + reason)
    damage = np.array([None, *labels.names[1:], *[None] * len(REASONS)], object)
    reasons = np.array([None] * labels.count + list(REASONS), object)
    columns: dict[str, NDArray[Any]] = {
        "grade": np.ma.array(status.astype(np.int32), mask=~graded),
        "damage": damage[status],
        "confidence": confidence,
        "area_m2": areas,
        "seen": shares[:, 1:].sum(1),
        "known": np.where(missing, np.nan, known),
        **_shares(labels.names, shares),
        "reason": reasons[status],
    }
    return status, columns


def _gravest(amounts: NDArray[Any]) -> Ints:
    """The largest of each row, of equal ones the last."""
    return np.asarray(amounts.shape[1] - 1 - np.argmax(amounts[:, ::-1], 1))


def _shares(names: tuple[str, ...], shares: Floats) -> dict[str, Floats]:
    return {f"share_{name}": share for name, share in zip(names, shares.T, strict=True)}
