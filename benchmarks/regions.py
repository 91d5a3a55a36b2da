"""Seconds of a training step with overlapping regions against one with the labels they are made of, interleaved.

python benchmarks/regions.py --patch 64 64 64 --width 16
"""

from __future__ import annotations

import argparse

import torch

from catenary.data.labels import LabelSet
from catenary.predict.memory import keep_buffers
from catenary.recipe import Recipe, choose
from catenary.train.probe import step_seconds

NAMES = ("background", "necrosis", "oedema", "non-enhancing", "enhancing")
LABELS = LabelSet(names=NAMES)
REGIONS = LabelSet(names=NAMES, regions={"whole": (1, 2, 3, 4), "core": (1, 3, 4), "enhancing": (4,)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", type=int, nargs="+", default=(64, 64, 64))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    keep_buffers()
    best = {"labels": 1e9, "regions": 1e9}
    for _ in range(given.rounds):
        for name, labels, loss in (("labels", LABELS, "dice_ce"), ("regions", REGIONS, "dice_bce")):
            widths = tuple(given.width * 2**level for level in range(4))
            fields = {
                "model.rank": len(given.patch), "model.channels": 2, "model.classes": labels.channels,
                "model.widths": widths, "model.norm": "instance", "loss.name": loss,
                "sample.patch": tuple(given.patch), "sample.batch": 2,
            }  # fmt: skip
            recipe = choose(Recipe(), fields)
            seconds = step_seconds(recipe, labels, device="cpu", precision="fp32", channels_last=True, repeats=2)
            best[name] = min(best[name], seconds)
    ratio = best["regions"] / best["labels"]
    told = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in best.items())
    print(f"{torch.get_num_threads()} threads: {told}: {ratio:.2f}")


if __name__ == "__main__":
    main()
