"""Validation during training: quick, at working resolution. The final evaluation goes through the predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from catenary.data.labels import LabelSet
from catenary.train.patches import Case, Store

__all__ = ["Validation", "validate"]

_WINDOW = 1024
_WINDOWS_A_CASE = 4


@dataclass(frozen=True, slots=True)
class Validation:
    """Result of one validation.

    Attributes:
        loss: Mean loss over the windows.
        dice, iou: Mean over images and scored classes; an image where truth and answer are both empty counts 1.
        constant: Whether every answer was one single class although the truth was not.
    """

    loss: float
    dice: float
    iou: float
    constant: bool


@torch.inference_mode()
def validate(
    forward: Callable[[Tensor], Tensor],
    module: nn.Module,
    store: Store,
    labels: LabelSet,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    device: torch.device,
    channels_last: bool,
) -> Validation:
    """Score `module` (called through `forward`) on all cases of `store`."""
    was_training = module.training
    module.eval()
    table = torch.from_numpy(labels.multi_hot()).to(device)
    losses, dice, iou = [], [], []
    constant, truth_varies = True, False
    for index in range(len(store)):
        case = store[index]
        counts = torch.zeros(3, table.shape[1], dtype=torch.float64)
        for rows, columns in _windows(case.label.shape):
            x, target = _tensors(case, rows, columns, device, channels_last)
            logits = forward(x).float()
            losses.append(float(loss(logits, target)))
            answer = _decide(logits, labels)
            truth = table[target.long()[0]].movedim(-1, 0).bool()
            known = (target[0] != 255)[None]
            both, either = (answer & truth & known), answer & known
            counts += torch.stack([both.sum((1, 2)), either.sum((1, 2)), (truth & known).sum((1, 2))]).cpu().double()
            constant &= bool(torch.all(answer == answer[:, :1, :1]))
            truth_varies |= bool(torch.any(truth != truth[:, :1, :1]))
        if labels.task == "exclusive":
            counts = counts[:, 1:]
        both_, predicted, true = counts
        empty = (predicted + true) == 0
        dice.append(torch.where(empty, 1.0, 2 * both_ / (predicted + true).clamp(min=1)).mean())
        iou.append(torch.where(empty, 1.0, both_ / (predicted + true - both_).clamp(min=1)).mean())
    module.train(was_training)
    return Validation(
        loss=float(np.mean(losses)),
        dice=float(np.mean(dice)),
        iou=float(np.mean(iou)),
        constant=constant and truth_varies,
    )


def _decide(logits: Tensor, labels: LabelSet) -> Tensor:
    """Boolean answer ``(k, h, w)`` of one image."""
    if labels.task != "exclusive":
        return logits[0] > 0
    winner = logits[0].argmax(0)
    return winner[None] == torch.arange(logits.shape[1], device=logits.device)[:, None, None]


def _windows(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """The whole image, or a few evenly spaced windows of a large one."""
    rows = [slice(a, min(a + _WINDOW, shape[0])) for a in range(0, shape[0], _WINDOW)]
    columns = [slice(a, min(a + _WINDOW, shape[1])) for a in range(0, shape[1], _WINDOW)]
    every = [(r, c) for r in rows for c in columns]
    chosen = np.linspace(0, len(every) - 1, min(_WINDOWS_A_CASE, len(every))).round().astype(int)
    return [every[i] for i in chosen]


def _tensors(
    case: Case, rows: slice, columns: slice, device: torch.device, channels_last: bool
) -> tuple[Tensor, Tensor]:
    image = case.image[rows, columns].astype(np.float32)
    if case.clip is not None:
        image = np.clip(image, *case.clip)
    x = to_network(image[None], case.scale[None], case.offset[None], device, channels_last)
    return x, torch.from_numpy(np.ascontiguousarray(case.label[None, rows, columns])).to(device)


def to_network(
    image: NDArray[np.generic],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    device: torch.device,
    channels_last: bool,
) -> Tensor:
    """``(b, h, w, c)`` pixels of any type as normalised float32 ``(b, c, h, w)`` on the device."""
    if image.dtype == np.uint16:
        image = image.astype(np.float32)  # torch lacks most arithmetic for unsigned 16 bit
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device, non_blocking=True).float()
    a, b = (torch.from_numpy(v).to(device)[:, None, None, :] for v in (scale, offset))
    # A channels-first view of channels-last memory: no copy where the network wants that layout.
    x = pixels.mul_(a).add_(b).permute(0, 3, 1, 2)
    return x if channels_last else x.contiguous()
