"""All geometry of a training patch of a volume in one gather, as `catenary.augment.spatial` does for images.

Flips, quarter turns within the slices, an elastic field, rotation about all three axes, shear, zoom and shift are
composed into one field of coordinates; the volume is sampled there once (trilinear; labels nearest). Beyond the
borders it is mirrored. Thin slabs are never moved out of their slices: a network that sees single slices gets each of
its pixels from the slice it belongs to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy.typing import NDArray

from catenary.augment.spatial import elastic_std, mirrored, needed
from catenary.errors import ConfigError
from catenary.recipe import Augment

__all__ = ["STILL", "Turn", "draw_turn", "sample_volume"]

Size3 = tuple[int, int, int]

#: Number of uniform random numbers that one `Turn` takes, whatever the configuration.
DRAWS = 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One drawn change of geometry in three dimensions; the default changes nothing.

    Attributes:
        flip: Whether to mirror along ``(d, h, w)``.
        transpose: Whether rows and columns of the slices change places.
        rotate: Degrees about the axes ``(d, h, w)``; the first turns within the slices.
        shift: Along ``(d, h, w)`` as a share of the patch.
        shear: Columns moved per row, within the slices.
        zoom: Factor above 0; above 1 things look larger.
        alpha, sigma: The elastic field, see `catenary.augment.spatial.elastic_field`; `sigma` in voxels.
        seed: Seed of the elastic field.
    """

    flip: tuple[bool, bool, bool] = (False, False, False)
    transpose: bool = False
    rotate: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shear: float = 0.0
    zoom: float = 1.0
    alpha: float = 0.0
    sigma: float = 1.0
    seed: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether voxels only change places, so that nothing is interpolated."""
        moved = any(self.rotate) or any(self.shift) or self.shear or self.alpha
        return not moved and self.zoom == 1.0


#: The turn that changes nothing.
STILL = Turn()


def draw_turn(config: Augment, rng: np.random.Generator, *, flat: bool = False) -> Turn:
    """Draw one change of geometry; the same count of random numbers is taken each time.

    Args:
        config: Probabilities and half-ranges; `config.flip` for three axes, or two for those of the slices.
        rng: Where randomness comes from.
        flat: Change nothing across the slices.

    Raises:
        ConfigError: `config.flip` is given for another number of axes.

    >>> config = Augment(warp=0, elastic=0, flip=(0, 1, 0))
    >>> draw_turn(config, np.random.default_rng(0)).flip
    (False, True, False)
    """
    chances = config.flip if len(config.flip) == 3 else (0.0, *config.flip)
    if len(chances) != 3:
        raise ConfigError(
            f"augment.flip needs one probability for each of 3 axes (d, h, w), found {config.flip}; write for example "
            "augment.flip=[0,0.5,0.5]"
        )
    u = rng.random(DRAWS).tolist()
    signed = [2 * value - 1 for value in u]
    moved, bent = u[4] < config.warp, u[12] < config.elastic and config.elastic_alpha > 0
    across = 0.0 if flat else 1.0
    rotate = (signed[5] * config.rotate, across * signed[6] * config.tilt, across * signed[7] * config.tilt)
    shift = (across * signed[8] * config.shift, signed[9] * config.shift, signed[10] * config.shift)
    return Turn(
        flip=(not flat and u[0] < chances[0], u[1] < chances[1], u[2] < chances[2]),
        transpose=u[3] < config.transpose,
        rotate=rotate if moved else (0.0, 0.0, 0.0),
        shift=shift if moved else (0.0, 0.0, 0.0),
        shear=signed[11] * config.shear if moved else 0.0,
        zoom=1 + signed[14] * config.zoom if moved else 1.0,
        alpha=config.elastic_alpha if bent else 0.0,
        sigma=config.elastic_sigma,
        seed=int(u[13] * 2**53),
    )


def sample_volume(
    image: Shaped[np.ndarray, "d h w c"],
    label: UInt8[np.ndarray, "ld lh lw"],
    *,
    centre: Size3,
    patch: Size3,
    turn: Turn = STILL,
    flat: bool = False,
) -> tuple[Float32[np.ndarray, "pd ph pw c"], UInt8[np.ndarray, "pd ph pw"]]:
    """One patch of a volume and its labels, sampled once from the original voxels.

    Args:
        image: ``(d, h, w, c)`` of any numeric type; a memory map is read only where the patch lies.
        label: ``(d, h, w)`` class indices; values are only moved, never mixed.
        centre: Voxel that the patch is centred on; may lie at or beyond the border.
        patch: Size ``(d, h, w)`` of the answer, which may exceed the volume.
        turn: What to do.
        flat: The slices are kept apart: no zoom and no elastic shift across them.

    >>> image = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1)
    >>> turned = Turn(flip=(False, False, True))
    >>> pixels, label = sample_volume(
    ...     image, image[..., 0].astype(np.uint8), centre=(1, 1, 1), patch=(1, 1, 3), turn=turned
    ... )
    >>> pixels[..., 0].tolist(), label.tolist()
    ([[[18.0, 17.0, 16.0]]], [[[18, 17, 16]]])
    """
    if turn.is_plain:
        return _moved(image, centre, patch, turn).astype(np.float32, copy=False), _moved(label, centre, patch, turn)
    places = _trace(turn, centre, patch, flat)
    windows = []
    for axis, side in enumerate(label.shape):
        first, last = needed(float(places[..., axis].min()), float(places[..., axis].max()), side)
        places[..., axis] -= first
        windows.append(slice(first, last))
    window = tuple(windows)
    return _gather(image[window], label[window], places)


def _trace(turn: Turn, centre: Size3, patch: Size3, flat: bool) -> NDArray[np.float32]:
    """Place ``(d, h, w)`` in the volume of each voxel of the patch: ``(*patch, 3)``."""
    # Along which axis of the patch each axis of the region runs: exchanged, its rows stand in the patch's columns.
    along = (0, 2, 1) if turn.transpose else (0, 1, 2)
    region = tuple(patch[axis] for axis in along)
    points = np.empty((*patch, 3), np.float32)
    for axis, (beside, side) in enumerate(zip(along, region, strict=True)):
        line = np.arange(side) - (side - 1) / 2
        line = (-line if turn.flip[beside] else line) - turn.shift[axis] * side
        points[..., axis] = line.reshape(tuple(-1 if other == beside else 1 for other in range(3)))
    if turn.alpha:
        points += _elastic(patch, turn, flat)
    points = points @ _inverse(turn, flat).T.astype(np.float32)
    points += [c - s // 2 + (s - 1) / 2 for c, s in zip(centre, region, strict=True)]
    return points


def _inverse(turn: Turn, flat: bool) -> NDArray[np.float64]:
    """From the patch to the volume: undoes zoom, then shear, then the rotations."""
    matrix = np.eye(3)
    for axis, degrees in enumerate(turn.rotate):
        angle = math.radians(degrees)
        one, other = (a for a in range(3) if a != axis)
        step = np.eye(3)
        step[one, one] = step[other, other] = math.cos(angle)
        step[one, other], step[other, one] = math.sin(angle), -math.sin(angle)
        matrix = step @ matrix
    shear = np.eye(3)
    shear[2, 1] = -turn.shear
    factor = 1 / turn.zoom
    zoom = np.diag([1.0 if flat else factor, factor, factor])
    return shear @ matrix @ zoom


def _elastic(patch: Size3, turn: Turn, flat: bool) -> NDArray[np.float32]:
    """A smooth random displacement ``(*patch, 3)``, drawn on a coarse grid of nodes and enlarged."""
    import torch
    from scipy.ndimage import gaussian_filter1d

    spacing = max(1.0, turn.sigma / 3)
    nodes = [max(2, math.ceil(side / spacing) + 2) for side in patch]
    blur = turn.sigma / spacing
    rng = np.random.default_rng(turn.seed)
    reach = max(1, math.ceil(3 * blur))
    noise = rng.standard_normal((3, *(n + 2 * reach for n in nodes)), dtype=np.float32)
    for axis in (1, 2, 3):
        noise = gaussian_filter1d(noise, blur, axis=axis, mode="wrap", truncate=3.0)
    inner = noise[:, *(slice(reach, reach + n) for n in nodes)]
    # Smoothed white noise keeps a share of 1 / (2 sqrt(pi) sigma) of its variance on each axis.
    inner = inner * np.float32(elastic_std(turn.alpha, turn.sigma) * (2 * math.sqrt(math.pi) * blur) ** 1.5)
    if flat:
        inner[0] = 0
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(inner))[None], size=patch, mode="trilinear", align_corners=True
    )
    return np.moveaxis(whole[0].numpy(), 0, -1)


def _gather(
    image: NDArray[Any], label: NDArray[np.uint8], places: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    import torch

    # grid_sample wants (x, y, z) from -1 to 1 between the centres of the outer voxels.
    scale = np.array([2 / max(1, side - 1) for side in label.shape], np.float32)
    grid = torch.from_numpy(np.ascontiguousarray((places * scale - 1)[..., ::-1]))[None]
    pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32))[None]
    classes = torch.from_numpy(np.ascontiguousarray(label, dtype=np.float32))[None, None]
    sampled = torch.nn.functional.grid_sample(pixels, grid, "bilinear", "reflection", align_corners=True)[0]
    truth = torch.nn.functional.grid_sample(classes, grid, "nearest", "reflection", align_corners=True)[0, 0]
    return np.ascontiguousarray(np.moveaxis(sampled.numpy(), 0, -1)), truth.numpy().astype(np.uint8)


def _moved(array: NDArray[Any], centre: Size3, patch: Size3, turn: Turn) -> NDArray[Any]:
    """A cut with its axes exchanged and reversed, mirrored where it leaves the volume."""
    region = (patch[0], patch[2], patch[1]) if turn.transpose else patch
    index = []
    for axis, size in enumerate(region):
        start = centre[axis] - size // 2
        index.append(mirrored(np.arange(start, start + size), array.shape[axis]))
    # A range of rows first, so that a memory map is read only where it is needed.
    ranges = [slice(int(i.min()), int(i.max()) + 1) for i in index]
    part = np.asarray(array[tuple(ranges)])
    part = part[np.ix_(*(i - r.start for i, r in zip(index, ranges, strict=True)))]
    if turn.transpose:
        part = part.swapaxes(1, 2)
    steps = tuple(slice(None, None, -1 if back else 1) for back in turn.flip)
    return np.ascontiguousarray(part[steps])
