"""Scores of whole-image classes: counts, curves, thresholds, and the evaluation that holds them together."""

import json
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.errors import ConfigError, InputError
from catenary.metrics.classes import compare_classes, evaluate_classes
from catenary.metrics.classification import COUNTED, confusion_matrices, mcc, multiclass_mcc, one_vs_rest
from catenary.metrics.classresults import SCORES, ClassEvaluation
from catenary.metrics.counts import Counts
from catenary.metrics.decision import GRID, choose_threshold, net_benefit, predictive_values, treat_all
from catenary.metrics.intervals import draw_groups
from catenary.metrics.ranking import (
    RANKED,
    auc,
    average_precision,
    compare_areas,
    cuts,
    partial_auc,
    resample_ranked,
    sensitivity_at,
    specificity_at,
    standardised_partial_auc,
)
from catenary.report.classes import class_view, worst_mistakes
from catenary.report.html import fill

NAMES = ("healthy", "glaucoma")


def made(n=60, *, k=2, groups=None, seed=0, skill=1.5):
    """Truth, probabilities that know something of it, and groups of two cases."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) % k)
    logits = rng.normal(size=(n, k)) + skill * np.eye(k)[truth]
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return truth, probability, [f"p{i // 2}" for i in range(n)] if groups is None else groups


def evaluated(*args, **kwargs):
    truth, probability, groups = args
    names = NAMES if probability.shape[1] == 2 else tuple("abcdefg"[: probability.shape[1]])
    return evaluate_classes(truth, probability, names=names, groups=groups, **({"resamples": 200} | kwargs))


def binary():
    """Positives and scores with many ties, both classes there."""
    pairs = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40)
    return pairs.filter(lambda rows: len({hit for hit, _ in rows}) == 2).map(
        lambda rows: (np.array([hit for hit, _ in rows]), np.array([s / 6 for _, s in rows]))
    )


# --- counts


@pytest.mark.parametrize(
    ("counts", "published"),
    [
        # The published confusion matrix of the progression model.
        (
            {"tp": 104, "fp": 6, "fn": 2, "tn": 82},
            "sensitivity .9811, specificity .9318, precision .9455, npv .9762, fpr .0682, fdr .0545, fnr .0189, "
            "mcc .9173, f1 .9630, accuracy .9588",
        ),
        # Derived: the detection model's matrix was published as a picture only. No matrix of 4,283 images (a fifth of
        # its 21,414) gives all its scores; this one, of 4,304, does.
        (
            {"tp": 1645, "fp": 21, "fn": 36, "tn": 2602},
            "sensitivity .9786, specificity .9920, precision .9874, npv .9864, fpr .0080, fdr .0126, fnr .0214, "
            "mcc .9722, f1 .9830, accuracy .9868",
        ),
    ],
)
def test_the_published_tables_come_out_of_their_confusion_matrices(counts, published):
    found = Counts(**{name: np.array(n) for name, n in counts.items()})
    for row in published.split(", "):
        key, value = row.split()
        assert f"{COUNTED[key](found):.4f}" == f"0{value}"
    truth = np.repeat([1, 0, 1, 0], [counts[name] for name in ("tp", "fp", "fn", "tn")])
    called = np.repeat([1, 1, 0, 0], [counts[name] for name in ("tp", "fp", "fn", "tn")])
    table = evaluated(truth, np.eye(2)[called], [str(i) for i in range(len(truth))], resamples=20)
    for row in published.split(", "):
        key, value = row.split()
        assert f"{table.classes['glaucoma'][key].value:.4f}" == f"0{value}"


def test_what_is_not_defined_is_nan_and_never_a_number():
    nobody_called = Counts(*(np.array(n) for n in (0, 0, 3, 5)))
    no_positive = Counts(*(np.array(n) for n in (0, 2, 0, 5)))
    for key in ("precision", "fdr", "mcc"):
        assert np.isnan(COUNTED[key](nobody_called))
    for key in ("sensitivity", "fnr", "balanced_accuracy", "mcc", "lr_positive"):
        assert np.isnan(COUNTED[key](no_positive))
    assert COUNTED["f1"](nobody_called) == 0
    assert np.isinf(COUNTED["lr_positive"](Counts(*(np.array(n) for n in (3, 0, 1, 5)))))


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_counts_of_classes_add_up(seed, k):
    rng = np.random.default_rng(seed)
    truth, called = rng.integers(0, k, (2, 30))
    matrix = confusion_matrices(truth, called, k, np.arange(30), np.ones((1, 30)))
    counts = one_vs_rest(matrix)
    assert (sum(counts) == 30).all()
    assert counts.tp.sum() == (truth == called).sum()
    assert counts.fp.sum() == counts.fn.sum() == (truth != called).sum()
    if k == 2:
        np.testing.assert_allclose(multiclass_mcc(matrix)[0], mcc(counts)[0, 1], atol=1e-12)


# --- curves


@settings(max_examples=60)
@given(binary())
def test_auc_is_the_share_of_pairs_in_order(case):
    positive, score = case
    gaps = score[positive][:, None] - score[~positive]
    assert auc(cuts(positive, score)) == pytest.approx(((gaps > 0) + 0.5 * (gaps == 0)).mean())
    assert auc(cuts(positive, -score)) == pytest.approx(1 - auc(cuts(positive, score)))
    assert partial_auc(cuts(positive, score), 0.0) == pytest.approx(auc(cuts(positive, score)))


@settings(max_examples=60)
@given(binary())
def test_points_are_those_of_the_best_usable_cut(case):
    positive, score = case
    thresholds = [*np.unique(score), 2.0]
    hits = [(score >= t)[positive].mean() for t in thresholds]
    passes = [(score < t)[~positive].mean() for t in thresholds]
    found = cuts(positive, score)
    assert sensitivity_at(found, 0.8) == pytest.approx(max(h for h, s in zip(hits, passes, strict=True) if s >= 0.8))
    assert specificity_at(found, 0.8) == pytest.approx(max(s for h, s in zip(hits, passes, strict=True) if h >= 0.8))


@settings(max_examples=40)
@given(binary(), st.integers(0, 1000))
def test_weights_are_repeated_cases(case, seed):
    positive, score = case
    weight = np.random.default_rng(seed).integers(0, 4, len(score))
    weight[[positive.argmax(), positive.argmin()]] = 1  # both classes stay
    repeated = cuts(np.repeat(positive, weight), np.repeat(score, weight))
    weighted = cuts(positive, score, weight.astype(float)[None])
    for function in RANKED.values():
        np.testing.assert_allclose(function(weighted)[0], function(repeated), atol=1e-12)


def test_curves_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    for digits in (1, 2, 9):
        positive = rng.random(300) < 0.3
        score = np.round(1 / (1 + np.exp(-rng.normal(size=300) - positive)), digits)
        found = cuts(positive, score)
        assert auc(found) == pytest.approx(metrics.roc_auc_score(positive, score))
        assert standardised_partial_auc(found) == pytest.approx(metrics.roc_auc_score(positive, score, max_fpr=0.1))
        assert average_precision(found) == pytest.approx(metrics.average_precision_score(positive, score))
        fpr, tpr, thresholds = metrics.roc_curve(positive, score, drop_intermediate=False)
        np.testing.assert_allclose(found.fp / found.fp[-1], fpr)
        np.testing.assert_allclose(found.tp / found.tp[-1], tpr)
        np.testing.assert_allclose(found.threshold, thresholds)


def test_all_scores_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, probability, groups = made(200, k=3, seed=5)
    called = probability.argmax(1)
    found = evaluated(truth, probability, groups)
    assert found.confusion == metrics.confusion_matrix(truth, called).tolist()
    assert found.mean["mcc"].value == pytest.approx(metrics.matthews_corrcoef(truth, called))
    assert found.mean["balanced_accuracy"].value == pytest.approx(metrics.balanced_accuracy_score(truth, called))
    assert found.mean["log_loss"].value == pytest.approx(metrics.log_loss(truth, probability))
    assert found.mean["f1"].value == pytest.approx(metrics.f1_score(truth, called, average="macro"))
    assert found.mean["auc"].value == pytest.approx(metrics.roc_auc_score(truth, probability, multi_class="ovr"))
    assert found.mean["precision"].value == pytest.approx(metrics.precision_score(truth, called, average="macro"))


def test_auc_against_mann_whitney():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    positive, score = rng.random(80) < 0.5, rng.integers(0, 9, 80) / 9
    u = stats.mannwhitneyu(score[positive], score[~positive]).statistic
    assert auc(cuts(positive, score)) == pytest.approx(u / positive.sum() / (~positive).sum())


# --- intervals


def test_the_bootstrap_is_that_of_a_plain_loop():
    truth, probability, _ = made(40)
    index = np.arange(40) // 2
    draws = draw_groups(20, resamples=30, rng=np.random.default_rng(1))
    found = resample_ranked(truth == 1, probability[:, 1], index, draws)
    for r, draw in enumerate(draws):
        rows = np.repeat(np.arange(40), draw[index].astype(int))
        again = cuts(truth[rows] == 1, probability[rows, 1])
        for key, function in RANKED.items():
            np.testing.assert_allclose(found[key][r], function(again), atol=1e-12)


def test_intervals_are_over_patients():
    truth, probability, _ = made(60)
    single = evaluated(truth, probability, [str(i) for i in range(60)])
    four = [np.tile(x, (4, 1)) if x.ndim > 1 else np.tile(x, 4) for x in (truth, probability)]
    repeated = evaluated(*four, [str(i % 60) for i in range(240)])
    for key, score in single.classes["glaucoma"].items():
        if key == "calibration_error":  # more images a bin
            continue
        again = repeated.classes["glaucoma"][key]
        np.testing.assert_allclose(
            [again.value, again.low, again.high], [score.value, score.low, score.high], rtol=1e-9, err_msg=key
        )


def test_no_interval_with_few_groups_and_it_is_said():
    truth, probability, _ = made(40)
    found = evaluated(truth, probability, [f"p{i % 9}" for i in range(40)])
    assert all(score.low is None for score in found.classes["glaucoma"].values())
    assert found.details["glaucoma"].decision.low == []
    assert any("10 groups or more, found 9" in note for note in found.notes)


def test_resamples_with_one_class_are_left_out_and_told():
    probability = np.linspace(0.05, 0.9, 12)
    truth = np.array([0] * 11 + [1])
    found = evaluated(truth, np.stack([1 - probability, probability], 1), [str(i) for i in range(12)], resamples=2000)
    area = found.classes["glaucoma"]["auc"]
    assert area.left_out == pytest.approx((11 / 12) ** 12, abs=0.04)
    assert area.low is not None
    assert any("left out" in note and "AUC" in note for note in found.notes)
    assert any("no width" in note and "sensitivity" in note and "1.000 away" in note for note in found.notes)


def test_two_thousand_resamples_of_five_thousand_images_take_seconds():
    truth, probability, _ = made(5000, skill=0.5)
    start = time.perf_counter()
    evaluated(truth, probability, [str(i // 2) for i in range(5000)], resamples=2000)
    assert time.perf_counter() - start < 30  # a few on a quiet machine


# --- one class, many classes, sources


def test_one_class_only_is_said():
    probability = np.linspace(0.1, 0.4, 20)
    found = evaluated(np.zeros(20, int), np.stack([1 - probability, probability], 1), [str(i) for i in range(20)])
    scores = found.classes["glaucoma"]
    assert scores["auc"].value is None
    assert scores["sensitivity"].value is None
    assert scores["precision"].value is None
    assert scores["specificity"].value == 1
    assert any("no positive case: sensitivity" in note for note in found.notes)
    assert found.details["glaucoma"].curves.fpr == []
    assert json.loads(found.model_dump_json())["classes"]["glaucoma"]["auc"]["value"] is None


def test_a_class_that_is_not_there_is_left_out_of_the_mean_and_said():
    truth, probability, groups = made(60, k=3)
    truth = np.where(truth == 2, 1, truth)
    found = evaluated(truth, probability, groups)
    assert found.classes["c"]["auc"].value is None
    mean = np.mean([found.classes[name]["auc"].value for name in "ab"])
    assert found.mean["auc"].value == pytest.approx(mean)
    assert any("Not defined for c" in note for note in found.notes)


def test_each_source_has_its_row():
    truth, probability, groups = made(80)
    sources = ["phone" if i < 20 else "clinic" for i in range(80)]
    truth[:20] = 0
    found = evaluated(truth, probability, groups, sources=sources)
    clinic, phone = found.sources
    assert (clinic.source, clinic.n, phone.n, phone.cases) == ("clinic", 60, 20, {"healthy": 20, "glaucoma": 0})
    assert phone.scores["auc"].value is None
    assert "All its cases, 20, are healthy" in phone.note
    assert any(note.startswith("phone: All its cases, 20") for note in found.notes)
    mask = np.arange(80) >= 20
    alone = evaluated(truth[mask], probability[mask], groups[20:])
    assert clinic.scores["auc"].value == alone.classes["glaucoma"]["auc"].value
    # The source alone tells something here, and a baseline shows it.
    assert found.baselines["source alone"]["auc"] > 0.6


def test_baselines_know_nothing():
    truth, probability, groups = made(90)
    truth[:10] = 1
    found = evaluated(truth, probability, groups)
    share = truth.mean()
    assert found.baselines["prevalence"]["auc"] == 0.5
    assert found.baselines["prevalence"]["average_precision"] == pytest.approx(share)
    assert found.baselines["prevalence"]["brier"] == pytest.approx(share * (1 - share))
    assert found.baselines["always glaucoma"]["accuracy"] == pytest.approx(share)
    assert found.baselines["always glaucoma"]["mcc"] is None
    assert "source alone" not in found.baselines


@pytest.mark.parametrize("k", [2, 3])
def test_the_evaluation_is_json_and_comes_back(k):
    truth, probability, groups = made(40, k=k)
    found = evaluated(truth, probability, groups, sources=["x", "y"] * 20, **({"prevalence": 0.02} if k == 2 else {}))
    assert ClassEvaluation.model_validate_json(found.model_dump_json()) == found
    assert found == evaluated(
        truth, probability, groups, sources=["x", "y"] * 20, **({"prevalence": 0.02} if k == 2 else {})
    )
    assert SCORES["auc"].title in str(found)
    assert len(found.cases) == 40
    assert sum(map(sum, found.confusion)) == 40


def test_the_threshold_decides_and_the_ranking_does_not_care():
    truth, probability, groups = made(60)
    low, high = (evaluated(truth, probability, groups, threshold=t).classes["glaucoma"] for t in (0.2, 0.8))
    assert low["sensitivity"].value > high["sensitivity"].value
    assert low["specificity"].value < high["specificity"].value
    assert low["auc"] == high["auc"]


# --- comparison


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    truth, probability, groups = made(200, skill=1.0)
    worse = np.random.default_rng(9).permutation(probability)
    same = compare_classes(truth, probability, probability, names=NAMES, groups=groups)
    assert all(row.value in (0.0, None) and row.better == "unclear" for row in same.scores.values())
    assert same.scores["auc"].p == 1
    found = compare_classes(truth, worse, probability, names=NAMES, groups=groups, models=("old", "new"))
    assert found.scores["auc"].better == found.scores["log_loss"].better == "b"
    assert found.scores["auc"].p < 0.001
    assert found.scores["log_loss"].value < 0
    assert "old" not in found.scores
    assert "new - old" in str(found)


def delong_written_out(positive, a, b):
    """Variance of the difference of two AUCs as DeLong's paper has it."""
    parts = []
    for score in (a, b):
        kernel = np.sign(score[positive][:, None] - score[~positive]) / 2 + 0.5
        parts.append((kernel.mean(1), kernel.mean(0)))
    up, down = (np.cov(parts[0][i], parts[1][i]) for i in (0, 1))
    total = up / positive.sum() + down / (~positive).sum()
    return np.sqrt(total[0, 0] + total[1, 1] - 2 * total[0, 1])


