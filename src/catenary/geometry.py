"""How sizes travel through a U: what fits, what an unpadded network loses, how far an output pixel sees.

Whole numbers only; no network is needed to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar, cast

from catenary.errors import ConfigError, near_match

__all__ = [
    "CLASSIFIERS",
    "FUSIONS",
    "RADII",
    "TOPOLOGIES",
    "Geometry",
    "Steps",
    "axes_of",
    "check_depth",
    "geometry_of",
    "level_factors",
    "level_kernels",
    "per_axis",
    "per_level",
]

Size = TypeVar("Size")  # int, or what stands for one in a graph with free sizes
Interval = tuple[int, int]  # first and last pixel
Steps = Sequence[Sequence[int]]  #: For each level (or step between two), top first, a number along each axis.

#: How far blocks see, name -> (convolutions, half a kernel, steps) -> pixels beyond their own on each side.
RADII: dict[str, Callable[[int, int, int], int]] = {
    "plain": lambda convs, half, steps: convs * half,
    "residual": lambda convs, half, steps: convs * half,
    "recurrent": lambda convs, half, steps: convs * (1 + steps) * half,
    "recurrent_residual": lambda convs, half, steps: convs * (1 + steps) * half,
    "multires": lambda convs, half, steps: convs * half,
    "asymmetric": lambda convs, half, steps: convs * half,
    "inverted_residual": lambda convs, half, steps: convs * half,
    "squeeze_excite": lambda convs, half, steps: convs * half,  # and its weights see everything
}
#: Ways in which a decoder joins levels; `catenary.models.decoders.DECODERS` has the networks' parts.
TOPOLOGIES = ("unet", "nested", "unet3plus")
#: Networks whose answer is one for a whole image, and which nothing below asks about; `catenary.models.classifier`.
CLASSIFIERS = ("classifier", "encoder_classifier", "glaucoma_cnn", "glaucoma_cnn_pool")
#: How a network for two dates joins them; `catenary.models.siamese` has the network.
FUSIONS = ("none", "decision", "feature")
#: How far the head that joins them sees: two 3x3 convolutions.
_JOINING = 2
#: What looks at the whole image, wherever its pixel is.
_WHOLE = ("instance", "group", "squeeze_excite")
#: Ways up that look one pixel aside.
_LEANING = ("resize", "resize_conv")


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Sizes along one axis of a U of `levels` resolutions, each half of the one above unless `factors` say otherwise.

    Attributes:
        levels: Number of resolutions, the bottleneck included.
        radius: Pixels that a block sees beyond its own on each side (2 for two 3x3 convolutions), of each level's
            blocks when they differ (top first).
        factors: Between each level and the next (top first), 2 or, where this axis is not pooled, 1.
        bilinear: The expanding path looks one pixel aside (it interpolates) instead of a 2x2 transposed convolution;
            of each step when they differ (top first).
        valid: Convolutions are unpadded, so every block takes `radius` pixels off each side.
        topology: ``"unet"``, ``"nested"`` or ``"unet3plus"``; they differ in `reach` only.
        across: Pixels that each level's skip sees beyond its own (top first); () for none.
        fused: Pixels that each level of ``"unet3plus"`` sees beyond its own in the features it joins (top first).
        columns: Of ``"nested"``, the column of the node that answers; 0 for the last.
        whole: An output pixel depends on the whole image besides (instance normalisation): `reach` says nothing.
        beyond: Pixels that convolutions on the network's output see beyond their own.
        least: Pixels that the bottleneck needs: batch statistics and mirrored convolutions need more than one.

    The network of Ronneberger et al. (2015), which turns 572 pixels into 388:

    >>> paper = Geometry(levels=5, radius=2, valid=True)
    >>> paper.margin, paper.output_size(388), paper.crops
    (92, 388, (88, 40, 16, 4))

    An axis that is pooled in the second of two steps only:

    >>> thick = Geometry(levels=3, radius=(0, 1, 1), factors=(1, 2))
    >>> thick.multiple, thick.reach, thick.output_size(5)
    (2, 5, 6)
    """

    levels: int
    radius: int | tuple[int, ...]
    factors: int | tuple[int, ...] = 2
    bilinear: bool | tuple[bool, ...] = False
    valid: bool = False
    topology: str = "unet"
    across: tuple[int, ...] = ()
    fused: tuple[int, ...] = ()
    columns: int = 0
    whole: bool = False
    beyond: int = 0
    least: int = 2

    @property
    def radii(self) -> tuple[int, ...]:
        """`radius` of each level, top first."""
        return (self.radius,) * self.levels if isinstance(self.radius, int) else self.radius

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the image that one of each level stands for, top first."""
        return tuple(prod(self._factors[:level]) for level in range(self.levels))

    @property
    def multiple(self) -> int:
        """Pixels of the image that one of the bottleneck stands for."""
        return self.strides[-1]

    @property
    def lost(self) -> int:
        """The output has ``multiple * n - lost`` pixels when the bottleneck gives ``n``."""
        lost = 0
        for shrink, factor, edge in self._rising:
            lost = factor * lost + 2 * (shrink + edge)
        return lost

    @property
    def margin(self) -> int:
        """Pixels on each side by which the input must be larger than the output; 0 for padded convolutions."""
        entered = 2 * self._shrinks[-1]
        for shrink, factor, _ in self._rising:
            entered = factor * entered + 2 * shrink
        return (entered + self.lost) // 2

    @property
    def crops(self) -> tuple[int, ...]:
        """Pixels cut off each side of what a skip carries, top level first."""
        # input of the contracting, output of the expanding block one level down
        below, above = 2 * self._shrinks[-1], 0
        crops = []
        for shrink, factor, edge in self._rising:
            kept, risen = factor * below, factor * above - 2 * edge
            crops.append((kept - risen) // 2)
            below, above = kept + 2 * shrink, risen - 2 * shrink
        return tuple(reversed(crops))

    @property
    def reach(self) -> int:
        """Largest distance in pixels between an output pixel and an input pixel that it depends on.

        Exact for kernels without zeros, away from borders: the needed interval is followed back through every
        path, for each position of the pixel within its pooling square.

        >>> Geometry(levels=1, radius=2).reach, Geometry(levels=2, radius=1).reach
        (2, 5)
        """
        follow = {"unet": self._through_unet, "nested": self._through_nested, "unet3plus": self._through_full_scale}
        farthest = 0
        for pixel in range(self.multiple):
            for level, (low, high) in follow[self.topology](pixel).items():
                first, last = self._input(low, high, level)
                farthest = max(farthest, pixel - first, last - pixel)
        return farthest + self.beyond

    def output_size(self, size: Size, *, least: int | None = None) -> Size:
        """Smallest output of the network that holds `size` pixels; its input is ``2 * margin`` larger.

        The bottleneck gets at least `least` pixels, the network's own `least` when nobody asks for another.

        >>> Geometry(levels=3, radius=2).output_size(9)
        12
        """
        least = self.least if least is None else least
        squares: Any = (cast(Any, size) + self.lost + self.multiple - 1) // self.multiple
        if least:
            squares = max(least, squares)
        return cast(Size, squares * self.multiple - self.lost)

    def offset(self, level: int) -> int:
        """Pixel of the expanding path's `level` that holds the output's first pixel (rounded down).

        >>> unpadded = Geometry(levels=3, radius=(1, 3, 3), valid=True)
        >>> unpadded.offset(1), unpadded.offset(2)  # 1 / 2, and (1 / 2 + 3) / 2
        (0, 1)
        """
        position = 0.0
        for shrink, factor, edge in self._rising[::-1][:level]:
            position = (position + shrink + edge) / factor
        return int(position)

    def _input(self, low: int, high: int, level: int) -> Interval:
        """What the encoder's feature of `level` needs of the image."""
        for radius, factor in zip(self.radii[level:0:-1], self._factors[:level][::-1], strict=True):
            low, high = factor * (low - radius), factor * (high + radius) + factor - 1
        return low - self.radii[0], high + self.radii[0]

    def _risen(self, low: int, high: int, level: int) -> Interval:
        """What the way up to `level` needs of the level below."""
        aside, factor = int(self._leans[level]), self._factors[level]
        return (low - aside) // factor, (high + aside) // factor

    def _kept(self, low: int, high: int, level: int) -> Interval:
        """What a skip needs of the features it carries."""
        aside = self.across[level] if self.across else 0
        return low - aside, high + aside

    def _through_unet(self, pixel: int) -> dict[int, Interval]:
        """The intervals of the encoder's features that an output pixel needs, by level."""
        needs, low, high = {}, pixel, pixel
        for level, radius in enumerate(self.radii[:-1]):
            low, high = low - radius, high + radius
            needs[level] = self._kept(low, high, level)
            low, high = self._risen(low, high, level)
        return needs | {self.levels - 1: (low, high)}

    def _through_nested(self, pixel: int) -> dict[int, Interval]:
        last = self.columns or self.levels - 1
        needs = {(0, last): (pixel, pixel)}
        for column in range(last, 0, -1):  # a node needs only nodes of columns further left
            for level in range(last - column + 1):
                low, high = needs[level, column]
                low, high = low - self.radii[level], high + self.radii[level]
                for left in range(column):
                    needs[level, left] = _hull(needs.get((level, left)), self._kept(low, high, level))
                below = level + 1, column - 1
                needs[below] = _hull(needs.get(below), self._risen(low, high, level))
        return {level: interval for (level, column), interval in needs.items() if column == 0}

    def _through_full_scale(self, pixel: int) -> dict[int, Interval]:
        needs: dict[int, Interval] = {}
        made = {0: (pixel, pixel)}
        for level in range(self.levels - 1):
            low, high = made[level][0] - self.fused[level], made[level][1] + self.fused[level]
            for finer in range(level + 1):
                side = self.strides[level] // self.strides[finer]
                needs[finer] = _hull(needs.get(finer), (side * low, side * high + side - 1))
            for coarser in range(level + 1, self.levels):
                side = self.strides[coarser] // self.strides[level]
                leaning = low, high
                if side > 1:  # linear interpolation leans on the two nearest of its pixels
                    leaning = (2 * low + 1 - side) // (2 * side), (2 * high + 1 - side) // (2 * side) + 1
                made[coarser] = _hull(made.get(coarser), leaning)
        return needs | {self.levels - 1: made[self.levels - 1]}

    @property
    def _shrinks(self) -> tuple[int, ...]:
        return self.radii if self.valid else (0,) * self.levels

    @property
    def _factors(self) -> tuple[int, ...]:
        return (self.factors,) * (self.levels - 1) if isinstance(self.factors, int) else self.factors

    @property
    def _leans(self) -> tuple[bool, ...]:
        return (self.bilinear,) * (self.levels - 1) if isinstance(self.bilinear, bool) else self.bilinear

    @property
    def _rising(self) -> list[tuple[int, int, int]]:
        """Of each level but the deepest, from below: what a block takes off, the factor, what the way up takes off."""
        # the outermost interpolated pixels lean on a repeated border instead of context: an unpadded network cuts them
        edges = (int(self.valid and leans) for leans in self._leans)
        return [*zip(self._shrinks[:-1], self._factors, edges, strict=True)][::-1]


