"""Measures of the optic disc: exact on shapes that are known, robust to what networks do, silent where unsure."""

from dataclasses import fields

import numpy as np
import pytest

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.measures import measure_all, with_errors
from catenary.measures.disc import MEASURED, Disc, disc, disc_of, planes_of
from catenary.phantoms.fundus import Eye, fundus
from catenary.types import Grid

LABELS = LabelSet(names=("background", "rim", "cup"))
REGIONS = LabelSet(names=("background", "ring", "hollow"), regions={"disc": (1, 2), "cup": (2,)})


def ellipse(half, *, centre=(0.0, 0.0), turn=0.0, size=240):
    rows, columns = np.ogrid[0.5 - size / 2 : size / 2, 0.5 - size / 2 : size / 2]
    y, x = rows - centre[0], columns - centre[1]
    u, v = np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x
    return (u / half[0]) ** 2 + (v / half[1]) ** 2 < 1


def eccentric():
    """Wide rim below, narrow one to the left."""
    return ellipse((100, 90)), ellipse((45, 50), centre=(-15, -10))


# -------------------------------------------------------------------------------------------------------------- numbers


def test_ratios_of_upright_ellipses():
    found = disc_of(ellipse((100, 80)), ellipse((50, 20)), eye="right")
    assert found.cdr_vertical == pytest.approx(0.50, abs=0.006)
    assert found.cdr_horizontal == pytest.approx(0.25, abs=0.006)
    assert (found.cdr_long, found.cdr_short) == pytest.approx((found.cdr_vertical, found.cdr_horizontal), abs=0.002)
    assert found.cup_disc_area == pytest.approx(0.125, abs=0.003)
    assert found.disc_area == pytest.approx(np.pi * 8000, rel=0.005)
    assert (found.disc_height, found.disc_width) == pytest.approx((200, 160), rel=0.006)
    assert found.rim_thinnest == pytest.approx(50 / 200, abs=0.01)
    assert found.finding == ""


def test_own_axes_of_a_turned_disc_are_those_of_the_upright_one():
    upright = disc_of(ellipse((100, 80)), ellipse((50, 20)))
    turned = disc_of(ellipse((100, 80), turn=0.7), ellipse((50, 20), turn=0.7))
    assert turned.cdr_long == pytest.approx(upright.cdr_long, abs=0.006)
    assert turned.cdr_short == pytest.approx(upright.cdr_short, abs=0.006)
    assert abs(turned.cdr_vertical - upright.cdr_vertical) > 0.02


def test_rim_by_sector_and_its_thinnest_place():
    whole, cup = eccentric()
    right, left, unknown = (disc_of(whole, cup, eye=eye) for eye in ("right", "left", None))
    assert right.rim_inferior == pytest.approx(70, abs=4)
    assert right.rim_superior == pytest.approx(40, abs=4)
    assert right.rim_nasal == pytest.approx(50, abs=4)
    assert right.rim_temporal == pytest.approx(30, abs=4)
    assert (left.rim_nasal, left.rim_temporal) == (right.rim_temporal, right.rim_nasal)
    assert (left.rim_inferior, left.rim_superior) == (right.rim_inferior, right.rim_superior)
    assert right.isnt == 0  # superior 40 < nasal 50
    assert 260 <= right.thinnest_at <= 320  # to the left, a little up
    assert right.rim_thinnest == pytest.approx(30 / 180, abs=0.02)
    assert (unknown.rim_nasal, unknown.rim_temporal, unknown.isnt) == (None, None, None)
    assert "not known whose eye" in unknown.finding


def test_the_isnt_order():
    whole = ellipse((100, 90))
    order = disc_of(whole, ellipse((45, 52), centre=(-8, -4)), eye="right")
    assert order.rim_inferior > order.rim_superior > order.rim_nasal > order.rim_temporal
    assert order.isnt == 1
    assert disc_of(whole, ellipse((45, 52), centre=(-8, -4)), eye="left").isnt == 0


def test_a_spacing_scales_lengths_and_leaves_ratios():
    whole, cup = eccentric()
    plain, spaced = disc_of(whole, cup, eye="left"), disc_of(whole, cup, eye="left", spacing=(0.01, 0.01))
    for field in fields(Disc):
        before, after = getattr(plain, field.name), getattr(spaced, field.name)
        if (field.name.startswith("rim_") and field.name != "rim_thinnest") or field.name in (
            "disc_height",
            "disc_width",
        ):
            assert after == pytest.approx(0.01 * before)
        elif field.name == "disc_area":
            assert after == pytest.approx(0.0001 * before)
        elif isinstance(before, float):
            assert after == pytest.approx(before)


