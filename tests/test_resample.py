"""Volumes and pictures on other grids: against slow references, and band by band as in one piece."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from catenary.errors import ConfigError, InputError
from catenary.predict import resample
from catenary.predict.resample import (
    resample_bands,
    resample_image,
    resample_label,
    running_argmax,
    working_shape_of,
)

FEW = settings(max_examples=60, deadline=None)
SIDES = st.integers(1, 13)


def slow(line, n_out):
    """One line on another grid: mean over each new pixel where it shrinks by more than 1.5, else interpolated."""
    n_in = len(line)
    if n_in / n_out > 1.5:
        steps = np.interp(np.arange(n_out + 1) * n_in / n_out, np.arange(n_in + 1), np.cumsum([0.0, *line]))
        return np.diff(steps) * n_out / n_in
    return np.interp((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, np.arange(n_in), line)


def reference(array, shape):
    for axis, side in enumerate(shape, start=1):
        array = np.apply_along_axis(slow, axis, array, side)
    return array


def cut(array, sizes):
    """Bands of an array in one buffer that each overwrites, with what the last left behind spoilt."""
    buffer, top = np.empty_like(array), 0
    for size in itertools.cycle(sizes):
        if top >= array.shape[1]:
            return
        buffer[:] = np.nan
        band = buffer[:, : min(size, array.shape[1] - top)]
        band[:] = array[:, top : top + size]
        yield band
        top += size


@FEW
@given(data=st.data(), rank=st.integers(2, 3))
def test_images_equal_a_slow_reference(data, rank):
    before, after = (tuple(data.draw(SIDES) for _ in range(rank)) for _ in "ab")
    array = np.random.default_rng(0).random((2, *before)).astype(np.float32)
    found = resample_image(array, after)
    assert found.dtype == np.float32
    assert found.shape == (2, *after)
    assert np.allclose(found, reference(array.astype(np.float64), after), atol=1e-6)


@pytest.mark.parametrize("after", [(26, 34, 38), (9, 17, 40), (13, 12, 19)])
def test_images_equal_skimage(after):
    array = np.random.default_rng(0).random((13, 17, 19)).astype(np.float32)
    expected = resize(array, after, order=1, mode="edge", anti_aliasing=False)
    assert np.allclose(resample_image(array[None], after)[0], expected, atol=1e-6)


@FEW
@given(data=st.data(), rank=st.integers(2, 3), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_bands_are_the_whole_however_they_are_cut(data, rank, sizes):
    before, after = (tuple(data.draw(SIDES) for _ in range(rank)) for _ in "ab")
    array = np.random.default_rng(0).random((3, *before)).astype(np.float32)
    patch = pytest.MonkeyPatch()
    patch.setattr(resample, "BLOCK", 64)  # several bands a piece
    with patch.context():
        found = np.concatenate([band.copy() for band in resample_bands(cut(array, sizes), before, after)], axis=1)
    patch.undo()
    assert np.allclose(found, resample_image(array, after), atol=1e-6)


def test_bands_hold_no_more_than_a_few_slices():
    finished = list(resample_bands(iter([np.zeros((2, 20, 600, 500), np.float32)]), (20, 600, 500), (50, 700, 500)))
    assert {band.shape for band in finished} == {(2, 1, 700, 500)}
    asked = []

    def bands():
        for number in range(40):
            asked.append(number)
            yield np.full((1, 1, 4, 4), number, np.float32)

    answer = resample_bands(bands(), (40, 4, 4), (80, 400, 400))
    for number in range(80):
        next(answer)
        assert asked[-1] <= number // 2 + 1


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float64])
def test_types_stay_and_keep_their_range(kind):
    rng = np.random.default_rng(1)
    top = 1 if kind == np.bool_ else np.iinfo(kind).max if np.dtype(kind).kind in "iu" else 1000
    array = (rng.random((2, 5, 6, 7)) > 0.5) * np.array(top, kind)
    for shape in ((10, 3, 9), (2, 6, 14)):
        found = resample_image(array.astype(kind), shape)
        exact = reference(array.astype(np.float64), shape)
        assert found.dtype == kind
        assert found.min() >= 0
        assert np.allclose(found, exact, rtol=1e-3, atol=0.5001 if np.dtype(kind).kind in "biu" else 0.5)
    assert resample_image(array, (5, 6, 7)) is array


def test_a_linear_ramp_keeps_its_place():
    ramp = np.arange(40, dtype=np.float64)
    volume = np.broadcast_to(ramp[:, None, None], (40, 8, 8))[None]
    for depth in (10, 20, 30, 60, 100):
        expected = (np.arange(depth) + 0.5) * 40 / depth - 0.5
        inner = (expected > 0) & (expected < 39)
        assert np.allclose(resample_image(volume, (depth, 4, 12))[0, inner, 2, 5], expected[inner])


def test_shrinking_averages_what_would_alias():
    checks = (np.indices((12, 12, 12)).sum(axis=0) % 2).astype(np.float32)[None]
    for shape in ((6, 6, 6), (12, 6, 12), (4, 12, 12)):
        assert abs(resample_image(checks, shape) - 0.5).max() < 0.17


@FEW
@given(data=st.data(), rank=st.integers(2, 3))
def test_labels_take_the_nearest_pixel(data, rank):
    before, after = (tuple(data.draw(SIDES) for _ in range(rank)) for _ in "ab")
    label = np.random.default_rng(2).integers(0, 255, before).astype(np.uint8)
    places = [
        np.floor((np.arange(new) + 0.5) * old / new + 1e-9).astype(int) for old, new in zip(before, after, strict=True)
    ]
    assert np.array_equal(resample_label(label, after), label[np.ix_(*places)])


def test_labels_and_images_lie_on_one_grid():
    field = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((24, 30, 36)), 3).astype(np.float32)
    label = (field > 0).astype(np.uint8)
    for shape in ((40, 50, 60), (12, 30, 20)):
        agree = (resample_image(field[None], shape)[0] > 0) == resample_label(label, shape)
        assert agree.mean() > 0.95
        there = resample_label(resample_label(label, tuple(2 * side for side in label.shape)), label.shape)
        assert np.array_equal(there, label)


@FEW
@given(planes=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_running_maximum_is_argmax(planes, seed):
    values = np.random.default_rng(seed).integers(0, 4, (planes, 7, 9)).astype(np.float32)  # with many equal ones
    kept = values.copy()
    assert np.array_equal(running_argmax(values), values.argmax(axis=0))
    out = np.full((7, 9), 9, np.uint8)
    assert running_argmax(values, out) is out
    assert np.array_equal(out, values.argmax(axis=0))
    assert np.array_equal(values, kept)


def test_working_sizes():
    assert working_shape_of((155, 240, 240), (1.0, 1.0, 1.0), ()) == (155, 240, 240)
    assert working_shape_of((20, 512, 512), (5.0, 0.7, 0.7), (2.5, 1.4, 1.4)) == (40, 256, 256)
    assert working_shape_of((1, 3), (1.0, 1.0), (10.0, 2.0)) == (1, 2)
    with pytest.raises(InputError, match="without spacing cannot be brought to spacing"):
        working_shape_of((4, 4, 4), None, (1.0, 1.0, 1.0))
    with pytest.raises(ConfigError, match="needs 2 numbers, one an axis"):
        working_shape_of((4, 4), (1.0, 1.0), (1.0, 1.0, 1.0))
