"""Two-point correlation: how likely both ends of a needle thrown onto the image lie in given phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.measures.quantity import steps_of

__all__ = ["Correlation", "Radial", "correlation_length", "radial", "two_point"]

Array = NDArray[Any]


class Correlation(NamedTuple):
    """Pairs of pixels by their lag; the middle element of each array is lag 0, axes are those of the image.

    Attributes:
        hits: Pairs whose first pixel is in the first phase and whose second, one lag on, is in the second.
        pairs: Pairs of known pixels.
    """

    hits: Int[np.ndarray, "*lags"]
    pairs: Int[np.ndarray, "*lags"]

    @property
    def value(self) -> Float[np.ndarray, "*lags"]:
        """``S2``, the share of pairs that hit; NaN at lags without a pair."""
        share: Array = np.divide(self.hits, self.pairs, out=np.full(self.hits.shape, np.nan), where=self.pairs > 0)
        return share


class Radial(NamedTuple):
    """``S2`` averaged over all directions.

    Attributes:
        distance: Mean length of the pairs' lags in each ring, in the unit of the spacing; the first is 0.
        value: Hits over pairs in each ring.
        pairs: Pairs of known pixels in each ring.
    """

    distance: Float[np.ndarray, " r"]
    value: Float[np.ndarray, " r"]
    pairs: Int[np.ndarray, " r"]


def two_point(
    first: Bool[np.ndarray, "*s"],
    second: Bool[np.ndarray, "*t"] | None = None,
    *,
    valid: Bool[np.ndarray, "*v"] | None = None,
    periodic: bool = False,
    reach: Sequence[int] | None = None,
    pairs: Int[np.ndarray, "*lags"] | None = None,
) -> Correlation:
    """Two-point correlation of two phases over all lags up to `reach` along each axis, by Fourier transform.

    At each lag the hits are divided by the pairs of known pixels that the image has at that lag, so that neither the
    image's border nor unknown pixels bias it (Torquato 2002, section 12.4). Counts are exact whole numbers: at lag 0
    the value is the phase's fraction exactly.

    Args:
        first: True in the first phase.
        second: True in the second phase; the first without it.
        valid: False where nothing is known.
        periodic: The image goes on at its opposite side; else nothing is known beyond its border.
        reach: Largest lag along each axis; a quarter of each side without it, as estimates of longer lags rest on few
            independent places. At most half a side when periodic, else one less than the side.
        pairs: `Correlation.pairs` of an earlier call with the same valid mask, reach and period, which saves time.

    Raises:
        InputError: Shapes or reach do not fit.

    >>> stripes = np.array([[True, True, False, False]])
    >>> two_point(stripes, reach=(0, 2)).value.round(2)  # hits over pairs: 0/2, 1/3, 2/4, 1/3, 0/2
    array([[0.  , 0.33, 0.5 , 0.33, 0.  ]])
    >>> two_point(stripes, reach=(0, 2), periodic=True).value
    array([[0.  , 0.25, 0.5 , 0.25, 0.  ]])
    """
    shape = first.shape
    for other in (second, valid):
        if other is not None and other.shape != shape:
            raise InputError(f"phases and valid mask must have one shape, found {shape} and {other.shape}; crop them")
    far = tuple(side // 4 for side in shape) if reach is None else tuple(int(lag) for lag in reach)
    most = tuple(side // 2 if periodic else side - 1 for side in shape)
    if len(far) != len(shape) or not all(0 <= lag <= end for lag, end in zip(far, most, strict=True)):
        raise InputError(f"reach needs one lag an axis, 0 to {most}, found {reach}; shorten it")
    spectra = _Spectra(shape, far, periodic)
    start = spectra.forward(first if valid is None else first & valid)
    end = start if second is None else spectra.forward(second if valid is None else second & valid)
    hits = spectra.counts(start, end)
    if pairs is not None:
        return Correlation(hits, pairs)
    if valid is not None:
        known = spectra.forward(valid)
        return Correlation(hits, spectra.counts(known, known))
    free = np.ones((1,) * len(shape), np.int64)
    for axis, (side, lag) in enumerate(zip(shape, far, strict=True)):
        sides = np.full(2 * lag + 1, side) if periodic else side - np.abs(np.arange(-lag, lag + 1))
        free = free * np.expand_dims(sides, tuple(other for other in range(len(shape)) if other != axis))
    return Correlation(hits, free)


def radial(found: Correlation, *, spacing: Sequence[float] | None = None) -> Radial:
    """``S2`` as a function of distance: hits and pairs are added up over rings one pixel (its shortest side) wide.

    Rings end at the shortest reach of any axis that has one, so that no direction is missing from any of them.

    >>> checks = np.indices((8, 8)).sum(axis=0) % 2 == 0
    >>> radial(two_point(checks, periodic=True)).value.round(2)  # ring 1: lags (0, 1) 0, (1, 1) 1/2
    array([0.5 , 0.25, 0.5 ])
    """
    rank = found.hits.ndim
    steps = steps_of(spacing, rank)
    far = [side // 2 for side in found.hits.shape]
    limit = min((lag * step for lag, step in zip(far, steps, strict=True) if lag), default=0.0)
    squares = np.zeros((1,) * rank)
    for axis, (lag, step) in enumerate(zip(far, steps, strict=True)):
        along = (np.arange(-lag, lag + 1) * step) ** 2
        squares = squares + np.expand_dims(along, tuple(other for other in range(rank) if other != axis))
    distance = np.sqrt(squares).ravel()
    near = distance <= limit * (1 + 1e-9)
    ring = np.rint(distance[near] / min(steps)).astype(np.intp)
    pairs, hits = found.pairs.ravel()[near], found.hits.ravel()[near]
    totals = np.bincount(ring, pairs)
    some = totals > 0
    value, mean = (np.bincount(ring, of)[some] / totals[some] for of in (hits, pairs * distance[near]))
    return Radial(mean, value, totals[some].astype(np.int64))


def correlation_length(curve: Radial) -> float:
    """Distance at which the correlation of a phase has fallen to 1/e; NaN where it does not within the curve.

    The correlation is ``(S2(r) - f^2) / (f - f^2)`` with the phase's fraction f: 1 at distance 0, 0 far away. The
    place is interpolated linearly.

    >>> curve = Radial(np.arange(3.0), 0.25 + 0.25 * np.array([1.0, 0.5, 0.0]), np.ones(3, int))
    >>> round(correlation_length(curve), 3)  # 0.5 at 1, 1/e = 0.368 after 0.132 / 0.5 of the next step
    1.264
    """
    fraction = curve.value[0] if curve.value.size else 0.0
    if not 0 < fraction < 1:
        return float("nan")
    level = (curve.value - fraction**2) / (fraction - fraction**2) - np.exp(-1)
    below = np.flatnonzero(level <= 0)
    if below.size == 0:
        return float("nan")
    end = int(below[0])
    part = level[end - 1] / (level[end - 1] - level[end])
    return float(curve.distance[end - 1] + part * (curve.distance[end] - curve.distance[end - 1]))


class _Spectra:
    """Fourier transforms of one size, and what they say about pairs."""

    def __init__(self, shape: tuple[int, ...], far: tuple[int, ...], periodic: bool) -> None:
        from scipy import fft

        # Zeros up to the longest lag keep the ends from meeting around the border.
        padded = [side + lag for side, lag in zip(shape, far, strict=True)]
        self.far = far
        self.size = shape if periodic else tuple(fft.next_fast_len(side, real=True) for side in padded)

    def forward(self, plane: Array) -> Array:
        from scipy import fft

        # Axis by axis, so that lines of the padding are never transformed.
        spectrum: Array = fft.rfft(plane.astype(np.float64), self.size[-1])
        for axis in range(plane.ndim - 2, -1, -1):
            spectrum = fft.fft(spectrum, self.size[axis], axis=axis, overwrite_x=True)
        return spectrum

    def counts(self, start: Array, end: Array) -> Array:
        """Pairs at each lag: whole numbers, so rounding takes the transform's error away."""
        from scipy import fft

        whole = np.conj(start)
        whole *= end
        for axis, lag in enumerate(self.far):
            if axis < len(self.far) - 1:
                whole = fft.ifft(whole, axis=axis, overwrite_x=True)
            else:
                whole = fft.irfft(whole, self.size[-1])
            # Long lags go before the next axis has its turn.
            whole = np.take(whole, np.arange(-lag, lag + 1), axis=axis, mode="wrap")
        counts: Array = np.rint(whole).astype(np.int64)
        return counts
