"""Local contrast: thin things look alike wherever the light is, in training and in prediction."""

import numpy as np
import pytest

from catenary import workflow
from catenary.errors import ConfigError
from catenary.predict.contrast import local_contrast
from catenary.predict.prepare import Normaliser, prepare
from catenary.types import Image


def vessels(light, dtype=np.uint8, scale=1.0):
    """Dark lines on a ground as bright as `light` at each column, as `(1, 96, 96)`."""
    ground = np.tile(light, (96, 1)).astype(np.float64)
    ground[8::24] *= 0.8
    ground += np.random.default_rng(0).normal(0, 1, ground.shape)
    return (ground * scale).astype(dtype)[None]


def test_a_line_is_as_dark_in_the_shade_as_in_the_light():
    found = local_contrast(vessels(np.linspace(60, 220, 96)))[0].astype(int)
    dark, bright = found[8::24, 10:30].mean(), found[8::24, 66:86].mean()
    assert dark < 70
    assert bright < 70
    assert abs(dark - bright) < 15
    assert abs(np.median(found) - 128) < 15


def test_the_type_of_the_file_does_not_matter():
    light = np.linspace(60, 220, 96)
    narrow, wide = local_contrast(vessels(light)), local_contrast(vessels(light, np.uint16, 200.0))
    assert np.corrcoef(narrow.ravel(), wide.ravel())[0, 1] > 0.95


def test_a_black_rim_and_pixels_without_data_stay_out():
    array = vessels(np.full(96, 150.0))
    cut = array.copy()
    cut[:, :, 48:] = 3
    whole, part = local_contrast(array)[0].astype(int), local_contrast(cut)[0].astype(int)
    assert (part[:, 48:] == 128).all()
    assert np.abs(whole - part)[:, :48].mean() < 6  # no bright fringe along the rim
    valid = np.zeros((96, 96), bool)
    valid[:, :48] = True
    masked = local_contrast(array, valid)[0].astype(int)
    np.testing.assert_array_equal(masked[:, 48:], 128)
    np.testing.assert_array_equal(masked[:, :48], part[:, :48])


def test_a_network_sees_deviations_of_the_neighbourhood():
    image = Image(array=vessels(np.linspace(60, 220, 96)))
    seen = prepare(image, Normaliser(mode="local"), size=48).normalised()
    assert seen.shape == (1, 48, 48)
    assert abs(float(np.median(seen))) < 0.5
    assert 0.5 < float(seen.std()) < 1.6


def test_volumes_are_refused():
    with pytest.raises(ConfigError, match="found a volume"):
        prepare(Image(array=np.ones((1, 4, 8, 8), np.uint8)), Normaliser(mode="local"))


def test_a_recipe_learns_vessels_from_it(tmp_path):
    from PIL import Image as Pillow

    rng = np.random.default_rng(0)
    for number in range(8):
        light = rng.uniform(60, 120) + np.linspace(0, rng.uniform(-40, 100), 96)
        mask = np.zeros((96, 96), np.uint8)
        mask[rng.integers(4, 12) :: 24] = 255
        ground = np.tile(light, (96, 1)) * np.where(mask, 0.8, 1.0) + rng.normal(0, 1, mask.shape)
        for folder, pixels in (("images", np.repeat(ground.astype(np.uint8)[..., None], 3, 2)), ("masks", mask)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(pixels).save(tmp_path / "data" / folder / f"eye{number}.png")
    quick = ["model.depth=2", "model.widths=[8,16]", "sample.patch=[64,64]", "sample.batch=4", "prepare.size=96"]
    quick += ["train.precision=fp32", "train.channels_last=off", "predict.engine=torch", "augment.preset=none"]
    quick += ["train.validations=2", "train.lr=0.01", "augment.rotate=0", "augment.warp=0"]
    run = workflow.fit(tmp_path / "data", out=tmp_path / "run", recipe="retina-vessels", steps=40, settings=quick)
    assert run.evaluation.classes["foreground"]["dice"].value > 0.8
