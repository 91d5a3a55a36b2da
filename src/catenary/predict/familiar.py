"""Whether an image is of the kind that a classifier was trained on, told by the network's own last features.

The features of the training images are taken as one Gaussian: its mean, its strongest directions with their variances,
and one common variance for all others (Tipping and Bishop 1999, doi:10.1111/1467-9868.00196), which twenty images can
fill as well as two thousand. How far an image lies from it is the Mahalanobis distance of Lee et al. (2018,
arXiv:1807.03888), the two parts weighing the same. (Distances to the nearest training images, Sun et al. 2022, missed
dark and blurred phantoms that this tells.) Where "far" begins is read off training images that the Gaussian was
not fitted to, as in conformal testing (Bates et al. 2023, doi:10.1214/22-AOS2244).

It tells other kinds of images, other cameras, strong degradation. It does not tell that an answer is wrong: a familiar
image can be misjudged.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from catenary.errors import InputError, ModelError

__all__ = ["LEAST", "RATE", "Familiar", "Likeness", "fit_familiar"]

#: Share of images of the training set's kind that are flagged all the same.
RATE = 0.02
#: Fewer training images tell nothing.
LEAST = 8
#: Most directions that have a variance of their own; each takes four images, and as many directions are left over.
AXES = 32
#: Parts of which one is left out in turn to see how far images lie that the Gaussian was not fitted to.
FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How an image compares with the training images.

    Attributes:
        distance: From them; 1 is about what a training image has.
        percentile: Share of the training images that lie nearer, in percent.
        flagged: It lies farther than images of their kind do.
        words: That in words; empty where nothing is to be said.
    """

    distance: float
    percentile: float
    flagged: bool
    words: str = ""


