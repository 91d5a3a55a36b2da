"""The report of volumes: planes through the largest error, volumes against true ones, the words for both."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from catenary.data.labels import LabelSet
from catenary.metrics.evaluation import Scorer
from catenary.phantoms import brain
from catenary.phantoms.brain import PARTS
from catenary.report import Measurement, ReportData, gallery_cases, pick_cases, to_rgb8, volume_rows, write_report
from catenary.report.pictures import square
from catenary.report.volumes import agree
from catenary.types import IGNORE, Grid, Image

SPACING = (2.0, 1.0, 1.0)
#: From (d, h, w) to mm right, front, up; the origin lies in voxel (4, 6, 5).
AFFINE = (0.0, 0.0, -1.0, 5.0, 0.0, -1.0, 0.0, 6.0, 2.0, 0.0, 0.0, -8.0)
SCAN = Grid(spacing=SPACING, unit="mm", affine=AFFINE, axes=(3, 2, 1))


def blocks():
    """A truth with one target, and an answer with a small error and a larger one."""
    truth, answer = (np.zeros((10, 16, 12), np.uint8) for _ in range(2))
    truth[2:5, 3:8, 3:8] = answer[2:5, 3:8, 3:8] = 1
    answer[4, 7, 7] = 0
    answer[7:9, 11:14, 9:11] = 1
    answer[8, 11:15, 8:12] = 1
    return truth, answer


def planes(truth, answer, grid=SCAN, channels=1):
    image = np.arange(channels * truth.size, dtype=np.float32).reshape(channels, *truth.shape)
    return gallery_cases("a", Image(array=image, grid=grid), truth, answer)


@cache
def evaluated(n=6, regions=()):
    labels = LabelSet(names=PARTS, regions=dict(regions))
    scorer, rng = Scorer(labels, spacing=SPACING, unit="mm"), np.random.default_rng(0)
    rows, shares, kept = [], [], {}
    for number in range(n):
        name = f"brain_{number}"
        image, truth = brain((12, 24, 20), seed=number, spacing=SPACING, enhancing=True)
        answer = np.roll(truth, number % 3 - 1, axis=number % 2)
        answer[rng.random(truth.shape) < 0.02] = 0
        case = scorer.add(name, name, truth, answer)
        rows += volume_rows(case, SCAN)
        shares += [Measurement(case=name, target=t, truth=0.1, prediction=0.1) for t in labels.target_names]
        kept[name] = gallery_cases(name, Image(array=image, grid=SCAN), truth, answer)
    evaluation = scorer.result("test")
    return ReportData(
        title="Brains",
        dataset="brains",
        labels=labels,
        evaluation=evaluation,
        fingerprint={"cases": 9, "groups": 9, **{f"size_{which}": (12, 24, 20) for which in ("min", "median", "max")}},
        gallery=[plane for name in pick_cases(evaluation, 3) for plane in kept[name]],
        measurements=shares,
        volumes=rows,
    )


def written(data, folder):
    text = write_report(data, folder).read_text("utf-8")
    return text, json.loads((folder / "report.json").read_text("utf-8"))


def test_planes_cut_the_largest_error_where_it_is_widest():
    truth, answer = blocks()
    axial, coronal, sagittal = planes(truth, answer)
    np.testing.assert_array_equal(axial.prediction, answer[8])
    np.testing.assert_array_equal(coronal.prediction, answer[::-1, 11])
    np.testing.assert_array_equal(sagittal.prediction, answer[::-1, :, 9])
    for plane in (axial, coronal, sagittal):
        assert (plane.truth != plane.prediction).any()
        assert plane.image.shape == (*plane.truth.shape, 3)
    assert [plane.view for plane in (axial, coronal, sagittal)] == [
        "axial (h-w), slice 9 of 10 along d",
        "coronal (d-w), slice 12 of 16 along h",
        "sagittal (d-h), slice 10 of 12 along w",
    ]
    assert [plane.aspect for plane in (axial, coronal, sagittal)] == [(1, 1), (2, 1), (2, 1)]


def test_the_note_says_how_large_the_error_is_and_where():
    truth, answer = blocks()
    voxels = np.count_nonzero(answer[7:9, 11:])
    note = planes(truth, answer)[0].note
    assert note == (
        f"Largest error: {voxels * 2 / 1000:g} ml in one piece; planes meet in voxel (d, h, w) = (8, 11, 9), "
        "4.0 mm left, 5.0 mm back, 8.0 mm up of the origin"
    )
    assert f"Largest error: {voxels} voxels" in planes(truth, answer, Grid())[0].note
    assert f"Largest error: {voxels} um³" in planes(truth, answer, Grid(spacing=(1.0, 1.0, 1.0), unit="um"))[0].note


def test_unknown_voxels_are_no_error_and_errors_alone_count():
    truth, answer = blocks()
    truth[6:] = IGNORE
    assert "Largest error: 0.002 ml" in planes(truth, answer)[0].note
    assert "No error; largest target: 0.15 ml" in planes(truth, truth)[0].note
    axial, *_ = planes(truth, np.where(truth == IGNORE, 0, truth))
    assert axial.truth.any()
    nothing = np.zeros_like(truth)
    assert "No error and no target; planes meet in voxel (d, h, w) = (5, 8, 6)" in planes(nothing, nothing)[0].note


def test_a_volume_that_lies_nobody_knows_how_is_not_turned():
    truth, answer = blocks()
    _, coronal, sagittal = planes(truth, answer, Grid(spacing=SPACING, unit="um"))
    np.testing.assert_array_equal(coronal.prediction, answer[:, 11])
    np.testing.assert_array_equal(sagittal.prediction, answer[:, :, 9])
    assert coronal.view.startswith("d-w, ")


def test_an_image_is_shown_as_it_is():
    array = np.random.default_rng(0).integers(0, 255, (3, 8, 9), dtype=np.uint8)
    truth, answer = np.eye(8, 9, dtype=np.uint8), np.zeros((8, 9), np.uint8)
    (case,) = gallery_cases("a", Image(array=array), truth, answer)
    np.testing.assert_array_equal(case.image, to_rgb8(array))
    assert (case.view, case.note, case.aspect) == ("", "", (1, 1))
    assert case.truth is truth


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_grey_values_are_stretched_over_the_whole_volume(channels):
    truth, answer = blocks()
    axial, coronal, sagittal = planes(truth, answer, channels=channels)
    d, h, w = 8, 11, 9
    np.testing.assert_array_equal(axial.image[h, w], coronal.image[-1 - d, w])
    np.testing.assert_array_equal(axial.image[h, w], sagittal.image[-1 - d, h])
    # Brightness grows with d, h and w: a slice holds a tenth of it.
    assert 5 < int(axial.image[-1, 0, 1]) - int(axial.image[0, 0, 1]) < 50
    assert int(coronal.image[0, 0, 1]) - int(coronal.image[-1, 0, 1]) > 150


def test_pixels_become_square_by_repetition():
    label = np.arange(12, dtype=np.uint8).reshape(3, 4)
    drawn = square(label, (5.0, 1.0), 4)
    np.testing.assert_array_equal(drawn, label.repeat(5, axis=0))
    large = square(label, (1.0, 1.0), 30)
    np.testing.assert_array_equal(large, label.repeat(8, axis=0).repeat(8, axis=1))
    assert square(label, (1.0, 1.5), 4).shape == (3, 6)


def test_volumes_are_counted_voxels_times_their_size():
    data = evaluated()
    case, row = data.evaluation.cases[0], data.volumes[0]
    assert (row.case, row.target, row.unit) == (case.name, "necrosis", "ml")
    assert row.truth == pytest.approx(case.truth_pixels["necrosis"] * 2 / 1000)
    assert row.prediction == pytest.approx(case.predicted_pixels["necrosis"] * 2 / 1000)
    assert {row.unit for row in volume_rows(case, Grid())} == {"voxels"}
    assert volume_rows(case, Grid())[0].truth == case.truth_pixels["necrosis"]


def test_limits_of_agreement_are_those_of_bland_and_altman_and_need_five_cases():
    truth, found = np.arange(8.0), np.arange(8.0) + np.array([1, -1, 0, 2, -2, 0, 1, 1])
    how = agree(truth, found)
    spread = 1.96 * np.std(found - truth, ddof=1)
    assert how.bias == pytest.approx(0.25)
    assert (how.low, how.high) == pytest.approx((0.25 - spread, 0.25 + spread))
    assert how.error == pytest.approx(spread * np.sqrt(3 / 8))
    assert agree(truth[:5], found[:5]).low is not None
    assert agree(truth[:4], found[:4])[1:] == (None, None, None)


def test_the_page_shows_planes_volumes_and_every_case(tmp_path):
    data = evaluated()
    text, record = written(data, tmp_path)
    assert text.count("<img") == 3 * 3 * 4
    assert text.count('<article class="case">') == 3
    assert text.count("axial (h-w), slice") >= 3
    assert "patient's right on the left" in text.replace("&#39;", "'")
    assert text.count("Difference against mean volume of") == 4
    assert "95 % limits of agreement" in text
    assert "there are no limits" not in text
    assert "volume difference, ml" in text
    assert len(record["volumes"]) == 6 * 4
    assert record["volumes"][0] == {
        "case": "brain_0", "target": "necrosis", "unit": "ml",
        "truth": data.volumes[0].truth, "prediction": data.volumes[0].prediction,
    }  # fmt: skip


def test_volumes_are_cases_of_voxels_and_images_are_not(tmp_path):
    data = evaluated()
    text, record = written(data, tmp_path / "volumes")
    assert record["headline"]["sentence"].startswith("On 6 test cases of brains")
    for word in ("pooled voxels", "class's voxels over all cases", "Dice of one case", "Size, d × h × w"):
        assert word in text.replace("&#39;", "'"), word
    before_rules = text[: text.index('id="conventions"')]
    for word in ("pixel", "image ", "images"):
        assert word not in before_rules.split("</style>")[1].replace("colours of an image", ""), word
    flat, record = written(replace(data, volumes=[], gallery=[]), tmp_path / "images")
    assert record["headline"]["sentence"].startswith("On 6 test images of brains")
    assert "pooled pixels" in flat
    assert "voxel" not in flat[: flat.index('id="conventions"')].split("</style>")[1]
    assert "Bland" not in flat


def test_few_cases_have_no_limits_and_the_page_says_so(tmp_path):
    text, _ = written(evaluated(3), tmp_path)
    assert "With fewer than 5 cases there are no limits" in text
    assert "95 % limits of agreement" not in text
    assert "each ±" not in text


def test_regions_and_cases_without_volumes_are_no_trouble(tmp_path):
    data = evaluated(3, regions=(("tumour", (1, 2, 3, 4)), ("core", (1, 3, 4))))
    text, record = written(replace(data, volumes=data.volumes[1:]), tmp_path)
    assert {row["target"] for row in record["volumes"]} == {"tumour", "core"}
    assert "<td>–</td>" in text
