"""Each leak planted once, and found; what gives the class away without showing the disease."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats.contingency import association

from catenary.data.cases import Case, Dataset
from catenary.data.copies import look_alikes
from catenary.data.doctor import examine
from catenary.data.facts import CaseFacts, image_facts
from catenary.data.labels import LabelSet
from catenary.data.layouts import open_dataset
from catenary.data.shortcuts import _area, auc_from, class_from_facts, source_from_image
from catenary.data.splits import Splits, split_cases
from catenary.data.survey import Survey, survey

SIZE = (96, 80)


def photo(seed, size=SIZE, light=0.0):
    """A coloured picture with detail, as `(3, h, w)` uint8."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(size=size), (0, 0), blur) * blur for blur in (1.5, 4.0, 9.0)]
    field = np.sum(layers, axis=0)
    field = (field - field.mean()) / field.std()
    return np.clip(np.stack([120 + 35 * field + light, 90 + 30 * field, 60 + 20 * field]), 0, 255).astype(np.uint8)


class Planted:
    """A data set in memory: images with class, patient, source and part."""

    def __init__(self):
        self.facts, self.cases = [], []

    def add(self, image, label, *, name=None, group="", source="", suffix=".png", split=None):
        name = name or f"photo{'abcdefghij'[len(self.cases) // 26]}{chr(97 + len(self.cases) % 26)}"
        known = {"name": name, "group": group or name, "split": split}
        nothing = {"objects": (0,), "diameters": (0.0,), "thickness": (0.0,)}
        counts = (int(label == 0), int(label == 1))
        self.facts.append(CaseFacts(**known, **image_facts(image), counts=counts, **nothing))
        image_file = (Path(name + suffix),)
        self.cases.append(Case(**known, images=image_file, mask=None, label=label, source=source))
        return name

    @property
    def dataset(self):
        return Dataset(
            root=Path(), name="planted", layout="", cases=tuple(self.cases),
            labels=LabelSet(names=("healthy", "ill"), scope="image"),
        )  # fmt: skip

    @property
    def survey(self):
        return Survey(facts=tuple(self.facts))

    def found(self, test=()):
        names = [case.name for case in self.cases]
        split = Splits(train=tuple(n for n in names if n not in test), val=(), test=tuple(test)) if test else None
        return {f.code: f for f in examine(self.dataset, self.survey, split)}


def clean(count=24, **more):
    planted = Planted()
    for i in range(count):
        planted.add(photo(i), i % 2, **more)
    return planted


