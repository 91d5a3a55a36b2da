"""From the shifts of single blocks to one smooth field: outliers dropped, gaps filled, trust spread."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

__all__ = ["Field", "smooth_field"]

#: Blocks of less confidence say nothing; blocks of unrelated images reach 0.1.
TRUSTED = 0.15
#: A block is dropped whose shift departs from its neighbours' median by so many robust deviations, but not by fewer
#: pixels than this ...
DEVIATIONS, LEAST = 4.0, 1.5
#: ... and in any case by more than this, for a smooth field does not do that.
BEND = 5.0
#: Fewer blocks that agree may do so by chance.
AGREE = 3
NEIGHBOURS = 8
#: Blocks that one value of the spline may depend on.
MANY = 500
#: How much the spline may depart from a block's shift to be smooth; 0 goes through all.
SMOOTHING = 0.3


class Field(NamedTuple):
    """A displacement at every node.

    Attributes:
        shifts: Rows and columns in pixels.
        confidence: 0 to 1, high where blocks nearby were sure and agreed.
    """

    shifts: Float[np.ndarray, "r s 2"]
    confidence: Float[np.ndarray, "r s"]


def smooth_field(
    rows: Float[np.ndarray, " r"],
    columns: Float[np.ndarray, " s"],
    shifts: Float[np.ndarray, "r s 2"],
    confidence: Float[np.ndarray, "r s"],
    *,
    bend: float = BEND,
) -> Field:
    """A thin-plate spline through the trusted blocks (Bookstein 1989), within their range.

    Args:
        rows, columns: Centres of the blocks.
        shifts: Of each block.
        confidence: Of each block, 0 to 1.
        bend: Pixels by which a block may depart from its neighbours' median.
    """
    step = float(max(np.diff(rows, append=np.inf).min(), np.diff(columns, append=np.inf).min()))
    step = step if np.isfinite(step) else 1.0
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2) / step
    values, trust = shifts.reshape(-1, 2), confidence.ravel().copy()
    trust[trust < TRUSTED] = 0
    for _ in range(10):
        outside = _outliers(places[trust > 0], values[trust > 0], bend)
        if not outside.any():
            break
        trust[np.flatnonzero(trust > 0)[outside]] = 0
    kept = trust > 0
    if kept.sum() < min(AGREE, trust.size):
        return Field(np.zeros_like(shifts), np.zeros_like(confidence))
    low, high = values[kept].min(axis=0), values[kept].max(axis=0)
    if kept.sum() < NEIGHBOURS or np.linalg.matrix_rank(places[kept] - places[kept].mean(axis=0)) < 2:
        found = np.broadcast_to(np.median(values[kept], axis=0), values.shape)
    else:
        spline = RBFInterpolator(
            places[kept], values[kept], smoothing=SMOOTHING / trust[kept], kernel="thin_plate_spline"
        )
        found = np.clip(spline(places), low, high)
    spread = ndimage.gaussian_filter(trust.reshape(confidence.shape), 1.0, mode="nearest")
    return Field(found.reshape(shifts.shape), spread)


def _outliers(places: Float[np.ndarray, "n 2"], values: Float[np.ndarray, "n 2"], bend: float) -> np.ndarray:
    if len(places) <= NEIGHBOURS:
        apart = np.linalg.norm(values - np.median(values, axis=0), axis=1) if len(values) else np.zeros(0)
    else:
        near = np.asarray(KDTree(places).query(places, NEIGHBOURS + 1)[1])[:, 1:]
        apart = np.linalg.norm(values - np.median(values[near], axis=1), axis=1)
    scale = 1.4826 * float(np.median(apart)) if len(apart) else 0.0
    return np.asarray(apart > np.clip(DEVIATIONS * scale, LEAST, bend))
