"""Volumes through augmentation, sampling, training and prediction."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catenary.augment.batch import PRESETS, make_volume_patch
from catenary.augment.intensity import Tone, change_tone
from catenary.augment.volume import STILL, Turn, draw_turn, sample_volume
from catenary.data.fingerprint import Fingerprint
from catenary.data.labels import LabelSet
from catenary.data.layouts import open_dataset
from catenary.errors import ConfigError, InputError
from catenary.io import write_image, write_mask
from catenary.plan import Budget, plan
from catenary.plan.volumes import pooling
from catenary.predict.bands import body_box
from catenary.predict.card import Card
from catenary.predict.cleaning import choose_steps, clean_label, clean_mask, dice_of_steps
from catenary.predict.engines import Opened
from catenary.predict.predictor import Predictor
from catenary.predict.prepare import Normaliser
from catenary.predict.tiles import Tiling, blend, in_memory, pad_to
from catenary.recipe import Augment, Recipe, choose
from catenary.train.patches import Patches, Store, as_channels, grown
from catenary.train.validate import validate
from catenary.types import IGNORE, Grid, Image

CELL = LabelSet(names=("background", "cell"))
THREE = LabelSet(names=("background", "one", "two"))


def blob(*shape, seed=0):
    """A smooth volume ``(*shape, 1)`` from 0 to 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).random(shape), 2.5).astype(np.float32)
    return ((field - field.min()) / (field.max() - field.min()))[..., None]


# Geometry


@given(st.tuples(st.booleans(), st.booleans(), st.booleans()), st.booleans(), st.integers(0, 100))
def test_interpolated_turns_equal_those_that_only_move_voxels(flip, transpose, seed):
    image = np.random.default_rng(seed).random((9, 11, 10, 2)).astype(np.float32)
    label = (image[..., 0] * 3).astype(np.uint8)
    place = {"centre": (4, 6, 2), "patch": (5, 7, 6)}
    turn = Turn(flip=flip, transpose=transpose)
    pixels, truth = sample_volume(image, label, turn=turn, **place)
    same, there = sample_volume(image, label, turn=replace(turn, zoom=1 + 1e-7), **place)
    assert np.abs(pixels - same).max() < 1e-4
    np.testing.assert_array_equal(truth, there)


