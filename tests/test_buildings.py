"""Buildings as vectors from a class map."""

import json
import sys

import numpy as np
import PIL.Image
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyogrio import raw
from pyproj import CRS, Geod
from scipy import ndimage

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError, MissingExtra, OutputError
from catenary.io import outline_files
from catenary.io.geowrite import raster_writer
from catenary.io.outline_files import outline_file
from catenary.io.outlines import ground_areas, polygonise, reproject
from catenary.io.raster import Raster
from catenary.predict import buildings
from catenary.predict.buildings import buildings_of_footprints, buildings_of_map
from catenary.predict.components import draw
from catenary.types import Grid
from rasters import ORIGIN, UTM, write

LABELS = LabelSet(names=("background", "no-damage", "minor-damage", "destroyed"))
X, Y = ORIGIN
PIXEL = 0.5
#: Longitudes and latitudes at a place where a degree is not as long as the other.
DEGREES = rasterio.Affine(6e-6, 0, 36.1, 0, -5e-6, 36.2)


def write_map(folder, label, sure=None, **more):
    label = np.asarray(label, np.uint8)
    sure = np.full(label.shape, 204, np.uint8) if sure is None else np.asarray(sure, np.uint8)
    return write(folder / "classes.tif", label[None], **more), write(folder / "sure.tif", sure[None], **more)


def box(column, row, width, height):
    """A rectangle given in pixels."""
    return shapely.box(
        X + PIXEL * column, Y - PIXEL * (row + height), X + PIXEL * (column + width), Y - PIXEL * row
    )  # fmt: skip


def write_footprints(path, outlines, *, crs=UTM, layer=None, append=False, kind="Unknown", **columns):
    columns = columns or {"name": np.array([f"n{i}" for i in range(len(outlines))], object)}
    wkb = shapely.to_wkb(np.array(outlines, object))
    raw.write(path, wkb, list(columns.values()), list(columns), crs=crs, geometry_type=kind, layer=layer, append=append)
    return path


def read_back(path):
    """Outlines and columns by name."""
    meta, _, wkb, data = raw.read(path)
    return shapely.from_wkb(wkb), dict(zip(meta["fields"], data, strict=True))


def grade(folder, footprints, rasters, *, out="out.gpkg", labels=LABELS, **more):
    summary = buildings_of_footprints(*rasters, footprints, folder / out, labels=labels, **more)
    return summary, *read_back(folder / out)


def trace(folder, rasters, *, out="map.gpkg", smallest=0.0, labels=LABELS, **more):
    summary = buildings_of_map(*rasters, folder / out, labels=labels, smallest=smallest, **more)
    return summary, *read_back(folder / out)


# Footprints ----------------------------------------------------------------------------------------------------------


def test_shares_are_exact_to_the_part_of_a_pixel(tmp_path):
    label = np.array([[0, 1, 1, 0], [0, 3, 2, 0], [0, 0, 0, 0]])
    sure = np.array([[0, 51, 102, 0], [0, 153, 255, 0], [0, 0, 0, 0]])
    outlines = [box(0.5, 0, 2, 1.5), box(1, 0.5, 2, 1), shapely.Polygon([(X, Y), (X + 1, Y), (X, Y - 1)])]
    path = write_footprints(tmp_path / "f.gpkg", outlines)
    summary, back, columns = grade(tmp_path, path, write_map(tmp_path, label, sure))
    # First: half of pixel 0, all of 1, half of 2 in the first row; half of these in the second.
    shares = [columns[f"share_{name}"] for name in LABELS.names]
    assert np.allclose(np.transpose(shares)[0], [0.75 / 3, 1.5 / 3, 0.25 / 3, 0.5 / 3], atol=1e-6)
    assert np.allclose(np.transpose(shares)[1], [0, 1 / 2, 1 / 4, 1 / 4], atol=1e-6)
    assert np.allclose(np.transpose(shares)[2], [1.5 / 2, 0.5 / 2, 0, 0], atol=1e-6)  # a triangle of 2 x 2 pixels
    sums = [51 + 51 + 76.5 + 63.75, 25.5 + 51 + 76.5 + 127.5, 25.5]  # of the confidence, by the same parts
    assert columns["confidence"] == pytest.approx(np.array(sums) / 255 / [3, 2, 2])
    assert columns["seen"] == pytest.approx([0.75, 1, 0.25], abs=1e-6)
    assert columns["known"].tolist() == pytest.approx([1, 1, 1])
    assert columns["area_m2"].tolist() == pytest.approx([0.75, 0.5, 0.5])
    assert columns["damage"].tolist() == ["no-damage"] * 3
    assert columns["grade"].tolist() == [1, 1, 1]
    assert columns["name"].tolist() == ["n0", "n1", "n2"]
    assert list(columns) == [
        "name", "grade", "damage", "confidence", "area_m2", "seen", "known",
        *[f"share_{name}" for name in LABELS.names], "reason",
    ]  # fmt: skip
    assert shapely.equals_exact(back, np.array(outlines), 0).all()
    assert pyogrio.read_info(tmp_path / "out.gpkg")["layer_name"] == "buildings"
    assert (summary.count, summary.grades) == (3, {"no-damage": 3, "minor-damage": 0, "destroyed": 0})


