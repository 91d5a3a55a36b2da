"""Polygons from vector files as label maps on any grid."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.errors import InputError
from catenary.io import read_mask
from catenary.io.raster import open_raster
from catenary.io.vectors import open_vectors
from catenary.types import Grid
from polygons import brought_to, degrees, on_ground, square, write_polygons
from rasters import ORIGIN, UTM

GRID = Grid(affine=(0.5, 0, ORIGIN[0], 0, -0.5, ORIGIN[1]), crs=UTM)
SUFFIXES = (".gpkg", ".fgb", ".geojson", ".shp")


# Drawing


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_pixels_whose_centres_lie_inside(suffix, tmp_path):
    ring = square(2, 3, 10, 6).difference(square(4, 5, 3, 2))
    shapes = on_ground([ring, square(20.4, 20.6, 5), square(40, 2, 0.9), square(-5, 30, 8, 4)])
    grades = ["minor-damage", "Destroyed", "major damage", "no-damage"]
    crs = "EPSG:4326" if suffix == ".geojson" else UTM
    path = write_polygons(tmp_path / f"a{suffix}", degrees(shapes) if suffix == ".geojson" else shapes, grades, crs=crs)
    vectors = open_vectors(path)
    assert (vectors.count, vectors.crs, vectors.columns, vectors.column) == (4, crs, ("subtype",), "subtype")
    assert vectors.bounds[0] == pytest.approx(shapely.total_bounds(shapes if crs == UTM else degrees(shapes))[0])
    expected = np.zeros((50, 60), np.uint8)
    expected[3:9, 2:12] = 2
    expected[5:7, 4:7] = 0
    expected[21:26, 20:25] = 4
    expected[2, 40] = 3
    expected[30:34, :3] = 1
    np.testing.assert_array_equal(vectors.rasterise(GRID, 0, 0, 50, 60), expected)
    assert vectors.contents.values == {1: 1, 2: 1, 3: 1, 4: 1}


def test_the_graver_grade_stays_and_a_grade_more_than_none(tmp_path):
    shapes = on_ground([square(0, 0, 5), square(3, 0, 5), square(6, 0, 5), square(0, 8, 4), square(2, 8, 4)])
    vectors = open_vectors(
        write_polygons(tmp_path / "a.gpkg", shapes, ["destroyed", "no-damage", "un-classified", "minor-damage", None])
    )
    label = vectors.rasterise(GRID, 0, 0, 12, 12)
    assert label[0].tolist() == [4, 4, 4, 4, 4, 1, 1, 1, 255, 255, 255, 0]
    assert label[8].tolist() == [2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0]
    assert vectors.rasterise(GRID, 8, 0, 1, 6, default=3).tolist() == [[2, 2, 3, 3, 3, 3]]
    assert vectors.within(GRID, 8, 0, 4, 12).values.tolist() == [2, 0]


def test_what_is_not_valid_is_repaired_and_counted_and_what_has_no_area_left_out(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    twice = shapely.MultiPolygon([square(20, 0, 6), square(23, 0, 6)])  # its parts overlap
    line, spike = shapely.LineString([(0, 20), (30, 20)]), shapely.Polygon([(0, 30), (9, 30), (9, 30)])
    mixed = shapely.GeometryCollection([square(30, 0, 4), shapely.LineString([(30, 2), (50, 2)]), shapely.Point(40, 9)])
    shapes = on_ground([bow_tie, twice, line, shapely.Polygon(), spike, mixed])
    vectors = open_vectors(write_polygons(tmp_path / "a.gpkg", shapes))
    found = vectors.within(GRID, 0, 0, 40, 60)
    assert found.repaired == 3
    assert shapely.is_valid(found.polygons).all()
    assert (vectors.contents.invalid, vectors.contents.empty) == (3, 2)
    label = vectors.rasterise(GRID, 0, 0, 40, 60)
    assert 40 <= label[:10, :10].sum() <= 60  # both halves
    assert label[:6, 20:29].all()
    assert label[:4, 30:34].all()
    label[:10, :10] = label[:6, 20:29] = label[:4, 30:34] = 0
    assert not label.any()


@st.composite
def outlines(draw):
    """Boxes with a hole, slanted or with corners on centres and borders of pixels, where a rasteriser has to choose."""
    halves = st.integers(-10, 130).map(lambda n: n / 2)
    x, y, w, h = draw(halves), draw(halves), draw(st.integers(1, 40)) / 2, draw(st.integers(1, 40)) / 2
    one = shapely.box(x, y, x + w, y + h).difference(shapely.box(x + w / 4, y + h / 4, x + w / 2, y + h / 2))
    return shapely.affinity.rotate(one, draw(st.sampled_from((0, 0, 45, 30, 17.3))), origin=(x, y))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("outlines")


@settings(max_examples=30)
@given(
    shapes=st.lists(outlines(), min_size=1, max_size=8),
    grades=st.lists(st.sampled_from((1, 2, 3, 4, 255)), min_size=8, max_size=8),
    where=st.tuples(st.integers(-20, 70), st.integers(-20, 70), st.integers(1, 60), st.integers(1, 60)),
    way=st.sampled_from(("same", "degrees", "turned")),
)
def test_any_window_is_the_cut_of_the_whole(shapes, grades, where, way, folder):
    shapes = on_ground(shapes)
    path = folder / f"{len(list(folder.iterdir()))}.{'gpkg' if way == 'same' else 'fgb'}"
    path = write_polygons(path, degrees(shapes) if way == "degrees" else shapes, grades[: len(shapes)], column="grade",
                          crs="EPSG:4326" if way == "degrees" else UTM)  # fmt: skip
    grid = Grid(affine=(0.4, 0.2, ORIGIN[0], 0.3, -0.5, ORIGIN[1]), crs=UTM) if way == "turned" else GRID
    vectors = open_vectors(path)
    whole = vectors.rasterise(grid, -20, -20, 160, 160)
    row, column, height, width = where
    window = vectors.rasterise(grid, *where)
    np.testing.assert_array_equal(window, whole[row + 20 :, column + 20 :][:height, :width])


def test_another_crs_is_met_vertex_by_vertex(tmp_path):
    rng = np.random.default_rng(0)
    places = [square(*rng.integers(0, 180, 2), 14, 9) for _ in range(60)]
    shapes = [shapely.affinity.rotate(one, float(rng.uniform(0, 90))) for one in places]
    ground = on_ground(shapes)
    straight = open_vectors(write_polygons(tmp_path / "a.gpkg", ground)).rasterise(GRID, 0, 0, 200, 200)
    assert 0.1 < straight.mean() < 0.8
    for crs in ("EPSG:4326", "EPSG:3857", "EPSG:32636"):
        vectors = open_vectors(write_polygons(tmp_path / f"{crs[5:]}.fgb", brought_to(crs, ground), crs=crs))
        assert np.mean(vectors.rasterise(GRID, 0, 0, 200, 200) != straight) < 1e-4


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_only_what_a_window_needs_is_read(suffix, tmp_path, monkeypatch):
    shapes = on_ground([square(10 * i, 10 * j, 6) for i in range(40) for j in range(40)])
    vectors = open_vectors(write_polygons(tmp_path / f"a{suffix}", shapes))
    assert vectors.indexed
    read, seen = pyogrio.raw.read, []

    def counted(*args, **how):
        found = read(*args, **how)
        seen.append(len(found[2]))
        return found

    monkeypatch.setattr(pyogrio.raw, "read", counted)
    assert vectors.rasterise(GRID, 100, 100, 20, 20).sum() == 4 * 36
    assert sum(seen) <= 16


def test_threads_share_an_open_file(tmp_path):
    shapes = on_ground([square(10 * i, 10 * j, 6) for i in range(10) for j in range(10)])
    for suffix in (".gpkg", ".shp"):
        vectors = open_vectors(write_polygons(tmp_path / f"a{suffix}", shapes))
        with ThreadPoolExecutor(4) as pool:
            labels = list(pool.map(lambda i, v=vectors: v.rasterise(GRID, 10 * (i % 10), 0, 10, 100), range(40)))
        assert all(label.sum() == 10 * 36 for label in labels)


# Grades


@pytest.mark.parametrize(
    ("column", "words", "how", "values"),
    [
        ("Damage", ["No-Damage", "no_damage", "DESTROYED", ""], {}, [1, 1, 4, 0]),
        ("grade", [1, 4, 7, 255], {}, [1, 4, 7, 255]),
        ("class", ["1", "3", None, "un-classified"], {}, [1, 3, 0, 255]),
        ("state", ["fine", "lost", "Lost", None], {"column": "state", "grades": {"fine": 1, "lost": 2}}, [1, 2, 2, 0]),
        ("grade", [0, 1, 2, 2], {"grades": {"0": 1, "1": 2, "2": 5}}, [1, 2, 5, 5]),
        ("subtype", ["house", "shed", "hut", "hall"], {"column": ""}, [0, 0, 0, 0]),
        ("roof", ["tin", "clay", "tin", "tin"], {}, [0, 0, 0, 0]),
    ],
)
def test_words_and_numbers_are_grades(column, words, how, values, tmp_path):
    shapes = on_ground([square(10 * i, 0, 5) for i in range(4)])
    vectors = open_vectors(write_polygons(tmp_path / "a.gpkg", shapes, words, column=column), **how)
    assert vectors.within(GRID, 0, 0, 5, 40).values.tolist() == values
    first = next(iter(how.get("grades", {"no-damage": 1})))
    assert vectors.name(1) == ("building" if vectors.column is None else first)


@pytest.mark.parametrize(
    ("words", "how", "message"),
    [
        (["flooded"], {}, "grades a polygon as 'flooded' in the column 'subtype', known are no-damage, .* destroyed"),
        (["2.5"], {}, "as '2.5'.* or a whole number from 1 to 255"),
        ([0], {}, "as '0'"),
        (["3"], {"grades": {"lost": 1}}, "as '3' in the column 'subtype', known are lost; correct it"),
        (["lost"], {"grades": {"lost": 0}}, "grades must be from 1 to 255, found {'lost': 0}"),
        (["lost"], {"column": "subtipe"}, "has no column 'subtipe'; did you mean 'subtype'"),
    ],
)
def test_a_grade_that_is_not_known_is_said(words, how, message, tmp_path):
    path = write_polygons(tmp_path / "a.gpkg", on_ground([square(0, 0, 5)]), words)
    with pytest.raises(InputError, match=message):
        _ = open_vectors(path, **how).contents


# Files


def test_a_crs_is_stated_or_given(tmp_path):
    path = write_polygons(tmp_path / "a.shp", on_ground([square(0, 0, 5)]))
    assert open_vectors(path, crs=UTM).crs == UTM
    with pytest.raises(InputError, match=f"states {UTM}, found EPSG:4326 given; leave it out"):
        open_vectors(path, crs="EPSG:4326")
    path.with_suffix(".prj").unlink()
    with pytest.raises(InputError, match="states no coordinate reference system; name it"):
        open_vectors(path)
    with pytest.raises(InputError, match="'mars' is no coordinate reference system"):
        open_vectors(path, crs="mars")
    assert open_vectors(path, crs=UTM).rasterise(GRID, 0, 0, 5, 5).all()
    with pytest.raises(InputError, match=r"a\.shp needs an image with affine and CRS"):
        open_vectors(path, crs=UTM).rasterise(Grid(), 0, 0, 5, 5)


def test_a_file_that_cannot_serve_is_said(tmp_path):
    shapes = on_ground([square(0, 0, 5)])
    with pytest.raises(InputError, match="there is no file"):
        open_vectors(tmp_path / "a.gpkg")
    with pytest.raises(InputError, match="is a folder"):
        open_vectors(tmp_path)
    (tmp_path / "b.gpkg").write_bytes(b"no database")
    with pytest.raises(InputError, match=r"b\.gpkg cannot be read"):
        open_vectors(tmp_path / "b.gpkg")
    (tmp_path / "c.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match="holds no polygons"):
        open_vectors(tmp_path / "c.geojson")
    points = write_polygons(tmp_path / "d.gpkg", shapely.centroid(shapes), kind="Point")
    with pytest.raises(InputError, match="holds no polygons \\(Points in 'd'\\)"):
        open_vectors(points)
    path = write_polygons(tmp_path / "e.gpkg", shapes, layer="houses", kind="Polygon")
    write_polygons(path, shapes, layer="roads", kind="Polygon", append=True)
    with pytest.raises(InputError, match=r"has 2 layers of polygons \(houses, roads\); name one"):
        open_vectors(path)
    assert open_vectors(path, layer="roads").layer == "roads"
    with pytest.raises(InputError, match="has no layer 'houzes'; did you mean 'houses'"):
        open_vectors(path, layer="houzes")
    write_polygons(path, shapely.centroid(shapes), layer="roofs", kind="Point", append=True)
    assert open_vectors(path, layer="houses").count == 1
    local = write_polygons(tmp_path / "f.gpkg", shapes)
    with pytest.raises(InputError, match="has no place in the CRS of the polygons"):
        open_vectors(local).rasterise(Grid(affine=(0.1, 0, 40, 0, -0.1, 300), crs="EPSG:4326"), 0, 0, 8, 8)


# The 180th meridian

FIJI = "EPSG:32760"  # its zone ends at 180 degrees; 834 km east is about there at 18 degrees south
SEA = Grid(affine=(10, 0, 815_000, 0, -10, 8_010_000), crs=FIJI)


def across(east_of):
    """A rectangle of 0.02 degrees on each side of the meridian, as each habit writes it."""
    south, north = -17.99, -17.98
    if east_of == "cut":
        return shapely.MultiPolygon([shapely.box(179.98, south, 180, north), shapely.box(-180, south, -179.98, north)])
    if east_of == "uncut":
        return shapely.Polygon([(179.98, south), (-179.98, south), (-179.98, north), (179.98, north)])
    return shapely.box(179.98, south, 180.02, north)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
@pytest.mark.parametrize("habit", ["cut", "uncut", "beyond"])
def test_the_180th_meridian_is_no_border(habit, suffix, tmp_path):
    far = shapely.box(10, -17.99, 10.02, -17.98)  # of the same latitude
    path = tmp_path / f"a{suffix}"
    vectors = open_vectors(write_polygons(path, [across(habit), far], crs="EPSG:4326"))
    whole = vectors.rasterise(SEA, 0, 0, 2500, 4000)
    height = 0.01 * 110_650 / 10
    assert whole.sum() == pytest.approx(0.04 * 105_900 / 10 * height, rel=0.01)
    assert (whole.any(1).sum(), whole.any(0).sum()) == (pytest.approx(height, rel=0.1), pytest.approx(424, rel=0.05))
    for window in ((1500, 1000, 900, 1000), (1800, 1700, 50, 60), (0, 2000, 2500, 2000)):
        row, column, height, width = window
        np.testing.assert_array_equal(
            vectors.rasterise(SEA, *window), whole[row : row + height, column : column + width]
        )
    for west in (179.9, -180.1, 539.9):  # degrees may run on
        label = vectors.rasterise(Grid(affine=(0.001, 0, west, 0, -0.001, -17.9), crs="EPSG:4326"), 0, 0, 200, 200)
        assert (label.any(0).sum(), label.any(1).sum(), label.sum()) == (40, 10, 400)
    assert len(vectors.within(SEA, 0, 0, 2500, 4000).polygons) == 1
    middle = int(np.flatnonzero(whole.any(0)).mean()), int(np.flatnonzero(whole.any(1)).mean())
    assert vectors.rasterise(SEA, middle[1], middle[0], 3, 3).all()  # the polygon surrounds the window
    inland = Grid(affine=(0.001, 0, 9.9, 0, -0.001, -17.9), crs="EPSG:4326")
    assert vectors.rasterise(inland, 0, 0, 200, 200).sum() == 200
    assert vectors.rasterise(inland, 0, 0, 200, 80).sum() == 0


def test_a_window_beyond_the_edge_of_a_world_map_is_refused(tmp_path):
    vectors = open_vectors(write_polygons(tmp_path / "a.gpkg", [across("cut")], crs="EPSG:4326"))
    edge = 20_037_508.34
    world = Grid(affine=(10, 0, edge - 5000, 0, -10, -2_030_000), crs="EPSG:3857")
    assert vectors.rasterise(world, 0, 0, 1000, 500).any()
    with pytest.raises(InputError, match=r"reaches beyond the edge of its CRS .EPSG:3857. at the 180th meridian; warp"):
        vectors.rasterise(world, 0, 0, 1000, 1000)


@pytest.mark.real
def test_real_footprints_are_the_published_masks(real_data):
    root = real_data("buildings-geotiff")
    vectors = open_vectors(root / "buildings.geojson")
    assert (vectors.count, vectors.column, vectors.contents.values) == (1466, None, {0: 1466})
    for path in sorted((root / "images").glob("*.tif"))[::6]:
        with open_raster(path) as image:
            label = vectors.rasterise(image.grid, 0, 0, *image.shape)
        np.testing.assert_array_equal(label > 0, read_mask(root / "masks" / f"{path.stem}.png") > 0)
