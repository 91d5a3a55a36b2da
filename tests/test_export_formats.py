"""Other formats and other networks: OpenVINO, integers, volumes, two dates, classifiers, the model zoo."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from catenary import workflow
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, ModelError, OutputError
from catenary.export.description import read_description
from catenary.export.formats import check_drift, write
from catenary.export.graphs import OnnxFile
from catenary.export.original import Original
from catenary.models import build
from catenary.predict import Card, save_model
from catenary.predict.engines import Samples, samples_like
from catenary.recipe import Recipe

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)


def model(folder, labels, channels=3, patch=(32, 32), **network):
    """A network with fresh weights as a model file."""
    import torch

    torch.manual_seed(0)
    settings = {"channels": channels, "classes": labels.channels, "widths": (8, 16)} | network
    recipe = Recipe.model_validate({"model": settings, "sample": {"patch": patch}, "prepare": {"normalise": "image"}})
    weights = {name: value.numpy() for name, value in build(**recipe.model.model_dump()).eval().state_dict().items()}
    rank = recipe.model.rank
    path = folder / "model.safetensors"
    save_model(path, weights, Card(recipe=recipe, labels=labels, channels=channels, rank=rank))
    return path


GRADES = LabelSet(names=("background", "intact", "damaged"))
CELLS = LabelSet(names=("background", "cell"))
WHOLE = LabelSet(names=("healthy", "ill"), scope="image")
KINDS = {
    "volume": (GRADES, {"channels": 2, "rank": 3, "patch": (16, 16, 16), "norm": "instance"}),
    "two dates": (GRADES, {"channels": 6, "fusion": "feature"}),
    "classifier": (WHOLE, {"name": "classifier", "patch": (40, 33)}),
    "regions": (LabelSet(names=("b", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)}), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_every_kind_answer_as_torch_does(kind, tmp_path):
    labels, settings = KINDS[kind]
    original = Original.opened(model(tmp_path, labels, **settings), name=kind)
    written = write(original, tmp_path / "a.onnx", to="onnx", precision="fp16", limit=0.01)
    assert 0 < written.drift.probability_max < 2e-3
    told = read_description(OnnxFile(tmp_path / "a.onnx").description_text, "it")
    assert told["output"]["decide"] == {"two dates": "building", "classifier": "second", "regions": "above"}.get(
        kind, "likeliest"
    )
    answer = OnnxFile(tmp_path / "a.onnx")(original.check)
    assert answer.shape == ((2, 1) if kind == "classifier" else original.wanted.shape)


def test_two_targets_are_painted_in_their_order(tmp_path):
    labels, _ = KINDS["regions"]
    told = Original.opened(model(tmp_path, labels), name="disc").description("fp32")
    assert (told["output"]["targets"], told["output"]["values"]) == (["disc", "cup"], [1, 2])
    assert told["classes"][0] == {"value": 0, "name": "b", "color": "#000000"}


def test_openvino_files_describe_themselves(tmp_path):
    pytest.importorskip("openvino")
    from catenary.export.openvino_files import OpenVinoFile

    original = Original.opened(model(tmp_path, CELLS), name="cells")
    written = write(original, tmp_path / "a.xml", to="openvino", precision="fp16", limit=0.01)
    assert written.size == sum((tmp_path / name).stat().st_size for name in ("a.xml", "a.bin"))
    told = read_description(OpenVinoFile(tmp_path / "a.xml").description_text, "it")
    assert told == written.description
    assert 0 < written.drift.probability_max < 5e-3
    (tmp_path / "a.xml").unlink()
    with pytest.raises(OutputError, match=r"a\.bin is there already"):
        write(original, tmp_path / "a.xml", to="openvino", precision="fp16", limit=0.01)


def test_integers_need_images_and_are_held_to_a_limit(tmp_path):
    pytest.importorskip("nncf")
    path = model(tmp_path, CELLS)
    card = Original.opened(path, name="cells").card
    with pytest.raises(ConfigError, match="int8 needs real images"):
        write(Original.opened(path, name="cells"), tmp_path / "a.onnx", to="onnx", precision="int8", limit=0.5)
    tiles = samples_like(card, side=64)
    original = Original.opened(path, name="cells", samples=Samples(check=tiles, ranges=tiles), on="tiles")
    written = write(original, tmp_path / "a.onnx", to="onnx", precision="int8", limit=0.5)
    assert written.description["precision"] == "int8"
    assert written.drift.probability_max > 1e-4
    import onnx

    kinds = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    graph = onnx.load(tmp_path / "a.onnx").graph
    behind = {name: node.op_type for node in graph.node for name in node.input}
    pools = [node for node in graph.node if node.op_type == "MaxPool"]
    assert pools
    assert all(behind[node.output[0]] == "QuantizeLinear" for node in pools)  # so that convolutions behind are fused
    with pytest.raises(ModelError, match=r"in int8 .* % of the pixels change class .* --precision fp16"):
        check_drift(written.drift, written.drift.changed - 1e-9, "onnx", "int8")
    small = written.drift.model_copy(update={"changed": 4e-4, "dice": {"cup": 0.95}})  # few pixels, of a small target
    with pytest.raises(ModelError, match=r"in int8 5 % of a target's Dice is lost .* more than 1 %"):
        check_drift(small, 0.001, "onnx", "int8")
    check_drift(small, 0.006, "onnx", "int8")


def test_what_is_damaged_says_so(tmp_path):
    original = Original.opened(model(tmp_path, CELLS), name="cells")
    file = write(original, tmp_path / "a.onnx", to="onnx", precision="fp32", limit=0.01).path
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ModelError, match="export the model again"):
        OnnxFile(file)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    from catenary.export import formats

    def full(source, target, description):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(formats.FORMATS, "onnx", replace(formats.FORMATS["onnx"], stamp=full))
    original = Original.opened(model(tmp_path, CELLS), name="cells")
    with pytest.raises(OutputError, match="No space left"):
        write(original, tmp_path / "out" / "a.onnx", to="onnx", precision="fp32", limit=0.01)
    assert not [*(tmp_path / "out").iterdir()]


def test_a_missing_package_is_named(tmp_path):
    """onnx is looked for when it is needed, and its absence names the extra."""
    path = model(tmp_path, CELLS)
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from catenary.cli.main import main\n"
        f"sys.exit(main(['export', {str(path)!r}, '--to', 'onnx']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'catenary[export]'" in done.stderr


TEST = """
import sys, bioimageio.core
summary = bioimageio.core.test_model(sys.argv[1])
print(summary.status)
if summary.status != "passed":
    summary.display()
