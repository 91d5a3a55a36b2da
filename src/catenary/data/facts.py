"""What is known of one case, measured from its pixels.

>>> image, label = np.full((1, 20, 20), 7, np.uint8), np.zeros((20, 20), np.uint8)
>>> label[5:15, 8:12] = 1
>>> facts = CaseFacts(name="a", group="a", **image_facts(image), **label_facts(label, classes=2))
>>> facts.mean, facts.counts, facts.objects, facts.thickness
((7.0,), (360, 40), (1,), (3.5,))
>>> tall = label_facts(np.stack([label] * 6), classes=2, spacing=(2.0, 1.0, 1.0))
>>> tall["mask_size"], tall["objects"], tall["thickness"]
((6, 20, 20), (1,), (3.5,))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from catenary.data.extent import bounding_box, equivalent_diameter, find_body
from catenary.data.hashing import SIDE, content_hash, pack, perceptual_hash, thumbnail, unpack
from catenary.types import IGNORE

__all__ = ["LEVELS", "CaseFacts", "foreground_facts", "image_facts", "label_facts", "miniatures", "soft_edges"]

#: Shares of the pixels below each of `CaseFacts.quantiles`.
LEVELS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)

#: Pixels that a statistic is taken from where the exact value does not matter.
_ENOUGH = 100_000
#: Longer side in pixels, of an image and of a volume, up to which objects and thickness are measured in full.
_FULL = {2: 1024, 3: 256}
#: Objects of fewer pixels are specks and not counted.
_SPECK = 4


class CaseFacts(BaseModel):
    """What the survey found in one case. A case that cannot be read has `trouble` and no measurements.

    Attributes:
        name, group, split: As the data set states them.
        trouble: What went wrong while reading, in one sentence; empty when all went well.
        misplaced: How the grid of the labels of a scan differs from the scan's own, in words; empty when it does not.
        size, mask_size: ``(h, w)`` or ``(d, h, w)`` of image and mask; ``(0, 0)`` where unknown.
        spacing, unit: Size of a pixel along these axes; empty where unknown.
        placed: False for a volume that does not say which of its sides is up.
        body: Extent in pixels, along these axes, of the box around all that is not empty rim, which is what holds the
            first pixel's value.
        channels: Number of channels.
        dtype: The image's own type, for example ``"uint16"``.
        minimum, maximum, mean, std: Of each channel, over finite pixels that hold data.
        quantiles: Of each channel, at `LEVELS`.
        not_finite: Number of NaN and infinite values.
        same_channels: All channels hold the same values (a grey image saved as RGB).
        inside_mean, inside_std, inside_quantiles: Of each channel, within the foreground classes; empty without them.
        counts: Pixels of each class, background first; empty without a mask.
        ignored: Pixels to be ignored.
        unexpected: File values (or colours) that are no class -> number of pixels.
        soft: The unexpected values lie between classes along their edges: anti-aliased or JPEG-compressed.
        objects: Connected objects (8 neighbours, 26 in a volume) of each foreground class, without specks below 4 px.
        diameters: Diameter in pixels of the disc (or ball) as large as the object that a random pixel of the class
            lies in (median); 0 when there is none.
        thickness: Median width along the ridge of each foreground class in pixels, of a volume in those of its finest
            axis; 0 when there is none.
        centres: Where each foreground class lies along each axis, mean over its pixels, 0 to 1; () when there is none.
        content, mask_content: Hash of the pixels, of the label map.
        scene: Perceptual hash.
        miniature, mask_miniature: 32x32 thumbnails, packed (see `catenary.data.hashing`).

    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    group: str
    split: str | None = None
    trouble: str = ""
    misplaced: str = ""
    size: tuple[int, ...] = (0, 0)
    mask_size: tuple[int, ...] = (0, 0)
    spacing: tuple[float, ...] = ()
    unit: str = ""
    placed: bool = True
    body: tuple[int, ...] = ()
    channels: int = 0
    dtype: str = ""
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = ()
    not_finite: int = 0
    same_channels: bool = False
    inside_mean: tuple[float, ...] = ()
    inside_std: tuple[float, ...] = ()
    inside_quantiles: tuple[tuple[float, ...], ...] = ()
    counts: tuple[int, ...] = ()
    ignored: int = 0
    unexpected: dict[str, int] = {}
    soft: bool = False
    objects: tuple[int, ...] = ()
    diameters: tuple[float, ...] = ()
    thickness: tuple[float, ...] = ()
    centres: tuple[tuple[float, ...], ...] = ()
    content: str = ""
    mask_content: str = ""
    scene: int = 0
    miniature: str = Field("", repr=False)
    mask_miniature: str = Field("", repr=False)

    @model_validator(mode="after")
    def _check(self) -> CaseFacts:
        if not self.trouble and not any(self.size):
            raise ValueError(f"case '{self.name}' has neither measurements nor trouble")
        return self

    @property
    def readable(self) -> bool:
        """Whether image and mask (when there is one) could be read."""
        return not self.trouble

    @property
    def rank(self) -> int:
        """2 for an image, 3 for a volume."""
        return len(self.size)

    @property
    def labelled(self) -> bool:
        """Whether a mask with at least one judged pixel was read."""
        return sum(self.counts) > 0

    @property
    def constant(self) -> bool:
        """Whether every channel holds one value only."""
        return self.readable and all(high <= low for low, high in zip(self.minimum, self.maximum, strict=True))

    @property
    def foreground(self) -> float:
        """Share of the judged pixels that is not background, 0 to 1; 0 without a mask."""
        return 1.0 - self.counts[0] / sum(self.counts) if self.labelled else 0.0


