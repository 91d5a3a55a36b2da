"""The type of disaster: where it is stated, how the network is told, and what happens when nobody knows it."""

import json

import numpy as np
import pytest
import torch

from catenary.cli.main import main
from catenary.data.layouts import open_dataset
from catenary.errors import ConfigError
from catenary.models import build
from catenary.predict import Card, load_card, open_predictor, save_model
from catenary.predict.mosaic import begin_mosaic
from catenary.recipe import Recipe, choose
from catenary.train.patches import Patches, Store
from catenary.train.start import take_over
from catenary.types import Image
from catenary.workflow.city import write_city
from rasters import town, write
from test_mosaic import LABELS
from test_mosaic import model as untold  # noqa: F401 - a fixture

TYPES = ("fire", "wind")


def network(disasters=TYPES, **more):
    torch.manual_seed(0)
    settings = {"channels": 6 + len(disasters), "classes": 4, "widths": (4, 8), "norm": "batch"} | more
    return build("unet", fusion="feature", disasters=disasters, **settings).eval()


def told(x, *values):
    planes = torch.tensor(values)[None, :, None, None].expand(len(x), -1, *x.shape[2:])
    return torch.cat([x, planes], 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that grades otherwise for each type."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    recipe = choose(Recipe(), {
        "model.fusion": "feature", "model.channels": 8, "model.classes": 4, "model.widths": (4, 8),
        "model.norm": "batch", "model.disasters": TYPES, "prepare.normalise": "range",
        "sample.patch": (64, 64), "predict.tile": (64, 64),
    })  # fmt: skip
    made = build(**recipe.model.model_dump()).eval()
    with torch.no_grad():
        made.told.weight.normal_(0, 4)
    save_model(
        path, {n: v.numpy() for n, v in made.state_dict().items()}, Card(recipe=recipe, labels=LABELS, channels=6)
    )
    return path


def test_an_unknown_type_changes_nothing_and_buildings_do_not_hang_on_it():
    plain, conditioned, x = network(()), network(), torch.randn(2, 6, 20, 33)
    with torch.no_grad():
        conditioned.load_state_dict(plain.state_dict(), strict=False)
        conditioned.told.weight.normal_()
        torch.testing.assert_close(conditioned(told(x, 0.0, 0.0)), plain(x))
        fire, wind = conditioned(told(x, 1.0, 0.0)), conditioned(told(x, 0.0, 1.0))
    assert (fire - wind).abs()[:, 1:].max() > 0.01
    torch.testing.assert_close(fire[:, 0], wind[:, 0])


