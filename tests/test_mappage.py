"""The map of a prediction as one HTML page."""

import base64
import csv
import hashlib
import io
import json
import re
import statistics

import numpy as np
import PIL.Image
import pyogrio
import pytest
import rasterio
import shapely
from pyproj import Geod, Transformer
from scipy.interpolate import RegularGridInterpolator

from catenary.align import Alignment
from catenary.data.labels import LabelSet
from catenary.errors import CatenaryError, ConfigError, InputError
from catenary.io.raster import Pixels, open_raster
from catenary.report import mapdata, mappage, mappictures
from catenary.report.mapdata import Sheet, read_buildings, unsure_cells
from catenary.report.mappage import write_map_page
from catenary.report.mappictures import class_covers, doubts, tint
from catenary.types import Grid, Image, silent
from rasters import ORIGIN, UTM, town, write
from test_report import SCRIPT, Page

GRADES = ("no-damage", "minor-damage", "major-damage", "destroyed")
LABELS = LabelSet(names=("background", *GRADES))
HEIGHT, WIDTH = 90, 120
PIXEL = 0.25  # m2
NOTHING = slice(0, 10)  # columns without data


def raster(path, array, *, valid=None, **more):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(path, array[None], **more)
        if valid is not None:
            with rasterio.open(path, "r+") as file:
                file.write_mask(valid)
    return path