def miniatures(facts: Sequence[CaseFacts], *, masks: bool = False) -> UInt8[np.ndarray, "n s s"]:
    """Thumbnails of all cases in one array ``(n, 32, 32)``; zero where there is none."""
    packed = [f.mask_miniature if masks else f.miniature for f in facts]
    return np.array([unpack(p) if p else np.zeros((SIDE, SIDE), np.uint8) for p in packed], np.uint8).reshape(
        -1, SIDE, SIDE
    )


def image_facts(image: Shaped[np.ndarray, "c *s"], valid: Shaped[np.ndarray, "*s"] | None = None) -> dict[str, Any]:
    """The fields of `CaseFacts` that come from the image.

    Minimum, maximum and the count of values that are not finite are exact; mean, deviation and quantiles come from
    an even grid of about 100 000 pixels.

    Args:
        image: Of any numeric type, ``(c, h, w)`` or ``(c, d, h, w)``.
        valid: False where the image holds no data; None when all is valid.

    >>> image_facts(np.arange(12, dtype=np.uint16).reshape(1, 3, 4))["mean"]
    (5.5,)
    """
    rank = image.ndim - 1
    step = max(1, round((image[0].size / _ENOUGH) ** (1 / rank)))
    grid = (slice(None, None, step),) * rank
    some = np.ascontiguousarray(image[:, *grid])
    keep = None if valid is None or valid.all() else valid.astype(bool)
    rows: dict[str, list[Any]] = {key: [] for key in ("minimum", "maximum", "mean", "std", "quantiles")}
    not_finite = 0
    for channel, sample in zip(image, some, strict=True):
        low, high, bad = _extremes(channel if keep is None else channel[keep])
        mean, std, quantiles = _distribution(sample.ravel() if keep is None else sample[keep[grid]], low)
        not_finite += bad
        for key, value in zip(rows, (low, high, mean, std, (low, *quantiles[1:-1], high)), strict=True):
            rows[key].append(value)
    miniature = thumbnail(image)
    return {
        "size": image.shape[1:],
        "body": tuple(part.stop - part.start for part in bounding_box(find_body(image))),
        "channels": len(image),
        "dtype": image.dtype.name,
        "not_finite": not_finite,
        "same_channels": len(image) > 1 and all(np.array_equal(some[0], other) for other in some[1:]),
        "content": content_hash(image),
        "scene": perceptual_hash(miniature),
        "miniature": pack(miniature),
        **{key: tuple(values) for key, values in rows.items()},
    }


