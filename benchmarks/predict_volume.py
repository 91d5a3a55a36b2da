"""Prediction of a large scan: seconds and peak memory, beside what arrays of classes times voxels would take.

    python benchmarks/predict_volume.py --shape 300 512 512 --spacing 1.5 0.8 0.8 --target 2 1.6 1.6

A made-up scan of whole numbers is written as NIfTI, and a small 3D U-Net with random weights and three classes segments
it from file to file in a process of its own (torch, full precision). The same is timed once more with a network that
costs nothing, which shows what all else takes: reading, resampling, blending, writing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def make(folder, shape, spacing, target):
    """A scan and a model file."""
    from catenary.data.labels import LabelSet
    from catenary.io import write_image
    from catenary.models import build
    from catenary.predict import Card, save_model
    from catenary.recipe import Recipe, choose
    from catenary.types import Grid

    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 300, [side // 16 + 1 for side in shape]).astype(np.float32)
    scan = coarse.repeat(16, 0).repeat(16, 1).repeat(16, 2)[tuple(slice(0, side) for side in shape)]
    write_image(folder / "scan.nii.gz", scan[None].astype(np.int16), grid=Grid(spacing=tuple(spacing), unit="mm"))
    fields = {
        "model.rank": 3, "model.channels": 1, "model.classes": 3, "model.widths": (8, 16, 32, 64),
        "model.norm": "batch", "prepare.normalise": "image", "prepare.spacing": tuple(target),
        "sample.patch": (64, 64, 64),
    }  # fmt: skip
    recipe = choose(Recipe(), fields)
    weights = {name: value.numpy() for name, value in build(**recipe.model.model_dump()).state_dict().items()}
    labels = LabelSet(names=("background", "one", "two"))
    save_model(folder / "model.safetensors", weights, Card(recipe=recipe, labels=labels, channels=1, rank=3))


def measure(folder, free):
    """Segment in this process and print what it took."""
    from catenary.predict.predictor import open_predictor

    predictor = open_predictor(folder / "model.safetensors", engine="torch")
    if free:

        class Nothing:
            name = "nothing"

            def __call__(self, x):
                return np.broadcast_to(np.float32(1 / 3), (len(x), 3, *x.shape[2:]))

        predictor.engine = Nothing()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    found = predictor(folder / "scan.nii.gz")
    found.save(folder / "mask.nii.gz")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak": peak / 2**20, "before": before / 2**20}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.5, 0.8, 0.8))
    parser.add_argument("--target", type=float, nargs=3, default=(2.0, 1.6, 1.6))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(Path(given.measure[0]), given.measure[1] == "free")
    voxels = int(np.prod(given.shape))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, given.shape, given.spacing, given.target)
        for kind in ("network", "free"):
            line = [sys.executable, __file__, "--measure", name, kind]
            done = subprocess.run(line, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{kind:8} {found['seconds']:.1f} s, peak {found['peak']:.2f} GiB, {found['before']:.2f} before "
                f"reading; classes times voxels in float32 alone: {voxels * 3 * 4 / 2**30:.2f} GiB"
            )
    return None


if __name__ == "__main__":
    main()
