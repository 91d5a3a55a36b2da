"""The learning rate and the moving average as functions of progress through the budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from catenary.recipe import Train

__all__ = ["Plateau", "ema_average", "rate"]


def rate(progress: float, config: Train, *, plateau: float = 1.0) -> float:
    """Learning rate at `progress` (0..1 of the budget): linear warm-up, then the schedule.

    Cosine: Loshchilov and Hutter 2017, ``lr (1 + cos(pi t)) / 2``. Poly: Chen et al. 2018, ``lr (1 - t)^0.9``.

    Args:
        progress: Share of the budget that is used.
        config: Gives ``lr``, ``schedule`` and ``warmup``.
        plateau: Factor that a `Plateau` has reached; used by the ``"plateau"`` schedule.

    >>> config = Train(lr=1.0, schedule="cosine", warmup=0.0)
    >>> [round(rate(p, config), 2) for p in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    if progress < config.warmup:
        return config.lr * max(progress / config.warmup, 0.01)
    t = min(1.0, (progress - config.warmup) / max(1e-9, 1 - config.warmup))
    factor: float = {
        "cosine": (1 + math.cos(math.pi * t)) / 2,
        "poly": (1 - t) ** 0.9,
        "plateau": plateau,
        "constant": 1.0,
    }[config.schedule]
    return config.lr * factor


class Plateau:
    """Multiplies the rate by `factor` after more than `patience` validations without gain.

    >>> plateau = Plateau(factor=0.5, patience=1)
    >>> [plateau.update(score) for score in (0.5, 0.4, 0.4, 0.6)]
    [1.0, 1.0, 0.5, 0.5]
    """

    def __init__(self, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.best, self.waited, self.value = -math.inf, 0, 1.0

    def update(self, score: float) -> float:
        """Take a validation score (higher is better) and give the factor to use from now on."""
        if score > self.best:
            self.best, self.waited = score, 0
        else:
            self.waited += 1
            if self.waited > self.patience:
                self.value, self.waited = self.value * self.factor, 0
        return self.value

    def state(self) -> dict[str, float]:
        """What `restore` needs."""
        return {"best": self.best, "waited": self.waited, "value": self.value}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a saved `state`."""
        self.best, self.waited, self.value = state["best"], int(state["waited"]), state["value"]


@torch.no_grad()
def ema_average(averages: Sequence[Tensor], current: Sequence[Tensor], *, count: int, decay: float) -> None:
    """Move each average towards its current value by ``1 - min(decay, (1 + count) / (10 + count))``, in place.

    The rising decay forgets the random start; the form is that of TensorFlow's ``ExponentialMovingAverage``.
    Whole-number buffers are copied.
    """
    weight = 1 - min(decay, (1 + count) / (10 + count))
    pairs = [(a, c) for a, c in zip(averages, current, strict=True)]
    moving = [(a, c) for a, c in pairs if a.is_floating_point()]
    if moving:
        torch._foreach_lerp_([a for a, _ in moving], [c.detach() for _, c in moving], weight)
    for a, c in pairs:
        if not a.is_floating_point():
            a.copy_(c)
