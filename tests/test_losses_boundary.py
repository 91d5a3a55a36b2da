"""Lovász, boundary and centreline losses against independent implementations, and what they are for."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.morphology import skeletonize

from catenary.losses import Pair, boundary, centreline_dice, dice_boundary, dice_ce, dice_cldice, lovasz, soft_dice
from catenary.losses.shape import outline_distance, soft_skeleton
from catenary.types import IGNORE


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# --- Lovász


def jaccard_loss(truth, wrong):
    """Of two sets: the target's pixels, and those where prediction and target differ."""
    union = truth | wrong
    return 1 - len(truth - wrong) / len(union) if union else 0.0


def choquet(truth, errors):
    """The Lovász extension as an integral: of the loss of all pixels whose error exceeds a level, over levels."""
    inside = set(np.flatnonzero(truth))
    levels = np.concatenate([[0.0], np.unique(errors)])
    parts = [
        (high - low) * jaccard_loss(inside, set(np.flatnonzero(errors > low)))
        for low, high in itertools.pairwise(levels)
    ]
    return sum(parts)


def test_lovasz_at_the_corners_is_the_jaccard_loss():
    truth = np.array([1, 1, 0, 0, 1])
    for corner in itertools.product([0, 1], repeat=5):
        # a hinge of 0 where the margin is 1, of 1 where the logit is 0
        logits = torch.tensor((2 * truth - 1) * (1 - np.array(corner)), dtype=torch.float64)
        expected = jaccard_loss(set(np.flatnonzero(truth)), set(np.flatnonzero(corner)))
        assert lovasz(Pair(logits[None, None], torch.from_numpy(truth)[None])).item() == pytest.approx(expected)


@pytest.mark.parametrize("batch", [True, False])
def test_lovasz_hinge_is_the_integral(batch):
    logits = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    target = torch.randint(0, 2, (3, 4, 5))
    target[0, :2] = IGNORE
    keep = target.numpy() != IGNORE
    truth = target.numpy() == 1
    errors = np.maximum(0, 1 - np.where(truth, 1, -1) * logits[:, 0].numpy())
    if batch:
        expected = choquet(truth[keep], errors[keep])
    else:
        expected = np.mean([choquet(t[k], e[k]) for t, e, k in zip(truth, errors, keep, strict=True)])
    assert lovasz(Pair(logits, target), batch=batch).item() == pytest.approx(expected)


@pytest.mark.parametrize("background", [True, False])
def test_lovasz_softmax_is_the_integral(background):
    logits, target = torch.randn(2, 4, 3, 5, dtype=torch.float64), torch.randint(0, 3, (2, 3, 5))  # class 3 is absent
    target[1, 0] = IGNORE
    keep = target.numpy() != IGNORE
    probability = logits.softmax(1).numpy()
    each = []
    for channel in range(4):
        truth, p = (target.numpy() == channel)[keep], probability[:, channel][keep]
        each.append(choquet(truth, np.abs(truth - p)) if truth.any() else p.mean())
    weights = np.array([1.0, 2.0, 1.0, 0.5]) * [background, 1, 1, 1]
    found = lovasz(Pair(logits, target, class_weights=(1.0, 2.0, 1.0, 0.5)), background=background)
    assert found.item() == pytest.approx(np.dot(each, weights) / weights.sum())


def test_lovasz_keeps_its_digits_over_many_pixels():
    count = 3_000_000
    target = (torch.arange(count) < 1000)[None].to(torch.uint8)
    logits = torch.full((1, 1, count), -20.0)
    logits[..., :2000] = 0.5 * torch.linspace(-1, 1, 2000)  # half of them wrong by between .5 and 1.5
    value = lovasz(Pair(logits, target)).item()
    assert value == pytest.approx(lovasz(Pair(logits[..., :2000], target[:, :2000])).item(), rel=1e-5)


# --- boundary


def reference_distance(truth):
    distance = np.where(truth, ndimage.distance_transform_edt(truth), ndimage.distance_transform_edt(~truth)) - 0.5
    return distance / distance.mean()