def test_a_plain_cut_is_the_volume_itself_and_mirrored_beyond_it():
    image = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4, 1)
    label = image[..., 0].astype(np.uint8)
    pixels, truth = sample_volume(image, label, centre=(3, 2, 2), patch=(6, 5, 4))
    np.testing.assert_array_equal(pixels, image)
    np.testing.assert_array_equal(truth, label)
    beyond, _ = sample_volume(image, label, centre=(0, 2, 2), patch=(4, 5, 4))
    np.testing.assert_array_equal(beyond, image[[2, 1, 0, 1]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_image_and_label_turn_together(axis):
    image = blob(30, 30, 30)
    label = (image[..., 0] > 0.5).astype(np.uint8)
    angles = tuple(25.0 if a == axis else 0.0 for a in range(3))
    turn = Turn(rotate=angles, zoom=1.1, shear=0.1, alpha=20.0, sigma=6.0, seed=3)
    pixels, truth = sample_volume(image, label, centre=(15, 15, 15), patch=(20, 20, 20), turn=turn)
    still, _ = sample_volume(image, label, centre=(15, 15, 15), patch=(20, 20, 20))
    assert np.mean((pixels[..., 0] > 0.5) != truth) < 0.03  # half a voxel along the outline
    assert np.abs(pixels - still).mean() > 0.02


def test_a_rotation_turns_the_right_way_and_keeps_the_third_axis():
    image = np.zeros((5, 21, 21, 1), np.float32)
    image[:, 10, 16] = 1  # to the right of the middle
    turned, _ = sample_volume(
        image, image[..., 0].astype(np.uint8), centre=(2, 10, 10), patch=(5, 21, 21), turn=Turn(rotate=(90.0, 0, 0))
    )
    where = np.argwhere(turned[..., 0] > 0.5)
    assert sorted(set(where[:, 0])) == [0, 1, 2, 3, 4]
    assert set(map(tuple, where[:, 1:])) == {(4, 10)}  # counter-clockwise: right goes up, as in images


def test_flat_patches_never_leave_their_slices():
    image = np.broadcast_to(np.arange(12, dtype=np.float32)[:, None, None, None], (12, 16, 16, 1)).copy()
    config = Augment(warp=1, elastic=1, elastic_alpha=200, elastic_sigma=4, tilt=30, shift=0.3, flip=(1, 0.5, 0.5))
    for seed in range(20):
        turn = draw_turn(config, np.random.default_rng(seed), flat=True)
        pixels, _ = sample_volume(
            image, image[..., 0].astype(np.uint8), centre=(6, 8, 8), patch=(3, 12, 12), turn=turn, flat=True
        )
        np.testing.assert_allclose(pixels[:, 0, 0, 0], [5, 6, 7], atol=1e-4)
        assert np.ptp(pixels, axis=(1, 2)).max() < 1e-4


def test_a_changed_probability_does_not_shift_later_draws():
    draws = [draw_turn(Augment(flip=(p, 0.5, 0.5)), np.random.default_rng(5)) for p in (0.0, 1.0)]
    assert draws[0].flip[0] != draws[1].flip[0]
    assert replace(draws[0], flip=draws[1].flip) == draws[1]


def test_flips_for_another_number_of_axes_are_refused():
    with pytest.raises(ConfigError, match=r"3 axes .*found \(0.5,\)"):
        draw_turn(Augment(flip=(0.5,)), np.random.default_rng(0))


def test_memory_maps_are_sampled_like_arrays(tmp_path):
    image = blob(20, 18, 16)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    label = (image[..., 0] > 0.5).astype(np.uint8)
    for turn in (STILL, Turn(rotate=(10.0, 5.0, 0.0))):
        one, other = (
            sample_volume(source, label, centre=(3, 9, 15), patch=(8, 8, 8), turn=turn)[0] for source in (image, mapped)
        )
        np.testing.assert_array_equal(one, other)


# Intensities


def test_tones_of_a_volume_are_those_of_its_slices_but_for_the_blur():
    image = blob(6, 8, 10)
    tone = Tone(gamma=1.2, contrast=0.8, brightness=0.1)
    whole = change_tone(image, tone, low=0.0, high=1.0)
    below = change_tone(image.reshape(48, 10, 1), tone, low=0.0, high=1.0)
    np.testing.assert_array_equal(whole, below.reshape(image.shape))
    point = np.zeros((9, 9, 9, 1), np.float32)
    point[4, 4, 4] = 1
    blurred = change_tone(point, Tone(blur=1.0), low=0.0, high=1.0)
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    assert blurred[3, 4, 4] == pytest.approx(blurred[4, 4, 3])
    assert blurred[3, 4, 4] > 0.02
    single = change_tone(point[4:5], Tone(blur=1.0), low=0.0, high=1.0)  # a slab of one slice has nothing to mix
    assert single[0, 4, 4, 0] > blurred[4, 4, 4, 0]


def test_body_normalisation_ignores_what_is_empty():
    scan = np.zeros((1, 8, 8, 8), np.float32)
    inside = np.random.default_rng(0).normal(50, 5, (4, 4, 4)).astype(np.float32)
    scan[0, 2:6, 2:6, 2:6] = inside
    scale, offset, _, _ = Normaliser(mode="body").coefficients(scan)
    found = inside * scale[0] + offset[0]
    assert (found.mean(), found.std()) == pytest.approx((0, 1), abs=1e-4)
    air = scan - 1000  # the empty value need not be 0
    scale, offset, _, _ = Normaliser(mode="body").coefficients(air)
    assert ((inside - 1000) * scale[0] + offset[0]).mean() == pytest.approx(0, abs=1e-3)
    everywhere = Normaliser(mode="body").coefficients(inside[None])
    assert everywhere[0] == pytest.approx(Normaliser(mode="image").coefficients(inside[None])[0], rel=0.02)


def test_a_window_clips_before_all_else():
    scan = np.array([[[[-1000, 0, 50, 3000]]]], np.int16)
    scale, offset, low, high = Normaliser(mode="dataset", mean=(50,), std=(25,), window=(0, 100)).coefficients(scan)
    values = np.clip(scan[0, 0, 0], low[0], high[0]) * scale[0] + offset[0]
    np.testing.assert_allclose(values, [-2, -2, 0, 2])


def test_statistics_are_those_of_the_window():
    scan = np.array([[[[-3000, 0, 100, 3000]]]], np.int16)
    scale, offset, low, high = Normaliser(mode="image", window=(0, 100)).coefficients(scan)
    values = np.clip(scan[0, 0, 0], low[0], high[0]) * scale[0] + offset[0]
    np.testing.assert_allclose(values, [-1, -1, 1, 1])


# Patches


def dataset(folder, count=1, shape=(12, 20, 24), channels=1):
    """Scans of smooth noise, what is bright labelled."""
    for seed in range(count):
        image = np.stack([blob(*shape, seed=10 * seed + c)[..., 0] for c in range(channels)])
        write_image(folder / "images" / f"{seed}.nii.gz", image, grid=Grid(spacing=(1.0,) * 3, unit="mm"))
        write_mask(folder / "masks" / f"{seed}.nii.gz", (image[0] > 0.55).astype(np.uint8))
    return open_dataset(folder)


def recipe(**settings):
    values = {
        "model.rank": 3, "sample.patch": (8, 16, 16), "sample.batch": 2, "prepare.normalise": "body",
        "augment.warp": 0.0, "augment.elastic": 0.0, "augment.intensity": 0.0, "augment.flip": (0.0, 0.0, 0.0),
        "augment.blur_probability": 0.0, "augment.noise_probability": 0.0,
    }  # fmt: skip
    return choose(Recipe(), values | {key.replace("__", "."): value for key, value in settings.items()})


def test_a_batch_of_volumes_and_of_slices_with_neighbours(tmp_path):
    store = Store(dataset(tmp_path, channels=2), ["0"], recipe())
    batch = Patches(store, recipe()).batch(0)
    assert batch.image.shape == (2, 8, 16, 16, 2)
    assert batch.label.shape == (2, 8, 16, 16)
    flat = recipe(model__rank=2, model__slices=3, sample__patch=(16, 16), augment__flip=(0.0, 0.0))
    batch = Patches(store, flat).batch(0)
    assert batch.image.shape == (2, 16, 16, 6)
    assert batch.label.shape == (2, 16, 16)
    assert batch.scale.shape == (2, 6)
    # the label is the middle slice's, and each slice keeps its channels together
    middle = batch.image[0, ..., 2] * batch.scale[0, 2] + batch.offset[0, 2]
    case = store[0]
    place = [
        (d, r, c)
        for d in range(12) for r in range(5) for c in range(9)
        if np.array_equal(case.label[d, r : r + 16, c : c + 16], batch.label[0])
        and np.allclose(case.image[d, r : r + 16, c : c + 16, 0] * case.scale[0] + case.offset[0], middle)
    ]  # fmt: skip
    assert len(place) == 1


def test_slices_become_channels_in_order():
    slab = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    found = as_channels(slab)
    assert found.shape == (3, 4, 10)
    np.testing.assert_array_equal(found[..., 5:], slab[1])


def test_cases_beyond_the_memory_wait_on_disk_and_are_the_same(tmp_path):
    pairs, names = dataset(tmp_path / "data", 3), ["0", "1", "2"]
    small = Store(pairs, names, recipe(), limit=1, disk=tmp_path / "cache")
    large = Store(pairs, names, recipe())
    for step in range(4):
        ours, theirs = (Patches(store, recipe()).batch(step) for store in (small, large))
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.label, theirs.label)
    assert len([*(tmp_path / "cache").glob("*.npy")]) == 4  # the last one read is in memory
    shutil.rmtree(tmp_path / "data")  # nothing is read twice
    assert sum(isinstance(small[index].image, np.memmap) for index in range(3)) == 2


def test_grown_in_three_dimensions():
    label = np.zeros((5, 5, 5), np.uint8)
    label[2, 2, 2] = 1
    label[0, 0, 0] = IGNORE
    wide = grown(label, 1)
    assert (wide == 1).sum() == 7
    assert wide[0, 0, 0] == IGNORE


def test_make_volume_patch_repeats_with_its_seed():
    image = blob(16, 16, 16)
    label = (image[..., 0] > 0.5).astype(np.uint8)
    config = Augment(flip=(0.5, 0.5, 0.5), tilt=20, elastic=1, warp=1)
    one, two, three = (
        make_volume_patch(
            image, label, config, centre=(8, 8, 8), patch=(8, 8, 8), rng=np.random.default_rng(s), low=0.0, high=1.0
        )
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one[0], two[0])
    assert not np.array_equal(one[0], three[0])


# Tiles


@given(
    st.tuples(st.integers(3, 21), st.integers(3, 21), st.integers(3, 21)),
    st.tuples(st.integers(4, 10), st.integers(4, 10), st.integers(4, 10)),
    st.integers(0, 3),
    st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 4, 4)]),
)
def test_tiled_then_blended_is_the_volume(shape, tile, overlap, multiple):
    tiling = Tiling.of(shape, tile=tile, overlap=overlap, multiple=multiple)
    assert all(p % m == 0 for p, m in zip(tiling.shape, multiple, strict=True))
    volume = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    padded = pad_to(volume, tiling.shape)
    bands = [band.copy() for band in blend(lambda tiles: tiles, in_memory(padded, tiling), tiling, logits=2, batch=3)]
    np.testing.assert_allclose(np.concatenate(bands, axis=1), padded, atol=1e-5)


