"""What all losses share: what logits and a label map say of one another, averages, sums over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, wraps
from typing import Concatenate, ParamSpec

import torch
from jaxtyping import Bool, Float, Int64, Integer, UInt8
from torch import Tensor

from catenary.errors import ConfigError, InputError
from catenary.types import IGNORE

__all__ = [
    "Pair",
    "Reduce",
    "check_weights",
    "in_full_precision",
    "itself",
    "mean_of",
    "mean_over_classes",
    "multi_hot",
]

#: Adds a tensor of sums over all processes, differentiably; `itself` for one process.
Reduce = Callable[[Tensor], Tensor]

Options = ParamSpec("Options")


def itself(sums: Tensor) -> Tensor:
    """The sums of one process."""
    return sums


class Pair:
    """Logits and the label map that they should meet: the one argument that every loss takes.

    What several losses want to know is worked out once, on first use, so that a sum of losses costs little more than
    its dearest part. Half precision would lose the small terms of sums over many pixels, so everything is in float32
    (float64 where the logits are).

    Args:
        logits: Network outputs.
        target: Label map; pixels of `catenary.types.IGNORE` count nowhere.
        table: Target of each logit by label, `LabelSet.multi_hot`; each logit is then a sigmoid of its own (binary and
            overlapping classes). Without it one logit is the sigmoid of class 1, several are a softmax.
        class_weights: Weight of each logit; equal when empty. What it weighs is the loss's to say.
        reduce: Adds sums over all processes, `summed_over_processes`.

    Attributes:
        exclusive: Whether the logits compete (softmax).
        weighted: Whether there are class weights.

    Raises:
        InputError: When logits and label map do not cover the same pixels.
        ConfigError: When there are class weights, but not one for each logit.

    >>> pair = Pair(torch.zeros(1, 2, 3), torch.tensor([[0, 1, 255]]))
    >>> pair.truth
    tensor([[[1., 0., 0.],
             [0., 1., 0.]]])
    >>> pair.probability.unique(), pair.counted
    (tensor([0.5000]), tensor([[ True,  True, False]]))
    """

    def __init__(
        self,
        logits: Float[Tensor, "b k *s"],
        target: Integer[Tensor, "..."],
        *,
        table: UInt8[Tensor, "256 k"] | None = None,
        class_weights: Sequence[float] = (),
        reduce: Reduce = itself,
    ) -> None:
        if logits.shape[:1] + logits.shape[2:] != target.shape:
            raise InputError(
                f"logits of shape {tuple(logits.shape)} and a label map of shape {tuple(target.shape)} do not cover "
                "the same pixels; give logits (b, k, ...) and labels (b, ...)"
            )
        check_weights(class_weights, logits.shape[1])
        self.logits: Float[Tensor, "b k *s"] = logits if logits.dtype == torch.float64 else logits.float()
        self.target = target
        self.table = table
        self.reduce = reduce
        self.weighted = bool(class_weights)
        self.weights: Float[Tensor, " k"] = self.logits.new_tensor(class_weights or (1.0,) * logits.shape[1])
        self.exclusive = table is None and logits.shape[1] > 1

    @cached_property
    def label(self) -> Int64[Tensor, "b *s"]:
        """The label map as indices."""
        return self.target.long()

    @cached_property
    def counted(self) -> Bool[Tensor, "b *s"]:
        """Where pixels count: everywhere but in IGNORE."""
        return self.target != IGNORE

    @cached_property
    def mask(self) -> Float[Tensor, "b 1 *s"]:
        """`counted` as factors, for all logits."""
        return self.counted[:, None].to(self.logits.dtype)

    @cached_property
    def truth(self) -> Float[Tensor, "b k *s"]:
        """Target 0 or 1 of each logit and pixel; 0 everywhere in ignored pixels."""
        return multi_hot(self.target, self.table, self.logits.shape[1], self.logits.dtype)

    @cached_property
    def log_probability(self) -> Float[Tensor, "b k *s"]:
        """Logarithm of the softmax, for exclusive classes."""
        return self.logits.log_softmax(1)

    @cached_property
    def probability(self) -> Float[Tensor, "b k *s"]:
        """Softmax or sigmoids."""
        return self.log_probability.exp() if self.exclusive else self.logits.sigmoid()

    def judged(self, background: bool = False) -> slice:
        """The logits that take part in losses of regions: all but the background of exclusive classes."""
        return slice(int(self.exclusive and not background), None)


def check_weights(class_weights: Sequence[float], channels: int) -> None:
    """Raise a `ConfigError` when there are class weights, but not one for each logit."""
    if class_weights and len(class_weights) != channels:
        raise ConfigError(
            f"loss.class_weights needs one weight for each of the {channels} logits, found {len(class_weights)}; "
            "leave it empty for equal weights"
        )


def in_full_precision(
    function: Callable[Concatenate[Pair, Options], Tensor],
) -> Callable[Concatenate[Pair, Options], Tensor]:
    """Let a loss run as written, whatever autocast says outside."""

    @wraps(function)
    def run(pair: Pair, /, *args: Options.args, **options: Options.kwargs) -> Tensor:
        with torch.autocast(pair.logits.device.type, enabled=False):
            return function(pair, *args, **options)

    return run


def multi_hot(
    target: Integer[Tensor, "b *s"], table: UInt8[Tensor, "256 k"] | None, channels: int, dtype: torch.dtype
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


def mean_of(total: Float[Tensor, ""], weight: Float[Tensor, ""], reduce: Reduce = itself) -> Float[Tensor, ""]:
    """``total / weight`` over all processes; 0, with zero gradient, when nothing has weight."""
    total, weight = reduce(torch.stack((total, weight)))
    return total / torch.where(weight > 0, weight, 1.0)


def mean_over_classes(terms: Float[Tensor, "r k"], weights: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """Weighted mean over classes, plain mean over rows (images, or one row for the batch); 0 without weight."""
    return (terms * weights).sum(1).mean() / weights.sum().clamp_min(1e-12)
