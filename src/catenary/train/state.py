"""What changes while a network is trained, and its way to disk and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from catenary.train.checkpoint import load_checkpoint, pack_optimizer, save_checkpoint, unpack_optimizer
from catenary.train.schedule import Plateau

__all__ = ["State", "copied", "has_checkpoint", "restore", "save", "unwrapped"]


@dataclass
class State:
    """Everything that changes while training; what a checkpoint holds."""

    module: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    plateau: Plateau
    best: dict[str, Tensor]
    best_score: float = -math.inf
    best_step: int = 0
    step: int = 0
    seconds: float = 0.0
    validations: int = 0
    validation_seconds: float = 0.0
    finished: bool = False
    constant_rounds: int = 0
    losses: list[float] = field(default_factory=list)
    start: str = ""


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The weights and statistics of a network, as they are now."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def unwrapped(module: nn.Module) -> nn.Module:
    """The network itself, without what Fabric wrapped around it."""
    inner = module
    while hasattr(inner, "module") and isinstance(inner.module, nn.Module):
        inner = inner.module
    return inner


_COUNTERS = (
    "best_score", "best_step", "step", "seconds", "validations", "validation_seconds", "constant_rounds", "losses",
    "finished", "start",
)  # fmt: skip


def _place(folder: Path) -> Path:
    return folder / "checkpoint" / "last.safetensors"


def has_checkpoint(folder: Path) -> bool:
    """Whether `save` has written into a run's folder."""
    return _place(folder).exists()


def save(state: State, folder: Path) -> None:
    """Write ``checkpoint/last.safetensors`` into a run's folder."""
    tensors, record = pack_optimizer(state.optimizer)
    save_checkpoint(
        _place(folder),
        {
            "module": unwrapped(state.module).state_dict(),
            "average": state.average.state_dict(),
            "best": state.best,
            "optimizer": tensors,
        },
        {
            "optimizer": record,
            "plateau": state.plateau.state(),
            "counters": {name: getattr(state, name) for name in _COUNTERS},
        },
    )


def restore(state: State, folder: Path) -> bool:
    """Take over what `save` wrote; False when there is nothing.

    Raises:
        ModelError: The checkpoint is damaged.
    """
    if not has_checkpoint(folder):
        return False
    groups, record = load_checkpoint(_place(folder))
    unwrapped(state.module).load_state_dict(groups["module"])
    state.average.load_state_dict(groups["average"])
    device = next(state.average.parameters()).device
    state.best = {name: value.to(device) for name, value in groups["best"].items()}
    unpack_optimizer(state.optimizer, groups.get("optimizer", {}), record["optimizer"])
    state.plateau.restore(record["plateau"])
    for name, value in record["counters"].items():
        setattr(state, name, value)
    return True
