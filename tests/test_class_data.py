"""Images with one class each: folders and tables, which class is negative, the doctor, the division."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catenary.data.classes import in_class_order
from catenary.data.doctor import examine, stop_on_errors
from catenary.data.layouts import open_dataset
from catenary.data.leaks import group_pattern
from catenary.data.splits import split_cases
from catenary.data.survey import survey
from catenary.errors import ConfigError, DataError
from catenary.io import write_image
from catenary.recipe import Split


def photo(path, seed=0, size=(24, 20)):
    rng = np.random.default_rng([seed, *path.as_posix().encode()])
    write_image(path, rng.integers(0, 256, (3, *size), np.uint8))


def class_set(root, counts=None, under=""):
    for name, count in (counts or {"glaucoma": 4, "healthy": 4}).items():
        for i in range(count):
            photo(root / under / name / f"{name[0]}{i}.png", i)
    return root


def table(root, *lines, images=()):
    for i, name in enumerate(images):
        photo(root / f"{name}.png", i)
    root.mkdir(exist_ok=True)
    (root / "manifest.csv").write_text("\n".join(lines))
    return root


def of(dataset):
    return {case.name: dataset.labels.names[case.label] for case in dataset.cases}


def codes(dataset, split=None):
    return {f.code: f for f in examine(dataset, survey(dataset), split)}


# --- which class is negative


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["Glaucoma", "Healthy"], "Healthy"),
        (["abnormal", "normal"], "normal"),
        (["0", "1"], "0"),
        (["1", "0"], "0"),
        (["dr", "no_dr"], "no_dr"),
        (["glaucoma", "non-glaucoma"], "non-glaucoma"),
        (["glaucoma", "NonGlaucoma"], "NonGlaucoma"),
        (["progressing", "stable"], "stable"),
        (["malignant", "benign"], "benign"),
        (["case", "control"], "control"),
        (["covid", "covid negative"], "covid negative"),
        (["high tension", "normal tension", "healthy"], "healthy"),
        (["nodule", "a"], "a"),
        (["b", "a"], "a"),
    ],
)
def test_the_negative_class_comes_first(names, first):
    assert in_class_order(names)[0] == first


@given(st.lists(st.text("ab01-_n", min_size=1), min_size=1))
def test_the_order_of_classes_does_not_depend_on_that_of_files(names):
    assert in_class_order(names) == in_class_order(names[::-1]) == in_class_order(sorted(names))
    assert set(in_class_order(names)) == set(names)


# --- class folders


def test_class_folders(tmp_path):
    dataset = open_dataset(class_set(tmp_path))
    assert dataset.labels.scope == "image"
    assert dataset.labels.names == ("healthy", "glaucoma")
    assert of(dataset)["g0"] == "glaucoma"
    assert of(dataset)["h3"] == "healthy"
    assert {case.mask for case in dataset.cases} == {None}
    assert {case.source for case in dataset.cases} == {""}
    assert dataset.findings == ()


def test_parts_and_sources_above_class_folders(tmp_path):
    for under in ("Train/clinic_a", "Train/clinic_b", "test/clinic_a"):
        class_set(tmp_path, {"healthy": 2, "glaucoma": 2}, under)
    dataset = open_dataset(tmp_path)
    assert Counter((c.split, c.source) for c in dataset.cases) == {
        ("train", "clinic_a"): 4, ("train", "clinic_b"): 4, ("test", "clinic_a"): 4,
    }  # fmt: skip
    assert Counter(c.label for c in dataset.cases) == {0: 6, 1: 6}
    assert len({case.name for case in dataset.cases}) == 12


def test_a_source_with_one_class_only(tmp_path):
    class_set(tmp_path, {"healthy": 3}, "a")
    class_set(tmp_path, {"glaucoma": 3}, "b")
    dataset = open_dataset(tmp_path)
    assert {(c.source, c.label) for c in dataset.cases} == {("a", 0), ("b", 1)}


def test_stated_classes_decide(tmp_path):
    class_set(tmp_path)
    (tmp_path / "dataset.toml").write_text('classes = ["Glaucoma", "healthy", "unsure"]')
    dataset = open_dataset(tmp_path)
    assert dataset.labels.names == ("Glaucoma", "healthy", "unsure")
    assert of(dataset)["g0"] == "Glaucoma"
    assert open_dataset(tmp_path, classes=["healthy", "glaucoma"]).labels.names[0] == "healthy"
    with pytest.raises(DataError, match=r"class 'glaucoma', which is not among the stated healthy, glaucom; did you"):
        open_dataset(tmp_path, classes=["healthy", "glaucom"])
    (tmp_path / "dataset.toml").write_text('classes = ["healthy", "glaucoma", "glaucoma"]')
    with pytest.raises(ConfigError, match="the classes do not fit together: class names must differ"):
        open_dataset(tmp_path)


def test_what_are_no_class_folders(tmp_path):
    for folder in ("images", "Ground Truth", "mask_train"):
        root = tmp_path / folder.replace(" ", "")
        class_set(root, {folder: 3, "healthy": 3})
        with pytest.raises(DataError, match="no pairs of images and masks"):
            open_dataset(root)
    class_set(tmp_path / "parts", {"train": 3, "test": 3})
    with pytest.raises(DataError, match="a folder for each class"):
        open_dataset(tmp_path / "parts")
    class_set(tmp_path / "cases", {f"case{i}": 2 for i in range(5)})
    with pytest.raises(DataError, match="a folder for each class"):
        open_dataset(tmp_path / "cases")
    class_set(tmp_path / "one", {"healthy": 5})
    with pytest.raises(DataError, match="a folder for each class"):
        open_dataset(tmp_path / "one")


def test_folders_at_different_depths_are_told(tmp_path):
    class_set(tmp_path, {"healthy": 3})
    class_set(tmp_path, {"early": 3, "late": 3}, "glaucoma")
    with pytest.raises(DataError, match=r"different depths.*glaucoma/early, glaucoma/late, healthy"):
        open_dataset(tmp_path)


def test_masks_within_class_folders_are_left_out_and_told(tmp_path):
    class_set(tmp_path)
    photo(tmp_path / "healthy" / "h0_mask.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 8
    assert "h0_mask.png" in dataset.findings[0].message


# --- tables


def test_a_table_with_labels(tmp_path):
    lines = ("image,Label,group,split,source", "a.png,ill,p1,train,x", "b.png,no,p1,,y", "c.png,ill,p2,test,")
    dataset = open_dataset(table(tmp_path, *lines, images="abc"))
    assert (dataset.labels.scope, dataset.labels.names, dataset.layout) == ("image", ("no", "ill"), "manifest.csv")
    assert of(dataset) == {"a": "ill", "b": "no", "c": "ill"}
    assert [(c.group, c.split, c.source) for c in dataset.cases] == [
        ("p1", "train", "x"), ("p1", None, "y"), ("p2", "test", ""),
    ]  # fmt: skip
    assert dataset.channel_names == ()


def test_numbers_as_labels_get_their_names(tmp_path):
    root = table(tmp_path, "image,label", "a.png,1", "b.png,3", "c.png,1", images="abc")
    assert open_dataset(root).labels.names == ("1", "3")
    (root / "dataset.toml").write_text('classes = ["healthy", "ill"]\nvalues = [1, 3]')
    assert of(open_dataset(root)) == {"a": "healthy", "b": "ill", "c": "healthy"}
    (root / "dataset.toml").write_text('[[class]]\nname = "ill"\nvalue = 3\n[[class]]\nname = "healthy"\nvalue = 1')
    assert of(open_dataset(root)) == {"a": "healthy", "b": "ill", "c": "healthy"}
    (root / "dataset.toml").write_text('classes = ["healthy", "ill"]')
    with pytest.raises(DataError, match="class '3', which is not among"):
        open_dataset(root)


def test_masks_win_over_labels_and_keep_them(tmp_path):
    for name in "ab":
        photo(tmp_path / f"{name}.png")
        write_image(tmp_path / f"{name}_m.png", np.eye(24, 20, dtype=np.uint8)[None] * 255)
    root = table(tmp_path, "image,mask,label", "a.png,a_m.png,ill", "b.png,b_m.png,healthy")
    dataset = open_dataset(root)
    assert dataset.labels.scope == "pixel"
    assert [case.label for case in dataset.cases] == [1, 0]
    assert dataset.cases[0].mask is not None


def test_a_table_is_refused_with_a_reason(tmp_path):
    with pytest.raises(DataError, match="no column 'mask', found image, klass; name the column of the masks so, or"):
        open_dataset(table(tmp_path, "image,klass", "a.png,1", images="a"))
    with pytest.raises(DataError, match="all 2 images are of the class 'ill'; add images of another"):
        open_dataset(table(tmp_path, "image,label", "a.png,ill", "b.png,ill", images="ab"))
    with pytest.raises(DataError, match="no column 'mask'"):
        open_dataset(table(tmp_path, "image,label", "a.png,b.png", images="ab"))
    (tmp_path / "manifest.csv").write_text("image,label\na.png,ill\na.png,healthy\nb.png,\n")
    dataset = open_dataset(tmp_path)
    assert {f.code: f.level for f in dataset.findings} == {
        "two-images": "error", "no-label": "warning", "same-name": "error",
    }  # fmt: skip


# --- the doctor


def test_a_clean_set_has_no_findings(tmp_path):
    dataset = open_dataset(class_set(tmp_path, {"glaucoma": 8, "healthy": 8}))
    found = survey(dataset)
    assert examine(dataset, found, split_cases(dataset, found)) == ()


def test_a_class_of_one_image_or_none(tmp_path):
    dataset = open_dataset(class_set(tmp_path, {"glaucoma": 1, "healthy": 5}))
    found = codes(dataset)["single-image-class"]
    assert found.level == "error"
    assert "class 'glaucoma' has one image only (g0)" in found.message
    with pytest.raises(DataError, match="class 'glaucoma' has one image only"):
        stop_on_errors([found])
    (tmp_path / "dataset.toml").write_text('classes = ["healthy", "glaucoma", "unsure"]')
    class_set(tmp_path, {"glaucoma": 5, "healthy": 5})
    absent = codes(open_dataset(tmp_path))["absent-class"]
    assert (absent.level, absent.message) == ("warning", "class 'unsure' has no image")


def test_very_unequal_classes(tmp_path):
    dataset = open_dataset(class_set(tmp_path, {"glaucoma": 2, "healthy": 18}))
    assert "2 images are 'glaucoma', 18 are 'healthy'; who always says 'healthy' is right in 90 %" in (
        codes(dataset)["unequal-classes"].message
    )


def test_a_patient_in_two_classes(tmp_path):
    names = [f"{patient}_{eye}_1" for patient in range(5) for eye in ("OD", "OS")]
    lines = [f"{name}.png,{'ill' if name in ('3_OS_1', '4_OD_1', '4_OS_1') else 'healthy'}" for name in names]
    dataset = open_dataset(table(tmp_path, "image,label", *lines, images=names), group=r"^(\d+)")
    found = codes(dataset)["group-in-two-classes"]
    assert found.level == "note"
    assert "1 of 5 groups (patients) hold more than one class: 3_OD_1 healthy and 3_OS_1 ill" in found.message


def test_names_of_eyes_and_visits_suggest_the_patient(tmp_path):
    names = [f"{patient}_{eye}_{visit}" for patient in (7, 12, 30) for eye in ("OD", "OS") for visit in (1, 4)]
    pattern = group_pattern(names)
    lines = [f"{name}.png,{'ill' if name[0] == '7' else 'healthy'}" for name in names]
    dataset = open_dataset(table(tmp_path, "image,label", *lines, images=names))
    assert f"--group '{pattern}'" in codes(dataset)["possible-groups"].remedy
    grouped = open_dataset(tmp_path, group=pattern)
    assert {case.group for case in grouped.cases} == {"7", "12", "30"}


# --- division


@pytest.mark.parametrize("seed", range(3))
def test_each_part_holds_each_class_and_whole_patients(tmp_path, seed):
    rng = np.random.default_rng(seed)
    names = [f"p{patient}_{i}" for patient in range(24) for i in range(rng.integers(1, 4))]
    sick = {f"p{patient}" for patient in rng.permutation(24)[:4]}
    lines = [f"{name}.png,{'ill' if name.split('_')[0] in sick else 'no'}" for name in names]
    dataset = open_dataset(table(tmp_path, "image,label", *lines, images=names), group="^(p[0-9]+)")
    found = survey(dataset)
    division = split_cases(dataset, found, seed=seed)
    assert "balanced in classes" in division.how
    for members in division.parts.values():
        assert {dataset[name].label for name in members} == {0, 1}
    owners = Counter(g for m in division.parts.values() for g in {dataset[name].group for name in m})
    assert set(owners.values()) == {1}
    tested = [n for fold in range(4) for n in split_cases(dataset, found, folds=4, fold=fold, seed=seed).test]
    assert sorted(tested) == sorted(names)
    for fold in range(4):
        part = split_cases(dataset, found, folds=4, fold=fold, seed=seed)
        assert all({dataset[name].label for name in some} == {0, 1} for some in (part.test, part.train))


def test_a_class_that_cannot_be_in_every_part_is_told(tmp_path):
    dataset = open_dataset(class_set(tmp_path, {"glaucoma": 2, "healthy": 9}))
    found = survey(dataset)
    division = split_cases(dataset, found)
    told = [f for f in examine(dataset, found, division) if f.code == "class-not-in-part"]
    assert len(told) == 1
    assert "class 'glaucoma' occurs in no" in told[0].message


def test_the_negative_class_too_is_in_every_part(tmp_path):
    dataset = open_dataset(class_set(tmp_path, {"mild": 9, "severe": 9, "healthy": 3}))
    found = survey(dataset)
    for seed in range(4):
        parts = split_cases(dataset, found, seed=seed).parts
        assert all({dataset[name].label for name in members} == {0, 1, 2} for members in parts.values())


def test_one_source_is_held_out(tmp_path):
    for under in ("a", "b", "c"):
        class_set(tmp_path, {"healthy": 5, "glaucoma": 4}, under)
    dataset = open_dataset(tmp_path)
    assert Split(source="b").source == "b"
    found = survey(dataset)
    division = split_cases(dataset, found, source="b")
    assert {dataset[name].source for name in division.test} == {"b"}
    assert len(division.test) == 9
    assert {dataset[name].source for name in (*division.train, *division.val)} == {"a", "c"}
    assert division.how.startswith("the source 'b' is the test part")
    folded = [n for fold in range(3) for n in split_cases(dataset, found, source="b", folds=3, fold=fold).val]
    assert sorted(folded) == sorted((*division.train, *division.val))
    with pytest.raises(ConfigError, match=r"split\.source='d' is no source of the cases; known are: a, b, c"):
        split_cases(dataset, found, source="d")
    alone = dataclasses.replace(dataset, cases=tuple(c for c in dataset.cases if c.source == "a"))
    with pytest.raises(ConfigError, match="holds all cases out"):
        split_cases(alone, survey(alone), source="a")


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_same_seed_divides_alike(tmp_path_factory, seed):
    dataset, found = _once(tmp_path_factory)
    assert split_cases(dataset, found, seed=seed) == split_cases(dataset, found, seed=seed)


_KEPT = {}


def _once(factory):
    if not _KEPT:
        dataset = open_dataset(class_set(factory.mktemp("once")))
        _KEPT["once"] = dataset, survey(dataset)
    return _KEPT["once"]


# --- real


@pytest.mark.real
def test_real_class_folders(real_data):
    dataset = open_dataset(real_data("fundus-glaucoma"))
    assert dataset.labels.names == ("healthy", "glaucoma")
    assert Counter(case.label for case in dataset.cases) == {0: 15, 1: 15}
    found = survey(dataset)
    told = examine(dataset, found, split_cases(dataset, found))
    assert [f.code for f in told] == ["class-from-colours"]  # 15 against 15 photographs: mean colours reach AUC 0.78


@pytest.mark.real
def test_real_progression(real_data):
    dataset = open_dataset(real_data("glaucoma-progression"))
    assert dataset.layout == "GRAPE"
    assert dataset.labels.names == ("stable", "progressing")
    assert Counter(case.label for case in dataset.cases) == {0: 337, 1: 75}
    assert len({case.group for case in dataset.cases}) == 100
    assert (dataset["12_OS_1"].label, dataset["12_OD_4"].label, dataset["12_OD_4"].group) == (0, 1, "12")
    assert group_pattern([case.name for case in dataset.cases]) == r"^(.*\d)[_-]?(?:OD|OS)(?:[_-]\d+)?$"


def test_a_grape_folder(tmp_path):
    for name in ("1_OD_1", "1_OD_2", "1_OS_1", "2_OD_1", "3_OD_1", "loose"):
        photo(tmp_path / "photos" / f"{name}.jpg")
    head = "Subject Number,Laterality,PLR2,PLR3,MD,Corresponding CFP"
    rows = ["1,OD,0,0,1,1_OD_1.jpg", "1,OS,0,0,0,1_OS_1.jpg", "2,OD,1,0,0,2_OD_1.jpg", "3,OD,,0,0,3_OD_1.jpg"]
    (tmp_path / "baseline.csv").write_text("\n".join([head, *rows]))
    (tmp_path / "follow_up.csv").write_text(
        "Subject Number,Laterality,Visit Number,Interval Years,Corresponding CFP\n1,OD,2,1.5,1_OD_2.jpg\n1,OD,3,2.5,/"
    )
    dataset = open_dataset(tmp_path)
    assert of(dataset) == {
        "1_OD_1": "progressing",
        "1_OD_2": "progressing",
        "1_OS_1": "stable",
        "2_OD_1": "progressing",
    }
    assert {case.group for case in dataset.cases} == {"1", "2"}
    told = [f.message for f in dataset.findings]
    assert any("1 images have no class and are left out: 3_OD_1" in message for message in told)
    assert any("1 photographs are named in no row" in message and "loose.jpg" in message for message in told)
