"""Calibration: what is fitted, what is chosen, what is measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.errors import InputError
from catenary.metrics.calibration import (
    Calibration,
    Pool,
    brier_parts,
    calibration_error,
    chance_error,
    choose_calibration,
    equal_mass,
    fit_isotonic,
    fit_temperature,
    log_losses,
    pool,
)
from catenary.metrics.classes import evaluate_classes
from catenary.metrics.vennabers import venn_abers
from catenary.predict.classify import span


def drawn(n, *, k=2, heat=1.0, bend=False, seed=0):
    """Truth drawn from probabilities, and these as a model would say them: sharpened by `heat`, or bent."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 1.5
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (chance.cumsum(1) < rng.random((n, 1))).sum(1)
    said = np.exp(logits * heat) / np.exp(logits * heat).sum(1, keepdims=True)
    if bend:
        said = np.stack([1 - chance[:, 1] ** 4, chance[:, 1] ** 4], 1)
    return truth, said


def people(n):
    return [f"p{i // 2}" for i in range(n)]


# --- fitting


@pytest.mark.parametrize("k", [2, 4])
def test_the_temperature_is_found_again(k):
    truth, said = drawn(4000, k=k, heat=3.0)
    found = fit_temperature(truth, said)
    assert found.temperature == pytest.approx(3.0, rel=0.08)
    before, after = log_losses(truth, said).mean(), log_losses(truth, found(said)).mean()
    assert after < before - 0.05
    for other in (0.98, 1.02):
        warmer = Calibration(method="temperature", temperature=found.temperature * other)
        assert log_losses(truth, warmer(said)).mean() > after


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.5, 5), st.integers(2, 5))
def test_a_temperature_keeps_the_order_and_the_sum(seed, temperature, k):
    _, said = drawn(20, k=k, seed=seed)
    warm = Calibration(method="temperature", temperature=temperature)(said)
    np.testing.assert_allclose(warm.sum(1), 1)
    assert (warm.argmax(1) == said.argmax(1)).all()
    back = Calibration(method="temperature", temperature=1 / temperature)(warm)
    np.testing.assert_allclose(back, said, atol=1e-9)
    if k == 2:  # the sigmoid of a divided logit
        logit = np.log(said[:, 1] / said[:, 0])
        np.testing.assert_allclose(warm[:, 1], 1 / (1 + np.exp(-logit / temperature)))


def test_certain_answers_stay_finite():
    warm = Calibration(method="temperature", temperature=2.0)(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert np.isfinite(warm).all()
    assert np.isfinite(log_losses(np.array([0, 0]), np.array([[0.0, 1.0], [1.0, 0.0]]))).all()


def test_isotonic_regression_against_scikit_learn():
    isotonic = pytest.importorskip("sklearn.isotonic")
    truth, said = drawn(400, bend=True, seed=4)
    said = np.round(said, 2)
    least = 1 / 402
    peer = isotonic.IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(said[:, 1], truth)
    grid = np.linspace(0, 1, 301)
    ours = fit_isotonic(truth, said)(np.stack([1 - grid, grid], 1))[:, 1]
    np.testing.assert_allclose(ours, peer.predict(grid), atol=1e-9)


def test_isotonic_answers_rise_and_are_never_certain():
    truth, said = drawn(300, bend=True)
    found = fit_isotonic(truth, said)
    grid = np.linspace(0, 1, 101)
    answer = found(np.stack([1 - grid, grid], 1))
    assert (np.diff(answer[:, 1]) >= 0).all()
    assert answer.min() >= 1 / 302
    with pytest.raises(InputError, match="two classes, found 3"):
        found(np.full((1, 3), 1 / 3))


def test_one_score_only_calibrates_to_the_prevalence():
    truth = np.array([0, 0, 0, 1])
    found = fit_isotonic(truth, np.full((4, 2), 0.5))
    assert found(np.full((1, 2), 0.5))[0, 1] == 0.25


def test_a_calibration_is_json():
    truth, said = drawn(300, bend=True)
    for found in (Calibration(), fit_temperature(truth, said), fit_isotonic(truth, said)):
        again = Calibration.model_validate_json(found.model_dump_json())
        assert again == found
        assert (again(said) == found(said)).all()
    assert Calibration()(said) is not None
    np.testing.assert_array_equal(Calibration()(said), said)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"method": "temperature", "temperature": 0}', "greater than 0"),
        ('{"method": "isotonic"}', "knots belong to isotonic"),
        ('{"method": "isotonic", "knots": [[0.5, 0.2], [0.4, 0.3]]}', "must rise"),
        ('{"method": "isotonic", "knots": [[0.5, 0.2], [0.6, 1.3]]}', "lie from 0 to 1"),
        ('{"method": "platt"}', "identity"),
    ],
)
def test_a_damaged_calibration_is_told(text, words):
    with pytest.raises(ValueError, match=words):
        Calibration.model_validate_json(text)