@pytest.mark.parametrize("shape", [(31,), (17, 23), (9, 8, 11)])
def test_boundary_is_scipys_distance_times_error(shape):
    logits = torch.randn(2, 2, *shape, dtype=torch.float64)
    table = torch.zeros(256, 2, dtype=torch.uint8)
    table[1:3, 0], table[2, 1] = 1, 1
    target = torch.randint(0, 3, (2, *shape), dtype=torch.uint8)
    target[0] = torch.from_numpy(ndimage.uniform_filter(target[0].double().numpy(), 5) > 0.9).to(torch.uint8)
    target[0].view(-1)[3] = 2
    expected = 0.0
    for image in range(2):
        for channel, weight in enumerate((1.0, 3.0)):
            truth = target[image].numpy() >= channel + 1
            error = np.abs(logits[image, channel].sigmoid().numpy() - truth)
            expected += weight * (error * reference_distance(truth)).mean() / 8
    found = boundary(Pair(logits, target, table=table, class_weights=(1.0, 3.0)))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_boundary_differs_from_the_papers_form_by_a_constant_and_a_factor():
    target = torch.zeros(1, 20, 20, dtype=torch.uint8)
    target[0, 5:12, 6:15] = 1
    truth = target[0].numpy() > 0
    signed = reference_distance(truth) * np.where(truth, -1, 1)  # negative inside
    losses = []
    for _ in range(3):
        logits = torch.randn(1, 1, 20, 20, dtype=torch.float64)
        paper = (logits[0, 0].sigmoid().numpy() * signed).mean()
        losses.append(boundary(Pair(logits, target)).item() - paper)
    assert losses == pytest.approx([losses[0]] * 3)
    assert losses[0] == pytest.approx(-signed[truth].sum() / 400)


