"""Georeferenced rasters read by windows, and two of one place laid onto each other."""

import re

import cv2
import numpy as np
import pytest

from catenary.align import Aligned, Alignment, align_rasters, read_alignment
from catenary.align.alignment import _whole_shift
from catenary.align.blocks import edges, shift_between
from catenary.align.field import smooth_field
from catenary.cli.main import main
from catenary.errors import ConfigError, InputError, OutputError
from catenary.io.raster import Pixels, open_raster
from catenary.types import Image
from catenary.workflow import align
from rasters import ORIGIN, UTM, displaced, town, write

rasterio = pytest.importorskip("rasterio")


def plain(array, valid=None):
    return Pixels(Image(array=array, valid=valid))


# Rasters


def test_windows_are_those_of_the_file_and_beyond_it_there_is_no_data(tmp_path):
    array = town(100)
    with open_raster(write(tmp_path / "a.tif", array)) as raster:
        assert (raster.shape, raster.bands, raster.dtype) == ((100, 100), 3, "uint8")
        assert (raster.grid.crs, raster.grid.spacing, raster.grid.unit) == (UTM, (0.5, 0.5), "m")
        window = raster.read(10, 20, 30, 40)
        np.testing.assert_array_equal(window.array, array[:, 10:40, 20:60])
        assert window.valid.all()
        assert window.grid.affine[2] == ORIGIN[0] + 10
        assert window.grid.affine[5] == ORIGIN[1] - 5
        edge = raster.read(-5, 90, 20, 20)
        np.testing.assert_array_equal(edge.array[:, 5:, :10], array[:, :15, 90:])
        assert edge.valid.sum() == 15 * 10
        assert not edge.valid[:5].any()
        assert not raster.read(500, 0, 8, 8).valid.any()
        assert raster.overview(25).shape == (25, 25)


def test_an_image_in_memory_is_read_like_a_file(tmp_path):
    array = town(100)
    with open_raster(write(tmp_path / "a.tif", array)) as raster:
        memory = Pixels(raster.read(0, 0, 100, 100))
        assert (memory.shape, memory.grid) == (raster.shape, raster.grid)
        for window in ((10, 20, 30, 40), (-5, 90, 20, 20), (500, 0, 8, 8), (-40, -40, 20, 20), (90, -10, 30, 200)):
            one, other = memory.read(*window), raster.read(*window)
            np.testing.assert_array_equal(one.array, other.array)
            np.testing.assert_array_equal(one.valid, other.valid)
            assert one.grid == other.grid
    assert memory.overview(30).shape == (25, 25)


def test_nodata_alpha_and_masks_say_where_nothing_is_known(tmp_path):
    array = town(64)
    array[:, :, :8] = 0
    with open_raster(write(tmp_path / "n.tif", array, nodata=0)) as raster:
        assert not raster.read(0, 0, 64, 64).valid[:, :8].any()
    alpha = np.full((1, 64, 64), 255, np.uint8)
    alpha[:, :, 50:] = 0
    path = write(tmp_path / "a.tif", np.concatenate([array, alpha]))
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:3], rasterio.enums.ColorInterp.alpha]
    with open_raster(path) as raster:
        assert raster.bands == 3
        assert raster.read(0, 0, 64, 64).valid.sum() == 64 * 50


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio, with affine 3
def test_another_crs_and_resolution_are_warped_window_by_window(tmp_path):
    """The same ground in degrees and in metres."""
    from rasterio.warp import calculate_default_transform, reproject

    array = town(256)
    plain = write(tmp_path / "utm.tif", array)
    with rasterio.open(plain) as file:
        transform, width, height = calculate_default_transform(file.crs, "EPSG:4326", 256, 256, *file.bounds)
        turned = np.zeros((3, height, width), np.uint8)
        reproject(array, turned, src_transform=file.transform, src_crs=file.crs, dst_transform=transform,
                  dst_crs="EPSG:4326", resampling=rasterio.enums.Resampling.cubic)  # fmt: skip
    degrees = write(tmp_path / "wgs.tif", turned, crs="EPSG:4326", transform=transform)
    with open_raster(plain) as first, open_raster(degrees) as second, second.onto(first) as view:
        assert view.shape == first.shape
        assert view.bands == 3
        whole = view.read(0, 0, 256, 256)
        assert np.abs(whole.array[:, 20:-20, 20:-20].astype(int) - array[:, 20:-20, 20:-20]).mean() < 4
        part = view.read(100, 60, 50, 70)
        np.testing.assert_array_equal(part.array, whole.array[:, 100:150, 60:130])
        assert second.grid.spacing is None  # degrees are no lengths


