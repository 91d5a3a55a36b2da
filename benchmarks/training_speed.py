"""Training steps a second: our loop against a plain PyTorch loop, with the same network, batch and crops.

    python benchmarks/training_speed.py [--rounds 3] [--steps 8]

The network is segmentation_models_pytorch's Unet with a ResNet-34 encoder in both; batch 8 of 256x256 RGB crops from
512x512 images; flips, rotation, scale, elastic deformation and gamma; Dice + BCE; AdamW. The plain loop is fp32 with a
DataLoader and albumentations, as its documentation shows. Loading and augmentation are included. Each round runs both
in fresh processes, one after the other; the ratio is taken round by round.
"""

from __future__ import annotations

import argparse
import inspect
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH, CROP, IMAGE, CASES = 8, 256, 512, 24


def scene(seed):
    """A cheap textured image and a mask."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(32, 32)).repeat(16, 0).repeat(16, 1)
    image = np.clip(128 + 40 * coarse[..., None] + rng.normal(0, 20, (IMAGE, IMAGE, 3)), 0, 255).astype(np.uint8)
    return image, (coarse > 0.5).astype(np.uint8)


def ours(steps):
    """Seconds a step of `catenary.train`, timed from its own progress calls."""
    import segmentation_models_pytorch as smp

    from catenary.data.cases import Case, Dataset
    from catenary.data.labels import LabelSet
    from catenary.models.build import MODELS
    from catenary.models.unet import UNet
    from catenary.recipe import Recipe, choose
    from catenary.train import Job, launch
    from catenary.types import Image

    def network(**_):
        return smp.Unet("resnet34", encoder_weights=None, classes=1)

    network.__signature__ = inspect.signature(UNet)  # it takes the recipe's settings, and ignores them
    MODELS["peer"] = network

    class Scenes(Dataset):
        def read_image(self, case):
            return Image(array=np.ascontiguousarray(scene(int(case.name))[0].transpose(2, 0, 1)))

        def read_label(self, case):
            return scene(int(case.name))[1]

    names = tuple(str(i) for i in range(CASES))
    cases = tuple(Case(name=n, images=(Path(n),), mask=Path(n), group=n, split=None) for n in names)
    labels = LabelSet(names=("background", "foreground"))
    dataset = Scenes(root=Path(), name="scenes", layout="made up", cases=cases, labels=labels)
    values = {
        "model.name": "peer", "train.steps": steps + 2, "train.validations": 1, "train.precision": "bf16",
        "train.channels_last": "on", "prepare.mean": [128] * 3, "prepare.std": [50] * 3, "loss.name": "dice_bce",
        "augment.warp": 1.0, "augment.elastic": 1.0, "augment.intensity": 1.0,
    }  # fmt: skip
    ticks = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(dataset=dataset, train=names, val=names[:1], recipe=choose(Recipe(), values), folder=Path(folder))
        launch(job, progress=lambda what, done, total: ticks.append(time.perf_counter()) if total > 1 else None)
    return (ticks[-1] - ticks[1]) / (len(ticks) - 2)


def plain(steps):
    """Seconds a step of a loop as one writes it."""
    import albumentations as A
    import segmentation_models_pytorch as smp
    import torch

    change = A.Compose(
        [
            A.RandomCrop(CROP, CROP),
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.Affine(rotate=(-20, 20), scale=(0.8, 1.2), shear=(-6, 6), p=1.0),
            A.ElasticTransform(alpha=300, sigma=20, p=1.0),
            A.RandomGamma((80, 120), p=1.0),
        ]
    )
    scenes = [scene(i) for i in range(CASES)]

    class Crops(torch.utils.data.Dataset):
        def __len__(self):
            return 10**6

        def __getitem__(self, index):
            image, mask = scenes[index % CASES]
            changed = change(image=image, mask=mask)
            x = (changed["image"].astype(np.float32) / 255 - 0.5) / 0.25
            return torch.from_numpy(x.transpose(2, 0, 1).copy()), torch.from_numpy(changed["mask"].astype(np.float32))[
                None
            ]

    network = smp.Unet("resnet34", encoder_weights=None, classes=1).train()
    dice, cross = smp.losses.DiceLoss("binary"), torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    ticks = []
    for x, y in torch.utils.data.DataLoader(Crops(), batch_size=BATCH, num_workers=1):
        logits = network(x)
        loss = dice(logits, y) + cross(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ticks.append(time.perf_counter())
        if len(ticks) == steps + 2:
            break
    return (ticks[-1] - ticks[1]) / (len(ticks) - 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", choices=("ours", "plain"), help="run one in this process and print its seconds")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps({"ours": ours, "plain": plain}[arguments.only](arguments.steps)))
        return
    rows = []
    for _ in range(arguments.rounds):
        row = {}
        for name in ("ours", "plain"):
            command = [sys.executable, __file__, "--only", name, "--steps", str(arguments.steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row[name] = float(done.stdout.strip().splitlines()[-1])
        rows.append(row)
        print(
            f"ours {row['ours']:.2f} s, plain {row['plain']:.2f} s a step: {row['plain'] / row['ours']:.2f}x",
            flush=True,
        )
    print(f"median {np.median([r['plain'] / r['ours'] for r in rows]):.2f}x")


if __name__ == "__main__":
    main()