def test_equal_shares_take_the_graver_and_little_is_enough(tmp_path):
    label = np.zeros((4, 12))
    label[0, :2] = 1, 3
    label[0, 4:8] = 1, 2, 2, 1
    label[3, 11] = 2
    path = write_footprints(tmp_path / "f.gpkg", [box(0, 0, 2, 1), box(3.75, 0, 4.5, 4), box(8, 0, 4, 4)])
    _, _, columns = grade(tmp_path, path, write_map(tmp_path, label))
    assert columns["damage"].tolist() == ["destroyed", "minor-damage", "minor-damage"]
    assert columns["seen"][2] == pytest.approx(1 / 16, abs=1e-6)
    label[:] = np.repeat([2, 1], 6)
    halves = [box(part, 0.3, 12 - 2 * part, 3.1) for part in np.linspace(0.01, 5, 50)]
    halves = reproject(np.array(halves), UTM, "EPSG:4326")  # and back again, with some noise
    path = write_footprints(tmp_path / "g.gpkg", halves, crs="EPSG:4326")
    _, _, columns = grade(tmp_path, path, write_map(tmp_path, label))
    assert set(columns["damage"]) == {"minor-damage"}  # the last digits do not decide


def along(size, start, end):
    """The part of each of `size` pixels in a row that lies between two places."""
    pixels = np.arange(size)
    return np.clip(np.minimum(pixels + 1, end) - np.maximum(pixels, start), 0, 1)


@settings(max_examples=8)
@given(seed=st.integers(0, 999))
def test_any_rectangles_over_any_windows(tmp_path_factory, seed):
    """Against the product of the covered lengths of rows and columns, with windows of a few pixels."""
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("a")
    label = rng.choice([0, 1, 2, 3, 255], (23, 31), p=[0.4, 0.2, 0.15, 0.15, 0.1])
    sure = rng.integers(0, 256, label.shape)
    corner = rng.uniform(-8, [31, 23], (40, 2))
    outlines = [box(*at, *size) for at, size in zip(corner, rng.uniform(0.2, 14, (40, 2)), strict=True)]
    outlines[0] = box(-2, -2, 40, 40)
    path = write_footprints(folder / "f.gpkg", outlines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buildings, "TILE", int(rng.integers(5, 20)))
        patch.setattr(buildings, "BATCH", int(rng.integers(15, 50)))
        patch.setattr(outline_files, "_BATCH", 10)
        _, _, columns = grade(folder, path, write_map(folder, label, sure))
    for i, outline in enumerate(outlines):
        left, bottom, right, top = outline.bounds
        spans = (23, Y - top, Y - bottom), (31, left - X, right - X)
        covered = np.outer(*(along(size, start / PIXEL, end / PIXEL) for size, start, end in spans))
        amounts = np.array([covered[label == k].sum() for k in range(4)])
        known = amounts.sum()
        assert columns["known"][i] == pytest.approx(known / outline.area * PIXEL**2, abs=1e-5)
        if known < 1e-9:
            assert columns["reason"][i] == "no data"
            assert np.isnan([columns[name][i] for name in ("grade", "seen", "share_destroyed", "confidence")]).all()
            continue
        found = [columns[f"share_{name}"][i] for name in LABELS.names]
        assert found == pytest.approx(list(amounts / known), abs=1e-5)
        expected = (covered * sure)[label < 255].sum() / known / 255
        assert columns["confidence"][i] == pytest.approx(expected, abs=1e-5)
        if amounts[1:].sum() < 1e-9:
            assert columns["reason"][i] == "no building seen"
            assert columns["damage"][i] is None
        else:
            assert columns["reason"][i] is None
            assert amounts[int(columns["grade"][i])] >= amounts[1:].max() - 1e-5


