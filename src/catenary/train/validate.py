"""Validation during training: quick, at working resolution. The final evaluation goes through the predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from catenary.data.labels import LabelSet
from catenary.predict.frames import in_frame, margins
from catenary.predict.prepare import framed
from catenary.train.patches import Case, Store, as_channels
from catenary.types import IGNORE

__all__ = ["Validation", "to_network", "validate"]

_T = TypeVar("_T")

#: Sides of the windows that are validated, of images and of volumes.
_WINDOW = {2: 1024, 3: 128}
_WINDOWS_A_CASE = 4
#: Slices of a volume that a network of rank 2 is validated on.
_SLICES_A_CASE = 16


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
    rank: int = 2,
    slices: int = 1,
    graded: bool = False,
    patch: tuple[int, ...] = (),
) -> Validation:
    """Score `module` (called through `forward`) on all cases of `store`.

    With `graded`, something is there when the probability of the background is below one half, and is then of the
    likeliest class, as `catenary.predict.predictor.Predictor.decide` has it for two dates. Images that are smaller
    than `patch` are seen in a frame of that size, as in training and prediction, and so are those that have one class
    as a whole; of these Dice and IoU are the share with the right class.
    """
    was_training = module.training
    module.eval()
    if labels.scope == "image":
        found = _validate_whole(forward, store, labels, loss, device, channels_last, patch)
        module.train(was_training)
        return found
    table = torch.from_numpy(labels.multi_hot()).to(device)
    losses, dice, iou = [], [], []
    constant, truth_varies = True, False
    for index in range(len(store)):
        case = store[index]
        counts = torch.zeros(3, table.shape[1], dtype=torch.float64)
        for image, label in _parts(case, rank, slices, patch):
            x, target = _tensors(case, image, label, device, channels_last)
            logits = forward(x).float()
            losses.append(float(loss(logits, target)))
            answer = _decide(logits, labels, graded)
            truth = table[target.long()[0]].movedim(-1, 0).bool().flatten(1)
            known = (target[0] != 255)[None].flatten(1)
            both, either = (answer & truth & known), answer & known
            counts += torch.stack([both.sum(1), either.sum(1), (truth & known).sum(1)]).cpu().double()
            constant &= bool(torch.all(answer == answer[:, :1]))
            truth_varies |= bool(torch.any(truth != truth[:, :1]))
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


def _validate_whole(
    forward: Callable[[Tensor], Tensor],
    store: Store,
    labels: LabelSet,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    channels_last: bool,
    patch: tuple[int, ...],
) -> Validation:
    losses, hits, answers = [], [], []
    for index in range(len(store)):
        case = store[index]
        truth = np.full((1, 1), case.whole, np.uint8)
        x, target = _tensors(case, framed(case.image, (patch[0], patch[1])), truth, device, channels_last)
        logits = forward(x).float()
        losses.append(float(loss(logits, target)))
        flat = logits[0].flatten()
        hits.append(int(flat.argmax() if labels.task == "exclusive" else flat[0] > 0) == case.whole)
        answers.append(flat)
    share = float(np.mean(hits))
    same = bool((torch.stack(answers).std(0, correction=0) < 1e-6).all())
    return Validation(loss=float(np.mean(losses)), dice=share, iou=share, constant=same and len(answers) > 1)


def _decide(logits: Tensor, labels: LabelSet, graded: bool) -> Tensor:
    """Boolean answer ``(k, pixels)`` of one image."""
    flat = logits[0].flatten(1)
    if labels.task != "exclusive":
        return flat > 0
    winner = flat.argmax(0)
    if graded:
        nothing = flat.softmax(0)[0] >= 0.5
        winner = torch.where(nothing, 0, flat[1:].argmax(0) + 1)
    return winner[None] == torch.arange(logits.shape[1], device=logits.device)[:, None]


def _parts(
    case: Case, rank: int, slices: int, patch: tuple[int, ...]
) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """The whole image, or a few evenly spaced parts of a large one; a volume as slices for a network of rank 2."""
    shape = case.label.shape
    around = margins(shape[-rank:], patch or shape[-rank:])
    if len(shape) > rank:
        half = slices // 2
        for middle in _evenly(range(shape[0]), _SLICES_A_CASE):
            places = np.clip(np.arange(middle - half, middle + half + 1), 0, shape[0] - 1)
            yield _framed(as_channels(case.image[places]), case.label[middle], around)
        return
    side = _WINDOW[rank]
    cuts = [[slice(a, min(a + side, n)) for a in range(0, n, side)] for n in shape]
    for window in _evenly([*product(*cuts)], _WINDOWS_A_CASE):
        yield _framed(case.image[window], case.label[window], around)


def _framed(
    image: NDArray[Any], label: NDArray[np.uint8], around: tuple[tuple[int, int], ...]
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """What was added to fill a patch has no truth."""
    return in_frame(image, (*around, (0, 0))), in_frame(label, around, fill=IGNORE)


def _evenly(items: Sequence[_T], most: int) -> list[_T]:
    return [items[i] for i in np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)]


def _tensors(
    case: Case, image: NDArray[Any], label: NDArray[np.uint8], device: torch.device, channels_last: bool
) -> tuple[Tensor, Tensor]:
    image = image.astype(np.float32)
    copies = image.shape[-1] // len(case.scale)
    if case.clip is not None:
        image = np.clip(image, *(np.tile(end, copies) for end in case.clip))
    scale, offset = (np.tile(v, copies)[None] for v in (case.scale, case.offset))
    x = to_network(image[None], scale, offset, device, channels_last, told=case.told[None])
    return x, torch.from_numpy(np.ascontiguousarray(label[None])).to(device)


def to_network(
    image: NDArray[np.generic],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    device: torch.device,
    channels_last: bool,
    *,
    told: NDArray[np.float32],
) -> Tensor:
    """``(b, *s, c)`` pixels of any type as normalised float32 ``(b, c, *s)`` on the device.

    What is `told` of each ``(b, d)`` follows as channels that are everywhere alike.
    """
    if image.dtype in (np.uint16, np.uint32):
        image = image.astype(np.float32)  # torch lacks most arithmetic for unsigned types but 8 bit
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device, non_blocking=True).float()
    each = (-1, *(1,) * (pixels.ndim - 2), pixels.shape[-1])
    a, b = (torch.from_numpy(v).to(device).view(each) for v in (scale, offset))
    # A channels-first view of channels-last memory: no copy where the network wants that layout.
    pixels = pixels.mul_(a).add_(b)
    if told.shape[1]:
        planes = torch.from_numpy(told).to(device).view(len(told), *(1,) * (pixels.ndim - 2), -1)
        pixels = torch.cat([pixels, planes.expand(*pixels.shape[:-1], -1)], -1)
    x = pixels.movedim(-1, 1)
    return x if channels_last else x.contiguous()
