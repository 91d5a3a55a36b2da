"""Recipes end to end on phantoms, what they measure, and what the list commands tell."""

import csv
import json

import numpy as np
import pytest

from catenary import workflow
from catenary.augment import PRESETS, change_tone, draw_tone
from catenary.cli.main import main
from catenary.data.fingerprint import Fingerprint
from catenary.errors import ConfigError
from catenary.plan import Budget, plan
from catenary.predict import load_card
from catenary.recipe import Augment, Recipe, choose
from catenary.recipes import RECIPES
from catenary.workflow.demo import write_phantom

QUICK = [
    "model.widths=[4,8]", "sample.patch=[32,32]", "sample.batch=4", "train.validations=1", "train.precision=fp32",
    "train.channels_last=off", "predict.engine=torch",
]  # fmt: skip
SCENES = {"skin-lesion": "lesion", "microstructure": "microstructure"}


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_recipe_runs_end_to_end_and_measures(name, tmp_path):
    data = write_phantom(tmp_path / "data", SCENES[name], count=24, size=(48, 48), seed=2)
    run = workflow.fit(data, out=tmp_path / "run", recipe=name, steps=6, settings=QUICK)
    card = load_card(run.path)
    assert card.recipe.name == name
    assert len(card.quantities) == len(run.splits.val)
    report = json.loads((run.path / "report.json").read_text())
    cases = {row["case"] for row in report["quantities"]}
    assert cases == set(run.splits.test)
    page = (run.path / "report.html").read_text()
    assert "<h3>Quantities</h3>" in page
    assert "&lt;svg" not in page
    curves = {row["quantity"]: row for row in report["curves"]}
    assert bool(curves) == (name == "microstructure") == ("two point correlation" in page)
    for key in curves:
        if key.startswith("two_point"):
            starts = [
                r
                for r in report["quantities"]
                if r["quantity"] == key.replace("two_point_correlation", "phase_fraction")
            ]
            assert curves[key]["truth"][0] == pytest.approx(np.mean([r["truth"] for r in starts]))
            assert curves[key]["prediction"][0] == pytest.approx(np.mean([r["prediction"] for r in starts]))
    workflow.predict(run.path, sorted((data / "images").iterdir())[:2], out=tmp_path / "masks")
    rows = [*csv.DictReader((tmp_path / "masks" / "quantities.csv").read_text().splitlines())]
    assert len({row["file"] for row in rows}) == 2
    fraction = "phase_fraction" if name == "microstructure" else "area"
    assert any(row["quantity"] == fraction and float(row["value"]) >= 0 for row in rows)


def test_quantities_of_test_cases_are_those_of_their_masks(tmp_path):
    data = write_phantom(tmp_path / "data", "microstructure", count=24, size=(48, 48), seed=2)
    run = workflow.fit(data, out=tmp_path / "run", recipe="microstructure", steps=2, settings=QUICK)
    report = json.loads((run.path / "report.json").read_text())
    name = run.evaluation.cases[0].name
    label = workflow.look.as_dataset(data)
    truth = label.read_label(label[name])
    rows = {r["quantity"]: r for r in report["quantities"] if r["case"] == name}
    first = label.labels.names[1]
    assert rows[f"phase_fraction {first}"]["truth"] == pytest.approx(np.mean(truth == 1))


def test_every_recipe_is_valid_and_listed(capsys):
    for name, make in RECIPES.items():
        assert make().name == name
    assert main(["recipes"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in RECIPES)
    assert main(["recipes", "skin-lesion"]) == 0
    assert "dice_bce" in capsys.readouterr().out
    assert main(["recipes", "skin-lesio"]) == 2
    assert "did you mean 'skin-lesion'" in capsys.readouterr().err


def test_networks_are_listed_with_what_they_cost(capsys):
    assert main(["models", "unet"]) == 0
    told = capsys.readouterr().out
    assert "31 031 745" in told
    assert "1505.04597" in told
    assert main(["models", "xnet"]) == 2


def test_a_named_augmentation_fills_what_nobody_set(tmp_path):
    data = write_phantom(tmp_path / "data", "lesion", count=8, size=(40, 40), seed=2)
    settings = ["augment.preset=dermoscopy", "augment.rotate=7", "sample.patch=[32,64]", "model.widths=[4,8]"]
    made = workflow.plan(data, steps=1, settings=settings).recipe.augment
    assert (made.hair, made.zoom, made.rotate) == (PRESETS["dermoscopy"].hair, PRESETS["dermoscopy"].zoom, 7)
    assert made.transpose == 0  # the patch is not square
    with pytest.raises(ConfigError, match="did you mean 'dermoscopy'"):
        workflow.plan(data, steps=1, settings=["augment.preset=dermoscopi"])


def test_hairs_come_as_often_as_told_and_change_thin_lines_only():
    config = Augment(intensity=0, noise_probability=0, blur_probability=0, hair=0.3)
    tones = [draw_tone(config, np.random.default_rng(i)) for i in range(400)]
    assert 0.2 < np.mean([tone.hair for tone in tones]) < 0.4
    hairy = next(tone for tone in tones if tone.hair)
    for dtype, top in ((np.uint8, 255), (np.uint16, 60000), (np.float32, 1.0)):
        skin = np.full((96, 128, 3), 0.7 * top, dtype)
        out = change_tone(skin, hairy, low=0, high=top)
        assert out.dtype == dtype
        changed = np.mean(np.any(out != skin, axis=2))
        assert 0.01 < changed < 0.5
        np.testing.assert_array_equal(out, change_tone(skin, hairy, low=0, high=top))


def fingerprint(size, diameter):
    return Fingerprint.model_construct(rank=2,
        cases=50, groups=50, channels=3, dtype="uint8", task="binary", logits=1, class_names=("background", "lesion"),
        class_shares=(0.8, 0.2), size_min=size, size_median=size, size_max=size, object_diameter=(diameter,),
        thickness=(diameter,), low=(0.0,) * 3, high=(255.0,) * 3, mean=(100.0,) * 3, std=(50.0,) * 3,
        image_means_spread=0.2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "diameter", "patch"),
    [((220, 320), 90, (224, 320)), ((220, 320), 20, (224, 256)), ((700, 900), 300, (256, 256))],
)
def test_large_objects_are_seen_whole_where_that_costs_little(size, diameter, patch):
    recipe = choose(Recipe(), {"prepare.size": 0})
    assert plan(fingerprint(size, diameter), Budget(), recipe).recipe.sample.patch == patch
