"""From an image to an answer on its own grid, through every engine, and what goes to disk."""

import csv
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError, ModelError, OutputError
from catenary.io import read_image, read_mask, write_image
from catenary.predict import (
    Card,
    Predictor,
    engines,
    load_card,
    load_weights,
    open_predictor,
    predict_files,
    save_model,
)
from catenary.predict.agreement import agreement_of
from catenary.predict.backends import OpenVinoEngine, TorchEngine
from catenary.predict.engines import Opened, Samples
from catenary.predict.files import find_inputs
from catenary.predict.prediction import as_regions
from catenary.predict.prepare import Normaliser, prepare
from catenary.predict.quantize import quantize
from catenary.recipe import Recipe, choose
from catenary.types import Grid, Image

BINARY = LabelSet(names=("background", "cell"))
THREE = LabelSet(names=("pore", "ceramic", "metal"))
NESTED = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})


def make_card(labels, channels=3, **settings):
    values = {
        "model.widths": (8, 16),
        "model.channels": channels,
        "model.classes": labels.channels,
        "prepare.mean": (0.0,) * channels,
        "prepare.std": (255.0,) * channels,
        "sample.patch": (64, 64),
        "predict.tile": (64, 64),
        "predict.batch": 1,
    }
    values |= {key.replace("__", "."): value for key, value in settings.items()}
    return Card(recipe=choose(Recipe(), values), labels=labels, channels=channels)


class Pixelwise:
    """Stands in for a network: the answer is a function of each prepared pixel alone."""

    name = "pixelwise"

    def __init__(self, function=lambda x: x):
        self.function, self.shapes = function, []

    def __call__(self, x):
        self.shapes.append(x.shape)
        return np.ascontiguousarray(self.function(x), np.float32)


def predictor(labels, engine=None, **options):
    settings = {key: options.pop(key) for key in list(options) if "__" in key}
    card = make_card(labels, channels=labels.channels, **settings).model_copy(
        update={key: options.pop(key) for key in ("thresholds", "share_errors", "fingerprint") if key in options}
    )
    return Predictor(card, Opened(engine or Pixelwise()), **options)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# The answer stands on the input's own grid


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (3, 5), (64, 64), (65, 63), (130, 200), (300, 20)])
@pytest.mark.parametrize("working", [0, 48])
def test_any_size(size, working):
    found = predictor(BINARY, prepare__size=working)(noise(*size))
    assert found.mask.shape == size
    assert found.probability.shape == (1, *size)
    assert found.probability.dtype == np.float32


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_tiling_does_not_change_what_pixels_alone_decide(overlap):
    image = noise(2, 3, 150, 211)[0]
    found = predictor(THREE, overlap=overlap)(image)
    np.testing.assert_allclose(found.probability, image / 255, atol=1e-6)
    np.testing.assert_array_equal(found.mask, image.argmax(0))


def test_the_answer_comes_back_from_working_resolution_without_a_shift():
    """A bright half plane at four times the working resolution keeps its border."""
    image = np.zeros((256, 320), np.uint8)
    image[:, 144:] = 255
    mask = predictor(BINARY, prepare__size=80)(image).mask
    assert mask.shape == (256, 320)
    wrong = mask != (image > 0)
    assert not wrong[:, :140].any()
    assert not wrong[:, 148:].any()


def test_probabilities_are_restored_before_they_are_decided():
    """A diagonal edge comes back smooth: deciding first would leave steps of four pixels."""
    rows, columns = np.mgrid[:256, :256]
    truth = rows + 2 * columns > 380
    mask = predictor(BINARY, prepare__size=64)((255 * truth).astype(np.uint8)).mask
    assert np.mean(mask != truth) < 0.002


def test_grid_and_source_are_kept():
    image = Image(array=noise(1, 20, 30), grid=Grid(spacing=(0.5, 0.25), unit="um"), source="slide 7")
    found = predictor(BINARY)(image)
    assert found.grid == image.grid
    assert found.measurements[0]["area"] == pytest.approx(found.mask.sum() * 0.125)
    assert found.measurements[0]["unit"] == "um"


def test_rows_first_columns_first_and_plain_arrays_are_the_same_image():
    image = noise(3, 40, 50)
    model = predictor(THREE)
    first = model(image).mask
    np.testing.assert_array_equal(model(np.moveaxis(image, 0, -1)).mask, first)
    np.testing.assert_array_equal(model(Image(array=image)).mask, first)


