"""Images that show an answer: overlays, outlines, discrepancy plots. Plain arrays in, RGB arrays out."""

from __future__ import annotations

import base64
import math
from typing import Any

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.types import IGNORE

__all__ = ["DISCREPANCY", "data_uri", "discrepancy", "fit_box", "grey", "outline", "overlay", "square", "to_rgb8"]

#: What a discrepancy plot shows and in which colour (from Okabe and Ito 2008: told apart by colour-blind readers,
#: and the two kinds of error differ in lightness too).
DISCREPANCY: dict[str, tuple[int, int, int]] = {
    "found": (0, 158, 115),
    "false positive": (255, 176, 0),
    "false negative": (30, 110, 235),
    "wrong class": (204, 90, 167),
}


def to_rgb8(image: Shaped[np.ndarray, "c h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Any image as 8-bit RGB for looking at; never for measuring.

    One channel becomes grey, two become magenta and green, of more the first three are shown (so alpha goes). 8-bit
    colour keeps its values unless it is very dark or flat; everything else is stretched from its 0.5th to its 99.5th
    percentile, channel by channel. Values that are not finite are black.

    >>> to_rgb8(np.linspace(0, 4000, 12, dtype=np.uint16).reshape(1, 3, 4))[:, :, 0].tolist()[0][:2]
    [0, 22]
    """
    shown = image[:3]
    if shown.dtype == np.uint8 and len(shown) == 3 and np.subtract(*np.percentile(shown, (99.5, 0.5))) >= 64:
        return np.ascontiguousarray(shown.transpose(1, 2, 0))
    planes = [_stretch(channel) for channel in shown]
    order = {1: (0, 0, 0), 2: (0, 1, 0), 3: (0, 1, 2)}[len(planes)]
    return np.stack([planes[i] for i in order], axis=-1)


def _stretch(channel: NDArray[Any]) -> NDArray[np.uint8]:
    values = channel.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(channel.shape, np.uint8)
    low, high = np.percentile(values[finite], (0.5, 99.5))
    if high <= low:  # constant but for a few pixels: the whole range, or mid-grey
        low, high = float(values[finite].min()), float(values[finite].max())
    if high <= low:
        return np.where(finite, np.uint8(128), np.uint8(0))
    scaled = np.clip((values - low) * (255.0 / (high - low)), 0, 255)
    return np.where(finite, scaled, 0).astype(np.uint8)


def overlay(
    image: UInt8[np.ndarray, "h w 3"], label: UInt8[np.ndarray, "h w"], labels: LabelSet, *, alpha: float = 0.35
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with each class tinted and outlined in its display colour; background stays as it is.

    Args:
        image: What lies beneath.
        label: Class indices; `IGNORE` is tinted grey.
        labels: Gives the colours.
        alpha: Strength of the tint, 0 to 1.

    >>> labels = LabelSet(names=("background", "nucleus"))
    >>> overlay(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8), labels)[4, 4].tolist()
    [81, 56, 0]
    """
    tinted = image.copy()
    for index in _present(label):
        where = label == index
        tinted[where] = _mix(image[where], _colour(labels, index), alpha)
    return outline(tinted, label, labels)


def outline(
    image: UInt8[np.ndarray, "h w 3"], label: UInt8[np.ndarray, "h w"], labels: LabelSet, *, width: int = 1
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with the edge of every class drawn `width` pixels wide in its display colour on a dark hairline.

    >>> labels = LabelSet(names=("background", "nucleus"))
    >>> drawn = outline(np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.uint8), labels)
    >>> drawn[3, 3].tolist()
    [230, 159, 0]
    """
    drawn = image.copy()
    edges = {index: _edge((label == index).astype(np.uint8), width) for index in _present(label) if index != IGNORE}
    if edges:
        halo = cv2.dilate(np.logical_or.reduce(list(edges.values())).astype(np.uint8), _disc(width)).astype(bool)
        drawn[halo] = _mix(drawn[halo], (0, 0, 0), 0.5)
    for index, edge in edges.items():
        drawn[edge] = _colour(labels, index)
    return drawn


def discrepancy(
    truth: UInt8[np.ndarray, "h w"], prediction: UInt8[np.ndarray, "h w"], image: UInt8[np.ndarray, "h w 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Where the prediction is right and wrong, over the grey image, in the colours of `DISCREPANCY`.

    A false positive is foreground where the truth is background, a false negative the reverse; foreground of another
    class than the truth's is "wrong class". Pixels whose truth is `IGNORE` are darkened and not judged.

    >>> truth, prediction = np.array([[1, 1, 0]], np.uint8), np.array([[1, 0, 1]], np.uint8)
    >>> discrepancy(truth, prediction, np.zeros((1, 3, 3), np.uint8))[0, 1].tolist()
    [24, 88, 188]
    """
    drawn = grey(image)
    known = truth != IGNORE
    is_true, is_found = known & (truth > 0), known & (prediction > 0)
    kinds = {
        "found": (is_true & (truth == prediction), 0.4),
        "false positive": (is_found & ~is_true, 0.8),
        "false negative": (is_true & ~is_found, 0.8),
        "wrong class": (is_true & is_found & (truth != prediction), 0.8),
    }
    for kind, (where, alpha) in kinds.items():
        drawn[where] = _mix(drawn[where], DISCREPANCY[kind], alpha)
    drawn[~known] = _mix(drawn[~known], (0, 0, 0), 0.6)
    return drawn


def grey(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image without its colours.

    >>> grey(np.full((1, 1, 3), (255, 0, 0), np.uint8)).tolist()
    [[[76, 76, 76]]]
    """
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def square(array: UInt8[np.ndarray, "h w *c"], aspect: tuple[float, float], side: int) -> UInt8[np.ndarray, "a b *c"]:
    """An image with square pixels, by repeating its own, and a longer side of at least `side`.

    Args:
        array: An image or a label map.
        aspect: Height and width of a pixel, in any one unit.
        side: A small one is enlarged by a whole number, so that lines drawn on it stay thin.

    >>> square(np.zeros((4, 10), np.uint8), (5.0, 1.0), 30).shape
    (40, 20)
    """
    sides = [n * a / min(aspect) for n, a in zip(array.shape, aspect, strict=False)]
    factor = max(1, math.ceil(side / max(sides)))
    size = (max(1, round(sides[1] * factor)), max(1, round(sides[0] * factor)))
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def fit_box(image: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "a b 3"]:
    """The image with its longer side brought to `side` pixels, area-averaged when that shrinks it.

    >>> fit_box(np.zeros((100, 50, 3), np.uint8), 20).shape
    (20, 10, 3)
    """
    height, width = image.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def data_uri(image: UInt8[np.ndarray, "h w 3"], *, quality: int = 82) -> str:
    """The image as a JPEG inside a ``data:`` address, at full colour resolution so that thin outlines stay crisp.

    >>> data_uri(np.zeros((8, 8, 3), np.uint8))[:23]
    'data:image/jpeg;base64,'
    """
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        1,
    ]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _present(label: NDArray[np.uint8]) -> list[int]:
    return [int(index) for index in np.unique(label) if index != 0]


def _colour(labels: LabelSet, index: int) -> tuple[int, int, int]:
    if index == IGNORE or index >= labels.count:
        return (150, 150, 150)
    return labels.display_colour(index)


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _edge(mask: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    # The frame counts as inside, so that an object cut by it gets no line along it.
    inner = cv2.erode(mask, _disc(width), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    edge: NDArray[np.bool_] = np.logical_and(mask > 0, np.asarray(inner) == 0)
    return edge


def _mix(pixels: NDArray[np.uint8], colour: tuple[int, int, int], alpha: float) -> NDArray[np.uint8]:
    blended = pixels.astype(np.float32) * (1 - alpha) + np.asarray(colour, np.float32) * alpha
    return (blended + 0.5).astype(np.uint8)