# --- choosing


@pytest.mark.parametrize(
    ("case", "method"),
    [
        ({"heat": 3.0}, "temperature"),
        ({"bend": True}, "isotonic"),
        ({}, "identity"),
        ({"heat": 3.0, "k": 3}, "temperature"),
    ],
)
def test_the_calibration_that_is_needed_is_chosen(case, method):
    truth, said = drawn(1200, seed=1, **case)
    found = choose_calibration(truth, said, people(1200))
    assert found.method == method
    assert "log loss over 5 folds of 600 validation groups" in found.reason
    assert found == choose_calibration(truth, said, people(1200))
    fresh, new = drawn(4000, seed=2, **case)
    assert log_losses(fresh, found(new)).mean() <= log_losses(fresh, new).mean()


def test_few_cases_calibrate_nothing():
    truth, said = drawn(400, heat=3.0)
    for groups in ([f"p{i % 19}" for i in range(400)], ["one"] * 400):
        found = choose_calibration(truth, said, groups)
        assert found.method == "identity"
        assert "validation groups" in found.reason
    rare = np.zeros(400, int)
    rare[:4] = 1
    assert "4 of the rarest class" in choose_calibration(rare, said, [str(i) for i in range(400)]).reason


def test_validation_without_a_mistake_does_not_make_answers_certain():
    truth = np.arange(60) % 2
    said = np.stack([1 - (0.3 + 0.4 * truth), 0.3 + 0.4 * truth], 1)
    found = choose_calibration(truth, said, people(60))
    assert found.method == "identity"
    assert "nothing says how sure" in found.reason


# --- measuring


def test_the_brier_parts_add_up():
    for seed in range(5):
        truth, said = drawn(200, seed=seed, heat=2.0)
        found = brier_parts((truth == 1).astype(float), np.round(said[:, 1], 2))
        assert found.score == pytest.approx(found.miscalibration - found.discrimination + found.uncertainty)
        assert min(found) >= 0
    prevalence = brier_parts(np.array([0.0, 0, 0, 1]), np.full(4, 0.25))
    assert prevalence.miscalibration == prevalence.discrimination == 0


def test_brier_and_log_loss_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = drawn(200)
    assert brier_parts(truth.astype(float), said[:, 1]).score == pytest.approx(
        metrics.brier_score_loss(truth, said[:, 1])
    )
    assert log_losses(truth, said).mean() == pytest.approx(metrics.log_loss(truth, said))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 12))
