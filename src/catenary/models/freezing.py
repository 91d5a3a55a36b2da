"""Which parts of a network learn, and how fast: freezing, gradual unfreezing, a lower rate for the encoder."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from catenary.errors import ConfigError
from catenary.models.encoders import Backbone, encoder_of

__all__ = ["freeze", "parameter_groups", "stages", "unfreeze"]


def stages(network: nn.Module) -> list[list[nn.Module]]:
    """The encoder's modules with parameters, by the first feature that they have a part in, the image's side first.

    >>> from catenary.models.encoder_unet import EncoderUNet
    >>> [len(stage) for stage in stages(EncoderUNet(encoder="resnet18"))]
    [2, 8, 10, 10, 10]
    """
    encoder = encoder_of(network)
    return [[encoder.get_submodule(name) for name in stage] for stage in encoder.stages()]


def freeze(network: nn.Module, stages: int | Literal["all"] = "all") -> None:
    """Keep the first stages of the encoder as they are: their parameters, and the running statistics of their norms.

    These stay in evaluation mode whatever ``network.train()`` says, also in copies. What was frozen before and lies
    deeper is thawed.

    Args:
        network: See `load_encoder`.
        stages: How many, from the image's side; 0 thaws all.

    Raises:
        ConfigError: There are fewer stages.

    >>> from catenary.models.encoder_unet import EncoderUNet
    >>> network = EncoderUNet(encoder="resnet18")
    >>> freeze(network)
    >>> any(p.requires_grad for p in network.encoder.parameters()), network.train().encoder.net.bn1.training
    (False, False)
    """
    encoder = encoder_of(network)
    found = encoder.stages()
    number = _number(stages, len(found))
    encoder.frozen = tuple(name for stage in found[:number] for name in stage)
    for name in (name for stage in found for name in stage):
        for parameter in encoder.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(name not in encoder.frozen)
    encoder.train(encoder.training)


def unfreeze(network: nn.Module, stages: int | Literal["all"] = "all") -> list[nn.Parameter]:
    """Let the deepest stages of the encoder learn, the others stay as they are (Howard and Ruder 2018).

    Gradual unfreezing calls it with 1, then 2, and so on.

    Args:
        network: See `load_encoder`.
        stages: How many, from the deepest.

    Returns:
        The parameters that it thawed, for ``optimizer.add_param_group`` when the optimiser was made without them.

    Raises:
        ConfigError: There are fewer stages.
    """
    encoder = encoder_of(network)
    number = _number(stages, len(encoder.stages()))
    still = [p for p in encoder.parameters() if not p.requires_grad]
    deepest = [name for stage in encoder.stages()[::-1][:number] for name in stage]
    for name in deepest:
        for parameter in encoder.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(True)
    encoder.frozen = tuple(name for name in encoder.frozen if name not in {*deepest})
    encoder.train(encoder.training)
    return [p for p in still if p.requires_grad]


def parameter_groups(
    network: nn.Module, lr: float, encoder_lr: float | None = None, *, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """What is to be trained, as groups for an optimiser: a pretrained encoder learns slower than a new decoder.

    Biases and normalisations, which have one dimension, are spared the weight decay; what is frozen is in no group.

    Args:
        network: Any network; without an encoder it has one rate.
        lr: Learning rate.
        encoder_lr: That of the encoder; None for a tenth.
        weight_decay: Of weights of more than one dimension.

    Returns:
        Dictionaries with ``params``, ``lr``, ``weight_decay`` and ``scale``, the share of `lr`, for a schedule that
        sets one rate for all.

    >>> from catenary.models.encoder_unet import EncoderUNet
    >>> [(group["lr"], group["scale"]) for group in parameter_groups(EncoderUNet(encoder="resnet18"), 1e-3, 1e-4)]
    [(0.001, 1.0), (0.001, 1.0), (0.0001, 0.1), (0.0001, 0.1)]
    """
    encoder = getattr(network, "encoder", None)
    inside = {id(p) for p in encoder.parameters()} if isinstance(encoder, Backbone) else set()
    slow = lr / 10 if encoder_lr is None else encoder_lr
    free = [p for p in network.parameters() if p.requires_grad]
    groups = []
    for rate, chosen in (
        (lr, [p for p in free if id(p) not in inside]),
        (slow, [p for p in free if id(p) in inside]),
    ):
        for decay, members in (
            (weight_decay, [p for p in chosen if p.ndim > 1]),
            (0.0, [p for p in chosen if p.ndim <= 1]),
        ):
            if members:
                groups.append({"params": members, "lr": rate, "weight_decay": decay, "scale": rate / lr})
    return groups


def _number(stages: int | str, there: int) -> int:
    number = there if stages == "all" else stages
    if not isinstance(number, int) or not 0 <= number <= there:
        raise ConfigError(f"the encoder has {there} stages, found {stages!r}; give a number up to that, or 'all'")
    return number
