"""Scoring case by case, what an evaluation says, and paired comparison."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.metrics import hausdorff_distance

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.metrics.evaluation import Evaluation, Scorer, compare
from catenary.metrics.registry import METRICS
from catenary.metrics.table import comparison_rows, format_comparison, format_table, table_rows
from catenary.types import IGNORE

CELL = LabelSet(names=("background", "cell"))
THREE = LabelSet(names=("background", "a", "b"))
REGIONS = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})


def draw_cases(n=8, classes=3, size=(24, 30), seed=0, noise=1.0):
    """Smooth label maps with a noisy copy as the answer; two cases a group."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(n):
        field = ndimage.gaussian_filter(rng.normal(size=size), 3) * 10
        answer = field + ndimage.gaussian_filter(rng.normal(size=size), 2) * 6 * noise
        truth, guess = (np.digitize(f, [0.4, 1.2][: classes - 1]).astype(np.uint8) for f in (field, answer))
        cases.append((f"case {i}", f"group {i // 2}", truth, guess))
    return cases


def score(cases, labels=THREE, split="test", **kwargs):
    scorer = Scorer(labels, **kwargs)
    for case in cases:
        scorer.add(*case)
    return scorer.result(split)


def numbers(table):
    return {key: interval.value for key, interval in table.items()}