def test_bins_are_of_equal_mass_and_keep_equal_scores_together(values, bins):
    score = np.array(values) / 5
    found = equal_mass(score, bins)
    assert found.min() == 0
    assert len(np.unique(found)) == found.max() + 1 <= bins
    for value in np.unique(score):
        assert len(np.unique(found[score == value])) == 1
    order = np.argsort(score, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    distinct = equal_mass(np.linspace(0, 1, 100), 10)
    assert (np.bincount(distinct) == 10).all()


def plain_and_debiased(truth, said):
    bins = equal_mass(said[:, 1])
    found = pool(truth.astype(float), said[:, 1], bins, np.arange(len(truth)), np.ones((1, len(truth))))
    return [float(calibration_error(found, scatter=s)[0]) for s in (0, 1)]


def test_debiasing_takes_off_what_chance_adds():
    pairs = np.array([plain_and_debiased(*drawn(200, seed=seed)) for seed in range(60)])
    plain, debiased = pairs.mean(0)
    assert plain > 0.04  # the model is perfectly calibrated: all of this is chance
    assert debiased < 0.7 * plain
    chances = [chance_error(said[:, 1], equal_mass(said[:, 1])) for _, said in (drawn(200, seed=s) for s in range(60))]
    assert np.mean(chances) == pytest.approx(plain, rel=0.08)
    large = np.array([plain_and_debiased(*drawn(20000, seed=seed, heat=3.0)) for seed in range(2)]).mean(0)
    small = np.array([plain_and_debiased(*drawn(200, seed=seed, heat=3.0)) for seed in range(60)]).mean(0)
    assert small[1] == pytest.approx(large[1], abs=0.01)  # where the error is real, little is taken off


def test_the_calibration_error_by_hand():
    # Two bins of ten: said 0.2 and 0.9, seen 0.4 and 0.9.
    found = Pool(np.array([10.0, 10.0]), np.array([4.0, 9.0]), np.array([2.0, 9.0]))
    assert calibration_error(found, scatter=0) == pytest.approx(0.1)


def test_the_reliability_of_a_calibrated_model_lies_on_the_diagonal():
    truth, said = drawn(3000)
    found = evaluate_classes(truth, said, names=("a", "b"), groups=people(3000), resamples=300)
    bins = found.details["b"].reliability
    assert sum(bin_.n for bin_ in bins) == 3000
    assert sum(bin_.low <= bin_.probability <= bin_.high for bin_ in bins) >= 8
    assert found.classes["b"]["calibration_error"].value < found.details["b"].calibration_error_plain < 0.04
    assert sum(found.details["b"].histogram) == 3000
    sure = evaluate_classes(*drawn(3000, heat=4.0), names=("a", "b"), groups=people(3000), resamples=300)
    assert sure.classes["b"]["calibration_error"].low > 0.05
    for seed in range(8):  # a resample's own scatter is taken off too, so that the interval holds its value
        few = evaluate_classes(*drawn(150, k=3, seed=seed), names=tuple("abc"), groups=people(150), resamples=200)
        error = few.mean["calibration_error"]
        assert error.low <= error.value <= error.high
    assert sure.details["b"].brier.miscalibration > 0.02


# ------------------------------------------------------------------------------------------------- ranges


def test_the_range_of_a_probability_holds_the_frequency():
    rng = np.random.default_rng(0)
    score = rng.uniform(size=2400)
    truth = (rng.uniform(size=2400) < score**2).astype(int)  # scores that promise too much
    judged = [(float(s), int(t)) for s, t in zip(score[:400], truth[:400], strict=True)]
    ends = np.array([venn_abers(float(s), judged) for s in score[400:]])
    assert ((ends[:, 0] <= ends[:, 1]) & (ends >= 0).all(1) & (ends <= 1).all(1)).all()
    assert ends[:, 0].mean() - 0.05 < truth[400:].mean() < ends[:, 1].mean() + 0.05
    middle = ends.mean(1)
    assert np.abs(middle - score[400:] ** 2).mean() < np.abs(score[400:] - score[400:] ** 2).mean() / 2


def test_few_cases_leave_a_wide_range_or_none():
    many = [(i / 400, int(i > 200)) for i in range(400)]
    few = [(i / 20, int(i > 10)) for i in range(20)]
    widths = [np.ptp(venn_abers(0.52, cases)) for cases in (many, few)]
    assert widths[0] < widths[1]
    assert venn_abers(0.5, few[:14]) is None
    assert venn_abers(0.5, []) is None


def test_the_range_that_is_told_holds_the_probability():
    judged = [(score / 40, int(score % 5 == 0)) for score in range(40)]  # a fifth is positive, whatever the score
    low, high = venn_abers(0.6, judged)
    assert high < 0.5
    for probability in (0.6, 0.01):
        told = span(np.array([0.4, 0.6]), np.array([1 - probability, probability]), judged)
        assert told == (min(low, probability), max(high, probability))
    assert span(np.array([0.4, 0.6]), np.array([0.4, 0.6]), judged[:3]) is None
    assert span(np.full(3, 1 / 3), np.full(3, 1 / 3), judged) is None
