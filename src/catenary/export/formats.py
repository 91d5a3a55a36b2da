"""The formats a network is written in, and how one file is made: converted, run, held against torch, described, put in
its place."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catenary.errors import CatenaryError, ConfigError, MissingExtra, ModelError, OutputError, near_match, writing
from catenary.export.drift import Drift
from catenary.export.graphs import OnnxFile, halved, stamp_onnx, write_onnx
from catenary.export.openvino_files import OpenVinoFile, stamp_openvino, write_openvino
from catenary.export.original import Forward, Original, answers
from catenary.export.passing import pass_integers
from catenary.predict.agreement import DRIFT, LOST
from catenary.predict.backends import TorchEngine
from catenary.predict.card import load_card, load_weights
from catenary.predict.hdf5 import write_hdf5
from catenary.predict.quantize import can_quantize, quantize_file

__all__ = ["FORMATS", "PRECISIONS", "Format", "Written", "check_drift", "write"]

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a network is written.

    Attributes:
        suffixes: Endings of its file, the usual one first.
        precisions: Which of `PRECISIONS` it has.
        make: Writes a network with a precision to a path.
        stamp: Writes a file once more, with a description in it.
        open: Opens a file to be run.
        companion: Ending of a second file that lies beside the first.
    """

    suffixes: tuple[str, ...]
    precisions: tuple[str, ...]
    make: Callable[[Original, str, Path], None]
    stamp: Callable[[Path, Path, dict[str, Any]], None]
    open: Callable[[Path], Forward]
    companion: str = ""


@dataclass(frozen=True, kw_only=True)
class Written:
    """An exported network.

    Attributes:
        path: Its file.
        description: What the file says of itself, see `catenary.export.description`.
        drift: How far its answers depart from torch's.
        size: Bytes, of all its files.
    """

    path: Path
    description: dict[str, Any]
    drift: Drift
    size: int


def _make_onnx(original: Original, precision: str, target: Path) -> None:
    whole = target if precision == "fp32" else target.with_name("whole.onnx")
    write_onnx(original.path, original.card, whole)
    if precision == "fp16":
        halved(whole, target)
    elif precision == "int8":
        rough = target.with_name("rough.onnx")
        _in_integers(original, whole, rough)
        pass_integers(rough, target)


def _make_openvino(original: Original, precision: str, target: Path) -> None:
    whole = target if precision != "int8" else target.with_name("whole.xml")
    write_openvino(original.path, original.card, whole, half=precision == "fp16")
    if precision == "int8":
        _in_integers(original, whole, target)


def _in_integers(original: Original, source: Path, target: Path) -> None:
    if not can_quantize():
        raise MissingExtra("nncf", "fast")
    assert original.ranges is not None  # `write` has looked
    quantize_file(source, target, original.ranges)


def _make_hdf5(original: Original, precision: str, target: Path) -> None:
    write_hdf5(target, load_weights(original.path), original.card.model_dump_json())


def _stamp_hdf5(source: Path, target: Path, description: dict[str, Any]) -> None:
    import h5py

    shutil.copyfile(source, target)
    with h5py.File(str(target), "a") as file:
        file.attrs["export"] = json.dumps(description, allow_nan=False)


def _open_hdf5(path: Path) -> Forward:
    return TorchEngine(path, load_card(path), exact=True)


#: Format -> how it is written.
FORMATS: dict[str, Format] = {
    "onnx": Format(suffixes=(".onnx",), precisions=PRECISIONS, make=_make_onnx, stamp=stamp_onnx, open=OnnxFile),
    "openvino": Format(
        suffixes=(".xml",),
        precisions=PRECISIONS,
        make=_make_openvino,
        stamp=stamp_openvino,
        open=OpenVinoFile,
        companion=".bin",
    ),
    "hdf5": Format(
        suffixes=(".h5", ".hdf5"), precisions=("fp32",), make=_make_hdf5, stamp=_stamp_hdf5, open=_open_hdf5
    ),
}


