"""A model of building damage in a new place: as it is, adapted with a few labelled tiles, or trained on these alone.

    python benchmarks/few_shot.py --out FOLDER [--steps 240] [--more 60] [--aoi 16]

The model is the recipe's, trained on the eight made-up cities of `damage_city.py`. The new place is eight other cities
at twice the pixel size, under other colours, displaced by up to 4 pixels: a few tiles of 256x256 to adapt with, divided
by city as always, so that fewer of them train, and 24 of 512x512 of eight further cities of that kind to test on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from damage_city import SAME, TWO, measure, show

from catenary.workflow.city import write_city

NEW = {"pixel": 1.0, "colour_change": 1.0, "shift": 4.0}


def train(data, out, steps, *more):
    """A run of the recipe, unless it is there."""
    if not (out / "evaluation.json").exists():
        line = [sys.executable, "-m", "catenary", "fit", data, "--recipe", "building-damage", "--set", TWO, *SAME]
        line += ["--out", out, "--steps", steps, "--seed", "0", "--resume", *more]
        subprocess.run([str(part) for part in line], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--more", type=int, default=60, help="steps in the new place")
    parser.add_argument("--aoi", type=int, default=16, help="labelled tiles of the new place")
    given = parser.parse_args()
    sets = {
        "train": {"tiles": (192, 256), "seed": 1},
        "aoi": {"tiles": (given.aoi, 256), "seed": 5, **NEW},
        "new": {"tiles": (24, 512), "seed": 6, **NEW},
    }
    for name, wish in sets.items():
        if not (given.out / name).exists():
            write_city(given.out / name, **wish)
    train(given.out / "train", given.out / "base", given.steps)
    train(given.out / "aoi", given.out / "adapted", given.more, "--init", given.out / "base")
    train(given.out / "aoi", given.out / "alone", given.more)
    print("| run | localisation F1 | no damage F1 | destroyed F1 | harmonic mean |\n|---|---|---|---|---|")
    for name in ("base", "adapted", "alone"):
        found = measure(given.out / name, given.out / "new", given.out / f"{name}-new")["pixels"]
        grades = [found["grades"][grade] for grade in ("no-damage", "destroyed")]
        print(f"| {name} | {' | '.join(map(show, (found['localisation'], *grades, found['damage'])))} |", flush=True)


if __name__ == "__main__":
    main()