def test_footprints_in_another_crs_keep_it(tmp_path):
    rng = np.random.default_rng(0)
    rasters = write_map(tmp_path, ndimage.zoom(rng.integers(0, 4, (10, 10)), 8, order=0))
    outlines = [shapely.affinity.rotate(box(*at, 9, 7), 20) for at in rng.uniform(2, 68, (30, 2))]
    _, _, first = grade(tmp_path, write_footprints(tmp_path / "f.gpkg", outlines), rasters)
    for crs in ("EPSG:4326", "EPSG:3857", "EPSG:32636"):
        moved = reproject(np.array(outlines), UTM, crs)
        path = write_footprints(tmp_path / "g.fgb", moved, crs=crs)
        _, back, columns = grade(tmp_path, path, rasters, out="other.gpkg")
        assert pyogrio.read_info(tmp_path / "other.gpkg")["crs"] == crs
        order = [columns["name"].tolist().index(name) for name in first["name"]]
        assert shapely.equals_exact(back[order], moved, 0).all()
        for name in ("share_background", "share_destroyed", "confidence", "area_m2"):
            tolerance = {"area_m2": 2e-3 * 16}.get(name, 1e-3)
            assert np.abs(columns[name][order] - first[name]).max() < tolerance


def test_a_turned_raster_and_one_in_degrees(tmp_path):
    label = np.zeros((40, 40))
    label[10:20, 5:25] = 3
    square = np.array([shapely.box(5, 15, 25, 20)])  # in pixels: the lower half of the building
    for crs, affine in (
        (UTM, rasterio.Affine(0.4, 0.2, X, 0.3, -0.4, Y)),
        ("EPSG:4326", DEGREES),
    ):
        rasters = write_map(tmp_path, label, crs=crs, transform=affine)
        outline = shapely.transform(square, lambda xy, a=affine: np.stack(a @ xy.T, 1))
        path = write_footprints(tmp_path / "f.geojson", reproject(outline, crs, "EPSG:4326"), crs="EPSG:4326")
        _, _, columns = grade(tmp_path, path, rasters)
        assert columns["share_destroyed"][0] == pytest.approx(1, abs=1e-3)
        _, outlines, own = trace(tmp_path, rasters)
        assert len(outlines) == 1
        assert own["area_m2"][0] == pytest.approx(2 * columns["area_m2"][0], rel=2e-3)
        path = write_footprints(tmp_path / "own.gpkg", outlines, crs=crs)
        _, _, columns = grade(tmp_path, path, rasters)
        assert columns["share_destroyed"][0] == pytest.approx(1, abs=1e-6)


def test_every_footprint_without_a_grade_says_why(tmp_path):
    label = np.full((8, 24), 1)
    label[:, 8:16] = 0
    valid = np.ones(label.shape, bool)
    valid[:, 16:] = False
    grid = Grid(affine=(PIXEL, 0, X, 0, -PIXEL, Y), crs=UTM)
    for name, values in (("classes.tif", label), ("sure.tif", np.full(label.shape, 255))):
        with raster_writer(tmp_path / name, shape=label.shape, grid=grid, mask=True, block=16) as raster:
            raster.write(0, 0, values[None].astype(np.uint8), valid)
    bow = shapely.Polygon([(X, Y), (X + 2, Y - 2), (X + 2, Y), (X, Y - 2)])
    outlines = [
        box(1, 1, 4, 4), box(9, 1, 4, 4), box(18, 1, 4, 4), box(400, 1, 4, 4), box(14, 1, 4, 4), bow,
        shapely.Point(X, Y), None, shapely.Polygon(),
        shapely.GeometryCollection([box(0, 0, 4, 2), shapely.Point(X, Y)]),
    ]  # fmt: skip
    path = write_footprints(tmp_path / "f.gpkg", outlines)
    summary, back, columns = grade(tmp_path, path, (tmp_path / "classes.tif", tmp_path / "sure.tif"))
    why = [None, "no building seen", "no data", "no data", "no building seen", None, *["no outline"] * 3, None]
    assert columns["reason"].tolist() == why
    assert columns["known"][:6].tolist() == pytest.approx([1, 1, 0, 0, 0.5, 1])
    assert np.isnan([columns["area_m2"][6:9], columns["known"][6:9]]).all()
    assert columns["area_m2"][5] == pytest.approx(2)
    assert (summary.count, summary.grades["no-damage"], summary.repaired) == (10, 3, 1)
    assert (summary.no_building, summary.no_data, summary.no_outline) == (2, 2, 3)
    assert back[5].equals_exact(bow, 0)  # kept as it was given
    # A nodata value says the same as a mask.
    path = write_footprints(tmp_path / "g.gpkg", outlines[:4])
    _, _, columns = grade(tmp_path, path, write_map(tmp_path, np.where(valid, label, 99), nodata=99))
    assert columns["reason"].tolist() == why[:4]


