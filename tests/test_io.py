"""Reading and writing pixels."""

import io
import json
import os
import threading
import warnings

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from catenary.errors import InputError, OutputError
from catenary.io import (
    READERS,
    VOLUME_WRITERS,
    WRITERS,
    image_size,
    orientation,
    read_image,
    read_mask,
    write_image,
    write_mask,
    write_probability,
)
from catenary.io.files import atomic, write_json, write_text
from catenary.io.pixels import upright
from catenary.types import Grid
from damage import read_damaged

RNG = np.random.default_rng(0)


def pixels(channels, dtype=np.uint8, size=(13, 17)):
    shape = size if channels == 0 else (channels, *size)
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_written_images_come_back(tmp_path, suffix, dtype, channels):
    array, grid = pixels(channels, dtype), Grid(spacing=(0.3251, 0.25), unit="um")
    write_image(tmp_path / f"a{suffix}", array, grid=grid)
    image = read_image(tmp_path / f"a{suffix}")
    assert image.array.dtype == dtype
    assert image.array.flags.writeable
    assert image.array.flags.c_contiguous
    np.testing.assert_array_equal(image.array, array)
    assert image.grid == grid
    assert image.valid is None
    assert image_size(tmp_path / f"a{suffix}") == (13, 17)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 9),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64, np.float16]),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_tiff_keeps_any_shape_and_type(tmp_path_factory, channels, dtype, size):
    path = tmp_path_factory.mktemp("t") / "a.tif"
    array = pixels(channels, dtype, size)
    write_image(path, array)
    found = read_image(path).array
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    suffix=st.sampled_from([".png", ".tif", ".bmp"]),
    coloured=st.booleans(),
)
def test_masks_keep_their_indices(tmp_path_factory, size, suffix, coloured):
    path = tmp_path_factory.mktemp("m") / f"m{suffix}"
    label = RNG.integers(0, 256, size, np.uint8)
    # Grey colours are the hard case: grey palettes of other programs are read as levels.
    write_mask(path, label, colours=[(0, 0, 0), (128, 128, 128), (255, 255, 255)] if coloured else None)
    found = read_mask(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, label)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_mask_colours_are_shown(tmp_path, suffix):
    write_mask(tmp_path / f"m{suffix}", np.array([[0, 1, 2]], np.uint8), colours=[(0, 0, 0), (9, 8, 7), (200, 1, 2)])
    shown = read_image(tmp_path / f"m{suffix}").array
    assert shown[:, 0].T.tolist() == [[0, 0, 0], [9, 8, 7], [200, 1, 2]]


def test_probabilities_come_back(tmp_path):
    array = RNG.random((3, 9, 8), np.float32)
    write_probability(tmp_path / "p.tif", array, grid=Grid(spacing=(2.0, 2.0), unit="mm"))
    image = read_image(tmp_path / "p.tif")
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array, array)
    assert image.grid.spacing == (2.0, 2.0)


def test_georeference_comes_back(tmp_path):
    grid = Grid(affine=(2.0, 0.0, 100.0, 0.0, -2.0, 50.0), crs="EPSG:32645", spacing=(2.0, 2.0), unit="m")
    write_mask(tmp_path / "m.tif", np.zeros((5, 6), np.uint8), grid=grid)
    assert read_image(tmp_path / "m.tif").grid == grid
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        tags = file.pages.first.geotiff_tags
    assert int(tags["ProjectedCSTypeGeoKey"]) == 32645
    array = np.zeros((5, 6), np.uint8)
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2, 3072, 0, 1, 32645)
    places = [(33550, "d", 3, (2.0, 2.0, 0.0)), (33922, "d", 6, (0.0, 0.0, 0.0, 101.0, 49.0, 0.0))]
    extra = [*places, (34735, "H", len(keys), keys)]
    tifffile.imwrite(tmp_path / "p.tif", array, extratags=extra, metadata=None)
    assert read_image(tmp_path / "p.tif").grid == grid  # the same place, told by the pixel's centre


def test_rotated_georeference_comes_back(tmp_path):
    grid = Grid(affine=(1.5, 0.5, 100.0, 0.5, -1.5, 50.0), crs="EPSG:4326")
    write_mask(tmp_path / "m.tif", np.zeros((5, 6), np.uint8), grid=grid)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        tags = file.pages.first.geotiff_tags
    from catenary.io.geotiff import geo_grid

    assert geo_grid(tags) == grid


