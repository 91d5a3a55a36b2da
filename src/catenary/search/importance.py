"""Which of the searched fields mattered, as far as so few trials can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catenary.search.backend import distributions, label, quiet
from catenary.search.space import Space
from catenary.search.trials import Trial

__all__ = ["FEWEST", "Importance", "importances"]

#: With fewer complete trials nothing is said.
FEWEST = 10
#: Trials that count as good ones; PED-ANOVA asks for at least so many.
GOOD = 5
SHUFFLES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Importance:
    """How much a field mattered.

    Attributes:
        field: Which.
        share: Of the importance of all fields, 0 to 1.
        chance: What 95 % of searches with shuffled scores stay below, on the same scale; may exceed 1.
    """

    field: str
    share: float
    chance: float

    @property
    def clear(self) -> bool:
        """Whether chance alone would hardly give as much."""
        return self.share > self.chance


def importances(trials: Sequence[Trial], space: Space, *, seed: int = 0) -> tuple[Importance, ...]:
    """Importance of each field for being among the better trials, the largest first.

    PED-ANOVA (Watanabe et al. 2023): how far the distribution of a field's values among the better trials departs
    from that among all. The same with shuffled scores says how much of it is chance.

    Args:
        trials: What was tried; only complete ones count.
        space: What was searched.
        seed: Of the shuffling.

    Returns:
        Nothing where there are fewer than `FEWEST` complete trials or all scores are equal.
    """
    import optuna

    complete = [trial for trial in trials if trial.value is not None]
    values = np.array([trial.value for trial in complete], dtype=float)
    if len(complete) < FEWEST or np.ptp(values) == 0:
        return ()
    with quiet():
        study = optuna.create_study(direction="maximize")
        known = distributions(space)
        for trial in complete:
            params = {key: label(trial.settings[key]) for key in space}
            study.add_trial(optuna.create_trial(params=params, distributions=known, value=trial.value))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=max(0.1, GOOD / len(complete)))

        def measured(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
            found = evaluator.evaluate(study, target=lambda trial: -float(scores[trial.number]))
            return [float(found.get(key, 0.0)) for key in space]

        own = np.array(measured(values))
        rng = np.random.default_rng(seed)
        shuffled = np.array([measured(rng.permutation(values)) for _ in range(SHUFFLES)])
    total = float(own.sum()) or 1.0
    chance = np.quantile(shuffled, 0.95, axis=0) / total
    rows = [
        Importance(field=key, share=float(s), chance=float(c))
        for key, s, c in zip(space, own / total, chance, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.share))
