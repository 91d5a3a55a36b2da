"""Label maps from polygons: the JSON files of xBD (Gupta et al. 2019, arXiv:1911.09296)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError, MissingExtra
from catenary.io.areas import fill, repair
from catenary.io.pixels import read_bytes
from catenary.types import IGNORE

__all__ = ["DAMAGE", "read_xbd"]

#: Value of each damage grade in a label map; a building without a grade, as before a disaster, is the first.
DAMAGE = {"no-damage": 1, "minor-damage": 2, "major-damage": 3, "destroyed": 4, "un-classified": IGNORE}


def read_xbd(path: Path, *, palette: str = "index") -> NDArray[np.uint8]:
    """The buildings of an image as a label map of its size: 0 elsewhere, else their value in `DAMAGE`.

    A pixel belongs to a building when its centre does (the set's own target pictures draw the outline too, half a pixel
    more on each side); where buildings overlap, the graver damage counts, and a grade
    counts more than none.

    Args:
        path: A ``.json`` file of xBD.
        palette: Not used; masks of other formats have one.

    Raises:
        InputError: It is missing, no such file, or names a damage grade that is not known.
        MissingExtra: shapely is not installed.
    """
    try:
        import shapely
    except ImportError as error:
        raise MissingExtra(str(error.name), "geo") from None
    try:
        record: dict[str, Any] = json.loads(read_bytes(path))
        height, width = (int(record["metadata"][side]) for side in ("height", "width"))
        buildings = [(feature["wkt"], feature["properties"].get("subtype")) for feature in record["features"]["xy"]]
        outlines = shapely.from_wkt([wkt for wkt, _ in buildings])
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is no label file of xBD, or damaged ({reason}); copy it again") from error
    unknown = sorted({str(grade) for _, grade in buildings if grade is not None and grade not in DAMAGE})
    if unknown:
        raise InputError(f"{path} grades damage as '{unknown[0]}', known are {', '.join(DAMAGE)}; correct the file")
    values = np.array([DAMAGE[grade or "no-damage"] for _, grade in buildings], np.uint8)
    label = np.zeros((height, width), np.uint8)
    areas = repair(np.asarray(outlines, object))
    for value in sorted({*values.tolist()}, key=lambda grade: grade % IGNORE):  # the last one drawn stays
        label[fill(areas[values == value], 0, 0, height, width)] = value
    return label
