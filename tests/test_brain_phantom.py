"""Made-up brain scans: seeded, exact, with the contrasts of real ones, as arrays and as files."""

import json

import numpy as np
import pytest

from catenary.errors import CatenaryError, ConfigError, InputError, OutputError
from catenary.phantoms import brain
from catenary.phantoms.brain import PARTS, SEQUENCES
from catenary.workflow.brains import write_brains

SMALL = (24, 32, 28)


@pytest.fixture(scope="module")
def scan():
    return brain((48, 72, 60), seed=1, enhancing=True, sequences=tuple(SEQUENCES))


def means(image, label):
    """Mean brightness of each part, and of the brain around, by sequence."""
    where = {name: label == value for value, name in enumerate(PARTS)}
    where["background"] = (label == 0) & (image[0] > 0)
    return {
        sequence: {part: float(channel[inside].mean()) for part, inside in where.items()}
        for sequence, channel in zip(SEQUENCES, image, strict=True)
    }


def test_one_seed_is_one_scan_and_another_is_another():
    first, again, other = (brain(SMALL, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[1], other[1])


def test_one_seed_is_one_head_whatever_is_asked_of_it():
    _, label = brain(SMALL, seed=5)
    image, same = brain(SMALL, seed=5, sequences=("t2", "flair"))
    np.testing.assert_array_equal(label, same)
    np.testing.assert_array_equal(image[1:], brain(SMALL, seed=5, sequences=("flair",))[0])
    finer = brain(tuple(2 * n for n in SMALL), seed=5)[1]
    thick = brain((12, 64, 56), seed=5, spacing=(4.0, 1.0, 1.0))[1]
    share = [(each > 0).mean() for each in (label, finer, thick)]
    assert max(share) / min(share) < 1.1


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 9, 5), (24, 24, 24), (20, 40, 33)])
@pytest.mark.parametrize("sequences", [("flair",), ("flair", "t1c", "t1", "t2")])
def test_scans_have_the_size_asked_for(size, sequences):
    image, label = brain(size, sequences=sequences)
    assert image.shape == (len(sequences), *size)
    assert label.shape == size
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert np.isfinite(image).all()
    assert image.min() >= 0


@pytest.mark.parametrize("size", [(24, 24, 24), SMALL])
def test_every_part_is_there_in_every_head(size):
    for seed in range(5):
        assert np.unique(brain(size, seed=seed, enhancing=True)[1]).tolist() == [0, 1, 2, 3, 4]
        assert np.unique(brain(size, seed=seed, enhancing=False)[1]).tolist() == [0, 2, 3]


def test_some_heads_have_no_enhancing_part():
    there = [4 in brain((16, 16, 16), seed=seed)[1] for seed in range(30)]
    assert 0.5 < np.mean(there) < 1


def test_contrasts_are_ordered_as_in_real_scans(scan):
    mean = means(*scan)
    flair, t1c, t1, t2 = (mean[name] for name in SEQUENCES)
    assert max(flair, key=flair.get) == "oedema"
    assert flair["oedema"] > 1.1 * max(flair[part] for part in PARTS if part != "oedema")
    assert t1c["enhancing"] > 1.3 * max(t1c[part] for part in PARTS if part != "enhancing")
    assert min(t1c, key=t1c.get) == "necrosis"
    assert t1["enhancing"] < t1["background"]  # no contrast agent, no bright rim
    assert min(t2["necrosis"], t2["oedema"]) > 1.2 * t2["background"]


def test_the_rim_surrounds_the_necrosis_inside_the_brain(scan):
    from scipy.ndimage import binary_dilation

    image, label = scan
    dead = label == PARTS.index("necrosis")
    shell = label[binary_dilation(dead) & ~dead]
    assert (shell == PARTS.index("enhancing")).mean() > 0.95
    assert (image[:, label > 0] > 0).all()
    assert (image[:, [0, -1]] == 0).all()
    assert 0.2 < (image[0] > 0).mean() < 0.5


def test_no_threshold_finds_the_tumour():
    images, labels = zip(*(brain((32, 40, 36), seed=seed) for seed in range(4)), strict=True)
    truth = np.stack(labels) > 0
    for channel in np.stack(images, 1):
        best = max(
            2 * (found & truth).sum() / (found.sum() + truth.sum())
            for level in np.quantile(channel[channel > 0], np.linspace(0, 1, 25))
            for found in (channel > level, (channel > 0) & (channel <= level))
        )
        assert best < 0.85


