"""Time of an evaluation: python benchmarks/metrics.py [images] [side].

One thread; label maps of smooth random fields, answers with errors along outlines and some stray objects.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from catenary.data.labels import LabelSet
from catenary.metrics.baselines import fit_baselines
from catenary.metrics.counts import confusion_matrix
from catenary.metrics.evaluation import Scorer, compare
from catenary.metrics.intervals import draw_groups, percentile_interval, resample_means
from catenary.metrics.objects import match_objects
from catenary.metrics.surface import find_boundary, measure_surface


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def slow_hd95(truth: np.ndarray, answer: np.ndarray) -> float:
    """The usual way: nearest neighbours among boundary points."""
    points = [np.argwhere(find_boundary(mask)) for mask in (truth, answer)]
    return max(np.percentile(cKDTree(b).query(a)[0], 95) for a, b in (points, points[::-1]))


def scipy_hd95(truth: np.ndarray, answer: np.ndarray) -> float:
    """The other usual way: scipy's distance transform of the whole image."""
    edges = [find_boundary(mask) for mask in (truth, answer)]
    far = [ndimage.distance_transform_edt(~edge) for edge in edges]
    return max(np.percentile(far[1][edges[0]], 95), np.percentile(far[0][edges[1]], 95))


def main(images: int = 50, side: int = 512) -> None:
    rng = np.random.default_rng(0)
    labels = LabelSet(names=("background", "a", "b"))
    cases = []
    for i in range(images):
        field = ndimage.gaussian_filter(rng.normal(size=(side, side)), 8)
        field /= field.std()
        answer = field + ndimage.gaussian_filter(rng.normal(size=field.shape), 2) * 2
        truth, guess = (np.digitize(f, [0.5, 1.2]).astype(np.uint8) for f in (field, answer))
        image = (field + rng.normal(0, 0.3, field.shape)).astype(np.float32)[None]
        cases.append((f"{i}", f"{i // 2}", truth, guess, image))
    _, _, truth, guess, _ = cases[0]
    pair = (truth == 1, guess == 1)
    print(f"{side} x {side}, one target of one image")
    print(f"  counts           {milliseconds(lambda: confusion_matrix(truth, guess, 3)):8.2f} ms (all targets)")
    print(f"  outlines         {milliseconds(lambda: measure_surface(*pair)):8.2f} ms (HD95, ASD, NSD)")
    print(f"    HD95, scipy    {milliseconds(lambda: scipy_hd95(*pair)):8.2f} ms")
    print(f"    HD95, k-d tree {milliseconds(lambda: slow_hd95(*pair)):8.2f} ms")
    print(f"  objects          {milliseconds(lambda: match_objects(*pair)):8.2f} ms")

    values, index = rng.random((1000, 3, 20)), rng.integers(0, 200, 1000)

    def intervals() -> None:
        percentile_interval(resample_means(values, index, draw_groups(200, rng=rng)))

    print(f"2000 resamples of 200 groups, 60 columns {milliseconds(intervals):8.2f} ms")

    def evaluate() -> Scorer:
        scorer = Scorer(labels)
        for name, group, true, predicted, _ in cases:
            scorer.add(name, group, true, predicted)
        return scorer

    print(f"{images} images, two targets, all metrics")
    start = time.perf_counter()
    evaluation = evaluate().result("test")
    print(f"  evaluation       {time.perf_counter() - start:8.2f} s")
    print(f"  comparison       {milliseconds(lambda: compare(evaluation, evaluation)):8.2f} ms")
    pairs = [(image, true) for _, _, true, _, image in cases]
    print(f"  fit baselines    {milliseconds(lambda: fit_baselines(pairs, labels), 1):8.2f} ms")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
