"""From a folder to cases and classes."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from catenary.data.cases import Case, Dataset
from catenary.data.encoding import decode, unexpected
from catenary.data.guess import work_out
from catenary.data.labels import LabelSet
from catenary.data.layouts import LAYOUTS, open_dataset
from catenary.data.paint import painted_colours
from catenary.data.pairs import natural
from catenary.errors import ConfigError, DataError, InputError
from catenary.io import write_image, write_mask
from catenary.types import IGNORE, Grid

SIZE = (24, 20)


def grey(path, seed=0, size=SIZE):
    write_image(path, np.random.default_rng(seed).integers(0, 256, (1, *size), np.uint8))


def mask(path, values=(0, 255), seed=0, size=SIZE):
    rows = np.random.default_rng(seed).integers(0, len(values), size[0])
    write_mask(path, np.repeat(np.array(values, np.uint8)[rows][:, None], size[1], axis=1))


def folders(root, names=("a", "b"), images="images", masks="masks", end="", values=(0, 255)):
    for seed, name in enumerate(names):
        grey(root / images / f"{name}.png", seed)
        mask(root / masks / f"{name}{end}.png", values, seed)
    return root


def codes(dataset):
    return {finding.code: finding for finding in dataset.findings}


def names(dataset):
    return [case.name for case in dataset.cases]


# --- layouts


@pytest.mark.parametrize(
    ("images", "masks", "end"),
    [("images", "masks", ""), ("imgs", "labels", "_mask"), ("Image", "Ground Truth", "-gt"), ("img", "GT", "_label")],
)
def test_two_folders(tmp_path, images, masks, end):
    dataset = open_dataset(folders(tmp_path, ["x10", "x2"], images, masks, end))
    assert names(dataset) == ["x2", "x10"]
    assert dataset.findings == ()
    assert [case.mask.name for case in dataset.cases] == [f"x2{end}.png", f"x10{end}.png"]
    assert dataset.labels == LabelSet(names=("background", "foreground"), values=(0, 255))
    assert {case.group for case in dataset.cases} == {"x2", "x10"}
    assert dataset.name == tmp_path.name


def test_marks_on_both_names(tmp_path):
    for i in (1, 2):
        grey(tmp_path / "images" / f"image_{i}.png", i)
        mask(tmp_path / "masks" / f"mask_{i}.png", seed=i)
    dataset = open_dataset(tmp_path)
    assert [(c.images[0].name, c.mask.name) for c in dataset.cases] == [
        ("image_1.png", "mask_1.png"),
        ("image_2.png", "mask_2.png"),
    ]


@pytest.mark.parametrize("pattern", ["{split}/images", "images/{split}"])
def test_folders_of_splits(tmp_path, pattern):
    for split in ("train", "valid", "test"):
        path = pattern.format(split=split)
        folders(tmp_path, ["a", "b"], path, path.replace("images", "masks"))
    dataset = open_dataset(tmp_path)
    found = {case.name: case.split for case in dataset.cases}
    assert found == {
        "train_a": "train", "train_b": "train", "valid_a": "val", "valid_b": "val", "test_a": "test", "test_b": "test"
    }  # fmt: skip
    assert all(case.group == case.name for case in dataset.cases)


def test_isic(tmp_path):
    for i in range(3):
        grey(tmp_path / f"ISIC_{i}.jpg", i)
        mask(tmp_path / f"ISIC_{i}_segmentation.png", seed=i)
    (tmp_path / "metadata.csv").write_text("image_id,sex\n")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "ISIC pairs"
    assert names(dataset) == ["ISIC_0", "ISIC_1", "ISIC_2"]
    assert dataset.findings == ()


def test_isic_official_folders(tmp_path):
    for i, part in enumerate(("Training", "Validation", "Test_v2")):
        grey(tmp_path / f"ISIC-2017_{part}_Data" / f"ISIC_{i}.jpg", i)
        grey(tmp_path / f"ISIC-2017_{part}_Data" / f"ISIC_{i}_superpixels.png", i)
        mask(tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth" / f"ISIC_{i}_segmentation.png", seed=i)
    dataset = open_dataset(tmp_path)
    assert [case.split for case in dataset.cases] == ["train", "val", "test"]
    assert dataset.findings == ()


def test_side_by_side(tmp_path):
    grey(tmp_path / "cell.tif")
    mask(tmp_path / "cell_mask.tif")
    assert open_dataset(tmp_path).layout == "pairs side by side"


def test_manifest(tmp_path):
    for i in range(2):
        grey(tmp_path / "pre" / f"s{i}.png", i)
        grey(tmp_path / "post" / f"s{i}.png", i + 7)
        mask(tmp_path / "m" / f"s{i}.png", seed=i)
    text = (
        "\ufeffflair;t1c;Mask;group;split;age\npre/s1.png;post/s1.png;m/s1.png;p1;test;7\n"
        "pre\\s0.png;post/s0.png; m/s0.png;p0;;8\n\n"
    )
    (tmp_path / "manifest.csv").write_text(text, "utf-8")
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["s0", "s1"]
    assert [(case.group, case.split) for case in dataset.cases] == [("p0", None), ("p1", "test")]
    image = dataset.read_image(dataset["s1"])
    assert image.channels == 2
    np.testing.assert_array_equal(image.array[1], np.asarray(Pillow.open(tmp_path / "post" / "s1.png")))
    assert names(open_dataset(tmp_path / "manifest.csv")) == ["s0", "s1"]
    assert dataset.layout == "manifest.csv (flair, t1c)"


def test_manifest_goes_before_folders(tmp_path):
    folders(tmp_path, ["a", "b"])
    (tmp_path / "manifest.csv").write_text("image,mask\nimages/b.png,masks/b.png\n")
    assert names(open_dataset(tmp_path)) == ["b"]
    assert next(iter(LAYOUTS)) == "manifest.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("image,mask\n", "has no rows"),
        ("image,label\nimages/a.png,masks/a.png\n", "no column 'mask', found image, label"),
        ("age,mask\n3,masks/a.png\n", "no column of image files"),
        ("image,mask,split\nimages/a.png,masks/a.png,later\n", "the split 'later' in line 2"),
        ("image,mask\nimages/z.png,masks/z.png\n", r"not there.*z\.png"),
        ("image,mask\nimages/a.png,\n", "pairs no image with a mask"),
        ("image,mask,mask\na,b,c\n", "column 'mask' twice"),
    ],
)
def test_bad_manifests(tmp_path, text, message):
    folders(tmp_path)
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_manifest_findings(tmp_path):
    folders(tmp_path, ["a", "b", "c", "d"])
    (tmp_path / "manifest.csv").write_text(
        "image,mask\nimages/a.png,masks/a.png\nimages/b.png,masks/a.png\nimages/c.png,\nimages/d.png,masks/nope.png\n"
    )
    dataset = open_dataset(tmp_path)
    found = codes(dataset)
    assert found["two-images"].level == "error"
    assert found["two-images"].cases == ("a", "b")
    assert found["no-mask"].level == "warning"
    assert found["no-mask"].cases == ("c",)
    assert "nope.png" in found["missing-files"].message
    assert found["missing-files"].level == "error"
    assert names(dataset) == ["a", "b"]


def test_manifest_names_of_one_stem(tmp_path):
    for place in ("p1", "p2"):
        grey(tmp_path / place / "x.png", len(place))
        mask(tmp_path / place / "y.png")
    (tmp_path / "manifest.csv").write_text("image,mask\np1/x.png,p1/y.png\np2/x.png,p2/y.png\n")
    assert names(open_dataset(tmp_path)) == ["p1_x", "p2_x"]
    (tmp_path / "manifest.csv").write_text("name,image,mask\nn,p1/x.png,p1/y.png\nn,p1/x.png,p1/y.png\n")
    assert codes(open_dataset(tmp_path))["same-name"].level == "error"


# --- what is wrong with files


def test_files_without_partner(tmp_path):
    folders(tmp_path, ["a", "b"])
    grey(tmp_path / "images" / "only.png")
    mask(tmp_path / "masks" / "lonely.png")
    found = codes(dataset := open_dataset(tmp_path))
    assert names(dataset) == ["a", "b"]
    assert (found["no-mask"].level, found["no-mask"].cases) == ("warning", ("only",))
    assert (found["no-image"].level, found["no-image"].cases) == ("warning", ("lonely.png",))


def test_two_masks_for_one_image(tmp_path):
    folders(tmp_path, ["a", "b"])
    mask(tmp_path / "masks" / "a_mask.png")
    finding = codes(open_dataset(tmp_path))["two-masks"]
    assert (finding.level, finding.cases) == ("error", ("a",))


def test_two_images_for_one_mask(tmp_path):
    folders(tmp_path, ["a", "b"])
    grey(tmp_path / "images" / "a.jpg")
    finding = codes(open_dataset(tmp_path))["two-images"]
    assert (finding.level, finding.cases) == ("error", ("a",))


def test_names_that_end_alike_keep_their_own_masks(tmp_path):
    folders(tmp_path, ["a", "a_seg"])
    dataset = open_dataset(tmp_path)
    assert dataset.findings == ()
    assert [case.mask.stem for case in dataset.cases] == ["a", "a_seg"]


def test_the_very_name_goes_before_a_mark(tmp_path):
    folders(tmp_path, ["x", "x_image"])
    dataset = open_dataset(tmp_path)
    assert dataset.findings == ()
    assert [case.mask.stem for case in dataset.cases] == ["x", "x_image"]


def test_several_mask_folders(tmp_path):
    folders(tmp_path)
    folders(tmp_path, masks="labels")
    dataset = open_dataset(tmp_path)
    assert dataset.cases[0].mask.parent.name == "masks"
    assert codes(dataset)["other-folders"].cases == ("labels",)
    (tmp_path / "masks").rename(tmp_path / "other")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.json").touch()
    assert open_dataset(tmp_path).cases[0].mask.parent.name == "labels"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "missing", "there is no folder"),
        (lambda p: p, "is empty; give a folder with images/ and masks/"),
        (lambda p: (p / "a.txt").touch() or p, "holds no image files"),
        (lambda p: (p / "a.txt").touch() or p / "a.txt", "is a file; give a folder"),
        (lambda p: grey(p / "a.png") or p, "1 image files lie there"),
        (lambda p: folders(p, masks="masks/x/y/z") and p, "no pairs of images and masks"),
    ],
)
def test_what_is_no_data_set(tmp_path, make, message):
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_unreadable_masks(tmp_path):
    folders(tmp_path)
    (tmp_path / "masks" / "a.png").write_bytes(b"")
    assert len(open_dataset(tmp_path)) == 2  # the survey tells about it
    (tmp_path / "masks" / "b.png").write_text("broken")
    with pytest.raises(DataError, match="none of the 2 masks can be read"):
        open_dataset(tmp_path)


def test_turned_images_are_said(tmp_path):
    folders(tmp_path, ["a"])
    exif = Pillow.Exif()
    exif[274] = 6
    Pillow.fromarray(np.zeros((20, 24), np.uint8)).save(tmp_path / "images" / "turned.jpg", exif=exif)
    mask(tmp_path / "masks" / "turned.png")
    dataset = open_dataset(tmp_path)
    assert codes(dataset)["orientation"].cases == ("turned",)
    assert dataset.read_image(dataset["turned"]).shape == dataset.read_label(dataset["turned"]).shape


# --- groups


def test_groups(tmp_path):
    folders(tmp_path, ["p1_left", "p1_right", "p2_left"])
    assert [c.group for c in open_dataset(tmp_path, group=r"(p\d)_").cases] == ["p1", "p1", "p2"]
    assert [c.group for c in open_dataset(tmp_path, group=r"p\d").cases] == ["p1", "p1", "p2"]
    with pytest.raises(ConfigError, match=r"finds no group in 2 of 3 case names, the first is 'p1_left'"):
        open_dataset(tmp_path, group=r"(p2)")
    with pytest.raises(ConfigError, match="not a regular expression"):
        open_dataset(tmp_path, group="(")


# --- dataset.toml


def describe(root, text, **kwargs):
    (root / "dataset.toml").write_text(text)
    return open_dataset(root, **kwargs)


def test_description(tmp_path):
    folders(tmp_path, values=(0, 1, 2))
    dataset = describe(
        tmp_path,
        'name = "eyes"\nlicence = "CC0"\nclasses = ["background", "rim", "cup"]\nspacing = 0.5\nunit = "um"\n'
        'group = "^(.)"\n[regions]\ndisc = ["rim", "cup"]\ncup = [2]\n',
    )
    assert (dataset.name, dataset.licence) == ("eyes", "CC0")
    assert dataset.labels.names == ("background", "rim", "cup")
    assert dataset.labels.regions == {"disc": (1, 2), "cup": (2,)}
    assert dataset.labels.task == "overlapping"
    assert dataset.read_image(dataset.cases[0]).grid == Grid(spacing=(0.5, 0.5), unit="um")
    assert describe(tmp_path, 'classes = ["rim", "cup"]').labels.names == ("background", "rim", "cup")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('clases = ["a"]', "unknown key 'clases'; did you mean 'classes'"),
        ('[[class]]\nnane = "a"', r"unknown key 'nane' in \[\[class\]\]; did you mean 'name'"),
        ("spacing = 0.5", "spacing and unit belong together"),
        ('spacing = -1\nunit = "um"', "spacing"),
        ("classes = 3", "classes"),
        ('classes = ["background", "a"]\nvalues = [0]', "2 class names but 1 values"),
        ('classes = ["background", "a"]\nvalues = [3, 3]', "must differ"),
        ('classes = ["background", "a"]\nvalues = [0, 255]\nignore = 255', "255 cannot be both"),
        ('[[class]]\nname = "a"\ncolour = [1, 2, 3]\n[[class]]\nname = "b"', "every .*colour"),
        ('[[class]]\nname = "a"\ncolour = [1, 2, 300]', "class.0.colour"),
        ("[regions]\ndisc = ['rim']", "names the class 'rim'"),
        ("[regions]\ndisc = [7]", "must list class indices"),
        ("name = ", "not valid TOML"),
        ('encoding = "colours"', "encoding"),
    ],
)
def test_bad_descriptions(tmp_path, text, message):
    folders(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        describe(tmp_path, text)
    assert "\n" not in str(caught.value) or "TOML" in message


def test_stated_values(tmp_path):
    folders(tmp_path, values=(0, 7, 255))
    dataset = describe(
        tmp_path,
        'ignore = 7\n[[class]]\nname = "background"\nvalue = 255\n[[class]]\nname = "pore"\nvalue = 0\n',
    )
    raw, label = dataset.read_mask(dataset.cases[0]), dataset.read_label(dataset.cases[0])
    assert {(int(a), int(b)) for a, b in zip(raw.ravel(), label.ravel(), strict=True)} == {
        (255, 0),
        (0, 1),
        (7, IGNORE),
    }


def test_stated_colours(tmp_path):
    folders(tmp_path)
    for name in ("a", "b"):
        array = np.zeros((3, *SIZE), np.uint8)
        array[:, :5] = np.array([9, 0, 0])[:, None, None]
        array[:, 5:9] = np.array([0, 9, 0])[:, None, None]
        write_image(tmp_path / "masks" / f"{name}.png", array)
    entry = '[[class]]\nname = "{}"\ncolour = {}\n'
    text = entry.format("background", [0, 0, 0]) + entry.format("green", [0, 9, 0])
    dataset = describe(tmp_path, "ignore_colour = [9, 0, 0]\n" + text)
    label = dataset.read_label(dataset.cases[0])
    assert np.unique(label[:5]).tolist() == [IGNORE]
    assert np.unique(label[5:9]).tolist() == [1]
    assert np.unique(label[9:]).tolist() == [0]
    assert dataset.labels.encoding == "colour"
    painted = describe(tmp_path, 'encoding = "painted"\n' + entry.format("green", [0, 9, 0]))
    assert painted.labels.names == ("background", "green")
    assert np.unique(painted.read_label(painted.cases[0])[:5]).tolist() == [0]


# --- what mask files hold


def files(root, arrays, suffix=".png"):
    paths = []
    for i, array in enumerate(arrays):
        paths.append(root / f"{i}{suffix}")
        channels_first = array if array.ndim == 2 else np.moveaxis(array, -1, 0)
        write_image(paths[-1], channels_first)
    return paths


def squares(*values, size=64):
    """Rectangles of each value on the first."""
    array = np.full((size, size), values[0], np.uint8)
    step = size // (len(values) + 1)
    for i, value in enumerate(values[1:]):
        array[i * step + 3 : (i + 1) * step, 5 : size // 2] = value
    return array


@pytest.mark.parametrize(
    ("values", "expected", "ignore", "code"),
    [
        ((0, 1), (0, 1), None, None),
        ((0, 255), (0, 255), None, None),
        ((0, 1, 2, 3), (0, 1, 2, 3), None, None),
        ((0, 128, 255), (0, 128, 255), None, None),
        ((0, 50, 100, 150, 200, 250), (0, 50, 100, 150, 200, 250), None, None),
        ((0, 1, 2, 255), (0, 1, 2), 255, "ignore-value"),
        ((0, 1, 255), (0, 1), 255, "ignore-value"),
        ((0, 1, 2, 3, 4, 255), (0, 1, 2, 3, 4), 255, "ignore-value"),
        ((1, 2), (0, 1, 2), None, "no-background"),
        ((0,), (0, 1), None, None),
        ((255,), (0, 255), None, "no-background"),
    ],
)
def test_values(tmp_path, values, expected, ignore, code):
    labels, findings = work_out(files(tmp_path, [squares(*values)]))
    assert labels.file_values == expected
    assert labels.ignore == ignore
    assert [f.code for f in findings] == ([] if code is None else [code])
    assert labels.names[0] == "background"
    label = decode(squares(*values), labels)
    lookup = {value: expected.index(value) if value in expected else IGNORE for value in values}
    np.testing.assert_array_equal(label, np.vectorize(lookup.get)(squares(*values)))


def test_default_names(tmp_path):
    assert work_out(files(tmp_path, [squares(0, 1)]))[0].names == ("background", "foreground")
    assert work_out(files(tmp_path, [squares(0, 128, 255)]))[0].names == ("background", "class 1", "class 2")
    assert work_out(files(tmp_path, [squares(0, 2, 5)]))[0].names == ("background", "class 2", "class 5")


@pytest.mark.parametrize(
    ("values", "given", "names_", "file_values"),
    [
        ((0, 255), ["cell"], ("background", "cell"), (0, 255)),
        ((0, 255), ["ground", "cell"], ("ground", "cell"), (0, 255)),
        ((0, 1, 2), ["a", "b"], ("background", "a", "b"), (0, 1, 2)),
        ((0, 2), ["background", "a", "b"], ("background", "a", "b"), (0, 1, 2)),  # class 1 is not in the sample
        ((0, 2), ["a", "b"], ("background", "a", "b"), (0, 1, 2)),
        ((0, 1), ["background", "a", "b"], ("background", "a", "b"), (0, 1, 2)),
        ((0, 128, 255), ["a", "b"], ("background", "a", "b"), (0, 128, 255)),
        ((0, 128, 255), ["x", "a", "b"], ("x", "a", "b"), (0, 128, 255)),
        ((0,), ["cell"], ("background", "cell"), (0, 1)),
        ((0, 1), ["pore", "glue", "metal"], ("pore", "glue", "metal"), (0, 1, 2)),
    ],
)
def test_given_names(tmp_path, values, given, names_, file_values):
    labels, _ = work_out(files(tmp_path, [squares(*values)]), given)
    assert (labels.names, labels.file_values) == (names_, file_values)


@pytest.mark.parametrize("given", [["a"], ["background", "a"], ["background", "a", "b", "c", "d"]])
def test_names_that_do_not_fit(tmp_path, given):
    with pytest.raises(DataError, match="class names were given"):
        work_out(files(tmp_path, [squares(0, 100, 128, 255)]), given)


def test_soft_binary_masks(tmp_path):
    sharp = squares(0, 255, 255, size=128)
    smooth = cv2.GaussianBlur(sharp, (0, 0), 1.2)
    Pillow.fromarray(sharp).save(tmp_path / "m.jpg", quality=60)
    for paths in (files(tmp_path, [smooth]), [tmp_path / "m.jpg"]):
        labels, (finding,) = work_out(paths)
        assert labels.values == (0, 255)
        assert (finding.level, finding.code) == ("warning", "soft-masks")
    assert (decode(smooth, labels) == (sharp > 0)).mean() > 0.99
    assert unexpected(smooth, labels)


def test_grey_photographs_are_no_masks(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    with pytest.raises(DataError, match="no classes"):
        work_out(files(tmp_path, [photo]))


def test_numbered_objects_are_no_classes(tmp_path):
    with pytest.raises(DataError, match="numbers of single objects"):
        work_out(files(tmp_path, [squares(*range(n)) for n in (5, 9, 14, 12)]))
    labels, _ = work_out(files(tmp_path, [squares(*range(12))] * 4))  # the same values in each file: classes
    assert labels.count == 12


def test_zero_one_mixed_with_zero_255(tmp_path):
    _, findings = work_out(files(tmp_path, [squares(0, 1), squares(0, 255)]))
    assert [(f.level, f.code) for f in findings] == [("error", "mixed-values")]
    labels, findings = work_out(files(tmp_path, [squares(0, 1), squares(0, 255)]), ignore=255)
    assert (labels.ignore, findings) == (255, ())


def test_minus_one_is_unknown(tmp_path):
    array = squares(0, 1, 2).astype(np.int16)
    array[-1] = -1
    labels, (finding,) = work_out(files(tmp_path, [array], ".tif"))
    assert (labels.values, labels.ignore, finding.code) == ((0, 1, 2), -1, "ignore-value")
    assert (decode(array, labels)[-1] == IGNORE).all()


def rgb(label, *colours):
    return np.array(colours, np.uint8)[label]


def test_colours(tmp_path):
    label = squares(0, 1, 2)
    array = rgb(label, (0, 0, 0), (255, 0, 0), (0, 200, 0))
    labels, (finding,) = work_out(files(tmp_path, [array, rgb(label, (0, 0, 0), (0, 0, 0), (255, 255, 255))]))
    assert labels.encoding == "colour"
    assert labels.colours == ((0, 0, 0), (0, 200, 0), (255, 0, 0), (255, 255, 255))
    assert finding.code == "colour-classes"
    np.testing.assert_array_equal(decode(array, labels), np.array([0, 2, 1])[label])
    array[0, 0] = 1, 2, 3
    assert decode(array, labels)[0, 0] == IGNORE
    assert unexpected(array, labels) == {"(1, 2, 3)": 1}
    with pytest.raises(DataError, match="by colour"):
        work_out(files(tmp_path, [array]), ["a", "b"])


def test_commonest_colour_is_background_without_black(tmp_path):
    labels, _ = work_out(files(tmp_path, [rgb(squares(0, 1, 2), (200, 200, 9), (255, 0, 0), (0, 200, 0))]))
    assert labels.colours[0] == (200, 200, 9)


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.5])
def test_smoothed_colour_masks(tmp_path, sigma):
    sharp = rgb(squares(0, 1, 2, size=128), (0, 0, 0), (250, 0, 0), (0, 200, 0))
    labels, findings = work_out(files(tmp_path, [cv2.GaussianBlur(sharp, (0, 0), sigma)]))
    assert labels.colours == ((0, 0, 0), (0, 200, 0), (250, 0, 0))
    assert findings[0].code == "soft-masks"


def test_rare_colours_are_classes(tmp_path):
    array = rgb(
        squares(*range(20), size=256), *((0, 0, 0), *((12 * i, 255 - 9 * i, 40 * i % 251) for i in range(1, 20)))
    )
    array[-1, -3:] = (70, 71, 72), (80, 12, 1), (90, 200, 7)
    labels, _ = work_out(files(tmp_path, [array]))
    assert (labels.encoding, labels.count) == ("colour", 23)


def photo(colour, seed=0, size=128):
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((size, size, 3)).astype(np.float32), (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    if not colour:
        smooth[...] = smooth[..., :1]
    return np.clip(smooth * 220 + rng.normal(0, 4, smooth.shape if colour else (size, size, 1)), 0, 250).astype(
        np.uint8
    )


@pytest.mark.parametrize("colour", [False, True])
def test_painted_over_the_image(tmp_path, colour):
    label = squares(0, 1, 2, size=128)
    label[60:64, 100:104] = 3
    arrays = [
        np.where(label[..., None] > 0, rgb(label, (0, 0, 0), (0, 0, 255), (255, 0, 0), (0, 255, 0)), photo(colour, s))
        for s in (0, 1)
    ]
    labels, findings = work_out(files(tmp_path, arrays))
    assert labels.encoding == "painted"
    assert labels.colours == ((0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0))
    assert findings[0].code == "painted-masks"
    np.testing.assert_array_equal(decode(arrays[0], labels), np.array([0, 1, 3, 2])[label])
    assert unexpected(arrays[0], labels) == {}


def test_a_clear_sky_is_no_paint():
    ground = {(v, v, v): 100 for v in range(40, 200)}
    sky = {(20, 60, blue): 1000 for blue in range(218, 223)}
    assert painted_colours(ground | sky) == ()
    assert painted_colours(ground | {(20, 60, 220): 1000}) == ((20, 60, 220),)


def test_colour_photographs_are_no_masks(tmp_path):
    with pytest.raises(DataError, match="none stands out"):
        work_out(files(tmp_path, [photo(True, seed) for seed in range(3)]))


def palette_file(path, index, colours):
    picture = Pillow.fromarray(index)
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path)
    return path


def test_palettes(tmp_path):
    index = squares(0, 1, 2)
    black, red, green = (0, 0, 0), (255, 0, 0), (0, 255, 0)
    same = [palette_file(tmp_path / f"{i}.png", index, (black, red, green)) for i in range(2)]
    labels, _ = work_out(same)
    assert (labels.encoding, labels.values) == ("index", (0, 1, 2))
    other = palette_file(tmp_path / "other.png", (index + 1) % 3, (green, black, red))
    labels, _ = work_out([*same, other])
    assert labels.encoding == "colour"  # the indices mean something else in each file, the colours do not
    dataset = Dataset(root=tmp_path, name="", layout="", cases=(), labels=labels)
    read = [dataset.read_label(Case(name="x", images=(), mask=path)) for path in (same[0], other)]
    np.testing.assert_array_equal(read[0], read[1])


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.integers(0, 255), min_size=2, max_size=9, unique=True),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_decoding_inverts_encoding(values, dtype, size, seed):
    if sorted(values) == [0, 255]:
        return
    labels = LabelSet(names=tuple(f"c{i}" for i in range(len(values))), values=tuple(values))
    index = np.random.default_rng(seed).integers(0, len(values), size).astype(np.uint8)
    raw = np.array(values, dtype)[index]
    np.testing.assert_array_equal(decode(raw, labels), index)
    assert unexpected(raw, labels) == {}
    grey = np.repeat(raw[..., None], 3, 2)
    np.testing.assert_array_equal(decode(grey.astype(np.uint16 if raw.dtype.kind == "i" else dtype), labels), index)
    stranger = next(v for v in range(256) if v not in values)
    raw[0, 0] = stranger
    assert decode(raw, labels)[0, 0] == IGNORE
    assert unexpected(raw, labels) == {str(stranger): 1}


def test_colours_in_index_sets_are_unknown():
    raw = np.array([[[0, 0, 0], [1, 1, 1], [1, 0, 0]]], np.uint8)
    labels = LabelSet(names=("background", "cell"))
    assert decode(raw, labels).tolist() == [[0, 1, IGNORE]]
    assert unexpected(raw, labels) == {"(1, 0, 0)": 1}


# --- cases


def test_data_set_from_code(tmp_path):
    folders(tmp_path)
    cases = tuple(
        Case(name=n, images=(tmp_path / f"images/{n}.png",) * 2, mask=tmp_path / f"masks/{n}.png") for n in "ab"
    )
    dataset = Dataset(
        root=tmp_path,
        name="mine",
        layout="code",
        cases=cases,
        labels=LabelSet(names=("background", "x"), values=(0, 255)),
    )
    assert [case.group for case in dataset.cases] == ["a", "b"]
    assert dataset.read_image(dataset["a"]).array.shape == (2, *SIZE)
    assert names(dataset.select(["b"])) == ["b"]
    with pytest.raises(InputError, match="no case 'aa'; did you mean 'a'"):
        dataset["aa"]
    with pytest.raises(InputError, match="has no mask"):
        dataset.read_label(dataclasses.replace(cases[0], mask=None))
    grey(tmp_path / "images" / "b.png", size=(5, 5))
    odd = dataclasses.replace(cases[0], images=(cases[0].images[0], tmp_path / "images/b.png"))
    with pytest.raises(InputError, match=r"differ in size \(24x20, 5x5\)"):
        dataset.read_image(odd)


def test_valid_is_what_all_images_of_a_case_hold(tmp_path):
    array = np.full((*SIZE, 2), 9, np.uint8)
    for i in range(2):
        array[..., 1] = 255
        array[i, :, 1] = 0
        Pillow.fromarray(array).save(tmp_path / f"{i}.png")
    dataset = Dataset(root=tmp_path, name="", layout="", cases=(), labels=LabelSet(names=("background", "x")))
    image = dataset.read_image(Case(name="a", images=(tmp_path / "0.png", tmp_path / "1.png"), mask=None))
    assert image.valid[:2].sum() == 0
    assert image.valid[2:].all()


def test_natural_order():
    assert sorted(["z10", "z9", "a", "10", "9", "B"], key=natural) == ["9", "10", "a", "B", "z9", "z10"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "count", "values", "foreground"),
    [
        ("nuclei", 195, (0, 255), 0.09), ("skin-lesion", 62, (0, 255), 0.1), ("superalloy", 18, (0, 1, 2), 0.52),
        ("solid-oxide-cell", 30, (0, 1, 2), 0.71), ("retina-vessels", 18, (0, 1), 0.07),
        ("optic-disc-cup", 30, (0, 1, 2), 0.03), ("buildings-geotiff", 48, (0, 1), 0.45),
        ("neuron-membrane", 30, (0, 1), 0.22), ("barrier-coating", 22, (0, 1, 2), 0.19),
        ("xbd-joplin", 3, (0, 1, 2, 3, 4), 0.18),
    ],
)  # fmt: skip
def test_real_sets(real_data, name, count, values, foreground):
    dataset = open_dataset(real_data(name))
    assert (len(dataset), dataset.labels.file_values) == (count, values)
    shares = []
    for case in dataset.cases[::6]:
        image, label = dataset.read_image(case), dataset.read_label(case)
        assert image.shape == label.shape
        shares.append(((label > 0) & (label != IGNORE)).mean())
    assert abs(np.mean(shares) - foreground) < 0.08


@pytest.mark.real
def test_real_painted_masks_equal_the_index_masks(real_data, tmp_path):
    root = real_data("superalloy")
    painted = sorted((root / "painted").glob("*.tif"))
    labels, _ = work_out(painted)
    assert labels.colours == ((0, 0, 0), (0, 0, 255), (255, 0, 0))
    dataset = Dataset(root=root, name="", layout="", cases=(), labels=labels)
    for path in painted:
        found = dataset.read_label(Case(name="x", images=(), mask=path))
        index = np.asarray(Pillow.open(root / "masks" / path.name.replace("_mask.tif", ".png")))
        np.testing.assert_array_equal(found, index)
