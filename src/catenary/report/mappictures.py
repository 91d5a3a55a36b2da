"""The pictures of the map page: images, classes and doubt, from afar."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from catenary.data.labels import LabelSet
from catenary.errors import InputError
from catenary.io.outlines import ground_areas, to_world
from catenary.io.raster import Raster, Scene
from catenary.report.pictures import fit_box, to_rgb8
from catenary.types import IGNORE, Image, Progress

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["OPAQUE", "SIDE", "Covers", "class_covers", "doubts", "photos", "tint"]

#: Longer side of a picture in pixels, at most; that of the picture of doubt, which is smooth.
SIDE, DOUBT_SIDE = 2048, 1024
#: Largest value in pictures that say how opaque a colour is; 4 bits keep them small.
OPAQUE = 15
#: Confidence at and below which doubt is drawn opaque.
UNSURE = 0.5
#: Side in pixels of the windows that are read.
WINDOW = 2048
#: How images are made smaller until they fit: side as a share of theirs, and quality of JPEG.
STEPS = ((1.0, 85), (1.0, 75), (0.75, 75), (0.5, 75), (0.5, 60), (0.25, 60))
#: Grey of image pixels without data.
NOTHING = 225


@dataclass(frozen=True, kw_only=True)
class Covers:
    """A class map from afar.

    Attributes:
        step: Pixels of the raster along one side of a pixel of the pictures.
        opacity: 0 to `OPAQUE`: the root of the share of each pixel that a class covers, so that buildings smaller
            than it are seen. Background left out.
        areas: Of each class on the ground in m2, the background too; last of what is not known.
    """

    step: int
    opacity: UInt8[np.ndarray, "k h w"]
    areas: Float[np.ndarray, " classes"]


def class_covers(raster: Raster, labels: LabelSet, progress: Progress) -> Covers:
    """Look at a class map window by window, each pixel once.

    Args:
        raster: Class indices; `IGNORE` or a mask say where nothing is known.
        labels: The classes.
        progress: Told of the windows.

    Raises:
        InputError: It holds a class that `labels` has not.
    """
    import shapely

    height, width = raster.shape
    step = -(-max(height, width) // SIDE)
    rows, columns = -(-height // step), -(-width // step)
    side = step * max(1, WINDOW // step)
    corners = [(row, column) for row in range(0, height, side) for column in range(0, width, side)]
    # The last pixels of a picture may reach beyond the raster.
    sizes = [(min(side, rows * step - row), min(side, columns * step - column)) for row, column in corners]
    boxes = shapely.box(*np.array([(c, r, c + w, r + h) for (r, c), (h, w) in zip(corners, sizes, strict=True)]).T)
    ground = ground_areas(to_world(boxes, raster.grid), raster.grid.crs or "")
    opacity = np.zeros((labels.count - 1, rows, columns), np.uint8)
    areas = np.zeros(labels.count + 1)
    for number, ((row, column), (h, w)) in enumerate(zip(corners, sizes, strict=True)):
        image = raster.read(row, column, h, w)
        label, known = image.array[0], image.array[0] != IGNORE
        known = known if image.valid is None else known & image.valid
        highest = int(label.max(initial=0, where=known))
        if highest >= labels.count:
            raise InputError(
                f"{raster.path} holds the class {highest}, the labels are 0 to {labels.count - 1}; give the labels of "
                "the model that wrote it"
            )
        place = (slice(row // step, (row + h) // step), slice(column // step, (column + w) // step))
        counts = np.zeros(len(areas))
        for index in range(labels.count):
            mask = ((label == index) & known).astype(np.uint8)
            counts[index] = cv2.countNonZero(mask)
            if index:
                cover = np.asarray(
                    cv2.resize(mask * np.uint8(255), (w // step, h // step), interpolation=cv2.INTER_AREA)
                )
                opacity[index - 1, *place] = np.rint(OPAQUE * np.sqrt(cover / 255))
        counts[-1] = min(h, height - row) * min(w, width - column) - counts.sum()
        areas += counts * ground[number] / (h * w)
        progress("classes", number + 1, len(corners))
    return Covers(step=step, opacity=opacity, areas=areas)


def doubts(confidence: Raster) -> UInt8[np.ndarray, "h w"]:
    """How unsure a prediction is, from afar: 0 where it is sure or unknown, `OPAQUE` at `UNSURE` and below."""
    image = confidence.overview(DOUBT_SIDE)
    doubt = np.clip((1 - image.array[0] / 255) / (1 - UNSURE), 0, 1)
    known = True if image.valid is None else image.valid
    return np.where(known, np.rint(OPAQUE * doubt), 0).astype(np.uint8)


def photos(scenes: Iterable[Scene], room: int) -> list[str]:
    """Images as ``data:`` addresses of JPEG, stretched by the pixels that hold data.

    Args:
        scenes: What is shown.
        room: Characters that they may take together, as far as the smallest of `STEPS` allows.
    """
    from PIL import Image as Pillow

    pictures = [_rgb(scene.overview(SIDE)) for scene in scenes]
    found: list[str] = []
    for share, quality in STEPS:
        small = [fit_box(picture, max(1, round(share * max(picture.shape[:2])))) for picture in pictures]
        found = [_uri(Pillow.fromarray(one), "jpeg", quality=quality, optimize=True) for one in small]
        if sum(map(len, found)) <= room:
            break
    return found


def tint(opacity: UInt8[np.ndarray, "h w"], colour: tuple[int, int, int]) -> str:
    """One colour as a ``data:`` address of a PNG, as opaque as it is said, 0 to `OPAQUE`."""
    from PIL import Image as Pillow

    picture = Pillow.frombytes("P", opacity.shape[::-1], np.ascontiguousarray(opacity).tobytes())
    picture.putpalette(bytes(colour) * (OPAQUE + 1))
    return _uri(picture, "png", transparency=bytes(range(0, 256, 255 // OPAQUE)))


def _rgb(image: Image) -> UInt8[np.ndarray, "h w 3"]:
    """An image to look at, stretched by the pixels that hold data; the others are grey."""
    valid = np.ones(image.shape, bool) if image.valid is None else image.valid
    picture = np.full((*image.shape, 3), NOTHING, np.uint8)
    if valid.any():
        picture[valid] = to_rgb8(image.array[:, valid][:, None])[0]
    return picture


def _uri(picture: Picture, kind: str, **how: Any) -> str:
    data = io.BytesIO()
    picture.save(data, kind, **how)
    return f"data:image/{kind};base64," + base64.b64encode(data.getvalue()).decode("ascii")