def test_a_fresh_one_begins_neutral_and_learns_what_only_the_type_tells():
    made, x = network(), torch.randn(2, 6, 16, 16)
    x[1] = x[0]
    both = told(x, 0.0, 0.0)
    both[0, 6], both[1, 7] = 1, 1
    torch.testing.assert_close(made(both)[0], made(both)[1])
    target = torch.ones(2, 16, 16, dtype=torch.long)
    target[1] = 3
    optimizer = torch.optim.Adam(made.parameters(), 0.03)
    for _ in range(40):
        loss = torch.nn.functional.nll_loss(made(both), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (made(both)[:, 1:].argmax(1) + 1 == target).float().mean() > 0.95


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnx"])
def test_every_engine_is_told(model, engine):
    pytest.importorskip("openvino" if engine == "openvino" else "onnxruntime")
    pixels = np.concatenate([town(70, 0), town(70, 1)])
    found = {name: open_predictor(model, engine=engine, disaster=name)(pixels).probability for name in ("", *TYPES)}
    assert np.abs(found["fire"] - found["wind"]).max() > 0.05
    assert np.abs(found["fire"] - found[""]).max() > 0.01
    stated = open_predictor(model, engine=engine)(Image(array=pixels, disaster="Wind")).probability
    np.testing.assert_array_equal(stated, found["wind"])


def _weights(path):
    from catenary.predict.card import load_weights

    return load_weights(path)


def test_a_type_that_was_not_learnt_is_neutral_and_said(model):
    pixels = np.concatenate([town(70, 0), town(70, 1)])
    unknown = open_predictor(model, engine="torch", disaster="wnd")
    assert "has not learnt 'wnd'" in unknown.notes[0]
    assert "did you mean 'wind'?" in unknown.notes[0]
    plain = open_predictor(model, engine="torch")(pixels)
    np.testing.assert_array_equal(unknown(pixels).probability, plain.probability)


def test_a_mosaic_of_another_type_is_another_mosaic(model, tmp_path):
    pair = write(tmp_path / "a.tif", town(80, 0)), write(tmp_path / "b.tif", town(80, 1))
    begin_mosaic(open_predictor(model, engine="torch", disaster="fire"), model, pair, tmp_path / "out")
    with pytest.raises(ConfigError, match="another disaster"):
        begin_mosaic(open_predictor(model, engine="torch", disaster="wind"), model, pair, tmp_path / "out", resume=True)


def test_other_runs_hand_on_what_they_learnt_of_the_same_types(model):
    later = network(("wind", "flood"))
    take_over(later, model, LABELS)
    known = torch.from_numpy(_weights(model)["told.weight"].copy())
    torch.testing.assert_close(later.told.weight[:, 0].detach(), known[:, 1])
    assert (later.told.weight[:, 1] == 0).all()
    plain = network(())
    assert "arrays of" in take_over(plain, model, LABELS)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Two cities of different disasters, as xBD has them."""
    folder = tmp_path_factory.mktemp("xbd")
    write_city(folder, tiles=(16, 64), seed=3)
    for path in folder.glob("labels/city-[0-3]_*.json"):
        record = json.loads(path.read_text())
        record["metadata"]["disaster_type"] = "fire"
        path.write_text(json.dumps(record))
    return folder


def test_xbd_states_it_in_its_labels(tiles):
    stated = {case.name[:6]: case.disaster for case in open_dataset(tiles).cases}
    assert stated == {f"city-{n}": "fire" if n < 4 else "wind" for n in range(8)}
    dataset = open_dataset(tiles)
    assert dataset.read_image(dataset.cases[0]).disaster == "fire"


def test_a_manifest_and_a_description_state_it(tiles, tmp_path):
    rows = []
    for after, what in zip(sorted(tiles.glob("images/*_post_*.png")), ("flood", ""), strict=False):
        before = after.with_name(after.name.replace("_post_", "_pre_"))
        rows.append(f"{before},{after},{tiles / 'labels' / after.stem}.json,{what}")
    (tmp_path / "manifest.csv").write_text("\n".join(["image,image_2,mask,disaster", *rows]))
    assert sorted(case.disaster for case in open_dataset(tmp_path / "manifest.csv").cases) == ["", "flood"]
    city = write_city(tmp_path / "city", shape=(96, 96))
    city["buildings"].rename(tmp_path / "city" / "labels.gpkg")
    for text, wanted in (('disaster = "flood"', "flood"), ('disaster = { scene = "fire" }', "fire")):
        (tmp_path / "city" / "dataset.toml").write_text(text)
        assert {case.disaster for case in open_dataset(tmp_path / "city").cases} == {wanted}


def test_a_share_of_the_patches_is_told_nothing(tiles):
    dataset = open_dataset(tiles)
    recipe = choose(Recipe(), {
        "model.fusion": "feature", "model.disasters": TYPES, "sample.patch": (32, 32), "sample.batch": 32,
    })  # fmt: skip
    patches = Patches(Store(dataset, [case.name for case in dataset.cases], recipe), recipe)
    known = np.concatenate([patches.batch(step).told for step in range(6)])
    assert set(map(tuple, known.tolist())) == {(0, 0), (1, 0), (0, 1)}
    assert 0.15 < (known.sum(1) == 0).mean() < 0.35


def test_from_training_to_prediction_by_commands(tiles, untold, tmp_path, capsys):  # noqa: F811
    line = ["fit", str(tiles), "--recipe", "building-damage", "--steps", "3", "--set", "model.widths=[4,8]"]
    line += ["--set", "data.disasters=true", "--set", "predict.engine=torch"]
    assert main([*line, "--out", str(tmp_path / "told")]) == 0
    card = load_card(tmp_path / "told")
    assert (card.recipe.model.disasters, card.recipe.model.channels, card.channels) == (TYPES, 8, 6)
    images = [tmp_path / name for name in ("pre.tif", "post.tif")]
    for shown, path in enumerate(images):
        write(path, town(100, shown))
    dates = ["--pre", str(images[0]), "--post", str(images[1])]
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "told"), *dates, "--disaster", "hail", "--out", str(tmp_path / "a")]) == 0
    assert "has not learnt 'hail'" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "told"), *dates, "--disaster", "fire", "--out", str(tmp_path / "b")]) == 0
    assert "Note" not in capsys.readouterr().out
    assert main(["predict", str(untold), *dates, "--disaster", "fire", "--out", str(tmp_path / "c")]) == 2
    assert "trained without types of disaster" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_what_does_not_suit_is_said(tiles, tmp_path, capsys):
    for path in tiles.glob("labels/*.json"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / path.name).write_text(path.read_text().replace("disaster_type", "kind"))
    (tmp_path / "images").symlink_to(tiles / "images")
    line = ["plan", "--recipe", "building-damage", "--set", "data.disasters=true", "--steps", "3"]
    assert main([*line, str(tmp_path)]) == 2
    assert "no training case states its type of disaster" in capsys.readouterr().err
    assert main([*line, str(tiles), "--set", "model.fusion=none"]) == 2
    assert "told to a network for two dates" in capsys.readouterr().err