def test_two_areas_are_compared_as_by_delong():
    rng = np.random.default_rng(2)
    positive = rng.random(70) < 0.4
    a, b = (np.round(rng.normal(size=70) + shift * positive, 1) for shift in (0.5, 1.0))
    found = compare_areas(positive, a, b)
    assert found.error == pytest.approx(delong_written_out(positive, a, b))
    # Every case five times over in one group says no more than once.
    five = compare_areas(*(np.tile(x, 5) for x in (positive, a, b)), groups=[str(i % 70) for i in range(350)])
    assert five.error == pytest.approx(found.error, rel=1e-9)
    with pytest.raises(InputError, match="two groups of each class"):
        compare_areas(np.array([True, False, False]), a[:3], b[:3])


def test_eyes_of_one_patient_are_no_two_patients():
    # One ill and one healthy eye each; the second score adds to both what only the patient explains.
    rng = np.random.default_rng(4)
    positive = np.tile([True, False], 150)
    a = rng.normal(size=300) + positive
    b = a + 0.6 * rng.normal(size=300) + np.repeat(2 * rng.normal(size=150), 2)
    index = np.arange(300) // 2
    draws = draw_groups(150, resamples=1500, rng=rng)
    drawn = [resample_ranked(positive, score, index, draws)["auc"] for score in (a, b)]
    by_patient = compare_areas(positive, a, b, groups=[str(i) for i in index])
    assert by_patient.error == pytest.approx((drawn[1] - drawn[0]).std(), rel=0.08)
    assert by_patient.error < 0.8 * compare_areas(positive, a, b).error