# Prediction


class Voxelwise:
    """Stands in for a network: the answer is a function of each prepared voxel alone."""

    name = "voxelwise"

    def __init__(self, function):
        self.function, self.shapes = function, []

    def __call__(self, x):
        self.shapes.append(x.shape)
        return np.ascontiguousarray(self.function(x), np.float32)


def predictor(labels=CELL, function=lambda x: x[:, :1], channels=1, others=(), card=None, **settings):
    values = {
        "model.rank": 3, "model.widths": (4, 8), "model.channels": channels, "model.classes": labels.channels,
        "prepare.normalise": "none", "sample.patch": (8, 16, 16), "predict.batch": 2,
    }  # fmt: skip
    values |= {key.replace("__", "."): value for key, value in settings.items()}
    made = Card(recipe=choose(Recipe(), values), labels=labels, channels=channels, rank=3, dtype="float32")
    engine = Voxelwise(function)
    return Predictor(made.model_copy(update=card or {}), Opened(engine), others=others), engine


def scan(shape=(20, 30, 26), channels=1, seed=0, **grid):
    image = np.moveaxis(blob(*shape, seed=seed), -1, 0)
    return Image(array=np.repeat(image, channels, axis=0), grid=Grid(**{"spacing": (1.0,) * 3, "unit": "mm"} | grid))


