"""Which colours of an RGB mask were put there on purpose."""

from __future__ import annotations

import itertools
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
#: In a mask that was smoothed: share of the pixels that the classes cover together, that the least of them covers, from
#: which on a colour is a class even when it lies between two others, and share of blends in what is left.
CLEAN_SHARE, LEAST_SHARE, FLAT_SHARE, BLENDED = 0.8, 0.0005, 0.02, 0.7
#: More colours than this that are no blends were not smoothed.
MOST_FLAT = 32


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
    """The classes of a colour mask whose edges were smoothed; () when it is no such mask.

    There, few colours cover nearly everything, and the rest are blends of two or three of them.

    >>> edges = {(v, 0, 0): 5 for v in range(10, 250)}
    >>> clean_colours(edges | {(0, 0, 0): 60000, (255, 0, 0): 30000})
    ((0, 0, 0), (255, 0, 0))
    >>> clean_colours({(0, 0, 0): 60000, (255, 0, 0): 30000, (0, 90, 0): 5})
    ()
    """
    colours, numbers = _arrays(counts)
    share = numbers / max(1, numbers.sum())
    frequent = np.argsort(-numbers, kind="stable")[: int((share >= LEAST_SHARE).sum())]
    flat: list[int] = []
    for index in frequent:
        if len(flat) > MOST_FLAT:
            return ()
        if share[index] >= FLAT_SHARE or not _are_blends(colours[index : index + 1], colours[flat])[0]:
            flat.append(int(index))
    rest = np.setdiff1d(np.arange(len(colours)), flat)
    if len(rest) < 3 or len(flat) < 2 or share[flat].sum() < CLEAN_SHARE:
        return ()
    blended = numbers[rest][_are_blends(colours[rest], colours[flat])].sum()
    return _tuples(colours[flat]) if blended >= BLENDED * numbers[rest].sum() else ()


def _are_blends(colours: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of the colours mixes two or three of `ends` (of the first eight: three meet seldom)."""
    found = np.zeros(len(colours), np.bool_)
    for count, among in ((2, ends), (3, ends[:8])):
        for corners in itertools.combinations(among.astype(np.float64), count):
            sides = np.stack(corners[1:]) - corners[0]
            offset = colours - corners[0]
            parts = offset @ np.linalg.pinv(sides)
            inside = (parts >= 0).all(1) & (parts.sum(1) <= 1)
            found |= inside & (np.abs(offset - parts @ sides).max(1) <= NEAR)
    return found


def _arrays(counts: Mapping[Colour, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array(list(counts), np.int64).reshape(-1, 3), np.array(list(counts.values()), np.int64)


def _standing_out(
    colours: NDArray[np.int64], numbers: NDArray[np.int64], candidates: NDArray[np.bool_]
) -> tuple[Colour, ...]:
    order = np.flatnonzero(candidates)[np.argsort(-numbers[candidates], kind="stable")]
    near = [numbers[(np.abs(colours - colours[index]) <= NEAR).all(1)].sum() for index in order]
    return _tuples(colours[[i for i, around in zip(order, near, strict=True) if around < 1.5 * numbers[i]]])


def _tuples(colours: NDArray[np.int64]) -> tuple[Colour, ...]:
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colours)