def test_footprints_anywhere_on_earth_do_no_harm(tmp_path):
    """The raster's CRS does not reach some; one stands over several windows, one beside its own box's window."""
    slim = [(X + 1, Y - 1), (X + 8, Y - 8), (X + 8.2, Y - 8), (X + 1.2, Y - 1)]
    near = reproject(np.array([box(3, 3, 9, 9), shapely.Polygon(slim)]), UTM, "EPSG:4326")
    far = [shapely.box(126, 0, 126.1, 0.1), shapely.box(39, 89.9, 40, 90), shapely.box(10, 95, 11, 96)]
    path = write_footprints(tmp_path / "f.gpkg", [*near, *far, shapely.force_3d(near[0], 7)], crs="EPSG:4326")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buildings, "TILE", 8)
        _, back, columns = grade(tmp_path, path, write_map(tmp_path, np.ones((24, 24))))
    assert columns["reason"].tolist() == [None, None, *["no data"] * 3, None]
    assert columns["known"].tolist() == pytest.approx([1, 1, 0, 0, 0, 1], abs=1e-6)
    assert shapely.has_z(back).tolist() == [False] * 5 + [True]


def test_columns_of_the_footprints_keep_type_value_and_order(tmp_path):
    properties = [
        {"id": 2**40 + i, "old": i % 2 == 0 if i else None, "built": "1999-12-31", "seen": "by me", "Grade": 7,
         "fid": 5, "tags": ["a", "b"], "height": None if i == 1 else 2.5, "at": "2023-02-06T04:17:00+03:00",
         'a "b"': "ü"}
        for i in range(3)
    ]  # fmt: skip
    outlines = reproject(np.array([box(2 * i, 0, 2, 2) for i in range(3)]), UTM, "EPSG:4326")
    features = [
        {"type": "Feature", "properties": p, "geometry": shapely.geometry.mapping(o)}
        for p, o in zip(properties, outlines, strict=True)
    ]
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    rasters = write_map(tmp_path, np.ones((4, 8)))
    for out in ("out.gpkg", "out.geojson"):
        _, _, columns = grade(tmp_path, tmp_path / "f.geojson", rasters, out=out)
        info = pyogrio.read_info(tmp_path / out)
        kinds = dict(zip(info["fields"], info["dtypes"], strict=True))
        assert columns["id"].tolist() == [2**40 + i for i in range(3)]
        assert [kinds[name] for name in ("id", "old", "built", "height")] == [
            "int64",
            "bool",
            "datetime64[D]",
            "float64",
        ]
        assert np.isnan(columns["old"].astype(float)).tolist() == [True, False, False]
        assert np.isnan(columns["height"]).tolist() == [False, True, False]
        assert columns["own_seen"].tolist() == ["by me"] * 3
        assert columns["own_Grade"].tolist() == [7] * 3
        assert columns["own_fid"].tolist() == [5] * 3
        assert columns["seen"].tolist() == pytest.approx([1] * 3)
        assert str(columns["at"][0]) == "2023-02-06T01:17:00.000"
        assert columns['a "b"'].tolist() == ["ü"] * 3
        assert "b" in str(columns["tags"][0])


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson"])
def test_formats(tmp_path, suffix):
    rasters = write_map(tmp_path, np.ones((8, 8)))
    path = write_footprints(tmp_path / "f.gpkg", [box(1, 1, 4, 4), box(2, 2, 3, 3)], kind="Polygon")
    _, back, columns = grade(tmp_path, path, rasters, out=f"out{suffix}")
    info = pyogrio.read_info(tmp_path / f"out{suffix}")
    assert info["layer_name"] == "buildings"
    assert info["crs"] == ("EPSG:4326" if suffix == ".geojson" else UTM)
    assert columns["damage"].tolist() == ["no-damage"] * 2
    where = reproject(back, info["crs"], UTM)
    assert sorted(shapely.area(where)) == pytest.approx([9 / 4, 4], rel=2e-2 if suffix == ".geojson" else 1e-9)
    summary, back, _ = trace(tmp_path, rasters, out=f"map{suffix}")
    assert shapely.area(reproject(back, info["crs"], UTM)) == pytest.approx([16], rel=1e-2)
    assert summary.path == tmp_path / f"map{suffix}"
    assert {file.name for file in tmp_path.iterdir()} == {
        "classes.tif", "sure.tif", "f.gpkg", f"out{suffix}", f"map{suffix}",
    }  # fmt: skip


