"""Grades of building damage: the xView2 score, whole buildings, trivial answers, and where they are shown."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catenary import open_dataset, workflow
from catenary.cli import show
from catenary.cli.main import main
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, InputError
from catenary.metrics.damage import compare_damage, count_buildings
from catenary.metrics.evaluation import (
    DamageBuildings,
    DamagePixels,
    DamageScorer,
    DamageScores,
    Evaluation,
    Scorer,
    has_damage_grades,
)
from catenary.metrics.intervals import draw_groups
from catenary.report import ReportData, write_report
from catenary.types import IGNORE
from test_xbd import write_scene

FOUR = LabelSet(names=("background", "no-damage", "minor-damage", "major-damage", "destroyed"))
TWO = LabelSet(names=("background", "no-damage", "destroyed"))
#: (name, group, truth, prediction)
BY_HAND = [
    ("a", "x", [[0, 1, 1, 0, 2, 2, 0, IGNORE]], [[1, 1, 1, 0, 2, 3, 0, 4]]),
    ("b", "y", [[0, 3, 3, 3, 0, 4, 4, 0]], [[0, 3, 0, 4, 0, 4, 4, 2]]),
]


def score(cases, labels=FOUR, **kwargs):
    scorer = DamageScorer(labels)
    for name, group, truth, prediction in cases:
        scorer.add(name, group, np.asarray(truth, np.uint8), np.asarray(prediction, np.uint8))
    return scorer.result(**kwargs)


def values(table):
    return [interval.value for interval in table.values()]


def draw_cases(n=6, classes=5, groups=3, seed=0, size=(40, 40)):
    """Blocks of random grades, answers with some grades changed, some blocks moved, missed or invented."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(n):
        truth = np.kron(rng.integers(0, classes, (8, 8)), np.pad(np.ones((3, 3)), 1)).astype(np.uint8)
        changed = np.kron(rng.integers(0, classes, (8, 8)), np.pad(np.ones((3, 3)), 1)).astype(np.uint8)
        prediction = np.where(np.kron(rng.random((8, 8)) < 0.7, np.ones((5, 5))) > 0, truth, changed)
        truth[:, :3] = IGNORE
        cases.append((f"case {i}", f"group {i % groups}", truth, np.roll(prediction, i % 2, axis=0)))
    return cases


def as_published(cases, grades):
    """Score, localisation, damage and F1 of each grade as the challenge defines them, written down plainly."""
    known = [(np.asarray(t).ravel(), np.asarray(p).ravel()) for _, _, t, p in cases]
    truth, answer = (np.concatenate([pair[side][pair[0] != IGNORE] for pair in known]) for side in (0, 1))

    def f1(truth, answer):
        hit, wrong, missed = (np.sum(x) for x in (truth & answer, ~truth & answer, truth & ~answer))
        if hit == 0:
            return 0.0
        precision, recall = hit / (hit + wrong), hit / (hit + missed)
        return 2 * precision * recall / (precision + recall)

    localisation = f1(truth > 0, answer > 0)
    standing = truth > 0
    each = [f1(truth[standing] == g, answer[standing] == g) for g in range(1, grades + 1)]
    damage = grades / sum(1 / (value + 1e-6) for value in each)
    return [0.3 * localisation + 0.7 * damage, localisation, damage, *each]


# --- numbers


def test_pixels_by_hand():
    found = score(BY_HAND).pixels
    assert found.localisation.value == pytest.approx(16 / 19)
    assert values(found.grades) == pytest.approx([1, 2 / 3, 2 / 5, 4 / 5])
    assert found.damage.value == pytest.approx(0.64, abs=1e-5)
    assert found.score.value == pytest.approx(0.3 * 16 / 19 + 0.7 * 0.64, abs=1e-5)
    assert found.score_present == found.score
    assert list(found.strict) == list(FOUR.names)
    assert values(found.strict) == pytest.approx([8 / 11, 4 / 5, 1 / 2, 2 / 5, 4 / 5])
    assert found.score.n == 2