# --- decisions


def test_predictive_values_are_those_of_the_data_at_its_prevalence():
    truth, probability, groups = made(60)
    share = float(truth.mean())
    scores = evaluated(truth, probability, groups, prevalence=share).classes["glaucoma"]
    assert scores["ppv_at_prevalence"].value == pytest.approx(scores["precision"].value)
    assert scores["npv_at_prevalence"].value == pytest.approx(scores["npv"].value)
    rare = evaluated(truth, probability, groups, prevalence=0.01).classes["glaucoma"]
    assert rare["ppv_at_prevalence"].value < scores["precision"].value
    with pytest.raises(ConfigError, match="between 0 and 1, found 2"):
        predictive_values(0.9, 0.9, prevalence=2.0)


def test_net_benefit_by_hand():
    # Of 100, 30 ill; at t = 0.2 a model finds 25 and raises 20 false alarms, each worth a quarter.
    found = net_benefit(25.0, 20.0, 100.0, 0.2)
    assert found == pytest.approx(0.25 - 0.20 / 4)
    assert treat_all(0.3, 0.2) == pytest.approx(0.3 - 0.7 / 4)
    truth, probability, groups = made(60)
    curve = evaluated(truth, probability, groups).details["glaucoma"].decision
    at = int(np.flatnonzero(GRID == 0.3)[0])
    called = probability[:, 1] >= 0.3
    expected = (called & (truth == 1)).mean() - (called & (truth == 0)).mean() * 0.3 / 0.7
    assert curve.model[at] == pytest.approx(expected)
    assert curve.low[at] <= curve.model[at] <= curve.high[at]


