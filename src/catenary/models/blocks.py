"""The convolutional parts that every network is made of; spatial rank (2 or 3) is an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, near_match
from catenary.models.borders import centre

__all__ = [
    "ACTIVATIONS",
    "BLOCKS",
    "NORMS",
    "PADDINGS",
    "UPS",
    "ConvBlock",
    "ResizeUp",
    "TransposeUp",
    "activation",
    "convolution",
    "norm",
    "pick",
    "pooling",
]

Entry = TypeVar("Entry")

_CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}

#: What a 3x3 convolution finds beyond the border; with ``"valid"`` it does not look there.
PADDINGS = ("zeros", "reflect", "valid")

#: Activation functions, name -> module. In place where the backward pass needs only the output.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "prelu": nn.PReLU,
    "elu": lambda: nn.ELU(inplace=True),
    "selu": lambda: nn.SELU(inplace=True),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
}


def _groups(channels: int) -> int:
    """The most groups, 32 at most, that divide the channels into groups of at least four (Wu and He 2018)."""
    return next(g for g in range(max(1, min(32, channels // 4)), 0, -1) if channels % g == 0)


#: Normalisations, name -> (rank, channels) -> module; all with a learned scale and offset.
NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "batch": lambda rank, channels: _BATCH[rank](channels),
    "instance": lambda rank, channels: _INSTANCE[rank](channels, affine=True),
    "group": lambda rank, channels: nn.GroupNorm(_groups(channels), channels),
    "none": lambda rank, channels: nn.Identity(),
}


def pick(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry of a registry, or an error that helps with the name.

    Raises:
        ConfigError: When `name` is not in `table`.

    >>> pick(ACTIVATIONS, "rellu", "activation")
    Traceback (most recent call last):
    catenary.errors.ConfigError: unknown activation 'rellu'; did you mean 'relu'?
    """
    if name not in table:
        raise ConfigError(f"unknown {what} '{name}'; {near_match(name, table)}")
    return table[name]


def convolution(
    rank: int, inputs: int, outputs: int, kernel: int = 3, *, padding: str = "zeros", bias: bool = True
) -> nn.Module:
    """A convolution of an odd kernel that keeps the size, or an unpadded one when `padding` is ``"valid"``.

    >>> convolution(3, 4, 8).weight.shape
    torch.Size([8, 4, 3, 3, 3])
    """
    conv = _CONV[_rank(rank)]
    if padding not in PADDINGS:
        raise ConfigError(f"unknown padding '{padding}'; {near_match(padding, PADDINGS)}")
    if padding == "valid" or kernel == 1:
        return conv(inputs, outputs, kernel, bias=bias)
    return conv(inputs, outputs, kernel, padding=kernel // 2, padding_mode=padding, bias=bias)


def norm(kind: str, rank: int, channels: int) -> nn.Module:
    """A normalisation of `NORMS`.

    >>> norm("group", 2, 24).num_groups
    6
    """
    return pick(NORMS, kind, "normalisation")(_rank(rank), channels)


def activation(name: str) -> nn.Module:
    """An activation function of `ACTIVATIONS`.

    >>> activation("elu")
    ELU(alpha=1.0, inplace=True)
    """
    return pick(ACTIVATIONS, name, "activation")()


def pooling(rank: int) -> nn.Module:
    """The 2x2 (2x2x2) maximum that leads one level down."""
    return _POOL[_rank(rank)](2)


class ConvBlock(nn.Module):
    """`convs` times 3x3 convolution, normalisation, activation (Ronneberger et al. 2015: two, no normalisation).

    What every block of `BLOCKS` offers to a topology:

    Attributes:
        outputs: Channels it gives (a block may give other than it was asked for).
        radius: Pixels it sees beyond its own on each side, and loses there when unpadded.

    A convolution has a bias only where no normalisation follows, whose offset would cancel or replace it.
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        convs: int = 2,
        norm: str = "none",
        activation: str = "relu",
        padding: str = "zeros",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for source in (inputs, *[outputs] * (convs - 1)):
            layers += [
                convolution(rank, source, outputs, padding=padding, bias=norm == "none"),
                _norm(norm, rank, outputs),
                _activation(activation),
            ]
        if dropout:
            layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers)
        self.outputs = outputs
        self.radius = convs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of the same size, or `radius` less on each side when unpadded."""
        return self.layers(x)  # type: ignore[no-any-return]


_norm, _activation = norm, activation  # the functions, where an argument has their name

#: Blocks, name -> (rank, inputs, outputs, *, convs, norm, activation, padding, dropout) -> module like `ConvBlock`.
BLOCKS: dict[str, Callable[..., Any]] = {"plain": ConvBlock}


class TransposeUp(nn.Module):
    """Twice the size by a transposed convolution of kernel 2 and stride 2, as in the paper."""

    bilinear = False  # whether an output pixel leans on its neighbours' sources too

    def __init__(self, rank: int, inputs: int, outputs: int, *, padding: str = "zeros") -> None:
        super().__init__()
        self.layer = _TRANSPOSED[_rank(rank)](inputs, outputs, 2, stride=2)

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of twice the size."""
        return self.layer(x)  # type: ignore[no-any-return]


class ResizeUp(nn.Module):
    """Twice the size by linear interpolation, the channels changed by a 1x1 convolution; leaves no checkerboard.

    The two commute, so the convolution runs first, on a quarter (an eighth in 3D) of the pixels.
    """

    bilinear = True

    def __init__(self, rank: int, inputs: int, outputs: int, *, padding: str = "zeros") -> None:
        super().__init__()
        self.layer = convolution(rank, inputs, outputs, 1)
        self.mode = {2: "bilinear", 3: "trilinear"}[rank]
        self.edge = int(padding == "valid")

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of twice the size, less one pixel on each side when unpadded."""
        x = nn.functional.interpolate(self.layer(x), scale_factor=2.0, mode=self.mode, align_corners=False)
        return centre(x, self.edge)


#: Ways up, name -> (rank, inputs, outputs, *, padding) -> module that doubles the size.
UPS: dict[str, Any] = {"transpose": TransposeUp, "resize": ResizeUp}


def _rank(rank: int) -> int:
    if rank not in _CONV:
        raise ConfigError(f"spatial rank must be 2 or 3, found {rank}; set model.rank")
    return rank
