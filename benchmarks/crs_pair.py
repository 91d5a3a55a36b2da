"""A later image in another CRS and resolution: the same buildings as when both lie on one grid?

    python benchmarks/crs_pair.py RUN [--side 2048]

A made-up city, its later image once on the earlier one's grid (UTM, 0.5 m) and once in longitude and latitude at about
0.4 m. Both pairs are predicted without alignment; compared are the masks of buildings, the classes, and the polygons.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely

from catenary.workflow import MapSettings, predict_mosaic
from catenary.workflow.city import write_city


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--side", type=int, default=2048)
    given = parser.parse_args()
    masks, outlines = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, other in (("same", {}), ("other", {"post_crs": "EPSG:4326", "post_pixel": 0.4 / 111_320})):
            place = Path(folder) / name
            pair = write_city(place / "city", shape=(given.side, given.side), seed=9, **other)
            settings = MapSettings(align="none")
            done = predict_mosaic(given.run, pair["pre"], pair["post"], out=place / "map", settings=settings)
            with rasterio.open(done.files.classes) as file:
                masks.append(np.where(file.dataset_mask() > 0, file.read(1), 255))
            found = pyogrio.raw.read(done.buildings.path)
            outlines.append(shapely.from_wkb(found[2]))
    known = (masks[0] != 255) & (masks[1] != 255)
    one, two = ((mask > 0)[known] for mask in masks)
    print(f"known in both: {100 * known.mean():.1f} % of {masks[0].shape}; buildings {100 * one.mean():.1f} %")
    print(f"IoU of the masks of buildings: {(one & two).sum() / (one | two).sum():.4f}")
    graded = one & two
    same = np.mean(masks[0][known][graded] == masks[1][known][graded])
    print(f"same grade in {100 * same:.2f} % of their common pixels")
    tree = shapely.STRtree(outlines[1])
    best = []
    for outline in outlines[0]:
        near = outlines[1][tree.query(outline)]
        shared = shapely.area(shapely.intersection(outline, near))
        best.append((shared / shapely.area(shapely.union(outline, near))).max(initial=0.0))
    close = np.mean(np.array(best) >= 0.98)
    counts = f"{len(outlines[0])} and {len(outlines[1])}"
    print(f"polygons: {counts}; IoU of partners: median {np.median(best):.4f}, at least 0.98 for {100 * close:.1f} %")


if __name__ == "__main__":
    main()
