"""What happens at the edge of an image: mirroring beyond it, cutting back to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from catenary.geometry import per_axis

__all__ = ["centre", "corner", "mirror", "symbolic"]


def symbolic() -> bool:
    """Whether a graph is being recorded (compiled, exported, traced), so that sizes may not steer Python."""
    # public by the manual, but neither exported nor annotated
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]


def mirror(x: Float[Tensor, "b c *s"], before: int | Sequence[int], sizes: Sequence[Any]) -> Float[Tensor, "b c *t"]:
    """Reflect an image beyond its borders, the border pixel not repeated, as often as it takes.

    Any size can be brought to any larger size (a single pixel is repeated), and the steps export with free sizes.

    Args:
        x: Images.
        before: Pixels added in front of each spatial axis; one number for all, or one for each.
        sizes: Wanted spatial size (numbers, or their symbols in a graph with free sizes); what `before` leaves is
            added at the end.

    >>> mirror(torch.tensor([[[1.0, 2.0, 3.0]]]), 1, [8])
    tensor([[[2., 1., 2., 3., 2., 1., 2., 3.]]])
    """
    for axis, (front, wanted) in enumerate(zip(per_axis(before, len(sizes)), sizes, strict=True), 2):
        size = x.shape[axis]
        if symbolic() or wanted != size:
            # a tensor, because not every graph format divides by a free size
            period = torch.full((1,), 2 * size - 2, dtype=torch.int64, device=x.device).clamp_min(1)
            index = torch.arange(-front, wanted - front, device=x.device).remainder(period)
            x = x.index_select(axis, torch.minimum(index, period - index))
    return x


def corner(
    x: Float[Tensor, "b c *s"], sizes: Sequence[Any], *, start: int | Sequence[int] = 0
) -> Float[Tensor, "b c *t"]:
    """The part of `x` of spatial size `sizes` that starts at pixel `start` of each axis (one for all, or one for each).

    >>> corner(torch.zeros(1, 2, 8, 8), [3, 5]).shape
    torch.Size([1, 2, 3, 5])
    """
    for axis, (first, size) in enumerate(zip(per_axis(start, len(sizes)), sizes, strict=True), 2):
        if symbolic():  # a gather needs no proof that the part lies inside, which a graph with free sizes cannot give
            x = x.index_select(axis, torch.arange(first, first + size, device=x.device))
        else:
            x = x.narrow(axis, first, size)
    return x


def centre(x: Float[Tensor, "b c *s"], crop: int | Sequence[int]) -> Float[Tensor, "b c *t"]:
    """`x` without `crop` pixels on each side of every spatial axis; one number for all, or one for each.

    >>> centre(torch.zeros(1, 2, 8, 8), 3).shape
    torch.Size([1, 2, 2, 2])
    """
    crops = per_axis(crop, x.ndim - 2)
    return x[(..., *(slice(cut, -cut or None) for cut in crops))] if any(crops) else x
