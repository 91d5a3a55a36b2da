"""Encoders of the timm library under the decoders of the family: transfer learning with any of its networks.

A classifier that was trained on millions of photographs knows edges, textures and shapes. Cut at its feature maps it
is the contracting path of a U (Iglovikov and Shvets 2018, arXiv:1801.05746); `catenary.models.pretrained` brings the
weights. Building never reads or downloads anything.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, InputError, near_match
from catenary.geometry import per_level
from catenary.models.blocks import BLOCKS
from catenary.models.borders import corner, mirror, symbolic
from catenary.models.decoders import DECODERS
from catenary.models.fuelcell import Ladder
from catenary.models.initial import initialise
from catenary.models.layers import UPS, convolution, pick

__all__ = ["ENCODER_MODELS", "TOPOLOGIES", "Encoder", "EncoderGeometry", "EncoderUNet"]

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


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What a timm network is as an encoder: found out once, on tensors without memory."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    indices: tuple[int, ...]
    multiple: int
    padded: bool
    options: tuple[tuple[str, Any], ...]


class Encoder(nn.Module):
    """A network of timm, cut at its feature maps; the weights are freshly drawn.

    Args:
        name: A name of ``timm.list_models()``, with or without the tag of its weights (``"resnet34.a1_in1k"``).
        channels: Channels of the images.
        strides: Which features, by the pixels of the image that one of theirs stands for, finest first; () for all.
        biases: Give every convolution a bias of 0, also where a normalisation follows that takes it out again.

    Attributes:
        outputs: Channels of each feature.
        multiple: What the sides of the images must be multiples of.
        added: Names of the biases that weights of the network do not have.
        frozen: Names of the modules whose parameters and running statistics training leaves alone, see
            `catenary.models.pretrained.freeze`.

    Convolutions and poolings without padding (the Inception family) are given some, so that every feature has
    exactly ``1 / stride`` of the image's size; their weights fit as they are.

    >>> encoder = Encoder("resnet18", channels=1)
    >>> encoder.strides, encoder.outputs
    ((2, 4, 8, 16, 32), (64, 64, 128, 256, 512))
    >>> Encoder("resnet_18")
    Traceback (most recent call last):
    catenary.errors.ConfigError: unknown encoder 'resnet_18'; did you mean 'resnet18'? ...

    Raises:
        ConfigError: There is no such network, or it has no features a factor of 2 apart at every image size.
    """

    def __init__(self, name: str, *, channels: int = 3, strides: Sequence[int] = (), biases: bool = False) -> None:
        super().__init__()
        facts = _facts(name)
        wanted = tuple(strides) or facts.strides
        if not {*wanted} <= {*facts.strides} or [*wanted] != [wanted[0] * 2**i for i in range(len(wanted))]:
            raise ConfigError(
                f"encoder '{name}' has features at the strides {list(facts.strides)}, found {list(wanted)} in "
                "model.strides; take neighbours among them, finest first, or none for all"
            )
        chosen = [facts.strides.index(stride) for stride in wanted]
        self.name, self.channels, self.strides = name, channels, wanted
        self.outputs = tuple(facts.channels[i] for i in chosen)
        self.multiple = wanted[-1] if facts.multiple == facts.strides[-1] else facts.multiple
        self.frozen: tuple[str, ...] = ()
        indices = tuple(facts.indices[i] for i in chosen)
        self.net = _create(name, facts.padded, in_chans=channels, out_indices=indices, **dict(facts.options))
        self.added: tuple[str, ...] = _give_biases(self.net) if biases else ()

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The features of images whose sides are multiples of `multiple`, finest first."""
        return _features(self.net, x)

    def train(self, mode: bool = True) -> Encoder:
        """As in every module, but what is frozen stays in evaluation mode, so that its statistics stay."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def stages(self) -> list[list[str]]:
        """Names of the modules that hold parameters, by the first feature that they have a part in, finest first."""
        first = dict(_stages(self.name, self.strides))
        found: list[list[str]] = [[] for _ in self.strides]
        for module, layer in self.named_modules():
            own = [name for name, _ in layer.named_parameters(prefix=module, recurse=False)]
            if own:
                found[min(first.get(name.removeprefix("net."), len(found) - 1) for name in own)].append(module)
        return found


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
        scales: How many pixels of the image, along an axis, one of each of `side_outputs` stands for.

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
        self.bridge = make(kept[-1], kept[-1], convs=bridge) if bridge else nn.Identity()
        kept[-1] = int(self.bridge.outputs) if bridge else kept[-1]  # type: ignore[arg-type]
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
        self.scales = (1, *(2 ** (level + free) for level, _ in sides))
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

        Those of scale ``n`` (see `scales`) have the size of a label map taken at every ``n``-th pixel. Without
        ``deep_supervision`` there are none but the first.
        """
        kept = self._kept(self.widened(x))
        if not self.sides:
            return [corner(self.head(self._risen(self.decoder(kept))[0]), x.shape[2:])]
        seen = self.decoder.supervise(kept)
        answers = [corner(self.head(self._risen(seen[:1])[0]), x.shape[2:])]
        beside = seen[len(seen) - len(self.sides) :]
        for scale, side, feature in zip(self.scales[1:], self.sides, beside, strict=True):
            answers.append(side(corner(feature, [(n + scale - 1) // scale for n in x.shape[2:]])))
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


@cache
def _facts(name: str) -> _Facts:
    """Try the network `name` on images without memory; nothing is computed, drawn or read."""
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "take one such as resnet34, efficientnet_b0 or convnext_tiny;"
        raise ConfigError(f"unknown encoder '{name}'; {hint} timm.list_models() has them all")
    if tag and name not in timm.list_pretrained(f"{architecture}.*"):
        known = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        raise ConfigError(f"encoder '{architecture}' has no weights '{tag}'; {near_match(tag, known)}")
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        info, options = _probe(name)
        strides, channels = [int(n) for n in info.reduction()], tuple(int(n) for n in info.channels())
        if strides != [strides[0] * 2**i for i in range(len(strides))] or strides[0] & (strides[0] - 1):
            raise ConfigError(
                f"encoder '{name}' has features at the strides {strides}, which do not double from a power of 2; take "
                "a network of several resolutions, such as resnet34 or convnext_tiny"
            )
        for padded in (False, True):
            net = _create(name, padded, **options).eval()
            # some divide their deepest map into windows as large as that of the images they were made for
            for multiple in (strides[-1], _own_size(name)):
                if multiple % strides[-1] == 0 and _exact(net, strides, (2 * multiple, multiple)):
                    indices = tuple(int(i) for i in info.out_indices)
                    return _Facts(
                        channels=channels, strides=tuple(strides), indices=indices, multiple=multiple, padded=padded,
                        options=tuple(options.items()),
                    )  # fmt: skip
    raise ConfigError(
        f"encoder '{name}', made for images of {_own_size(name)} pixels a side, does not give features of exactly "
        "1/stride of the size of other images; take one that does, such as resnet34 or convnext_tiny"
    )


def _probe(name: str) -> tuple[Any, dict[str, Any]]:
    """The feature table of a network, and the options that free it from one image size."""
    problem: Exception | None = None
    # VGG is spared a classifier of 100 million weights, which would be drawn only to be thrown away
    freeing: dict[str, Any] = {"mlp_ratio": 1 / 4096} if name.startswith("vgg") else {"strict_img_size": False}
    for options in (freeing, {}):
        try:
            return _create(name, False, **options).feature_info, dict(options)
        except Exception as error:  # whatever a foreign constructor may raise
            problem = error
    raise ConfigError(
        f"encoder '{name}' gives no feature maps ({problem}); take another, such as resnet34 or convnext_tiny"
    )


def _create(name: str, padded: bool, **options: Any) -> Any:
    import timm

    net = timm.create_model(name, pretrained=False, features_only=True, **options)
    for layer in net.modules() if padded else ():
        if type(layer) in (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d) and layer.padding in (0, (0, 0)):
            sides: Any = layer.kernel_size
            sides = (sides, sides) if isinstance(sides, int) else sides
            layer.padding = tuple(side // 2 if side % 2 else 0 for side in sides)  # type: ignore[assignment]
    return net


def _give_biases(net: nn.Module) -> tuple[str, ...]:
    added = []
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
            added.append(f"{name}.bias")
    return tuple(added)


def _features(net: Any, x: Tensor) -> list[Tensor]:
    last = "NHWC" in str(getattr(net, "output_fmt", ""))
    return [feature.permute(0, 3, 1, 2) if last else feature for feature in net(x)]


def _exact(net: Any, strides: Sequence[int], sizes: tuple[int, int]) -> bool:
    """Whether the features of an image of `sizes` have exactly ``1 / stride`` of its size."""
    try:
        found = _features(net, torch.empty(1, 3, *sizes))
    except (RuntimeError, AssertionError, ValueError):
        return False
    return [tuple(f.shape[2:]) for f in found] == [tuple(n // stride for n in sizes) for stride in strides]


def _own_size(name: str) -> int:
    """Side of the images that a network was made for; 224 where nobody says."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config else 224


@cache
def _stages(name: str, strides: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
    """Which feature each parameter is the first to take part in, told by gradients that are never computed."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.enable_grad():
        encoder = Encoder(name, strides=strides).eval()
        names, values = zip(*encoder.net.named_parameters(), strict=True)
        stages: dict[str, int] = {}
        for stage, feature in enumerate(encoder(torch.empty(1, 3, 2 * encoder.multiple, 2 * encoder.multiple))):
            found = torch.autograd.grad(feature.sum(), values, retain_graph=True, allow_unused=True)
            for parameter, gradient in zip(names, found, strict=True):
                if gradient is not None:
                    stages.setdefault(parameter, stage)
    return tuple(stages.items())


def _deep_enough(encoder: str, strides: Sequence[int], depth: int) -> tuple[int, ...]:
    """The strides that `depth` resolutions reach."""
    every = tuple(strides) or _facts(encoder).strides
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
