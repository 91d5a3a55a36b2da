"""How the features that a contracting block keeps join what rises from below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError

__all__ = ["SKIPS", "Add", "Concat"]


class Concat(nn.Module):
    """Both, one after the other along the channels (Ronneberger et al. 2015).

    What every skip of `SKIPS` offers to a topology:

    Attributes:
        outputs: Channels it gives.

    >>> Concat(2, 8, 4).outputs
    12
    """

    def __init__(self, rank: int, kept: int, risen: int, **style: object) -> None:
        super().__init__()
        self.outputs = kept + risen

    def forward(self, kept: Float[Tensor, "b c *s"], risen: Float[Tensor, "b d *s"]) -> Float[Tensor, "b k *s"]:
        """The joined features."""
        return torch.cat((kept, risen), dim=1)


class Add(nn.Module):
    """Their sum, half the channels for the next block (Chaurasia and Culurciello 2017, LinkNet)."""

    def __init__(self, rank: int, kept: int, risen: int, **style: object) -> None:
        super().__init__()
        if kept != risen:
            raise ConfigError(f"skip 'add' needs equal channels, found {kept} and {risen}; use skip 'concat'")
        self.outputs = kept

    def forward(self, kept: Float[Tensor, "b c *s"], risen: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *s"]:
        """The joined features."""
        return kept + risen


#: Skips, name -> (rank, kept channels, risen channels, **style) -> module; style: level, norm, activation, padding.
SKIPS: dict[str, Callable[..., Any]] = {"concat": Concat, "add": Add}
