"""Which colours of an RGB mask were put there on purpose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["clean_colours", "painted_colours"]

Colour = tuple[int, int, int]

#: A colour stands out when all colours within this distance (in each channel) together cover less than half of it.
NEAR = 4
#: Least share of the pixels of a painted colour: of a pure one such as 255 0 0, of any other.
PURE_SHARE, ANY_SHARE = 0.0002, 0.002
#: Least difference between the channels of a colour that is no grey.
CHROMA = 60
#: Share of the pixels that flat colours cover in a mask that was smoothed, and of the least of them.
CLEAN_SHARE, LEAST_SHARE = 0.8, 0.0005


def painted_colours(counts: Mapping[Colour, int]) -> tuple[Colour, ...]:
    """Exact, frequent, coloured colours: what a brush leaves on a copy of the image.

    A picture's own colours come in clouds of similar ones, a brush leaves one exact value.

    Args:
        counts: Pixels of each colour, over all masks.

    >>> greys = {(v, v, v): 500 for v in range(80, 180)}
    >>> painted_colours(greys | {(255, 0, 0): 4000, (0, 0, 255): 300})
    ((255, 0, 0), (0, 0, 255))
    """
    colours, numbers = _arrays(counts)
    share = numbers / max(1, numbers.sum())
    chroma = colours.max(1) - colours.min(1)
    pure = (colours.max(1) >= 200) & (colours.min(1) <= 60) & (chroma >= 150)
    candidates = (chroma > CHROMA) & ((share >= ANY_SHARE) | (pure & (share >= PURE_SHARE)))
    return _standing_out(colours, numbers, candidates)


def clean_colours(counts: Mapping[Colour, int]) -> tuple[Colour, ...]:
    """The flat colours of a colour mask whose edges were smoothed; () when it is no such mask.

    >>> edges = {(v, 0, 0): 5 for v in range(10, 250)}
    >>> clean_colours(edges | {(0, 0, 0): 60000, (255, 0, 0): 30000})
    ((0, 0, 0), (255, 0, 0))
    >>> clean_colours({(v, v, v): 500 for v in range(80, 180)})
    ()
    """
    colours, numbers = _arrays(counts)
    total = max(1, numbers.sum())
    flat = _standing_out(colours, numbers, numbers / total >= LEAST_SHARE)
    covered = sum(counts[colour] for colour in flat) / total
    return flat if 2 <= len(flat) <= 32 and covered >= CLEAN_SHARE else ()


def _arrays(counts: Mapping[Colour, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array(list(counts), np.int64).reshape(-1, 3), np.array(list(counts.values()), np.int64)


def _standing_out(
    colours: NDArray[np.int64], numbers: NDArray[np.int64], candidates: NDArray[np.bool_]
) -> tuple[Colour, ...]:
    found = []
    for index in np.flatnonzero(candidates)[np.argsort(-numbers[candidates], kind="stable")]:
        near = (np.abs(colours - colours[index]) <= NEAR).all(1)
        if numbers[near].sum() < 1.5 * numbers[index]:
            red, green, blue = (int(value) for value in colours[index])
            found.append((red, green, blue))
    return tuple(found)
