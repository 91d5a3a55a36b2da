"""Encoders of the timm library: any of its networks, cut at its feature maps.

A classifier that was trained on millions of photographs knows edges, textures and shapes; its features are the
contracting path of a U in `catenary.models.encoder_unet`, and `catenary.models.pretrained` brings the weights. Building
never reads or downloads anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, near_match

__all__ = ["Backbone", "Encoder", "check_encoder", "encoder_of", "encoder_strides"]


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What a timm network is as an encoder: found out once, on tensors without memory."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    indices: tuple[int, ...]
    multiple: int
    padded: bool
    options: tuple[tuple[str, Any], ...]


class Backbone(nn.Module):
    """A network of timm, as pretrained weights, freezing and slower rates know it.

    Attributes:
        name: Its name in timm.
        channels: Channels of the images.
        net: The network itself.
        added: Names of the biases that weights of the network do not have.
        frozen: Names of the modules whose parameters and running statistics training leaves alone, see
            `catenary.models.freezing.freeze`.
    """

    name: str
    channels: int
    net: Any

    def __init__(self) -> None:
        super().__init__()
        self.added: tuple[str, ...] = ()
        self.frozen: tuple[str, ...] = ()

    def train(self, mode: bool = True) -> Backbone:
        """As in every module, but what is frozen stays in evaluation mode, so that its statistics stay."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def stages(self) -> list[list[str]]:
        """Names of the modules that hold parameters, in stages from the image's side on."""
        raise NotImplementedError


class Encoder(Backbone):
    """A network of timm, cut at its feature maps; the weights are freshly drawn.

    Args:
        name: A name of ``timm.list_models()``, with or without the tag of its weights (``"resnet34.a1_in1k"``).
        channels: Channels of the images.
        strides: Which features, by the pixels of the image that one of theirs stands for, finest first; () for all.
        biases: Give every convolution a bias of 0, also where a normalisation follows that takes it out again.

    Attributes:
        outputs: Channels of each feature.
        multiple: What the sides of the images must be multiples of.

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
        indices = tuple(facts.indices[i] for i in chosen)
        self.net = _create(name, facts.padded, in_chans=channels, out_indices=indices, **dict(facts.options))
        self.added = _give_biases(self.net) if biases else ()

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The features of images whose sides are multiples of `multiple`, finest first."""
        return _features(self.net, x)

    def stages(self) -> list[list[str]]:
        """Names of the modules that hold parameters, by the first feature that they have a part in, finest first."""
        first = dict(_stages(self.name, self.strides))
        found: list[list[str]] = [[] for _ in self.strides]
        for module, layer in self.named_modules():
            own = [name for name, _ in layer.named_parameters(prefix=module, recurse=False)]
            if own:
                found[min(first.get(name.removeprefix("net."), len(found) - 1) for name in own)].append(module)
        return found


def check_encoder(name: str) -> None:
    """Make sure that timm has the network `name`, with the weights that its tag names.

    Raises:
        ConfigError: It has not.
    """
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "take one such as resnet34, efficientnet_b0 or convnext_tiny;"
        raise ConfigError(f"unknown encoder '{name}'; {hint} timm.list_models() has them all")
    if tag and name not in timm.list_pretrained(f"{architecture}.*"):
        known = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        raise ConfigError(f"encoder '{architecture}' has no weights '{tag}'; {near_match(tag, known)}")


@cache
def _facts(name: str) -> _Facts:
    """Try the network `name` on images without memory; nothing is computed, drawn or read."""
    check_encoder(name)
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
    layer: Any
    for layer in net.modules() if padded else ():
        if type(layer) in (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d) and layer.padding in (0, (0, 0)):
            sides = layer.kernel_size
            sides = (sides, sides) if isinstance(sides, int) else sides
            layer.padding = tuple(side // 2 if side % 2 else 0 for side in sides)
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


def encoder_of(network: nn.Module) -> Backbone:
    """The network of timm that a network is built on, or itself.

    Raises:
        ConfigError: It has none.
    """
    encoder = network if isinstance(network, Backbone) else getattr(network, "encoder", None)
    if not isinstance(encoder, Backbone):
        raise ConfigError(
            f"a {type(network).__name__} has no pretrained encoder; take a network that has one, such as resnet50_unet"
        )
    return encoder


def encoder_strides(name: str) -> tuple[int, ...]:
    """The strides of all features of a network of timm, finest first.

    >>> encoder_strides("resnet18")
    (2, 4, 8, 16, 32)

    Raises:
        ConfigError: See `Encoder`.
    """
    return _facts(name).strides
