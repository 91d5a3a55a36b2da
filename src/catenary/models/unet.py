"""The U-Net of Ronneberger, Fischer and Brox (2015, doi:10.1007/978-3-319-24574-4_28), of any depth, width and rank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, InputError
from catenary.geometry import Geometry
from catenary.models.blocks import BLOCKS, UPS, convolution, pick, pooling
from catenary.models.borders import centre, corner, mirror, symbolic
from catenary.models.initial import initialise
from catenary.models.skips import SKIPS

__all__ = ["UNet", "level_widths"]


class UNet(nn.Module):
    """Down a contracting path, through a bottleneck, up an expanding path that is handed what each level kept.

    ::

        image ─ encoder ───────────── skip ───────────── decoder ─ head ─ logits
                 pool └ encoder ───── skip ───── decoder ┘ up
                         pool └────── bottleneck ┘ up

    Arguments are the fields of `catenary.recipe.Model`. The network takes images of any size from 1x1 and returns
    logits of that size, in training and evaluation alike: it mirrors the input to what its levels need and crops
    the answer.

    Attributes:
        geometry: The sizes the network works with: `multiple`, `margin`, `output_size`.
        reach: See `catenary.models.receptive_field`.

    >>> import torch
    >>> UNet(widths=(4, 8, 16), classes=2)(torch.zeros(1, 3, 17, 5)).shape
    torch.Size([1, 2, 17, 5])
    """

    def __init__(
        self,
        *,
        rank: int = 2,
        channels: int = 3,
        classes: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        depth: int = 0,
        block: str = "plain",
        skip: str = "concat",
        convs: int = 2,
        norm: str = "none",
        activation: str = "relu",
        dropout: float = 0.0,
        up: str = "transpose",
        padding: str = "zeros",
        deep_supervision: bool = False,
        init: str = "he",
    ) -> None:
        super().__init__()
        self.rank, self.channels, self.classes = rank, channels, classes
        self.widths = level_widths(widths, depth)
        style = {"norm": norm, "activation": activation, "padding": padding}
        make = partial(pick(BLOCKS, block, "block"), rank, convs=convs, **style)
        rise, join = pick(UPS, up, "way up"), pick(SKIPS, skip, "skip")

        *upper, deepest = self.widths
        drops = [0.0] * (len(upper) - 1) + [dropout]  # at the end of the contracting path, as in the paper

        self.encoder, self.pool, kept = nn.ModuleList(), pooling(rank), []
        for width, drop in zip(upper, drops, strict=False):
            self.encoder.append(step := make(channels, width, dropout=drop))
            kept.append(channels := step.outputs)
        self.bottleneck = step = make(channels, deepest, dropout=dropout)
        self.ups, self.skips, self.decoder, made = nn.ModuleList(), nn.ModuleList(), nn.ModuleList(), [step.outputs]
        for level in reversed(range(len(upper))):
            self.ups.append(rise(rank, made[-1], upper[level], padding=padding))
            self.skips.append(joined := join(rank, kept[level], upper[level], level=level, **style))
            self.decoder.append(step := make(joined.outputs, upper[level]))
            made.append(step.outputs)
        self.head = convolution(rank, made[-1], classes, 1)
        self.sides = nn.ModuleList(convolution(rank, n, classes, 1) for n in made[-2::-1] if deep_supervision)

        sizes = {"levels": len(self.widths), "radius": step.radius}
        self.geometry = Geometry(**sizes, bilinear=rise.bilinear, valid=padding == "valid")
        self.reach = self.geometry.reach if norm in ("batch", "none") else None
        initialise(self, init)

    def features(self, x: Float[Tensor, "b c *s"]) -> list[Tensor]:
        """What the expanding path gives at each level, the finest first, the bottleneck's last."""
        kept = []
        for block in self.encoder:
            x = block(x)
            kept.append(x)
            x = self.pool(x)
        made = [self.bottleneck(x)]
        for up, skip, block, crop in zip(self.ups, self.skips, self.decoder, self.geometry.crops[::-1], strict=True):
            made.append(block(skip(centre(kept.pop(), crop), up(made[-1]))))
        return made[::-1]

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"]:
        """Logits of every pixel of images of any size.

        Raises:
            InputError: When rank or channels of `x` are not the network's.
        """
        return corner(self.head(self.features(self.widened(x))[0]), x.shape[2:])

    def forward_valid(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *t"]:
        """Logits of every pixel but `geometry.margin` on each side, nothing mirrored.

        For a caller that has the context around a tile (the paper's overlap-tile strategy with real neighbours), and
        for graphs of fixed tile sizes. With padded convolutions the margin is 0 and the sizes are those that need no
        mirroring, the multiples of `geometry.multiple`.

        Args:
            x: Images of spatial sizes ``n + 2 * geometry.margin`` where ``n == geometry.output_size(n)``.

        Raises:
            InputError: On another size, rank or number of channels; the message names the nearest larger size.
        """
        self._check(x)
        if not symbolic():
            margin = 2 * self.geometry.margin
            fits = [self.geometry.output_size(max(1, n - margin), least=1) + margin for n in x.shape[2:]]
            if fits != [*x.shape[2:]]:
                raise InputError(f"forward_valid cannot take a size of {[*x.shape[2:]]}; the next that fits is {fits}")
        return self.head(self.features(x)[0])  # type: ignore[no-any-return]

    def side_outputs(self, x: Float[Tensor, "b c *s"]) -> list[Tensor]:
        """The logits of `forward`, then those of each coarser level, for deep supervision (Lee et al. 2015).

        Those of level ``i`` have the size ``ceil(n / 2**i)``, that of a label map taken at every ``2**i``-th pixel.
        Without ``deep_supervision`` there are none but the first.
        """
        made = self.features(self.widened(x))
        answers = [corner(self.head(made[0]), x.shape[2:])]
        for level, (side, feature) in enumerate(zip(self.sides, made[1:] if self.sides else [], strict=True), 1):
            start, sizes = self.geometry.offset(level), [(n + 2**level - 1) // 2**level for n in x.shape[2:]]
            answers.append(side(corner(feature, sizes, start=start)))
        return answers

    def widened(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *t"]:
        """`x` mirrored beyond its borders to a size that the levels divide (the paper's figure 2)."""
        self._check(x)
        # a graph with free sizes cannot ask for a least size: its images must be larger than `geometry.multiple`
        sizes = [self.geometry.output_size(n, least=0 if symbolic() else 2) for n in x.shape[2:]]
        margin = self.geometry.margin
        return mirror(x, margin, [n + 2 * margin for n in sizes])

    def _check(self, x: Tensor) -> None:
        if not symbolic() and (x.ndim != self.rank + 2 or x.shape[1] != self.channels):
            raise InputError(
                f"the network takes {self.rank}D batches of {self.channels} channels (batch, channel, sizes), "
                f"found {x.ndim - 2}D and {x.shape[1]} channels; prepare the images as they were for training"
            )


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
