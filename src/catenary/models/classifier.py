"""Networks that give one answer for a whole image: an encoder, a summary of its last features, a dense head."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, InputError
from catenary.geometry import RADII, per_level
from catenary.models.blocks import BLOCKS
from catenary.models.borders import symbolic
from catenary.models.encoders import Backbone, check_encoder
from catenary.models.initial import initialise
from catenary.models.layers import DOWNS, pick
from catenary.models.layers import activation as make_activation
from catenary.models.unet import level_widths

__all__ = ["Classifier", "PlainEncoder", "WholeEncoder", "encoder_classifier", "features", "plain_classifier"]

#: Sides at which a network of timm is tried, to find the smallest image that it takes.
_TRIED = (32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)


class PlainEncoder(nn.Module):
    """The contracting path of a `catenary.models.UNet` of rank 2; every level, the last too, ends in a way down.

    Args:
        channels, widths, block, convs, kernel, steps, down, style: See `catenary.models.UNet`.
        side: Side of all images; 0 for any. With a side the summary keeps the place of every feature, without it is
            the mean over the places.

    Attributes:
        least: Shortest side of an image.
        summary: Numbers that sum up an image for the head.

    Raises:
        ConfigError: The side is too small for the levels.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], *, side: int = 0, block: str = "plain",
        convs: int | Sequence[int] = 2, kernel: int = 3, steps: int = 2, down: str = "max", **style: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.channels, self.side = channels, side
        make, lead = pick(BLOCKS, block, "block"), pick(DOWNS, down, "way down")
        number = per_level(convs, len(widths))
        self.blocks, self.downs = nn.ModuleList(), nn.ModuleList()
        for width, n in zip(widths, number, strict=True):
            self.blocks.append(made := make(2, channels, width, convs=n, kernel=kernel, steps=steps, **style))
            self.downs.append(led := lead(2, made.outputs, made.outputs, **style))
            channels = led.outputs
        lost = [2 * RADII[block](n, kernel // 2, steps) * (style.get("padding") == "valid") for n in number]
        least = max(4, kernel // 2 + 1)  # the last way down leaves two places a side, as normalisations need
        for border in lost[:0:-1]:
            least = 2 * (least + border)
        self.least = least + lost[0]
        if side and side < self.least:
            raise ConfigError(
                f"{len(widths)} levels need images of at least {self.least} pixels a side, found model.side = {side}; "
                "raise it, or set model.widths to fewer levels"
            )
        for border in lost:
            side = (side - border) // 2
        self.summary = channels * (side**2 if self.side else 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f u v"]:
        """What the last level's block finds."""
        for block, down in zip(self.blocks[:-1], self.downs[:-1], strict=True):
            x = down(block(x))
        return self.blocks[-1](x)

    def summed(self, maps: Float[Tensor, "b f u v"]) -> Float[Tensor, "b s"]:
        """What the head sees of the last features."""
        found = self.downs[-1](maps)
        return found.flatten(1) if self.side else found.mean((2, 3))

    def pooled(self, maps: Float[Tensor, "b f u v"]) -> Float[Tensor, "b f"]:
        """The last features without their places."""
        return self.downs[-1](maps).mean((2, 3))


class WholeEncoder(Backbone):
    """A classifier of timm without its last layer, with a pooling of its own; the weights are freshly drawn.

    Args:
        name: A name of ``timm.list_models()``, with or without the tag of its weights.
        channels: Channels of the images.
        side: Side of all images; 0 for any. Families that know one size only (most transformers) need it.

    Attributes:
        least: Shortest side of an image, found by trying some.
        summary: Numbers that sum up an image for the head.

    Raises:
        ConfigError: There is no such network, or it needs another side.

    >>> WholeEncoder("vit_tiny_patch16_224")
    Traceback (most recent call last):
    catenary.errors.ConfigError: encoder 'vit_tiny_patch16_224' takes images of one size; set model.side to 224, ...
    """

    def __init__(self, name: str, *, channels: int = 3, side: int = 0) -> None:
        super().__init__()
        self.name, self.channels, self.side = name, channels, side
        self.least, self.summary = _tried(name, side)
        self.net = _headless(name, side, in_chans=channels)
        self._turned = "NHWC" in str(getattr(self.net, "output_fmt", ""))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """The last features; maps ``(b, f, u, v)`` of most networks, tokens of some."""
        found = self.net.forward_features(x)
        return found.permute(0, 3, 1, 2) if self._turned else found

    def summed(self, maps: Tensor) -> Float[Tensor, "b s"]:
        """What the head sees of the last features."""
        return self.net.forward_head(maps.permute(0, 2, 3, 1) if self._turned else maps, pre_logits=True).flatten(1)

    def pooled(self, maps: Tensor) -> Float[Tensor, "b f"]:
        """The same as `summed`."""
        return self.summed(maps)

    def stages(self) -> list[list[str]]:
        """Names of the modules that hold parameters, in the groups that timm makes of them, the image's side first."""
        from timm.models import group_parameters

        found: list[list[str]] = []
        seen: set[str] = set()
        for names in group_parameters(self.net, self.net.group_matcher(coarse=True)).values():
            holders = dict.fromkeys(f"net.{name}".rpartition(".")[0] for name in names)
            found.append([holder for holder in holders if holder not in seen])
            seen.update(holders)
        return [stage for stage in found if stage]


class Classifier(nn.Module):
    """One answer for a whole image.

    ::

        image ─ encoder ─ last features ─ summary ─ (dense, activation) ─ dropout ─ head ─ logits

    The logits are ``(b, k, 1, 1)`` in training and evaluation alike: the class of an image is a label map of one
    pixel, so that losses of pixels, engines and the training loop take it as any other.

    Args:
        encoder: Gives the last features, and sums them up.
        classes: Logits an image.
        hidden: Units of a dense layer in front of the last one; 0 for none.
        dropout: In front of the last layer.
        activation: Behind the dense layer.
        init: How the head's weights are drawn.

    Attributes:
        side: Side in pixels of all images that it takes; 0 for any from `least` on.
        least: Shortest side of an image.

    >>> from catenary.models import build
    >>> build("classifier", widths=(4, 8), classes=3)(torch.zeros(2, 3, 40, 33)).shape
    torch.Size([2, 3, 1, 1])
    """

    def __init__(
        self, encoder: PlainEncoder | WholeEncoder, *, classes: int = 1, hidden: int = 0, dropout: float = 0.0,
        activation: str = "relu", init: str = "he",
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = encoder
        self.rank, self.channels, self.classes = 2, encoder.channels, classes
        self.side, self.least = encoder.side, encoder.least
        self.reach: int | None = None
        dense = [nn.Linear(encoder.summary, hidden), make_activation(activation)] if hidden else []
        self.hidden = nn.Sequential(*dense, nn.Dropout(dropout))
        self.head = nn.Linear(hidden or encoder.summary, classes)
        for part in (self.hidden, self.head):
            initialise(part, init)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k 1 1"]:
        """Logits of images.

        Raises:
            InputError: Rank or channels of `x` are not the network's, or the images are too small.
            ConfigError: The network takes images of another size.
        """
        return self.judged(self.maps(x))

    def maps(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """The last features before they are summed up, ``(b, f, u, v)`` where the encoder is convolutional."""
        self._check(x)
        return self.encoder(x)

    def judged(self, maps: Tensor) -> Float[Tensor, "b k 1 1"]:
        """Logits from what `maps` gave."""
        return self.head(self.hidden(self.encoder.summed(maps)))[:, :, None, None]

    def _check(self, x: Tensor) -> None:
        if symbolic():
            return
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"the network takes 2D batches of {self.channels} channels (batch, channel, sizes), found "
                f"{x.ndim - 2}D and {x.shape[1]} channels; prepare the images as they were for training"
            )
        height, width = x.shape[2:]
        if self.side and (height, width) != (self.side, self.side):
            raise ConfigError(
                f"this network takes images of {self.side} x {self.side} pixels, found {height} x {width}; set "
                f"sample.patch to [{self.side}, {self.side}], or take a network of any size (model.side = 0)"
            )
        if min(height, width) < self.least:
            raise InputError(
                f"this network takes images of at least {self.least} pixels a side, found {height} x {width}; give "
                "larger ones, or raise prepare.size"
            )


def plain_classifier(
    *,
    channels: int = 3,
    classes: int = 1,
    widths: Sequence[int] = (32, 64, 128, 256, 512),
    depth: int = 0,
    block: str = "plain",
    convs: int | Sequence[int] = 2,
    kernel: int = 3,
    steps: int = 2,
    norm: str = "batch",
    activation: str = "relu",
    bias: bool = False,
    dropout: float = 0.0,
    down: str = "max",
    padding: str = "zeros",
    hidden: int = 0,
    side: int = 0,
    init: str = "he",
) -> Classifier:
    """A classifier of own blocks; the arguments are fields of `catenary.recipe.Model`.

    Raises:
        ConfigError: A setting is unknown or out of range.

    >>> plain_classifier(widths=(4, 8)).least
    8
    """
    style = {"norm": norm, "activation": activation, "padding": padding, "bias": bias}
    encoder = PlainEncoder(
        channels, level_widths(widths, depth), side=side, block=block, convs=convs, kernel=kernel, steps=steps,
        down=down, **style,
    )  # fmt: skip
    initialise(encoder, init)
    return Classifier(encoder, classes=classes, hidden=hidden, dropout=dropout, activation=activation, init=init)


def encoder_classifier(
    *,
    channels: int = 3,
    classes: int = 1,
    encoder: str = "resnet34",
    activation: str = "relu",
    dropout: float = 0.0,
    hidden: int = 0,
    side: int = 0,
    init: str = "he",
) -> Classifier:
    """Any classifier of timm with a head of its own; the arguments are fields of `catenary.recipe.Model`.

    Raises:
        ConfigError: See `WholeEncoder`.
    """
    whole = WholeEncoder(encoder, channels=channels, side=side)
    return Classifier(whole, classes=classes, hidden=hidden, dropout=dropout, activation=activation, init=init)


def features(network: Classifier, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
    """The last features of images without their places: what is known of an image before it is judged.

    >>> from catenary.models import build
    >>> features(build("glaucoma_cnn_pool", widths=(4, 8)), torch.zeros(2, 3, 40, 40)).shape
    torch.Size([2, 8])
    """
    return network.encoder.pooled(network.maps(x))


def _headless(name: str, side: int, **options: Any) -> Any:
    import timm

    fixed: dict[str, Any] = {"img_size": side} if _one_size(name) else {}
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, **fixed, **options)
    except Exception as error:  # whatever a foreign constructor may raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"encoder '{name}' cannot be built with model.side = {side} ({reason}); take its own size, or another "
            "network, such as resnet34"
        ) from error


def _one_size(name: str) -> int:
    """The side that a network of timm insists on; 0 where it takes any."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config is not None and config.fixed_input_size else 0


@cache
def _tried(name: str, side: int) -> tuple[int, int]:
    """The smallest side of those tried that a network takes, and how many numbers it sums up an image in."""
    check_encoder(name)
    own = _one_size(name)
    if own and not side:
        raise ConfigError(
            f"encoder '{name}' takes images of one size; set model.side to {own}, or take one of any size, such as "
            "resnet34"
        )
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        net = _headless(name, side).eval()
        for tried in (side,) if side else _TRIED:
            try:
                summary = net.forward_head(net.forward_features(torch.empty(2, 3, tried, tried)), pre_logits=True)
            except (RuntimeError, AssertionError, ValueError, AttributeError):
                continue
            return tried, int(summary.flatten(1).shape[1])
    raise ConfigError(
        f"encoder '{name}' does not take images of {side or 'up to 512'} pixels a side; set model.side to its own "
        "size, or take another network, such as resnet34"
    )