def test_whole_buildings_by_hand():
    found = score(BY_HAND).buildings
    assert (found.true, found.predicted, found.matched, found.missed, found.false_alarms, found.right) == (
        4,
        5,
        3,
        1,
        2,
        2,
    )
    # 'a': the two equal halves of the second answer count as the graver; 'b': two thirds of a building do not match.
    expected = np.zeros((5, 5), int)
    expected[[1, 2, 3, 4, 0, 0], [1, 3, 0, 4, 3, 4]] = 1
    assert found.confusion == expected.tolist()
    assert found.localisation.value == pytest.approx(6 / 9)
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert values(found.grades) == [1, 0, 0, 1]
    assert values(found.strict) == pytest.approx([1, 0, 0, 2 / 3])


def test_trivial_answers_by_hand():
    found = score(BY_HAND)
    assert list(found.shares.values()) == pytest.approx([2 / 9, 2 / 9, 3 / 9, 2 / 9])
    assert found.trivial_f1["destroyed"] == pytest.approx(4 / 11)
    painted = {name: values(rival.grades) for name, rival in found.baselines.items()}
    assert painted["all no-damage, on predicted buildings"] == pytest.approx([4 / 10, 0, 0, 0])
    assert painted["all destroyed, on predicted buildings"] == pytest.approx([0, 0, 0, 4 / 10])
    assert painted["all no-damage, on true buildings"] == pytest.approx([4 / 11, 0, 0, 0])
    assert painted["all destroyed, on true buildings"] == pytest.approx([0, 0, 0, 4 / 11])
    where = {name: rival.localisation.value for name, rival in found.baselines.items()}
    assert list(where.values()) == pytest.approx([16 / 19, 1, 16 / 19, 1])


def test_trivial_answers_score_as_if_they_had_been_painted():
    cases = draw_cases()
    found = score(cases)
    for grade, name in ((1, "no-damage"), (4, "destroyed")):
        for where, mask in (("predicted", 3), ("true", 2)):
            painted = [(n, g, t, np.where((p, t)[mask == 2] > 0, grade, 0) % IGNORE) for n, g, t, p in cases]
            again = score(painted).pixels
            rival = found.baselines[f"all {name}, on {where} buildings"]
            assert rival == again
    everywhere = found.baselines["all destroyed, on true buildings"].grades["destroyed"].value
    assert found.trivial_f1["destroyed"] == pytest.approx(everywhere)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans())
def test_the_score_is_the_published_one(seed, grades, sparse):
    rng = np.random.default_rng(seed)
    labels = LabelSet(names=FOUR.names[: grades + 1])
    shape = (1, 3) if sparse else (9, 11)
    cases = [(str(i), "", *rng.integers(0, grades + 1, (2, *shape))) for i in range(3)]
    cases[0][2][0, 0] = IGNORE
    cases[1][2][0, 0] = 1  # a set without any building has no score
    found = score(cases, labels).pixels
    expected = as_published(cases, grades)
    ours = [found.score, found.localisation, found.damage, *found.grades.values()]
    assert [0.0 if one.value is None else one.value for one in ours] == pytest.approx(expected, abs=1e-12)


def test_strict_f1_is_the_pooled_dice():
    cases, scorer = draw_cases(), Scorer(FOUR, metrics=["dice", "object_f1"])
    for case in cases:
        scorer.add(*case)
    pooled = scorer.result("test").pooled
    strict = score(cases).pixels.strict
    assert values(strict)[1:] == [pooled[name]["dice"].value for name in FOUR.names[1:]]


@settings(max_examples=40)
@given(arrays(np.uint8, (7, 9), elements=st.integers(0, 3)), arrays(np.uint8, (7, 9), elements=st.integers(0, 3)))
def test_every_building_is_counted_once(truth, prediction):
    from scipy import ndimage

    table = count_buildings(truth, prediction, 4)
    assert table[0, 0] == 0
    for label, whole in ((truth, table[1:].sum()), (prediction, table[:, 1:].sum())):
        assert whole == ndimage.label(label > 0, np.ones((3, 3)))[1]
    np.testing.assert_array_equal(count_buildings(prediction, truth, 4), table.T)
    own = count_buildings(truth, truth, 4)
    assert own.sum() == np.trace(own)


