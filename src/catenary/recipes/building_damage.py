"""Damage of buildings from a satellite image before and one after a disaster.

Command: ``catenary fit XBD --recipe building-damage --out runs/damage --minutes 60``, where XBD is a folder of the xBD
layout (pairs of images and JSON labels) or of GeoTIFF pairs with labels. `catenary predict RUN --pre PRE.tif --post
POST.tif --out DIR` then maps mosaics of any size.

Network: one network sees each date by itself; a head judges the damage from its last features of both dates and their
difference. Loss: where buildings are, where they still stand, and how much each is damaged, rare grades weighing more.
The two dates are varied in colour independently, and shifted against each other by up to 6 pixels. The later date is
brought to the earlier one's colours over the whole scene.

``--model unet`` and ``--model unetpp`` take networks, grades and training of a study of the earthquake at Antakya:
widths 16 to 256, two grades, a head that sees the decisions of both dates only, Adam for 15 epochs, no augmentation.

Reached on made-up cities never seen, 900 steps in 17 minutes on one CPU core (docs/results.md): F1 of destroyed
buildings 0.922, and 0.915 with the later image displaced by up to 8 pixels under other colours; the study's networks
and training on as many pixels 0.799 and 0.663 (U-Net++), 0.734 and 0.507 (U-Net).

Licence of the data: xBD is CC BY-NC-SA 4.0 (Gupta et al. 2019).
"""

from __future__ import annotations

from typing import Literal

from catenary.recipe import Augment, Data, Loss, Model, Prepare, Recipe, Sample, Train

__all__ = ["building_damage", "building_damage_study"]


def building_damage() -> Recipe:
    """Damage grades of buildings from two dates: features of both joined, colours and positions varied independently.

    >>> building_damage().model.fusion
    'feature'
    """
    return Recipe(
        name="building-damage",
        prepare=Prepare(match=True),
        model=Model(fusion="feature"),
        loss=Loss(name="damage", balance="sqrt"),
        augment=Augment(preset="satellite", apart=6.0),
        sample=Sample(foreground=0.7),
        train=Train(monitor="dice"),
    )


def building_damage_study(model: Literal["unet", "unetpp"] = "unet") -> Recipe:
    """Two grades as in the study of Antakya: widths 16 to 256, decisions of both dates joined, Adam, 15 epochs.

    >>> building_damage_study("unetpp").model.topology
    'nested'
    """
    return Recipe(
        name=f"building-damage-{model}",
        data=Data(
            classes={"no-damage": ("no-damage", "minor-damage"), "destroyed": ("major-damage", "destroyed")}
        ),
        prepare=Prepare(normalise="range", size=0),
        model=Model(
            name=model,
            topology="nested" if model == "unetpp" else "unet",
            widths=(16, 32, 64, 128, 256),
            norm="batch",
            fusion="decision",
        ),
        loss=Loss(name="damage_ce", balance="sqrt"),
        augment=Augment(preset="none", transpose=0.0, elastic=0.0, rotate=0.0, colour=0.0, flip=(0.0, 0.0)),
        sample=Sample(patch=(256, 256), batch=32, foreground=0.0),
        train=Train(
            epochs=15, optimizer="adam", lr=1e-3, weight_decay=0.0, schedule="plateau", plateau_factor=0.2,
            plateau_patience=3, warmup=0.0, ema=0.0, clip=0.0, validations=15,
        ),
    )  # fmt: skip
