"""Skin lesions in dermoscopy: recurrent residual U-Net with attention gates, Dice plus weighted cross-entropy.

Command: ``catenary fit ISIC --recipe skin-lesion --out runs/skin --minutes 30``, where ISIC is a folder of ``x.jpg``
and ``x_segmentation.png`` pairs; the official training, validation and test folders are kept apart as they are.

Network: recurrent residual blocks with t = 2 (Alom et al. 2018) and attention gates (Oktay et al. 2018), as wide as the
budget allows; ``--set model.name=attention_r2unet`` takes the published widths of 64 to 1024. Loss: Dice plus binary
cross-entropy in which lesion pixels weigh more. Augmentation: light, colour, drawn hairs, every rotation.

Reached on 40 training images in 4 minutes on 2 CPU cores (docs/results.md): test Dice 0.554 over 12 images, less than
the plain U-Net of the default recipe in such a time; it wants a long budget or a graphics card.

Licence of the data: ISIC 2017 is CC0 (Codella et al. 2018).
"""

from catenary.recipe import Augment, Loss, Model, Predict, Recipe, Train

__all__ = ["skin_lesion"]


def skin_lesion() -> Recipe:
    """Skin lesions in dermoscopy: attention R2U-Net, hybrid loss, hairs and colours varied, lesions measured.

    >>> skin_lesion().model.block
    'recurrent_residual'
    """
    return Recipe(
        name="skin-lesion",
        model=Model(block="recurrent_residual", steps=2, skip="attention"),
        loss=Loss(name="dice_bce", balance="sqrt"),
        augment=Augment(preset="dermoscopy"),
        train=Train(monitor="iou"),
        predict=Predict(measures="lesion"),
    )
