"""How exactly known displacements are found.

    python benchmarks/alignment.py IMAGE.tif [IMAGE.tif ...] [--rounds 4]

Each georeferenced image is displaced by smooth fields of up to 20 pixels, its colours pass through a gamma of 0.5 to 2
for each channel with noise of 5 grey levels, and 30 % of it is made unknown in large patches. The error is the distance
between the true and the found displacement at every pixel that is known.
"""

import argparse
import time

import cv2
import numpy as np

from catenary.align import align_rasters
from catenary.io.raster import Pixels, open_raster
from catenary.types import Image

UP_TO = 20


def smooth(rng, shape, sigma):
    noise = rng.normal(size=[n // 16 + 1 for n in shape]).astype(np.float32)
    field = cv2.resize(cv2.GaussianBlur(noise, (0, 0), sigma / 16), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return field / np.abs(field).max()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+")
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    for path in given.images:
        with open_raster(path) as raster:
            image = raster.read(0, 0, *raster.shape)
            for _ in range(given.rounds):
                truth = UP_TO / np.sqrt(2) * np.stack([smooth(rng, raster.shape, 300) for _ in range(2)])
                y, x = np.indices(raster.shape).astype(np.float32)
                inverse = -truth  # of a smooth field, by fixed point
                for _ in range(20):
                    at = (x + inverse[1]).astype(np.float32), (y + inverse[0]).astype(np.float32)
                    inverse = -np.stack([cv2.remap(t.astype(np.float32), *at, cv2.INTER_LINEAR) for t in truth])
                source = (x + inverse[1]).astype(np.float32), (y + inverse[0]).astype(np.float32)
                later = np.stack([cv2.remap(p, *source, cv2.INTER_CUBIC).astype(np.float32) for p in image.array])
                later = 255 * (later / 255) ** rng.uniform(0.5, 2, (len(later), 1, 1)) + rng.normal(0, 5, later.shape)
                patches = smooth(rng, raster.shape, 60)
                valid = patches > np.quantile(patches, 0.3)
                start = time.perf_counter()
                later = np.clip(later, 0, 255).astype(np.uint8)
                found = align_rasters(raster, Pixels(Image(array=later, valid=valid)), reach=UP_TO + 4)
                seconds = time.perf_counter() - start
                error = np.linalg.norm(found.at(0, 0, *raster.shape) - truth, axis=0)[valid]
                print(
                    f"{raster.path.name}: shifts up to {np.linalg.norm(truth, axis=0).max():.1f} px, error median "
                    f"{np.median(error):.2f}, 95 % {np.quantile(error, 0.95):.2f} px; "
                    f"unsure {100 * found.unsure:.0f} %; {raster.shape[0] * raster.shape[1] / 1e6 / seconds:.2f} Mpx/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
