"""Classification of whole images from the folder to the answer."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary import workflow
from catenary.cli.main import main
from catenary.errors import ConfigError, InputError, ModelError
from catenary.predict import load_card, open_predictor
from catenary.predict.classify import ClassPredictor, open_classifier
from catenary.predict.engines import Opened
from catenary.types import Image
from catenary.workflow.demo import write_phantom

QUICK = [
    "model.widths=[8,16]", "prepare.size=32", "sample.patch=[32,32]", "sample.batch=8", "train.validations=3",
    "train.precision=fp32", "train.channels_last=off", "predict.engine=torch", "split.val=0.3", "split.test=0.3",
]  # fmt: skip


def write_shapes(folder, count=36, side=40, seed=0):
    """Discs and stripes of any brightness, in folders of their names; two images a patient."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        name = ("healthy", "striped")[number % 2]
        rows, columns = np.mgrid[:side, :side]
        phase, tilt = rng.uniform(0, 6, 2)
        pattern = np.sin(rows * 0.9 + columns * 0.2 * tilt + phase) > 0
        if name == "healthy":
            pattern = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side * rng.uniform(0.2, 0.4)) ** 2
        noise = rng.normal(0, 12, (side, side, 3))
        pixels = np.clip(rng.uniform(40, 90) + 90 * pattern[..., None] + noise, 0, 255).astype(np.uint8)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels).save(folder / name / f"p{number // 2:02d}_{number}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes") / "shapes")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return workflow.fit(data, out=out, steps=60, settings=QUICK, group=r"(p\d+)_")


def test_a_network_learns_classes_of_whole_images(run):
    found = run.evaluation.classes["striped"]
    assert found["auc"].value > 0.9
    assert found["sensitivity"].value > 0.7
    assert found["specificity"].value > 0.7
    assert run.evaluation.n == len(run.splits.test)


def test_patients_stay_in_one_part(run):
    parts = [{name[:3] for name in names} for names in run.splits.parts.values()]
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_the_run_holds_all_that_is_needed(run):
    card = load_card(run.path)
    assert card.labels.scope == "image"
    assert card.labels.names == ("healthy", "striped")
    assert card.calibration is not None
    assert len(card.judged) == len(run.splits.val)
    assert card.thresholds == (card.operating.threshold,)
    assert card.familiar.count == len(run.splits.train)
    page = run.report.read_text("utf-8")
    for word in ("ROC", "Sensitivity", "Calibration", "striped", "Plan"):
        assert word.lower() in page.lower(), word
    assert json.loads((run.path / "report.json").read_text("utf-8"))["evaluation"]["n"] == run.evaluation.n


def test_answers_do_not_depend_on_their_neighbours(run, data):
    model = open_classifier(run.path)
    paths = sorted(data.rglob("*.png"))[:5]
    together = [one.probability for one in model.many(paths)]
    np.testing.assert_allclose(together, [model(path).probability for path in paths], atol=1e-6)
    for one in model.many(paths):
        assert one.probability.sum() == pytest.approx(1)
        assert one.label == int(one.probability[1] >= one.threshold)


def test_other_images_are_told(run, data):
    model = open_classifier(run.path)
    rng = np.random.default_rng(1)
    strange = Image(array=rng.integers(0, 256, (3, 40, 40), np.uint8))
    own = [model(path) for path in sorted(data.rglob("*.png"))]
    assert model(strange).likeness.flagged
    assert "unlike" in " ".join(model(strange).warnings)
    assert np.mean([one.likeness.flagged for one in own]) < 0.2


def test_flips_and_other_models_are_averaged(run, data):
    path = next(data.rglob("*.png"))
    plain, flipped = open_classifier(run.path), open_classifier(run.path, tta=True)
    both = open_classifier(run.path, others=[run.path])
    assert plain(path).plain == pytest.approx(both(path).plain)
    assert not np.allclose(plain(path).plain, flipped(path).plain, atol=1e-7)
    low, high = plain(path).interval
    assert 0 <= low <= high <= 1
    assert (both(path).interval, flipped(path).interval) == (None, None)  # validation cases were not averaged


