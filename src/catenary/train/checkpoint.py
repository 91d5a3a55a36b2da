"""Checkpoints without pickle: tensors in a safetensors file, everything else as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from catenary.errors import ModelError
from catenary.io.files import atomic

__all__ = ["load_checkpoint", "pack_optimizer", "save_checkpoint", "unpack_optimizer"]


def save_checkpoint(path: Path, groups: Mapping[str, Mapping[str, Tensor]], record: Mapping[str, Any]) -> None:
    """Write named groups of tensors and a JSON record; the file appears whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.torch import save_file

    flat = {
        f"{group}/{name}": value.detach().cpu().contiguous().clone()
        for group, tensors in groups.items()
        for name, value in tensors.items()
    }
    with atomic(path) as temporary:
        save_file(flat, str(temporary), metadata={"record": json.dumps(record)})


def load_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Raises:
        ModelError: The file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(str(path), framework="pt") as file:
            record = json.loads(file.metadata()["record"])
            for key in file.keys():  # noqa: SIM118 - the handle is not a mapping
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"checkpoint {path} cannot be read ({error}); delete the folder and start the run anew without --resume"
        ) from error
    return groups, record


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors and JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{name}"] = value
            elif value is not None:
                rest.setdefault(str(index), {})[name] = value
    return tensors, {"rest": rest, "param_groups": state["param_groups"]}


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Put back what `pack_optimizer` took out."""
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in record["rest"].items()}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": record["param_groups"]})
