"""The shift of one block against another, by masked correlation of their gradients.

Colour, brightness and contrast may differ between two dates, edges stay: what is compared is the direction of the
gradient, doubled so that an edge from dark to bright matches one from bright to dark. The correlation is normalised
over the pixels known on both sides at each shift (Padfield 2012, doi:10.1109/TIP.2011.2181402).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Complex64, Num
from numpy.typing import NDArray
from scipy import fft

from catenary.types import Image

__all__ = ["Shift", "edges", "shift_between"]

#: Pixels of a block that must be known on both sides.
OVERLAP = 0.3
#: The second best shift is looked for at least so many pixels away from the best.
APART = 4
#: Standard deviation in pixels of the smoothing before the gradient.
SIGMA = 1.0


class Shift(NamedTuple):
    """Where a block was found.

    Attributes:
        rows, columns: What lies at ``(y, x)`` in the first image lies at ``(y + rows, x + columns)`` in the second.
        confidence: 0 to 1: how far the second best shift stays behind the best; 0 where nothing can be said.
    """

    rows: float
    columns: float
    confidence: float


def edges(image: Image) -> tuple[Complex64[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Direction of the gradient, doubled, as complex numbers of length 0 to 1, and where they are known.

    The length is ``m / (m + s)`` of the gradient's magnitude m, with its median s, so that strong edges do not drown
    the weaker ones. Pixels near unknown ones are unknown.
    """
    grey = image.array.astype(np.float32).mean(axis=0)
    valid = np.ones(grey.shape, bool) if image.valid is None else image.valid
    if not valid.any():
        return np.zeros(grey.shape, np.complex64), valid
    grey = cv2.GaussianBlur(np.where(valid, grey, grey[valid].mean()), (0, 0), SIGMA)
    gradient = cv2.Sobel(grey, cv2.CV_32F, 1, 0) + np.complex64(1j) * cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    near = np.ones((2 * round(4 * SIGMA) + 1,) * 2, np.uint8)
    known = cv2.erode(valid.astype(np.uint8), near) > 0
    size = np.abs(gradient)
    middle = float(np.median(size[known])) if known.any() else 0.0
    field = np.divide(gradient**2, size * (size + middle), out=np.zeros_like(gradient), where=known & (size > 0))
    return field, known


def shift_between(first: Image, second: Image, *, reach: int) -> Shift:
    """The shift at which `first`, ``2 * reach`` pixels smaller, fits best.

    Args:
        first: A block ``(c, h, w)``.
        second: The same place with `reach` pixels more on each side, ``(c, h + 2 reach, w + 2 reach)``.
        reach: Largest shift in pixels that is tried.
    """
    fixed, known_first = edges(first)
    moving, known_second = edges(second)
    scores = _correlation(fixed, known_first, moving, known_second)
    if not np.isfinite(scores).any():
        return Shift(0.0, 0.0, 0.0)
    scores = np.where(np.isfinite(scores), scores, -1.0)
    row, column = (int(i) for i in np.unravel_index(int(scores.argmax()), scores.shape))
    best = float(scores[row, column])
    at_border = not (0 < row < scores.shape[0] - 1 and 0 < column < scores.shape[1] - 1)
    if best <= 0 or at_border:
        return Shift(float(row - reach), float(column - reach), 0.0)
    y, x = np.indices(scores.shape)
    away = np.maximum(abs(y - row), abs(x - column)) >= APART
    second_best = max(0.0, float(scores[away].max(initial=0.0)))
    return Shift(
        row - reach + _vertex(*scores[row - 1 : row + 2, column]),
        column - reach + _vertex(*scores[row, column - 1 : column + 2]),
        1 - second_best / best,
    )


def _correlation(
    fixed: Num[np.ndarray, "h w"],
    known_first: Bool[np.ndarray, "h w"],
    moving: Num[np.ndarray, "t u"],
    known_second: Bool[np.ndarray, "t u"],
) -> Num[np.ndarray, "r s"]:
    """Normalised correlation at every shift that keeps the first block inside the second; NaN where little is known."""
    size = [fft.next_fast_len(n) for n in moving.shape]
    far = tuple(slice(0, b - a + 1) for a, b in zip(fixed.shape, moving.shape, strict=True))

    def transform(plane: NDArray[Any]) -> NDArray[Any]:
        return fft.fft2(plane.astype(np.complex64), size)

    def back(product: NDArray[Any]) -> NDArray[Any]:
        return fft.ifft2(product)[far].real

    a, mask_a, power_a = (transform(p).conj() for p in (fixed, known_first, np.abs(fixed) ** 2))
    b, mask_b, power_b = (transform(p) for p in (moving, known_second, np.abs(moving) ** 2))
    overlap = back(mask_a * mask_b)
    power = np.maximum(back(power_a * mask_b), 0) * np.maximum(back(mask_a * power_b), 0)
    enough = (overlap >= OVERLAP * fixed.size) & (power > 1e-6 * fixed.size)
    scores: NDArray[Any] = np.divide(back(a * b), np.sqrt(power), out=np.full(overlap.shape, np.nan), where=enough)
    return scores


def _vertex(before: float, middle: float, after: float) -> float:
    """Where the parabola through three neighbouring values has its top, from the middle one, within half a pixel."""
    bend = before - 2 * middle + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))