@pytest.mark.parametrize("working", [0, 48])
def test_pixels_without_data_are_255_and_count_nowhere(working):
    array, valid = np.full((1, 60, 80), 200, np.uint8), np.ones((60, 80), bool)
    valid[:, :20], array[:, :, :20] = False, 0
    found = predictor(BINARY, prepare__size=working)(Image(array=array, valid=valid))
    np.testing.assert_array_equal(found.mask == 255, ~valid)
    assert np.isnan(found.probability[:, ~valid]).all()
    assert found.measurements[0]["share"] == 1.0
    assert "25.0 % of the pixels hold no data" in found.warnings[-1]


@pytest.mark.parametrize("mode", ["image", "percentile"])
def test_pixels_without_data_do_not_move_the_normalisation(mode):
    array, valid = noise(1, 60, 80).astype(np.int32), np.ones((60, 80), bool)
    whole = prepare(Image(array=array), Normaliser(mode=mode)).normalised()
    wide = np.concatenate([array, np.full_like(array, -9999)], axis=2)
    there = np.concatenate([valid, ~valid], axis=1)
    cut = prepare(Image(array=wide, valid=there), Normaliser(mode=mode)).normalised()
    np.testing.assert_allclose(cut[:, :, :80], whole, atol=1e-6)
    assert abs(cut[:, :, 80:]).max() < 0.1  # what holds no data looks like the mean


def test_regions_are_not_where_there_is_no_data():
    valid = np.ones((20, 20), bool)
    valid[5] = False
    found = predictor(NESTED)(Image(array=np.full((2, 20, 20), 255, np.uint8), valid=valid))
    assert not found.regions[:, 5].any()
    assert found.regions[:, 6].all()


def test_the_callers_array_is_left_alone():
    image = noise(40, 50).astype(np.float32)
    before = image.copy()
    predictor(BINARY)(image)
    np.testing.assert_array_equal(image, before)


def test_answers_do_not_share_memory():
    model = predictor(BINARY)
    first = model(noise(40, 50, seed=1))
    kept = first.probability.copy()
    model(noise(40, 50, seed=2))
    np.testing.assert_array_equal(first.probability, kept)


# Deciding


def test_thresholds_of_the_card_decide():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert predictor(BINARY)(image).mask.sum() == (image / 255 > 0.5).sum()
    assert predictor(BINARY, thresholds=(0.71,))(image).mask.sum() == (image / 255 > 0.71).sum()


def test_a_part_lies_within_its_whole_and_what_is_scored_is_what_is_written():
    disc, cup = np.zeros((2, 30, 30), np.uint8)
    disc[5:25, 5:25], cup[10:20, 10:28] = 255, 255
    found = predictor(NESTED)(np.stack([disc, cup]))
    np.testing.assert_array_equal(found.regions[0], disc > 0)
    np.testing.assert_array_equal(found.regions[1], (cup > 0) & (disc > 0))
    assert found.mask[6, 6] == 1
    assert found.mask[15, 15] == 2
    assert found.mask[15, 26] == 0  # found as a cup, where there is no disc
    assert found.mask[0, 0] == 0
    np.testing.assert_array_equal(as_regions(found.mask, NESTED), found.regions)


def test_small_objects_are_dropped_and_not_measured():
    image = np.zeros((40, 40), np.uint8)
    image[2:4, 2:4] = image[10:20, 10:20] = 255
    found = predictor(BINARY, predict__smallest=10)(image)
    assert found.mask.sum() == 100
    assert found.measurements[0]["objects"] == 1


def test_small_objects_are_dropped_from_regions_too():
    disc = np.zeros((40, 40), np.uint8)
    disc[2:4, 2:4] = disc[10:20, 10:20] = 255
    found = predictor(NESTED, predict__smallest=10)(np.stack([disc, np.zeros_like(disc)]))
    assert found.regions[0].sum() == found.mask.astype(bool).sum() == 100


