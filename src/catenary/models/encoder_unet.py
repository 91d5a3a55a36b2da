"""Encoders of the timm library under the decoders of the family (Iglovikov and Shvets 2018, arXiv:1801.05746)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, InputError
from catenary.geometry import per_level
from catenary.models.blocks import BLOCKS
from catenary.models.borders import corner, mirror, symbolic
from catenary.models.decoders import DECODERS
from catenary.models.encoders import Encoder, encoder_strides
from catenary.models.fuelcell import Ladder
from catenary.models.initial import initialise
from catenary.models.layers import UPS, convolution, pick

__all__ = ["ENCODER_MODELS", "TOPOLOGIES", "EncoderGeometry", "EncoderUNet"]

#: Expanding paths, name -> builder as in `catenary.models.decoders.DECODERS`; of the last two tells
#: `catenary.models.fuelcell`.
TOPOLOGIES: dict[str, Callable[..., Any]] = {
    **DECODERS,
    "fuelcell": Ladder,
    "ternausnet": partial(Ladder, rise=3, active=True, risen=(32, 64, 128, 256, 256)),
}


@dataclass(frozen=True, kw_only=True)
class EncoderGeometry:
    """The sizes that a network on an encoder works with, along one axis; compare `catenary.geometry.Geometry`.

    Attributes:
        stride: Pixels of the image that a pixel of the deepest feature stands for.
        multiple: What the image's sides must be multiples of: `stride`, or more where the encoder works in windows.
        margin: Pixels lost on each side, none.

    >>> EncoderGeometry(stride=32, multiple=32).output_size(33)
    64
    """

    stride: int
    multiple: int
    margin: int = 0
    valid: bool = False

    @property
    def levels(self) -> int:
        """Number of resolutions from the image's to the deepest."""
        return self.stride.bit_length()

    def output_size(self, size: Any, *, least: int | None = None) -> Any:
        """Smallest size that holds `size` pixels and that the network takes without mirroring.

        The deepest feature gets at least `least` pixels, 2 when nobody asks for another: batch statistics need them.
        """
        least = 2 if least is None else least
        squares = (size + self.multiple - 1) // self.multiple
        if least:
            squares = max(-(-least * self.stride // self.multiple), squares)
        return squares * self.multiple

    def offset(self, level: int) -> int:
        """Pixel of the expanding path's `level` that holds the output's first pixel: the first."""
        return 0


class EncoderUNet(nn.Module):
    """Any encoder of timm, then any decoder of the family, then up to the image's own size.

    ::

        image ─ stage ─────────────────────────────── up, block ─ head ─ logits
                  └ stage ─────────── skip ── decoder ┘
                      └ stage ── bridge ──────┘

    Where the encoder's finest feature is at stride 2 or 4, the last steps up have no skip. It takes images of any size
    from 1x1 and mirrors them to what the encoder needs, as `catenary.models.UNet`.

    Args:
        rank: 2; the encoders are of two dimensions.
        channels: Of the images; `catenary.models.pretrained.load_encoder` adapts the first layer.
        classes: Logits a pixel.
        encoder: See `Encoder`.
        strides, biases: See `Encoder`; ``(2, 4, 8, 16, 32)`` leaves out what VGG has at full resolution, for example.
        depth: Number of resolutions, the image's own and the deepest included; cuts off deeper ones. 0 for all.
        topology: A name of `TOPOLOGIES`.
        widths: Channels of the expanding path from the image's resolution down (**finest first**; other libraries
            write the same the other way round), one for each resolution but the deepest. () doubles from 16. With
            another `depth`, ``widths[0]`` is doubled. A first width of 0 stands for the number of classes.
        block, convs, skip, up, kernel, steps, norm, activation, bias, padding: Of the expanding path.
        bridge: Convolutions on the deepest feature, which keep its channels; 0 for none.
        tail: Convolutions of the steps up that have no skip.
        head: Pixels a side of the last convolution, 1 or 3.
        dropout: At the two deepest features.
        deep_supervision: Side outputs for `side_outputs`.
        init: How the expanding path's weights are drawn; the encoder's are drawn as timm does.
        weights: Where pretrained weights of the encoder are to come from, ``"hub"`` or a file; only noted here, for
            `catenary.models.pretrained.load_encoder`, because building reads nothing.

    Attributes:
        geometry: See `EncoderGeometry`.
        reach: None, for an output pixel may depend on all the image.
        scales: How many pixels of the image, along each axis, one of each of `side_outputs` stands for.

    >>> import torch
    >>> network = EncoderUNet(encoder="resnet18", classes=2)
    >>> network(torch.zeros(1, 3, 50, 33)).shape, network.widths
    (torch.Size([1, 2, 50, 33]), (16, 32, 64, 128, 256))

    Raises:
        ConfigError: See `Encoder`; rank 3; widths that do not fit.
    """

    def __init__(
        self,
        *,
        rank: int = 2,
        channels: int = 3,
        classes: int = 1,
        encoder: str = "resnet34",
        strides: Sequence[int] = (),
        biases: bool = False,
        depth: int = 0,
        topology: str = "unet",
        widths: Sequence[int] = (),
        block: str = "plain",
        convs: int | Sequence[int] = 2,
        skip: str = "concat",
        up: str = "nearest",
        kernel: int = 3,
        steps: int = 2,
        norm: str = "batch",
        activation: str = "relu",
        bias: bool = False,
        padding: str = "zeros",
        bridge: int = 0,
        tail: int = 2,
        head: int = 1,
        dropout: float = 0.0,
        deep_supervision: bool = False,
        init: str = "he",
        weights: str = "",
    ) -> None:
        super().__init__()
        _check_settings(rank, padding, head)
        self.rank, self.channels, self.classes, self.weights = rank, channels, classes, weights
        self.encoder = Encoder(encoder, channels=channels, strides=_deep_enough(encoder, strides, depth), biases=biases)
        self.geometry = EncoderGeometry(stride=self.encoder.strides[-1], multiple=self.encoder.multiple)
        self.reach: int | None = None
        self.widths = _widths(widths, self.geometry.levels - 1, depth)
        chosen = [width or classes for width in self.widths]
        free = self.encoder.strides[0].bit_length() - 1  # steps up without a skip

        style: dict[str, Any] = {"norm": norm, "activation": activation, "padding": padding, "bias": bias}
        make = partial(pick(BLOCKS, block, "block"), rank, kernel=kernel, steps=steps, **style)
        expand, rise = pick(TOPOLOGIES, topology, "topology"), pick(UPS, up, "way up")
        number = per_level(convs, len(chosen))
        settings = {"block": block, "convs": number[free:], "skip": skip, "up": up, "kernel": kernel, "steps": steps}
        if "dropout" in inspect.signature(expand).parameters:  # it has places of its own for it
            settings, dropout = settings | {"dropout": dropout}, 0.0
        kept = [*self.encoder.outputs]
        self.drop = nn.Dropout(dropout)
        self.bridge = nn.Identity()
        if bridge:
            self.bridge = crossed = make(kept[-1], kept[-1], convs=bridge)
            kept[-1] = crossed.outputs
        self.decoder = expand(rank, kept, chosen[free:], **settings, **style)
        made = [*self.decoder.outputs]
        self.tail = nn.ModuleList()
        for width in reversed(chosen[:free]):
            risen = rise(rank, made[0], width, **style)
            step = make(risen.outputs, width, convs=tail) if tail else nn.Identity()
            self.tail.append(nn.Sequential(risen, step))
            made.insert(0, step.outputs if tail else risen.outputs)
        self.head = convolution(rank, made[0], classes, head)
        # where steps without a skip follow, the decoder's own finest feature is not the answer's
        sides = [*self.decoder.supervised.values()][0 if free else 1 :] if deep_supervision else []
        self.sides = nn.ModuleList(convolution(rank, n, classes, 1) for _, n in sides)
        self.scales = ((1,) * rank, *((2 ** (level + free),) * rank for level, _ in sides))
        for part in (self.bridge, self.decoder, self.tail, self.head, self.sides):
            initialise(part, init)

    def features(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """What the expanding path gives at each level, the finest first, the deepest feature's last."""
        return self._risen(self.decoder(self._kept(x)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Logits of every pixel of images of any size.

        Raises:
            InputError: When rank or channels of `x` are not the network's.
        """
        return corner(self.head(self.features(self.widened(x))[0]), x.shape[2:])

    def forward_valid(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Logits of images whose sides are multiples of ``geometry.multiple``, nothing mirrored.

        Raises:
            InputError: On another size, rank or number of channels; the message names the nearest larger size.
        """
        self._check(x)
        if not symbolic():
            fits = [self.geometry.output_size(n, least=1) for n in x.shape[2:]]
            if fits != [*x.shape[2:]]:
                raise InputError(f"forward_valid cannot take a size of {[*x.shape[2:]]}; the next that fits is {fits}")
        return self.head(self.features(x)[0])

    def side_outputs(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The logits of `forward`, then those of the side outputs, for deep supervision (Lee et al. 2015).

        Those of a scale have the size of a label map taken at every ``n``-th pixel (see `scales`). Without
        ``deep_supervision`` there are none but the first.
        """
        kept = self._kept(self.widened(x))
        if not self.sides:
            return [corner(self.head(self._risen(self.decoder(kept))[0]), x.shape[2:])]
        seen = self.decoder.supervise(kept)
        answers = [corner(self.head(self._risen(seen[:1])[0]), x.shape[2:])]
        beside = seen[len(seen) - len(self.sides) :]
        for scale, side, feature in zip(self.scales[1:], self.sides, beside, strict=True):
            sizes = [(n + step - 1) // step for n, step in zip(x.shape[2:], scale, strict=True)]
            answers.append(side(corner(feature, sizes)))
        return answers

    def widened(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c t u"]:
        """`x` mirrored beyond its lower and right border to a size that the encoder takes."""
        self._check(x)
        sizes = [self.geometry.output_size(n, least=0 if symbolic() else None) for n in x.shape[2:]]
        return mirror(x, 0, sizes)

    def _kept(self, x: Tensor) -> list[Tensor]:
        *upper, deepest = self.encoder(x)
        upper[-1:] = [self.drop(feature) for feature in upper[-1:]]
        return [*upper, self.bridge(self.drop(deepest))]

    def _risen(self, made: list[Tensor]) -> list[Tensor]:
        for step in self.tail:
            made = [step(made[0]), *made]
        return made

    def _check(self, x: Tensor) -> None:
        if not symbolic() and (x.ndim != self.rank + 2 or x.shape[1] != self.channels):
            raise InputError(
                f"the network takes {self.rank}D batches of {self.channels} channels (batch, channel, sizes), "
                f"found {x.ndim - 2}D and {x.shape[1]} channels; prepare the images as they were for training"
            )


#: Networks on encoders, name -> builder; `catenary.models.build.MODELS` has them too.
ENCODER_MODELS: dict[str, Callable[..., nn.Module]] = {
    # VGG11 pooled once more, one convolution as its centre; 22,927,393 parameters
    "ternausnet": partial(
        EncoderUNet, encoder="vgg11", strides=(1, 2, 4, 8, 16, 32), topology="ternausnet",
        widths=(32, 128, 256, 512, 512), convs=1, bridge=1, norm="none", activation="relu",
    ),
    "mobilenetv2_unet": partial(
        EncoderUNet, encoder="mobilenetv2_100", widths=(16, 32, 64, 128, 256), convs=2, norm="batch",
        activation="relu", up="transpose",
    ),
    # the last of the five blocks of VGG16 is the bottleneck
    "vgg16_unet": partial(
        EncoderUNet, encoder="vgg16", strides=(1, 2, 4, 8, 16), widths=(64, 128, 256, 512), convs=2, norm="batch",
        activation="relu", up="transpose",
    ),
    # the form that most people use: repeated pixels, a 3x3 head
    "resnet50_unet": partial(
        EncoderUNet, encoder="resnet50", widths=(16, 32, 64, 128, 256), convs=2, norm="batch", activation="relu",
        up="nearest", head=3,
    ),
    "efficientnet_b4_unet": partial(
        EncoderUNet, encoder="efficientnet_b4", widths=(16, 32, 64, 128, 256), convs=2, norm="batch",
        activation="relu", up="nearest", head=3,
    ),
    # see catenary.models.fuelcell on what is odd about these two
    "fuelcell_vgg16": partial(
        EncoderUNet, encoder="vgg16", strides=(1, 2, 4, 8, 16), topology="fuelcell", widths=(64, 128, 256, 512),
        convs=2, norm="batch", activation="relu", dropout=0.4,
    ),
    "fuelcell_resnet50": partial(
        EncoderUNet, encoder="resnet50", biases=True, topology="fuelcell", widths=(0, 64, 256, 512, 1024), convs=2,
        norm="none", activation="relu", up="transpose", tail=0,
    ),
}  # fmt: skip


def _deep_enough(encoder: str, strides: Sequence[int], depth: int) -> tuple[int, ...]:
    """The strides that `depth` resolutions reach."""
    every = tuple(strides) or encoder_strides(encoder)
    if not depth:
        return every
    reached = tuple(stride for stride in every if stride <= 2 ** (depth - 1))
    if not reached or depth > every[-1].bit_length():
        raise ConfigError(
            f"model.depth = {depth} does not suit encoder '{encoder}', whose features have strides {list(every)}; set "
            f"it to {every[0].bit_length()} to {every[-1].bit_length()}, or 0 for all"
        )
    return reached


def _widths(widths: Sequence[int], levels: int, depth: int) -> tuple[int, ...]:
    given = tuple(int(width) for width in widths) or tuple(16 * 2**level for level in range(levels))
    if depth and len(given) != levels:
        given = tuple(given[0] * 2**level for level in range(levels))
    if len(given) != levels or min(given[1:], default=1) < 1 or given[0] < 0:
        raise ConfigError(
            f"model.widths must be {levels} numbers from 1 up, those of the expanding path from the image's "
            f"resolution down, found {list(given)}; give as many, or none for 16, 32, 64, ..."
        )
    return given


def _check_settings(rank: int, padding: str, head: int) -> None:
    if rank != 2:
        raise ConfigError(
            f"the encoders are of two dimensions, found model.rank = {rank}; set it to 2, or take a network without "
            "a pretrained encoder, such as unet3d"
        )
    if padding == "valid":
        raise ConfigError("a network on an encoder is padded, found padding 'valid'; set model.padding to 'zeros'")
    if head not in (1, 3):
        raise ConfigError(f"model.head must be 1 or 3 pixels a side, found {head}")