def make_buildings(path, *, count=60, seed=0, labels=LABELS, crs="EPSG:4326", side=4):
    """Squares all over the scene, every seventh without a grade; the file and its columns."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(1, WIDTH - 6, count), rng.uniform(1, HEIGHT - 6, count)
    grade = rng.integers(1, labels.count, count)
    grade[::7] = 0
    damage = np.array([None, *labels.names[1:]], object)[grade]
    corner = np.stack([ORIGIN[0] + x / 2, ORIGIN[1] - y / 2], axis=1)
    squares = shapely.box(*(corner - np.array((0, side / 2))).T, *(corner + np.array((side / 2, 0))).T)
    change = Transformer.from_crs(UTM, crs, always_xy=True)
    moved = shapely.transform(squares, lambda xy: np.stack(change.transform(*xy.T), axis=1))
    columns = {
        "damage": damage,
        "confidence": np.where(grade > 0, rng.uniform(0.4, 1, count), np.nan),
        "area_m2": rng.uniform(20, 500, count),
        "reason": np.where(grade > 0, None, "no building seen").astype(object),
    } | {f"share_{name}": (grade == i).astype(float) for i, name in enumerate(labels.names) if i}
    pyogrio.raw.write(
        path, shapely.to_wkb(moved), list(columns.values()), list(columns), geometry_type="Polygon", crs=crs, layer="b"
    )
    return path, columns | {"grade": grade, "middle": corner + np.array((side, -side)) / 4}


def make_alignment():
    """Nine nodes; the middle one and one without common data cannot be relied on."""
    confidence, common = np.ones((3, 3)), np.ones((3, 3), bool)
    confidence[1, 1] = confidence[0, 2] = 0
    common[0, 2] = False
    rows, columns = np.array([10.0, 40.0, 80.0]), np.array([20.0, 60.0, 100.0])
    shifts = np.zeros((3, 3, 2))
    return Alignment(
        shape=(HEIGHT, WIDTH), grid=Grid(), rows=rows, columns=columns, shifts=shifts, confidence=confidence,
        common=common,
    )  # fmt: skip


class Scene:
    """A small prediction on disk: class map with unknown and invalid pixels, confidence, two images."""

    def __init__(self, folder, **more):
        rng = np.random.default_rng(1)
        self.label = np.kron(rng.integers(0, 5, (9, 12)), np.ones((10, 10))).astype(np.uint8)
        self.label[20:30, 20:30] = 255
        self.valid = np.ones((HEIGHT, WIDTH), bool)
        self.valid[:, NOTHING] = False
        self.known = self.valid & (self.label != 255)
        self.classes = raster(folder / "classes.tif", self.label, valid=self.valid, **more)
        sure = np.full((HEIGHT, WIDTH), 255, np.uint8)
        sure[40:, 60:] = 150
        self.confidence = raster(folder / "confidence.tif", sure, valid=self.valid, **more)
        views = town(160)[:, :HEIGHT, :WIDTH], town(160, seed=2)[:, :HEIGHT, :WIDTH]
        self.images = {name: Pixels(Image(array=view)) for name, view in zip(("before", "after"), views, strict=True)}
        self.out = folder / "map.html"

    def page(self, **more):
        """The text of the page, and what a strict parser makes of it."""
        kept = {"title": "Town", "images": self.images, "classes": self.classes, "confidence": self.confidence}
        assert write_map_page(self.out, **(kept | {"labels": LABELS} | more)) == self.out
        text = self.out.read_text("utf-8")
        return text, Page(text)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def decoded(source):
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGBA"))


def table(text, section):
    """Rows of the table of a section, cell by cell."""
    body = re.search(rf'<section id="{section}".*?<tbody>(.*?)</tbody>', text, re.S)[1]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in body.split("</tr>")[:-1]]
    return [[re.sub(r"<[^>]*>", "", cell).replace("\u202f", "").strip() for cell in row] for row in cells]


def test_a_page_is_whole_and_needs_nothing_else(scene, tmp_path):
    path, _ = make_buildings(tmp_path / "b.gpkg")
    text, page = scene.page(
        buildings=path,
        alignment=make_alignment(),
        notes=["roofs only"],
        facts={"model": "siamese U-Net", "command": "catenary predict x", "created": "2026-01-02T03"},
    )
    assert sorted(file.name for file in tmp_path.glob("*.html")) == ["map.html"]
    for words in (
        "Town", "before", "after", "Damage", "Low confidence", "Unsure alignment", "Worst-hit buildings", *GRADES,
        "Roofs only.", "siamese U-Net", "catenary predict x", "2026-01-02", "120 × 90 pixels of 0.5 m, EPSG:32637",
        "no grade: no building seen",
    ):  # fmt: skip
        assert words in page.text
    ids = {attributes.get("id") for _, attributes in page.tags}
    for attributes in page.find("input"):
        assert attributes.get("data-layer", "stage") in ids
    assert {"stage", "map", "bar", "line", "swipe", "newer", "card", "where", "copy", "csv"} <= ids
    assert len(page.find("svg")) > 8
    bare = re.sub(r'"data:image/[^"]+"', '""', text)
    assert not re.search(r"https?:|@import|fetch\(|XMLHttp|url\((?!#)", bare)
    assert not re.search("//[a-z]", bare.split("<script>")[0])
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert all(a["href"][1:] in ids for a in page.find("a") + page.find("use") + page.find("pattern") if "href" in a)
    used = set(re.findall(r"url\(#([^)]+)\)", bare))
    assert used <= ids


def test_the_only_script_that_may_run_is_the_pages_own(scene):
    text, page = scene.page()
    policy = next(a["content"] for a in page.find("meta") if a.get("http-equiv") == "Content-Security-Policy")
    script = text.rsplit("<script>", 1)[1].removesuffix("</script>\n</body>\n</html>").encode()
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_counts_of_the_legend_are_those_of_the_file(scene, tmp_path):
    path, columns = make_buildings(tmp_path / "b.fgb")
    text, page = scene.page(buildings=path)
    graded = np.bincount(columns["grade"], minlength=5)
    legend = re.search(r"<table aria-labelledby=\"legend\">.*?</table>", text, re.S)[0]
    rows = re.findall(r"</svg>([^<]+)</label></th><td>(\d*)</td><td>([^<]*)</td>", legend)
    expected = [(g, str(n), f"{100 * n / graded[1:].sum():.1f} %") for g, n in zip(GRADES, graded[1:], strict=True)]
    assert rows == [*expected[::-1], ("no grade", str(graded[0]), "–")]
    numbers = {row[0]: row[1:] for row in table(text, "numbers")}
    for index, name in enumerate(GRADES, 1):
        assert int(numbers[name][0]) == graded[index]
        assert f"{graded[index]}" in page.text
    assert int(numbers["all grades"][0]) == graded[1:].sum()
    assert int(numbers["no grade: no building seen"][0]) == graded[0]
    rows = data_of(text)["rows"]
    assert [len(part) for part in rows] == graded.tolist()
    for grade, part in enumerate(rows):
        outlines = re.search(rf'data-grade="{grade}" style[^>]* d="([^"]*)"', text)[1].split("\n")
        assert len(outlines) == len(part)
    assert f"{graded[1:].sum()} buildings" in page.text


def test_areas_are_counted_at_full_resolution(scene, monkeypatch):
    counts = np.array([(scene.known & (scene.label == index)).sum() for index in range(5)])
    for side, window in ((2048, 2048), (50, 2048), (50, 30)):
        monkeypatch.setattr(mappictures, "SIDE", side)
        monkeypatch.setattr(mappictures, "WINDOW", window)
        with open_raster(scene.classes) as file:
            covers = class_covers(file, LABELS, silent)
        np.testing.assert_allclose(covers.areas, [*PIXEL * counts, PIXEL * (~scene.known).sum()])
        assert max(covers.opacity.shape) <= side
    numbers = {row[0]: row[1:] for row in table(scene.page()[0], "numbers")}
    shares = [float(numbers[name][1].removesuffix(" %")) for name in GRADES]
    np.testing.assert_allclose(shares, 100 * counts[1:] / counts[1:].sum(), atol=0.051)


def test_a_pixel_from_afar_is_as_opaque_as_the_root_of_what_is_covered(tmp_path, monkeypatch):
    label = np.zeros((64, 64), np.uint8)
    label[0, 0] = 2  # a quarter of a pixel from afar
    label[8:10, 8:10] = 2
    path = raster(tmp_path / "c.tif", label)
    monkeypatch.setattr(mappictures, "SIDE", 32)
    with open_raster(path) as file:
        opacity = class_covers(file, LABELS, silent).opacity
    assert opacity.shape == (4, 32, 32)
    assert opacity[1, 0, 0] == round(15 / 2)
    assert opacity[1, 4, 4] == 15
    assert np.count_nonzero(opacity) == 2


def test_pictures_show_classes_and_doubt_where_they_are_and_nothing_where_nothing_is_known(scene):
    text, _ = scene.page()
    for index in range(1, 5):
        source = re.search(rf'class="grade-{index}"[^>]* href="(data:image/png[^"]+)"', text)[1]
        drawn = decoded(source)
        np.testing.assert_array_equal(drawn[..., 3] > 0, scene.known & (scene.label == index))
        assert tuple(drawn[drawn[..., 3] > 0][0, :3]) == LABELS.display_colour(index)
    steps = np.arange(16, dtype=np.uint8)[None]
    assert decoded(tint(steps, (1, 2, 3)))[0, :, 3].tolist() == (17 * steps[0]).tolist()
    with open_raster(scene.confidence) as file:
        found = doubts(file)
    assert (found > 0).sum() == (HEIGHT - 40) * (WIDTH - 60)
    assert found[50, 80] == round(15 * (1 - 150 / 255) / 0.5)


def test_nothing_that_is_told_breaks_the_page(tmp_path):
    labels = LabelSet(names=("background", *(f"{SCRIPT} \"'{i}</svg>" for i in range(4))))
    folder = tmp_path / "a"
    folder.mkdir()
    scene = Scene(folder)
    path, _ = make_buildings(folder / "b.gpkg", labels=labels)
    text, page = scene.page(
        labels=labels,
        title=SCRIPT,
        images={SCRIPT: scene.images["before"], '"</title>': scene.images["after"]},
        buildings=path,
        notes=[SCRIPT],
        facts={SCRIPT: SCRIPT, "command": SCRIPT},
    )
    assert "<script>alert" not in text
    assert len(page.find("script")) == 2
    assert data_of(text)["names"][1:] == list(labels.names[1:])
    for words in (labels.names[1], SCRIPT, '"</title>'):
        assert words in page.text


def test_every_building_can_be_asked_for_its_own_numbers(scene, tmp_path):
    """The nth line of a grade's path and the nth row of its numbers are of one building."""
    path, columns = make_buildings(tmp_path / "b.gpkg", crs="EPSG:3857")
    text, _ = scene.page(buildings=path)
    to_degrees = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform
    for grade, rows in enumerate(data_of(text)["rows"]):
        lines = re.search(rf'data-grade="{grade}" style[^>]* d="([^"]*)"', text)[1].split("\n")
        for line, (number, lon, lat, unsure, sure, area, *shares) in zip(lines, rows, strict=True):
            index = number - 1  # a GeoPackage counts from 1
            assert columns["grade"][index] == grade
            assert area == round(columns["area_m2"][index], 2)
            assert unsure == 0
            assert shares == [float(i == grade) for i in range(1, 5)]
            assert sure is None if grade == 0 else sure == round(columns["confidence"][index], 2)
            middle = columns["middle"][index]
            np.testing.assert_allclose((lon, lat), to_degrees(*middle), atol=2e-6)
            steps = np.array(re.findall(r"-?\d+", line), float).reshape(-1, 2)
            x, y = np.cumsum(steps, axis=0).mean(axis=0) / 10  # in units, which are pixels here
            np.testing.assert_allclose((x, y), (middle - ORIGIN) * (2, -2), atol=0.2)