"""


@pytest.mark.parametrize("kind", ["volume", "classifier", "regions"])
def test_the_zoos_own_program_runs_the_model(kind, tmp_path):
    pytest.importorskip("bioimageio.core", exc_type=ImportError)
    labels, settings = KINDS[kind]
    path = model(tmp_path, labels, **settings)
    found = workflow.export(path, to="bioimageio", out=tmp_path / "zoo", drift=0.01)
    assert {file.name for file in found.path.iterdir()} == {
        "rdf.yaml", "weights.onnx", "test_input.npy", "test_output.npy", "README.md", "cover.png",
    }  # fmt: skip
    assert np.load(found.path / "test_output.npy").std() > 1e-3 or kind == "classifier"
    # a process of its own: its imports warn, and it looks for a network that need not be there
    done = subprocess.run([sys.executable, "-c", TEST, str(found.path / "rdf.yaml")], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "passed", done.stdout + done.stderr
    with pytest.raises(OutputError, match="is in use"):
        workflow.export(path, to="bioimageio", out=tmp_path / "zoo", drift=0.01)


def test_a_pipeline_becomes_one_folder(tmp_path, monkeypatch):
    from catenary.workflow import bundle
    from catenary.workflow.pipeline import read_pipeline

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    regions = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    disc = model(tmp_path / "a", regions)
    judge = model(tmp_path / "b", WHOLE, name="classifier")
    folder = workflow.pipeline(tmp_path / "eyes", disc=disc, glaucoma=judge).path
    listed = workflow.export(folder, to="onnx", drift=0.01)
    assert listed.path == tmp_path / "eyes-onnx"
    assert [s.model for s in read_pipeline(listed.path)[0].stages[1:]] == ["disc.onnx", "glaucoma.onnx"]
    assert set(json.loads((listed.path / "export.json").read_text("utf-8"))) == {"disc.onnx", "glaucoma.onnx"}

    page = tmp_path / "page"
    monkeypatch.setattr(bundle, "SITE", page)
    with pytest.raises(OutputError, match="page for the phone is not built"):
        workflow.export(folder, to="phone-site", out=tmp_path / "site", drift=0.01)
    page.mkdir()
    (page / "index.html").write_text("<p>page", "utf-8")
    site = workflow.export(folder, to="phone-site", out=tmp_path / "site", drift=0.01)
    assert all("made-up" in note for note in site.notes)
    (entry,) = json.loads((site.path / "models.json").read_text("utf-8"))
    made = json.loads((site.path / entry["url"]).read_text("utf-8"))
    assert (made["format"], made["version"]) == ("catenary.phone/1", entry["version"])
    assert [stage["kind"] for stage in made["stages"]] == ["quality", "disc", "judge"]
    for stage in made["stages"][1:]:
        file = site.path / "models" / "eyes" / stage["model"]["file"]
        assert (file.stat().st_size, stage["model"]["precision"]) == (stage["model"]["bytes"], "fp16")
    with pytest.raises(ConfigError, match="a pipeline is exported to onnx, phone or phone-site"):
        workflow.export(folder, to="hdf5")
    monkeypatch.setattr(bundle, "LARGEST", 1000)
    with pytest.raises(ModelError, match="--precision int8"):
        workflow.export(folder, to="phone", out=tmp_path / "phone", drift=0.01)
    assert not (tmp_path / "phone").exists()
    assert not [*tmp_path.glob(".writing*")]


def test_the_interval_of_a_ratio_is_that_of_the_measures():
    from catenary.measures import with_error
    from catenary.workflow.bundle import _ratio

    key = "cdr_vertical disc"
    pairs = [(0.5, 0.55), (0.4, 0.41), (0.6, 0.58), (0.3, 0.36)]
    cases = [{"group": str(i), "truth": {key: ("", t)}, "prediction": {key: ("", p)}} for i, (t, p) in enumerate(pairs)]
    labels = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    card = Card(recipe=Recipe(), labels=labels, channels=3, quantities=cases)
    wanted = with_error(0.5, pairs, groups=[str(i) for i in range(4)])
    found = _ratio(card)
    assert (0.5 - found["shift_low"], 0.5 - found["shift_high"]) == pytest.approx((wanted.low, wanted.high))
