"""Published systems as ready recipes: name -> function that gives the recipe.

A recipe sets what its publication or its kind of image asks for and leaves the rest to the planner.
"""

from collections.abc import Callable
from functools import partial

from catenary.recipe import Recipe
from catenary.recipes.brain_tumour import brain_tumour, brain_tumour_study
from catenary.recipes.building_damage import building_damage, building_damage_study
from catenary.recipes.glaucoma import (
    detection,
    detection_study,
    glaucoma,
    glaucoma_study,
    progression,
    progression_study,
)
from catenary.recipes.microstructure import microstructure
from catenary.recipes.presets import PRESETS
from catenary.recipes.retina_vessels import retina_vessels
from catenary.recipes.skin_lesion import skin_lesion
from catenary.recipes.volumes import volumes

__all__ = [
    "PRESETS",
    "RECIPES",
    "brain_tumour",
    "brain_tumour_study",
    "building_damage",
    "building_damage_study",
    "default",
    "detection",
    "detection_study",
    "glaucoma",
    "glaucoma_study",
    "microstructure",
    "progression",
    "progression_study",
    "retina_vessels",
    "skin_lesion",
    "volumes",
    "with_model",
]


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
    "building-damage": building_damage,
    "building-damage-unet": partial(building_damage_study, "unet"),
    "volumes": volumes,
    "brain-tumour": brain_tumour,
    "brain-tumour-flair": partial(brain_tumour_study, "flair"),
    "brain-tumour-t1c": partial(brain_tumour_study, "t1c"),
    "building-damage-unetpp": partial(building_damage_study, "unetpp"),
    "glaucoma": glaucoma,
    "glaucoma-study": glaucoma_study,
    "glaucoma-detection": detection,
    "glaucoma-detection-study": detection_study,
    "glaucoma-progression": progression,
    "glaucoma-progression-study": progression_study,
    "retina-vessels": retina_vessels,
}


def with_model(recipe: str, model: str | None) -> tuple[str, list[str]]:
    """What ``--model`` stands for: a recipe's own variant of that name where there is one, else the network's name.

    >>> with_model("building-damage", "unetpp"), with_model("default", "unetpp")
    (('building-damage-unetpp', []), ('default', ['model.name=unetpp']))
    """
    if model is None:
        return recipe, []
    variant = f"{recipe}-{model}"
    return (variant, []) if variant in RECIPES else (recipe, [f"model.name={model}"])