def test_pixels_that_are_not_square():
    tall = ellipse((100, 50)), ellipse((50, 20))
    found = disc_of(*tall, spacing=(0.5, 1.0))  # 50 x 50 and 25 x 20 in the unit
    assert (found.disc_height, found.disc_width) == pytest.approx((100, 100), rel=0.01)
    assert (found.cdr_vertical, found.cdr_horizontal) == pytest.approx((0.5, 0.4), abs=0.012)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("notch", [0.0, 0.7])
def test_phantoms_are_measured_as_they_were_drawn(side, notch):
    for seed, ratio in enumerate((0.3, 0.5, 0.75)):
        eye = Eye(side=side, ratio=ratio, notch=notch, inferior=bool(seed % 2))
        photo = fundus(np.random.default_rng(seed), (256, 256), eye=eye, view=20)
        found = disc_of(photo.label > 0, photo.label == 2, eye=side)
        assert found.cdr_vertical == pytest.approx(photo.vcdr, abs=0.025)
        assert found.centre == pytest.approx(photo.disc, abs=0.5)
        if notch:  # at the pole, a little to the temporal side
            away = (found.thinnest_at - (180 if eye.inferior else 0) + 180) % 360 - 180
            assert abs(away) < 50


# ----------------------------------------------------------------------------------------------------------- robustness


def test_specks_holes_and_spurs_hardly_count():
    rng = np.random.default_rng(0)
    whole, cup = ellipse((60, 55)), ellipse((30, 28))
    clean = disc_of(whole, cup, eye="right")
    worse, hollow = whole.copy(), cup.copy()
    worse[rng.integers(0, 240, 40), rng.integers(0, 240, 40)] = True
    worse[115:120, 100:105] = False
    worse[30:70, 119:121] = True  # a vessel that was taken for disc
    hollow[120:122, 140:175] = True
    hollow[5, 5] = True  # outside the disc
    found = disc_of(worse, hollow, eye="right")
    for name in ("cdr_vertical", "cdr_horizontal", "cup_disc_area", "rim_thinnest"):
        assert getattr(found, name) == pytest.approx(getattr(clean, name), abs=0.04), name
    assert found.disc_height == pytest.approx(clean.disc_height, rel=0.05)


def test_a_cup_outside_the_disc_does_not_count():
    whole, cup = ellipse((50, 45)), ellipse((8, 8))
    assert disc_of(whole, cup | ~whole) == disc_of(whole, cup)


def test_the_place_in_the_picture_does_not_matter():
    whole, cup = ellipse((40, 36)), ellipse((20, 22))
    here, there = (disc_of(*planes) for planes in ((whole, cup), (np.roll(whole, 60, 1), np.roll(cup, 60, 1))))
    assert there.centre == pytest.approx((here.centre[0], here.centre[1] + 60))
    assert there.cdr_vertical == pytest.approx(here.cdr_vertical)
    assert there.rim_inferior == pytest.approx(here.rim_inferior)


# ------------------------------------------------------------------------------------------------------------- findings


def test_nothing_is_guessed():
    nothing = np.zeros((240, 240), bool)
    assert disc_of(nothing, nothing) == Disc(finding="no optic disc was found")
    two = ellipse((30, 30), centre=(0, -60)) | ellipse((25, 25), centre=(0, 60))
    found = disc_of(two, nothing)
    assert (found.disc_parts, found.cdr_vertical, found.disc_area) == (2, None, None)
    assert found.finding.startswith("2 parts could be the optic disc")
    speck = ellipse((30, 30), centre=(0, -60)) | ellipse((4, 4), centre=(0, 60))
    assert disc_of(speck, nothing).disc_parts == 1


def test_no_cup_and_a_disc_at_the_border_are_said():
    whole = ellipse((50, 45))
    found = disc_of(whole, np.zeros_like(whole), eye="right")
    assert (found.cdr_vertical, found.cup_disc_area, found.thinnest_at) == (0, 0, None)
    assert found.finding == "no cup was found in the disc"
    assert "cut off" in disc_of(ellipse((50, 45), centre=(0, 100)), ellipse((20, 20), centre=(0, 90))).finding