def test_means_and_pooled_values_by_hand():
    truth = [np.array([[1, 1, 0, 0]], np.uint8), np.array([[1, 0, 0, 0]], np.uint8), np.array([[0, 0, 0, 0]], np.uint8)]
    answer = [
        np.array([[1, 0, 0, 0]], np.uint8),
        np.array([[1, 1, 1, 0]], np.uint8),
        np.array([[0, 0, 0, 1]], np.uint8),
    ]
    result = score([(n, "", t, p) for n, t, p in zip("abc", truth, answer, strict=True)], CELL)
    assert (result.split, result.n, result.groups) == ("test", 3, 3)
    mean, pooled = numbers(result.classes["cell"]), numbers(result.pooled["cell"])
    assert mean["dice"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert pooled["dice"] == pytest.approx(2 * 2 / (2 * 2 + 3 + 1))
    assert mean["sensitivity"] == pytest.approx((1 / 2 + 1) / 2)  # the image without cells does not count
    assert result.classes["cell"]["sensitivity"].n == 2
    assert result.classes["cell"]["dice"].n == 3
    assert pooled["sensitivity"] == pytest.approx(2 / 3)
    assert mean["precision"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert pooled["precision"] == pytest.approx(2 / 5)
    assert mean["thresholded_jaccard"] == 0
    assert not {"hd95", "asd", "thresholded_jaccard"} & pooled.keys()
    assert numbers(result.mean) == mean
    assert numbers(result.pooled_mean) == pooled
    assert result.confusion == [[6, 3], [1, 2]]
    assert result.confusion_names == ["background", "cell"]
    assert result.empty["cell"].model_dump() == {
        "images": 3, "n_truth_empty": 1, "n_pred_empty": 0, "n_both_empty": 0
    }  # fmt: skip
    assert result.objects["cell"].model_dump() == {"true": 2, "predicted": 3, "matched": 1, "merges": 0, "splits": 0}
    assert pooled["object_f1"] == pytest.approx(2 / 5)
    case = result.cases[0]
    assert (case.name, case.group, case.n_pixels, case.n_ignored) == ("a", "a", 4, 0)
    assert (case.truth_pixels, case.predicted_pixels) == ({"cell": 2}, {"cell": 1})


def test_mean_over_classes_is_the_mean_of_the_class_means():
    result = score(draw_cases())
    for key in METRICS:
        rows = [case.classes[name][key] for name in "ab" for case in result.cases]
        assert None not in rows
        assert result.mean[key].value == pytest.approx(np.mean(rows))
        assert result.classes["a"][key].value == pytest.approx(np.mean(rows[:8]))


def test_hausdorff_agrees_with_scikit_image_where_definitions_do():
    """Where all distances are one number, the 95th percentile is the maximum."""
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 10] = 1
    answer = np.roll(truth, 7, axis=1)
    result = score([("a", "", truth, answer)], CELL)
    assert result.classes["cell"]["hd95"].value == hausdorff_distance(truth > 0, answer > 0) == 7


def test_order_of_cases_does_not_matter():
    cases = draw_cases()
    mixed = [cases[i] for i in np.random.default_rng(1).permutation(len(cases))]
    assert score(cases) == score(mixed)


def test_same_seed_same_intervals_and_they_hold_the_value():
    cases = draw_cases(12)
    scorer = Scorer(THREE)
    for case in cases:
        scorer.add(*case)
    assert scorer.result("test") == scorer.result("test")
    assert scorer.result("test", seed=1) != scorer.result("test")
    result = scorer.result("test")
    for table in (*result.classes.values(), result.mean, *result.pooled.values(), result.pooled_mean):
        for key, interval in table.items():
            assert interval.low <= interval.value <= interval.high, key
    assert result.classes["a"]["dice"].high - result.classes["a"]["dice"].low > 0.01


def test_one_group_has_no_interval():
    result = score([(name, "the only patient", t, p) for name, _, t, p in draw_cases()])
    assert result.groups == 1
    for table in (result.classes["a"], result.mean, result.pooled["a"], result.pooled_mean):
        assert table["dice"].value > 0
        assert table["dice"].low is None
        assert table["dice"].high is None


def test_ignored_pixels_change_nothing():
    truth = np.zeros((12, 12), np.uint8)
    truth[2:6, 2:6] = 1
    answer = np.roll(truth, 1, axis=0)
    answer[9:, 9:] = 1
    truth[8:, 8:] = IGNORE
    painted = answer.copy()
    painted[8:, 8:] = np.random.default_rng(0).integers(0, 2, (4, 4))
    results = [score([("a", "", truth, one)], CELL) for one in (answer, painted)]
    assert results[0] == results[1]
    regions = LabelSet(names=("background", "cell"), regions={"cell": (1,)})
    masks = [score([("a", "", truth, one[None] == 1)], regions) for one in (answer, painted)]
    assert masks[0].classes == masks[1].classes == results[0].classes
    assert results[0].cases[0].n_pixels == 128
    assert results[0].cases[0].n_ignored == 16
    assert results[0].classes["cell"]["dice"].value == 0.75
    assert results[0].classes["cell"]["object_f1"].value == 1


def test_wholly_ignored_image_is_left_out():
    cases = draw_cases(4)
    nothing = np.full((5, 5), IGNORE, np.uint8)
    with_it = score([*cases, ("nothing", "z", nothing, nothing * 0)])
    without = score(cases)
    assert set(with_it.cases[-1].classes["a"].values()) == {None}
    for name in "ab":
        assert numbers(with_it.classes[name]) == pytest.approx(numbers(without.classes[name]))
        assert numbers(with_it.pooled[name]) == pytest.approx(numbers(without.pooled[name]))
        assert with_it.classes[name]["dice"].n == 4
        assert with_it.empty[name] == without.empty[name]
    only = score([("nothing", "", nothing, nothing * 0)])
    assert only.mean["dice"].model_dump() == {"value": None, "low": None, "high": None, "n": 0}
    assert all(interval.value is None for key, interval in only.classes["a"].items())


def test_no_answer_counts_as_background():
    truth = np.array([[0, 1, 1, 0]], np.uint8)
    silent = score([("a", "", truth, np.array([[IGNORE, 1, IGNORE, 0]], np.uint8))], CELL)
    spoken = score([("a", "", truth, np.array([[0, 1, 0, 0]], np.uint8))], CELL)
    assert silent == spoken


def test_overlapping_regions_by_masks_and_by_label_map():
    cases = draw_cases(4)
    by_map = score(cases, REGIONS)
    by_mask = score([(n, g, t, np.stack([p > 0, p == 2])) for n, g, t, p in cases], REGIONS)
    assert by_map.classes.keys() == {"disc", "cup"}
    assert (by_map.classes, by_map.pooled, by_map.cases) == (by_mask.classes, by_mask.pooled, by_mask.cases)
    assert by_mask.confusion == by_mask.confusion_names == []
    assert sum(map(sum, by_map.confusion)) == 4 * 24 * 30
    # masks need not be nested as label maps are
    name, group, truth, _ = cases[0]
    odd = score([(name, group, truth, np.stack([np.zeros(truth.shape, bool), truth == 2]))], REGIONS)
    assert odd.classes["disc"]["dice"].value == 0
    assert odd.classes["cup"]["dice"].value == 1


def test_tiny_and_three_dimensional_images():
    one = np.ones((1, 1), np.uint8)
    result = score([("hit", "", one, one), ("miss", "", one, one * 0), ("false", "", one * 0, one)], CELL)
    assert [case.classes["cell"]["dice"] for case in result.cases] == [0, 1, 0]
    assert result.cases[2].classes["cell"]["hd95"] == pytest.approx(np.sqrt(2))
    cube = np.zeros((4, 5, 6), np.uint8)
    cube[1:3, 1:4, 1:4] = 1
    volumes = score([("v", "", cube, np.roll(cube, 1, axis=0))], CELL, spacing=(3.0, 1.0, 1.0), unit="mm")
    assert volumes.classes["cell"]["hd95"].value == 3
    assert volumes.unit == "mm"
    assert "mm" in volumes.conventions["distances"]


def test_spacing_of_the_scorer_and_of_a_case():
    _, _, truth, answer = draw_cases(1)[0]
    pixels = Scorer(THREE, tolerance=1.0).add("a", "", truth, answer).classes["a"]
    half = Scorer(THREE, tolerance=0.5, spacing=(0.5, 0.5)).add("a", "", truth, answer).classes["a"]
    own = Scorer(THREE, tolerance=0.5).add("a", "", truth, answer, spacing=(0.5, 0.5)).classes["a"]
    assert half == own
    assert half["hd95"] == pytest.approx(pixels["hd95"] / 2)
    assert half["nsd"] == pixels["nsd"]


def test_fewer_metrics_are_the_same_metrics():
    cases = draw_cases(3)
    full, few = score(cases), score(cases, metrics=["iou", "dice"])
    assert list(few.mean) == ["dice", "iou"]
    assert few.classes["a"] == {key: full.classes["a"][key] for key in ("dice", "iou")}
    assert few.objects == {}
    with pytest.raises(ConfigError, match="no metric 'dise'; did you mean 'dice'"):
        Scorer(THREE, metrics=["dise"])


def test_evaluation_is_plain_json_without_nan():
    scorer, rival = Scorer(THREE), Scorer(THREE)
    for name, group, truth, answer in draw_cases(4):
        scorer.add(name, group, np.where(truth == 2, 0, truth).astype(np.uint8), answer)
        rival.add(name, group, np.where(truth == 2, 0, truth).astype(np.uint8), answer * 0)
    result = scorer.result("val", baselines={"majority": rival})
    text = result.model_dump_json()
    assert Evaluation.model_validate_json(text) == result
    plain = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert plain["classes"]["b"]["sensitivity"] == {"value": None, "low": None, "high": None, "n": 0}
    assert plain["baselines"]["majority"]["classes"]["a"]["dice"]["value"] == 0
    assert plain["baselines"]["majority"]["mean"]["dice"]["value"] == 0.5  # nothing of b, and none found
    assert plain["empty"]["b"]["n_truth_empty"] == 4
    assert METRICS.keys() <= plain["conventions"].keys()


def test_wrong_use_is_told():
    _, _, truth, answer = draw_cases(1)[0]
    scorer = Scorer(THREE)
    with pytest.raises(InputError, match="no case was scored"):
        scorer.result("test")
    scorer.add("a", "g", truth, answer)
    with pytest.raises(InputError, match="case 'a' was scored before"):
        scorer.add("a", "g", truth, answer)
    with pytest.raises(InputError, match=r"case 'b': truth and prediction must have one shape"):
        scorer.add("b", "g", truth, answer[:5])
    with pytest.raises(InputError, match="case 'b': the prediction holds the value 7"):
        scorer.add("b", "g", truth, answer + np.uint8(7))
    with pytest.raises(InputError, match=r"shape \(2, 24, 30\), found \(3, 24, 30\)"):
        scorer.add("b", "g", truth, np.zeros((3, 24, 30), bool))
    with pytest.raises(InputError, match="case 'b': the truth holds the value 9"):
        scorer.add("b", "g", truth * 0 + np.uint8(9), np.zeros((2, 24, 30), bool))
    with pytest.raises(InputError, match="case 'b': spacing"):
        scorer.add("b", "g", truth, answer, spacing=(0.0, 1.0))
    rival = Scorer(THREE)
    rival.add("other", "g", truth, answer)
    with pytest.raises(
        InputError, match="baseline 'majority' and the model were scored on other cases, found 'a' in one only"
    ):
        scorer.result("test", baselines={"majority": rival})
    result = scorer.result("test")
    assert result.n == 1
    assert np.sum(result.confusion) == truth.size  # what was refused left no trace


# ------------------------------------------------------------------------------------- the guarantee on means


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(*[arrays(np.uint8, (6, 6), elements=st.integers(0, 2))] * 2), min_size=1, max_size=4),
    st.sampled_from([1, 2]),
    st.data(),
)
def test_deleting_answers_never_improves_a_mean(pairs, target, data):
    """Whole answers of one class, in any images that hold that class: no mean over images or classes gains."""
    chosen = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    before, after = (Scorer(THREE), Scorer(THREE))
    for i, ((truth, answer), delete) in enumerate(zip(pairs, chosen, strict=True)):
        before.add(str(i), "", truth, answer)
        deleted = np.where(answer == target, 0, answer).astype(np.uint8)
        after.add(str(i), "", truth, deleted if delete and (truth == target).any() else answer)
    a, b = before.result("test"), after.result("test")
    name = THREE.names[target]
    for key, metric in METRICS.items():
        assert a.classes[name][key].n == b.classes[name][key].n
        if not metric.gains and a.classes[name][key].value is not None:
            sign = 1 if metric.higher else -1
            assert sign * b.classes[name][key].value <= sign * a.classes[name][key].value + 1e-9
            assert sign * b.mean[key].value <= sign * a.mean[key].value + 1e-9


