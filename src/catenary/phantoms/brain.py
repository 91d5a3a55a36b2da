"""A head with a brain tumour as MRI shows it: several sequences, exact truth, partial volume, uneven field, noise.

Lengths are shares of half the head from front to back, so that one seed is one head whatever its size and spacing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from catenary.errors import InputError, near_match

__all__ = ["PARTS", "SEQUENCES", "brain"]

#: Classes of the label map, in order of their value (those of BraTS 2013).
PARTS = ("background", "necrosis", "oedema", "non-enhancing", "enhancing")
NECROSIS, OEDEMA, SOLID, ENHANCING = range(1, 5)
#: Healthy tissues; in a map of tissues the parts of the tumour follow them.
HEALTHY = ("air", "scalp", "bone", "fluid", "grey matter", "white matter")
AIR, SCALP, BONE, FLUID, GREY, WHITE = range(len(HEALTHY))
LAST = len(HEALTHY) - 1

#: Brightness of each tissue and part in each sequence: FLAIR shows oedema, T1 with contrast agent the living rim.
SEQUENCES: dict[str, tuple[float, ...]] = {
    "flair": (0.0, 0.50, 0.05, 0.14, 0.50, 0.42, 0.34, 0.88, 0.68, 0.74),
    "t1c": (0.0, 0.85, 0.05, 0.16, 0.42, 0.54, 0.20, 0.38, 0.34, 0.95),
    "t1": (0.0, 0.85, 0.05, 0.14, 0.42, 0.58, 0.22, 0.36, 0.33, 0.40),
    "t2": (0.0, 0.60, 0.05, 0.95, 0.60, 0.45, 0.86, 0.82, 0.70, 0.66),
}
#: Half axes (d, h, w) of the head, and how far scalp, bone, fluid and brain reach of them.
HEAD = np.array([0.82, 1.0, 0.80])
REACH = {SCALP: 1.0, BONE: 0.95, FLUID: 0.90, GREY: 0.87}
#: Voxels are averaged from this many samples along their shortest side, and at most this many along another.
SAMPLES, MOST_SAMPLES = 2, 8
#: Share of cases without an enhancing part.
LOW_GRADE = 0.2

Array = NDArray[np.float32]
#: Coordinates along d, h and w, each ``(n,)``.
Places = tuple[NDArray[np.float64], ...]


class Waves(NamedTuple):
    """A smooth random field of mean 0 and deviation 1, known at every place.

    `vectors` are ``(n, 3)``, `phases` ``(n,)``.
    """

    vectors: NDArray[np.float64]
    phases: NDArray[np.float64]

    def at(self, places: Places) -> Array:
        """Its values on the grid of `places`, ``(d, h, w)``: real parts of products of waves along each axis."""
        turns = [np.exp(1j * np.multiply.outer(v, x)) for v, x in zip(self.vectors.T, places, strict=True)]
        slow = turns[0] * np.exp(1j * self.phases)[:, None]
        fast = (turns[1][:, :, None] * turns[2][:, None, :]).reshape(len(self.phases), -1)
        left = np.concatenate([slow.real, -slow.imag]).T.astype(np.float32)
        right = np.concatenate([fast.real, fast.imag]).astype(np.float32)
        field = left @ right * np.float32(np.sqrt(2 / len(self.phases)))
        return field.reshape([len(x) for x in places])


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What a head is made of.

    Attributes:
        folds, layers: Waves of the surface of the brain, and of the border between its grey and white matter.
        centre, axes: Of the tumour's core.
        ragged, rim, spread: Waves of the core's border, of its dead middle, and of the oedema.
        side: The direction in which the core grows beyond its rim.
        enhancing: Whether it has a rim at all, and a dead middle.
    """

    folds: Waves
    layers: Waves
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    ragged: Waves
    rim: Waves
    spread: Waves
    side: NDArray[np.float64]
    enhancing: bool