# --- properties


def test_a_prediction_equal_to_the_truth_scores_one():
    found = score([(n, g, t, t) for n, g, t, _ in draw_cases()])
    scores = [found.pixels.score, found.pixels.score_present, found.pixels.localisation, found.pixels.damage]
    scores += [*found.pixels.grades.values(), *found.pixels.strict.values()]
    scores += [found.buildings.localisation, found.buildings.accuracy]
    scores += [*found.buildings.grades.values(), *found.buildings.strict.values()]
    assert [end for one in scores for end in (one.value, one.low, one.high)] == pytest.approx(
        [1.0] * 3 * len(scores), 2e-6
    )
    assert found.buildings.missed == found.buildings.false_alarms == 0


def test_the_order_of_the_cases_does_not_matter():
    cases = draw_cases()
    assert score(cases[::-1]) == score(cases)
    many = draw_cases(n=8, groups=8)
    assert score(many, seed=1) != score(many)


def test_pixels_do_not_depend_on_how_images_are_cut():
    cases = draw_cases()
    halves = [(f"{n}{i}", g, t[i::2], p[i::2]) for n, g, t, p in cases for i in (0, 1)]
    whole, cut = score(cases), score(halves)
    assert cut.shares == whole.shares
    for one, other in ((whole.pixels, cut.pixels), *zip(whole.baselines.values(), cut.baselines.values(), strict=True)):
        for name in ("score", "localisation", "damage"):
            a, b = getattr(one, name), getattr(other, name)
            assert (a.value, a.low, a.high) == (b.value, b.low, b.high)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_deleting_right_answers_never_gains(seed):
    rng = np.random.default_rng(seed)
    cases = draw_cases(seed=seed, n=3, groups=1)
    fewer = [(n, g, t, np.where((p == t) & (rng.random(p.shape) < 0.2), 0, p)) for n, g, t, p in cases]
    before, after = score(cases).pixels, score(fewer).pixels
    for name in ("score", "score_present", "localisation", "damage"):
        assert getattr(after, name).value <= getattr(before, name).value
    for name in ("grades", "strict"):
        assert np.all(np.array(values(getattr(after, name))) <= values(getattr(before, name)))


def test_deleting_buildings_never_gains_and_no_answer_scores_nothing():
    cases = draw_cases()
    before = score(cases).buildings
    grade = 1 + np.argmax(np.diag(before.confusion)[1:])
    for name, group, truth, prediction in cases:
        hidden = np.where((prediction == grade) & (truth == grade), 0, prediction)
        after = score([(name, group, truth, hidden)]).buildings
        whole = score([(name, group, truth, prediction)]).buildings
        assert after.right <= whole.right
        assert after.strict[FOUR.names[grade]].value <= whole.strict[FOUR.names[grade]].value
    nothing = score([(n, g, t, np.zeros_like(p)) for n, g, t, p in cases])
    assert nothing.pixels.score.value == pytest.approx(0, abs=1e-5)
    assert nothing.buildings.accuracy.value == 0
    assert values(nothing.buildings.grades) == [0] * 4
    no_answer = score([(n, g, t, np.full_like(p, IGNORE)) for n, g, t, p in cases])
    assert no_answer == nothing


def test_unknown_pixels_count_nowhere():
    cases = draw_cases()
    noise = np.random.default_rng(1).integers(0, 5, cases[0][2].shape)
    assert score([(n, g, t, np.where(t == IGNORE, noise, p)) for n, g, t, p in cases]) == score(cases)
    unknown = np.full((4, 4), IGNORE)
    more = score([*cases, ("unknown", "group 0", unknown, np.ones((4, 4)))])
    assert [case.name for case in more.cases] == [*(case[0] for case in cases), "unknown"]
    assert more.model_copy(update={"cases": []}) == score(cases).model_copy(update={"cases": []})


