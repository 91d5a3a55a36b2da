"""What runs the network: one small interface, and a dict of those that fulfil it.

An engine takes normalised tiles and gives probabilities. All but torch's run a converted graph that is kept in the
run's ``engine/`` folder with a record of the model file it was made from and how far it departs from torch; with a
fresh one, nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.errors import CatenaryError, ConfigError, MissingExtra, ModelError, near_match
from catenary.geometry import geometry_of
from catenary.io.files import write_json
from catenary.predict.card import Card, load_weights

__all__ = ["DRIFT", "ENGINES", "Engine", "Opened", "open_engine", "samples_like"]

#: Largest share of pixels whose class may differ from torch's answer.
DRIFT = 0.001
_RECORD = "engine.json"


@runtime_checkable
class Engine(Protocol):
    """Runs a network."""

    @property
    def name(self) -> str:
        """What it is, for people, for example ``"OpenVINO bf16"``."""
        ...

    def __call__(self, x: Float32[np.ndarray, "n c h w"]) -> Float32[np.ndarray, "n k h w"]:
        """Probabilities of each logit: softmax over exclusive classes, sigmoid otherwise."""
        ...


@dataclass(frozen=True)
class Opened:
    """An engine ready for use.

    Attributes:
        engine: The engine.
        drift: Share of sample pixels whose class differs from torch's answer in full precision.
        notes: What the user should know, for example that another engine was refused.
    """

    engine: Engine
    drift: float = 0.0
    notes: tuple[str, ...] = ()


class TorchEngine:
    """PyTorch in inference mode, channels-last; in bf16 where the processor or the GPU has it, unless told `exact`."""

    def __init__(self, model: Path, card: Card, *, exact: bool = False) -> None:
        import torch

        from catenary.predict.memory import keep_buffers

        keep_buffers()
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._module = answering_module(model, card).to(self._device).to(memory_format=torch.channels_last)
        self.low = not exact and (self._device == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported())

    @property
    def name(self) -> str:
        """Device and precision."""
        return f"torch {self._device} {'bf16' if self.low else 'fp32'}"

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        torch = self._torch
        tensor = torch.from_numpy(x).to(self._device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=self.low):
            answer: NDArray[np.float32] = self._module(tensor).float().cpu().numpy()
        return answer


def _openvino() -> Any:
    """OpenVINO without its telemetry, which would report conversions over the network unasked."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its import fails, a stub is taken
    try:
        import openvino
    except ImportError:
        raise MissingExtra("openvino", "fast") from None
    return openvino


class OpenVinoEngine:
    """OpenVINO on the CPU, bf16 where the processor computes in it."""

    def __init__(self, folder: Path, precision: str) -> None:
        core = _openvino().Core()
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "CACHE_DIR": str(folder / "cache"),
        }
        self._compiled = core.compile_model(core.read_model(folder / "model.xml"), "CPU", properties)
        self._request = self._compiled.create_infer_request()
        self.name = f"OpenVINO {precision}"

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self._request.infer([np.ascontiguousarray(x)], share_inputs=True)
        answer: NDArray[np.float32] = self._request.get_output_tensor(0).data
        return answer


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
        answer: NDArray[np.float32] = self._session.run(None, {self._input: np.ascontiguousarray(x)})[0]
        return answer


@dataclass(frozen=True)
class _Kind:
    """How an engine with a converted graph is made: convert once, open, and which precisions to try in turn."""

    convert: Callable[[Path, Card, Path], None]
    open: Callable[[Path, str], Engine]
    precisions: Callable[[], tuple[str, ...]]


def answering_module(model: Path, card: Card) -> Any:
    """The network with its activation behind it, so that it answers with probabilities."""
    import torch

    from catenary.models import build

    class Answer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = build(**card.recipe.model.model_dump())
            self.exclusive = card.labels.task == "exclusive"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.network(x).float()  # a softmax in bf16 would not add up to 1
            answer: torch.Tensor = logits.softmax(1) if self.exclusive else logits.sigmoid()
            return answer

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


