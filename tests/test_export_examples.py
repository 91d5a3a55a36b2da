"""The programs in docs/export.md know nothing of catenary and give its masks."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from catenary import workflow
from catenary.predict import open_predictor
from catenary.predict.prepare import framed
from catenary.workflow.demo import write_phantom

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)
ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "export.md").read_text("utf-8")
QUICK = [
    "model.widths=[8,16]", "sample.batch=4", "train.validations=1", "train.precision=fp32", "train.channels_last=off",
    "train.lr=0.01", "predict.engine=torch",
]  # fmt: skip
#: Scene, size that images are brought to, normalisation, side of a training patch.
CASES = [
    ("cells", 0, "dataset", 32),
    ("lesion", 40, "image", 32),
    ("microstructure", 70, "percentile", 32),
    ("lesion", 52, "range", 32),
    ("lesion", 29, "image", 64),
]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[2]}-{case[3]}")
def exported(request, tmp_path_factory):
    scene, size, normalise, side = request.param
    folder = tmp_path_factory.mktemp(scene)
    data = write_phantom(folder / "data", scene, count=8, size=(56, 61), seed=2)
    settings = [*QUICK, f"prepare.size={size}", f"prepare.normalise={normalise}", f"sample.patch=[{side},{side}]"]
    run = workflow.fit(data, out=folder / "run", steps=40, settings=settings).path
    file = workflow.export(run, to="onnx", out=folder / "model.onnx").path
    picture = sorted((data / "images").iterdir())[0]
    mask = open_predictor(run, engine="torch")(picture).mask
    assert 0.02 < (mask > 0).mean() < 0.98
    return file, picture, mask


def check(found, mask, file):
    """Sums in another order meet a threshold in two working pixels at most; OpenCV enlarges in fixed point."""
    size = json.loads((file.parent / "export.json").read_text("utf-8"))["model.onnx"]["input"]["size"]
    assert found.shape == mask.shape
    longest = max(mask.shape)
    allowed = 15 if size > longest else 2 * (longest / size if size else 1) ** 2
    assert (found != mask).sum() <= allowed


def test_the_python_program_gives_our_masks(exported):
    file, picture, mask = exported
    program = {}
    exec(blocks("python")[0], program)
    check(program["segment"](str(file), picture), mask, file)


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory):
    """A folder with onnxruntime-web: of the pages when they are built, else fetched."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    ours = ROOT / "web" / "node_modules"
    if (ours / "onnxruntime-web").is_dir():
        return ours
    place = tmp_path_factory.mktemp("npm")
    command = [
        "npm",
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(place),
        "onnxruntime-web",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        pytest.skip("npm cannot fetch onnxruntime-web")
    if done.returncode:
        pytest.skip(f"npm cannot fetch onnxruntime-web: {done.stderr.strip().splitlines()[-1]}")
    return place / "node_modules"


RUN = """
import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web";
import { segment } from "./segment.mjs";
const [model, beside, pixels, width, height, out] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(model)));
const told = JSON.parse(readFileSync(beside, "utf8"))["model.onnx"];
const mask = await segment(ort, session, told, new Uint8Array(readFileSync(pixels)), +width, +height);
writeFileSync(out, mask);
"""


def test_the_javascript_program_gives_our_masks(exported, node_modules, tmp_path):
    file, picture, mask = exported
    told = json.loads((file.parent / "export.json").read_text("utf-8"))["model.onnx"]
    if told["input"]["normalise"] == "percentile":
        pytest.skip("the page's JavaScript leaves out percentiles")
    (tmp_path / "segment.mjs").write_text(blocks("js")[0], "utf-8")
    (tmp_path / "run.mjs").write_text(RUN, "utf-8")
    (tmp_path / "node_modules").symlink_to(node_modules)
    image = np.asarray(Pillow.open(picture).convert("RGBA"))
    (tmp_path / "pixels").write_bytes(image.tobytes())
    height, width = image.shape[:2]
    given = [file, file.parent / "export.json", tmp_path / "pixels", width, height, tmp_path / "mask"]
    done = subprocess.run(
        ["node", "run.mjs", *map(str, given)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    check(np.fromfile(tmp_path / "mask", np.uint8).reshape(height, width), mask, file)


def test_frames_and_calibration_are_ours():
    from catenary.metrics.calibration import Calibration

    program = {"np": np}
    exec(blocks("python")[1], program)
    rng = np.random.default_rng(0)
    for shape, patch in (((3, 30, 41), (16, 16)), ((3, 9, 50), (32, 33)), ((3, 7, 6), (10, 10))):
        image = rng.integers(0, 255, shape).astype(np.uint8)
        wanted = np.moveaxis(framed(np.ascontiguousarray(np.moveaxis(image, 0, -1)), patch), -1, 0)
        np.testing.assert_array_equal(program["framed"](image, patch), wanted)
    knots = ((0.1, 0.0), (0.4, 0.3), (0.9, 1.0))
    ways = [
        Calibration(),
        Calibration(method="temperature", temperature=2.5),
        Calibration(method="isotonic", knots=knots),
    ]
    for how in ways:
        for p in (0.05, 0.3, 0.5, 0.95):
            told = {"calibration": json.loads(how.model_dump_json())}
            assert program["calibrated"](p, told) == pytest.approx(how(np.array([[1 - p, p]]))[0, 1], abs=1e-6)
