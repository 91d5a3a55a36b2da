"""Published quantities of a mask (phase fractions, asymmetry, volumes, ...) with the error to expect of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel, ConfigDict

from catenary.data.labels import LabelSet
from catenary.measures import QUANTITIES, Quantity, measure_all, with_error
from catenary.types import IGNORE, Image

__all__ = ["COLUMNS", "CasePair", "case_pair", "quantities"]

COLUMNS = ("quantity", "of", "value", "unit", "low", "high", "validation_error")


class CasePair(BaseModel):
    """The quantities of one validation case, from its true mask and from the predicted one: key -> (unit, value).

    Attributes:
        group: Patient, specimen, place: errors within one are not independent.
        truth, prediction: Values by key.
    """

    model_config = ConfigDict(frozen=True)

    group: str
    truth: dict[str, tuple[str, float | None]]
    prediction: dict[str, tuple[str, float | None]]


def case_pair(
    name: str, group: str, image: Image, truth: UInt8[np.ndarray, "*s"], mask: UInt8[np.ndarray, "*s"],
    labels: LabelSet,
) -> CasePair:  # fmt: skip
    """Measure both masks of a case, where the truth is known."""
    known = truth != IGNORE
    sides = [measure_all(name, m, labels, image.grid, valid=known, image=image.array) for m in (truth, mask)]
    return CasePair(group=group, truth=_values(sides[0]), prediction=_values(sides[1]))


def quantities(
    name: str, mask: UInt8[np.ndarray, "*s"], image: Image, labels: LabelSet, validation: Sequence[CasePair] = ()
) -> tuple[dict[str, Any], ...]:
    """One row a quantity with the `COLUMNS`: its value, the 95 % interval, the root mean square validation error.

    The interval is that of `catenary.measures.with_error`; it needs validation cases of at least two groups that were
    measured in the same unit.

    >>> labels, image = LabelSet(names=("pore", "metal")), Image(array=np.zeros((1, 4, 4), np.uint8))
    >>> quantities("microstructure", np.eye(4, dtype=np.uint8), image, labels)[1]["value"]
    0.25
    """
    rows = []
    for key, row in measure_all(name, mask, labels, image.grid, valid=mask != IGNORE, image=image.array).items():
        pairs, groups = [], []
        for case in validation:
            (unit, truth), (_, found) = case.truth.get(key, ("", None)), case.prediction.get(key, ("", None))
            if unit == row.unit:
                pairs.append((truth, found))
                groups.append(case.group)
        kind = QUANTITIES[row.name]
        error = with_error(row.value, pairs, groups=groups, bounds=(kind.low, kind.high))
        rows.append(
            dict(zip(COLUMNS, (row.name, row.of, row.value, row.unit, error.low, error.high, error.rmse), strict=True))
        )
    return tuple(rows)


def _values(rows: Mapping[str, Quantity]) -> dict[str, tuple[str, float | None]]:
    return {key: (row.unit, row.value) for key, row in rows.items()}
