"""From made-up fundus photographs to a screening: disc, crops, detection, pipeline, answers."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary import workflow
from catenary.cli.main import main
from catenary.data.layouts import open_dataset
from catenary.errors import ConfigError, DataError, ModelError, OutputError
from catenary.io import read_image
from catenary.phantoms.faults import spoiled, stranger
from catenary.predict import load_card
from catenary.predict.around import Margin, around
from catenary.types import Image
from catenary.workflow.fundus import write_fundus
from catenary.workflow.pipeline import PIPELINE, read_pipeline
from catenary.workflow.screen import open_pipeline

SIZE = (144, 160)
DISC = [
    "model.widths=[8,16,32,64]", "sample.patch=[96,96]", "sample.batch=8", "train.validations=4", "train.lr=0.005",
    "train.precision=fp32", "train.channels_last=on", "predict.engine=torch", "prepare.size=0", "split.val=0.2",
    "split.test=0.2",
]  # fmt: skip
CLASSES = [
    "model.widths=[8,16,32]", "prepare.size=48", "sample.patch=[48,48]", "sample.batch=8", "train.validations=3",
    "train.precision=fp32", "train.channels_last=on", "predict.engine=torch", "split.val=0.3", "split.test=0.2",
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_fundus(tmp_path_factory.mktemp("fundus"), patients=16, size=SIZE, seed=3)


@pytest.fixture(scope="module")
def disc(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "disc"
    return workflow.fit(photos / "segmentation", out=out, recipe="glaucoma", steps=150, settings=DISC)


@pytest.fixture(scope="module")
def crops(photos, disc, tmp_path_factory):
    out = tmp_path_factory.mktemp("crops") / "crops"
    return workflow.crop(photos / "classes", disc=disc.path, out=out, margin="0.6")


@pytest.fixture(scope="module")
def glaucoma(crops, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "glaucoma"
    return workflow.fit(crops[0], out=out, recipe="glaucoma-detection", steps=40, settings=CLASSES)


@pytest.fixture(scope="module")
def pipeline(disc, glaucoma, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipe") / "screening"
    # no progression data here: the same network stands in, so that the order of the stages can be seen
    stages = {"disc": disc.path, "glaucoma": glaucoma.path, "progression": glaucoma.path}
    return workflow.pipeline(folder, **stages, margin="0.6").path


def test_disc_and_cup_are_found_and_measured(disc):
    assert disc.evaluation.classes["disc"]["dice"].value > 0.8
    assert disc.evaluation.classes["cup"]["dice"].value > 0.5
    card = load_card(disc.path)
    assert card.recipe.predict.measures == "disc"
    assert any("cdr_vertical" in key for key in card.quantities[0].truth)


def test_crops_keep_class_patient_and_source(crops, photos):
    folder, without = crops
    found, whole = open_dataset(folder), open_dataset(photos / "classes")
    assert found.labels == whole.labels.model_copy(update={"names": ("healthy", "glaucoma")})
    assert {case.name for case in found.cases} | set(without) == {case.name for case in whole.cases}
    assert len(without) <= 4
    for case in found.cases:
        same = whole[case.name]
        assert (case.label, case.group, case.source) == (same.label, same.group, same.source)
    shapes = [read_image(case.images[0]).shape for case in found.cases]
    assert max(max(shape) for shape in shapes) < min(SIZE)


def test_a_margin_is_in_pixels_or_in_diameters():
    image, mask = Image(array=np.full((3, 60, 60), 9, np.uint8)), np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    pixels, share = around(image, mask, Margin.read("5px")), around(image, mask, Margin.read("0.5"), cover=False)
    assert pixels.shape == (30, 30)
    assert (pixels.array[:, 0, 0] == 0).all()
    assert (pixels.array[:, 15, 0] == 9).all()
    side = 20 + 2 * round(0.5 * 2 * np.sqrt(400 / np.pi))
    assert share.shape == (side, side)
    assert (share.array == 9).all()
    for wrong in ("5 px", "-1", "much", "99"):
        with pytest.raises(ConfigError, match="in pixels"):
            Margin.read(wrong)


def test_photos_are_screened_on_the_command_line(pipeline, photos, tmp_path, capsys):
    given = sorted((photos / "classes" / "healthy").glob("*.jpg"))[:2]
    given += sorted((photos / "classes" / "glaucoma").glob("*.jpg"))[:2]
    (tmp_path / "broken.jpg").write_bytes(given[0].read_bytes()[:400])
    rng = np.random.default_rng(0)
    for kind in ("black", "portrait", "noise"):
        Pillow.fromarray(np.moveaxis(stranger(kind, SIZE, rng), 0, -1)).save(tmp_path / f"{kind}.png")
    dark = spoiled(read_image(given[0]).array, "dark", 1.0, rng)
    Pillow.fromarray(np.moveaxis(dark, 0, -1)).save(tmp_path / "dark.png")
    names = ["broken.jpg", "black.png", "portrait.png", "noise.png", "dark.png"]
    inputs = [*map(str, given), *(str(tmp_path / name) for name in names)]
    assert main(["screen", str(pipeline), *inputs, "--out", str(tmp_path / "answers")]) == 2
    told = capsys.readouterr()
    assert "no diagnosis" in told.out
    with (tmp_path / "answers" / "screening.csv").open() as file:
        rows = {row["photo"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(inputs)
    assert rows["broken.jpg"]["stopped_at"] == "reading"
    for name in names[1:]:
        assert rows[name]["stopped_at"] == "quality", name
        assert rows[name]["reason"]
        assert rows[name]["p(glaucoma)"] == ""
        assert name in told.err
    answered = [rows[path.name] for path in given if not rows[path.name]["stopped_at"]]
    assert len(answered) >= 3
    for row in answered:
        assert 0 < float(row["vcdr"]) < 1
        assert float(row["vcdr_low"]) <= float(row["vcdr"]) <= float(row["vcdr_high"])
        assert 0 <= float(row["p(glaucoma)"]) <= 1
        assert (row["glaucoma"] == "glaucoma") == bool(row["p(progression)"])  # the last stage waits for the one before
    listed = json.loads((tmp_path / "answers" / "screening.json").read_text("utf-8"))
    assert [one["photo"] for one in listed["photos"]] == [path.name for path in given] + names
    page = (tmp_path / "answers" / "report.html").read_text("utf-8")
    assert page.count('class="sheet"') == len(inputs)
    assert page.count("<img") >= 2 * len(answered)


def test_the_measured_ratio_is_that_of_the_phantom(pipeline, photos):
    screener = open_pipeline(pipeline)
    segmentation = photos / "segmentation"
    errors = []
    for path in sorted((segmentation / "images").glob("*.jpg"))[:12]:
        found = screener(path)
        mask = np.asarray(Pillow.open(segmentation / "masks" / f"{path.stem}.png"))
        rows, inner = (np.flatnonzero((mask >= least).any(1)) for least in (1, 2))
        if found.vcdr is not None and inner.size:
            errors.append(found.vcdr[0] - np.ptp(inner + 0.0) / np.ptp(rows + 0.0))
            assert found.disc.eye == ("right" if path.stem.endswith("OD") else "left")
    assert len(errors) >= 8
    assert np.median(np.abs(errors)) < 0.15


def test_a_photo_without_a_disc_stops_at_the_disc(pipeline, photos, tmp_path):
    path = next((photos / "segmentation" / "images").glob("*.jpg"))
    image = np.asarray(Pillow.open(path)).copy()
    mask = np.asarray(Pillow.open(photos / "segmentation" / "masks" / f"{path.stem}.png"))
    rows, columns = np.nonzero(mask)
    middle = image[SIZE[0] // 2 - 20, SIZE[1] // 2]
    radius = 2 * (np.ptp(rows) + 1) // 2
    grids = np.ogrid[: SIZE[0], : SIZE[1]]
    away = np.hypot(grids[0] - rows.mean(), grids[1] - columns.mean())
    image[away < radius] = middle
    Pillow.fromarray(image).save(tmp_path / "nodisc.png")
    found = open_pipeline(pipeline)(tmp_path / "nodisc.png")
    assert found.stopped_at == "disc"
    assert "no optic disc" in found.reason
    assert found.answers == {}


def test_two_discs_are_not_decided(pipeline, photos, tmp_path):
    path = sorted((photos / "segmentation" / "images").glob("*_OD.jpg"))[0]
    image = np.asarray(Pillow.open(path)).copy()
    mask = np.asarray(Pillow.open(photos / "segmentation" / "masks" / f"{path.stem}.png"))
    rows, columns = (np.flatnonzero((mask > 0).any(axis)) for axis in (1, 0))
    box = tuple(slice(side[0] - 8, side[-1] + 9) for side in (rows, columns))
    part = image[box]
    other = (box[0], slice(SIZE[1] - box[1].stop, SIZE[1] - box[1].start))
    image[other] = part[:, ::-1]  # the same disc again, on the other side of the fovea
    Pillow.fromarray(image).save(tmp_path / "two.png")
    found = open_pipeline(pipeline)(tmp_path / "two.png")
    assert found.stopped_at == "disc"
    assert "2 parts" in found.reason


def test_stages_given_as_data_are_trained_on_what_they_will_see(disc, photos, tmp_path, capsys):
    line = ["pipeline", str(tmp_path / "p"), "--disc", str(disc.path), "--glaucoma", str(photos / "classes")]
    line += ["--progression", str(photos / "progression"), "--margin", "0.6", "--sees", "disc", "--steps", "2"]
    for stage in ("glaucoma", "progression"):
        for setting in CLASSES:
            line += ["--set", f"{stage}.{setting}"]
    assert main(line) == 0
    told = capsys.readouterr()
    assert "glaucoma trained" in told.out
    cut = open_dataset(tmp_path / "p-glaucoma-discs")
    assert cut.cut == "0.6"
    assert max(max(read_image(case.images[0]).shape) for case in cut.cases) < min(SIZE)
    card = load_card(tmp_path / "p" / "progression.safetensors")
    assert card.labels.names == ("stable", "progressing")
    assert card.provenance["training_steps"] == 2
    assert sum(map(len, card.provenance["splits"].values())) <= len(open_dataset(photos / "progression"))
    assert (tmp_path / "p-glaucoma" / "report.html").is_file()
    # the list of stages comes last: an interrupted call goes on with the trainings that are done
    kept = [tmp_path / "p-glaucoma" / "log.csv", tmp_path / "p-glaucoma-discs" / "manifest.csv"]
    before = [(file.stat().st_mtime_ns, file.read_bytes()) for file in kept]
    shutil.rmtree(tmp_path / "p")
    assert main(line) == 0
    assert [(file.stat().st_mtime_ns, file.read_bytes()) for file in kept] == before
    found = open_pipeline(tmp_path / "p")(sorted((photos / "classes" / "glaucoma").glob("*.jpg"))[0])
    assert "glaucoma" in found.answers, found.reason


def test_data_that_a_stage_cannot_learn_from_is_refused_before_training(disc, crops, photos, tmp_path):
    with pytest.raises(DataError, match="give images and masks, or a trained run"):
        workflow.pipeline(tmp_path / "p", disc=photos / "classes")
    with pytest.raises(DataError, match="not what glaucoma learns from"):
        workflow.pipeline(tmp_path / "p", disc=photos / "segmentation", glaucoma=photos / "segmentation")
    with pytest.raises(ConfigError, match=r"reach 0\.6 around the disc and the pipeline cuts 0\.5"):
        workflow.pipeline(tmp_path / "p", disc=disc.path, glaucoma=crops[0])
    with pytest.raises(ConfigError, match=r"'train\.lr=1' names no stage of this pipeline"):
        workflow.pipeline(tmp_path / "p", disc=disc.path, settings=["train.lr=1"])
    assert not [*tmp_path.iterdir()]


def test_what_cannot_be_a_pipeline_is_refused(disc, glaucoma, pipeline, crops, photos, tmp_path):
    with pytest.raises(ConfigError, match="needs a stage"):
        workflow.pipeline(tmp_path / "a")
    with pytest.raises(ModelError, match="not disc and cup"):
        workflow.pipeline(tmp_path / "a", disc=glaucoma.path)
    with pytest.raises(ModelError, match="does not tell two classes"):
        workflow.pipeline(tmp_path / "a", glaucoma=disc.path)
    with pytest.raises(ModelError, match="no run, model or data"):
        workflow.pipeline(tmp_path / "a", disc=tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no quality 'best'"):
        workflow.pipeline(tmp_path / "a", disc=disc.path, quality="best")
    assert not (tmp_path / "a").exists()
    with pytest.raises(OutputError, match="in use"):
        workflow.pipeline(pipeline, disc=disc.path)
    with pytest.raises(OutputError, match="in use"):
        workflow.crop(photos / "classes", disc=disc.path, out=crops[0])
    with pytest.raises(ModelError, match="not disc and cup"):
        workflow.crop(photos / "classes", disc=glaucoma.path, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()
    with pytest.raises(ConfigError, match="has masks"):
        workflow.crop(photos / "segmentation", disc=disc.path, out=tmp_path / "c")
    broken = shutil.copytree(pipeline, tmp_path / "broken")
    (broken / "glaucoma.safetensors").unlink()
    with pytest.raises(ModelError, match=r"names glaucoma\.safetensors"):
        read_pipeline(broken)
    (broken / PIPELINE).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        read_pipeline(broken)
    with pytest.raises(ModelError, match="holds no"):
        read_pipeline(tmp_path)