# ------------------------------------------------------------------------------------------------ comparison


def test_comparison_is_paired_and_signed():
    good, bad = score(draw_cases(16, noise=0.2)), score(draw_cases(16, noise=1.0))
    # the same truths, as the noise is drawn in the same order
    result = compare(bad, good, names=("old", "new"))
    assert (result.a, result.b, result.n, result.groups) == ("old", "new", 16, 8)
    assert result.classes.keys() == {"a", "b"}
    for key in ("dice", "hd95", "fdr"):
        one = result.mean[key]
        assert one.value == pytest.approx(good.mean[key].value - bad.mean[key].value)
        assert (one.a, one.b) == pytest.approx((bad.mean[key].value, good.mean[key].value))
        assert one.better == "b"
        assert one.low <= one.value <= one.high
        assert one.p == 2 / 2**8  # all eight groups agree
    assert result.mean["dice"].value > 0 > result.mean["hd95"].value
    turned = compare(good, bad)
    assert turned.mean["dice"].better == "a"
    assert turned.mean["dice"].value == -result.mean["dice"].value
    # pairing pays: the interval of the difference is narrower than those of the two means together
    width = result.mean["dice"].high - result.mean["dice"].low
    alone = [one.mean["dice"].high - one.mean["dice"].low for one in (good, bad)]
    assert width < sum(alone) / 2
    assert json.loads(result.model_dump_json())["mean"]["dice"]["n"] == 16


