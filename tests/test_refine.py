"""Refinement by a conditional random field: outlines follow edges, bands equal the whole."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from catenary.predict.refine import STEPS, refine, refined
from test_volumes import THREE, predictor, scan


def noisy(shape, seed=0, planes=3):
    """An image of flat parts, its classes, and doubtful probabilities of them."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, int)
    middle = tuple(slice(n // 4, 3 * n // 4) for n in shape)
    truth[middle] = 1
    if planes > 2:
        truth[..., : shape[-1] // 4] = 2
    image = (2.0 * truth + rng.normal(0, 0.15, shape)).astype(np.float32)[None]
    odds = np.exp(np.eye(planes)[truth].transpose(-1, *range(len(shape))) + rng.normal(0, 0.9, (planes, *shape)))
    return image, truth, (odds / odds.sum(axis=0)).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 44), (12, 20, 24)])
def test_doubtful_answers_follow_the_edges_of_the_image(shape):
    image, truth, probability = noisy(shape)
    found = refine(probability, image, weight=4.0)
    before, after = (np.mean(p.argmax(axis=0) == truth) for p in (probability, found))
    assert before < 0.8
    assert after > 0.97
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    blind = refine(probability, np.zeros_like(image), weight=4.0)  # without the image corners are rounded off
    assert np.mean(blind.argmax(axis=0) == truth) < after


def test_planes_of_their_own_equal_two_classes():
    image, _, probability = noisy((30, 30), planes=2)
    both = refine(probability, image, weight=2.0)
    alone = refine(probability[1:], image, weight=2.0, exclusive=False)
    np.testing.assert_allclose(alone[0], both[1], atol=1e-5)
    assert refine(probability, image, weight=0.0) is probability


def test_thick_slices_have_less_of_a_say():
    image, _, probability = noisy((10, 16, 16), seed=3)
    flat = refine(probability[:, 4], image[:, 4], weight=3.0)
    thick = refine(probability, image, weight=3.0, spacing=(20.0, 1.0, 1.0))[:, 4]
    even = refine(probability, image, weight=3.0)[:, 4]
    np.testing.assert_allclose(thick, flat, atol=1e-4)
    assert np.abs(even - flat).max() > 0.05


@pytest.mark.parametrize("cuts", [(7,), (1, 2, 3, 20), (40,), tuple(range(1, 41))])
def test_bands_are_the_whole_however_they_are_cut(cuts):
    image, _, probability = noisy((41, 14))
    ends = [0, *cuts, 41]
    bands = (probability[:, a:b] for a, b in pairwise(ends))
    found = [*refined(bands, lambda a, b: image[:, a:b], 41, weight=3.0)]
    np.testing.assert_allclose(np.concatenate(found, axis=1), refine(probability, image, weight=3.0), atol=1e-5)
    assert STEPS == 3


def test_a_model_refines_what_its_recipe_says():
    image = scan((16, 24, 20))
    answer = lambda x: np.concatenate([0.55 - x / 4, 0.3 + x / 4, x * 0 + 0.15], 1)  # noqa: E731
    plain = predictor(THREE, answer)[0](image, probability=True)
    model, _ = predictor(THREE, answer, predict__refine=3.0)
    found = model(image, probability=True)
    np.testing.assert_allclose(
        found.probability, refine(plain.probability, image.array, weight=3.0, spacing=(1.0,) * 3), atol=1e-4
    )
    empty = np.zeros((1, 40, 60, 60), np.float32)  # only the body is refined
    empty[:, 10:26, 20:44, 20:40] = image.array + 0.01
    assert model(replace(image, array=empty)).mask[10:26, 20:44, 20:40].shape == found.mask.shape