def test_the_worst_hit_come_first_with_coordinates_for_a_gis(scene, tmp_path):
    path, columns = make_buildings(tmp_path / "b.gpkg")
    text, page = scene.page(buildings=path)
    rows = list(csv.DictReader(io.StringIO(re.search(r"<textarea[^>]*>(.*?)</textarea>", text, re.S)[1])))
    order = sorted(np.flatnonzero(columns["grade"] > 1), key=lambda i: (-columns["grade"][i], -columns["area_m2"][i]))
    assert [int(row["feature"]) - 1 for row in rows] == order[: mappage.WORST]
    change = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform
    for row, index in zip(rows, order, strict=False):
        assert row["damage"] == columns["damage"][index]
        np.testing.assert_allclose(change(float(row["lon"]), float(row["lat"])), columns["middle"][index], atol=0.2)
    shown = table(text, "worst")
    assert [(row[0], row[3], row[4]) for row in shown] == [(row["damage"], row["lon"], row["lat"]) for row in rows]
    buttons = [a for a in page.find("button") if "data-at" in a]
    groups = data_of(text)["rows"]
    for button, row in zip(buttons, rows, strict=True):
        grade, line = map(int, button["data-path"].split())
        assert groups[grade][line][0] == int(row["feature"])


def test_more_buildings_than_can_be_clicked_are_painted_and_that_is_said(scene, tmp_path, monkeypatch):
    path, columns = make_buildings(tmp_path / "b.gpkg", count=12)
    text, _ = scene.page(buildings=path)
    assert "drawn into the map as a picture" not in text
    monkeypatch.setattr(mapdata, "MOST", 11)
    text, page = scene.page(buildings=path)
    assert "drawn into the map as a picture" in page.text
    assert 'data-grade="4" style' not in text
    layer = re.search(r'<g id="buildings">(.*?)<path id="chosen"', text, re.S)[1]
    sources = dict(re.findall(r'class="grade-(\d)"[^>]* href="(data:[^"]+)"', layer))
    for grade in range(5):
        mine = columns["middle"][columns["grade"] == grade]
        if not len(mine):
            continue
        opaque = decoded(sources[str(grade)])[..., 3]
        assert opaque.shape == (HEIGHT, WIDTH)
        x, y = ((mine - ORIGIN) * (2, -2)).astype(int).T
        assert (opaque[y, x] > 100).all()
        assert 16 * len(mine) / 2 < (opaque > 0).sum() <= 36 * len(mine)
    assert [len(part) for part in data_of(text)["rows"]] == []
    assert len(table(text, "worst")) == (columns["grade"] > 1).sum()


