"""Losses: golden values, parity with torch, gradients, targets with nothing in them; for every loss of `LOSSES`."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.losses import (
    LOSSES,
    TAKES,
    Pair,
    binary_cross_entropy,
    build_loss,
    cross_entropy,
    dice_ce,
    focal,
    focal_tversky,
    soft_dice,
    tversky,
)
from catenary.losses.parts import in_full_precision
from catenary.recipe import Loss
from catenary.types import IGNORE

BINARY = LabelSet(names=("background", "cell"))
EXCLUSIVE = LabelSet(names=("background", "a", "b"))
REGIONS = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
ALL_TASKS = [BINARY, EXCLUSIVE, REGIONS]
TASKS = pytest.mark.parametrize("labels", ALL_TASKS, ids=lambda labels: labels.task)
NAMES = pytest.mark.parametrize("name", LOSSES)

#: Losses in which neighbours matter.
SPATIAL = {"dice_boundary", "dice_cldice"}
#: Losses that sort the pixels of a process by themselves.
SORTED = {"lovasz"}
#: The centreline part adds one pixel to its sums, so that it knows how many there are.
PIXEL = {"dice_cldice": 0.05}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def draw(labels, *size, dtype=torch.float32):
    logits = torch.randn(2, labels.channels, *size, dtype=dtype)
    return logits, torch.randint(0, labels.count, (2, *size), dtype=torch.uint8)


def table_of(labels):
    return None if labels.task == "exclusive" else torch.from_numpy(labels.multi_hot())


def weights_for(labels):
    return (0.5, 2.0, 1.0)[: labels.channels]


def recipe(name, **numbers):
    return Loss(**({"name": name, "skeleton_steps": 2} | numbers))  # few steps, for small images


# --- values


def test_cross_entropy_is_torchs():
    logits, target = draw(EXCLUSIVE, 5, 4)
    target[0, 0] = IGNORE
    for weights in [(), (0.2, 1.0, 3.0)]:
        expected = F.cross_entropy(
            logits, target.long(), weight=torch.tensor(weights) if weights else None, ignore_index=IGNORE
        )
        torch.testing.assert_close(cross_entropy(Pair(logits, target, class_weights=weights)), expected)


def test_binary_cross_entropy_is_torchs():
    logits, target = draw(REGIONS, 5, 4)
    truth = torch.stack([target > 0, target == 2], 1).float()
    for weights in [(), (0.2, 3.0)]:
        factor = torch.tensor(weights)[:, None, None] if weights else None
        expected = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=factor)
        pair = Pair(logits, target, table=table_of(REGIONS), class_weights=weights)
        torch.testing.assert_close(binary_cross_entropy(pair), expected)


@NAMES
def test_binary_logit_means_class_1_with_and_without_its_table(name):
    logits, target = draw(BINARY, 6, 6)
    target[0, 0] = IGNORE
    with_table = LOSSES[name](Pair(logits, target, table=table_of(BINARY)))
    torch.testing.assert_close(LOSSES[name](Pair(logits, target)), with_table)


def test_dice_by_hand():
    # probabilities .5 everywhere: class 1 is 3 of 8 pixels, 1 - 2 * 1.5 / (4 + 3)
    target = torch.tensor([[[1, 1, 1, 0, 0, 0, 0, 0]]])
    assert soft_dice(Pair(torch.zeros(1, 1, 1, 8), target)).item() == pytest.approx(1 - 3 / 7)
    # two classes, by softmax; the background takes part on request: 1 - 2 * 2.5 / (4 + 5)
    logits = torch.zeros(1, 2, 1, 8)
    assert soft_dice(Pair(logits, target)).item() == pytest.approx(1 - 3 / 7)
    assert soft_dice(Pair(logits, target), background=True).item() == pytest.approx((1 - 3 / 7 + 1 - 5 / 9) / 2)
    weighted = soft_dice(Pair(logits, target, class_weights=(1.0, 3.0)), background=True).item()
    assert weighted == pytest.approx((3 * (1 - 3 / 7) + 1 - 5 / 9) / 4)


def test_dice_of_the_batch_and_of_each_image():
    pair = Pair(torch.zeros(2, 1, 1, 4), torch.tensor([[[1, 1, 1, 1]], [[1, 0, 0, 0]]]))
    assert soft_dice(pair).item() == pytest.approx(1 - 2 * 2.5 / (4 + 5))
    each = [1 - 2 * 2 / (2 + 4), 1 - 2 * 0.5 / (2 + 1)]
    assert soft_dice(pair, batch=False).item() == pytest.approx(sum(each) / 2)


def test_tversky_weighs_false_positives_and_negatives():
    # one hit, one miss, two false alarms
    pair = Pair(torch.tensor([[[[50.0, -50.0, 50.0, 50.0]]]]), torch.tensor([[[1, 1, 0, 0]]]))
    assert tversky(pair, alpha=0.3).item() == pytest.approx(1 - 1 / (1 + 0.3 * 2 + 0.7 * 1))
    torch.testing.assert_close(tversky(pair, alpha=0.5), soft_dice(pair))


def test_focal_tversky_is_a_root_of_each_classs_tversky():
    logits, target = draw(EXCLUSIVE, 6, 6)
    alone = []
    for weights in [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]:
        one = Pair(logits, target, class_weights=weights)
        alone.append(tversky(one, alpha=0.3).item())
        torch.testing.assert_close(focal_tversky(one, alpha=0.3, gamma=1.0), tversky(one, alpha=0.3))
    found = focal_tversky(Pair(logits, target), alpha=0.3, gamma=2.0).item()
    assert found == pytest.approx((alone[0] ** 0.5 + alone[1] ** 0.5) / 2, abs=2e-3)  # a hair's slack under the root


def test_focal_by_hand_and_at_zero():
    logits, target = torch.tensor([[[[math.log(3.0)]]]]), torch.tensor([[[1]]])  # p = 3/4
    assert focal(Pair(logits, target), gamma=2.0).item() == pytest.approx(-(0.25**2) * math.log(0.75))
    two = torch.tensor([[[[0.0]], [[math.log(3.0)]]]])
    assert focal(Pair(two, target), gamma=2.0).item() == pytest.approx(-(0.25**2) * math.log(0.75))
    for labels in ALL_TASKS:
        logits, target = draw(labels, 4, 4)
        pair = Pair(logits, target, table=table_of(labels), class_weights=weights_for(labels))
        torch.testing.assert_close(focal(pair, gamma=0.0), cross_entropy(pair))


@TASKS
def test_sums_are_their_parts(labels):
    logits, target = draw(labels, 6, 5)
    target[1, :2] = IGNORE
    pair = Pair(logits, target, table=table_of(labels), class_weights=weights_for(labels))
    for name, pixels in [("dice_ce", cross_entropy), ("dice_bce", binary_cross_entropy)]:
        config = Loss(name=name, dice_weight=0.3, class_weights=weights_for(labels), batch_dice=False)
        expected = pixels(pair) + 0.3 * soft_dice(pair, batch=False)
        torch.testing.assert_close(build_loss(config, labels)(logits, target), expected)


# --- what a recipe says


def test_losses_take_what_the_table_says():
    assert TAKES.keys() == LOSSES.keys()
    for name, function in LOSSES.items():
        assert set(TAKES[name]) == set(inspect.signature(function).parameters) - {"pair", "background"}, name
    taken = {field for fields in TAKES.values() for field in fields.values()}
    elsewhere = {"name", "class_weights", "balance", "after"}
    assert taken == set(Loss.model_fields) - elsewhere  # nothing idle, nothing unknown


@NAMES
def test_the_recipes_numbers_arrive(name):
    """Each field that a loss takes changes its value, no other does, and the default is the function's own."""
    logits, target = draw(BINARY, 9, 9)
    default = build_loss(Loss(name=name), BINARY)(logits, target)
    torch.testing.assert_close(default, LOSSES[name](Pair(logits, target)))
    changes = {"batch_dice": False, "skeleton_steps": 1, "gamma": 0.7, "tversky_gamma": 0.7}
    for field in set(Loss.model_fields) - {"name", "class_weights", "balance", "after"}:
        changed = build_loss(Loss(**{"name": name, field: changes.get(field, 0.2)}), BINARY)(logits, target)
        if field == "skeleton_steps":  # noise has no skeleton beyond the first erosions
            assert changed != default or name != "dice_cldice"
        else:
            assert (changed != default) == (field in TAKES[name].values()), field