def test_a_volume_is_answered_voxel_by_voxel():
    image = scan()
    found = predictor()[0](image)
    np.testing.assert_array_equal(found.mask, image.array[0] > 0.5)
    assert found.probability is None
    kept = predictor()[0](image, probability=True)
    np.testing.assert_allclose(kept.probability[0], image.array[0], atol=1e-5)
    row = found.measurements[0]
    assert row["volume_ml"] == pytest.approx(found.mask.sum() / 1000)
    assert row["area"] is None


def test_slices_answer_as_one_volume_and_neighbours_are_channels():
    image = scan()
    flat, engine = predictor(model__rank=2, sample__patch=(16, 16))
    np.testing.assert_array_equal(flat(image).mask, image.array[0] > 0.5)
    assert {len(shape) for shape in engine.shapes} == {4}
    # the mean of a slice and its two neighbours, which at the ends count twice
    model, engine = predictor(
        model__rank=2,
        model__slices=3,
        model__channels=3,
        sample__patch=(16, 16),
        function=lambda x: x.mean(1, keepdims=True),
    )
    wide = np.pad(image.array[0], [(1, 1), (0, 0), (0, 0)], mode="edge")
    wanted = (wide[:-2] + wide[1:-1] + wide[2:]) / 3
    found = model(image, probability=True)
    np.testing.assert_allclose(found.probability[0], wanted, atol=1e-5)
    assert {shape[1] for shape in engine.shapes} == {3}


