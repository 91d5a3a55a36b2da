"""Where tiles lie and how their answers become one."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.errors import ConfigError
from catenary.predict.tiles import Tiling, blend, gaussian, pad_to

SIDES = st.integers(1, 150)
MULTIPLES = st.sampled_from([1, 4, 16])
OVERLAPS = st.floats(0, 0.9)


@st.composite
def tilings(draw, halo=st.just(0)):
    ring = draw(halo)
    tile = draw(st.tuples(*[st.integers(2 * ring + 1 + (31 if ring else 0), 96)] * 2))
    return {
        "shape": draw(st.tuples(SIDES, SIDES)),
        "tile": tile,
        "overlap": draw(OVERLAPS),
        "halo": ring,
        "multiple": draw(MULTIPLES),
    }


def blended(image, tiling, answer=lambda tiles: tiles.astype(np.float32), batch=3):
    """All bands below each other, copied as they come, for a buffer may be used again."""
    return np.concatenate([band.copy() for band in blend(answer, image, tiling, batch=batch)], axis=1)


@given(tilings())
@settings(deadline=None)
def test_tiles_cover_the_image_lie_within_it_and_start_on_the_pooling_grid(cut):
    tiling = Tiling.of(**cut)
    for axis in (0, 1):
        starts, tile, size = tiling.starts(axis), tiling.tile[axis], tiling.shape[axis]
        assert starts[0] == 0
        assert starts[-1] + tile == size
        assert all(0 < b - a <= tile for a, b in zip(starts, starts[1:], strict=False))
        assert all(start % tiling.multiple == 0 for start in starts)


@given(tilings())
@settings(deadline=None)
def test_weights_are_positive_everywhere(cut):
    tiling = Tiling.of(**cut)
    for axis in (0, 1):
        assert tiling.weights(axis).min() > 0
        assert tiling.sums[axis].min() > 0


def test_weights_are_highest_in_the_middle_and_symmetric():
    weights = gaussian(65)
    assert weights.argmax() == 32
    np.testing.assert_array_equal(weights, weights[::-1])
    assert (np.diff(weights[:33]) >= 0).all()


@given(tilings(), st.integers(1, 5), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_a_network_that_changes_nothing_gives_the_image_back(cut, batch, seed):
    tiling = Tiling.of(**cut)
    image = np.random.default_rng(seed).uniform(-1, 1, (2, *tiling.shape)).astype(np.float32)
    np.testing.assert_allclose(blended(image, tiling, batch=batch), image, rtol=0, atol=1e-6)


@given(tilings(halo=st.sampled_from([1, 5, 16])), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_the_same_with_a_halo(cut, seed):
    tiling = Tiling.of(**cut)
    image = np.random.default_rng(seed).uniform(-1, 1, (1, *tiling.shape)).astype(np.float32)
    np.testing.assert_allclose(blended(image, tiling), image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(200, 40), (40, 200), (200, 200), (40, 40)])
def test_an_answer_whose_buffer_is_used_again_is_not_lost(shape):
    """Engines hand out the memory that their next answer overwrites."""
    tiling = Tiling.of(shape, tile=(64, 64), overlap=0.5, multiple=4)
    image = np.random.default_rng(0).uniform(-1, 1, (2, *tiling.shape)).astype(np.float32)
    buffer = np.empty((8, 2, *tiling.tile), np.float32)

    def answer(tiles):
        buffer[: len(tiles)] = tiles
        return buffer[: len(tiles)]

    np.testing.assert_allclose(blended(image, tiling, answer), image, rtol=0, atol=1e-6)


def test_a_halo_keeps_what_tile_borders_do_out_of_the_answer():
    """A network that spoils the outer ring of every tile; only the image's own border may show it."""
    ring, image = 5, np.ones((1, 160, 192), np.float32)

    def spoil(tiles):
        found = np.zeros_like(tiles)
        found[..., ring:-ring, ring:-ring] = 1
        return found

    found = blended(image, Tiling.of((160, 192), tile=(64, 64), halo=ring, multiple=4), spoil)
    assert (found[:, ring:-ring, ring:-ring] == 1).all()
    assert (found[:, :ring] == 0).all()
    assert (blended(image, Tiling.of((160, 192), tile=(64, 64), overlap=0.25, multiple=4), spoil)[0, 20:-20] < 1).any()


def test_a_halo_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"halo of 32 px.*more than 64"):
        Tiling.of((300, 300), tile=(64, 64), halo=30, multiple=16)
    Tiling.of((64, 64), tile=(64, 64), halo=30, multiple=16)  # one tile has no inner border


def test_bands_add_up_and_none_is_larger_than_a_tile():
    tiling = Tiling.of((300, 200), tile=(64, 64), overlap=0.25, multiple=8)
    bands = [band.shape for band in blend(lambda t: t, np.zeros((1, *tiling.shape), np.float32), tiling)]
    assert sum(shape[1] for shape in bands) == 304
    assert max(shape[1] for shape in bands) <= 64


def test_memory_does_not_grow_with_the_height():
    peaks = []
    for height in (256, 4096):
        tiling = Tiling.of((height, 256), tile=(64, 64), overlap=0.25, multiple=8)
        image = np.zeros((1, *tiling.shape), np.uint8)
        tracemalloc.start()
        for _ in blend(lambda tiles: np.zeros((len(tiles), 4, 64, 64), np.float32), image, tiling):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 4096 * 64


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_padding_mirrors_below_and_to_the_right(shape, more):
    image = np.arange(np.prod(shape), dtype=np.int32).reshape(1, *shape)
    wanted = (shape[0] + more[0], shape[1] + more[1])
    padded = pad_to(image, wanted)
    assert padded.shape[1:] == wanted
    np.testing.assert_array_equal(padded[:, : shape[0], : shape[1]], image)
    if shape[0] > 1:
        np.testing.assert_array_equal(padded[0, shape[0], : shape[1]], image[0, -2])


def test_a_single_pixel_is_repeated():
    assert (pad_to(np.full((1, 1, 1), 7, np.uint8), (5, 3)) == 7).all()
