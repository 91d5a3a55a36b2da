"""Losses: golden values, parity with torch, gradients, targets with nothing in them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.losses import LOSSES, binary_cross_entropy, build_loss, cross_entropy, dice_ce, focal, soft_dice, tversky
from catenary.losses.parts import loss
from catenary.recipe import Loss
from catenary.types import IGNORE

BINARY = LabelSet(names=("background", "cell"))
EXCLUSIVE = LabelSet(names=("background", "a", "b"))
REGIONS = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
TASKS = pytest.mark.parametrize("labels", [BINARY, EXCLUSIVE, REGIONS], ids=lambda labels: labels.task)
NAMES = pytest.mark.parametrize("name", LOSSES)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def draw(labels, *size, dtype=torch.float32):
    logits = torch.randn(2, labels.channels, *size, dtype=dtype)
    return logits, torch.randint(0, labels.count, (2, *size), dtype=torch.uint8)


def table_of(labels):
    return None if labels.task == "exclusive" else torch.from_numpy(labels.multi_hot())


# --- values


def test_cross_entropy_is_torchs():
    logits, target = draw(EXCLUSIVE, 5, 4)
    target[0, 0] = IGNORE
    for weights in [(), (0.2, 1.0, 3.0)]:
        expected = F.cross_entropy(
            logits, target.long(), weight=torch.tensor(weights) if weights else None, ignore_index=IGNORE
        )
        torch.testing.assert_close(cross_entropy(logits, target, class_weights=weights), expected)


def test_binary_cross_entropy_is_torchs():
    logits, target = draw(REGIONS, 5, 4)
    truth = torch.stack([target > 0, target == 2], 1).float()
    for weights in [(), (0.2, 3.0)]:
        factor = torch.tensor(weights)[:, None, None] if weights else None
        expected = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=factor)
        torch.testing.assert_close(
            binary_cross_entropy(logits, target, table=table_of(REGIONS), class_weights=weights), expected
        )


def test_binary_logit_means_class_1_with_and_without_its_table():
    logits, target = draw(BINARY, 6, 6)
    target[0, 0] = IGNORE
    for function in LOSSES.values():
        torch.testing.assert_close(function(logits, target), function(logits, target, table=table_of(BINARY)))


def test_dice_by_hand():
    # probabilities .5 everywhere: class 1 is 3 of 8 pixels, 1 - 2 * 1.5 / (4 + 3)
    target = torch.tensor([[[1, 1, 1, 0, 0, 0, 0, 0]]])
    assert soft_dice(torch.zeros(1, 1, 1, 8), target).item() == pytest.approx(1 - 3 / 7)
    # two classes, by softmax; the background takes part on request: 1 - 2 * 2.5 / (4 + 5)
    logits = torch.zeros(1, 2, 1, 8)
    assert soft_dice(logits, target).item() == pytest.approx(1 - 3 / 7)
    assert soft_dice(logits, target, background=True).item() == pytest.approx((1 - 3 / 7 + 1 - 5 / 9) / 2)
    weighted = soft_dice(logits, target, background=True, class_weights=(1.0, 3.0)).item()
    assert weighted == pytest.approx((3 * (1 - 3 / 7) + 1 - 5 / 9) / 4)


def test_dice_of_the_batch_and_of_each_image():
    target = torch.tensor([[[1, 1, 1, 1]], [[1, 0, 0, 0]]])
    logits = torch.zeros(2, 1, 1, 4)
    assert soft_dice(logits, target).item() == pytest.approx(1 - 2 * 2.5 / (4 + 5))
    each = [1 - 2 * 2 / (2 + 4), 1 - 2 * 0.5 / (2 + 1)]
    assert soft_dice(logits, target, batch=False).item() == pytest.approx(sum(each) / 2)


def test_tversky_weighs_false_positives_and_negatives():
    target = torch.tensor([[[1, 1, 0, 0]]])
    logits = torch.tensor([[[[50.0, -50.0, 50.0, 50.0]]]])  # one hit, one miss, two false alarms
    assert tversky(logits, target, alpha=0.3).item() == pytest.approx(1 - 1 / (1 + 0.3 * 2 + 0.7 * 1))
    torch.testing.assert_close(tversky(logits, target, alpha=0.5), soft_dice(logits, target))


def test_focal_by_hand_and_at_zero():
    logits, target = torch.tensor([[[[math.log(3.0)]]]]), torch.tensor([[[1]]])  # p = 3/4
    assert focal(logits, target, gamma=2.0).item() == pytest.approx(-(0.25**2) * math.log(0.75))
    two = torch.tensor([[[[0.0]], [[math.log(3.0)]]]])
    assert focal(two, target, gamma=2.0).item() == pytest.approx(-(0.25**2) * math.log(0.75))
    for labels in (BINARY, EXCLUSIVE, REGIONS):
        logits, target = draw(labels, 4, 4)
        weights = (0.5, 2.0, 1.0)[: labels.channels]
        options = {"table": table_of(labels), "class_weights": weights}
        torch.testing.assert_close(
            focal(logits, target, gamma=0.0, **options), cross_entropy(logits, target, **options)
        )


@TASKS
def test_sums_are_their_parts(labels):
    logits, target = draw(labels, 6, 5)
    target[1, :2] = IGNORE
    weights = (0.5, 2.0, 1.0)[: labels.channels]
    for name, pixels in [("dice_ce", cross_entropy), ("dice_bce", binary_cross_entropy)]:
        config = Loss(name=name, dice_weight=0.3, class_weights=weights, batch_dice=False)
        options = {"table": table_of(labels), "class_weights": weights}
        expected = pixels(logits, target, **options) + 0.3 * soft_dice(logits, target, batch=False, **options)
        torch.testing.assert_close(build_loss(config, labels)(logits, target), expected)


def test_the_recipes_numbers_arrive():
    logits, target = draw(BINARY, 6, 5)
    got = build_loss(Loss(name="tversky", alpha=0.2), BINARY)(logits, target)
    torch.testing.assert_close(got, tversky(logits, target, alpha=0.2))
    got = build_loss(Loss(name="focal", gamma=0.7), BINARY)(logits, target)
    torch.testing.assert_close(got, focal(logits, target, gamma=0.7))


@TASKS
@NAMES
def test_a_perfect_answer_costs_next_to_nothing_and_a_wrong_one_more(name, labels):
    _, target = draw(labels, 8, 8)
    sign = torch.from_numpy(labels.multi_hot())[target.long()].movedim(-1, 1).float() * 2 - 1
    compute = build_loss(Loss(name=name), labels)
    assert compute(20 * sign, target).item() < 1e-5
    assert compute(-20 * sign, target).item() > 0.5


@TASKS
@NAMES
def test_three_dimensions(name, labels):
    flat, target = draw(labels, 4, 6)
    compute = build_loss(Loss(name=name), labels)
    torch.testing.assert_close(compute(flat.reshape(2, -1, 2, 2, 6), target.reshape(2, 2, 2, 6)), compute(flat, target))


# --- gradients


@TASKS
@NAMES
@pytest.mark.parametrize("batch", [True, False])
def test_gradients_are_those_of_the_values(name, labels, batch):
    logits, target = draw(labels, 3, 3, dtype=torch.float64)
    target[0, 0, 0] = IGNORE
    weights = (0.5, 2.0, 1.0)[: labels.channels]
    compute = build_loss(Loss(name=name, batch_dice=batch, class_weights=weights, alpha=0.3), labels)
    assert torch.autograd.gradcheck(lambda z: compute(z, target), logits.requires_grad_())


@TASKS
@NAMES
def test_ignored_pixels_have_no_gradient_and_do_not_change_the_value(name, labels):
    logits, target = draw(labels, 6, 6)
    target[:, :3] = IGNORE
    compute = build_loss(Loss(name=name), labels)
    logits.requires_grad_()
    value = compute(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient[:, :, :3] == 0).all()
    assert (gradient[:, :, 3:] != 0).any()
    torch.testing.assert_close(value, compute(logits[:, :, 3:], target[:, 3:]))


@TASKS
@NAMES
@pytest.mark.parametrize("fill", [0, 1, IGNORE])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("batch", [True, False])
def test_finite_on_empty_full_and_ignored_targets_and_extreme_logits(name, labels, fill, scale, batch):
    logits, target = draw(labels, 4, 4)
    target[:] = fill
    for gamma, alpha in [(2.0, 0.5), (0.0, 0.0), (0.5, 1.0)]:
        compute = build_loss(Loss(name=name, batch_dice=batch, gamma=gamma, alpha=alpha), labels)
        z = (scale * logits.sign()).requires_grad_()
        value = compute(z, target)
        (gradient,) = torch.autograd.grad(value, z)
        assert value.isfinite()
        assert value >= 0
        assert gradient.isfinite().all()
        if fill == IGNORE:
            assert value == 0
            assert (gradient == 0).all()


@given(share=st.floats(0.01, 1.0))
def test_an_absent_class_costs_the_probability_it_was_given(share):
    target = torch.zeros(1, 1, 100, dtype=torch.uint8)
    logits = torch.full((1, 1, 1, 100), math.log(share / (1 - share)) if share < 1 else 50.0).requires_grad_()
    value = soft_dice(logits, target)
    assert value.item() == pytest.approx(share, abs=1e-5)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient >= 0).all()  # less of it is better
    assert soft_dice(torch.full((1, 1, 1, 100), -50.0), target).item() == pytest.approx(0, abs=1e-6)


def test_predicting_nothing_where_something_is_earns_nothing():
    target = torch.zeros(1, 64, 64, dtype=torch.uint8)
    target[0, 0, 0] = 1  # one pixel: a smoothing constant would half forgive it
    assert soft_dice(torch.full((1, 1, 64, 64), -50.0), target).item() == pytest.approx(1.0, abs=1e-6)


# --- precision, several processes


@NAMES
def test_float32_inside_bf16_autocast(name):
    logits, target = draw(EXCLUSIVE, 64, 64)
    logits = logits.bfloat16()
    compute = build_loss(Loss(name=name), EXCLUSIVE)
    expected = compute(logits.double(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = compute(logits, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_autocast_is_off_inside_a_loss():
    product = loss(lambda logits, target: logits.flatten() @ logits.flatten())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(torch.ones(1, 1, 4), torch.zeros(1, 4)).dtype == torch.float32


@TASKS
@NAMES
def test_shared_sums_give_the_loss_of_the_joint_batch(name, labels):
    logits, target = draw(labels, 6, 6)
    target[0, :4] = IGNORE  # unequal shares: a mean of means would be wrong
    joint = build_loss(Loss(name=name), labels)(logits, target)
    seen = []

    def remember(sums):
        seen.append(sums)
        return sums

    build_loss(Loss(name=name), labels, reduce=remember)(logits[:1], target[:1])
    others = iter(seen)
    both = build_loss(Loss(name=name), labels, reduce=lambda sums: sums + next(others))(logits[1:], target[1:])
    torch.testing.assert_close(both, joint)


# --- what is refused


def test_wrong_use_is_told():
    logits, target = draw(EXCLUSIVE, 4, 4)
    with pytest.raises(ConfigError, match="did you mean 'dice_ce'"):
        build_loss(Loss(name="dice_cee"), EXCLUSIVE)
    with pytest.raises(ConfigError, match="one weight for each of the 3 logits, found 2"):
        build_loss(Loss(class_weights=(1, 1)), EXCLUSIVE)
    with pytest.raises(ConfigError, match="one weight for each of the 3 logits, found 1"):
        dice_ce(logits, target, class_weights=(1.0,))
    with pytest.raises(InputError, match="do not cover the same pixels"):
        dice_ce(logits, target[:, :3])
