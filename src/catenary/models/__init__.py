"""Networks: blocks x skips x topology, built by name."""

from catenary.geometry import Geometry, check_depth
from catenary.models.build import (
    MODELS,
    SOURCES,
    Description,
    build,
    describe_networks,
    keras_total,
    literals,
    parameters,
    receptive_field,
)
from catenary.models.unet import UNet

__all__ = [
    "MODELS",
    "SOURCES",
    "Description",
    "Geometry",
    "UNet",
    "build",
    "check_depth",
    "describe_networks",
    "keras_total",
    "literals",
    "parameters",
    "receptive_field",
]