@pytest.mark.parametrize(
    ("make", "crs", "message"),
    [
        (lambda p: p / "absent.tif", None, "there is no file .*absent.tif"),
        (lambda p: p, None, "is a folder; give a georeferenced image"),
        (lambda p: write(p / "a.tif", town(32), crs=None), None, "states no coordinate reference system; name it"),
        (lambda p: write(p / "a.tif", town(32)), "EPSG:4326", "states EPSG:32637, found EPSG:4326 given"),
        (lambda p: write(p / "a.tif", town(32), crs=None), "EPSG:1", "'EPSG:1' is no coordinate reference system"),
        (lambda p: write(p / "a.tif", town(32), transform=rasterio.Affine.identity()), None, "no place on earth"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_its_place_is_refused(make, crs, message, tmp_path):
    with pytest.raises(InputError, match=message):
        open_raster(make(tmp_path), crs=crs)


def test_a_named_crs_serves_a_file_without_one(tmp_path):
    with open_raster(write(tmp_path / "a.tif", town(32), crs=None), crs=UTM) as raster:
        assert raster.grid.crs == UTM


@pytest.mark.parametrize("kept", [0, 100, 20_000])
def test_a_truncated_raster_is_said(kept, tmp_path):
    path = write(tmp_path / "a.tif", town(128))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="cannot be read") as told, open_raster(path) as raster:
        raster.read(0, 0, 128, 128)
    assert "previous exception" not in str(told.value)


# Blocks


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.4, -7.7), (-19.5, 19.5)])
@pytest.mark.parametrize("gamma", [0.5, -1.0])
def test_a_block_is_found_to_a_fraction_of_a_pixel_whatever_its_colours(shift, gamma):
    """A gamma, and light turned to dark."""
    array = town(192)
    later = displaced(array, *shift)
    later = 255 - later if gamma < 0 else (255 * (later / 255.0) ** gamma).astype(np.uint8)
    first = Image(array=array[:, 48:-48, 48:-48])
    found = shift_between(first, Image(array=later[:, 24:-24, 24:-24]), reach=24)
    assert np.hypot(found.rows - shift[0], found.columns - shift[1]) < 0.25
    assert found.confidence > 0.4


def test_unrelated_blocks_and_empty_ones_are_not_trusted():
    first = Image(array=town(128, seed=1)[:, 16:-16, 16:-16])
    assert shift_between(first, Image(array=town(128, seed=2)), reach=16).confidence < 0.15
    nothing = Image(array=np.zeros((3, 128, 128), np.uint8), valid=np.zeros((128, 128), bool))
    assert shift_between(first, nothing, reach=16).confidence == 0
    flat = Image(array=np.full((3, 128, 128), 7, np.uint8))
    assert shift_between(first, flat, reach=16).confidence == 0


def test_edges_of_the_unknown_are_no_edges():
    array = np.full((1, 64, 64), 200, np.uint8)
    array[:, :, 32:] = 0
    field, known = edges(Image(array=array, valid=array[0] > 0))
    assert not known[:, 28:].any()
    assert np.abs(field).max() == 0
    assert np.abs(edges(Image(array=array))[0]).max() > 0.5


# Fields


def test_blocks_that_depart_from_their_neighbours_are_dropped_and_gaps_are_filled():
    rows = columns = np.arange(9) * 100.0
    y, x = np.meshgrid(rows, columns, indexing="ij")
    truth = np.stack([2 + 0.004 * y, -3 + 0.002 * x], axis=-1)
    rng = np.random.default_rng(0)
    shifts, confidence = truth + rng.normal(0, 0.05, truth.shape), np.full((9, 9), 0.6)
    for i, j in ((2, 3), (6, 6), (4, 1)):
        shifts[i, j] = rng.uniform(-30, 30, 2)
    confidence[3:5, 4:7] = 0.02
    shifts[3:5, 4:7] = 99
    field = smooth_field(rows, columns, shifts, confidence)
    assert np.abs(field.shifts - truth).max() < 0.3
    assert field.confidence[0, 0] > 0.5 > field.confidence[4, 5]
    nothing = smooth_field(rows, columns, shifts, np.zeros((9, 9)))
    assert not nothing.shifts.any()
    assert not nothing.confidence.any()


def test_few_blocks_give_their_median():
    rows, columns = np.array([10.0, 90.0]), np.array([10.0])
    field = smooth_field(rows, columns, np.array([[[1.0, 2.0]], [[1.2, 2.2]]]), np.full((2, 1), 0.5))
    np.testing.assert_allclose(field.shifts, np.broadcast_to([1.1, 2.1], (2, 1, 2)))


# Whole images


