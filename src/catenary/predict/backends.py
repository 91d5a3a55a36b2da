"""What runs a network: torch, or another package on a graph converted from it.

An engine takes normalised tiles and gives probabilities.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.errors import MissingExtra, ModelError
from catenary.geometry import axes_of
from catenary.predict.card import Card, load_weights

__all__ = [
    "QUANTIZED",
    "Engine",
    "OnnxEngine",
    "OpenVinoEngine",
    "TorchEngine",
    "WholeEngine",
    "answering_module",
    "exported",
    "import_openvino",
    "least_sides",
    "openvino_precisions",
    "to_onnx",
    "to_openvino",
]


#: A network in integers, beside its ``model.xml``.
QUANTIZED = "model-int8.xml"


@runtime_checkable
class Engine(Protocol):
    """Runs a network."""

    @property
    def name(self) -> str:
        """What it is, for people, for example ``"OpenVINO bf16"``."""
        ...

    def __call__(self, x: Float32[np.ndarray, "n c *s"]) -> Float32[np.ndarray, "n k *t"]:
        """Probabilities of each logit: softmax over exclusive classes, sigmoid otherwise."""
        ...


@runtime_checkable
class WholeEngine(Engine, Protocol):
    """Runs a network for whole images."""

    def with_features(
        self, x: Float32[np.ndarray, "n c h w"]
    ) -> tuple[Float32[np.ndarray, "n k 1 1"], Float32[np.ndarray, "n f"]]:
        """The answer of `Engine`, and the features it was judged by, for `catenary.predict.familiar`."""
        ...


class TorchEngine:
    """PyTorch in inference mode, channels-last; in bf16 where the processor or the GPU has it, unless told `exact`."""

    def __init__(self, model: Path, card: Card, *, exact: bool = False) -> None:
        import torch

        from catenary.predict.memory import keep_buffers

        keep_buffers()
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._layout = torch.channels_last if card.recipe.model.rank == 2 else torch.channels_last_3d
        self._module = answering_module(model, card).to(self._device).to(memory_format=self._layout)
        self.low = not exact and (self._device == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported())

    @property
    def name(self) -> str:
        """Device and precision."""
        return f"torch {self._device} {'bf16' if self.low else 'fp32'}"

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine`."""
        return self._outputs(x)[0]

    def with_features(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `WholeEngine`."""
        answer, features = self._outputs(x)
        return answer, features

    def _outputs(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        torch = self._torch
        tensor = torch.from_numpy(x).to(self._device).contiguous(memory_format=self._layout)
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=self.low):
            return [output.float().cpu().numpy() for output in self._module(tensor)]


def import_openvino() -> Any:
    """OpenVINO without its telemetry, which would report conversions over the network unasked."""
    loaded: dict[str, Any] = sys.modules
    loaded.setdefault("openvino_telemetry", None)  # its import fails, a stub is taken
    try:
        import openvino
    except ImportError:
        raise MissingExtra("openvino", "fast") from None
    return openvino


class OpenVinoEngine:
    """OpenVINO on the CPU: in full precision, in bf16, or in integers where that was prepared."""

    def __init__(self, folder: Path, precision: str) -> None:
        name = QUANTIZED if precision == "int8" else "model.xml"
        core = import_openvino().Core()
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "CACHE_DIR": str(folder / "cache"),
        }
        self._compiled = core.compile_model(core.read_model(folder / name), "CPU", properties)
        self._request = self._compiled.create_infer_request()
        self.name = f"OpenVINO {precision}"

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine`."""
        self._request.infer([np.ascontiguousarray(x)], share_inputs=True)
        answer: NDArray[np.float32] = self._request.get_output_tensor(0).data
        return answer

    def with_features(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `WholeEngine`."""
        return self(x), self._request.get_output_tensor(1).data


class OnnxEngine:
    """ONNX Runtime on the CPU."""

    def __init__(self, folder: Path, precision: str) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("onnxruntime", "fast") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self.name = f"ONNX Runtime {precision}"

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine`."""
        answer: NDArray[np.float32] = self._session.run(None, {self._input: np.ascontiguousarray(x)})[0]
        return answer

    def with_features(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `WholeEngine`."""
        answer, features = self._session.run(None, {self._input: np.ascontiguousarray(x)})
        return answer, features


def answering_module(model: Path, card: Card, *, flat: bool = False) -> Any:
    """The network with its activation behind it: it gives probabilities, and the features of whole images.

    With `flat` the probabilities of whole images are ``(n, k)`` instead of ``(n, k, 1, 1)``.
    """
    import torch

    from catenary.models import build

    class Answer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network: Any = build(**card.recipe.model.model_dump())
            self.exclusive, self.whole = card.labels.task == "exclusive", card.labels.scope == "image"

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            seen = self.network.maps(x) if self.whole else x
            logits = (self.network.judged(seen) if self.whole else self.network(seen)).float()
            answer = logits.softmax(1) if self.exclusive else logits.sigmoid()  # in bf16 it would not add up to 1
            if not self.whole:
                return (answer,)
            return answer.flatten(1) if flat else answer, self.network.encoder.pooled(seen)

    module = Answer()
    weights = {name: torch.from_numpy(value.copy()) for name, value in load_weights(model).items()}
    try:
        module.network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"the weights in {model} are not those of the network its card describes ({str(error).splitlines()[0]}); "
            "train it again"
        ) from error
    return module.eval()


def exported(model: Path, card: Card, *, flat: bool = False) -> Any:
    """The answering network as a graph whose batch stays open, and its sides too where images are cut into tiles."""
    import torch

    whole = card.labels.scope == "image"  # seen in one frame
    least = (0, 0) if whole else least_sides(card)
    names = ("depth", "height", "width")[-len(least) :]
    sides = {2 + i: torch.export.Dim(name, min=n) for i, (name, n) in enumerate(zip(names, least, strict=True))}
    sizes = {0: torch.export.Dim("batch"), **({} if whole else sides)}
    shape = card.recipe.sample.patch if whole else tuple(n * (2 + i) for i, n in enumerate(least))
    example = torch.zeros(2, card.recipe.model.channels, *shape)
    return torch.export.export(answering_module(model, card, flat=flat), (example,), dynamic_shapes=(sizes,))


def least_sides(card: Card) -> tuple[int, ...]:
    """Shortest sides in pixels of a tile: what the bottleneck of a converted network needs."""
    return tuple(max(2, axis.least) * axis.multiple for axis in axes_of(**card.recipe.model.model_dump()))


def to_openvino(model: Path, card: Card, folder: Path) -> None:
    """Write ``model.xml``, for OpenVINO."""
    openvino = import_openvino()
    openvino.save_model(openvino.convert_model(exported(model, card)), folder / "model.xml", compress_to_fp16=False)


def to_onnx(model: Path, card: Card, folder: Path) -> None:
    """Write ``model.onnx``."""
    import torch

    graph = exported(model, card)
    torch.onnx.export(graph, (), str(folder / "model.onnx"), dynamo=True, external_data=False, verbose=False)


def openvino_precisions() -> tuple[str, ...]:
    """What OpenVINO computes in on this processor, the finest first; integers need preparing and are not among them."""
    able = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("fp32", "bf16") if "BF16" in able else ("fp32",)