class Familiar(BaseModel):
    """The last features of the training images, summed up; made by `fit_familiar`, kept in the model's card.

    Attributes:
        count: Number of training images.
        features: Numbers a network sums up an image in.
        mean: Their mean, ``features`` values of float32, as base64.
        axes: The strongest directions, ``(len(variances), features)`` values of float16, as base64.
        variances: Variance along each.
        rest: Variance along any other direction.
        quantiles: Distances of training images that were left out, their 0th to 100th percentile.
        limit: Distance from which an image is flagged.
        rate: Share of images of the same kind that lie beyond it, as far as the training images can tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    features: int
    mean: str
    axes: str
    variances: tuple[float, ...]
    rest: float
    quantiles: tuple[float, ...]
    limit: float
    rate: float

    def distances(self, features: Float[np.ndarray, "n f"]) -> Float[np.ndarray, " n"]:
        """Distance of images from the training images, from 0 up; infinite where a feature is not finite.

        Raises:
            ModelError: The features are not those of the network that this was fitted to.
        """
        if features.shape[1] != self.features:
            raise ModelError(
                f"the model's record of its training images has {self.features} features, found {features.shape[1]}; "
                "train it again"
            )
        axes = _unpacked(self.axes, np.float16).reshape(-1, self.features)
        gaussian = _Gaussian(_unpacked(self.mean, np.float32), axes, np.asarray(self.variances), self.rest)
        return gaussian.distances(features.astype(np.float64))

    def judge(self, features: Float[np.ndarray, "n f"]) -> list[Likeness]:
        """How each image compares with the training images.

        Raises:
            ModelError: See `distances`.
        """
        return [self._likeness(float(distance)) for distance in self.distances(features)]

    def _likeness(self, distance: float) -> Likeness:
        flagged = distance > self.limit
        told = f"{distance / self.limit:.1f} times as far from them as others of their kind lie"
        return Likeness(
            distance=distance,
            percentile=float(np.interp(distance, self.quantiles, np.arange(101))),
            flagged=flagged,
            words=f"unlike the {self.count} images that the model was trained on ({told}): its answer is a guess"
            if flagged
            else "",
        )


def fit_familiar(
    features: Float[np.ndarray, "n f"],
    *,
    groups: Sequence[str] = (),
    held_out: Float[np.ndarray, "m f"] | None = None,
    rate: float = RATE,
    seed: int = 0,
) -> Familiar | None:
    """Sum up the training images of a network.

    Args:
        features: Their last features, of the network as it answers, see `catenary.models.classifier.features`.
        groups: Patient of each image: one's images are left out together. Each its own where empty.
        held_out: Features of validation images. A network knows the images it was trained on better than others of
            their kind; with these the limit is no nearer than theirs.
        rate: Share of images of the same kind that may be flagged. With fewer than ``1 / rate`` images none lies
            beyond the farthest of them, and the share is about one in as many as there are.
        seed: Of the parts that are left out in turn.

    Returns:
        None for fewer than `LEAST` images, or groups.

    Raises:
        InputError: A feature is not finite, or there is not one group an image.

    >>> rng = np.random.default_rng(0)
    >>> known = fit_familiar(rng.normal(size=(200, 16)))
    >>> [one.flagged for one in known.judge(np.stack([np.zeros(16), np.full(16, 5.0)]))]
    [False, True]
    """
    number = len(features)
    if groups and len(groups) != number:
        raise InputError(f"there must be one group an image, found {len(groups)} of {number} images; give all or none")
    if not np.isfinite(features).all():
        raise InputError("features of training images must be finite, found others; train with a lower learning rate")
    _, group = np.unique([*groups] if groups else np.arange(number), return_inverse=True)
    parts = min(FOLDS, int(group.max(initial=-1)) + 1)
    if number < LEAST or parts < 2:
        return None
    exact = features.astype(np.float64)
    axes = min(AXES, number // 4, features.shape[1] // 2)
    part = np.random.default_rng(seed).permutation(int(group.max()) + 1)[group] % parts
    left_out = np.empty(number)
    for one in range(parts):
        left_out[part == one] = _gaussian(exact[part != one], axes).distances(exact[part == one])
    gaussian = _gaussian(exact, axes)
    limits = [_limit(left_out, rate), 1e-6]  # features that never change have no distance
    if held_out is not None and len(held_out):
        limits.append(_limit(gaussian.distances(held_out.astype(np.float64)), rate))
    return Familiar(
        count=number,
        features=features.shape[1],
        mean=_packed(gaussian.mean.astype("<f4")),
        axes=_packed(gaussian.axes.astype("<f2")),
        variances=tuple(gaussian.variances.tolist()),
        rest=gaussian.rest,
        quantiles=tuple(np.percentile(left_out, np.arange(101)).tolist()),
        limit=max(limits),
        rate=max(rate, 1 / (number + 1)),
    )


@dataclass(frozen=True)
class _Gaussian:
    mean: NDArray[np.floating]
    axes: NDArray[np.floating]
    variances: NDArray[np.floating]
    rest: float

    def distances(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Root of the mean of two parts: the square distance along the axes, and beside them, each per direction."""
        centred = features - self.mean
        along = centred @ self.axes.T.astype(np.float64)
        beside = centred - along @ self.axes
        free = features.shape[1] - len(self.axes)
        parts = [np.square(beside).sum(1) / (self.rest * free)]
        if len(self.axes):
            parts.append((np.square(along) / self.variances).mean(1))
        distance = np.sqrt(np.mean(parts, axis=0))
        return np.where(np.isfinite(distance), distance, np.inf)


def _gaussian(features: NDArray[np.float64], axes: int) -> _Gaussian:
    """Mean, `axes` strongest directions with their variances, and one variance for all the others."""
    from scipy.sparse.linalg import svds

    mean = features.mean(0)
    centred = features - mean
    total = float(np.square(centred).sum())
    floor = 1e-12 * (total + float(np.square(features).mean())) + 1e-30  # features that never change
    if not axes or total <= floor:
        return _Gaussian(mean, np.zeros((0, features.shape[1])), np.zeros(0), max(total, floor))
    start = np.random.default_rng(0).normal(size=min(features.shape))
    _, strengths, directions = svds(centred, k=axes, v0=start)
    freedom = len(features) - 1
    left = total - float(np.square(strengths).sum())
    rest = max(left / (freedom * (features.shape[1] - axes)), floor)
    return _Gaussian(mean, directions, np.maximum(np.square(strengths) / freedom, rest), rest)


def _limit(distances: NDArray[np.float64], rate: float) -> float:
    """The distance that a share `rate` of further images of this kind exceeds; the farthest of few."""
    number = len(distances)
    rank = min(number, math.ceil((number + 1) * (1 - rate)))
    return float(np.sort(distances)[rank - 1])


def _packed(array: NDArray[np.floating]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _unpacked(text: str, kind: type[np.floating]) -> NDArray[np.floating]:
    return np.frombuffer(base64.b64decode(text), np.dtype(kind).newbyteorder("<"))