def test_averaging_over_flips_makes_the_answer_symmetric():
    """The stand-in looks at the left neighbour, so that direction matters."""

    def leftward(x):
        return 0.5 * (x + np.roll(x, 1, axis=-1))

    image = noise(64, 64)
    plain, averaged = predictor(BINARY, Pixelwise(leftward)), predictor(BINARY, Pixelwise(leftward), tta=True)
    for axis in (0, 1):
        turned = np.flip(averaged(np.flip(image, axis)).probability, axis + 1)
        np.testing.assert_allclose(turned, averaged(image).probability, atol=1e-6)
    assert np.abs(np.flip(plain(np.flip(image, 1)).probability, 2) - plain(image).probability).max() > 0.1


# Doubtful and impossible inputs


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (noise(5, 40, 50), "5 channel.*trained on 3"),
        (noise(40, 50), "1 channel.*trained on 3"),
        (noise(2, 3, 4, 5), "has the axes"),
        (np.zeros((3, 0, 5), np.uint8), "no pixels"),
        (np.where(np.arange(300) == 7, np.nan, 1.0).reshape(3, 10, 10), "1 pixels? .*NaN"),
        (np.full((3, 10, 10), np.inf, np.float32), "300 pixels .*infinite"),
        (np.zeros((3, 4, 4), complex), "complex"),
        (np.full((3, 4, 4), "a"), "<U1|text|str"),
    ],
)
def test_inputs_that_cannot_be_used(array, message):
    with pytest.raises(InputError, match=message):
        predictor(THREE)(array)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.png"):
        predictor(THREE)(tmp_path / "nothing.png")


