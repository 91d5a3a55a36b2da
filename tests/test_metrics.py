"""Counts, outlines, objects, baselines and intervals against hand-made numbers and slow references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from scipy.spatial.distance import cdist

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.metrics import counts, intervals, objects, surface
from catenary.metrics.baselines import Cut, fit_baselines
from catenary.metrics.counts import Counts, confusion_matrix, count, count_targets
from catenary.metrics.objects import match_objects
from catenary.metrics.registry import METRICS
from catenary.metrics.surface import measure_band, measure_surface
from catenary.metrics.volumes import measure_volumes
from catenary.types import IGNORE

SMALL = settings(max_examples=60, deadline=None)


def mask_pairs(max_side=12):
    """Two Boolean masks of one shape."""
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=max_side)
    return shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def disc(shape, centre, radius):
    return np.hypot(*(np.indices(shape) - np.reshape(centre, (-1, 1, 1)))) <= radius


# ---------------------------------------------------------------------------------------------------- counts


def test_counts_metrics_by_hand():
    c = Counts(*(np.array(n) for n in (6, 2, 3, 9)))
    expected = {
        "dice": 12 / 17, "iou": 6 / 11, "thresholded_jaccard": 0.0, "accuracy": 15 / 20, "sensitivity": 6 / 9,
        "specificity": 9 / 11, "precision": 6 / 8, "npv": 9 / 12, "fpr": 2 / 11, "fdr": 2 / 8, "fnr": 3 / 9,
        "mcc": (6 * 9 - 2 * 3) / np.sqrt(8 * 9 * 11 * 12), "f1": 2 * (6 / 8) * (6 / 9) / (6 / 8 + 6 / 9),
    }  # fmt: skip
    assert expected.keys() == {key for key, metric in METRICS.items() if metric.part == "counts"}
    for key, value in expected.items():
        assert METRICS[key].function(c) == pytest.approx(value, abs=1e-12), key


NAN = np.nan
EMPTY_RULES = {
    # metric: (both empty, truth empty, prediction empty, truth full and found, truth full and half found)
    "dice": (1, 0, 0, 1, 2 / 3),
    "iou": (1, 0, 0, 1, 1 / 2),
    "thresholded_jaccard": (1, 0, 0, 1, 0),
    "accuracy": (1, 3 / 4, 3 / 4, 1, 1 / 2),
    "sensitivity": (NAN, NAN, 0, 1, 1 / 2),
    "specificity": (1, 3 / 4, 1, NAN, NAN),
    "precision": (1, 0, 0, 1, 1),
    "npv": (1, 1, 3 / 4, 1, 0),
    "fpr": (0, 1 / 4, 0, NAN, NAN),
    "fdr": (0, 1, 1, 0, 0),
    "fnr": (NAN, NAN, 1, 0, 1 / 2),
    "mcc": (1, 0, 0, 1, 0),
    "f1": (1, 0, 0, 1, 2 / 3),
}


@pytest.mark.parametrize("key", EMPTY_RULES)
def test_counts_metrics_on_empty_and_full_masks(key):
    c = Counts(*(np.array(column) for column in ((0, 0, 0, 4, 2), (0, 1, 0, 0, 0), (0, 0, 1, 0, 2), (4, 3, 3, 0, 0))))
    np.testing.assert_allclose(METRICS[key].function(c), EMPTY_RULES[key])


def test_nothing_counted_is_undefined():
    c = Counts(*(np.array(0) for _ in range(4)))
    assert all(np.isnan(m.function(c)) for m in METRICS.values() if m.part == "counts")


def test_jaccard_threshold_is_inclusive():
    at, below = (Counts(np.array(tp), np.array(0), np.array(n - tp), np.array(0)) for tp, n in ((13, 20), (64, 100)))
    assert counts.thresholded_jaccard(at) == 0.65
    assert counts.thresholded_jaccard(below) == 0


def test_mcc_of_large_counts_does_not_overflow():
    c = Counts(*(np.array(n) for n in (2**40, 0, 0, 2**40)))
    assert counts.mcc(c) == pytest.approx(1)


@SMALL
@given(st.tuples(*[arrays(np.uint8, 30, elements=st.sampled_from([0, 1, 2, IGNORE]))] * 2))
def test_confusion_matrix_equals_a_loop(maps):
    truth, answer = maps
    expected = np.zeros((3, 4), int)
    for t, p in zip(truth.tolist(), answer.tolist(), strict=True):
        if t != IGNORE:
            expected[t, 3 if p == IGNORE else p] += 1
    matrix = confusion_matrix(truth, answer, 3)
    np.testing.assert_array_equal(matrix, expected)
    # overlapping targets, one of them twice, against masks counted one by one
    for k, members in enumerate([(1, 2), (2,), (1,)]):
        mine = [part[k] for part in count_targets(matrix, [(1, 2), (2,), (1,)])]
        assert mine == list(count(np.isin(truth, members), np.isin(answer, members), truth != IGNORE))


def test_unknown_values_and_shapes_are_named():
    zeros = np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match=r"truth holds the value 3, but the classes are 0 to 1"):
        confusion_matrix(zeros + np.uint8(3), zeros, 2)
    with pytest.raises(InputError, match=r"prediction holds the value 2"):
        confusion_matrix(zeros, zeros + np.uint8(2), 2)
    with pytest.raises(InputError, match=r"one shape, found \(2, 2\) and \(2, 3\)"):
        confusion_matrix(zeros, np.zeros((2, 3), np.uint8), 2)


# --------------------------------------------------------------------------------------------------- surface


def slow_surface(truth, answer, spacing, tolerance):
    """The definitions word for word, in 2D: all distances between all corners of pixels that lie on an outline."""
    diagonal = float(np.hypot(*np.multiply(truth.shape, spacing)))
    slanted = np.hypot(*spacing) / 2
    ends, lengths = [], []
    for mask in (truth, answer):
        inside = np.pad(mask, 1)
        ends.append([])
        lengths.append([])
        for i, j in np.ndindex(truth.shape[0] + 1, truth.shape[1] + 1):
            (a, b), (c, d) = inside[i : i + 2, j : j + 2].tolist()
            if 0 < a + b + c + d < 4:
                ends[-1].append((i * spacing[0], j * spacing[1]))
                straight = spacing[1] if a == b else spacing[0]
                lengths[-1].append(slanted if a + b + c + d != 2 else 2 * slanted if a == d else straight)
    if not ends[0] and not ends[1]:
        return {"hd95": 0, "asd": 0, "nsd": 1}
    if not ends[0] or not ends[1]:
        return {"hd95": diagonal, "asd": diagonal, "nsd": 0}
    table = cdist(*map(np.array, ends))
    percentiles = []
    for far, weights in ((table.min(axis=1), lengths[0]), (table.min(axis=0), lengths[1])):
        reached, total = 0.0, sum(weights)
        for distance, weight in sorted(zip(far.tolist(), weights, strict=True)):
            reached += weight
            if reached >= 0.95 * total * (1 - 1e-6):
                percentiles.append(distance)
                break
    every, weight = np.concatenate([table.min(axis=1), table.min(axis=0)]), np.concatenate(lengths)
    return {
        "hd95": max(percentiles),
        "asd": (every * weight).sum() / weight.sum(),
        "nsd": weight[every <= tolerance * (1 + 1e-6)].sum() / weight.sum(),
    }


def slow_band(truth, answer, spacing):
    """Boundary IoU word for word: all distances between all pixels and all boundary pixels."""
    diagonal = float(np.sqrt(sum((n * s) ** 2 for n, s in zip(truth.shape, spacing, strict=True))))
    cross = ndimage.generate_binary_structure(truth.ndim, 1)
    width = min(spacing) * max(1, round(0.02 * diagonal / min(spacing)))
    bands = []
    for mask in (truth, answer):
        edge, inside = np.argwhere(mask & ~ndimage.binary_erosion(mask, cross)) * spacing, np.argwhere(mask)
        near = cdist(inside * spacing, edge).min(axis=1) < width - 1e-4 if len(inside) else []
        bands.append({tuple(p) for p, close in zip(inside.tolist(), near, strict=True) if close})
    either = len(bands[0] | bands[1])
    return {"boundary_iou": len(bands[0] & bands[1]) / either if either else 1.0}


def surface_values(truth, answer, **kwargs):
    parts = {
        "surface": measure_surface(truth, answer, **kwargs),
        "band": measure_band(truth, answer, spacing=kwargs.get("spacing")),
    }
    return {key: float(m.function(parts[m.part])) for key, m in METRICS.items() if m.part in parts}


@SMALL
@given(mask_pairs(), st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.3, 2.0)]), st.sampled_from([0.0, 1.0, 1.5]))
def test_surface_equals_all_pairs_of_distances(masks, spacing, tolerance):
    mine = surface_values(*masks, spacing=spacing, tolerance=tolerance)
    expected = slow_surface(*masks, spacing, tolerance) | slow_band(*masks, spacing)
    assert mine == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_surface_equals_the_reference_on_larger_shapes_and_the_band_in_3d():
    truth, answer = disc((130, 150), (60, 70), 40), disc((130, 150), (66, 75), 37) | disc((130, 150), (20, 20), 6)
    expected = slow_surface(truth, answer, (1, 1), 2.0) | slow_band(truth, answer, (1, 1))
    assert surface_values(truth, answer) == pytest.approx(expected, rel=1e-5)
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(9, 20, 24)), 2)
    cubes, spacing = (field > 0, np.roll(field, 2, axis=2) > 0.02), (3.0, 0.7, 0.7)
    found = surface_values(*cubes, spacing=spacing)
    assert found["boundary_iou"] == pytest.approx(slow_band(*cubes, spacing)["boundary_iou"])


def test_surface_by_hand():
    truth = np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    moved = np.roll(truth, 3, axis=1)
    # Each outline: 36 straight pieces and 4 slanted ones in the corners. The side that sticks out lies 3 away with its
    # two corners, then come 2 and 1 along top and bottom; 7 of each of these and a corner lie on the other's; the side
    # inside is 1, 2, 3, 3, 3, 3, 3, 2, 1 away from the other outline.
    corner, values = np.sqrt(0.5), surface_values(truth, moved, tolerance=0.0)
    assert values["hd95"] == 3
    assert values["asd"] == pytest.approx((3 * (9 + 2 * corner) + 6 + 21) / (36 + 4 * corner))
    assert values["nsd"] == pytest.approx((14 + 2 * corner) / (36 + 4 * corner))
    assert surface_values(truth, truth) == {"boundary_iou": 1, "hd95": 0, "asd": 0, "nsd": 1}
    # one-pixel band (2 % of the diagonal rounds to 1): two of the four sides overlap in part
    assert values["boundary_iou"] == pytest.approx(14 / (36 + 36 - 14))


def test_one_empty_mask_is_as_bad_as_can_be():
    mask = disc((30, 40), (15, 20), 8)
    for pair in ((mask, np.zeros_like(mask)), (np.zeros_like(mask), mask)):
        assert surface_values(*pair) == {"boundary_iou": 0, "hd95": 50, "asd": 50, "nsd": 0}
        assert surface_values(*pair, spacing=(0.1, 0.1))["hd95"] == pytest.approx(5)
    square = np.zeros((40, 40), bool)
    square[10:20, 10:20] = True
    none = np.zeros_like(square)  # what pooling adds up: the outline, and the band one pixel wide, are missed
    assert [float(part) for part in measure_surface(square, none)[:2]] == pytest.approx([0, 36 + 4 * np.sqrt(0.5)])
    assert [int(part) for part in measure_band(none, square)] == [0, 36]
    worst = np.zeros((2, 30, 40), bool)
    worst[0, 0, 0] = worst[1, -1, -1] = True
    assert surface_values(*worst)["hd95"] < 50  # no answer is worse than any answer


@SMALL
@given(mask_pairs())
def test_surface_is_symmetric_and_scales_with_spacing(masks):
    truth, answer = masks
    there, back = surface_values(truth, answer), surface_values(answer, truth)
    assert there == pytest.approx(back, rel=1e-6)
    scaled = surface_values(truth, answer, spacing=(0.1, 0.1), tolerance=0.2)
    unscaled = {key: value * (0.1 if key in ("hd95", "asd") else 1) for key, value in there.items()}
    assert scaled == pytest.approx(unscaled, rel=1e-5)


def test_surface_refuses_wrong_arguments():
    mask = np.ones((4, 4), bool)
    with pytest.raises(InputError, match="one shape"):
        measure_surface(mask, mask[:3])
    for spacing in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(InputError, match="spacing needs 2 numbers above zero"):
            measure_surface(mask, mask, spacing=spacing)
    with pytest.raises(InputError, match=r"measured in 2D and 3D, found the shape \(4,\)"):
        measure_surface(mask[0], mask[0])
    with pytest.raises(InputError, match="tolerance must be zero or more, found -1"):
        measure_surface(mask, mask, tolerance=-1.0)


# --------------------------------------------------------------------------------------------------- objects


def slow_match(truth, answer):
    """All pairs of components; matching by trying the best pairs first."""
    structure = np.ones((3, 3))
    (t, nt), (p, np_) = (ndimage.label(m, structure) for m in (truth, answer))
    table = np.zeros((nt, np_))
    merges, splits = 0, 0
    holds, held = np.zeros((nt, np_), bool), np.zeros((nt, np_), bool)
    for i in range(nt):
        for j in range(np_):
            a, b = t == i + 1, p == j + 1
            shared = (a & b).sum()
            table[i, j] = shared / (a | b).sum()
            holds[i, j], held[i, j] = shared > a.sum() / 2, shared > b.sum() / 2
    merges, splits = int((holds.sum(0) > 1).sum()), int((held.sum(1) > 1).sum())
    matched = 0
    while table.size and table.max() >= 0.5:
        i, j = np.unravel_index(table.argmax(), table.shape)
        table[i], table[:, j] = 0, 0
        matched += 1
    return [nt, np_, matched, merges, splits]


@SMALL
@given(mask_pairs())
def test_objects_equal_a_loop_over_all_pairs(masks):
    assert [int(n) for n in match_objects(*masks)] == slow_match(*masks)


def test_objects_equal_a_loop_on_blobs(monkeypatch):
    rng = np.random.default_rng(1)
    field = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 2)
    answer = field + ndimage.gaussian_filter(rng.normal(size=(64, 64)), 2) * 0.5
    pair = (field > 0.1, answer > 0.1)
    expected = slow_match(*pair)
    assert expected[2] > 2
    assert expected[3] > 0
    assert [int(n) for n in match_objects(*pair)] == expected
    monkeypatch.setattr(objects, "_TABLE", 0)  # the way that very many objects go
    assert [int(n) for n in match_objects(*pair)] == expected


def test_objects_match_from_exactly_one_half():
    truth = np.ones((1, 6), bool)
    half, less = (np.arange(6)[None] < n for n in (3, 2))
    assert [int(match_objects(truth, answer).matched) for answer in (half, less)] == [1, 0]


def test_objects_split_and_merge():
    parts = np.array([[1, 1, 0, 1, 1]], bool)
    split, merged = match_objects(np.ones((1, 5), bool), parts), match_objects(parts, np.ones((1, 5), bool))
    assert [int(n) for n in split] == [1, 2, 0, 0, 1]
    assert [int(n) for n in merged] == [2, 1, 0, 1, 0]
    half = np.array([[1, 1, 1, 1, 0, 0]], bool)  # one object and exactly half of the other: not merged
    assert int(match_objects(np.array([[1, 1, 0, 1, 1, 0]], bool), half).merges) == 0
    whole = np.array([[1, 1, 0, 1, 1, 0]], bool)
    assert int(match_objects(whole, np.ones((1, 6), bool)).merges) == 1


def test_object_scores_on_empty_masks():
    some, none = np.ones((3, 3), bool), np.zeros((3, 3), bool)
    cases = [match_objects(none, none), match_objects(none, some), match_objects(some, none), match_objects(some, some)]
    np.testing.assert_array_equal([objects.object_precision(o) for o in cases], [1, 0, 0, 1])
    np.testing.assert_array_equal([objects.object_recall(o) for o in cases], [NAN, NAN, 0, 1])
    np.testing.assert_array_equal([objects.object_f1(o) for o in cases], [1, 0, 0, 1])


# ------------------------------------------------------------------------------------------- deleted answers
# Each guarantee of the registry's conventions, held for every metric in it, those added later too.


MEASURE = {
    "counts": count,
    "band": measure_band,
    "surface": measure_surface,
    "objects": match_objects,
    "volumes": lambda truth, answer: measure_volumes(count(truth, answer)),
}


def values_of(key, truth, answer):
    metric = METRICS[key]
    return float(metric.function(MEASURE[metric.part](truth, answer)))


def improves(key, before, after):
    gain = after - before if METRICS[key].higher else before - after
    return gain > 1e-9


@SMALL
@given(mask_pairs(8))
@pytest.mark.parametrize("key", METRICS)
def test_deleting_a_whole_answer_never_improves(key, masks):
    truth, answer = masks
    before, after = values_of(key, truth, answer), values_of(key, truth, np.zeros_like(answer))
    if truth.any() and not METRICS[key].gains:
        assert not improves(key, before, after)
        assert not np.isnan(after)  # left out of the mean would be an improvement too
        worst = np.hypot(*truth.shape) if METRICS[key].high is None else 1 - METRICS[key].best
        assert after == pytest.approx(worst)
    assert np.isnan(before) == np.isnan(after)  # whether an image counts hangs on the truth alone


@SMALL
@given(mask_pairs(8), st.randoms(use_true_random=False))
@pytest.mark.parametrize("key", [key for key, metric in METRICS.items() if metric.part == "counts"])
def test_deleting_correct_pixels_never_improves(key, masks, random):
    truth, answer = masks
    correct = np.argwhere(truth & answer).tolist()
    deleted = answer.copy()
    for place in random.sample(correct, random.randint(0, len(correct))):
        deleted[tuple(place)] = False
    before, after = values_of(key, truth, answer), values_of(key, truth, deleted)
    assert not improves(key, before, after)
    assert np.isnan(before) == np.isnan(after)


@SMALL
@given(mask_pairs(), st.integers(0, 50))
@pytest.mark.parametrize("key", [key for key, metric in METRICS.items() if metric.part == "objects"])
def test_deleting_a_matched_object_never_improves(key, masks, which):
    truth, answer = masks
    parts, found = ndimage.label(answer, np.ones((3, 3)))
    if not found:
        return
    deleted = answer & (parts != which % found + 1)
    if match_objects(truth, deleted).matched < match_objects(truth, answer).matched:
        assert not improves(key, values_of(key, truth, answer), values_of(key, truth, deleted))


@pytest.mark.parametrize("key", METRICS)
def test_a_perfect_answer_has_the_best_value_and_none_leaves_the_range(key):
    metric = METRICS[key]
    rng = np.random.default_rng(3)
    for _ in range(20):
        truth, answer = rng.random((2, 9, 9)) < rng.random((2, 1, 1))
        if truth.any() and not truth.all():
            assert values_of(key, truth, truth) == pytest.approx(metric.best, abs=1e-12)
        value = values_of(key, truth, answer)
        assert np.isnan(value) or metric.low <= value <= (81 if metric.high is None else metric.high)
        assert metric.part != "surface" or not value > np.hypot(9, 9)


def test_metrics_are_told_apart_by_words():
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
    assert all(metric.formula and metric.empty for metric in METRICS.values())
    assert {key for key, metric in METRICS.items() if not metric.higher} == {
        "fpr", "fdr", "fnr", "hd95", "asd", "object_false_positives", "volume_difference", "relative_volume_difference"
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------- baselines


def test_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    label = (rng.random((60, 60)) < 0.2).astype(np.uint8)
    image = np.round(rng.normal(100 + 25 * label, 12)).astype(np.uint8)[None]
    fitted = fit_baselines([(image, label)], LabelSet(names=("background", "cell")))

    def score(answer):
        return float(counts.dice(count(label == 1, answer == 1)))

    best = max(score((image[0] >= t).astype(np.uint8)) for t in range(256))
    assert best > 0.5
    assert score(fitted.predict(image)["thresholds"]) == pytest.approx(best, abs=1e-12)
    assert not fitted.predict(image)["majority"].any()


def test_threshold_finds_dark_objects_and_the_telling_channel():
    rng = np.random.default_rng(0)
    label = (rng.random((40, 40)) < 0.3).astype(np.uint8)
    image = rng.normal(100, 30, (3, 40, 40)).astype(np.float32)
    image[1] = np.where(label == 1, 20, 200) + rng.normal(0, 5, (40, 40))
    fitted = fit_baselines([(image, label)], LabelSet(names=("background", "hole")))
    (cut,) = fitted.cuts["thresholds"]
    assert (cut.channel, cut.classes) == (1, (1, 0))
    np.testing.assert_array_equal(fitted.predict(image)["thresholds"], label)
    assert fitted.descriptions["thresholds"].startswith("channel 2 cut at ")


def test_order_by_mean_intensity_is_turned_where_that_is_better():
    label = np.repeat(np.array([0, 0, 1], np.uint8), (10, 90, 60))[None]
    image = np.repeat(np.array([-1000, 12, 10], np.int16), (10, 90, 60))[None, None]
    (cut,) = fit_baselines([(image, label)], LabelSet(names=("background", "cell"))).cuts["thresholds"]
    assert cut.classes == (1, 0)  # although the mean of the background is the lower
    assert cut.cuts == (11.0,)


def test_a_value_equal_to_a_cut_lies_above():
    assert Cut(0, (5.0,), (0, 1))(np.array([[4, 5, 6]], np.uint8)).tolist() == [0, 1, 1]


def test_mean_of_channels_is_tried():
    rng = np.random.default_rng(0)
    label = (rng.random((50, 50)) < 0.4).astype(np.uint8)
    noise = rng.normal(0, 40, (50, 50))
    image = np.stack([label * 20 + noise, label * 20 - noise]).astype(np.float32) + 200
    fitted = fit_baselines([(image, label)], LabelSet(names=("background", "cell")))
    assert fitted.cuts["thresholds"][0].channel == -1
    np.testing.assert_array_equal(fitted.predict(image)["thresholds"], label)


def test_thresholds_of_several_classes_in_order_of_intensity():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, (80, 80)).astype(np.uint8)
    label[:4] = IGNORE
    level = np.array([120, 30, 210, 75])[np.minimum(label, 3)]
    image = (level + rng.normal(0, 6, label.shape)).astype(np.float32)[None]
    image[0, :4] = 1e6  # ignored pixels must not matter
    names = ("background", "a", "b", "c")
    fitted = fit_baselines([(image, label)], LabelSet(names=names))
    (cut,) = fitted.cuts["thresholds"]
    assert cut.classes == (1, 3, 0, 2)
    np.testing.assert_allclose(cut.cuts, (52, 97, 165), atol=12)
    assert (fitted.predict(image)["thresholds"] == label)[4:].mean() > 0.99


def test_cuts_of_three_classes_are_the_best_of_all():
    rng = np.random.default_rng(5)
    label = rng.choice([0, 1, 2], (30, 30), p=[0.7, 0.2, 0.1]).astype(np.uint8)
    image = np.clip(np.round(rng.normal(np.array([6, 10, 14])[label], 2.5)), 0, 20).astype(np.uint8)[None]
    fitted = fit_baselines([(image, label)], LabelSet(names=("background", "a", "b")), pixels=900)

    def score(answer):
        return np.mean([counts.dice(count(label == k, answer == k)) for k in (1, 2)])

    every = [Cut(0, (a, b), (0, 1, 2))(image) for a in np.arange(0.5, 21) for b in np.arange(a, 21)]
    assert score(fitted.predict(image)["thresholds"]) == pytest.approx(max(map(score, every)), abs=1e-12)


def test_baselines_of_regions():
    labels = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    label = np.tile(np.array([0, 1, 1, 1, 2, 2], np.uint8), (5, 1))
    image = (label * 50).astype(np.uint8)[None]
    answers = fit_baselines([(image, label)], labels).predict(image)
    np.testing.assert_array_equal(answers["thresholds"], np.stack([label > 0, label == 2]))
    np.testing.assert_array_equal(answers["majority"].all(axis=(1, 2)), [True, False])


def test_baselines_survive_poor_training_sets():
    names = LabelSet(names=("background", "cell"))
    constant = np.full((1, 5, 5), 7, np.uint8)
    for value in (0, 1):
        label = np.full((5, 5), value, np.uint8)
        answers = fit_baselines([(constant, label)], names).predict(constant)
        assert all((answer == value).all() for answer in answers.values())
    mixed = np.zeros((5, 5), np.uint8)
    mixed[:2] = 1
    assert fit_baselines([(constant, mixed)], names).predict(constant)["thresholds"].all()  # all foreground: Dice .57
    holes = np.where(mixed == 1, np.nan, 3).astype(np.float32)[None]
    assert not fit_baselines([(holes, mixed)], names).predict(holes)["thresholds"].any()
    with pytest.raises(InputError, match="no pixel with a known class"):
        fit_baselines([], names)
    with pytest.raises(InputError, match="no pixel with a known class"):
        fit_baselines([(constant, np.full((5, 5), IGNORE, np.uint8))], names)
    with pytest.raises(InputError, match="holds the value 9"):
        fit_baselines([(constant, np.full((5, 5), 9, np.uint8))], names)
    with pytest.raises(InputError, match="1 and 2 channels"):
        fit_baselines([(constant, mixed), (constant.repeat(2, axis=0), mixed)], names)


def test_baselines_are_the_same_for_one_seed_and_refuse_other_channels():
    rng = np.random.default_rng(0)
    label = (rng.random((200, 200)) < 0.5).astype(np.uint8)
    image = rng.random((2, 200, 200)).astype(np.float32)
    image[1] += label
    names = LabelSet(names=("background", "cell"))
    one, two = (fit_baselines([(image, label)] * 3, names, pixels=500, seed=4) for _ in range(2))
    assert one == two
    with pytest.raises(InputError, match="has 1 channels but a threshold was fitted on channel 2"):
        one.predict(image[:1])


# ------------------------------------------------------------------------------------------------- intervals


def test_resampled_means_equal_a_loop():
    rng = np.random.default_rng(0)
    values = rng.random((30, 2, 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    index, groups = intervals.group_index([f"g{i}" for i in rng.integers(0, 7, 30)])
    draws = intervals.draw_groups(groups, resamples=20, rng=rng)
    np.testing.assert_array_equal(draws.sum(axis=1), groups)
    mine = intervals.resample_means(values, index, draws)
    for draw, means in zip(draws, mine, strict=True):
        chosen = np.concatenate([values[index == g] for g in range(groups) for _ in range(int(draw[g]))])
        np.testing.assert_allclose(means, np.nanmean(chosen, axis=0))


def test_percentiles_equal_numpy():
    rng = np.random.default_rng(0)
    resampled = rng.normal(size=(501, 4))
    resampled[rng.random(resampled.shape) < 0.1] = np.nan
    low, high = intervals.percentile_interval(resampled)
    np.testing.assert_allclose([low, high], np.nanpercentile(resampled, [2.5, 97.5], axis=0))


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    """Groups share an offset: intervals over groups cover, intervals over images as if independent would not."""
    rng = np.random.default_rng(0)
    covered = {"groups": 0, "images": 0}
    index = np.repeat(np.arange(40), 5)
    for _ in range(150):
        values = rng.normal(size=40)[index] + rng.normal(0, 0.3, 200)
        for kind, ids in (("groups", index), ("images", np.arange(200))):
            draws = intervals.draw_groups(int(ids.max()) + 1, resamples=400, rng=rng)
            low, high = intervals.percentile_interval(intervals.resample_means(values, ids, draws))
            covered[kind] += bool(low <= 0 <= high)
    assert 0.88 <= covered["groups"] / 150 <= 0.99
    assert covered["images"] / 150 < 0.8


def test_sign_flip_is_exact_for_few_groups_and_close_for_many():
    rng = np.random.default_rng(0)
    assert intervals.sign_flip_p(np.ones((10, 1)), rng=rng) == 2 / 1024
    assert intervals.sign_flip_p(np.zeros((10, 1)), rng=rng) == 1
    assert intervals.sign_flip_p(np.ones((60, 1)), rng=rng) == 1 / 10_000  # never nought
    parts = rng.normal(0.3, 1, (12, 3))
    exact = intervals.sign_flip_p(parts, rng=rng)
    padded = np.concatenate([parts, np.zeros((1, 3))])  # a group that adds nothing changes nothing but the way
    np.testing.assert_allclose(intervals.sign_flip_p(padded, rng=rng), exact, atol=0.02)


def test_sign_flip_is_uniform_without_a_difference():
    rng = np.random.default_rng(0)
    p = intervals.sign_flip_p(rng.normal(size=(20, 2000)), rng=rng)
    assert abs((p < 0.05).mean() - 0.05) < 0.02
    assert abs(p.mean() - 0.5) < 0.03


def test_boundary_of_masks_at_the_border():
    assert surface.find_boundary(np.ones((1, 1), bool)).all()
    assert surface.find_boundary(np.ones((2, 5), bool)).all()
    assert not surface.find_boundary(np.zeros((3, 3), bool)).any()
