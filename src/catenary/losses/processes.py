"""Losses over several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

from catenary.losses.parts import Reduce, itself

__all__ = ["summed_over_processes"]


def summed_over_processes() -> Reduce:
    """The `Reduce` of this moment: sums over the processes of `torch.distributed`, or `itself` where there is but one.

    With it, every process has the loss of the joint batch, and gradients that are averaged over processes
    (`torch.nn.parallel.DistributedDataParallel`) are those of the joint batch. All processes must call the loss
    equally often; one that computes it alone, for validation say, takes `itself`.

    >>> summed_over_processes() is itself  # no process group
    True
    """
    together = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    return _Sum.apply if together else itself


class _Sum(torch.autograd.Function):
    # Process r of W has sums s_r(w) of its share of the batch; the loss of the joint batch is L = f(S), S = s_1 + ... +
    # s_W, with gradient f'(S) * (ds_1/dw + ... + ds_W/dw). Every process computes f(S) and goes backward through its
    # own s_r alone; what it gets is averaged over processes, which divides by W. So each must come to W f'(S) ds_r/dw:
    # the backward of the sum multiplies by W. That is what summing the incoming gradients of all processes would give
    # as well, since they are all equal to f'(S), but without a second exchange.
    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        total = sums.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * distributed.get_world_size()
