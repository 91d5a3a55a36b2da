"""Phantom photos of the eye are what they say; the quality gate tells good photos, bad ones, and other pictures."""

import csv
import time

import numpy as np
import pytest

from catenary.errors import ConfigError, InputError, OutputError
from catenary.io import read_image
from catenary.measures.fundus import LIMITS, Field, eye_from_disc, eye_of, field_of_view, quality_of
from catenary.phantoms.faults import FAULTS, STRANGERS, spoiled, stranger
from catenary.phantoms.fundus import CAMERAS, Eye, fundus, random_patient, risk_of
from catenary.workflow.fundus import write_fundus


def photo(seed=0, size=(256, 256), **options):
    return fundus(np.random.default_rng(seed), size, **options)


def table(folder):
    return list(csv.DictReader((folder / "manifest.csv").read_text("utf-8").splitlines()))


def reasons(image):
    return " ".join(quality_of(image).reasons)


# -------------------------------------------------------------------------------------------------------------- phantom


@pytest.mark.parametrize("size", [(64, 64), (65, 100), (300, 200)])
@pytest.mark.parametrize("camera", CAMERAS)
def test_a_photo_of_any_size(size, camera):
    found = photo(size=size, camera=camera)
    assert found.image.shape == (3, *size)
    assert set(np.unique(found.label)) == {0, 1, 2}
    again = photo(size=size, camera=camera)
    assert (again.image == found.image).all()
    assert (photo(1, size=size, camera=camera).image != found.image).any()
    away = np.hypot(*(np.ogrid[: size[0], : size[1]][i] - found.centre[i] for i in (0, 1)))
    assert found.image[:, away > found.radius + 3].max(initial=0) < 25
    assert found.image[0, away < 0.8 * found.radius].mean() > 60


@pytest.mark.parametrize("ratio", [0.15, 0.45, 0.9])
def test_the_cup_is_as_large_as_asked(ratio):
    for seed in range(3):
        found = photo(seed, (512, 512), eye=Eye(ratio=ratio), view=20)
        assert found.vcdr == pytest.approx(ratio, abs=1e-3)
        heights = [np.count_nonzero(plane.any(axis=1)) for plane in (found.label == 2, found.label > 0)]
        assert heights[0] / heights[1] == pytest.approx(ratio, abs=0.02)


def test_a_notch_thins_the_rim_on_its_side():
    for inferior in (True, False):
        plain, notched = (
            photo(2, eye=Eye(ratio=0.5, notch=notch, inferior=inferior), view=20, aim=0) for notch in (0.0, 0.8)
        )
        assert (plain.label > 0).sum() == (notched.label > 0).sum()
        new = (notched.label == 2) & (plain.label == 1)
        rows = np.nonzero(new)[0]
        assert rows.size > 20
        assert ((rows > notched.disc[0]) == inferior).mean() > 0.95
        assert not ((plain.label == 2) & (notched.label != 2)).any()
        assert notched.vcdr > plain.vcdr


def test_the_left_eye_mirrors_the_right_one():
    right, left = (photo(3, eye=Eye(side=side), aim=1, view=45) for side in ("right", "left"))
    assert (right.image == left.image[..., ::-1]).all()
    assert (right.label == left.label[:, ::-1]).all()
    assert right.disc[1] > right.centre[1] + 0.4 * right.radius  # the disc is to the nose, right in a right eye
    assert left.disc == pytest.approx((right.disc[0], 255 - right.disc[1]))


def test_what_is_bright_and_dark():
    found = photo(4, (400, 400), eye=Eye(ratio=0.5), aim=1, view=45)
    green = found.image[1].astype(float)
    macula = [round(n) for n in (found.disc[0] + 1.5 * found.radius / 22.5, found.disc[1] - 15.5 * found.radius / 22.5)]
    spot = green[macula[0] - 4 : macula[0] + 5, macula[1] - 4 : macula[1] + 5].mean()
    assert spot < 0.9 * np.median(green[green > 30])
    cup, rim = (np.median(green[found.label == part]) for part in (2, 1))
    assert cup > rim > 1.15 * np.median(green[(found.label == 0) & (green > 30)])


