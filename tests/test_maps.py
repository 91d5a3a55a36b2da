"""`catenary predict --pre --post`: the whole way from two images to a map, on a made-up city."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import torch

from catenary import workflow
from catenary.cli.main import main
from catenary.data.labels import LabelSet
from catenary.errors import InputError, OutputError
from catenary.models import build
from catenary.predict import Card, save_model
from catenary.recipe import Model, Predict, Prepare, Recipe, Sample
from catenary.workflow import MapSettings
from catenary.workflow.city import write_city
from rasters import town, write
from test_mosaic import model  # noqa: F401 - a fixture

SHAPE = (200, 240)
UNMOVED = MapSettings(align="none")


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return write_city(tmp_path_factory.mktemp("city"), shape=SHAPE, seed=4, post_crs="EPSG:4326", nodata=True)


def test_a_pair_in_two_crs_becomes_a_map_with_footprints(model, city, tmp_path, capsys):  # noqa: F811
    line = [
        "predict",
        str(model),
        "--pre",
        str(city["pre"]),
        "--post",
        str(city["post"]),
        "--out",
        str(tmp_path / "map"),
    ]
    assert main([*line, "--footprints", str(city["buildings"]), "--probability"]) == 0
    told = capsys.readouterr().out
    assert "map.html" in told
    with rasterio.open(tmp_path / "map" / "damage.tif") as damage, rasterio.open(city["pre"]) as pre:
        assert (damage.crs, damage.transform, damage.shape) == (pre.crs, pre.transform, SHAPE)
        known = damage.dataset_mask() > 0
    assert 0.5 < known.mean() < 1
    found = pyogrio.raw.read(tmp_path / "map" / "buildings.gpkg")
    columns = list(found[0]["fields"])
    assert {"damage", "confidence", "area_m2", "seen", "reason", "subtype"} <= set(columns)
    given = pyogrio.read_info(city["buildings"], force_feature_count=True)["features"]
    assert len(found[2]) == given
    summary = json.loads((tmp_path / "map" / "summary.json").read_text())
    assert summary["buildings"]["count"] == given
    assert summary["alignment"].endswith("alignment.json")
    assert "<svg" in (tmp_path / "map" / "map.html").read_text()
    assert not (tmp_path / "map" / "unfinished").exists()
    assert main([*line, "--footprints", str(city["buildings"])]) == 1
    assert "already holds a damage.tif" in capsys.readouterr().err


def test_without_footprints_the_map_has_its_own_buildings(model, city, tmp_path):  # noqa: F811
    done = workflow.predict_mosaic(
        model,
        city["pre"],
        city["post"],
        out=tmp_path,
        settings=MapSettings(align="none", vectors="geojson", outlines="pixels"),
    )
    assert done.alignment is None
    assert done.buildings.path.name == "buildings.geojson"
    assert done.buildings.count == pyogrio.read_info(done.buildings.path, force_feature_count=True)["features"]
    assert sum(done.buildings.grades.values()) == done.buildings.count


def test_what_fails_after_the_rows_is_gone_on_with(model, city, tmp_path, monkeypatch):  # noqa: F811
    import catenary.report.mappage as page

    def full(*_, **__):
        raise OutputError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(page, "write_map_page", full)
        with pytest.raises(OutputError, match="no space"):
            workflow.predict_mosaic(model, city["pre"], city["post"], out=tmp_path, settings=UNMOVED)
    with pytest.raises(OutputError, match="add --resume"):
        workflow.predict_mosaic(model, city["pre"], city["post"], out=tmp_path, settings=UNMOVED)
    done = workflow.predict_mosaic(model, city["pre"], city["post"], out=tmp_path, settings=UNMOVED, resume=True)
    assert done.page.is_file()
    assert not (tmp_path / "unfinished").exists()


def test_one_image_of_roofs_becomes_vectors_when_asked(city, tmp_path):
    recipe = Recipe(model=Model(widths=(4, 8), norm="batch"), prepare=Prepare(normalise="range"),
                    sample=Sample(patch=(64, 64)), predict=Predict(tile=(64, 64), engine="torch"))  # fmt: skip
    torch.manual_seed(2)
    network = build(**recipe.model.model_dump())
    path = tmp_path / "model.safetensors"
    card = Card(recipe=recipe, labels=LabelSet(names=("background", "building")), channels=3)
    save_model(path, {name: value.numpy() for name, value in network.state_dict().items()}, card)
    plain = workflow.predict_mosaic(path, city["pre"], out=tmp_path / "a")
    assert plain.buildings is None
    assert plain.files.classes.name == "classes.tif"
    done = workflow.predict_mosaic(path, city["pre"], out=tmp_path / "b", settings=MapSettings(vectors="fgb"))
    with rasterio.open(done.files.classes) as file:
        seen = (file.read(1) == 1) & (file.dataset_mask() > 0)
    areas = pyogrio.raw.read(done.buildings.path, columns=["area_m2"])[3][0]
    assert areas.min() >= 10 * 0.99  # smaller ones are dropped
    assert areas.sum() <= seen.sum() * 0.25 * 1.02


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--post", "b.tif"], "nothing to predict was named"),
        (["image.png", "--pre", "a.tif"], "--pre is for maps"),
        (["--pre", "none.tif"], "there is no file none.tif"),
    ],
)
def test_wrong_lines_are_one_sentence(model, tmp_path, capsys, line, said):  # noqa: F811
    assert main(["predict", str(model), *line, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_does_not_suit_is_said_before_anything_is_done(model, city, tmp_path):  # noqa: F811
    far = write_city(tmp_path / "far", shape=(64, 64), crs="EPSG:32633")
    with pytest.raises(InputError, match="no place in common"):
        workflow.predict_mosaic(model, city["pre"], far["post"], out=tmp_path / "out", settings=UNMOVED)
    with pytest.raises(InputError, match="there is no file"):
        workflow.predict_mosaic(model, city["pre"], city["post"], out=tmp_path / "out", footprints=tmp_path / "no.gpkg")
    wrong = MapSettings(post_crs="EPSG:3857")
    with pytest.raises(InputError, match="states EPSG:4326, found EPSG:3857 given"):
        workflow.predict_mosaic(model, city["pre"], city["post"], out=tmp_path / "out", settings=wrong)
    grey = write(tmp_path / "grey.tif", town(64)[:1])
    with pytest.raises(InputError, match="trained on 6 channels"):  # before minutes are spent on an alignment
        workflow.predict_mosaic(model, write(tmp_path / "a.tif", town(64)), grey, out=tmp_path / "out")
    elsewhere = far["buildings"]
    with pytest.raises(InputError, match=r"no footprint of .* lies on"):
        workflow.predict_mosaic(model, city["pre"], city["post"], out=tmp_path / "out", footprints=elsewhere)
    assert not (tmp_path / "out").exists()


def test_places_that_are_done_are_left_and_one_that_fails_is_told(model, tmp_path, capsys):  # noqa: F811
    for date, seed in (("pre", 0), ("post", 1)):
        (tmp_path / date).mkdir()
        for name in ("a", "b"):
            write(tmp_path / date / f"{name}_{date}.tif", town(80, seed))
    write(tmp_path / "pre" / "c_pre.tif", np.zeros((3, 80, 80), np.uint8), nodata=0)
    write(tmp_path / "post" / "c_post.tif", town(80, 2))
    line = ["predict", str(model), "--pre", str(tmp_path / "pre"), "--post", str(tmp_path / "post"), "--align", "none"]
    out = tmp_path / "out"
    assert main([*line, "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert "2 of 3 scenes mapped" in told.out
    assert "error: c: " in told.err
    assert {path.name for path in out.iterdir()} == {"a", "b", "scenes.csv"}
    before = (out / "a" / "damage.tif").stat().st_mtime_ns
    assert main([*line, "--out", str(out)]) == 1
    assert "already holds a damage.tif" in capsys.readouterr().err
    assert main([*line, "--out", str(out), "--resume"]) == 2
    assert (out / "a" / "damage.tif").stat().st_mtime_ns == before
    assert "was there" in (out / "scenes.csv").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--pre", "a.tif", "--pre", "b.tif", "--post", "c.tif"], "2 --pre and 1 --post do not make pairs"),
        (
            ["--pre", "one", "--post", "other"],
            "2 of the images and later images have no partner of the same name, the first is",
        ),
        (["--pre", "one", "--post", "empty"], "the folder empty holds no .tif"),
        (["--pre", "a.tif", "--pre", "b.tif", "--align", "x.json"], "--align x.json is of one place, found 2"),
        (["--pre", "a.tif", "--pre", "a.tif"], "are the same places twice"),
    ],
)
def test_wrong_lines_of_several_places(model, tmp_path, monkeypatch, capsys, more, said):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    for folder, name in (("one", "x"), ("other", "y"), ("empty", None)):
        (tmp_path / folder).mkdir()
        if name:
            write(tmp_path / folder / f"{name}.tif", town(16))
    assert main(["predict", str(model), *more, "--out", "out"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
