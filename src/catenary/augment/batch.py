"""From a configuration to one changed patch: `draw` takes the random numbers, `apply` uses them.

>>> rng = np.random.default_rng(0)
>>> image, label = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8)
>>> photo = PRESETS["photo"]
>>> pixels, truth = make_patch(image, label, photo, centre=(20, 20), patch=(32, 32), rng=rng, low=0, high=255)
>>> pixels.shape, truth.shape
((32, 32, 3), (32, 32))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from catenary.augment.intensity import NEUTRAL, Level, Tone, change_tone, draw_tone
from catenary.augment.spatial import IDENTITY, Warp, draw_warp, sample_patch
from catenary.augment.volume import draw_turn, sample_volume
from catenary.recipe import Augment
from catenary.recipes.presets import PRESETS

__all__ = ["PRESETS", "UNCHANGED", "Drawn", "apply", "draw", "make_patch", "make_volume_patch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """All random numbers of one patch; the same `Drawn` gives the same patch.

    Attributes:
        warp: The change of geometry.
        tone: The change of intensity; with `later`, that of the earlier of two dates.
        later: That of the later date, the second half of the channels; None where there is one date.
        apart: Pixels, down and right, by which the later date is moved against the earlier.
    """

    warp: Warp = IDENTITY
    tone: Tone = NEUTRAL
    later: Tone | None = None
    apart: tuple[int, int] = (0, 0)


#: The draw that changes nothing: a plain crop.
UNCHANGED = Drawn()


def draw(config: Augment, rng: np.random.Generator, *, dates: int = 1) -> Drawn:
    """Draw all random numbers of one patch; the intensities of two `dates` change independently.

    Raises:
        ConfigError: When `config.flip` is not given for two axes.

    >>> draw(PRESETS["none"], np.random.default_rng(0)).warp.is_turn
    True
    """
    warp, tone = draw_warp(config, rng), draw_tone(config, rng)
    if dates == 1:
        return Drawn(warp=warp, tone=tone)
    down, right = (rng.uniform(-config.apart, config.apart, 2) if config.apart else np.zeros(2)).round().astype(int)
    return Drawn(warp=warp, tone=tone, later=draw_tone(config, rng), apart=(int(down), int(right)))


def apply(
    image: Shaped[np.ndarray, "h w c"],
    label: UInt8[np.ndarray, "lh lw"],
    drawn: Drawn,
    *,
    centre: tuple[int, int],
    patch: tuple[int, int],
    low: Level,
    high: Level,
    scale: float = 1.0,
) -> tuple[Shaped[np.ndarray, "ph pw c"], UInt8[np.ndarray, "ph pw"]]:
    """One changed patch; see `sample_patch` for geometry and types, `change_tone` for intensities."""
    if drawn.later is None:
        pixels, truth = sample_patch(image, label, centre=centre, patch=patch, warp=drawn.warp, scale=scale)
        return change_tone(pixels, drawn.tone, low=low, high=high), truth
    half = image.shape[2] // 2
    ends = [np.broadcast_to(np.asarray(end), (2 * half,)) for end in (low, high)]
    dates, truths = [], []
    for part, tone, moved in ((slice(half), drawn.tone, (0, 0)), (slice(half, None), drawn.later, drawn.apart)):
        place = (centre[0] + moved[0], centre[1] + moved[1])
        pixels, truth = sample_patch(image[..., part], label, centre=place, patch=patch, warp=drawn.warp, scale=scale)
        dates.append(change_tone(pixels, tone, low=ends[0][part], high=ends[1][part]))
        truths.append(truth)
    return np.concatenate(dates, axis=2), truths[0]  # labels are those of the earlier date


def make_patch(
    image: Shaped[np.ndarray, "h w c"],
    label: UInt8[np.ndarray, "lh lw"],
    config: Augment,
    *,
    centre: tuple[int, int],
    patch: tuple[int, int],
    rng: np.random.Generator,
    low: Level,
    high: Level,
    scale: float = 1.0,
    dates: int = 1,
) -> tuple[Shaped[np.ndarray, "ph pw c"], UInt8[np.ndarray, "ph pw"]]:
    """Draw and apply: one training patch.

    Args:
        image: ``(h, w, c)``; uint8, uint16 and float32 keep their type, any other becomes float32.
        label: ``(h, w)`` class indices.
        config: What may happen, how often and how strongly.
        centre: Pixel ``(row, column)`` that the patch is centred on.
        patch: Size ``(h, w)``.
        rng: Where randomness comes from.
        low: Lower end of the image's intensity range, one number or one a channel.
        high: Upper end.
        scale: Working pixels per image pixel, normally 1.
        dates: 2 where the channels are those of two dates of one place, the earlier first.

    Returns:
        Image ``(*patch, c)`` and label ``patch``, contiguous and in new memory.

    Raises:
        InputError: When image, label, patch and range do not fit together.
        ConfigError: When `config.flip` is not given for two axes.
    """
    drawn = draw(config, rng, dates=dates)
    return apply(image, label, drawn, centre=centre, patch=patch, low=low, high=high, scale=scale)


def make_volume_patch(
    image: Shaped[np.ndarray, "d h w c"],
    label: UInt8[np.ndarray, "ld lh lw"],
    config: Augment,
    *,
    centre: tuple[int, int, int],
    patch: tuple[int, int, int],
    rng: np.random.Generator,
    low: Level,
    high: Level,
    flat: bool = False,
) -> tuple[Float32[np.ndarray, "pd ph pw c"], UInt8[np.ndarray, "pd ph pw"]]:
    """Draw and apply: one training patch of a volume.

    Args:
        image: ``(d, h, w, c)`` of any numeric type.
        label: ``(d, h, w)`` class indices.
        config: What may happen, how often and how strongly.
        centre: Voxel that the patch is centred on.
        patch: Size ``(d, h, w)``.
        rng: Where randomness comes from.
        low: Lower end of the intensity range, one number or one a channel.
        high: Upper end.
        flat: Slices are kept apart, for networks that see them one by one.

    Raises:
        InputError: When patch and range do not fit together.
        ConfigError: When `config.flip` is not given for two or three axes.
    """
    turn, tone = draw_turn(config, rng, flat=flat), draw_tone(config, rng)
    pixels, truth = sample_volume(image, label, centre=centre, patch=patch, turn=turn, flat=flat)
    return change_tone(pixels, tone, low=low, high=high), truth
