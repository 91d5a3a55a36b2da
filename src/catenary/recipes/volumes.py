"""Scans: MRI, CT and other volumes, whatever they show.

Command: ``catenary fit SCANS --recipe volumes --out runs/scans --minutes 20``; SCANS is a folder as of the Medical
Segmentation Decathlon or nnU-Net (imagesTr/, labelsTr/), of BraTS (a folder a case), or images/ with masks/.
Slice by slice instead of in 3D: ``--set model.rank=2``; with neighbours as channels: ``--set model.slices=5``.

The planner chooses spacing, patch, pooling and kernels along each axis from the scans; ``catenary plan`` says why.
Masks are measured: volume, surface, diameters.

Reached on hippocampus, five folds of 137 scans, 7.5 minutes a fold on one CPU core (docs/results.md): Dice 0.896 (0.891
to 0.900) of the anterior and 0.878 (0.872 to 0.883) of the posterior part.

Licence of the data: hippocampus (Medical Segmentation Decathlon, Antonelli et al. 2022) is CC BY-SA 4.0.
"""

from catenary.recipe import Predict, Recipe

__all__ = ["volumes"]


def volumes() -> Recipe:
    """Scans in 3D, or slice by slice: everything from the data's own spacing and size; volumes measured.

    >>> volumes().predict.measures
    'volume'
    """
    return Recipe(name="volumes", predict=Predict(measures="volume"))
