"""Ours against segmentation_models_pytorch: the same cases, the same minutes, the same scorer.

    python benchmarks/versus_smp.py DATA --minutes 5 [--sets nuclei skin-lesion ...] [--out runs/versus] [--together]

DATA is the folder that holds the data sets. For each set, `catenary.fit` trains with its defaults, and the peer
(Unet, ResNet-34 encoder without pretrained weights, random 256x256 crops, flips and quarter turns, Dice + BCE or CE,
AdamW with a cosine over the minutes) trains on the same training cases. Both answers are measured by the same scorer
at the images' own resolution on the same test cases; differences are paired by case, intervals drawn over groups.
The peer's minutes count its training steps only; ours count reading, planning, timing and validation too.
Both run in processes of their own, one after the other; with --together side by side, each on half of the cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import catenary
from catenary.data.layouts import open_dataset
from catenary.data.splits import split_cases
from catenary.data.survey import survey
from catenary.metrics.evaluation import Scorer
from catenary.metrics.evaluation import compare as compare_evaluations
from catenary.workflow import fit

SETS = {"nuclei": None, "skin-lesion": None, "superalloy": None, "retina-vessels": r"Image_(\d+)"}
CROP = 256


class Crops(torch.utils.data.Dataset):
    """Random crops with flips and quarter turns, as the peer's users write them."""

    def __init__(self, pairs, mean, std, length):
        self.pairs, self.mean, self.std, self.length = pairs, mean, std, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image, label = self.pairs[rng.integers(len(self.pairs))]
        h, w = label.shape
        pad = [(0, max(0, CROP - h)), (0, max(0, CROP - w))]
        if pad != [(0, 0), (0, 0)]:
            image, label = np.pad(image, [*pad, (0, 0)], mode="reflect"), np.pad(label, pad, mode="reflect")
            h, w = label.shape
        y, x = rng.integers(h - CROP + 1), rng.integers(w - CROP + 1)
        image, label = image[y : y + CROP, x : x + CROP], label[y : y + CROP, x : x + CROP]
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        if rng.random() < 0.5:
            image, label = image[::-1], label[::-1]
        turns = int(rng.integers(4))
        image, label = np.rot90(image, turns), np.rot90(label, turns)
        x = (image.astype(np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), dtype=np.float32)), torch.from_numpy(
            np.ascontiguousarray(label).astype(np.int64)
        )


def peer_network(channels, classes):
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet34", encoder_weights=None, in_channels=channels, classes=classes)


def peer_fit(dataset, names, minutes, batch=8, lr=1e-3):
    """Train the peer for `minutes`; gives the network, its normalisation and the number of steps."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    pairs = [(np.moveaxis(dataset.read_image(dataset[n]).array, 0, -1), dataset.read_label(dataset[n])) for n in names]
    top = 65535 / 255 if pairs[0][0].dtype == np.uint16 else 1
    pairs = [(image / top, label) for image, label in pairs] if top != 1 else pairs
    channels, labels = pairs[0][0].shape[-1], dataset.labels
    mean = np.array([0.485, 0.456, 0.406] if channels == 3 else [0.5] * channels, np.float32)
    std = np.array([0.229, 0.224, 0.225] if channels == 3 else [0.25] * channels, np.float32)
    binary = labels.task == "binary"
    network = peer_network(channels, labels.channels).train()
    dice = smp.losses.DiceLoss("binary" if binary else "multiclass", from_logits=True)
    cross = torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    loader = torch.utils.data.DataLoader(Crops(pairs, mean, std, 10**7), batch_size=batch, num_workers=1)
    start, steps = time.perf_counter(), 0
    for x, y in loader:
        used = (time.perf_counter() - start) / (60 * minutes)
        if used >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * used)) / 2
        logits = network(x)
        target = y[:, None].float() if binary else y
        loss = dice(logits, target if binary else y) + cross(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return network.eval(), mean, std, top, steps


@torch.inference_mode()
def peer_predict(network, image, mean, std, top, labels):
    """Whole image, padded to a multiple of 32."""
    x = (np.moveaxis(image, 0, -1).astype(np.float32) / top / 255 - mean) / std
    h, w = x.shape[:2]
    x = np.pad(x, [(0, -h % 32), (0, -w % 32), (0, 0)], mode="reflect")
    logits = network(torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), dtype=np.float32))[None])[0, :, :h, :w]
    answer = logits[0] > 0 if labels.task == "binary" else logits.argmax(0)
    return answer.numpy().astype(np.uint8)


def ours(folder, group, minutes, out):
    """Train ours into a run's folder; gives the label maps of the test cases and what was used."""
    dataset = open_dataset(folder, group=group)
    start = time.perf_counter()
    run = fit(dataset, out=out / "run", minutes=minutes)
    total = (time.perf_counter() - start) / 60
    model = catenary.load(run.path)
    answers = {name: model(dataset.read_image(dataset[name])).mask for name in run.splits.test}
    return answers, {"steps": model.card.provenance["training_steps"], "total_minutes": round(total, 2)}