def test_doubtful_inputs_are_answered_with_a_warning():
    trained = {"fingerprint": {"low": [10.0], "high": [200.0]}}
    model = predictor(BINARY, **trained)
    assert model(noise(40, 50)).warnings == ()
    (constant,) = model(np.full((40, 50), 90, np.uint8)).warnings
    assert "every pixel is 90" in constant
    (deep,) = model((noise(40, 50) // 2).astype(np.uint16)).warnings
    assert "uint16" in deep
    assert "uint8" in deep
    _, far = model(noise(40, 50).astype(np.uint16) * 200).warnings
    assert "far outside" in far


@pytest.mark.parametrize("mode", ["dataset", "image", "percentile", "range"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64, bool])
def test_every_type_of_pixel_with_every_normalisation(mode, dtype):
    image = noise(40, 50).astype(dtype)
    found = predictor(BINARY, Pixelwise(lambda x: 1 / (1 + np.exp(-x))), prepare__normalise=mode)(image)
    assert np.isfinite(found.probability).all()
    assert np.isfinite(predictor(BINARY, prepare__normalise=mode)(np.full((9, 9), 1, dtype)).probability).all()


# Real networks: engines and tiles


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small U-Net whose answer varies over the image, as a run's folder."""
    import torch

    from catenary.models import build

    folder = tmp_path_factory.mktemp("run")
    card = make_card(THREE)
    torch.manual_seed(3)
    module = build(**card.recipe.model.model_dump())
    with torch.no_grad():
        for _ in range(8):  # batch statistics of something
            module(torch.rand(2, 3, 32, 32))
        module.head.weight *= 4
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    save_model(folder / "model.safetensors", weights, card)
    return folder


@pytest.fixture(scope="module")
def exact(run):
    """The run on torch in full precision."""

    def make(**options):
        card = load_card(run)
        return Predictor(card, Opened(TorchEngine(run / "model.safetensors", card, exact=True)), **options)

    return make


@pytest.mark.parametrize("name", sorted(engines.ENGINES))
def test_a_converted_network_answers_as_torch_does(run, exact, name):
    """At sizes that need no tiles, several tiles down, and several tiles across."""
    converted = open_predictor(run, engine=name)
    assert converted.engine.name.lower().startswith(name)
    assert converted.drift <= engines.DRIFT
    for shape in [(64, 64), (33, 70), (300, 50), (50, 300), (200, 200), (1, 1)]:
        image = noise(3, *shape)
        np.testing.assert_allclose(converted(image).probability, exact()(image).probability, atol=0.06)


def test_tiles_with_a_halo_give_the_whole_images_answer(run, exact):
    image = noise(3, 200, 301)
    single = exact(tile=(512, 512))(image).probability
    tiled = exact(halo=True, tile=(96, 96))
    np.testing.assert_allclose(tiled(image).probability, single, atol=1e-4)
    seen = exact()(image).probability
    assert np.abs(seen - single).max() > 1e-3  # without it, borders of tiles can be seen
    assert np.abs(seen - single).mean() < 0.01


def test_the_share_of_pixels_that_tiling_changes_is_told(exact):
    image = Image(array=noise(3, 200, 301))
    assert exact(tile=(512, 512)).seam_difference(image) is None  # one tile, no seam
    assert exact(halo=True, tile=(96, 96)).seam_difference(image) < 1e-4
    seen = exact(tile=(64, 64), overlap=0.0).seam_difference(image)
    whole, tiles = exact(tile=(512, 512))(image).mask, exact(tile=(64, 64), overlap=0.0)(image).mask
    assert seen == np.mean(whole != tiles) > 1e-3


def test_a_halo_is_refused_where_normalisation_sees_the_whole_tile():
    with pytest.raises(ConfigError, match="instance"):
        predictor(BINARY, halo=True, model__norm="instance")


def test_a_fresh_engine_needs_no_torch(run, tmp_path):
    open_predictor(run, engine="openvino")
    Pillow.fromarray(noise(70, 60, 3)).save(tmp_path / "a.png")
    program = (
        "import sys; from catenary.predict import open_predictor, predict_files; from pathlib import Path; "
        f"done = predict_files(open_predictor({str(run)!r}, engine='openvino'), [{str(tmp_path / 'a.png')!r}], "
        f"Path({str(tmp_path / 'out')!r}), overlay=True); print(done[0].error, done[0].engine, "
        "[name for name in ('torch', 'timm', 'matplotlib', 'openvino_telemetry') if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip().startswith("OpenVINO")
    assert done.stdout.strip().endswith("[]")
    assert done.stderr == ""


@pytest.fixture
def converted(run, tmp_path, monkeypatch):
    """A copy of the run whose conversion is counted, and taken from the run's own because the real one is slow."""
    open_predictor(run, engine="openvino")
    here, done = tmp_path / "run", []
    here.mkdir()
    (here / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())

    def convert(model, card, folder):
        done.append(model)
        for name in ("model.xml", "model.bin"):
            (folder / name).write_bytes((run / "engine" / "openvino" / name).read_bytes())

    monkeypatch.setitem(engines.ENGINES, "openvino", replace(engines.ENGINES["openvino"], convert=convert))
    return here, done


def test_a_network_is_converted_once_and_again_when_the_model_changes(converted):
    here, done = converted
    open_predictor(here, engine="openvino")
    open_predictor(here, engine="openvino")
    assert len(done) == 1
    save_model(
        here / "model.safetensors", load_weights(here), load_card(here).model_copy(update={"scores": {"a": 1.0}})
    )
    open_predictor(here, engine="openvino")
    assert len(done) == 2


@pytest.mark.parametrize("name", ["engine.json", "model.xml", "model.bin"])
@pytest.mark.parametrize("kept", [None, 0, 20])
def test_a_damaged_conversion_is_made_again(converted, name, kept):
    here, done = converted
    wanted = open_predictor(here, engine="openvino")(noise(3, 40, 40)).mask
    path = here / "engine" / "openvino" / name
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:kept])
    np.testing.assert_array_equal(open_predictor(here, engine="openvino")(noise(3, 40, 40)).mask, wanted)
    assert len(done) == 2


def test_a_network_that_an_engine_cannot_run_goes_to_torch_and_it_is_said(converted, monkeypatch):
    def fail(model, card, folder):
        raise RuntimeError("no such operation\nand much more")

    monkeypatch.setitem(engines.ENGINES, "openvino", replace(engines.ENGINES["openvino"], convert=fail))
    with pytest.raises(ModelError, match=r"openvino cannot run this network \(no such operation\); use --engine torch"):
        open_predictor(converted[0], engine="openvino")
    assert "no such operation" in open_predictor(converted[0]).notes[0]


def test_warnings_of_a_conversion_refuse_nothing(converted, monkeypatch):
    here, done = converted
    kind = engines.ENGINES["openvino"]

    def complain(model, card, folder):
        warnings.warn("an inner part will be renamed", FutureWarning, stacklevel=2)
        kind.convert(model, card, folder)

    monkeypatch.setitem(engines.ENGINES, "openvino", replace(kind, convert=complain))
    assert open_predictor(here).notes == ()
    assert len(done) == 1


def test_an_engine_that_departs_from_torch_is_refused(converted, monkeypatch):
    here, plain = converted[0], OpenVinoEngine.__call__
    monkeypatch.setattr(OpenVinoEngine, "__call__", lambda self, x: np.roll(plain(self, x), 1, axis=1))
    with pytest.raises(ModelError, match=r"openvino differs from torch in .* % of the pixels.*--engine torch"):
        open_predictor(here, engine="openvino")
    model = open_predictor(here)
    assert model.engine.name.startswith("torch")
    assert "openvino differs" in model.notes[0]
    assert any("openvino differs" in warning for warning in model(noise(3, 40, 40)).warnings)


def test_torch_leaves_half_precision_where_it_changes_too_much(run, tmp_path, monkeypatch):
    run = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("engine"))
    plain = TorchEngine.__call__
    rough = {"on": False}

    def call(self, x):
        answer = plain(self, x)
        return np.roll(answer, 1, axis=1) if self.low and rough["on"] else answer

    def force(self, model, card, *, exact=False, make=TorchEngine.__init__):
        make(self, model, card, exact=True)
        self.low = not exact

    monkeypatch.setattr(TorchEngine, "__init__", force)
    monkeypatch.setattr(TorchEngine, "__call__", call)
    monkeypatch.setattr(engines, "DRIFT", 1.0)
    monkeypatch.setattr(engines, "LOST", 1.0)
    monkeypatch.setattr(engines, "_seconds", lambda engine, x: 2.0 - engine.low)  # half precision is faster
    assert open_predictor(run, engine="torch").engine.name.endswith("bf16")
    monkeypatch.setattr(engines, "DRIFT", 0.001)
    rough["on"] = True
    shutil.rmtree(run / "engine" / "torch")
    model = open_predictor(run, engine="torch")
    assert model.engine.name.endswith("fp32")
    assert model.drift == 0


