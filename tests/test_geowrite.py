"""Georeferenced rasters written window by window, as COGs, and in another CRS."""

import contextlib
import resource

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")

from rasterio.crs import CRS  # noqa: E402

from catenary.errors import CatenaryError, ConfigError, InputError, OutputError  # noqa: E402
from catenary.io.geowrite import raster_writer, to_cog, warp_raster  # noqa: E402
from catenary.io.raster import open_raster  # noqa: E402
from catenary.types import Grid  # noqa: E402
from rasters import ORIGIN, UTM, town, write  # noqa: E402

GRID = Grid(affine=(0.5, 0.0, ORIGIN[0], 0.0, -0.5, ORIGIN[1]), crs=UTM)
TURNED = Grid(affine=(0.4, 0.3, ORIGIN[0], 0.3, -0.4, ORIGIN[1]), crs=CRS.from_epsg(32637).to_wkt())


def write_all(path, array, valid=None, *, step=300, grid=GRID, **more):
    """In windows that fit no block, from the last to the first."""
    more = {"bands": len(array), "dtype": str(array.dtype)} | more
    with raster_writer(path, shape=array.shape[1:], grid=grid, **more) as raster:
        for row in reversed(range(0, array.shape[1], step)):
            for column in range(0, array.shape[2], step):
                part = (slice(row, row + step), slice(column, column + step))
                raster.write(row, column, array[:, *part], None if valid is None else valid[part])
    return path


@pytest.mark.parametrize("grid", [GRID, TURNED], ids=["upright", "turned"])
@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint8"), (2, "uint16"), (1, "float32")])
def test_what_is_written_is_read_back(tmp_path, bands, dtype, grid):
    array = (np.random.default_rng(0).random((bands, 600, 700)) * 200).astype(dtype)
    valid = np.random.default_rng(1).random((600, 700)) > 0.3
    names = [f"band {i}" for i in range(bands)]
    path = write_all(tmp_path / "new" / "a.tif", array, valid, grid=grid, mask=True, descriptions=names)
    with open_raster(path) as raster:
        image = raster.read(0, 0, 600, 700)
        assert raster.bands == bands
        assert raster.grid.affine == pytest.approx(grid.affine)
        assert raster.grid.crs == UTM
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(image.valid, valid)
    with rasterio.open(path) as file:
        assert file.descriptions == tuple(names)
        assert file.compression.name == "zstd"
        assert file.block_shapes[0] == (512, 512)
        assert all("per_dataset" in {flag.name for flag in flags} for flags in file.mask_flag_enums)
    assert [file.name for file in path.parent.iterdir()] == ["a.tif"]


def test_without_a_mask_the_nodata_value_stands(tmp_path):
    array = np.full((1, 40, 50), 7, np.int16)
    valid = np.zeros((40, 50), bool)
    valid[:, 20:] = True
    path = write_all(tmp_path / "a.tif", array, valid, nodata=-9, block=16)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), np.where(valid, 7, -9))
        np.testing.assert_array_equal(file.dataset_mask() > 0, valid)
    with pytest.raises(ConfigError, match="neither"):
        write_all(tmp_path / "b.tif", array, valid)
    assert not (tmp_path / "b.tif").exists()


def test_what_no_window_covers_has_no_data(tmp_path):
    with raster_writer(tmp_path / "a.tif", shape=(60, 60), grid=GRID, mask=True, block=16) as raster:
        raster.write(20, 30, np.full((1, 10, 10), 5, np.uint8))
    with rasterio.open(tmp_path / "a.tif") as file:
        covered = file.dataset_mask() > 0
        assert covered.sum() == 100
        np.testing.assert_array_equal(file.read(1), 5 * covered)


def test_a_raster_that_nobody_writes_to_has_no_data(tmp_path):
    with raster_writer(tmp_path / "a.tif", shape=(60, 60), grid=GRID, mask=True):
        pass
    with rasterio.open(tmp_path / "a.tif") as file:
        assert not file.dataset_mask().any()


@pytest.mark.parametrize(("resampling", "value"), [("nearest", 5), ("mode", 9), ("average", 8)])
def test_overviews_are_made_as_asked(tmp_path, resampling, value):
    array = np.full((1, 600, 600), 9, np.uint8)
    array[:, ::2, ::2] = 5
    write_all(tmp_path / "a.tif", array)
    to_cog(tmp_path / "a.tif", tmp_path / "b.tif", resampling=resampling)
    with rasterio.open(tmp_path / "b.tif", overview_level=0) as small:
        assert small.shape == (300, 300)
        assert (small.read(1) == value).all()


def test_a_cog_keeps_colours_and_mask(tmp_path):
    array = np.random.default_rng(0).integers(0, 5, (1, 1100, 1300), dtype=np.uint8)
    valid = np.ones(array.shape[1:], bool)
    valid[:200] = False
    colours = {0: (0, 0, 0), 1: (0, 200, 0), 4: (255, 0, 30)}
    write_all(tmp_path / "a.tif", array, valid, mask=True, colours=colours, grid=TURNED)
    told = []
    to_cog(tmp_path / "a.tif", tmp_path / "b.tif", resampling="mode", progress=lambda *step: told.append(step[1:]))
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2, 4]
        assert {value: file.colormap(1)[value][:3] for value in colours} == colours
        assert {flag.name for flag in file.mask_flag_enums[0]} == {"per_dataset"}
        np.testing.assert_array_equal(file.read(1)[valid], array[0][valid])
        np.testing.assert_array_equal(file.dataset_mask() > 0, valid)
        assert tuple(file.transform)[:6] == pytest.approx(TURNED.affine)
    assert told == [(0, 1), (1, 1)]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_another_crs_shows_the_same_ground(tmp_path):
    pixels = town(400)
    valid = np.ones((400, 400), bool)
    valid[:, :80] = False
    write_all(tmp_path / "a.tif", pixels, valid, mask=True)
    warp_raster(tmp_path / "a.tif", tmp_path / "b.tif", crs="EPSG:32638", resolution=1.0, resampling="average")
    with open_raster(tmp_path / "a.tif") as first, open_raster(tmp_path / "b.tif") as second:
        assert second.grid.crs == "EPSG:32638"
        assert second.grid.spacing == (1.0, 1.0)
        back = second.onto(first).read(0, 0, 400, 400)
    inside = back.valid[10:-10, 90:-10]
    assert inside.mean() > 0.99
    assert not back.valid[:, :70].any()
    difference = back.array.astype(float) - pixels
    assert np.abs(difference[:, 10:-10, 90:-10]).mean() < 0.25 * pixels.std()


