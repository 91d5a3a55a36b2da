"""How sure a probability is: the range that validation cases leave for one more case (Vovk and Petej 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["FEWEST", "venn_abers"]

#: Fewer validation cases of a class than these give no range.
FEWEST = 5


def venn_abers(score: float, judged: Sequence[tuple[float, int]]) -> tuple[float, float] | None:
    """Range of the calibrated probability that a case of this score is positive.

    Isotonic regression of the validation cases together with this one, once as a negative case and once as a positive
    one, gives the two ends (inductive Venn-Abers prediction, arXiv:1211.0025): one of the two is perfectly calibrated
    in the long run if cases are drawn alike. Few validation cases, or scores that they did not have, make it wide.

    Args:
        score: Probability of being positive, before calibration.
        judged: The same of each validation case, with 1 for the positive ones and 0 for the others.

    Returns:
        Lower and upper end; None with fewer than `FEWEST` cases of a class.

    >>> cases = [(i / 20, int(i > 10)) for i in range(20)]
    >>> low, high = venn_abers(0.75, cases)
    >>> round(low, 2), round(high, 2)
    (0.83, 1.0)
    """
    from scipy.optimize import isotonic_regression

    positives = sum(truth for _, truth in judged)
    if min(positives, len(judged) - positives) < FEWEST:
        return None
    ends = []
    for truth in (0, 1):
        scores = np.array([*(one for one, _ in judged), score], np.float64)
        values = np.array([*(truth_ for _, truth_ in judged), truth], np.float64)
        distinct, place, number = np.unique(scores, return_inverse=True, return_counts=True)
        share = np.bincount(place.reshape(-1), weights=values) / number
        risen = isotonic_regression(share, weights=number.astype(np.float64)).x
        ends.append(float(risen[np.searchsorted(distinct, score)]))
    return min(ends), max(ends)
