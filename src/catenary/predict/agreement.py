"""Whether a fast or exported network answers as torch does in full precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.predict.card import Card

__all__ = ["DRIFT", "LOST", "Agreement", "agreement_of", "classes_of"]

#: Largest share of pixels whose class may differ from torch's answer; of whole images, mean change of a probability.
DRIFT = 0.001
#: Largest loss of Dice between both answers that a target may have for every change of `DRIFT`: where a target covers
#: a hundredth of an image, a share of all pixels alone would let a tenth of it change.
LOST = 10 * DRIFT


class Agreement(NamedTuple):
    """Two answers to the same tiles.

    Attributes:
        drift: Share of pixels whose class differs, 0 to 1; of whole images, mean difference of the probabilities.
        dice: Target -> Dice between both decisions over all tiles; 1 where neither finds it. Empty for whole images.
    """

    drift: float
    dice: dict[str, float]

    @property
    def lost(self) -> float:
        """The largest loss of Dice of a target."""
        return 1 - min(self.dice.values(), default=1.0)


def agreement_of(found: Float32[np.ndarray, "n k *s"], wanted: Float32[np.ndarray, "n k *s"], card: Card) -> Agreement:
    """Compare probabilities with those that are wanted.

    Args:
        found, wanted: Of the same tiles; of whole images also ``(n, k)``.
        card: Of the model.
    """
    if card.labels.scope == "image":  # a few images hardly change class, but their probabilities tell
        return Agreement(float(np.abs(found - wanted).mean()), {})
    one, other = classes_of(found, card), classes_of(wanted, card)
    apart = one != other
    if apart.ndim == found.ndim:  # each logit decides for itself; a pixel changes when one of them does
        apart = apart.any(1)
    return Agreement(float(apart.mean()), _dice(one, other, card))


def classes_of(probability: NDArray[np.float32], card: Card) -> NDArray[Any]:
    """Decided classes ``(n, *s)``, or ``(n, k, *s)`` booleans where each logit decides for itself."""
    if card.labels.task == "exclusive":
        return np.asarray(probability.argmax(1))
    limits = np.asarray(card.thresholds or [0.5] * probability.shape[1], np.float32)
    decided: NDArray[np.bool_] = probability > limits.reshape(-1, *(1,) * (probability.ndim - 2))
    return decided


def _dice(one: NDArray[Any], other: NDArray[Any], card: Card) -> dict[str, float]:
    found = {}
    for index, name in enumerate(card.labels.target_names):
        a, b = (
            (side == index + 1) if card.labels.task == "exclusive" else side[:, index].astype(bool)
            for side in (one, other)
        )
        total = int(a.sum()) + int(b.sum())
        found[name] = 1.0 if total == 0 else 2 * int((a & b).sum()) / total
    return found
