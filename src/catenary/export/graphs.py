"""A network as an ONNX file: input ``x``, output ``probability``, of whole images ``features`` too; any batch and size.

Weights of 16 bits are stored as such and turned to 32 bits by a Cast in front of their use, which ONNX Runtime folds
when it opens the file: half the size on disk and on the way to a browser, computed in full precision everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.errors import MissingExtra, ModelError
from catenary.export.description import KEY
from catenary.predict.backends import exported
from catenary.predict.card import Card

__all__ = ["OnnxFile", "halved", "stamp_onnx", "write_onnx"]

#: The smallest arrays stay in 32 bits until they make up this share of the numbers: biases, the layers that see the
#: pixels themselves, the one that decides. On a trained U-Net of the optic disc the largest change of a
#: probability falls from 0.0011 to 0.0003.
EXACT = 0.05
_NAMES = ("probability", "features")


def write_onnx(model: Path, card: Card, target: Path) -> None:
    """Write a network in full precision.

    Raises:
        MissingExtra: onnx or onnxscript is not installed.
        ModelError: The weights are not those of the network.
    """
    _onnx()
    try:
        import onnxscript  # noqa: F401 - torch writes ONNX with it
    except ImportError:
        raise MissingExtra("onnxscript", "export") from None
    import torch

    names = _NAMES[: 2 if card.labels.scope == "image" else 1]
    program = exported(model, card, flat=True)
    torch.onnx.export(
        program, (), str(target), dynamo=True, external_data=False, verbose=False, input_names=["x"],
        output_names=[*names],
    )  # fmt: skip


def halved(source: Path, target: Path) -> None:
    """Store the weights of a file as 16-bit numbers.

    Raises:
        ModelError: A weight is too large for 16 bits.
    """
    onnx = _onnx()
    graph = onnx.load(str(source))
    kept, casts = [], []
    exact = _smallest(graph.graph.initializer)
    for array in graph.graph.initializer:
        if array.data_type != onnx.TensorProto.FLOAT or array.name in exact:
            kept.append(array)
            continue
        value = onnx.numpy_helper.to_array(array)
        if not np.abs(value).max(initial=0) <= np.finfo(np.float16).max:
            raise ModelError(f"weight {array.name} is too large for 16 bits; export with --precision fp32")
        half = f"{array.name}_fp16"
        kept.append(onnx.numpy_helper.from_array(value.astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [array.name], f"{half}_cast", to=onnx.TensorProto.FLOAT))
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    nodes = [*graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend([*casts, *nodes])
    onnx.save(graph, str(target))


def _smallest(arrays: Any) -> set[str]:
    """Names of the smallest arrays that together make up no more than `EXACT`."""
    sizes = sorted((math.prod(array.dims), array.name) for array in arrays)
    most = EXACT * sum(size for size, _ in sizes)
    found, total = set(), 0
    for size, name in sizes:
        total += size
        if total <= most:
            found.add(name)
    return found


def stamp_onnx(source: Path, target: Path, description: Mapping[str, Any]) -> None:
    """Write the file once more with a description among its metadata; what torch noted on every node is left out."""
    onnx = _onnx()
    graph = onnx.load(str(source))
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del graph.metadata_props[:]
    del graph.graph.value_info[:]
    _name_sizes(graph.graph)
    onnx.helper.set_model_props(graph, {KEY: json.dumps(description, allow_nan=False)})
    graph.producer_name, graph.producer_version = "catenary", str(description.get("catenary", ""))
    onnx.save(graph, str(target))


def _name_sizes(graph: Any) -> None:
    """Call the free sizes batch, depth, height and width; torch gives them numbers."""
    shapes = [value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output)]
    names = ("batch", "channels", *("depth", "height", "width")[5 - len(shapes[0]) :])
    known = {size.dim_param: name for size, name in zip(shapes[0], names, strict=True) if size.dim_param}
    for shape in shapes:
        for size in shape:
            if size.dim_param:
                size.dim_param = known.get(size.dim_param, size.dim_param)


class OnnxFile:
    """An ONNX file run by ONNX Runtime on the CPU.

    Raises:
        MissingExtra: onnxruntime is not installed.
        ModelError: The file is damaged.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("onnxruntime", "export") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own kinds of exceptions differ between versions
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"{path} cannot be opened as an ONNX file ({reason}); export the model again") from error
        self.description_text: str = self._session.get_modelmeta().custom_metadata_map.get(KEY, "")
        self.name = f"ONNX Runtime, {path.name}"

    def __call__(self, x: Float32[np.ndarray, "n c *s"]) -> NDArray[np.float32]:
        """Probabilities ``(n, k, *s)``, of whole images ``(n, k)``."""
        answer: NDArray[np.float32] = self._session.run(["probability"], {"x": np.ascontiguousarray(x)})[0]
        return answer


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "export") from None
    return onnx