def test_what_is_empty_is_background_and_not_looked_at():
    image = scan((20, 40, 40))
    array = np.zeros((1, 60, 80, 80), np.float32)
    array[:, 30:50, 20:60, 10:50] = image.array + 0.01
    wide = replace(image, array=array)
    labels = THREE
    answer = lambda x: np.concatenate([0.5 - x / 2, x / 2, x * 0 + 0.1], 1)  # noqa: E731
    model, engine = predictor(labels, answer, sample__patch=(40, 64, 64))
    found = model(wide, probability=True)
    seen = sum(int(np.prod(shape)) for shape in engine.shapes)
    assert seen < 0.6 * array.size
    outside = np.ones(array.shape[1:], bool)
    outside[30:50, 20:60, 10:50] = False
    assert not found.mask[outside].any()
    assert found.mask[30:50, 20:60, 10:50].any()
    np.testing.assert_allclose(found.probability[0][:20], 1)
    assert body_box(array) == (slice(30, 50), slice(20, 60), slice(10, 50))


def test_coarser_voxels_are_answered_on_the_scans_own():
    image = scan((24, 30, 28), spacing=(1.0, 0.5, 0.5))
    model, engine = predictor(prepare__spacing=(2.0, 1.0, 1.0))
    found = model(image, probability=True)
    assert found.mask.shape == (24, 30, 28)
    assert np.abs(found.probability[0] - image.array[0]).mean() < 0.05
    assert max(shape[2] for shape in engine.shapes) <= 12
    with pytest.raises(InputError, match="without spacing"):
        model(replace(image, grid=Grid()))


def test_models_that_answer_together_are_averaged():
    image = scan()
    second, _ = predictor(function=lambda x: 0 * x[:, :1], sample__patch=(12, 32, 32))
    both, _ = predictor(others=[second])
    np.testing.assert_allclose(both(image, probability=True).probability[0], image.array[0] / 2, atol=1e-5)
    stranger, _ = predictor(THREE)
    with pytest.raises(ConfigError, match="same classes and channels"):
        predictor(others=[stranger])


@pytest.mark.parametrize(
    ("flip", "answers"), [((0.5, 0.5, 0.5), 8), ((0.0, 0.0, 0.5), 2), ((0.5, 0.5), 4), ((0.0,) * 3, 1)]
)
def test_flips_are_averaged_over_the_axes_that_training_mirrored(flip, answers):
    model, engine = predictor(predict__tta=True, augment__flip=flip)
    found = model(scan((8, 16, 16)))
    assert len(engine.shapes) == answers
    assert any("changes nothing" in warning for warning in found.warnings) == (answers == 1)
    # the network's answer to the last flip alone: along w, which all of them have
    if answers > 1:
        moving, _ = predictor(predict__tta=True, augment__flip=flip, function=lambda x: np.roll(x[:, :1], 1, -1))
        array = scan((8, 16, 16)).array
        wanted = (np.roll(array, 1, -1) + np.roll(array, -1, -1)) / 2
        np.testing.assert_allclose(moving(scan((8, 16, 16)), probability=True).probability, wanted, atol=1e-5)


