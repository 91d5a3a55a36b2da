"""``catenary recipes``."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["recipes"]


def recipes(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="One recipe, with every field that it sets.")
    ] = "",
) -> None:
    """Ready recipes for published systems.

    A recipe fixes what its publication or its kind of image asks for; the planner chooses the rest.

    Examples:
        catenary recipes
        catenary recipes skin-lesion
        catenary fit lesions --recipe skin-lesion --out runs/skin --minutes 30
    """
    import inspect

    from catenary.cli import show
    from catenary.errors import ConfigError, near_match
    from catenary.recipes import RECIPES

    if not name:
        show.recipes({key: inspect.cleandoc(make.__doc__ or "").splitlines()[0] for key, make in RECIPES.items()})
        return
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe '{name}'; {near_match(name, RECIPES)}")
    show.recipe(RECIPES[name](), inspect.getdoc(inspect.getmodule(RECIPES[name])) or "")