def test_two_grades_and_one():
    truth, prediction = [[0, 1, 1, 0, 2, 2, 0, 1]], [[0, 1, 1, 0, 2, 1, 0, 0]]
    found = score([("a", "", truth, prediction)], TWO)
    assert found.pixels.damage.value == pytest.approx(2 / (1.5 + 1.5), abs=1e-5)
    assert len(found.baselines) == 4
    one = score(
        [("a", "", np.minimum(truth, 1), np.minimum(prediction, 1))], LabelSet(names=("background", "building"))
    )
    assert one.pixels.damage.value == pytest.approx(8 / 9, abs=1e-5)


# --- grades that are not there, groups


def test_a_grade_that_is_absent_counts_as_published_and_is_told():
    cases = [(n, g, np.where(t == 3, 1, t), np.where(t == 3, 1, t)) for n, g, t, _ in draw_cases()]
    found = score(cases)
    assert found.absent == ["major-damage"]
    assert found.pixels.grades["major-damage"].value is None
    assert found.shares["major-damage"] == 0
    assert found.pixels.damage.value == pytest.approx(4e-6, rel=1e-3)
    assert found.pixels.score.value == pytest.approx(0.3, abs=1e-5)
    assert found.pixels.score_present.value == pytest.approx(1, abs=1e-5)
    assert found.buildings.grades["major-damage"].value is None
    assert score(draw_cases()).absent == []


def test_a_set_without_buildings_has_no_score():
    found = score([("a", "x", [[0, 0]], [[0, 1]]), ("b", "y", [[0, 0]], [[0, 0]])])
    pixels = found.pixels
    assert {pixels.score.value, pixels.score_present.value, pixels.localisation.value, pixels.damage.value} == {None}
    assert found.absent == list(FOUR.names[1:])
    assert set(found.trivial_f1.values()) == {None}
    assert (found.buildings.false_alarms, found.buildings.accuracy.value) == (1, None)
    assert pixels.strict["background"].value == pytest.approx(6 / 7)


def test_intervals_are_drawn_over_groups():
    cases = draw_cases(n=6)
    found = score(cases).pixels
    for one in (found.score, found.localisation, found.damage, *found.grades.values(), *found.strict.values()):
        assert one.low < one.value < one.high
    alone = score([(n, "one place", t, p) for n, _, t, p in cases])
    for one in (alone.pixels.score, *alone.pixels.strict.values(), alone.buildings.accuracy):
        assert one.value is not None
        assert one.low is one.high is None
    twins = score([(f"{n}{i}", f"{i}", t, p) for n, _, t, p in cases[:2] for i in range(4)]).pixels.score
    assert twins.low == pytest.approx(twins.value)
    assert twins.high == pytest.approx(twins.value)
    spread = score([(n, n, t, p) for n, _, t, p in draw_cases(n=24)]).pixels.score
    assert spread.high - spread.low < found.score.high - found.score.low


def test_resamples_without_a_grade_do_not_pull_the_interval_down():
    cases = [(n, n, np.where((t == 4) & (n != "case 0"), 1, t), p) for n, _, t, p in draw_cases(n=4)]
    perfect = score([(n, g, t, t) for n, g, t, _ in cases]).pixels
    assert perfect.score.low == pytest.approx(1, abs=1e-5)
    assert score(cases).pixels.score.low > 0.35


# --- what is refused


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (("a", "", [[0, 1]], [[0, 1]]), "case 'a' was scored before"),
        (("b", "", [[0, 1]], [[0, 1, 1]]), "case 'b': truth and prediction must have one shape"),
        (("c", "", [[0, 7]], [[0, 1]]), "case 'c': the truth holds the value 7"),
        (("d", "", [[0, 1]], [[0, 9]]), "case 'd': the prediction holds the value 9"),
    ],
)
def test_what_cannot_be_scored_is_said(case, message):
    first = ("a", "", [[0, 1]], [[0, 1]])
    with pytest.raises(InputError, match=message):
        score([first, case])


def test_no_case_and_regions_are_refused():
    with pytest.raises(InputError, match="no case was scored"):
        DamageScorer(FOUR).result()
    with pytest.raises(ConfigError, match="found the regions any"):
        DamageScorer(LabelSet(names=("background", "a", "b"), regions={"any": (1, 2)}))