@pytest.mark.parametrize(("rank", "patch"), [(3, (16, 33, 32)), (2, (33, 40))])
def test_a_scan_smaller_than_a_patch_lies_in_its_middle_in_training_validation_and_prediction(tmp_path, rank, patch):
    """Networks learn how far from a patch's ends things are; elsewhere they would not be found."""
    found, settings = dataset(tmp_path), {"model__rank": rank, "sample__patch": patch}
    made = recipe(**settings, sample__batch=1, augment__flip=(0.0,) * rank)
    store = Store(found, ["0"], made)
    batch = Patches(store, made).batch(0)
    trained = batch.image[0, ..., 0] * batch.scale[0, 0] + batch.offset[0, 0]
    model, engine = predictor(prepare__normalise="body", model__widths=(4,), predict__overlap=0.0, **settings)
    seen = []
    engine.function = lambda x: [seen.append(x), x[:, :1]][1]
    image = found.read_image(found["0"])
    answer = model(image, probability=True)
    validated = []

    def forward(x):
        validated.append(x.numpy())
        return x[:, :1]

    common = {"device": torch.device("cpu"), "channels_last": False, "rank": rank, "patch": patch}
    validate(forward, torch.nn.Identity(), store, CELL, lambda x, y: (x[:, 0] * (y != IGNORE)).sum(), **common)
    for shown in (seen, validated):
        assert any(np.allclose(trained, x, atol=1e-5) for part in shown for x in part[:, 0])
    normal = Normaliser(mode="body").coefficients(image.array)
    np.testing.assert_allclose(answer.probability, image.array * normal[0] + normal[1], atol=1e-5)


def test_an_image_is_no_volume():
    with pytest.raises(InputError, match="trained on volumes"):
        predictor()[0](Image(array=np.zeros((1, 8, 8), np.float32)))
    with pytest.raises(InputError, match="1 channel"):
        predictor(channels=2, function=lambda x: x[:, :1])[0](scan())


# Tidying


def test_cleaning_keeps_the_largest_part_and_fills_holes():
    mask = np.zeros((12, 12, 12), bool)
    mask[2:9, 2:9, 2:9] = True
    mask[5, 5, 5] = False
    mask[11, 11, 11] = True
    largest, filled = clean_mask(mask, ("largest",)), clean_mask(mask, ("fill",))
    assert (largest.sum(), filled.sum()) == (mask.sum() - 1, mask.sum() + 1)
    label = mask.astype(np.uint8)
    label[5, 5, 5] = 2  # another class is no hole
    found = clean_label(label, THREE, {"one": ("largest", "fill")})
    assert found[5, 5, 5] == 2
    assert found[11, 11, 11] == 0


def test_steps_are_chosen_by_cases_that_had_no_say():
    rng = np.random.default_rng(0)
    truth = np.zeros((10, 10, 10), np.uint8)
    truth[2:6, 2:6, 2:6] = 1
    speckled = [(truth == 1) | (rng.random(truth.shape) < 0.02) for _ in range(4)]
    dice = [dice_of_steps(truth, [answer], CELL) for answer in speckled]
    assert choose_steps(dice, ["cell"]) == {"cell": ("largest",)}
    assert choose_steps(dice[:2], ["cell"]) == {}  # too few to choose from
    clean = [dice_of_steps(truth, [truth == 1], CELL) for _ in range(4)]
    assert choose_steps(clean, ["cell"]) == {}


