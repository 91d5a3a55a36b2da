"""Each defect planted once; and clean sets without false alarms."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from catenary.data.cases import Case, Dataset
from catenary.data.doctor import examine, stop_on_errors
from catenary.data.facts import CaseFacts, image_facts, label_facts
from catenary.data.findings import Finding
from catenary.data.labels import LabelSet
from catenary.data.leaks import as_series, group_pattern
from catenary.data.splits import Splits, split_cases
from catenary.data.survey import Survey, survey
from catenary.errors import DataError
from catenary.types import IGNORE, Grid

SIZE = (64, 64)


def noise(seed, size=SIZE, blur=2.0):
    field = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=size).astype(np.float32), (0, 0), blur)
    return np.rint(255 * (field - field.min()) / np.ptp(field)).astype(np.uint8)


def blob(seed, size=SIZE):
    rng = np.random.default_rng(1000 + seed)
    rows, columns = np.indices(size)
    centre, radius = rng.uniform(16, 48, 2), rng.uniform(8, 14)
    return ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2).astype(np.uint8)


def case(name, image=None, label=None, *, seed=None, group=None, split=None, classes=2, **more):
    seed = sum(map(ord, name)) * 31 + len(name) if seed is None else seed
    image = noise(seed)[None] if image is None else image
    label = blob(seed, image.shape[1:]) if label is None else label
    fields = image_facts(image) | label_facts(label, classes=classes)
    return CaseFacts(name=name, group=group or name, split=split, **(fields | more))


def clean(count=8, **more):
    return [case(f"scene{chr(97 + i)}", seed=i, **more) for i in range(count)]


def planted(facts, *, classes=("background", "cell"), findings=(), **labels):
    cases = tuple(
        Case(name=f.name, images=(Path(f"{f.name}.png"),), mask=Path(f"{f.name}_m.png"), group=f.group, split=f.split)
        for f in facts
    )
    return Dataset(
        root=Path("planted"), name="planted", layout="folders", cases=cases, labels=LabelSet(names=classes, **labels),
        grid=Grid(), licence="", findings=tuple(findings),
    )  # fmt: skip


def look(facts, split=None, **more):
    return examine(planted(facts, **more), Survey(facts=tuple(facts)), split)


def only(findings, code):
    found = [f for f in findings if f.code == code]
    assert len(found) == 1, [f.code for f in findings]
    assert found[0].message
    assert found[0].remedy
    return found[0]


def parts(facts, test=(), val=()):
    train = tuple(f.name for f in facts if f.name not in {*test, *val})
    return Splits(train=train, val=tuple(val), test=tuple(test))


def test_a_clean_set_has_no_findings():
    facts = clean()
    split = split_cases(planted(facts), Survey(facts=tuple(facts)))
    assert look(facts, split) == ()
    assert look(facts) == ()


def test_findings_of_the_opening_are_passed_on_and_errors_come_first():
    passed = Finding(level="note", code="unpaired", message="x.png has no mask", remedy="add it", cases=("x",))
    facts = [*clean(), CaseFacts(name="bad", group="bad", trouble="bad.png is truncated")]
    findings = look(facts, findings=[passed])
    assert passed in findings
    assert findings[0].level == "error"


def test_unreadable():
    finding = only(look([*clean(), CaseFacts(name="bad", group="bad", trouble="bad.png is truncated")]), "unreadable")
    assert (finding.level, finding.cases) == ("error", ("bad",))
    assert "bad.png is truncated" in finding.message


def test_size_mismatch_and_a_turned_mask():
    facts = [*clean(), case("odd", mask_size=(64, 60)), case("turned", noise(1, (64, 48))[None], mask_size=(48, 64))]
    found = {f.cases[0]: f for f in look(facts) if f.code == "size-mismatch"}
    assert set(found) == {"odd", "turned"}
    assert all(f.level == "error" for f in found.values())
    assert "64x64" in found["odd"].message
    assert "64x60" in found["odd"].message
    assert "turned by 90 degrees" in found["turned"].remedy
    assert "turned" not in found["odd"].remedy


def test_too_small():
    tiny = case("dot", np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1), np.uint8))
    finding = only(look([*clean(), tiny]), "too-small")
    assert (finding.level, finding.cases) == ("error", ("dot",))
    assert "1x1" in finding.message
    assert not [f for f in look([*clean(), case("ok", noise(5, (8, 9))[None])]) if f.code == "too-small"]


def test_not_finite():
    image = noise(3)[None].astype(np.float32)
    image[0, :2, :2] = np.nan
    facts = [case(f.name, noise(i)[None].astype(np.float32)) for i, f in enumerate(clean())]
    finding = only(look([*facts, case("nan", image)]), "not-finite")
    assert (finding.level, finding.cases) == ("error", ("nan",))
    assert "4 in all" in finding.message


def test_constant_image_is_told_once():
    flat = [case(name, np.full((1, *SIZE), 9, np.uint8), seed=i) for i, name in enumerate(("p", "q"))]
    findings = look([*clean(), *flat])
    finding = only(findings, "constant-image")
    assert (finding.level, finding.cases) == ("warning", ("p", "q"))
    assert {f.code for f in findings} == {"constant-image"}


def test_mixed_channels():
    finding = only(look([*clean(), case("rgb", np.stack([noise(i) for i in range(3)]))]), "mixed-channels")
    assert (finding.level, finding.cases) == ("error", ("rgb",))
    assert "8 with 1, 1 with 3" in finding.message


def test_mixed_types_and_ranges():
    deep = case("deep", noise(3)[None].astype(np.uint16) * 100)
    finding = only(look([*clean(), deep]), "mixed-types")
    assert (finding.level, finding.cases) == ("warning", ("deep",))
    floats = [case(f"f{i}", noise(i)[None].astype(np.float32) / 255) for i in range(6)]
    finding = only(look([*floats, case("bytes", noise(9)[None].astype(np.float32))]), "mixed-ranges")
    assert (finding.level, finding.cases) == ("warning", ("bytes",))
    assert "prepare.normalise=image" in finding.remedy


def test_dim_and_bright_images_of_one_kind_are_no_mixed_range():
    facts = [case(f"f{i}", (noise(i)[None] // (1 + 3 * (i % 4))).astype(np.uint8)) for i in range(8)]
    assert not [f for f in look(facts) if f.code == "mixed-ranges"]


def test_same_and_constant_channels():
    grey = [case(f"g{chr(97 + i)}", np.stack([noise(i)] * 3)) for i in range(6)]
    assert only(look(grey), "same-channels").level == "note"
    alpha = [
        case(f"g{chr(97 + i)}", np.stack([noise(i), noise(i + 50), np.full(SIZE, 255, np.uint8)])) for i in range(6)
    ]
    finding = only(look(alpha), "constant-channel")
    assert finding.level == "note"
    assert "channel 3 of 3 is 255" in finding.message


def test_unexpected_values_and_soft_masks():
    facts = [*clean(), case("odd", unexpected={"7": 30, "9": 2})]
    finding = only(look(facts), "unexpected-values")
    assert (finding.level, finding.cases) == ("error", ("odd",))
    assert "7 in 30 px, 9 in 2 px" in finding.message
    facts = [*clean(), case("smooth", unexpected={str(v): 3 for v in range(100, 110)}, soft=True)]
    finding = only(look(facts), "soft-masks")
    assert (finding.level, finding.cases) == ("warning", ("smooth",))
    assert "and 5 more values" in finding.message


def test_what_opening_saw_in_a_sample_is_told_once():
    sample = Finding(level="warning", code="soft-masks", message="some", remedy="r")
    facts = [*clean(), case("smooth", unexpected={"100": 3}, soft=True)]
    assert only(look(facts, findings=[sample]), "soft-masks").cases == ("smooth",)


def test_one_colour_image_among_grey_ones():
    grey = [case(f"g{chr(97 + i)}", np.stack([noise(i)] * 3)) for i in range(6)]
    facts = [*grey, case("c", np.stack([noise(7), noise(8), noise(9)]))]
    assert not [f for f in look(facts) if f.code == "same-channels"]


def test_empty_masks():
    nothing = np.zeros(SIZE, np.uint8)
    finding = only(look([*clean(), case("bare", label=nothing)]), "empty-masks")
    assert (finding.level, finding.cases) == ("note", ("bare",))
    finding = only(look([*clean(2), *(case(f"bare{c}", label=nothing) for c in "xyz")]), "empty-masks")
    assert finding.level == "warning"
    finding = only(look([case(f"bare{c}", label=nothing) for c in "wxyz"]), "all-empty")
    assert finding.level == "error"


def test_masks_that_judge_nothing():
    finding = only(look([*clean(), case("void", label=np.full(SIZE, IGNORE, np.uint8))]), "nothing-judged")
    assert (finding.level, finding.cases) == ("warning", ("void",))


def test_absent_and_rare_classes():
    names = ("background", "cell", "crack", "pore")
    facts = clean(8, classes=4)
    label = blob(3)
    label[:4, :4] = 2
    facts.append(case("cracked", label=label, classes=4))
    findings = look(facts, classes=names)
    assert "'pore' (index 3)" in only(findings, "absent-class").message
    assert "'crack' covers 0.043 %" in only(findings, "rare-class").message
    assert only(findings, "rare-class").level == "note"


def test_a_class_missing_from_a_part():
    names = ("background", "cell", "pore")
    facts = clean(8, classes=3)
    label = blob(3)
    label[:8, :8] = 2
    facts.append(case("porous", label=label, classes=3))
    finding = only(look(facts, parts(facts, ["porous"], ["scenea"]), classes=names), "class-not-in-part")
    assert "'pore' occurs in no train and no val case" in finding.message
    assert "cannot be learnt" in finding.remedy


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_cases(count):
    finding = only(look(clean(count)), "too-few-cases")
    assert finding.level == "error"
    assert "at least 3" in finding.remedy


def test_one_group_is_too_few():
    finding = only(look(clean(6, group="all")), "too-few-cases")
    assert "one group ('all')" in finding.message


def test_exact_duplicates():
    facts = [*clean(), case("again", noise(2)[None], blob(2))]
    finding = only(look(facts), "duplicates")
    assert (finding.level, finding.cases) == ("warning", ("scenec", "again"))
    assert not [f for f in look(facts) if f.code == "duplicates-with-different-masks"]
    finding = only(look(facts, parts(facts, ["again"])), "duplicate-across-splits")
    assert finding.level == "error"
    assert "scenec (train) = again (test)" in finding.message


def test_duplicates_with_different_masks():
    facts = [*clean(), case("again", noise(2)[None], blob(5))]
    assert only(look(facts), "duplicates-with-different-masks").cases == ("scenec", "again")


def test_duplicates_in_two_groups():
    facts = [*clean(group="p1"), case("again", noise(2)[None], blob(2), group="p2")]
    assert only(look(facts), "duplicate-across-groups").level == "warning"


def test_near_duplicates():
    brighter = np.clip(noise(2)[None] * 1.05 + 8, 0, 255).astype(np.uint8)
    facts = [*clean(), case("again", brighter, blob(2))]
    finding = only(look(facts), "near-duplicates")
    assert (finding.level, finding.cases) == ("warning", ("scenec", "again"))
    finding = only(look(facts, parts(facts, ["again"])), "near-duplicate-across-splits")
    assert finding.level == "warning"


def test_a_group_in_two_parts():
    facts = [case(f"scene{chr(97 + i)}", seed=i, group=f"p{i // 2}") for i in range(8)]
    finding = only(look(facts, parts(facts, ["scenea", "scenec"])), "group-across-splits")
    assert finding.level == "error"
    assert "'p0' in test and train" in finding.message
    assert not [f for f in look(facts, parts(facts, ["scenea", "sceneb"])) if f.code == "group-across-splits"]


def volume(count=24, blur=3.0):
    field = np.random.default_rng(5).normal(size=(count, *SIZE)).astype(np.float32)
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(field, (blur, 3, 3))
    return [np.rint(127 + 100 * s / np.abs(smooth).max()).astype(np.uint8)[None] for s in smooth]


def test_slices_of_a_volume_are_found_and_the_remedy_helps():
    facts = [case(f"z{i}", image, seed=i) for i, image in enumerate(volume(40, blur=2.0))]
    dataset, found = planted(facts), Survey(facts=tuple(facts))
    assert only(look(facts), "ordered").level == "note"
    finding = only(look(facts, split_cases(dataset, found)), "neighbours-across-splits")
    assert finding.level == "warning"
    series = as_series(facts)
    assert f"--set split.ordered=true --set split.gap={series.gap}" in finding.remedy
    better = split_cases(dataset, found, ordered=True, gap=series.gap)
    assert not [f for f in examine(dataset, found, better) if f.code == "neighbours-across-splits"]


def test_a_dense_series_is_told_as_an_order_not_as_copies():
    facts = [case(f"z{i}", image, seed=i) for i, image in enumerate(volume(24, blur=8.0))]
    assert {f.code for f in look(facts)} == {"ordered"}


def test_a_handful_of_images_is_no_series():
    facts = [case(f"z{i}", image, seed=i) for i, image in enumerate(volume(24, blur=2.0)[:7])]
    assert as_series(facts) is None


def test_a_faint_drift_is_no_series():
    drift = [0.2 * (image.astype(float) - 127) for image in volume(40, blur=2.0)]
    grain = [0.25 * (noise(i + 500, blur=1.0)[None].astype(float) - 127) for i in range(40)]
    images = [np.clip(127 + a + b, 0, 255).astype(np.uint8) for a, b in zip(drift, grain, strict=True)]
    assert as_series([case(f"z{i}", image) for i, image in enumerate(images)]) is None


def test_masks_alone_can_show_an_order():
    labels = [(image[0] > 127).astype(np.uint8) for image in volume()]
    facts = [case(f"z{i}", noise(i)[None], label) for i, label in enumerate(labels)]
    assert as_series(facts).what == "masks"


def test_images_without_order_and_pairs_are_no_series():
    assert as_series(clean(20)) is None
    pairs = [case(f"p{i:02d}", np.clip(noise(i // 2)[None] // 2 + noise(i + 90) // 4, 0, 255)) for i in range(20)]
    assert as_series(pairs) is None
    vignette = cv2.getGaussianKernel(64, 20) @ cv2.getGaussianKernel(64, 20).T
    alike = [
        case(f"p{i}", (vignette / vignette.max() * (200 + noise(i) / 5)).astype(np.uint8)[None]) for i in range(20)
    ]
    assert as_series(alike) is None


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["Image_01L", "Image_01R", "Image_02L", "Image_02R"], r"^(.*\d)[_-]?(?:L|R)$"),
        (["p1_left", "p1_right", "p2_left", "p2_right"], r"^(.*\d)[_-]?(?:left|right)$"),
        (["pat03_1", "pat03_2", "pat04_1", "pat04_2"], r"^(.*\d[^\d]*?)[_-][A-Za-z]*\d+$"),
        (["spot1_0d_0", "spot1_0d_1", "spot2_0d_0", "spot2_0d_4"], r"^(.*\d[^\d]*?)[_-][A-Za-z]*\d+$"),
        (["00", "01", "02"], None),
        (["ISIC_0001", "ISIC_0002", "ISIC_0003"], None),
        (["scan1_001", "scan1_002", "scan1_003"], None),
        (["a1_0", "a2_0", "a3_0"], None),
        (["OAM-386690-220241-19", "OAM-386690-220242-19", "OAM-386691-220241-19"], None),
        (["Image_01L", "Image_02L", "Image_03L"], None),
        (["p1_left", "p1_right", "something"], None),
    ],
)
def test_group_patterns(names, pattern):
    assert group_pattern(names) == pattern


def test_possible_groups_are_told_only_when_none_are_given():
    names = [f"Image_{i:02d}{side}" for i in range(6) for side in "LR"]
    finding = only(look([case(name, seed=i) for i, name in enumerate(names)]), "possible-groups")
    assert finding.level == "warning"
    assert "6 subjects" in finding.message
    assert r"--group '^(.*\d)[_-]?(?:L|R)$'" in finding.remedy
    given = [case(name, seed=i, group=name[:-1]) for i, name in enumerate(names)]
    assert not [f for f in look(given) if f.code == "possible-groups"]


def test_errors_stop_with_all_of_them_and_warnings_do_not():
    facts = [
        *clean(),
        CaseFacts(name="bad", group="bad", trouble="bad.png is truncated"),
        case("odd", mask_size=(9, 9)),
    ]
    with pytest.raises(DataError, match=r"2 errors:\n  - .*bad.png is truncated; replace .*\n  - .*'odd'"):
        stop_on_errors(look(facts))
    with pytest.raises(DataError, match=r"^case 'bad' cannot be read"):
        stop_on_errors(look(facts[:-1]))
    stop_on_errors(look([*clean(), case("again", noise(2)[None], blob(2))]))


def test_from_files_to_findings(tmp_path):
    cases = []
    for i in range(6):
        image, mask = tmp_path / f"{chr(97 + i)}.png", tmp_path / f"{chr(97 + i)}_m.png"
        Pillow.fromarray(noise(i)).save(image)
        label = 255 * blob(i)
        if i == 1:
            label[:6, :6] = 77
        if i == 2:
            label = label[:50]
        Pillow.fromarray(label).save(mask)
        if i == 3:
            image.write_bytes(image.read_bytes()[:900])
        cases.append(Case(name=image.stem, images=(image,), mask=mask, group=image.stem, split=None))
    dataset = dataclasses.replace(planted([], values=(0, 255)), root=tmp_path, cases=tuple(cases))
    findings = examine(dataset, survey(dataset))
    errors = {f.code: f for f in findings if f.level == "error"}
    assert set(errors) == {"unexpected-values", "size-mismatch", "unreadable"}
    assert "77 in 36 px" in errors["unexpected-values"].message
    assert (errors["size-mismatch"].cases, errors["unreadable"].cases) == (("c",), ("d",))


#: Real set -> the findings that are true of it; anything else would be a false alarm.
TRUE = {
    "solid-oxide-cell": {"neighbours-across-splits"},
    "retina-vessels": {"possible-groups"},
    "optic-disc-cup": set(),
}


@pytest.mark.real
@pytest.mark.parametrize("name", ["solid-oxide-cell", "retina-vessels", "optic-disc-cup"])
def test_real_sets_have_their_true_findings_only(real_data, name):
    from catenary.data.layouts import open_dataset

    dataset = open_dataset(real_data(name))
    found = survey(dataset)
    findings = examine(dataset, found, split_cases(dataset, found))
    assert {f.code for f in findings} - {f.code for f in dataset.findings} == TRUE[name]
    if "neighbours-across-splits" in TRUE[name]:
        series = as_series(found.facts)
        cured = examine(dataset, found, split_cases(dataset, found, ordered=True, gap=series.gap))
        assert not {f.code for f in cured} & TRUE[name]