def _exported(model: Path, card: Card) -> Any:
    """The answering network as a graph whose batch, height and width stay open."""
    import torch

    least = least_side(card)
    sizes = {
        0: torch.export.Dim("batch"),
        2: torch.export.Dim("height", min=least),
        3: torch.export.Dim("width", min=least),
    }
    example = torch.zeros(2, card.channels, 2 * least, 3 * least)
    return torch.export.export(answering_module(model, card), (example,), dynamic_shapes=(sizes,))


def least_side(card: Card) -> int:
    """Shortest side in pixels of a tile: what the bottleneck of a converted network needs."""
    geometry = geometry_of(**card.recipe.model.model_dump())
    return max(2, geometry.least) * geometry.multiple


def _to_openvino(model: Path, card: Card, folder: Path) -> None:
    openvino = _openvino()
    openvino.save_model(openvino.convert_model(_exported(model, card)), folder / "model.xml", compress_to_fp16=False)


def _to_onnx(model: Path, card: Card, folder: Path) -> None:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            _exported(model, card), (), str(folder / "model.onnx"), dynamo=True, external_data=False, verbose=False
        )


def _openvino_precisions() -> tuple[str, ...]:
    able = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "fp32") if "BF16" in able else ("fp32",)


#: Engines that run a converted graph; ``"torch"`` needs none.
ENGINES: dict[str, _Kind] = {
    "openvino": _Kind(_to_openvino, OpenVinoEngine, _openvino_precisions),
    "onnx": _Kind(_to_onnx, OnnxEngine, lambda: ("fp32",)),
}


def open_engine(name: str, model: Path, card: Card, *, samples: NDArray[np.float32] | None = None) -> Opened:
    """Open an engine for a model file, converting and checking it when no fresh conversion is kept.

    Args:
        name: ``"auto"``, ``"torch"`` or a key of `ENGINES`.
        model: The model file; conversions are kept in ``engine/`` beside it.
        card: Its card.
        samples: Normalised tiles ``(n, c, h, w)`` of real images to check a conversion with; made-up ones when None.

    Raises:
        ConfigError: There is no such engine.
        MissingExtra: Its package is not installed.
        ModelError: Its answers differ from torch's in more than `DRIFT` of the pixels.
    """
    if name == "torch" or (name == "auto" and _has_gpu()):
        return _open_torch(model, card, samples)
    if name == "auto":
        try:
            return _open_converted("openvino", model, card, samples)
        except (MissingExtra, ModelError) as error:
            return replace(_open_torch(model, card, samples), notes=(f"torch is used: {error}",))
    if name not in ENGINES:
        raise ConfigError(f"there is no engine '{name}'; {near_match(name, ['auto', 'torch', *ENGINES])}")
    return _open_converted(name, model, card, samples)


def _open_torch(model: Path, card: Card, samples: NDArray[np.float32] | None) -> Opened:
    """Torch in bf16 where it is faster and changes no more than `DRIFT` of the sample pixels, else in full precision.

    Measured once a model and device, and recorded, so that the same model gives the same answer every time.
    """
    engine = TorchEngine(model, card)
    if not engine.low:
        return Opened(engine)
    folder = model.parent / "engine" / "torch"
    made_for = {"model": _digest(model), "engine": engine.name}
    record = _read_record(folder)
    if {key: record.get(key) for key in made_for} != made_for:
        x = samples_like(card) if samples is None else samples
        found, low = classes_of(engine(x), card), _seconds(engine, x)
        engine.low = False
        drift = float(np.mean(found != classes_of(engine(x), card)))
        record = made_for | {"drift": drift, "faster": low < _seconds(engine, x)}
        write_json(_writable(folder) / _RECORD, record)
    engine.low = record["drift"] <= DRIFT and record["faster"]
    return Opened(engine, drift=record["drift"] if engine.low else 0.0)


