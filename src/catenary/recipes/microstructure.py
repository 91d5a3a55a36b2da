"""Microstructure of materials from slices of a volume or micrographs: phases, their fractions and interfaces.

Command: ``catenary fit SLICES --recipe microstructure --out runs/soc --minutes 20``.
Only nickel, as in the fuel-cell study: ``--set 'data.classes={"nickel": ["class 2"]}' --set prepare.size=128``; its
networks: ``--set model.name=fuelcell_vgg16 --set transfer.weights=vgg16.safetensors --set transfer.freeze=-1``.
Micrographs that are no series of slices: ``--set split.ordered=false --set split.gap=0``, or cases are left out at each
cut. Where up and down carry meaning, as in a coating: ``--set augment.rotate=10 --set augment.transpose=0 --set
augment.flip=[0,0.5]``.

Reached on solid-oxide-cell, three phases, 6 minutes on 2 CPU cores (docs/results.md): mean IoU 0.977 and boundary IoU
0.963 on 4 test slices of one block; the best two thresholds reach 0.931 and 0.897. On barrier-coating, 600 steps with
the settings for coatings: oxide IoU 0.623, cracks 0.159 on 6 micrographs of an unseen specimen.

Slices are divided along the depth in blocks, with one slice left out at each cut, because neighbours show almost the
same. Nothing is drawn elastically: grains are rigid. Masks are measured: phase fractions, interfaces, triple points,
chords, correlation lengths.

Licence of the data: solid-oxide-cell (De Angelis et al. 2017, 2018) states none; superalloy and barrier-coating
(Stuckner et al. 2022) are MIT.
"""

from catenary.recipe import Augment, Predict, Recipe, Split

__all__ = ["microstructure"]


def microstructure() -> Recipe:
    """Microstructure from slices or micrographs: blocks by depth, rigid augmentation, phases and interfaces measured.

    >>> microstructure().split.ordered
    True
    """
    return Recipe(
        name="microstructure",
        split=Split(ordered=True, gap=1),
        augment=Augment(preset="materials"),
        predict=Predict(measures="microstructure"),
    )
