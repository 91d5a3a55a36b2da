"""What happens to pixels before a network sees them, and how sizes are brought to the working resolution.

Training and prediction share all of it. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy.typing import NDArray

from catenary.data.extent import find_body
from catenary.predict.contrast import MIDDLE, SPREAD, local_contrast
from catenary.predict.resample import resample_image, resample_label, working_shape_of
from catenary.recipe import Prepare
from catenary.types import Image

__all__ = ["Normaliser", "Prepared", "framed", "prepare", "resize_image", "resize_label", "told_of", "working_shape"]

Vector = NDArray[np.float32]
#: ``(scale, offset, low, high)``, each with one number a channel; the last two may be None.
Coefficients = tuple[Vector, Vector, Vector | None, Vector | None]


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Normalisation as one affine a channel, ``x * scale + offset``, after an optional clip.

    Attributes:
        mode: See `catenary.recipe.Prepare`.
        mean, std: Constants of the training set, for ``"dataset"``.
        window: Lowest and highest intensity that count; () for all.
        match: The second half of the channels, a later date, is first brought to mean and deviation of the first.
    """

    mode: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    match: bool = False

    @staticmethod
    def from_config(config: Prepare) -> Normaliser:
        """The normaliser that a recipe describes."""
        return Normaliser(
            mode=config.normalise, mean=config.mean, std=config.std, window=config.window, match=config.match
        )

    def coefficients(self, array: Shaped[np.ndarray, "c *s"], valid: NDArray[np.bool_] | None = None) -> Coefficients:
        """``(scale, offset, low, high)`` for one image, each with one number a channel; `low` and `high` may be None.

        A constant channel becomes 0 where the image's own statistics are used; pixels that are not `valid` do not
        enter them.

        >>> scale, offset, _, _ = Normaliser(mode="range").coefficients(np.array([[0, 255]], np.uint8))
        >>> float(scale[0] * 255 + offset[0])
        1.0
        """
        channels = array.shape[0]
        flat = array.reshape(channels, -1)
        if valid is not None and valid.any():
            flat = flat[:, valid.ravel()]
        low = high = None
        if self.mode == "body":
            inside = find_body(array).ravel()
            flat = array.reshape(channels, -1)[:, inside] if inside.any() else flat
        if self.window:
            bottom, top = self.window
            low, high = np.full(channels, bottom), np.full(channels, top)
            flat = np.clip(flat, bottom, top)
        if self.mode == "local":  # `prepare` has brought every neighbourhood to these
            middle, spread = np.full(channels, MIDDLE), np.full(channels, SPREAD)
        elif self.mode == "none":
            middle, spread = np.zeros(channels), np.ones(channels)
        elif self.mode == "dataset":
            middle, spread = np.asarray(self.mean, np.float64), np.asarray(self.std, np.float64)
        elif self.mode in ("image", "body"):
            every = flat[:, :: max(1, flat.shape[1] // 4_000_000)].astype(np.float64)
            middle, spread = every.mean(axis=1), every.std(axis=1)
            spread = np.where(spread > 0, spread, 1.0)
        elif self.mode == "percentile":
            few = flat[:, :: max(1, flat.shape[1] // 1_000_000)]
            low, high = np.percentile(few, [1, 99], axis=1)
            middle, spread = (low + high) / 2, np.where(high > low, (high - low) / 2, 1.0)
        else:
            most = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else max(float(flat.max(initial=0)), 1e-12)
            middle, spread = np.zeros(channels), np.full(channels, float(most))
        scale, offset = 1 / spread, -middle / spread
        if self.match and self.mode in ("dataset", "range"):  # the other modes bring each date to its own already
            gain, shift = _matched(flat)
            half = channels // 2
            scale[half:], offset[half:] = gain * scale[:half], shift * scale[:half] + offset[:half]
        bounds = (None, None) if low is None or high is None else (low.astype(np.float32), high.astype(np.float32))
        return scale.astype(np.float32), offset.astype(np.float32), *bounds


def _matched(flat: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and shift that give each channel of the second half mean and deviation of its partner in the first."""
    every = flat[:, :: max(1, flat.shape[1] // 4_000_000)].astype(np.float64)
    half = len(flat) // 2
    mean, std = every.mean(axis=1), every.std(axis=1)
    gain = np.where(std[half:] > 0, std[:half] / np.where(std[half:] > 0, std[half:], 1.0), 1.0)
    return gain, mean[:half] - gain * mean[half:]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An image at working resolution, and what its pixels are normalised with.

    Attributes:
        array: ``(c, *s)`` in the file's own type, or 8 bits of local contrast; pixels without data hold the mean.
        coefficients: See `Normaliser.coefficients`.
    """

    array: NDArray[Any]
    coefficients: Coefficients

    def normalised(self) -> Float32[np.ndarray, "c *s"]:
        """What the network sees."""
        return normalise(self.array, *self.coefficients)


def prepare(image: Image, normaliser: Normaliser, size: int = 0, spacing: tuple[float, ...] = ()) -> Prepared:
    """Fill what holds no data, bring the image to working resolution, and find its normalisation.

    Args:
        image: Pixels of any type.
        normaliser: See `Normaliser`.
        size, spacing: See `working_shape`.

    >>> image = Image(array=np.array([[[1, 3, 0]]], np.float32), valid=np.array([[True, True, False]]))
    >>> prepare(image, Normaliser(mode="image")).normalised()
    array([[[-1.,  1.,  0.]]], dtype=float32)
    """
    array, valid = image.array, image.valid
    if valid is not None and valid.all():
        valid = None
    shape = working_shape(image.shape, size, image.grid.spacing, spacing)
    if valid is not None and valid.any():
        array = array.copy()
        for plane in array:
            plane[~valid] = plane[valid].mean()
        if shape != image.shape:
            valid = resize_label(valid.astype(np.uint8), shape).astype(bool)
    array = resize_image(array, shape)
    if normaliser.mode == "local":
        array = local_contrast(array, valid)
    return Prepared(array=array, coefficients=normaliser.coefficients(array, valid))


def framed(image: Shaped[np.ndarray, "h w c"], patch: tuple[int, int]) -> Shaped[np.ndarray, "ph pw c"]:
    """The middle of an image, mirrored at its ends where the patch is larger: how images with one class are seen.

    >>> framed(np.array([[[1], [2], [3]]]), (1, 7))[0, :, 0].tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    """
    from catenary.augment.spatial import IDENTITY, sample_patch

    shape = image.shape[:2]
    centre = (shape[0] // 2, shape[1] // 2)
    return sample_patch(image, np.zeros(shape, np.uint8), centre=centre, patch=patch, warp=IDENTITY)[0]


def normalise(
    array: NDArray[Any], scale: Vector, offset: Vector, low: Vector | None = None, high: Vector | None = None
) -> Float32[np.ndarray, "c *s"]:
    """``clip(x) * scale + offset`` channel by channel, in one buffer."""
    out = np.empty(array.shape, np.float32)
    for channel, plane in enumerate(array):
        source = plane if low is None or high is None else np.clip(plane, low[channel], high[channel])
        np.multiply(source, scale[channel], out=out[channel], casting="unsafe")
        out[channel] += offset[channel]
    return out


def working_shape(
    shape: tuple[int, ...], size: int, spacing: tuple[float, ...] | None = None, target: tuple[float, ...] = ()
) -> tuple[int, ...]:
    """Spatial size at working resolution.

    Args:
        shape: The image's own size.
        size: What its longer side is brought to; 0 keeps it.
        spacing: Its own spacing.
        target: Spacing that a volume is brought to; () keeps it.

    >>> working_shape((341, 512), 256), working_shape((341, 512), 0)
    ((170, 256), (341, 512))
    >>> working_shape((30, 200, 200), 0, (3.0, 0.5, 0.5), (1.5, 1.0, 1.0))
    (60, 100, 100)
    """
    if target:
        return working_shape_of(shape, spacing, target)
    if not size:
        return shape
    factor = size / max(shape)
    return tuple(max(1, round(side * factor)) for side in shape)


def resize_image(array: Shaped[np.ndarray, "c *s"], shape: tuple[int, ...]) -> Shaped[np.ndarray, "c *n"]:
    """Bring an image to `shape`: averaged over areas when it shrinks, linear when it grows; the type stays."""
    if array.shape[1:] == shape:
        return array
    if len(shape) == 3:
        return resample_image(array, shape)
    import cv2

    how = cv2.INTER_AREA if shape[0] < array.shape[1] else cv2.INTER_LINEAR
    readable = array if array.dtype in (np.uint8, np.uint16, np.float32) else array.astype(np.float32)
    return np.stack([cv2.resize(np.ascontiguousarray(plane), shape[::-1], interpolation=how) for plane in readable])


def resize_label(label: UInt8[np.ndarray, "*s"], shape: tuple[int, ...]) -> UInt8[np.ndarray, "*n"]:
    """Bring a label map to `shape` by the nearest pixel."""
    if label.shape == shape:
        return label
    if len(shape) == 3:
        return resample_label(label, shape)
    import cv2

    return np.asarray(cv2.resize(label, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def told_of(disaster: str, disasters: Sequence[str]) -> Float32[np.ndarray, " d"]:
    """What a network is told of a disaster: 1 at its type, case ignored; nothing but 0 for one that it does not know.

    >>> told_of("Flood", ("fire", "flood")).tolist(), told_of("", ("fire", "flood")).tolist()
    ([0.0, 1.0], [0.0, 0.0])
    """
    return np.array([disaster.lower() == known.lower() for known in disasters], np.float32)
