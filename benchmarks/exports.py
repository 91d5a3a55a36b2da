"""Exported models: size, speed on one core, and how far they depart from torch, by format and precision.

    python benchmarks/exports.py runs/disc=photos runs/skin=lesions runs/glaucoma=crops --rounds 15 --json exports.json

Each run is exported to every format and precision, whatever it departs by, and compared on the images named behind it
(the run's own where none are). Speed is images of the run's patch a second, one at a time in one thread: in every round
each network answers once, in another order, so that a busy moment of the machine hits all alike, and the median counts.
torch in full precision runs beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"


def opened(run, data):
    """A run's network with tiles of its images."""
    from catenary.workflow.export import open_original

    return open_original(Path(run), Path(data) if data else None)


def exported(original, folder):
    """``(format, precision, Written)`` of all there are; one that cannot be written is told."""
    from catenary.errors import CatenaryError
    from catenary.export.formats import FORMATS, write

    for to in ("onnx", "openvino"):
        for precision in FORMATS[to].precisions:
            target = folder / f"{original.name}-{precision}{FORMATS[to].suffixes[0]}"
            try:
                yield to, precision, write(original, target, to=to, precision=precision, limit=1.0)
            except CatenaryError as error:
                print(f"{original.name}, {to} {precision}: {error}")


def seconds_of(engines, x, rounds):
    """Median seconds of an answer of each engine, all taking turns."""
    taken = {name: [] for name in engines}
    for engine in engines.values():
        engine(x)
    order = [*engines]
    mixer = random.Random(0)
    for _ in range(rounds):
        mixer.shuffle(order)
        for name in order:
            start = time.perf_counter()
            engines[name](x)
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def measure(run, data, rounds, folder):
    """The rows of one run."""
    from catenary.export.graphs import OnnxFile
    from catenary.export.openvino_files import OpenVinoFile

    original = opened(run, data)
    openers = {"onnx": OnnxFile, "openvino": OpenVinoFile}
    made = {(to, precision): one for to, precision, one in exported(original, folder)}
    engines = {key: openers[key[0]](one.path, threads=1) for key, one in made.items()}
    engines["torch", "fp32"] = original.engine
    taken = seconds_of(engines, original.check[:1], rounds)
    slow = taken["torch", "fp32"]
    size = original.path.stat().st_size
    shared = {"run": original.name, "on": original.on, "tiles": len(original.check), "patch": original.check.shape[2:]}
    rows = [{**shared, "format": "torch", "precision": "fp32", "bytes": size, "rate": 1 / slow, "faster": 1.0}]
    for key, one in made.items():
        rows.append(
            {
                **shared, "format": key[0], "precision": key[1], "bytes": one.size, "rate": 1 / taken[key],
                "faster": slow / taken[key], "drift": one.drift.model_dump(mode="json"),
            }
        )  # fmt: skip
    return rows


def show(rows):
    """The table of a run in Markdown."""
    print("\n| run | format | precision | MB | images/s | against torch | change class | Dice | p, most | p, mean |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        drift = row.get("drift")
        told = ["", "", "", ""]
        if drift:
            dice = f"{min(drift['dice'].values()):.5f}" if drift["dice"] else ""
            told = [f"{100 * drift['changed']:.4f} %", dice]
            told += [f"{drift[key]:.1e}" for key in ("probability_max", "probability_mean")]
        cells = [row["run"], row["format"], row["precision"], f"{row['bytes'] / 1e6:.2f}", f"{row['rate']:.1f}"]
        print("| " + " | ".join([*cells, f"{row['faster']:.2f}x", *told]) + " |")
    first = rows[0]
    sides = " x ".join(map(str, first["patch"]))
    print(f"\n{first['run']}: {first['tiles']} tiles of {sides}: {first['on']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN[=DATA]")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for number, one in enumerate(given.runs):
            run, _, data = one.partition("=")
            folder = Path(place) / str(number)
            folder.mkdir()
            found = measure(run, data, given.rounds, folder)
            show(found)
            sys.stdout.flush()
            rows += found
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