def test_buildings_in_many_batches_are_the_same(scene, tmp_path, monkeypatch):
    path, _ = make_buildings(tmp_path / "b.fgb")
    whole, _ = scene.page(buildings=path)
    monkeypatch.setattr(mapdata, "BATCH", 7)
    assert scene.page(buildings=path)[0] == whole


def test_a_page_without_buildings_and_without_alignment(scene):
    text, page = scene.page(images={"image": scene.images["after"]})
    assert not page.find("textarea")
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert not {"line", "swipe", "newer", "buildings", "outlines", "unsure", "worst", "copy"} & ids
    assert "Mapped area" in page.text
    known = PIXEL * scene.known.sum()
    mapped = PIXEL * (scene.known & (scene.label > 0)).sum()
    assert f"{mapped:.0f} m² of {known:.0f} m² are mapped as" in page.text
    layer = re.search(r'id="classes" style="opacity:([\d.]+)', text)[1]
    assert float(layer) > 0  # else nothing would be seen


def test_a_file_without_any_building_is_none_too_many(scene, tmp_path):
    path, _ = make_buildings(tmp_path / "b.gpkg", count=0)
    _, page = scene.page(buildings=path)
    assert "0 buildings on" in page.text


def test_broken_and_missing_outlines_are_counted_and_do_no_harm(scene, tmp_path):
    x, y = ORIGIN
    bow = shapely.polygons([(x + 5, y - 5), (x + 15, y - 15), (x + 15, y - 5), (x + 5, y - 15)])
    ring, inner = (
        [(x + a, y - a), (x + b, y - a), (x + b, y - b), (x + a, y - b)] for a, b in ((30, 40), (33, 37))
    )  # both turn the same way
    hole = shapely.Polygon(ring, [inner])
    both = shapely.multipolygons(
        [shapely.box(x + 45, y - 10, x + 47, y - 8), shapely.box(x + 50, y - 10, x + 52, y - 8)]
    )
    outlines = np.array([bow, None, hole, both, shapely.box(x - 90, y - 5, x - 80, y)], object)
    columns = {"damage": np.array(["destroyed"] * 5, object), "confidence": np.ones(5), "area_m2": np.full(5, 9.0)}
    columns |= {f"share_{name}": np.zeros(5) for name in GRADES}
    path = tmp_path / "b.gpkg"
    pyogrio.raw.write(path, shapely.to_wkb(outlines), [*columns.values()], [*columns], geometry_type="Unknown", crs=UTM)
    text, _ = scene.page(buildings=path)
    assert table(text, "numbers")[0][:2] == ["destroyed", "5"]
    lines = re.search(r'data-grade="4" style[^>]* d="([^"]*)"', text)[1].split("\n")
    assert [line.count("M") for line in lines] == [1, 2, 2]  # neither the missing one nor the one beside the map
    turns = []
    for ring in lines[1].split("z")[:2]:
        steps = np.array(re.findall(r"-?\d+", ring), float).reshape(-1, 2).cumsum(axis=0)
        turns.append(shapely.is_ccw(shapely.linearrings(steps)))
    assert turns[0] != turns[1]


