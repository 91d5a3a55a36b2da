"""A made-up city before and after a storm as files: georeferenced images of any size, or a set to train on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import ConfigError, InputError, MissingExtra, OutputError, writing
from catenary.io import write_image
from catenary.io.files import write_json, write_text
from catenary.io.geowrite import raster_writer, warp_raster
from catenary.io.outline_files import outline_file
from catenary.io.outlines import to_world
from catenary.phantoms.city import GRADES, City
from catenary.types import Grid, Progress, silent

__all__ = ["write_city"]

#: Side of the windows in pixels.
WINDOW = 2048
#: Where the first pixel's corner lies, in metres east and north.
ORIGIN = (240_000.0, 4_012_000.0)
#: Colours of `GRADES`, for viewers.
COLOURS = dict(enumerate([(0, 0, 0), (70, 160, 70), (250, 220, 60), (240, 140, 40), (200, 30, 40)]))
#: Most cities of a training set, and how many tile sides their tiles lie apart.
CITIES, APART = 8, 3


def write_city(
    folder: str | Path,
    *,
    shape: tuple[int, int] = (2048, 2048),
    seed: int = 0,
    shift: float = 0.0,
    colour_change: float = 0.5,
    crs: str = "EPSG:32637",
    pixel: float = 0.5,
    post_crs: str | None = None,
    post_pixel: float | None = None,
    nodata: bool = False,
    tiles: tuple[int, int] | None = None,
    progress: Progress = silent,
) -> dict[str, Path]:
    """Write a city before and after a storm, window by window; memory hardly grows with its size.

    ``pre.tif``, ``post.tif``, ``truth.tif`` (indices of `catenary.phantoms.city.GRADES` on the grid of ``pre.tif``)
    and ``buildings.gpkg`` (polygons in the CRS of ``pre.tif`` with the text ``subtype``, as xBD has it, and the number
    ``grade``, 1 to 4). With `tiles`, a training set in the layout of xBD instead, cut from several cities that a
    ``dataset.toml`` makes its groups.

    Args:
        folder: Made when needed.
        shape: Rows and columns of ``pre.tif``; tiles have their own.
        seed: The same seed gives the same pixels.
        shift: Largest displacement of the later image in pixels, see `catenary.phantoms.city.City`.
        colour_change: How much the dates differ in colour, 0 to 1.
        crs: Projected CRS in metres.
        pixel: Side of a pixel in metres.
        post_crs, post_pixel: CRS of ``post.tif``, and side of its pixels in units of that; the later image is
            resampled where one is given.
        nodata: Each image lacks a corner, by an internal mask.
        tiles: Number of tiles, and their side in pixels.
        progress: Told of the windows, or the tiles.

    Returns:
        Paths by name: ``pre``, ``post``, ``truth`` and ``buildings``, or ``images``, ``labels`` and ``dataset``.

    Raises:
        ConfigError: A value is out of range, or contradicts another.
        InputError: A CRS is none, or `crs` not in metres.
        OutputError: The folder cannot be written, or holds such files already.
        MissingExtra: A library for georeferenced files is not installed.
    """
    folder = Path(folder)
    city = City(shape=shape, seed=seed, pixel=pixel, colour_change=colour_change, amplitude=shift, nodata=nodata)
    names = ("images", "labels", "dataset.toml") if tiles else ("pre.tif", "post.tif", "truth.tif", "buildings.gpkg")
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise OutputError(f"{folder} already holds {there[0]}; choose another folder")
    if tiles and min(tiles) < 1:
        raise ConfigError(f"tiles are a number and a side of at least 1, found {tiles}; ask for more")
    if tiles and (nodata or post_crs or post_pixel is not None):
        raise ConfigError("tiles have neither a CRS nor empty corners; leave out nodata, post_crs and post_pixel")
    if not tiles and _unit(crs) != "metre":
        raise InputError(f"the city's CRS has to be projected in metres, found {crs}; give one such as EPSG:32637")
    if post_crs:
        _unit(post_crs)  # known before hours are spent
    if post_pixel is not None and not post_pixel > 0:
        raise ConfigError(f"the later image's pixels need a positive side, found {post_pixel:g}; correct post_pixel")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
            stage = Path(temporary)
            if tiles:
                _write_tiles(stage, _cities(city, *tiles), *tiles, progress)
            else:
                grid = Grid(
                    spacing=(pixel, pixel), unit="m", affine=(pixel, 0, ORIGIN[0], 0, -pixel, ORIGIN[1]), crs=crs
                )
                _write_rasters(stage, city, grid, progress)
                _write_buildings(stage / "buildings.gpkg", city, grid)
                if post_crs or post_pixel:
                    plain = (stage / "post.tif").rename(stage / "post-as-pre.tif")
                    warp_raster(
                        plain, stage / "post.tif", crs=post_crs or crs, resolution=post_pixel, progress=progress
                    )
            for name in names:
                (stage / name).rename(folder / name)
    return {Path(name).stem: folder / name for name in names}


def _write_rasters(stage: Path, city: City, grid: Grid, progress: Progress) -> None:
    height, width = city.shape
    image: dict[str, Any] = {"shape": city.shape, "grid": grid, "bands": 3, "mask": city.nodata}
    corners = [(row, column) for row in range(0, height, WINDOW) for column in range(0, width, WINDOW)]
    with (
        raster_writer(stage / "pre.tif", **image) as pre,
        raster_writer(stage / "post.tif", **image) as post,
        raster_writer(stage / "truth.tif", shape=city.shape, grid=grid, colours=COLOURS) as truth,
    ):
        for done, (row, column) in enumerate(corners, 1):
            window = city.window(row, column, min(WINDOW, height - row), min(WINDOW, width - column))
            known = (window.valid_pre, window.valid_post) if city.nodata else (None, None)
            pre.write(row, column, window.pre, known[0])
            post.write(row, column, window.post, known[1])
            truth.write(row, column, window.label[None])
            progress("draw the city", done, len(corners))


def _write_buildings(path: Path, city: City, grid: Grid) -> None:
    import shapely

    found = city.buildings(0, 0, *city.shape)
    outlines = _polygons([outline for outline, _ in found])
    grades = np.array([grade for _, grade in found], np.int32)
    inside = shapely.intersects(outlines, shapely.box(0, 0, *city.shape[::-1]))
    with outline_file(path, crs=grid.crs or "") as file:
        subtypes = np.array(GRADES, object)[grades[inside]]
        file.append({"subtype": subtypes, "grade": grades[inside]}, outlines=to_world(outlines[inside], grid))


def _cities(city: City, count: int, side: int) -> list[City]:
    number = min(count, CITIES)
    rows = int(np.ceil(np.sqrt(-(-count // number))))
    seeds = np.random.SeedSequence([city.seed, 1]).generate_state(number).tolist()
    return [replace(city, shape=(APART * side * rows, APART * side * rows), seed=own) for own in seeds]


def _write_tiles(stage: Path, cities: Sequence[City], count: int, side: int, progress: Progress) -> None:
    for number in range(count):
        which, turn = number % len(cities), number // len(cities)
        city = cities[which]
        row, column = (APART * side * n for n in divmod(turn, city.shape[1] // (APART * side)))
        window = city.window(row, column, side, side)
        name = f"city-{which}_{number:08d}"
        found = city.buildings(row, column, side, side)
        for date, image in (("pre", window.pre), ("post", window.post)):
            write_image(stage / "images" / f"{name}_{date}_disaster.png", image)
            record = {
                "features": {"lng_lat": [], "xy": _features(found, (row, column), side, graded=date == "post")},
                "metadata": {
                    "width": side,
                    "height": side,
                    "gsd": city.pixel,
                    "disaster": f"city-{which}",
                    "disaster_type": "wind",
                },
            }
            write_json(stage / "labels" / f"{name}_{date}_disaster.json", record)
        progress("draw tiles", number + 1, count)
    write_text(stage / "dataset.toml", "name = \"made-up cities\"\ngroup = '^(city-\\d+)'\n")


def _features(
    found: Sequence[tuple[NDArray[np.float64], int]], corner: tuple[int, int], side: int, *, graded: bool
) -> list[dict[str, Any]]:
    """Buildings as xBD writes them, cut off at the border of the tile."""
    import shapely

    outlines = _polygons([outline - corner[::-1] for outline, _ in found])
    outlines = shapely.clip_by_rect(outlines, 0, 0, side, side)
    return [
        {
            "wkt": shapely.to_wkt(outline, rounding_precision=6),
            "properties": {"feature_type": "building"} | ({"subtype": GRADES[grade]} if graded else {}),
        }
        for outline, (_, grade) in zip(outlines, found, strict=True)
        if not outline.is_empty
    ]


def _polygons(outlines: Iterable[NDArray[np.float64]]) -> NDArray[np.object_]:
    import shapely

    return np.array([shapely.Polygon(outline) for outline in outlines], object)


def _unit(crs: str) -> str:
    """The unit of a projected CRS, "" for one that is not projected."""
    try:
        from pyproj import CRS
        from pyproj.exceptions import CRSError
    except ImportError:
        raise MissingExtra("pyproj", "geo") from None
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise InputError(f"'{crs}' is no coordinate reference system; give one such as EPSG:32637") from error
    return str(known.axis_info[0].unit_name) if known.is_projected else ""
