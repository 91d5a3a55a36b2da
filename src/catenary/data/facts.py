"""What is known of one case, measured from its pixels.

>>> image, label = np.full((1, 20, 20), 7, np.uint8), np.zeros((20, 20), np.uint8)
>>> label[5:15, 8:12] = 1
>>> facts = CaseFacts(name="a", group="a", **image_facts(image), **label_facts(label, classes=2))
>>> facts.mean, facts.counts, facts.objects, facts.thickness
((7.0,), (360, 40), (1,), (3.5,))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from catenary.data.hashing import SIDE, content_hash, pack, perceptual_hash, thumbnail, unpack
from catenary.types import IGNORE

__all__ = ["LEVELS", "CaseFacts", "image_facts", "label_facts", "miniatures", "soft_edges"]

#: Shares of the pixels below each of `CaseFacts.quantiles`.
LEVELS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)

#: Pixels that a statistic is taken from where the exact value does not matter.
_ENOUGH = 100_000
#: Longer side in pixels up to which objects and thickness are measured at full resolution.
_FULL = 1024
#: Objects of fewer pixels are specks and not counted.
_SPECK = 4


class CaseFacts(BaseModel):
    """What the survey found in one case. A case that cannot be read has `trouble` and no measurements.

    Attributes:
        name, group, split: As the data set states them.
        trouble: What went wrong while reading, in one sentence; empty when all went well.
        size, mask_size: ``(h, w)`` of image and mask; ``(0, 0)`` where unknown.
        channels: Number of channels.
        dtype: The image's own type, for example ``"uint16"``.
        minimum, maximum, mean, std: Of each channel, over finite pixels that hold data.
        quantiles: Of each channel, at `LEVELS`.
        not_finite: Number of NaN and infinite values.
        same_channels: All channels hold the same values (a grey image saved as RGB).
        counts: Pixels of each class, background first; empty without a mask.
        ignored: Pixels to be ignored.
        unexpected: File values (or colours) that are no class -> number of pixels.
        soft: The unexpected values lie between classes along their edges: anti-aliased or JPEG-compressed.
        objects: Connected objects (8 neighbours) of each foreground class, without specks below 4 px.
        diameters: Equivalent diameter in pixels of the object that a random pixel of the class lies in (median); 0
            when there is none.
        thickness: Median width in pixels along the ridge of each foreground class; 0 when there is none.
        content, mask_content: Hash of the pixels, of the label map.
        scene: Perceptual hash.
        miniature, mask_miniature: 32x32 thumbnails, packed (see `catenary.data.hashing`).

    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    group: str
    split: str | None = None
    trouble: str = ""
    size: tuple[int, int] = (0, 0)
    mask_size: tuple[int, int] = (0, 0)
    channels: int = 0
    dtype: str = ""
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = ()
    not_finite: int = 0
    same_channels: bool = False
    counts: tuple[int, ...] = ()
    ignored: int = 0
    unexpected: dict[str, int] = {}
    soft: bool = False
    objects: tuple[int, ...] = ()
    diameters: tuple[float, ...] = ()
    thickness: tuple[float, ...] = ()
    content: str = ""
    mask_content: str = ""
    scene: int = 0
    miniature: str = Field("", repr=False)
    mask_miniature: str = Field("", repr=False)

    @model_validator(mode="after")
    def _check(self) -> CaseFacts:
        if not self.trouble and not self.size[0]:
            raise ValueError(f"case '{self.name}' has neither measurements nor trouble")
        return self

    @property
    def readable(self) -> bool:
        """Whether image and mask (when there is one) could be read."""
        return not self.trouble

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


