"""What all losses share: the meaning of a label map for each logit, precision, weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from catenary.errors import ConfigError, InputError
from catenary.types import IGNORE

__all__ = ["Reduce", "counted", "exclusive", "itself", "loss", "mean_of", "multi_hot", "weights_of"]

#: Adds a tensor of sums over all processes, differentiably; `itself` for one process.
Reduce = Callable[[Tensor], Tensor]

Options = ParamSpec("Options")
Loss = Callable[Concatenate[Tensor, Tensor, Options], Tensor]  # not to be confused with the recipe's


def loss(function: Loss[Options]) -> Loss[Options]:
    """Make a function of (logits, label map) a loss: shapes are checked, sums run in float32 whatever autocast says.

    Half precision would lose the small terms of sums over many pixels; float64 logits stay float64.

    Raises:
        InputError: When logits and label map do not cover the same pixels.
        ConfigError: When there are class weights, but not one for each logit.
    """

    @wraps(function)
    def run(logits: Tensor, target: Tensor, /, *args: Options.args, **options: Options.kwargs) -> Tensor:
        weights = options.get("class_weights", ())
        if logits.shape[:1] + logits.shape[2:] != target.shape:
            raise InputError(
                f"logits of shape {tuple(logits.shape)} and a label map of shape {tuple(target.shape)} do not cover "
                "the same pixels; give logits (b, k, ...) and labels (b, ...)"
            )
        if isinstance(weights, Sequence) and weights and len(weights) != logits.shape[1]:
            raise ConfigError(
                f"loss.class_weights needs one weight for each of the {logits.shape[1]} logits, "
                f"found {len(weights)}; leave it empty for equal weights"
            )
        with torch.autocast(logits.device.type, enabled=False):
            return function(logits if logits.dtype == torch.float64 else logits.float(), target, *args, **options)

    return run


def itself(sums: Tensor) -> Tensor:
    """The sums of one process."""
    return sums


def exclusive(logits: Tensor, table: Tensor | None) -> bool:
    """Whether the logits compete (softmax): several, and no table that says what each stands for."""
    return table is None and logits.shape[1] > 1


def multi_hot(
    target: Integer[Tensor, " b *s"], table: UInt8[Tensor, "256 k"] | None, channels: int, dtype: torch.dtype
) -> Float[Tensor, "b k *s"]:
    """Target 0 or 1 of each logit and pixel; 0 everywhere in ignored pixels.

    Args:
        target: Label map.
        table: Target of each logit by label; None for one logit a class (or one logit for class 1).
        channels: Number of logits.
        dtype: Type of the result.

    >>> multi_hot(torch.tensor([[0, 1, 255]]), None, 2, torch.float32)
    tensor([[[1., 0., 0.],
             [0., 1., 0.]]])
    """
    first = int(channels == 1)
    if table is None:
        return torch.stack([target == first + channel for channel in range(channels)], 1).to(dtype)
    return table.to(dtype)[:, :channels].t()[:, target.long()].movedim(0, 1)


def weights_of(class_weights: Sequence[float], logits: Float[Tensor, "b k *s"]) -> Float[Tensor, " k"]:
    """The weights as a tensor beside `logits`; ones when there are none."""
    return logits.new_tensor(class_weights or (1.0,) * logits.shape[1])


def mean_of(total: Float[Tensor, ""], weight: Float[Tensor, ""], reduce: Reduce = itself) -> Float[Tensor, ""]:
    """``total / weight`` over all processes; 0, with zero gradient, when nothing has weight."""
    total, weight = reduce(torch.stack((total, weight)))
    return total / torch.where(weight > 0, weight, 1.0)


def counted(target: Integer[Tensor, " b *s"]) -> Tensor:
    """Where pixels count: everywhere but in IGNORE."""
    return target != IGNORE