@settings(max_examples=60)
@given(binary(), st.sampled_from([{}, {"sensitivity": 0.9}, {"specificity": 0.9}, {"cost": 5.0}]))
def test_a_threshold_is_the_best_of_its_rule_and_does_what_it_says(case, rule):
    positive, score = case
    chosen = choose_threshold(positive, score, **rule)
    called = score >= chosen.threshold
    assert called[positive].mean() == pytest.approx(chosen.sensitivity)
    assert (~called)[~positive].mean() == pytest.approx(chosen.specificity)
    hits = np.array([(score >= t)[positive].mean() for t in [*np.unique(score), 2]])
    passes = np.array([(score < t)[~positive].mean() for t in [*np.unique(score), 2]])
    if rule.get("sensitivity"):
        assert chosen.sensitivity >= 0.9 - 1e-9
        assert chosen.specificity == pytest.approx(passes[hits >= 0.9 - 1e-9].max())
    elif rule.get("specificity"):
        assert chosen.specificity >= 0.9 - 1e-9
        assert chosen.sensitivity == pytest.approx(hits[passes >= 0.9 - 1e-9].max())
    else:
        share = positive.mean() if rule else 0.5
        cost = 5 * share if rule else share
        spent = cost * (1 - hits) + (1 - share) * (1 - passes)
        own = cost * (1 - chosen.sensitivity) + (1 - share) * (1 - chosen.specificity)
        assert own == pytest.approx(spent.min())


