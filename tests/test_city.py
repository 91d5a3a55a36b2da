"""A made-up city of any size: window by window, with exact truth, as files and as a training set."""

import dataclasses

import cv2
import numpy as np
import pytest

from catenary.cli.main import main
from catenary.data.layouts import open_dataset
from catenary.errors import CatenaryError, ConfigError, InputError, OutputError
from catenary.phantoms import city as drawing
from catenary.phantoms.city import GRADES, City

SMALL = City(shape=(700, 900), seed=3, amplitude=12.0, nodata=True)
ALL_FOUR = (0.25, 0.25, 0.25, 0.25)


def arrays(window):
    return {field.name: getattr(window, field.name) for field in dataclasses.fields(window)}


@pytest.fixture(scope="module")
def whole():
    return SMALL.window(0, 0, *SMALL.shape)


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (500, 380, 40, 300), (511, 511, 2, 2), (130, 7, 257, 512)])
def test_a_window_is_the_cut_of_the_whole(whole, box):
    drawing._chunk.cache_clear()
    row, column, height, width = box
    for name, part in arrays(SMALL.window(*box)).items():
        np.testing.assert_array_equal(
            part, getattr(whole, name)[..., row : row + height, column : column + width], err_msg=name
        )


def test_a_window_does_not_depend_on_the_size_of_the_city():
    small, large = (City(shape=(side, side), seed=5).window(10, 20, 60, 70) for side in (100, 20_000))
    for name, part in arrays(small).items():
        np.testing.assert_array_equal(part, getattr(large, name), err_msg=name)


def test_another_seed_is_another_city(whole):
    other = dataclasses.replace(SMALL, seed=4).window(0, 0, 300, 300)
    assert np.abs(other.pre.astype(int) - whole.pre[:, :300, :300]).mean() > 10


@pytest.mark.parametrize("pixel", [0.5, 0.3, 1.2])
def test_the_truth_is_the_buildings_rasterised(pixel):
    shapely = pytest.importorskip("shapely")
    features = pytest.importorskip("rasterio.features")
    city = City(shape=(400, 700), seed=1, pixel=pixel, damage=ALL_FOUR)
    buildings = city.buildings(0, 0, *city.shape)
    shapes = [(shapely.Polygon(outline), grade) for outline, grade in buildings]
    truth = features.rasterize(shapes, out_shape=city.shape, fill=0, dtype="uint8")
    np.testing.assert_array_equal(city.window(0, 0, *city.shape).label, truth)
    outlines = [shape for shape, _ in shapes]
    assert shapely.union_all(outlines).area == pytest.approx(sum(outline.area for outline in outlines))  # none overlap


def test_buildings_of_a_window_are_those_that_meet_it():
    city = City(shape=(1000, 1000), seed=2)
    every = city.buildings(0, 0, 1000, 1000)
    for row, column in np.ndindex(5, 5):
        low, high = np.array([column, row]) * 200, np.array([column, row]) * 200 + 200
        met = [(o, grade) for o, grade in every if (o.min(0) < high).all() and (o.max(0) > low).all()]
        found = city.buildings(200 * row, 200 * column, 200, 200)
        assert len(found) == len(met)
        for (outline, grade), (other, same) in zip(found, met, strict=True):
            np.testing.assert_array_equal(outline, other)
            assert grade == same


def test_damage_has_its_shares_and_comes_in_clusters():
    shares = (0.5, 0.2, 0.2, 0.1)
    buildings = City(shape=(5000, 5000), seed=1, damage=shares).buildings(0, 0, 5000, 5000)
    grade = np.array([grade for _, grade in buildings])
    assert len(grade) > 5000
    assert np.bincount(grade, minlength=5)[1:] / len(grade) == pytest.approx(shares, abs=0.08)
    middle = np.array([outline.mean(0) for outline, _ in buildings]) // 300
    worst = [np.mean(grade[(middle == cell).all(1)] == 4) for cell in np.unique(middle, axis=0)]
    assert np.std(worst) > 2 * np.sqrt(0.1 * 0.9 / (len(grade) / len(worst)))  # more than chance makes


def test_damage_shows_after_only(whole):
    safe, gone = (City(shape=(300, 300), seed=3, damage=d).window(0, 0, 300, 300) for d in ((1, 0, 0, 0), (0, 0, 0, 1)))
    np.testing.assert_array_equal(safe.pre, gone.pre)
    np.testing.assert_array_equal(safe.label * 4, gone.label)
    inside = safe.label > 0
    change = np.abs(safe.post.astype(int) - gone.post).mean(0)
    assert change[inside].mean() > 20
    far = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) > 100
    assert not change[far].any()