def write(original: Original, target: Path, *, to: str, precision: str, limit: float) -> Written:
    """Export a network, run the copy, and keep it where it answers as torch does.

    Args:
        original: The network, with the tiles to compare on.
        target: The file; nothing may lie there.
        to: A key of `FORMATS`.
        precision: One of `PRECISIONS`.
        limit: Largest `catenary.export.drift.Drift.decisive`.

    Raises:
        ConfigError: There is no such format or precision, or no images tell the ranges of integers.
        ModelError: The network cannot be converted, or its copy answers otherwise.
        MissingExtra: A package is not installed.
        OutputError: The file is there already, or cannot be written.
    """
    kind = _kind(to, precision, target)
    if precision == "int8" and original.ranges is None:
        raise ConfigError(
            "int8 needs real images that tell the range of every activation, found none; name them with --data, or "
            "export with --precision fp16"
        )
    places = [target, *([target.with_suffix(kind.companion)] if kind.companion else [])]
    for place in places:
        if place.exists():
            raise OutputError(f"{place} is there already; remove it, or choose another --out")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as folder:
            made, final = Path(folder) / f"made{target.suffix}", Path(folder) / target.name
            with _converting(to):
                kind.make(original, precision, made)
                drift = original.compare(kind.open(made))
                check_drift(drift, limit, to, precision)
                description = original.description(precision, drift)
                kind.stamp(made, final, description)
                _check_same(kind, made, final, original)
            ready = [Path(folder) / place.name for place in places]
            size = sum(file.stat().st_size for file in ready)
            for file, place in zip(reversed(ready), reversed(places), strict=True):  # what others refer to goes last
                os.replace(file, place)
    return Written(path=target, description=description, drift=drift, size=size)


def _kind(to: str, precision: str, target: Path) -> Format:
    if to not in FORMATS:
        raise ConfigError(f"there is no format '{to}'; {near_match(to, FORMATS)}")
    kind = FORMATS[to]
    if precision not in kind.precisions:
        raise ConfigError(f"{to} has no precision '{precision}'; use {' or '.join(kind.precisions)}")
    if target.suffix.lower() not in kind.suffixes:
        raise ConfigError(
            f"a file for {to} ends in {' or '.join(kind.suffixes)}, found '{target.name}'; choose another --out"
        )
    return kind


def check_drift(drift: Drift, limit: float, to: str, precision: str) -> None:
    """Refuse a copy that departs too far.

    Raises:
        ModelError: `catenary.export.drift.Drift.decisive` is above the limit, or `Drift.lost` above ten times of it.
    """
    ratio = LOST / DRIFT
    if drift.decisive <= limit and drift.lost <= ratio * limit:
        return
    what = "of the pixels change class" if drift.scope == "pixel" else "is the mean change of a probability"
    share, most = drift.decisive, limit
    if share <= limit:
        what, share, most = "of a target's Dice is lost", drift.lost, ratio * limit
    remedy = "--precision fp16" if precision == "int8" else "another format"
    raise ModelError(
        f"in {precision} {100 * share:.3g} % {what} ({to}, {drift.tiles} tiles, {drift.on}), more than "
        f"{100 * most:.3g} %; use {remedy}, or allow more with --drift"
    )


def _check_same(kind: Format, made: Path, final: Path, original: Original) -> None:
    """What was described answers as what was measured."""
    first = original.check[:1]
    if not np.array_equal(answers(kind.open(made), first), answers(kind.open(final), first)):
        raise ModelError(f"{final.name} answers otherwise once it is described; please report this")


@contextmanager
def _converting(to: str) -> Iterator[None]:
    """Turn what a converter throws into a `ModelError`; its warnings are about its own insides."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (CatenaryError, MemoryError, OSError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"this network cannot be written for {to} ({reason}); use another format") from error
