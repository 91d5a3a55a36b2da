"""The layers that every block is made of; spatial rank (2 or 3) is an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, near_match
from catenary.geometry import per_axis
from catenary.models.borders import centre

__all__ = [
    "ACTIVATIONS",
    "DOWNS",
    "NORMS",
    "PADDINGS",
    "UPS",
    "Nearest",
    "Pool",
    "Resize",
    "ResizeConv",
    "StridedConv",
    "Transpose",
    "activation",
    "convolution",
    "layer",
    "norm",
    "pick",
]

Entry = TypeVar("Entry")

_CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_MAXIMUM: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_MEAN: dict[int, type[nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_BATCH: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}

#: What a 3x3 convolution finds beyond the border; with ``"valid"`` it does not look there.
PADDINGS = ("zeros", "reflect", "valid")

#: Activation functions, name -> (in place) -> module; in place only where the backward pass needs no more than the
#: output.
ACTIVATIONS: dict[str, Callable[[bool], nn.Module]] = {
    "relu": lambda inplace: nn.ReLU(inplace),
    "leaky_relu": lambda inplace: nn.LeakyReLU(0.01, inplace),
    "prelu": lambda inplace: nn.PReLU(),
    "elu": lambda inplace: nn.ELU(inplace=inplace),
    "selu": lambda inplace: nn.SELU(inplace),
    "gelu": lambda inplace: nn.GELU(),
    "silu": lambda inplace: nn.SiLU(),
    "mish": lambda inplace: nn.Mish(),
    "none": lambda inplace: nn.Identity(),
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
    rank: int,
    inputs: int,
    outputs: int,
    kernel: int | Sequence[int] = 3,
    *,
    padding: str = "zeros",
    bias: bool = True,
    groups: int = 1,
) -> nn.Module:
    """A convolution of an odd kernel that keeps the size, or an unpadded one when `padding` is ``"valid"``.

    >>> convolution(3, 4, 8).weight.shape
    torch.Size([8, 4, 3, 3, 3])
    >>> convolution(2, 4, 8, (1, 3)).padding
    (0, 1)
    """
    conv = _CONV[_rank(rank)]
    sides = per_axis(kernel, rank)
    if padding not in PADDINGS:
        raise ConfigError(f"unknown padding '{padding}'; {near_match(padding, PADDINGS)}")
    if not all(side % 2 for side in sides):
        raise ConfigError(f"a kernel has an odd number of pixels a side, found {kernel}; set model.kernel to 3 or 5")
    if padding == "valid" or max(sides) == 1:
        return conv(inputs, outputs, sides, bias=bias, groups=groups)
    margin = tuple(side // 2 for side in sides)
    return conv(inputs, outputs, sides, padding=margin, padding_mode=padding, bias=bias, groups=groups)


def norm(kind: str, rank: int, channels: int) -> nn.Module:
    """A normalisation of `NORMS`.

    >>> norm("group", 2, 24).num_groups
    6
    """
    return pick(NORMS, kind, "normalisation")(_rank(rank), channels)


def activation(name: str, *, inplace: bool = True) -> nn.Module:
    """An activation function of `ACTIVATIONS`, in place where it may be and `inplace` allows it.

    >>> activation("elu")
    ELU(alpha=1.0, inplace=True)
    """
    return pick(ACTIVATIONS, name, "activation")(inplace)


def layer(
    rank: int,
    inputs: int,
    outputs: int,
    kernel: int | Sequence[int] = 3,
    *,
    norm: str = "none",
    activation: str = "relu",
    padding: str = "zeros",
    bias: bool = False,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution, normalisation, activation.

    The convolution has a bias only where no normalisation follows, whose offset would cancel or replace it; `bias`
    keeps it there too, as some networks of the literature do.

    >>> [type(part).__name__ for part in layer(2, 3, 8, norm="batch")]
    ['Conv2d', 'BatchNorm2d', 'ReLU']
    """
    return nn.Sequential(
        convolution(rank, inputs, outputs, kernel, padding=padding, bias=bias or norm == "none", groups=groups),
        *([] if norm == "none" else [_norm(norm, rank, outputs)]),
        *([] if activation == "none" else [_activation(activation)]),
    )


_norm, _activation = norm, activation  # the functions, where an argument has their name