def foreground_facts(image: Shaped[np.ndarray, "c *s"], label: UInt8[np.ndarray, "*s"]) -> dict[str, Any]:
    """The fields of `CaseFacts` that come from the pixels of an image within its foreground classes.

    They come from about 100 000 such pixels, evenly spread; that is what nnU-Net (Isensee 2021) clips CT scans by.

    >>> foreground_facts(np.arange(12.0).reshape(1, 3, 4), np.eye(3, 4, dtype=np.uint8))["inside_mean"]
    (5.0,)
    """
    where = np.flatnonzero((label > 0) & (label != IGNORE))
    where = where[:: max(1, round(len(where) / _ENOUGH))]
    found = [_distribution(values, np.nan) for values in image.reshape(len(image), -1)[:, where]]
    if not where.size or not np.isfinite([mean for mean, _, _ in found]).all():
        return {}
    means, stds, quantiles = zip(*found, strict=True)
    return {"inside_mean": means, "inside_std": stds, "inside_quantiles": quantiles}


def _extremes(values: NDArray[Any]) -> tuple[float, float, int]:
    """Smallest and largest finite value, and how many are not finite."""
    bad = 0
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        bad = int(values.size - np.count_nonzero(finite))
        values = values[finite] if bad else values
    return (float(values.min()), float(values.max()), bad) if values.size else (0.0, 0.0, bad)


def _distribution(values: NDArray[Any], default: float) -> tuple[float, float, list[float]]:
    """Mean, standard deviation, quantiles at `LEVELS` (inverted distribution function)."""
    if values.dtype in (np.uint8, np.uint16) and values.size:
        counts = np.bincount(values).astype(np.float64)
        levels = np.arange(len(counts), dtype=np.float64)
    else:
        levels = np.sort(values[np.isfinite(values)].astype(np.float64))
        levels = levels if levels.size else np.array([default])
        counts = np.ones(len(levels))
    total = counts.sum()
    mean = float(counts @ levels / total)
    std = float(np.sqrt(counts @ (levels - mean) ** 2 / total))
    at = np.searchsorted(np.cumsum(counts), np.array(LEVELS) * total)
    return mean, std, [float(v) for v in levels[np.minimum(at, len(levels) - 1)]]


