"""The U-Net of Ronneberger, Fischer and Brox (2015, doi:10.1007/978-3-319-24574-4_28), of any depth, width and rank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, InputError, near_match
from catenary.geometry import Steps, axes_of, level_factors, level_kernels, per_level
from catenary.models.blocks import BLOCKS
from catenary.models.borders import corner, mirror, symbolic
from catenary.models.decoders import DECODERS
from catenary.models.initial import initialise
from catenary.models.layers import DOWNS, convolution, pick

__all__ = ["UNet", "level_widths"]


class UNet(nn.Module):
    """Down a contracting path, through a bottleneck, up an expanding path that is handed what each level kept.

    ::

        image ─ encoder ───────────── skip ───────────── decoder ─ head ─ logits
                 down └ encoder ───── skip ───── decoder ┘ up
                         down └────── bottleneck ┘ up

    Arguments are the fields of `catenary.recipe.Model`. The network takes images of any size from 1x1 and returns
    logits of that size, in training and evaluation alike: it mirrors the input to what its levels need and crops
    the answer.

    Volumes whose slices lie further apart than their pixels are pooled less often across the slices (`pools`), and
    looked at within the slices alone (`kernels`) until the sides of a pixel are about equal (Isensee et al. 2021,
    doi:10.1038/s41592-020-01008-z).

    Attributes:
        axes: The sizes the network works with along each axis: `multiple`, `margin`, `output_size`.
        geometry: Those of the last axis, as of all where `pools` and `kernels` are empty.
        reach: See `catenary.models.receptive_field`.
        scales: How many pixels of the image, along each axis, one of each of `side_outputs` stands for.

    >>> import torch
    >>> UNet(widths=(4, 8, 16), classes=2)(torch.zeros(1, 3, 17, 5)).shape
    torch.Size([1, 2, 17, 5])
    >>> flat = UNet(rank=3, widths=(4, 8, 16), pools=((1, 2, 2), (1, 2, 2)), kernels=((1, 3, 3), (1, 3, 3), (3, 3, 3)))
    >>> flat(torch.zeros(1, 3, 5, 17, 9)).shape, [axis.multiple for axis in flat.axes]
    (torch.Size([1, 1, 5, 17, 9]), [1, 4, 4])
    """

    def __init__(
        self,
        *,
        rank: int = 2,
        channels: int = 3,
        classes: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        depth: int = 0,
        topology: str = "unet",
        block: str = "plain",
        skip: str = "concat",
        convs: int | Sequence[int] = 2,
        kernel: int = 3,
        kernels: Steps = (),
        pools: Steps = (),
        steps: int = 2,
        grow: str = "first",
        norm: str = "none",
        activation: str = "relu",
        bias: bool = False,
        dropout: float = 0.0,
        down: str = "max",
        up: str = "transpose",
        padding: str = "zeros",
        deep_supervision: bool = False,
        prune: int = 0,
        init: str = "he",
    ) -> None:
        super().__init__()
        self.rank, self.channels, self.classes = rank, channels, classes
        self.widths = level_widths(widths, depth)
        number = per_level(convs, len(self.widths))
        sides = level_kernels(kernels, kernel, rank=rank, levels=len(self.widths))
        factors = level_factors(pools, rank=rank, levels=len(self.widths))
        self.axes = axes_of(
            rank=rank, widths=self.widths, topology=topology, block=block, skip=skip, convs=number, kernel=kernel,
            kernels=kernels, pools=pools, steps=steps, norm=norm, up=up, padding=padding, prune=prune,
        )  # fmt: skip
        self.geometry = self.axes[-1]
        style: dict[str, Any] = {"norm": norm, "activation": activation, "padding": padding, "bias": bias}
        make = partial(pick(BLOCKS, block, "block"), rank, steps=steps, **style)
        lead = pick(DOWNS, down, "way down")
        deepest = len(self.widths) - 1
        columns = {"prune": _pruned(prune, topology, deep_supervision)} if prune else {}

        self.encoder, self.downs, kept = nn.ModuleList(), nn.ModuleList(), [0] * len(self.widths)
        for level, width in enumerate(self.widths[: prune + 1 if prune else None]):
            if level:
                self.downs.append(led := lead(rank, channels, width, factor=factors[level - 1], **style))
                channels = led.outputs
            drop = dropout if level >= deepest - 1 else 0.0  # at the end of the contracting path, as in the paper
            inner = {"inner": width // 2} if _grows_last(grow, block) else {}
            step = make(channels, width, convs=number[level], kernel=sides[level], dropout=drop, **inner)
            self.encoder.append(step)
            kept[level] = channels = step.outputs
        self.decoder = pick(DECODERS, topology, "topology")(
            rank, kept, self.widths[:-1], block=block, convs=number, skip=skip, up=up, kernel=sides, steps=steps,
            factors=factors, keep=grow == "last", crops=[*zip(*(axis.crops for axis in self.axes), strict=True)],
            **columns, **style,
        )  # fmt: skip
        heads = [*self.decoder.supervised.items()][: None if deep_supervision else 1]
        self.heads = nn.ModuleDict({name: convolution(rank, n, classes, 1) for name, (_, n) in heads})
        self.scales = tuple(tuple(axis.strides[level] for axis in self.axes) for _, (level, _) in heads)
        self.reach = None if self.geometry.whole else max(axis.reach for axis in self.axes)
        initialise(self, init)
        if prune:
            self.register_load_state_dict_pre_hook(_only_needed)  # type: ignore[no-untyped-call]  # torch's, inherited

    def encode(self, x: Float[Tensor, "b c *s"]) -> list[Tensor]:
        """What the contracting path keeps at each level, the finest first, the bottleneck's last."""
        kept = [self.encoder[0](x)]
        for down, block in zip(self.downs, [*self.encoder][1:], strict=True):
            kept.append(block(down(kept[-1])))
        return kept

    def features(self, x: Float[Tensor, "b c *s"]) -> list[Tensor]:
        """What the expanding path gives at each level, the finest first, the bottleneck's last."""
        return self.decoder(self.encode(x))

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"]:
        """Logits of every pixel of images of any size.

        Raises:
            InputError: When rank or channels of `x` are not the network's.
        """
        return corner(self.head(self.features(self.widened(x))[0]), x.shape[2:])

    def forward_valid(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Logits of every pixel but the `margin` of each of `axes` on each side, nothing mirrored.

        For a caller that has the context around a tile (the paper's overlap-tile strategy with real neighbours), and
        for graphs of fixed tile sizes. With padded convolutions the margin is 0 and the sizes are those that need no
        mirroring, the multiples of each axis' `multiple`.

        Args:
            x: Images of spatial sizes ``n + 2 * axis.margin`` where ``n == axis.output_size(n)``, along each axis.

        Raises:
            InputError: On another size, rank or number of channels; the message names the nearest larger size.
        """
        self._check(x)
        if not symbolic():
            sizes = [*zip(self.axes, x.shape[2:], strict=True)]
            fits = [a.output_size(max(1, n - 2 * a.margin), least=1) + 2 * a.margin for a, n in sizes]
            if fits != [*x.shape[2:]]:
                raise InputError(f"forward_valid cannot take a size of {[*x.shape[2:]]}; the next that fits is {fits}")
        return self.head(self.features(x)[0])

    def side_outputs(self, x: Float[Tensor, "b c *s"]) -> list[Tensor]:
        """The logits of `forward`, then those of the other heads, for deep supervision (Lee et al. 2015).

        Those of a head have the size of a label map taken at every ``n``-th pixel along each axis (see `scales`).
        Without ``deep_supervision`` there are none but the first.
        """
        made = self.decoder.supervise(self.encode(self.widened(x)))
        answers = []
        for (name, head), scale, feature in zip(self.heads.items(), self.scales, made, strict=False):
            level, _ = self.decoder.supervised[name]
            start = [axis.offset(level) for axis in self.axes]
            sizes = [(n + step - 1) // step for n, step in zip(x.shape[2:], scale, strict=True)]
            answers.append(corner(head(feature), sizes, start=start))
        return answers

    @property
    def head(self) -> nn.Module:
        """What turns the finest features into logits."""
        return next(iter(self.heads.children()))

    def widened(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *t"]:
        """`x` mirrored beyond its borders to a size that the levels divide (the paper's figure 2)."""
        self._check(x)
        # a graph with free sizes cannot ask for a least size: its images must be larger than `geometry.multiple`
        least = 0 if symbolic() else None
        sizes = [a.output_size(n, least=least) + 2 * a.margin for a, n in zip(self.axes, x.shape[2:], strict=True)]
        return mirror(x, [axis.margin for axis in self.axes], sizes)

    def _check(self, x: Tensor) -> None:
        if not symbolic() and (x.ndim != self.rank + 2 or x.shape[1] != self.channels):
            raise InputError(
                f"the network takes {self.rank}D batches of {self.channels} channels (batch, channel, sizes), "
                f"found {x.ndim - 2}D and {x.shape[1]} channels; prepare the images as they were for training"
            )


def _grows_last(grow: str, block: str) -> bool:
    if grow not in ("first", "last"):
        raise ConfigError(f"unknown model.grow '{grow}'; {near_match(grow, ('first', 'last'))}")
    if grow == "last" and block != "plain":
        raise ConfigError(f"model.grow 'last' is for plain blocks, found '{block}'; set it to 'first'")
    return grow == "last"


def _pruned(prune: int, topology: str, deep_supervision: bool) -> int:
    if topology != "nested" or not deep_supervision:
        raise ConfigError(
            f"model.prune = {prune} cuts a nested network back to a head that deep supervision has trained; set "
            "model.topology to 'nested' and model.deep_supervision to true, or model.prune to 0"
        )
    return prune


def _only_needed(network: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Weights of the whole network load into the pruned one: what it has no use for is left out."""
    needed = {prefix + name for name in network.state_dict()}
    for name in [name for name in state if name.startswith(prefix) and name not in needed]:
        del state[name]


def level_widths(widths: Sequence[int], depth: int = 0) -> tuple[int, ...]:
    """Channels of each level: `widths`, or ``widths[0]`` doubled from level to level when `depth` is another length.

    Raises:
        ConfigError: When there is no level or a width below 1.

    >>> level_widths((32, 64, 128)), level_widths((16, 32), depth=4)
    ((32, 64, 128), (16, 32, 64, 128))
    """
    if not widths or min(widths) < 1 or depth < 0:
        raise ConfigError(
            f"model.widths must be numbers from 1 up and model.depth at least 0, found {list(widths)} and {depth}"
        )
    if depth in (0, len(widths)):
        return tuple(int(width) for width in widths)
    return tuple(int(widths[0]) * 2**level for level in range(depth))