def _digest(model: Path) -> str:
    return hashlib.sha256(model.read_bytes()).hexdigest()


def _has_gpu() -> bool:
    """Whether torch has a GPU; asked without importing torch where no driver is there."""
    if not (Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists()):
        return False
    import torch

    return torch.cuda.is_available()


def _open_converted(name: str, model: Path, card: Card, samples: NDArray[np.float32] | None) -> Opened:
    kind = ENGINES[name]
    folder = model.parent / "engine" / name
    digest = _digest(model)
    record = _read_record(folder)
    if record.get("model") != digest or record.get("files") != _sizes(folder):
        folder = _writable(folder)
        precisions = kind.precisions()
        with _running(name):
            kind.convert(model, card, folder)
            record = _choose_precision(kind, folder, model, card, samples, precisions)
        record |= {"model": digest, "engine": name, "files": _sizes(folder)}
        write_json(folder / _RECORD, record)
    if record["drift"] > DRIFT:
        raise ModelError(
            f"{name} differs from torch in {100 * record['drift']:.2f} % of the pixels, more than {100 * DRIFT:.1f} %; "
            "use --engine torch"
        )
    with _running(name):
        return Opened(kind.open(folder, record["precision"]), drift=record["drift"])


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a conversion, to see that it is whole."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("model.*"))}


@contextmanager
def _running(name: str) -> Iterator[None]:
    """Turn what an engine throws into a `ModelError`; each package has exceptions of its own."""
    try:
        yield
    except (CatenaryError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{name} cannot run this network ({reason}); use --engine torch") from error


def _writable(folder: Path) -> Path:
    """The folder, made; a temporary one for this process when the run's place is read-only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError:
        import atexit
        import shutil
        import tempfile

        folder = Path(tempfile.mkdtemp(prefix="catenary-engine-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def _choose_precision(
    kind: _Kind, folder: Path, model: Path, card: Card, samples: NDArray[np.float32] | None, precisions: tuple[str, ...]
) -> dict[str, Any]:
    """The fastest precision whose answers agree with torch's in full precision; else the last with its drift.

    Half precision is not faster on every processor that has it: without matrix units it can be slower.
    """
    x = samples_like(card) if samples is None else samples
    wanted = classes_of(TorchEngine(model, card, exact=True)(x), card)
    tried: list[dict[str, Any]] = []
    for precision in precisions:
        engine = kind.open(folder, precision)
        drift = float(np.mean(classes_of(engine(x), card) != wanted))
        seconds = _seconds(engine, x) if len(precisions) > 1 else 0.0
        tried.append({"precision": precision, "drift": drift, "seconds": seconds, "pixels": int(wanted.size)})
    agreeing = [one for one in tried if one["drift"] <= DRIFT]
    return min(agreeing, key=lambda one: one["seconds"]) if agreeing else tried[-1]


def _seconds(engine: Engine, x: NDArray[np.float32], *, repeats: int = 2) -> float:
    """Time of one answer, the shortest of some; the engine has answered before."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        engine(x)
        times.append(time.perf_counter() - start)
    return min(times)


def classes_of(probability: NDArray[np.float32], card: Card) -> NDArray[Any]:
    """Decided classes ``(n, h, w)``, or ``(n, k, h, w)`` booleans where each logit decides for itself."""
    if card.labels.task == "exclusive":
        return np.asarray(probability.argmax(1))
    limits = np.asarray(card.thresholds or [0.5] * probability.shape[1], np.float32)
    decided: NDArray[np.bool_] = probability > limits[:, None, None]
    return decided


def samples_like(card: Card, *, count: int = 2, side: int = 256) -> NDArray[np.float32]:
    """Made-up normalised tiles with smooth and fine structure, for checks where no real image is at hand."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(count, card.channels, side // 16, side // 16)).repeat(16, 2).repeat(16, 3)
    fine = rng.normal(size=(count, card.channels, side, side))
    return (coarse + 0.3 * fine).astype(np.float32)
