"""Where a network starts: fresh weights, a pretrained encoder, or another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from catenary.data.labels import LabelSet
from catenary.errors import ConfigError, ModelError
from catenary.models import build
from catenary.models.freezing import freeze, stages, unfreeze
from catenary.models.pretrained import adapted, load_encoder
from catenary.predict.card import load_card, load_weights
from catenary.recipe import Recipe, Transfer
from catenary.types import Progress, silent

__all__ = ["begin", "check", "hold", "take_over", "thaw"]


def begin(
    recipe: Recipe, labels: LabelSet, *, resumed: bool = False, progress: Progress = silent
) -> tuple[nn.Module, str]:
    """The network of a recipe with its first weights, and in words where they come from.

    Args:
        recipe: Its `model` and `transfer` sections decide; ``train.seed`` draws what is new.
        labels: The classes that its logits stand for.
        resumed: A checkpoint will overwrite all weights: none are loaded.
        progress: Told of a download.

    Raises:
        ModelError: Weights were asked for and are not there, or are those of another network.
    """
    torch.manual_seed(recipe.train.seed)
    network = build(**recipe.model.model_dump())
    told = []
    if recipe.transfer.init and not resumed:
        told.append(take_over(network, recipe.transfer.init, labels))
    if recipe.transfer.weights and not resumed:
        found = load_encoder(network, recipe.transfer.weights, progress=progress)
        told.append(f"encoder {found.name} with {found.arrays} arrays of {found.file.name}")
    return network, "; ".join(told) or "fresh weights"


def hold(network: nn.Module, transfer: Transfer) -> None:
    """Freeze the stages of the encoder that the recipe names.

    Raises:
        ConfigError: The network has no encoder of its own kind, or fewer stages.
    """
    if transfer.freeze:
        freeze(network, "all" if transfer.freeze < 0 else transfer.freeze)


def thaw(network: nn.Module, transfer: Transfer, done: float) -> None:
    """Set the frozen stages free one by one, the deepest first, while `done` goes from 0 to ``transfer.unfreeze``.

    Howard and Ruder (2018); the same `done` gives the same state, so that a resumed run needs no memory of it.
    """
    if not transfer.freeze or not transfer.unfreeze:
        return
    every = len(stages(network))
    frozen = every if transfer.freeze < 0 else transfer.freeze
    free = min(frozen, int(frozen * done / transfer.unfreeze))
    if free:
        unfreeze(network, every - frozen + free)


def take_over(network: nn.Module, run: str | Path, labels: LabelSet) -> str:
    """Give a network the weights of a run as far as they fit, and say in words what was taken over.

    Arrays of the same name and shape are copied. Where the number of channels differs, the first layer is adapted
    (`catenary.models.pretrained.adapted`). Logits of classes (or regions) of the same name are copied, those of other
    classes stay fresh.

    Args:
        network: Freshly built.
        run: Folder of a run, or a model file.
        labels: The classes of `network`.

    Raises:
        ModelError: There is no such model, or it is another network.
    """
    card, given = load_card(run), load_weights(run)
    before = {name: index for index, name in enumerate(_logits(card.labels))}
    built: Any = network
    state = network.state_dict()
    counts = {"copied": 0, "adapted": 0, "head": 0}
    fresh: list[str] = []
    for name, value in state.items():
        found = torch.from_numpy(given[name].copy()) if name in given else None
        if found is not None and name.partition(".")[0] in ("head", "heads", "sides"):
            counts["head"] += _copy_logits(value, found, before, _logits(labels))
        elif name.startswith("told."):  # of types that the run was not told, nothing is known
            _copy_columns(value, found, card.recipe.model.disasters, built.disasters)
            counts["copied"] += 1
        elif found is not None and found.shape == value.shape:
            value.copy_(found)
            counts["copied"] += 1
        elif found is not None and _differ_in(found, value, card.channels, built.channels):
            value.copy_(adapted(found, value.shape[1]))
            counts["adapted"] += 1
        else:
            fresh.append(name)
    if fresh:
        there = f"{tuple(given[fresh[0]].shape)}" if fresh[0] in given else "nothing of that name"
        raise ModelError(
            f"the weights of {run} are those of another network: {len(state) - len(fresh)} of {len(state)} arrays fit, "
            f"'{fresh[0]}' needs {tuple(state[fresh[0]].shape)} and finds {there}; leave the model.* settings to that "
            "run, or start without it"
        )
    kept = [name for name in _logits(labels) if name in before]
    told = f"{counts['copied']} of {len(state)} arrays of {Path(run).name}"
    if counts["adapted"]:
        told += f", the first layer fitted from {card.channels} to {network.channels} channels"
    return told + (f", the logits of {', '.join(kept)}" if kept else ", no logit: the classes are others")


def _logits(labels: LabelSet) -> tuple[str, ...]:
    return labels.names if labels.task == "exclusive" else labels.target_names


def _copy_logits(value: Tensor, found: Tensor, before: Mapping[str, int], now: tuple[str, ...]) -> int:
    # The head of a network for two dates grades damage: it has no logit for the background.
    first = len(now) - len(value)
    if value.shape[1:] != found.shape[1:] or first not in (0, 1) or len(before) - len(found) != first:
        return 0
    kept = [
        (index - first, before[name] - first) for index, name in enumerate(now) if name in before and index >= first
    ]
    for index, old in kept:
        value[index] = found[old]
    return len(kept)


def _copy_columns(value: Tensor, found: Tensor | None, before: Sequence[str], now: Sequence[str]) -> None:
    """What was learnt of the types of disaster that both know."""
    if found is None or len(found) != len(value):
        return
    for index, name in enumerate(now):
        if name in before:
            value[:, index] = found[:, before.index(name)]


def _differ_in(found: Tensor, value: Tensor, old: int, new: int) -> bool:
    """Whether two convolutions are the same but for the channels of the images, `old` and `new`."""
    same = found.ndim == value.ndim >= 4 and found[:, 0].shape == value[:, 0].shape
    return same and (found.shape[1], value.shape[1]) == (old, new)


def check(recipe: Recipe) -> None:
    """Refuse what cannot be trained together.

    Raises:
        ConfigError: Stages are to be set free in several processes, which share gradients as they were set up.
    """
    if recipe.transfer.freeze and recipe.transfer.unfreeze and recipe.train.devices > 1:
        raise ConfigError(
            f"transfer.unfreeze = {recipe.transfer.unfreeze:g} needs one process, found train.devices = "
            f"{recipe.train.devices}; set one of them to its default"
        )