def test_equal_evaluations_do_not_differ():
    one = score(draw_cases())
    for difference in compare(one, one).mean.values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert (difference.p, difference.better) == (1, "unclear")


def test_undefined_scores_are_compared_as_undefined():
    cases = [(name, group, truth * 0, answer) for name, group, truth, answer in draw_cases(4)]
    one = score(cases)
    assert compare(one, one).mean["sensitivity"].model_dump() == {
        "a": None, "b": None, "value": None, "low": None, "high": None, "p": None, "n": 0, "better": "unclear"
    }  # fmt: skip


def test_p_value_of_the_mean_where_a_class_is_absent_from_some_images():
    """All sign flips by hand, for a score that is defined for both classes in one image and for one class elsewhere."""
    a, b = np.array([[1, 1, 1, 1, 2, 2, 2, 2]], np.uint8), np.array([[1, 1, 1, 1, 0, 0, 0, 0]], np.uint8)
    truths = [a, b, b, b]
    half, most = [1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]
    before = [np.array([row], np.uint8) for row in ([1, 1, 1, 1, 2, 0, 0, 0], half, most, most)]
    after = [np.array([row], np.uint8) for row in ([1, 1, 1, 1, 2, 2, 2, 2], most, half, half)]
    one, two = (
        score([(str(i), "", t, p) for i, (t, p) in enumerate(zip(truths, answers, strict=True))])
        for answers in (before, after)
    )
    assert (one.classes["a"]["sensitivity"].n, one.classes["b"]["sensitivity"].n) == (4, 1)
    assert one.mean["sensitivity"].n == 4
    found = compare(one, two).mean["sensitivity"]
    # mean over classes of (sum over images / number of images of that class)
    parts = np.array([(0 / 4 + 0.75 / 1) / 2, 0.5 / 4 / 2, -0.5 / 4 / 2, -0.5 / 4 / 2])
    flips = np.array(np.meshgrid(*[[1, -1]] * 4)).reshape(4, -1)
    assert found.value == pytest.approx(parts.sum())
    assert found.p == np.mean(np.abs(parts @ flips) >= parts.sum() - 1e-12)


