"""Images a second of augmentation on one thread: ours, albumentations and MONAI, in interleaved rounds of one run.

    pip install --target peers --no-deps albumentations==2.0.8 albucore==0.0.24 stringzilla simsimd monai
    NO_ALBUMENTATIONS_UPDATE=1 PYTHONPATH=peers python benchmarks/augment.py

(or ``pip install 'catenary[bench]'``). A peer that is not installed is left out, and said.

All do the same to a 512x512 RGB uint8 image and its mask, each time: flips along both axes with probability 1/2;
rotation to 20 degrees, shift to 10 %, shear to 20 % and zoom to 10 %; an elastic field of deviation 4.9 pixels,
smooth over 24; gamma 0.8 to 1.2. Images bilinear, masks nearest. Each peer is written as its documentation shows,
with its fastest input type. Speed depends on what else the machine does: rounds alternate, and medians are compared.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np

from catenary.augment import PRESETS, make_patch
from catenary.phantoms import lesion

Job = Callable[[], Any]


def ours(image: np.ndarray, label: np.ndarray) -> Job:
    rng = np.random.default_rng(0)
    height, width = label.shape
    centre = (height // 2, width // 2)

    def job() -> Any:
        return make_patch(
            image, label, PRESETS["brain"], centre=centre, patch=(height, width), rng=rng, low=0, high=255
        )

    return job


def albumentations(image: np.ndarray, label: np.ndarray, *, approximate: bool = False) -> Job:
    import albumentations as A

    degrees = math.degrees(math.atan(0.2))
    change = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.Affine(
                rotate=(-20, 20), translate_percent=(-0.1, 0.1), shear={"x": (-degrees, degrees), "y": (0, 0)},
                scale=(0.9, 1.1), border_mode=cv2.BORDER_REFLECT_101, p=1,
            ),
            A.ElasticTransform(alpha=720, sigma=24, approximate=approximate, border_mode=cv2.BORDER_REFLECT_101, p=1),
            A.RandomGamma(gamma_limit=(80, 120), p=1),
        ]
    )  # fmt: skip
    return lambda: change(image=image, mask=label)


def monai(image: np.ndarray, label: np.ndarray) -> Job:
    import torch
    from monai.transforms import Compose, Rand2DElasticd, RandAdjustContrastd, RandFlipd

    torch.set_num_threads(1)
    side = label.shape[0]
    both, mode = ["image", "label"], ["bilinear", "nearest"]
    # MONAI's elastic transform holds the affine too: control points `spacing` apart, moved by a normal deviation.
    change = Compose(
        [
            RandFlipd(both, prob=0.5, spatial_axis=0),
            RandFlipd(both, prob=0.5, spatial_axis=1),
            Rand2DElasticd(
                both, spacing=(48, 48), magnitude_range=(4.9, 4.9), prob=1, rotate_range=math.radians(20),
                shear_range=((-0.2, 0.2), (0, 0)), translate_range=0.1 * side, scale_range=0.1, mode=mode,
                padding_mode="reflection",
            ),
            RandAdjustContrastd(["image"], prob=1, gamma=(0.8, 1.2)),
        ]
    )  # fmt: skip
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()
    mask = torch.from_numpy(label)[None].float()
    return lambda: change({"image": tensor, "label": mask})


PEERS: dict[str, Callable[[np.ndarray, np.ndarray], Job]] = {
    "catenary": ours,
    "albumentations": albumentations,
    # Its option that smooths with a 17-pixel kernel whatever sigma is: faster, and another field.
    "same, approximate": partial(albumentations, approximate=True),
    "monai": monai,
}


def measure(size: int, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Images a second of every peer in every round."""
    pixels, label = lesion(np.random.default_rng(0), (size, size))
    image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    jobs: dict[str, Job] = {}
    for name, prepare in PEERS.items():
        try:
            jobs[name] = prepare(image, label)
        except ImportError as error:
            print(f"{name} left out: {error}; see the head of this file for how to install it")
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.perf_counter()
            for _ in range(repeats):
                job()
            rates[name].append(repeats / (time.perf_counter() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=512, help="side of the square image in pixels")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--repeats", type=int, default=12, help="images a round and library")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own deprecations
    cv2.setNumThreads(1)
    rates = measure(options.size, options.rounds, options.repeats)
    print(f"{'library':18s} {'images/s':>9s} {'lowest':>8s} {'highest':>8s} {'ours is':>9s}")
    for name, values in rates.items():
        # The ratio is taken within each round, so that a slow moment of the machine hits both sides.
        ratio = statistics.median(a / b for a, b in zip(rates["catenary"], values, strict=True))
        print(f"{name:18s} {statistics.median(values):9.1f} {min(values):8.1f} {max(values):8.1f} {ratio:8.1f}x")


if __name__ == "__main__":
    main()
