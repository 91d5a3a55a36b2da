"""The whole way with scans: from made-up heads on disk to a model, a report, masks and measurements."""

import csv
import json
import shutil

import numpy as np
import pytest

import catenary
from catenary import workflow
from catenary.data.labels import LabelSet
from catenary.errors import ConfigError
from catenary.io import read_image, read_mask
from catenary.workflow.brains import write_brains
from catenary.workflow.look import adapted

pytest.importorskip("nibabel", reason="scans need catenary[medical]")

SIZE = (36, 48, 42)
QUICK = [
    "model.widths=[8,16,32]", "train.precision=fp32", "predict.engine=torch", "train.validations=3",
    "split.val=0.2", "split.test=0.25", "augment.warp=0", "augment.elastic=0", "augment.intensity=0.3", "train.lr=0.01",
    "model.norm=batch", "sample.batch=4",
]  # fmt: skip
PATCH = "sample.patch=[24,32,32]"


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    write_brains(folder, cases=12, size=SIZE, seed=5)
    return folder


@pytest.fixture(scope="module")
def solid(heads, tmp_path_factory):
    """A run in 3D on both sequences, with overlapping regions."""
    return workflow.fit(
        heads, out=tmp_path_factory.mktemp("runs") / "solid", recipe="brain-tumour", steps=150, settings=[*QUICK, PATCH]
    )


@pytest.mark.slow
def test_a_network_in_3d_finds_the_tumour(solid):
    assert solid.evaluation.n == 3
    assert solid.evaluation.classes["whole"]["dice"].value > 0.9
    assert (
        solid.evaluation.classes["whole"]["dice"].value
        > solid.evaluation.baselines["thresholds"].classes["whole"]["dice"].value
    )
    assert solid.evaluation.unit == "mm"
    assert not (solid.path / "cache").exists()
    page = solid.report.read_text("utf-8")
    assert "axial" in page
    assert "sagittal" in page


@pytest.mark.slow
def test_a_network_of_slices_finds_it_too(heads, tmp_path):
    settings = [*QUICK, "model.rank=2", "model.slices=3", "sample.patch=[48,48]", "model.widths=[8,16,32,64]"]
    run = workflow.fit(heads, out=tmp_path / "flat", recipe="brain-tumour", steps=400, settings=settings)
    assert run.plan.recipe.model.channels == 6
    assert run.evaluation.classes["whole"]["dice"].value > 0.9


@pytest.mark.slow
def test_masks_of_cases_lie_on_their_scans(solid, heads, tmp_path):
    case = next(heads.iterdir())
    again = tmp_path / "cases" / case.name
    shutil.copytree(case, again, ignore=shutil.ignore_patterns("*seg*"))
    (record,) = workflow.predict(solid.path, [tmp_path / "cases"], out=tmp_path / "out", overlay=True, probability=True)
    assert record.error == ""
    mask = read_mask(tmp_path / "out" / f"{case.name}_mask.nii.gz")
    truth = read_mask(next(case.glob("*seg*")))
    assert mask.shape == truth.shape == SIZE
    assert 2 * ((mask > 0) & (truth > 0)).sum() / ((mask > 0).sum() + (truth > 0).sum()) > 0.85
    scan = read_image(next(case.glob("*flair*")))
    assert read_image(tmp_path / "out" / f"{case.name}_mask.nii.gz").grid.affine == pytest.approx(scan.grid.affine)
    assert read_image(tmp_path / "out" / f"{case.name}_probability.nii.gz").array.shape == (3, *SIZE)
    with (tmp_path / "out" / "measurements.csv").open() as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    # regions are counted from the painted label map, whose classes stand for them
    assert float(rows["whole"]["volume_ml"]) == pytest.approx((mask > 0).sum() / 1000, rel=0.01)
    with (tmp_path / "out" / "quantities.csv").open() as file:
        assert {"volume", "largest_diameter"} <= {row["quantity"] for row in csv.DictReader(file)}


@pytest.mark.slow
def test_a_case_without_one_of_its_sequences_is_named(solid, heads, tmp_path):
    case = next(heads.iterdir())
    lonely = tmp_path / "scan.nii.gz"
    shutil.copy(next(case.glob("*flair*")), lonely)
    (record,) = workflow.predict(solid.path, [lonely], out=tmp_path / "out")
    assert "has 1 channel(s) but the model was trained on 2" in record.error


@pytest.mark.slow
def test_a_dicom_series_comes_back_as_a_segmentation(heads, tmp_path):
    pytest.importorskip("highdicom", reason="DICOM needs catenary[medical]")
    from dicoms import write_series

    settings = [*QUICK, "sample.patch=[16,24,24]", 'data.channels=["flair"]']
    run = workflow.fit(heads, out=tmp_path / "one", steps=3, settings=settings)
    case = next(heads.iterdir())
    write_series(tmp_path / "series", read_image(next(case.glob("*flair*"))))
    (record,) = workflow.predict(run.path, [tmp_path / "series"], out=tmp_path / "out", dicom_seg=True)
    assert record.error == ""
    from catenary.io.dicomseg import read_dicom_seg

    plain = read_mask(tmp_path / "out" / "series_mask.nii.gz")
    segments = read_dicom_seg(tmp_path / "out" / "series_seg.dcm", source=tmp_path / "series")
    np.testing.assert_array_equal(segments, plain)


def test_channels_and_regions_are_chosen_by_name(heads):
    data = catenary.open_dataset(heads)
    assert data.channel_names == ("flair", "t1c")
    one = data.with_channels(["T1C"])
    case = one.cases[0]
    np.testing.assert_array_equal(one.read_image(case).array[0], data.read_image(data.cases[0]).array[1])
    swapped = data.with_channels(["2", "1"])
    assert swapped.channel_names == ("t1c", "flair")
    with pytest.raises(ConfigError, match=r"no channel 'flare'.*flair"):
        data.with_channels(["flare"])
    recipe = catenary.recipe.override(catenary.recipe.Recipe(), ['data.channels=["t1c"]'])
    assert adapted(data, recipe).channel_names == ("t1c",)


def test_epochs_of_slices_count_slices(heads, tmp_path):
    settings = [*QUICK, "model.rank=2", "sample.patch=[32,32]", "sample.batch=24", "model.widths=[2,4]"]
    run = workflow.fit(heads, out=tmp_path / "run", epochs=1, settings=settings)
    trained = len(run.splits.train)
    assert json.loads((run.path / "plan.json").read_text())["expected_steps"] == -(-trained * SIZE[0] // 24)
    assert catenary.load(run.path).card.provenance["training_steps"] == -(-trained * SIZE[0] // 24)


def test_the_truth_is_shown_as_regions_answer():
    from catenary.workflow.assess import _as_answered

    labels = LabelSet(
        names=("background", "necrosis", "oedema", "rest", "enhancing"),
        regions={"whole": (1, 2, 3, 4), "core": (1, 3, 4), "enhancing": (4,)},
    )
    label = np.array([[0, 1, 2, 3, 4, 255]], np.uint8)
    assert _as_answered(label, labels).tolist() == [[0, 1, 2, 1, 4, 255]]
