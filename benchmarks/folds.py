"""Variants of one run over cross-validation folds: the same cases, the same budget, paired intervals.

    python benchmarks/folds.py DATA --folds 5 --minutes 1.5 --out runs/folds --set model.widths=[16,32,64] \
        --variant unet model.name=unet --variant attention model.name=attention_unet

Every case is tested once, by the model of the fold that held its group out, and a variant's answers of all folds are
scored together, at the images' own resolution. The others are compared with the first variant, pair by pair of cases.
``--steps`` gives every variant the same number of steps instead of the same minutes. Two variants need no settings:
``peer`` is segmentation_models_pytorch's Unet as `versus_smp.py` trains it (its minutes count its steps only), and
``thresholds`` the best global intensity thresholds of the training part. Each run has ``--cores`` to itself, as many
run at once as this process may use (see taskset); those that are complete are not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np

import catenary
from catenary.metrics.baselines import fit_baselines
from catenary.metrics.evaluation import DamageScorer, Scorer, has_damage_grades
from catenary.metrics.evaluation import compare as compare_evaluations
from catenary.recipe import override
from catenary.workflow import fit
from catenary.workflow.look import adapted, as_recipe, get_to_know


def run_one(given, name, fold, folder):
    """Train one variant on one fold, in this process; its answers and facts go to `folder`."""
    settings = [*given.set, *dict(given.variants)[name], f"split.folds={given.folds}", f"split.fold={fold}"]
    if name in ("peer", "thresholds"):
        known = get_to_know(given.data, override(as_recipe(given.recipe), settings))
        dataset, tested, facts = known.dataset, known.splits.test, {}
        if name == "peer":
            from versus_smp import peer_fit, peer_predict

            network, *constants, steps = peer_fit(dataset, known.splits.train, given.minutes)
            facts = {"steps": steps, "parameters": sum(p.numel() for p in network.parameters())}

            def answer(image):
                return peer_predict(network, image.array, *constants, dataset.labels)

        else:
            pairs = (dataset.read_pair(dataset[case]) for case in known.splits.train)
            fitted = fit_baselines(((image.array, label) for image, label in pairs), dataset.labels)

            def answer(image):
                return fitted.predict(image.array)["thresholds"]

    else:
        budget = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
        run = fit(given.data, out=folder / "run", recipe=given.recipe, settings=settings, resume=True, **budget)
        model = catenary.load(run.path)
        dataset, tested = adapted(catenary.open_dataset(given.data), run.plan.recipe), run.splits.test
        facts = {
            "steps": model.card.provenance["training_steps"],
            "minutes": model.card.provenance["training_minutes"],
        }

        def answer(image):
            found = model(image)
            return found.mask if found.regions is None else found.regions

    answers = {case: answer(dataset.read_image(dataset[case])) for case in tested}
    np.savez_compressed(folder / "answers.npz", **answers)
    (folder / "facts.json").write_text(json.dumps(facts))


def run_all(given):
    """Every run that is missing, each in a process on a core of its own."""
    cores, every = Queue(), sorted(os.sched_getaffinity(0))
    for first in range(0, len(every) - given.cores + 1, given.cores):
        cores.put(every[first : first + given.cores])

    def start(fold, name):
        folder = given.out / f"{name}-{fold}"
        if (folder / "facts.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        core = cores.get()
        line = ["taskset", "-c", ",".join(map(str, core)), sys.executable, *sys.argv, "--only", name, str(fold)]
        with (folder / "log.txt").open("w") as log:
            done = subprocess.run(line, env=os.environ | {"OMP_NUM_THREADS": str(given.cores)}, stdout=log, stderr=log)
        cores.put(core)
        print(f"{name}, fold {fold}: {'done' if done.returncode == 0 else 'failed, see ' + log.name}", flush=True)

    with ThreadPoolExecutor(cores.qsize()) as pool:
        list(pool.map(lambda job: start(*job), [(f, name) for f in range(given.folds) for name, _ in given.variants]))


def score(given):
    """A row of means with intervals for each variant, and its paired difference from the first."""
    opened, found = catenary.open_dataset(given.data), {}
    for name, settings in given.variants:
        dataset = adapted(opened, override(as_recipe(given.recipe), [*given.set, *settings]))
        grid = dataset.read_image(dataset.cases[0]).grid if dataset.rank == 3 else dataset.grid
        scorer, steps = Scorer(dataset.labels, spacing=grid.spacing, unit=grid.unit), []
        damage = DamageScorer(dataset.labels) if has_damage_grades(dataset) else None
        for fold in range(given.folds):
            folder = given.out / f"{name}-{fold}"
            steps.append(json.loads((folder / "facts.json").read_text()).get("steps"))
            with np.load(folder / "answers.npz") as answers:
                for case in answers.files:
                    image, label = dataset.read_pair(dataset[case])
                    own = image.grid.spacing if dataset.rank == 3 else None
                    scorer.add(case, dataset[case].group, label, answers[case], spacing=own)
                    if damage is not None:
                        damage.add(case, dataset[case].group, label, answers[case])
        found[name] = scorer.result("test")
        print(f"{name}: {found[name].n} cases, steps {steps}")
        for metric in given.metrics:
            line = f"  {metric:12} {found[name].mean[metric]}"
            if len(found) > 1:
                compared = compare_evaluations(found[given.variants[0][0]], found[name])
                line += f"   minus {given.variants[0][0]}: {compared.mean[metric]}"
            print(line)
            for target, scores in found[name].classes.items():
                print(f"    {target:10} {scores[metric]}")
        if damage is not None:
            print(json.dumps(damage.result().model_dump(mode="json"), indent=1))
    record = {name: evaluation.model_dump(mode="json")["mean"] for name, evaluation in found.items()}
    (given.out / "folds.json").write_text(json.dumps(record, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--cores", type=int, default=1, help="cores of each run")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], help="for all variants")
    parser.add_argument("--variant", action="append", nargs="+", required=True, metavar=("NAME", "KEY=VALUE"))
    parser.add_argument("--metrics", nargs="+", default=["dice", "iou"])
    parser.add_argument("--out", type=Path, default=Path("runs/folds"))
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.variants = [(name, settings) for name, *settings in given.variant]
    if given.only:
        name, fold = given.only
        return run_one(given, name, int(fold), given.out / f"{name}-{fold}")
    run_all(given)
    return score(given)


if __name__ == "__main__":
    main()
