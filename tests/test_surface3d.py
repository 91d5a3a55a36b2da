"""Surfaces, objects and volumes of scans: against a reference, a slow way, and answers that were made worse."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.metrics import nearest, surface
from catenary.metrics.counts import count
from catenary.metrics.elements import cell_codes, element_sizes
from catenary.metrics.evaluation import Scorer
from catenary.metrics.nearest import distances_to
from catenary.metrics.objects import match_objects, object_f1, object_false_positives, object_precision, object_recall
from catenary.metrics.registry import METRICS
from catenary.metrics.surface import asd, hd95, measure_band, measure_surface, nsd
from catenary.metrics.volumes import measure_volumes, relative_volume_difference, volume_difference

TUMOUR = LabelSet(names=("background", "tumour"))
SPACING = (3.0, 0.7, 1.1)


def blobs(rng, shape, sigma=1.5, noise=0.5, share=0.7):
    """A smooth random mask and a like one."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    other = field + noise * ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return field > np.quantile(field, share), other > np.quantile(other, share)


def ball(shape, centre, radius, spacing=(1.0, 1.0, 1.0)):
    away = (np.indices(shape) - np.reshape(centre, (-1, 1, 1, 1))) * np.reshape(spacing, (-1, 1, 1, 1))
    return np.hypot.reduce(away) <= radius


# -------------------------------------------------------------------------------------------------- elements


def test_sizes_of_elements_by_hand():
    area = element_sizes((1.0, 1.0, 1.0))
    assert area[0] == area[255] == 0
    assert area[1] == pytest.approx(np.sqrt(3) / 8)  # one corner: a triangle through three middles of edges
    assert area[0b10000001] == pytest.approx(2 * np.sqrt(3) / 8)  # corners across from one another: two of them
    assert area[0b00010001] == pytest.approx(np.sqrt(0.5))  # one edge: a slanted rectangle
    assert element_sizes(SPACING)[0b00001111] == pytest.approx(0.7 * 1.1)  # a flat one
    np.testing.assert_allclose(element_sizes((2.0, 3.0))[[0, 3, 5, 15]], [0, 3, 2, 0])


@pytest.mark.parametrize("rank", [2, 3])
def test_sizes_hang_neither_on_the_side_nor_on_the_order_of_axes(rank):
    sizes = {axes: element_sizes([SPACING[axis] for axis in axes]) for axes in permutations(range(rank))}
    table = sizes[tuple(range(rank))]
    for corners in product((False, True), repeat=2**rank):
        cell = np.reshape(corners, (2,) * rank)
        middle = (1,) * rank
        size = table[cell_codes(cell)[middle]]
        assert size == pytest.approx(table[cell_codes(~cell)[middle]])
        for axes, turned in sizes.items():
            assert size == pytest.approx(turned[cell_codes(cell.transpose(axes))[middle]])
        for axis in range(rank):
            assert size == pytest.approx(table[cell_codes(np.flip(cell, axis))[middle]])


