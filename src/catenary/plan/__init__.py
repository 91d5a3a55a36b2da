"""The planner: from what is known of the data and of the machine to every setting, each with its reason.

Pure: `plan` reads nothing and times nothing. What was timed comes in with the `Budget`; `candidates` says what is
worth timing. A field that the recipe sets is kept, and its reason says so.
"""

from __future__ import annotations

from collections.abc import Callable

from catenary.data.fingerprint import Fingerprint
from catenary.plan.choices import Budget, Choices, Plan, Speed, levels_of
from catenary.plan.classes import for_classes, loss_of_classes, vary_classes
from catenary.plan.common import (
    ENOUGH_SLICES,
    ENOUGH_STEPS,
    WIDTHS,
    check,
    loss_and_sampling,
    network_ends,
    schedule,
    widths_from,
)
from catenary.plan.images import for_images, vary_images
from catenary.plan.volumes import for_volumes, vary_volumes
from catenary.recipe import Recipe, choose, is_set

__all__ = ["ENOUGH_SLICES", "ENOUGH_STEPS", "Budget", "Plan", "Speed", "candidates", "levels_of", "plan"]

_Decide = Callable[[Choices, Fingerprint], None]


def candidates(fingerprint: Fingerprint, budget: Budget, recipe: Recipe) -> tuple[Recipe, ...]:
    """The recipes worth timing before `plan` decides on a width, narrow to wide; one when the width is set."""
    if is_set(recipe, "model.widths") or not budget.minutes:
        return (plan(fingerprint, budget, recipe).recipe,)
    first = plan(fingerprint, budget.model_copy(update={"speeds": ()}), recipe).recipe
    levels = levels_of(first)
    return tuple(choose(first, {"model.widths": widths_from(base, levels)}) for base in WIDTHS)


def plan(fingerprint: Fingerprint, budget: Budget, recipe: Recipe) -> Plan:
    """Decide every open field of `recipe`.

    Raises:
        ConfigError: A set field cannot work with this data.
    """
    choices = Choices(recipe)
    network_ends(choices, fingerprint)
    shape, loss, vary = _kind(fingerprint)
    shape(choices, fingerprint, budget)
    loss(choices, fingerprint)
    vary(choices, fingerprint)
    steps = schedule(choices, fingerprint, budget)
    check(choices.recipe, fingerprint)
    return Plan(recipe=choices.recipe, reasons=choices.reasons, expected_steps=steps)


def _kind(data: Fingerprint) -> tuple[Callable[[Choices, Fingerprint, Budget], None], _Decide, _Decide]:
    """What decides size and network, loss, and augmentation of such data."""
    if data.scope == "image":
        return for_classes, loss_of_classes, vary_classes
    if data.rank == 2:
        return for_images, loss_and_sampling, vary_images
    return for_volumes, loss_and_sampling, vary_volumes
