"""Data sets of scans: layouts, reading onto one grid, facts, findings, fingerprint, contact sheet."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary.data.cases import Case, Dataset
from catenary.data.contact import contact_sheet
from catenary.data.doctor import examine
from catenary.data.facts import CaseFacts, foreground_facts, image_facts, label_facts
from catenary.data.fingerprint import fingerprint
from catenary.data.grids import apart
from catenary.data.labels import LabelSet
from catenary.data.layouts import open_dataset
from catenary.data.leaks import group_pattern
from catenary.data.survey import Survey, survey
from catenary.data.volumes import sequence_of
from catenary.errors import ConfigError, DataError, InputError
from catenary.io import read_image
from catenary.recipe import Recipe, override
from catenary.types import IGNORE, Grid
from catenary.workflow.look import get_to_know, inspect

nib = pytest.importorskip("nibabel")

SHAPE = (16, 14, 12)  # i, j, k of the file; (12, 14, 16) as (d, h, w)


def affine(spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = origin
    return matrix


def write(path, array, matrix=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine() if matrix is None else matrix), path)
    return path


def scan(seed=0, shape=SHAPE, dtype=np.float32):
    return (np.random.default_rng(seed).random(shape) * 100).astype(dtype)


def labels(values=(1, 2), seed=0, shape=SHAPE):
    label = np.zeros(shape, np.uint8)
    shift = seed % 3
    for place, value in enumerate(values):
        label[3 + shift : 9 + shift, 3:11, 2 + 2 * place : 4 + 2 * place] = value
    return label


def decathlon(root, names=("a_001", "a_002", "a_003"), channels=(), values=(1, 2), end="Tr"):
    for seed, name in enumerate(names):
        for channel in channels or ("",):
            write(root / f"images{end}" / f"{name}{channel}.nii.gz", scan(seed + 100 * len(channel)))
        write(root / f"labels{end}" / f"{name}.nii.gz", labels(values, seed))
    return root


def brats(root, names=("p1", "p2", "p3"), sequences=("Flair_norm", "T1c_norm"), label="OTMultiClass"):
    for seed, name in enumerate(names):
        for place, sequence in enumerate(sequences):
            write(root / name / f"{sequence}.nii.gz", scan(10 * seed + place))
        write(root / name / f"{label}.nii.gz", labels((1, 2, 3, 4), seed))
        write(root / name / "brainmask.nii.gz", np.ones(SHAPE, np.uint8))
        (root / name / "LICENCE.txt").write_text("CC0")
    return root


def codes(findings):
    return {finding.code: finding for finding in findings}


def names(dataset):
    return [case.name for case in dataset.cases]


def files(dataset):
    return [[path.name for path in case.images] for case in dataset.cases]


# --- layouts


def test_decathlon_without_a_description(tmp_path):
    dataset = open_dataset(decathlon(tmp_path))
    assert dataset.layout == "imagesTr/ and labelsTr/"
    assert names(dataset) == ["a_001", "a_002", "a_003"]
    assert dataset.labels.names == ("background", "class 1", "class 2")
    assert dataset.rank == 3
    assert dataset.findings == ()
    image, label = dataset.read_pair(dataset.cases[0])
    assert image.array.shape == (1, 12, 14, 16)
    assert label.shape == image.shape


def test_decathlon_description(tmp_path):
    decathlon(tmp_path)
    record = {
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "modality": {"0": "MRI"},
        "licence": "X",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(record))
    dataset = open_dataset(tmp_path)
    assert dataset.labels.names == ("background", "Anterior", "Posterior")
    assert dataset.channel_names == ("MRI",)
    assert dataset.licence == "X"
    assert open_dataset(tmp_path, classes=("front", "back")).labels.names == ("background", "front", "back")


def test_nnunet_description_with_regions_channels_and_test_part(tmp_path):
    channels = ("_0000", "_0001")
    decathlon(tmp_path, channels=channels, values=(1, 2, 3))
    decathlon(tmp_path, ("t_1",), channels, values=(1, 2, 3), end="Ts")
    record = {
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
        "regions_class_order": [1, 3, 2],
        "channel_names": {"0": "T2", "1": "ADC"},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(record))
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["a_001", "a_002", "a_003", "t_1"]
    assert [case.split for case in dataset.cases] == [None, None, None, "test"]
    assert files(dataset)[0] == ["a_001_0000.nii.gz", "a_001_0001.nii.gz"]
    assert dataset.channel_names == ("T2", "ADC")
    assert dataset.labels.names == ("background", "class 1", "class 2", "enhancing")
    assert dataset.labels.regions == {"whole": (1, 2, 3), "core": (3, 2), "enhancing": (3,)}
    assert dataset.labels.ignore == 4
    assert dataset.labels.task == "overlapping"
    assert dataset.read_image(dataset.cases[0]).channels == 2


def test_a_bare_name_that_ends_in_four_digits_is_no_channel(tmp_path):
    dataset = open_dataset(decathlon(tmp_path, ("a_0001", "a_0002")))
    assert names(dataset) == ["a_0001", "a_0002"]


def test_a_case_without_a_channel_is_left_out(tmp_path):
    decathlon(tmp_path, channels=("_0000", "_0001"))
    (tmp_path / "imagesTr" / "a_002_0001.nii.gz").unlink()
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["a_001", "a_003"]
    assert "a_002 (0001)" in codes(dataset.findings)["missing-sequences"].message


@pytest.mark.parametrize("text", ["{", '{"labels": {"a": "x"}}', '{"channel_names": [1]}', "[]"])
def test_a_broken_description_is_one_sentence(tmp_path, text):
    (decathlon(tmp_path) / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset.json is no description .* correct or remove it"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("BraTS-GLI-00000-000-t1n", "t1"), ("BraTS-GLI-00000-000-t2f", "flair"), ("T1_Gd", "t1c"), ("t2w", "t2"),
        ("FLAIR_t2", "flair"), ("VSD.Brain_3more.XX.O.OT.54517", "label"), ("x_seg", "label"), ("brain_mask", "brain"),
        ("T1c_subtrMeanDivStd", "t1c"), ("ADC", "adc"), ("truth", "label"),
    ],
)  # fmt: skip
def test_sequences_by_their_names(name, sequence):
    assert sequence_of(name) == sequence


def test_a_folder_a_case(tmp_path):
    dataset = open_dataset(brats(tmp_path))
    assert dataset.layout == "a folder a case"
    assert names(dataset) == ["p1", "p2", "p3"]
    assert files(dataset)[0] == ["Flair_norm.nii.gz", "T1c_norm.nii.gz"]
    assert dataset.channel_names == ("flair", "t1c")
    assert dataset.labels.count == 5
    assert dataset.findings == ()


def test_folders_of_cases_within_folders(tmp_path):
    brats(tmp_path / "train" / "HGG", ("a", "b"))
    brats(tmp_path / "test" / "LGG", ("c",))
    assert [(case.name, case.split) for case in open_dataset(tmp_path).cases] == [
        ("a", "train"), ("b", "train"), ("c", "test"),
    ]  # fmt: skip


def test_few_cases_without_a_sequence_are_left_out_and_a_rare_sequence_is_not_used(tmp_path):
    brats(tmp_path)
    (tmp_path / "p2" / "T1c_norm.nii.gz").unlink()
    write(tmp_path / "p3" / "t2.nii.gz", scan(5))
    dataset = open_dataset(tmp_path)
    found = codes(dataset.findings)
    assert names(dataset) == ["p1", "p3"]
    assert "1 of 3 cases lack" in found["missing-sequences"].message
    assert "p2 (t1c)" in found["missing-sequences"].message
    assert "t2 (in 1)" in found["unused-sequences"].message
    assert dataset.channel_names == ("flair", "t1c")


def test_the_common_subset_is_used_where_most_cases_have_no_more(tmp_path):
    brats(tmp_path, ("a",), ("flair", "t1c"))
    brats(tmp_path, ("b",), ("flair", "t2"))
    brats(tmp_path, ("c",), ("flair", "adc"))
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["a", "b", "c"]
    assert dataset.channel_names == ("flair",)
    assert "only flair" in codes(dataset.findings)["unused-sequences"].message


def test_two_files_of_a_sequence_and_no_labels(tmp_path):
    brats(tmp_path)
    write(tmp_path / "p1" / "flair_2.nii.gz", scan(1))
    (tmp_path / "p3" / "OTMultiClass.nii.gz").unlink()
    found = codes(open_dataset(tmp_path).findings)
    assert found["two-images"].cases == ("p1",)
    assert found["no-mask"].cases == ("p3",)


def test_one_image_of_any_name_a_folder(tmp_path):
    for name in "abc":
        write(tmp_path / name / f"{name}_scan.nii.gz", scan(1))
        write(tmp_path / name / f"{name}_label.nii.gz", labels())
    write(tmp_path / "d" / "other.nii.gz", scan(1))
    write(tmp_path / "d" / "seg.nii.gz", labels())
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["a", "b", "c", "d"]
    assert dataset.channel_names == ("image",)


def test_images_and_masks_and_a_manifest_of_compressed_scans(tmp_path):
    for name in ("x.1", "x.2"):
        write(tmp_path / "images" / f"{name}.nii.gz", scan(1))
        write(tmp_path / "masks" / f"{name}_mask.nii.gz", labels())
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, names(dataset)) == ("images/ and masks/", ["x.1", "x.2"])
    rows = "flair,t2,mask\nimages/x.1.nii.gz,images/x.2.nii.gz,masks/x.1_mask.nii.gz\n"
    (tmp_path / "manifest.csv").write_text(rows)
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["x.1"]
    assert dataset.channel_names == ("flair", "t2")
    assert dataset.read_image(dataset.cases[0]).channels == 2


def test_a_folder_of_dicom_slices_is_one_image(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    for seed, name in enumerate(("1.2.840", "1.2.841")):
        image = sitk.GetImageFromArray(scan(seed, SHAPE[::-1], np.int16))
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for k in range(image.GetDepth()):
            piece = image[:, :, k]
            for tag, value in {
                "0008|0060": "CT", "0020|000d": "1.2.3", "0020|000e": f"1.2.3.{seed}", "0020|0013": str(k),
                "0020|0032": f"0\\0\\{k}", "0020|0037": "1\\0\\0\\0\\1\\0", "0028|0030": "1\\1", "0018|0050": "1",
                "0020|0052": "1.2.9",
            }.items():  # fmt: skip
                piece.SetMetaData(tag, value)
            writer = sitk.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.SetFileName(str(folder / f"{k}.dcm"))
            writer.Execute(piece)
        (tmp_path / "masks").mkdir(exist_ok=True)
        matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
        write(tmp_path / "masks" / f"{name}.nii.gz", labels(), matrix)
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["1.2.840", "1.2.841"]
    image, label = dataset.read_pair(dataset.cases[0])
    assert image.shape == label.shape == (12, 14, 16)
    (tmp_path / "images" / "1.2.840").rename(brats(tmp_path / "set") / "a scan alone")
    assert open_dataset(tmp_path / "set").channel_names == ("flair", "t1c")
    assert open_dataset(tmp_path / "set").findings == ()


# --- one grid


def two_files(tmp_path, matrix, shape=SHAPE, resample=False):
    write(tmp_path / "images" / "a.nii.gz", scan(0))
    write(tmp_path / "images" / "b.nii.gz", scan(1, shape), matrix)
    write(tmp_path / "labels.nii.gz", labels())
    case = Case(
        name="a",
        images=(tmp_path / "images" / "a.nii.gz", tmp_path / "images" / "b.nii.gz"),
        mask=tmp_path / "labels.nii.gz",
    )
    return Dataset(
        root=tmp_path, name="x", layout="x", cases=(case,), labels=LabelSet(names=("background", "a", "b")),
        resample=resample,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("matrix", "shape", "how"),
    [
        (affine(origin=(0, 2.0, 0)), SHAPE, "lies 2 voxels away"),
        (affine(spacing=(1, 1, 1.5)), SHAPE, "has voxels of 1.5 x 1 x 1 mm against 1 x 1 x 1"),
        (affine(), (16, 14, 10), "is 10x14x16 voxels against 12x14x16"),
    ],
)
def test_files_of_other_grids_are_refused_with_the_remedy(tmp_path, matrix, shape, how):
    dataset = two_files(tmp_path, matrix, shape)
    with pytest.raises(InputError, match=rf"b.nii.gz does not lie on the grid of a.nii.gz: .*{how}; .*resample = true"):
        dataset.read_image(dataset.cases[0])
    wrong = replace(dataset.cases[0], images=dataset.cases[0].images[1:])
    with pytest.raises(InputError, match=r"the labels labels.nii.gz of case 'a' do not lie .* b.nii.gz"):
        dataset.read_pair(wrong)
    told = survey(replace(dataset, cases=(wrong,)))["a"]
    found = codes(examine(dataset, Survey(facts=(told,))))
    assert {"grid-mismatch", "size-mismatch"} & set(found)


def test_rounding_in_headers_is_no_other_grid():
    grid = Grid(affine=tuple(affine((0.9, 0.9, 2.5))[:3].ravel()))
    near = Grid(affine=tuple(affine((0.90002, 0.9, 2.50004), (1e-3, 0, 0))[:3].ravel()))
    assert apart(grid, (200, 200, 50), near, (200, 200, 50)) == ""


def test_resampling_lays_files_onto_the_first(tmp_path):
    dataset = two_files(tmp_path, affine(origin=(0, 0, 3.0)), resample=True)
    image = dataset.read_image(dataset.cases[0])
    later = read_image(dataset.cases[0].images[1]).array[0]
    assert image.array.shape == (2, 12, 14, 16)
    np.testing.assert_allclose(image.array[1, 3:], later[:9], rtol=1e-5)
    assert (image.array[1, :3] == later.min()).all()
    shifted = replace(dataset.cases[0], images=dataset.cases[0].images[1:])
    _, label = dataset.read_pair(shifted)
    own = dataset.read_label(shifted)
    np.testing.assert_array_equal(label[:9], own[3:])


def test_a_finer_file_is_resampled_by_its_affine(tmp_path):
    """A linear ramp in the world is the same ramp on any grid."""
    fine = affine((0.5, 0.5, 0.5), (-1.0, -1.0, -1.0))
    dataset = two_files(tmp_path, fine, (40, 40, 40), resample=True)
    i, j, k = np.indices((40, 40, 40)) * 0.5 - 1.0
    write(tmp_path / "images" / "b.nii.gz", (i + 2 * j + 3 * k).astype(np.float32), fine)
    image = dataset.read_image(dataset.cases[0])
    i, j, k = np.indices(SHAPE)
    wanted = (i + 2 * j + 3 * k).transpose(2, 1, 0)[:, ::-1, ::-1]
    np.testing.assert_allclose(image.array[1], wanted, atol=1e-3)


def test_types_are_joined_without_loss(tmp_path):
    dataset = two_files(tmp_path, affine())
    for dtypes, joined in (
        ((np.uint8, np.float32), "float32"), ((np.uint8, np.int16), "int16"), ((np.int32, np.float32), "float32"),
        ((np.uint8, np.uint8), "uint8"),
    ):  # fmt: skip
        for path, dtype in zip(dataset.cases[0].images, dtypes, strict=True):
            write(path, scan(1, dtype=dtype))
        assert dataset.read_image(dataset.cases[0]).array.dtype == joined


def test_a_stated_spacing_fits_the_rank(tmp_path):
    decathlon(tmp_path)
    toml = tmp_path / "dataset.toml"
    toml.write_text('spacing = 0.5\nunit = "mm"\n')
    dataset = open_dataset(tmp_path)
    assert dataset.read_image(dataset.cases[0]).grid.spacing == (0.5, 0.5, 0.5)
    toml.write_text('spacing = [2, 0.5, 0.4]\nunit = "mm"\n')
    assert open_dataset(tmp_path).grid.spacing == (2, 0.5, 0.4)
    toml.write_text('spacing = [2, 0.5]\nunit = "mm"\n')
    with pytest.raises(ConfigError, match="gives 2 numbers as spacing"):
        open_dataset(tmp_path)


# --- facts


def ball(radius, shape=(40, 40, 40), spacing=(1, 1, 1)):
    grid = np.indices(shape).astype(float)
    centre = [(n - 1) / 2 for n in shape]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True)) <= radius**2


def test_objects_of_a_volume():
    label = np.zeros((40, 40, 80), np.uint8)
    label[..., :40] = ball(10)
    label[0:2, 0:2, 50:52] = label[2:4, 2:4, 52:54] = 1  # joined at a corner only
    label[30, 30, 70] = 1  # a speck
    facts = label_facts(label, classes=3)
    assert facts["objects"] == (2, 0)
    assert facts["diameters"][0] == pytest.approx(20, abs=0.5)
    assert facts["mask_size"] == (40, 40, 80)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 1, 1), (6.0, 2.0, 2.0)])
def test_thickness_of_a_plate_is_told_in_voxels_of_the_finest_axis(spacing):
    plate = np.zeros((30, 30, 60), np.uint8)
    plate[:, :, 20:29] = 1
    assert label_facts(plate, classes=2, spacing=spacing)["thickness"] == (pytest.approx(9, abs=0.6),)
    lying = np.zeros((40, 30, 30), np.uint8)
    lying[10:15] = 1
    across = 5 * spacing[0] / min(spacing)
    assert label_facts(lying, classes=2, spacing=spacing)["thickness"] == (pytest.approx(across, abs=spacing[0]),)


def test_large_volumes_are_thinned_and_agree():
    label = ball(40, (20, 90, 300), (4, 1, 0.3)).astype(np.uint8)
    facts = label_facts(label, classes=2, spacing=(4, 1, 0.3))
    assert facts["counts"][1] == label.sum()
    assert facts["diameters"][0] == pytest.approx(np.cbrt(6 * label.sum() / np.pi), rel=0.02)


def test_image_facts_of_a_volume():
    image = np.zeros((2, 20, 30, 40), np.float32) - 3.0
    image[:, 5:15, 4:20, 10:30] = scan(0, (2, 10, 16, 20))
    facts = image_facts(image)
    assert facts["size"] == (20, 30, 40)
    assert facts["body"] == (10, 16, 20)
    assert facts["mean"] == pytest.approx(image.mean((1, 2, 3)), rel=0.02)
    assert image_facts(np.ones((1, 9, 9, 9)))["body"] == (0, 0, 0)


def test_foreground_intensities():
    image = np.random.default_rng(0).normal(0, 1, (2, 50, 60, 70)).astype(np.float32)
    label = np.zeros((50, 60, 70), np.uint8)
    label[10:40, 10:50, 10:60] = 2
    label[:5] = IGNORE
    image[1, label == 2] += 50
    facts = foreground_facts(image, label)
    assert facts["inside_mean"] == pytest.approx((0, 50), abs=0.05)
    assert facts["inside_std"] == pytest.approx((1, 1), abs=0.05)
    low, high = np.quantile(image[1, label == 2], (0.005, 0.995))
    assert (facts["inside_quantiles"][1][1], facts["inside_quantiles"][1][-2]) == pytest.approx((low, high), abs=0.1)
    assert foreground_facts(image, np.zeros_like(label)) == {}


# --- doctor and fingerprint


def facts_of(name, array, label=None, spacing=(1.0, 1.0, 1.0), **more):
    label = labels().T if label is None else label
    fields = image_facts(array) | label_facts(label, classes=3, spacing=spacing) | foreground_facts(array, label)
    return CaseFacts(name=name, group=name, **(fields | {"spacing": spacing, "unit": "mm"} | more))


def some(count=6, **more):
    return [facts_of(chr(97 + i), scan(i, (1, *SHAPE[::-1])), labels(seed=i).T, **more) for i in range(count)]


def look(facts):
    cases = tuple(Case(name=f.name, images=(), mask=None) for f in facts)
    planted = LabelSet(names=("background", "a", "b"))
    dataset = Dataset(root=Path("x"), name="x", layout="x", cases=cases, labels=planted)
    return codes(examine(dataset, Survey(facts=tuple(facts)))), dataset


def test_clean_scans_raise_no_alarm():
    assert look(some())[0] == {}


def test_planted_defects_of_scans_are_found():
    other = scan(9, (1, *SHAPE[::-1]))
    assert look([*some(), facts_of("z", other, spacing=(4.0, 1.0, 1.0))])[0]["mixed-spacing"].level == "note"
    wild = look([*some(), facts_of("z", other, spacing=(0.001, 0.001, 0.001))])[0]["mixed-spacing"]
    assert (wild.level, wild.cases) == ("warning", ("z",))
    assert "no-spacing" in look([*some(), facts_of("z", other).model_copy(update={"spacing": ()})])[0]
    assert "5 times as long" in look(some(spacing=(5.0, 1.0, 1.0)))[0]["anisotropic"].message
    assert "no-orientation" in look(some(placed=False))[0]
    flat = facts_of("z", other[:, :1], labels().T[3:4])
    assert look([*some(), flat])[0]["single-slice"].cases == ("z",)
    assert "too-small" in look([*some(), facts_of("z", other[..., :4], labels().T[..., 5:9])])[0]
    assert "empty-masks" in look([*some(), facts_of("z", other, np.zeros(SHAPE[::-1], np.uint8))])[0]
    assert "duplicates" in look([*some(), facts_of("z", scan(0, (1, *SHAPE[::-1])))])[0]
    assert "near-duplicates" in look([*some(), facts_of("z", 2 * scan(0, (1, *SHAPE[::-1])).astype(np.float64))])[0]
    picture = CaseFacts(name="z", group="z", **image_facts(np.arange(256.0).reshape(1, 16, 16)))
    assert "1 cases are images and 6 are volumes" in look([*some(), picture])[0]["mixed-ranks"].message


def test_scans_without_a_common_scale_get_one_note():
    strong = facts_of("z", 1e5 * scan(9, (1, *SHAPE[::-1])))
    found = look([*some(), strong])[0]
    assert list(found) == ["mixed-ranges"]
    assert found["mixed-ranges"].level == "note"
    assert "prepare.normalise=image" in found["mixed-ranges"].remedy
    mixed = facts_of("z", scan(9, (1, *SHAPE[::-1]), np.uint8))
    assert "6 float32, 1 uint8" in look([*some(), mixed])[0]["mixed-ranges"].message


def test_fingerprint_of_volumes():
    facts = [
        *some(4, spacing=(3.0, 1.0, 1.0)),
        facts_of("z", scan(9, (1, 10, 14, 30)), np.ones((10, 14, 30), np.uint8)),
    ]
    found = fingerprint(look(facts)[1], Survey(facts=tuple(facts)), [f.name for f in facts])
    assert found.rank == 3
    assert (found.size_min, found.size_median, found.size_max) == ((10, 14, 16), (12, 14, 16), (12, 14, 30))
    assert found.spacing_median == (3.0, 1.0, 1.0)
    assert (found.spacing_unit, found.anisotropy) == ("mm", 3.0)
    assert found.body_median == (12, 14, 16)
    inside = [scan(i, (1, *SHAPE[::-1]))[0][labels(seed=i).T > 0] for i in range(4)]
    values = np.concatenate([*inside, scan(9, (1, 10, 14, 30)).ravel()])
    assert found.foreground_mean == pytest.approx((values.mean(),), rel=1e-4)
    assert found.foreground_std == pytest.approx((values.std(),), rel=1e-4)
    assert (*found.foreground_low, *found.foreground_high) == pytest.approx(
        np.quantile(values, (0.005, 0.995)), abs=0.5
    )


# --- regions, groups, contact sheet


def test_regions_from_the_description_and_from_a_recipe(tmp_path):
    dataset = open_dataset(brats(tmp_path))
    wish = {"whole": ("class 1", "class 2", "3", "class 4"), "enhancing": ("class 4",)}
    with_them = dataset.with_regions(wish)
    assert with_them.labels.regions == {"whole": (1, 2, 3, 4), "enhancing": (4,)}
    assert with_them.labels.task == "overlapping"
    assert dataset.with_regions({}) is dataset
    merged = dataset.with_classes({"core": ["class 1", "class 3", "class 4"], "oedema": ["class 2"]})
    assert merged.with_regions({"all": ("core", "oedema")}).labels.regions == {"all": (1, 2)}
    with pytest.raises(ConfigError, match=r"region 'x' names the class 'clas 4'.*did you mean 'class 4'"):
        dataset.with_regions({"x": ("clas 4",)})
    for members in ((), ("background",)):
        with pytest.raises(ConfigError, match="region 'x' is made of"):
            dataset.with_regions({"x": members})
    (tmp_path / "dataset.toml").write_text("[regions]\nwhole = [1, 2, 3, 4]\ncore = [1, 3, 4]\n")
    assert open_dataset(tmp_path).labels.regions == {"whole": (1, 2, 3, 4), "core": (1, 3, 4)}
    recipe = override(Recipe(), ['data.regions={"core": ["class 1", "class 3", "class 4"], "enhancing": ["class 4"]}'])
    known = get_to_know(tmp_path, recipe)
    assert known.fingerprint.task == "overlapping"
    assert list(known.fingerprint.region_shares) == ["core", "enhancing"]
    assert known.fingerprint.logits == 2


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        (["brats_2013_pat0001_1", "brats_2013_pat0001_2", "brats_2013_pat0002_1", "brats_2013_pat0004_1"], 3),
        (["BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00002-000", "BraTS-GLI-00002-001"], 2),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"], 2),
        (["brats_2013_pat0001_1", "brats_2013_pat0002_1", "brats_2013_pat0004_1"], None),
        (["hippocampus_001", "hippocampus_003", "hippocampus_004"], None),
    ],
)
def test_groups_by_the_names_of_patients(given, groups):
    import re

    pattern = group_pattern(given)
    assert (pattern is None) == (groups is None)
    if pattern is not None:
        assert len({re.search(pattern, name).group(1) for name in given}) == groups


def test_contact_sheet_shows_the_fullest_slice_in_its_true_shape(tmp_path):
    label = np.zeros((20, 20, 9), np.uint8)
    label[5:15, 5:15, 7] = 1
    image = np.zeros((20, 20, 9), np.float32)
    image[..., 7] = 100 * scan(0, (20, 20))
    write(tmp_path / "imagesTr" / "a.nii.gz", image, affine((1.0, 2.0, 5.0)))
    write(tmp_path / "labelsTr" / "a.nii.gz", label, affine((1.0, 2.0, 5.0)))
    sheet = contact_sheet(open_dataset(tmp_path), ["a"], tmp_path / "sheet.png", cell=120)
    pixels = np.asarray(Pillow.open(sheet).convert("RGB")).astype(int)
    orange = np.argwhere(np.abs(pixels - [230, 159, 0]).sum(-1) < 30)
    orange = orange[orange[:, 0] > 80]  # below the legend
    tall, wide = np.ptp(orange, axis=0)
    assert tall / wide == pytest.approx(2.0, abs=0.15)


def test_inspect_shows_channels_and_spacing(tmp_path, capsys):
    from catenary.cli.main import main

    assert main(["inspect", str(brats(tmp_path))]) == 0
    told = capsys.readouterr().out
    assert "2 channels (flair, t1c) of float32" in told
    assert "1 x 1 x 1 mm" in told
    assert "slices x rows x columns" not in told  # all of one size
    assert "12 x 14 x 16" in told


# --- real scans


@pytest.mark.real
def test_hippocampus_raises_no_false_alarm(real_data):
    dataset = open_dataset(real_data("hippocampus"))
    assert len(dataset) == 137
    found = inspect(dataset.select(names(dataset)[::5]))
    assert [(f.level, f.code) for f in found.findings] == [("note", "mixed-ranges")]
    assert (found.fingerprint.rank, found.fingerprint.spacing_median) == (3, (1.0, 1.0, 1.0))


@pytest.mark.real
def test_brats_raises_no_false_alarm(real_data):
    dataset = open_dataset(real_data("brats-flair-t1c"))
    found = inspect(dataset.select(names(dataset)[:2]))
    assert found.dataset.channel_names == ("flair", "t1c")
    assert {(f.level, f.code) for f in found.findings} == {("note", "rare-class")}
    assert max(found.fingerprint.body_median[1:]) < 220
