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
from jaxtyping import Shaped, UInt8

from catenary.augment.intensity import NEUTRAL, Level, Tone, change_tone, draw_tone
from catenary.augment.spatial import IDENTITY, Warp, draw_warp, sample_patch
from catenary.recipe import Augment
from catenary.recipes.presets import PRESETS

__all__ = ["PRESETS", "UNCHANGED", "Drawn", "apply", "draw", "make_patch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """All random numbers of one patch; the same `Drawn` gives the same patch.

    Attributes:
        warp: The change of geometry.
        tone: The change of intensity.
    """

    warp: Warp = IDENTITY
    tone: Tone = NEUTRAL


#: The draw that changes nothing: a plain crop.
UNCHANGED = Drawn()


def draw(config: Augment, rng: np.random.Generator) -> Drawn:
    """Draw all random numbers of one patch.

    Raises:
        ConfigError: When `config.flip` is not given for two axes.

    >>> draw(PRESETS["none"], np.random.default_rng(0)).warp.is_turn
    True
    """
    return Drawn(warp=draw_warp(config, rng), tone=draw_tone(config, rng))


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
    pixels, truth = sample_patch(image, label, centre=centre, patch=patch, warp=drawn.warp, scale=scale)
    return change_tone(pixels, drawn.tone, low=low, high=high), truth


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

    Returns:
        Image ``(*patch, c)`` and label ``patch``, contiguous and in new memory.

    Raises:
        InputError: When image, label, patch and range do not fit together.
        ConfigError: When `config.flip` is not given for two axes.
    """
    return apply(image, label, draw(config, rng), centre=centre, patch=patch, low=low, high=high, scale=scale)