def brain(
    size: tuple[int, int, int] = (64, 96, 80),
    *,
    seed: int | Sequence[int] = 0,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    sequences: Sequence[str] = ("flair", "t1c"),
    enhancing: bool | None = None,
    stripped: bool = True,
) -> tuple[Float32[np.ndarray, "c d h w"], UInt8[np.ndarray, "d h w"]]:
    """A scan with a tumour in one half of the brain, in canonical orientation (d to the head, h back, w left).

    The head is as large as the field of view, `size` times `spacing`, allows. A voxel is the mean of what lies in it;
    its label is what most of it is. Hard for a threshold: oedema, scalp and grey matter overlap in one sequence,
    fluid and necrosis in the other, the field is uneven, and the scale differs from scan to scan.

    Args:
        size: Voxels ``(d, h, w)``. All parts are there from about 24 voxels a side.
        seed: One seed is one head, whatever its size, spacing and sequences.
        spacing: Size of a voxel ``(d, h, w)``; only the proportions matter.
        sequences: Keys of `SEQUENCES`, one a channel.
        enhancing: Whether the tumour has an enhancing rim around a necrosis; by chance, 4 in 5, when None. One
            without is non-enhancing in oedema.
        stripped: The background outside the brain is 0, as in BraTS; else scalp and bone are there.

    Returns:
        Image ``(c, d, h, w)`` in the scanner's units, some hundreds, 0 outside; label map ``(d, h, w)``, an index
        of `PARTS`.

    Raises:
        InputError: A side or a spacing is not above zero, or a sequence is not known.

    >>> image, label = brain((24, 32, 28), seed=1, enhancing=True)
    >>> image.shape, image.dtype.name, np.unique(label).tolist()
    ((2, 24, 32, 28), 'float32', [0, 1, 2, 3, 4])
    """
    _check(size, spacing, sequences)
    rng = np.random.default_rng(seed)
    anatomy = _anatomy(rng, enhancing)
    counts = _counts(anatomy, size, spacing)
    parts = counts[LAST:].copy()
    parts[0] = counts[: LAST + 1].sum(axis=0)
    label = parts.argmax(axis=0).astype(np.uint8)
    outside = counts[: FLUID if stripped else SCALP].sum(axis=0) * 2 >= counts[:, :1, :1, :1].sum()
    places = _places(size, spacing)
    texture = _waves(rng, 0.08, 48).at(places)
    drawn = {name: np.random.default_rng([*rng.integers(2**32, size=2)]) for name in SEQUENCES}
    image = np.stack([_scan(drawn[name], name, counts, texture, places) for name in sequences])
    image[:, outside] = 0
    return image, label


def _check(size: Sequence[int], spacing: Sequence[float], sequences: Sequence[str]) -> None:
    if min(size) < 1:
        raise InputError(f"a scan needs at least one voxel along each axis, found {tuple(size)}; ask for more")
    if not min(spacing) > 0:
        raise InputError(f"a spacing is above zero along each axis, found {tuple(spacing)}; correct it")
    for name in sequences:
        if name not in SEQUENCES:
            raise InputError(f"there is no sequence '{name}'; {near_match(name, SEQUENCES)}")
    if not sequences:
        raise InputError(f"a scan needs at least one sequence, found none; give one of {', '.join(SEQUENCES)}")


def _waves(rng: np.random.Generator, length: float, number: int = 16) -> Waves:
    """Waves of about one length in all directions."""
    vectors = rng.standard_normal((number, 3))
    vectors *= (2 * np.pi / length * rng.uniform(0.7, 1.3, number) / np.linalg.norm(vectors, axis=1))[:, None]
    return Waves(vectors, rng.uniform(0, 2 * np.pi, number))


def _anatomy(rng: np.random.Generator, enhancing: bool | None) -> Anatomy:
    side = rng.standard_normal(3)
    by_chance = bool(rng.random() >= LOW_GRADE)  # drawn in any case, so that the rest is the same
    return Anatomy(
        folds=_waves(rng, 0.16),
        layers=_waves(rng, 0.2),
        centre=np.array(
            [rng.uniform(-0.1, 0.22), rng.uniform(-0.35, 0.3), rng.choice((-1, 1)) * rng.uniform(0.3, 0.38)]
        ),
        axes=rng.uniform(0.21, 0.31) * rng.uniform(0.85, 1.15, 3),
        ragged=_waves(rng, 0.4),
        rim=_waves(rng, 0.3),
        spread=_waves(rng, 0.5),
        side=side / np.linalg.norm(side),
        enhancing=by_chance if enhancing is None else enhancing,
    )


def _places(size: Sequence[int], spacing: Sequence[float], shift: Sequence[float] = (0, 0, 0)) -> Places:
    """Where voxels lie, moved by `shift` of a voxel; the head fills 97 % of the tightest side."""
    unit = 0.97 * min(n * s / (2 * half) for n, s, half in zip(size, spacing, HEAD, strict=True))
    return tuple((np.arange(n) - (n - 1) / 2 + by) * s / unit for n, s, by in zip(size, spacing, shift, strict=True))


