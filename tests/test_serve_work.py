"""What the worker makes of each kind of job, with real small networks."""

import csv
import gzip
import io
import json
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary import workflow
from catenary.data.labels import LabelSet
from catenary.io import read_image, read_mask, write_image
from catenary.predict import open_predictor
from catenary.serve.catalogue import catalogue
from catenary.serve.together import WATCH, Together
from catenary.serve.work.output import Task
from catenary.serve.worker import RESULT, Worker
from catenary.types import Grid, Image
from dicoms import write_series
from serving import LESION, picture, send, serving, until, write_model

THREE = LabelSet(names=("pore", "electrolyte", "nickel"))
DISC = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
EYES = LabelSet(names=("healthy", "glaucoma"), scope="image")
DAMAGE = LabelSet(names=("background", "no-damage", "minor-damage", "destroyed"))
CLASSIFIER = {"model__name": "classifier", "model__hidden": 5, "sample__patch": (48, 48), "prepare__size": 48}


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """All kinds of models, open in this process; the news are kept in `news`."""
    folder = tmp_path_factory.mktemp("models")
    disc = write_model(folder / "disc.safetensors", DISC)
    eyes = write_model(folder / "eyes.safetensors", EYES, **CLASSIFIER)
    models = {
        "lesion": write_model(folder / "lesion.safetensors"),
        "micro": write_model(folder / "micro.safetensors", THREE, channels=1),
        "eyes": eyes,
        "scan": write_model(folder / "scan.safetensors", LESION, channels=1, rank=3),
        "two": write_model(folder / "two.safetensors", LESION, channels=2, rank=3),
        "damage": write_model(
            folder / "damage.safetensors", DAMAGE, channels=6, model__fusion="feature", model__norm="batch"
        ),
        "open": workflow.pipeline(folder / "open", disc=disc, glaucoma=eyes, quality="off").path,
        "screening": workflow.pipeline(folder / "screening", disc=disc, glaucoma=eyes).path,
    }
    served = catalogue(tuple(models.items()))
    news = []
    found = Worker({n: {"path": str(one.path), "kind": one.kind} for n, one in served.items()}, "torch", news.append)
    found.news = news
    return found


@pytest.fixture
def run(worker, tmp_path):
    """Run a job on files; gives the last news, the result, and the folder."""

    def run(model, kind, files, name="eye.png", limit=10**9, **options):
        inputs = [{"role": role, "path": str(path), "name": name, "file": path.name} for role, path in files]
        out = tmp_path / "job" / "out"
        task = Task(
            id="0" * 20, model=model, kind=kind, name=name, options=options, inputs=inputs, folder=out, limit=limit
        )  # fmt: skip
        worker.news.clear()
        worker.run(task)
        result = out / RESULT
        return worker.news[-1], json.loads(result.read_text("utf-8")) if result.exists() else None, out

    return run


