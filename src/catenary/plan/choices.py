"""What planning is made of: the budget, the plan, and the collector of decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from catenary.recipe import Recipe, choose, is_set

__all__ = ["Budget", "Choices", "Plan", "Speed", "levels_of"]


class Speed(BaseModel):
    """One timed training step."""

    model_config = ConfigDict(frozen=True)

    base: int
    seconds: float
    precision: str = "fp32"
    channels_last: bool = False
    note: str = ""


class Budget(BaseModel):
    """What training may use.

    Attributes:
        minutes, epochs, steps: The budget; 0 where not given.
        memory: Bytes that training may use.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        speeds: Timed steps of the `candidates`, narrow to wide.
        enough: Steps below which a wider network is not worth its time.
    """

    model_config = ConfigDict(frozen=True)

    minutes: float = 0.0
    epochs: int = 0
    steps: int = 0
    memory: int = 4 << 30
    device: str = "cpu"
    speeds: tuple[Speed, ...] = ()
    enough: int = 400


class Plan(BaseModel):
    """A recipe in which nothing is left open, and why each field has its value.

    Attributes:
        recipe: The decided recipe.
        reasons: ``"section.field"`` -> reason in words, for each field that the planner or the user decided.
        expected_steps: Optimiser steps that the budget is expected to hold; 0 when unknown.
    """

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    reasons: dict[str, str]
    expected_steps: int = 0

    def rows(self) -> list[tuple[str, str, str]]:
        """Table rows ``(field, value, reason)``, in the order of decision."""
        rows = []
        for key, reason in self.reasons.items():
            section, _, name = key.rpartition(".")
            rows.append((key, _show(getattr(getattr(self.recipe, section), name)), reason))
        return rows


class Choices:
    """Collects decisions, and leaves alone what somebody has set.

    Attributes:
        recipe: The recipe as decided so far.
        reasons: See `Plan`.
        haste: Time of a step as decided, as a share of the time of the steps that were timed.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.reasons: dict[str, str] = {}
        self.haste = 1.0

    def decide(self, values: Mapping[str, Any], reason: str) -> None:
        """Set the fields of `values` that nobody has set, and note why."""
        open_values = {key: value for key, value in values.items() if not is_set(self.recipe, key)}
        for key in values:
            self.reasons[key] = reason if key in open_values else "set by you or the recipe"
        self.recipe = choose(self.recipe, open_values)


def levels_of(recipe: Recipe) -> int:
    """Number of levels of the network that the recipe describes."""
    return recipe.model.depth or len(recipe.model.widths)


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_show(item) for item in value) or "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
