"""Vessels of the retina in fundus photographs.

Command: ``catenary fit PHOTOS_AND_MASKS --recipe retina-vessels --out runs/vessels --minutes 12``; give ``--group`` a
pattern of the patient where names tell it, as in ``--group 'Image_(\\d+)'`` for CHASE_DB1.

The network sees local contrast instead of brightness (`catenary.predict.contrast`): the light of a fundus photograph
changes more from its middle to its rim than across a vessel. Photographs are brought to 640 pixels, where the thinnest
vessel that observers draw still is three pixels wide. Four levels see far enough for a vessel.

Licence of the data: CHASE_DB1 is CC BY 4.0 (Fraz et al. 2012).
"""

from __future__ import annotations

from catenary.recipe import Augment, Model, Prepare, Recipe

__all__ = ["retina_vessels"]


def retina_vessels() -> Recipe:
    """Vessels, from local contrast.

    >>> retina_vessels().prepare.normalise
    'local'
    """
    return Recipe(
        name="retina-vessels",
        prepare=Prepare(size=640, normalise="local"),
        model=Model(depth=4),
        augment=Augment(preset="fundus"),
    )