# --- what files hold


def test_modes_of_pictures(tmp_path):
    grey, rgb = pixels(0), np.moveaxis(pixels(3), 0, -1)
    Pillow.fromarray(grey).save(tmp_path / "grey.bmp")
    Pillow.fromarray(rgb).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    Pillow.fromarray(rgb).quantize(8).save(tmp_path / "palette.png")
    Pillow.fromarray(grey > 100).save(tmp_path / "bits.png")
    assert read_image(tmp_path / "grey.bmp").array.shape == (1, 13, 17)
    assert read_image(tmp_path / "cmyk.jpg").array.shape == (3, 13, 17)
    assert read_image(tmp_path / "palette.png").array.shape == (3, 13, 17)
    bits = read_image(tmp_path / "bits.png").array
    assert bits.dtype == np.uint8
    assert set(np.unique(bits)) == {0, 255}
    assert set(np.unique(read_mask(tmp_path / "bits.png"))) == {0, 1}


def test_jpeg_equals_the_strict_decoder(tmp_path):
    rgb = np.kron(np.moveaxis(pixels(3), 0, -1), np.ones((8, 8, 1), np.uint8))
    for name, picture in (("rgb", Pillow.fromarray(rgb)), ("grey", Pillow.fromarray(rgb[..., 0]))):
        picture.save(tmp_path / f"{name}.jpg", quality=80)
        strict = np.asarray(Pillow.open(tmp_path / f"{name}.jpg")).astype(int)
        found = np.squeeze(np.moveaxis(read_image(tmp_path / f"{name}.jpg").array, 0, -1)).astype(int)
        assert np.abs(found - strict).max() <= 2


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_colour_png_keeps_its_bits(tmp_path, channels):
    array = pixels(channels, np.uint16)
    if channels != 3:
        array[-1] = 65535
    write_image(tmp_path / "a.png", array)
    found = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(found.array, array if channels == 3 else array[:-1])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_tells_what_is_valid(tmp_path, suffix, grey):
    array = np.moveaxis(pixels(2 if grey else 4), 0, -1)
    for name, alpha in (("same", 255), ("hides", np.arange(17) % 3 * 100)):
        array[..., -1] = alpha
        if suffix == ".png":
            Pillow.fromarray(array).save(tmp_path / f"{name}.png")
        else:
            kind = {"photometric": "minisblack" if grey else "rgb", "extrasamples": ["unassalpha"]}
            tifffile.imwrite(tmp_path / f"{name}.tif", array, planarconfig="contig", metadata=None, **kind)
    same, hides = read_image(tmp_path / f"same{suffix}"), read_image(tmp_path / f"hides{suffix}")
    assert same.channels == hides.channels == (1 if grey else 3)
    assert same.valid is None
    np.testing.assert_array_equal(hides.valid, np.broadcast_to(np.arange(17) % 3 != 0, (13, 17)))
    np.testing.assert_array_equal(hides.array, np.moveaxis(array[..., :-1], -1, 0))


def test_transparent_colour_is_not_valid(tmp_path):
    rgb = np.moveaxis(pixels(3), 0, -1)
    rgb[2:4] = 0
    Pillow.fromarray(rgb).save(tmp_path / "a.png", transparency=(0, 0, 0))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.array, np.moveaxis(rgb, -1, 0))
    assert not image.valid[2:4].any()
    assert image.valid[4:].all()


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_is_applied(tmp_path, value):
    rgb = np.moveaxis(pixels(3), 0, -1)
    exif = Pillow.Exif()
    exif[274] = value
    Pillow.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    tifffile.imwrite(tmp_path / "a.tif", rgb, extratags=[(274, "H", 1, value)], metadata=None)
    expected = np.moveaxis(np.asarray(ImageOps.exif_transpose(Pillow.open(tmp_path / "a.png"))), -1, 0)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name).array, expected)
        np.testing.assert_array_equal(read_mask(tmp_path / name), np.moveaxis(expected, 0, -1))
        assert image_size(tmp_path / name) == expected.shape[1:]
        assert orientation(tmp_path / name) == value
    jpeg = io.BytesIO()
    Pillow.fromarray(np.kron(rgb, np.ones((8, 8, 1), np.uint8))).save(jpeg, "JPEG", exif=exif, quality=95)
    (tmp_path / "a.jpg").write_bytes(jpeg.getvalue())
    turned = np.asarray(ImageOps.exif_transpose(Pillow.open(jpeg)))
    found = np.moveaxis(read_image(tmp_path / "a.jpg").array, 0, -1)
    assert found.shape == turned.shape
    assert np.abs(found.astype(int) - turned).max() <= 2