def test_texture_tells_what_a_pixel_does_not():
    """Destroyed against sound, by the best threshold on one number: half of each is guessing."""
    window = City(shape=(1024, 1024), seed=0, damage=(0.5, 0, 0, 0.5)).window(0, 0, 1024, 1024)
    grey = window.post.mean(0).astype(np.float32)
    spread = np.sqrt(np.maximum(cv2.blur(grey**2, (9, 9)) - cv2.blur(grey, (9, 9)) ** 2, 0))
    sound, gone = window.label == 1, window.label == 4

    def best(value):
        cuts = np.quantile(value, np.linspace(0, 1, 50))
        right = [((value[gone] > cut).mean() + (value[sound] <= cut).mean()) / 2 for cut in cuts]
        return max(right + [1 - share for share in right])

    colour = max(best(channel) for channel in (*window.post, grey))
    assert colour < 0.65
    assert best(spread) > colour + 0.1


def test_the_shift_says_where_things_lie():
    still, moved = (City(shape=(1024, 1024), seed=8, amplitude=a) for a in (0.0, 20.0))
    shift = moved.shift(0, 0, 1024, 1024)
    length = np.linalg.norm(shift, axis=0)
    assert 5 < length.max() <= 20
    assert max(np.abs(np.diff(shift, axis=axis)).max() for axis in (1, 2)) < 0.1
    np.testing.assert_array_equal(shift[:, 100:110, 50:70], moved.shift(100, 50, 10, 20))
    one, other = (city.window(0, 0, 1024, 1024) for city in (still, moved))
    y, x = (np.indices((1024, 1024)) + shift).astype(np.float32)
    back = cv2.remap(other.post.transpose(1, 2, 0), x, y, cv2.INTER_CUBIC).transpose(2, 0, 1)
    inner = (slice(None), slice(40, -40), slice(40, -40))
    aligned = np.abs(back.astype(int) - one.post)[inner].mean()
    assert aligned < 0.4 * np.abs(other.post.astype(int) - one.post)[inner].mean()
    for row, column in ((100, 100), (300, 700), (800, 400)):
        part = (slice(row, row + 128), slice(column, column + 128))
        found, _ = cv2.phaseCorrelate(
            *(window.post.mean(0)[part] for window in (one, other)), cv2.createHanningWindow((128, 128), cv2.CV_64F)
        )
        assert found[::-1] == pytest.approx(shift[:, *part].mean((1, 2)), abs=0.35)


def test_without_amplitude_nothing_moves():
    assert not City(shape=(100, 100)).shift(0, 0, 100, 100).any()


def test_dates_differ_in_colour_as_asked():
    near, far = (City(shape=(400, 400), seed=5, colour_change=c).window(0, 0, 400, 400) for c in (0.0, 1.0))
    np.testing.assert_array_equal(near.pre, far.pre)
    roads = (near.label == 0) & (near.pre.std(0) < 6)
    change = [np.abs(w.post[:, roads].mean(1) - w.pre[:, roads].mean(1)).max() for w in (near, far)]
    assert change[0] < 5
    assert change[1] > 10


def test_each_image_lacks_another_corner(whole):
    assert 0.85 < whole.valid_pre.mean() < 1
    assert 0.85 < whole.valid_post.mean() < 1
    assert (whole.valid_pre | whole.valid_post).all()
    assert not whole.pre[:, ~whole.valid_pre].any()
    assert not whole.post[:, ~whole.valid_post].any()
    assert whole.pre[:, whole.valid_pre].mean() > 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (0, 5)}, "at least one row"),
        ({"seed": -1}, "found -1"),
        ({"pixel": 0.0}, "0.1 to 4 m"),
        ({"damage": (0.5, 0.5, 0.5, 0.5)}, "add up to 1"),
        ({"colour_change": 1.5}, "found 1.5"),
        ({"amplitude": 50.0}, "0 to 20 pixels, found 50"),
    ],
)
def test_cities_that_cannot_be(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 0, 5), (600, 0, 200, 5), (0, 899, 5, 2)])
@pytest.mark.parametrize("method", ["window", "buildings"])
def test_windows_beyond_the_city_are_refused(box, method):
    with pytest.raises(ConfigError, match="within the city's 700 x 900 pixels"):
        getattr(SMALL, method)(*box)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("rasterio")
    pytest.importorskip("pyogrio")
    from catenary.workflow import city as writing

    folder = tmp_path_factory.mktemp("city") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "WINDOW", 300)
        told = []
        more = {"shift": 12.0, "nodata": True, "post_crs": "EPSG:32636", "post_pixel": 0.8}
        paths = writing.write_city(folder, shape=SMALL.shape, seed=3, **more, progress=lambda *step: told.append(step))
    assert told[8] == ("draw the city", 9, 9)
    return paths


def test_rasters_hold_the_city(written, whole):
    import rasterio

    assert {path.name for path in written["pre"].parent.iterdir()} == {path.name for path in written.values()}
    with rasterio.open(written["pre"]) as file:
        np.testing.assert_array_equal(file.read(), whole.pre)
        np.testing.assert_array_equal(file.dataset_mask() > 0, whole.valid_pre)
        assert file.crs.to_epsg() == 32637
        assert tuple(file.transform)[:6] == (0.5, 0, 240_000, 0, -0.5, 4_012_000)
    with rasterio.open(written["truth"]) as file:
        np.testing.assert_array_equal(file.read(1), whole.label)
        assert file.colormap(1)[4][:3] == (200, 30, 40)


