"""Telling whether two images show the same thing: exact hashes, perceptual hashes, thumbnails.

An exact hash finds the same pixels under two names, whatever the file format. A perceptual hash survives another
compression, size or brightness, but frames of one microscope look alike to it; so two images count as near
duplicates only when their thumbnails agree in detail as well (`same_scene`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from numpy.typing import NDArray

__all__ = [
    "SIDE",
    "content_hash",
    "correlation_matrix",
    "pack",
    "perceptual_hash",
    "same_scene",
    "thumbnail",
    "turned_scene",
    "unpack",
]

#: Side of a thumbnail in pixels.
SIDE = 32

#: Largest Hamming distance of two perceptual hashes, and least correlations of two thumbnails and of their fine
#: detail, for `same_scene`. Tuned on nine real sets: re-compressed, resized and brightened copies pass, different
#: fields of view of one specimen do not.
BITS, WHOLE, DETAIL = 10, 0.985, 0.95


def content_hash(array: Shaped[np.ndarray, "*n"]) -> str:
    """Digest of an array's values, shape and type: equal exactly when the pixels are.

    >>> a = np.arange(6, dtype=np.uint8).reshape(2, 3)
    >>> content_hash(a) == content_hash(a.copy()), content_hash(a) == content_hash(a.reshape(3, 2))
    (True, False)
    """
    digest = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def thumbnail(image: Shaped[np.ndarray, "c *s"]) -> UInt8[np.ndarray, "m m"]:
    """Grey, area-averaged ``(32, 32)`` miniature, stretched to 0..255; 128 everywhere for a constant image.

    Of a volume it shows the middle slice.

    Args:
        image: Any type and range. Values that are not finite count as the smallest finite one. Large images
            are thinned to about 512 px first: a miniature does not show the difference.

    >>> thumbnail(np.zeros((3, 40, 50), np.uint16)).shape
    (32, 32)
    """
    import cv2

    if image.ndim == 4:
        image = image[:, image.shape[1] // 2]
    step = max(1, min(image.shape[1:]) // 512)
    thinned = image[:, ::step, ::step]
    grey: NDArray[np.float32] = thinned.mean(axis=0, dtype=np.float32)
    finite = np.isfinite(grey)
    if not finite.all():
        grey = np.where(finite, grey, grey[finite].min() if finite.any() else 0.0).astype(np.float32)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max())
    if not high > low:
        return np.full((SIDE, SIDE), 128, np.uint8)
    stretched: NDArray[np.uint8] = np.rint((small - low) * (255.0 / (high - low))).astype(np.uint8)
    return stretched


def perceptual_hash(miniature: UInt8[np.ndarray, "s s"]) -> int:
    """64-bit hash of the coarse structure: signs of the 8x8 lowest frequencies against their median.

    The mean (first coefficient) is left out of the median. Two pictures of one scene differ in a few bits,
    pictures of different scenes in about 32. Source: Zauner, "Implementation and benchmarking of perceptual image
    hash functions" (2010).

    >>> ramp = np.tile(np.arange(32, dtype=np.uint8), (32, 1))
    >>> perceptual_hash(ramp) == perceptual_hash(ramp * 2)
    True
    """
    import cv2

    low = cv2.dct(miniature.astype(np.float32))[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _hamming(some: Sequence[int], others: Sequence[int]) -> NDArray[np.int64]:
    """Number of differing bits of each pair of 64-bit hashes."""
    a, b = (
        np.unpackbits(np.array(h, np.uint64)[:, None].view(np.uint8), axis=1).astype(np.float32) for h in (some, others)
    )
    distances: NDArray[np.int64] = np.rint(a.sum(1)[:, None] + b.sum(1)[None] - 2 * a @ b.T).astype(np.int64)
    return distances


def correlation_matrix(miniatures: Shaped[np.ndarray, "n s t"]) -> Float[np.ndarray, "n n"]:
    """Pearson correlation of each pair of miniatures, -1..1; 0 where one of them is constant.

    >>> a = np.arange(16.0).reshape(1, 4, 4)
    >>> correlation_matrix(np.concatenate([a, 2 * a + 1, -a])).round(3).tolist()[0]
    [1.0, 1.0, -1.0]
    """
    rows = miniatures.reshape(len(miniatures), -1).astype(np.float64)
    rows = rows - rows.mean(1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 1e-9)
    table: NDArray[np.float64] = np.clip(rows @ rows.T, -1.0, 1.0)
    return table


def same_scene(hashes: Sequence[int], miniatures: UInt8[np.ndarray, "n s s"]) -> list[tuple[int, int, float]]:
    """Pairs ``(i, j, correlation)``, i < j, that show the same scene.

    A pair must agree in its perceptual hash, in the whole miniature, and in the detail that is left after the
    smooth part (vignette, one bright body on black) is taken away, because the smooth part is what different
    fields of view of one instrument share. Re-compression, resizing and changes of brightness are seen through;
    mirrored and turned copies are found by `turned_scene`, crops are not.

    >>> a = np.random.default_rng(0).integers(0, 255, (1, 32, 32)).astype(np.uint8)
    >>> [(i, j) for i, j, _ in same_scene([5, 5], np.concatenate([a, a // 2]))]
    [(0, 1)]
    """
    return [
        (i, j, r)
        for i, j in _close_hashes(hashes, hashes)
        if (r := _agreement(miniatures[i], miniatures[j])) is not None
    ]


def turned_scene(hashes: Sequence[int], miniatures: UInt8[np.ndarray, "n s s"]) -> list[tuple[int, int, float]]:
    """Pairs as those of `same_scene`, of which one is mirrored, or turned by quarter turns, or both.

    >>> a = np.random.default_rng(0).integers(0, 255, (1, 32, 32)).astype(np.uint8)
    >>> both = np.concatenate([a, a[:, :, ::-1]])
    >>> [(i, j) for i, j, _ in turned_scene([perceptual_hash(m) for m in both], both)]
    [(0, 1)]
    """
    found: dict[tuple[int, int], float] = {}
    for turn in range(1, 8):
        turned = np.ascontiguousarray(_turned(miniatures, turn))
        for i, j in _close_hashes(hashes, [perceptual_hash(m) for m in turned]):
            if (i, j) not in found and (r := _agreement(miniatures[i], turned[j])) is not None:
                found[i, j] = r
    return [(i, j, r) for (i, j), r in sorted(found.items())]


def _turned(miniatures: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay down a square; 0 is the given one."""
    turned = np.rot90(miniatures, turn % 4, axes=(1, 2))
    return turned[:, :, ::-1] if turn >= 4 else turned


def _agreement(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float | None:
    """Correlation of two miniatures that agree as a whole and in detail; None of others."""
    pair = np.stack([a, b])
    whole = float(correlation_matrix(pair)[0, 1])
    return whole if whole >= WHOLE and float(correlation_matrix(_detail(pair))[0, 1]) >= DETAIL else None


def _close_hashes(some: Sequence[int], others: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs i < j whose hashes, of the first in `some` and of the second in `others`, differ in few bits."""
    for start in range(0, len(some), 1024):  # blocks: all pairs at once would not fit for a hundred thousand images
        distances = _hamming(some[start : start + 1024], others)
        for row, j in np.argwhere(distances <= BITS):
            if start + row < j:
                yield int(start + row), int(j)


def _detail(miniatures: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    detail = miniatures.astype(np.float32)
    for _ in range(2):  # one pass leaves the curvature of a strong vignette
        detail = detail - np.array([cv2.GaussianBlur(m, (0, 0), 1.5) for m in detail], np.float32)
    return detail


def pack(miniature: UInt8[np.ndarray, "s t"]) -> str:
    """Bytes of a miniature as text, for JSON.

    >>> unpack(pack(np.eye(32, dtype=np.uint8))).sum()
    np.uint64(32)
    """
    return base64.b64encode(np.ascontiguousarray(miniature).tobytes()).decode("ascii")


def unpack(text: str) -> NDArray[Any]:
    """Inverse of `pack`."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(SIDE, SIDE)