def test_a_haemorrhage_is_red_and_changes_no_label():
    plain, bleeding = (photo(5, (400, 400), eye=Eye(haemorrhage=bleeds), view=20, aim=0) for bleeds in (False, True))
    assert (plain.label == bleeding.label).all()
    changed = np.abs(plain.image.astype(int) - bleeding.image).max(axis=0) > 40
    assert 50 < changed.sum() < 5000
    assert bleeding.image[0, changed].mean() > 1.5 * bleeding.image[1, changed].mean()


def test_cameras_differ_in_colour():
    red, brown = (photo(6, camera=camera).image.astype(float) for camera in ("clinic", "handheld"))
    assert red[0].sum() / red[1].sum() > 1.3 * brown[0].sum() / brown[1].sum()


def test_patients_follow_the_rule():
    eyes = [eye for seed in range(300) for eye in random_patient(np.random.default_rng(seed))]
    assert {eye.side for eye in eyes} == {"right", "left"}
    expected = np.mean([risk_of(eye.ratio, eye.notch) for eye in eyes])
    assert np.mean([eye.glaucoma for eye in eyes]) == pytest.approx(expected, abs=0.05)
    assert all(eye.glaucoma for eye in eyes if eye.progressing or eye.haemorrhage)
    sick = [eye for eye in eyes if eye.glaucoma]
    bleeding, not_bleeding = (
        np.mean([eye.progressing for eye in sick if eye.haemorrhage == bleeds]) for bleeds in (True, False)
    )
    assert bleeding > 0.6 > 0.3 > not_bleeding > 0.05
    ratios = np.array([eye.ratio for eye in eyes]).reshape(-1, 2)
    assert np.corrcoef(ratios.T)[0, 1] > 0.9


def test_bad_wishes():
    for options, message in (
        ({"camera": "clinik"}, "there is no camera 'clinik'; did you mean 'clinic'"),
        ({"size": (8, 300)}, r"at least 16 pixels, found \(8, 300\)"),
        ({"view": 90.0}, "a view of 20 to 60 degrees"),
        ({"eye": Eye(ratio=0.99)}, "a ratio of 0.1 to 0.92"),
    ):
        with pytest.raises(InputError, match=message):
            photo(**options)
    with pytest.raises(InputError, match="no fault 'blurr'; did you mean 'blur'"):
        spoiled(photo().image, "blurr", 0.5)
    with pytest.raises(InputError, match="strength of 0 to 1, found 2"):
        spoiled(photo().image, "blur", 2)
    with pytest.raises(InputError, match="no picture 'cat'"):
        stranger("cat")


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_grow_from_nothing(fault):
    image = photo().image
    assert (spoiled(image, fault, 0.0) == image).all()
    changes = [
        np.abs(spoiled(image, fault, strength, np.random.default_rng(1)).astype(int) - image).mean()
        for strength in (0.2, 0.6, 1.0)
    ]
    assert 0 < changes[0] < changes[1] < changes[2]


# ----------------------------------------------------------------------------------------------------------- the writer


