"""What the map page draws in units of its sheet: buildings with their numbers, and places of unsure alignment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from numpy.typing import NDArray

from catenary.align import Alignment
from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.io.outlines import Outlines, geo_extra, ground_frame, reproject, to_pixels, to_world
from catenary.io.raster import Raster
from catenary.report.mappictures import OPAQUE, SIDE
from catenary.types import Grid, Progress

__all__ = ["Buildings", "Sheet", "read_buildings", "unsure_cells"]

#: Buildings read at a time.
BATCH = 1 << 16
#: More buildings than these are drawn into pictures.
MOST = 20_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The paper of the map: x to the right, y down, in units that are equally long on the ground in both directions.

    Attributes:
        shape: Rows and columns of the raster.
        grid: Of the raster.
        crs: Its coordinate reference system.
        scale: Units a pixel, along x and along y.
        metres: Length of a unit on the ground, at the centre.
        north: Direction of true north at the centre, in degrees clockwise from up.
    """

    shape: tuple[int, int]
    grid: Grid
    crs: str
    scale: tuple[float, float]
    metres: float
    north: float

    @classmethod
    def of(cls, raster: Raster) -> Sheet:
        """The sheet of a raster, its longer side at most `SIDE` units.

        Raises:
            InputError: Its CRS has no longitudes and latitudes.
            MissingExtra: pyproj is not installed.
        """
        with geo_extra():
            from pyproj import CRS
        crs = raster.grid.crs or ""
        if CRS(crs).geodetic_crs is None:
            raise InputError(f"{raster.path} has a CRS without longitudes and latitudes ({crs[:40]}); warp it into UTM")
        height, width = raster.shape
        frame = ground_frame(raster.grid, row=height / 2, column=width / 2)
        across, down = (float(length) for length in np.linalg.norm(frame, axis=1))
        metres = max(width * across, height * down) / min(SIDE, max(height, width))
        scale = across / metres, down / metres
        x, y = np.linalg.inv(frame)[1] * scale
        north = float(np.degrees(np.arctan2(x, -y)))
        return cls(shape=raster.shape, grid=raster.grid, crs=crs, scale=scale, metres=metres, north=north)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in units."""
        return self.shape[1] * self.scale[0], self.shape[0] * self.scale[1]

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns of a picture with a pixel a unit, the last ones not always whole."""
        width, height = self.size
        return math.ceil(height - 1e-6), math.ceil(width - 1e-6)

    def degrees(self, places: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Longitude and latitude of places in units; not finite where there is none."""
        import shapely

        points = shapely.points(places / self.scale)
        found = reproject(to_world(points, self.grid), self.crs, "EPSG:4326")
        return np.stack([shapely.get_x(found), shapely.get_y(found)], axis=1)

    def drawn(self, outlines: Outlines, crs: str) -> Outlines:
        """Outlines in another CRS, in units."""
        import shapely

        pixels = to_pixels(reproject(outlines, crs, self.crs), self.grid)
        moved: Outlines = shapely.transform(pixels, lambda xy: xy * self.scale)
        return moved


def unsure_cells(alignment: Alignment, sheet: Sheet) -> Float[np.ndarray, "n 4"]:
    """Places with data on both dates whose shift cannot be relied on: left, top, right and bottom in units."""
    down, across = _edges(alignment.rows, sheet.shape[0]), _edges(alignment.columns, sheet.shape[1])
    cells = []
    for number, row in enumerate(_doubtful(alignment)):
        turns = np.flatnonzero(np.diff(np.pad(row.astype(np.int8), 1)))  # neighbours in a row become one
        cells += [(across[a], down[number], across[b], down[number + 1]) for a, b in turns.reshape(-1, 2)]
    return np.asarray(np.array(cells, float).reshape(-1, 4) * np.tile(sheet.scale, 2))


@dataclass(frozen=True, kw_only=True)
class Buildings:
    """Buildings of a file, in its order.

    Attributes:
        ids: What the file calls them.
        grade: Class index; 0 where there is none.
        confidence: 0 to 1; NaN where there is none, as in the next three.
        area: In m2.
        shares: Of each grade.
        degrees: Longitude and latitude of a point inside.
        place: The same in units of the sheet.
        unsure: Whether the images are not surely aligned there.
        shown: Which lie on the sheet, at least in part.
        reasons: How many have no grade, by the reason why.
        paths: Of those that are shown, by grade, in tenths of a unit; None when there are too many.
        pictures: Then, by grade, how opaque a colour is.
    """

    ids: Int64[np.ndarray, " n"]
    grade: Int64[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    area: Float[np.ndarray, " n"]
    shares: Float[np.ndarray, "n k"]
    degrees: Float[np.ndarray, "n 2"]
    place: Float[np.ndarray, "n 2"]
    unsure: Bool[np.ndarray, " n"]
    shown: Bool[np.ndarray, " n"]
    reasons: Mapping[str, int]
    paths: list[list[str]] | None
    pictures: UInt8[np.ndarray, "classes h w"] | None

    def counts(self, grades: int) -> list[int]:
        """Number of buildings without a grade, and of each of the grades."""
        return [int(number) for number in np.bincount(self.grade, minlength=grades)]


def read_buildings(
    path: Path, *, labels: LabelSet, sheet: Sheet, alignment: Alignment | None, progress: Progress
) -> Buildings:
    """Read what `catenary.predict.buildings` wrote, in batches.

    Args:
        path: The file, in any CRS.
        labels: Background, then the grades.
        sheet: Where they are drawn.
        alignment: Says which places are unsure.
        progress: Told of the buildings.

    Raises:
        InputError: It cannot be read, or is another kind of file.
        MissingExtra: pyogrio or shapely is not installed.
    """
    with geo_extra():
        import pyogrio
    if not path.is_file():
        raise InputError(f"there is no file {path}; give one that `buildings` wrote")
    with _reading(path):
        info = pyogrio.read_info(path, force_feature_count=True)
    total = int(info["features"])
    missing = set(_columns(labels)) - {str(name) for name in info["fields"]} if total else set()
    if missing or not info["crs"]:
        lack = f"column {min(missing)}" if missing else "CRS"
        raise InputError(f"{path} has no {lack}; give buildings that were written with the classes {labels.names}")
    paths: list[list[str]] = [[] for _ in labels.names]
    pictures = np.zeros((labels.count, *sheet.pixels), np.uint8) if total > MOST else None
    reasons: Counter[str] = Counter()
    parts = []
    for start in range(0, max(total, 1), BATCH):
        part, outlines, why = _batch(path, start, str(info["crs"]), labels, sheet)
        reasons.update(why)
        for grade in range(labels.count):
            rings = _rings(outlines[part["shown"] & (part["grade"] == grade)], 10 if pictures is None else 16)
            if pictures is None:
                paths[grade] += map(_path, rings)
            else:
                for one in rings:
                    _paint(pictures[grade], one)
        parts.append(part)
        progress("buildings", min(total, start + BATCH), total)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Buildings(
        **columns,
        unsure=_is_unsure(columns["place"], alignment, sheet),
        reasons=dict(reasons),
        paths=paths if pictures is None else None,
        pictures=pictures,
    )


def _columns(labels: LabelSet) -> list[str]:
    return ["damage", "confidence", "area_m2", *(f"share_{name}" for name in labels.names[1:])]


def _batch(
    path: Path, start: int, crs: str, labels: LabelSet, sheet: Sheet
) -> tuple[dict[str, NDArray[Any]], Outlines, list[str]]:
    """Some buildings: the columns of `Buildings`, their outlines in units, and the reasons of those without a grade."""
    import shapely
    from pyogrio import raw

    names = _columns(labels)
    place = {"skip_features": start, "max_features": BATCH}
    with _reading(path):
        meta, ids, found, values = raw.read(path, columns=[*names, "reason"], return_fids=True, force_2d=True, **place)
    fields = dict.fromkeys(names, np.empty(0, object)) | dict(zip(meta["fields"], values, strict=True))
    known = {None: 0} | {name: index for index, name in enumerate(labels.names)}
    strange = set(fields["damage"].tolist()) - set(known)
    if strange:
        raise InputError(
            f"{path} grades damage as '{strange.pop()}', known are {', '.join(labels.names[1:])}; correct it"
        )
    grade = np.array([known[word] for word in fields["damage"].tolist()], np.int64)
    numbers = [fields[name].astype(float) for name in names[1:]]
    outlines = sheet.drawn(shapely.from_wkb(found, on_invalid="ignore"), crs)
    points = shapely.point_on_surface(outlines)
    middle = np.stack([shapely.get_x(points), shapely.get_y(points)], axis=1).astype(float)
    bounds = shapely.bounds(outlines).reshape(-1, 4)
    columns = {
        "ids": ids.astype(np.int64),
        "grade": grade,
        "confidence": numbers[0],
        "area": numbers[1],
        "shares": np.stack(numbers[2:], axis=1),
        "degrees": sheet.degrees(middle),
        "place": middle,
        "shown": (bounds[:, :2] < sheet.size).all(axis=1) & (bounds[:, 2:] > 0).all(axis=1),  # NaN is no place
    }
    reasons = fields.get("reason", np.full(len(grade), None))[grade == 0]
    # Holes turn the other way than what is around them, so that outlines which overlap are not taken for holes.
    simple = shapely.normalize(shapely.simplify(outlines, 0.5))
    return columns, simple, [str(reason or "unknown") for reason in reasons.tolist()]


def _path(rings: Sequence[NDArray[np.int64]]) -> str:
    """Closed rings as SVG path data.

    >>> _path([np.array([[30, 20], [30, 40], [10, 40], [30, 20]])])
    'M30 20l0 20 -20 0z'
    """
    return "".join(
        f"M{ring[0, 0]} {ring[0, 1]}l{' '.join(f'{x} {y}' for x, y in np.diff(ring[:-1], axis=0).tolist())}z"
        for ring in rings
    )


def _paint(picture: NDArray[np.uint8], rings: Sequence[NDArray[np.int64]]) -> None:
    """Draw a polygon, in 16ths of a pixel, half opaque with an opaque line around."""
    corners = [(ring - 8)[:, None].astype(np.int32) for ring in rings]  # from the centre of the first pixel
    cv2.fillPoly(picture, corners, OPAQUE // 2, cv2.LINE_8, 4)
    cv2.polylines(picture, corners, True, OPAQUE, 1, cv2.LINE_8, 4)


def _rings(outlines: Outlines, parts: int) -> list[list[NDArray[np.int64]]]:
    """Corners of the rings of each polygon or multipolygon, in parts of a unit."""
    import shapely

    polygons, owner = shapely.get_parts(outlines, return_index=True)
    rings, of = shapely.get_rings(polygons, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    corners = np.split(np.rint(xy * parts).astype(np.int64), np.flatnonzero(np.diff(ring)) + 1)
    found: list[list[NDArray[np.int64]]] = [[] for _ in outlines]
    for one, index in zip(corners, owner[of], strict=False):
        found[index].append(one)
    return found


def _is_unsure(places: Floats, alignment: Alignment | None, sheet: Sheet) -> NDArray[np.bool_]:
    if alignment is None:
        return np.zeros(len(places), bool)
    x, y = (places / sheet.scale).T
    row = np.searchsorted(_edges(alignment.rows, sheet.shape[0])[1:-1], y)
    column = np.searchsorted(_edges(alignment.columns, sheet.shape[1])[1:-1], x)
    return np.asarray(_doubtful(alignment)[row, column])


def _doubtful(alignment: Alignment) -> NDArray[np.bool_]:
    return np.asarray(alignment.common & ~alignment.reliable)


def _edges(nodes: NDArray[Any], length: int) -> Floats:
    """Borders of the cells around nodes."""
    return np.concatenate([[0.0], (nodes[1:] + nodes[:-1]) / 2, [float(length)]])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{path} cannot be read ({reason}); copy it again from its source") from error
