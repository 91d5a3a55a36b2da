"""Bodies of known size in volumes: volume, surface, diameters, parts, and the errors to expect of them."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.measures import measure_all
from catenary.measures.interfaces import interfaces
from catenary.measures.volume import Solid, solid_of
from catenary.predict.quantities import case_pair, quantities
from catenary.recipe import Recipe, override
from catenary.types import IGNORE, Grid, Image

LIVER = LabelSet(names=("background", "liver"))
TUMOUR = LabelSet(names=("background", "oedema", "core"), regions={"whole": (1, 2), "core": (2,)})
SPACINGS = [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (2.5, 0.7, 0.7), (1.0, 0.5, 2.0)]


def ellipsoid(radii, spacing, *, turn=None, shift=(0.3, -0.2, 0.1)):
    """Mask of an ellipsoid with half-axes along (d, h, w) in mm, turned about its centre."""
    reach = max(radii)
    shape = [2 * math.ceil(reach / step) + 5 for step in spacing]
    lines = [(np.arange(n) - n // 2 - s) * step for n, s, step in zip(shape, shift, spacing, strict=True)]
    places = np.stack(np.meshgrid(*lines, indexing="ij"))
    if turn is not None:
        places = np.tensordot(turn.as_matrix().T, places, 1)
    return sum((line / radius) ** 2 for line, radius in zip(places, radii, strict=True)) <= 1


def surface_of_ellipsoid(a, b, c, steps=1000):
    t, p = np.meshgrid(*((np.arange(steps) + 0.5) / steps * end for end in (math.pi, 2 * math.pi)), indexing="ij")
    x, y, z = b * c * np.sin(t) * np.cos(p), a * c * np.sin(t) * np.sin(p), a * b * np.cos(t)
    return float((np.sin(t) * np.sqrt(x * x + y * y + z * z)).mean()) * 2 * math.pi**2


@pytest.mark.parametrize("spacing", SPACINGS)
def test_balls_have_their_size(spacing):
    radius = 15.0
    found = solid_of(ellipsoid((radius,) * 3, spacing), spacing=spacing)
    assert found.volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    assert found.surface_area == pytest.approx(4 * math.pi * radius**2, rel=0.02)
    coarse = max(spacing)
    for diameter in (found.axial_diameter, found.axial_orthogonal, found.largest_diameter):
        assert diameter == pytest.approx(2 * radius, abs=coarse)
    assert found.parts == 1
    assert found.main_volume == found.volume


@pytest.mark.parametrize("spacing", SPACINGS[:3])
@pytest.mark.parametrize("seed", range(3))
def test_tilted_ellipsoids_have_their_size(spacing, seed):
    radii, turn = (20.0, 12.0, 8.0), Rotation.random(random_state=seed)
    found = solid_of(ellipsoid(radii, spacing, turn=turn), spacing=spacing)
    assert found.volume == pytest.approx(4 / 3 * math.pi * math.prod(radii), rel=0.02)
    assert found.surface_area == pytest.approx(surface_of_ellipsoid(*radii), rel=0.06)
    assert found.largest_diameter == pytest.approx(40, abs=max(spacing))
    # The slice through the centre is the largest: an ellipse, whose matrix is that of the body without d.
    rows = turn.as_matrix()
    inverse = rows @ np.diag(np.square(1 / np.array(radii))) @ rows.T
    long, short = sorted(2 / np.sqrt(np.linalg.eigvalsh(inverse[1:, 1:])), reverse=True)
    assert found.axial_diameter == pytest.approx(long, abs=1.5)
    assert found.axial_orthogonal == pytest.approx(short, abs=1.5)


def test_boxes_by_hand():
    mask = np.zeros((9, 20, 30), bool)
    mask[2:6, 3:8, 5:17] = True
    found = solid_of(mask, spacing=(5.0, 2.0, 1.0))
    assert (found.volume, found.main_volume, found.parts) == (4 * 5 * 12 * 10.0, 4 * 5 * 12 * 10.0, 1)
    # From face to face of opposite corners' voxels, along one axis whole, along the others between centres.
    assert found.axial_diameter == pytest.approx(math.hypot(5 * 2, 11))
    assert found.largest_diameter == pytest.approx(math.sqrt((4 * 5) ** 2 + (4 * 2) ** 2 + 11**2))
    assert 0.75 < found.surface_area / (2 * (20 * 10 + 20 * 12 + 10 * 12)) < 1
    plate = solid_of(np.ones((1, 7, 1), bool))
    assert (plate.volume, plate.axial_diameter, plate.axial_orthogonal, plate.largest_diameter) == (7, 7, 1, 7)


def slow_diameters(mask, spacing):
    half = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    return pdist((np.argwhere(mask)[:, None] + half).reshape(-1, 3) * spacing).max()


@settings(max_examples=60, deadline=None)
@given(
    mask=arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.sampled_from([False, True])),
    spacing=st.sampled_from(SPACINGS),
)
def test_any_mask_is_measured(mask, spacing):
    found = solid_of(mask, spacing=spacing)
    assert found.volume == pytest.approx(mask.sum() * math.prod(spacing))
    table = interfaces(np.pad(mask, 3).astype(np.uint8), 2, spacing=spacing)
    assert found.surface_area == pytest.approx(table[0, 1])
    if found.parts == 1:
        assert found.largest_diameter == pytest.approx(slow_diameters(mask, spacing))
    if found.parts:
        slack = 1 + 1e-9
        assert 0 < found.axial_orthogonal <= found.axial_diameter * slack <= found.largest_diameter * slack**2
        assert 0 < found.main_volume <= found.volume
    else:
        assert found == Solid()
    for axis in range(3) if found.parts == 1 else ():
        other = solid_of(np.ascontiguousarray(np.flip(mask, axis)), spacing=spacing)
        for name in Solid.__slots__:
            assert getattr(other, name) == pytest.approx(getattr(found, name)), name


def test_diameters_are_those_of_the_largest_part_and_of_one_outline():
    mask = np.zeros((20, 60, 60), bool)
    mask[2:10, 10:30, 10:20] = True
    alone = solid_of(mask)
    mask[14, 5, :] = True  # a long thin vessel, and a speck that touches it at a corner
    mask[15, 6, 59] = False
    found = solid_of(mask)
    assert found.parts == 2
    assert found.main_volume == alone.volume == 1600
    assert found.volume == 1660
    for name in ("axial_diameter", "axial_orthogonal", "largest_diameter"):
        assert getattr(found, name) == getattr(alone, name)
    # The legs of an arch are two outlines in a slice: nobody would draw a line from one to the other.
    arch = np.zeros((10, 8, 44), bool)
    for number, plane in enumerate(arch):
        plane[2:6, 2 + 2 * number : 6 + 2 * number] = plane[2:6, 38 - 2 * number : 42 - 2 * number] = True
    assert solid_of(arch).parts == 1
    assert solid_of(arch).axial_diameter < 10
    assert solid_of(arch).largest_diameter > 39
    corner = np.zeros((3, 3, 3), bool)
    corner[0, 0, 0] = corner[1, 1, 1] = corner[2, 2, 2] = True
    assert solid_of(corner).parts == 1


def test_the_short_diameter_is_a_chord_not_the_width():
    # A slanted parallelogram with corners at ±long and ±other.
    h, w = np.mgrid[-60:61, -60:61]
    found = solid_of(((abs(h) <= 20) & (abs(w - 2 * h) <= 15))[None])
    long, other = np.array([20, 55]), np.array([20, 25])
    half = math.hypot(*long)
    along, width = other @ long / half, 2 * abs(other[0] * long[1] - other[1] * long[0]) / half
    chord = width / 2 * (1 + (half - along) / (half + along))  # from a corner to the opposite side
    assert found.axial_diameter == pytest.approx(2 * half, abs=1.2)
    assert found.axial_orthogonal == pytest.approx(chord, abs=1.2)
    assert chord < width - 5


def test_of_equal_diameters_the_one_with_the_longest_across_counts():
    bar, cross = np.zeros((2, 9, 9), bool)
    bar[4] = cross[4] = cross[2:7, 4] = True
    for planes in ([bar, cross], [cross, bar]):
        found = solid_of(np.stack(planes))
        assert (found.axial_diameter, found.axial_orthogonal) == (9, 5)


def test_rows_have_units():
    mask = ellipsoid((10.0, 10.0, 10.0), (2.0, 1.0, 1.0)).astype(np.uint8)
    rows = measure_all("volume", mask, LIVER, Grid(spacing=(2.0, 1.0, 1.0), unit="mm"))
    units = {name.split()[0]: row.unit for name, row in rows.items()}
    assert units == {
        "volume": "ml", "surface_area": "mm^2", "axial_diameter": "mm", "axial_orthogonal": "mm",
        "largest_diameter": "mm", "parts": "", "main_volume": "ml",
    }  # fmt: skip
    assert rows["volume liver"].value == pytest.approx(mask.sum() * 2 / 1000)
    assert rows["volume liver"].pixels == pytest.approx(mask.sum())
    plain = measure_all("volume", mask, LIVER, Grid())
    assert (plain["volume liver"].value, plain["volume liver"].unit) == (mask.sum(), "px^3")
    assert plain["axial_diameter liver"].unit == "px"
    assert measure_all("volume", mask, LIVER, Grid(spacing=(2.0, 1.0, 1.0), unit="um"))["volume liver"].unit == "um^3"


def test_regions_empty_masks_and_unknown_voxels():
    mask = np.zeros((6, 8, 8), np.uint8)
    mask[1:5, 2:6, 2:6], mask[2:4, 3:5, 3:5] = 1, 2
    rows = measure_all("volume", mask, TUMOUR, Grid())
    assert (rows["volume whole"].value, rows["volume core"].value) == (64, 8)
    mask[1, 2:6, 2:6] = IGNORE
    assert measure_all("volume", mask, TUMOUR, Grid())["volume whole"].value == 48
    valid = np.ones(mask.shape, bool)
    valid[4] = False
    hidden = measure_all("volume", mask, TUMOUR, Grid(), valid=valid)
    assert (hidden["volume whole"].value, hidden["volume core"].value) == (32, 8)
    empty = measure_all("volume", np.zeros((6, 8, 8), np.uint8), TUMOUR, Grid())
    assert {row.value for row in empty.values()} == {0.0}
    unknown = measure_all("volume", np.full((6, 8, 8), IGNORE, np.uint8), TUMOUR, Grid())
    assert {row.value for row in unknown.values()} == {None}
    assert empty.keys() == unknown.keys() == rows.keys()


def test_pictures_are_refused():
    with pytest.raises(InputError, match=r"in scans \(d, h, w\), found a mask of shape \(8, 8\)"):
        measure_all("volume", np.zeros((8, 8), np.uint8), LIVER, Grid())
    with pytest.raises(InputError, match="spacing needs 3 numbers above zero"):
        measure_all("volume", np.zeros((2, 8, 8), np.uint8), LIVER, Grid(spacing=(1.0, 1.0)))


def test_a_scan_gets_its_error_from_validation():
    grid = Grid(spacing=(2.0, 1.0, 1.0), unit="mm")
    cases, errors = [], []
    for number, radius in enumerate((8.0, 9.0, 10.0, 11.0)):
        truth = ellipsoid((radius,) * 3, grid.spacing)
        answer = np.roll(truth, number, axis=0) & truth
        image = Image(array=np.zeros((2, *truth.shape), np.float32), grid=grid)
        cases.append(case_pair("volume", f"{number}", image, truth.astype(np.uint8), answer.astype(np.uint8), LIVER))
        errors.append((int(answer.sum()) - int(truth.sum())) * 2 / 1000)
    mask = ellipsoid((10.0, 10.0, 10.0), grid.spacing).astype(np.uint8)
    image = Image(array=np.zeros((2, *mask.shape), np.float32), grid=grid)
    rows = {row["quantity"]: row for row in quantities("volume", mask, image, LIVER, cases)}
    row = rows["volume"]
    assert row["unit"] == "ml"
    assert row["validation_error"] == pytest.approx(math.sqrt(np.mean(np.square(errors))))
    assert row["low"] < row["value"] - np.mean(errors) < row["high"]
    assert rows["axial_diameter"]["low"] is not None


def test_a_recipe_can_name_the_set():
    assert override(Recipe(), ["predict.measures=volume"]).predict.measures == "volume"


def test_a_whole_scan_takes_no_time():
    d, h, w = np.ogrid[-77:78, -120:120, -120:120]
    mask = ((d / 70) ** 2 + (h / 100) ** 2 + (w / 90) ** 2 <= 1).astype(np.uint8)
    measure_all("volume", mask[:40, :60, :60], LIVER, Grid())  # what is imported on the way
    start = time.perf_counter()
    measure_all("volume", mask, LIVER, Grid())
    assert time.perf_counter() - start < 2


@pytest.mark.real
def test_hippocampi_are_plausible(real_data):
    pytest.importorskip("nibabel")
    from catenary.io import read_image, read_mask

    folder = real_data("hippocampus")
    path = sorted((folder / "labelsTr").glob("*.nii*"))[0]
    image, mask = read_image(folder / "imagesTr" / path.name), read_mask(path).astype(np.uint8)
    labels = LabelSet(names=("background", "anterior", "posterior"), regions={"whole": (1, 2)})
    rows = measure_all("volume", mask, labels, image.grid)
    assert rows["volume whole"].unit == "ml"
    assert 1 < rows["volume whole"].value < 6
    assert 25 < rows["largest_diameter whole"].value < 70
