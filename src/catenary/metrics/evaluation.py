"""The door to evaluation: a `Scorer` takes cases, gives an `Evaluation`; `compare` sets two of them side by side.

>>> import numpy as np
>>> from catenary.data.labels import LabelSet
>>> scorer = Scorer(LabelSet(names=("background", "cell")))
>>> truth = np.array([[0, 1, 1, 0]], np.uint8)
>>> for name in "abc":
...     case = scorer.add(name, name, truth, truth)
>>> print(scorer.result("test").mean["dice"])
1.000 (1.000 to 1.000)
"""

from __future__ import annotations

from catenary.metrics.comparison import compare
from catenary.metrics.damage import DamageScorer, has_damage_grades
from catenary.metrics.results import (
    Baseline,
    CaseScores,
    Comparison,
    DamageBuildings,
    DamagePixels,
    DamageScores,
    Difference,
    Empty,
    Evaluation,
    Interval,
    ObjectTotals,
)
from catenary.metrics.scorer import Scorer

__all__ = [
    "Baseline",
    "CaseScores",
    "Comparison",
    "DamageBuildings",
    "DamagePixels",
    "DamageScorer",
    "DamageScores",
    "Difference",
    "Empty",
    "Evaluation",
    "Interval",
    "ObjectTotals",
    "Scorer",
    "compare",
    "has_damage_grades",
]