def stored(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def opened(data):
    return np.asarray(Pillow.open(data))


def test_an_image_becomes_a_mask_and_a_view(run, worker, tmp_path):
    path = stored(tmp_path, "image0000.png", picture((70, 50)))
    news, result, out = run("micro", "image", [("image", path)])
    assert news["status"] == "failed"
    assert news["error"].startswith("eye.png has 3 channel(s)")
    write_image(path, np.random.default_rng(0).integers(0, 255, (1, 70, 50), np.uint8))
    news, result, out = run("micro", "image", [("image", path)], probability=True, vectors=True)
    assert (news["status"], news["error"]) == ("done", None)
    view = result["view"]
    assert (view["width"], view["height"], view["task"]) == (50, 70, "exclusive")
    wanted = open_predictor(worker._models["micro"]["path"])(read_image(path))
    np.testing.assert_array_equal(read_mask(out / "mask.png"), wanted.mask)
    np.testing.assert_array_equal(opened(out / "mask-shown.png"), wanted.mask)
    for number, target in enumerate(view["targets"]):
        assert target["threshold"] is None
        shown = opened(out / f"probability-{number}.png")
        np.testing.assert_allclose(shown / 255, wanted.probability[target["value"]], atol=0.003)
    assert read_image(out / "probability.tif").array.shape == (3, 70, 50)
    outlines = json.loads((out / "outlines.geojson").read_text("utf-8"))["features"]
    assert {one["properties"]["class"] for one in outlines} <= {"electrolyte", "nickel"}
    with (out / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["electrolyte", "nickel"]
    assert float(rows[0]["area_px"]) == view["measurements"][0]["area_px"] == (wanted.mask == 1).sum()
    assert {one["name"] for one in result["files"]} == {path.name for path in out.iterdir()} - {RESULT}
    assert all(one["bytes"] == (out / one["name"]).stat().st_size for one in result["files"])


def test_regions_are_each_shown(run, tmp_path):
    path = stored(tmp_path, "image0000.jpg", picture((60, 60), "JPEG"))
    exif = Pillow.Exif()
    exif[274] = 6
    Pillow.open(io.BytesIO(picture((30, 60), "JPEG"))).save(path, exif=exif)
    _, result, out = run("lesion", "image", [("image", path)], overlay=False)
    view = result["view"]
    assert view["task"] == "regions"
    assert view["targets"] == [{"name": "lesion", "value": 1, "color": "#e69f00", "threshold": 0.5, "within": []}]
    mask, shown = opened(out / "mask-shown.png"), opened(out / "probability-0.png")
    assert mask.shape == (60, 30)  # upright
    assert "turned upright" in " ".join(view["warnings"])
    assert (mask == (shown > 127.5)).mean() > 0.99  # what the page shows at the threshold is the mask
    assert not (out / "overlay.jpg").exists()


def test_flips_are_averaged_where_that_is_wanted(run, tmp_path):
    path = stored(tmp_path, "image0000.png", picture((64, 64)))
    plain = run("lesion", "image", [("image", path)])[2] / "probability-0.png"
    before = opened(plain)
    news, _, out = run("lesion", "image", [("image", path)], tta=True)
    assert news["status"] == "done"
    assert (opened(out / "probability-0.png") != before).any()


def test_a_large_image_is_shown_smaller(run, tmp_path, monkeypatch):
    monkeypatch.setattr("catenary.serve.work.output.SHOWN", 64)
    path = stored(tmp_path, "image0000.png", picture((100, 128)))
    _, result, out = run("lesion", "image", [("image", path)])
    assert result["view"]["shown"] == {"width": 64, "height": 50}
    for name in ("image.jpg", "mask-shown.png", "probability-0.png"):
        assert opened(out / name).shape[:2] == (50, 64)
    assert opened(out / "mask.png").shape == (100, 128)


def test_two_pictures_of_a_place_are_compared(run, tmp_path):
    before, after = (stored(tmp_path, name, picture(seed=n)) for n, name in enumerate(("a.png", "b.png")))
    pair = [("image", before), ("post", after)]
    _, result, out = run("damage", "image", pair)
    assert result["view"]["before"].endswith("before.jpg")
    assert [one["name"] for one in result["view"]["targets"]] == list(DAMAGE.names[1:])
    np.testing.assert_allclose(opened(out / "image.jpg").mean(), opened(tmp_path / "b.png").mean(), atol=3)
    assert "without types of disaster" in run("damage", "image", pair, disaster="flood")[0]["error"]
    stored(tmp_path, "b.png", picture((41, 60)))
    assert "40x60 and 41x60" in run("damage", "image", pair)[0]["error"]


def test_a_whole_image_gets_its_class(run, tmp_path):
    path = stored(tmp_path, "image0000.png", picture((60, 80)))
    _, result, out = run("eyes", "classes", [("image", path)], name="left.png")
    view = result["view"]
    assert [one["name"] for one in view["answers"]] == ["healthy", "glaucoma"]
    assert sum(one["probability"] for one in view["answers"]) == pytest.approx(1)
    assert view["threshold"] == 0.5
    assert opened(out / "looked.jpg").shape == (60, 80, 3)
    with (out / "classes.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["class"]) == ("left.png", view["decided"])
    _, result, out = run("eyes", "classes", [("image", path)], looks=False)
    assert result["view"]["looked"] is None


def scan(channels=1, seed=0):
    rng = np.random.default_rng(seed)
    grid = Grid(spacing=(3.0, 1.0, 1.0), unit="mm", affine=(0, 0, 1, 0, 0, 1, 0, 0, 3, 0, 0, 0), axes=(3, 2, 1))
    return Image(array=rng.integers(0, 200, (channels, 10, 24, 20)).astype(np.int16), grid=grid)


def test_a_volume_comes_as_nifti_or_series_or_zip_or_slices(run, tmp_path):
    image = scan()
    write_series(tmp_path / "series", image)
    packed = tmp_path / "image0000.zip"
    slices = sorted((tmp_path / "series").iterdir())
    with zipfile.ZipFile(packed, "w") as file:
        for one in slices:
            file.write(one, one.name)
    _, result, out = run("scan", "volume", [("image", packed)], probability=True)
    view = result["view"]
    assert view["shape"] == [10, 24, 20]
    mask, shown = read_image(out / "mask.nii.gz"), read_image(out / "image-0.nii.gz")
    assert mask.shape == shown.shape == (10, 24, 20)
    assert mask.grid.affine == shown.grid.affine
    np.testing.assert_array_equal(shown.array, image.array)  # as it was scanned
    assert view["measurements"][0]["volume_ml"] == pytest.approx((mask.array == 1).sum() / 1000)
    assert read_image(out / "probability.nii.gz").shape == (10, 24, 20)
    news, result, other = run("scan", "volume", [("image", path) for path in slices], limit=4800)
    assert news["error"] is None
    np.testing.assert_array_equal(read_image(other / "mask.nii.gz").array, mask.array)
    news, *_ = run("scan", "volume", [("image", packed)], name="series.zip", limit=4799)
    assert "series.zip has 10x24x20 pixels, more than" in news["error"]


def test_channels_of_a_scan_may_lie_in_files_of_their_own(run, tmp_path):
    image = scan(2)
    files = []
    for number, volume in enumerate(image.array):
        path = tmp_path / f"image{number:04d}.nii.gz"
        write_image(path, volume, grid=image.grid)
        files.append(("image", path))
    news, result, _ = run("two", "volume", files)
    assert news["error"] is None
    assert [one["name"] for one in result["view"]["channels"]] == ["channel 1", "channel 2"]
    news, *_ = run("two", "volume", [*files, files[0]])
    assert "found 3 files" in news["error"]
    damaged = files[0][1]
    damaged.write_bytes(gzip.compress(gzip.decompress(damaged.read_bytes())[:3000]))
    news, *_ = run("scan", "volume", [("image", damaged)], name="mine.nii.gz")
    assert "mine.nii.gz is truncated" in news["error"]
    assert str(tmp_path) not in news["error"]


def test_a_photo_is_screened(run, tmp_path):
    path = stored(tmp_path, "image0000_OD.png", picture((80, 80)))
    news, result, out = run("screening", "screening", [("image", path)], name="my eye.png")
    assert news["error"] is None
    view = result["view"]
    assert view["row"]["photo"] == "my eye.png"
    assert [one["name"] for one in view["stages"]] == ["quality", "disc", "glaucoma"]
    assert [one["state"] for one in view["stages"]] == ["stopped", "not reached", "not reached"]
    assert view["row"]["result"] == "no answer"
    assert view["row"]["reason"]
    assert view["contours"] is None
    assert opened(out / "photo.jpg").shape == (80, 80, 3)
    assert "my eye.png" in (out / "report.html").read_text("utf-8")
    _, result, out = run("open", "screening", [("image", path)], name="my eye.png")
    assert result["view"]["stages"][0]["name"] == "disc"
    assert opened(out / "contours.jpg").shape == (80, 80, 3)
    broken = stored(tmp_path, "image0000.png", picture()[:300])
    news, result, _ = run("screening", "screening", [("image", broken)], name="broken.png")
    assert news["status"] == "done"  # what a stage stops is an answer, too
    assert result["view"]["photo"] is None
    assert result["view"]["row"]["reason"].startswith("broken.png is truncated")


def test_a_georeferenced_pair_becomes_a_map_with_tiles(worker, run, tmp_path):
    pytest.importorskip("rasterio")
    shapely = pytest.importorskip("shapely")
    from catenary.serve.tiles import tile
    from rasters import displaced, town, write

    pre = write(tmp_path / "image0000.tif", town(192, 0))
    post = write(tmp_path / "post0001.tif", displaced(town(192, 0), 2.0, 1.0))
    (tmp_path / "job" / "out").mkdir(parents=True)
    (tmp_path / "job" / "out" / "damage.tif").write_bytes(b"left by one that was killed at its end")
    news, result, out = run("damage", "map", [("image", pre), ("post", post)], name="town.tif", align="none")
    assert news["error"] is None
    view = result["view"]
    west, south, east, north = view["bounds"]
    assert 38 < west < east < 40
    assert 36 < south < north < 38
    assert [one["id"] for one in view["layers"]] == ["pre", "post", "damage", "confidence"]
    assert [one["name"] for one in view["layers"][2]["legend"]] == list(DAMAGE.names[1:])
    assert view["summary"]["images"] == ["town.tif", "town.tif"]
    buildings = json.loads((out / "buildings.geojson").read_text("utf-8"))["features"]
    assert len(buildings) == view["summary"]["buildings"]["count"]
    for one in buildings[:5]:
        left, bottom, right, top = shapely.bounds(shapely.from_geojson(json.dumps(one["geometry"])))
        assert west - 1e-4 <= left < right <= east + 1e-4
        assert south - 1e-4 <= bottom < top <= north + 1e-4
    z = view["maxzoom"]
    x = int((west + east + 360) / 720 * 2**z)
    y = int((1 - np.arcsinh(np.tan(np.radians((south + north) / 2))) / np.pi) / 2 * 2**z)
    colours = catalogue((("damage", Path(worker._models["damage"]["path"])),))["damage"].colours
    drawn = {}
    places = {"pre": pre, "post": post, "damage": out / "damage.tif", "confidence": out / "confidence.tif"}
    for layer, path in places.items():
        drawn[layer] = opened(io.BytesIO(tile(path, layer, z, x, y, colours)))
        assert drawn[layer].shape == (256, 256, 4)
    assert 0 < (drawn["pre"][..., 3] > 0).mean() <= 1
    assert set(map(tuple, drawn["damage"][drawn["damage"][..., 3] > 0][:, :3])) <= set(colours)
    far = opened(io.BytesIO(tile(pre, "pre", 3, 0, 0)))
    assert (far == 0).all()


class Slow:
    """An engine that takes its time, and remembers what it was asked."""

    name = "slow"

    def __init__(self):
        self.sizes, self.busy = [], threading.Lock()

    def __call__(self, x):
        assert self.busy.acquire(blocking=False), "one at a time"
        self.sizes.append(len(x))
        time.sleep(0.05)
        self.busy.release()
        assert len(x) <= 4 or len(x) == 6
        return x[:, :1] * 2


def test_those_who_wait_are_answered_together():
    slow = Slow()
    engine = Together(slow, most=4)
    inputs = [np.full((1, 3, 8, 8), n, np.float32) for n in range(7)] + [np.full((1, 3, 4, 8), 9, np.float32)]
    answers = [None] * len(inputs)

    def ask(number):
        answers[number] = engine(inputs[number])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x, y in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(y, x[:, :1] * 2)
    assert sum(slow.sizes) == 8
    assert max(slow.sizes) > 1
    assert len(slow.sizes) < 8
    assert engine(np.zeros((6, 3, 8, 8), np.float32)).shape == (6, 1, 8, 8)  # one caller's own tiles stay together


def test_an_error_reaches_everyone_in_the_batch_and_nobody_else():
    class Broken(Slow):
        def __call__(self, x):
            if (x == 13).any():
                raise ValueError("unlucky")
            return super().__call__(x)

    engine = Together(Broken())
    with pytest.raises(ValueError, match="unlucky"):
        engine(np.full((1, 1, 2, 2), 13, np.float32))
    assert engine(np.ones((1, 1, 2, 2), np.float32)).sum() == 8


def test_work_is_stopped_between_tiles(worker, run, tmp_path):
    path = stored(tmp_path, "image0000.png", picture((200, 200)))
    news, _, _ = run("lesion", "image", [("image", path)])
    steps = [one for one in worker.news if one["is"] == "progress" and one["stage"] == "segmenting"]
    assert steps[0]["total"] > 4
    seen = []
    original = worker._tell

    def tell(one):
        original(one)
        if one.get("stage") == "segmenting":
            seen.append(one)
            worker.cancel("0" * 20)

    worker._tell = tell
    try:
        news, *_ = run("lesion", "image", [("image", path)])
    finally:
        worker._tell = original
    assert news["status"] == "cancelled"
    assert len(seen) == 1
    assert WATCH.get() is None


def test_a_full_disk_is_told_by_the_worker(run, tmp_path, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = stored(tmp_path, "image0000.png", picture())
    monkeypatch.setattr("catenary.io.files.os.replace", full)
    news, _, _ = run("lesion", "image", [("image", path)])
    assert (news["status"], "disk of the server is full" in news["error"]) == ("failed", True)


def test_what_should_not_happen_is_told_without_its_insides(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("catenary.serve.work.images.shown_size", lambda _: 1 / 0)
    news, _, _ = run("lesion", "image", [("image", stored(tmp_path, "image0000.png", picture()))])
    assert "this should not happen" in news["error"]
    assert "Traceback" in capsys.readouterr().err


def test_the_real_worker_answers(tmp_path):
    from catenary.serve.foreman import WORKER

    with serving(tmp_path, worker=WORKER, engine="torch") as client:
        until(lambda: client.get("/health").json()["status"] == "ok", 120)
        job = send(client, data=picture((64, 64)), wait=60).json()
        assert job["status"] == "done", job
        mask = client.get(job["view"]["mask"])
        assert opened(io.BytesIO(mask.content)).shape == (64, 64)
        many = [send(client, data=picture((64, 64), seed=n)).json()["id"] for n in range(12)]
        for one in many:
            until(lambda one=one: client.get(f"/api/jobs/{one}").json()["status"] == "done")