def peer(folder, group, minutes, out):
    """Train the peer; gives the same."""
    dataset = open_dataset(folder, group=group)
    splits = split_cases(dataset, survey(dataset))
    network, mean, std, top, steps = peer_fit(dataset, splits.train, minutes)
    read = {name: dataset.read_image(dataset[name]).array for name in splits.test}
    answers = {name: peer_predict(network, array, mean, std, top, dataset.labels) for name, array in read.items()}
    return answers, {"steps": steps}


def run_one(who, folder, group, minutes, out):
    """One side, in this process; its answers and record go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    answers, record = {"ours": ours, "peer": peer}[who](folder, group, minutes, out)
    np.savez_compressed(out / f"{who}.npz", **answers)
    (out / f"{who}.json").write_text(json.dumps(record))


def score(folder, group, minutes, out):
    """Measure both on the test cases, and their difference."""
    dataset = open_dataset(folder, group=group)
    found = {}
    for who in ("ours", "peer"):
        scorer = Scorer(dataset.labels)
        with np.load(out / f"{who}.npz") as answers:
            for name in answers.files:
                scorer.add(name, dataset[name].group, dataset.read_label(dataset[name]), answers[name])
        found[who] = scorer.result("test")
    difference = compare_evaluations(found["peer"], found["ours"]).mean["dice"]
    row = {"set": folder.name, "minutes": minutes, "n": found["ours"].n, "difference": difference.model_dump()}
    for who in ("ours", "peer"):
        row[who] = found[who].mean["dice"].model_dump() | json.loads((out / f"{who}.json").read_text())
    return row


def command(arguments, name, who, cores):
    """The process that runs one side."""
    line = [sys.executable, __file__, str(arguments.data), "--minutes", str(arguments.minutes), "--sets", name]
    line += ["--out", str(arguments.out), "--only", who]
    if cores:
        line = ["taskset", "-c", ",".join(map(str, cores)), *line]
    environment = os.environ | ({"OMP_NUM_THREADS": str(len(cores))} if cores else {})
    return subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--out", type=Path, default=Path("runs/versus"))
    parser.add_argument("--together", action="store_true", help="both sides at once, each on half of the cores")
    parser.add_argument("--only", choices=("ours", "peer"), help="run one side in this process")
    arguments = parser.parse_args()
    half = (os.cpu_count() or 2) // 2
    for index, name in enumerate(arguments.sets):
        folder, group = arguments.data / name, SETS.get(name)
        target = arguments.out / f"{name}-{arguments.minutes:g}"
        if arguments.only:
            run_one(arguments.only, folder, group, arguments.minutes, target)
            continue
        cores = {"ours": range(half), "peer": range(half, 2 * half)}
        if index % 2:  # no side keeps the better half
            cores = {"ours": cores["peer"], "peer": cores["ours"]}
        if arguments.together:
            started = [command(arguments, name, who, list(cores[who])) for who in ("ours", "peer")]
            codes = [process.wait() for process in started]
        else:
            codes = [command(arguments, name, who, []).wait() for who in ("ours", "peer")]
        if any(codes):
            sys.exit(f"{name}: ended with {codes}")
        row = score(folder, group, arguments.minutes, target)
        (target / "versus.json").write_text(json.dumps(row, indent=1))
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
