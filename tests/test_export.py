"""Exported models: run by other programs, they answer as torch does, and carry what is needed to use them."""

import json

import numpy as np
import pytest

from catenary import workflow
from catenary.cli.main import main
from catenary.errors import ConfigError, InputError, ModelError, OutputError
from catenary.predict import load_card
from catenary.workflow.demo import write_phantom

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
QUICK = [
    "model.widths=[8,16]", "sample.patch=[32,32]", "sample.batch=4", "train.validations=1", "train.precision=fp32",
    "train.channels_last=off", "train.lr=0.01", "predict.engine=torch",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("data"), "cells", count=12, size=(40, 48), seed=1)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return workflow.fit(data, out=tmp_path_factory.mktemp("runs") / "run", steps=20, settings=QUICK).path


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return workflow.export(run, to="onnx", precision="fp16", out=folder / "cells.onnx")


def test_a_file_describes_itself_and_answers_as_torch_does(run, exported):
    (one,) = exported.written
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    told = json.loads(session.get_modelmeta().custom_metadata_map["catenary"])
    beside = json.loads((exported.path.parent / "export.json").read_text("utf-8"))[exported.path.name]
    assert beside == told | {"bytes": exported.path.stat().st_size}
    card = load_card(run)
    assert told["input"]["mean"] == list(card.recipe.prepare.mean)
    assert told["output"]["thresholds"] == list(card.thresholds or (0.5,))
    assert one.drift.on == "validation cases of " + card.provenance["data"]
    assert not one.drift.made_up
    assert told["drift"] == json.loads(one.drift.model_dump_json())
    assert one.drift.changed == 0
    assert 0 < one.drift.probability_max < 1e-3


def test_the_file_takes_any_size(run, exported):
    from catenary.predict.backends import TorchEngine
    from catenary.predict.card import model_path

    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    engine = TorchEngine(model_path(run), load_card(run), exact=True)
    for shape in ((1, 1, 32, 32), (3, 1, 40, 56)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(session.run(["probability"], {"x": x})[0], engine(x), atol=2e-3)


def test_sixteen_bits_take_half_the_room(run, exported, tmp_path):
    whole = workflow.export(run, to="onnx", out=tmp_path / "whole.onnx").written[0]
    weights = sum(np.prod(array.dims) for array in onnx.load(whole.path).graph.initializer)
    assert whole.size - exported.written[0].size > 1.5 * weights
    assert whole.drift.probability_max < 1e-5


def test_without_its_images_made_up_tiles_serve_and_that_is_said(run, tmp_path, capsys):
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((run / "model.safetensors").read_bytes())
    assert main(["export", str(alone), "--to", "onnx"]) == 0
    told = capsys.readouterr().out
    assert "made-up tiles" in told
    assert "--data" in told
    assert (tmp_path / "model.onnx").is_file()
    assert json.loads((tmp_path / "export.json").read_text("utf-8"))["model.onnx"]["drift"]["made_up"]


def test_what_cannot_be_exported_is_told_in_one_sentence(run, data, exported, tmp_path, capsys):
    with pytest.raises(ConfigError, match="did you mean 'onnx'"):
        workflow.export(run, to="onx")
    with pytest.raises(OutputError, match="there already"):
        workflow.export(run, out=exported.path)
    with pytest.raises(OutputError, match="is a folder"):
        workflow.export(run, out=tmp_path)
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        workflow.export(run, out=tmp_path / "a.bin")
    with pytest.raises(ConfigError, match="hdf5 has no precision 'fp16'"):
        workflow.export(run, to="hdf5", precision="fp16", out=tmp_path / "a.h5")
    with pytest.raises(InputError, match="no data"):
        workflow.export(run, data=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="takes a pipeline"):
        workflow.export(run, to="phone", out=tmp_path / "phone")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((run / "model.safetensors").read_bytes()[:3000])
    assert main(["export", str(damaged), "--to", "onnx"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [*tmp_path.iterdir()] == [damaged]


def test_a_copy_that_departs_too_far_is_refused(run, tmp_path, monkeypatch):
    from catenary.export import formats

    def spoilt(source, target):
        graph = onnx.load(str(source))
        for array in graph.graph.initializer:
            if len(array.dims) == 4:
                value = onnx.numpy_helper.to_array(array)
                array.CopyFrom(onnx.numpy_helper.from_array(-value, array.name))
        onnx.save(graph, str(target))

    monkeypatch.setattr(formats, "halved", spoilt)
    with pytest.raises(ModelError, match=r"in fp16 .* % of the pixels change class .* --drift"):
        workflow.export(run, precision="fp16", out=tmp_path / "a.onnx")
    assert not [*tmp_path.iterdir()]
