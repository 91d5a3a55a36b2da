"""Losses: functions of a `Pair` of logits and label map, in float32, finite on empty, full and ignored targets."""

from catenary.losses.build import (
    LOSSES,
    TAKES,
    build_after_loss,
    build_loss,
    dice_bce,
    dice_boundary,
    dice_ce,
    dice_cldice,
)
from catenary.losses.damage import damage, damage_ce
from catenary.losses.overlap import focal_tversky, lovasz, soft_dice, tversky
from catenary.losses.parts import Pair, Reduce, itself
from catenary.losses.pixelwise import binary_cross_entropy, cross_entropy, focal
from catenary.losses.processes import summed_over_processes
from catenary.losses.shape import boundary, centreline_dice

__all__ = [
    "LOSSES",
    "TAKES",
    "Pair",
    "Reduce",
    "binary_cross_entropy",
    "boundary",
    "build_after_loss",
    "build_loss",
    "centreline_dice",
    "cross_entropy",
    "damage",
    "damage_ce",
    "dice_bce",
    "dice_boundary",
    "dice_ce",
    "dice_cldice",
    "focal",
    "focal_tversky",
    "itself",
    "lovasz",
    "soft_dice",
    "summed_over_processes",
    "tversky",
]
