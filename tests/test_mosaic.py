"""Mosaics: the streamed answer is the whole image's, wherever it was interrupted and whoever made the parts."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
import torch

from catenary.cli.main import main
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError, OutputError
from catenary.models import build
from catenary.predict import Card, open_predictor, save_model
from catenary.predict.mosaic import begin_mosaic, finish_mosaic, predict_rows, rows_left
from catenary.recipe import Model, Predict, Prepare, Recipe, Sample, choose
from catenary.types import Image
from rasters import ORIGIN, displaced, town, write

LABELS = LabelSet(names=("background", "no-damage", "minor-damage", "destroyed"))
SIDE = 160


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network for two dates with random weights, whose answers vary."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    recipe = Recipe(
        model=Model(name="unet", widths=(4, 8, 8), channels=6, classes=4, fusion="feature", norm="batch"),
        prepare=Prepare(mean=(110.0,) * 6, std=(40.0,) * 6, match=True),
        sample=Sample(patch=(64, 64)),
        predict=Predict(tile=(64, 64), engine="torch"),
    )
    torch.manual_seed(3)
    network = build(**recipe.model.model_dump())
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(4)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    save_model(path, weights, Card(recipe=recipe, labels=LABELS, channels=6))
    return path


@pytest.fixture
def pair(tmp_path):
    pre, post = town(SIDE, 0), displaced(town(SIDE, 0), 0.0, 0.0)
    post[:, 40:80, 40:80] = town(40, 5)
    write(tmp_path / "pre.tif", pre)
    write(tmp_path / "post.tif", post // 2 + 60)
    return tmp_path / "pre.tif", tmp_path / "post.tif"


def predicted(model, images, out, *, parts=None, **more):
    predictor = open_predictor(model)
    job = begin_mosaic(predictor, model, images, out, probability=True, **more)
    for first, last in parts or [(0, len(rows_left(predictor, job)))]:
        predict_rows(predictor, job, first, last)
    return finish_mosaic(predictor, job, out, stem="damage")


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() > 0


def bytes_of(files):
    return [path.read_bytes() for path in (files.classes, files.confidence, files.probability)]


def test_streamed_equals_in_memory(model, pair, tmp_path):
    files = predicted(model, pair, tmp_path / "out")
    predictor = open_predictor(model)
    both = np.concatenate([read(path)[0] for path in pair])
    whole = predictor(Image(array=both))
    classes, known = read(files.classes)
    assert known.all()
    np.testing.assert_array_equal(classes[0], whole.mask)
    probability, _ = read(files.probability)
    np.testing.assert_allclose(probability / 255, whole.probability, atol=0.5 / 255 + 1e-5)
    confidence, _ = read(files.confidence)
    chosen = np.take_along_axis(whole.probability, whole.mask[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(confidence[0] / 255, chosen, atol=0.5 / 255 + 1e-5)
    assert len(np.unique(whole.mask)) > 2  # or all this shows nothing


def test_a_building_is_there_however_unsure_its_grade(model):
    """.4 nothing, and .6 of a building whose three grades share it."""
    probability = np.array([[[0.4, 0.55]], [[0.15, 0.45]], [[0.25, 0.0]], [[0.2, 0.0]]], np.float32)
    assert open_predictor(model).decide(probability).tolist() == [[2, 0]]


def test_the_probabilities_streamed_are_those_in_memory(model, pair, tmp_path):
    """Before they are rounded to 8 bits, within 1e-5."""
    from catenary.predict import mosaic

    predictor = open_predictor(model)
    job = begin_mosaic(predictor, model, pair, tmp_path / "out")
    tiling = predictor.tiling(job.shape)
    with job.opened() as (_, source):
        rows = mosaic._Reader(source, job, tiling).rows
        bands = [band.copy() for band in predictor.blended(rows, tiling, mosaic._coefficients(job))]
    streamed = np.concatenate(bands, axis=1)[:, :SIDE, :SIDE]
    whole = predictor(Image(array=np.concatenate([read(path)[0] for path in pair])), probability=True)
    assert np.abs(streamed - whole.probability).max() < 1e-5


def test_outlines_that_want_refining_are_no_mosaic(model, pair, tmp_path):
    predictor = open_predictor(model)
    predictor.card = predictor.card.model_copy(
        update={"recipe": choose(predictor.card.recipe, {"predict.refine": 3.0})}
    )
    with pytest.raises(ConfigError, match="refines its outlines"):
        begin_mosaic(predictor, model, pair, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_any_parts_in_any_order_give_the_same_bytes(model, pair, tmp_path):
    whole = predicted(model, pair, tmp_path / "one")
    parts = predicted(model, pair, tmp_path / "two", parts=[(2, 3), (0, 2)])
    assert bytes_of(whole) == bytes_of(parts)


def test_it_is_a_cog_with_colours_mask_and_place(model, pair, tmp_path):
    files = predicted(model, pair, tmp_path / "out")
    with rasterio.open(files.classes) as file, rasterio.open(pair[0]) as source:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.mask_flag_enums[0][0].name == "per_dataset"
        assert file.colormap(1)[3][:3] == LABELS.display_colour(3)
        assert (file.crs, file.transform) == (source.crs, source.transform)
    assert not (tmp_path / "out" / "unfinished").exists()


def test_places_without_data_stay_so_and_grow(model, tmp_path):
    pre, post = town(SIDE, 0), town(SIDE, 1)
    pre[:, :70, :90] = 0
    write(tmp_path / "pre.tif", pre, nodata=0)
    write(tmp_path / "post.tif", post)
    files = predicted(model, (tmp_path / "pre.tif", tmp_path / "post.tif"), tmp_path / "out", grow=5)
    classes, known = read(files.classes)
    assert not known[:75, :95].any()
    assert known[76:, :].all()  # and there is no frame at the edges
    assert known[:, 96:].all()
    assert (classes[0][~known] == 255).all()


def test_a_later_image_on_another_grid_is_brought_onto_the_first(model, tmp_path):
    """Shifted by whole pixels and twice as large: where both lie the answer is that of the same pixels."""
    pre, post = town(SIDE, 0), town(SIDE, 1)
    write(tmp_path / "pre.tif", pre)
    write(tmp_path / "post.tif", post)
    larger = np.pad(post, [(0, 0), (32, 64), (48, 16)], mode="reflect")
    place = rasterio.Affine(0.5, 0, ORIGIN[0] - 24, 0, -0.5, ORIGIN[1] + 16)
    write(tmp_path / "larger.tif", larger, transform=place)
    one = predicted(model, (tmp_path / "pre.tif", tmp_path / "post.tif"), tmp_path / "a")
    other = predicted(model, (tmp_path / "pre.tif", tmp_path / "larger.tif"), tmp_path / "b")
    assert np.mean(read(one.classes)[0] != read(other.classes)[0]) < 0.001


def test_rotated_and_mirrored_images_have_their_own_grid(model, pair, tmp_path):
    """The same pixels on a rotated grid give the same answer there; a later image stored upside down lies right."""
    plain = predicted(model, pair, tmp_path / "plain")
    along, aside = 0.5 * np.cos(0.4), 0.5 * np.sin(0.4)
    rotated = rasterio.Affine(along, aside, ORIGIN[0], aside, -along, ORIGIN[1])
    for name, path in zip(("a.tif", "b.tif"), pair, strict=True):
        write(tmp_path / name, read(path)[0], transform=rotated)
    turned = predicted(model, (tmp_path / "a.tif", tmp_path / "b.tif"), tmp_path / "turned")
    assert np.mean(read(turned.classes)[0] != read(plain.classes)[0]) < 0.001
    with rasterio.open(turned.classes) as file:
        assert file.transform.almost_equals(rotated)
    upside_down = rasterio.Affine(0.5, 0, ORIGIN[0], 0, 0.5, ORIGIN[1] - SIDE / 2)
    write(tmp_path / "up.tif", read(pair[1])[0][:, ::-1], transform=upside_down)
    other = predicted(model, (pair[0], tmp_path / "up.tif"), tmp_path / "other")
    assert np.mean(read(other.classes)[0] != read(plain.classes)[0]) < 0.001


def test_values_that_are_no_numbers_are_no_data(model, tmp_path):
    pre, post = town(SIDE, 0).astype(np.float32), town(SIDE, 1).astype(np.float32)
    post[1, 50, 60] = np.nan
    write(tmp_path / "pre.tif", pre)
    write(tmp_path / "post.tif", post)
    files = predicted(model, (tmp_path / "pre.tif", tmp_path / "post.tif"), tmp_path / "out", grow=2)
    _, known = read(files.classes)
    assert (~known).sum() == 25
    assert not known[48:53, 58:63].any()


def test_one_date_goes_the_same_way(tmp_path):
    path = roofs(tmp_path / "model.safetensors")
    write(tmp_path / "image.tif", town(SIDE, 0))
    files = predicted(path, (tmp_path / "image.tif",), tmp_path / "out")
    whole = open_predictor(path)(tmp_path / "image.tif")
    np.testing.assert_array_equal(read(files.classes)[0][0], whole.mask)
    confidence = read(files.confidence)[0][0] / 255
    assert (confidence >= 0.5 - 0.01).all()


def roofs(path):
    """A network for one date with random weights."""
    recipe = Recipe(model=Model(widths=(4, 8), norm="batch"), prepare=Prepare(normalise="range"),
                    sample=Sample(patch=(64, 64)), predict=Predict(tile=(64, 64), engine="torch"))  # fmt: skip
    torch.manual_seed(1)
    weights = {name: value.numpy() for name, value in build(**recipe.model.model_dump()).state_dict().items()}
    save_model(path, weights, Card(recipe=recipe, labels=LabelSet(names=("background", "roof")), channels=3))
    return path


def test_large_images_among_others_are_streamed_and_answer_the_same(tmp_path, monkeypatch, capsys):
    model = roofs(tmp_path / "model.safetensors")
    pixels = town(SIDE, 0)
    pixels[:, :50, :70] = 0
    write(tmp_path / "large.tif", pixels, nodata=0)
    write(tmp_path / "small.tif", town(70, 1))
    line = ["predict", str(model), str(tmp_path / "large.tif"), str(tmp_path / "small.tif")]
    assert main([*line, "--out", str(tmp_path / "whole"), "--probability"]) == 0
    monkeypatch.setattr("catenary.predict.large.LARGE", 10_000)
    assert main([*line, "--out", str(tmp_path / "rows"), "--probability"]) == 0
    assert "done row by row; objects are not counted" in capsys.readouterr().err
    whole, rows = (read(tmp_path / name / "large_mask.tif") for name in ("whole", "rows"))
    np.testing.assert_array_equal(whole[0], np.where(rows[1], rows[0], 255))
    assert not rows[1][:50, :70].any()
    tables = [(tmp_path / name / "measurements.csv").read_text().splitlines() for name in ("whole", "rows")]
    assert [line.split(",")[:4] for line in tables[0]] == [line.split(",")[:4] for line in tables[1]]
    assert tables[0][2] == tables[1][2]
    assert {path.name for path in (tmp_path / "rows").iterdir()} == {
        "large_mask.tif", "large_confidence.tif", "large_probability.tif", "small_mask.tif", "small_probability.tif",
        "measurements.csv",
    }  # fmt: skip


def test_a_large_image_that_is_damaged_leaves_nothing(tmp_path, monkeypatch, capsys):
    model = roofs(tmp_path / "model.safetensors")
    path = write(tmp_path / "large.tif", town(SIDE, 0), compress="deflate", blockysize=16, tiled=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    path.write_bytes(content)
    monkeypatch.setattr("catenary.predict.large.LARGE", 10_000)
    assert main(["predict", str(model), str(path), "--out", str(tmp_path / "out")]) == 2
    assert "large.tif" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["measurements.csv"]


RUN = """
import sys
from pathlib import Path
from catenary.predict import open_predictor
from catenary.predict.mosaic import *
model, pre, post, out = map(Path, sys.argv[1:])
predictor = open_predictor(model)
job = begin_mosaic(predictor, model, (pre, post), out, probability=True, resume=True)
for number in rows_left(predictor, job):
    predict_rows(predictor, job, number, number + 1)
    print(number, flush=True)
    if number == 0:
        import time; time.sleep(60)