@pytest.fixture(scope="module")
def pair():
    """A town and its displaced later image: smooth shifts up to 9 pixels, a gamma, a third without data."""
    array = town(640)
    y, x = np.indices((640, 640)) / 640
    truth = np.stack([6 + 3 * np.sin(3 * y), -5 + 3 * x])
    later = (255 * (displaced(array, *truth) / 255.0) ** 1.6).astype(np.uint8)
    noise = cv2.GaussianBlur(np.random.default_rng(3).normal(size=(640, 640)).astype(np.float32), (0, 0), 40)
    return array, later, noise > np.quantile(noise, 0.3), truth


def test_a_smooth_displacement_is_found_within_half_a_pixel(pair):
    array, later, valid, truth = pair
    found = align_rasters(plain(array), plain(later, valid), block=128, reach=16)
    error = np.linalg.norm(found.at(0, 0, 640, 640) - truth, axis=0)[40:-40, 40:-40]
    assert np.median(error) < 0.25
    assert np.quantile(error, 0.95) < 0.6
    assert found.unsure < 0.1
    view = Aligned(plain(later, valid), found)
    part, again = view.read(100, 120, 200, 180), view.read(150, 170, 50, 60)
    np.testing.assert_array_equal(part.array[:, 50:100, 50:110], again.array)
    same = (255 * (array[:, 100:300, 120:300] / 255.0) ** 1.6)[:, part.valid]
    apart = [np.abs(a[:, part.valid] - same).mean() for a in (part.array, later[:, 100:300, 120:300])]
    assert apart[0] < 0.4 * apart[1]


def test_an_alignment_is_kept_in_a_small_file(pair, tmp_path):
    array, later, valid, _ = pair
    found = align_rasters(plain(array), plain(later, valid), block=160, reach=16)
    again = read_alignment(found.save(tmp_path / "a.json"))
    assert isinstance(again, Alignment)
    np.testing.assert_allclose(again.at(3, 5, 70, 90), found.at(3, 5, 70, 90), atol=1e-3)
    np.testing.assert_array_equal(again.reliable, found.reliable)
    for text in ("", "{}", '{"format": "other"}'):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(InputError, match=r"b\.json (is no alignment|has the format)"):
            read_alignment(tmp_path / "b.json")
    with pytest.raises(InputError, match="there is no file"):
        read_alignment(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"is of rasters of \(640, 640\), found \(32, 32\)"):
        Aligned(plain(town(32)), found)


def test_what_cannot_be_aligned_is_said():
    one = plain(town(128))
    with pytest.raises(ConfigError, match="block = 16 and reach = 32 find nothing"):
        align_rasters(one, one, block=16)
    with pytest.raises(InputError, match="one size, found"):
        align_rasters(one, plain(town(96)))
    with pytest.raises(InputError, match="no pixel in common"):
        align_rasters(one, plain(town(128), np.zeros((128, 128), bool)))


def test_the_command_writes_the_shift_and_a_picture(tmp_path, capsys):
    array = town(400)
    later = displaced(array, 40.0, -12.0)  # farther than the blocks look: the overview tells
    before, after = write(tmp_path / "before.tif", array), write(tmp_path / "after.tif", later, crs=None)
    given = ["align", str(before), str(after), "--out", str(tmp_path / "out"), "--block", "96"]
    assert main(given) == 2
    assert "after.tif states no coordinate reference system" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*given, "--post-crs", UTM, "--reach", "16"]) == 0
    told = re.search(
        r"Median shift ([+-][\d.]+) rows, ([+-][\d.]+) columns; the largest 41.* m", capsys.readouterr().out
    )
    assert [float(number) for number in told.groups()] == pytest.approx([40, -12], abs=0.05)
    assert read_alignment(tmp_path / "out" / "alignment.json").shape == (400, 400)
    picture = cv2.imread(str(tmp_path / "out" / "alignment.png"))
    assert picture.shape == (400, 808, 3)
    with pytest.raises(OutputError, match="already holds an alignment"):
        align(before, before, out=tmp_path / "out")


def test_images_of_two_places_are_not_shifted_and_it_is_said(tmp_path, capsys):
    paths = [write(tmp_path / f"{seed}.tif", town(320, seed)) for seed in (1, 2)]
    with open_raster(paths[0]) as first, open_raster(paths[1]) as second:
        assert _whole_shift(first, second, 16) == (0, 0)
    found = align(*paths, out=tmp_path / "out", block=96, reach=16)
    assert found.alignment.unsure > 0.9
    assert found.notes


@pytest.mark.real
def test_a_real_pair_of_two_crs_agrees_to_a_pixel_or_two(real_data, tmp_path):
    folder = real_data("joplin-mixed-crs")
    found = align(next((folder / "pre").glob("*337*")), next((folder / "post").glob("*31500*")), out=tmp_path / "out")
    assert 0.5 < found.shift[0] < 2
    assert 0.3 < found.shift[1] < 1.8
    assert found.alignment.unsure < 0.35
