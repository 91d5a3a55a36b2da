"""The whole path on small phantoms, and what happens when something is wrong with the input."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

import catenary
from catenary import workflow
from catenary.errors import CatenaryError, ConfigError, DataError, InputError, ModelError, OutputError, TrainingError
from catenary.predict import engines
from catenary.workflow.demo import write_phantom

QUICK = [
    "model.widths=[4,8]", "sample.patch=[32,32]", "sample.batch=4", "train.validations=2", "train.precision=fp32",
    "train.channels_last=off", "predict.engine=torch",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("data"), "microstructure", count=10, size=(48, 56), seed=1)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return workflow.fit(data, out=tmp_path_factory.mktemp("runs") / "run", steps=12, settings=QUICK)


def test_fit_leaves_everything_that_is_needed(run):
    for name in (
        "model.safetensors", "recipe.json", "plan.json", "splits.json", "fingerprint.json", "findings.json", "log.csv",
        "evaluation.json", "report.json", "report.html",
    ):  # fmt: skip
        assert (run.path / name).stat().st_size > 0, name
    report = json.loads((run.path / "report.json").read_text())
    assert report["split"] == "test"
    assert report["n"] == len(run.splits.test)
    assert {"value", "low", "high"} <= set(report["mean"]["dice"])
    assert set(report["baselines"]) == {"majority", "thresholds"}


def test_the_parts_do_not_overlap(run):
    parts = [set(run.splits.train), set(run.splits.val), set(run.splits.test)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 10


def test_evaluate_again_gives_the_recorded_scores(run, data):
    again = workflow.evaluate(run.path, data)
    assert again.mean == run.evaluation.mean
    assert [case.name for case in again.cases] == sorted(run.splits.test)


def test_evaluate_on_other_parts_and_other_data(run, data, tmp_path):
    assert workflow.evaluate(run.path, data, split="val").n == len(run.splits.val)
    other = write_phantom(tmp_path / "other", "microstructure", count=3, size=(40, 40), seed=9)
    measured = workflow.evaluate(run.path, other, split="all", out=tmp_path / "measured")
    assert measured.n == 3
    assert (tmp_path / "measured" / "report.html").exists()
    with pytest.raises(ConfigError, match="--split all"):
        workflow.evaluate(run.path, other, split="test")


def test_an_image_of_the_training_set_is_known_again_under_another_name(run, data, tmp_path):
    other = write_phantom(tmp_path / "other", "microstructure", count=2, size=(48, 56), seed=9)
    known = run.splits.train[0]
    for part in ("images", "masks"):
        (source,) = (data / part).glob(f"{known}.*")
        shutil.copy(source, other / part / f"renamed{source.suffix}")
    measured = workflow.evaluate(run.path, other, split="all", out=tmp_path / "measured")
    assert measured.trained_on == ["renamed"]
    report = json.loads((tmp_path / "measured" / "report.json").read_text())
    assert report["trained_on"] == ["renamed"]
    assert "trained on 1 of the 3 scored images (renamed)" in report["headline"]["cautions"][0]
    assert not run.evaluation.trained_on


def test_other_classes_are_refused(run, tmp_path):
    cells = write_phantom(tmp_path / "cells", "cells", count=3, size=(40, 40), seed=9)
    with pytest.raises(InputError, match="classes"):
        workflow.evaluate(run.path, cells, split="all")


def test_a_run_compared_with_itself_differs_by_nothing(run):
    difference = workflow.compare(run.path, run.path).mean["dice"]
    assert difference.value == 0
    assert difference.better == "unclear"


def test_predict_writes_masks_of_the_inputs_size(run, data, tmp_path):
    picture = np.asarray(Pillow.open(sorted((data / "images").iterdir())[0]))
    large = tmp_path / "large.png"
    Pillow.fromarray(np.tile(picture, (3, 2) + (1,) * (picture.ndim - 2))).save(large)
    records = workflow.predict(run.path, [data / "images", large], out=tmp_path / "out", overlay=True)
    assert len(records) == 11
    assert not any(record.error for record in records)
    mask = np.asarray(Pillow.open(tmp_path / "out" / "large_mask.png"))
    assert mask.shape == (144, 112)
    assert mask.max() < 3
    with (tmp_path / "out" / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11 * 2


def test_one_bad_input_does_not_stop_the_others(run, data, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    good = sorted((data / "images").iterdir())[0]
    records = workflow.predict(run.path, [broken, good], out=tmp_path / "out")
    assert [bool(record.error) for record in records] == [True, False]
    assert not (tmp_path / "out" / "broken_mask.png").exists()


def test_load_is_the_front_page(run, data):
    model = catenary.load(run.path)
    found = model(sorted((data / "images").iterdir())[0])
    assert found.mask.shape == (48, 56)
    assert found.probability.shape == (3, 48, 56)
    np.testing.assert_allclose(found.probability.sum(0), 1, atol=1e-3)
    assert found.measurements


def test_a_run_in_use_is_not_overwritten(run, data):
    before = (run.path / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="already holds a run"):
        workflow.fit(data, out=run.path, steps=12, settings=QUICK)
    assert (run.path / "model.safetensors").read_bytes() == before


def test_resume_with_other_settings_is_refused(run, data):
    with pytest.raises(ConfigError, match="other settings"):
        workflow.fit(data, out=run.path, steps=13, settings=QUICK, resume=True)


def test_killed_fit_goes_on_with_the_same_command(data, tmp_path):
    class Killed(Exception):
        pass

    def kill(what, done, total):
        if what.startswith("training") and done == 7:
            raise Killed

    whole = workflow.fit(data, out=tmp_path / "whole", steps=12, settings=QUICK)
    with pytest.raises(Killed):
        workflow.fit(data, out=tmp_path / "broken", steps=12, settings=QUICK, progress=kill)
    resumed = workflow.fit(data, out=tmp_path / "broken", steps=12, settings=QUICK, resume=True)
    assert resumed.evaluation.mean == whole.evaluation.mean


def test_labels_shuffled_among_images_teach_nothing(tmp_path):
    """With masks that belong to other images, the answer must not beat what chance gives."""
    right = write_phantom(tmp_path / "right", "cells", count=16, size=(48, 48), seed=5)
    wrong = write_phantom(tmp_path / "wrong", "cells", count=16, size=(48, 48), seed=5)
    masks = sorted((wrong / "masks").iterdir())
    contents = [path.read_bytes() for path in masks]
    for path, content in zip(masks, contents[5:] + contents[:5], strict=True):
        path.write_bytes(content)
    settings = [*QUICK, "train.lr=0.01", "model.widths=[8,16]"]
    scores = []
    for folder in (right, wrong):
        try:
            run = workflow.fit(folder, out=tmp_path / f"run-{folder.name}", steps=60, settings=settings)
            scores.append(run.evaluation.mean["dice"].value)
        except TrainingError:  # it gave up: one class everywhere
            scores.append(0.0)
    assert scores[0] > 0.7
    assert scores[1] < scores[0] - 0.25


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(array).save(path)


def pairs(folder, count=6, image=None, mask=None):
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 255, (32, 32), dtype=np.uint8) if image is None else image
        label = np.zeros((32, 32), np.uint8)
        label[8:20, 4 + i : 20 + i] = 1
        save(folder / "images" / f"{i}.png", pixels)
        save(folder / "masks" / f"{i}.png", label if mask is None else mask)
    return folder


def test_bad_data_sets_get_one_clear_error(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = {
        "missing": tmp_path / "nowhere",
        "empty folder": empty,
        "one case": pairs(tmp_path / "one", count=1),
        "all masks empty": pairs(tmp_path / "blank", mask=np.zeros((32, 32), np.uint8)),
        "wrong size": pairs(tmp_path / "size", mask=np.eye(16, dtype=np.uint8)),
    }
    truncated = pairs(tmp_path / "truncated")
    path = truncated / "images" / "0.png"
    path.write_bytes(path.read_bytes()[:60])
    cases["truncated"] = truncated
    for what, folder in cases.items():
        with pytest.raises((DataError, InputError)) as caught:
            workflow.fit(folder, out=tmp_path / "runs" / what, steps=2, settings=QUICK)
        assert len(str(caught.value)) > 20, what
        assert not (tmp_path / "runs").exists()


def test_a_stray_value_is_an_error_and_never_a_class(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "stray")
    (folder / "dataset.toml").write_text('classes = ["pore", "electrolyte", "nickel"]')
    path = sorted((folder / "masks").iterdir())[1]
    mask = np.array(Pillow.open(path))
    mask[:5, :4] = 9
    Pillow.fromarray(mask).save(path)
    with pytest.raises(DataError, match=r"9"):
        workflow.fit(folder, out=tmp_path / "run", steps=2, settings=QUICK)


def test_unwritable_output_is_told(data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        workflow.fit(data, out=tmp_path / "file", steps=2, settings=QUICK)
    with pytest.raises(OutputError):
        workflow.fit(data, out=tmp_path / "file" / "run", steps=2, settings=QUICK)


def test_unknown_recipe_and_missing_model(data, tmp_path):
    with pytest.raises(ConfigError, match="no recipe"):
        workflow.fit(data, out=tmp_path / "x", recipe="defualt")
    with pytest.raises(ModelError):
        catenary.load(tmp_path)


def test_plan_says_why_and_writes_nothing(data, tmp_path):
    made = workflow.plan(data, steps=10, settings=["model.dropout=0.1"])
    assert made.recipe.model.dropout == 0.1
    assert made.recipe.model.classes == 3
    assert list(tmp_path.iterdir()) == []


def test_inspect_writes_a_contact_sheet(data, tmp_path):
    found = workflow.inspect(data, out=tmp_path / "look")
    assert found.contact_sheet.stat().st_size > 1000
    assert found.fingerprint.cases == 10
    assert json.loads((tmp_path / "look" / "findings.json").read_text()) == [f.to_dict() for f in found.findings]


def test_every_error_is_ours():
    assert issubclass(DataError, CatenaryError)


def test_the_report_says_why_the_fast_engine_was_refused(data, tmp_path, monkeypatch):
    def fail(model, card, folder):
        raise RuntimeError("no such operation")

    monkeypatch.setitem(engines.ENGINES, "openvino", replace(engines.ENGINES["openvino"], convert=fail))
    run = workflow.fit(data, out=tmp_path / "run", steps=2, settings=QUICK[:-1])
    assert "openvino cannot run this network (no such operation)" in (run.path / "report.html").read_text("utf-8")


def test_predict_on_the_command_line_imports_no_torch_with_a_kept_engine(data, tmp_path):
    pytest.importorskip("openvino", reason="the fast engine is not installed")
    settings = [*QUICK[:-1], "model.norm=batch"]
    run = workflow.fit(data, out=tmp_path / "run", steps=4, settings=settings)
    assert re.findall("torch is used[^<]*", (run.path / "report.html").read_text("utf-8")) == []
    code = (
        "import sys; from catenary import workflow;"
        f"workflow.predict({str(run.path)!r}, [{str(data / 'images')!r}], out={str(tmp_path / 'out')!r});"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 10
