"""Random changes of training patches: one fused warp, then intensities.

One line in `PRESETS` (``batch.py``) adds a named setting.
"""

from catenary.augment.batch import PRESETS, UNCHANGED, Drawn, apply, draw, make_patch
from catenary.augment.intensity import Tone, change_tone, draw_tone
from catenary.augment.spatial import IDENTITY, Warp, draw_warp, elastic_field, elastic_std, sample_patch

__all__ = [
    "IDENTITY",
    "PRESETS",
    "UNCHANGED",
    "Drawn",
    "Tone",
    "Warp",
    "apply",
    "change_tone",
    "draw",
    "draw_tone",
    "draw_warp",
    "elastic_field",
    "elastic_std",
    "make_patch",
    "sample_patch",
]