def test_places_that_are_not_surely_aligned_are_flagged(scene, tmp_path):
    alignment = make_alignment()
    with open_raster(scene.classes) as file:
        sheet = Sheet.of(file)
    cells = unsure_cells(alignment, sheet)
    np.testing.assert_allclose(cells, [[40, 25, 80, 60]])  # units are pixels here
    path, columns = make_buildings(tmp_path / "b.gpkg")
    text, page = scene.page(buildings=path, alignment=alignment)
    assert 'd="M40.0 25.0H80.0V60.0H40.0z"' in text
    x, y = ((columns["middle"] - ORIGIN) * (2, -2)).T
    inside = (x > 40) & (x < 80) & (y > 25) & (y < 60)
    assert sum(row[3] for part in data_of(text)["rows"] for row in part) == inside.sum() > 0
    assert f"where {inside.sum()} buildings lie" in page.text
    assert "12.5 % of their common area" in page.text
    rows = csv.DictReader(io.StringIO(re.search(r"<textarea[^>]*>(.*?)</textarea>", text, re.S)[1]))
    assert all((row["alignment"] == "unsure") == inside[int(row["feature"]) - 1] for row in rows)


@pytest.mark.parametrize("crs", ["EPSG:32637", "EPSG:4326", "EPSG:3857", "EPSG:2263"])
@pytest.mark.parametrize("turn", [0, 30])
def test_scale_bar_and_north_and_degrees_hold_on_the_ground(tmp_path, crs, turn):
    lon, lat = (-74.0, 40.7) if crs == "EPSG:2263" else (36.2, 36.2)
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    side = 5e-6 if crs == "EPSG:4326" else 0.5
    turned = rasterio.Affine.rotation(turn) @ rasterio.Affine.scale(side, -side)
    transform = rasterio.Affine.translation(x, y) @ turned
    path = raster(tmp_path / "c.tif", np.zeros((300, 500), np.uint8), crs=crs, transform=transform)
    with open_raster(path) as file:
        sheet = Sheet.of(file)
    earth, middle = Geod(ellps="WGS84"), np.array(sheet.size) / 2
    length = 0.4 * sheet.size[0]

    def apart(step):
        (a, b), (c, d) = sheet.degrees(np.array([middle - step, middle + step]))
        azimuth, _, metres = earth.inv(a, b, c, d)
        return azimuth, metres

    across, down = np.array([length / 2, 0]), np.array([0, length / 2])
    assert apart(across)[1] == pytest.approx(length * sheet.metres, rel=2e-3)
    if not (turn and crs == "EPSG:4326"):  # where degrees are turned, pixels are no rectangles
        assert apart(down)[1] == pytest.approx(length * sheet.metres, rel=2e-3)
    north = np.array([np.sin(np.radians(sheet.north)), -np.cos(np.radians(sheet.north))]) * length / 2
    if not (turn and crs == "EPSG:4326"):
        assert apart(north)[0] == pytest.approx(0, abs=0.05)
    frame = mappage._frame(sheet)
    number, unit = frame["bar"]["text"].split()
    assert {"m": 1, "km": 1000}[unit] * float(number) == pytest.approx(
        frame["bar"]["percent"] / 100 * frame["box"][2] * sheet.metres
    )
    assert 5 < frame["bar"]["percent"] <= 25
    data = mappage._data(LABELS, sheet, None)
    axes = [np.linspace(0, size, data["nodes"]) for size in sheet.size[::-1]]
    lattice = np.array(data["lattice"]).reshape(data["nodes"], data["nodes"], 2)
    places = np.random.default_rng(0).uniform(0, 1, (50, 2)) * sheet.size
    found = RegularGridInterpolator(axes, lattice)(places[:, ::-1])
    np.testing.assert_allclose(found, sheet.degrees(places), atol=2e-7)  # 2 cm


