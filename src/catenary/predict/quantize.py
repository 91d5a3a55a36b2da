"""Eight-bit integers for most of a converted network: several times faster where the processor multiplies them.

Runs as a process of its own, ``python -m catenary.predict.quantize FOLDER TILES.npy``, because NNCF changes the logging
and the operators of torch in the process that imports it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from catenary.errors import ModelError
from catenary.predict.backends import QUANTIZED, import_openvino

__all__ = ["can_quantize", "quantize"]

#: Convolutions in full precision: the first ones see the pixels themselves, and the last one decides. On a trained
#: U-Net (nuclei, widths 32-512) they take 5 % of the speed and halve the pixels that change class.
FIRST, LAST = 2, 1


def can_quantize() -> bool:
    """Whether the package is there; asked without importing it, which takes seconds."""
    return find_spec("nncf") is not None


def quantize(folder: Path, tiles: Float32[np.ndarray, "n c *s"]) -> None:
    """Write `QUANTIZED` beside ``model.xml``: weights per channel, activations per tensor (Jacob et al. 2018).

    Args:
        folder: Of a network converted for OpenVINO.
        tiles: Normalised tiles of real images, which tell the range of every activation.

    Raises:
        ModelError: The network cannot be quantized.
    """
    with tempfile.TemporaryDirectory() as place:
        np.save(Path(place) / "tiles.npy", tiles)
        command = [sys.executable, "-m", "catenary.predict.quantize", str(folder), str(Path(place) / "tiles.npy")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")  # whatever the locale
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"the network cannot be quantized: {reason}")


def _quantize(folder: Path, tiles: Float32[np.ndarray, "n c *s"]) -> None:
    openvino = import_openvino()
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    network = openvino.Core().read_model(folder / "model.xml")
    kinds = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData")
    convolutions = [op.get_friendly_name() for op in network.get_ordered_ops() if op.get_type_name() in kinds]
    exact = {*convolutions[:FIRST], *convolutions[len(convolutions) - LAST :]}
    quantized = nncf.quantize(
        network,
        nncf.Dataset([tile[None] for tile in tiles]),
        preset=nncf.QuantizationPreset.MIXED,  # activations of a LeakyReLU and the like have both signs
        subset_size=len(tiles),
        ignored_scope=nncf.IgnoredScope(names=sorted(exact)) if exact else None,
        # Ranges that cut nothing off change the fewest pixels.
        advanced_parameters=AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )
    openvino.save_model(quantized, folder / QUANTIZED, compress_to_fp16=False)


if __name__ == "__main__":
    _quantize(Path(sys.argv[1]), np.load(sys.argv[2]))
