"""Time and values of Dice, HD95 and NSD beside other packages: python benchmarks/surface_metrics.py [repeats].

Smooth random blobs, 512 x 512 and 128 x 128 x 128, two threads at most. All are asked in turn, and the best of the
repeats counts. Peers that are not installed are left out: surface-distance, MONAI, medpy. medpy has no NSD: its average
symmetric surface distance stands in for it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import importlib
import math
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from catenary.metrics.counts import count, dice
from catenary.metrics.surface import hd95, measure_surface, nsd

TOLERANCE = 2.0
GRIDS: list[tuple[tuple[int, ...], tuple[float, ...]]] = [
    ((512, 512), (1.0, 1.0)),
    ((128, 128, 128), (1.0, 1.0, 1.0)),
    ((64, 128, 128), (2.5, 1.0, 1.0)),
]
Values = dict[str, float]
Work = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], Values]


def catenary_scores(truth: np.ndarray, answer: np.ndarray, spacing: tuple[float, ...]) -> Values:
    found = measure_surface(truth, answer, tolerance=TOLERANCE, spacing=spacing)
    return {"Dice": float(dice(count(truth, answer))), "HD95": float(hd95(found)), "NSD": float(nsd(found))}


def surface_distance_scores() -> Work:
    sd = importlib.import_module("surface_distance")

    def work(truth: np.ndarray, answer: np.ndarray, spacing: tuple[float, ...]) -> Values:
        found = sd.compute_surface_distances(truth, answer, spacing)
        return {
            "Dice": sd.compute_dice_coefficient(truth, answer),
            "HD95": sd.compute_robust_hausdorff(found, 95),
            "NSD": sd.compute_surface_dice_at_tolerance(found, TOLERANCE),
        }

    return work


def monai_scores() -> Work:
    torch, monai = importlib.import_module("torch"), importlib.import_module("monai.metrics")
    torch.set_num_threads(2)

    def work(truth: np.ndarray, answer: np.ndarray, spacing: tuple[float, ...]) -> Values:
        t, p = (torch.from_numpy(mask)[None, None].float() for mask in (truth, answer))
        common = {"include_background": True, "spacing": spacing}
        return {
            "Dice": float(monai.compute_dice(p, t, include_background=True)),
            "HD95": float(monai.compute_hausdorff_distance(p, t, percentile=95, **common)),
            "NSD": float(monai.compute_surface_dice(p, t, [TOLERANCE], **common)),
        }

    return work


def medpy_scores() -> Work:
    binary = importlib.import_module("medpy.metric.binary")

    def work(truth: np.ndarray, answer: np.ndarray, spacing: tuple[float, ...]) -> Values:
        return {
            "Dice": binary.dc(answer, truth),
            "HD95": binary.hd95(answer, truth, spacing),
            "ASD": binary.assd(answer, truth, spacing),
        }

    return work


#: Package -> how it is set up, and the scores that it defines as we do; it counts boundary pixels for the others.
PEERS: dict[str, tuple[Callable[[], Work], tuple[str, ...]]] = {
    "surface-distance": (surface_distance_scores, ("Dice", "HD95", "NSD")),
    "MONAI": (monai_scores, ("Dice",)),
    "medpy": (medpy_scores, ("Dice",)),
}


def blobs(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 8)
    answer = field + 0.3 * ndimage.gaussian_filter(rng.normal(size=shape), 6)
    return field > np.quantile(field, 0.7), answer > np.quantile(answer, 0.7)


def main(repeats: int = 5) -> None:
    workers: dict[str, Work] = {"catenary": catenary_scores}
    for name, (prepare, _) in PEERS.items():
        try:
            workers[name] = prepare()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    for shape, spacing in GRIDS:
        pair = blobs(shape)
        times, values = dict.fromkeys(workers, math.inf), {}
        for _ in range(repeats):
            for name, work in workers.items():
                start = time.perf_counter()
                values[name] = work(*pair, spacing)
                times[name] = min(times[name], time.perf_counter() - start)
        own = values["catenary"]
        print(f"{' x '.join(map(str, shape))}, spacing {spacing}")
        for name, found in values.items():
            agree = PEERS[name][1] if name in PEERS else ()
            wrong = [key for key in agree if abs(found[key] - own[key]) > 1e-6 * max(1.0, own[key])]
            said = f"NOT EQUAL: {', '.join(wrong)}" if wrong else f"equal: {', '.join(agree)}" if agree else ""
            scores = "  ".join(f"{key} {value:.6f}" for key, value in found.items())
            print(
                f"  {name:17s} {1000 * times[name]:8.1f} ms {times[name] / times['catenary']:6.1f}x  {scores}  {said}"
            )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the peers call is old
        main(*(int(argument) for argument in sys.argv[1:2]))