def test_boundary_with_ignored_pixels_looks_through_them():
    truth = np.zeros((1, 1, 1, 8), bool)
    truth[..., 5:] = True
    counted = np.ones((1, 1, 8), bool)
    counted[..., 3:6] = False  # the outline is hidden: columns 0..2 outside, 6 and 7 inside
    found = outline_distance(truth, counted)[0, 0, 0]
    expected = np.array([5.5, 4.5, 3.5, 0, 0, 0, 3.5, 4.5])
    np.testing.assert_allclose(found, expected / expected[counted[0, 0]].mean(), rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_boundary_without_an_outline_is_the_mean_error(value):
    target = torch.full((1, 6, 7), value, dtype=torch.uint8)
    target[0, 0] = IGNORE
    logits = torch.randn(1, 1, 6, 7)
    expected = (logits.sigmoid()[:, 0, 1:] - value).abs().mean()
    torch.testing.assert_close(boundary(Pair(logits, target)), expected)


def test_boundary_hardly_depends_on_resolution():
    """The same scene in four times the pixels."""
    target = torch.zeros(1, 40, 40, dtype=torch.uint8)
    target[0, 10:25, 12:30] = 1
    logits = torch.nn.functional.interpolate(torch.randn(1, 1, 8, 8), (40, 40))
    finer = boundary(
        Pair(
            logits.repeat_interleave(2, 2).repeat_interleave(2, 3),
            target.repeat_interleave(2, 1).repeat_interleave(2, 2),
        )
    )
    assert finer.item() == pytest.approx(boundary(Pair(logits, target)).item(), rel=0.02)


def test_an_error_far_from_the_outline_costs_more():
    target = torch.zeros(1, 32, 32, dtype=torch.uint8)
    target[0, 8:16, 8:16] = 1
    right = 40.0 * target[:, None] - 20

    def cost(function, row, column):
        wrong = right.clone()
        wrong[0, 0, row, column] *= -1
        return function(Pair(wrong, target)).item()

    assert cost(dice_boundary, 30, 30) > cost(dice_boundary, 16, 12)
    assert cost(dice_ce, 30, 30) == pytest.approx(cost(dice_ce, 16, 12))
    pair = Pair(torch.randn(1, 1, 32, 32), target)
    torch.testing.assert_close(dice_boundary(pair, boundary_weight=0.3), dice_ce(pair) + 0.3 * boundary(pair))


# --- centreline


def reference_skeleton(image, steps):
    cross = ndimage.generate_binary_structure(image.ndim, 1)
    block = ndimage.generate_binary_structure(image.ndim, image.ndim)

    def erode(x):
        return ndimage.grey_erosion(x, footprint=cross, mode="nearest")

    def above(x):
        return np.maximum(0, x - ndimage.grey_dilation(erode(x), footprint=block, mode="nearest"))

    skeleton = above(image)
    for _ in range(steps):
        image = erode(image)
        skeleton = skeleton + np.maximum(0, above(image) * (1 - skeleton))
    return skeleton + erode(image) * (1 - skeleton)  # with the core of what is thicker


@pytest.mark.parametrize("shape", [(25,), (19, 14), (7, 9, 8)])
def test_the_soft_skeleton_is_that_of_grey_morphology(shape):
    image = ndimage.gaussian_filter(np.random.default_rng(1).random(shape), 1.5)
    image = (image - image.min()) / np.ptp(image)
    everywhere = torch.ones(1, 1, *shape, dtype=torch.bool)
    for steps in (1, 4):
        found = soft_skeleton(torch.from_numpy(image)[None, None], everywhere, steps=steps)[0, 0].numpy()
        np.testing.assert_allclose(found, reference_skeleton(image, steps), atol=1e-12)
        assert found.max() > 0.05


@pytest.mark.parametrize("shape", [(9,), (4, 5), (3, 2, 3)])
def test_gradients_of_the_soft_skeleton(shape):
    counted = torch.rand(1, 1, *shape) > 0.2
    x = torch.rand(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: soft_skeleton(x, counted, steps=3), x)


def test_the_skeleton_of_a_bar_is_its_middle():
    bar = np.zeros((11, 30), np.float32)
    bar[3:8, 4:26] = 1
    found = soft_skeleton(torch.from_numpy(bar)[None, None], torch.ones(1, 1, 11, 30, dtype=torch.bool), steps=4)[0, 0]
    thin = skeletonize(bar > 0)
    assert np.array_equal(found.numpy()[:, 9:21] > 0.5, thin[:, 9:21])
    assert thin[5, 9:21].all()


def test_centreline_dice_by_its_definition():
    p = ndimage.gaussian_filter(np.random.default_rng(2).random((2, 24, 24)), (0, 2, 2))
    p = 0.02 + 0.96 * (p - p.min()) / np.ptp(p)
    y = (np.roll(p, 2, 1) > 0.6).astype(np.float64)
    thin_p, thin_y = (np.stack([reference_skeleton(image, 3) for image in x]) for x in (p, y))

    def index(axes):
        precision = ((thin_p * y).sum(axes) + 1) / (thin_p.sum(axes) + 1)
        recall = (thin_y * p).sum(axes) / thin_y.sum(axes)
        return np.mean(1 - 2 * precision * recall / (precision + recall))

    pair = Pair(torch.logit(torch.from_numpy(p))[:, None], torch.from_numpy(y.astype(np.uint8)))
    assert centreline_dice(pair, steps=3).item() == pytest.approx(index((0, 1, 2)))
    assert centreline_dice(pair, steps=3, batch=False).item() == pytest.approx(index((1, 2)))
    both = 0.7 * soft_dice(pair) + 0.3 * centreline_dice(pair, steps=3)
    torch.testing.assert_close(dice_cldice(pair, share=0.3, steps=3), both)


def test_losing_a_thin_branch_costs_more_than_the_same_pixels_off_a_thick_one():
    target = torch.zeros(1, 40, 40, dtype=torch.uint8)
    target[0, 5:16, 2:38] = 1  # a thick vessel
    target[0, 30, 2:38] = 1  # a thin one
    no_branch, eaten = 40.0 * target[:, None] - 20, 40.0 * target[:, None] - 20
    no_branch[0, 0, 30] = -20
    eaten[0, 0, 5] = -20
    branch, edge = (Pair(logits, target) for logits in (no_branch, eaten))
    assert soft_dice(branch).item() == pytest.approx(soft_dice(edge).item())
    assert centreline_dice(branch).item() > 3 * centreline_dice(edge).item()


def test_centreline_dice_of_the_absent_and_of_the_shapeless():
    logits = torch.randn(1, 1, 8, 8)
    empty, full = (torch.full((1, 8, 8), value, dtype=torch.uint8) for value in (0, 1))
    mean = logits.sigmoid().mean()
    torch.testing.assert_close(centreline_dice(Pair(logits, empty)), mean)
    torch.testing.assert_close(centreline_dice(Pair(logits, full)), 1 - 2 * mean / (1 + mean))  # nothing claimed wrong


def test_foreground_everywhere_is_no_way_out():
    """Without the core it would have no skeleton, and so claim nothing wrong and miss nothing."""
    target = torch.zeros(1, 24, 24, dtype=torch.uint8)
    target[0, 12] = 1
    everywhere = torch.full((1, 1, 24, 24), 20.0)
    precision = (24 + 1) / (24 * 24 + 1)
    assert centreline_dice(Pair(everywhere, target)).item() == pytest.approx(
        1 - 2 * precision / (precision + 1), rel=1e-4
    )
