"""How far an exported network departs from the one it was made of."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from catenary.predict.agreement import agreement_of
from catenary.predict.card import Card

__all__ = ["Drift", "drift_of"]


class Drift(BaseModel):
    """Answers set beside those of torch in full precision; plain JSON.

    Attributes:
        scope: ``"pixel"`` or ``"image"``.
        changed: Share of pixels (of images, for classifiers) whose class differs.
        dice: Target -> Dice between both decisions over all tiles; 1 where neither finds it. Empty for whole images.
        probability_max, probability_mean: Difference of the probabilities, over all pixels and logits.
        tiles: Number of tiles (images).
        size: Of each, in pixels.
        on: What they show, in words.
        made_up: They are no real images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: str
    changed: float
    dice: dict[str, float]
    probability_max: float
    probability_mean: float
    tiles: int
    size: tuple[int, ...]
    on: str
    made_up: bool

    @property
    def decisive(self) -> float:
        """What a limit is held against: of masks the share of pixels that change class, of classifiers the mean change
        of a probability, since a few images hardly change class."""
        return self.changed if self.scope == "pixel" else self.probability_mean

    @property
    def lost(self) -> float:
        """The largest loss of Dice of a target."""
        return 1 - min(self.dice.values(), default=1.0)

    def words(self) -> str:
        """In one line."""
        what = "pixels" if self.scope == "pixel" else "images"
        pairs = "" if self.scope == "image" else f"Dice with torch's masks {min(self.dice.values()):.5f} at least, "
        return (
            f"{100 * self.changed:.4f} % of {what} change class, {pairs}probability differs by "
            f"{self.probability_max:.2g} at most, {self.probability_mean:.2g} in the mean"
        )


def drift_of(
    found: Float32[np.ndarray, "n k *t"],
    wanted: Float32[np.ndarray, "n k *s"],
    card: Card,
    *,
    size: tuple[int, ...],
    on: str,
    made_up: bool,
) -> Drift:
    """Compare answers with those that are wanted.

    Args:
        found, wanted: Probabilities of the same tiles; of whole images also ``(n, k)``.
        card: Of the model.
        size: Of the tiles.
        on, made_up: See `Drift`.
    """
    whole = card.labels.scope == "image"
    found = found.reshape(wanted.shape)
    agreement = agreement_of(found, wanted, card)
    apart = np.abs(found.astype(np.float64) - wanted)
    changed = float((_class_of(found, card) != _class_of(wanted, card)).mean()) if whole else agreement.drift
    return Drift(
        scope=card.labels.scope,
        changed=changed,
        dice=agreement.dice,
        probability_max=float(apart.max()),
        probability_mean=float(apart.mean()),
        tiles=len(found),
        size=size,
        on=on,
        made_up=made_up,
    )


def _class_of(answer: NDArray[np.float32], card: Card) -> NDArray[np.int64]:
    """Decided class ``(n,)`` of whole images, as `catenary.predict.classify` decides."""
    every = answer.reshape(len(answer), -1).astype(np.float64)
    every = every if every.shape[1] > 1 else np.concatenate([1 - every, every], axis=1)
    exact = every if card.calibration is None else card.calibration(every)
    if card.labels.count > 2:
        return np.asarray(exact.argmax(1))
    return np.asarray(exact[:, 1] >= (card.thresholds[0] if card.thresholds else 0.5)).astype(np.int64)
