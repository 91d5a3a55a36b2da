"""Published systems as ready recipes: name -> function that gives the recipe.

A recipe sets what its publication or its kind of image asks for and leaves the rest to the planner.
"""

from collections.abc import Callable

from catenary.recipe import Recipe
from catenary.recipes.microstructure import microstructure
from catenary.recipes.presets import PRESETS
from catenary.recipes.skin_lesion import skin_lesion

__all__ = ["PRESETS", "RECIPES", "default", "microstructure", "skin_lesion"]


def default() -> Recipe:
    """Nothing set: the planner chooses everything from the data, the machine and the budget.

    >>> default().name
    'default'
    """
    return Recipe(name="default")


RECIPES: dict[str, Callable[[], Recipe]] = {
    "default": default,
    "microstructure": microstructure,
    "skin-lesion": skin_lesion,
}