def test_every_engine_answers_alike(run, data):
    pytest.importorskip("openvino", reason="the fast engine is not installed")
    path = next(data.rglob("*.png"))
    fast, exact = (open_classifier(run.path, engine=name)(path) for name in ("openvino", "torch"))
    np.testing.assert_allclose(fast.plain, exact.plain, atol=5e-3)


def test_predict_writes_a_table(run, data, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = next(data.rglob("*.png"))
    code = main(
        ["predict", str(run.path), str(good), str(tmp_path / "bad.png"), "--out", str(tmp_path / "o"), "--overlay"]
    )
    assert code == 2
    with (tmp_path / "o" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [good.name, "bad.png"]
    assert float(rows[0]["p(healthy)"]) + float(rows[0]["p(striped)"]) == pytest.approx(1, abs=1e-3)
    assert rows[1]["error"]
    assert (tmp_path / "o" / f"{good.stem}_looks.png").stat().st_size > 100
    assert good.stem in capsys.readouterr().out


def test_predicting_again_needs_no_torch(run, data, tmp_path):
    pytest.importorskip("openvino", reason="the fast engine is not installed")
    good = next(data.rglob("*.png"))
    call = f"workflow.predict({str(run.path)!r}, [{str(good)!r}], out={str(tmp_path)!r}, engine='openvino')"
    workflow.predict(run.path, [good], out=tmp_path, engine="openvino")
    code = f"import sys; from catenary import workflow; {call}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_evaluation_elsewhere_and_comparison(run, data, tmp_path):
    again = workflow.evaluate(run.path, data, split="test", out=tmp_path / "e")
    assert again.classes["striped"]["auc"].value == pytest.approx(run.evaluation.classes["striped"]["auc"].value)
    assert (tmp_path / "e" / "report.html").stat().st_size > 1000
    everything = workflow.evaluate(run.path, data, split="all")
    assert "was trained on" in everything.notes[0]
    both = workflow.compare(run.path, run.path)
    assert both.scores["auc"].value == 0


def test_a_rare_class_is_drawn_as_often():
    from catenary.data.cases import Case, Dataset
    from catenary.data.labels import LabelSet
    from catenary.recipe import Recipe, override
    from catenary.train.patches import Patches, Store

    labels = LabelSet(names=("healthy", "ill"), scope="image")
    cases = tuple(Case(name=str(n), images=(), mask=None, label=int(n >= 27)) for n in range(30))
    dataset = Dataset(root=Path(), name="x", layout="", cases=cases, labels=labels)
    for balance in (True, False):
        recipe = override(Recipe(), [f"sample.balance={balance}"])
        patches = Patches(Store(dataset, [case.name for case in cases], recipe), recipe)
        drawn = [cases[patches._case_of(sample)].label for sample in range(300)]
        assert np.mean(drawn) == pytest.approx(0.5 if balance else 0.1, abs=0.02)
        first = {patches._case_of(sample) for sample in range(30)}
        assert len(first & set(range(27))) == (15 if balance else 27)


def test_models_and_data_of_another_kind_are_refused(run, data, tmp_path):
    pairs = write_phantom(tmp_path / "pairs", "microstructure", count=4, size=(32, 32), seed=0)
    with pytest.raises(InputError, match="trained on one class an image but the data set has masks"):
        workflow.evaluate(run.path, pairs, split="all")
    with pytest.raises(ConfigError, match="a search compares segmentations"):
        workflow.tune(data, out=tmp_path / "t", steps=2, trials=1)
    card = load_card(run.path)
    other = card.model_copy(update={"labels": card.labels.model_copy(update={"scope": "pixel"})})
    with pytest.raises(ModelError, match="does not classify whole images"):
        ClassPredictor(other, Opened(open_classifier(run.path).engine))
    with pytest.raises(ModelError, match="makes no masks"):
        open_predictor(run.path)
    with pytest.raises(InputError, match=r"has 1 channel\(s\)"):
        open_classifier(run.path)(np.zeros((1, 40, 40), np.uint8))
