"""The model file: what goes in comes out, and what is no model file is refused in one sentence."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from catenary.data.labels import LabelSet
from catenary.errors import CatenaryError, ModelError, OutputError
from catenary.predict.card import FORMAT, Card, load_card, load_weights, save_model
from catenary.recipe import Recipe, choose


@pytest.fixture
def card():
    recipe = choose(Recipe(), {"model.widths": (4, 8), "prepare.mean": (1.0,), "prepare.std": (2.0,)})
    labels = LabelSet(names=("background", "disc", "cup"), regions={"all": (1, 2), "cup": (2,)})
    return Card(
        recipe=recipe,
        labels=labels,
        channels=1,
        dtype="uint16",
        thresholds=(0.5, 0.35),
        scores={"dice": 0.9},
        share_errors={"all": 0.01, "cup": 0.02},
        fingerprint={"cases": 3, "low": [0.0]},
        provenance={"seed": 7, "names": ["a", "b"]},
    )


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {
        "conv.weight": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "steps": np.array(12, np.int64),
        "turned": rng.normal(size=(3, 5)).astype(np.float32).T,
    }


@pytest.fixture
def model(tmp_path, weights, card):
    save_model(tmp_path / "model.safetensors", weights, card)
    return tmp_path / "model.safetensors"


def test_what_goes_in_comes_out(model, weights, card):
    assert load_card(model) == card
    loaded = load_weights(model)
    assert set(loaded) == set(weights)
    for name, value in weights.items():
        assert loaded[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded[name], value)


def test_the_folder_of_a_run_does_as_well_as_the_file(model, card):
    assert load_card(model.parent) == card
    assert load_card(str(model.parent)) == card


def test_it_records_which_fields_were_set(model):
    assert load_card(model).recipe.model.widths == (4, 8)


def test_reading_needs_no_torch(model):
    program = (
        "import sys; from catenary.predict.card import load_card, load_weights; "
        f"load_card({str(model)!r}); load_weights({str(model)!r}); "
        "print(sorted({'torch', 'matplotlib', 'scipy', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_writing_again_replaces_the_file_whole(model, weights, card):
    save_model(model, weights, card.model_copy(update={"scores": {"dice": 0.95}}))
    assert load_card(model).scores == {"dice": 0.95}
    assert [path.name for path in model.parent.iterdir()] == ["model.safetensors"]


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path, weights, card):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        save_model(tmp_path / "file" / "model.safetensors", weights, card)
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        save_model(tmp_path / "taken.safetensors", weights, card)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.safetensors"]


def refused(path):
    """The message with which both readers refuse a file; it is one line."""
    for read in (load_weights, load_card):
        with pytest.raises(ModelError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path.name if path.suffix else path) in str(caught.value)
    return str(caught.value)


def test_missing(tmp_path):
    assert "no model.safetensors" in refused(tmp_path)
    assert "there is no model" in refused(tmp_path / "none.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_empty_and_truncated(model, share):
    data = model.read_bytes()
    model.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refused(model)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file was run')",)


@pytest.mark.parametrize("old", [True, False])
def test_a_renamed_pickle_is_refused_and_not_opened(tmp_path, old):
    import torch

    path = tmp_path / "model.safetensors"
    if old:
        path.write_bytes(pickle.dumps({"weights": Trap()}))
    else:
        torch.save({"weight": torch.zeros(3)}, path)
    assert "which can run code when opened" in refused(path)


def test_a_model_whose_first_byte_looks_like_a_pickle_is_opened(tmp_path, weights, card):
    path = tmp_path / "model.safetensors"
    for length in range(0, 512, 4):
        wanted = card.model_copy(update={"provenance": {"note": "x" * length}})
        save_model(path, weights, wanted)
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    assert load_card(path) == wanted


def test_other_files(tmp_path):
    path = tmp_path / "model.safetensors"
    for content in (b"not a model at all, but long enough to have a header", b"\x89PNG\r\n\x1a\n" + b"\0" * 100):
        path.write_bytes(content)
        assert "safetensors" in refused(path)


def test_foreign_weights_have_no_card(tmp_path, weights):
    path = tmp_path / "foreign.safetensors"
    save_file({"w": weights["conv.weight"]}, path)
    with pytest.raises(ModelError, match=r"foreign\.safetensors holds weights but no card"):
        load_card(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1, "unheard_of": 1}, f"format {FORMAT + 1}.*up to {FORMAT}.*newer catenary"),
        ({"channels": "three"}, "card of .* cannot be read"),
        ({"recipe": {"model": {"widths": []}}}, "card of .* cannot be read"),
        ({"labels": {"names": ["only"]}}, "card of .* cannot be read"),
    ],
)
def test_a_card_that_does_not_fit(tmp_path, weights, card, change, message):
    path = tmp_path / "model.safetensors"
    text = json.dumps(json.loads(card.model_dump_json()) | change)
    save_file({"w": weights["conv.weight"]}, path, metadata={"catenary": text})
    with pytest.raises(ModelError, match=message):
        load_card(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"text"', '{"format": "x"}', '{"format": null}'])
def test_a_damaged_card(tmp_path, weights, text):
    path = tmp_path / "model.safetensors"
    save_file({"w": weights["conv.weight"]}, path, metadata={"catenary": text})
    with pytest.raises(CatenaryError, match="cannot be read"):
        load_card(path)