def test_a_small_target_may_not_change_in_the_shade_of_a_large_image(run, monkeypatch, tmp_path):
    """Of 10,000 pixels 40 are the target; losing 4 of them changes 0.04 % of all, and a tenth of it."""
    card, model = load_card(run), run / "model.safetensors"
    names = card.labels.target_names
    wanted = np.zeros((1, len(names) + 1, 100, 100), np.float32)
    wanted[:, 0] = 1.0
    wanted[:, :2, 10:14, 20:30] = np.array([0, 1], np.float32).reshape(1, 2, 1, 1)
    found = wanted.copy()
    found[:, :2, 10:14, 20] = np.array([1, 0], np.float32).reshape(1, 2, 1)
    agreement = agreement_of(found, wanted, card)
    assert agreement.drift == pytest.approx(4e-4)
    assert agreement.dice == {name: pytest.approx(72 / 76) if name == names[0] else 1.0 for name in names}

    def open_(folder, precision):
        engine = Pixelwise(lambda x: wanted if precision == "fp32" else found)
        engine.seconds = 9 if precision == "fp32" else 1
        return engine

    monkeypatch.setattr(TorchEngine, "__call__", lambda self, x: wanted)
    monkeypatch.setattr(engines, "_seconds", lambda engine, x: engine.seconds)
    kind = replace(engines.ENGINES["openvino"], open=open_, precisions=lambda: ("fp32", "bf16"))
    assert engines._choose_precision(kind, tmp_path, model, card, None)["precision"] == "fp32"
    monkeypatch.setattr(engines, "LOST", 0.06)
    assert engines._choose_precision(kind, tmp_path, model, card, None)["precision"] == "bf16"


@pytest.mark.parametrize(
    ("bf16", "int8", "chosen"),
    [
        ((1, 0), (2, 0), "bf16"),
        ((9, 0), (2, 0), "int8"),
        ((1, 0.01), (2, 0.01), "fp32"),
        ((9, 0), (8, 0), "fp32"),  # hardly faster
        ((2, 0), (1, 0.01), "bf16"),
    ],
)
def test_a_coarser_precision_must_agree_and_be_faster(run, monkeypatch, tmp_path, bf16, int8, chosen):
    card, model = load_card(run), run / "model.safetensors"
    exact_engine = TorchEngine(model, card, exact=True)
    made = {"fp32": (9, 0), "bf16": bf16, "int8": int8}

    def open_(folder, precision):
        seconds, wrong = made[precision]
        engine = Pixelwise(lambda x: np.roll(exact_engine(x), 1, axis=1) if wrong else exact_engine(x))
        engine.seconds = seconds
        return engine

    def quantize(folder, tiles):
        assert tiles is ranges
        (folder / engines.QUANTIZED).touch()

    monkeypatch.setattr(engines, "_seconds", lambda engine, x: engine.seconds)
    kind = replace(engines.ENGINES["openvino"], open=open_, precisions=lambda: ("fp32", "bf16"), quantize=quantize)
    check = engines.samples_like(card)
    ranges = check + 1
    record = engines._choose_precision(kind, tmp_path, model, card, Samples(check, ranges))
    assert record["precision"] == chosen
    assert record["drift"] == 0
    assert (tmp_path / engines.QUANTIZED).exists() == (chosen == "int8")
    for samples in (None, Samples(check)):  # no real images to learn ranges from, no integers
        tried = engines._choose_precision(kind, tmp_path, model, card, samples)["tried"]
        assert [one["precision"] for one in tried] == ["fp32", "bf16"]