# --- which data sets


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("storms") / "xbd"
    for number in range(8):
        write_scene(root, f"storm_{number:08d}", number)
    return root


@pytest.mark.parametrize(
    ("classes", "graded"),
    [
        ({}, True),
        ({"intact": ["no-damage", "minor-damage"], "lost": ["major-damage", "destroyed"]}, True),
        ({"lost": ["major-damage", "destroyed"], "intact": ["no-damage", "minor-damage"]}, False),  # order turned
        ({"major": ["major-damage"], "destroyed": ["destroyed"]}, False),  # grades became background
        ({"building": ["no-damage", "minor-damage", "major-damage", "destroyed"]}, False),
    ],
)
def test_data_sets_of_damage_grades_are_known(classes, graded, scenes):
    assert has_damage_grades(open_dataset(scenes).with_classes(classes)) is graded


@pytest.mark.parametrize(
    ("names", "graded"),
    [
        (("background", "no-damage", "destroyed"), True),
        (("anything", "minor-damage", "destroyed"), True),
        (("background", "destroyed", "no-damage"), False),
        (("background", "destroyed"), False),
        (("background", "building", "destroyed"), False),
        (("no-damage", "minor-damage", "destroyed"), False),
    ],
)
def test_names_of_classes_tell_grades(names, graded, scenes):
    assert has_damage_grades(replace(open_dataset(scenes), labels=LabelSet(names=names))) is graded


# --- where it is shown


def an_evaluation(cases, with_damage=True):
    scorer = Scorer(FOUR)
    for case in cases:
        scorer.add(*case)
    return scorer.result("test").model_copy(update={"damage": score(cases) if with_damage else None})


def test_an_evaluation_carries_it_through_json():
    measured = an_evaluation(draw_cases())
    assert Evaluation.model_validate_json(measured.model_dump_json()) == measured
    older = json.loads(measured.model_dump_json())
    del older["damage"]
    assert Evaluation.model_validate(older).damage is None


@pytest.mark.parametrize("absent", [False, True])
def test_the_report_shows_it(absent, tmp_path):
    cases = [(n, g, np.where(t == 3, 1, t) if absent else t, p) for n, g, t, p in draw_cases()]
    data = ReportData(title="Storm", dataset="storm", labels=FOUR, evaluation=an_evaluation(cases))
    page = write_report(data, tmp_path).read_text("utf-8")
    assert '<a href="#damage">Building damage</a>' in page
    section = page[page.index('<section id="damage">') : page.index('<section id="spread">')]
    assert f"<td>{data.evaluation.damage.pixels.score.value:.3f}<small>" in section
    assert "all destroyed, on predicted buildings" in section
    assert ("No true pixel holds" in section) is absent
    assert ("holds: major-damage. The published score" in section) is absent
    assert "nan" not in section
    assert json.loads((tmp_path / "report.json").read_text())["damage"]["buildings"]["true"] > 0
    plain = replace(data, evaluation=an_evaluation(cases, with_damage=False))
    assert "Building damage" not in write_report(plain, tmp_path).read_text("utf-8")
    assert json.loads((tmp_path / "report.json").read_text())["damage"] is None


def test_every_field_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "report-json.md").read_text("utf-8")
    section = page[page.index("## Building damage") : page.index("## What was measured")]
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", section))))
    assert {name for model in (DamageScores, DamagePixels, DamageBuildings) for name in model.model_fields} <= words


def test_the_command_line_shows_it(capsys):
    show.evaluation(an_evaluation([(n, g, np.where(t == 3, 1, t), p) for n, g, t, p in draw_cases()]))
    said = capsys.readouterr().out
    assert "building damage" in said
    assert re.search(r"F1 destroyed +0\.\d{3} \(0\.\d{3} to 0\.\d{3}\) +0\.\d{3} +0\.\d{3} *\n", said)
    assert re.search(r"Buildings: \d+ true, \d+ predicted, \d+ matched, \d+ of these with the right grade\.", said)
    assert "No true pixel holds major-damage" in said