def test_names_tell_disc_and_cup():
    mask = np.array([[0, 1, 2]], np.uint8)
    for labels in (
        LABELS,
        REGIONS,
        LabelSet(names=("background", "Disc", "Cup")),
        LabelSet(names=("background", "neuroretinal rim", "optic_cup")),
    ):
        whole, cup = planes_of(mask, labels)
        assert (whole.tolist(), cup.tolist()) == ([[False, True, True]], [[False, False, True]])
    with pytest.raises(InputError, match="named cup, and disc or rim, found background, class_1, class_2; name them"):
        planes_of(mask, LabelSet(names=("background", "class_1", "class_2")))
    with pytest.raises(InputError, match=r"name them in dataset\.toml"):
        planes_of(mask, LabelSet(names=("background", "skin", "cup")))


def test_bad_input():
    with pytest.raises(InputError, match=r"one shape, found \(4, 4\) and \(4, 5\)"):
        disc_of(np.zeros((4, 4), bool), np.zeros((4, 5), bool))
    with pytest.raises(InputError, match="spacing"):
        disc_of(np.ones((4, 4), bool), np.ones((4, 4), bool), spacing=(0.0, 1.0))
    with pytest.raises(InputError, match=r"measured on a picture \(h, w\), found shape \(4, 4, 4\)"):
        disc(np.zeros((4, 4, 4), np.uint8), LABELS, Grid())


# ------------------------------------------------------------------------------------------------------------- registry


def test_rows_in_the_registry():
    whole, cup = eccentric()
    mask = whole.astype(np.uint8) + (whole & cup)
    rows = measure_all("disc", mask, LABELS, Grid(spacing=(0.01, 0.01), unit="mm"))
    assert set(rows) == {f"{name} disc" for name in MEASURED}
    assert set(rows) == set(measure_all("disc", np.zeros_like(mask), REGIONS, Grid()))
    assert rows["disc_height disc"].value == pytest.approx(2.0, rel=0.01)
    assert rows["disc_height disc"].unit == "mm"
    assert rows["rim_nasal disc"].value is None
    unknown = measure_all("disc", mask, LABELS, Grid(), valid=np.arange(240)[:, None] + np.zeros(240) > 140)
    assert unknown["disc_height disc"].value < 110


def test_the_eye_comes_from_where_the_disc_lies():
    for side, place in (("right", 0.9), ("left", 0.9), (None, 0.0)):
        eye = Eye(side=side or "right", ratio=0.5)
        photo = fundus(np.random.default_rng(3), (160, 160), eye=eye, view=45, aim=place)
        rows = measure_all("disc", photo.label, LABELS, Grid(), image=photo.image)
        told = disc_of(photo.label > 0, photo.label == 2, eye=side)
        assert rows["rim_nasal disc"].value == told.rim_nasal
        assert (told.rim_nasal is None) == (side is None)
    named = {row.key: row for row in disc(photo.label, LABELS, Grid(), image=photo.image, eye="left")}
    assert named["rim_nasal disc"].value is not None


def test_error_bars_hold_the_truth():
    validation = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        half = rng.uniform(20, 40)
        truth, found = (
            ellipse((60, 55)).astype(np.uint8) + ellipse((half + off, half + off))
            for off in (0.0, 2.0 + rng.normal(0, 0.5))
        )
        validation.append(tuple(measure_all("disc", mask, LABELS, Grid()) for mask in (truth, found)))
    new = measure_all("disc", ellipse((60, 55)).astype(np.uint8) + ellipse((32, 32)), LABELS, Grid())
    error = with_errors(new, validation)["cdr_vertical disc"]
    assert error.low < 30 / 60 < error.high
    assert error.bias == pytest.approx(2 / 60, abs=0.015)
    assert 0 <= error.low < error.corrected < error.high <= 1


def test_real_discs_are_found(real_data):
    from catenary.io.pictures import read_picture_mask

    ratios = []
    for path in sorted((real_data("optic-disc-cup") / "masks").iterdir()):
        mask = read_picture_mask(path)
        found = disc_of(mask > 0, mask == 2)
        assert found.disc_parts == 1
        assert 0 < found.rim_thinnest < 0.5
        rows = [np.ptp(np.flatnonzero(plane.any(axis=1))) + 1 for plane in (mask == 2, mask > 0)]
        assert found.cdr_vertical == pytest.approx(rows[0] / rows[1], abs=0.04)
        ratios.append(found.cdr_vertical)
    assert 0.2 < min(ratios) < max(ratios) < 0.95
