"""Losses of overlap: soft Dice, Tversky, focal Tversky, Lovász.

The absent class. A class without one target pixel (in the batch, or in the image when taken image by image) has no
overlap to measure. Its term is then the mean error of its pixels, for Dice and Tversky the mean probability that it
was given: 0 when nothing is predicted, 1 when it is predicted everywhere, with the same pull on every false positive
however many there are. A class that is present always has a denominator above 0, so there is no smoothing constant,
which would reward the neglect of small objects.

Common arguments:

- ``batch``: Counts run over the whole batch; else each image has its own index, and they are averaged.
- ``background``: Let class 0 of exclusive classes take part.

Class weights are those of the average over classes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from catenary.losses.parts import Pair, in_full_precision, mean_over_classes

__all__ = ["focal_tversky", "lovasz", "soft_dice", "tversky"]

#: Keeps the slope of the focal Tversky loss finite where the overlap is perfect.
_SLACK = 1e-6


@in_full_precision
def tversky(pair: Pair, *, alpha: float = 0.5, batch: bool = True, background: bool = False) -> Float[Tensor, ""]:
    """One minus the Tversky index, ``TP / (TP + alpha FP + (1 - alpha) FN)`` with soft counts (Salehi et al. 2017).

    Args:
        pair: Logits and label map.
        alpha: Weight of false positives, 0..1; false negatives get the rest. 0.5 is `soft_dice`.
        batch, background: See the module.

    Returns:
        A value in 0..1; see the module on classes that are absent.

    >>> pair = Pair(torch.tensor([[[[50.0, 50.0, -50.0, -50.0]]]]), torch.tensor([[[1, 0, 0, 0]]]))
    >>> round(tversky(pair, alpha=0.2).item(), 4)  # 1 - 1 / (1 + 0.2 * 1 + 0.8 * 0)
    0.1667
    """
    judged = pair.judged(background)
    return mean_over_classes(_tversky_terms(pair, judged, alpha, batch), pair.weights[judged])


@in_full_precision
def soft_dice(pair: Pair, *, batch: bool = True, background: bool = False) -> Float[Tensor, ""]:
    """One minus the soft Dice coefficient, ``1 - 2 sum(p y) / (sum(p) + sum(y))``, averaged over classes.

    After Milletari et al. (2016), with plain sums instead of squares. Arguments and result are those of `tversky`.

    >>> pair = Pair(torch.tensor([[[[50.0, -50.0, -50.0, -50.0]]]]), torch.tensor([[[1, 1, 0, 0]]]))
    >>> round(soft_dice(pair).item(), 4)  # 1 - 2 * 1 / (1 + 2)
    0.3333
    """
    return tversky(pair, alpha=0.5, batch=batch, background=background)


@in_full_precision
def focal_tversky(
    pair: Pair, *, alpha: float = 0.5, gamma: float = 4 / 3, batch: bool = True, background: bool = False
) -> Float[Tensor, ""]:
    """``(1 - Tversky index) ** (1 / gamma)`` of each class, averaged (Abraham and Khan 2019).

    Above 1, `gamma` lifts small losses: a class that is nearly right keeps pulling.

    Args:
        pair: Logits and label map.
        alpha: Weight of false positives, 0..1; false negatives get the rest (0.3 and 0.7 in the paper).
        gamma: Above 0; 1 is `tversky`.
        batch, background: See the module.

    Returns:
        A value in 0..1; see the module on classes that are absent.

    >>> pair = Pair(torch.tensor([[[[50.0, 50.0, -50.0, -50.0]]]]), torch.tensor([[[1, 0, 0, 0]]]))
    >>> round(focal_tversky(pair, alpha=0.2).item(), 4)  # (1 / 6) ** 0.75
    0.2608
    """
    judged, power = pair.judged(background), 1 / gamma
    terms = _tversky_terms(pair, judged, alpha, batch).clamp_min(0)
    terms = (terms + _SLACK) ** power - _SLACK**power
    return mean_over_classes(terms, pair.weights[judged])


@in_full_precision
def lovasz(pair: Pair, *, batch: bool = True, background: bool = False) -> Float[Tensor, ""]:
    """Lovász extension of the Jaccard loss (Berman et al. 2018): of the hinge for sigmoids, of the softmax otherwise.

    On errors of 0 and 1 the value is one minus the Jaccard index, and between them it is the tightest convex bound.
    All pixels are sorted by error, so with several processes `batch` means the pixels of each process by themselves.

    Args:
        pair: Logits and label map.
        batch, background: See the module.

    Returns:
        A value from 0 up, at most 1 for exclusive classes; 0 when no pixel counts.

    >>> pair = Pair(torch.tensor([[[[0.5, -2.0, 3.0, -3.0]]]]), torch.tensor([[[1, 0, 0, 1]]]))
    >>> round(lovasz(pair).item(), 4)  # errors 4, 4, 0.5 in order: 4 * (1/2 + (2/3 - 1/2)) + 0.5 * (1 - 2/3)
    2.8333
    """
    judged = pair.judged(background)
    truth = pair.truth[:, judged]
    if pair.exclusive:
        errors = truth + (1 - 2 * truth) * pair.probability[:, judged]
    else:
        errors = (1 - (2 * truth - 1) * pair.logits).relu()
    errors, truth, mask = (_rows(x, batch) for x in (errors, truth, pair.mask))
    errors = errors * mask
    absent = errors.sum(2) / mask.sum(2).clamp_min(1)
    # Ignored pixels come last, where they cannot enter the index of the others.
    order = torch.where(mask > 0, errors.detach(), -1.0).argsort(2, descending=True)
    slopes = _jaccard_slopes(truth.gather(2, order))
    terms = torch.where(truth.sum(2) > 0, (errors.gather(2, order) * slopes).sum(2), absent)
    return mean_over_classes(terms, pair.weights[judged])


def _tversky_terms(pair: Pair, judged: slice, alpha: float, batch: bool) -> Float[Tensor, "r k"]:
    p, y, seen = pair.probability[:, judged].flatten(2), pair.truth[:, judged].flatten(2), pair.mask.flatten(2)
    counts = torch.stack([(p * y).sum(2), (p * seen).sum(2), y.sum(2), seen.sum(2).expand(-1, p.shape[1])])
    if batch:
        counts = pair.reduce(counts.sum(1, keepdim=True))
    hit, given, there, pixels = counts
    # TP + alpha FP + (1 - alpha) FN with FP = given - hit and FN = there - hit
    whole = (alpha * given + (1 - alpha) * there).clamp_min(1e-6)
    return torch.where(there > 0, 1 - hit / whole, given / pixels.clamp_min(1))


def _rows(x: Float[Tensor, "b k *s"], batch: bool) -> Float[Tensor, "r k n"]:
    """The pixels of each image, or of the whole batch, in rows."""
    return x.movedim(0, 1).flatten(1)[None] if batch else x.flatten(2)


def _jaccard_slopes(truth: Float[Tensor, "r k n"]) -> Float[Tensor, "r k n"]:
    """By how much one minus the Jaccard index grows with each further wrong pixel, in the order given.

    In closed form: the difference of neighbouring indices would cancel where millions of pixels count.
    """
    inside = truth > 0
    left = truth.sum(2, keepdim=True) - truth.cumsum(2)  # target pixels still right
    union = (truth.sum(2, keepdim=True) + (1 - truth).cumsum(2)).clamp_min(1)
    return torch.where(inside, 1 / union, left / (union * (union - 1)).clamp_min(1))
