"""The blocks that every network is made of; how far each sees is in `catenary.geometry.RADII`.

A block is built with ``(rank, inputs, outputs, *, convs, kernel, steps, dropout, **style)``, where the style is
``norm``, ``activation``, ``padding`` and ``bias`` of all its layers, and has one attribute, ``outputs``: the channels
it gives, which may be other than it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError
from catenary.geometry import per_axis
from catenary.models.borders import centre
from catenary.models.layers import activation as make_activation
from catenary.models.layers import convolution, layer
from catenary.models.layers import norm as make_norm

__all__ = [
    "BLOCKS",
    "Asymmetric",
    "ConvBlock",
    "InvertedResidual",
    "MultiRes",
    "Recurrent",
    "RecurrentConv",
    "RecurrentResidual",
    "Residual",
    "SqueezeExcite",
]


class ConvBlock(nn.Module):
    """`convs` times convolution, normalisation, activation (Ronneberger et al. 2015: two 3x3, no normalisation).

    Args:
        rank: Spatial rank, 2 or 3.
        inputs: Channels it takes.
        outputs: Channels it is asked for.
        convs: Number of convolutions.
        kernel: Pixels a side, or along each axis.
        inner: Channels of all convolutions but the last; 0: `outputs`.
        dropout: Probability of dropout at the end.
        style: ``norm``, ``activation``, ``padding``, ``bias``, see `catenary.models.layers.layer`.

    >>> block = ConvBlock(2, 3, 8)
    >>> block(torch.zeros(1, 3, 5, 7)).shape, block.outputs
    (torch.Size([1, 8, 5, 7]), 8)
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        convs: int = 2,
        kernel: int | Sequence[int] = 3,
        steps: int = 2,
        inner: int = 0,
        dropout: float = 0.0,
        **style: Any,
    ) -> None:
        super().__init__()
        widths = [inputs, *[inner or outputs] * (convs - 1), outputs]
        layers: list[nn.Module] = [layer(rank, source, width, kernel, **style) for source, width in pairwise(widths)]
        self.layers = nn.Sequential(*layers, *_dropout(dropout))
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of the same size, or less its radius on each side when unpadded."""
        return self.layers(x)


class Residual(nn.Module):
    """A chain of convolutions to whose result the input is added before the last activation (He et al. 2016).

    A 1x1 convolution brings the input to as many channels where they differ (its "projection"). With one
    normalisation, an activation and `convs` of 5x5x5 it is the block of Milletari et al. (2016).
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        convs: int = 2,
        kernel: int | Sequence[int] = 3,
        steps: int = 2,
        dropout: float = 0.0,
        activation: str = "relu",
        **style: Any,
    ) -> None:
        super().__init__()
        chain = [
            layer(rank, source, outputs, kernel, activation=activation, **style)
            for source in (inputs, *[outputs] * (convs - 1))
        ][: convs - 1]
        last = layer(rank, outputs if chain else inputs, outputs, kernel, activation="none", **style)
        self.layers = nn.Sequential(*chain, last)
        self.short = _projection(rank, inputs, outputs, **style)
        self.end = nn.Sequential(make_activation(activation), *_dropout(dropout))
        valid = style.get("padding") == "valid"
        self.crop = tuple(convs * (side // 2) if valid else 0 for side in per_axis(kernel, rank))
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of the same size, or less its radius on each side when unpadded."""
        return self.end(self.layers(x).add_(self.short(centre(x, self.crop))))


class SqueezeExcite(Residual):
    """A residual block whose channels are weighted by what the whole image holds (Hu et al. 2018).

    The channels' means over the image pass two 1x1 convolutions (to a sixteenth, at least four channels, and back) and
    a sigmoid, and scale the features before the input is added.
    """

    def __init__(self, rank: int, inputs: int, outputs: int, *, activation: str = "relu", **style: Any) -> None:
        super().__init__(rank, inputs, outputs, activation=activation, **style)
        inner = max(4, outputs // 16)
        self.weigh = nn.Sequential(
            layer(rank, outputs, inner, 1, activation=activation), convolution(rank, inner, outputs, 1), nn.Sigmoid()
        )

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of the same size, or less its radius on each side when unpadded."""
        features = self.layers(x)
        weights = self.weigh(features.mean(tuple(range(2, x.ndim)), keepdim=True))
        return self.end((features * weights).add_(self.short(centre(x, self.crop))))


class RecurrentConv(nn.Module):
    """A convolution that looks at its own answer again (Liang and Hu 2015; Alom et al. 2018, equation 2).

    ``x_0 = f(norm_0(w_f u))`` and ``x_t = f(norm_t(w_f u + w_r x_{t-1}))`` for t = 1..steps: the kernels on the input
    and on the state are two, and each step has its own normalisation, as the statistics change from step to step.
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        kernel: int | Sequence[int] = 3,
        steps: int = 2,
        norm: str = "none",
        activation: str = "relu",
        padding: str = "zeros",
        bias: bool = False,
    ) -> None:
        super().__init__()
        _keeps_size("recurrent", padding)
        self.feed = convolution(rank, inputs, outputs, kernel, padding=padding, bias=bias or norm == "none")
        self.back = convolution(rank, outputs, outputs, kernel, padding=padding, bias=False)
        self.norms = nn.ModuleList(make_norm(norm, rank, outputs) for _ in range(steps + 1))
        # without a normalisation the first step would overwrite what all later ones need
        self.activation = make_activation(activation, inplace=norm != "none")

    def forward(self, u: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"]:
        """The state after the last step."""
        fed = self.feed(u)
        x: Tensor = fed
        for step, normalise in enumerate(self.norms):
            x = self.activation(normalise(self.back(x).add_(fed) if step else fed))
        return x


class Recurrent(nn.Module):
    """`convs` recurrent convolutions, one after the other: the unit of RU-Net (Alom et al. 2018)."""

    def __init__(
        self, rank: int, inputs: int, outputs: int, *, convs: int = 2, dropout: float = 0.0, **style: Any
    ) -> None:
        super().__init__()
        sources = (inputs, *[outputs] * (convs - 1))
        self.layers = nn.Sequential(
            *(RecurrentConv(rank, source, outputs, **style) for source in sources), *_dropout(dropout)
        )
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"]:
        """Features of the same size."""
        return self.layers(x)


class RecurrentResidual(Recurrent):
    """Recurrent convolutions to which the input is added, ``x + F(x)``: the unit of R2U-Net (Alom et al. 2018).

    A 1x1 convolution first brings the input to the unit's channels, so that it can be added at all.
    """

    def __init__(self, rank: int, inputs: int, outputs: int, **style: Any) -> None:
        super().__init__(rank, outputs, outputs, **style)
        self.enter = convolution(rank, inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"]:
        """Features of the same size."""
        x = self.enter(x)
        return x + self.layers(x)


class MultiRes(nn.Module):
    """Chained 3x3 convolutions of growing width, all kept: they see 3, 5, 7 pixels (Ibtehaz and Rahman 2020).

    Of ``1.67 * outputs`` channels the first of three convolutions gets a sixth, the second a third, the third half
    (in general, the n-th gets n parts), each rounded down; so it gives other than it was asked for. A 1x1 convolution
    of the input is added; the sum is activated and normalised.

    >>> MultiRes(2, 3, 32, convs=3).outputs  # 8 + 17 + 26
    51
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        convs: int = 3,
        kernel: int | Sequence[int] = 3,
        steps: int = 2,
        dropout: float = 0.0,
        norm: str = "none",
        activation: str = "relu",
        padding: str = "zeros",
        bias: bool = False,
    ) -> None:
        super().__init__()
        _keeps_size("multires", padding)
        parts = [round(2 * n / (convs * (convs + 1)), 3) for n in range(1, convs + 1)]  # the authors' .167, .333, .5
        widths = [max(1, int(1.67 * outputs * part)) for part in parts]
        self.outputs = sum(widths)
        self.short = layer(rank, inputs, self.outputs, 1, norm=norm, activation="none", bias=bias)
        self.layers = nn.ModuleList(
            layer(rank, source, width, kernel, norm=norm, activation=activation, padding=padding, bias=bias)
            for source, width in zip((inputs, *widths), widths, strict=False)
        )
        self.norm = make_norm(norm, rank, self.outputs)
        self.end = nn.Sequential(make_activation(activation), make_norm(norm, rank, self.outputs), *_dropout(dropout))

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"]:
        """Features of the same size."""
        made, short = [x], self.short(x)
        for conv in self.layers:
            made.append(conv(made[-1]))
        return self.end(self.norm(torch.cat(made[1:], dim=1)).add_(short))


class Asymmetric(nn.Module):
    """Each convolution as a chain of one-dimensional ones, 1xk and kx1 (in 3D three), with an activation behind each.

    Szegedy et al. (2016): two thirds of the work of 3x3, a third of 3x3x3.
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        convs: int = 2,
        kernel: int | Sequence[int] = 3,
        steps: int = 2,
        dropout: float = 0.0,
        **style: Any,
    ) -> None:
        super().__init__()
        sides = per_axis(kernel, rank)
        kernels = [
            tuple(side if axis == along else 1 for axis, side in enumerate(sides)) for along in reversed(range(rank))
        ]
        sources = (inputs, *[outputs] * (convs * rank - 1))
        layers = [layer(rank, n, outputs, kernels[i % rank], **style) for i, n in enumerate(sources)]
        self.layers = nn.Sequential(*layers, *_dropout(dropout))
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of the same size, or less its radius on each side when unpadded."""
        return self.layers(x)


class InvertedResidual(nn.Module):
    """`convs` units: widen six-fold by 1x1, one filter a channel, narrow by 1x1 without activation, add the input.

    Sandler et al. (2018, MobileNetV2); the input is added where channels allow it.
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        convs: int = 2,
        kernel: int | Sequence[int] = 3,
        steps: int = 2,
        dropout: float = 0.0,
        padding: str = "zeros",
        activation: str = "relu",
        **style: Any,
    ) -> None:
        super().__init__()
        _keeps_size("inverted_residual", padding)
        self.units = nn.ModuleList()
        for source in (inputs, *[outputs] * (convs - 1)):
            wide = 6 * source
            self.units.append(
                nn.Sequential(
                    layer(rank, source, wide, 1, activation=activation, **style),
                    layer(rank, wide, wide, kernel, activation=activation, padding=padding, groups=wide, **style),
                    layer(rank, wide, outputs, 1, activation="none", **style),
                )
            )
        self.adds = [source == outputs for source in (inputs, *[outputs] * (convs - 1))]
        self.end = nn.Sequential(*_dropout(dropout))
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"]:
        """Features of the same size."""
        for unit, adds in zip(self.units, self.adds, strict=True):
            x = unit(x).add_(x) if adds else unit(x)
        return self.end(x)


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share else []


def _projection(rank: int, inputs: int, outputs: int, *, padding: str = "zeros", **style: Any) -> nn.Module:
    return nn.Identity() if inputs == outputs else layer(rank, inputs, outputs, 1, activation="none", **style)


def _keeps_size(block: str, padding: str) -> None:
    if padding == "valid":
        raise ConfigError(f"block '{block}' keeps sizes, found padding 'valid'; set model.padding to 'zeros'")


#: Blocks, name -> (rank, inputs, outputs, *, convs, kernel, steps, dropout, **style) -> module with ``outputs``.
BLOCKS: dict[str, Callable[..., Any]] = {
    "plain": ConvBlock,
    "residual": Residual,
    "recurrent": Recurrent,
    "recurrent_residual": RecurrentResidual,
    "multires": MultiRes,
    "asymmetric": Asymmetric,
    "inverted_residual": InvertedResidual,
    "squeeze_excite": SqueezeExcite,
}
