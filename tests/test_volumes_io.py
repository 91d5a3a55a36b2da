"""Scans and stacks: what is read lies in one orientation, what is written lies as its source did."""

import io
import itertools
import zipfile

import highdicom
import highdicom.legacy
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from catenary.errors import InputError, OutputError
from catenary.io import (
    find_images,
    image_size,
    is_series,
    orientation,
    read_image,
    read_mask,
    stem,
    write_image,
    write_mask,
    write_probability,
)
from catenary.io.dicomseg import read_dicom_seg, write_dicom_seg
from catenary.io.dicomseries import LARGEST_ARCHIVE
from catenary.io.orient import canonical_grid, canonical_shape, file_affine, from_file, to_file
from catenary.types import Grid
from damage import read_damaged
from dicoms import COLUMNS, ROWS, slice_of

RNG = np.random.default_rng(0)
SHAPE = (3, 4, 5)
TURNS = [
    tuple(sign * (axis + 1) for sign, axis in zip(signs, order, strict=True))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
OBLIQUE = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix()


def affine_of(columns, origin=(10.0, -20.0, 30.0)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return affine


def scan(dtype=np.int16, shape=SHAPE):
    return RNG.integers(0, 100, shape).astype(dtype)


def labels(shape=SHAPE, classes=3):
    return RNG.integers(0, classes, shape, np.uint8)


def refused(path, words, *, reads=(read_image, read_mask)):
    for read in reads:
        with pytest.raises(InputError, match=words) as caught:
            read(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


# --- orientation


@pytest.mark.parametrize("rotation", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_every_orientation_reads_as_one_array(tmp_path, rotation):
    """A scan stored in any of the 48 ways gives the same pixels at the same place, and goes back as it came."""
    assert len(TURNS) == 48
    grid = Grid(spacing=(1.5, 1.0, 0.5), unit="mm")
    canonical = rotation @ np.array([[0, 0, -0.5], [0, -1.0, 0], [1.5, 0, 0]])
    base = affine_of(canonical)
    array = scan()
    for axes in TURNS:
        known = Grid(spacing=grid.spacing, affine=tuple(base[:3].ravel()), axes=axes)
        stored, affine = to_file(array, known), file_affine(known, SHAPE)
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(stored), affine), tmp_path / "a.nii")
        image = read_image(tmp_path / "a.nii")
        np.testing.assert_array_equal(image.array[0], array)
        np.testing.assert_allclose(image.grid.affine, base[:3].ravel(), atol=1e-4)
        np.testing.assert_allclose(image.grid.spacing, grid.spacing, rtol=1e-5)
        assert image.grid.unit == "mm"
        assert image.grid.axes == (None if axes == (1, 2, 3) else axes)
        assert image_size(tmp_path / "a.nii") == SHAPE
        write_mask(tmp_path / "m.nii.gz", array.astype(np.uint8), grid=image.grid)
        back = nibabel.load(tmp_path / "m.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(back.dataobj), stored)
        np.testing.assert_allclose(back.affine, affine, atol=1e-4)
        np.testing.assert_allclose(back.get_qform(), affine, atol=1e-4)
        assert back.get_data_dtype() == np.uint8


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 9)] * 3),
    mirrored=st.booleans(),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_any_affine_goes_there_and_back(angles, spacing, mirrored, shape):
    columns = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine = affine_of(columns * [-1 if mirrored else 1, 1, 1])
    grid = canonical_grid(shape, affine, source="scan")
    array = np.arange(np.prod(shape)).reshape(shape)
    found = from_file(array, grid)
    assert found.shape == canonical_shape(shape, grid)
    np.testing.assert_array_equal(to_file(found, grid), array)
    np.testing.assert_allclose(file_affine(grid, found.shape), affine, atol=1e-9)
    # Every voxel keeps its place in the world, and the axes run up, back and left as nearly as they can.
    index = np.stack(np.unravel_index(found.ravel(), shape), -1)
    there = np.reshape(grid.affine, (3, 4))
    places = np.stack(np.indices(found.shape).reshape(3, -1), -1) @ there[:, :3].T + there[:, 3]
    np.testing.assert_allclose(places, index @ affine[:3, :3].T + affine[:3, 3], atol=1e-6)
    assert there[2, 0] - there[1, 1] - there[0, 2] > 0