def _hull(one: Interval | None, other: Interval) -> Interval:
    return other if one is None else (min(one[0], other[0]), max(one[1], other[1]))


def per_level(number: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """One number a level, top first: the same for all, or a list whose last holds for all levels below.

    Raises:
        ConfigError: When there is none, or one below 1.

    >>> per_level(2, 3), per_level((1, 2), 3), per_level((1, 2, 3), 2)
    ((2, 2, 2), (1, 2, 2), (1, 2))
    """
    given = (number,) if isinstance(number, int) else tuple(number)
    if not given or min(given) < 1:
        raise ConfigError(f"model.convs must be numbers from 1 up, found {number}")
    return (*given, *[given[-1]] * levels)[:levels]


def per_axis(number: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number for each axis, from one for all or a list of them.

    >>> per_axis(3, 2), per_axis((1, 3, 3), 3)
    ((3, 3), (1, 3, 3))
    """
    return (number,) * rank if isinstance(number, int) else tuple(number)


def level_factors(pools: Steps, *, rank: int, levels: int) -> tuple[tuple[int, ...], ...]:
    """By how much each step down shrinks each axis, from ``model.pools``.

    Raises:
        ConfigError: Not `rank` factors of 1 or 2, not all 1, for each step.

    >>> level_factors(((1, 2, 2), (2, 2, 2)), rank=3, levels=3), level_factors((), rank=2, levels=2)
    (((1, 2, 2), (2, 2, 2)), ((2, 2),))
    """
    if not pools:
        return ((2,) * rank,) * (levels - 1)
    _check_steps(
        pools, rank, levels - 1, (1, 2), "pools", f"{levels - 1} steps down (one fewer than levels)", "halves all"
    )
    if any(max(step) == 1 for step in pools):
        raise ConfigError(f"each step of model.pools halves an axis, found {_told(pools)}; leave out steps of only 1")
    return tuple(tuple(step) for step in pools)


def level_kernels(kernels: Steps, kernel: int, *, rank: int, levels: int) -> tuple[int | tuple[int, ...], ...]:
    """The kernel of each level's convolutions, from ``model.kernels``, or ``model.kernel`` where there are none.

    Raises:
        ConfigError: Not `rank` odd numbers for each level.

    >>> level_kernels(((1, 3, 3), (3, 3, 3)), 3, rank=3, levels=2), level_kernels((), 3, rank=3, levels=2)
    (((1, 3, 3), (3, 3, 3)), (3, 3))
    """
    if not kernels:
        return (kernel,) * levels
    _check_steps(kernels, rank, levels, (1, 3, 5, 7), "kernels", f"{levels} levels", "takes model.kernel for all")
    return tuple(tuple(sides) for sides in kernels)


def _check_steps(
    given: Steps, rank: int, count: int, among: Collection[int], name: str, what: str, otherwise: str
) -> None:
    if len(given) != count or any(len(step) != rank or not {*step} <= {*among} for step in given):
        raise ConfigError(
            f"model.{name} must be {rank} numbers of {', '.join(map(str, among))} for each of {what}, found "
            f"{_told(given)}; set it so, or leave it empty, which {otherwise}"
        )


def _told(steps: Steps) -> str:
    return "[" + ", ".join("x".join(map(str, step)) for step in steps) + "]"


def axes_of(*, rank: int = 2, **settings: Any) -> tuple[Geometry, ...]:
    """The geometry of a network along each of its axes, from its settings alone; see `geometry_of`.

    >>> from catenary.recipe import Model
    >>> flat = Model(rank=3, widths=(8, 16, 32), pools=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), *[(3, 3, 3)] * 2))
    >>> [(axis.multiple, axis.reach) for axis in axes_of(**flat.model_dump())]
    [(2, 9), (4, 23), (4, 23)]
    """
    return tuple(geometry_of(axis=axis, rank=rank, **settings) for axis in range(rank))


def geometry_of(
    *,
    axis: int = -1,
    rank: int = 2,
    widths: Sequence[int],
    depth: int = 0,
    topology: str = "unet",
    block: str = "plain",
    skip: str = "concat",
    convs: int | Sequence[int] = 2,
    kernel: int = 3,
    kernels: Steps = (),
    pools: Steps = (),
    steps: int = 2,
    norm: str = "none",
    up: str = "transpose",
    padding: str = "zeros",
    prune: int = 0,
    encoder: str = "",
    fusion: str = "none",
    **other: object,
) -> Geometry:
    """The geometry of a network along one axis, from its settings alone.

    Args:
        axis: Which; all are alike where `kernels` and `pools` do not tell them apart.
        rank, widths, depth, topology, block, skip, convs, kernel, kernels, pools, steps, norm, up, padding, prune: As
            of `catenary.recipe.Model`.
        fusion: See `FUSIONS`.
        encoder: Name of an encoder that was not made of own blocks: it halves the image five times where `depth` does
            not say otherwise, and how far it sees is not known.
        other: The further fields, which decide no sizes.

    Raises:
        ConfigError: On an unknown block or topology, a number of convolutions below 1, or `kernels` or `pools` that
            do not fit levels and rank.

    >>> from catenary.recipe import Model
    >>> geometry_of(**Model(widths=(8, 16, 32)).model_dump()).reach
    23
    >>> geometry_of(widths=(8, 16, 32), block="recurrent_residual").reach
    63
    """
    if encoder:
        return Geometry(levels=depth or 6, radius=0, bilinear=up in _LEANING, whole=True)
    for name, table, what in ((block, RADII, "block"), (topology, TOPOLOGIES, "topology")):
        if name not in table:
            raise ConfigError(f"unknown {what} '{name}'; {near_match(name, table)}")
    levels = depth or len(widths)
    halves = [per_axis(sides, rank)[axis] // 2 for sides in level_kernels(kernels, kernel, rank=rank, levels=levels)]
    factors = tuple(step[axis] for step in level_factors(pools, rank=rank, levels=levels))
    thin = [min(1, half) if kernels else 1 for half in halves]  # of the 3x3 convolutions beside the blocks
    leans = {"resize": [factor > 1 for factor in factors], "resize_conv": [bool(half) for half in thin[:-1]]}
    return Geometry(
        levels=levels,
        radius=tuple(RADII[block](n, half, steps) for n, half in zip(per_level(convs, levels), halves, strict=True)),
        factors=factors,
        bilinear=tuple(leans.get(up, [False] * (levels - 1))),
        valid=padding == "valid",
        topology=topology,
        across=tuple((levels - 1 - level) * thin[level] for level in range(levels - 1)) if skip == "res_path" else (),
        fused=tuple(half + RADII[block](1, half, steps) for half in halves[:-1]) if topology == "unet3plus" else (),
        columns=prune,
        whole=norm in _WHOLE or block in _WHOLE,
        beyond=0 if fusion == "none" else _JOINING,
        least=max(2, max(halves) + 1) if padding == "reflect" else 2,
    )


def check_depth(shape: Sequence[int], levels: int, pools: Steps = ()) -> None:
    """Make sure that `levels` resolutions suit patches of `shape`: two pixels a side are left at the deepest.

    A network takes smaller images too (it pads them), but its deepest levels would see mostly padding.

    Args:
        shape: Spatial size of the patches, ``(h, w)`` or ``(d, h, w)``.
        levels: Number of resolutions.
        pools: Factor of each step down along each axis (``model.pools``); () halves all. An axis that is never
            halved may have any size.

    Raises:
        ConfigError: When the patch is smaller than two pixels of the deepest level along an axis.

    >>> check_depth((256, 256), 5)
    >>> check_depth((256, 16), 5)
    Traceback (most recent call last):
    catenary.errors.ConfigError: a network of depth 5 needs patches of at least 32 pixels a side, found 256 x 16; ...
    >>> check_depth((5, 64, 64), 3, ((1, 2, 2), (1, 2, 2)))
    """
    factors = level_factors(pools, rank=len(shape), levels=levels)
    needs = [2 * most if (most := prod(step[axis] for step in factors)) > 1 else 1 for axis in range(len(shape))]
    if any(side < need for side, need in zip(shape, needs, strict=True)):
        fits = max(1, int(min(shape)).bit_length() - 1)
        least = f"{needs[0]} pixels a side" if len({*needs}) == 1 else f"{' x '.join(map(str, needs))} pixels"
        raise ConfigError(
            f"a network of depth {levels} needs patches of at least {least}, found {' x '.join(map(str, shape))}; "
            + ("halve the short axis less often in model.pools" if pools else f"set model.depth to {fits} or less")
            + ", or take larger patches"
        )
