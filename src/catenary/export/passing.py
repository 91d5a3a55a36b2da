"""Integers handed on through layers that only choose or join values.

ONNX Runtime runs a convolution in integers where its input is dequantized right before it. A quantizer leaves max
pooling and concatenation, which change no value, between the two, and the convolution behind them then runs in floating
point. Quantizing once more behind such a layer, with the same scale, changes none of its values and lets it run in
integers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

__all__ = ["pass_integers"]

#: Layers whose output holds values of their inputs only.
PASSING = ("MaxPool", "Concat")


def pass_integers(source: Path, target: Path) -> int:
    """Write a quantized ONNX file with integers passed on.

    Returns:
        The number of layers through which they are.
    """
    import onnx

    model = onnx.load(str(source))
    graph = model.graph
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    nodes: list[Any] = []
    number = 0
    for node in graph.node:
        nodes.append(node)
        if node.op_type not in PASSING:
            continue
        scale = _common([made_by.get(name) for name in node.input], arrays)
        if scale is None:
            continue
        plain = node.output[0]
        passed, integer = f"{plain}_values", f"{plain}_integers"
        node.output[0] = passed
        nodes.append(onnx.helper.make_node("QuantizeLinear", [passed, *scale], [integer], f"{plain}_quantize"))
        again = onnx.helper.make_node("DequantizeLinear", [integer, *scale], [plain], f"{plain}_dequantize")
        nodes.append(again)
        made_by[plain] = again
        number += 1
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(target))
    return number


def _common(sources: list[Any], arrays: dict[str, NDArray[Any]]) -> list[str] | None:
    """Scale and zero point that all inputs of a layer were dequantized with; None where they differ."""
    if not sources or any(one is None for one in sources):
        return None
    first = [*sources[0].input[1:]]
    for one in sources:
        for name, other in zip(first, one.input[1:], strict=True):
            a, b = arrays.get(name), arrays.get(other)
            if a is None or b is None or a.ndim or a.dtype != b.dtype or a != b:
                return None
    return first