def test_comparison_of_one_group_claims_nothing():
    good, bad = (score([(n, "g", t, p) for n, _, t, p in draw_cases(noise=noise)]) for noise in (0.3, 1.0))
    one = compare(bad, good).mean["dice"]
    assert one.value > 0
    assert (one.low, one.high, one.p, one.better) == (None, None, None, "unclear")


def test_comparison_refuses_what_cannot_be_paired():
    cases = draw_cases(4)
    one = score(cases)
    with pytest.raises(InputError, match="4 and 3 cases and 1 of these are in one only, for example 'case 3'"):
        compare(one, score(cases[:3]))
    other = [(n, g, np.roll(t, 1) if n != "case 2" else t * 0, p) for n, g, t, p in cases]
    with pytest.raises(InputError, match="case 'case 2' has another size, group or truth"):
        compare(one, score(other))
    with pytest.raises(InputError, match="tolerance 2 and in pixels with tolerance 3"):
        compare(one, score(cases, tolerance=3.0))
    with pytest.raises(InputError, match="share no target, found a, b and disc, cup"):
        compare(one, score(cases, REGIONS))


# ---------------------------------------------------------------------------------------------------- tables


def test_tables_hold_what_was_measured():
    scorer, rival = Scorer(THREE), Scorer(THREE)
    for name, group, truth, answer in draw_cases():
        scorer.add(name, group, truth, answer)
        rival.add(name, group, truth, answer * 0)
    result = scorer.result("test", baselines={"majority": rival})
    rows = table_rows(result, ["dice", "hd95"])
    assert [row[0] for row in rows] == ["test", "a", "b", "mean", "without learning: majority"]
    assert rows[0][1:] == ["Dice", "HD95"]
    dice = result.classes["a"]["dice"]
    assert rows[1][1] == f"{dice.value:.3f} ({dice.low:.3f} to {dice.high:.3f})"
    assert rows[4][1] == "0.000 (0.000 to 0.000)"
    assert "8 cases in 4 groups" in format_table(result)
    both = compare(result, result)
    assert comparison_rows(both, ["dice"])[1][:2] == ["a", "Dice"]
    assert str(both) == format_comparison(both)
    assert "unclear" in str(both)


# ---------------------------------------------------------------------------------------------- -- real data


@pytest.mark.real
def test_two_thresholds_reach_the_known_scores_on_a_real_electrode(real_data):
    """The two-threshold baseline of this set is known: IoU .968, .931, .916 for its phases over all slices."""
    import csv

    import tifffile
    from PIL import Image

    from catenary.metrics.baselines import fit_baselines

    folder = real_data("solid-oxide-cell")
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    labels = LabelSet(names=("pore", "electrolyte", "nickel"))
    pairs = [
        (tifffile.imread(folder / row["image"])[None], np.array(Image.open(folder / row["mask"]), np.uint8))
        for row in table[::3]
    ]
    fitted = fit_baselines(pairs, labels)
    scorer = Scorer(labels, metrics=["iou"])
    for i, (image, label) in enumerate(pairs):
        scorer.add(str(i), "", label, fitted.predict(image)["thresholds"])
    pooled = scorer.result("all").pooled
    assert pooled["electrolyte"]["iou"].value == pytest.approx(0.931, abs=0.02)
    assert pooled["nickel"]["iou"].value == pytest.approx(0.916, abs=0.02)
