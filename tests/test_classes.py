"""Other classes made of those of a data set."""

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary import workflow
from catenary.data.layouts import open_dataset
from catenary.data.survey import survey
from catenary.errors import ConfigError
from catenary.recipe import Recipe, override
from catenary.workflow.demo import write_phantom

RAW = np.array([[0, 1, 2, 3], [3, 2, 1, 7]], np.uint8)


@pytest.fixture
def data(tmp_path):
    for part, pixels in (("images", np.arange(8, dtype=np.uint8).reshape(2, 4)), ("masks", RAW)):
        (tmp_path / part).mkdir()
        Pillow.fromarray(pixels).save(tmp_path / part / "a.png")
    (tmp_path / "dataset.toml").write_text('classes = ["pore", "grain", "metal", "crack"]\nignore = 7\n')
    return open_dataset(tmp_path)


def test_what_no_class_names_is_background(data):
    merged = data.with_classes({"nickel": ["metal"]})
    assert merged.labels.names == ("pore", "nickel")
    assert merged.labels.task == "binary"
    np.testing.assert_array_equal(merged.read_label(merged.cases[0]), [[0, 0, 1, 0], [0, 1, 0, 255]])
    (facts,) = survey(merged).facts
    assert facts.counts == (5, 2)
    assert not facts.unexpected


def test_classes_are_merged_in_the_order_given_and_the_background_may_be_named(data):
    merged = data.with_classes({"damage": ["crack", "pore"], "solid": ["2", "grain"]})
    assert merged.labels.names == ("damage", "solid")
    np.testing.assert_array_equal(merged.read_label(merged.cases[0]), [[0, 1, 1, 0], [0, 1, 1, 255]])
    again = merged.with_classes({"a": ["metal"], "b": ["grain"]})  # always from the files' own classes
    np.testing.assert_array_equal(again.read_label(again.cases[0]), [[0, 2, 1, 0], [0, 1, 2, 255]])


@pytest.mark.parametrize(
    ("classes", "what"),
    [
        ({"a": ["metl"]}, "did you mean 'metal'"),
        ({"a": ["metal"], "b": ["metal"]}, "each class once"),
        ({"a": []}, "each class once"),
        ({"all": ["pore", "metal"]}, "beside 'all'"),
    ],
)
def test_wrong_classes_are_told(data, classes, what):
    with pytest.raises(ConfigError, match=what):
        data.with_classes(classes)


def test_a_run_keeps_its_classes(tmp_path):
    folder = write_phantom(tmp_path / "data", "microstructure", count=8, size=(40, 40), seed=1)
    names = open_dataset(folder).labels.names
    settings = [
        f'data.classes={{"wanted": ["{names[2]}"]}}', "model.widths=[4,8]", "sample.patch=[32,32]", "sample.batch=4",
        "train.precision=fp32", "train.channels_last=off", "predict.engine=torch", "train.validations=1",
    ]  # fmt: skip
    assert override(Recipe(), settings).data.classes == {"wanted": (names[2],)}
    run = workflow.fit(folder, out=tmp_path / "run", steps=3, settings=settings)
    assert list(run.evaluation.classes) == ["wanted"]
    assert workflow.evaluate(run.path, folder).mean == run.evaluation.mean