def test_bad_footprints_say_so_and_leave_nothing(tmp_path):
    rasters = write_map(tmp_path, np.ones((8, 8)))
    good = write_footprints(tmp_path / "good.gpkg", [box(1, 1, 4, 4)])
    (tmp_path / "out.gpkg").write_text("an older file")

    def fails(path, message, error=InputError, out="out.gpkg", **more):
        with pytest.raises(error, match=message):
            buildings_of_footprints(*rasters, path, tmp_path / out, labels=LABELS, **more)

    fails(tmp_path / "none.gpkg", "there is no file")
    (tmp_path / "text.gpkg").write_text("no vector file")
    fails(tmp_path / "text.gpkg", r"text.gpkg cannot be read \(")
    fails(write_footprints(tmp_path / "empty.fgb", []), r"empty.fgb holds no polygons \(0 features")
    fails(
        write_footprints(tmp_path / "points.fgb", [shapely.Point(X, Y)], kind="Point"), r"holds no polygons \(Points in"
    )
    fails(good, "has no layer 'roofs'; known are: good", layer="roofs")
    fails(good, "states EPSG:32637, found EPSG:32636 given", crs="EPSG:32636")
    fails(good, "'EPSG:0' is no coordinate reference system", crs="EPSG:0")
    fails(good, r"cannot write '.shp' files such as out.shp; use .gpkg, .fgb, .geojson", OutputError, out="out.shp")
    far = write_footprints(
        tmp_path / "far.gpkg", reproject(np.array([box(9000, 1, 4, 4)]), UTM, "EPSG:4326"), crs="EPSG:4326"
    )
    fails(
        far, r"no footprint of .*far.gpkg \(x 39.0\d* to .*\) lies on .*classes.tif \(x 39 to .*give footprints of this"
    )
    around = write_footprints(tmp_path / "around.gpkg", [box(-90, -90, 4, 4), box(90, 90, 4, 4)])
    fails(around, "no footprint of .*around.gpkg")
    with pytest.warns(UserWarning, match="crs"):
        bare = write_footprints(tmp_path / "bare.fgb", [box(1, 1, 4, 4)], crs=None)
    fails(bare, "bare.fgb states no coordinate reference system")
    two = write_footprints(tmp_path / "two.gpkg", [box(1, 1, 4, 4)], layer="a")
    write_footprints(two, [box(1, 1, 4, 4)], layer="b", append=True)
    fails(two, r"has 2 layers of polygons \(a, b\); name one")
    case = write_footprints(tmp_path / "case.fgb", [box(1, 1, 4, 4)], a=np.array([1]), A=np.array([2]))
    fails(case, r"columns that differ in case only \(a, A\)")
    assert (tmp_path / "out.gpkg").read_text() == "an older file"
    assert not list(tmp_path.glob(".writing*"))
    for path, more in ((bare, {"crs": UTM}), (two, {"layer": "b"})):
        summary, _, _ = grade(tmp_path, path, rasters, **more)
        assert summary.grades["no-damage"] == 1


def test_bad_rasters(tmp_path):
    label = np.ones((8, 8))
    path = write_footprints(tmp_path / "f.gpkg", [box(1, 1, 4, 4)])
    classes, sure = write_map(tmp_path, label)
    shorter = write(tmp_path / "shorter.tif", np.ones((1, 7, 8), np.uint8))
    shifted = write(
        tmp_path / "a.tif", np.ones((1, 8, 8), np.uint8), transform=rasterio.Affine(PIXEL, 0, X + 1, 0, -PIXEL, Y)
    )
    floats = write(tmp_path / "floats.tif", np.ones((1, 8, 8), np.float32))
    for rasters, message in (
        ((classes, shorter), r"another grid \(7x8 pixels\)"),
        ((classes, shifted), "another grid"),
        ((classes, floats), "must have one band of uint8, found 1 of float32"),
        (write_map(tmp_path, label * 4), "holds the class 4, the labels are 0 to 3 or 255"),
    ):
        for call in (grade, lambda folder, _, rasters: trace(folder, rasters)):
            with pytest.raises(InputError, match=message):
                call(tmp_path, path, rasters)
    for wrong in ({"smallest": -1.0}, {"band": 0}, {"outlines": "round"}):
        with pytest.raises(ConfigError):
            trace(tmp_path, (classes, sure), **wrong)
    with pytest.raises(OutputError, match="cannot write"):
        trace(tmp_path, write_map(tmp_path, label), out="f.gpkg/map.gpkg")


# Our own map ---------------------------------------------------------------------------------------------------------


def components(label):
    """Of each component, in the order of the last pixels: the pixels of each grade and its mask."""
    names, count = ndimage.label((label > 0) & (label < 255), np.ones((3, 3)))
    masks = sorted((names == i for i in range(1, count + 1)), key=lambda mask: np.flatnonzero(mask)[-1])
    return [([int((label[mask] == k).sum()) for k in range(1, 4)], mask) for mask in masks]


