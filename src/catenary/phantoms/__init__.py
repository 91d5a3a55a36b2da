"""Procedural scenes with exact truth, for the demo, tests and benchmarks."""

from catenary.phantoms.scenes import CLASSES, SCENES, cells, lesion, microstructure, phantoms

__all__ = ["CLASSES", "SCENES", "cells", "lesion", "microstructure", "phantoms"]
