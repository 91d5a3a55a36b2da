"""Glaucoma screening measured: disc and cup, detection and progression by cross-validation, seconds a photograph.

    python benchmarks/glaucoma.py disc DATA/optic-disc-cup --out FOLDER [--folds 5] [--minutes 10] [--cores 0 1]
    python benchmarks/glaucoma.py detection DATA/fundus-glaucoma --disc RUN --out FOLDER [--folds 5] [--minutes 3]
    python benchmarks/glaucoma.py progression DATA/glaucoma-progression --out FOLDER [--folds 5] [--minutes 4]
    python benchmarks/glaucoma.py vessels DATA/retina-vessels --out FOLDER [--folds 3] [--minutes 12] [--cores 0]
    python benchmarks/glaucoma.py seconds PIPELINE PHOTO ...

Every fold is a run of its own; each image is scored by the one fold that did not train on it. Scores of all images are
pooled, with 95 % bootstrap intervals over patients. Detection looks at crops of the disc that RUN finds; beside it
stands the vertical cup-to-disc ratio alone, which needs no training. Vessels are scored beside a second observer, both
against the first, on the same test images; folds and intervals are by child, both eyes together. `seconds` is the whole
command, start-up included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np


def fit(data, out, recipe, fold, given, core, *more):
    """One fold, in a process of its own; gives what it says of its test cases."""
    if not (out / "report.json").exists():
        line = [sys.executable, "-m", "catenary", "fit", data, "--out", out, "--recipe", recipe]
        line += [
            "--minutes",
            given.minutes,
            "--set",
            f"split.folds={given.folds}",
            "--set",
            f"split.fold={fold}",
            *more,
        ]
        line += ["--resume"] if out.exists() else []
        env = os.environ | ({"OMP_NUM_THREADS": "1"} if core is not None else {})
        pin = [] if core is None else ["taskset", "-c", str(core)]
        subprocess.run(
            [*pin, *map(str, line)], check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    return json.loads((out / "report.json").read_text())


def every_fold(data, recipe, given, *more):
    cores = given.cores or [None]
    with ThreadPoolExecutor(len(cores)) as pool:
        jobs = [
            pool.submit(fit, data, given.out / f"fold{k}", recipe, k, given, cores[k % len(cores)], *more)
            for k in range(given.folds)
        ]
        return [job.result() for job in jobs]


def mean_with_interval(values, groups, seed=0):
    """Mean over cases, 95 % interval over groups."""
    values, (_, index) = np.asarray(values, float), np.unique(groups, return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(index.max() + 1, [1 / (index.max() + 1)] * (index.max() + 1), 2000)
    weight = draws[:, index]
    low, high = np.percentile((weight @ values) / weight.sum(1), (2.5, 97.5))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def disc(given):
    reports = every_fold(given.data, "glaucoma", given)
    cases = [case for report in reports for case in report["cases"]]
    groups = [case["group"] for case in cases]
    for target in ("disc", "cup"):
        for metric in ("dice", "iou"):
            scores = [case["classes"][target][metric] for case in cases]
            print(f"| {target} {metric} | {mean_with_interval(scores, groups)} |")
    pairs = [q for report in reports for q in report["quantities"] if q["quantity"].startswith("cdr_vertical")]
    known = [q for q in pairs if q["truth"] is not None and q["prediction"] is not None]
    error = np.array([q["prediction"] - q["truth"] for q in known])
    names = [q["case"] for q in known]
    print(f"| vCDR, mean absolute error | {mean_with_interval(np.abs(error), names)} |")
    print(f"| vCDR, mean error | {mean_with_interval(error, names)} |")
    print(f"| photographs without one disc | {len(pairs) - len(known)} of {len(pairs)} |")
    print(f"steps a fold: {[int(report['provenance']['training_steps']) for report in reports]}")


def pooled(reports, **more):
    from catenary.metrics.classes import evaluate_classes

    names = reports[0]["evaluation"]["names"]
    cases = [case for report in reports for case in report["evaluation"]["cases"]]
    return cases, evaluate_classes(
        [names.index(case["truth"]) for case in cases],
        np.array([case["probability"] for case in cases]),
        names=names,
        groups=[case["group"] for case in cases],
        cases=[case["name"] for case in cases],
        split="all folds",
        **more,
    )


def detection(given):
    from catenary import workflow
    from catenary.data.layouts import open_dataset
    from catenary.metrics.ranking import auc, cuts

    crops = given.out / "crops"
    if not crops.exists():
        _, without = workflow.crop(given.data, disc=given.disc, out=crops)
        print(f"no single disc in {without}")
    cases, found = pooled(every_fold(crops, "glaucoma-detection", given))
    print(found)
    model = workflow.load(given.disc)
    dataset = open_dataset(crops)
    photos = open_dataset(given.data)
    truth, ratio = [], []
    for case in cases:
        rows = model(photos.read_image(photos[case["name"]])).quantities
        value = next(row["value"] for row in rows if row["quantity"] == "cdr_vertical")
        truth.append(dataset[case["name"]].label == 1)
        ratio.append(0.0 if value is None else value)
    rng = np.random.default_rng(0)
    truth, ratio = np.array(truth), np.array(ratio)
    draws = [rng.integers(0, len(truth), len(truth)) for _ in range(2000)]
    areas = [float(auc(cuts(truth[d], ratio[d]))) for d in draws if 0 < truth[d].sum() < len(d)]
    low, high = np.percentile(areas, (2.5, 97.5))
    area = float(auc(cuts(truth, ratio)))
    print(f"vCDR alone, no training on these photographs: AUC {area:.3f} ({low:.3f} to {high:.3f})")


def progression(given):
    _, found = pooled(every_fold(given.data, "glaucoma-progression", given))
    print(found)
    print("baselines:", json.dumps(found.baselines, indent=1))


def vessels(given):
    """Model and second observer against the first, on the images that no fold's model saw."""
    from catenary.data.layouts import open_dataset
    from catenary.io import read_mask

    child = r"Image_(\d+)"
    reports = every_fold(given.data, "retina-vessels", given, "--group", child)
    cases = [case for report in reports for case in report["cases"]]
    dataset = open_dataset(given.data, group=child)
    second = []
    for case in cases:
        one = dataset[case["name"]]
        truth = dataset.read_label(one) > 0
        answer = read_mask(given.data / "second_observer" / one.mask.name).squeeze() > 0
        second.append(2 * (truth & answer).sum() / (truth.sum() + answer.sum()))
    groups = [dataset[case["name"]].group for case in cases]
    model = np.array([case["classes"]["foreground"]["dice"] for case in cases])
    for what, values in (("model", model), ("second observer", second), ("difference", model - second)):
        print(f"| {what}, Dice against the first observer | {mean_with_interval(values, groups)} |")
    for case, ours, theirs in zip(cases, model, second, strict=True):
        print(f"{case['name']}: model {ours:.3f}, second observer {theirs:.3f}")
    print(f"steps a fold: {[int(report['provenance']['training_steps']) for report in reports]}")


def seconds(given):
    out = given.out or Path("screened")
    for photos in (given.photos[:1], given.photos):
        start = time.perf_counter()
        line = [sys.executable, "-m", "catenary", "screen", given.data, *photos, "--out", out]
        subprocess.run(list(map(str, line)), check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        spent = time.perf_counter() - start
        print(f"{len(photos)} photographs: {spent:.1f} s, {spent / len(photos):.2f} s each")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["disc", "detection", "progression", "vessels", "seconds"])
    parser.add_argument("data", type=Path)
    parser.add_argument("photos", type=Path, nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--disc", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cores", type=int, nargs="*", help="a core for each run, several side by side")
    given = parser.parse_args()
    {"disc": disc, "detection": detection, "progression": progression, "vessels": vessels, "seconds": seconds}[
        given.what
    ](given)


if __name__ == "__main__":
    main()
