"""One pass over the files: facts, hashes, thumbnails, fingerprint."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from catenary.data.cases import Case, Dataset
from catenary.data.encoding import unexpected
from catenary.data.facts import CaseFacts, image_facts, label_facts, miniatures, soft_edges
from catenary.data.fingerprint import fingerprint
from catenary.data.hashing import content_hash, perceptual_hash, same_scene, thumbnail
from catenary.data.labels import LabelSet
from catenary.data.survey import Survey, survey
from catenary.errors import DataError
from catenary.types import IGNORE, Grid

BINARY = LabelSet(names=("background", "cell"), values=(0, 255))


def texture(seed, size=(96, 80), blur=3.0):
    noise = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def disc(size, centre, radius):
    rows, columns = np.indices(size)
    return ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2).astype(np.uint8)


def folder(tmp_path, count=4, *, size=(96, 80), labels=BINARY):
    cases = []
    for i in range(count):
        image, mask = tmp_path / f"i{i}.png", tmp_path / f"m{i}.png"
        Pillow.fromarray(texture(i, size)).save(image)
        Pillow.fromarray(255 * disc(size, (40, 40), 10 + i)).save(mask)
        cases.append(Case(name=f"i{i}", images=(image,), mask=mask, group=f"i{i}", split=None))
    return Dataset(
        root=tmp_path,
        name="planted",
        layout="folders",
        cases=tuple(cases),
        labels=labels,
        grid=Grid(),
        licence="",
        findings=(),
    )


def test_survey_measures_every_case_and_reports_progress(tmp_path):
    dataset = folder(tmp_path)
    seen = []
    found = survey(dataset, progress=lambda what, done, total: seen.append((done, total)))
    assert [f.name for f in found.facts] == ["i0", "i1", "i2", "i3"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    facts = found["i2"]
    assert (facts.size, facts.mask_size, facts.channels, facts.dtype) == ((96, 80), (96, 80), 1, "uint8")
    assert facts.counts == (96 * 80 - facts.counts[1], int(disc((96, 80), (40, 40), 12).sum()))
    assert facts.objects == (1,)
    assert facts.diameters[0] == pytest.approx(23.7, abs=0.5)
    assert facts.readable
    assert Survey.model_validate_json(found.model_dump_json()) == found


def test_damaged_files_are_facts_of_their_case_and_end_nothing(tmp_path):
    dataset = folder(tmp_path)
    whole = (tmp_path / "i1.png").read_bytes()
    (tmp_path / "i1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "m2.png").write_bytes(b"")
    (tmp_path / "i3.png").unlink()
    found = survey(dataset)
    assert [f.readable for f in found.facts] == [True, False, False, False]
    assert all(f.trouble for f in found.facts[1:])


def test_a_failure_that_no_reader_foresaw_is_a_fact_too(tmp_path, monkeypatch):
    dataset = folder(tmp_path)
    read = Dataset.read_image

    def fail(self, case):
        if case.name == "i1":
            raise MemoryError("too large")
        return read(self, case)

    monkeypatch.setattr(Dataset, "read_image", fail)
    assert [f.trouble for f in survey(dataset).facts] == ["", "MemoryError: too large", "", ""]


def test_one_thread_and_two_find_the_same(tmp_path):
    dataset = folder(tmp_path)
    assert survey(dataset, threads=1) == survey(dataset, threads=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_statistics_agree_with_numpy(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (2, 60, 50)).astype(dtype)
    facts = image_facts(image)
    flat = image.reshape(2, -1).astype(np.float64)
    np.testing.assert_allclose(facts["mean"], flat.mean(1))
    np.testing.assert_allclose(facts["std"], flat.std(1))
    assert facts["minimum"] == tuple(flat.min(1))
    assert facts["maximum"] == tuple(flat.max(1))
    np.testing.assert_allclose(facts["quantiles"][0][9], np.median(flat[0]), atol=1.0)


def test_large_images_are_subsampled_but_extremes_are_exact():
    image = np.full((1, 1500, 1400), 100, np.uint8)
    image[0, 701, 703] = 255
    facts = image_facts(image)
    assert facts["maximum"] == (255.0,)
    assert facts["mean"][0] == pytest.approx(100, abs=0.01)


def test_not_finite_values_are_counted_and_kept_out():
    image = np.ones((1, 20, 20), np.float32)
    image[0, 0, :3] = (np.nan, np.inf, -np.inf)
    facts = CaseFacts(name="a", group="a", **image_facts(image))
    assert facts.not_finite == 3
    assert facts.mean == (1.0,)
    json.loads(facts.model_dump_json())
    nothing = CaseFacts(name="a", group="a", **image_facts(np.full((1, 9, 9), np.nan, np.float32)))
    assert nothing.not_finite == 81


def test_pixels_without_data_do_not_count():
    image = np.full((1, 40, 40), 7, np.uint8)
    image[:, :, 20:] = 0
    valid = np.zeros((40, 40), bool)
    valid[:, :20] = True
    facts = image_facts(image, valid)
    assert (facts["minimum"], facts["mean"]) == ((7.0,), (7.0,))


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 21), upright=st.booleans())
def test_thickness_of_a_stripe_is_its_width(width, upright):
    label = np.zeros((90, 90), np.uint8)
    label[:, 30 : 30 + width] = 1
    facts = label_facts(label if upright else np.ascontiguousarray(label.T), classes=2)
    assert facts["thickness"][0] == pytest.approx(width, abs=0.6)


def test_objects_of_each_class_without_specks():
    label = np.zeros((100, 100), np.uint8)
    label[10:20, 10:20] = 1
    label[50:60, 50:60] = 1
    label[10:20, 20:30] = 2
    label[80, 80] = 1
    label[90:95, 90:95] = IGNORE
    facts = label_facts(label, classes=4)
    assert facts["objects"] == (2, 1, 0)
    assert facts["ignored"] == 25
    assert facts["diameters"] == pytest.approx((11.28, 11.28, 0.0), abs=0.01)


def test_objects_of_huge_masks_are_measured_in_their_own_pixels():
    label = disc((2300, 2300), (1000, 1000), 400)
    assert label_facts(label, classes=2)["diameters"][0] == pytest.approx(800, rel=0.01)


def test_full_and_empty_masks_are_finite():
    for value in (0, 1, IGNORE):
        facts = label_facts(np.full((30, 40), value, np.uint8), classes=2)
        assert np.isfinite(facts["thickness"]).all()
        assert np.isfinite(facts["diameters"]).all()


def smooth_mask(kind):
    mask = 255 * disc((128, 128), (60, 60), 35)
    if kind == "blur":
        return cv2.GaussianBlur(mask, (0, 0), 1.0)
    if kind == "scaled":
        return cv2.resize(mask, (200, 190), interpolation=cv2.INTER_LINEAR)
    return cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("kind", ["blur", "scaled", "jpeg"])
def test_smoothed_masks_are_told_from_wrong_ones(kind):
    mask = smooth_mask(kind)
    assert unexpected(mask, BINARY)
    assert soft_edges(mask, (0, 255))
    mask[100:120, 100:120] = 128
    assert not soft_edges(mask, (0, 255))


def test_an_unnamed_class_is_not_a_soft_edge():
    mask = disc((64, 64), (30, 30), 10) * 2 + disc((64, 64), (30, 30), 20)
    assert not soft_edges(mask.astype(np.uint8), (0, 1))


def test_a_contour_class_is_not_a_soft_edge():
    mask = 255 * disc((64, 64), (30, 30), 15)
    inner = 255 * disc((64, 64), (30, 30), 13)
    mask[(mask > 0) & (inner == 0)] = 128
    assert not soft_edges(mask, (0, 255))


def test_odd_colours():
    colours = LabelSet(names=("background", "road"), encoding="colour", colours=((0, 0, 0), (255, 0, 0)))
    mask = np.zeros((4, 4, 3), np.uint8)
    mask[0, 0] = (255, 0, 0)
    mask[1, :] = (1, 2, 3)
    assert unexpected(mask, colours) == {"(1, 2, 3)": 4}
    painted = LabelSet(names=("background", "road"), encoding="painted", colours=((0, 0, 0), (255, 0, 0)))
    assert unexpected(mask, painted) == {}


def test_content_hash_sees_pixels_type_and_shape():
    a = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    assert content_hash(a) == content_hash(np.asfortranarray(a))
    others = [a + 1, a.astype(np.uint16), a.reshape(1, 6, 4)]
    assert len({content_hash(x) for x in [a, *others]}) == 4


def copies(image):
    jpeg = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE)
    smaller = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_LINEAR)
    brighter = np.clip(image * 1.1 + 10, 0, 255).astype(np.uint8)
    return {"jpeg": jpeg, "smaller": smaller, "brighter": brighter, "16 bit": image.astype(np.uint16) * 200}


@pytest.mark.parametrize("kind", ["jpeg", "smaller", "brighter", "16 bit"])
def test_near_copies_show_the_same_scene_and_others_do_not(kind):
    images = [texture(seed, (128, 128)) for seed in range(8)]
    images.append(copies(images[3])[kind])
    small = np.array([thumbnail(image[None]) for image in images])
    pairs = same_scene([perceptual_hash(s) for s in small], small)
    assert [(i, j) for i, j, _ in pairs] == [(3, 8)]


def test_a_shared_vignette_does_not_make_images_the_same():
    rows, columns = np.indices((128, 128))
    light = np.exp(-((rows - 64) ** 2 + (columns - 50) ** 2) / 1500)
    images = [(light * (200 + 0.06 * texture(seed, (128, 128), 2.0))).astype(np.uint8) for seed in range(6)]
    small = np.array([thumbnail(image[None]) for image in images])
    assert same_scene([perceptual_hash(s) for s in small], small) == []


def test_fingerprint_of_known_images(tmp_path):
    dataset = folder(tmp_path, 4)
    found = survey(dataset)
    known = fingerprint(dataset, found, ["i0", "i1", "i2", "i3"])
    pixels = np.concatenate([texture(i).ravel() for i in range(4)]).astype(float)
    assert known.mean[0] == pytest.approx(pixels.mean())
    assert known.std[0] == pytest.approx(pixels.std())
    assert known.low[0] == pytest.approx(np.quantile(pixels, 0.01), abs=2)
    assert known.high[0] == pytest.approx(np.quantile(pixels, 0.99), abs=2)
    assert (known.cases, known.groups, known.channels, known.dtype) == (4, 4, 1, "uint8")
    assert (known.size_min, known.size_median, known.size_max) == ((96, 80), (96, 80), (96, 80))
    assert known.class_presence == (1.0, 1.0)
    assert sum(known.class_shares) == pytest.approx(1)
    assert known.foreground_share == pytest.approx(known.class_shares[1])
    assert (known.task, known.logits, known.object_count) == ("binary", 1, (1.0,))
    assert known.object_diameter[0] == pytest.approx(23.2, abs=1)
    assert type(known).model_validate_json(known.model_dump_json()) == known


def test_fingerprint_sees_the_training_cases_only(tmp_path):
    dataset = folder(tmp_path, 4)
    found = survey(dataset)
    assert fingerprint(dataset, found, ["i0"]).mean != fingerprint(dataset, found, ["i1"]).mean
    assert fingerprint(dataset, found, ["i0"]).cases == 1


def flat(name, value, size=10):
    image = np.full((1, size, size), value, np.uint8)
    return CaseFacts(name=name, group=name, **image_facts(image), **label_facts(image[0] * 0, classes=2))


def test_brightness_spread_is_all_between_or_all_within(tmp_path):
    dataset = folder(tmp_path, 1)
    between = Survey(facts=(flat("a", 10), flat("b", 200)))
    assert fingerprint(dataset, between, ["a", "b"]).image_means_spread == pytest.approx(1)
    alike = Survey(facts=(flat("a", 10), flat("b", 10)))
    assert fingerprint(dataset, alike, ["a", "b"]).image_means_spread == 0


def test_pooled_percentiles_weigh_images_by_their_pixels(tmp_path):
    dataset = folder(tmp_path, 1)
    mixed = Survey(facts=(flat("large", 10, 40), flat("small", 200, 3)))
    known = fingerprint(dataset, mixed, ["large", "small"])
    assert known.high[0] == pytest.approx(10, abs=0.1)


def test_fingerprint_of_nothing_is_refused(tmp_path):
    dataset = folder(tmp_path, 1)
    broken = Survey(facts=(CaseFacts(name="a", group="a", trouble="gone"),))
    with pytest.raises(DataError, match="none of 1 cases can be read"):
        fingerprint(dataset, broken, ["a"])


def test_miniatures_of_unreadable_cases_are_blank():
    assert miniatures([CaseFacts(name="a", group="a", trouble="gone")]).shape == (1, 32, 32)


@pytest.mark.real
def test_real_nuclei_take_few_seconds(real_data):
    import time

    from catenary.data.layouts import open_dataset

    dataset = open_dataset(Path(real_data("nuclei")))
    survey(dataclasses.replace(dataset, cases=dataset.cases[:4]))  # imports
    start = time.process_time()
    found = survey(dataset)
    assert time.process_time() - start < 6  # processor seconds, whatever else the machine does
    assert all(f.readable and f.objects[0] > 0 for f in found.facts)
    small = miniatures(found.facts)
    assert same_scene([f.scene for f in found.facts], small) == []