# --- properties of all


@TASKS
@NAMES
def test_a_perfect_answer_costs_next_to_nothing_and_a_wrong_one_more(name, labels):
    _, target = draw(labels, 8, 8)
    sign = torch.from_numpy(labels.multi_hot())[target.long()].movedim(-1, 1).float() * 2 - 1
    compute = build_loss(recipe(name), labels)
    assert compute(20 * sign, target).item() < 1e-5
    assert compute(-20 * sign, target).item() > 0.5


@TASKS
@NAMES
def test_going_downhill_finds_the_target(name, labels):
    logits, target = draw(labels, 10, 10)
    target[:] = 0
    target[:, 1:4, 1:8] = 1
    target[0, 6, 2:] = labels.count - 1
    logits = (0.1 * logits).requires_grad_()
    compute, optimizer = build_loss(recipe(name), labels), torch.optim.Adam([logits], lr=0.25)
    for _ in range(32):
        optimizer.zero_grad()
        compute(logits, target).backward()
        optimizer.step()
    found = logits.argmax(1) if labels.task == "exclusive" else (logits > 0).movedim(1, -1)
    table = torch.arange(256) if labels.task == "exclusive" else torch.from_numpy(labels.multi_hot()) > 0
    assert (found == table[target.long()]).float().mean() > 0.9


