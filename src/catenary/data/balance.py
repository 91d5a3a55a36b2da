"""Class weights from how common the classes are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

from catenary.errors import InputError

__all__ = ["class_weights_from"]


def class_weights_from(
    shares: Sequence[float],
    task: Literal["binary", "exclusive", "overlapping"],
    how: Literal["sqrt", "median"] = "sqrt",
    *,
    cap: float = 10.0,
) -> tuple[float, ...]:
    """One weight for each logit of a network, larger for rarer classes.

    Args:
        shares: Share of the pixels, 0..1, of each class with the background first (binary, exclusive), or of each
            region (overlapping). Only their ratios matter for the first two.
        task: Exclusive classes weigh pixels of their own against one another. The logit of a binary class or of a
            region weighs its positive pixels against its negative ones, so its weight is the ratio of the two.
        how: ``"sqrt"``: inverse square root of the share, 1 for the commonest class: a compromise between the
            frequencies and balance. ``"median"``: median share over share (Eigen and Fergus 2015), which balances
            fully; there, a share is taken among the images in which the class occurs.
        cap: A class weighs at most this much, and at least its inverse. From 1 up.

    Returns:
        Weights within ``1 / cap .. cap``; 1 for a class without one pixel.

    Raises:
        InputError: A share is negative, none is above 0 (of regions: there is none, or one is above 1), or a binary
            task does not have two.

    >>> class_weights_from((0.8, 0.2), "binary")
    (2.0,)
    >>> class_weights_from((0.64, 0.32, 0.04), "exclusive", "median")
    (0.5, 1.0, 8.0)
    >>> class_weights_from((0.5, 0.2), "overlapping")
    (1.0, 2.0)
    """
    if task == "overlapping" and not (shares and min(shares) >= 0 and max(shares) <= 1):
        raise InputError(f"shares of regions {tuple(shares)} must be from 0 to 1; count pixels of labelled images")
    if task != "overlapping" and (min(shares, default=0) < 0 or not max(shares, default=0) > 0):
        raise InputError(f"shares {tuple(shares)} must be from 0 up and not all 0; count pixels of labelled images")
    if task == "binary" and len(shares) != 2:
        raise InputError(f"a binary task has the shares of background and class, found {len(shares)}; give two")
    if task == "exclusive":
        weights = _weights(shares, how)
    else:
        ratios = [_weights(pair, how) for pair in ([shares] if task == "binary" else [(1 - s, s) for s in shares])]
        weights = [positive / negative for negative, positive in ratios]
    return tuple(min(max(weight, 1 / cap), cap) for weight in weights)


def _weights(shares: Sequence[float], how: str) -> list[float]:
    present = [share for share in shares if share > 0]
    typical = max(present) if how == "sqrt" else median(present)
    ratios = [typical / share if share > 0 else 1.0 for share in shares]
    return [math.sqrt(ratio) if how == "sqrt" else ratio for ratio in ratios]
