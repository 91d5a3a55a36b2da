"""How sizes travel through a U: what fits, what an unpadded network loses, how far an output pixel sees.

Whole numbers only; no network is needed to ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from catenary.errors import ConfigError

__all__ = ["Geometry", "check_depth"]

Size = TypeVar("Size")  # int, or what stands for one in a graph with free sizes


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Sizes along one axis of a U of `levels` resolutions, each half of the one above.

    Attributes:
        levels: Number of resolutions, the bottleneck included.
        radius: Pixels that one block sees beyond its own on each side (2 for two 3x3 convolutions).
        bilinear: The expanding path interpolates (it looks one pixel aside) instead of a 2x2 transposed convolution.
        valid: Convolutions are unpadded, so every block takes `radius` pixels off each side.

    The network of Ronneberger et al. (2015), which turns 572 pixels into 388:

    >>> paper = Geometry(levels=5, radius=2, valid=True)
    >>> paper.margin, paper.output_size(388), paper.crops
    (92, 388, (88, 40, 16, 4))
    """

    levels: int
    radius: int
    bilinear: bool = False
    valid: bool = False

    @property
    def multiple(self) -> int:
        """Side in pixels of the square that one pixel of the bottleneck stands for."""
        return int(2 ** (self.levels - 1))

    @property
    def lost(self) -> int:
        """The output has ``multiple * n - lost`` pixels when the bottleneck gives ``n``."""
        lost = 0
        for _ in range(self.levels - 1):
            lost = 2 * (lost + self._shrink + self._edge)
        return lost

    @property
    def margin(self) -> int:
        """Pixels on each side by which the input must be larger than the output; 0 for padded convolutions."""
        entered = 2 * self._shrink
        for _ in range(self.levels - 1):
            entered = 2 * (entered + self._shrink)
        return (entered + self.lost) // 2

    @property
    def crops(self) -> tuple[int, ...]:
        """Pixels cut off each side of what a skip carries, top level first."""
        below, above = 2 * self._shrink, 0  # input of the contracting, output of the expanding block one level down
        crops = []
        for _ in range(self.levels - 1):
            kept, risen = 2 * below, 2 * above - 2 * self._edge
            crops.append((kept - risen) // 2)
            below, above = kept + 2 * self._shrink, risen - 2 * self._shrink
        return tuple(reversed(crops))

    @property
    def reach(self) -> int:
        """Largest distance in pixels between an output pixel and an input pixel that it depends on.

        Exact for kernels without zeros, away from borders: the needed interval is followed back through every
        path, for each position of the pixel within its pooling square.

        >>> Geometry(levels=1, radius=2).reach, Geometry(levels=2, radius=1).reach
        (2, 5)
        """
        farthest = 0
        for pixel in range(self.multiple):
            low, high = pixel, pixel
            bounds = [0, 0]
            for level in range(self.levels):
                low, high = low - self.radius, high + self.radius  # the block that gives this level's features
                if level < self.levels - 1:  # a top block first sees its skip, made by another block
                    seen = self._into_input(low, high, level)
                    bounds = [min(bounds[0], seen[0] - pixel), max(bounds[1], seen[1] - pixel)]
                    low, high = ((low - 1) // 2, (high + 1) // 2) if self.bilinear else (low // 2, high // 2)
                else:  # the bottleneck: its input is pooled from above
                    seen = self._pooled(low, high, level)
                    bounds = [min(bounds[0], seen[0] - pixel), max(bounds[1], seen[1] - pixel)]
            farthest = max(farthest, -bounds[0], bounds[1])
        return farthest

    def output_size(self, size: Size, *, least: int = 2) -> Size:
        """Smallest output of the network that holds `size` pixels; its input is ``2 * margin`` larger.

        The bottleneck gets at least `least` pixels: batch statistics and mirrored convolutions need more than one.

        >>> Geometry(levels=3, radius=2).output_size(9)
        12
        """
        squares: Any = (size + self.lost + self.multiple - 1) // self.multiple  # type: ignore[operator]
        if least:
            squares = max(least, squares)
        return squares * self.multiple - self.lost  # type: ignore[no-any-return]

    def offset(self, level: int) -> int:
        """Pixel of the expanding path's `level` that holds the output's first pixel (rounded down)."""
        position = 0.0
        for _ in range(level):
            position = (position + self._shrink + self._edge) / 2
        return int(position)

    def _into_input(self, low: int, high: int, level: int) -> tuple[int, int]:
        return self._pooled(low - self.radius, high + self.radius, level)

    def _pooled(self, low: int, high: int, level: int) -> tuple[int, int]:
        for _ in range(level):
            low, high = 2 * low - self.radius, 2 * high + 1 + self.radius
        return low, high

    @property
    def _shrink(self) -> int:
        return self.radius if self.valid else 0

    @property
    def _edge(self) -> int:
        # the outermost interpolated pixels lean on a repeated border instead of context: an unpadded network cuts them
        return int(self.valid and self.bilinear)


def check_depth(shape: Sequence[int], levels: int) -> None:
    """Make sure that `levels` resolutions suit patches of `shape`: two pixels a side are left at the deepest.

    A network takes smaller images too (it pads them), but its deepest levels would see mostly padding.

    Args:
        shape: Spatial size of the patches, ``(h, w)`` or ``(d, h, w)``.
        levels: Number of resolutions.

    Raises:
        ConfigError: When the patch is smaller than ``2**levels`` pixels along an axis.

    >>> check_depth((256, 256), 5)
    >>> check_depth((256, 16), 5)
    Traceback (most recent call last):
    catenary.errors.ConfigError: a network of depth 5 needs patches of at least 32 pixels a side, found 256 x 16; ...
    """
    if min(shape) < 2**levels:
        fits = max(1, int(min(shape)).bit_length() - 1)
        raise ConfigError(
            f"a network of depth {levels} needs patches of at least {2**levels} pixels a side, "
            f"found {' x '.join(map(str, shape))}; set model.depth to {fits} or less, or take larger patches"
        )