def test_degrees_go_on_across_the_180th_meridian(tmp_path):
    transform = rasterio.Affine(200, 0, 800_000, 0, -200, 8e6)
    path = raster(tmp_path / "c.tif", np.zeros((100, 200), np.uint8), crs="EPSG:32760", transform=transform)
    with open_raster(path) as file:
        sheet = Sheet.of(file)
    lattice = np.array(mappage._data(LABELS, sheet, None)["lattice"])[:, 0]
    assert np.ptp(sheet.degrees(np.array([(0, 0), sheet.size]))[:, 0]) > 300
    assert 0.35 < np.ptp(lattice) < 0.45


def test_images_are_stretched_by_the_pixels_that_hold_data(scene):
    values = np.linspace(300, 900, HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH).astype(np.uint16)
    values[:, :45] = 60_000  # without data
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:45] = False
    text, _ = scene.page(images={"image": Pixels(Image(array=values, valid=valid))})
    shown = decoded(re.search(r'href="(data:image/jpeg[^"]+)"', text)[1])[..., :3].astype(float)
    assert abs(shown[:40] - mappictures.NOTHING).max() < 6
    assert shown[48, 10].mean() < 25
    assert shown[-2, -10].mean() > 230


def test_images_give_way_where_the_page_would_be_too_large(scene, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (2, 3, HEIGHT, WIDTH), dtype=np.uint8)
    images = {name: Pixels(Image(array=array)) for name, array in zip("ab", noise, strict=True)}
    assert mappage.BUDGET < 5_000_000
    whole = len(scene.page(images=images)[0])
    monkeypatch.setattr(mappage, "BUDGET", whole - 10_000)
    text, _ = scene.page(images=images)
    assert len(text.encode()) <= whole - 10_000