def test_the_cost_counts_at_the_prevalence_that_is_stated():
    rng = np.random.default_rng(7)
    positive = np.arange(400) % 4 == 0
    score = 1 / (1 + np.exp(-rng.normal(size=400) - positive))
    for cost, prevalence in ((1.0, 0.05), (20.0, 0.05), (20.0, None)):
        chosen = choose_threshold(positive, score, cost=cost, prevalence=prevalence)
        ill = 0.25 if prevalence is None else prevalence
        spent = [
            cost * ill * (score < t)[positive].mean() + (1 - ill) * (score >= t)[~positive].mean()
            for t in [*score, chosen.threshold]
        ]
        assert spent[-1] == pytest.approx(min(spent))


# --- bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"truth": [0, 1, 2]}, "a true class is 2"),
        ({"truth": [0, 1]}, "3 answers, 2 true classes"),
        ({"groups": ["a"]}, "1 groups"),
        ({"probability": np.array([[0.5, 0.5], [0.5, 0.6], [1.0, 0.0]])}, "case 1"),
        ({"probability": np.array([[0.5, 0.5], [1.0, 0.0], [np.nan, 0.5]])}, "case 2"),
        ({"probability": np.zeros((0, 2)), "truth": [], "groups": []}, "at least one case"),
        ({"sources": ["x"]}, "1 sources"),
        ({"names": ("one",)}, "1 class names"),
    ],
)
def test_bad_tables_are_told(change, words):
    given_ = {"truth": [0, 1, 1], "probability": np.full((3, 2), 0.5), "groups": list("abc"), "names": NAMES} | change
    with pytest.raises(InputError, match=words):
        evaluate_classes(given_.pop("truth"), given_.pop("probability"), **given_)


