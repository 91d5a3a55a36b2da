"""Pairs of satellite images with the damage of each building as polygons."""

import json

import numpy as np
import PIL.Image
import pytest

from catenary import open_dataset, workflow
from catenary.cli.main import main
from catenary.errors import DataError, InputError
from catenary.io import read_mask
from catenary.io.polygons import DAMAGE, read_xbd

SIDE = 48


def box(x, y, width, height, hole=None):
    def ring(x, y, w, h):
        return f"({x} {y}, {x + w} {y}, {x + w} {y + h}, {x} {y + h}, {x} {y})"

    return f"POLYGON ({ring(x, y, width, height)}{', ' + ring(*hole) if hole else ''})"


def write_json(path, buildings, **metadata):
    features = [{"wkt": wkt, "properties": {"feature_type": "building"} | ({"subtype": g} if g else {})}
                for wkt, g in buildings]  # fmt: skip
    record = {"features": {"xy": features, "lng_lat": []}, "metadata": {"width": SIDE, "height": SIDE} | metadata}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def write_scene(root, name, seed):
    """A scene with a building of each grade at a place of its own, bright before, darker the more it is damaged."""
    rng = np.random.default_rng(seed)
    places = [(4 + 14 * (i % 3), 4 + 16 * (i // 3)) for i in range(6)]
    order = rng.permutation(len(places))
    grades = list(DAMAGE)
    buildings = [(box(*places[order[i]], 9, 8), grade) for i, grade in enumerate(grades)]
    write_json(root / "labels" / f"{name}_post_disaster.json", buildings)
    write_json(root / "labels" / f"{name}_pre_disaster.json", [(wkt, None) for wkt, _ in buildings])
    (root / "images").mkdir(exist_ok=True)
    for date in ("pre", "post"):
        array = rng.integers(60, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        for i in range(len(grades)):
            x, y = places[order[i]]
            array[y : y + 8, x : x + 9] = 220 if date == "pre" else 220 - 40 * i
        PIL.Image.fromarray(array).save(root / "images" / f"{name}_{date}_disaster.png")


def test_polygons_become_a_label_map(tmp_path):
    path = write_json(
        tmp_path / "a.json",
        [
            (box(2, 3, 10, 6, hole=(4, 5, 3, 2)), "minor-damage"),
            (box(20, 20, 5, 5), "destroyed"),
            (box(23, 20, 5, 5), "no-damage"),  # overlaps the one before it
            (box(26, 20, 4, 5), "un-classified"),
            ("POLYGON ((30 30, 40 40, 40 30, 30 40, 30 30))", "major-damage"),  # crosses itself
            ("POLYGON EMPTY", "destroyed"),
            (box(44, 44, 20, 20), None),  # leaves the image, no grade
        ],
    )
    label = read_mask(path)
    assert label.shape == (SIDE, SIDE)
    assert label.dtype == np.uint8
    assert (label == 2).sum() == 60 - 6
    assert label[5, 4] == 0  # the hole
    assert (label == 4).sum() == 25  # the graver counts
    assert (label[20:25, 25:28] == 1).all()
    assert (label[20:25, 28:30] == 255).all()
    assert 40 < (label == 3).sum() < 60  # both halves of the bow tie
    assert (label[44:, 44:] == 1).all()
    assert not read_xbd(write_json(tmp_path / "b.json", [])).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("{", "no label file of xBD, or damaged"),
        ("[1]", "no label file of xBD, or damaged"),
        ('{"metadata": {"width": 4}}', "no label file of xBD, or damaged .*height"),
    ],
)
def test_a_file_that_is_none_is_said(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_mask(tmp_path / "a.json")
    with pytest.raises(InputError, match="damaged"):
        read_mask(write_json(tmp_path / "b.json", [("POLYGON ((0 0, 1", "destroyed")]))
    with pytest.raises(InputError, match="grades damage as 'flooded', known are no-damage"):
        read_mask(write_json(tmp_path / "c.json", [(box(0, 0, 2, 2), "flooded")]))


@pytest.fixture
def scenes(tmp_path):
    for number in range(8):
        write_scene(tmp_path / "xbd", f"storm_{number:08d}", number)
    return tmp_path / "xbd"


def test_scenes_are_found_with_six_bands_and_five_classes(scenes):
    (scenes / "images" / "storm_00000003_pre_disaster.png").unlink()
    data = open_dataset(scenes)
    assert data.layout == "xBD"
    assert data.labels.names == ("background", "no-damage", "minor-damage", "major-damage", "destroyed")
    assert len(data) == 7
    (found,) = data.findings
    assert (found.level, found.cases) == ("warning", ("storm_00000003",))
    image, label = data.read_pair(data["storm_00000000"])
    assert image.array.shape == (6, SIDE, SIDE)
    assert sorted(np.unique(label)) == [0, 1, 2, 3, 4, 255]
    intact = label == 1
    assert image.array[:3, intact].mean() == pytest.approx(220)
    assert image.array[3:, label == 4].mean() == pytest.approx(220 - 40 * 3)
    merged = data.with_classes({"intact": ["no-damage", "minor-damage"], "lost": ["major-damage", "destroyed"]})
    assert sorted(np.unique(merged.read_label(data["storm_00000000"]))) == [0, 1, 2, 255]


def test_target_pictures_serve_where_there_are_no_labels_and_folders_say_the_part(scenes, tmp_path):
    for part, split in (("train", "train"), ("hold", "val"), ("test", "test")):
        write_scene(tmp_path / "full" / part, f"{part}_00000001", 1)
        assert open_dataset(tmp_path / "full")[f"{part}_00000001"].split == split
    data = open_dataset(scenes)
    label = data.read_label(data["storm_00000002"])
    (scenes / "targets").mkdir()
    PIL.Image.fromarray(label).save(scenes / "targets" / "storm_00000002_post_disaster_target.png")
    (scenes / "labels" / "storm_00000002_post_disaster.json").unlink()
    again = open_dataset(scenes)
    assert again["storm_00000002"].mask.suffix == ".png"
    np.testing.assert_array_equal(again.read_label(again["storm_00000002"]), label)
    for file in [*(scenes / "labels").iterdir(), *(scenes / "targets").iterdir()]:
        file.unlink()
    with pytest.raises(DataError, match="scenes lack the image before or the label file"):
        open_dataset(scenes)


def test_damage_is_learnt_from_both_dates(scenes, tmp_path):
    settings = [
        "model.widths=[8,16]", "sample.patch=[48,48]", "sample.batch=4", "train.validations=2", "train.precision=fp32",
        "train.channels_last=off", "predict.engine=torch", "train.lr=0.01",
        'data.classes={"intact": ["no-damage", "minor-damage"], "lost": ["major-damage", "destroyed"]}',
    ]  # fmt: skip
    run = workflow.fit(scenes, out=tmp_path / "run", steps=30, settings=settings)
    assert run.evaluation.mean["dice"].value > 0.8
    assert main(["inspect", str(scenes), "--out", str(tmp_path / "look")]) == 0
    assert (tmp_path / "look" / "contact_sheet.png").is_file()


@pytest.mark.real
def test_real_polygons_agree_with_the_published_targets(real_data):
    root = real_data("xbd-joplin")
    data = open_dataset(root)
    assert len(data) == 3
    for case in data.cases:
        target = np.asarray(PIL.Image.open(root / "targets" / f"{case.name}_post_disaster_target.png"))
        assert np.mean(target == data.read_label(case)) > 0.99
