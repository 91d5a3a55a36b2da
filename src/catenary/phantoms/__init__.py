"""Procedural scenes with exact truth, for the demo, tests and benchmarks.

One line in `SCENES` (``scenes.py``) adds a scene; `brain` draws volumes.
"""

from catenary.phantoms.brain import brain
from catenary.phantoms.cells import cells
from catenary.phantoms.lesion import lesion
from catenary.phantoms.microstructure import microstructure
from catenary.phantoms.scenes import CLASSES, SCENES, Scene, phantoms

__all__ = ["CLASSES", "SCENES", "Scene", "brain", "cells", "lesion", "microstructure", "phantoms"]