def snake(height, width):
    """One component that goes to and fro, and another between its turns that touches no part of it."""
    label = np.zeros((height, width), np.uint8)
    label[::4] = 1
    label[2::8, -1] = label[1::8, -1] = label[3::8, -1] = 2
    label[6::8, 0] = label[5::8, 0] = label[7::8, 0] = 3
    label[2::8, 3:6] = 3
    return label


@settings(max_examples=10)
@given(seed=st.integers(0, 999), band=st.integers(1, 40))
def test_the_map_is_the_same_for_any_band(tmp_path_factory, seed, band):
    folder, rng = tmp_path_factory.mktemp("a"), np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 3, 255], (29, 24), p=[0.55, 0.15, 0.1, 0.1, 0.1]) if seed % 3 else snake(29, 24)
    if seed % 2:  # larger shapes, with holes
        label = ndimage.zoom(label[:15, :12], 2, order=0)[:29]
    sure = rng.integers(0, 256, label.shape)
    rasters = write_map(folder, label, sure)
    summary, outlines, columns = trace(folder, rasters, band=band)
    expected = components(label)
    assert summary.count == len(outlines) == len(expected)
    assert shapely.is_valid(outlines).all()
    place = rasterio.Affine(PIXEL, 0, X, 0, -PIXEL, Y)
    drawn = rasterio.features.rasterize(zip(outlines, range(1, 999), strict=False), label.shape, transform=place)
    assert np.array_equal(drawn, sum((i * mask for i, (_, mask) in enumerate(expected, 1)), np.zeros(label.shape, int)))
    for i, (counts, mask) in enumerate(expected):
        gravest = max(k for k in range(1, 4) if counts[k - 1] == max(counts))
        assert (columns["grade"][i], columns["damage"][i]) == (gravest, LABELS.names[gravest])
        shares = [columns[f"share_{name}"][i] for name in LABELS.names[1:]]
        assert shares == pytest.approx([n / sum(counts) for n in counts])
        assert columns["confidence"][i] == pytest.approx(sure[mask].mean() / 255)
        assert columns["area_m2"][i] == pytest.approx(mask.sum() * PIXEL**2)
    _, whole, others = trace(folder, rasters, out="whole.gpkg", band=100)
    assert shapely.equals_exact(outlines, whole, 0).all()  # corner by corner
    assert all(np.array_equal(columns[name], others[name]) for name in columns)


def test_holes_and_corners(tmp_path):
    label = np.zeros((12, 12))
    label[1:8, 1:8] = 1
    label[2:4, 2:4] = label[4:6, 4:6] = 0  # two holes that touch in a corner
    label[8, 8] = 2  # and a pixel that touches the building in one
    for band in (1, 5, 12):
        _, outlines, columns = trace(tmp_path, write_map(tmp_path, label), band=band)
        assert [len(part.interiors) for part in outlines[0].geoms] in ([0, 2], [2, 0])
        assert columns["area_m2"].tolist() == pytest.approx([42 / 4])
        assert columns["share_minor-damage"].tolist() == pytest.approx([1 / 42])


def test_small_ones_are_left_out_by_their_pixels(tmp_path):
    label = np.zeros((9, 20))
    label[0:2, 0:2] = label[0:9, 5:6] = label[4, 8:16] = 1  # 4, 9 and 8 pixels
    rasters = write_map(tmp_path, label)
    for band, outlines in ((1, "pixels"), (2, "simple"), (20, "regular")):
        _, _, columns = trace(tmp_path, rasters, smallest=2.0, band=band, outlines=outlines)
        assert len(columns["grade"]) == 2
    _, _, columns = trace(tmp_path, rasters, smallest=2.01)
    assert columns["area_m2"].tolist() == pytest.approx([2.25])


def test_no_building_gives_an_empty_layer_with_its_columns(tmp_path):
    for suffix in (".gpkg", ".fgb", ".geojson"):
        summary, outlines, columns = trace(tmp_path, write_map(tmp_path, np.zeros((9, 9))), out=f"a{suffix}", band=4)
        assert summary.count == len(outlines) == 0
        assert suffix == ".geojson" or set(columns) > {"grade", "damage", "share_destroyed"}


