"""All geometry of a training patch in one gather from the original pixels.

A patch pixel is traced back to the place in the image that it shows: flips and quarter turn, elastic field, shift,
rotation, shear, zoom and the change to working resolution are composed into one coordinate field, and the image is
sampled there once (bilinear; labels nearest, so no class is invented). Beyond the image's edge both are mirrored
(``reflect-101``: ``d c b | a b c d | c b a``).

The field is smooth, so it is composed on a coarse grid of nodes and enlarged; affine parts are exact that way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2 as opencv
import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy.typing import NDArray

from catenary.errors import ConfigError, InputError
from catenary.recipe import Augment

__all__ = [
    "IDENTITY",
    "Warp",
    "draw_warp",
    "elastic_field",
    "elastic_std",
    "in_channel_groups",
    "mirrored",
    "needed",
    "sample_patch",
]

cv2: Any = opencv  # its type stubs refuse the None and the strided arrays that it takes

#: Number of uniform random numbers that one `Warp` takes, whatever the configuration.
DRAWS = 12

#: Side limit of OpenCV's remap, whose coordinates are 16-bit.
LIMIT = 32766

#: Node distance of the coarse grid when no elastic field asks for a finer one.
SPACING = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Warp:
    """One drawn change of geometry; the default changes nothing.

    What is seen in the patch is, in this order: the image enlarged by `zoom`, sheared, rotated and shifted about
    the patch's centre, deformed by the elastic field, then turned by `transpose` and mirrored by `flip`.

    Attributes:
        flip: Whether to mirror along ``(h, w)``.
        transpose: Whether rows and columns change places; with the flips this gives all eight quarter-turn poses.
        rotate: Degrees, counter-clockwise as seen on the screen.
        shift: ``(down, right)`` as a share of the patch.
        shear: Columns moved right per row downwards.
        zoom: Factor above 0; above 1 things look larger.
        alpha: Strength of the elastic field (see `elastic_field`); 0 for none.
        sigma: Smoothness of the elastic field in pixels of the patch.
        seed: Seed of the elastic field.

    >>> Warp().is_turn, Warp(flip=(True, False)).is_turn, Warp(rotate=5.0).is_turn
    (True, True, False)
    """

    flip: tuple[bool, bool] = (False, False)
    transpose: bool = False
    rotate: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    shear: float = 0.0
    zoom: float = 1.0
    alpha: float = 0.0
    sigma: float = 1.0
    seed: int = 0

    @property
    def is_turn(self) -> bool:
        """Whether pixels only change places (flips and quarter turns), so that nothing is interpolated."""
        return (
            self.rotate == 0.0 and self.shift == (0.0, 0.0) and self.shear == 0.0
            and self.zoom == 1.0 and self.alpha == 0.0
        )  # fmt: skip


#: The warp that changes nothing.
IDENTITY = Warp()


def draw_warp(config: Augment, rng: np.random.Generator) -> Warp:
    """Draw one change of geometry.

    The same count of random numbers is taken each time, so a changed probability does not shift later draws.

    Args:
        config: Probabilities and half-ranges.
        rng: Where randomness comes from.

    Raises:
        ConfigError: When `config.flip` is not given for two axes.

    >>> draw_warp(Augment(warp=0, elastic=0, flip=(1, 0)), np.random.default_rng(0)).flip
    (True, False)
    """
    if len(config.flip) != 2:
        raise ConfigError(
            f"augment.flip needs one probability for each of 2 axes (h, w), found {config.flip}; "
            "write for example augment.flip=[0.5,0.5]"
        )
    u = rng.random(DRAWS).tolist()
    signed = [2 * value - 1 for value in u]
    moved = u[3] < config.warp
    bent = u[9] < config.elastic and config.elastic_alpha > 0
    return Warp(
        flip=(u[0] < config.flip[0], u[1] < config.flip[1]),
        transpose=u[2] < config.transpose,
        rotate=signed[4] * config.rotate if moved else 0.0,
        shift=(signed[5] * config.shift, signed[6] * config.shift) if moved else (0.0, 0.0),
        shear=signed[7] * config.shear if moved else 0.0,
        zoom=1 + signed[8] * config.zoom if moved else 1.0,
        alpha=config.elastic_alpha if bent else 0.0,
        sigma=config.elastic_sigma,
        seed=int(u[10] * 2**53),
    )


def sample_patch(
    image: Shaped[np.ndarray, "h w c"],
    label: UInt8[np.ndarray, "lh lw"],
    *,
    centre: tuple[int, int],
    patch: tuple[int, int],
    warp: Warp = IDENTITY,
    scale: float = 1.0,
) -> tuple[Shaped[np.ndarray, "ph pw c"], UInt8[np.ndarray, "ph pw"]]:
    """One patch of image and label, sampled once from the original pixels.

    Args:
        image: ``(h, w, c)``. uint8, uint16 and float32 keep their type, any other type becomes float32.
        label: ``(h, w)`` class indices; values are only moved, never mixed.
        centre: Pixel ``(row, column)`` of the image that the patch is centred on; may lie at or beyond the edge.
        patch: Size ``(h, w)`` of the answer, which may exceed the image.
        warp: What to do.
        scale: Working pixels per image pixel. Bilinear sampling aliases clearly below 2/3, so bring images down
            to working resolution first and leave this at 1.

    Returns:
        Image ``(*patch, c)`` and label ``patch``: contiguous, new memory.

    Raises:
        InputError: When the label has another size than the image, a side is 0, or the patch would need more than
            32766 pixels of the image along one side.

    >>> image = np.arange(20, dtype=np.uint8).reshape(4, 5, 1)
    >>> pixels, label = sample_patch(image, image[..., 0], centre=(1, 1), patch=(2, 3), warp=Warp(flip=(False, True)))
    >>> pixels[..., 0].tolist(), label.tolist()
    ([[2, 1, 0], [7, 6, 5]], [[2, 1, 0], [7, 6, 5]])
    """
    if label.shape != image.shape[:2]:
        raise InputError(
            f"label and image differ in size: {label.shape} against {image.shape[:2]}; "
            "pair each image with its own mask"
        )
    if 0 in image.shape or min(patch) < 1:
        raise InputError(
            f"cannot take a patch of {patch} from an image of {image.shape}; every side must be at least 1"
        )
    if warp.is_turn and scale == 1.0:
        return (
            _turn(_crop(_readable(image), centre, patch, warp.transpose), warp),
            _turn(_crop(label, centre, patch, warp.transpose), warp),
        )
    nodes, spacing = _trace(warp, centre, patch, scale)
    top, bottom = needed(float(nodes[..., 1].min()), float(nodes[..., 1].max()), label.shape[0])
    left, right = needed(float(nodes[..., 0].min()), float(nodes[..., 0].max()), label.shape[1])
    if max(bottom - top, right - left) > LIMIT:
        raise InputError(
            f"a patch of {patch} at scale {scale:g} needs {bottom - top}x{right - left} pixels of the image, more than "
            f"{LIMIT} along a side; bring the image to working resolution first"
        )
    nodes -= (left, top)
    field = _enlarge(nodes, spacing, patch)
    window = (slice(top, bottom), slice(left, right))
    return _bilinear(_readable(image[window]), field), _nearest(label[window], field)


def elastic_std(alpha: float, sigma: float) -> float:
    """Standard deviation in pixels of each component of an elastic displacement.

    In the definition of Simard, Steinkraus and Platt 2003 every pixel draws ``uniform(-1, 1)`` (variance 1/3), the
    field is smoothed by a Gaussian of `sigma` (which leaves a share ``1 / (4 pi sigma^2)`` of the variance) and
    multiplied by `alpha`: the standard deviation is ``alpha / (2 sigma sqrt(3 pi))``.

    >>> round(elastic_std(720.0, 24.0), 2)
    4.89
    """
    return alpha / (2 * sigma * math.sqrt(3 * math.pi))


def elastic_field(
    shape: tuple[int, int], *, alpha: float, sigma: float, seed: int, spacing: int = 1
) -> Float32[np.ndarray, "h w 2"]:
    """A smooth random displacement with the statistics of Simard et al. 2003, drawn directly on a coarse grid.

    Smoothed white noise is Gaussian with correlation ``exp(-r^2 / 4 sigma^2)`` and the deviation of `elastic_std`.
    The same process is had at nodes `spacing` pixels apart from node noise smoothed by ``sigma / spacing`` nodes,
    at a cost that does not grow with `sigma`.

    Args:
        shape: Nodes ``(h, w)``.
        alpha: Strength; the displacement in pixels is proportional to it.
        sigma: Smoothness in pixels; should be at least twice the spacing.
        seed: Seed of the noise.
        spacing: Pixels between nodes.

    Returns:
        ``(h, w, 2)`` displacements ``(x, y)`` in pixels.

    >>> field = elastic_field((256, 256), alpha=40.0, sigma=4.0, seed=1)
    >>> bool(abs(field.std() / elastic_std(40.0, 4.0) - 1) < 0.1)
    True
    """
    blur = sigma / spacing
    reach = max(1, math.ceil(3 * blur))
    kernel = cv2.getGaussianKernel(2 * reach + 1, blur, cv2.CV_32F)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((shape[0] + 2 * reach, shape[1] + 2 * reach, 2), dtype=np.float32)
    # Node noise of variance 1 keeps the share sum(kernel^2) on each axis: divide it out, then set the deviation.
    kernel *= math.sqrt(elastic_std(alpha, sigma)) / float(np.linalg.norm(kernel))
    smooth = cv2.sepFilter2D(noise, -1, kernel, kernel)
    inner: NDArray[np.float32] = smooth[reach : reach + shape[0], reach : reach + shape[1]]
    return inner


def in_channel_groups(change: Callable[[NDArray[Any]], NDArray[Any]], image: NDArray[Any]) -> NDArray[Any]:
    """Apply an OpenCV function that takes at most four channels to an image ``(h, w, c)`` with any number.

    >>> pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 6)
    >>> in_channel_groups(lambda part: opencv.flip(part, 1), pixels)[0, 0].tolist()
    [6, 7, 8, 9, 10, 11]
    """
    channels = image.shape[2]
    if channels <= 4:
        answer = change(image)
        return answer if answer.ndim == 3 else answer[..., None]
    parts = [change(np.ascontiguousarray(image[..., k : k + 4])) for k in range(0, channels, 4)]
    return np.concatenate([part if part.ndim == 3 else part[..., None] for part in parts], axis=2)


def _trace(
    warp: Warp, centre: tuple[int, int], patch: tuple[int, int], scale: float
) -> tuple[NDArray[np.float64], int]:
    """Nodes' places ``(x, y)`` in the image, float64 because places in large images need more than 24 bits."""
    spacing = max(1, int(warp.sigma / 3)) if warp.alpha else SPACING
    # Node k stands at pixel k * spacing + (spacing - 1) / 2, which is where cv2.resize puts it; one more all round.
    y, x = (
        np.arange(-1, math.ceil(side / spacing) + 1) * spacing + (spacing - 1) / 2 - (side - 1) / 2 for side in patch
    )
    if warp.flip[0]:
        y = -y
    if warp.flip[1]:
        x = -x
    rows, columns = y[:, None], x[None, :]
    region = patch
    if warp.transpose:
        rows, columns, region = columns, rows, (patch[1], patch[0])
    rows = rows - warp.shift[0] * region[0]
    columns = columns - warp.shift[1] * region[1]
    if warp.alpha:
        bend = elastic_field((y.size, x.size), alpha=warp.alpha, sigma=warp.sigma, seed=warp.seed, spacing=spacing)
        columns, rows = columns + bend[..., 0], rows + bend[..., 1]
    # Inverse of: zoom, then shear (x += shear * y), then rotation; rows point down, so counter-clockwise is -angle.
    angle = math.radians(warp.rotate)
    cos, sin = math.cos(angle), math.sin(angle)
    factor = 1 / (warp.zoom * scale)
    nodes = np.empty((y.size, x.size, 2))
    nodes[..., 1] = (sin * factor) * columns + (cos * factor) * rows
    nodes[..., 0] = (cos * factor) * columns - (sin * factor) * rows - warp.shear * nodes[..., 1]
    nodes += [start + (side - 1) / 2 for start, side in zip(_start(centre, region)[::-1], region[::-1], strict=True)]
    return nodes, spacing


