"""Networks by name: each a line of literal numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from catenary.errors import ConfigError, near_match
from catenary.geometry import CLASSIFIERS
from catenary.models.classifier import encoder_classifier, plain_classifier
from catenary.models.encoder_unet import ENCODER_MODELS, EncoderUNet
from catenary.models.layers import pick
from catenary.models.siamese import Siamese
from catenary.models.unet import UNet
from catenary.recipe import Model

__all__ = [
    "MODELS",
    "SOURCES",
    "Description",
    "build",
    "describe_networks",
    "keras_total",
    "literals",
    "parameters",
    "receptive_field",
]

#: Networks, name -> function of flat keyword arguments (the fields of `catenary.recipe.Model`) that builds one.
MODELS: dict[str, Callable[..., nn.Module]] = {
    # the paper's own has padding="valid" and dropout=0.5 besides
    "unet": partial(UNet, widths=(64, 128, 256, 512, 1024), convs=2, norm="none", activation="relu", up="transpose"),
    "unet_small": partial(
        UNet, widths=(16, 32, 64, 128, 256), convs=2, norm="batch", activation="relu", up="transpose"
    ),
    # with deep_supervision=True it can be cut back to prune=1, 2 or 3 columns
    "unetpp": partial(
        UNet, widths=(32, 64, 128, 256, 512), topology="nested", convs=2, norm="none", activation="relu", up="transpose"
    ),
    "unet3plus": partial(
        UNet, widths=(64, 128, 256, 512, 1024), topology="unet3plus", convs=2, norm="batch", activation="relu"
    ),
    # a residual unit adds its input; a recurrent one runs `steps` times more over its own answer
    "runet": partial(
        UNet, widths=(64, 128, 256, 512, 1024), block="recurrent", steps=2, convs=2, norm="batch", activation="relu"
    ),
    "r2unet": partial(
        UNet, widths=(64, 128, 256, 512, 1024), block="recurrent_residual", steps=2, convs=2, norm="batch",
        activation="relu",
    ),
    # the form that most people use: the way up is a 3x3 convolution, and biases stay beside the normalisation
    "attention_unet": partial(
        UNet, widths=(64, 128, 256, 512, 1024), skip="attention", convs=2, norm="batch", bias=True, activation="relu",
        up="resize_conv",
    ),
    "attention_r2unet": partial(
        UNet, widths=(64, 128, 256, 512, 1024), block="recurrent_residual", steps=2, skip="attention", convs=2,
        norm="batch", activation="relu",
    ),
    "multiresunet": partial(
        UNet, widths=(32, 64, 128, 256, 512), block="multires", convs=3, skip="res_path", norm="batch",
        activation="relu", up="transpose",
    ),
    # the paper has no normalisation, and twice the channels in the expanding path
    "vnet": partial(
        UNet, rank=3, widths=(16, 32, 64, 128, 256), block="residual", convs=(1, 2, 3, 3, 3), kernel=5, down="conv",
        norm="batch", activation="prelu", up="transpose",
    ),
    # the second convolution of a level widens (32-64, 64-128, ...), the way up keeps its channels
    "unet3d": partial(
        UNet, rank=3, widths=(64, 128, 256, 512), convs=2, grow="last", norm="batch", activation="relu", up="transpose"
    ),
    # any network of timm, set by model.encoder
    "encoder_unet": partial(
        EncoderUNet, encoder="resnet34", widths=(16, 32, 64, 128, 256), convs=2, norm="batch", activation="relu",
        up="nearest",
    ),
    **ENCODER_MODELS,
    # one answer for a whole image, see catenary.models.classifier
    "classifier": partial(
        plain_classifier, widths=(32, 64, 128, 256, 512), convs=2, norm="batch", activation="relu", down="max"
    ),
    # the head sees every place of its 256 x 256 pixels: 58,982,912 of its 59,206,657 parameters
    "glaucoma_cnn": partial(
        plain_classifier, widths=(64, 128, 128), convs=1, norm="none", activation="relu", down="max", padding="valid",
        hidden=512, dropout=0.5, side=256,
    ),
    "glaucoma_cnn_pool": partial(
        plain_classifier, widths=(64, 128, 128), convs=1, norm="none", activation="relu", down="max", padding="valid",
        hidden=512, dropout=0.5, side=0,
    ),
    # any classifier of timm, set by model.encoder
    "encoder_classifier": partial(encoder_classifier, encoder="resnet34"),
}  # fmt: skip

#: Where each network of `MODELS` is described.
SOURCES: dict[str, str] = {
    "unet": "Ronneberger et al. 2015, arXiv:1505.04597",
    "unet_small": "Ronneberger et al. 2015, arXiv:1505.04597, a quarter as wide",
    "unetpp": "Zhou et al. 2018, arXiv:1807.10165",
    "unet3plus": "Huang et al. 2020, arXiv:2004.08790",
    "runet": "Alom et al. 2018, arXiv:1802.06955",
    "r2unet": "Alom et al. 2018, arXiv:1802.06955",
    "attention_unet": "Oktay et al. 2018, arXiv:1804.03999",
    "attention_r2unet": "Alom et al. 2018 with the gates of Oktay et al. 2018",
    "multiresunet": "Ibtehaz and Rahman 2020, arXiv:1902.04049",
    "vnet": "Milletari et al. 2016, arXiv:1606.04797",
    "unet3d": "Çiçek et al. 2016, arXiv:1606.06650",
    "encoder_unet": "any encoder of timm; resnet34: He et al. 2015, arXiv:1512.03385",
    "ternausnet": "Iglovikov and Shvets 2018, arXiv:1801.05746",
    "mobilenetv2_unet": "Sandler et al. 2018, arXiv:1801.04381",
    "vgg16_unet": "Simonyan and Zisserman 2014, arXiv:1409.1556",
    "resnet50_unet": "He et al. 2015, arXiv:1512.03385",
    "efficientnet_b4_unet": "Tan and Le 2019, arXiv:1905.11946",
    "fuelcell_vgg16": "Chiu 2023, see catenary.models.fuelcell; 25 866 177 as Keras counts",
    "fuelcell_resnet50": "Chiu 2023, see catenary.models.fuelcell; 71 938 627 as Keras counts",
    "classifier": "the encoder of a U-Net, the mean of its last features, a dense layer",
    "glaucoma_cnn": "three convolutions and two dense layers on 256 x 256 pixels; 59 206 657 parameters",
    "glaucoma_cnn_pool": "the same with a mean over the places, for images of any size",
    "encoder_classifier": "any classifier of timm; resnet34: He et al. 2015, arXiv:1512.03385",
}


def build(name: str = "unet", **settings: object) -> nn.Module:
    """A network of `MODELS` with freshly drawn weights (`torch.manual_seed` decides them).

    Args:
        name: Which network.
        settings: Fields of `catenary.recipe.Model` that differ from the network's own numbers. One that the network
            does not know may be given its default, as a whole recipe does.

    Raises:
        ConfigError: On an unknown network, an unknown setting, or a setting out of its range.

    >>> parameters(build("unet", channels=1))
    31030593
    >>> build("unett")
    Traceback (most recent call last):
    catenary.errors.ConfigError: unknown network 'unett'; did you mean 'unet'?
    """
    settings.pop("slices", None)  # says what it is fed; `channels` counts those of all slices
    if settings.get("fusion", "none") != "none":
        return _for_two_dates(name, settings)
    maker = pick(MODELS, name, "network")
    known = inspect.signature(maker).parameters
    idle = {key: field.default for key, field in Model.model_fields.items() if key not in known}
    unknown = [key for key in settings if key not in known and (key not in idle or settings[key] != idle[key])]
    if unknown:
        raise ConfigError("; ".join(f"network '{name}' has no setting '{k}', {near_match(k, known)}" for k in unknown))
    return maker(**{key: value for key, value in settings.items() if key in known})


def _for_two_dates(name: str, settings: dict[str, object]) -> nn.Module:
    """A network of `MODELS` that sees each of two dates by itself."""
    if name in CLASSIFIERS:
        raise ConfigError(f"'{name}' answers for whole images of one date; set model.fusion to none")
    disasters: Any = settings.get("disasters", ())
    channels, classes = (int(str(settings.get(key, default))) for key, default in (("channels", 6), ("classes", 5)))
    channels -= len(disasters)
    if channels % 2:
        raise ConfigError(
            f"two dates have an even number of channels together, found {channels}; set model.fusion none"
        )
    if settings.get("deep_supervision"):
        raise ConfigError("two dates have one answer without side outputs; set model.deep_supervision to false")
    known = inspect.signature(pick(MODELS, name, "network")).parameters
    own = {key: value for key, value in settings.items() if key not in ("fusion", "channels", "classes", "disasters")}
    style: dict[str, Any] = {key: own.get(key, known[key].default) for key in ("norm", "activation", "init")}
    network = build(name, channels=channels // 2, classes=2, **own)
    fusion: Any = settings["fusion"]
    return Siamese(network, classes=classes, fusion=fusion, disasters=disasters, **style)


def literals(name: str) -> dict[str, object]:
    """The numbers that make the network `name` what it is: what `build` uses where no setting says otherwise.

    >>> literals("unet_small")["widths"]
    (16, 32, 64, 128, 256)
    """
    maker = pick(MODELS, name, "network")
    return dict(maker.keywords) if isinstance(maker, partial) else {}


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a network costs.

    Attributes:
        name: Its name in `MODELS`.
        parameters: Trained values, for three channels in and one logit out.
        gflops: Operations of one answer in 10^9, a multiplication and an addition counted as two.
        size: Size of the image of that answer.
        source: Where it is described.
    """

    name: str
    parameters: int
    gflops: float
    size: tuple[int, ...]
    source: str