def test_folders_are_data_sets(tmp_path):
    seen = []
    folder = write_fundus(
        tmp_path / "eyes", patients=6, size=(64, 64), seed=2, cameras=tuple(CAMERAS),
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert seen[-1] == ("draw fundus photos", 6, 6)
    images, masks = (sorted((folder / "segmentation" / kind).iterdir()) for kind in ("images", "masks"))
    assert [path.stem for path in images] == [path.stem for path in masks]
    assert len(images) == 12
    rows = table(folder / "classes")
    assert list(rows[0]) == ["image", "label", "group", "source"]
    assert {row["label"] for row in rows} == {"healthy", "glaucoma"}
    assert {row["source"] for row in rows} == set(CAMERAS)
    for row in rows:
        assert (folder / "classes" / row["image"]).read_bytes() == (
            folder / "segmentation" / "images" / row["image"].split("/")[1]
        ).read_bytes()
        assert eye_of(row["image"]) == {"OD": "right", "OS": "left"}[row["image"][-6:-4]]
    sick = [row["image"].split("/")[1] for row in rows if row["label"] == "glaucoma"]
    worse = table(folder / "progression")
    assert sorted(row["image"].split("/")[1] for row in worse) == sorted(sick)
    assert not list(folder.glob(".writing*"))
    fewer = write_fundus(tmp_path / "fewer", patients=2, size=(64, 64), seed=2, cameras=tuple(CAMERAS))
    for path in (fewer / "segmentation" / "images").iterdir():
        assert path.read_bytes() == (folder / "segmentation" / "images" / path.name).read_bytes()
    with pytest.raises(OutputError, match="already holds segmentation"):
        write_fundus(folder)


def test_the_segmentation_folder_opens(tmp_path):
    import catenary
    from catenary.measures.disc import planes_of

    folder = write_fundus(tmp_path, patients=3, size=(64, 64), view=20)
    data = catenary.open_dataset(folder / "segmentation")
    assert data.labels.target_names == ("disc", "cup")
    assert {case.group for case in data.cases} == {"p000", "p001", "p002"}
    whole, cup = planes_of(np.array([[0, 1, 2]], np.uint8), data.labels)
    assert (whole.sum(), cup.sum()) == (2, 1)


def test_a_shortcut_is_planted(tmp_path):
    folder = write_fundus(tmp_path, patients=12, size=(32, 32), cameras=tuple(CAMERAS), shortcut=1.0)
    rows = table(folder / "classes")
    for group in {row["group"] for row in rows}:
        own = [row for row in rows if row["group"] == group]
        sick = any(row["label"] == "glaucoma" for row in own)
        assert {row["source"] for row in own} == {"handheld" if sick else "clinic"}


def test_the_writer_refuses(tmp_path):
    with pytest.raises(ConfigError, match="at least one patient"):
        write_fundus(tmp_path, patients=0)
    with pytest.raises(InputError, match="no camera 'x'"):
        write_fundus(tmp_path, cameras=("x",))
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------- the gate


@pytest.mark.parametrize("kind", STRANGERS)
def test_other_pictures_are_refused(kind):
    for seed, size in enumerate([(256, 256), (300, 400), (500, 360)]):
        found = quality_of(stranger(kind, size, np.random.default_rng(seed)))
        assert (found.fundus, found.verdict, found.sharpness) == (False, "reject", None)
        assert ("black" if kind == "black" else "not a photo of the back of the eye") in found.reasons[0]


@pytest.mark.parametrize("camera", CAMERAS)
def test_good_photos_pass(camera):
    for seed in range(3):
        found = photo(seed, (512, 512), camera=camera)
        quality = quality_of(found.image)
        assert (quality.verdict, quality.reasons) == ("good", ())
        assert (quality.field.row, quality.field.column) == pytest.approx(found.centre, abs=4)
        assert quality.field.radius == pytest.approx(found.radius, rel=0.02)
        crop = quality_of(photo(seed, (400, 400), camera=camera, reach=3.0, aim=0.0, view=45).image)
        assert (crop.fundus, crop.field, crop.view) == (True, None, 1.0)


@pytest.mark.parametrize(
    ("fault", "word", "strength"),
    [("blur", "blurred", 0.6), ("dark", "too dark", 0.8), ("glare", "bright reflections", 0.8)],
)
def test_spoiled_photos_are_rejected_for_their_fault(fault, word, strength):
    for seed in range(3):
        found = quality_of(spoiled(photo(seed, (512, 512)).image, fault, strength, np.random.default_rng(seed)))
        assert (found.fundus, found.verdict) == (True, "reject")
        assert word in " ".join(found.reasons)


def test_milder_faults_are_said():
    image = photo(1, (512, 512)).image
    assert "too strongly compressed" in reasons(spoiled(image, "jpeg", 1.0))
    assert "the round view is small" in reasons(spoiled(image, "vignette", 1.0))
    assert "unevenly lit" in reasons(spoiled(image, "uneven", 1.0))
    assert "grainy" in reasons(spoiled(image, "noise", 1.0))
    bright = np.minimum(255, image.astype(int) * np.array([1, 3, 2])[:, None, None]).astype(np.uint8)
    assert quality_of(bright).verdict != "good"


def test_each_number_moves_with_its_fault():
    image = photo(2, (512, 512)).image
    for fault, number, sign in (
        ("blur", "sharpness", -1), ("dark", "exposure", -1), ("uneven", "evenness", -1), ("glare", "glare", 1),
        ("noise", "grain", 1), ("vignette", "view", -1),
    ):  # fmt: skip
        values = [getattr(quality_of(spoiled(image, fault, strength)), number) for strength in (0.0, 0.4, 0.7)]
        assert values == sorted(values, reverse=sign < 0), fault
        assert values[0] != values[2]


def test_noise_is_not_taken_for_sharpness():
    sharp = photo(3, (512, 512)).image
    blurred = spoiled(sharp, "blur", 0.6)
    assert quality_of(spoiled(blurred, "noise", 0.15)).sharpness < 0.16 < 0.3 < quality_of(sharp).sharpness
    assert quality_of(spoiled(sharp, "noise", 0.15)).sharpness > 0.16


def test_sharpness_does_not_depend_on_size():
    values = [quality_of(photo(4, (size, size), view=40).image).sharpness for size in (384, 512, 1024)]
    assert max(values) < 1.35 * min(values)


def test_the_field_may_be_cut():
    image = photo(5, (400, 400)).image
    whole, cut = field_of_view(image), field_of_view(np.ascontiguousarray(image[:, 60:340]))
    assert (cut.row + 60, cut.column, cut.radius) == pytest.approx(whole, abs=4)
    assert field_of_view(stranger("page")) is None
    with pytest.raises(InputError, match="from 32 pixels a side on, found 20 x 400"):
        quality_of(image[:, :20])


def test_limits_have_a_remedy():
    for limit in LIMITS:
        assert limit.usable != limit.reject
        assert ": " in limit.reason


def test_the_gate_is_fast():
    image = photo(6, (1024, 1024)).image
    quality_of(image)
    times = []
    for _ in range(5):
        start = time.process_time()
        quality_of(image)
        times.append(time.process_time() - start)
    assert min(times) < 0.1  # about 0.01 on an idle machine


@pytest.mark.parametrize(
    ("folder", "least"), [("optic-disc-cup", 0.8), ("fundus-glaucoma", 0.9), ("retina-vessels", 0.9)]
)
def test_real_photos_pass(real_data, folder, least):
    root = real_data(folder)
    paths = sorted(path for path in root.rglob("*.jpg") if "mask" not in str(path) and "observer" not in str(path))
    found = [quality_of(read_image(path).array) for path in paths]
    assert len(found) >= 18
    assert all(quality.fundus and quality.field is not None and quality.verdict != "reject" for quality in found)
    assert np.mean([quality.verdict == "good" for quality in found]) >= least


def test_real_crops_and_real_skin(real_data):
    crops = sorted((real_data("glaucoma-progression") / "disc_photos").glob("*.jpg"))[::8]
    found = [quality_of(read_image(path).array) for path in crops]
    assert all(quality.fundus for quality in found)
    assert np.mean([quality.verdict == "reject" for quality in found]) < 0.03
    skin = sorted(real_data("skin-lesion").glob("*.jpg"))[::4]
    assert not any(quality_of(read_image(path).array).fundus for path in skin)


# ------------------------------------------------------------------------------------------------------------ which eye


def test_the_eye_by_name():
    right = ("12_OD_3.jpg", "Image_01R.jpg", "right.png", "a/RightEye2.png", "p003-od.tif")
    left = ("12_OS_3.jpg", "Image_01L.jpg", "left_eye.png", "L.png", "p003 os.tif")
    for names, side in ((right, "right"), (left, "left"), (("01_h.jpg", "model.png", "od_os.png", "LR.png"), None)):
        assert [eye_of(name) for name in names] == [side] * len(names)


def test_the_eye_by_the_disc():
    for side in ("right", "left"):
        found = photo(7, eye=Eye(side=side), aim=0.9, view=45)
        assert eye_from_disc(found.disc, field_of_view(found.image)) == side
        central = photo(7, eye=Eye(side=side), aim=0.0, view=45)
        assert eye_from_disc(central.disc, field_of_view(central.image)) is None
    assert eye_from_disc((0.0, 31.0), Field(0.0, 0.0, 100.0)) == "right"