def _start(centre: tuple[int, int], region: tuple[int, int]) -> tuple[int, int]:
    return centre[0] - region[0] // 2, centre[1] - region[1] // 2


def needed(low: float, high: float, side: int) -> tuple[int, int]:
    """Range of rows (or columns) that samples between `low` and `high` read, with those that mirroring reads."""
    first, last = math.floor(low) - 1, math.ceil(high) + 1
    if first < 0:
        last = max(last, -first)
    if last > side - 1:
        first = min(first, 2 * (side - 1) - last)
        # Mirrored at both ends: no short cut, take all.
        if first < 0:
            return 0, side
    return max(first, 0), min(last, side - 1) + 1


def _enlarge(nodes: NDArray[np.float64], spacing: int, patch: tuple[int, int]) -> NDArray[np.float32]:
    size = (nodes.shape[1] * spacing, nodes.shape[0] * spacing)
    whole = cv2.resize(nodes.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    field: NDArray[np.float32] = whole[spacing : spacing + patch[0], spacing : spacing + patch[1]]
    return field


def _bilinear(image: NDArray[Any], field: NDArray[np.float32]) -> NDArray[Any]:
    # Fixed-point coordinates (1/32 pixel) are what OpenCV's bilinear weights have anyway, and its faster path.
    whole, fraction = cv2.convertMaps(field, None, cv2.CV_16SC2)
    return in_channel_groups(
        lambda part: cv2.remap(part, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), image
    )


def _nearest(label: NDArray[np.uint8], field: NDArray[np.float32]) -> NDArray[np.uint8]:
    answer: NDArray[np.uint8] = cv2.remap(label, field, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return answer


def _readable(image: NDArray[Any]) -> NDArray[Any]:
    """The pixels in a type that OpenCV samples without loss of meaning."""
    return image if image.dtype in (np.uint8, np.uint16, np.float32) else image.astype(np.float32)


def _crop(array: NDArray[Any], centre: tuple[int, int], patch: tuple[int, int], swap: bool) -> NDArray[Any]:
    """A plain cut, mirrored where it leaves the image."""
    region = (patch[1], patch[0]) if swap else patch
    top, left = _start(centre, region)
    height, width = array.shape[:2]
    if top >= 0 and left >= 0 and top + region[0] <= height and left + region[1] <= width:
        return array[top : top + region[0], left : left + region[1]]
    rows = mirrored(np.arange(top, top + region[0]), height)
    columns = mirrored(np.arange(left, left + region[1]), width)
    return array[rows[:, None], columns[None, :]]


def mirrored(index: NDArray[np.intp], side: int) -> NDArray[np.intp]:
    """Places along an axis of `side` pixels, those beyond its ends mirrored back (``d c b | a b c d | c b a``)."""
    period = max(2 * (side - 1), 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded) if side > 1 else np.zeros_like(index)


def _turn(array: NDArray[Any], warp: Warp) -> NDArray[Any]:
    """Quarter turn and flips of a cut, into new contiguous memory (numpy is 20 times as slow on interleaved pixels)."""
    if not warp.transpose and True not in warp.flip:
        return array.copy(order="C")

    def change(part: NDArray[Any]) -> NDArray[Any]:
        if warp.transpose:
            part = cv2.transpose(part)
        if True in warp.flip:
            part = cv2.flip(part, -1 if all(warp.flip) else int(warp.flip[1]))
        return part

    return change(array) if array.ndim == 2 else in_channel_groups(change, array)