def _counts(anatomy: Anatomy, size: Sequence[int], spacing: Sequence[float]) -> UInt8[np.ndarray, "t d h w"]:
    """How many samples of each voxel lie in each tissue."""
    fine = [min(MOST_SAMPLES, round(SAMPLES * s / min(spacing))) for s in spacing]
    counts = np.zeros((len(HEALTHY) + len(PARTS) - 1, *size), np.uint8)
    tissues = np.arange(len(counts), dtype=np.uint8)[:, None, None, None]
    for shift in itertools.product(*((np.arange(n) + 0.5) / n - 0.5 for n in fine)):
        counts += _tissue(anatomy, _places(size, spacing, shift)) == tissues
    return counts


def _tissue(anatomy: Anatomy, places: Places) -> UInt8[np.ndarray, "d h w"]:
    """The tissue at each place, painted from the outside in."""
    d, h, w = np.ix_(*places)
    reach = _radius(places, np.zeros(3), HEAD)
    folds = anatomy.folds.at(places)
    depth = np.float32(REACH[GREY]) + np.float32(0.012) * folds - reach
    tissue = np.zeros(reach.shape, np.uint8)
    for kind in (SCALP, BONE, FLUID):
        tissue[reach < REACH[kind]] = kind
    tissue[depth > 0] = GREY
    tissue[depth > np.float32(0.13) + np.float32(0.05) * anatomy.layers.at(places)] = WHITE
    tissue[(depth > 0) & (depth < 0.10) & (np.abs(folds) < 0.18)] = FLUID  # furrows
    tissue[(depth > 0) & (depth < 0.35) & (d > 0) & (np.abs(w) < 0.015) & (h > -2)] = FLUID  # between the halves
    for sign in (-1, 1):
        tissue[_radius(places, np.array([-0.08, 0.08, sign * 0.13]), np.array([0.13, 0.2, 0.11])) < 1] = GREY
        tissue[_radius(places, np.array([0.08, 0.0, sign * 0.10]), np.array([0.11, 0.36, 0.07])) < 1] = FLUID
    _grow(anatomy, places, tissue, depth)
    return tissue


def _grow(anatomy: Anatomy, places: Places, tissue: NDArray[np.uint8], depth: Array) -> None:
    """Paint the tumour over the tissues: oedema in white matter, the core wherever brain or ventricle is."""
    ragged = np.float32(0.10) * anatomy.ragged.at(places)
    core = _radius(places, anatomy.centre, anatomy.axes) + ragged
    wide = _radius(places, anatomy.centre, 1.75 * anatomy.axes) + np.float32(0.12) * anatomy.spread.at(places)
    tissue[(wide < 1) & (tissue == WHITE)] = LAST + OEDEMA
    inside = depth > 0.02
    away = sum(n * (x - c) for n, x, c in zip(anatomy.side, np.ix_(*places), anatomy.centre, strict=True))
    tissue[(core < 0.85) & inside] = LAST + SOLID
    tissue[(core < 1.35) & (away > 0.25 * anatomy.axes.min()) & inside] = LAST + SOLID
    if anatomy.enhancing:
        tissue[(core < 0.85) & inside] = LAST + ENHANCING
        tissue[(core < np.float32(0.52) + np.float32(0.06) * anatomy.rim.at(places)) & inside] = LAST + NECROSIS


def _radius(places: Places, centre: NDArray[np.float64], axes: NDArray[np.float64]) -> Array:
    """Distance from a centre in half axes of an ellipsoid, ``(d, h, w)``."""
    parts = (((x - c) / a).astype(np.float32) ** 2 for x, c, a in zip(places, centre, axes, strict=True))
    d, h, w = np.ix_(*parts)
    radius: Array = np.sqrt(d + h + w)
    return radius


def _scan(rng: np.random.Generator, sequence: str, counts: NDArray[np.uint8], texture: Array, places: Places) -> Array:
    """One sequence: mean brightness of each voxel, texture, the coil's uneven field, Rician noise, any scale."""
    brightness = np.array(SEQUENCES[sequence]) * rng.uniform(0.95, 1.05, len(counts))
    samples = int(counts[:, 0, 0, 0].sum())
    image = np.zeros(counts.shape[1:], np.float32)
    for share, value in zip(counts, brightness / samples, strict=True):
        image += np.float32(value) * share
    image *= 1 + np.float32(0.05) * texture
    image *= np.exp(np.float32(rng.uniform(0.06, 0.14)) * _waves(rng, 3.0, 4).at(places))
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(rng.uniform(0.02, 0.035))
    scan: Array = np.hypot(image + noise[0], noise[1]) * np.float32(rng.uniform(300, 900))
    return scan