def test_what_is_of_two_classes_is_refused_for_more():
    truth, probability, groups = made(30, k=3)
    with pytest.raises(InputError, match="a threshold is of two classes, found 3"):
        evaluated(truth, probability, groups, threshold=0.5)
    with pytest.raises(InputError, match="a stated prevalence is of two classes, found 3"):
        evaluated(truth, probability, groups, prevalence=0.5)


def test_thresholds_that_cannot_be_chosen_are_told():
    positive, score = np.array([True, False]), np.array([0.7, 0.2])
    with pytest.raises(ConfigError, match="one rule, found sensitivity and cost"):
        choose_threshold(positive, score, sensitivity=0.9, cost=2.0)
    with pytest.raises(ConfigError, match="the sensitivity that chooses a threshold must be above 0"):
        choose_threshold(positive, score, sensitivity=1.5)
    with pytest.raises(InputError, match="found 2 positive of 2 cases"):
        choose_threshold(np.array([True, True]), score)


# --- the page


@pytest.mark.parametrize("k", [2, 3])
def test_the_page_shows_what_was_measured(k):
    truth, probability, groups = made(60, k=k)
    cases = [f"<eye> {i}" for i in range(60)]
    found = evaluated(truth, probability, groups, sources=["x", "y"] * 30, cases=cases)
    view = class_view(found, worst=3)
    page = fill("classes.html.j2", classes=view)
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert all(f'id="{anchor}"' in page for anchor, _ in view["contents"])
    assert page.count("<svg") == 4 * len(found.targets)
    assert f"{found.mean['auc'].value:.3f}" in view["sentence"]
    assert f"{found.classes[found.targets[0]]['sensitivity'].value:.3f}" in page
    wrong = worst_mistakes(found, 3)
    doubts = [case.probability[found.names.index(case.truth)] for case in wrong]
    assert doubts == sorted(p[t] for p, t in zip(probability, truth, strict=True) if p.argmax() != t)[:3]
    assert wrong[0].name.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "<eye>" not in page


def test_the_page_of_one_class_says_that_nothing_can_be_said():
    probability = np.full((20, 2), 0.5)
    found = evaluated(np.zeros(20, int), probability, [str(i) for i in range(20)])
    view = class_view(found)
    assert "cannot be said" in view["sentence"]
    assert "no positive case" in fill("classes.html.j2", classes=view)