def test_integers_answer_nearly_as_full_precision_does(run, tmp_path, exact):
    """Ranges come from the tiles given: with tiles far too dark, everything brighter is cut off."""
    open_predictor(run, engine="openvino")
    here = shutil.copytree(run / "engine" / "openvino", tmp_path / "openvino")
    tiles = noise(24, 3, 64, 64).astype(np.float32) / 128 - 1
    wanted = exact().engine(tiles[:8])
    quantize(here, tiles[8:])
    found = OpenVinoEngine(here, "int8")(tiles[:8])
    assert 1e-5 < np.abs(found - wanted).mean() < 0.01
    assert (here / engines.QUANTIZED).with_suffix(".bin").stat().st_size < 0.6 * (here / "model.bin").stat().st_size
    quantize(here, 0.05 * tiles[8:])
    shutil.rmtree(here / "cache", ignore_errors=True)
    assert np.abs(OpenVinoEngine(here, "int8")(tiles[:8]) - wanted).mean() > 0.03


def test_a_network_without_a_form_in_integers_keeps_its_finer_ones(run, tmp_path):
    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(ModelError, match="the network cannot be quantized: "):
        quantize(tmp_path, noise(2, 3, 64, 64).astype(np.float32))


def test_models_beside_each_other_keep_conversions_of_their_own(converted):
    here, done = converted
    shutil.copy(here / "model.safetensors", here / "other.safetensors")
    for name in ("model", "other", "model", "other"):
        open_predictor(here / f"{name}.safetensors", engine="openvino")
    assert [model.name for model in done] == ["model.safetensors", "other.safetensors"]
    assert (here / "other.safetensors.engine" / "openvino" / "engine.json").is_file()


def test_unknown_engines_get_the_near_match(run):
    with pytest.raises(ConfigError, match="did you mean 'openvino'"):
        open_predictor(run, engine="openvno")


# Files


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    for index, name in enumerate(["a.png", "b.jpg", "c.bmp", "d.tif"]):
        image = noise(30, 40 + index, 3, seed=index)
        if name.endswith("tif"):
            write_image(folder / name, np.moveaxis(image, -1, 0), grid=Grid(spacing=(2.0, 2.0), unit="um"))
        else:
            folder.mkdir(exist_ok=True)
            Pillow.fromarray(image).save(folder / name)
    return folder


def test_files_folders_and_patterns_each_file_once(pictures):
    names = [one.source.name for one in find_inputs([pictures / "c.bmp", pictures, str(pictures / "[ab].*")])]
    assert names == ["c.bmp", "a.png", "b.jpg", "d.tif"]
    for wrong in ("none.png", "*.gif", "none*/x"):
        with pytest.raises(InputError, match=r"none|gif"):
            find_inputs([str(pictures / wrong)])
    with pytest.raises(InputError, match="no input"):
        find_inputs([])