def test_a_warped_turned_raster_loses_no_corner(tmp_path):
    write_all(tmp_path / "a.tif", np.full((1, 300, 200), 9, np.uint8), grid=TURNED)
    warp_raster(tmp_path / "a.tif", tmp_path / "b.tif", crs=UTM, resolution=0.5, resampling="nearest")
    with open_raster(tmp_path / "b.tif") as raster:
        image = raster.read(0, 0, *raster.shape)
    assert raster.shape == (300 * 4 // 5 + 200 * 3 // 5, 300 * 3 // 5 + 200 * 4 // 5)
    assert image.valid.sum() == pytest.approx(300 * 200, rel=0.02)
    assert set(image.array[0][image.valid].tolist()) == {9}


def test_warping_keeps_nodata_and_colours(tmp_path):
    array = np.random.default_rng(0).integers(1, 4, (1, 100, 100), dtype=np.uint8)
    array[:, :30] = 0
    write_all(tmp_path / "a.tif", array, nodata=0, colours={1: (9, 8, 7)}, descriptions=["damage"])
    warp_raster(tmp_path / "a.tif", tmp_path / "b.tif", crs="EPSG:4326", resampling="nearest")
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.nodata == 0
        assert file.colormap(1)[1][:3] == (9, 8, 7)
        assert file.descriptions == ("damage",)
        assert 0.6 < (file.dataset_mask() > 0).mean() < 0.8


@pytest.fixture
def full_disk():
    """A function that lets no file grow beyond some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97, 0.9999])
@pytest.mark.parametrize("cog", [False, True])
def test_a_full_disk_leaves_nothing(tmp_path, full_disk, share, cog):
    array = np.random.default_rng(0).integers(0, 256, (3, 600, 700), dtype=np.uint8)

    def act(path):
        return to_cog(source, path) if cog else write_all(path, array, mask=True)

    source = write_all(tmp_path / "source.tif", array, mask=True)
    size = act(tmp_path / "whole.tif").stat().st_size
    full_disk(int(size * share))
    with pytest.raises(OutputError, match=r"cannot write .*a\.tif: .*free space"):
        act(tmp_path / "a.tif")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["source.tif", "whole.tif"]


def test_an_error_in_between_leaves_the_older_file(tmp_path):
    path = write_all(tmp_path / "a.tif", np.ones((1, 20, 20), np.uint8))
    with contextlib.suppress(RuntimeError), raster_writer(path, shape=(20, 20), grid=GRID) as raster:
        raster.write(0, 0, np.zeros((1, 20, 20), np.uint8))
        raise RuntimeError
    with rasterio.open(path) as file:
        assert file.read(1).all()
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def bad(tmp_path, what):
    source = write(tmp_path / "source.tif", town(64))
    shape, ones = (20, 20), np.ones((1, 20, 20), np.uint8)
    (tmp_path / "file").write_text("")
    match what:
        case "bands":
            write_all(tmp_path / "a.tif", np.ones((3, 20, 20), np.uint8), colours={1: (1, 2, 3)})
        case "crs":
            write_all(tmp_path / "a.tif", ones, grid=Grid(affine=GRID.affine, crs="EPSG:1"))
        case "folder":
            write_all(tmp_path / "file" / "a.tif", ones)
        case "outside":
            with raster_writer(tmp_path / "a.tif", shape=shape, grid=GRID) as raster:
                raster.write(10, 0, ones)
        case "source":
            to_cog(tmp_path / "none.tif", tmp_path / "a.tif")
        case "target":
            warp_raster(source, tmp_path / "a.tif", crs="utm")
        case "resampling":
            warp_raster(source, tmp_path / "a.tif", crs=UTM, resampling="bilinaer")
        case "resolution":
            warp_raster(source, tmp_path / "a.tif", crs=UTM, resolution=0)


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("bands", ConfigError, "one band of uint8, found 3"),
        ("crs", InputError, "EPSG:1"),
        ("folder", OutputError, "cannot write"),
        ("outside", OutputError, "cannot write"),
        ("source", InputError, "there is no file"),
        ("target", InputError, "'utm' is no coordinate reference system"),
        ("resampling", ConfigError, "did you mean 'bilinear'"),
        ("resolution", ConfigError, "found 0"),
    ],
)
def test_bad_requests_say_so_and_leave_nothing(tmp_path, what, kind, message):
    with pytest.raises(CatenaryError, match=message) as told:
        bad(tmp_path, what)
    assert type(told.value) is kind
    assert "\n" not in str(told.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "source.tif"]


def test_no_grid_is_no_hindrance(tmp_path):
    with raster_writer(tmp_path / "a.tif", shape=(20, 20), grid=Grid()) as raster:
        raster.write(0, 0, np.ones((1, 20, 20), np.uint8))
    assert (tmp_path / "a.tif").is_file()
