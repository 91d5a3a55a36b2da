"""Augmentation: geometry against arithmetic, labels that stay labels, intensities within their ranges."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.augment import (
    PRESETS,
    UNCHANGED,
    Drawn,
    Tone,
    Warp,
    apply,
    change_tone,
    draw,
    draw_tone,
    draw_warp,
    elastic_field,
    elastic_std,
    make_patch,
    sample_patch,
)
from catenary.errors import ConfigError, InputError
from catenary.recipe import Augment
from catenary.types import IGNORE

warps = st.builds(
    Warp,
    flip=st.tuples(st.booleans(), st.booleans()),
    transpose=st.booleans(),
    rotate=st.floats(-180, 180),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    shear=st.floats(-0.5, 0.5),
    zoom=st.floats(0.5, 2.0),
    alpha=st.sampled_from([0.0, 100.0, 700.0]),
    sigma=st.sampled_from([2.0, 8.0, 24.0]),
    seed=st.integers(0, 2**53 - 1),
)


def smooth(size, channels=1, seed=0):
    noise = np.random.default_rng(seed).random((*size, channels), dtype=np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 5).reshape(*size, channels)
    return (image - image.min()) / (image.max() - image.min())


def expected_place(warp, patch, centre, row, column):
    """Where a patch shows the image's point (row, column): the forward definition, without the elastic field."""
    region = patch[::-1] if warp.transpose else patch
    y = row - (centre[0] - region[0] // 2 + (region[0] - 1) / 2)
    x = column - (centre[1] - region[1] // 2 + (region[1] - 1) / 2)
    y, x = y * warp.zoom, x * warp.zoom
    x += warp.shear * y
    angle = math.radians(warp.rotate)
    y, x = y * math.cos(angle) - x * math.sin(angle), x * math.cos(angle) + y * math.sin(angle)
    y, x = y + warp.shift[0] * region[0], x + warp.shift[1] * region[1]
    if warp.transpose:
        y, x = x, y
    y, x = (-y if warp.flip[0] else y), (-x if warp.flip[1] else x)
    return y + (patch[0] - 1) / 2, x + (patch[1] - 1) / 2


def spot(size, row, column):
    """A Gaussian blob whose centre of mass can be read to a fraction of a pixel."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 2.5**2)).astype(np.float32)[..., None]


def mass_centre(picture):
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return (picture * y).sum() / picture.sum(), (picture * x).sum() / picture.sum()


# Geometry


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_nothing_drawn_is_the_exact_crop(dtype, channels):
    image = (smooth((40, 50), channels) * 200).astype(dtype)
    label = (image[..., 0] > 100).astype(np.uint8)
    pixels, truth = sample_patch(image, label, centre=(20, 25), patch=(16, 12))
    np.testing.assert_array_equal(pixels, image[12:28, 19:31])
    np.testing.assert_array_equal(truth, label[12:28, 19:31])
    assert pixels.dtype == dtype
    assert pixels.flags.c_contiguous
    assert not np.shares_memory(pixels, image)


def test_a_warp_too_small_to_move_anything_agrees_with_the_plain_crop():
    image = (smooth((60, 70), 3) * 255).astype(np.uint8)
    label = (image[..., 0] > 100).astype(np.uint8)
    for flip in ((False, False), (True, False), (False, True), (True, True)):
        for transpose in (False, True):
            at = {"centre": (25, 30), "patch": (24, 17)}
            plain = sample_patch(image, label, warp=Warp(flip=flip, transpose=transpose), **at)
            warped = sample_patch(image, label, warp=Warp(flip=flip, transpose=transpose, rotate=1e-7), **at)
            np.testing.assert_array_equal(plain[0], warped[0])
            np.testing.assert_array_equal(plain[1], warped[1])


def test_crops_beyond_the_edge_are_mirrored_as_numpy_does():
    image = np.arange(5 * 7 * 2, dtype=np.uint8).reshape(5, 7, 2)
    label = image[..., 0].copy()
    pixels, truth = sample_patch(image, label, centre=(2, 3), patch=(31, 33))
    np.testing.assert_array_equal(truth, np.pad(label, ((13, 13), (13, 13)), "reflect"))
    np.testing.assert_array_equal(pixels, np.pad(image, ((13, 13), (13, 13), (0, 0)), "reflect"))


@settings(max_examples=40, deadline=None)
@given(
    side=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    centre=st.tuples(st.integers(-20, 60), st.integers(-20, 60)),
    patch=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    warp=warps,
)
def test_reading_only_the_needed_window_changes_nothing(side, centre, patch, warp):
    """The same picture, mirrored out by hand far beyond what any warp reaches, gives the same patch."""
    # Off the places halfway between two pixels, where the nearest one is a matter of rounding.
    shift = (warp.shift[0] + 0.0137, warp.shift[1] + 0.0173)
    warp = replace(warp, rotate=warp.rotate + 1e-3, shift=shift)
    image = np.random.default_rng(0).integers(0, 255, (*side, 1), dtype=np.uint8)
    far = 400
    outside = np.pad(image, ((far, far), (far, far), (0, 0)), "reflect" if min(side) > 1 else "edge")
    if min(side) == 1 and max(side) > 1:
        outside = np.pad(np.pad(image, ((far, far), (0, 0), (0, 0)), "reflect" if side[0] > 1 else "edge"),
                         ((0, 0), (far, far), (0, 0)), "reflect" if side[1] > 1 else "edge")  # fmt: skip
    moved = (centre[0] + far, centre[1] + far)
    near = sample_patch(image, image[..., 0], centre=centre, patch=patch, warp=warp)
    whole = sample_patch(outside, outside[..., 0], centre=moved, patch=patch, warp=warp)
    # Places are float32 once: window origins differ, so a sample may fall to the other side of 1/32 pixel.
    assert np.mean(np.abs(near[0].astype(int) - whole[0]) > 16) < 0.01
    assert np.mean(near[1] != whole[1]) <= max(0.02, 1.5 / near[1].size)


@pytest.mark.parametrize("code", range(4))
def test_flipping_twice_is_the_identity(code):
    warp = Warp(flip=(bool(code & 1), bool(code & 2)))
    image = (smooth((20, 30), 3) * 255).astype(np.uint8)
    label = (image[..., 0] > 100).astype(np.uint8)
    at = {"centre": (10, 15), "patch": (20, 30), "warp": warp}
    once = sample_patch(image, label, **at)
    twice = sample_patch(*once, **at)
    np.testing.assert_array_equal(twice[0], image)
    np.testing.assert_array_equal(twice[1], label)
    assert code == 0 or not np.array_equal(once[0], image)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_turns_equal_those_of_numpy(channels):
    image = np.random.default_rng(0).integers(0, 255, (21, 16, channels), dtype=np.uint16)
    at = {"centre": (10, 8), "patch": (16, 21)}
    pixels, _ = sample_patch(image, image[..., 0].astype(np.uint8), warp=Warp(transpose=True), **at)
    np.testing.assert_array_equal(pixels, np.swapaxes(image, 0, 1))
    pixels, _ = sample_patch(image, image[..., 0].astype(np.uint8), warp=Warp(transpose=True, flip=(True, False)), **at)
    np.testing.assert_array_equal(pixels, np.rot90(image))


def test_flips_and_transpose_reach_all_eight_poses():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    poses = {
        sample_patch(
            image, image[..., 0], centre=(2, 2), patch=(4, 4), warp=Warp(flip=(f, g), transpose=t)
        )[1].tobytes()
        for f in (False, True) for g in (False, True) for t in (False, True)
    }  # fmt: skip
    assert len(poses) == 8


def test_rotation_is_counter_clockwise():
    image = spot((65, 65), 32, 52)
    pixels, _ = sample_patch(
        image, np.zeros((65, 65), np.uint8), centre=(32, 32), patch=(65, 65), warp=Warp(rotate=90.0)
    )
    assert mass_centre(pixels[..., 0]) == pytest.approx((12, 32), abs=0.1)


@settings(max_examples=60, deadline=None)
@given(
    turn=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    rotate=st.floats(-180, 180),
    shift=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
    shear=st.floats(-0.3, 0.3),
    zoom=st.floats(0.8, 1.2),
    patch=st.sampled_from([(96, 96), (81, 120), (128, 97)]),
    place=st.tuples(st.integers(-12, 12), st.integers(-12, 12)),
)
def test_landmarks_land_where_the_composed_steps_put_them(turn, rotate, shift, shear, zoom, patch, place):
    warp = Warp(flip=turn[:2], transpose=turn[2], rotate=rotate, shift=shift, shear=shear, zoom=zoom)
    centre = (100, 90)
    mark = (centre[0] + place[0], centre[1] + place[1])
    image = spot((200, 190), *mark)
    pixels, _ = sample_patch(image, np.zeros((200, 190), np.uint8), centre=centre, patch=patch, warp=warp)
    found = mass_centre(pixels[..., 0])
    assert found == pytest.approx(expected_place(warp, patch, centre, *mark), abs=0.2)


def test_scale_brings_to_working_resolution():
    image = spot((200, 200), 120, 80)
    pixels, _ = sample_patch(image, np.zeros((200, 200), np.uint8), centre=(100, 100), patch=(100, 100), scale=0.5)
    assert mass_centre(pixels[..., 0]) == pytest.approx((50 + 10 - 0.25, 50 - 10 - 0.25), abs=0.3)
    assert pixels.shape == (100, 100, 1)


def test_image_and_label_stay_aligned():
    """An image that encodes its own label still tells it after every warp, away from the borders."""
    label = (smooth((160, 160), seed=3)[..., 0] * 3.99).astype(np.uint8)
    image = (label * 60)[..., None].repeat(3, 2)
    rng = np.random.default_rng(0)
    for _ in range(20):
        warp = draw_warp(PRESETS["brain"], rng)
        pixels, truth = sample_patch(image, label, centre=(80, 80), patch=(128, 128), warp=warp)
        inside = cv2.dilate(truth, np.ones((3, 3))) == cv2.erode(truth, np.ones((3, 3)))
        assert inside.mean() > 0.6
        wrong = np.rint(pixels[inside] / 60) != truth[inside][:, None]
        assert wrong.mean() < 5e-4


@settings(max_examples=40, deadline=None)
@given(
    side=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    patch=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    classes=st.lists(st.integers(0, 254), min_size=1, max_size=5, unique=True),
    channels=st.integers(1, 7),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    warp=warps,
)
def test_labels_stay_in_their_set_and_images_in_their_range(side, patch, classes, channels, dtype, warp):
    rng = np.random.default_rng(0)
    label = rng.choice(np.array(classes, np.uint8), side)
    image = rng.uniform(20, 220, (*side, channels)).astype(dtype)
    pixels, truth = sample_patch(image, label, centre=(side[0] // 2, side[1] // 2), patch=patch, warp=warp)
    assert set(np.unique(truth)) <= set(classes)
    assert IGNORE not in truth
    assert truth.shape == patch
    assert pixels.shape == (*patch, channels)
    assert pixels.dtype == dtype
    assert pixels.min() >= image.min() - 1e-3
    assert pixels.max() <= image.max() + 1e-3


@pytest.mark.parametrize("channels", [1, 4, 5, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_many_channels_equal_one_by_one(channels, dtype):
    image = (smooth((50, 60), channels) * 250).astype(dtype)
    label = np.zeros((50, 60), np.uint8)
    at = {"centre": (25, 30), "patch": (40, 40), "warp": Warp(rotate=12.0, alpha=100.0, sigma=8.0, seed=1)}
    pixels, _ = sample_patch(image, label, **at)
    for channel in range(channels):
        alone, _ = sample_patch(image[..., channel : channel + 1].copy(), label, **at)
        np.testing.assert_allclose(pixels[..., channel], alone[..., 0], atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint32, np.int16, bool])
def test_other_types_become_float32(dtype):
    image = (smooth((30, 30)) * 100).astype(dtype)
    for warp in (Warp(), Warp(rotate=5.0)):
        pixels, _ = sample_patch(image, np.zeros((30, 30), np.uint8), centre=(15, 15), patch=(9, 9), warp=warp)
        assert pixels.dtype == np.float32
    assert pixels[4, 4, 0] == pytest.approx(float(image[15, 15, 0]), abs=3)


def test_images_wider_than_opencv_can_address():
    image = np.zeros((4, 70_000, 1), np.uint8)
    image[:, 60_000] = 255
    pixels, _ = sample_patch(image, image[..., 0], centre=(2, 60_000), patch=(9, 33), warp=Warp(rotate=0.01))
    assert pixels[4, 16, 0] > 240
    with pytest.raises(InputError, match="needs 4x"):
        sample_patch(image, image[..., 0], centre=(2, 35_000), patch=(9, 90), warp=Warp(zoom=0.001))


def test_a_label_of_another_size_or_an_empty_patch_is_refused():
    image = np.zeros((8, 9, 1), np.uint8)
    with pytest.raises(InputError, match=r"\(9, 8\) against \(8, 9\)"):
        sample_patch(image, np.zeros((9, 8), np.uint8), centre=(4, 4), patch=(4, 4))
    with pytest.raises(InputError, match="at least 1"):
        sample_patch(image, image[..., 0], centre=(4, 4), patch=(0, 4))


# The elastic field


def simard(shape, alpha, sigma, rng):
    """The definition, literally: uniform noise on every pixel, smoothed, times alpha."""
    noise = rng.uniform(-1, 1, shape)
    return cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) * alpha


@pytest.mark.parametrize(
    ("alpha", "sigma", "spacing"), [(720.0, 24.0, 8), (720.0, 24.0, 1), (300.0, 20.0, 6), (40.0, 6.0, 2)]
)
def test_the_elastic_field_has_the_magnitude_and_smoothness_of_the_definition(alpha, sigma, spacing):
    rng = np.random.default_rng(0)
    inner = slice(round(3 * sigma), -round(3 * sigma))
    theirs = np.stack([simard((512, 512), alpha, sigma, rng)[inner, inner] for _ in range(8)])
    count = 512 // spacing
    fields = [elastic_field((count, count), alpha=alpha, sigma=sigma, seed=seed, spacing=spacing) for seed in range(8)]
    ours = np.stack(fields)
    assert theirs.std() == pytest.approx(elastic_std(alpha, sigma), rel=0.12)
    assert ours.std() == pytest.approx(elastic_std(alpha, sigma), rel=0.07)
    # Correlation falls to exp(-1/4) at a distance of one sigma.
    step = round(sigma / spacing)
    near = np.mean(ours[:, step:] * ours[:, :-step]) / np.mean(ours**2)
    assert near == pytest.approx(math.exp(-((step * spacing / sigma) ** 2) / 4), abs=0.07)


def test_the_drawn_elastic_displacement_is_what_pixels_move_by():
    """A ramp image reads its own coordinates: what is sampled minus where it stands is the displacement."""
    rows = np.arange(600, dtype=np.float32)[:, None, None]
    moved = []
    for seed in range(6):
        warp = Warp(alpha=720.0, sigma=24.0, seed=seed)
        image = np.concatenate(
            [np.broadcast_to(rows, (600, 600, 1)), np.broadcast_to(rows.swapaxes(0, 1), (600, 600, 1))], 2
        )
        pixels, _ = sample_patch(np.ascontiguousarray(image), np.zeros((600, 600), np.uint8), centre=(300, 300),
                                 patch=(512, 512), warp=warp)  # fmt: skip
        moved.append(pixels - image[44:556, 44:556])
    assert np.std(moved) == pytest.approx(elastic_std(720.0, 24.0), rel=0.08)


# Intensities


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_each_curve_is_its_formula(dtype):
    top = 200.0
    image = (smooth((20, 20), 3) * top).astype(dtype)
    t = image.astype(np.float64) / top
    exact = 1e-4 if dtype == np.float32 else 0.51
    for tone, answer in (
        (Tone(gamma=0.8), t**0.8),
        (Tone(brightness=0.1), t + 0.1),
        (Tone(contrast=0.7), (t - t.mean((0, 1))) * 0.7 + t.mean((0, 1))),
        (Tone(gamma=1.2, brightness=-0.05), t**1.2 - 0.05),
    ):
        changed = change_tone(image, tone, low=0, high=top)
        assert changed.dtype == dtype
        floor = -np.inf if dtype == np.float32 else 0
        np.testing.assert_allclose(changed, np.clip(answer * top, floor, None), atol=exact + 1e-3)


def test_all_types_agree_when_everything_is_drawn():
    tone = Tone(gamma=0.85, contrast=1.2, brightness=0.05, colour=0.05, blur=1.0, seed=4)
    image = (smooth((32, 32), 3) * 200 + 20).astype(np.uint8)
    eight, sixteen, real = (
        change_tone(image.astype(dtype), tone, low=(10, 0, 20), high=(240, 250, 255)).astype(float)
        for dtype in (np.uint8, np.uint16, np.float32)
    )
    np.testing.assert_allclose(sixteen, np.clip(real, 0, None), atol=1.5)
    np.testing.assert_allclose(eight, np.clip(real, 0, 255), atol=1.5)


def test_values_below_the_range_keep_their_distance():
    image = np.array([-5.0, -1.0, 0.0, 1.0], np.float32).reshape(1, 4, 1)
    changed = change_tone(image, Tone(gamma=1.2), low=-1.0, high=1.0)
    np.testing.assert_allclose(changed.ravel(), [-5, -1, 2 * 0.5**1.2 - 1, 1], atol=1e-5)


def test_integers_saturate_and_never_wrap():
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        image = np.array([0, top], dtype).reshape(1, 2, 1)
        brighter = change_tone(image, Tone(brightness=0.5), low=0, high=float(top))
        darker = change_tone(image, Tone(brightness=-0.5), low=0, high=float(top))
        assert brighter[0, 1, 0] == top
        assert darker[0, 0, 0] == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_noise_and_blur_have_the_drawn_size(dtype, channels):
    image = np.full((128, 128, channels), 100, dtype)
    noisy = change_tone(image, Tone(noise=0.05, seed=1), low=0, high=200).astype(float)
    assert noisy.std() == pytest.approx(10, rel=0.05)
    assert noisy.mean() == pytest.approx(100, abs=0.5)
    image[64, 64] = 200
    soft = change_tone(image, Tone(blur=1.5), low=0, high=255)
    assert soft.shape == image.shape
    assert 100 < soft[64, 64, 0] < 110


@pytest.mark.parametrize("channels", [3, 6])
def test_colour_moves_channels_apart_by_no_more_than_drawn(channels):
    image = np.full((4, 4, channels), 100, np.uint8)
    changed = change_tone(image, Tone(colour=0.1, seed=3), low=0, high=100).astype(int) - 100
    assert np.ptp(changed) > 2
    assert np.abs(changed).max() <= 10


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_input_is_left_alone_and_constant_channels_do_no_harm(dtype):
    image = np.full((5, 6, 2), 7, dtype)
    tone = Tone(gamma=0.8, contrast=1.2, brightness=0.1, noise=0.1, blur=1.0, colour=0.1)
    changed = change_tone(image, tone, low=7, high=7)
    assert (image == 7).all()
    assert np.isfinite(changed).all()


def test_a_range_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="2 and 1 values for 3 channels"):
        change_tone(np.zeros((2, 2, 3), np.uint8), Tone(gamma=0.9), low=(0, 0), high=1)
    with pytest.raises(InputError, match="float64"):
        change_tone(np.zeros((2, 2, 3)), Tone(gamma=0.9), low=0, high=1)


# Draws and presets


@pytest.mark.parametrize("name", [name for name in PRESETS if len(PRESETS[name].flip) == 2])
def test_draws_stay_within_the_preset(name):
    config, rng = PRESETS[name], np.random.default_rng(0)
    assert config.preset == name
    for _ in range(300):
        drawn = draw(config, rng)
        warp, tone = drawn.warp, drawn.tone
        assert abs(warp.rotate) <= config.rotate
        assert max(map(abs, warp.shift)) <= config.shift
        assert abs(warp.shear) <= config.shear
        assert abs(warp.zoom - 1) <= config.zoom
        assert warp.alpha in (0, config.elastic_alpha)
        assert abs(tone.gamma - 1) <= config.gamma
        assert abs(tone.contrast - 1) <= config.contrast
        assert abs(tone.brightness) <= config.brightness
        assert 0 <= tone.noise <= config.noise
        assert 0 <= tone.blur <= config.blur


def test_the_brain_preset_draws_its_table():
    rng = np.random.default_rng(0)
    drawn = [draw(PRESETS["brain"], rng) for _ in range(4000)]
    spread = {
        "rotate": (-20, 20), "shear": (-0.2, 0.2), "zoom": (0.9, 1.1),
    }  # fmt: skip
    for name, (low, high) in spread.items():
        values = np.array([getattr(one.warp, name) for one in drawn])
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert values.std() == pytest.approx((high - low) / math.sqrt(12), rel=0.04)
    shifts = np.array([one.warp.shift for one in drawn])
    assert np.abs(shifts).max(0) == pytest.approx([0.1, 0.1], rel=0.01)
    gammas = np.array([one.tone.gamma for one in drawn])
    assert (gammas.min(), gammas.max()) == pytest.approx((0.8, 1.2), abs=0.002)
    assert np.mean([one.warp.flip for one in drawn], axis=0) == pytest.approx([0.5, 0.5], abs=0.04)
    assert {(one.warp.alpha, one.warp.sigma) for one in drawn} == {(720.0, 24.0)}
    assert {(one.tone.contrast, one.tone.brightness, one.tone.noise, one.tone.blur) for one in drawn} == {(1, 0, 0, 0)}


def test_probabilities_are_kept():
    config = Augment(flip=(0.2, 0.9), transpose=0.3, warp=0.4, elastic=0.6, noise_probability=0.1, blur_probability=0.7)
    rng = np.random.default_rng(1)
    drawn = [draw(config, rng) for _ in range(4000)]
    rates = np.mean(
        [
            (one.warp.flip[0], one.warp.flip[1], one.warp.transpose, one.warp.rotate != 0, one.warp.alpha > 0,
             one.tone.noise > 0, one.tone.blur > 0, one.tone.gamma != 1)
            for one in drawn
        ],
        axis=0,
    )  # fmt: skip
    assert rates == pytest.approx([0.2, 0.9, 0.3, 0.4, 0.6, 0.1, 0.7, 0.7], abs=0.035)


def test_the_same_seed_gives_the_same_patch_and_another_another():
    image = (smooth((80, 80), 3) * 255).astype(np.uint8)
    label = (image[..., 0] > 100).astype(np.uint8)
    at = {"centre": (40, 40), "patch": (48, 48), "low": 0, "high": 255}
    config = PRESETS["microscopy"]
    first, second, third = (
        make_patch(image, label, config, rng=np.random.default_rng(seed), **at) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], third[0])
    drawn = draw(config, np.random.default_rng(5))
    np.testing.assert_array_equal(apply(image, label, drawn, **at)[0], first[0])


def test_a_changed_probability_does_not_shift_later_draws():
    def after(config):
        rng = np.random.default_rng(2)
        draw(config, rng)
        return rng.random()

    assert after(PRESETS["none"]) == after(PRESETS["microscopy"])


def test_no_augmentation_is_the_crop():
    image = (smooth((30, 40), 3) * 255).astype(np.uint8)
    label = (image[..., 0] > 100).astype(np.uint8)
    at = {"centre": (15, 20), "patch": (16, 16), "low": 0, "high": 255}
    none = make_patch(image, label, PRESETS["none"], rng=np.random.default_rng(0), **at)
    plain = apply(image, label, UNCHANGED, **at)
    for pixels, truth in (none, plain):
        np.testing.assert_array_equal(pixels, image[7:23, 12:28])
        np.testing.assert_array_equal(truth, label[7:23, 12:28])
    assert Drawn() == UNCHANGED


def test_flips_for_another_rank_are_refused():
    with pytest.raises(ConfigError, match=r"augment\.flip"):
        draw_warp(Augment(flip=(0.5, 0.5, 0.5)), np.random.default_rng(0))
    assert isinstance(draw_tone(Augment(flip=(0.5, 0.5, 0.5)), np.random.default_rng(0)), Tone)
