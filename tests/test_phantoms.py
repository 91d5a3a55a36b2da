"""Phantom scenes: seeded, labelled, fast, and not to be had by a threshold."""

import inspect
import itertools

import numpy as np
import pytest

from catenary.errors import InputError
from catenary.phantoms import CLASSES, SCENES, phantoms

CHANNELS = {"cells": 1, "microstructure": 1, "lesion": 3}


def dice(answer, truth):
    return 2 * (answer & truth).sum() / max(answer.sum() + truth.sum(), 1)


def best_threshold(values, truth):
    """Highest Dice that one threshold on all pictures together can reach, either side of it."""
    return max(max(dice(values > t, truth), dice(values <= t, truth)) for t in range(0, 256, 3))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("size", [(64, 64), (48, 96), (101, 37), (256, 256)])
def test_pictures_have_the_size_asked_for_and_every_class(scene, size):
    image, label = SCENES[scene](np.random.default_rng(0), size)
    assert image.shape == (CHANNELS[scene], *size)
    assert label.shape == size
    assert image.dtype == label.dtype == np.uint8
    assert image.flags.c_contiguous
    assert set(np.unique(label)) == set(range(len(CLASSES[scene])))
    assert image.std() > 10


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (9, 200)])
def test_tiny_and_thin_pictures_do_not_fail(scene, size):
    for seed in range(5):
        image, label = SCENES[scene](np.random.default_rng(seed), size)
        assert image.shape[1:] == label.shape == size


@pytest.mark.parametrize("scene", SCENES)
def test_one_seed_one_set(scene):
    first = list(phantoms(scene, count=3, size=(48, 48), seed=1))
    again = list(phantoms(scene, count=2, size=(48, 48), seed=1))
    other = list(phantoms(scene, count=1, size=(48, 48), seed=2))
    assert [name for name, _, _ in first] == [f"{scene}_000", f"{scene}_001", f"{scene}_002"]
    for (_, image, label), (_, same_image, same_label) in zip(first[:2], again, strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(label, same_label)
    assert not np.array_equal(first[0][1], other[0][1])
    assert not np.array_equal(first[0][1], first[1][1])


@pytest.mark.parametrize("scene", ["cells", "lesion"])
def test_a_global_threshold_is_not_enough(scene):
    images, labels = zip(*((image, label) for _, image, label in phantoms(scene, count=12, seed=3)), strict=True)
    truth = np.stack(labels) == 1
    for channel in np.stack(images, 1):
        assert best_threshold(channel, truth) < 0.85


def test_two_global_thresholds_are_not_enough_for_the_microstructure():
    images, labels = zip(
        *((image[0], label) for _, image, label in phantoms("microstructure", count=12, seed=3)), strict=True
    )
    values, truth = np.stack(images), np.stack(labels)
    scores = [
        np.mean([dice(values < low, truth == 0), dice((values >= low) & (values < high), truth == 1),
                 dice(values >= high, truth == 2)])
        for low, high in itertools.product(range(80, 120, 8), range(130, 190, 5))
    ]  # fmt: skip
    assert 0.7 < max(scores) < 0.85


def test_the_grey_of_the_phases_rises_but_two_lie_close():
    image, label = SCENES["microstructure"](np.random.default_rng(5), (256, 256))
    pore, electrolyte, nickel = (image[0][label == k].astype(float) for k in range(3))
    assert electrolyte.mean() - pore.mean() > 3 * pore.std()
    assert 0.8 < (nickel.mean() - electrolyte.mean()) / electrolyte.std() < 3


def explained(grey, label):
    """Share of the grey values' variance that the classes explain."""
    shares = [((label == k).mean(), grey[label == k].mean()) for k in np.unique(label)]
    return sum(share * (mean - grey.mean()) ** 2 for share, mean in shares) / grey.var()


@pytest.mark.parametrize("scene", SCENES)
def test_truth_and_picture_lie_on_each_other(scene):
    """Moved by four pixels in any direction, the truth explains the pictures less well."""
    edge = 4
    for down, right in ((4, 0), (-4, 0), (0, 4), (0, -4)):
        losses = []
        for _, image, label in phantoms(scene, count=6, seed=7):
            grey, here = image.mean(0), label[edge:-edge, edge:-edge]
            moved = np.roll(grey, (down, right), (0, 1))[edge:-edge, edge:-edge]
            losses.append(explained(grey[edge:-edge, edge:-edge], here) - explained(moved, here))
        assert np.mean(losses) > 0.004


def test_unknown_scenes_and_sizes_are_refused():
    with pytest.raises(InputError, match="did you mean 'cells'"):
        next(phantoms("cell", count=1))
    with pytest.raises(InputError, match="at least 1 pixel"):
        next(phantoms("cells", count=1, size=(0, 4)))


def test_scenes_share_one_interface():
    assert set(SCENES) == set(CLASSES) == set(CHANNELS)
    for scene in SCENES.values():
        assert list(inspect.signature(scene).parameters) == ["rng", "size"]