def test_upright_twice_is_the_identity():
    array = pixels(0)
    for value in (2, 3, 4, 5, 7):
        np.testing.assert_array_equal(upright(upright(array, value), value), array)
    np.testing.assert_array_equal(upright(upright(array, 6), 8), array)


def test_content_decides_not_the_name(tmp_path):
    Pillow.fromarray(pixels(0)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", pixels(0))
    for source, name in (("a.png", "a.jpg"), ("a.png", "a.tif"), ("b.tif", "b.png"), ("a.png", "noending")):
        (tmp_path / name).write_bytes((tmp_path / source).read_bytes())
        np.testing.assert_array_equal(read_image(tmp_path / name).array, read_image(tmp_path / source).array)
        assert image_size(tmp_path / name) == (13, 17)


def test_palette_masks(tmp_path):
    index = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    picture = Pillow.fromarray(index)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "colour.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "colour.png"), index)
    assert read_mask(tmp_path / "colour.png", palette="colour")[0].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
    picture.putpalette([255, 255, 255, 0, 0, 0, 128, 128, 128])  # a shrunk grey file: any order
    picture.save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "grey.png"), np.array([255, 0, 128])[index])
    assert read_image(tmp_path / "grey.png").channels == 1


def test_grey_colours_and_transparent_layers_are_numbers(tmp_path):
    label = RNG.integers(0, 3, (6, 7), np.uint8)
    Pillow.fromarray(np.repeat(label[..., None], 3, 2)).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "rgb.png"), label)
    layer = np.full((6, 7, 4), 255, np.uint8)
    layer[..., 3] = np.where(label > 0, 255, 0)
    Pillow.fromarray(layer).save(tmp_path / "layer.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "layer.png"), np.where(label > 0, 255, 0))


# --- TIFF


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "lzw"}, {"compression": "zstd"}])
def test_tiff_of_many_channels(tmp_path, planar, options):
    array = pixels(12, np.uint16)
    stored = np.moveaxis(array, 0, -1) if planar == "contig" else array
    tifffile.imwrite(tmp_path / "a.tif", stored, planarconfig=planar, photometric="minisblack", **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array)


def test_tiff_pages_are_channels_when_that_is_plausible(tmp_path):
    array = pixels(5, np.uint16, (40, 50))
    tifffile.imwrite(tmp_path / "pages.tif", array, photometric="minisblack")
    tifffile.imwrite(tmp_path / "last.tif", np.moveaxis(array, 0, -1), photometric="minisblack")
    with tifffile.TiffWriter(tmp_path / "plain.tif") as file:
        for page in array:
            file.write(page, metadata=None)
    tifffile.imwrite(tmp_path / "imagej.tif", array, imagej=True, metadata={"axes": "CYX"})
    for name in ("pages", "last", "plain", "imagej"):
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.tif").array, array, err_msg=name)


def test_films_are_refused(tmp_path):
    stack = pixels(20, np.uint8, (40, 50))
    tifffile.imwrite(tmp_path / "film.ome.tif", stack[:4], metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "both.tif", stack.reshape(4, 5, 40, 50), imagej=True, metadata={"axes": "TZYX"})
    for name in ("film.ome.tif", "both.tif"):
        for read in (read_image, read_mask, image_size):
            with pytest.raises(InputError, match=f"{name}.*film"):
                read(tmp_path / name)


def test_several_images_in_one_tiff(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels(0, size=(20, 20)), metadata=None)
        file.write(pixels(0, size=(10, 10)), metadata=None)  # a thumbnail
    assert read_image(tmp_path / "a.tif").shape == (20, 20)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(pixels(0, size=(20, 20)), metadata=None)
        file.write(pixels(0, size=(30, 20)), metadata=None)
    with pytest.raises(InputError, match="several images"):
        read_image(tmp_path / "b.tif")


