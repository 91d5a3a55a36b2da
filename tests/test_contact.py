"""The contact sheet: colours, order, marks, any kind of image."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary.data.cases import Case, Dataset
from catenary.data.contact import contact_sheet, overlay, to_rgb
from catenary.data.findings import Finding
from catenary.data.labels import PALETTE, LabelSet
from catenary.errors import InputError, OutputError
from catenary.types import IGNORE, Grid

LABELS = LabelSet(names=("background", "cell", "pore"))
MARK = (200, 40, 40)


def folder(tmp_path, count=5, size=(40, 60)):
    cases = []
    for i in range(count):
        image, mask = tmp_path / f"case{i}.png", tmp_path / f"case{i}_m.png"
        Pillow.fromarray(np.full(size, 20 * (i + 1), np.uint8)).save(image)
        label = np.zeros(size, np.uint8)
        label[10:30, 10:30] = 1
        Pillow.fromarray(label).save(mask)
        cases.append(Case(name=f"case{i}", images=(image,), mask=mask, group=f"case{i}", split=None))
    return Dataset(
        root=tmp_path, name="planted", layout="folders", cases=tuple(cases), labels=LABELS,
        grid=Grid(), licence="", findings=(),
    )  # fmt: skip


def drawn(path):
    with Pillow.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def finding(level, *names):
    return Finding(level=level, code=f"planted-{level}", message="m", remedy="r", cases=names)


def test_sheet_has_a_cell_for_every_case_and_the_class_colours(tmp_path):
    dataset = folder(tmp_path)
    path = contact_sheet(dataset, [c.name for c in dataset.cases], tmp_path / "new" / "sheet.png", columns=3, cell=96)
    sheet = drawn(path)
    assert sheet.shape[1] == 480
    pure = (sheet == PALETTE[0]).all(axis=2)
    assert pure.sum() > 5 * 4 * 20  # five outlines and a legend
    assert (sheet == PALETTE[1]).all(axis=2).sum() > 100  # the legend names a class that no case shows
    assert [p.name for p in tmp_path.joinpath("new").iterdir()] == ["sheet.png"]


def columns_of(sheet, colour):
    return np.unique(np.nonzero((sheet == colour).all(axis=2))[1])


def test_cases_with_errors_come_first_and_are_marked(tmp_path):
    dataset = folder(tmp_path)
    names = [c.name for c in dataset.cases]
    found = [finding("note", "case4"), finding("warning", "case1"), finding("error", "case3")]
    sheet = drawn(contact_sheet(dataset, names, tmp_path / "s.png", findings=found, columns=5, cell=96))
    left = [columns_of(sheet, colour).min() for colour in (MARK, (214, 126, 0), (0, 108, 178))]
    assert left == sorted(left)
    assert left[0] < 20 < 110 < left[1] < 220 < left[2]
    plain = drawn(contact_sheet(dataset, names, tmp_path / "p.png", columns=5, cell=96))
    assert columns_of(plain, MARK).size == 0


def test_a_remark_on_nearly_all_cases_marks_none(tmp_path):
    dataset = folder(tmp_path)
    names = [c.name for c in dataset.cases]
    sheet = drawn(contact_sheet(dataset, names, tmp_path / "s.png", findings=[finding("warning", *names)], cell=64))
    assert columns_of(sheet, (214, 126, 0)).size == 0


def test_damaged_and_unlabelled_cases_do_not_cost_the_sheet(tmp_path):
    dataset = folder(tmp_path)
    (tmp_path / "case2.png").write_bytes(b"no image at all")
    cases = [*dataset.cases[:4], dataclasses.replace(dataset.cases[4], mask=None)]
    dataset = dataclasses.replace(dataset, cases=tuple(cases))
    path = contact_sheet(dataset, [c.name for c in cases], tmp_path / "sheet.png", cell=96)
    assert drawn(path).shape[0] > 96


def test_a_failure_that_no_reader_foresaw_does_not_cost_the_sheet(tmp_path, monkeypatch):
    dataset = folder(tmp_path, 2)

    def fail(self, case):
        raise MemoryError("too large")

    monkeypatch.setattr(Dataset, "read_image", fail)
    assert contact_sheet(dataset, ["case0", "case1"], tmp_path / "sheet.png").is_file()


def test_a_large_set_is_thinned_but_keeps_its_marked_cases(tmp_path):
    dataset = folder(tmp_path, 12)
    names = [c.name for c in dataset.cases]
    found = [finding("error", "case7")]
    few = drawn(contact_sheet(dataset, names, tmp_path / "s.png", findings=found, columns=4, cell=64, most=4))
    every = drawn(contact_sheet(dataset, names, tmp_path / "p.png", findings=found, columns=4, cell=64))
    assert few.shape[0] < every.shape[0]
    assert columns_of(few, MARK).size


def test_no_case_and_no_place_to_write(tmp_path):
    dataset = folder(tmp_path, 1)
    with pytest.raises(InputError, match="no case to draw"):
        contact_sheet(dataset, [], tmp_path / "sheet.png")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        contact_sheet(dataset, ["case0"], tmp_path / "file" / "sheet.png")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_image_can_be_shown(channels, dtype):
    image = np.random.default_rng(0).integers(0, 200, (channels, 12, 15)).astype(dtype)
    rgb = to_rgb(image)
    assert (rgb.shape, rgb.dtype) == ((12, 15, 3), np.uint8)
    assert np.ptp(rgb) > 100


def test_stretching_uses_percentiles_and_survives_nan():
    image = np.linspace(1000, 3000, 10_000, dtype=np.float32).reshape(1, 100, 100)
    image[0, 0, 0], image[0, 5, 5] = 1e9, np.nan
    rgb = to_rgb(image)
    assert int(rgb[50, 50, 0]) == pytest.approx(127, abs=4)
    assert to_rgb(np.full((1, 8, 8), np.nan, np.float32)).shape == (8, 8, 3)


def test_photographs_keep_their_colours_and_dark_images_are_brightened():
    photo = np.random.default_rng(0).integers(90, 200, (3, 20, 20)).astype(np.uint8)
    np.testing.assert_array_equal(to_rgb(photo), np.moveaxis(photo, 0, 2))
    assert to_rgb(photo // 10).max() == 255


def test_overlay_tints_inside_outlines_the_rim_and_leaves_the_rest():
    rgb = np.full((40, 40, 3), 100, np.uint8)
    label = np.zeros((40, 40), np.uint8)
    label[10:20, 10:20] = 1
    label[30:34, 30:34] = IGNORE
    out = overlay(rgb, label, LABELS)
    assert tuple(out[10, 15]) == PALETTE[0]
    inside = out[15, 15].astype(int)
    assert inside[0] > 100 > inside[2]
    assert tuple(out[2, 2]) == (100, 100, 100)
    assert (out[30:34, 30:34] == 160).any()


def test_a_border_between_two_classes_is_drawn_once():
    rgb, label = np.zeros((20, 20, 3), np.uint8), np.ones((20, 20), np.uint8)
    label[:, 9] = 2
    out = overlay(rgb, label, LABELS)
    assert (out[:, 9] == PALETTE[1]).all()
    assert not (out == PALETTE[0]).all(axis=2).any()


def test_a_class_that_fills_the_picture_has_no_line_along_the_frame():
    rgb, label = np.zeros((20, 20, 3), np.uint8), np.ones((20, 20), np.uint8)
    assert not (overlay(rgb, label, LABELS) == PALETTE[0]).all(axis=2).any()


@pytest.mark.real
def test_real_sets_are_drawn(real_data, tmp_path):
    from catenary.data.layouts import open_dataset

    for name in ("superalloy", "solid-oxide-cell"):
        dataset = open_dataset(Path(real_data(name)))
        path = contact_sheet(dataset, [c.name for c in dataset.cases[:6]], tmp_path / f"{name}.png", cell=96)
        assert len(np.unique(drawn(path).reshape(-1, 3), axis=0)) > 200