def jpeg(image):
    pixels = cv2.imencode(".jpg", image.transpose(1, 2, 0), [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return np.ascontiguousarray(cv2.imdecode(pixels, cv2.IMREAD_COLOR).transpose(2, 0, 1))


def resized(image):
    return np.ascontiguousarray(cv2.resize(image.transpose(1, 2, 0), None, fx=0.7, fy=0.6).transpose(2, 0, 1))


COPIES = {
    "saved again": jpeg,
    "resized": resized,
    "brighter": lambda image: np.clip(image * 1.15 + 12, 0, 255).astype(np.uint8),
    "mirrored": lambda image: image[:, :, ::-1],
    "upside down": lambda image: image[:, ::-1],
    "turned": lambda image: np.rot90(image, 1, axes=(1, 2)),
    "mirrored, brighter, resized, saved again": lambda image: jpeg(resized(image[:, :, ::-1] // 4 * 3 + 30)),
}


def cropped(image, share=0.85):
    height, width = (round(share * side) for side in image.shape[1:])
    return image[:, 3 : 3 + height, 9 : 9 + width]


def test_a_clean_set_has_no_findings():
    planted = clean()
    split = split_cases(planted.dataset, planted.survey)
    assert examine(planted.dataset, planted.survey, split) == ()


# --- copies


def test_the_same_image_under_two_names_across_parts():
    planted = clean()
    copy = planted.add(photo(3), 1)
    assert planted.found(test=[copy])["duplicate-across-splits"].level == "error"


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_across_parts(kind):
    planted = clean()
    first = planted.cases[4].name
    copy = planted.add(np.ascontiguousarray(COPIES[kind](photo(4))), 0)
    found = planted.found(test=[copy])["near-duplicate-across-splits"]
    assert found.cases == (first, copy)
    told = "mirrored or turned" in found.message
    assert told == any(word in kind for word in ("mirrored", "upside", "turned"))


@pytest.mark.parametrize("kind", COPIES)
def test_changed_copies_stay_in_one_part(kind):
    planted = clean(18)
    pairs = [
        (planted.cases[i].name, planted.add(np.ascontiguousarray(COPIES[kind](photo(i))), i % 2)) for i in range(6)
    ]
    for seed in range(4):
        split = split_cases(planted.dataset, planted.survey, seed=seed)
        assert all(split.part_of(a) == split.part_of(b) for a, b in pairs)


@pytest.mark.parametrize("change", [cropped, lambda image: jpeg(resized(cropped(image)[:, :, ::-1] // 4 * 3 + 30))])
def test_a_cropped_copy_is_found_and_stays_in_one_part(change):
    planted = clean()
    pairs = {(planted.cases[i].name, planted.add(np.ascontiguousarray(change(photo(i))), i % 2)) for i in range(4, 8)}
    found = {(planted.cases[i].name, planted.cases[j].name) for i, j, how in look_alikes(planted.facts, crops=True)}
    assert found == pairs
    assert "cropped, correlation" in planted.found()["near-duplicates"].message
    for seed in range(4):
        split = split_cases(planted.dataset, planted.survey, seed=seed)
        assert all(split.part_of(a) == split.part_of(b) for a, b in pairs)


def test_a_set_too_large_for_the_search_for_crops_is_told(monkeypatch):
    planted = clean()
    assert "crops-not-searched" not in planted.found()
    monkeypatch.setattr("catenary.data.leaks.MOST", len(planted.cases) - 1)
    told = planted.found()["crops-not-searched"]
    assert (told.level, f"these are {len(planted.cases)}" in told.message) == ("note", True)


@pytest.mark.parametrize("change", [COPIES["mirrored"], COPIES["brighter"], cropped])
def test_augmented_copies_in_two_sources(change):
    planted = clean(12, source="a")
    for i in range(12):
        planted.add(photo(100 + i), i % 2, source="b")
    planted.add(np.ascontiguousarray(change(photo(5))), 1, source="b")
    found = planted.found()["duplicate-across-sources"]
    assert found.level == "warning"
    assert "(a) = " in found.message
    assert "(b)" in found.message


@pytest.mark.parametrize("change", [lambda image: image, lambda image: np.ascontiguousarray(image[:, :, ::-1])])
def test_one_image_with_two_classes(change):
    planted = clean()
    planted.add(change(photo(4)), 1)
    found = planted.found()["duplicates-with-different-classes"]
    assert found.level == "warning"
    assert f"{planted.cases[4].name} (healthy) = {planted.cases[-1].name} (ill)" in found.message


def test_two_eyes_of_a_patient_across_parts():
    planted = clean()
    left, _ = planted.add(photo(90), 1, group="p1"), planted.add(photo(91), 1, group="p1")
    assert planted.found(test=[left])["group-across-splits"].level == "error"


# --- the source


def two_clinics(share, light=30.0, count=40, seed=0):
    """Clinic b photographs lighter; `share` of its photos, and 1 - share of those of clinic a, are of the ill."""
    rng = np.random.default_rng(seed)
    planted = Planted()
    for i in range(count):
        second = i % 2
        ill = int(rng.random() < (share if second else 1 - share))
        planted.add(photo([seed, i], light=light * second), ill, source="ab"[second], group=f"p{i // 4}-{second}")
    return planted


def test_a_source_that_gives_the_class_away_is_told():
    planted = two_clinics(0.95)
    found = planted.found()["source-gives-class"]
    assert found.level == "warning"
    assert "split.source=NAME" in found.remedy
    told = source_from_image(planted.dataset, planted.survey)
    assert told.told > 0.95
    assert told.known > 0.85
    assert told.association == pytest.approx(association(np.array(told.cases), method="cramer"))
    assert told.association > 0.7
    assert f"AUC {told.told:.2f}" in found.message
    assert f"V {told.association:.2f}" in found.message


def test_a_source_that_says_nothing_of_the_class_is_a_note():
    planted = two_clinics(0.5)
    found = planted.found()
    assert "source-gives-class" not in found
    assert found["source-in-image"].level == "note"
    assert source_from_image(planted.dataset, planted.survey).association < 0.5


def test_sources_that_look_alike_are_not_told():
    for share in (0.5, 0.95):
        planted = two_clinics(share, light=0.0)
        told = source_from_image(planted.dataset, planted.survey)
        assert told.told < 0.75
        assert not {"source-gives-class", "source-in-image"} & planted.found().keys()


def test_a_source_of_one_class_is_told_however_it_looks():
    planted = two_clinics(1.0, light=0.0)
    assert "2 of 2 sources hold one class only: a, b" in planted.found()["one-class-source"].message


def test_without_sources_nothing_is_asked():
    planted = clean()
    assert source_from_image(planted.dataset, planted.survey) is None
    assert source_from_image(clean(source="a").dataset, clean(source="a").survey) is None
    few = clean(source="a")
    few.add(photo(70), 1, source="b")
    assert source_from_image(few.dataset, few.survey) is None


def test_the_seed_decides():
    planted = two_clinics(0.7)
    assert source_from_image(planted.dataset, planted.survey, seed=3) == source_from_image(
        planted.dataset, planted.survey, seed=3
    )


# --- the file


def planted_files(change):
    planted = Planted()
    for i in range(24):
        planted.add(change(photo(i), i % 2), i % 2, suffix=".png" if i % 2 or change is not of_format else ".jpg")
    return planted


def of_size(image, label):
    return resized(image) if label else image


def of_rim(image, label):
    return np.pad(image, ((0, 0), (8, 8), (8, 8))) if label else image


def of_format(image, label):
    return image


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of_size, "size: 96x80 in 100 % of 'healthy' and 58x56 in 100 % of 'ill'"),
        (of_rim, "size"),
        (of_format, "format: jpg in 100 % of 'healthy' and png in 100 % of 'ill'"),
    ],
)
def test_a_file_that_gives_the_class_away(change, words):
    found = planted_files(change).found()["class-from-file"]
    assert found.level == "warning"
    assert words in found.message
    assert "AUC 1.00" in found.message


def test_colours_that_give_the_class_away_are_a_note():
    planted = Planted()
    for i in range(30):
        planted.add(photo(i, light=25.0 * (i % 2)), i % 2)
    found = planted.found()["class-from-colours"]
    assert found.level == "note"
    (files, _), (colours, clear), _ = class_from_facts(planted.dataset, planted.survey)
    assert files == 0.5
    assert clear
    assert colours > 0.9


def test_the_area_counts_ties_half():
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    above, below = score[positive][:, None], score[~positive]
    assert _area(score, positive) == pytest.approx(np.mean((above > below) + 0.5 * (above == below)))


@pytest.mark.parametrize("seed", range(5))
def test_noise_tells_nothing(seed):
    rng = np.random.default_rng(seed)
    of = rng.integers(0, 3, 150)
    area = auc_from(rng.normal(size=(150, 20)), of, [str(i) for i in range(150)], seed=seed)
    assert 0.35 < area < 0.65


def test_what_marks_a_patient_is_not_taken_for_the_class():
    """A mark of the patient tells the class of the same patient's other images, and of nobody else's."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(20), 6)
    of = patient % 2
    marks = rng.normal(size=(20, 30))[patient]
    by_group = auc_from(marks, of, [str(p) for p in patient])
    by_image = auc_from(marks, of, [str(i) for i in range(120)])
    assert by_image > 0.95
    assert by_group < 0.75


@pytest.mark.real
def test_two_real_cameras_are_told_apart(real_data, tmp_path):
    hrf, drishti = real_data("fundus-glaucoma"), real_data("optic-disc-cup") / "images"
    rows = [f"{file},glaucoma,drishti" for file in sorted(drishti.iterdir())[:15]]
    rows += [f"{file},{file.parent.name},hrf" for file in sorted(hrf.glob("*/*.jpg"))]
    (tmp_path / "manifest.csv").write_text("\n".join(["image,label,source", *rows]), "utf-8")
    dataset = open_dataset(tmp_path)
    found = source_from_image(dataset, survey(dataset))
    assert found.sources == ("drishti", "hrf")
    assert found.cases == ((0, 15), (15, 15))
    assert found.told > 0.95
    assert found.clear[0]
