"""Networks: blocks x skips x topology, built by name."""

from catenary.geometry import Geometry, check_depth
from catenary.models.build import MODELS, build, literals, parameters, receptive_field
from catenary.models.unet import UNet

__all__ = ["MODELS", "Geometry", "UNet", "build", "check_depth", "literals", "parameters", "receptive_field"]