class Pool(nn.Module):
    """Half the size by the maximum of 2x2 (2x2x2) pixels.

    What every way down of `DOWNS` takes and offers:

    Args:
        rank: Spatial rank.
        inputs: Channels it takes.
        outputs: Channels of the level it leads to, which it may give.
        factor: By how much it shrinks, 2, or 1 or 2 for each axis.
        style: ``norm``, ``activation``, ``padding``, ``bias`` of its layers, where it has any.

    Attributes:
        outputs: Channels it gives.
    """

    table = _MAXIMUM

    def __init__(self, rank: int, inputs: int, outputs: int, *, factor: int | Sequence[int] = 2, **style: Any) -> None:
        super().__init__()
        self.layer = self.table[_rank(rank)](per_axis(factor, rank))
        self.outputs = inputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of half the size."""
        return self.layer(x)


class Average(Pool):
    """Half the size by the mean of 2x2 (2x2x2) pixels."""

    table = _MEAN


class StridedConv(nn.Module):
    """Half the size and new channels by a convolution of kernel 2 and stride 2 (Milletari et al. 2016)."""

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        factor: int | Sequence[int] = 2,
        norm: str = "none",
        activation: str = "relu",
        **style: Any,
    ) -> None:
        super().__init__()
        sides = per_axis(factor, rank)
        conv = _CONV[_rank(rank)](inputs, outputs, sides, stride=sides, bias=norm == "none")
        self.layer = nn.Sequential(conv, _norm(norm, rank, outputs), _activation(activation))
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of half the size."""
        return self.layer(x)


#: Ways down, name -> (rank, inputs, outputs, *, factor, **style) -> module that halves the size, see `Pool`.
DOWNS: dict[str, Callable[..., Any]] = {"max": Pool, "mean": Average, "conv": StridedConv}


class Transpose(nn.Module):
    """Twice the size by a transposed convolution of kernel 2 and stride 2 (Ronneberger et al. 2015).

    What every way up of `UPS` takes and offers:

    Args:
        rank: Spatial rank.
        inputs: Channels it takes.
        outputs: Channels it is asked for.
        factor: By how much it enlarges, 2, or 1 or 2 for each axis.
        kernel: Of a 3x3 convolution in it, where it has one.
        style: ``norm``, ``activation``, ``padding``, ``bias`` of its layers, where it has any.

    Attributes:
        outputs: Channels it gives.
    """

    def __init__(self, rank: int, inputs: int, outputs: int, *, factor: int | Sequence[int] = 2, **style: Any) -> None:
        super().__init__()
        sides = per_axis(factor, rank)
        self.layer = _TRANSPOSED[_rank(rank)](inputs, outputs, sides, stride=sides)
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of twice the size."""
        return self.layer(x)


class Resize(nn.Module):
    """Twice the size by linear interpolation, the channels changed by a 1x1 convolution; leaves no checkerboard.

    The two commute, so the convolution runs first, on a quarter (an eighth in 3D) of the pixels.
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        factor: int | Sequence[int] = 2,
        padding: str = "zeros",
        **style: Any,
    ) -> None:
        super().__init__()
        self.layer = convolution(rank, inputs, outputs, 1)
        self.mode = {2: "bilinear", 3: "trilinear"}[rank]
        self.factor = [float(n) for n in per_axis(factor, rank)]
        self.edge = tuple(int(n > 1 and padding == "valid") for n in self.factor)
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of twice the size, less one pixel on each side when unpadded."""
        x = nn.functional.interpolate(self.layer(x), scale_factor=self.factor, mode=self.mode, align_corners=False)
        return centre(x, self.edge)


class ResizeConv(nn.Module):
    """Twice the size by repeating pixels, then a 3x3 convolution with normalisation and activation.

    Odena et al. (2016); the way up of the attention U-Net that most people use.
    """

    def __init__(
        self,
        rank: int,
        inputs: int,
        outputs: int,
        *,
        factor: int | Sequence[int] = 2,
        kernel: int | Sequence[int] = 3,
        **style: Any,
    ) -> None:
        super().__init__()
        self.layer = layer(rank, inputs, outputs, kernel, **style)
        self.factor = [float(n) for n in per_axis(factor, rank)]
        self.outputs = outputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of twice the size, less one pixel on each side when unpadded."""
        return self.layer(nn.functional.interpolate(x, scale_factor=self.factor, mode="nearest"))


class Nearest(nn.Module):
    """Twice the size by repeating pixels; the channels stay what they are."""

    def __init__(self, rank: int, inputs: int, outputs: int, *, factor: int | Sequence[int] = 2, **style: Any) -> None:
        super().__init__()
        self.factor = [float(n) for n in per_axis(factor, rank)]
        self.outputs = inputs

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Features of twice the size."""
        return nn.functional.interpolate(x, scale_factor=self.factor, mode="nearest")


#: Ways up, name -> (rank, inputs, outputs, *, factor, kernel, **style) -> module that doubles the size, see
#: `Transpose`.
UPS: dict[str, Callable[..., Any]] = {
    "transpose": Transpose,
    "resize": Resize,
    "resize_conv": ResizeConv,
    "nearest": Nearest,
}


def _rank(rank: int) -> int:
    if rank not in _CONV:
        raise ConfigError(f"spatial rank must be 2 or 3, found {rank}; set model.rank")
    return rank