def test_a_large_voxel_is_what_most_of_its_small_ones_are():
    large, small = (brain(size, seed=2, enhancing=True)[1] for size in (SMALL, tuple(3 * n for n in SMALL)))
    blocks = small.reshape(*(side for n in SMALL for side in (n, 3))).transpose(0, 2, 4, 1, 3, 5).reshape(*SMALL, 27)
    shares = np.stack([(blocks == value).mean(axis=-1) for value in range(len(PARTS))])
    assert (shares.argmax(axis=0) == large)[shares.max(axis=0) > 0.7].mean() > 0.995
    assert (large > 0).mean() == pytest.approx((small > 0).mean(), rel=0.05)


def test_scalp_and_bone_are_there_on_demand():
    bare, whole = (brain(SMALL, seed=2, stripped=stripped)[0][1] > 0 for stripped in (True, False))
    assert (whole | ~bare).all()
    assert whole.sum() > 1.2 * bare.sum()


@pytest.mark.parametrize(
    "wrong",
    [{"size": (0, 4, 4)}, {"spacing": (1.0, 0.0, 1.0)}, {"sequences": ("t1", "flare")}, {"sequences": ()}],
)
def test_bad_wishes_are_told(wrong):
    with pytest.raises(InputError, match=r"found|no sequence"):
        brain(**{"size": SMALL} | wrong)


def test_files_of_both_layouts_hold_the_same_scans(tmp_path):
    pytest.importorskip("nibabel")
    from catenary.io import read_image, read_mask

    told = []
    wish = {"cases": 2, "size": (12, 20, 16), "seed": 7, "spacing": (3.0, 1.5, 2.0)}
    masks = write_brains(tmp_path / "a", **wish, progress=lambda *step: told.append(step))
    other = write_brains(tmp_path / "b", **wish, layout="nnunet")
    assert told[-1] == ("draw brains", 2, 2)
    image, label = brain((12, 20, 16), seed=(7, 1), spacing=(3.0, 1.5, 2.0))
    first = tmp_path / "a" / "brain_001"
    assert sorted(path.name for path in first.iterdir()) == [
        "brain_001_flair.nii.gz", "brain_001_seg.nii.gz", "brain_001_t1ce.nii.gz",
    ]  # fmt: skip
    for path, channel in (
        (first / "brain_001_flair.nii.gz", image[0]),
        (first / "brain_001_t1ce.nii.gz", image[1]),
        (tmp_path / "b" / "imagesTr" / "brain_001_0001.nii.gz", image[1]),
    ):
        found = read_image(path)
        np.testing.assert_array_equal(found.array[0], np.rint(channel))
        assert (found.grid.spacing, found.grid.unit, found.grid.axes) == ((3.0, 1.5, 2.0), "mm", (3, 2, 1))
    for path in (masks[1], other[1]):
        np.testing.assert_array_equal(read_mask(path), label)
    said = json.loads((tmp_path / "b" / "dataset.json").read_text())
    assert said["channel_names"] == {"0": "flair", "1": "t1c"}
    assert said["labels"] == {name: value for value, name in enumerate(PARTS)}
    assert said["numTraining"] == 2


def test_nothing_is_overwritten_or_half_written(tmp_path):
    pytest.importorskip("nibabel")
    write_brains(tmp_path, cases=1, size=(4, 4, 4))
    with pytest.raises(OutputError, match="already holds brain_000"):
        write_brains(tmp_path, cases=2, size=(4, 4, 4))
    with pytest.raises(ConfigError, match="layout"):
        write_brains(tmp_path / "new", layout="bids")
    with pytest.raises(ConfigError, match="found 0"):
        write_brains(tmp_path / "new", cases=0)
    with pytest.raises(CatenaryError, match="sequence"):
        write_brains(tmp_path / "c", cases=1, sequences=("pet",))
    assert [path.name for path in tmp_path.iterdir() if path.name != "c"] == ["brain_000"]
    assert not list((tmp_path / "c").iterdir())
