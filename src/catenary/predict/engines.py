"""The engine of a model: converted once, checked against torch, and kept.

All but torch run a converted graph that lies in the run's ``engine/`` folder, with a record of the model file it was
made from and how far it departs from torch; with a fresh one, nothing here imports torch.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.errors import CatenaryError, ConfigError, MissingExtra, ModelError, near_match
from catenary.io.files import file_digest, write_json
from catenary.predict.agreement import DRIFT, LOST, agreement_of
from catenary.predict.backends import (
    QUANTIZED,
    Engine,
    OnnxEngine,
    OpenVinoEngine,
    TorchEngine,
    openvino_precisions,
    to_onnx,
    to_openvino,
)
from catenary.predict.card import MODEL, Card
from catenary.predict.quantize import can_quantize, quantize

__all__ = ["ENGINES", "Opened", "Samples", "kept_in", "open_engine", "samples_like"]

#: A coarser precision is taken when it is so many times faster.
GAIN = 1.2
_RECORD = "engine.json"


@dataclass(frozen=True)
class Opened:
    """An engine ready for use.

    Attributes:
        engine: The engine.
        drift: Share of sample pixels whose class differs from torch's answer in full precision; of whole images, mean
            difference of the probabilities.
        notes: What the user should know, for example that another engine was refused.
    """

    engine: Engine
    drift: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """Normalised tiles of real images to make and to check an engine with.

    Attributes:
        check: ``(n, c, *s)``, on which its answers are compared with torch's.
        ranges: ``(n, c, *s)`` of other images, which tell the ranges of the activations; without them no network
            is turned into integers.
    """

    check: Float32[np.ndarray, "n c *s"]
    ranges: Float32[np.ndarray, "m c *s"] | None = None


@dataclass(frozen=True)
class _Kind:
    """How an engine with a converted graph is made: convert, open, its precisions from the finest on, integers."""

    convert: Callable[[Path, Card, Path], None]
    open: Callable[[Path, str], Engine]
    precisions: Callable[[], tuple[str, ...]]
    quantize: Callable[[Path, NDArray[np.float32]], None] | None = None


#: Engines that run a converted graph; ``"torch"`` needs none.
ENGINES: dict[str, _Kind] = {
    "openvino": _Kind(to_openvino, OpenVinoEngine, openvino_precisions, quantize),
    "onnx": _Kind(to_onnx, OnnxEngine, lambda: ("fp32",)),
}


def open_engine(name: str, model: Path, card: Card, *, samples: Samples | None = None) -> Opened:
    """Open an engine for a model file, converting and checking it when no fresh conversion is kept.

    Args:
        name: ``"auto"``, ``"torch"`` or a key of `ENGINES`.
        model: The model file; conversions are kept beside it, in ``engine/`` or, where it has a name of its own, in
            ``NAME.engine/``.
        card: Its card.
        samples: Tiles of real images for a conversion; it is checked with made-up ones when None.

    Raises:
        ConfigError: There is no such engine.
        MissingExtra: Its package is not installed.
        ModelError: Its answers differ from torch's in more than `DRIFT` of the pixels, or `LOST` of a target.
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


def _open_torch(model: Path, card: Card, samples: Samples | None) -> Opened:
    """Torch in bf16 where it is faster and agrees with full precision on the samples, else in full precision.

    Measured once a model and device, and recorded, so that the same model gives the same answer every time.
    """
    engine = TorchEngine(model, card)
    if not engine.low:
        return Opened(engine)
    folder = kept_in(model) / "torch"
    made_for = {"model": file_digest(model), "engine": engine.name}
    record = _read_record(folder)
    if {key: record.get(key) for key in made_for} != made_for:
        x = samples_like(card) if samples is None else samples.check
        found, low = engine(x), _seconds(engine, x)
        engine.low = False
        agreement = agreement_of(found, engine(x), card)
        record = made_for | {"drift": agreement.drift, "lost": agreement.lost, "faster": low < _seconds(engine, x)}
        write_json(_writable(folder) / _RECORD, record)
    engine.low = _agrees(record) and record["faster"]
    return Opened(engine, drift=record["drift"] if engine.low else 0.0)


def kept_in(model: Path) -> Path:
    """Where the conversions of a model lie; files beside each other must not replace each other's."""
    return model.parent / ("engine" if model.name == MODEL else f"{model.name}.engine")


