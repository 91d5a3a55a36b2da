"""A pair of dates streamed in constant memory: peak memory by height, time and speed beside a plain script.

    python benchmarks/mosaic.py [--side 17408] [--rows 17408] [--plain ROWS ...] [--small] [--folder FOLDER]

The network is the study's U-Net (widths 16 to 256, decisions of both dates joined, five classes) with random weights,
which cost what trained ones cost; with --small one of widths 4 to 16, so that memory can be looked at for any height
in little time. The pair is a phantom city (made once in FOLDER), 8-bit RGB GeoTIFFs; other heights are parts or
repetitions of it, as VRTs. Nothing is aligned. The plain script reads both images whole, predicts overlapping
tiles with the same engine, adds weighted answers up in one array, and writes the result: what people write.
Every run has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.sax.saxutils import escape


def make_model(folder, small):
    import torch

    from catenary.data.labels import LabelSet
    from catenary.io.polygons import DAMAGE
    from catenary.models import build
    from catenary.predict import Card, save_model
    from catenary.recipe import Model, Prepare, Recipe, Sample

    path = folder / ("small.safetensors" if small else "model.safetensors")
    widths = (4, 8, 16) if small else (16, 32, 64, 128, 256)
    model = Model(name="unet", widths=widths, channels=6, classes=5, fusion="decision", norm="batch")
    recipe = Recipe(model=model, prepare=Prepare(mean=(110.0,) * 6, std=(45.0,) * 6, match=True), sample=Sample())
    torch.manual_seed(0)
    network = build(**model.model_dump())
    labels = LabelSet(names=("background", *list(DAMAGE)[:4]))
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    save_model(path, weights, Card(recipe=recipe, labels=labels, channels=6))
    return path


class Timed:
    """An engine that adds up its seconds."""

    def __init__(self, engine):
        self.engine, self.name, self.seconds = engine, engine.name, 0.0

    def __call__(self, x):
        start = time.perf_counter()
        answer = self.engine(x)
        self.seconds += time.perf_counter() - start
        return answer


def streamed(model, pre, post, out):
    from catenary.predict import open_predictor
    from catenary.predict.mosaic import begin_mosaic, finish_mosaic, predict_rows, rows_left

    predictor = open_predictor(model)
    predictor.engine = timed = Timed(predictor.engine)
    start = time.perf_counter()
    job = begin_mosaic(predictor, model, (pre, post), out)
    predict_rows(predictor, job, 0, len(rows_left(predictor, job)))
    finish_mosaic(predictor, job, out, stem="damage")
    return {"seconds": time.perf_counter() - start, "network": timed.seconds, "engine": timed.name}


def plain(model, pre, post, out):
    import numpy as np
    import rasterio

    from catenary.predict import open_predictor

    predictor = open_predictor(model)
    engine = Timed(predictor.engine)
    start = time.perf_counter()
    with rasterio.open(pre) as one, rasterio.open(post) as other:
        image = np.concatenate([one.read(), other.read()])
        profile = one.profile
    tiling = predictor.tiling(image.shape[1:])
    (th, tw), (height, width) = tiling.tile, tiling.shape
    image = np.pad(image, [(0, 0), (0, height - image.shape[1]), (0, width - image.shape[2])], mode="reflect")
    total = np.zeros((5, height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    bell = np.outer(tiling.weights(0)[0], tiling.weights(1)[0])
    for top in tiling.starts(0):
        for left in tiling.starts(1):
            tile = image[:, top : top + th, left : left + tw].astype(np.float32)
            total[:, top : top + th, left : left + tw] += engine(((tile - 110) / 45)[None])[0] * bell
            weight[top : top + th, left : left + tw] += bell
    classes = (total / weight).argmax(axis=0).astype(np.uint8)[: profile["height"], : profile["width"]]
    profile |= {"driver": "GTiff", "count": 1, "dtype": "uint8", "compress": "deflate", "photometric": "minisblack"}
    out.mkdir(parents=True)
    with rasterio.open(out / "damage.tif", "w", **profile) as file:
        file.write(classes, 1)
    return {"seconds": time.perf_counter() - start, "network": engine.seconds, "engine": engine.name}


def of_height(path, rows, folder):
    """The first rows of a raster, or all of them again and again, as a VRT."""
    import rasterio

    with rasterio.open(path) as file:
        (height, width), crs, transform = file.shape, file.crs.to_wkt(), file.transform.to_gdal()
    if rows == height:
        return path
    lines = [f'<VRTDataset rasterXSize="{width}" rasterYSize="{rows}"><SRS>{escape(crs)}</SRS>']
    lines.append(f"<GeoTransform>{', '.join(map(repr, transform))}</GeoTransform>")
    for band in (1, 2, 3):
        lines.append(f'<VRTRasterBand dataType="Byte" band="{band}">')
        for top in range(0, rows, height):
            size = f'xOff="0" xSize="{width}" ySize="{min(height, rows - top)}"'
            lines.append(
                f"<SimpleSource><SourceFilename>{path.resolve()}</SourceFilename><SourceBand>{band}</SourceBand>"
                f'<SrcRect {size} yOff="0"/><DstRect {size} yOff="{top}"/></SimpleSource>'
            )
        lines.append("</VRTRasterBand>")
    view = folder / f"{path.stem}-{rows}.vrt"
    view.write_text("".join(lines) + "</VRTDataset>")
    return view


def run(way, model, pre, post):
    """One way in a process of its own, with its peak memory."""
    with tempfile.TemporaryDirectory() as out:
        line = [sys.executable, __file__, "--run", way, str(model), str(pre), str(post), f"{out}/result"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def peak():
    """Largest resident size of this process in bytes (Linux)."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=17408, help="rows and columns of the city")
    parser.add_argument("--rows", type=int, nargs="*", default=[17408], help="heights to predict")
    parser.add_argument("--plain", type=int, nargs="*", default=[], help="heights that the plain script does too")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "mosaic")
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        way, *paths = given.run
        found = {"streamed": streamed, "plain": plain}[way](*map(Path, paths))
        print(json.dumps(found | {"peak": peak() / 2**30}))
        return
    from catenary.workflow.city import write_city

    given.folder.mkdir(parents=True, exist_ok=True)
    model = make_model(given.folder, given.small)
    place = given.folder / f"city-{given.side}-{given.side}"
    if not (place / "pre.tif").exists():
        write_city(place, shape=(given.side, given.side), seed=1, shift=4.0)
    subprocess.run(
        [sys.executable, "-c", f"from catenary.predict import open_predictor as o; o({str(model)!r})"], check=True
    )
    print("| way | rows x columns | engine | minutes | Mpx/s | beside the network | peak, GB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for rows in sorted({*given.rows, *given.plain}):
        pair = [of_height(place / name, rows, given.folder) for name in ("pre.tif", "post.tif")]
        for way in [*(["plain"] if rows in given.plain else []), *(["streamed"] if rows in given.rows else [])]:
            found = run(way, model, *pair)
            rest = 1 - found["network"] / found["seconds"]
            speed = rows * given.side / 1e6 / found["seconds"]
            print(
                f"| {way} | {rows} x {given.side} | {found['engine']} | {found['seconds'] / 60:.1f} | {speed:.2f} | "
                f"{100 * rest:.0f} % | {found['peak']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
