"""One network for two dates of a place: it sees each by itself, and a small head judges what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from catenary.errors import ConfigError, near_match
from catenary.geometry import FUSIONS
from catenary.models.blocks import BLOCKS
from catenary.models.borders import corner
from catenary.models.initial import initialise
from catenary.models.layers import convolution

__all__ = ["Siamese"]

#: Channels of the head that sees only what the network decided of the two dates.
DECIDING = 16


class Siamese(nn.Module):
    """The network of one date, with shared weights for both, and a head for the damage.

    ::

        before ─ network ─ building?  ──────────────┐
                    └ last features ─┐               ├ logits: background, grades of damage
                                     ├ damage head ─┘
        after ── network ────────────┘
                    └ building still there?   (training only)

    What is asked of a pixel is split in two: is there a building (seen before), and if so, how much is it damaged
    (seen on both). The answer joins them, ``log p(background) = log(1 - b)`` and
    ``log p(grade) = log b + log p(grade | building)``, so that it is a softmax like any other.

    Args:
        network: Takes the channels of one date and gives two logits, background and building.
        classes: Background, then the grades of damage: at least 2.
        fusion: What the head sees. ``"decision"``: the network's logits of both dates. ``"feature"``: its last features
            of both dates and their difference.
        disasters: Types of disaster that the head may be told, as further channels after those of both dates: 1 in that
            of the type, 0 in the others, everywhere alike. They scale and shift the head's features (Perez et al. 2018,
            arXiv:1709.07871); all 0, for a type that is not known, changes nothing.
        norm, activation, init: Of the head.

    Attributes:
        channels: Of both dates together, and those that tell the disaster.
        disasters: See above.

    Raises:
        ConfigError: On another fusion, an unpadded network, or too few classes.

    >>> from catenary.models import build
    >>> build("unet_small", channels=6, classes=5, fusion="feature")(torch.zeros(1, 6, 40, 33)).shape
    torch.Size([1, 5, 40, 33])
    """

    def __init__(
        self, network: Any, *, classes: int, fusion: str = "feature", disasters: Sequence[str] = (),
        norm: str = "batch", activation: str = "relu", init: str = "he",
    ) -> None:  # fmt: skip
        super().__init__()
        if fusion not in FUSIONS[1:]:
            raise ConfigError(f"there is no model.fusion '{fusion}'; {near_match(fusion, FUSIONS)}")
        if classes < 2:
            raise ConfigError(f"model.fusion joins background and grades of damage, found {classes} class; set it none")
        if network.geometry.valid:
            raise ConfigError(f"model.fusion = '{fusion}' takes padded networks; set model.padding to 'zeros'")
        self.network = network
        self.rank, self.classes, self.fusion, self.disasters = network.rank, classes, fusion, tuple(disasters)
        self.channels = 2 * network.channels + len(self.disasters)
        self.geometry, self.scales = network.geometry, ((1,) * network.rank,)
        self.reach = None if network.reach is None else network.reach + 2  # two convolutions of 3 pixels
        finest = network.head.in_channels
        seen, width = (3 * finest, max(DECIDING, finest)) if fusion == "feature" else (4, DECIDING)
        style: dict[str, Any] = {"norm": norm, "activation": activation, "padding": "zeros", "bias": False}
        self.judge = BLOCKS["plain"](self.rank, seen, width, kernel=3, steps=0, convs=2, **style)
        self.head = convolution(self.rank, self.judge.outputs, classes - 1, 1)
        for part in (self.judge, self.head):
            initialise(part, init)
        if self.disasters:
            self.told = nn.Linear(len(self.disasters), 2 * self.judge.outputs, bias=False)
            nn.init.zeros_(self.told.weight)

    @property
    def encoder(self) -> nn.Module:
        """That of the network of one date."""
        found: nn.Module = self.network.encoder
        return found

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Logarithms of the probabilities of background and grades; the first half of the channels is the date before.

        Raises:
            InputError: When rank or channels of `x` are not the network's.
        """
        return self.both_dates(x)[0]

    def both_dates(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b 1 h w"]]:
        """The answer of `forward`, and the logit of a building that still stands on the later date."""
        number, half = x.shape[0], self.network.channels
        both = torch.cat([x[:, :half], x[:, half : 2 * half]])
        features = self.network.features(self.network.widened(both))[0]
        outlines = self.network.head(features)
        seen = [outlines[:number], outlines[number:]]
        if self.fusion == "feature":
            before, after = features[:number], features[number:]
            seen = [before, after, after - before]
        judged = self.judge(torch.cat(seen, 1))
        if self.disasters:
            scale, shift = self.told(x[:, 2 * half :, 0, 0])[..., None, None].chunk(2, 1)
            judged = judged * (1 + scale) + shift
        grades = self.head(judged)
        odds = outlines[:, 1:] - outlines[:, :1]
        before, after = odds[:number], odds[number:]
        joint = torch.cat([F.logsigmoid(-before), F.logsigmoid(before) + grades.log_softmax(1)], 1)
        return corner(joint, x.shape[2:]), corner(after, x.shape[2:])
