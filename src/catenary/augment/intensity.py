"""Random changes of brightness and sharpness, in the image's own type.

All magnitudes are shares of the intensity range ``low..high`` of each channel, so that one configuration serves
8-bit photos, 16-bit tomograms and z-scored scans alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from catenary.augment.hair import draw_hairs
from catenary.augment.spatial import in_channel_groups
from catenary.errors import InputError
from catenary.recipe import Augment

__all__ = ["NEUTRAL", "Level", "Tone", "change_tone", "draw_tone"]

cv2: Any = opencv  # its type stubs refuse much that it takes

#: Number of uniform random numbers that one `Tone` takes, whatever the configuration.
DRAWS = 12

#: An end of the intensity range: one number, or one a channel.
Level = float | int | Sequence[float | int] | NDArray[Any]

#: Blurs below this sigma (pixels) change nothing that can be seen.
LEAST_BLUR = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Tone:
    """One drawn change of intensity; the default changes nothing.

    Attributes:
        blur: Sigma of a Gaussian blur in pixels, applied first as optics would.
        gamma: Exponent on ``(x - low) / (high - low)``.
        contrast: Factor around the mean of each channel of the patch.
        brightness: Share of the range added to all channels.
        colour: Largest share of the range added to each channel on its own; the shares are drawn from `seed`.
        noise: Standard deviation of white Gaussian noise as a share of the range, applied last.
        hair: Whether hairs are drawn over the image, before all else.
        seed: Seed of colour, noise and hairs.
    """

    blur: float = 0.0
    gamma: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    colour: float = 0.0
    noise: float = 0.0
    hair: bool = False
    seed: int = 0

    @property
    def is_curve(self) -> bool:
        """Whether pixels change through a curve (gamma, contrast, brightness, colour)."""
        return self.gamma != 1.0 or self.contrast != 1.0 or self.brightness != 0.0 or self.colour != 0.0


#: The change that changes nothing.
NEUTRAL = Tone()


def draw_tone(config: Augment, rng: np.random.Generator) -> Tone:
    """Draw one change of intensity; the same count of random numbers is taken each time.

    >>> tone = draw_tone(Augment(intensity=0, noise_probability=0, blur_probability=1), np.random.default_rng(0))
    >>> tone.is_curve, tone.noise, 0 < tone.blur < 1
    (False, 0.0, True)
    """
    u = rng.random(DRAWS).tolist()
    signed = [2 * value - 1 for value in u]
    seed = int(u[11] * 2**53)
    sometimes = config.intensity
    return Tone(
        gamma=1 + signed[1] * config.gamma if u[0] < sometimes else 1.0,
        contrast=1 + signed[3] * config.contrast if u[2] < sometimes else 1.0,
        brightness=signed[5] * config.brightness if u[4] < sometimes else 0.0,
        colour=config.colour if u[6] < sometimes else 0.0,
        noise=u[8] * config.noise if u[7] < config.noise_probability else 0.0,
        blur=u[10] * config.blur if u[9] < config.blur_probability else 0.0,
        hair=config.hair > 0 and float(np.random.default_rng([seed, 1]).random()) < config.hair,
        seed=seed,
    )


def change_tone(
    image: Shaped[np.ndarray, "*s c"], tone: Tone, *, low: Level, high: Level
) -> Shaped[np.ndarray, "*s c"]:
    """Apply a change of intensity.

    The curve is ``(t^gamma - m) * contrast + m + brightness + colour`` with ``t = (x - low) / (high - low)`` and
    ``m`` the patch's mean taken through the same gamma. Values below `low` keep their distance to it (no power of
    a negative number), values above `high` follow the curve; integer types round and saturate.

    Args:
        image: ``(h, w, c)`` or ``(d, h, w, c)`` uint8, uint16 or float32; it is not changed.
        tone: What to do.
        low: Lower end of the intensity range, one number or one a channel.
        high: Upper end.

    Returns:
        An image of the same type; the input itself when there is nothing to do.

    Raises:
        InputError: When `low` or `high` does not fit the channels, or the type is another.

    >>> grey = np.full((2, 2, 1), 100, np.uint8)
    >>> int(change_tone(grey, Tone(brightness=0.1), low=0, high=200)[0, 0, 0])
    120
    """
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"intensities of type {image.dtype} cannot be changed; convert the image to float32")
    if image.ndim == 4:
        return _change_volume(image, tone, low, high)
    base, span = _range(low, high, image.shape[2])
    rng = np.random.default_rng(tone.seed) if tone.colour or tone.noise else None
    if tone.hair:
        image = draw_hairs(image, np.random.default_rng([tone.seed, 2]), low=base, high=base + span)
    if tone.blur >= LEAST_BLUR:
        image = in_channel_groups(
            lambda part: cv2.GaussianBlur(part, (0, 0), tone.blur, borderType=cv2.BORDER_REFLECT_101), image
        )
    if tone.is_curve:
        added = np.full(image.shape[2], tone.brightness, np.float32)
        if rng is not None and tone.colour:
            added += (2 * rng.random(image.shape[2], dtype=np.float32) - 1) * np.float32(tone.colour)
        image = _curve(image, tone, base, span, added)
    if rng is not None and tone.noise:
        grain = rng.standard_normal((image.shape[0], image.shape[1] * image.shape[2]), dtype=np.float32)
        grain *= _along(span * np.float32(tone.noise), image)
        grain += image.reshape(grain.shape)
        image = _as_type(grain, image.dtype).reshape(image.shape)
    return image


def _change_volume(image: NDArray[Any], tone: Tone, low: Level, high: Level) -> NDArray[Any]:
    """All but the blur looks at no neighbours: slices stand one below the other for it."""
    from scipy.ndimage import gaussian_filter

    if tone.blur >= LEAST_BLUR:
        image = gaussian_filter(image, (tone.blur, tone.blur, tone.blur, 0.0), mode="mirror", truncate=3.0)
    rows = image.reshape(-1, *image.shape[2:])
    return change_tone(rows, replace(tone, blur=0.0), low=low, high=high).reshape(image.shape)


def _range(low: Level, high: Level, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    ends = [np.atleast_1d(np.asarray(end, np.float32)) for end in (low, high)]
    if any(end.shape not in ((1,), (channels,)) for end in ends):
        raise InputError(
            f"the intensity range has {ends[0].size} and {ends[1].size} values for {channels} channels; "
            "give one number or one a channel"
        )
    base, top = (np.broadcast_to(end, (channels,)) for end in ends)
    # A channel without range (constant) is left to move by single grey values instead of dividing by zero.
    return base, np.where(top > base, top - base, np.float32(1))


def _curve(
    image: NDArray[Any],
    tone: Tone,
    base: NDArray[np.float32],
    span: NDArray[np.float32],
    added: NDArray[np.float32],
) -> NDArray[Any]:
    pivot = np.zeros_like(base)
    if tone.contrast != 1.0:
        pivot = _power((_means(image) - base) / span, tone.gamma)
    # contrast * (t^g - pivot) + pivot + added, times span, plus base: one multiplication and one addition after t^g.
    factor = np.float32(tone.contrast) * span
    offset = (pivot * np.float32(1 - tone.contrast) + added) * span + base
    if image.dtype == np.uint8:
        values = np.arange(256, dtype=np.float32)[:, None]
        table = _power((values - base) / span, tone.gamma) * factor + offset
        return _look_up(image, _as_type(table, np.dtype(np.uint8)))
    # Rows of whole pixels against constants repeated along the row: long inner loops, several times faster.
    rows = image.reshape(image.shape[0], -1)
    if tone.gamma == 1.0:
        slope = factor / span
        value = np.multiply(rows, _along(slope, image), dtype=np.float32)
        value += _along(offset - base * slope, image)
    else:
        value = np.multiply(rows, _along(np.reciprocal(span), image), dtype=np.float32)
        value -= _along(base / span, image)
        value = _power(value, tone.gamma)
        value *= _along(factor, image)
        value += _along(offset, image)
    return _as_type(value, image.dtype).reshape(image.shape)


def _means(image: NDArray[Any]) -> NDArray[np.float32]:
    """Mean of each channel; OpenCV's takes four channels at most, and is 60 times numpy's on interleaved pixels."""
    means = [cv2.mean(np.ascontiguousarray(image[..., k : k + 4])) for k in range(0, image.shape[2], 4)]
    return np.asarray(means, np.float32).ravel()[: image.shape[2]]


def _along(constants: NDArray[np.float32], image: NDArray[Any]) -> NDArray[np.float32]:
    return np.tile(constants, image.shape[1])


def _power(value: NDArray[np.float32], gamma: float) -> NDArray[np.float32]:
    if gamma == 1.0:
        return value
    powered: NDArray[np.float32] = cv2.pow(np.maximum(value, 0), gamma).reshape(value.shape)
    powered += np.minimum(value, 0)
    return powered


def _look_up(image: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each channel through its column of the table ``(256, c)``."""
    if (table == table[:, :1]).all():
        same: NDArray[np.uint8] = cv2.LUT(image.reshape(image.shape[0], -1), np.ascontiguousarray(table[:, 0]))
        return same.reshape(image.shape)
    if image.shape[2] <= 4:
        each: NDArray[np.uint8] = cv2.LUT(image, table[:, None, :])
        return each
    return np.stack(
        [cv2.LUT(np.ascontiguousarray(image[..., k]), table[:, k].copy()) for k in range(image.shape[2])], 2
    )


def _as_type(value: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return value
    np.rint(value, out=value)
    np.clip(value, 0, np.iinfo(dtype).max, out=value)
    return value.astype(dtype)