@TASKS
@NAMES
def test_three_dimensions(name, labels):
    flat, target = draw(labels, 8, 6)
    compute = build_loss(recipe(name), labels)
    torch.testing.assert_close(compute(flat[:, :, None], target[:, None]), compute(flat, target))
    if name not in SPATIAL:
        folded = compute(flat.reshape(2, -1, 2, 4, 6), target.reshape(2, 2, 4, 6))
        torch.testing.assert_close(folded, compute(flat, target))
    deep, deep_target = flat[:, :, None].expand(-1, -1, 3, -1, -1), target[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(
        compute(deep, deep_target), compute(flat, target), atol=PIXEL.get(name, 1e-6), rtol=PIXEL.get(name, 1e-5)
    )


@TASKS
@NAMES
def test_order_of_images_direction_of_axes_and_number_of_images_do_not_matter(name, labels):
    logits, target = draw(labels, 7, 6)
    target[0, 2:4, 1:3] = IGNORE
    compute = build_loss(recipe(name), labels)
    value = compute(logits, target)
    torch.testing.assert_close(compute(logits.flip(0), target.flip(0)), value)
    torch.testing.assert_close(compute(logits.flip(2), target.flip(1)), value)
    torch.testing.assert_close(compute(logits.mT, target.mT), value)
    twice = compute(torch.cat([logits, logits]), torch.cat([target, target]))
    torch.testing.assert_close(twice, value, atol=PIXEL.get(name, 1e-6), rtol=PIXEL.get(name, 1e-5))


# --- gradients


@TASKS
@NAMES
@pytest.mark.parametrize("batch", [True, False])
def test_gradients_are_those_of_the_values(name, labels, batch):
    logits, target = draw(labels, 5, 4, dtype=torch.float64)
    target[0, 0, 0] = IGNORE
    config = recipe(name, batch_dice=batch, class_weights=weights_for(labels), alpha=0.3)
    compute = build_loss(config, labels)
    assert torch.autograd.gradcheck(lambda z: compute(z, target), logits.requires_grad_(), fast_mode=True)


@TASKS
@NAMES
def test_ignored_pixels_have_no_gradient_and_do_not_change_the_value(name, labels):
    logits, target = draw(labels, 6, 6)
    target[:, :3] = IGNORE
    compute = build_loss(recipe(name), labels)
    logits.requires_grad_()
    value = compute(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient[:, :, :3] == 0).all()
    assert (gradient[:, :, 3:] != 0).any()
    torch.testing.assert_close(value, compute(logits[:, :, 3:], target[:, 3:]))


@TASKS
@NAMES
def test_what_stands_in_scattered_ignored_pixels_does_not_matter(name, labels):
    logits, target = draw(labels, 9, 9)
    hidden = torch.rand(2, 9, 9) < 0.3
    target[hidden] = IGNORE
    compute = build_loss(recipe(name), labels)
    value = compute(logits, target)
    for stray in (1e4, -1e4):
        torch.testing.assert_close(compute(torch.where(hidden[:, None], stray, logits), target), value)


@TASKS
@NAMES
@pytest.mark.parametrize("fill", [0, 1, IGNORE])
def test_finite_on_empty_full_and_ignored_targets_and_extreme_logits(name, labels, fill):
    noise, target = draw(labels, 4, 4)
    target[:] = fill
    extremes = [0 * noise, 1e4 * noise.sign(), 0 * noise + 1e4, 0 * noise - 1e4]
    numbers = [(2.0, 0.5), (0.5, 1.0), (0.0, 0.0), (2.0, 0.0)]
    each = [(logits, target, recipe(name, gamma=g, alpha=a)) for logits, (g, a) in zip(extremes, numbers, strict=True)]
    by_image = recipe(name, batch_dice=False, gamma=0.5, tversky_gamma=3.0)
    for logits, labelled, config in [*each, (torch.cat(extremes), target.repeat(4, 1, 1), by_image)]:
        value = build_loss(config, labels)(logits.requires_grad_(), labelled)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.isfinite()
        assert value >= 0
        assert gradient.isfinite().all()
        if fill == IGNORE:
            assert value == 0
            assert (gradient == 0).all()


@TASKS
@NAMES
def test_finite_with_weights_of_zero(name, labels):
    logits, target = draw(labels, 4, 4)
    compute = build_loss(recipe(name, class_weights=(0.0,) * labels.channels), labels)
    value = compute(logits.requires_grad_(), target)
    assert value.isfinite()
    assert torch.autograd.grad(value, logits)[0].isfinite().all()


@given(share=st.floats(0.01, 1.0))
def test_an_absent_class_costs_the_probability_it_was_given(share):
    target = torch.zeros(1, 1, 100, dtype=torch.uint8)
    logits = torch.full((1, 1, 1, 100), math.log(share / (1 - share)) if share < 1 else 50.0).requires_grad_()
    value = soft_dice(Pair(logits, target))
    assert value.item() == pytest.approx(share, abs=1e-5)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient >= 0).all()  # less of it is better
    assert soft_dice(Pair(torch.full((1, 1, 1, 100), -50.0), target)).item() == pytest.approx(0, abs=1e-6)