def test_one_case_alone_does_not_choose_the_steps():
    # Mean Dice gains by the first case only; whoever is left out says the contrary.
    table = np.array([[[0.2], [0.9]], [[0.9], [0.85]], [[0.9], [0.85]], [[0.9], [0.85]]])
    ways = np.concatenate([table, table[:, :1] - 0.3, table[:, :1] - 0.3], axis=1)
    assert ways.mean(axis=0).argmax() == 1
    assert choose_steps([*ways], ["cell"]) == {}


def test_steps_of_the_card_reach_the_answer():
    image = scan()
    array = (image.array > 0.5).astype(np.float32)
    plain = predictor()[0](replace(image, array=array)).mask
    tidy = predictor(card={"cleaning": {"cell": ("largest",)}})[0](replace(image, array=array)).mask
    np.testing.assert_array_equal(tidy, clean_mask(plain > 0, ("largest",)))
    assert tidy.sum() < plain.sum()


# Planning


def scans_fingerprint(**changes):
    values = {
        "cases": 90, "groups": 90, "rank": 3, "channels": 1, "dtype": "float32",
        "size_min": (30, 40, 30), "size_max": (40, 60, 40), "spacing_unit": "mm", "spacing_spread": 1.0,
        "mean": (100.0,), "std": (40.0,), "low": (0.0,), "high": (250.0,), "image_means_spread": 0.2,
        "class_names": THREE.names, "class_shares": (0.9, 0.05, 0.05), "class_presence": (1.0,) * 3,
        "object_diameter": (20.0,) * 2, "object_count": (1.0,) * 2, "thickness": (9.0,) * 2,
        "foreground_share": 0.1, "task": "exclusive", "logits": 3,
    }  # fmt: skip
    return Fingerprint(**(values | changes))


def test_an_axis_is_pooled_once_its_voxels_are_as_short():
    assert pooling((20, 160, 160), (5.0, 1.0, 1.0))[:3] == [(1, 2, 2), (1, 2, 2), (2, 2, 2)]
    assert pooling((64, 64, 64), (1.0, 1.0, 1.0)) == [(2, 2, 2)] * 4
    assert pooling((4, 64, 64), (1.0, 1.0, 1.0))[0] == (1, 2, 2)


def test_slices_are_planned_as_large_as_they_are_and_many_small_ones_a_step():
    wide = {"size_median": (37, 240, 224), "spacing_median": (1.0, 1.0, 1.0)}
    small = {"size_median": (37, 50, 36), "spacing_median": (1.0, 1.0, 1.0)}
    flat = choose(Recipe(), {"model.rank": 2})
    plans = [plan(scans_fingerprint(**size), Budget(steps=10), flat).recipe for size in (small, wide)]
    assert [p.sample.patch for p in plans] == [(56, 40), (224, 224)]
    assert [p.sample.batch for p in plans] == [29, 8]
    assert [len(p.model.widths) for p in plans] == [4, 6]


def test_a_volume_three_voxels_wide_is_no_colour_picture(tmp_path):
    found = dataset(tmp_path, shape=(12, 10, 3))
    image, label = found.read_pair(found.cases[0])
    assert label.shape == (12, 10, 3)
    np.testing.assert_array_equal(label, image.array[0] > 0.55)


def test_the_preset_for_heads_turns_them_in_space():
    preset = PRESETS["brain-3d"]
    turns = [draw_turn(preset, np.random.default_rng(seed)) for seed in range(50)]
    assert not any(turn.flip[0] for turn in turns)
    assert max(abs(turn.rotate[1]) for turn in turns) > 10
    assert all(turn.alpha > 0 for turn in turns)


def test_an_empty_scan_is_said_to_be_empty():
    model, _ = predictor(prepare__normalise="body")
    found = model(Image(array=np.zeros((1, 16, 16, 16), np.float32), grid=Grid(spacing=(1.0,) * 3)))
    assert not found.mask.any()
    assert any("nothing to segment" in warning for warning in found.warnings)
