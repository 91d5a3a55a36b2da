"""Anatomical tidying of label maps: the largest part of a class kept, its holes filled, where validation shows a gain.

Whether a step helps depends on the data: it is chosen class by class on validation cases, and only kept when cases
that had no say in the choice gain by it (leave one case out).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from catenary.data.extent import bounding_box
from catenary.data.labels import LabelSet
from catenary.types import IGNORE

__all__ = ["STEPS", "choose_steps", "clean_label", "clean_mask", "dice_of_steps"]

#: What may be done to a class, in this order: ways to combine the steps, from nothing on.
STEPS: tuple[tuple[str, ...], ...] = ((), ("largest",), ("fill",), ("largest", "fill"))
#: Mean Dice that cases without a say must gain.
GAIN = 0.001


def clean_mask(mask: Bool[np.ndarray, "*s"], steps: Sequence[str]) -> Bool[np.ndarray, "*s"]:
    """A mask with only its largest part (26 or 8 neighbours) and its holes filled, as `steps` say.

    >>> mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]], bool)
    >>> clean_mask(mask, ("largest", "fill")).astype(int).tolist()
    [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    """
    if not steps or not mask.any():
        return mask
    box = bounding_box(mask)
    part: NDArray[np.bool_] = mask[box]
    if "largest" in steps:
        import cc3d

        part = cc3d.largest_k(part, k=1, connectivity=26 if part.ndim == 3 else 8) > 0
    if "fill" in steps:
        from scipy.ndimage import binary_fill_holes

        part = np.asarray(binary_fill_holes(part), bool)
    out = np.zeros_like(mask)
    out[box] = part
    return out


def clean_label(
    label: UInt8[np.ndarray, "*s"], labels: LabelSet, steps: Mapping[str, Sequence[str]]
) -> UInt8[np.ndarray, "*s"]:
    """A label map cleaned class by class: what a class loses becomes background, what it gains was background.

    >>> labels = LabelSet(names=("background", "disc"))
    >>> clean_label(np.array([[1, 1, 0, 1]], np.uint8), labels, {"disc": ("largest",)}).tolist()
    [[1, 1, 0, 0]]
    """
    out = label.copy()
    for index, name in enumerate(labels.names):
        todo = steps.get(name, ())
        if index and todo:
            before = label == index
            after = clean_mask(before, todo)
            out[before & ~after] = 0
            out[after & (out == 0) & (label != IGNORE)] = index
    return out


def dice_of_steps(
    truth: UInt8[np.ndarray, "*s"], planes: Iterable[Bool[np.ndarray, "*s"]], labels: LabelSet
) -> NDArray[np.float64]:
    """Dice of each way in `STEPS` ``(ways, targets)`` of one case; 1 where truth and answer are both empty."""
    known = truth != IGNORE
    scores = []
    for members, plane in zip(labels.target_members(), planes, strict=True):
        true = np.isin(truth, members)
        rows = []
        for steps in STEPS:
            answer = clean_mask(plane, steps) & known
            total = int(true.sum()) + int(answer.sum())
            rows.append(1.0 if total == 0 else 2 * int((true & answer).sum()) / total)
        scores.append(rows)
    return np.array(scores, np.float64).T


def choose_steps(dice: Sequence[NDArray[np.float64]], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The steps of each target that pays them.

    Each case in turn is scored with the way that is best on all others; a target is cleaned, with the way that is best
    on all, when that gains at least `GAIN` on average over nothing being done.

    Args:
        dice: Of each validation case, see `dice_of_steps`.
        names: The targets.

    >>> helps, hurts = np.array([[0.8], [0.9], [0.8], [0.9]]), np.array([[0.9], [0.5], [0.9], [0.5]])
    >>> choose_steps([helps, helps, helps], ["liver"]), choose_steps([helps, hurts, hurts], ["liver"])
    ({'liver': ('largest',)}, {})
    """
    chosen: dict[str, tuple[str, ...]] = {}
    if len(dice) < 3:
        return chosen
    table = np.stack(dice)  # (cases, ways, targets)
    for target, name in enumerate(names):
        own = table[..., target]
        nested = [own[case, np.delete(own, case, axis=0).mean(axis=0).argmax()] for case in range(len(own))]
        best = int(own.mean(axis=0).argmax())
        if best and float(np.mean(nested) - own[:, 0].mean()) >= GAIN:
            chosen[name] = STEPS[best]
    return chosen
