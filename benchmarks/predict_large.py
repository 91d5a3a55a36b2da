"""Prediction from file to file, beside the loop that people write: read, cut, forward, stitch, argmax, write.

Two jobs: one large image, and many of one tile each. The same U-Net on both sides, weights drawn and batch statistics
run in on the image; its answers are compared too. Each side runs in a process of its own, start-up and conversion not
counted, so that peak memory is its own.

    python benchmarks/predict_large.py [--size 4096] [--widths 16 32 64 128 256] [--precision auto|int8|bf16|fp32]
    python benchmarks/predict_large.py --run RUN --data DATA    # a trained network on images of its own kind
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from catenary.data.labels import LabelSet
from catenary.recipe import Recipe, choose

Image.MAX_IMAGE_PIXELS = None
TILE, BATCH, SMALL = 256, 8, 96
MEAN, STD = 127.0, 64.0


def scene(size, rng):
    """Smooth structure at several scales with noise, as uint8 ``(size, size, 3)``."""
    import cv2

    image = np.zeros((size, size, 3), np.float32)
    for cells in (8, 32, 128):
        coarse = rng.normal(size=(size // cells + 2, size // cells + 2, 3)).astype(np.float32)
        image += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    image += 0.2 * rng.normal(size=image.shape).astype(np.float32)
    return np.clip(MEAN + 40 * image, 0, 255).astype(np.uint8)


def network(recipe):
    from catenary.models import build

    return build(**recipe.model.model_dump())


def prepare(folder, widths, size):
    """The model's folder, the large image and the small ones."""
    import torch

    from catenary.predict import Card, save_model

    rng = np.random.default_rng(0)
    image = scene(size, rng)
    Image.fromarray(image).save(folder / "large.png", compress_level=1)
    (folder / "small").mkdir()
    for index in range(SMALL):
        y, x = rng.integers(0, size - TILE, 2)
        Image.fromarray(image[y : y + TILE, x : x + TILE]).save(folder / "small" / f"{index:03d}.png", compress_level=1)
    labels = LabelSet(names=("background", "a", "b"))
    recipe = choose(
        Recipe(),
        {
            "model.widths": widths,
            "model.classes": 3,
            "prepare.mean": (MEAN,) * 3,
            "prepare.std": (STD,) * 3,
            "sample.patch": (TILE, TILE),
        },
    )
    torch.manual_seed(0)
    module = network(recipe)
    crops = [image[y : y + TILE, y : y + TILE] for y in range(0, size - TILE, size // 8)]
    x = torch.from_numpy(((np.stack(crops) - MEAN) / STD).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        for _ in range(10):
            module(x)
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    save_model(folder / "model.safetensors", weights, Card(recipe=recipe, labels=labels, channels=3))


def prepare_trained(folder, run, data, size):
    """The same from a trained run, with its engine: crops of one tile of a data set's images, and a mosaic of them."""
    import catenary

    shutil.copy(run / "model.safetensors", folder)
    shutil.copytree(run / "engine", folder / "engine")
    dataset = catenary.open_dataset(data)
    rng = np.random.default_rng(0)
    tiles = []
    for index in range(SMALL):
        image = np.moveaxis(dataset.read_image(dataset.cases[index % len(dataset)]).array, 0, -1)
        y, x = (int(rng.integers(0, max(1, n - TILE + 1))) for n in image.shape[:2])
        tiles.append(np.squeeze(image[y : y + TILE, x : x + TILE]))
    side = -(-size // TILE)
    rows = [np.concatenate([tiles[(r * side + c) % SMALL] for c in range(side)], axis=1) for r in range(side)]
    Image.fromarray(np.concatenate(rows)[:size, :size]).save(folder / "large.png", compress_level=1)
    (folder / "small").mkdir()
    for index, tile in enumerate(tiles):
        Image.fromarray(tile).save(folder / "small" / f"{index:03d}.png", compress_level=1)


def ours(folder, files, out, precision):
    from catenary.predict import load_card, open_predictor, predict_files
    from catenary.predict.backends import OpenVinoEngine

    model = open_predictor(folder)
    if precision != "auto":
        model.engine = OpenVinoEngine(folder / "engine" / "openvino", precision)
    engine, inside = model.engine, [0.0]

    class Timed:
        name = engine.name

        def __call__(self, x):
            start = time.perf_counter()
            found = engine(x)
            inside[0] += time.perf_counter() - start
            return found

    model.engine = Timed()
    model(np.zeros((TILE, TILE, load_card(folder).channels), np.uint8))
    inside[0], start = 0.0, time.perf_counter()
    predict_files(model, files, out)
    return engine.name, time.perf_counter() - start, inside[0]


def plain(folder, files, out, overlap):
    import torch
    from safetensors.torch import load_file

    from catenary.predict import load_card

    card = load_card(folder)
    module = network(card.recipe).eval()
    module.load_state_dict(load_file(folder / "model.safetensors"))
    inside, step = [0.0], TILE - overlap
    mean, std = (np.array(v, np.float32) for v in (card.recipe.prepare.mean, card.recipe.prepare.std))
    classes, limit = card.labels.channels, (card.thresholds or (0.5,))[0]

    def pixels(path):
        x = np.asarray(Image.open(path)).astype(np.float32)
        return torch.from_numpy((x.reshape(*x.shape[:2], -1) - mean) / std).permute(2, 0, 1)

    def decide(found):
        return (found.argmax(0) if classes > 1 else found[0] > limit).astype(np.uint8)

    def forward(tiles):
        start = time.perf_counter()
        logits = module(torch.stack(tiles))
        found = torch.softmax(logits, 1) if classes > 1 else torch.sigmoid(logits)
        inside[0] += time.perf_counter() - start
        return found.numpy()

    def images_of_one_tile(paths):
        for path, found in zip(paths, forward([pixels(path) for path in paths]), strict=True):
            Image.fromarray(decide(found)).save(out / f"{path.stem}_mask.png")

    def large_image(path):
        x = pixels(path)
        total, count = np.zeros((classes, *x.shape[1:]), np.float32), np.zeros(x.shape[1:], np.float32)
        spots = [sorted({*range(0, n - TILE, step), n - TILE}) for n in x.shape[1:]]
        places = [(y, z) for y in spots[0] for z in spots[1]]
        for first in range(0, len(places), BATCH):
            some = places[first : first + BATCH]
            for (y, z), found in zip(some, forward([x[:, y : y + TILE, z : z + TILE] for y, z in some]), strict=True):
                total[:, y : y + TILE, z : z + TILE] += found
                count[y : y + TILE, z : z + TILE] += 1
        Image.fromarray(decide(total / count)).save(out / f"{path.stem}_mask.png")

    out.mkdir(exist_ok=True)
    with torch.no_grad():
        forward([torch.zeros(card.channels, TILE, TILE)])
        inside[0], start = 0.0, time.perf_counter()
        if len(files) == 1:
            large_image(files[0])
        else:
            for first in range(0, len(files), BATCH):
                images_of_one_tile(files[first : first + BATCH])
    return "torch eager fp32", time.perf_counter() - start, inside[0]


def one_side(folder, job, side, precision):
    """Run one side and print its numbers as JSON."""
    files = [folder / "large.png"] if job == "large" else sorted((folder / "small").iterdir())
    out = folder / f"{job}-{side}"
    if side == "ours":
        name, seconds, inside = ours(folder, files, out, precision)
    else:
        name, seconds, inside = plain(folder, files, out, 0 if side == "plain" else TILE // 4)
    print(json.dumps({"name": name, "seconds": seconds, "inside": inside, "peak": peak_memory()}))


def peak_memory():
    """Largest resident size of this process in GB (Linux; getrusage would count the parent's from before the exec)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 2**20
    return float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--precision", choices=["auto", "int8", "bf16", "fp32"], default="auto")
    parser.add_argument("--run", type=Path, help="a trained run instead of drawn weights")
    parser.add_argument("--data", type=Path, help="images for it")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        folder, job, side = given.side
        return one_side(Path(folder), job, side, given.precision)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.run:
            prepare_trained(folder, given.run, given.data, given.size)
        else:
            prepare(folder, tuple(given.widths), given.size)
        from catenary.predict import open_predictor

        opened = open_predictor(folder)
        widths, drift = list(opened.card.recipe.model.widths), 100 * opened.drift
        print(f"U-Net {widths}; {opened.engine.name} chosen, differs from torch in {drift:.4f} % of the pixels")
        for job, pixels in (("large", given.size**2), ("small", SMALL * TILE**2)):
            reference = None
            for side in ("plain", "plain+overlap", "ours") if job == "large" else ("plain", "ours"):
                command = [sys.executable, __file__, "--side", place, job, side, "--precision", given.precision]
                done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                reference = reference or done["seconds"]
                seconds, inside = done["seconds"], done["inside"]
                print(
                    f"{job:6} {side:14} {done['name']:18} {seconds:7.2f} s {pixels / 1e6 / seconds:7.2f} Mpx/s  "
                    f"{reference / seconds:5.2f}x  peak {done['peak']:.2f} GB  "
                    f"outside the network {100 * (1 - inside / seconds):.0f} %",
                    flush=True,
                )
        pairs = [(path, folder / "small-plain" / path.name) for path in (folder / "small-ours").glob("*_mask.png")]
        same = np.mean([np.mean(np.asarray(Image.open(a)) == np.asarray(Image.open(b))) for a, b in pairs])
        print(f"small  pixels of one class on both sides: {100 * same:.3f} %")
    return None


if __name__ == "__main__":
    main()
