"""Eight-bit integers for most of a converted network: several times faster where the processor multiplies them.

Runs as a process of its own, ``python -m catenary.predict.quantize NETWORK WRITTEN TILES.npy``, because NNCF changes
the logging and the operators of torch in the process that imports it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from catenary.errors import ModelError
from catenary.predict.backends import QUANTIZED, import_openvino

__all__ = ["can_quantize", "quantize", "quantize_file"]

#: Convolutions in full precision: the first ones see the pixels themselves, and the last one decides. On a trained
#: U-Net (nuclei, widths 32-512) they take 5 % of the speed and halve the pixels that change class.
FIRST, LAST = 2, 1


def can_quantize() -> bool:
    """Whether the package is there; asked without importing it, which takes seconds."""
    return find_spec("nncf") is not None


def quantize(folder: Path, tiles: Float32[np.ndarray, "n c *s"]) -> None:
    """Write `QUANTIZED` beside ``model.xml``; see `quantize_file`.

    Args:
        folder: Of a network converted for OpenVINO.
        tiles: Normalised tiles of real images.

    Raises:
        ModelError: The network cannot be quantized.
    """
    quantize_file(folder / "model.xml", folder / QUANTIZED, tiles)


def quantize_file(source: Path, target: Path, tiles: Float32[np.ndarray, "n c *s"]) -> None:
    """Write a network of OpenVINO (``.xml``) or ONNX once more in integers.

    Weights per channel, activations per tensor (Jacob et al. 2018).

    Args:
        source: The network.
        target: The same kind of file.
        tiles: Normalised tiles of real images, which tell the range of every activation.

    Raises:
        ModelError: The network cannot be quantized.
    """
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "tiles.npy"
        np.save(file, tiles)
        command = [sys.executable, "-m", "catenary.predict.quantize", str(source), str(target), str(file)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")  # whatever the locale
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"the network cannot be quantized: {reason}")


def _quantize_openvino(source: Path, target: Path, tiles: Float32[np.ndarray, "n c *s"]) -> None:
    openvino = import_openvino()
    network = openvino.Core().read_model(source)
    kinds = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData")
    names = [op.get_friendly_name() for op in network.get_ordered_ops() if op.get_type_name() in kinds]
    quantized = _quantized(network, [tile[None] for tile in tiles], names)
    openvino.save_model(quantized, target, compress_to_fp16=False)


def _quantize_onnx(source: Path, target: Path, tiles: Float32[np.ndarray, "n c *s"]) -> None:
    import onnx

    network = onnx.load(str(source))
    names = [node.name for node in network.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    onnx.save(_quantized(network, [{"x": tile[None]} for tile in tiles], names), str(target))


def _quantized(network: Any, inputs: list[Any], convolutions: list[str]) -> Any:
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    exact = {*convolutions[:FIRST], *convolutions[len(convolutions) - LAST :]}
    return nncf.quantize(
        network,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,  # activations of a LeakyReLU and the like have both signs
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=sorted(exact)) if exact else None,
        # Ranges that cut nothing off change the fewest pixels.
        advanced_parameters=AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )


if __name__ == "__main__":
    given, wanted = Path(sys.argv[1]), Path(sys.argv[2])
    (_quantize_onnx if given.suffix == ".onnx" else _quantize_openvino)(given, wanted, np.load(sys.argv[3]))
