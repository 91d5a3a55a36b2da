"""A model as HDF5: h5py reads it, we load it back."""

import json

import numpy as np
import pytest

from catenary import workflow
from catenary.errors import ConfigError, ModelError, OutputError
from catenary.io import read_image
from catenary.predict import load_card, load_weights
from catenary.workflow.demo import write_phantom

h5py = pytest.importorskip("h5py")
QUICK = [
    "model.widths=[4,8]", "sample.patch=[32,32]", "sample.batch=4", "train.validations=1", "train.precision=fp32",
    "train.channels_last=off", "predict.engine=torch",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = write_phantom(tmp_path_factory.mktemp("data"), "cells", count=8, size=(40, 40), seed=1)
    return data, workflow.fit(data, out=tmp_path_factory.mktemp("runs") / "run", steps=2, settings=QUICK)


def test_h5py_reads_it_and_it_answers_as_the_model_does(run, tmp_path):
    data, done = run
    file = workflow.export(done.path, to="hdf5", out=tmp_path / "a.h5").path
    weights = load_weights(done.path)
    with h5py.File(file, "r") as found:
        assert json.loads(found.attrs["catenary"])["labels"]["names"] == list(load_card(done.path).labels.names)
        assert set(found["weights"]) == set(weights)
        for name, value in weights.items():
            np.testing.assert_array_equal(found["weights"][name][()], value)
    image = read_image(next((data / "images").iterdir()))
    np.testing.assert_array_equal(workflow.load(file)(image).probability, workflow.load(done.path)(image).probability)
    assert load_card(file) == load_card(done.path)


def test_what_is_wrong_is_told(run, tmp_path):
    _, done = run
    with pytest.raises(ConfigError, match="did you mean 'hdf5'"):
        workflow.export(done.path, to="hdf")
    with pytest.raises(ConfigError, match=r"ends in \.h5"):
        workflow.export(done.path, to="hdf5", out=tmp_path / "a.bin")
    file = workflow.export(done.path, to="hdf5", out=tmp_path / "b.h5").path
    with pytest.raises(OutputError, match="there already"):
        workflow.export(done.path, to="hdf5", out=file)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ModelError, match="export it again"):
        workflow.load(file)