def test_the_later_image_lies_on_its_own_grid(written, whole):
    from catenary.io.raster import open_raster

    with open_raster(written["pre"]) as pre, open_raster(written["post"]) as post:
        assert post.grid.crs == "EPSG:32636"
        assert post.grid.spacing == pytest.approx((0.8, 0.8))
        back = post.onto(pre).read(0, 0, *SMALL.shape)
    known = cv2.erode((back.valid & whole.valid_post).astype(np.uint8), np.ones((9, 9))) > 0
    assert known.mean() > 0.8
    assert np.abs(back.array.astype(int) - whole.post)[:, known].mean() < 0.4 * whole.post.std()
    assert (back.valid & ~whole.valid_post).mean() < 0.01


def test_buildings_are_the_truth(written, whole):
    import pyogrio
    import rasterio
    import shapely
    from rasterio.features import rasterize

    info, _, outlines, columns = pyogrio.raw.read(written["buildings"])
    assert info["crs"] == "EPSG:32637"
    table = dict(zip(info["fields"], columns, strict=True))
    assert [GRADES[grade] for grade in table["grade"]] == table["subtype"].tolist()
    with rasterio.open(written["truth"]) as file:
        shapes = zip(shapely.from_wkb(outlines), table["grade"].tolist(), strict=True)
        truth = rasterize(list(shapes), out_shape=file.shape, transform=file.transform, fill=0, dtype="uint8")
    np.testing.assert_array_equal(truth, whole.label)


def test_tiles_are_a_training_set(tmp_path, monkeypatch):
    pytest.importorskip("shapely")
    from catenary import open_dataset
    from catenary.io import read_image, read_mask
    from catenary.workflow import city as writing

    monkeypatch.setattr(writing, "CITIES", 2)
    writing.write_city(tmp_path, tiles=(3, 96), seed=1)
    data = open_dataset(tmp_path)
    assert data.layout == "xBD"
    assert data.labels.names == GRADES
    assert len(data.cases) == 3
    assert [case.group for case in data.cases] == ["city-0", "city-0", "city-1"]
    cities = writing._cities(City(shape=(1, 1), seed=1), 3, 96)
    for number in range(3):
        window = cities[number % 2].window(0, (number // 2) * 3 * 96, 96, 96)
        name = f"city-{number % 2}_{number:08d}"
        np.testing.assert_array_equal(read_mask(tmp_path / "labels" / f"{name}_post_disaster.json"), window.label)
        before = read_mask(tmp_path / "labels" / f"{name}_pre_disaster.json")
        np.testing.assert_array_equal(before, window.label > 0)
        for date, picture in (("pre", window.pre), ("post", window.post)):
            np.testing.assert_array_equal(
                read_image(tmp_path / "images" / f"{name}_{date}_disaster.png").array, picture
            )


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({"crs": "EPSG:4326"}, InputError, "projected in metres, found EPSG:4326"),
        ({"crs": "nowhere"}, InputError, "'nowhere' is no coordinate reference system"),
        ({"post_crs": "nowhere"}, InputError, "'nowhere' is no coordinate reference system"),
        ({"post_pixel": 0.0}, ConfigError, "positive side, found 0"),
        ({"shift": 30}, ConfigError, "0 to 20 pixels"),
        ({"tiles": (4, 64), "nodata": True}, ConfigError, "leave out nodata"),
        ({"tiles": (0, 64)}, ConfigError, "at least 1"),
    ],
)
def test_bad_requests_leave_nothing(tmp_path, more, kind, message):
    pytest.importorskip("rasterio")
    from catenary.workflow.city import write_city

    with pytest.raises(CatenaryError, match=message) as told:
        write_city(tmp_path, **{"shape": (64, 64)} | more)
    assert type(told.value) is kind
    assert not list(tmp_path.iterdir())


def test_files_that_are_there_stay(tmp_path):
    pytest.importorskip("rasterio")
    from catenary.workflow.city import write_city

    (tmp_path / "truth.tif").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds truth\.tif"):
        write_city(tmp_path, shape=(64, 64))
    assert (tmp_path / "truth.tif").read_text() == "mine"


def test_the_command_writes_what_the_function_does(tmp_path, capsys):
    pytest.importorskip("rasterio")
    assert main(["city", "--size", "60", "80", "--seed", "3", "--shift", "2", "--out", str(tmp_path / "a")]) == 0
    assert "buildings.gpkg" in capsys.readouterr().out
    from catenary.workflow import write_city

    other = write_city(tmp_path / "b", shape=(60, 80), seed=3, shift=2.0)
    for name in ("pre", "post", "truth"):
        assert other[name].read_bytes() == (tmp_path / "a" / other[name].name).read_bytes()
    assert main(["city", "--tiles", "2", "32", "--out", str(tmp_path / "c")]) == 0
    assert len(open_dataset(tmp_path / "c").cases) == 2
    assert main(["city", "--size", "60", "80", "--out", str(tmp_path / "a")]) == 1
    assert "already holds pre.tif" in capsys.readouterr().err
