"""nnU-Net v2 and our volumes recipe on one fold, one after the other, the same minutes on the same cores.

    python benchmarks/versus_nnunet.py DATA/hippocampus --minutes 6 --out runs/nnunet [--set KEY=VALUE]

nnU-Net (nnunetv2 from PyPI) gets its own plan and preprocessing, which its minutes do not count, our training cases for
training and our validation cases for validation. Its trainer is told to end after the minutes: after its first short
epoch the number of epochs is set to what fits, so that its learning rate falls to 0 in time. Our minutes count
everything but the evaluation. Both answer our test cases; nnU-Net with its mirroring.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

import catenary
from catenary.io import write_image, write_mask
from catenary.metrics.evaluation import Scorer
from catenary.metrics.evaluation import compare as compare_evaluations
from catenary.recipe import override
from catenary.workflow import fit
from catenary.workflow.look import as_recipe, get_to_know

NUMBER, NAME = 1, "Dataset001_Ours"


def hand_over(known, folder):
    """Training, validation and test scans as nnU-Net wants them."""
    raw = folder / "raw" / NAME
    shutil.rmtree(raw, ignore_errors=True)
    dataset, splits = known.dataset, known.splits
    for part, names in (("Tr", (*splits.train, *splits.val)), ("Ts", splits.test)):
        for name in names:
            image, label = dataset.read_pair(dataset[name])
            for channel, plane in enumerate(image.array):
                path = raw / f"images{part}" / f"{name}_{channel:04d}.nii.gz"
                write_image(path, plane[None].astype(np.float32), grid=image.grid)
            if part == "Tr":
                write_mask(raw / "labelsTr" / f"{name}.nii.gz", label, grid=image.grid)
    record = {
        "channel_names": {str(c): "MRI" for c in range(known.fingerprint.channels)},
        "labels": {name: index for index, name in enumerate(dataset.labels.names)},
        "numTraining": len(splits.train) + len(splits.val),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(record))
    return raw


def train_theirs(known, folder, minutes, configuration):
    """Plan, preprocess and train; gives the folder of the model and the facts of the training."""
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class Timed(nnUNetTrainer):
        def __init__(self, plans, configuration, fold, dataset_json, device):  # it looks at their names
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 5, 1
            self.num_epochs, self.save_every = 10_000, 10_000
            self.began = None

        def on_epoch_start(self):
            self.began = self.began or time.perf_counter()
            super().on_epoch_start()

        def on_epoch_end(self):
            super().on_epoch_end()
            spent = time.perf_counter() - self.began
            if self.current_epoch in (2, 4, 8, 16, 32):  # the first ones are slow: warm-up
                each = spent / self.current_epoch
                self.num_epochs = max(self.current_epoch + 1, int(60 * minutes / each))
                self.lr_scheduler = PolyLRScheduler(self.optimizer, self.initial_lr, self.num_epochs)

        def run_training(self):
            self.on_train_start()
            while self.current_epoch < self.num_epochs:
                self.on_epoch_start()
                self.on_train_epoch_start()
                steps = range(self.num_iterations_per_epoch)
                self.on_train_epoch_end([self.train_step(next(self.dataloader_train)) for _ in steps])
                with torch.no_grad():
                    self.on_validation_epoch_start()
                    self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val))])
                self.on_epoch_end()
            self.save_checkpoint(os.path.join(self.output_folder, "checkpoint_final.pth"))
            self.seconds = time.perf_counter() - self.began

    extract_fingerprints([NUMBER], num_processes=1)
    plan_experiments([NUMBER])
    preprocess([NUMBER], configurations=(configuration,), num_processes=(1,))
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # planning sets another number
    ready = folder / "pre" / NAME
    splits = [{"train": list(known.splits.train), "val": list(known.splits.val)}]
    (ready / "splits_final.json").write_text(json.dumps(splits))
    plans, record = (json.loads((ready / f"{what}.json").read_text()) for what in ("nnUNetPlans", "dataset"))
    plans |= {"continue_training": False}
    trainer = Timed(plans=plans, configuration=configuration, fold=0, dataset_json=record, device=torch.device("cpu"))
    trainer.initialize()
    trainer.run_training()
    steps = trainer.current_epoch * trainer.num_iterations_per_epoch
    facts = {"steps": steps, "minutes": trainer.seconds / 60, "batch": trainer.batch_size}
    return trainer, facts


def their_answers(trainer, known, raw):
    """Label maps of the test cases, in our orientation."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager,
        [{name: value.clone() for name, value in trainer.network.state_dict().items()}], trainer.dataset_json,
        "nnUNetTrainer", trainer.inference_allowed_mirroring_axes,
    )  # fmt: skip
    out = raw.parent.parent / "answers"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    channels = range(known.fingerprint.channels)
    files = [[str(raw / "imagesTs" / f"{n}_{c:04d}.nii.gz") for c in channels] for n in known.splits.test]
    predictor.predict_from_files_sequential(files, [str(out / n) for n in known.splits.test])
    return {name: catenary.io.read_mask(out / f"{name}.nii.gz").astype(np.uint8) for name in known.splits.test}


def scored(known, answers):
    grid = known.dataset.read_image(known.dataset.cases[0]).grid
    scorer = Scorer(known.dataset.labels, spacing=grid.spacing, unit=grid.unit)
    for name, answer in answers.items():
        case = known.dataset[name]
        image, label = known.dataset.read_pair(case)
        scorer.add(name, case.group, label, answer, spacing=image.grid.spacing)
    return scorer.result("test")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--recipe", default="volumes")
    parser.add_argument("--configuration", default="3d_fullres", help="of nnU-Net")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/nnunet"))
    given = parser.parse_args()
    folder = given.out.resolve()
    for name in ("raw", "pre", "res"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "pre", "nnUNet_results": "res"}
    os.environ |= {name: str(folder / place) for name, place in names.items()}
    os.environ |= {"nnUNet_n_proc_DA": "2", "nnUNet_compile": "f"}

    settings = ["split.folds=5", "split.fold=0", *given.set]
    known = get_to_know(given.data, override(as_recipe(given.recipe), settings))
    run = fit(
        given.data, out=folder / "ours", recipe=given.recipe, settings=settings, minutes=given.minutes, resume=True
    )
    model = catenary.load(run.path)
    made = model.card.provenance
    print(f"ours: {made['training_steps']} steps in {made['training_minutes']} min", flush=True)
    ours = {n: model(known.dataset.read_image(known.dataset[n])).mask for n in known.splits.test}

    raw = hand_over(known, folder)
    trainer, facts = train_theirs(known, folder, given.minutes, given.configuration)
    print(f"nnU-Net: {facts}", flush=True)
    theirs = their_answers(trainer, known, raw)

    found = {"ours": scored(known, ours), "nnU-Net": scored(known, theirs)}
    compared = compare_evaluations(found["nnU-Net"], found["ours"])
    for metric in ("dice", "hd95", "nsd"):
        for name, evaluation in found.items():
            each = ", ".join(f"{target} {row[metric]}" for target, row in evaluation.classes.items())
            print(f"{metric:5} {name:8} {evaluation.mean[metric]}   {each}")
        print(f"{metric:5} ours minus nnU-Net: {compared.mean[metric]}")


if __name__ == "__main__":
    main()