def _has_gpu() -> bool:
    """Whether torch has a GPU; asked without importing torch where no driver is there."""
    if not (Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists()):
        return False
    import torch

    return torch.cuda.is_available()


def _open_converted(name: str, model: Path, card: Card, samples: Samples | None) -> Opened:
    kind = ENGINES[name]
    folder = kept_in(model) / name
    digest = file_digest(model)
    record = _read_record(folder)
    if record.get("model") != digest or record.get("files") != _sizes(folder):
        folder = _writable(folder)
        with _running(name):
            kind.convert(model, card, folder)
            record = _choose_precision(kind, folder, model, card, samples)
        record |= {"model": digest, "engine": name, "files": _sizes(folder)}
        write_json(folder / _RECORD, record)
    if not _agrees(record):
        what = "of the pixels" if card.labels.scope == "pixel" else "of probability"
        share, limit = record["drift"], DRIFT
        if share <= DRIFT:
            what, share, limit = "of a target's Dice", record["lost"], LOST
        raise ModelError(
            f"{name} differs from torch in {100 * share:.2f} % {what}, more than {100 * limit:g} %; use --engine torch"
        )
    with _running(name):
        return Opened(kind.open(folder, record["precision"]), drift=record["drift"])


def _agrees(record: dict[str, Any]) -> bool:
    """Whether what was measured is near enough to torch's answer."""
    return bool(record["drift"] <= DRIFT and record.get("lost", 0.0) <= LOST)


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a conversion, to see that it is whole."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("model*.*"))}


@contextmanager
def _running(name: str) -> Iterator[None]:
    """Turn what an engine throws into a `ModelError`; each package has exceptions of its own.

    Its warnings are about its own insides: nobody here can act on them, and as errors they would refuse the network.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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


def _choose_precision(kind: _Kind, folder: Path, model: Path, card: Card, samples: Samples | None) -> dict[str, Any]:
    """The finest precision, or a faster one whose answers agree with those of torch in full precision.

    Half precision is not faster on every processor that has it: without matrix units it can be slower.
    """
    x = samples_like(card) if samples is None else samples.check
    precisions = kind.precisions()
    if kind.quantize is not None and samples is not None and samples.ranges is not None and can_quantize():
        try:
            kind.quantize(folder, samples.ranges)
            precisions += ("int8",)
        except ModelError:  # an operation that has no form in integers; the finer precisions remain
            pass
    wanted = TorchEngine(model, card, exact=True)(x)
    tried: list[dict[str, Any]] = []
    for precision in precisions:
        engine = kind.open(folder, precision)
        agreement = agreement_of(engine(x), wanted, card)
        seconds = _seconds(engine, x) if len(precisions) > 1 else 0.0
        record = {"precision": precision, "drift": agreement.drift, "lost": agreement.lost, "seconds": seconds}
        tried.append(record | {"pixels": wanted.size // wanted.shape[1]})
    chosen, *coarser = tried
    for one in coarser:
        if _agrees(one) and one["seconds"] * GAIN <= chosen["seconds"]:
            chosen = one
    if chosen["precision"] != "int8":
        for path in folder.glob(f"{Path(QUANTIZED).stem}.*"):
            path.unlink()
    return chosen | {"tried": tried}


def _seconds(engine: Engine, x: NDArray[np.float32], *, repeats: int = 2) -> float:
    """Time of one answer, the shortest of some; the engine has answered before."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        engine(x)
        times.append(time.perf_counter() - start)
    return min(times)


def samples_like(card: Card, *, count: int = 2, side: int = 256) -> NDArray[np.float32]:
    """Made-up normalised tiles with smooth and fine structure, for checks where no real image is at hand."""
    rng = np.random.default_rng(0)
    rank = card.recipe.model.rank
    # As many voxels of a volume as pixels of an image.
    side = side if rank == 2 else max(32, 16 * round(side ** (2 / 3) / 16))
    if card.labels.scope == "image":  # a network of whole images may know one size only
        side = 16 * -(-max(card.recipe.sample.patch) // 16)
    coarse = rng.normal(size=(count, card.recipe.model.channels, *(side // 16,) * rank))
    for axis in range(2, 2 + rank):
        coarse = coarse.repeat(16, axis)
    fine = rng.normal(size=coarse.shape)
    whole = (coarse + 0.3 * fine).astype(np.float32)
    return (
        whole
        if card.labels.scope == "pixel"
        else whole[..., : card.recipe.sample.patch[0], : card.recipe.sample.patch[1]]
    )