def test_a_scan_that_is_canonical_has_no_axes():
    grid = canonical_grid(SHAPE, affine_of([[0, 0, -1.0], [0, -1, 0], [1, 0, 0]]), source="scan")
    assert grid.axes is None
    assert grid.spacing == (1.0, 1.0, 1.0)


# --- NIfTI


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_keeps_types(tmp_path, dtype, order):
    array = scan(np.dtype(dtype).newbyteorder(order))
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]), header), tmp_path / "a.nii.gz")
    found = read_image(tmp_path / "a.nii.gz").array
    assert found.dtype == dtype
    assert found.dtype.isnative
    assert found.flags.writeable
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found[0], array.transpose(2, 1, 0))


def test_nifti_scaling(tmp_path):
    file = nibabel.Nifti1Image(scan(np.int16), np.eye(4))
    file.header.set_slope_inter(0.5, -3)
    nibabel.save(file, tmp_path / "a.nii")
    found = read_image(tmp_path / "a.nii").array
    assert found.dtype == np.float32
    raw = nibabel.load(tmp_path / "a.nii").get_fdata()
    np.testing.assert_allclose(np.sort(found.ravel()), np.sort(raw.ravel()))
    nibabel.save(nibabel.Nifti1Image(scan(np.float64), np.eye(4)), tmp_path / "b.nii")
    assert read_image(tmp_path / "b.nii").array.dtype == np.float32
    assert read_mask(tmp_path / "b.nii").dtype == np.int32
    nibabel.save(nibabel.Nifti1Image(scan(np.float64) * 1e100, np.eye(4)), tmp_path / "c.nii")
    assert read_image(tmp_path / "c.nii").array.dtype == np.float64  # float32 would overflow


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e-3), ("mm", 1.0), ("meter", 1e3), ("unknown", 1.0)])
def test_nifti_units_become_millimetres(tmp_path, unit, factor):
    file = nibabel.Nifti1Image(scan(), np.diag([2.0, 3.0, 4.0, 1.0]))
    file.header.set_xyzt_units(unit)
    nibabel.save(file, tmp_path / "a.nii")
    grid = read_image(tmp_path / "a.nii").grid
    assert grid.spacing == pytest.approx((4 * factor, 3 * factor, 2 * factor))
    assert grid.unit == "mm"


def test_nifti_prefers_the_sform(tmp_path):
    file = nibabel.Nifti1Image(scan(), np.eye(4))
    file.set_qform(np.diag([5.0, 5.0, 5.0, 1.0]), 1)
    file.set_sform(np.diag([2.0, 2.0, 2.0, 1.0]), 1)
    nibabel.save(file, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").grid.spacing == (2.0, 2.0, 2.0)
    file.set_sform(None, 0)
    nibabel.save(file, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").grid.spacing == (5.0, 5.0, 5.0)


def test_nifti_of_more_and_fewer_axes(tmp_path):
    for shape, channels in (((3, 4, 5, 2), 2), ((3, 4, 5, 1), 1), ((3, 4, 5, 1, 2), 2), ((3, 4, 5), 1)):
        array = scan(np.int16, shape)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii")
        found = read_image(tmp_path / "a.nii").array
        np.testing.assert_array_equal(found, array.reshape(3, 4, 5, channels).transpose(3, 2, 1, 0))
        assert image_size(tmp_path / "a.nii") == (5, 4, 3)
    nibabel.save(nibabel.Nifti1Image(scan(np.int16, (3, 4)), np.eye(4)), tmp_path / "flat.nii")
    assert read_image(tmp_path / "flat.nii").array.shape == (1, 1, 4, 3)
    nibabel.save(nibabel.Nifti1Image(scan(np.int16, (3, 4, 5, 2, 2)), np.eye(4)), tmp_path / "five.nii")
    refused(tmp_path / "five.nii", "give one volume")
    nibabel.save(nibabel.Nifti1Image(scan(np.int16, (3, 4, 5, 2)), np.eye(4)), tmp_path / "mask.nii")
    refused(tmp_path / "mask.nii", "2 volumes; a mask is one volume", reads=(read_mask,))


def test_bad_nifti(tmp_path):
    nibabel.save(nibabel.Nifti1Image(scan(np.int16, (30, 30, 30)), np.eye(4)), tmp_path / "cut.nii.gz")
    whole = (tmp_path / "cut.nii.gz").read_bytes()
    for share in (0.01, 0.5, 0.95):
        (tmp_path / "cut.nii.gz").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / "cut.nii.gz", "truncated, damaged or no NIfTI")
    (tmp_path / "text.nii").write_text("no scan at all " * 40)
    refused(tmp_path / "text.nii", "no NIfTI")
    array = scan(np.float32)
    array[0, 0, :2] = np.nan, np.inf
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "nan.nii")
    refused(tmp_path / "nan.nii", "2 of 60 voxels that are NaN or infinite; replace")
    nibabel.save(nibabel.Nifti1Image(scan(np.int16, (3, 0, 5)), np.eye(4)), tmp_path / "zero.nii")
    refused(tmp_path / "zero.nii", "3x0x5 pixels", reads=(read_image, read_mask, image_size))
    sheared = np.eye(4)
    sheared[0, 2] = 0.3
    nibabel.save(nibabel.Nifti1Image(scan(), sheared), tmp_path / "sheared.nii")
    refused(tmp_path / "sheared.nii", "not at right angles", reads=(read_image, read_mask, image_size))
    flat = nibabel.Nifti1Image(scan(), np.eye(4))
    flat.header["srow_x"] = 0
    flat.header["sform_code"] = 1
    (tmp_path / "flat.nii").write_bytes(bytes(352))
    flat.header["srow_y"] = flat.header["srow_z"] = 0
    (tmp_path / "flat.nii").write_bytes(flat.header.binaryblock + bytes(4) + scan().tobytes())
    refused(tmp_path / "flat.nii", "no three axes with a length")
    nibabel.save(nibabel.Nifti1Image(scan(np.complex64), np.eye(4)), tmp_path / "complex.nii")
    refused(tmp_path / "complex.nii", "complex64")
    nibabel.save(nibabel.Nifti1Image(scan(np.float32) + 0.5, np.eye(4)), tmp_path / "parts.nii")
    refused(tmp_path / "parts.nii", "fractions", reads=(read_mask,))


