"""Where a classifier looks: where the reason lies, for its class alone, and not without the weights."""

import numpy as np
import pytest
import torch

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.models import build
from catenary.predict.card import Card, save_model
from catenary.predict.saliency import Saliency, grad_cam
from catenary.recipe import Recipe, choose
from catenary.types import Image

TWO = LabelSet(names=("plain", "spot"), scope="image")


def spots(count, side=32, seed=0):
    """Noise, every second image with a bright square; images, classes, and the squares' first rows and columns."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.3, (count, 1, side, side)).astype(np.float32)
    corners = rng.integers(0, side - 8, (count, 2))
    for image, (row, column) in zip(x[1::2, 0], corners[1::2], strict=True):
        image[row : row + 8, column : column + 8] += 2
    return torch.from_numpy(x), torch.arange(count) % 2, corners


def trained(classes):
    torch.manual_seed(0)
    network = build("classifier", widths=(8, 12), channels=1, classes=classes).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(60):
        x, truth, _ = spots(16, seed=step)
        logits = network(x).flatten(1)
        both = logits if classes > 1 else torch.cat([torch.zeros_like(logits), logits], 1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(both, truth).backward()
        optimizer.step()
    optimizer.zero_grad()
    return network.eval()


@pytest.fixture(scope="module", params=[1, 2])
def network(request):
    return trained(request.param)


def test_it_points_at_the_spot(network):
    x, truth, corners = spots(40, seed=1000)
    found = grad_cam(network, x, 1)
    assert found.shape == (40, 32, 32)
    hits = []
    for one, (row, column) in zip(found[truth == 1], corners[truth == 1], strict=True):
        top = np.unravel_index(int(one.argmax()), one.shape)
        hits.append(row - 2 <= top[0] < row + 10 and column - 2 <= top[1] < column + 10)
        assert one.min() >= 0
        assert one.max() == pytest.approx(1)
    assert np.mean(hits) >= 0.75


def test_random_weights_change_the_map(network):
    """Adebayo et al. (2018, arXiv:1810.03292): a map that a network without knowledge gives too shows nothing."""
    x, truth, _ = spots(20, seed=2000)
    x = x[truth == 1]
    known, same = grad_cam(network, x, 1).flatten(1).numpy(), []
    for seed in range(6):
        torch.manual_seed(seed)
        fresh = build("classifier", widths=(8, 12), channels=1, classes=network.classes).eval()
        unknown = grad_cam(fresh, x, 1).flatten(1).numpy()
        same += [np.corrcoef(a, b)[0, 1] if b.std() > 0 else 0.0 for a, b in zip(known, unknown, strict=True)]
    assert abs(np.mean(same)) < 0.5


def test_zeros_when_nothing_speaks_for_the_class():
    network = build("classifier", widths=(4, 6), channels=1).eval()
    with torch.no_grad():
        network.head.weight.copy_(network.head.weight.abs())  # features are from 0 up: nothing speaks for class 0
    x, _, _ = spots(4)
    assert grad_cam(network, x, 0).max() == 0
    assert grad_cam(network, x, 1).amax((1, 2)).tolist() == pytest.approx([1] * 4)


def test_it_leaves_the_network_as_it_was(network):
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    grad_cam(network, spots(2)[0], 1)
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    network.eval()


def written(path, network, *, patch, size=0, labels=TWO):
    recipe = choose(Recipe(), {
        "model.name": "classifier", "model.widths": (8, 12), "model.channels": 1, "model.classes": labels.channels,
        "prepare.normalise": "none", "prepare.size": size, "sample.patch": patch,
    })  # fmt: skip
    card = Card(recipe=recipe, labels=labels, channels=1, dtype="float32")
    save_model(path, {key: value.numpy() for key, value in network.state_dict().items()}, card)
    return path


@pytest.mark.parametrize(("size", "patch"), [(0, (32, 32)), (0, (48, 40)), (64, (64, 64)), (0, (26, 28))])
def test_a_model_file_gives_a_map_of_the_images_own_size(tmp_path, size, patch):
    path = written(tmp_path / "m.safetensors", trained(1), patch=patch, size=size)
    x, _, _ = spots(2, seed=5)
    x[1, 0] = torch.from_numpy(np.random.default_rng(1).normal(0, 0.3, (32, 32)))
    x[1, 0, 10:18, 14:22] += 2
    found = Saliency(path)(Image(array=x[1].numpy()), 1)
    assert found.shape == (32, 32)
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1 + 1e-6
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    assert 8 <= row < 20
    assert 12 <= column < 24
    if patch == (26, 28):  # what lies beyond the frame is not seen
        assert not found[:2].any()
        assert not found[-2:].any()


def test_what_cannot_be_asked_is_refused(tmp_path):
    network = trained(1)
    with pytest.raises(InputError, match="knows classes 0 to 1, found 2"):
        grad_cam(network, spots(2)[0], 2)
    whole = build("encoder_classifier", encoder="test_vit", side=64).eval()
    with pytest.raises(ConfigError, match="encoder 'test_vit' are no maps"):
        grad_cam(whole, torch.zeros(1, 3, 64, 64), 1)
    pixels = LabelSet(names=("background", "spot"))
    path = written(tmp_path / "m.safetensors", network, patch=(32, 32), labels=pixels)
    with pytest.raises(ConfigError, match="gives every pixel a class"):
        Saliency(path)