def test_tiff_photometrics(tmp_path):
    array = pixels(0)
    tifffile.imwrite(tmp_path / "white.tif", 255 - array, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "white.tif").array[0], array)
    bits = array > 100
    tifffile.imwrite(tmp_path / "bits.tif", bits, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.tif").array[0], bits * np.uint8(255))
    np.testing.assert_array_equal(read_mask(tmp_path / "bits.tif"), bits.astype(np.uint8))
    tifffile.imwrite(tmp_path / "cmyk.tif", pixels(4).transpose(1, 2, 0), photometric="separated")
    with pytest.raises(InputError, match="CMYK"):
        read_image(tmp_path / "cmyk.tif")


@pytest.mark.parametrize(
    ("options", "spacing", "unit"),
    [
        ({"resolution": (4.0, 2.0), "imagej": True, "metadata": {"unit": "micron"}}, (0.5, 0.25), "um"),
        ({"resolution": (4.0, 4.0), "imagej": True, "metadata": {"unit": "pixel"}}, None, None),
        ({"resolution": (1e4, 2e4), "resolutionunit": "CENTIMETER"}, (0.5, 1.0), "um"),
        ({"resolution": (300 / 2.54, 300 / 2.54), "resolutionunit": "CENTIMETER"}, None, None),
        ({"resolution": (1, 1), "resolutionunit": "CENTIMETER"}, None, None),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None, None),
        ({}, None, None),
    ],
)
def test_only_physical_resolutions_are_spacing(tmp_path, options, spacing, unit):
    tifffile.imwrite(tmp_path / "a.tif", pixels(0), **options)
    grid = read_image(tmp_path / "a.tif").grid
    assert grid.unit == unit
    assert grid.spacing == (spacing if spacing is None else pytest.approx(spacing))


def test_ome_spacing(tmp_path):
    metadata = {"axes": "YX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.3}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels(0), metadata=metadata)
    assert read_image(tmp_path / "a.ome.tif").grid == Grid(spacing=(0.3, 0.2), unit="um")


def test_nodata(tmp_path):
    array = pixels(2, np.float32)
    array[:, 3] = -9999
    tag = [(42113, "s", 0, "-9999")]
    tifffile.imwrite(tmp_path / "a.tif", array, planarconfig="separate", photometric="minisblack", extratags=tag)
    image = read_image(tmp_path / "a.tif")
    assert not image.valid[3].any()
    assert image.valid[4:].all()
    assert (image.array[:, 3] == 0).all()
    np.testing.assert_array_equal(image.array[:, 4:], array[:, 4:])
    array[:, 3] = np.nan
    tifffile.imwrite(tmp_path / "b.tif", array[0], extratags=[(42113, "s", 0, "nan")])
    assert not read_image(tmp_path / "b.tif").valid[3].any()


def test_nan_and_complex_are_refused(tmp_path):
    array = pixels(0, np.float32)
    array[0, :3] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(InputError, match=r"a\.tif has 3 pixels that are NaN or infinite"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "c.tif", array.astype(np.complex64))
    with pytest.raises(InputError, match="complex64"):
        read_image(tmp_path / "c.tif")
    with pytest.raises(InputError, match="fractions"):
        read_mask(tmp_path / "a.tif")


def test_float_masks_of_whole_numbers(tmp_path):
    label = RNG.integers(0, 4, (6, 7)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", label)
    found = read_mask(tmp_path / "a.tif")
    assert found.dtype.kind == "i"
    np.testing.assert_array_equal(found, label)


# --- bad input


def test_missing_empty_folder_and_foreign_files(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.tif").write_text("no picture")
    (tmp_path / "data.xyz").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    cases = {
        "missing.png": "there is no file", "empty.png": "empty", "text.png": "not an image", "text.tif": "damaged",
        "data.xyz": "no known image format", "folder.png": "is a folder", "missing.tif": "there is no file",
    }  # fmt: skip
    for name, message in cases.items():
        for read in (read_image, read_mask, image_size):
            with pytest.raises(InputError, match=message) as caught:
                read(tmp_path / name)
            assert name in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "rgb.png", "deep.png", "a.jpg", "a.bmp", "a.tif", "raw.tif", "bits.png"])
def test_truncated_files_are_refused(tmp_path, name, capfd):
    rgb = RNG.integers(0, 255, (64, 48, 3), np.uint8)
    if name == "raw.tif":
        tifffile.imwrite(tmp_path / name, rgb)
    elif name == "bits.png":
        Pillow.fromarray(rgb[..., 0] > 99).save(tmp_path / name)
    elif name == "deep.png":
        write_image(tmp_path / name, pixels(3, np.uint16, (64, 48)))
    else:
        write_image(tmp_path / name, np.moveaxis(rgb, -1, 0) if name != "a.png" else rgb[..., 0])
    whole = (tmp_path / name).read_bytes()
    read_image(tmp_path / name)
    for share in (0.02, 0.3, 0.6, 0.9):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)
    assert capfd.readouterr().err == ""  # the decoders print nothing of their own


