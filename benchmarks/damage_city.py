"""Building damage on made-up cities: the study's networks and training beside the recipe, on districts never seen.

    python benchmarks/damage_city.py --out FOLDER [--steps 240] [--only NAME ...] [--jobs 2] [--protocol]

192 tiles of 256x256 from eight cities train; 32 tiles of 512x512 from eight others test, once as they are and once with
the later image displaced smoothly by up to 8 pixels under other colours, haze and season. Every run makes as many
steps, of 8 patches of 128x128, at the same widths on one core. With ``--protocol`` the study's networks are trained as
the study has it, 15 epochs of whole tiles, 32 a step (U-Net++ 16, as 32 take 18 GB), and the recipe sees as many pixels
in steps of its own size. Two grades, as in the study (minor damage joins none, major joins destroyed); ``recipe-4``
keeps four.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

TWO = 'data.classes={"no-damage":["no-damage","minor-damage"],"destroyed":["major-damage","destroyed"]}'
STUDY = ["--set", "train.epochs=0", "--set", "train.validations=8"]
SAME = ["--set", "sample.patch=[128,128]", "--set", "sample.batch=8", "--set", "model.widths=[16,32,64,128,256]"]
RUNS = {
    "study-unet": ["--recipe", "building-damage", "--model", "unet", *STUDY],
    "study-unetpp": ["--recipe", "building-damage", "--model", "unetpp", *STUDY],
    "recipe": ["--recipe", "building-damage", "--set", TWO],
    "recipe-4": ["--recipe", "building-damage"],
}
#: With ``--protocol``: half the tiles a step, twice the steps.
HALVED = {"study-unetpp": ["--set", "sample.batch=16"]}
#: As many pixels as 15 epochs of the 120 tiles (five cities) that train, in steps of 8 patches of 128x128.
PROTOCOL_STEPS = 15 * 120 * 256 * 256 // (8 * 128 * 128)
TESTS = {
    "as trained": {"shift": 0.0, "colour_change": 0.5},
    "8 px, other colours": {"shift": 8.0, "colour_change": 1.0},
}


def measure(run, data, out):
    """The scores of a run on all tiles of a set, from a process of its own."""
    line = [sys.executable, "-m", "catenary", "evaluate", run, data, "--split", "all", "--out", out]
    subprocess.run([str(part) for part in line], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads((out / "report.json").read_text())["damage"]


def show(score):
    return "–" if score["value"] is None else f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--protocol", action="store_true", help="the study's own batch and epochs")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, each on a core of its own")
    given = parser.parse_args()
    from catenary.workflow.city import write_city

    train = given.out / "train"
    if not train.exists():
        write_city(train, tiles=(192, 256), seed=1)
    tests = {name: given.out / f"test-{i}" for i, name in enumerate(TESTS)}
    for name, folder in tests.items():
        if not folder.exists():
            write_city(folder, tiles=(32, 512), seed=2, **TESTS[name])
    waiting, busy = [name for name in given.only if not (given.out / name / "evaluation.json").exists()], []
    cores = sorted(os.sched_getaffinity(0))
    while waiting or busy:
        while waiting and len(busy) < given.jobs:
            core = next(c for c in cores if c not in {core for core, _ in busy})
            name = waiting.pop(0)
            line = ["taskset", "-c", str(core), sys.executable, "-m", "catenary", "fit", str(train), "--out"]
            if given.protocol and name.startswith("study"):
                # epochs, batch and patch are the recipe's own
                budget = [*RUNS[name][: -len(STUDY)], *HALVED.get(name, [])]
            else:
                budget = ["--steps", str(PROTOCOL_STEPS if given.protocol else given.steps), *SAME, *RUNS[name]]
            line += [str(given.out / name), "--seed", "0", *budget]
            log = (given.out / f"{name}.log").open("w")
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            busy.append((core, subprocess.Popen(line, stdout=log, stderr=log, env=environment)))
        for core, process in list(busy):
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                continue
            if process.returncode:
                raise SystemExit(f"a run failed; see the logs in {given.out}")
            busy.remove((core, process))
    print("| run | test | localisation F1 | no damage F1 | destroyed F1 | harmonic mean | destroyed, all pixels |")
    print("|---|---|---|---|---|---|---|")
    for name in given.only:
        for test, folder in tests.items():
            found = measure(given.out / name, folder, given.out / f"{name}-{folder.name}")["pixels"]
            grades = [found["grades"][grade] for grade in ("no-damage", "destroyed")]
            shown = [found["localisation"], *grades, found["damage"], found["strict"]["destroyed"]]
            print(f"| {name} | {test} | {' | '.join(map(show, shown))} |", flush=True)


if __name__ == "__main__":
    main()
