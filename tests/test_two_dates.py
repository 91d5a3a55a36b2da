"""Networks, losses and patches for two dates of one place."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from catenary.augment import apply, draw, make_patch
from catenary.augment.batch import Drawn
from catenary.augment.intensity import NEUTRAL
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError
from catenary.geometry import geometry_of
from catenary.losses import Pair, build_after_loss, damage, damage_ce
from catenary.models import MODELS, build
from catenary.predict.prepare import Normaliser
from catenary.recipe import Augment, Loss, Model
from catenary.train.patches import grown
from catenary.train.start import take_over

LABELS = LabelSet(names=("background", "no-damage", "minor-damage", "major-damage", "destroyed"))


def siamese(fusion="feature", **more):
    torch.manual_seed(0)
    settings = {"channels": 6, "classes": 5, "widths": (4, 8), "norm": "batch"} | more
    return build("unet", fusion=fusion, **settings).eval()


@pytest.mark.parametrize("fusion", ["decision", "feature"])
@pytest.mark.parametrize("size", [(1, 1), (17, 40)])
def test_its_answer_is_a_distribution_of_any_size(fusion, size):
    logits = siamese(fusion)(torch.randn(2, 6, *size))
    assert logits.shape == (2, 5, *size)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2, *size))


@pytest.mark.parametrize("name", ["unetpp", "attention_unet", "r2unet", "multiresunet", "resnet50_unet"])
def test_it_wraps_the_family(name):
    widths = {} if name == "resnet50_unet" else {"widths": (4, 8)}
    network = build(name, fusion="feature", channels=8, classes=3, **widths).eval()
    assert network(torch.randn(1, 8, 33, 64)).shape == (1, 3, 33, 64)
    assert name in MODELS


def test_where_buildings_are_is_seen_before_alone_and_what_stands_after_alone():
    network, x = siamese(), torch.randn(1, 6, 24, 24)
    before, after = x.clone(), x.clone()
    before[:, :3] += 1
    after[:, 3:] += 1
    (joint, standing), (_, other) = network.both_dates(x), network.both_dates(before)
    torch.testing.assert_close(standing, other)
    changed, moved = network.both_dates(after)
    torch.testing.assert_close(joint[:, 0], changed[:, 0])
    assert (moved - standing).abs().max() > 1e-3
    assert (changed[:, 1:] - joint[:, 1:]).abs().max() > 1e-3


@pytest.mark.parametrize("fusion", ["decision", "feature"])
def test_it_sees_as_far_as_it_says(fusion):
    network = siamese(fusion).double()
    settings = Model(channels=6, classes=5, widths=(4, 8), norm="batch", fusion=fusion).model_dump()
    farthest = 0
    for pixel in (24, 25):
        x = torch.randn(1, 6, 50, 50, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x)[0, 1, pixel, pixel], x)
        farthest = max(farthest, int((gradient[0].abs().sum(0).nonzero() - pixel).abs().max()))
    assert farthest == network.reach == geometry_of(**settings).reach


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"channels": 5}, "even number of channels"),
        ({"classes": 1}, "found 1 class"),
        ({"deep_supervision": True, "topology": "nested"}, "without side outputs"),
        ({"padding": "valid", "norm": "none"}, "padded networks"),
        ({"fusion": "early"}, "there is no model.fusion 'early'"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        siamese(**settings)


def test_the_loss_is_that_of_buildings_and_that_of_grades():
    """On logits that are log probabilities, against the two cross-entropies written out."""
    torch.manual_seed(1)
    building, grades = torch.randn(2, 6, 6), torch.randn(2, 4, 6, 6)
    target = torch.randint(0, 5, (2, 6, 6))
    target[0, 0] = 255
    b = building[:, None]
    joint = torch.cat([F.logsigmoid(-b), F.logsigmoid(b) + grades.log_softmax(1)], 1)
    weights = (9.0, 1.0, 2.0, 3.0, 4.0)
    known, inside = target != 255, (target > 0) & (target < 255)
    first = F.binary_cross_entropy_with_logits(building[known], (target[known] > 0).float())
    label = torch.where(inside, target - 1, -100)
    second = F.cross_entropy(grades, label, torch.tensor(weights[1:]))
    found = damage_ce(Pair(joint, target, class_weights=weights))
    torch.testing.assert_close(found, first + second)
    assert damage(Pair(joint, target, class_weights=weights), gamma=2.0, dice_weight=0.0) < found


def test_a_batch_without_buildings_or_without_known_pixels_has_a_gradient():
    for value in (0, 255):
        logits = torch.randn(1, 5, 4, 4, requires_grad=True)
        loss = damage(Pair(logits, torch.full((1, 4, 4), value)), dice_weight=0.0)
        loss.backward()
        assert torch.isfinite(logits.grad).all()
        assert (loss == 0) == (value == 255)


def test_gradients_of_the_loss():
    logits = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[[0, 1, 2], [3, 255, 0], [1, 1, 3]]])
    assert torch.autograd.gradcheck(
        lambda x: damage(Pair(x, target, class_weights=(1.0, 1.0, 2.0, 3.0)), gamma=1.5), (logits,)
    )


def test_what_stands_after_is_all_but_the_destroyed():
    """A certain right answer costs nothing; one that takes the destroyed for standing does."""
    target = torch.tensor([[[0, 1, 3, 4, 255]]], dtype=torch.uint8)
    after = build_after_loss(Loss(), LABELS)
    right = torch.tensor([[[[-20.0, 20, 20, -20, 20]]]])
    assert after(right, target) < 1e-6
    assert after(right.flip(3), target) > 5


def test_two_dates_change_colour_by_themselves_and_move_apart():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 190, (80, 80, 3), dtype=np.uint8)
    both, label = np.concatenate([image, image], axis=2), rng.integers(0, 5, (80, 80)).astype(np.uint8)
    at = {"centre": (40, 40), "patch": (32, 32), "low": 0, "high": 255}
    pixels, truth = apply(both, label, Drawn(later=NEUTRAL, apart=(3, -2)), **at)
    np.testing.assert_array_equal(truth, label[24:56, 24:56])
    np.testing.assert_array_equal(pixels[..., :3], image[24:56, 24:56])
    np.testing.assert_array_equal(pixels[..., 3:], image[27:59, 22:54])
    config = Augment(warp=0, elastic=0, flip=(0, 0), intensity=1, noise_probability=0, blur_probability=0)
    changed, _ = make_patch(both, label, config, rng=np.random.default_rng(1), dates=2, **at)
    assert np.abs(changed[..., :3].astype(int) - changed[..., 3:]).mean() > 2
    drawn = [draw(Augment(apart=6.0), np.random.default_rng(seed), dates=2).apart for seed in range(200)]
    assert {max(map(abs, apart)) for apart in drawn} == set(range(7))


def test_matching_undoes_a_change_of_light():
    before = np.random.default_rng(0).normal(100, 20, (3, 40, 40)).astype(np.float32)
    after = before * np.float32(0.5) + 70
    valid = np.ones((40, 40), bool)
    valid[:5] = False
    after[:, :5] = 9999
    normaliser = Normaliser(mode="dataset", mean=(100.0,) * 3 + (120.0,) * 3, std=(20.0,) * 6, match=True)
    scale, offset, _, _ = normaliser.coefficients(np.concatenate([before, after]), valid)
    seen = np.concatenate([before, after])[:, 5:] * scale[:, None, None] + offset[:, None, None]
    np.testing.assert_allclose(seen[:3], seen[3:], atol=1e-3)


def test_labels_grow_over_background_only():
    label = np.zeros((9, 9), np.uint8)
    label[4, 4], label[4, 6], label[0, 0] = 1, 4, 255
    wide = grown(label, 1)
    assert (wide[4, 4], wide[4, 5], wide[4, 6], wide[0, 0]) == (1, 4, 4, 255)
    assert (wide == 1).sum() == 4
    np.testing.assert_array_equal(grown(np.full((3, 3), 2, np.uint8), 2), 2)


def test_another_place_with_other_grades_takes_the_weights_over(tmp_path):
    from catenary.predict import Card, save_model
    from catenary.recipe import Recipe

    network = siamese()
    recipe = Recipe(model=Model(name="unet", channels=6, classes=5, widths=(4, 8), norm="batch", fusion="feature"))
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    save_model(tmp_path / "model.safetensors", weights, Card(recipe=recipe, labels=LABELS, channels=6))
    torch.manual_seed(5)
    fresh = build("unet", fusion="feature", channels=6, classes=3, widths=(4, 8), norm="batch")
    told = take_over(fresh, tmp_path / "model.safetensors", LabelSet(names=("background", "no-damage", "destroyed")))
    assert "the logits of background, no-damage, destroyed" in told
    torch.testing.assert_close(fresh.head.weight[0], network.head.weight[0])
    torch.testing.assert_close(fresh.head.weight[1], network.head.weight[3])
    torch.testing.assert_close(fresh.judge.state_dict(), network.judge.state_dict())