def image_facts(image: Shaped[np.ndarray, "c h w"], valid: Shaped[np.ndarray, "h w"] | None = None) -> dict[str, Any]:
    """The fields of `CaseFacts` that come from the image.

    Minimum, maximum and the count of values that are not finite are exact; mean, deviation and quantiles come from
    an even grid of about 100 000 pixels.

    Args:
        image: Any numeric type.
        valid: False where the image holds no data; None when all is valid.

    >>> image_facts(np.arange(12, dtype=np.uint16).reshape(1, 3, 4))["mean"]
    (5.5,)
    """
    height, width = image.shape[1:]
    step = max(1, round(np.sqrt(height * width / _ENOUGH)))
    some = np.ascontiguousarray(image[:, ::step, ::step])
    keep = None if valid is None or valid.all() else valid.astype(bool)
    rows: dict[str, list[Any]] = {key: [] for key in ("minimum", "maximum", "mean", "std", "quantiles")}
    not_finite = 0
    for channel, sample in zip(image, some, strict=True):
        low, high, bad = _extremes(channel if keep is None else channel[keep])
        mean, std, quantiles = _distribution(sample.ravel() if keep is None else sample[keep[::step, ::step]], low)
        not_finite += bad
        for key, value in zip(rows, (low, high, mean, std, (low, *quantiles[1:-1], high)), strict=True):
            rows[key].append(value)
    miniature = thumbnail(image)
    return {
        "size": (height, width),
        "channels": len(image),
        "dtype": image.dtype.name,
        "not_finite": not_finite,
        "same_channels": len(image) > 1 and all(np.array_equal(some[0], other) for other in some[1:]),
        "content": content_hash(image),
        "scene": perceptual_hash(miniature),
        "miniature": pack(miniature),
        **{key: tuple(values) for key, values in rows.items()},
    }


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


def label_facts(label: UInt8[np.ndarray, "h w"], *, classes: int) -> dict[str, Any]:
    """The fields of `CaseFacts` that come from the label map.

    Args:
        label: Class indices, `IGNORE` where unknown.
        classes: Number of classes with the background.

    >>> label_facts(np.eye(8, dtype=np.uint8), classes=2)["objects"]
    (1,)
    """
    import cv2

    counts = np.bincount(label.ravel(), minlength=256)
    step = max(1, -(-max(label.shape) // _FULL))
    small = np.ascontiguousarray(label[::step, ::step])
    objects, diameters = _objects(small, classes)
    miniature = cv2.resize(label, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return {
        "mask_size": label.shape,
        "counts": tuple(int(n) for n in counts[:classes]),
        "ignored": int(counts[IGNORE]),
        "objects": objects,
        "diameters": tuple(step * d for d in diameters),
        "thickness": tuple(step * t for t in _thickness(small, classes)),
        "mask_content": content_hash(label),
        "mask_miniature": pack(miniature),
    }


def _objects(label: NDArray[np.uint8], classes: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    import cc3d

    known = np.where(label == IGNORE, 0, label).astype(np.uint8)
    parts, count = cc3d.connected_components(known, connectivity=8, return_N=True)
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    owner = np.zeros(count + 1, np.uint8)
    owner[parts.ravel()] = known.ravel()
    numbers, diameters = [], []
    for index in range(1, classes):
        area = np.sort(areas[(owner[1:] == index) & (areas >= _SPECK)])
        numbers.append(len(area))
        middle = np.searchsorted(np.cumsum(area), area.sum() / 2) if len(area) else 0
        diameters.append(float(2 * np.sqrt(area[middle] / np.pi)) if len(area) else 0.0)
    return tuple(numbers), tuple(diameters)


def _thickness(label: NDArray[np.uint8], classes: int) -> tuple[float, ...]:
    """Median width along the ridges of the distance transform.

    A stripe of odd width w has ridge distance (w + 1) / 2, one of even width w / 2: twice the distance less a half
    is right for both within half a pixel.
    """
    import cv2
    import edt

    distance = edt.edt(label)
    distance[~np.isfinite(distance)] = max(label.shape)
    ridge = (distance > 0) & (distance >= cv2.dilate(distance, np.ones((3, 3), np.uint8)))
    widths = []
    for index in range(1, classes):
        values = distance[ridge & (label == index)]
        widths.append(max(1.0, 2 * float(np.median(values)) - 0.5) if values.size else 0.0)
    return tuple(widths)


def soft_edges(raw: Shaped[np.ndarray, "h w"], values: Sequence[int]) -> bool:
    """Whether the values that are no class lie between the classes and along their edges.

    That is what smooth scaling, anti-aliased drawing and lossy compression make of a mask; taking each pixel to the
    nearest class undoes most of it. A region of its own in another value is not of that kind.

    Args:
        raw: The mask as its file holds it.
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