def test_masks_probabilities_overlays_and_measurements(pictures, tmp_path):
    out, model, seen = tmp_path / "out", predictor(THREE, share_errors={"ceramic": 0.02}), []
    done = predict_files(
        model, [pictures], out, probability=True, overlay=True, progress=lambda *step: seen.append(step)
    )
    assert [record.error for record in done] == [""] * 4
    assert {record.engine for record in done} == {"pixelwise"}
    assert seen[-1][1:] == (4, 4)
    for record in done:
        found = model(record.source)
        assert record.mask.suffix == (".tif" if record.source.suffix == ".tif" else ".png")
        np.testing.assert_array_equal(read_mask(record.mask), found.mask)
        stem = record.source.stem
        np.testing.assert_allclose(read_image(out / f"{stem}_probability.tif").array, found.probability, atol=1e-6)
        assert read_image(out / f"{stem}_overlay.png").array.shape == (3, *found.mask.shape)
    assert read_image(out / "d_mask.tif").grid.spacing == (2.0, 2.0)
    with (out / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["class"]) for row in rows[:2]] == [("a.png", "ceramic"), ("a.png", "metal")]
    assert len(rows) == 8
    assert rows[0]["share_error"] == "0.02"
    assert rows[0]["area"] == ""
    assert float(rows[-1]["area"]) == 4 * int(rows[-1]["area_px"])


def test_a_folder_of_results_is_not_segmented(pictures):
    model = predictor(THREE)
    predict_files(model, [pictures], pictures, overlay=True)
    assert len(predict_files(model, [pictures], pictures)) == 4


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    folders = [tmp_path / "x", tmp_path / "y", tmp_path / "deep" / "x"]
    for seed, folder in enumerate(folders):
        folder.mkdir(parents=True)
        Pillow.fromarray(noise(20, 20 + seed, 3, seed=seed)).save(folder / "a.png")
    Pillow.fromarray(noise(20, 30, 3)).save(folders[0] / "a.bmp")
    (folders[0] / "plain.png").write_bytes((folders[0] / "a.png").read_bytes())
    model = predictor(THREE)
    done = predict_files(model, folders, tmp_path / "out")
    assert len({record.mask for record in done}) == 5
    for record in done:
        np.testing.assert_array_equal(read_mask(record.mask), model(record.source).mask)
    assert (tmp_path / "out" / "plain_mask.png").exists()
    with (tmp_path / "out" / "measurements.csv").open(newline="") as file:
        assert len({row["file"] for row in csv.DictReader(file)}) == 5  # rows can be told apart


def test_a_bad_file_is_reported_and_the_others_go_on(pictures, tmp_path):
    data = (pictures / "a.png").read_bytes()
    (pictures / "a2.png").write_bytes(data[: len(data) // 2])
    (pictures / "a3.png").write_bytes(b"")
    Pillow.fromarray(noise(30, 40)).save(pictures / "grey.png")
    done = {record.source.name: record for record in predict_files(predictor(THREE), [pictures], tmp_path / "out")}
    assert [name for name, record in done.items() if record.error] == ["a2.png", "a3.png", "grey.png"]
    for name in ("a2.png", "a3.png", "grey.png"):
        assert name in done[name].error
        assert done[name].mask is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a_mask.png", "b_mask.png", "c_mask.png", "d_mask.tif", "measurements.csv",
    ]  # fmt: skip


def test_an_unwritable_folder_is_one_clear_error(pictures, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        predict_files(predictor(THREE), [pictures], tmp_path / "file")


def test_the_palette_shows_the_classes_and_the_pixels_are_indices(tmp_path):
    found = predictor(THREE)(noise(3, 30, 40))
    found.save(tmp_path / "mask.png")
    with Pillow.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), found.mask)
        assert tuple(picture.getpalette()[3:6]) == THREE.display_colour(1)


def test_the_overlay_tints_the_classes_and_leaves_the_background(tmp_path):
    image = np.full((40, 60), 100, np.uint8)
    image[:, 30:] = 255
    found = predictor(BINARY)(image)
    shown = found.overlay()
    assert shown.shape == (40, 60, 3)
    assert len(np.unique(shown[:, :20].reshape(-1, 3), axis=0)) == 1
    assert np.ptp(shown[20, 50]) > 20  # a colour
    found.save_overlay(tmp_path / "overlay.png")
    np.testing.assert_array_equal(np.moveaxis(read_image(tmp_path / "overlay.png").array, 0, -1), shown)


def test_what_a_quantizing_process_prints_need_not_be_text_of_this_place(tmp_path, monkeypatch):
    child = tmp_path / "child"
    child.write_bytes(b"#!/bin/sh\nprintf '\\377 no such operation\\n' >&2\nexit 1\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    with pytest.raises(ModelError, match=r"cannot be quantized: .* no such operation"):
        quantize(tmp_path, np.zeros((1, 3, 8, 8), np.float32))