"""


def test_killed_and_resumed_it_has_the_bytes_of_an_unbroken_run(model, pair, tmp_path):
    whole = predicted(model, pair, tmp_path / "whole")
    line = [sys.executable, "-c", RUN, str(model), *map(str, pair), str(tmp_path / "killed")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    unfinished = tmp_path / "killed" / "unfinished"
    with rasterio.open(unfinished / "classes.vrt") as partial:  # what is there can be looked at
        assert partial.shape == (SIDE, SIDE)
        known = partial.dataset_mask() > 0
        top = int(known.any(axis=1).sum())
        assert 0 < top < SIDE
        np.testing.assert_array_equal(partial.read(1)[:top], read(whole.classes)[0][0][:top])
    predictor = open_predictor(model)
    with pytest.raises(OutputError, match="add --resume"):
        begin_mosaic(predictor, model, pair, tmp_path / "killed", probability=True)
    with pytest.raises(ConfigError, match="begun with another grow"):
        begin_mosaic(predictor, model, pair, tmp_path / "killed", probability=True, grow=3, resume=True)
    job = begin_mosaic(predictor, model, pair, tmp_path / "killed", probability=True, resume=True)
    left = rows_left(predictor, job)
    assert left
    assert 0 not in left
    predict_rows(predictor, job, left[0], left[-1] + 1)
    assert bytes_of(finish_mosaic(predictor, job, tmp_path / "killed", stem="damage")) == bytes_of(whole)


def test_an_image_changed_under_way_is_noticed(model, pair, tmp_path):
    predictor = open_predictor(model)
    begin_mosaic(predictor, model, pair, tmp_path / "out")
    time.sleep(0.01)
    write(pair[1], town(SIDE, 7))
    with pytest.raises(ConfigError, match="another images"):
        begin_mosaic(predictor, model, pair, tmp_path / "out", resume=True)


def test_bad_input_leaves_nothing(model, pair, tmp_path):
    predictor = open_predictor(model)
    far = rasterio.Affine(0.5, 0, ORIGIN[0] + 5000, 0, -0.5, ORIGIN[1])
    write(tmp_path / "far.tif", town(64), transform=far)
    with pytest.raises(InputError, match="no pixel in common"):
        begin_mosaic(predictor, model, (pair[0], tmp_path / "far.tif"), tmp_path / "out")
    write(tmp_path / "grey.tif", town(SIDE)[:1])
    with pytest.raises(InputError, match=r"trained on 6 channels, found .*pre.tif 3 and .*grey.tif 1"):
        begin_mosaic(predictor, model, (pair[0], tmp_path / "grey.tif"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_block_in_the_middle_keeps_what_is_done(model, tmp_path):
    image = town(SIDE, 0)
    write(tmp_path / "pre.tif", image)
    write(tmp_path / "post.tif", image, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    whole = (tmp_path / "post.tif").read_bytes()
    with rasterio.open(tmp_path / "post.tif") as file:
        offset = int(file.tags(1, ns="TIFF")["BLOCK_OFFSET_1_1"]) if file.tags(1, ns="TIFF") else len(whole) // 2
    spoilt = bytearray(whole)
    spoilt[offset + 20 : offset + 400] = b"\xff" * 380
    predictor = open_predictor(model)
    job = begin_mosaic(predictor, model, (tmp_path / "pre.tif", tmp_path / "post.tif"), tmp_path / "out")
    predict_rows(predictor, job, 0, 1)
    (tmp_path / "post.tif").write_bytes(spoilt)
    with pytest.raises(InputError, match="cannot be read"):
        predict_rows(predictor, job, 1, 3)
    assert 0 not in rows_left(predictor, job)