@TASKS
@NAMES
def test_where_nothing_is_every_false_positive_is_pulled_down(name, labels):
    logits, target = draw(labels, 8, 8)
    target[:] = 0
    compute = build_loss(recipe(name), labels)
    (gradient,) = torch.autograd.grad(compute(logits.requires_grad_(), target), logits)
    foreground = gradient[:, int(labels.task == "exclusive") :].sum(1)
    pulled = logits.detach().amax(1) > 0  # the hinge is content with what is below -1
    assert (foreground[pulled] > 0).all()


def test_predicting_nothing_where_something_is_earns_nothing():
    target = torch.zeros(1, 64, 64, dtype=torch.uint8)
    target[0, 0, 0] = 1  # one pixel: a smoothing constant would half forgive it
    assert soft_dice(Pair(torch.full((1, 1, 64, 64), -50.0), target)).item() == pytest.approx(1.0, abs=1e-6)


# --- precision, several processes


@TASKS
@NAMES
def test_float32_inside_bf16_autocast(name, labels):
    logits, target = draw(labels, 32, 32)
    logits = logits.bfloat16()
    compute = build_loss(recipe(name), labels)
    expected = compute(logits.double(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = compute(logits, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_autocast_is_off_inside_a_loss():
    product = in_full_precision(lambda pair: pair.logits.flatten() @ pair.logits.flatten())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(Pair(torch.ones(1, 1, 4), torch.zeros(1, 4, dtype=torch.uint8))).dtype == torch.float32


@TASKS
@pytest.mark.parametrize("name", sorted(LOSSES.keys() - SORTED))
def test_shared_sums_give_the_loss_of_the_joint_batch(name, labels):
    logits, target = draw(labels, 6, 6)
    target[0, :4] = IGNORE  # unequal shares: a mean of means would be wrong
    joint = build_loss(recipe(name), labels)(logits, target)
    seen = []

    def remember(sums):
        seen.append(sums)
        return sums

    build_loss(recipe(name), labels, reduce=remember)(logits[:1], target[:1])
    others = iter(seen)
    both = build_loss(recipe(name), labels, reduce=lambda sums: sums + next(others))(logits[1:], target[1:])
    torch.testing.assert_close(both, joint)


# --- what is refused


def test_wrong_use_is_told():
    logits, target = draw(EXCLUSIVE, 4, 4)
    with pytest.raises(ConfigError, match="did you mean 'dice_ce'"):
        build_loss(Loss(name="dice_cee"), EXCLUSIVE)
    with pytest.raises(ConfigError, match="one weight for each of the 3 logits, found 2"):
        build_loss(Loss(class_weights=(1, 1)), EXCLUSIVE)
    with pytest.raises(ConfigError, match="one weight for each of the 3 logits, found 1"):
        dice_ce(Pair(logits, target, class_weights=(1.0,)))
    with pytest.raises(InputError, match="do not cover the same pixels"):
        dice_ce(Pair(logits, target[:, :3]))
