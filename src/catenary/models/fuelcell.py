"""Expanding paths of published networks on VGG and ResNet whose numbers follow no rule.

**Fuel-cell nets** (``fuelcell_vgg16``, ``fuelcell_resnet50``; Chiu 2023, "U-Net Artificial Intelligence for the
Automated Segmentation of Solid Oxide Cell Anode Microscope Images", Keras, frozen encoders). Their totals are
25,866,177 and 71,938,627 as Keras counts, with the running means and variances of batch normalisation
(`keras_count`). What is odd:

- The report describes decoders of 256 to 32 and of 512 to 32 channels. Its totals, and its notebooks
  (github.com/RichardsuC/DTU-Image-Segmentation-Project), are those of 512, 256, 128, 64 on VGG16 and of 1024, 512, 256,
  64 on ResNet50, so these are built here.
- Of ResNet50 it swaps the parts: 48,350,915 values are trained (the decoder) and 23,587,712 are frozen (the encoder).
  It tells of three convolutions a block with normalisation and dropout; the total is that of two and nothing else.
- The decoder on ResNet50 ends at half the resolution. A 2x2 transposed convolution turns its 64 channels into one at
  full resolution and a 1x1 convolution scales that: four weights a channel make all the detail of the finest level.
- ResNet50 in Keras has a bias in every convolution (26,560 values), which the normalisation behind it takes out again.
- On VGG16 "10 million" are said to be trained. The encoder's 14,714,688 leave 11,145,729; the notebook freezes the
  first 19 layers of the whole, one more than the encoder has. If that is the first transposed convolution (1,049,088
  values, drawn at random), 10,096,641 are left. `catenary.models.freezing.freeze` stops at the encoder.
- The activation stands before the normalisation, with dropout (0.4) behind it and on each skip.

**TernausNet** (``ternausnet``; Iglovikov and Shvets 2018, arXiv:1801.05746): 3x3 transposed convolutions with an
activation, one convolution a level, other channels on the way up than in the levels. 22,927,393 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from catenary.models.layers import activation as make_activation
from catenary.models.layers import convolution
from catenary.models.layers import norm as make_norm
from catenary.models.skips import Concat

__all__ = ["Ladder", "keras_count"]


class Ladder(nn.Module):
    """Double the size, concatenate, convolve, with the layers in the order of Keras users; see the module.

    Args:
        rank, kept, widths, convs, norm, activation, padding: See `catenary.models.decoders.UNetDecoder`.
        rise: Pixels a side of the transposed convolutions, 2 or 3.
        active: An activation follows the transposed convolution.
        risen: Channels of the transposed convolutions, finest first; () for those of `widths`.
        dropout: Behind each normalisation, and on each skip.
        other: Settings of other decoders, which play no role.

    >>> import torch
    >>> ladder = Ladder(2, (8, 16, 32), (4, 12), risen=(3, 5), convs=1)
    >>> features = [torch.zeros(1, 8, 20, 12), torch.zeros(1, 16, 10, 6), torch.zeros(1, 32, 5, 3)]
    >>> [tuple(made.shape) for made in ladder(features)]
    [(1, 4, 20, 12), (1, 12, 10, 6), (1, 32, 5, 3)]
    """

    def __init__(
        self,
        rank: int,
        kept: Sequence[int],
        widths: Sequence[int],
        *,
        convs: int | Sequence[int] = 2,
        rise: int = 2,
        active: bool = False,
        risen: Sequence[int] = (),
        norm: str = "none",
        activation: str = "relu",
        padding: str = "zeros",
        dropout: float = 0.0,
        **other: Any,
    ) -> None:
        super().__init__()

        def behind(channels: int, *, act: bool = True) -> list[nn.Module]:
            parts = [make_activation(activation)] if act else []
            return parts + ([] if norm == "none" else [make_norm(norm, rank, channels)]) + [nn.Dropout(dropout)]

        number = [convs] * len(widths) if isinstance(convs, int) else [*convs]
        rising = [*risen] or [*widths]
        self.drop = nn.Dropout(dropout)
        self.ups, self.skips, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        made = [kept[-1]]
        for level in reversed(range(len(widths))):
            up = nn.ConvTranspose2d(made[0], rising[level], rise, stride=2, padding=rise // 3, output_padding=rise // 3)
            self.ups.append(nn.Sequential(up, *behind(rising[level], act=active)))
            self.skips.append(joined := Concat(rank, (kept[level],), rising[level]))
            sources = [joined.outputs, *[widths[level]] * (number[level] - 1)]
            layers = [
                [convolution(rank, source, widths[level], padding=padding), *behind(widths[level])]
                for source in sources
            ]
            self.blocks.append(nn.Sequential(*(part for layer in layers for part in layer)))
            made.insert(0, widths[level])
        self.outputs = tuple(made)
        self.supervised = {str(level): (level, channels) for level, channels in enumerate(made)}

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """What the path gives at each level, finest first, the deepest feature itself last."""
        *kept, deepest = features
        made = [deepest]
        for up, skip, block, feature in zip(self.ups, self.skips, self.blocks, reversed(kept), strict=True):
            made.insert(0, block(skip(self.drop(feature), up(made[0]))))
        return made

    def supervise(self, features: list[Tensor]) -> list[Tensor]:
        """What deep supervision looks at, that of the answer first: every level."""
        return self(features)


def keras_count(network: nn.Module) -> int:
    """What a Keras summary gives as the total: running means and variances are parameters too, which nobody trains.

    >>> keras_count(nn.BatchNorm2d(8))
    32
    """
    statistics = [b for b in network.buffers() if b.is_floating_point()]
    return sum(values.numel() for values in (*network.parameters(), *statistics))