def test_a_run_on_damage_grades_is_measured_so(scenes, tmp_path):
    settings = [
        "model.widths=[8,16]", "sample.patch=[48,48]", "sample.batch=4", "train.validations=1", "train.precision=fp32",
        "train.channels_last=off", "predict.engine=torch",
        'data.classes={"intact": ["no-damage", "minor-damage"], "lost": ["major-damage", "destroyed"]}',
    ]  # fmt: skip
    run = workflow.fit(scenes, out=tmp_path / "run", steps=2, settings=settings)
    found = run.evaluation.damage
    assert list(found.pixels.grades) == ["intact", "lost"]
    assert found.buildings.true == 4 * run.evaluation.n
    assert found.baselines["all lost, on true buildings"].localisation.value == 1
    assert "Building damage" in run.report.read_text("utf-8")
    assert workflow.evaluate(run.path, scenes).damage == found


@pytest.mark.real
def test_real_polygons_score_nearly_one_against_the_published_targets(real_data):
    root = real_data("xbd-joplin")
    data = open_dataset(root)
    assert has_damage_grades(data)
    cases = []
    for case in data.cases:
        target = np.asarray(PIL.Image.open(root / "targets" / f"{case.name}_post_disaster_target.png"))
        cases.append((case.name, case.group, data.read_label(case), target))
    found = score(cases)
    assert found.pixels.score.value > 0.9
    expected = as_published([(n, g, t, np.where(p == IGNORE, 0, p)) for n, g, t, p in cases], 4)
    assert found.pixels.score.value == pytest.approx(expected[0])
    assert found.buildings.accuracy.value > 0.95


def test_two_answers_are_compared_on_the_same_groups():
    """Against a bootstrap written out."""
    cases = draw_cases(n=12, groups=6)
    better = [(n, g, t, np.where(np.random.default_rng(1).random(t.shape) < 0.6, t, p)) for n, g, t, p in cases]
    one, two = score(cases, seed=3), score(better, seed=3)
    found = compare_damage(one, two, seed=3)
    assert found["xView2 score"].a == pytest.approx(one.pixels.score.value)
    assert found["xView2 score"].b == pytest.approx(two.pixels.score.value)
    groups = sorted({case[1] for case in cases})
    draws = draw_groups(len(groups), rng=np.random.default_rng(3))
    differences = []
    for draw in draws[:40]:
        drawn = [
            score([(f"{n}-{i}", g, t, p) for n, g, t, p in some for i in range(int(draw[groups.index(g)]))])
            for some in (cases, better)
        ]
        differences.append(drawn[1].pixels.score.value - drawn[0].pixels.score.value)
    assert found["xView2 score"].low < np.quantile(differences, 0.1)
    assert found["xView2 score"].high > np.quantile(differences, 0.9)
    assert found["xView2 score"].better == "b"
    assert {"localisation", "damage", "F1 destroyed", "buildings found", "buildings graded right"} <= found.keys()
    paired = found["localisation"].high - found["localisation"].low
    apart = sum(s.pixels.localisation.high - s.pixels.localisation.low for s in (one, two))
    assert paired < apart


def test_answers_that_cannot_be_paired_are_not_compared():
    cases = draw_cases(n=3)
    scores = score(cases)
    assert compare_damage(scores, score(cases[:2])) == {}
    assert compare_damage(scores, scores.model_copy(update={"cases": []})) == {}


def test_compare_shows_the_damage_scores_side_by_side(tmp_path, capsys):
    cases = draw_cases(n=6)
    for name, chosen in (("one", 3), ("other", 2)):
        scorer, damage = Scorer(FOUR), DamageScorer(FOUR)
        for case, group, truth, prediction in cases:
            for each in (scorer, damage):
                each.add(case, group, truth, (truth if chosen == 2 else prediction).astype(np.uint8))
        evaluation = scorer.result("test").model_copy(update={"damage": damage.result()})
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(evaluation.model_dump_json())
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "other")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "xView2" in line)
    assert re.search(r"damage\s+xView2\s+score\s+0\.\d+\s+1\.000\s+\+0\.\d+\s+\(\+0\.\d+ to \+0\.\d+\)", line)
    assert line.rstrip().endswith("other")
