"""Georeferenced scenes as data sets: two dates of any grid, one date, labels as polygons or rasters."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.warp import calculate_default_transform, reproject

from catenary import open_dataset, workflow
from catenary.cli.main import main
from catenary.data.cases import Case, Dataset
from catenary.data.doctor import examine
from catenary.data.labels import LabelSet
from catenary.data.splits import split_cases
from catenary.data.survey import survey
from catenary.data.windows import Sources
from catenary.errors import ConfigError, DataError, InputError
from catenary.io import write_mask
from catenary.io.polygons import DAMAGE
from catenary.io.raster import _KEPT, KEPT, kept_raster, open_raster
from polygons import degrees, on_ground, square, write_polygons
from rasters import ORIGIN, UTM, town, write

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio, with affine 3

GRADES = ("no-damage", "minor-damage", "major-damage", "destroyed")


def houses(height, width, seed):
    """Footprints in pixels with their grades."""
    rng = np.random.default_rng(seed)
    places = [(x, y) for y in range(6, height - 16, 24) for x in range(6, width - 16, 24)]
    return [square(x, y, 14, 10) for x, y in places], [str(rng.choice(GRADES)) for _ in places]


def elsewhere(path, target, crs="EPSG:4326"):
    """A raster in another CRS and resolution."""
    with rasterio.open(path) as source:
        size = source.width, source.height
        transform, width, height = calculate_default_transform(source.crs, crs, *size, *source.bounds)
        array = np.zeros((source.count, height, width), source.dtypes[0])
        reproject(rasterio.band(source, range(1, source.count + 1)), array, dst_transform=transform, dst_crs=crs,
                  resampling=rasterio.enums.Resampling.bilinear, init_dest_nodata=False)  # fmt: skip
    path.unlink()
    return write(target, array, crs=crs, transform=transform, nodata=0)


def scene(root, name="", shape=(100, 140), seed=0, origin=0, suffix=".gpkg"):
    """Two dates in two CRS; houses are bright before, and afterwards the darker the more they are damaged."""
    before, after, label = (root / f"{part}/{name}" if name else root / part for part in ("pre", "post", "labels"))
    for path in (before, after, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    shapes, grades = houses(*shape, seed)
    array = np.clip(town(max(shape), seed)[:, : shape[0], : shape[1]] // 3 + 20, 1, 110).astype(np.uint8)
    transform = rasterio.Affine(0.5, 0, ORIGIN[0] + origin, 0, -0.5, ORIGIN[1])
    for path, fade in ((before, 0), (after, 40)):
        shown = array.copy()
        for shape_, grade in zip(shapes, grades, strict=True):
            x, y, right, bottom = (int(v) for v in shape_.bounds)
            shown[:, y:bottom, x:right] = 230 - fade * GRADES.index(grade)
        write(path.with_suffix(".tif"), shown, transform=transform)
    moved = after.parent / f"moved-{after.name}.tif"
    after.with_suffix(".tif").rename(moved)
    elsewhere(moved, after.with_suffix(".tif"))
    ground = [shapely.affinity.translate(one, origin) for one in on_ground(shapes)]
    write_polygons(label.with_suffix(suffix), degrees(ground), grades, crs="EPSG:4326")
    return shapes, grades


def test_two_dates_of_any_grid_lie_on_the_first_with_graded_polygons(tmp_path):
    shapes, grades = scene(tmp_path)
    data = open_dataset(tmp_path)
    assert (data.layout, data.labels.names, data.labels.ignore) == ("pre and post", ("background", *GRADES), 255)
    (case,) = data.cases
    assert (case.name, case.window, case.mask.name) == ("scene", (0, 0, 100, 140), "labels.gpkg")
    image, label = data.read_pair(case)
    assert image.array.shape == (6, 100, 140)
    assert (image.grid.crs, image.grid.spacing) == (UTM, (0.5, 0.5))
    for shape, grade in zip(shapes, grades, strict=True):
        x, y, right, bottom = (int(v) for v in shape.bounds)
        inside = label[y:bottom, x:right]
        assert (inside == DAMAGE[grade]).all()
        after = image.array[3:, y + 3 : bottom - 3, x + 3 : right - 3]
        assert abs(after.astype(int) - (230 - 40 * GRADES.index(grade))).max() <= 2
    assert np.isin(label, list(DAMAGE.values())[:4]).sum() == len(shapes) * 140


def test_windows_are_the_cut_of_the_scene_and_a_scene_is_a_group(tmp_path):
    for number in range(3):
        scene(tmp_path, f"town {number}", seed=number, origin=1000 * number)
    (tmp_path / "dataset.toml").write_text("window = 50\n")
    data = open_dataset(tmp_path)
    assert len(data) == 3 * 2 * 3
    assert {case.group for case in data.cases} == {"town 0", "town 1", "town 2"}
    assert data.findings == ()
    windows = [case.window for case in data.cases if case.group == "town 1"]
    assert windows == [(row, column, 50, width) for row in (0, 50) for column, width in ((0, 47), (47, 46), (93, 47))]
    assert "town 1_50_93" in {case.name for case in data.cases}
    (tmp_path / "dataset.toml").unlink()
    whole = open_dataset(tmp_path)
    assert len(whole) == 3
    for case in data.cases:
        row, column, height, width = case.window
        image, label = whole.read_pair(whole[case.group])
        part, cut = data.read_pair(case)
        np.testing.assert_array_equal(part.array, image.array[:, row : row + height, column : column + width])
        np.testing.assert_array_equal(cut, label[row : row + height, column : column + width])
        assert part.grid == image.grid.window(row, column)


def test_a_window_counts_where_both_dates_hold_data(tmp_path):
    scene(tmp_path)
    with rasterio.open(tmp_path / "pre.tif", "r+") as file:
        array = file.read()
        array[:, :, :60] = array[:, 40:, 60:80] = 0
        file.write(array)
        file.nodata = 0
    (tmp_path / "dataset.toml").write_text("window = 32\n")
    data = open_dataset(tmp_path)
    lefts = {case.window[1] for case in data.cases}
    assert lefts == {56, 84, 112}
    image, label = data.read_pair(data["scene_50_56"])
    assert not image.valid[:, :24].any()
    assert (label[~image.valid] == 255).all()
    assert (image.array[:, ~image.valid] == 0).all()
    facts = survey(data, threads=4)
    assert not any(f.trouble for f in facts.facts)
    assert {f.channels for f in facts.facts} == {6}
    assert facts["scene_50_56"].ignored == (label == 255).sum()
    assert sum(facts["scene_50_56"].counts) == image.valid.sum()


def test_the_only_scene_is_divided_into_blocks_with_a_warning(tmp_path):
    scene(tmp_path, shape=(200, 260))
    (tmp_path / "dataset.toml").write_text("window = 32\n")
    data = open_dataset(tmp_path)
    (found,) = data.findings
    assert (found.level, found.code) == ("warning", "one-scene")
    assert found.message.startswith("all 63 windows are of one scene, 'scene': ")
    assert "by 9 blocks" in found.message
    groups = {}
    for case in data.cases:
        groups.setdefault(case.group, []).append(case.window)
    assert len(data) == 7 * 9
    assert len(groups) == 3 * 3
    assert all(len(windows) <= 9 for windows in groups.values())
    for windows in groups.values():  # neighbours
        assert max(w[0] for w in windows) - min(w[0] for w in windows) < 3 * 32
    seen = survey(data)
    parts = split_cases(data, seen)
    assert len({data[name].group for name in parts.train} & {data[name].group for name in parts.test}) == 0
    assert "one-scene" in {finding.code for finding in examine(data, seen, parts)}


def test_contents_are_hashed_by_window_and_threads_agree(tmp_path):
    scene(tmp_path)
    (tmp_path / "dataset.toml").write_text("window = 32\n")
    data = open_dataset(tmp_path)
    one, many = survey(data, threads=1), survey(data, threads=4)
    assert one == many
    assert len({facts.content for facts in one.facts}) == len(data)
    with ThreadPoolExecutor(8) as pool:
        labels = list(pool.map(lambda i: data.read_pair(data.cases[i % 4])[1], range(64)))
    for i in range(64):
        np.testing.assert_array_equal(labels[i], labels[i % 4])


# Labels


@pytest.mark.parametrize("values", [(0, 1, 2, 3, 4), (0, 1), (0, 255), (0, 1, 255), (0, 6, 9)])
def test_labels_may_be_a_raster_of_another_grid(values, tmp_path):
    scene(tmp_path)
    (tmp_path / "labels.gpkg").unlink()
    truth = np.zeros((60, 60), np.uint8)
    for i, value in enumerate(values):
        truth[:, 12 * i : 12 * i + 12] = value
    write(tmp_path / "labels.tif", truth[None], nodata=0, transform=rasterio.Affine(1, 0, ORIGIN[0], 0, -1, ORIGIN[1]))
    data = open_dataset(tmp_path)
    names = {
        (0, 1, 2, 3, 4): GRADES, (0, 1): ("building",), (0, 255): ("building",), (0, 1, 255): ("building",),
        (0, 6, 9): ("class 6", "class 9"),
    }[values]  # fmt: skip
    assert data.labels.names == ("background", *names)
    label = data.read_label(data["scene"])
    foreground = [v for v in values if v not in (0, *(values[2:] if values == (0, 1, 255) else ()))]
    for i, value in enumerate(values):
        expected = 255 if value == 255 and len(values) == 3 else ([0, *foreground].index(value))
        assert (label[:, 24 * i + 1 : 24 * i + 23] == expected).all()
    assert (label[:, 120:] == 255).all()  # beyond the raster nothing is known
    assert (label[:, :23] == 0).all()  # 0 is a class, although the file calls it no data
    assert not survey(data)["scene"].unexpected


def test_rasters_of_the_same_grid_and_pictures_serve_too(tmp_path):
    scene(tmp_path, "a")
    data = open_dataset(tmp_path)
    label = data.read_label(data["a"])
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    with open_raster(tmp_path / "pre" / "a.tif") as raster:
        transform = rasterio.Affine(*raster.grid.affine)
    write(tmp_path / "labels" / "a.tif", label[None], nodata=0, transform=transform)
    again = open_dataset(tmp_path)
    np.testing.assert_array_equal(again.read_label(again["a"]), label)
    (tmp_path / "labels" / "a.tif").unlink()
    write_mask(tmp_path / "labels" / "a.png", label)
    again = open_dataset(tmp_path)
    np.testing.assert_array_equal(again.read_label(again["a"]), label)
    write_mask(tmp_path / "labels" / "a.png", label[:-1])
    with pytest.raises(InputError, match=r"a\.png has 99x140 pixels and a\.tif 100x140; give it the image's size"):
        again.read_label(again["a"])
    write(tmp_path / "labels" / "a.tif", np.stack([label] * 2), transform=transform)
    with pytest.raises(DataError, match="has 2 bands; write the labels as one band"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("words", "names", "values"),
    [
        ([2, 4, 255], ("minor-damage", "destroyed"), (0, 2, 4)),
        ([1, 5], ("class 1", "class 5"), (0, 1, 5)),
        (["Destroyed", None], ("no-damage", "destroyed"), (0, 1, 4)),
        (["un-classified"], ("building",), (0, 1)),
    ],
)
def test_classes_are_the_grades_that_occur(words, names, values, tmp_path):
    shapes, _ = scene(tmp_path)
    (tmp_path / "labels.gpkg").unlink()
    write_polygons(tmp_path / "buildings.fgb", on_ground(shapes[: len(words)]), words)
    data = open_dataset(tmp_path)
    assert (data.labels.names, data.labels.values, data.labels.ignore) == (("background", *names), values, 255)
    label = data.read_label(data["scene"])
    for shape, word in zip(shapes, words, strict=False):
        x, y = (int(v) for v in shape.bounds[:2])
        value = DAMAGE.get(str(word or "no-damage").lower(), word)
        assert label[y, x] == (255 if value == 255 else values.index(value))


def test_dataset_toml_says_what_the_files_do_not(tmp_path):
    scene(tmp_path, "a")
    pairs = {"no-damage": "fine", "minor-damage": "fine", "major-damage": "hit", "destroyed": "hit"}
    shapes, grades = houses(100, 140, 0)
    (tmp_path / "labels" / "a.gpkg").unlink()
    grades = [pairs[grade] for grade in grades]
    write_polygons(tmp_path / "truth.shp", on_ground(shapes), grades, column="state", kind="Polygon")
    (tmp_path / "truth.prj").unlink()
    for date in ("pre", "post"):
        with rasterio.open(tmp_path / date / "a.tif") as file:
            array, transform = file.read(), file.transform
        write(tmp_path / date / "a.tif", array, crs=None, transform=transform)
    with pytest.raises(DataError, match="1 images have no mask"):
        open_dataset(tmp_path)
    said = ['labels = "truth.shp"', 'pre_crs = "EPSG:32637"', 'post_crs = "EPSG:4326"', 'labels_crs = "EPSG:32637"']
    for missing, message in ((1, r"pre/a\.tif states no"), (2, r"post/a\.tif states no"), (3, r"truth\.shp states no")):
        (tmp_path / "dataset.toml").write_text("\n".join(line for i, line in enumerate(said) if i != missing))
        with pytest.raises(DataError, match=f"{message}.*name it, as in EPSG") as caught:
            open_dataset(tmp_path)
        assert "\n" not in str(caught.value)
    (tmp_path / "dataset.toml").write_text("\n".join(said))
    assert open_dataset(tmp_path).labels.names == ("background", "building")
    (tmp_path / "dataset.toml").write_text("\n".join([*said, 'column = "state"']))
    with pytest.raises(DataError, match=r"grades a polygon as 'fine'.*, known are no-damage"):
        open_dataset(tmp_path)
    (tmp_path / "dataset.toml").write_text("\n".join([*said, 'column = "state"', "[grades]", "fine = 1", "hit = 5"]))
    data = open_dataset(tmp_path)
    assert data.labels.names == ("background", "fine", "hit")
    assert sorted(np.unique(data.read_label(data["a"]))) == [0, 1, 2]
    assert open_dataset(tmp_path, classes=["intact", "damaged"]).labels.names == ("background", "intact", "damaged")
    with pytest.raises(DataError, match=r"4 class names were given .* but the labels hold 2 classes"):
        open_dataset(tmp_path, classes=["a", "b", "c", "d"])
    (tmp_path / "dataset.toml").write_text('labels = "truth.gpkg"')
    with pytest.raises(ConfigError, match=r"names the labels 'truth\.gpkg' and they are not there"):
        open_dataset(tmp_path)


def test_what_is_wrong_with_one_scene_does_not_cost_the_others(tmp_path):
    for number in range(2):
        scene(tmp_path, f"s{number}", seed=number)
    write(tmp_path / "post" / "s1.tif", town(64), crs="EPSG:32601")
    write(tmp_path / "post" / "lonely.tif", town(64))
    data = open_dataset(tmp_path)
    assert [case.name for case in data.cases] == ["s0"]
    codes = {finding.code: finding for finding in data.findings}
    assert codes["unusable-scene"].level == "error"
    assert "the images of 's1' have no pixels in common" in codes["unusable-scene"].message
    assert codes["unpaired"].message.endswith("left out: lonely.tif")
    (tmp_path / "labels" / "s0.gpkg").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"s0\.gpkg cannot be read"):
        open_dataset(tmp_path)


# One date


def one_date(root, count=4):
    (root / "images").mkdir(parents=True)
    shapes = []
    for number in range(count):
        outlines, _ = houses(80, 80, number)
        image = np.clip(town(80, number) // 3, 0, 90).astype(np.uint8)
        for outline in outlines:
            x, y, right, bottom = (int(v) for v in outline.bounds)
            image[:, y:bottom, x:right] = 220
        transform = rasterio.Affine(0.5, 0, ORIGIN[0] + 40 * number, 0, -0.5, ORIGIN[1])
        write(root / "images" / f"tile{number}.tif", image, transform=transform)
        shapes += [shapely.affinity.translate(one, 40 * number) for one in on_ground(outlines)]
    write_polygons(root / "buildings.geojson", degrees(shapes), crs="EPSG:4326")
    return root


def test_one_date_beside_polygons_and_masks_win(tmp_path):
    data = open_dataset(one_date(tmp_path))
    assert (data.layout, data.labels.names, len(data)) == ("images/ and polygons", ("background", "building"), 4)
    assert {case.group for case in data.cases} == {case.name for case in data.cases}
    for case in data.cases:
        image, label = data.read_pair(case)
        np.testing.assert_array_equal(label == 1, image.array[0] == 220)
        write_mask(tmp_path / "masks" / f"{case.name}.png", label)
    assert open_dataset(tmp_path).layout == "images/ and masks/"


def test_files_stay_open_in_each_thread_and_new_ones_are_opened_anew(tmp_path):
    path = write(tmp_path / "a.tif", town(64))
    first = kept_raster(path)
    assert kept_raster(path) is first
    assert kept_raster(path, onto=first) is first  # the same grid
    other = []
    thread = threading.Thread(target=lambda: other.append(kept_raster(path)))
    thread.start()
    thread.join()
    assert other[0] is not first
    again = write(tmp_path / "a.tif", town(48))
    assert kept_raster(again).shape == (48, 48)
    for number in range(40):  # the oldest are closed
        kept_raster(write(tmp_path / f"{number}.tif", town(16)))
    assert len(_KEPT.rasters) == KEPT
    assert kept_raster(path).shape == (48, 48)


def test_cases_can_be_made_by_hand(tmp_path):
    one_date(tmp_path, 1)
    case = Case(name="a", images=(tmp_path / "images" / "tile0.tif",), mask=tmp_path / "buildings.geojson",
                window=(20, 10, 40, 30))  # fmt: skip
    data = Dataset(root=tmp_path, name="x", layout="by hand", cases=(case,), labels=LabelSet(names=("none", "house")),
                   sources=Sources(column=""))  # fmt: skip
    image, label = data.read_pair(case)
    assert (image.shape, label.shape) == ((40, 30), (40, 30))
    np.testing.assert_array_equal(label == 1, image.array[0] == 220)


def test_damage_is_learnt_from_georeferenced_dates(tmp_path):
    scene(tmp_path / "data", shape=(144, 144))
    (tmp_path / "data" / "dataset.toml").write_text("window = 48\n")
    settings = [
        "model.widths=[8,16]", "sample.patch=[48,48]", "sample.batch=4", "train.validations=1", "train.precision=fp32",
        "train.channels_last=off", "predict.engine=torch", "train.lr=0.01",
        'data.classes={"intact": ["no-damage", "minor-damage"], "lost": ["major-damage", "destroyed"]}',
    ]  # fmt: skip
    run = workflow.fit(tmp_path / "data", out=tmp_path / "run", steps=25, settings=settings)
    assert run.evaluation.mean["dice"].value > 0.7
    assert main(["inspect", str(tmp_path / "data"), "--out", str(tmp_path / "look")]) == 0
    assert (tmp_path / "look" / "contact_sheet.png").is_file()


@pytest.mark.real
def test_real_footprints_make_the_data_set_of_the_published_masks(real_data, tmp_path):
    root = real_data("buildings-geotiff")
    for name in ("images", "buildings.geojson"):
        (tmp_path / name).symlink_to(root / name)
    data, published = open_dataset(tmp_path), open_dataset(root)
    assert (len(data), data.labels.names) == (48, ("background", "building"))
    for case in data.cases[::12]:
        image, label = data.read_pair(case)
        expected, mask = published.read_pair(published[case.name])
        # Two decoders of JPEG differ by how they smooth the colours.
        assert abs(image.array.astype(int) - expected.array).mean() < 1
        np.testing.assert_array_equal(label, mask)