def test_outlines_are_drawn_straight(tmp_path):
    shape = (120, 120)
    corners = shapely.affinity.rotate(shapely.box(30, 40, 90, 75), 23)
    ell = shapely.affinity.rotate(shapely.box(20, 20, 100, 100).difference(shapely.box(60, 60, 100, 100)), -35)
    disc = shapely.Point(60, 60).buffer(40)
    ring = corners.difference(shapely.affinity.rotate(shapely.box(45, 52, 75, 64), 23))
    for made, count, share in ((corners, 5, 0.96), (ell, 7, 0.96), (ring, 10, 0.93)):
        mask = rasterio.features.rasterize([made], shape).astype(np.int32)
        _, traced = polygonise(mask)
        regular = draw(traced, "regular", np.diag([0.5, -0.5]))
        assert shapely.get_num_coordinates(regular).tolist() == [count]
        assert made.intersection(regular[0]).area / made.union(regular[0]).area > share
        simple = draw(traced, "simple", np.diag([0.5, -0.5]))
        assert shapely.is_valid(simple).all()
        assert traced[0].hausdorff_distance(simple[0]) <= 1.01
        assert shapely.get_num_coordinates(simple)[0] < shapely.get_num_coordinates(traced)[0] / 4
    _, traced = polygonise(rasterio.features.rasterize([disc], shape).astype(np.int32))
    regular = draw(traced, "regular", np.eye(2))[0]
    assert regular.intersection(traced[0]).area > 0.8 * regular.union(traced[0]).area


def test_jogs_go_and_what_has_no_right_angles_stays():
    def coordinates(outline):
        return shapely.get_num_coordinates(draw(np.array([outline]), "regular", np.eye(2)))[0]

    for height, count in ((1.5, 5), (3, 9)):  # a bump on the roof of a house, shorter and longer than `JOG`
        assert coordinates(shapely.box(0, 0, 40, 20) | shapely.box(15, 20, 25, 20 + height)) == count
    for sides in ([(0, 0), (50, 0), (10, 40)], [(0, 0), (60, 0), (35, 30), (25, 30)]):
        outline = shapely.Polygon(sides)
        assert draw(np.array([outline]), "regular", np.eye(2))[0].equals(outline)


def test_right_angles_are_right_on_the_ground(tmp_path):
    """Where pixels are not square, a right angle between pixels is none outside."""
    house = shapely.affinity.rotate(shapely.box(0, 0, 40, 25), 30)  # metres
    wide = shapely.affinity.scale(house, 1 / 0.5, 1 / 0.3, origin=(0, 0))
    moved = shapely.affinity.translate(wide, 40, 20)
    mask = rasterio.features.rasterize([moved], (160, 160)).astype(np.int32)
    regular = draw(polygonise(mask)[1], "regular", np.diag([0.5, 0.3]))[0]
    sides = np.diff(shapely.get_coordinates(regular) * (0.5, 0.3), axis=0)
    assert len(sides) == 4
    assert np.abs((sides * np.roll(sides, 1, 0)).sum(1)).max() < 1e-6
    assert regular.intersection(moved).area / regular.union(moved).area > 0.95


@settings(max_examples=20)
@given(seed=st.integers(0, 999))
def test_drawn_outlines_are_valid_and_near(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(40, 40)), rng.uniform(0.5, 3)) > 0
    names, _ = ndimage.label(mask)
    _, traced = polygonise(names.astype(np.int32))
    for how in ("simple", "regular"):
        drawn = draw(traced, how, np.array([[0.3, 0.1], [0.1, -0.3]]))
        assert shapely.is_valid(drawn).all()
        assert (shapely.area(drawn) > 0).all()


# Both ----------------------------------------------------------------------------------------------------------------


def test_areas_on_the_ground():
    earth = Geod(ellps="WGS84")
    house = shapely.box(36.1, 36.2, 36.1002, 36.2001) - shapely.box(36.10005, 36.20002, 36.1001, 36.20005)
    true = abs(earth.geometry_area_perimeter(shapely.geometry.polygon.orient(house))[0])
    for crs, tolerance in (("EPSG:4326", 1e-6), ("EPSG:3857", 1e-6), ("EPSG:32637", 1e-2), ("EPSG:2263", None)):
        if tolerance is None:  # feet
            place = np.array([shapely.box(980000, 200000, 980100, 200100)])
            assert ground_areas(place, crs)[0] == pytest.approx((100 * 1200 / 3937) ** 2, rel=1e-12)
            continue
        found = ground_areas(reproject(np.array([house, None]), "EPSG:4326", crs), crs)
        assert found[0] == pytest.approx(true, rel=tolerance)
        assert np.isnan(found[1])
    plane = 'LOCAL_CS["a hall",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    assert CRS(plane).is_engineering
    assert ground_areas(np.array([shapely.box(0, 0, 3, 4)]), plane).tolist() == [12]