# --- all formats of scans


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_volumes_come_back(tmp_path, suffix, dtype, channels):
    affine = tuple(affine_of(OBLIQUE @ np.diag([0.5, -1.0, -2.0]))[:3].ravel())
    grid = Grid(spacing=(0.5, 1.0, 2.0), unit="mm", affine=affine, axes=(2, -3, 1))
    base = canonical_grid(SHAPE, np.vstack([np.reshape(affine, (3, 4)), [0, 0, 0, 1]]), source="a")
    grid = Grid(spacing=base.spacing, unit="mm", affine=base.affine, axes=(2, -3, 1))
    array = scan(dtype, (channels, *SHAPE))
    path = tmp_path / "sub" / f"a{suffix}"
    write_image(path, array, grid=grid)
    image = read_image(path)
    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_allclose(image.grid.affine, grid.affine, atol=1e-4)
    assert image.grid.axes == grid.axes
    assert image_size(path) == SHAPE
    assert orientation(path) == 1
    assert not [f for f in path.parent.iterdir() if f.name.startswith(".writing")]
    if channels == 1:
        found = read_mask(path)
        np.testing.assert_array_equal(found, array[0])
        assert found.dtype == (np.int32 if dtype == np.float32 else dtype)
    else:
        refused(path, f"{channels} volumes", reads=(read_mask,))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nii"])
