"""Glaucoma screening from fundus photographs: optic disc and cup, glaucoma or not, progressing or stable.

Commands: ``catenary fit PHOTOS_AND_MASKS --recipe glaucoma --out runs/disc --minutes 10`` learns disc and cup (mask
values 1 rim, 2 cup; the disc is both). ``catenary crop CLASS_FOLDERS --disc runs/disc --out crops`` cuts the discs out
of photographs that have a diagnosis, ``catenary fit crops --recipe glaucoma-detection --out runs/glaucoma`` learns it,
and ``catenary fit GRAPE --recipe glaucoma-progression --out runs/progression`` learns progression. ``catenary
pipeline`` joins them for ``catenary screen``.

``--model study`` takes the networks and settings of the published system (docs/classification.md): U-Net with an
EfficientNet-B4 encoder, Dice loss, Adam at 1e-3, 75 epochs, rate reduced on a plateau of the IoU, early stopping; its
CNN of 59,206,657 parameters with focal loss and Adam at 0.01 for 150 epochs; Inception v3 with the same head, binary
cross-entropy and Adam at 1e-3 for 300 epochs.

Licence of the data: Drishti-GS1 and HRF see their pages; GRAPE is CC BY 4.0 (Huang et al. 2023).
"""

from __future__ import annotations

from catenary.recipe import Augment, Data, Loss, Model, Predict, Prepare, Recipe, Sample, Train

__all__ = [
    "detection",
    "detection_study",
    "glaucoma",
    "glaucoma_study",
    "progression",
    "progression_study",
]

REGIONS: dict[str, tuple[str, ...]] = {"disc": ("1", "2"), "cup": ("2",)}
#: The published system's augmentation: shifts, flips left and right, magnification.
STUDY = Augment(
    preset="none", flip=(0.0, 0.5), warp=1.0, rotate=0.0, shear=0.0, shift=0.1, zoom=0.2, elastic=0.0, intensity=0.0
)


def glaucoma() -> Recipe:
    """Optic disc and cup in a fundus photograph, with the cup-to-disc ratio and the rim measured.

    >>> glaucoma().data.regions
    {'disc': ('1', '2'), 'cup': ('2',)}
    """
    return Recipe(
        name="glaucoma",
        data=Data(regions=REGIONS),
        # Whole photographs at one size: crops took glare at the rim of the field for a disc. Cameras differ in their
        # colours and in how wide they see.
        prepare=Prepare(size=256, normalise="image"),
        augment=Augment(preset="fundus", zoom=0.4),
        predict=Predict(measures="disc"),
    )


def glaucoma_study() -> Recipe:
    """The published system's first network, with its training."""
    return Recipe(
        name="glaucoma-study",
        data=Data(regions=REGIONS),
        prepare=Prepare(normalise="range"),
        model=Model(name="efficientnet_b4_unet"),
        loss=Loss(name="dice"),
        augment=Augment(preset="fundus"),
        train=Train(
            optimizer="adam", lr=1e-3, schedule="plateau", warmup=0.0, epochs=75, monitor="iou", early_stopping=10,
            validations=75, ema=0.0,
        ),
        predict=Predict(measures="disc"),
    )  # fmt: skip


def detection() -> Recipe:
    """Glaucoma or not, from the crop of a disc.

    >>> detection().augment.preset
    'fundus'
    """
    return Recipe(name="glaucoma-detection", augment=Augment(preset="fundus"))


def detection_study() -> Recipe:
    """The published system's second network: images of 256 x 256 in 0..1, focal loss, Adam at 0.01, 150 epochs."""
    return Recipe(
        name="glaucoma-detection-study",
        prepare=Prepare(normalise="range"),
        model=Model(name="glaucoma_cnn"),
        loss=Loss(name="focal"),
        sample=Sample(balance=True),
        augment=STUDY,
        train=Train(optimizer="adam", lr=0.01, schedule="constant", warmup=0.0, epochs=150, ema=0.0),
    )


def progression() -> Recipe:
    """Progressing or stable, from a photograph of the disc."""
    return Recipe(name="glaucoma-progression", augment=Augment(preset="fundus"))


def progression_study() -> Recipe:
    """The published system's third network: Inception v3, a head of 512, cross-entropy, Adam at 1e-3, 300 epochs."""
    return Recipe(
        name="glaucoma-progression-study",
        prepare=Prepare(normalise="range"),
        model=Model(name="encoder_classifier", encoder="inception_v3", hidden=512, dropout=0.5),
        loss=Loss(name="bce"),
        sample=Sample(balance=True),
        augment=STUDY,
        train=Train(optimizer="adam", lr=1e-3, schedule="constant", warmup=0.0, epochs=300, ema=0.0),
    )
