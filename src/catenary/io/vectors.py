"""Polygons with a class, from a vector file, as a label map on any grid: GeoPackage, FlatGeobuf, GeoJSON, Shapefile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, near_match
from catenary.io.areas import fill, only_areas, repair
from catenary.io.layers import Layer, open_layer, reading
from catenary.io.meridian import Box, box_in, brought_into, in_degrees, stop_beyond_the_edge, turned
from catenary.io.polygons import DAMAGE
from catenary.types import IGNORE, Grid

__all__ = ["VECTOR_SUFFIXES", "Contents", "Shapes", "Vectors", "open_vectors"]

#: Endings of files that are opened; the first of several counts where a choice has to be made.
VECTOR_SUFFIXES = (".gpkg", ".fgb", ".geojson", ".shp")
#: Columns that hold a grade where nobody names one; the earlier one wins.
COLUMNS = ("subtype", "damage", "damage_gra", "damage_grade", "grade", "class")

#: Polygons read at a time where all are looked at.
_BATCH = 100_000
#: Degrees from the 180th meridian within which polygons that cross it are looked for.
_NEAR = 0.1


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Polygons that meet a window.

    Attributes:
        polygons: shapely polygons ``(n,)`` in pixels of the grid: x is the column and y the row, and pixel
            ``(r, c)`` reaches from ``(c, r)`` to ``(c + 1, r + 1)``.
        values: Class of each ``(n,)``, 1 to 255; 0 where the file gives no grade.
        repaired: How many of them were not valid.
    """

    polygons: NDArray[np.object_]
    values: UInt8[np.ndarray, " n"]
    repaired: int


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a layer holds in all.

    Attributes:
        values: Number of polygons of each class; 0 stands for those without a grade.
        invalid: Number of polygons that are not valid (they cross themselves), and will be repaired.
        empty: Number of features without an area.
    """

    values: Mapping[int, int]
    invalid: int
    empty: int


class Vectors:
    """A layer of polygons, of which a window takes what it needs; see `open_vectors`. Threads may share it.

    Attributes:
        path, layer: The file and the layer in it.
        crs: Coordinate reference system, as an authority code or WKT.
        count: Number of features.
        bounds: West, south, east and north in `crs`.
        columns: Names of the attributes.
        column: The one that holds the grade; None where every polygon is of one class.
        grades: Value of each word in that column; other words are not known.
        indexed: Whether the file has a spatial index; without one it is read whole, once.
    """

    def __init__(self, layer: Layer, *, column: str | None = None, grades: Mapping[str, int] | None = None) -> None:
        self.path, self.layer, self.crs = layer.path, layer.name, layer.crs
        self.count, self.bounds, self.columns, self.indexed = layer.count, layer.bounds, layer.columns, layer.indexed
        self.column = _column(layer.path, layer.columns, column)
        self.grades = DAMAGE if grades is None else dict(grades)
        self._numbers = grades is None  # whole numbers are classes themselves unless somebody says what they mean
        self._known = {_plain(word): value for word, value in self.grades.items()}

    def name(self, value: int) -> str:
        """The name of a class: its word, ``"building"`` where there are no grades, else its number."""
        if self.column is None:
            return "building"
        return next((word for word, known in self.grades.items() if known == value), f"class {value}")

    @cached_property
    def contents(self) -> Contents:
        """The classes that occur, and what is wrong with the polygons; reads the whole layer.

        Raises:
            InputError: A grade is not known, or the file is damaged.
        """
        import shapely

        values: Counter[int] = Counter()
        invalid = empty = 0
        for _, found, graded in self._batches():
            bare = shapely.is_missing(found) | shapely.is_empty(found)
            empty += int(bare.sum())
            invalid += int((~shapely.is_valid(found[~bare])).sum())
            values.update(graded[~bare].tolist())
        return Contents(values=dict(values), invalid=invalid, empty=empty)

    def within(self, grid: Grid, row: int, column: int, height: int, width: int) -> Shapes:
        """The polygons whose bounding box meets a window of a grid.

        Vertices are brought into the grid's CRS; edges between them are straight on the grid. What is not valid is
        repaired, what has no area is left out. Polygons may cross the 180th meridian, cut there or not, and so may the
        window.

        Args:
            grid: Needs an affine and a CRS; may be of any raster, the window may reach beyond it.
            row, column, height, width: The window, in pixels of the grid.

        Raises:
            InputError: The grid has no place on earth, the window reaches beyond the edge of its CRS, a polygon has
                no place in that CRS, or a grade is not known.
        """
        import shapely

        if grid.affine is None or grid.crs is None:
            raise InputError(f"{self.path} needs an image with affine and CRS, found one without; georeference it")
        a, b, c, d, e, f = grid.affine
        middle = (column + width / 2, row + height / 2)
        x, y = a * middle[0] + b * middle[1] + c, d * middle[0] + e * middle[1] + f
        half = (abs(a) * width + abs(b) * height) / 2
        stop_beyond_the_edge(grid.crs, x - half, x + half, y)
        # More than the window, since its straight sides bend in another CRS.
        wide, high = 1.05 * width + 4, 1.05 * height + 4
        east, north = x + (abs(a) * wide + abs(b) * high) / 2, y + (abs(d) * wide + abs(e) * high) / 2
        west, south = 2 * x - east, 2 * y - north
        box = box_in(self.crs, grid.crs, (west, south, east, north))
        found, values = self._read_where(box)
        if in_degrees(self.crs):
            found, values = turned(found, values, box[0], box[2])
        found = shapely.transform(found, lambda xy: brought_into(grid.crs or "", self.crs, xy))
        if in_degrees(grid.crs):
            found, values = turned(found, values, west, east)
        found = shapely.transform(found, lambda xy: _pixels_of(xy, grid.affine or ()))
        bounds = shapely.bounds(found)
        meets = (bounds[:, 0] < column + width) & (bounds[:, 2] > column)
        meets &= (bounds[:, 1] < row + height) & (bounds[:, 3] > row)
        found, values = found[meets], values[meets]
        broken = ~shapely.is_valid(found)
        found[broken] = repair(found[broken])
        keep = ~shapely.is_empty(found)
        return Shapes(polygons=found[keep], values=values[keep], repaired=int(broken.sum()))

    def rasterise(
        self, grid: Grid, row: int, column: int, height: int, width: int, *, default: int = 1
    ) -> UInt8[np.ndarray, "h w"]:
        """The label map of a window: 0 where no polygon lies, else its class.

        A pixel belongs to a polygon when its centre does (one on the left or upper edge does, so that neighbours share
        none). Where polygons overlap the higher class counts, and a class more than `IGNORE`. Any window equals the
        cut of the whole.

        Args:
            grid, row, column, height, width: See `within`.
            default: Class of polygons that have no grade.

        Raises:
            InputError: See `within`.
        """
        found = self.within(grid, row, column, height, width)
        values = np.where(found.values == 0, np.uint8(default), found.values)
        label = np.zeros((height, width), np.uint8)
        for value in sorted(np.unique(values).tolist(), key=lambda value: value % IGNORE):  # the last one drawn stays
            label[fill(found.polygons[values == value], row, column, height, width)] = value
        return label

    def _read_where(self, box: Box) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
        """The features whose bounding box meets a box of `crs`; its east may lie beyond 180 degrees."""
        import shapely

        west, south, east, north = box
        turns = (-360.0, 0.0, 360.0) if in_degrees(self.crs) else (0.0,)
        if len(turns) > 1 and (east > 180 - _NEAR or west < -180 + _NEAR):
            west, east = west - _NEAR, east + _NEAR  # one that is not cut there lies, by its bounds, elsewhere
        boxes = [(west + turn, south, east + turn, north) for turn in turns]
        boxes = [box for box in boxes if box[0] <= self.bounds[2] and box[2] >= self.bounds[0]]
        if not boxes:
            return np.zeros(0, object), np.zeros(0, np.uint8)
        if not self.indexed:
            _, found, values, tree = self._memory
            chosen = np.unique(np.concatenate([tree.query(shapely.box(*box)) for box in boxes]))
        else:
            parts = [self._read(bbox=box) for box in boxes]
            ids, found, values = (np.concatenate(column) for column in zip(*parts, strict=True))
            chosen = np.unique(ids, return_index=True)[1]
        found, values = found[chosen], values[chosen]
        keep = ~(shapely.is_missing(found) | shapely.is_empty(found))
        return found[keep], values[keep]

    @cached_property
    def _memory(self) -> tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.uint8], Any]:
        import shapely

        ids, found, values = self._read()
        return ids, found, values, shapely.STRtree(found)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.uint8]]]:
        if not self.indexed:
            yield self._memory[:3]
            return
        for first in range(0, self.count, _BATCH):
            yield self._read(skip_features=first, max_features=_BATCH)

    def _read(self, **how: Any) -> tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.uint8]]:
        """Number, geometry (without lines and points) and class of features."""
        import shapely
        from pyogrio.raw import read

        columns = [] if self.column is None else [self.column]
        with reading(self.path):
            _, ids, binary, fields = read(
                self.path, layer=self.layer, columns=columns, force_2d=True, return_fids=True, **how
            )
            found: NDArray[np.object_] = shapely.from_wkb(binary)
        values = self._graded(fields[0]) if columns else np.zeros(len(found), np.uint8)
        return ids, only_areas(found), values

    def _graded(self, column: NDArray[Any]) -> NDArray[np.uint8]:
        words = [_plain(word) for word in column.tolist()]
        values = {word: self._value(word) for word in sorted(set(words))}
        return np.array([values[word] for word in words], np.uint8)

    def _value(self, word: str) -> int:
        if word in self._known:
            return self._known[word]
        if not word:
            return 0
        if self._numbers and word.isdecimal() and 1 <= int(word) <= IGNORE:
            return int(word)
        known = ", ".join(self.grades) + (", or a whole number from 1 to 255" if self._numbers else "")
        raise InputError(
            f"{self.path} grades a polygon as '{word}' in the column '{self.column}', known are {known}; correct it, "
            'say with `grades` what it means, or name another `column` ("" for none)'
        )


def open_vectors(
    path: str | Path,
    *,
    layer: str | None = None,
    crs: str | None = None,
    grades: Mapping[str, int] | None = None,
    column: str | None = None,
) -> Vectors:
    """Open a file of polygons.

    Args:
        path: GeoPackage, FlatGeobuf, GeoJSON, Shapefile, or what else GDAL opens.
        layer: Which layer, where there are several.
        crs: Its coordinate reference system where the file states none, for example ``"EPSG:4326"``.
        grades: Class of each word of the grade column, 1 to 254, 255 to ignore. By default those of xBD
            (`catenary.io.polygons.DAMAGE`), and whole numbers, which are classes themselves. Small letters are capital
            ones, and blanks and underscores hyphens.
        column: The grade column; by default the first of `COLUMNS` that is there. ``""`` for none: one class.

    Raises:
        InputError: It cannot be opened, holds no polygons, has several layers, states no CRS or another than `crs`, or
            has no such column.
        MissingExtra: pyogrio, shapely or pyproj is not installed.

    >>> import json, tempfile
    >>> square = {"type": "Polygon", "coordinates": [[[2, 1], [4, 1], [4, 3], [2, 3], [2, 1]]]}
    >>> feature = {"type": "Feature", "properties": {"damage": "Destroyed"}, "geometry": square}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels.geojson"
    ...     _ = path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    ...     grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, -1.0, 4.0), crs="EPSG:4326")
    ...     open_vectors(path).rasterise(grid, 0, 0, 4, 5)
    array([[0, 0, 0, 0, 0],
           [0, 0, 4, 4, 0],
           [0, 0, 4, 4, 0],
           [0, 0, 0, 0, 0]], dtype=uint8)
    """
    wrong = {word: value for word, value in (grades or {}).items() if not 1 <= value <= IGNORE}
    if wrong:
        raise InputError(f"grades must be from 1 to 255, found {wrong}; give other numbers")
    return Vectors(open_layer(path, layer=layer, crs=crs), column=column, grades=grades)


def _column(path: Path, columns: Sequence[str], wanted: str | None) -> str | None:
    if wanted is None:
        by_name = {name.lower(): name for name in reversed(columns)}
        return next((by_name[name] for name in COLUMNS if name in by_name), None)
    if wanted and wanted not in columns:
        raise InputError(f"{path} has no column '{wanted}'; {near_match(wanted, columns)}")
    return wanted or None


def _plain(word: object) -> str:
    """How a grade is compared: small letters, hyphens; ``""`` for none.

    >>> [_plain(word) for word in ("No Damage", 3.0, None, float("nan"))]
    ['no-damage', '3', '', '']
    """
    if word is None or word != word:
        return ""
    if isinstance(word, float) and word.is_integer():
        word = int(word)
    return str(word).strip().lower().replace(" ", "-").replace("_", "-")


def _pixels_of(xy: NDArray[np.float64], affine: Sequence[float]) -> NDArray[np.float64]:
    """Columns and rows of points in the world; each alone, for a matrix product may hang on their number."""
    a, b, c, d, e, f = affine
    x, y = xy[:, 0] - c, xy[:, 1] - f
    return np.stack([e * x - b * y, a * y - d * x], axis=1) / (a * e - b * d)
