"""Brain tumours in MRI: whole tumour, tumour core and enhancing tumour as overlapping regions.

Command: ``catenary fit CASES --recipe brain-tumour --out runs/tumour --minutes 60``; CASES has a folder a case, as
BraTS. All sequences that every case has are used, in 3D.

The study's two networks see slices of one sequence each: ``--recipe brain-tumour --model flair`` for whole and core,
``--recipe brain-tumour --model t1c`` for the enhancing part. They follow its settings: U-Net of 64 to 1024 channels,
soft Dice, Adam at 1e-4, 100 epochs, its table of augmentation; ``--set model.padding=valid`` mirrors at the borders as
Ronneberger et al. (2015) do, ``--set model.name=mobilenetv2_unet --set transfer.weights=hub`` takes the MobileNetV2
encoder, ``--set model.skip=res_path`` its Res paths, ``--set model.deep_supervision=true`` five outputs at five scales,
``--set model.init=normal`` weights from N(0, 0.01).

Labels are those of BraTS 2013 to 2015: 1 necrosis, 2 oedema, 3 non-enhancing, 4 enhancing. Others are named with
``--set 'data.regions={"whole": ["1", "2", "3"], "core": ["1", "3"], "enhancing": ["3"]}'``.

Reached with one training scan on one CPU core (docs/results.md): slices in 5 minutes, three scans left out one by one,
Dice 0.815 whole, 0.524 core, 0.440 enhancing; in 3D in 6 minutes, on one scan, 0.643, 0.320, 0.568. That is what three
scans can show.

Licence of the data: BraTS 2013 and 2015 (Menze et al. 2015), CC BY-NC-SA 3.0.
"""

from __future__ import annotations

from catenary.recipe import Augment, Data, Loss, Model, Predict, Recipe, Train

__all__ = ["brain_tumour", "brain_tumour_study"]

REGIONS: dict[str, tuple[str, ...]] = {
    "whole": ("1", "2", "3", "4"),
    "core": ("1", "3", "4"),
    "enhancing": ("4",),
}


def brain_tumour() -> Recipe:
    """All sequences, all three regions, in 3D; head and feet, left and right are told apart by no network.

    >>> brain_tumour().data.regions["core"]
    ('1', '3', '4')
    """
    return Recipe(name="brain-tumour", data=Data(regions=REGIONS), predict=Predict(measures="volume"))


def brain_tumour_study(sequence: str) -> Recipe:
    """One of the study's two networks: slices of ``"flair"`` for whole and core, of ``"t1c"`` for enhancing.

    >>> recipe = brain_tumour_study("flair")
    >>> recipe.data.channels, [*recipe.data.regions], recipe.model.rank
    (('flair',), ['whole', 'core'], 2)
    """
    regions = ("whole", "core") if sequence == "flair" else ("enhancing",)
    return Recipe(
        name=f"brain-tumour-{sequence}",
        data=Data(channels=(sequence,), regions={name: REGIONS[name] for name in regions}),
        model=Model(name="unet", rank=2),
        loss=Loss(name="dice"),
        augment=Augment(preset="brain"),
        train=Train(optimizer="adam", lr=1e-4, schedule="constant", warmup=0.0, epochs=100),
        predict=Predict(measures="volume"),
    )
