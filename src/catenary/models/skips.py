"""How the features that a contracting path keeps join what rises from below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError
from catenary.models.layers import activation as make_activation
from catenary.models.layers import layer
from catenary.models.layers import norm as make_norm

__all__ = ["SKIPS", "Add", "AttentionGate", "Concat", "ResPath"]


class Concat(nn.Module):
    """All, one after the other along the channels (Ronneberger et al. 2015).

    What every skip of `SKIPS` takes and offers to a topology:

    Args:
        rank: Spatial rank.
        kept: Channels of each kept feature; more than one where a topology keeps several of one size.
        risen: Channels of what rises from below.
        length: Levels between this one and the deepest, from 1 up.
        kernel: Of a 3x3 convolution in it, where it has one.
        style: ``norm``, ``activation``, ``padding``, ``bias`` of the layers.

    Attributes:
        outputs: Channels it gives.

    >>> Concat(2, (8,), 4).outputs
    12
    """

    def __init__(self, rank: int, kept: Sequence[int], risen: int, **style: Any) -> None:
        super().__init__()
        self.outputs = sum(kept) + risen

    def forward(self, *features: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b k *s"]:
        """The joined features; the last is the one from below."""
        return torch.cat(features, dim=1)


class Add(nn.Module):
    """Their sum, half the channels for the next block (Chaurasia and Culurciello 2017, LinkNet)."""

    def __init__(self, rank: int, kept: Sequence[int], risen: int, **style: Any) -> None:
        super().__init__()
        if {*kept} != {risen}:
            found = " and ".join(map(str, (*kept, risen)))
            raise ConfigError(f"skip 'add' needs equal channels, found {found}; use skip 'concat'")
        self.outputs = risen

    def forward(self, *features: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *s"]:
        """The joined features; the last is the one from below."""
        *kept, risen = features
        for feature in kept:
            risen = risen + feature
        return risen


class AttentionGate(nn.Module):
    """What rises from below decides, pixel by pixel, how much of the kept features passes (Oktay et al. 2018).

    ``kept * sigmoid(psi(relu(W_x kept + W_g risen)))``, concatenated with what rises; all W are 1x1 convolutions, the
    inner channels half those kept. As most people build it, with both at the same resolution.

    >>> AttentionGate(2, (8,), 4).outputs
    12
    """

    def __init__(
        self,
        rank: int,
        kept: Sequence[int],
        risen: int,
        *,
        length: int = 1,
        kernel: int | Sequence[int] = 3,
        norm: str = "none",
        activation: str = "relu",
        padding: str = "zeros",
        bias: bool = False,
    ) -> None:
        super().__init__()
        inner = max(1, sum(kept) // 2)
        style: dict[str, Any] = {"kernel": 1, "norm": norm, "activation": "none", "bias": bias}
        self.of_risen = layer(rank, risen, inner, **style)
        self.of_kept = layer(rank, sum(kept), inner, **style)
        self.activation = make_activation(activation)
        self.psi = layer(rank, inner, 1, **style)
        self.outputs = sum(kept) + risen

    def forward(self, *features: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b k *s"]:
        """The joined features; the last is the one from below."""
        *rest, risen = features
        kept = torch.cat(rest, dim=1) if len(rest) > 1 else rest[0]
        gate = self.psi(self.activation(self.of_risen(risen).add_(self.of_kept(kept)))).sigmoid()
        return torch.cat((kept * gate, risen), dim=1)


class ResPath(nn.Module):
    """A chain of residual 3x3 convolutions on the way across, as long as the levels below, then concatenation.

    Ibtehaz and Rahman (2020): the features kept at the top have seen the least, so they pass most convolutions (in
    five levels 4, 3, 2, 1). A link is ``norm(relu(norm(1x1 x) + relu(norm(3x3 x))))`` and gives as many channels as
    rise from below.

    >>> path = ResPath(2, (8,), 4, length=3)
    >>> len(path.links), path.outputs
    (3, 8)
    """

    def __init__(
        self,
        rank: int,
        kept: Sequence[int],
        risen: int,
        *,
        length: int = 1,
        kernel: int | Sequence[int] = 3,
        norm: str = "none",
        activation: str = "relu",
        padding: str = "zeros",
        bias: bool = False,
    ) -> None:
        super().__init__()
        if padding == "valid":
            raise ConfigError("skip 'res_path' keeps sizes, found padding 'valid'; set model.padding to 'zeros'")
        style: dict[str, Any] = {"norm": norm, "bias": bias}
        sources = (sum(kept), *[risen] * (length - 1))
        self.links = nn.ModuleList(
            nn.ModuleDict(
                {
                    "short": layer(rank, n, risen, 1, activation="none", **style),
                    "conv": layer(rank, n, risen, kernel, activation=activation, padding=padding, **style),
                    "activation": make_activation(activation),
                    "norm": make_norm(norm, rank, risen),
                }
            )
            for n in sources
        )
        self.outputs = 2 * risen

    def forward(self, *features: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b k *s"]:
        """The joined features; the last is the one from below."""
        *rest, risen = features
        x = torch.cat(rest, dim=1) if len(rest) > 1 else rest[0]
        for link in self.links:
            assert isinstance(link, nn.ModuleDict)
            x = link["norm"](link["activation"](link["short"](x).add_(link["conv"](x))))
        return torch.cat((x, risen), dim=1)


#: Skips, name -> (rank, kept channels, risen channels, *, length, kernel, **style) -> module like `Concat`.
SKIPS: dict[str, Callable[..., Any]] = {
    "concat": Concat,
    "add": Add,
    "attention": AttentionGate,
    "res_path": ResPath,
}