def describe_networks(names: Iterable[str] | None = None) -> list[Description]:
    """Size and cost of networks, counted without computing: images of 256x256, volumes of 64x64x64.

    Args:
        names: Names of `MODELS`; all of them when None.

    >>> found = describe_networks(["unet_small"])[0]
    >>> found.parameters, round(found.gflops, 1), found.size
    (1942577, 6.1, (256, 256))
    """
    found = []
    for name in MODELS if names is None else names:
        with torch.device("meta"), torch.no_grad():
            network = build(name, channels=3, classes=1).eval()
            size = (64, 64, 64) if getattr(network, "rank", 2) == 3 else (256, 256)
            with FlopCounterMode(display=False) as counter:
                network(torch.empty(1, 3, *size))
        found.append(
            Description(
                name=name,
                parameters=parameters(network),
                gflops=counter.get_total_flops() / 1e9,
                size=size,
                source=SOURCES.get(name, ""),
            )
        )
    return found


def parameters(module: nn.Module) -> int:
    """Number of trained values (weights and biases; running statistics are not counted).

    >>> parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in module.parameters())


def keras_total(network: UNet) -> int:
    """What the Keras summary of the original of `network` gives as its total, for ``multiresunet``.

    Keras counts the running mean and variance of a batch normalisation; the authors leave out the scale of one that
    follows a convolution; and they normalise the logits too, with three numbers a class where we have a bias.

    >>> keras_total(build("multiresunet"))
    7262750
    """
    total = parameters(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            total += 2 * module.num_features
        elif isinstance(module, nn.Sequential):
            total -= sum(
                second.num_features
                for first, second in pairwise(module)
                if hasattr(first, "kernel_size") and isinstance(second, nn.BatchNorm2d | nn.BatchNorm3d)
            )
    return total + 2 * network.classes


def receptive_field(module: nn.Module) -> int | None:
    """How far an output pixel sees: beyond this many pixels, along an axis, the input cannot change it.

    Tiles with such a margin, cut at multiples of the network's ``geometry.multiple``, give the whole image's answer.

    Args:
        module: A network of `MODELS`.

    Returns:
        The largest distance in pixels over all positions and axes; None where an output pixel depends on the whole
        image (instance or group normalisation) or the network does not say.

    >>> receptive_field(build("unet_small")), receptive_field(build("unet_small", norm="instance"))
    (107, None)
    """
    reach = getattr(module, "reach", None)
    return None if reach is None else int(reach)