@pytest.mark.filterwarnings("ignore")
def test_sizes_equal_the_reference():
    pytest.importorskip("surface_distance")
    from surface_distance import lookup_tables as tables

    for spacing in np.random.default_rng(0).uniform(0.2, 4, (30, 3)).tolist():
        theirs = tables.create_table_neighbour_code_to_surface_area(spacing)
        np.testing.assert_allclose(element_sizes(spacing), theirs, rtol=1e-12, atol=1e-12)
        theirs = tables.create_table_neighbour_code_to_contour_length(spacing[:2])
        np.testing.assert_allclose(element_sizes(spacing[:2]), theirs, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------- distances


@pytest.mark.parametrize(
    "costs",
    [{}, {"_TRANSFORM": 10**9, "_SEARCH": 10**9}, {"_TRANSFORM": 10**9, "_SEARCH": 0, "_PLANT": 0}, {"_TRANSFORM": 0}],
    ids=["as it comes", "looking around", "tree", "transform"],
)
@pytest.mark.parametrize("reach", [2, 63])
def test_distances_equal_a_transform_on_every_way(costs, reach, monkeypatch):
    monkeypatch.setattr(nearest, "_REACH", reach)
    for name, cost in costs.items():
        monkeypatch.setattr(nearest, name, cost)
    rng = np.random.default_rng(0)
    for _ in range(40):
        rank = rng.integers(2, 4)
        target = rng.random(rng.integers(1, 16, rank)) < rng.uniform(0, 0.2)
        target.ravel()[rng.integers(target.size)] = True
        spacing = rng.uniform(0.3, 3, rank).tolist()
        cells = np.flatnonzero(rng.random(target.shape) < 0.5)
        expected = ndimage.distance_transform_edt(~target, sampling=spacing).ravel()[cells]
        np.testing.assert_allclose(distances_to(target, cells, spacing), expected, rtol=1e-6)


# --------------------------------------------------------------------------------------------------- surface


def slow_surface(truth, answer, spacing, tolerance):
    """The definitions word for word: all distances between all elements."""
    far, sizes, places = [], [], []
    for mask in (truth, answer):
        codes = cell_codes(mask)
        edge = (codes > 0) & (codes < 2**2**mask.ndim - 1)
        places.append(np.argwhere(edge) * spacing)
        sizes.append(element_sizes(spacing)[codes[edge]])
    table = cdist(*places)
    far = [table.min(axis=1), table.min(axis=0)]
    percentiles = []
    for distance, size in zip(far, sizes, strict=True):
        order = np.argsort(distance)
        percentiles.append(distance[order][np.cumsum(size[order]) >= 0.95 * size.sum() * (1 - 1e-6)][0])
    distance, size = np.concatenate(far), np.concatenate(sizes)
    close = size[distance <= tolerance * (1 + 1e-6)].sum()
    return max(percentiles), (distance * size).sum() / size.sum(), close / size.sum()


def test_surface_equals_all_pairs_of_elements():
    rng = np.random.default_rng(0)
    for _ in range(15):
        truth, answer = blobs(rng, rng.integers(4, 15, 3), noise=1.0)
        spacing, tolerance = rng.uniform(0.3, 3, 3).tolist(), rng.uniform(0, 3)
        found = measure_surface(truth, answer, spacing=spacing, tolerance=tolerance)
        expected = slow_surface(truth, answer, spacing, tolerance)
        assert (float(hd95(found)), float(asd(found)), float(nsd(found))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_surface_equals_the_reference():
    reference = pytest.importorskip("surface_distance")
    rng = np.random.default_rng(0)
    for _ in range(60):
        rank = rng.integers(2, 4)
        shape = rng.integers(3, 26, rank)
        truth, answer = blobs(rng, shape, rng.uniform(0.5, 3), rng.uniform(0, 2), rng.uniform(0.3, 0.95))
        spacing, tolerance = rng.uniform(0.3, 4, rank).tolist(), rng.uniform(0, 4)
        found = measure_surface(truth, answer, spacing=spacing, tolerance=tolerance)
        theirs = reference.compute_surface_distances(truth, answer, spacing)
        areas = [theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()]
        expected = (
            reference.compute_robust_hausdorff(theirs, 95),
            np.dot(reference.compute_average_surface_distance(theirs), areas) / sum(areas),
            reference.compute_surface_dice_at_tolerance(theirs, tolerance),
        )
        assert (hd95(found), asd(found), nsd(found)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("shape", "spacing"), [((300, 280), (1.0, 0.7)), ((40, 44, 48), (2.5, 1.0, 1.2))])
def test_large_masks_are_measured_side_by_side_and_alike(shape, spacing, monkeypatch):
    rng = np.random.default_rng(2)
    truth, answer = blobs(rng, shape, 5, 1.0)
    answer[: shape[0] // 2] = False  # much of the truth lies far from any answer
    found = []
    for pixels in (1, 1 << 40):
        monkeypatch.setattr(surface, "_WORTH_A_THREAD", pixels)
        found.append(measure_surface(truth, answer, spacing=spacing))
    assert found[0] == found[1]
    cells = [(code > 0) & (code < (1 << (1 << truth.ndim)) - 1) for code in (cell_codes(truth), cell_codes(answer))]
    fields = [ndimage.distance_transform_edt(~cell, sampling=spacing) for cell in cells]
    sizes = [element_sizes(spacing)[cell_codes(mask)] for mask in (truth, answer)]
    total = sum(size.sum() for size in sizes)
    assert float(asd(found[0])) == pytest.approx(
        sum((f * s).sum() for f, s in zip(fields[::-1], sizes, strict=True)) / total
    )
    close = sum(size[field <= 2].sum() for size, field in zip(sizes, fields[::-1], strict=True))
    assert float(nsd(found[0])) == pytest.approx(close / total)


def test_surface_of_a_box_by_hand():
    truth = np.zeros((12, 20, 16), bool)
    truth[2:8, 4:14, 3:11] = True
    found = measure_surface(truth, np.roll(truth, 2, axis=0), spacing=(2.5, 1.0, 1.0), tolerance=4.9)
    assert float(hd95(found)) == 5.0  # the top and the bottom of 80 mm² each are more than 5 % of the surface
    faces = 2 * (9 * 7 + 5 * 7 * 2.5 + 5 * 9 * 2.5)  # flat pieces; edges and corners are cut
    assert faces < float(found.total) / 2 < 2 * (10 * 8 + 6 * 8 * 2.5 + 6 * 10 * 2.5)
    assert 0 < float(nsd(found)) < 1
    assert float(nsd(measure_surface(truth, truth, tolerance=0.0))) == 1
    assert float(asd(measure_surface(truth, truth))) == 0


def test_surface_hangs_neither_on_axes_nor_on_room_nor_on_the_unit():
    truth, answer = blobs(np.random.default_rng(1), (9, 14, 12))
    base = [float(part) for part in measure_surface(truth, answer, spacing=SPACING)]
    for axes in permutations(range(3)):
        turned = measure_surface(
            truth.transpose(axes)[::-1], answer.transpose(axes)[::-1], spacing=[SPACING[axis] for axis in axes]
        )
        assert [float(part) for part in turned] == pytest.approx(base)
    room = measure_surface(np.pad(truth, 5), np.pad(answer, 5), spacing=SPACING)  # beyond the image is outside
    assert [float(part) for part in room] == pytest.approx(base)
    close, total, far, mean = base
    cm = measure_surface(truth, answer, spacing=[step / 10 for step in SPACING], tolerance=0.2)
    assert [float(part) for part in cm] == pytest.approx([close / 100, total / 100, far / 10, mean / 10])


def test_a_thin_slab_is_not_thinner_than_its_spacing():
    """Counted voxels would give the slices of a thick-slice scan the weight of its in-plane pixels; areas do not."""
    fine, spacing = ball((40, 40, 40), (20, 20, 20), 12), (1.0, 1.0, 1.0)
    thick, coarse = ball((10, 40, 40), (4.625, 20, 20), 12, (4.0, 1.0, 1.0)), (4.0, 1.0, 1.0)
    areas = [float(measure_surface(m, m, spacing=s).total) / 2 for m, s in ((fine, spacing), (thick, coarse))]
    assert areas[0] == pytest.approx(4 * np.pi * 12**2, rel=0.12)  # marching cubes on masks: some 8 % too much
    assert areas[1] == pytest.approx(areas[0], rel=0.12)


def test_empty_masks_of_a_scan_are_as_bad_as_can_be_and_counted():
    mask, none = ball((6, 30, 40), (3, 15, 20), 8, SPACING), np.zeros((6, 30, 40), bool)
    diagonal = float(np.hypot.reduce(np.multiply(mask.shape, SPACING)))
    scorer = Scorer(TUMOUR, unit="mm")
    for name, truth, answer in (("hit", mask, mask), ("miss", mask, none), ("false", none, mask), ("none", none, none)):
        scorer.add(name, "", truth.view(np.uint8), answer.view(np.uint8), spacing=SPACING)
    result = scorer.result("test")
    for key, best, worst in (("hd95", 0, diagonal), ("asd", 0, diagonal), ("nsd", 1, 0), ("dice", 1, 0)):
        values = {case.name: case.classes["tumour"][key] for case in result.cases}
        assert values == pytest.approx({"hit": best, "none": best, "miss": worst, "false": worst})
    assert result.classes["tumour"]["hd95"].n == 4  # nothing is left out of the mean
    assert result.empty["tumour"].model_dump() == {
        "images": 4, "n_truth_empty": 2, "n_pred_empty": 2, "n_both_empty": 1
    }  # fmt: skip
    corners = np.zeros((2, *mask.shape), bool)
    corners[0, 0, 0, 0] = corners[1, -1, -1, -1] = True
    assert float(hd95(measure_surface(*corners, spacing=SPACING))) < diagonal  # no answer is worse than any answer


# ------------------------------------------------------------------------------------------- deleted answers


def all_values(truth, answer):
    parts = {
        "counts": count(truth, answer),
        "band": measure_band(truth, answer, spacing=SPACING),
        "surface": measure_surface(truth, answer, spacing=SPACING),
        "objects": match_objects(truth, answer),
        "volumes": measure_volumes(count(truth, answer), spacing=SPACING, unit="mm"),
    }
    return {key: float(metric.function(parts[metric.part])) for key, metric in METRICS.items()}


def improved(before, after, keys=METRICS):
    """Metrics that an answer gained in, or that it escaped from."""
    better = set()
    for key in keys:
        gain = (after[key] - before[key]) * (1 if METRICS[key].higher else -1)
        if gain > 1e-9 or np.isnan(before[key]) != np.isnan(after[key]):
            better.add(key)
    return better


@pytest.mark.parametrize("seed", range(8))
def test_deleting_right_lesions_improves_no_metric(seed):
    """An answer that is some of the true lesions, right to the voxel: with fewer of them nothing is better."""
    rng = np.random.default_rng(seed)
    truth, _ = blobs(rng, (8, 20, 20), 1.2, share=0.85)
    lesions, found = ndimage.label(truth, np.ones((3, 3, 3)))
    assert found > 2
    kept, before = list(rng.permutation(found) + 1), all_values(truth, truth)
    while kept:
        kept.pop()
        after = all_values(truth, np.isin(lesions, kept))
        assert not improved(before, after)
        before = after


@pytest.mark.parametrize("seed", range(8))
def test_deleting_right_voxels_improves_no_count_and_no_volume_that_is_not_too_large(seed):
    """Any correct voxels of any answer: no score of counts; none of volumes where the answer is within the truth.

    More cannot hold: a lone right voxel deep inside a lesion is far from its surface and an object without a match.
    """
    rng = np.random.default_rng(seed)
    truth, answer = blobs(rng, (6, 12, 12))
    for start, parts in ((answer, ("counts",)), (answer & truth, ("counts", "volumes"))):
        keys = [key for key, metric in METRICS.items() if metric.part in parts]
        before, left = all_values(truth, start), start
        for _ in range(6):
            left = left & ~(truth & (rng.random(truth.shape) < rng.uniform(0, 0.6)))
            after = all_values(truth, left)
            assert not improved(before, after, keys)
            before = after


@pytest.mark.parametrize("seed", range(8))
def test_deleting_the_whole_answer_for_what_is_there_gives_the_worst_values(seed):
    truth, answer = blobs(np.random.default_rng(seed), (6, 12, 12))
    keys = [key for key, metric in METRICS.items() if not metric.gains]
    nothing = all_values(truth, np.zeros_like(truth))
    assert not improved(all_values(truth, answer), nothing, keys)
    within = all_values(truth, answer & truth)  # then volumes have nothing to gain either, only pieces without a match
    assert improved(within, nothing) <= {"object_false_positives"}
    assert [nothing[key] for key in ("dice", "nsd", "boundary_iou", "object_f1", "relative_volume_difference")] == [
        0, 0, 0, 0, 1
    ]  # fmt: skip


def test_deleting_one_class_improves_no_mean():
    rng, labels = np.random.default_rng(0), LabelSet(names=("background", "core", "rim"))
    scorers = [Scorer(labels, unit="mm") for _ in range(2)]
    for name in "abc":
        (core, rim), (found_core, found_rim) = blobs(rng, (6, 14, 14)), blobs(rng, (6, 14, 14))
        truth = np.where(core, 1, np.where(rim, 2, 0)).astype(np.uint8)
        answer = np.where(truth > 0, truth, np.where(found_core, 1, 2 * found_rim)).astype(np.uint8)
        for scorer, guess in zip(scorers, (answer, np.where(answer == 2, 0, answer).astype(np.uint8)), strict=True):
            scorer.add(name, "", truth, guess, spacing=SPACING)
    before, after = (scorer.result("test") for scorer in scorers)
    for key, metric in METRICS.items():
        if not metric.gains:
            sign = 1 if metric.higher else -1
            assert sign * after.mean[key].value <= sign * before.mean[key].value + 1e-9, key


# -------------------------------------------------------------------------------------- objects and volumes


def test_lesions_touch_at_corners_and_match_one_to_one():
    truth = np.zeros((6, 12, 12), bool)
    truth[0:2, 0:2, 0:2] = truth[2:4, 2:4, 2:4] = True  # one lesion: they touch at a corner
    truth[0:2, 8:10, 8:10] = True
    answer = truth.copy()
    answer[0:1, 8:10, 8:10] = False  # half of the second, which just matches
    answer[5, 0, 0] = answer[5, 11, 11] = True  # two that are not there
    found = match_objects(truth, answer)
    assert [int(part) for part in found] == [2, 4, 2, 0, 0]
    scores = [object_recall(found), object_precision(found), object_f1(found), object_false_positives(found)]
    assert [float(score) for score in scores] == pytest.approx([1, 0.5, 2 / 3, 2])


def test_volumes_by_hand():
    counts = count(np.arange(1000) < 400, np.arange(1000) >= 300)  # 400 true, 700 predicted
    found = measure_volumes(counts, spacing=(5.0, 1.0, 2.0), unit="mm")
    assert (float(found.true), float(found.predicted)) == pytest.approx((4, 7))  # ml
    assert float(volume_difference(found)) == pytest.approx(3)
    assert float(relative_volume_difference(found)) == pytest.approx(0.75)
    none = measure_volumes(count(np.zeros(9, bool), np.ones(9, bool)))
    assert float(volume_difference(none)) == 9
    assert np.isnan(relative_volume_difference(none))


# --------------------------------------------------------------------------------------------------- scorers


def test_every_scan_has_its_own_spacing():
    truth = ball((8, 16, 16), (4, 8, 8), 4).view(np.uint8)
    answer = np.roll(truth, 1, axis=0)
    answer[0, 0, 0] = 1
    scorer = Scorer(TUMOUR, unit="mm")
    for name, step in (("thick", 5.0), ("thin", 1.0)):
        scorer.add(name, "", truth, answer, spacing=(step, 1.0, 1.0))
    result = scorer.result("test")
    thick, thin = (case.classes["tumour"] for case in result.cases)
    for scores, step in ((thick, 5.0), (thin, 1.0)):
        direct = measure_surface(truth > 0, answer > 0, spacing=(step, 1.0, 1.0))
        assert scores["hd95"] == float(hd95(direct))
        assert scores["nsd"] == float(nsd(direct))
    assert thick["asd"] > thin["asd"] > 0
    assert thick["dice"] == thin["dice"]
    assert [case.volume_error["tumour"] for case in result.cases] == pytest.approx([0.005, 0.001])  # ml, signed
    less = Scorer(TUMOUR, unit="mm").add("a", "", answer, truth, spacing=(1.0, 1.0, 1.0))
    assert less.volume_error["tumour"] == pytest.approx(-0.001)
    assert less.classes["tumour"]["volume_difference"] == pytest.approx(0.001)
    assert result.unit == "mm"
    assert result.tolerance == 2.0
    assert "Unit: ml." in result.conventions["volumes"]
    assert "Unit: mm; tolerance of the normalised surface distance: 2." in result.conventions["distances"]
    assert "oxel" in result.conventions["averages"]
    assert not any("pixel" in rule for rule in result.conventions.values())
    assert result.pooled["tumour"].keys().isdisjoint({"volume_difference", "object_false_positives", "hd95"})


def test_units_are_what_the_cases_have():
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[1:3, 1:3, 1:3] = 1
    voxels = Scorer(TUMOUR, unit="mm")
    voxels.add("a", "", truth, truth)
    assert (voxels.unit, voxels.volume_unit) == ("voxels", "voxels")
    with pytest.raises(
        InputError, match=r"case 'b': its spacing is \(2.0, 1.0, 1.0\), but it comes after cases without"
    ):
        voxels.add("b", "", truth, truth, spacing=(2.0, 1.0, 1.0))
    with pytest.raises(InputError, match="case 'b': it has 2 axes, the cases before it 3"):
        voxels.add("b", "", truth[0], truth[0])
    flat = Scorer(TUMOUR, spacing=(0.5, 0.5), unit="um")
    flat.add("a", "", truth[1], np.zeros_like(truth[1]))
    assert (flat.unit, flat.volume_unit) == ("um", "um²")
    assert flat.rows["a"].scores.volume_error == {"tumour": -1.0}
    with pytest.raises(InputError, match="case 'b': spacing needs 2 numbers"):
        Scorer(TUMOUR, metrics=["dice"]).add("b", "", truth[0], truth[0], spacing=(1.0, 0.0))