@settings(max_examples=60, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".png", ".jpg", ".bmp", ".tif"]))
def test_damaged_files_never_crash(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("d") / f"a{suffix}"
    write_image(path, np.arange(3 * 32 * 24, dtype=np.uint8).reshape(3, 32, 24) // 3)
    read_damaged(path, data)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    write_image(tmp_path / "a.png", pixels(0))
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / "a.png")


def test_large_images_pass_and_bombs_do_not(tmp_path, monkeypatch):
    Pillow.new("1", (20000, 10000)).save(tmp_path / "large.png")  # beyond Pillow's own limit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(tmp_path / "large.png") == (10000, 20000)
        assert read_mask(tmp_path / "large.png").shape == (10000, 20000)
    header = bytearray((tmp_path / "large.png").read_bytes())
    import zlib

    header[16:24] = (60000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(InputError, match="more than the"):
        read_image(tmp_path / "bomb.png")


# --- writing


def test_what_a_format_cannot_hold(tmp_path):
    with pytest.raises(InputError, match=r"float32.*write a\.png as \.tif"):
        write_image(tmp_path / "a.png", pixels(0, np.float32))
    with pytest.raises(InputError, match="5 of uint8"):
        write_image(tmp_path / "a.png", pixels(5))
    with pytest.raises(InputError, match="8-bit"):
        write_image(tmp_path / "a.jpg", pixels(0, np.uint16))
    with pytest.raises(OutputError, match="JPEG changes"):
        write_mask(tmp_path / "m.jpg", np.zeros((3, 3), np.uint8))
    with pytest.raises(OutputError, match=r"'\.gif'"):
        write_image(tmp_path / "a.gif", pixels(0))
    with pytest.raises(InputError, match=r"\(0, 4\)"):
        write_image(tmp_path / "a.png", np.zeros((0, 4), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_one_pixel(tmp_path):
    for suffix in WRITERS:
        write_image(tmp_path / f"a{suffix}", np.full((3, 1, 1), 77, np.uint8))
        assert read_image(tmp_path / f"a{suffix}").array.shape == (3, 1, 1)
    for suffix in VOLUME_WRITERS:
        write_image(tmp_path / f"b{suffix}", np.full((2, 1, 1, 1), 77, np.uint8), grid=Grid(spacing=(1.0, 2.0, 3.0)))
        assert read_image(tmp_path / f"b{suffix}").array.shape == (2, 1, 1, 1)
    assert READERS.keys() - {".dcm", ".zip"} == WRITERS.keys() | VOLUME_WRITERS.keys()


def test_atomic_leaves_the_old_file_when_it_fails(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def fail():
        with atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_atomic_names_what_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/a\.txt"):
        write_text(tmp_path / "file" / "a.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder"):
        write_text(tmp_path / "folder", "x")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "folder"]


def test_atomic_writers_do_not_meet(tmp_path):
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a.txt", str(i) * 1000)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set((tmp_path / "a.txt").read_text())) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_written_files_have_ordinary_rights(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_write_json(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"b": [1, "µ"]})
    assert json.loads((tmp_path / "deep" / "a.json").read_text("utf-8")) == {"b": [1, "µ"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.real
def test_real_files_equal_other_decoders(real_data):
    picture = next(iter(sorted(real_data("skin-lesion").glob("*.jpg"))))
    expected = np.moveaxis(np.asarray(Pillow.open(picture)), -1, 0)
    assert np.abs(read_image(picture).array.astype(int) - expected).max() <= 2
    tile = next(iter(sorted((real_data("buildings-geotiff") / "images").glob("*.tif"))))
    image = read_image(tile)
    assert image.grid.crs == "EPSG:4326"
    assert image.grid.affine is not None
    np.testing.assert_array_equal(image.array, np.moveaxis(np.asarray(Pillow.open(tile)), -1, 0))
