"""Published quantities against geometry that is known, hand-made cases and slow references."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

import catenary
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.measures import MEASURES, QUANTITIES, Quantity, measure_all, registry, with_error, with_errors
from catenary.measures.chords import chord_distribution, chords, mean_chord, mean_intercept
from catenary.measures.correlation import correlation_length, radial, two_point
from catenary.measures.curves import Curve, average, microstructure_curves
from catenary.measures.interfaces import boundary_length, crofton_weights, interfaces, triple_lines, triple_points
from catenary.measures.lesion import colour_spread, shape_of
from catenary.measures.microstructure import phase_fractions
from catenary.types import IGNORE, Grid

SMALL = settings(max_examples=40, deadline=None)
THREE = LabelSet(names=("pore", "ceramic", "metal"))
SKIN = LabelSet(names=("skin", "lesion"))


def label_maps(values=(0, 1, 2, IGNORE), dims=(2, 3), side=6):
    """Small label maps, slices and volumes, with unknown pixels."""
    shapes = array_shapes(min_dims=dims[0], max_dims=dims[1], min_side=1, max_side=side)
    return shapes.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from(values)))


def ball(shape, centre, radius, spacing=None):
    steps = spacing or (1.0,) * len(shape)
    apart = [(np.arange(side) - middle) * step for side, middle, step in zip(shape, centre, steps, strict=True)]
    return sum(np.square(line) for line in np.meshgrid(*apart, indexing="ij")) <= radius**2


def blobs(seed, shape, sigma=4.0):
    """Three phases of isotropic material."""
    rng = np.random.default_rng(seed)
    a, b = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap") for _ in "ab")
    return ((a > np.quantile(a, 0.3)) * (1 + (b > np.quantile(b, 0.5)))).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------- fractions


def test_fractions_count_known_pixels_only():
    mask = np.array([[0, 1, 1, 2], [IGNORE, 2, 2, 2]], np.uint8)
    assert phase_fractions(mask, 3).tolist() == [1 / 7, 2 / 7, 4 / 7]
    valid = np.array([[True, True, False, False], [True, False, False, True]])
    assert phase_fractions(mask, 3, valid=valid).tolist() == [1 / 3, 1 / 3, 1 / 3]
    assert np.isnan(phase_fractions(np.full((2, 2), IGNORE, np.uint8), 3)).all()


@pytest.mark.parametrize(
    ("mask", "valid", "told"),
    [
        (np.array([[0, 3]], np.uint8), None, "labels must be 0 to 2 or 255, found 3"),
        (np.zeros(4, np.uint8), None, r"found shape \(4,\)"),
        (np.zeros((2, 0), np.uint8), None, "found shape"),
        (np.zeros((2, 2), np.uint8), np.ones((2, 3), bool), r"found \(2, 3\)"),
    ],
)
def test_bad_label_maps_are_refused(mask, valid, told):
    with pytest.raises(InputError, match=told):
        phase_fractions(mask, 3, valid=valid)


# ---------------------------------------------------------------------------------------------------- interfaces


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 2.0), (0.3, 0.2)])
def test_crofton_weights_measure_lines_of_all_directions_right_on_average(spacing):
    turns = np.linspace(0, math.pi, 3600, endpoint=False)
    normals = np.stack([np.cos(turns), np.sin(turns)], 1)
    # How often the lines of one step cross a straight interface of length 1: |n.v| lines over each pixel's area.
    found = sum(
        weight * abs(normals @ np.multiply(step, spacing)) / math.prod(spacing)
        for step, weight in crofton_weights(spacing)
    )
    assert found.mean() == pytest.approx(1, abs=1e-3)
    assert abs(found - 1).max() < (0.015 if spacing == (1.0, 1.0) else 0.06)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
def test_crofton_weights_measure_planes_of_all_directions_right_on_average(spacing):
    normals = np.random.default_rng(0).standard_normal((100_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    found = sum(
        weight * abs(normals @ np.multiply(step, spacing)) / math.prod(spacing)
        for step, weight in crofton_weights(spacing)
    )
    assert found.mean() == pytest.approx(1, abs=1e-3)
    assert abs(found - 1).max() < (0.075 if len(set(spacing)) == 1 else 0.13)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.5), (2.0, 1.0)])
@pytest.mark.parametrize("radius", [6, 10, 20, 40])
def test_circles_have_their_length(radius, spacing):
    rng, errors = np.random.default_rng(0), []
    shape = tuple(math.ceil(2 * radius / step) + 6 for step in spacing)
    for _ in range(10):
        centre = [side / 2 + shift for side, shift in zip(shape, rng.uniform(-1, 0, 2), strict=True)]
        mask = ball(shape, centre, radius, spacing).astype(np.uint8)
        errors.append(interfaces(mask, 2, spacing=spacing)[0, 1] / (2 * math.pi * radius) - 1)
    assert abs(np.mean(errors)) < 0.01
    assert np.max(np.abs(errors)) < (0.02 if len(set(spacing)) == 1 and radius > 6 else 0.04)


@pytest.mark.parametrize(("spacing", "radius"), [(None, 8), (None, 16), ((2.0, 1.0, 1.0), 16)])
def test_spheres_have_their_area(spacing, radius):
    shape = tuple(math.ceil(2 * radius / step) + 5 for step in spacing or (1, 1, 1))
    mask = ball(shape, [side / 2 - 0.3 for side in shape], radius, spacing).astype(np.uint8)
    assert interfaces(mask, 2, spacing=spacing)[0, 1] == pytest.approx(4 * math.pi * radius**2, rel=0.02)


def test_interfaces_end_at_the_border_and_at_unknown_pixels():
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 17:] = 1
    whole = interfaces(mask, 2)[0, 1]
    assert whole == pytest.approx(30, rel=0.015)
    assert interfaces(mask[:10], 2)[0, 1] == pytest.approx(whole / 3)
    valid = np.ones(mask.shape, bool)
    valid[10:20] = False
    assert interfaces(mask, 2, valid=valid)[0, 1] == pytest.approx(whole * 2 / 3)
    hidden = mask.copy()
    hidden[:, 10:25] = IGNORE
    assert interfaces(hidden, 2)[0, 1] == 0


def test_interfaces_are_told_apart_by_pair():
    mask = blobs(0, (60, 70))
    table = interfaces(mask, 3)
    assert (table == table.T).all()
    assert table.diagonal().tolist() == [0, 0, 0]
    merged = interfaces((mask > 0).astype(np.uint8), 2)[0, 1]
    assert table[0, 1] + table[0, 2] == pytest.approx(merged)


@SMALL
@given(mask=label_maps(values=(0, 1, 2)))
def test_interfaces_do_not_depend_on_the_axes_order(mask):
    one = interfaces(mask, 3)
    assert np.allclose(one, interfaces(np.ascontiguousarray(mask.T), 3))
    assert np.allclose(one, interfaces(np.flip(mask).copy(), 3))
    assert np.allclose(interfaces(mask, 3, spacing=(0.5,) * mask.ndim), one * 0.5 ** (mask.ndim - 1))


def test_the_outline_of_a_mask_runs_along_the_image_border():
    # A square's sides along the axes come out 1.5 % short, corners are cut.
    assert boundary_length(np.ones((50, 50), bool)) == pytest.approx(200, rel=0.03)


# ---------------------------------------------------------------------------------------------------- junctions


def test_a_junction_counts_once_however_ragged():
    mask = np.array(
        [
            [0, 0, 0, 1, 1],
            [0, 0, 1, 1, 1],
            [0, 2, 2, 1, 1],
            [2, 2, 2, 2, 1],
        ],
        np.uint8,
    )
    # Three corners see all three phases, and they touch.
    (points,) = triple_points(mask, 3).points.values()
    assert points.shape == (1, 2)
    assert triple_points(mask, 3).examined == 12
    # Two corners that touch by their own corner.
    askew = np.array([[1, 2, 2], [0, 1, 2], [0, 0, 0]], np.uint8)
    assert triple_points(askew, 3).points[0, 1, 2].tolist() == [[1.0, 1.0]]


def test_triple_points_by_hand():
    mask = np.zeros((20, 30), np.uint8)
    mask[:, 10:], mask[:10, 10:] = 1, 2
    mask[:10, 20:] = 0
    found = triple_points(mask, 3).points
    assert list(found) == [(0, 1, 2)]
    assert found[0, 1, 2].tolist() == [[9.5, 9.5], [9.5, 19.5]]
    hidden = mask.copy()
    hidden[10, 20] = IGNORE
    assert triple_points(hidden, 3).points[0, 1, 2].tolist() == [[9.5, 9.5]]
    assert triple_points(hidden, 3).examined == 19 * 29 - 4


def test_four_phases_meeting_are_four_triples():
    mask = np.array([[0, 1], [2, 3]], np.uint8)
    found = triple_points(mask, 4).points
    assert list(found) == list(itertools.combinations(range(4), 3))
    assert all(points.tolist() == [[0.5, 0.5]] for points in found.values())


def test_triple_lines_have_the_length_of_tilted_circles():
    rng, errors = np.random.default_rng(3), []
    for _ in range(30):
        radius, shape = 12, (32, 32, 32)
        centre = 15.5 + rng.uniform(-0.5, 0.5, 3)
        normal = rng.standard_normal(3)
        places = np.indices(shape) - centre[:, None, None, None]
        mask = (np.tensordot(normal, places, 1) > 0).astype(np.uint8)
        mask[ball(shape, centre, radius)] = 2
        errors.append(triple_lines(mask, 3)[0, 1, 2][0] / (2 * math.pi * radius) - 1)
    assert np.mean(errors) == pytest.approx(0.03, abs=0.03)


def test_triple_lines_respect_the_spacing():
    mask = np.zeros((6, 8, 10), np.uint8)
    mask[:, 4:], mask[:, 4:, 5:] = 1, 2
    length, density = triple_lines(mask, 3, spacing=(3.0, 0.5, 0.25))[0, 1, 2]
    assert length == pytest.approx(6 * 3.0 / 1.5)
    assert density == pytest.approx(2 / 3 / (7 * 9 * 0.5 * 0.25))
    assert math.isnan(triple_lines(mask[:1], 3)[0, 1, 2][1])


def test_slices_tell_what_the_volume_has():
    volume = blobs(1, (72, 72, 72))
    grid = Grid()
    solid = measure_all("microstructure", volume, THREE, grid)
    slices = [
        measure_all("microstructure", np.ascontiguousarray(np.moveaxis(volume, axis, 0)[place]), THREE, grid)
        for axis in range(3)
        for place in range(4, 72, 12)
    ]
    for name in ("specific_surface ceramic-metal", "specific_surface pore", "triple_line_density pore-ceramic-metal"):
        assert np.mean([rows[name].value for rows in slices]) == pytest.approx(solid[name].value, rel=0.05), name


# ---------------------------------------------------------------------------------------------------- chords


def slow_chords(mask, axis):
    found = []
    for line in np.moveaxis(mask, axis, -1).reshape(-1, mask.shape[axis]):
        place = 0
        for value, run in itertools.groupby(line.tolist()):
            size = len(list(run))
            before = place == 0 or line[place - 1] == IGNORE
            place += size
            after = place == len(line) or line[place] == IGNORE
            if value != IGNORE:
                found.append((value, size, int(before) + int(after)))
    return found


@SMALL
@given(mask=label_maps(side=8))
def test_chords_equal_a_slow_reference(mask):
    for axis in range(mask.ndim):
        assert list(zip(*(part.tolist() for part in chords(mask, 3, axis)), strict=True)) == slow_chords(mask, axis)


def test_chords_by_hand():
    line = np.array([[1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1]], np.uint8)
    found = chords(line, 2, 1)
    assert chord_distribution(found, 1).tolist() == [0, 0, 1, 0, 1]
    assert mean_chord(found, 1) == 3
    assert mean_chord(found, 0) == 1
    # Ten pixels of phase 1, six ends within the image; the other axis has no end.
    assert mean_intercept([found], 1, spacing=(0.5,)) == pytest.approx(0.5 * 10 / 3)
    assert mean_intercept([chords(line, 2, 0), found], 1) == pytest.approx(2 * 10 / 3)
    assert math.isnan(mean_chord(chords(np.ones((3, 3), np.uint8), 2, 0), 1))
    assert math.isnan(mean_intercept([chords(np.ones((3, 3), np.uint8), 2, axis) for axis in (0, 1)], 1))


def test_mean_intercept_has_no_bias_from_the_border():
    mask = blobs(2, (64, 2048), sigma=5.0)
    whole = mean_intercept([chords(mask, 3, axis) for axis in (0, 1)], 1)
    windows = [mask[:, start : start + 32] for start in range(0, 2048, 32)]
    pieces = [[chords(piece, 3, axis) for axis in (0, 1)] for piece in windows]
    lengths, ends = (
        sum(
            float(f(one.length, one.cut)[one.phase == 1].sum()) for one in (piece[1] for piece in pieces)
        )
        for f in (lambda length, cut: length, lambda length, cut: 2.0 - cut)
    )  # fmt: skip
    assert 2 * lengths / ends == pytest.approx(mean_intercept([chords(mask, 3, 1)], 1), rel=0.05)
    assert np.nanmean([mean_chord(piece[1], 1) for piece in pieces]) < 0.8 * whole


# ---------------------------------------------------------------------------------------------------- correlation


def slow_two_point(first, second, valid, periodic, reach):
    shape = np.array(first.shape)
    hits, pairs = (np.zeros([2 * lag + 1 for lag in reach], int) for _ in "ab")
    for lag in itertools.product(*(range(-far, far + 1) for far in reach)):
        for place in itertools.product(*map(range, shape)):
            other = np.add(place, lag)
            if periodic:
                other %= shape
            elif (other < 0).any() or (other >= shape).any():
                continue
            if valid[place] and valid[tuple(other)]:
                pairs[tuple(np.add(lag, reach))] += 1
                hits[tuple(np.add(lag, reach))] += first[place] and second[tuple(other)]
    return hits, pairs


@settings(max_examples=25, deadline=None)
@given(mask=label_maps(side=5), periodic=st.booleans(), cross=st.booleans(), hidden=st.booleans())
def test_two_point_correlation_equals_a_slow_reference(mask, periodic, cross, hidden):
    valid = np.roll(mask, 1) != IGNORE if hidden else np.ones(mask.shape, bool)
    first, second = mask == 1, mask == (2 if cross else 1)
    reach = tuple(side // 2 if periodic else side - 1 for side in mask.shape)
    found = two_point(first, second if cross else None, valid=valid if hidden else None, periodic=periodic, reach=reach)
    hits, pairs = slow_two_point(first & valid, second & valid, valid, periodic, reach)
    assert np.array_equal(found.hits, hits)
    assert np.array_equal(found.pairs, pairs)
    again = two_point(
        first, second if cross else None, valid=valid if hidden else None, periodic=periodic, reach=reach, pairs=pairs
    )
    assert np.array_equal(again.hits, hits)


def test_correlation_starts_at_the_fraction_and_tends_to_its_square():
    mask = blobs(4, (300, 310), sigma=3.0)
    for phase, fraction in enumerate(phase_fractions(mask, 3)):
        curve = radial(two_point(mask == phase, reach=(100, 100)))
        assert curve.value[0] == fraction
        assert curve.distance[0] == 0
        assert curve.value[60:].mean() == pytest.approx(fraction**2, abs=0.01)
    crossed = radial(two_point(mask == 0, mask == 1))
    assert crossed.value[0] == 0
    assert crossed.value[60:].mean() == pytest.approx((mask == 0).mean() * (mask == 1).mean(), abs=0.01)


def test_the_correlation_falls_as_the_interface_density_says():
    mask = blobs(5, (400, 400), sigma=8.0) > 0
    correlation = two_point(mask).value
    middle = correlation.shape[0] // 2
    # Debye: the mean slope at 0 over directions is minus the interface density over pi.
    slope = np.mean([correlation[middle + 1, middle], correlation[middle, middle + 1]]) - correlation[middle, middle]
    density = interfaces(mask.astype(np.uint8), 2)[0, 1] / mask.size
    assert -math.pi * slope == pytest.approx(density, rel=0.05)  # two directions stand for all


def test_radial_average_respects_the_spacing():
    mask = blobs(6, (96, 96), sigma=4.0)
    fine = radial(two_point(mask == 1), spacing=(0.5, 0.5))
    assert np.allclose(fine.distance, radial(two_point(mask == 1)).distance / 2)
    stretched = np.repeat(mask, 2, axis=1)
    curve = radial(two_point(stretched == 1), spacing=(1.0, 0.5))
    assert np.interp(5.0, curve.distance, curve.value) == pytest.approx(
        np.interp(10.0, fine.distance * 4, fine.value), rel=0.02
    )
    assert curve.distance.max() <= 24


def test_correlation_length_of_known_curves():
    decay = np.arange(60.0)
    curve = radial(two_point(np.eye(4, dtype=bool)))._replace(
        distance=decay, value=0.09 + 0.21 * np.exp(-decay / 12.5), pairs=np.ones(60, int)
    )
    assert correlation_length(curve) == pytest.approx(12.5, abs=0.01)
    assert math.isnan(correlation_length(curve._replace(value=np.full(60, 0.3))))
    for plane in (np.zeros((9, 9), bool), np.ones((9, 9), bool)):
        assert math.isnan(correlation_length(radial(two_point(plane))))


@pytest.mark.parametrize("reach", [(3,), (8, 0), (-1, 2)])
def test_a_reach_that_does_not_fit_is_refused(reach):
    with pytest.raises(InputError, match="reach needs one lag an axis"):
        two_point(np.ones((8, 8), bool), reach=reach)


# ---------------------------------------------------------------------------------------------------- errors


def test_errors_by_hand():
    pairs = [(10.0, 12.0), (20.0, 21.0), (None, 3.0), (30.0, 33.0), (5.0, math.nan)]
    found = with_error(15.0, pairs)
    half = 4.302653 * 1.0 * math.sqrt(1 + 1 / 3)  # Student's t with 2 degrees of freedom; the errors are 2, 1, 3
    assert (found.cases, found.bias, found.corrected) == (3, 2.0, 13.0)
    assert found.rmse == pytest.approx(math.sqrt(14 / 3))
    assert (found.low, found.high) == pytest.approx((13 - half, 13 + half), rel=1e-6)
    many = with_error(15.0, pairs, images=4)
    assert many.high - 13 == pytest.approx(half * math.sqrt((1 / 4 + 1 / 3) / (1 + 1 / 3)))
    assert with_error(15.0, pairs, bounds=(0.0, 14.0)).high == 14.0


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        truth = rng.uniform(0, 10, 8)
        seen = truth + rng.normal(0.5, 0.3, 8)
        found = with_error(seen[0], zip(truth[1:].tolist(), seen[1:].tolist(), strict=True), level=0.9)
        hits += found.low <= truth[0] <= found.high
    assert hits / 1000 == pytest.approx(0.9, abs=0.03)


def test_logarithmic_errors_are_ratios():
    found = with_error(50.0, [(10.0, 20.0), (1.0, 2.0), (3.0, 6.0), (0.0, 1.0)], scale="log")
    assert (found.corrected, found.low, found.high, found.cases) == (
        pytest.approx(25), pytest.approx(25), pytest.approx(25), 3
    )  # fmt: skip
    with pytest.raises(InputError, match="above 0, found 0"):
        with_error(0.0, [(1.0, 2.0)], scale="log")


def test_groups_stand_in_for_images():
    pairs = [(0.0, 1.0), (0.0, 1.2), (0.0, 3.0), (0.0, 3.2)]
    alone, grouped = with_error(5.0, pairs), with_error(5.0, pairs, groups=["a", "a", "b", "b"])
    assert grouped.low < alone.low < alone.high < grouped.high
    assert with_error(5.0, pairs, groups=["a"] * 4).low is None
    with pytest.raises(InputError, match="4 validation pairs but 1 groups"):
        with_error(5.0, pairs, groups=["a"])


def test_errors_without_enough_images():
    assert with_error(1.0, []).bias is None
    one = with_error(1.0, [(1.0, 1.5)])
    assert (one.bias, one.rmse, one.corrected, one.low) == (0.5, 0.5, 0.5, None)
    nothing = with_error(None, [(1.0, 1.5), (1.0, 1.6)])
    assert (nothing.value, nothing.corrected, nothing.low) == (None, None, None)
    assert nothing.bias == pytest.approx(0.55)


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"level": 0.0}, {"images": 0}])
def test_bad_settings_of_errors_are_refused(wrong):
    with pytest.raises(ConfigError, match="an error needs a level between 0 and 1"):
        with_error(1.0, [], **wrong)


def test_errors_of_all_rows_at_once():
    masks = [blobs(seed, (48, 48)) for seed in range(4)]
    truths = [measure_all("microstructure", mask, THREE, Grid()) for mask in masks]
    wrong = [
        measure_all("microstructure", np.where(mask == 2, 1, mask).astype(np.uint8), THREE, Grid()) for mask in masks
    ]
    found = with_errors(wrong[0], list(zip(truths[1:], wrong[1:], strict=True)))
    assert found.keys() == truths[0].keys()
    metal = found["phase_fraction metal"]
    assert metal.value == 0
    assert metal.bias == pytest.approx(-np.mean([rows["phase_fraction metal"].value for rows in truths[1:]]))
    assert metal.low <= truths[0]["phase_fraction metal"].value <= metal.high <= 1
    assert found["phase_fraction pore"].rmse == 0
    # Fractions of 0 with errors of either sign: the interval ends at 0.
    either = with_errors(wrong[0], [(truths[1], wrong[1]), (wrong[1], truths[1]), (wrong[2], truths[2])])
    assert either["phase_fraction metal"].low == 0
    assert either["phase_fraction metal"].corrected == 0
    scaled = measure_all("microstructure", masks[0], THREE, Grid(spacing=(2.0, 2.0), unit="um"))
    with pytest.raises(InputError, match="is in 'um', but 'px' in validation"):
        with_errors(scaled, list(zip(truths, wrong, strict=True)))


# ---------------------------------------------------------------------------------------------------- lesions


def blob(turn=0.0, shift=(0.0, 0.0), spacing=(1.0, 1.0), size=200):
    """A smooth lopsided outline about 50 in radius, drawn at any angle, place and pixel size."""
    shape = tuple(math.ceil(size / step) for step in spacing)
    y, x = np.meshgrid(*(np.arange(n) * step - size / 2 for n, step in zip(shape, spacing, strict=True)), indexing="ij")
    y, x = y - shift[0], x - shift[1]
    angle = np.arctan2(y, x) - turn
    reach = 50 * (1 + 0.25 * np.cos(2 * angle) + 0.12 * np.cos(3 * angle + 0.7) + 0.05 * np.cos(7 * angle))
    return np.hypot(y, x) <= reach


SIZES = ("area", "perimeter", "equivalent_diameter", "largest_diameter", "orthogonal_diameter")
RATIOS = ("asymmetry", "asymmetry_long", "asymmetry_short", "asymmetry_least", "solidity", "eccentricity")


@pytest.mark.parametrize("spacing", [None, (0.5, 0.5), (1.0, 1.5)])
@pytest.mark.parametrize("radius", [20, 60])
def test_a_disc_is_round(radius, spacing):
    steps = spacing or (1.0, 1.0)
    shape = tuple(math.ceil(2 * radius / step) + 9 for step in steps)
    disc = shape_of(ball(shape, [side / 2 - 0.3 for side in shape], radius, steps), spacing=spacing)
    assert disc.area == pytest.approx(math.pi * radius**2, rel=0.01)
    for diameter in (disc.equivalent_diameter, disc.largest_diameter, disc.orthogonal_diameter):
        assert diameter == pytest.approx(2 * radius, rel=0.03)
    assert disc.irregularity == pytest.approx(1, abs=0.02)
    assert disc.roughness == pytest.approx(1, abs=0.02)
    assert disc.solidity > 0.97
    assert disc.asymmetry < 0.03
    assert disc.asymmetry_least <= disc.asymmetry
    assert disc.eccentricity < 0.15
    assert (disc.parts, disc.main_share, disc.cut_off) == (1, 1.0, 0)


def test_an_ellipse_has_its_axes():
    y, x = np.mgrid[-60:61, -90:91]
    turn = 0.4
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    found = shape_of((along / 80) ** 2 + (across / 40) ** 2 <= 1)
    assert found.largest_diameter == pytest.approx(160, rel=0.01)
    assert found.orthogonal_diameter == pytest.approx(80, rel=0.02)
    assert found.eccentricity == pytest.approx(math.sqrt(1 - 0.25), abs=0.005)
    assert found.perimeter == pytest.approx(387.51, rel=0.01)  # complete elliptic integral
    assert found.asymmetry < 0.02
    assert found.roughness == pytest.approx(1, abs=0.01)


def test_a_triangle_leaves_a_third_uncovered():
    y, x = np.mgrid[0:240, -70:71]
    found = shape_of(abs(x) <= 60 * (1 - y / 240))  # tall, symmetric about its long axis
    assert found.asymmetry_long < 0.01
    assert found.asymmetry_short == pytest.approx(1 / 3, abs=0.01)
    assert found.asymmetry_least < 0.01
    assert found.asymmetry == pytest.approx(1 / 6, abs=0.01)
    # 240 tall and 120 wide at its foot: the longest line runs up one side.
    assert found.largest_diameter == pytest.approx(math.hypot(240, 60), rel=0.01)


def test_a_square_is_symmetric_about_some_axis():
    plane = np.zeros((60, 60), bool)
    plane[10:50, 10:50] = True
    found = shape_of(plane)
    assert found.asymmetry_least < 0.01
    assert found.largest_diameter == pytest.approx(40 * math.sqrt(2), rel=0.02)


@pytest.mark.parametrize("degrees", [17, 45, 90, 133, 200, 301])
def test_shape_does_not_depend_on_the_angle(degrees):
    upright, turned = shape_of(blob()), shape_of(blob(math.radians(degrees)))
    for name in (*SIZES, "irregularity", "roughness"):
        assert getattr(turned, name) == pytest.approx(getattr(upright, name), rel=0.025), name
    for name in RATIOS:
        assert getattr(turned, name) == pytest.approx(getattr(upright, name), abs=0.02), name
    assert upright.asymmetry > 0.08


def test_shape_does_not_depend_on_the_place():
    plane = blob()
    moved = np.roll(plane, (7, -11), axis=(0, 1))
    assert shape_of(moved) == shape_of(plane)
    part = shape_of(blob(shift=(0.3, 0.6)))
    assert part.asymmetry == pytest.approx(shape_of(plane).asymmetry, abs=0.02)


def test_sizes_scale_with_the_spacing():
    plane = blob()
    one, two = shape_of(plane), shape_of(plane, spacing=(0.25, 0.25))
    for name in SIZES:
        power = 2 if name == "area" else 1
        assert getattr(two, name) == pytest.approx(getattr(one, name) * 0.25**power), name
    for name in (*RATIOS, "irregularity", "roughness"):
        assert getattr(two, name) == pytest.approx(getattr(one, name)), name


def test_pixels_need_not_be_square():
    square, oblong = shape_of(blob(0.5)), shape_of(blob(0.5, spacing=(1.0, 1.6)), spacing=(1.0, 1.6))
    for name in (*SIZES, "irregularity"):
        assert getattr(oblong, name) == pytest.approx(getattr(square, name), rel=0.03), name
    for name in RATIOS:
        assert getattr(oblong, name) == pytest.approx(getattr(square, name), abs=0.03), name


def test_ragged_outlines_are_irregular():
    y, x = np.mgrid[-100:101, -100:101]
    angle = np.arctan2(y, x)
    star = shape_of(np.hypot(y, x) <= 70 * (1 + 0.2 * np.cos(9 * angle)))
    smooth = shape_of(blob())
    assert star.irregularity > 1.5 > smooth.irregularity
    assert star.roughness > 1.1 > smooth.roughness
    assert star.solidity < 0.85 < smooth.solidity


def test_holes_are_filled_and_specks_left_out():
    plane = blob()
    spoilt = plane.copy()
    spoilt[95:105, 95:105] = False
    spoilt[2:4, 2:6] = True
    clean, found = shape_of(plane), shape_of(spoilt)
    assert found.parts == 2
    assert found.main_share == pytest.approx(1 - 8 / spoilt.sum())
    for name in (*SIZES, *RATIOS):
        assert getattr(found, name) == getattr(clean, name), name


def test_lesions_cut_off_by_the_border_are_told():
    plane = np.zeros((9, 9), bool)
    plane[3:6, 3:6] = True
    assert shape_of(plane).cut_off == 0
    for shift, axis in itertools.product((-3, 3), (0, 1)):
        assert shape_of(np.roll(plane, shift, axis=axis)).cut_off == 1
    valid = np.ones((9, 9), bool)
    valid[6, 4] = False
    assert shape_of(plane, valid=valid).cut_off == 1
    assert shape_of(plane, valid=np.roll(valid, 1, axis=0)).cut_off == 0


def test_empty_and_tiny_masks():
    empty = shape_of(np.zeros((5, 5), bool))
    assert (empty.area, empty.perimeter, empty.largest_diameter, empty.parts) == (0.0, 0.0, 0.0, 0)
    assert (empty.asymmetry, empty.irregularity, empty.solidity, empty.cut_off) == (None, None, None, None)
    for shape in ((1, 1), (1, 7), (6, 1)):
        found = shape_of(np.ones(shape, bool))
        assert found.area == math.prod(shape)
        assert found.largest_diameter == pytest.approx(max(shape))
        assert found.asymmetry == 0


def test_colours_spread():
    image = np.full((3, 8, 8), 120, np.uint8)
    plane = np.ones((8, 8), bool)
    assert colour_spread(image, plane) == pytest.approx(0, abs=1e-6)
    image[0, :4] = 200
    spread = colour_spread(image, plane)
    assert spread > 10
    assert colour_spread(image / 255.0, plane) == pytest.approx(spread)
    assert colour_spread(image, plane & (np.arange(8) < 4)[:, None]) == pytest.approx(0, abs=1e-6)
    assert colour_spread(image, ~plane) is None
    with pytest.raises(InputError, match="float colours must lie in 0 to 1, found 120 to 200"):
        colour_spread(image.astype(np.float32), plane)


# ---------------------------------------------------------------------------------------------------- all together


def test_the_table_lists_exactly_what_is_measured():
    image = np.zeros((3, 8, 8), np.uint8)
    shown = [
        measure_all("microstructure", np.zeros((8, 8), np.uint8), THREE, Grid()),
        measure_all("microstructure", np.zeros((8, 8, 8), np.uint8), THREE, Grid()),
        measure_all("lesion", np.zeros((8, 8), np.uint8), SKIN, Grid(), image=image),
        measure_all("volume", np.zeros((8, 8, 8), np.uint8), SKIN, Grid()),
        measure_all("disc", np.zeros((8, 8), np.uint8), LabelSet(names=("background", "rim", "cup")), Grid()),
    ]
    names = {row.name for rows in shown for row in rows.values()}
    assert names == set(QUANTITIES)
    table = {line.split()[0] for line in registry.__doc__.splitlines() if line and line.split()[0] in QUANTITIES}
    assert table == names
    assert set(MEASURES) == {"microstructure", "lesion", "volume", "disc"}


def test_rows_have_units_and_pixels():
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:], mask[20:, 20:] = 1, 2
    rows = measure_all("microstructure", mask, THREE, Grid(spacing=(0.5, 0.5), unit="um"))
    plain = measure_all("microstructure", mask, THREE, Grid())
    units = {"phase_fraction pore": "", "interface_length pore-metal": "um", "interface_density pore-metal": "1/um",
             "triple_point_density pore-ceramic-metal": "1/um^2", "mean_intercept metal": "um"}  # fmt: skip
    for key, unit in units.items():
        assert rows[key].unit == unit
        assert plain[key].unit == unit.replace("um", "px")
    for key, row in rows.items():
        assert plain[key].value == plain[key].pixels
        if row.value is None:
            assert plain[key].value is None
        else:
            assert row.pixels == pytest.approx(plain[key].value), key
    assert rows["triple_points pore-ceramic-metal"] == Quantity(
        "triple_points", "pore-ceramic-metal", 1.0, "", 1.0
    )  # fmt: skip
    assert rows["triple_point_density pore-ceramic-metal"].value == pytest.approx(1 / (39 * 39 * 0.25))
    assert measure_all("lesion", mask, THREE, Grid(spacing=(0.5, 0.5)))["area metal"].unit == "units^2"


def test_keys_do_not_depend_on_what_is_in_the_mask():
    empty = measure_all("microstructure", np.full((16, 16), IGNORE, np.uint8), THREE, Grid())
    full = measure_all("microstructure", blobs(0, (16, 16), sigma=2.0), THREE, Grid())
    assert empty.keys() == full.keys()
    assert {row.value for row in empty.values()} == {None}
    assert all(row.value is not None for row in full.values() if row.name != "correlation_length")
    assert (
        measure_all("lesion", np.zeros((16, 16), np.uint8), SKIN, Grid()).keys()
        == measure_all("lesion", np.ones((16, 16), np.uint8), SKIN, Grid()).keys()
    )


def test_unknown_pixels_count_nowhere():
    mask = blobs(7, (64, 80))
    valid = np.zeros(mask.shape, bool)
    valid[:, :50] = True
    marked = np.where(valid, mask, np.uint8(IGNORE))
    part = measure_all("microstructure", np.ascontiguousarray(mask[:, :50]), THREE, Grid())
    hidden = measure_all("microstructure", mask, THREE, Grid(), valid=valid)
    assert hidden == measure_all("microstructure", marked, THREE, Grid())
    for key, row in part.items():
        if row.name != "correlation_length":  # it looks as far as the whole image's side lets it
            assert hidden[key].value == pytest.approx(row.value), key
        else:
            assert hidden[key].value == pytest.approx(row.value, rel=0.1), key


def test_regions_are_lesions_of_their_own():
    labels = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    mask = ball((60, 60), (30, 30), 20).astype(np.uint8)
    mask[ball((60, 60), (30, 30), 10)] = 2
    rows = measure_all("lesion", mask, labels, Grid())
    assert rows["area disc"].value == np.count_nonzero(mask)
    assert rows["area cup"].value == np.count_nonzero(mask == 2)


def test_bad_requests_are_refused():
    plane = np.zeros((8, 8), np.uint8)
    with pytest.raises(ConfigError, match="did you mean 'lesion'"):
        measure_all("lesions", plane, SKIN, Grid())
    with pytest.raises(InputError, match=r"a picture \(h, w\), found shape \(2, 8, 8\)"):
        measure_all("lesion", np.zeros((2, 8, 8), np.uint8), SKIN, Grid())
    with pytest.raises(InputError, match="spacing needs 2 numbers above zero"):
        measure_all("microstructure", plane, SKIN, Grid(spacing=(1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="one size"):
        measure_all("lesion", plane, SKIN, Grid(), image=np.zeros((3, 8, 9), np.uint8))
    many = LabelSet(names=tuple(map(str, range(13))))
    with pytest.raises(InputError, match="at most 12 phases"):
        measure_all("microstructure", plane, many, Grid())


@pytest.mark.real
def test_a_real_electrode_is_plausible(real_data):
    data = catenary.open_dataset(real_data("solid-oxide-cell"))
    mask = data.read_label(data.cases[0])
    rows = {key: row.value for key, row in measure_all("microstructure", mask, data.labels, data.grid).items()}
    names = data.labels.names
    assert sum(rows[f"phase_fraction {name}"] for name in names) == pytest.approx(1)
    for phase, name in enumerate(names):
        fraction, surface = rows[f"phase_fraction {name}"], rows[f"specific_surface {name}"]
        assert 0.2 < fraction < 0.5
        # The mean intercept is 4 V / S whatever the shape: two ways to the same number.
        assert rows[f"mean_intercept {name}"] == pytest.approx(4 * fraction / surface, rel=0.03)
        tail = radial(two_point(mask == phase, reach=(250, 250))).value[100:]
        assert tail.mean() == pytest.approx(fraction**2, rel=0.1)


# Curves


def test_the_correlation_begins_at_the_fraction_and_falls_to_its_square():
    """Overlapping discs at random places: no order beyond their diameter."""
    rng = np.random.default_rng(0)
    y, x = np.indices((400, 400))
    mask = np.zeros((400, 400), np.uint8)
    for cy, cx in rng.uniform(0, 400, (250, 2)):
        mask[(y - cy) ** 2 + (x - cx) ** 2 < 10**2] = 1
    s2, _, metal, lengths = microstructure_curves(
        mask, LabelSet(names=("pore", "metal")), Grid(spacing=(0.5, 0.5), unit="um")
    )
    fraction = mask.mean()
    assert (metal.name, metal.of, metal.unit) == ("two_point_correlation", "metal", "um")
    assert metal.value[0] == pytest.approx(fraction)
    assert metal.value[metal.distance > 12].mean() == pytest.approx(fraction**2, rel=0.05)
    assert metal.value[5] > fraction**2 * 1.2
    assert s2.value[0] == pytest.approx(1 - fraction)
    assert metal.distance[-1] == pytest.approx(50, rel=0.02)  # a quarter of the side
    assert np.all(np.diff(lengths.value) >= 0)
    assert lengths.value[-1] == pytest.approx(1, abs=0.02)


def test_chord_lengths_are_weighted_by_length_and_leave_cut_ones_out():
    mask = np.zeros((1, 24), np.uint8)
    for start, length in ((2, 1), (5, 3), (12, 4), (22, 2)):  # the last is cut by the border
        mask[0, start : start + length] = 1
    mask = np.concatenate([mask, np.full((23, 24), 255, np.uint8)])
    lengths = microstructure_curves(mask, LabelSet(names=("pore", "metal")), Grid())[3]
    np.testing.assert_allclose(lengths.value[:5], [0, 1 / 8, 1 / 8, 4 / 8, 1])
    absent = microstructure_curves(np.zeros((24, 24), np.uint8), LabelSet(names=("pore", "metal")), Grid())[3]
    assert np.isnan(absent.value).all()


def test_curves_are_averaged_as_far_as_the_shortest_reaches():
    def case(side, value, unit="um"):
        distance = np.arange(0.0, side)
        return (Curve("chord_lengths", "metal", unit, distance, np.full(side, value)),)

    (mean,) = average([case(4, 0.2), case(6, 0.4), case(5, np.nan)])
    np.testing.assert_allclose(mean.distance, [0, 1, 2, 3])
    np.testing.assert_allclose(mean.value, 0.3)
    assert np.isnan(average([case(4, np.nan)])[0].value).all()
    with pytest.raises(InputError, match="different units cannot be averaged, found px, um"):
        average([case(4, 0.2), case(4, 0.2, "px")])
