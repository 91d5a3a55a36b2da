"""Published systems as ready recipes: name -> function that gives the recipe.

A recipe sets what its publication or its kind of image asks for and leaves the rest to the planner.
"""

from collections.abc import Callable

from catenary.recipe import Recipe

__all__ = ["RECIPES", "default"]


def default() -> Recipe:
    """Nothing set: the planner chooses everything from the data, the machine and the budget.

    >>> default().name
    'default'
    """
    return Recipe(name="default")


RECIPES: dict[str, Callable[[], Recipe]] = {"default": default}