def test_windows_only_are_read_and_progress_grows(tmp_path, monkeypatch):
    sizes = []
    read = Raster.read

    def spy(self, row, column, height, width):
        sizes.append((height, width))
        return read(self, row, column, height, width)

    monkeypatch.setattr(Raster, "read", spy)
    monkeypatch.setattr(buildings, "TILE", 16)
    monkeypatch.setattr(buildings, "BATCH", 7)
    rasters = write_map(tmp_path, np.ones((100, 50)))
    path = write_footprints(tmp_path / "f.gpkg", [box(i, i, 20, 20) for i in range(20)])
    seen = []

    def note(what, done, total):
        seen.append((what, done, total))

    grade(tmp_path, path, rasters, progress=note)
    assert max(sizes) <= (16, 16)
    sizes.clear()
    trace(tmp_path, rasters, band=16, progress=note)
    assert set(sizes) == {(16, 50), (4, 50)}
    assert {what for what, _, _ in seen} == {"buildings"}
    for size in (20, 100):
        done = [done for _, done, total in seen if total == size]
        assert done == sorted(done)
        assert done[-1] == size


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    rasters = write_map(tmp_path, np.ones((8, 8)))
    path = write_footprints(tmp_path / "f.gpkg", [box(1, 1, 4, 4)])
    for package in ("pyogrio", "exactextract"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtra, match=rf"{package} is not installed.*catenary\[geo\]"):
                grade(tmp_path, path, rasters)


@pytest.mark.real
def test_real_roofs_lie_in_their_own_mask(tmp_path, real_data):
    root = real_data("buildings-geotiff")
    image = sorted(root.glob("images/*.tif"))[20]
    mask = np.asarray(PIL.Image.open(root / "masks" / f"{image.stem}.png"))
    with rasterio.open(image) as file:
        place = {"crs": file.crs, "transform": file.transform}
    labels = LabelSet(names=("background", "building"))
    rasters = write_map(tmp_path, mask, **place)
    summary, _, columns = grade(tmp_path, root / "buildings.geojson", rasters, labels=labels)
    there = columns["known"] > 0.99
    assert summary.count == 1466
    assert there.sum() >= 3
    assert (columns["seen"][there] > 0.9).all()
    within = (columns["area_m2"] * columns["known"]).sum()
    for outlines in ("pixels", "regular"):
        _, _, own = trace(tmp_path, rasters, labels=labels, outlines=outlines)
        assert own["area_m2"].sum() == pytest.approx(within, rel=0.05)


def test_a_broken_run_leaves_the_older_file(tmp_path):
    (tmp_path / "a.gpkg").write_text("an older file")

    def fail():
        with outline_file(tmp_path / "a.gpkg", crs=UTM) as file:
            file.append({"grade": np.array([1])}, outlines=np.array([box(0, 0, 1, 1)]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a.gpkg").read_text() == "an older file"
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", rasterio.Affine(5e-6, 0, 180 - 2e-4, 0, -5e-6, -17.5)),
        ("EPSG:4326", rasterio.Affine(5e-6, 0, -180 - 2e-4, 0, -5e-6, -17.5)),
        ("EPSG:3832", rasterio.Affine(0.5, 0, 3_339_584.724 - 20, 0, -0.5, -1_971_700)),
    ],
)
def test_the_180th_meridian_is_no_border(tmp_path, crs, transform, cut):
    label = np.zeros((80, 80))
    label[20:40, 20:60] = 3
    rasters = write_map(tmp_path, label, crs=crs, transform=transform)
    corners = shapely.box(20, 20, 60, 40)
    house = shapely.transform(corners, lambda xy: np.stack(transform @ xy.T, 1))
    house = reproject(np.array([house]), crs, "EPSG:4326")[0]
    east = shapely.transform(house, lambda xy: np.stack([xy[:, 0] % 360, xy[:, 1]], 1))
    west, _, right, _ = east.bounds
    assert west < 180 < right
    if cut:
        parts = [shapely.intersection(east, shapely.box(a, -90, b, 90)) for a, b in ((0, 180), (180, 360))]
        house = shapely.MultiPolygon([parts[0], shapely.transform(parts[1], lambda xy: xy - (360, 0))])
    else:
        house = shapely.transform(east, lambda xy: np.where(xy > 180, xy - (360, 0), xy))
    path = write_footprints(tmp_path / "f.gpkg", [house], crs="EPSG:4326")
    _, _, columns = grade(tmp_path, path, rasters)
    assert columns["share_destroyed"][0] == pytest.approx(1, abs=1e-3)
    assert columns["known"][0] == pytest.approx(1, abs=1e-6)
    _, _, own = trace(tmp_path, rasters)
    assert own["area_m2"].tolist() == pytest.approx(columns["area_m2"].tolist(), rel=2e-3)
    assert columns["area_m2"][0] < 500
