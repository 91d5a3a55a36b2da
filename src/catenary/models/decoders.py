"""Expanding paths: from the features of any encoder back to its finest resolution.

A decoder is built from the channels of the encoder's features and knows nothing else of the encoder. The features of
adjacent levels differ in size by a factor of exactly 2, or by the `factors` it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from catenary.errors import ConfigError
from catenary.geometry import Steps
from catenary.models.blocks import BLOCKS
from catenary.models.borders import centre
from catenary.models.layers import UPS, layer, pick
from catenary.models.skips import SKIPS, Concat

__all__ = ["DECODERS", "FullScaleDecoder", "NestedDecoder", "UNetDecoder"]

Side = int | Sequence[int]  # pixels of a kernel along all axes, or along each
Kernel = int | Sequence[Side]  # of all levels, or of each


class UNetDecoder(nn.Module):
    """Level by level: double the size, join what the encoder kept, convolve (Ronneberger et al. 2015).

    What every decoder of `DECODERS` offers, and takes:

    Args:
        rank: Spatial rank, 2 or 3.
        kept: Channels of the encoder's features, finest first, deepest last; 0 where it has none at a level (the
            feature is then an empty tensor of 0 channels).
        widths: Channels asked for at each level, finest first, one fewer than `kept`.
        block: A name of `catenary.models.blocks.BLOCKS`.
        convs: Convolutions a block, or for each level (finest first).
        skip: A name of `catenary.models.skips.SKIPS`.
        up: A name of `catenary.models.layers.UPS`.
        kernel: Of the blocks; or for each level (finest first) a number for all axes, or one for each. Where such a
            list says 1, the 3x3 convolutions of skips and ways up do not look along that axis either.
        steps: Of the blocks.
        factors: For each level (finest first) by how much the next is smaller, along each axis; () halves all.
        keep: The way up keeps its channels instead of giving those of the level it leads to (Çiçek et al. 2016).
        crops: Pixels cut off each side of what each level's skip carries, for unpadded convolutions.
        style: ``norm``, ``activation``, ``padding``, ``bias`` of all layers.

    Attributes:
        outputs: Channels of each feature that `forward` returns.
        supervised: ``name -> (level, channels)`` of what `supervise` returns.

    >>> import torch
    >>> decoder = UNetDecoder(2, (8, 16, 32), (4, 12))
    >>> features = [torch.zeros(1, 8, 20, 12), torch.zeros(1, 16, 10, 6), torch.zeros(1, 32, 5, 3)]
    >>> [tuple(made.shape) for made in decoder(features)], decoder.outputs
    ([(1, 4, 20, 12), (1, 12, 10, 6), (1, 32, 5, 3)], (4, 12, 32))
    """

    def __init__(
        self,
        rank: int,
        kept: Sequence[int],
        widths: Sequence[int],
        *,
        block: str = "plain",
        convs: int | Sequence[int] = 2,
        skip: str = "concat",
        up: str = "transpose",
        kernel: Kernel = 3,
        steps: int = 2,
        factors: Steps = (),
        keep: bool = False,
        crops: Steps = (),
        **style: Any,
    ) -> None:
        super().__init__()
        make = partial(pick(BLOCKS, block, "block"), rank, steps=steps, **style)
        rise, join = pick(UPS, up, "way up"), pick(SKIPS, skip, "skip")
        number, sides, halvings = _of_levels(convs, kernel, factors, rank, len(widths))
        self.ups, self.skips, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        made = [kept[-1]]
        for level in reversed(range(len(widths))):
            beside = {"kernel": _thin(sides[level]), **style}
            width = made[0] if keep else widths[level]
            self.ups.append(risen := rise(rank, made[0], width, factor=halvings[level], **beside))
            length = len(widths) - level
            way = join if kept[level] else Concat
            self.skips.append(joined := way(rank, (kept[level],), risen.outputs, length=length, **beside))
            self.blocks.append(step := make(joined.outputs, widths[level], convs=number[level], kernel=sides[level]))
            made.insert(0, step.outputs)
        self.outputs = tuple(made)
        self.supervised = {str(level): (level, channels) for level, channels in enumerate(made)}
        self.crops = tuple(crops) or ((0,) * rank,) * len(widths)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """What the path gives at each level, finest first, the deepest feature itself last."""
        *kept, deepest = features
        made = [deepest]
        levels = zip(self.ups, self.skips, self.blocks, reversed(kept), reversed(self.crops), strict=True)
        for up, skip, block, feature, crop in levels:
            made.append(block(skip(centre(feature, crop), up(made[-1]))))
        return made[::-1]

    def supervise(self, features: list[Tensor]) -> list[Tensor]:
        """What deep supervision looks at, that of the answer first: here every level (Lee et al. 2015)."""
        return self(features)


class NestedDecoder(nn.Module):
    """Dense skips: a triangle of nodes, each of which joins all to its left and the one below (U-Net++).

    Zhou et al. (2018). Node ``X^{i,j}`` (level i, column j; column 0 is the encoder) is a block over ``X^{i,0}``, ...,
    ``X^{i,j-1}`` and the risen ``X^{i+1,j-1}``. Every ``X^{0,j}`` is an answer at full resolution, which deep
    supervision trains and pruning cuts back to.

    Args are those of `UNetDecoder`, and:

    Args:
        rank, kept, widths, block, convs, skip, up, kernel, steps, factors, keep, crops, style: See `UNetDecoder`.
        prune: Column of the last node that is computed, ``X^{0,prune}``; 0 for all. What it does not need is not made.

    >>> decoder = NestedDecoder(2, (8, 16, 32), (4, 12))
    >>> sorted(decoder.nodes), decoder.outputs, list(decoder.supervised)
    (['0_1', '0_2', '1_1'], (4, 12, 32), ['2', '1'])
    >>> sorted(NestedDecoder(2, (8, 16, 32), (4, 12), prune=1).nodes)
    ['0_1']
    """

    def __init__(
        self,
        rank: int,
        kept: Sequence[int],
        widths: Sequence[int],
        *,
        block: str = "plain",
        convs: int | Sequence[int] = 2,
        skip: str = "concat",
        up: str = "transpose",
        kernel: Kernel = 3,
        steps: int = 2,
        factors: Steps = (),
        keep: bool = False,
        crops: Steps = (),
        prune: int = 0,
        **style: Any,
    ) -> None:
        super().__init__()
        _padded("nested", crops)
        if not widths:
            raise ConfigError("a nested network has at least two levels, found 1; set model.depth to 2 or more")
        if not 0 <= prune <= len(widths):
            raise ConfigError(f"model.prune must be a column from 1 to {len(widths)}, or 0 for all, found {prune}")
        make = partial(pick(BLOCKS, block, "block"), rank, steps=steps, **style)
        rise, join = pick(UPS, up, "way up"), pick(SKIPS, skip, "skip")
        number, sides, halvings = _of_levels(convs, kernel, factors, rank, len(widths))
        self.columns = prune or len(widths)
        self.ups, self.skips, self.nodes = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        made = {(level, 0): channels for level, channels in enumerate(kept)}
        for column in range(1, self.columns + 1):
            for level in range(self.columns + 1 - column):
                node, below = f"{level}_{column}", made[level + 1, column - 1]
                row = [n for n in (made[level, left] for left in range(column)) if n]
                way, beside = join if row else Concat, {"kernel": _thin(sides[level]), **style}
                width = below if keep else widths[level]
                self.ups[node] = risen = rise(rank, below, width, factor=halvings[level], **beside)
                length = len(widths) - level
                self.skips[node] = joined = way(rank, row, risen.outputs, length=length, **beside)
                self.nodes[node] = step = make(joined.outputs, widths[level], convs=number[level], kernel=sides[level])
                made[level, column] = step.outputs
        diagonal = [made[level, self.columns - level] for level in range(self.columns)]
        self.outputs = (*diagonal, *kept[self.columns :])
        self.supervised = {str(column): (0, made[0, column]) for column in range(self.columns, 0, -1)}

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """What the last diagonal gives at each level, finest first, the deepest feature itself last."""
        made = self._grid(features)
        return [made[level][-1] for level in range(self.columns)] + features[self.columns :]

    def supervise(self, features: list[Tensor]) -> list[Tensor]:
        """What deep supervision looks at, that of the answer first: the nodes of the top row."""
        return self._grid(features)[0][:0:-1]

    def _grid(self, features: list[Tensor]) -> list[list[Tensor]]:
        grid = [[feature] for feature in features[: self.columns + 1]]
        for column in range(1, self.columns + 1):
            for level in range(self.columns + 1 - column):
                node, row = f"{level}_{column}", [x for x in grid[level] if x.shape[1]]
                risen = self.ups[node](grid[level + 1][column - 1])
                grid[level].append(self.nodes[node](self.skips[node](*row, risen)))
        return grid


class FullScaleDecoder(nn.Module):
    """Each level looks at every other: the finer ones of the encoder, the coarser ones of the decoder (UNet 3+).

    Huang et al. (2020). A level takes one branch from each of all levels, brought to its size by maxima or by linear
    interpolation, each ``widths[0]`` channels after a 3x3 convolution; a block of one convolution fuses them, so that
    each level gives ``len(kept) * widths[0]`` channels. `up` and `convs` play no role.

    A convolution of an enlarged feature is most of the network's work when it is done as it is said; `_enlarged` gets
    the same from the small one.

    Args:
        rank, kept, widths, block, convs, skip, up, kernel, steps, factors, keep, crops, style: See `UNetDecoder`.

    >>> FullScaleDecoder(2, (8, 16, 32), (4, 12)).outputs
    (12, 12, 32)
    """

    def __init__(
        self,
        rank: int,
        kept: Sequence[int],
        widths: Sequence[int],
        *,
        block: str = "plain",
        convs: int | Sequence[int] = 2,
        skip: str = "concat",
        up: str = "transpose",
        kernel: Kernel = 3,
        steps: int = 2,
        factors: Steps = (),
        keep: bool = False,
        crops: Steps = (),
        **style: Any,
    ) -> None:
        super().__init__()
        _padded("unet3plus", crops)
        if skip != "concat":
            raise ConfigError(f"topology 'unet3plus' has its own skips, found '{skip}'; set model.skip to 'concat'")
        make = partial(pick(BLOCKS, block, "block"), rank, steps=steps, **style)
        _, sides, halvings = _of_levels(convs, kernel, factors, rank, len(widths))
        self.pool: Callable[[Tensor, list[int]], Tensor]
        self.pool = {2: nn.functional.max_pool2d, 3: nn.functional.max_pool3d}[rank]
        #: Pixels of the finest level that one of each level stands for, along each axis.
        self.strides = [[prod(step[axis] for step in halvings[:n]) for axis in range(rank)] for n in range(len(kept))]
        self.branches, self.blocks = nn.ModuleList(), nn.ModuleList()
        made = [kept[-1]]
        for level in reversed(range(len(widths))):
            sources = [*kept[: level + 1], *made]
            branches = {str(i): layer(rank, n, widths[0], sides[level], **style) for i, n in enumerate(sources) if n}
            self.branches.append(nn.ModuleDict(branches))
            width = len(branches) * widths[0]
            self.blocks.append(step := make(width, width, convs=1, kernel=sides[level]))
            made.insert(0, step.outputs)
        self.outputs = tuple(made)
        self.supervised = {str(level): (level, channels) for level, channels in enumerate(made)}

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """What the path gives at each level, finest first, the deepest feature itself last."""
        *kept, deepest = features
        made = [deepest]
        for level, branches, block in zip(reversed(range(len(kept))), self.branches, self.blocks, strict=True):
            assert isinstance(branches, nn.ModuleDict)
            sources = [*kept[: level + 1], *made]
            parts = [self._seen(branch, sources[int(i)], int(i), level) for i, branch in branches.items()]
            made.insert(0, block(torch.cat(parts, dim=1)))
        return made

    def supervise(self, features: list[Tensor]) -> list[Tensor]:
        """What deep supervision looks at, that of the answer first: every level."""
        return self(features)

    def _seen(self, branch: nn.Module, x: Tensor, source: int, level: int) -> Tensor:
        assert isinstance(branch, nn.Sequential)
        fine, coarse = sorted((source, level))
        ratio = [n // m for n, m in zip(self.strides[coarse], self.strides[fine], strict=True)]
        if source > level:
            return branch[1:](_enlarged(branch[0], x, [float(n) for n in ratio]))
        return branch(self.pool(x, ratio) if source < level else x)


def _enlarged(conv: nn.Module, x: Tensor, factors: Sequence[float]) -> Tensor:
    """What `conv` makes of `x` enlarged `factors` times by linear interpolation, for a fraction of the work.

    A convolution mixes channels, moves the results by a pixel or so, and adds them up. Mixing can be done before
    enlarging and gives the same; then only the few mixed channels grow, one axis after the other.
    """
    assert isinstance(conv, nn.Conv2d | nn.Conv3d)
    rank = x.ndim - 2
    spread = (..., *[None] * rank)
    mix, mode = (nn.functional.conv2d, "bilinear") if rank == 2 else (nn.functional.conv3d, "trilinear")
    border = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    # Channels of the mix: the offset along each axis, the first axis slowest, then the output.
    x = mix(x, conv.weight.movedim((0, 1), (-2, -1)).flatten(0, -2)[spread])
    for axis, kernel in enumerate(conv.kernel_size):
        if factors[axis] > 1:
            scale = [factor if i == axis else 1.0 for i, factor in enumerate(factors)]
            x = nn.functional.interpolate(x, scale_factor=scale, mode=mode)
        margin = [kernel // 2 if i == axis else 0 for i in reversed(range(rank)) for _ in range(2)]
        parts = nn.functional.pad(x, margin, border).chunk(kernel, dim=1)
        x = reduce(torch.add, (part.narrow(2 + axis, i, x.shape[2 + axis]) for i, part in enumerate(parts)))
    return x if conv.bias is None else x + conv.bias[spread]


def _of_levels(
    convs: int | Sequence[int], kernel: Kernel, factors: Steps, rank: int, levels: int
) -> tuple[list[int], list[Side], list[Sequence[int]]]:
    """Convolutions, kernel and factors of each level, finest first."""
    number = [convs] * levels if isinstance(convs, int) else [*convs]
    sides: list[Side] = [*[kernel] * levels] if isinstance(kernel, int) else [*kernel]
    return number, sides[:levels], [*(factors or ((2,) * rank,) * levels)]


def _thin(side: Side) -> Side:
    """The kernel of the 3x3 convolutions beside blocks of such a kernel: 1 along axes that these do not look along."""
    return 3 if isinstance(side, int) else tuple(min(3, n) for n in side)


def _padded(topology: str, crops: Steps) -> None:
    if any(map(any, crops)):
        raise ConfigError(f"topology '{topology}' keeps sizes, found padding 'valid'; set model.padding to 'zeros'")


#: Decoders, name -> (rank, kept, widths, *, block, convs, skip, up, ..., **style) -> module like `UNetDecoder`.
DECODERS: dict[str, Callable[..., Any]] = {
    "unet": UNetDecoder,
    "nested": NestedDecoder,
    "unet3plus": FullScaleDecoder,
}
