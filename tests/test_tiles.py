"""Tiling: what goes in comes out, whatever the sizes; nothing is left uncovered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.errors import ConfigError
from catenary.predict.tiles import Tiling, blend, gaussian, in_memory, pad_to

sides = st.integers(1, 90)


def tiled(image, tiling, answer=lambda tiles: tiles.astype(np.float32), batch=3):
    rows = in_memory(pad_to(image, tiling.shape), tiling)
    bands = blend(answer, rows, tiling, logits=len(image), batch=batch)
    return np.concatenate([band.copy() for band in bands], axis=1)


@settings(max_examples=80, deadline=None)
@given(height=sides, width=sides, tile=st.integers(4, 48), overlap=st.integers(0, 40), multiple=st.sampled_from([1, 4]))
def test_an_identity_network_gives_the_image_back(height, width, tile, overlap, multiple):
    image = np.random.default_rng(height * 97 + width).random((2, height, width)).astype(np.float32)
    tiling = Tiling.of((height, width), tile=(tile, tile), overlap=overlap, multiple=multiple)
    found = tiled(image, tiling)[:, :height, :width]
    np.testing.assert_allclose(found, image, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, halo=st.integers(1, 8), multiple=st.sampled_from([1, 2, 4]))
def test_halo_mode_gives_the_image_back_too(height, width, halo, multiple):
    image = np.random.default_rng(height + width).random((1, height, width)).astype(np.float32)
    tiling = Tiling.of((height, width), tile=(40, 40), halo=halo, multiple=multiple)
    np.testing.assert_allclose(tiled(image, tiling)[:, :height, :width], image, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(16, 400), tile=st.integers(16, 128), overlap=st.integers(0, 120))
def test_tiles_cover_everything_and_start_on_the_grid(size, tile, overlap):
    tiling = Tiling.of((size, size), tile=(tile, tile), overlap=overlap, multiple=8)
    starts, length = tiling.starts(0), tiling.tile[0]
    covered = np.zeros(tiling.shape[0], int)
    for start in starts:
        assert start % 8 == 0
        covered[start : start + length] += 1
    assert covered.min() >= 1
    assert len(covered) >= size
    assert (tiling.sums[0] > 0).all()


def test_a_halo_of_the_field_of_view_gives_the_whole_images_answer():
    """A 5x5 mean sees 2 pixels aside: with a halo of 2 tiles agree with the whole image, without they do not."""

    def mean(tiles):
        padded = np.pad(tiles.astype(np.float32), [(0, 0), (0, 0), (2, 2), (2, 2)])
        return (
            sum(padded[:, :, i : i + tiles.shape[2], j : j + tiles.shape[3]] for i in range(5) for j in range(5)) / 25
        )

    image = np.random.default_rng(0).random((1, 70, 60)).astype(np.float32)
    whole = mean(image[None])[0]
    with_halo = tiled(image, Tiling.of((70, 60), tile=(24, 24), halo=2), mean)
    without = tiled(image, Tiling.of((70, 60), tile=(24, 24), overlap=0), mean)
    np.testing.assert_allclose(with_halo, whole, atol=1e-5)
    assert np.abs(without - whole).max() > 0.05


def test_bands_hold_little_memory():
    """Rows are handed on as soon as they are finished: no band is taller than a tile."""
    image = np.zeros((1, 400, 50), np.uint8)
    tiling = Tiling.of((400, 50), tile=(32, 32), overlap=16)
    bands = blend(lambda tiles: tiles.astype(np.float32), in_memory(image, tiling), tiling, logits=1)
    heights = [band.shape[1] for band in bands]
    assert sum(heights) == 400
    assert max(heights) <= 32


def test_gaussian_is_symmetric_and_positive():
    for size in (1, 2, 7, 256):
        weights = gaussian(size)
        assert (weights > 0).all()
        np.testing.assert_allclose(weights, weights[::-1], rtol=1e-5)


def test_a_halo_that_eats_the_tile_is_refused():
    with pytest.raises(ConfigError, match=r"predict\.tile"):
        Tiling.of((100, 100), tile=(32, 32), halo=16)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(40, 200), overlap=st.integers(0, 28), first=st.integers(0, 20))
def test_a_part_of_the_bands_has_the_bytes_of_the_whole(height, overlap, first):
    image = np.random.default_rng(height).random((2, height, 50)).astype(np.float32)
    tiling = Tiling.of((height, 50), tile=(32, 32), overlap=overlap)
    rows = in_memory(pad_to(image, tiling.shape), tiling)

    def run(**part):
        return [band.copy() for band in blend(lambda t: np.sqrt(t), rows, tiling, logits=2, batch=3, **part)]

    first = min(first, len(tiling.starts(0)) - 1)
    for part, whole in zip(run(first=first, last=first + 2), run()[first : first + 2], strict=True):
        np.testing.assert_array_equal(part, whole)


def test_tiles_without_data_are_not_asked_and_answer_nothing():
    image = np.ones((1, 96, 96), np.float32)
    valid = np.zeros((96, 96), bool)
    valid[40:60, 70:90] = True
    tiling = Tiling.of((96, 96), tile=(32, 32), overlap=0)
    asked = []

    def answer(tiles):
        asked.append(len(tiles))
        return tiles

    bands = blend(answer, lambda top: (image[:, top : top + 32], valid[top : top + 32]), tiling, logits=1)
    found = np.concatenate([band.copy() for band in bands], axis=1)
    assert sum(asked) == 1
    assert (found[0, 32:64, 64:] == 1).all()
    assert found.sum() == 32 * 32
