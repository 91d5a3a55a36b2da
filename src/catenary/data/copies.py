"""Which images of a set are copies of one another, though their pixels differ: saved again, mirrored, cropped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.data.facts import CaseFacts, miniatures
from catenary.data.hashing import SIDE, same_scene, turned_scene

__all__ = ["MOST", "cropped_scene", "look_alikes"]

#: Sides of the crops that a search begins with, as shares of the whole, with places along each axis.
_STARTS = ((0.95, 2), (0.88, 3), (0.8, 4), (0.73, 5))
#: Crops each image is compared with in full, and the least likeness before the crop is fitted.
_BEST, _LIKELY = 2, 0.75
#: Least likeness after it. On six real sets no two images of different subjects reach 0.975, and of crops of 0.7 to
#: 0.98 of the sides half (fundus, where all look alike) to four in five (skin) are found.
_FITS = 0.978
#: A crop has sides of 0.6 to 1 of the whole's, and axes that run alike.
_LEAST, _ASKEW = 0.6, 0.05
#: Larger sets are not searched for crops: it takes 7 ms an image of 400, and 9 of 2000.
MOST = 2000


def look_alikes(facts: Sequence[CaseFacts], *, crops: bool = False) -> list[tuple[int, int, str]]:
    """Pairs ``(i, j, how)``, i < j, of images that show the same, and how alike they are in words.

    Args:
        facts: Readable cases.
        crops: Look for crops too, between groups: two photographs of one eye may well be taken for such.

    Returns:
        Re-compressed, resized and brightened copies, mirrored and turned ones; copies with the same pixels are among
        them. Of crops, see `cropped_scene`, about half to four in five.
    """
    order = sorted(range(len(facts)), key=lambda i: (facts[i].content, facts[i].name))  # one key for the same cases
    some = [facts[i] for i in order]
    pixels = miniatures(some).tobytes()
    found = dict(_look_alikes(tuple(f.scene for f in some), pixels))
    if crops:
        found = dict(_crops(tuple(f.group for f in some), pixels)) | found
    pairs = ((min(order[i], order[j]), max(order[i], order[j]), how) for (i, j), how in found.items())
    return sorted(pairs)


@lru_cache(2)  # the doctor looks before and after the division, which needs it too
def _look_alikes(hashes: tuple[int, ...], pixels: bytes) -> tuple[tuple[tuple[int, int], str], ...]:
    small = _unpacked(pixels)
    found = {(i, j): f"mirrored or turned, correlation {r:.3f}" for i, j, r in turned_scene(hashes, small)}
    return tuple((found | {(i, j): f"correlation {r:.3f}" for i, j, r in same_scene(hashes, small)}).items())


@lru_cache(2)
def _crops(groups: tuple[str, ...], pixels: bytes) -> tuple[tuple[tuple[int, int], str], ...]:
    return tuple(((i, j), f"cropped, correlation {r:.3f}") for i, j, r in cropped_scene(_unpacked(pixels), groups))


def _unpacked(pixels: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)


def cropped_scene(miniatures: UInt8[np.ndarray, "n s s"], groups: Sequence[str] = ()) -> list[tuple[int, int, float]]:
    """Pairs ``(i, j, correlation)``, i < j, of which one is a crop of the other, mirrored or not; of two `groups`.

    A coarse search over crops names candidates, whose place is then fitted (Evangelidis and Psarakis 2008); they count
    when structures of 2 to 8 pixels of the miniature agree, and one lies within the other without turn or shear.
    Nothing is looked for among more than `MOST` images.

    >>> cropped_scene(np.random.default_rng(0).integers(0, 255, (3, 32, 32)).astype(np.uint8))
    []
    """
    if not 1 < len(miniatures) <= MOST:
        return []
    found: dict[tuple[int, int], float] = {}
    whole = _structure(miniatures)
    owner = np.unique(list(groups), return_inverse=True)[1] if groups else np.arange(len(miniatures))
    for mirrored in (False, True):
        parents = np.ascontiguousarray(miniatures[:, :, ::-1]) if mirrored else miniatures
        likeness, start = _search(parents, whole)
        likeness[owner[:, None] == owner] = -1.0
        for i in range(len(parents)):
            for j in np.argsort(-likeness[i])[:_BEST]:
                pair = (min(i, int(j)), max(i, int(j)))
                if pair not in found and likeness[i, j] >= _LIKELY:
                    r = _fitted(parents[i], miniatures[j], _starts()[start[i, j]])
                    if r >= _FITS:
                        found[pair] = r
    return [(i, j, r) for (i, j), r in sorted(found.items())]


def _search(parents: NDArray[np.uint8], whole: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Likeness of each image to the likest crop of each parent, ``(parents, n)``, and the number of that crop."""
    likeness = np.full((len(parents), len(whole)), -1.0, np.float32)
    start = np.zeros(likeness.shape, np.int64)
    for number, matrix in enumerate(_starts()):
        now = _structure(np.array([_warped(parent, matrix) for parent in parents])) @ whole.T
        start[now > likeness] = number
        np.maximum(likeness, now, out=likeness)
    return likeness, start


@lru_cache(1)
def _starts() -> tuple[NDArray[np.float32], ...]:
    """Affine maps from the pixels of a crop to those of the whole."""
    found = []
    for share, places in _STARTS:
        corners = np.linspace(0, SIDE * (1 - share), places) + (share - 1) / 2  # of the centre of the first pixel
        found += [np.array([[share, 0, x], [0, share, y]], np.float32) for y in corners for x in corners]
    return tuple(found)


def _fitted(parent: NDArray[np.uint8], crop: NDArray[np.uint8], start: NDArray[np.float32]) -> float:
    """Likeness of a crop to the fitted place in its parent; 0 where none fits that a crop could have."""
    import cv2

    smooth, wanted = (cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.8) for picture in (parent, crop))
    everywhere = np.full(crop.shape, 255, np.uint8)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    try:
        _, fitted = cv2.findTransformECC(wanted, smooth, start.copy(), cv2.MOTION_AFFINE, stop, everywhere, 3)
    except cv2.error:
        return 0.0  # it did not converge
    matrix = np.asarray(fitted, np.float32)
    (a, b, x), (c, d, y) = matrix.tolist()
    inside = min(x, y) > -1.5 and max(x + a * (SIDE - 1), y + d * (SIDE - 1)) < SIDE + 0.5
    if not (min(a, d) >= _LEAST and max(a, d) <= 1.02 and max(abs(b), abs(c)) <= _ASKEW and inside):
        return 0.0
    return float((_structure(_warped(parent, matrix)[None]) * _structure(crop[None])).sum())


def _warped(picture: NDArray[np.uint8], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    source = picture.astype(np.float32)
    return np.asarray(
        cv2.warpAffine(source, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _structure(pictures: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Structures between blurs of 0.8 and 3 pixels, ``(n, s * s)``, each row of length 1."""
    import cv2

    fine = [cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.8) for picture in pictures]
    rows = np.array([picture - cv2.GaussianBlur(picture, (0, 0), 3.0) for picture in fine]).reshape(len(fine), -1)
    rows -= rows.mean(1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 1e-6)
    return scaled