def test_another_program_sees_the_same_scan(tmp_path, suffix):
    """SimpleITK reads what is written, and what SimpleITK writes is read, at the same places."""
    image = sitk.GetImageFromArray(scan(np.int16, (5, 4, 3)))
    image.SetSpacing((0.5, 1.0, 2.0))
    image.SetOrigin((7.0, 8.0, 9.0))
    image.SetDirection(OBLIQUE.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    found = read_image(tmp_path / f"a{suffix}")
    index = (2, 1, 3)
    place = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
    there = np.reshape(found.grid.affine, (3, 4))
    places = np.stack(np.indices(found.shape).reshape(3, -1), -1) @ there[:, :3].T + there[:, 3]
    nearest = np.abs(places - place).sum(1).argmin()
    np.testing.assert_allclose(places[nearest], place, atol=1e-4)
    assert found.array[0].ravel()[nearest] == image[index]
    write_image(tmp_path / f"b{suffix}", found.array, grid=found.grid)
    back = sitk.ReadImage(str(tmp_path / f"b{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-4)


def test_bad_nrrd_and_metaimage(tmp_path):
    for suffix in (".nrrd", ".mha"):
        write_image(tmp_path / f"a{suffix}", scan(np.int16, (1, 30, 30, 30)))
        whole = (tmp_path / f"a{suffix}").read_bytes()
        for share in (0.001, 0.5):
            (tmp_path / f"a{suffix}").write_bytes(whole[: int(len(whole) * share)])
            refused(tmp_path / f"a{suffix}", "truncated, damaged")
    write_image(tmp_path / "b.mhd", scan(np.int16, (1, *SHAPE)))
    next(f for f in tmp_path.iterdir() if f.name.startswith("b") and f.suffix != ".mhd").unlink()
    refused(tmp_path / "b.mhd", "truncated, damaged")
    sitk.WriteImage(sitk.GetImageFromArray(scan(np.int16, (2, 3, 4, 5)), isVector=False), str(tmp_path / "four.nrrd"))
    refused(tmp_path / "four.nrrd", "give one volume of three axes")
    sitk.WriteImage(sitk.GetImageFromArray(np.full(SHAPE, np.nan, np.float32)), str(tmp_path / "nan.mha"))
    refused(tmp_path / "nan.mha", "60 of 60 voxels")


def test_what_holds_no_volume(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write volumes to '\.png'"):
        write_mask(tmp_path / "m.png", labels())
    with pytest.raises(OutputError, match=r"cannot write pictures to '\.nii'"):
        write_mask(tmp_path / "m.nii", labels((4, 5)))
    with pytest.raises(OutputError, match="JPEG changes"):
        write_mask(tmp_path / "m.jpg", labels())
    with pytest.raises(InputError, match="spacing of 2 numbers"):
        write_mask(tmp_path / "m.nii", labels(), grid=Grid(spacing=(1.0, 1.0), unit="mm"))
    assert list(tmp_path.iterdir()) == []


def test_a_volume_without_a_place_keeps_its_spacing(tmp_path):
    for suffix in (".nii.gz", ".nrrd", ".tif"):
        write_mask(tmp_path / f"m{suffix}", labels(), grid=Grid(spacing=(500.0, 250.0, 125.0), unit="um"))
    scans = [read_image(tmp_path / f"m{suffix}").grid for suffix in (".nii.gz", ".nrrd")]
    assert [grid.spacing for grid in scans] == [(0.5, 0.25, 0.125)] * 2
    assert nibabel.load(tmp_path / "m.nii.gz").shape == SHAPE[::-1]  # columns first, as other programs write
    assert read_image(tmp_path / "m.tif").grid == Grid(spacing=(500.0, 250.0, 125.0), unit="um")


def test_probabilities_of_volumes(tmp_path):
    array = RNG.random((2, *SHAPE), np.float32)
    for name in ("p.nii.gz", "p.tif"):
        write_probability(tmp_path / name, array)
        np.testing.assert_array_equal(read_image(tmp_path / name).array, array)


# --- DICOM

SLICES = 6


def save(folder, files):
    """Save in shuffled order under names that say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, k in enumerate(RNG.permutation(len(files))):
        files[k].save_as(folder / f"IM{name}", enforce_file_format=True)
    return folder


def stored():
    return RNG.integers(0, 4096, (SLICES, ROWS, COLUMNS)).astype(np.uint16)


def series_of(array, **changes):
    return [slice_of(k, array[k], **changes) for k in range(len(array))]


def test_dicom_series(tmp_path):
    array = stored()
    save(tmp_path / "a", series_of(array))
    image = read_image(tmp_path / "a")
    assert image.array.dtype == np.int16
    # Rows run to the back, columns to the left and slices up, so that this one is canonical but for the axes' order.
    np.testing.assert_array_equal(image.array[0], array.astype(int) - 1024)
    assert image.grid.spacing == (2.5, 0.5, 0.75)
    assert image.grid.axes == (3, 2, 1)
    assert image.grid.affine == (0, 0, -0.75, 10, 0, -0.5, 0, -5, 2.5, 0, 0, 100)
    assert image_size(tmp_path / "a") == (SLICES, ROWS, COLUMNS)
    assert is_series(tmp_path / "a")
    np.testing.assert_array_equal(read_mask(tmp_path / "a"), image.array[0])


def test_dicom_equals_simpleitk(tmp_path):
    direction = OBLIQUE @ np.array([[0, -1.0, 0], [0, 0, -1], [1, 0, 0]])
    files = series_of(stored(), ImageOrientationPatient=[*direction[:, 0].round(9), *direction[:, 1].round(9)])
    for k, file in enumerate(files):
        file.ImagePositionPatient = (np.array([1.0, 2, 3]) + 1.25 * k * direction[:, 2]).round(6).tolist()
    save(tmp_path / "a", files)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "a")))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "b.nrrd"))
    ours, theirs = read_image(tmp_path / "a"), read_image(tmp_path / "b.nrrd")
    np.testing.assert_array_equal(ours.array, theirs.array)
    np.testing.assert_allclose(ours.grid.affine, theirs.grid.affine, atol=1e-4)


def test_dicom_zip_file_and_frames_are_the_same_scan(tmp_path):
    files = series_of(stored())
    save(tmp_path / "a", files)
    (tmp_path / "a" / "LICENSE").write_text("no DICOM")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "a").iterdir():
            archive.write(file, f"../../x/{file.name}")
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=[files[k] for k in (3, 1, 0, 2, 5, 4)], series_instance_uid="1.2.5", series_number=2,
        sop_instance_uid="1.2.5.1", instance_number=1,
    )  # fmt: skip
    enhanced.save_as(tmp_path / "a.dcm")
    before = sorted(tmp_path.rglob("*"))
    whole = read_image(tmp_path / "a")
    for name in ("a.zip", "a.dcm"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, whole.array)
        assert image.grid == whole.grid
        assert image_size(tmp_path / name) == whole.shape
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "x").exists()


def test_dicom_values(tmp_path):
    array = stored()
    save(tmp_path / "pet", series_of(array, RescaleSlope=0.5, RescaleIntercept=1, Modality="PT"))
    image = read_image(tmp_path / "pet")
    assert image.array.dtype == np.float32
    np.testing.assert_allclose(image.array[0], array * 0.5 + 1)
    save(tmp_path / "raw", series_of(array, RescaleSlope=None, RescaleIntercept=None))
    assert read_image(tmp_path / "raw").array.dtype == np.uint16
    inverse = {"PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": 0}
    save(tmp_path / "mr", series_of(array, Modality="MR", **inverse))
    np.testing.assert_array_equal(read_image(tmp_path / "mr").array[0], 4095 - array)
    save(tmp_path / "ct", series_of(array, **inverse))
    np.testing.assert_array_equal(read_image(tmp_path / "ct").array[0], array)


def test_dicom_of_one_frame(tmp_path):
    array = stored()
    slice_of(0, array[0]).save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    image = read_image(tmp_path / "slice.dcm")
    assert image.array.shape == (1, 1, ROWS, COLUMNS)
    assert image.grid.spacing == (9.0, 0.5, 0.75)
    lacking = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    radiograph = slice_of(0, array[0], Modality="DX", ImagerPixelSpacing=[0.2, 0.2], **lacking)
    radiograph.save_as(tmp_path / "radiograph.dcm", enforce_file_format=True)
    image = read_image(tmp_path / "radiograph.dcm")
    assert image.array.shape == (1, ROWS, COLUMNS)
    assert image_size(tmp_path / "radiograph.dcm") == (ROWS, COLUMNS)
    assert image.grid == Grid(spacing=(0.2, 0.2), unit="mm")


def test_bad_series(tmp_path):
    array = stored()

    def check(name, words, files):
        refused(save(tmp_path / name, files), words)

    other = [slice_of(k, array[k], series="1.2.3.5", Modality="MR") for k in range(2)]
    check("mixed", r"mixes 2 series.*1\.2\.3\.4 \(CT, 6 files\), 1\.2\.3\.5 \(MR, 2 files\)", series_of(array) + other)
    check("gap", r"misses 2 slices of a spacing of 2\.5 mm: 2 between IM\d and IM\d \(102\.50 mm\)",
          [file for k, file in enumerate(series_of(array)) if k not in (2, 3)])  # fmt: skip
    twice = series_of(array)
    twice[3].ImagePositionPatient = twice[2].ImagePositionPatient
    check("twice", r"equal positions, for example IM\d and IM\d at 105\.00 mm", twice)
    tilted = series_of(array)
    uneven = series_of(array)
    for k in range(SLICES):
        tilted[k].ImagePositionPatient = [-10.0, 5.0 + 0.5 * k, 100 + 2.5 * k]
        uneven[k].ImagePositionPatient = [-10.0, 5.0, 100 + 2.5 * 1.2**k]
    check("tilted", r"sheared.*11\.3 degrees.*gantry tilt", tilted)
    check("uneven", r"0\.5 to 1\.0368 mm apart", uneven)
    check("placeless", "in frame 1 no image position", series_of(array, ImagePositionPatient=None))
    check("pixels", "in frame 1 no PixelSpacing", series_of(array, PixelSpacing=None))
    turned = series_of(array)
    turned[1].ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
    check("localiser", "differ in directions", turned)
    sizes = series_of(array)
    sizes[0].Rows = 2
    check("sizes", "several sizes", sizes)
    cut = series_of(array)
    cut[2].PixelData = cut[2].PixelData[:20]
    check("cut", "truncated or damaged", cut)
    table = slice_of(0, array[0], Rows=None)
    check("report", "without an image", [table])
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.txt").write_text("none")
    refused(tmp_path / "none", "is a folder that holds no DICOM")
    (tmp_path / "text.dcm").write_text("none")
    refused(tmp_path / "text.dcm", "holds no DICOM", reads=(read_image, read_mask, image_size))
    slice_of(0, array[0], SliceThickness=None).save_as(tmp_path / "thin.dcm", enforce_file_format=True)
    refused(tmp_path / "thin.dcm", "unknown thickness")


def test_encodings_that_cannot_be_read(tmp_path):
    file = slice_of(0, stored()[0])
    file.file_meta.TransferSyntaxUID = "1.2.3.4.5.6"
    file.save_as(tmp_path / "unknown.dcm", implicit_vr=False, little_endian=True, enforce_file_format=True)
    refused(tmp_path / "unknown.dcm", r"transfer syntax 1\.2\.3\.4\.5\.6")
    file = slice_of(0, stored()[0])
    file.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    file.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    file["PixelData"].VR = "OB"
    file.save_as(tmp_path / "jpeg.dcm", enforce_file_format=True)
    assert image_size(tmp_path / "jpeg.dcm") == (1, ROWS, COLUMNS)
    if not pydicom.pixels.get_decoder(pydicom.uid.JPEGLosslessSV1).is_available:
        refused(tmp_path / "jpeg.dcm", "no decoder.*pip install pylibjpeg")


def test_rle_is_decoded(tmp_path):
    array = stored()
    files = series_of(array)
    for file in files:
        file.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    save(tmp_path / "rle", files)
    np.testing.assert_array_equal(read_image(tmp_path / "rle").array[0], array.astype(int) - 1024)


def test_bad_archives(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("a.txt", "none")
    refused(tmp_path / "empty.zip", "holds no DICOM")
    save(tmp_path / "a", series_of(stored()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "a").iterdir():
            archive.write(file, file.name)
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[60:90] = bytes(30)
    (tmp_path / "b.zip").write_bytes(whole)
    refused(tmp_path / "b.zip", "truncated or damaged")
    (tmp_path / "c.zip").write_bytes(whole[:200])
    refused(tmp_path / "c.zip", r"c\.zip")
    assert LARGEST_ARCHIVE >= 1 << 30
    monkeypatch.setattr("catenary.io.dicomseries.LARGEST_ARCHIVE", 1000)
    refused(tmp_path / "a.zip", "more than the 1000")


def test_find_images(tmp_path):
    write_image(tmp_path / "b.nii.gz", scan(np.int16, (1, *SHAPE)))
    write_image(tmp_path / "c.png", labels((4, 5)))
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "notes.txt").touch()
    save(tmp_path / "1.2.3.4", series_of(stored()))
    for k, file in enumerate(series_of(stored()[:2])):
        file.SeriesInstanceUID = f"1.2.{k}"
        (tmp_path / "single").mkdir(exist_ok=True)
        file.save_as(tmp_path / "single" / f"{k}.dcm", enforce_file_format=True)
    assert [f.name for f in find_images(tmp_path)] == ["1.2.3.4", "b.nii.gz", "c.png"]
    assert [stem(f) for f in find_images(tmp_path, depth=2)] == ["1.2.3.4", "b", "c", "0", "1"]
    assert not is_series(tmp_path / "single")


@settings(max_examples=80, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".dcm", ".zip", ".nii", ".nii.gz", ".nrrd", ".mha", ".tif"]))
@pytest.mark.filterwarnings("ignore")  # what pydicom finds odd in a damaged header it says as warnings
def test_damaged_scans_never_crash(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("d") / f"a{suffix}"
    if suffix in (".dcm", ".zip"):
        buffer = io.BytesIO()
        slice_of(0, np.arange(ROWS * COLUMNS)).save_as(buffer, enforce_file_format=True)
        path.write_bytes(buffer.getvalue())
        if suffix == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("a.dcm", buffer.getvalue())
    else:
        array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(1, *SHAPE)
        write_image(path, array, grid=Grid(spacing=(1.0, 2.0, 3.0), unit="mm"))
    read_damaged(path, data)


# --- DICOM-SEG


@pytest.fixture
def study(tmp_path):
    """A series as folder, archive and one file of frames, seen from the front so that turning matters."""
    files = series_of(stored(), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    for k, file in enumerate(files):
        file.ImagePositionPatient = [-10.0, 5.0 - 2.5 * k, 100.0]
    save(tmp_path / "a", files)
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=[files[k] for k in (3, 1, 0, 2, 5, 4)], series_instance_uid="1.2.5", series_number=2,
        sop_instance_uid="1.2.5.1", instance_number=1,
    )  # fmt: skip
    enhanced.save_as(tmp_path / "a.dcm")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in (tmp_path / "a").iterdir():
            archive.write(file, file.name)
    return tmp_path


@pytest.mark.parametrize("name", ["a", "a.zip", "a.dcm"])
def test_segmentations_lie_on_their_source(study, name):
    image = read_image(study / name)
    label = labels(image.shape, 4)
    label[:, 0] = 0  # an empty slice at the end, which the file leaves out
    label[2, 3, 2] = 255
    write_dicom_seg(study / "seg.dcm", label, source=study / name, names=["none", "Liver", "edema", "thing 3"])
    expected = np.where(label == 255, 0, label)
    np.testing.assert_array_equal(read_dicom_seg(study / "seg.dcm", source=study / name), expected)
    file = highdicom.seg.segread(study / "seg.dcm")
    assert file.SegmentationType == "BINARY"
    assert [(s.SegmentLabel, s.segmented_property_type.meaning) for s in file.SegmentSequence] == [
        ("Liver", "Liver"), ("edema", "Edema"), ("thing 3", "Tissue"),
    ]  # fmt: skip
    assert file.SegmentSequence[0].SegmentAlgorithmName == "catenary"
    plain = pydicom.dcmread(study / "seg.dcm")
    assert plain.SOPClassUID == pydicom.uid.SegmentationStorage
    np.testing.assert_array_equal(plain.pixel_array, file.pixel_array)
    # Each frame, as any program sees it, is that of the source slice at its position.
    there = np.reshape(image.grid.affine, (3, 4))
    frames = file.pixel_array
    for pixels, groups in zip(frames, file.PerFrameFunctionalGroupsSequence, strict=True):
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        back = -float(groups.PlanePositionSequence[0].ImagePositionPatient[1])
        row = round((back - there[1, 3]) / there[1, 1])
        np.testing.assert_array_equal(pixels, (expected[::-1, row] == segment))  # the first row is at the top
    assert len(frames) == sum(len(set(np.unique(expected[:, row])) - {0}) for row in range(SLICES))


def test_segmentations_are_masks_and_no_images(study):
    image = read_image(study / "a")
    label = labels(image.shape, 2)
    label[:, [0, -1]] = 1  # at both ends, so that nothing is cut off
    write_dicom_seg(study / "a" / "seg.dcm", label, source=study / "a", names=["none", "lesion"])
    np.testing.assert_array_equal(read_mask(study / "a" / "seg.dcm"), label)
    np.testing.assert_array_equal(read_image(study / "a").array, image.array)  # it may lie beside its source
    refused(study / "a" / "seg.dcm", "without an image", reads=(read_image,))


def test_bad_segmentations(study):
    label = labels(read_image(study / "a").shape, 3)
    with pytest.raises(InputError, match="class 2 but names"):
        write_dicom_seg(study / "s.dcm", label, source=study / "a", names=["none", "lesion"])
    with pytest.raises(InputError, match="give the series that was segmented"):
        write_dicom_seg(study / "s.dcm", label[1:], source=study / "a", names=["none", "a", "b"])
    with pytest.raises(InputError, match="no DICOM segmentation"):
        read_dicom_seg(study / "a.dcm")
    for file in (study / "a").iterdir():
        lacking = pydicom.dcmread(file)
        del lacking.StudyInstanceUID
        lacking.save_as(file)
    with pytest.raises(InputError, match=r"StudyInstanceUID.*complete the headers"):
        write_dicom_seg(study / "s.dcm", label, source=study / "a", names=["none", "a", "b"])
    assert not (study / "s.dcm").exists()


def test_an_empty_segmentation(study):
    image = read_image(study / "a")
    label = np.zeros(image.shape, np.uint8)
    write_dicom_seg(study / "s.dcm", label, source=study / "a", names=["none", "lesion"])
    np.testing.assert_array_equal(read_dicom_seg(study / "s.dcm", source=study / "a"), label)


# --- TIFF stacks


def test_stacks_of_other_programs(tmp_path):
    stack = RNG.integers(0, 9, (3, 6, 7)).astype(np.uint16)
    spaced = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "imagej.tif", stack, imagej=True, metadata=spaced, resolution=(4.0, 2.0))
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"} | size)
    tifffile.imwrite(tmp_path / "shaped.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    for name in ("imagej.tif", "a.ome.tif", "shaped.tif"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, stack[None])
        assert image_size(tmp_path / name) == stack.shape
        np.testing.assert_array_equal(read_mask(tmp_path / name), stack)
        expected = Grid() if name == "shaped.tif" else Grid(spacing=(2.0, 0.5, 0.25), unit="um")
        assert image.grid == expected, name
    many = RNG.integers(0, 9, (20, 6, 7)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "plain.tif") as file:
        for page in many:
            file.write(page, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "plain.tif").array, many[None])
    both = RNG.integers(0, 9, (3, 2, 6, 7)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "zc.tif", both, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "zc.tif").array, both.swapaxes(0, 1))
    rgb = RNG.integers(0, 9, (3, 6, 7, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb", metadata={"axes": "ZYXS"})
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.tif").array, np.moveaxis(rgb, -1, 0))
    refused(tmp_path / "rgb.tif", "a volume's mask holds one whole number", reads=(read_mask,))
    refused(tmp_path / "zc.tif", "2 channels", reads=(read_mask,))


def test_stacks_without_a_depth_have_no_spacing(tmp_path):
    stack = np.zeros((3, 6, 7), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZYX", "unit": "um"}, resolution=(4.0, 2.0)
    )
    assert read_image(tmp_path / "a.tif").grid == Grid()
    tifffile.imwrite(tmp_path / "b.ome.tif", stack, metadata={"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 1})
    assert read_image(tmp_path / "b.ome.tif").grid == Grid()


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.float32]),
)
def test_written_stacks_come_back(tmp_path_factory, shape, dtype):
    path = tmp_path_factory.mktemp("t") / "a.tif"
    affine = tuple(affine_of(OBLIQUE)[:3].ravel())
    grid = Grid(spacing=(2.0, 0.5, 0.25), unit="mm", affine=affine)
    array = scan(dtype, shape)
    write_image(path, array, grid=grid)
    image = read_image(path)
    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array, array)
    assert image.grid == grid
    assert image_size(path) == shape[1:]
    if shape[0] == 1:
        np.testing.assert_array_equal(read_mask(path), array[0])


def test_stack_in_another_program(tmp_path):
    label = labels((4, 6, 7))
    write_mask(tmp_path / "m.tif", label, colours=[(0, 0, 0), (9, 9, 9)], grid=Grid(spacing=(2, 0.5, 0.25), unit="um"))
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        assert file.series[0].axes == "ZYX"
        np.testing.assert_array_equal(file.asarray(), label)
        assert 'PhysicalSizeZ="2"' in file.ome_metadata
        assert 'PhysicalSizeXUnit="µm"' in file.ome_metadata


# --- real scans


@pytest.mark.real
def test_real_hippocampus(real_data):
    folder = real_data("hippocampus")
    for path in find_images(folder / "imagesTr")[:4]:
        image, label = read_image(path), read_mask(folder / "labelsTr" / path.name)
        assert image.shape == label.shape == image_size(path)
        assert image.array.dtype in (np.uint8, np.float32, np.int16)
        assert set(np.unique(label)) == {0, 1, 2}
        plain = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata()  # to the right, front and head
        np.testing.assert_array_equal(image.array[0], plain.transpose(2, 1, 0)[:, ::-1, ::-1].astype(np.float32))
