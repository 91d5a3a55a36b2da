"""A network as two files of OpenVINO, ``.xml`` and ``.bin``: input ``x``, output ``probability``, any batch and size.

The description is runtime information: ``model.get_rt_info("catenary")`` gives its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.errors import ModelError
from catenary.export.description import KEY
from catenary.predict.backends import exported, import_openvino
from catenary.predict.card import Card

__all__ = ["OpenVinoFile", "stamp_openvino", "write_openvino"]


def write_openvino(model: Path, card: Card, target: Path, *, half: bool = False) -> None:
    """Write a network; with `half` its weights as 16-bit numbers, which OpenVINO turns back when it opens the file.

    Raises:
        MissingExtra: OpenVINO is not installed.
        ModelError: The weights are not those of the network.
    """
    openvino = import_openvino()
    network = openvino.convert_model(exported(model, card, flat=True))
    network.inputs[0].get_tensor().set_names({"x"})
    for output, name in zip(network.outputs, ("probability", "features"), strict=False):
        output.get_tensor().set_names({name})
    openvino.save_model(network, target, compress_to_fp16=half)


def stamp_openvino(source: Path, target: Path, description: Mapping[str, Any]) -> None:
    """Write a network once more with a description in its runtime information."""
    openvino = import_openvino()
    network = openvino.Core().read_model(source)
    network.set_rt_info(json.dumps(description, allow_nan=False), KEY)
    openvino.save_model(network, target, compress_to_fp16=False)  # what is in 16 bits stays so


class OpenVinoFile:
    """A file run by OpenVINO on the CPU, computed in 32 bits where it is not in integers.

    Raises:
        MissingExtra: OpenVINO is not installed.
        ModelError: The file is damaged.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        core = import_openvino().Core()
        properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            properties["INFERENCE_NUM_THREADS"] = threads
        try:
            network = core.read_model(path)
            self._compiled = core.compile_model(network, "CPU", properties)
        except RuntimeError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ModelError(f"{path} cannot be opened by OpenVINO ({reason}); export the model again") from error
        self.description_text = str(network.get_rt_info(KEY).astype(str)) if network.has_rt_info(KEY) else ""
        self.name = f"OpenVINO, {path.name}"

    def __call__(self, x: Float32[np.ndarray, "n c *s"]) -> NDArray[np.float32]:
        """Probabilities ``(n, k, *s)``, of whole images ``(n, k)``."""
        answer: NDArray[np.float32] = self._compiled([np.ascontiguousarray(x)])["probability"]
        return answer
