"""Whether an image is of the kind a classifier knows: other kinds are flagged, held-out ones of its own mostly not."""

import numpy as np
import pytest
import torch

from catenary.data.labels import LabelSet
from catenary.errors import InputError, ModelError
from catenary.models import build
from catenary.models.classifier import features
from catenary.phantoms import phantoms
from catenary.predict.card import Card, load_card, save_model
from catenary.predict.familiar import LEAST, RATE, Familiar, fit_familiar
from catenary.recipe import Recipe

SIDE = 48


def pictures(scene, count, seed):
    """Phantoms as a network sees them, three channels of 0 to 1."""
    found = [image for _, image, _ in phantoms(scene, count=count, size=(SIDE, SIDE), seed=seed)]
    return torch.from_numpy(np.stack([np.broadcast_to(image, (3, SIDE, SIDE)) for image in found]) / np.float32(255))


@pytest.fixture(scope="module")
def network():
    """A tiny network that has learnt to tell cells from microstructures."""
    torch.manual_seed(0)
    network = build("classifier", widths=(8, 16, 32)).train()
    x = torch.cat([pictures("cells", 48, 0), pictures("microstructure", 48, 0)])
    truth = (torch.arange(96) >= 48).float()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(30):
        some = torch.randperm(96, generator=torch.Generator().manual_seed(step))[:32]
        optimizer.zero_grad()
        logits = network(x[some]).flatten()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[some]).backward()
        optimizer.step()
    return network.eval()


def seen(network, x):
    with torch.no_grad():
        return features(network, x).numpy()


def kind(network, count, seed):
    each = count // 2
    return seen(network, torch.cat([pictures("cells", each, seed), pictures("microstructure", each, seed)]))


@pytest.mark.parametrize("count", [20, 96, 300])
def test_another_kind_is_flagged_and_the_same_kind_mostly_not(network, count):
    known = fit_familiar(kind(network, count, 1))
    own = [one.flagged for one in known.judge(kind(network, 100, 2))]
    others = {
        "lesions": pictures("lesion", 40, 3),
        "noise": torch.rand(40, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)),
        "black": torch.zeros(1, 3, SIDE, SIDE),
        "inverted and dim": 0.2 * (1 - pictures("cells", 40, 4)),
    }
    rates = {name: np.mean([one.flagged for one in known.judge(seen(network, x))]) for name, x in others.items()}
    assert np.mean(own) <= 0.15
    assert min(rates.values()) >= 0.9, rates


@pytest.mark.parametrize(("count", "width"), [(20, 64), (20, 512), (200, 64), (2000, 32)])
def test_few_of_the_same_kind_are_flagged_whatever_the_size(count, width):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(width, width)) * np.geomspace(1, 0.01, width)

    def draw(n):
        return np.maximum(rng.normal(size=(n, width)) @ mixing.T + 1, 0)

    known = fit_familiar(draw(count))
    share = np.mean([one.flagged for one in known.judge(draw(1000))])
    assert share <= 2 * known.rate + 0.02
    assert known.rate == max(RATE, 1 / (count + 1))
    assert np.mean([one.flagged for one in known.judge(draw(50)[:, ::-1] * 3)]) > 0.9


def test_distance_does_not_depend_on_scale_and_shift_of_all_features():
    rng = np.random.default_rng(0)
    train, new = rng.gamma(2, size=(60, 24)), rng.gamma(2, size=(9, 24))
    a = fit_familiar(train).distances(new)
    b = fit_familiar(100 * train + 7).distances(100 * new + 7)
    np.testing.assert_allclose(a, b, rtol=2e-2)


def test_percentiles_are_those_of_left_out_training_images():
    rng = np.random.default_rng(0)
    known = fit_familiar(rng.normal(size=(400, 16)))
    percent = np.array([one.percentile for one in known.judge(rng.normal(size=(400, 16)))])
    assert 40 < np.median(percent) < 60
    assert known.judge(np.full((1, 16), 30.0))[0].percentile == 100


def test_images_of_one_patient_are_left_out_together():
    rng = np.random.default_rng(0)
    patients = rng.normal(size=(20, 16)).repeat(4, axis=0) + 0.01 * rng.normal(size=(80, 16))
    groups = [str(i // 4) for i in range(80)]
    alone, together = fit_familiar(patients), fit_familiar(patients, groups=groups)
    assert together.limit > 1.1 * alone.limit
    new = rng.normal(size=(300, 16))
    assert np.mean(together.distances(new) > together.limit) < np.mean(alone.distances(new) > alone.limit)


def test_validation_images_move_the_limit_out_and_never_in():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(100, 16))
    plain = fit_familiar(train)
    assert fit_familiar(train, held_out=0.1 * train).limit == plain.limit
    wide = fit_familiar(train, held_out=1.5 * rng.normal(size=(50, 16)))
    assert wide.limit > plain.limit


def test_it_travels_in_the_card(tmp_path):
    rng = np.random.default_rng(0)
    known = fit_familiar(rng.normal(size=(2000, 2048)).astype(np.float32)[:, :512])
    text = known.model_dump_json()
    assert len(text) < 60_000
    card = Card(recipe=Recipe(), labels=LabelSet(names=("a", "b"), scope="image"), channels=3, familiar=known)
    save_model(tmp_path / "m.safetensors", {"w": np.zeros(1, np.float32)}, card)
    again = load_card(tmp_path / "m.safetensors").familiar
    assert again == known == Familiar.model_validate_json(text)
    new = rng.normal(size=(3, 512))
    np.testing.assert_array_equal(again.distances(new), known.distances(new))


def test_words_say_what_is_flagged():
    rng = np.random.default_rng(0)
    known = fit_familiar(rng.normal(size=(50, 8)))
    near, far = known.judge(np.stack([np.zeros(8), np.full(8, 40.0)]))
    assert (near.flagged, near.words) == (False, "")
    assert far.flagged
    assert "unlike the 50 images" in far.words
    assert known.judge(np.full((1, 8), np.nan))[0].flagged


def test_the_same_training_images_give_the_same_answer():
    train = np.random.default_rng(0).normal(size=(64, 40))
    assert fit_familiar(train) == fit_familiar(train)


def test_features_that_never_change_are_no_trouble():
    known = fit_familiar(np.ones((20, 5)))
    assert [one.flagged for one in known.judge(np.stack([np.ones(5), 2 * np.ones(5)]))] == [False, True]
    dead = np.random.default_rng(0).normal(size=(40, 6)) * np.array([1, 1, 1, 0, 0, 0])
    assert fit_familiar(dead).judge(np.array([[0.0, 0, 0, 1, 1, 1]]))[0].flagged


def test_too_few_or_unfit_features_are_refused():
    assert fit_familiar(np.zeros((LEAST - 1, 4))) is None
    assert fit_familiar(np.random.default_rng(0).normal(size=(30, 4)), groups=["one"] * 30) is None
    with pytest.raises(InputError, match="found 2 of 9 images"):
        fit_familiar(np.zeros((9, 4)), groups=["a", "b"])
    with pytest.raises(InputError, match="must be finite"):
        fit_familiar(np.full((9, 4), np.nan))
    known = fit_familiar(np.random.default_rng(0).normal(size=(30, 4)))
    with pytest.raises(ModelError, match="has 4 features, found 5"):
        known.judge(np.zeros((1, 5)))