def test_two_grades_or_one_are_told_apart(scene, tmp_path):
    labels = LabelSet(names=("background", "building"))
    label = (scene.label > 2).astype(np.uint8)
    path, columns = make_buildings(tmp_path / "b.gpkg", labels=labels)
    text, page = scene.page(labels=labels, buildings=path, classes=raster(tmp_path / "one.tif", label))
    assert "Largest buildings" in page.text
    assert "graver than" not in page.text
    areas = [float(row["area_m2"]) for row in csv.DictReader(
        io.StringIO(re.search(r"<textarea[^>]*>(.*?)</textarea>", text, re.S)[1])
    )]  # fmt: skip
    assert areas == sorted(areas, reverse=True)
    assert len(areas) == min(mappage.WORST, (columns["grade"] > 0).sum())
    assert statistics.fmean(areas) > columns["area_m2"].mean()


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"images": {}}, ConfigError, "one image or two, found 0"),
        ({"labels": LabelSet(names=("background", "a", "b"))}, InputError, "holds the class 4, the labels are 0 to 2"),
        ({"images": {"x": Pixels(Image(array=np.zeros((3, 9, 9), np.uint8)))}}, InputError, "'x' has 9x9 pixels"),
        ({"buildings": "gone.gpkg"}, InputError, "there is no file gone.gpkg"),
        ({"buildings": "classes.tif"}, InputError, "cannot be read"),
        ({"classes": "three.tif"}, InputError, "one band of uint8, found 3 of uint8"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence_and_nothing_is_written(
    scene, tmp_path, monkeypatch, change, kind, message
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "three.tif", np.zeros((3, HEIGHT, WIDTH), np.uint8))
    with pytest.raises(kind, match=message) as caught:
        scene.page(**change)
    assert isinstance(caught.value, CatenaryError)
    assert ";" in str(caught.value)
    assert not scene.out.exists()
    assert not list(tmp_path.glob(".writing*"))


def test_a_vector_file_of_another_kind_is_refused(scene, tmp_path):
    path, _ = make_buildings(tmp_path / "b.gpkg", labels=LabelSet(names=("background", "collapsed", "fine")))
    with pytest.raises(InputError, match="has no column share_destroyed; give buildings that were written with"):
        scene.page(buildings=path)
    path, _ = make_buildings(tmp_path / "c.gpkg")
    with open_raster(scene.classes) as file:
        sheet = Sheet.of(file)
    assert len(read_buildings(path, labels=LABELS, sheet=sheet, alignment=None, progress=silent).ids) == 60
    names = {f"share_{name}": np.zeros(1) for name in GRADES}
    odd = {"damage": np.array(["flooded"], object), "confidence": np.ones(1), "area_m2": np.ones(1)} | names
    square = shapely.to_wkb(np.array([shapely.box(*ORIGIN, ORIGIN[0] + 1, ORIGIN[1] + 1)]))
    pyogrio.raw.write(tmp_path / "d.gpkg", square, [*odd.values()], [*odd], geometry_type="Polygon", crs=UTM)
    with pytest.raises(InputError, match="grades damage as 'flooded', known are no-damage, minor"):
        scene.page(buildings=tmp_path / "d.gpkg")


def test_progress_reaches_its_end(scene, tmp_path):
    path, _ = make_buildings(tmp_path / "b.gpkg")
    said = {}
    scene.page(buildings=path, progress=lambda what, done, total: said.update({what: (done, total)}))
    assert said == {"classes": (1, 1), "buildings": (60, 60)}