def label_facts(
    label: UInt8[np.ndarray, "*s"], *, classes: int, spacing: Sequence[float] | None = None
) -> dict[str, Any]:
    """The fields of `CaseFacts` that come from the label map.

    Args:
        label: Class indices, `IGNORE` where unknown.
        classes: Number of classes with the background.
        spacing: Of a volume, along its axes; all alike by default.

    >>> label_facts(np.eye(8, dtype=np.uint8), classes=2)["objects"]
    (1,)
    """
    import cv2

    counts = np.bincount(label.ravel(), minlength=256)
    full = _FULL[label.ndim]
    steps = [max(1, -(-side // full)) for side in (label.shape if label.ndim == 3 else [max(label.shape)] * 2)]
    small = label[*(slice(None, None, step) for step in steps)]
    small = np.ascontiguousarray(small[bounding_box(small > 0, margin=1)])
    objects, diameters = _objects(small, classes, float(np.prod(steps)))
    shown = label if label.ndim == 2 else label.max(0)
    miniature = cv2.resize(shown, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return {
        "mask_size": label.shape,
        "counts": tuple(int(n) for n in counts[:classes]),
        "ignored": int(counts[IGNORE]),
        "objects": objects,
        "diameters": diameters,
        "thickness": _thickness(small, classes, steps, spacing or (1.0,) * label.ndim),
        "centres": _centres(label, classes),
        "mask_content": content_hash(label),
        "mask_miniature": pack(miniature),
    }


def _centres(label: NDArray[np.uint8], classes: int) -> tuple[tuple[float, ...], ...]:
    found = []
    for index in range(1, classes):
        where = np.nonzero(label == index)
        found.append(tuple(float((w.mean() + 0.5) / n) for w, n in zip(where, label.shape, strict=True) if w.size))
    return tuple(found)


def _objects(label: NDArray[np.uint8], classes: int, each: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Number of objects of each class, and the typical diameter; `each` is what a pixel stands for."""
    import cc3d

    known = np.where(label == IGNORE, 0, label).astype(np.uint8)
    if not known.size:
        return (0,) * (classes - 1), (0.0,) * (classes - 1)
    parts, count = cc3d.connected_components(known, connectivity=26 if label.ndim == 3 else 8, return_N=True)
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    owner = np.zeros(count + 1, np.uint8)
    owner[parts.ravel()] = known.ravel()
    numbers, diameters = [], []
    for index in range(1, classes):
        area = np.sort(areas[(owner[1:] == index) & (areas >= _SPECK)])
        numbers.append(len(area))
        middle = np.searchsorted(np.cumsum(area), area.sum() / 2) if len(area) else 0
        diameters.append(float(equivalent_diameter(each * area[middle], label.ndim)) if len(area) else 0.0)
    return tuple(numbers), tuple(diameters)


def _thickness(
    label: NDArray[np.uint8], classes: int, steps: Sequence[int], spacing: Sequence[float]
) -> tuple[float, ...]:
    """Median width along the ridges of the distance transform, in original pixels of the finest axis.

    A stripe of odd width w has ridge distance (w + 1) / 2, one of even width w / 2: twice the distance less a half
    is right for both within half a pixel.
    """
    import edt
    from scipy.ndimage import maximum_filter

    if not label.size:
        return (0.0,) * (classes - 1)
    sides = np.multiply(steps, spacing)
    unit = float(min(sides))
    distance = edt.edt(label, anisotropy=tuple(float(side / unit) for side in sides))
    distance[~np.isfinite(distance)] = max(label.shape)
    ridge = (distance > 0) & (distance >= maximum_filter(distance, size=3))
    scale = unit / min(spacing)
    widths = []
    for index in range(1, classes):
        values = distance[ridge & (label == index)]
        widths.append(scale * max(1.0, 2 * float(np.median(values)) - 0.5) if values.size else 0.0)
    return tuple(widths)


def soft_edges(raw: Shaped[np.ndarray, "*s"], values: Sequence[int]) -> bool:
    """Whether the values that are no class lie between the classes and along their edges.

    That is what smooth scaling, anti-aliased drawing and lossy compression make of a mask; taking each pixel to the
    nearest class undoes most of it. A region of its own in another value is not of that kind.

    Args:
        raw: The mask as its file holds it. Labels of a volume are neither drawn nor compressed with loss: never soft.
        values: File value of each class.

    >>> mask = np.zeros((40, 40), np.uint8)
    >>> mask[10:30, 10:30] = 255
    >>> mask[10, 10:30] = np.linspace(60, 190, 20)
    >>> soft_edges(mask, (0, 255))
    True
    >>> mask[32:38, 32:38] = 99
    >>> soft_edges(mask, (0, 255))
    False
    """
    import cv2

    if raw.ndim != 2:
        return False
    known = np.array(sorted(values))
    odd = ~np.isin(raw, known)
    between = np.unique(raw[odd])
    # One or two values that follow the edges are a contour drawn on purpose; smoothing makes many.
    if len(between) < 3 or between[0] < known[0] or between[-1] > known[-1]:
        return False
    nearest = np.abs(raw[None].astype(np.float32) - known[:, None, None]).argmin(0).astype(np.uint8)
    gap = np.abs(raw.astype(np.float32) - known[nearest]) / max(1, int(np.diff(known).min()))
    edge = (cv2.morphologyEx(nearest, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0).astype(np.uint8)
    # Smoothing reaches a few pixels; compression rings inside its 8x8 blocks, but only faintly.
    for some, reach in ((odd & (gap >= 0.2), 5), (odd & (gap >= 0.02) & (gap < 0.2), 17)):
        near = cv2.dilate(edge, np.ones((reach, reach), np.uint8)) > 0
        if np.count_nonzero(some & ~near) > 0.05 * np.count_nonzero(some):
            return False
    return True
