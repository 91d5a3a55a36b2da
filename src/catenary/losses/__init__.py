"""Losses: functions of (logits, label map), in float32, finite on empty, full and wholly ignored targets."""

from catenary.losses.build import LOSSES, build_loss, dice_bce, dice_ce
from catenary.losses.overlap import soft_dice, tversky
from catenary.losses.pixelwise import binary_cross_entropy, cross_entropy, focal

__all__ = [
    "LOSSES",
    "binary_cross_entropy",
    "build_loss",
    "cross_entropy",
    "dice_bce",
    "dice_ce",
    "focal",
    "soft_dice",
    "tversky",
]
