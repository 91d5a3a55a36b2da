"""A volume of probabilities brought to twice its size and turned into labels: time and memory, ours and the usual ways.

    python benchmarks/upsample.py [--classes 3] [--side 200] [--factor 2]

Ours takes the probabilities in bands, as prediction hands them on; the others enlarge each class, stack them and take
the argmax, as programs do that hold everything. Each runs alone in a fresh process on one thread. Memory is the largest
resident size above that of the process once all is imported, inputs and labels included. The labels are compared with
those of skimage. Smooth random fields, softmaxed, on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from scipy import ndimage
from skimage.transform import resize

from catenary.predict.resample import resample_bands, running_argmax

#: Slices a band, as of a network that sees patches of 32.
ROWS = 32


def ours(path: Path, after: tuple[int, ...]) -> np.ndarray:
    labels, top = np.empty(after, np.uint8), 0
    before = np.load(path, mmap_mode="r").shape[1:]
    for band in resample_bands(bands(path), before, after):
        running_argmax(band, labels[top : top + band.shape[1]])
        top += band.shape[1]
    return labels


def bands(path: Path) -> Iterator[np.ndarray]:
    """Slices of all classes, read one band at a time into one buffer."""
    whole = np.load(path, mmap_mode="r")
    classes, depth, height, width = whole.shape
    buffer = np.empty((classes, ROWS, height, width), np.float32)
    with path.open("rb") as file:
        for top in range(0, depth, ROWS):
            rows = min(ROWS, depth - top)
            for number in range(classes):
                file.seek(whole.offset + 4 * (number * depth + top) * height * width)
                part = np.fromfile(file, np.float32, rows * height * width)
                buffer[number, :rows] = part.reshape(rows, height, width)
            yield buffer[:, :rows]


def skimage(path: Path, after: tuple[int, ...]) -> np.ndarray:
    planes = [resize(plane, after, order=1, mode="edge", anti_aliasing=False) for plane in np.load(path)]
    return np.stack(planes).argmax(axis=0).astype(np.uint8)


def zoom(path: Path, after: tuple[int, ...]) -> np.ndarray:
    planes = []
    for plane in np.load(path):
        factors = [new / old for new, old in zip(after, plane.shape, strict=True)]
        planes.append(ndimage.zoom(plane, factors, order=1, mode="nearest", grid_mode=True))
    return np.stack(planes).argmax(axis=0).astype(np.uint8)


WAYS = {"catenary": ours, "skimage resize": skimage, "scipy zoom": zoom}


def one(name: str, path: Path, side: int) -> None:
    """Measure one way in this process; prints JSON and leaves the labels beside the input."""
    # A process inherits its parent's peak: the parent holds nothing but the same imports.
    cv2.setNumThreads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    labels = WAYS[name](path, (side,) * 3)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(path.with_name(f"{name}.npy"), labels)
    print(json.dumps({"seconds": seconds, "megabytes": (peak - before) / 1024}))


def draw(path: Path, classes: int, side: int) -> None:
    rng = np.random.default_rng(0)
    fields = np.empty((classes, side, side, side), np.float32)
    for field in fields:
        field[:] = ndimage.gaussian_filter(rng.standard_normal(field.shape, np.float32), 3)
        field *= 4 / field.std()
    np.exp(fields, out=fields)
    fields /= fields.sum(axis=0)
    np.save(path, fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--side", type=int, default=200, help="side of the cube at working resolution")
    parser.add_argument("--factor", type=int, default=2)
    parser.add_argument("--job", nargs=2, default=("", ""), help=argparse.SUPPRESS)  # for the processes it starts
    given = parser.parse_args()
    after, job, file = given.side * given.factor, given.job[0], Path(given.job[1])
    if job == "draw":
        draw(file, given.classes, given.side)
        return
    if job:
        one(job, file, after)
        return
    print(f"{given.classes} classes, {given.side}^3 to {after}^3, and argmax")
    print(f"{'':16s} {'seconds':>8s} {'MB':>7s} {'times ours':>11s} {'MB, ours':>9s} {'same labels':>12s}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probabilities.npy"
        found = {}
        for name in ("draw", *WAYS):
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--job", name, str(path)], check=True, stdout=subprocess.PIPE
            )
            if done.stdout:
                found[name] = json.loads(done.stdout)
        reference = np.load(path.with_name("skimage resize.npy"), mmap_mode="r")
        base = found["catenary"]
        for name, row in found.items():
            labels = np.load(path.with_name(f"{name}.npy"), mmap_mode="r")
            same = np.mean([np.mean(labels[i] == reference[i]) for i in range(after)])
            print(
                f"{name:16s} {row['seconds']:8.2f} {row['megabytes']:7.0f} {row['seconds'] / base['seconds']:10.1f}x "
                f"{row['megabytes'] / base['megabytes']:8.1f}x {100 * same:10.4f} %"
            )


if __name__ == "__main__":
    main()
