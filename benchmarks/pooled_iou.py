"""Intersection over union pooled over all classes, background too, and over all test images.

    python benchmarks/pooled_iou.py RUN DATA

The figure that Stuckner et al. 2022 report: intersections and unions of the one-hot channels
are summed before the division, so with exclusive classes it is a / (2 - a) of the accuracy a.
"""

import sys

import numpy as np

import catenary


def main():
    model, dataset = catenary.load(sys.argv[1]), catenary.open_dataset(sys.argv[2])
    intersection = union = 0
    for name in model.card.provenance["splits"]["test"]:
        image, label = dataset.read_pair(dataset[name])
        answer = model(image).mask
        for index in range(dataset.labels.count):
            a, b = label == index, answer == index
            intersection, union = intersection + np.sum(a & b), union + np.sum(a | b)
    print(f"pooled IoU {intersection / union:.4f} with {model.engine.name}")


if __name__ == "__main__":
    main()
