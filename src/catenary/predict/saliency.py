"""Where a classifier looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391).

A map shows which places of the last features raised the logit of a class. It does not show why, nor that the reason is
a medical one: a network that reads a camera's label in the corner gets a map that points there, and one that is right
by chance gets a map too. It is coarse (one value for each place of the last features, drawn smooth over the image), and
it is scaled to each image's own largest value, so that two maps cannot be compared in strength.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray

from catenary.errors import ConfigError, InputError
from catenary.predict.backends import answering_module
from catenary.predict.card import Card, load_card, model_path
from catenary.predict.classify import seen_by
from catenary.predict.prepare import framed, resize_image, working_shape
from catenary.types import Image

if TYPE_CHECKING:
    from torch import Tensor

    from catenary.models.classifier import Classifier

__all__ = ["Saliency", "grad_cam"]


class Saliency:
    """The maps of a model file; call it with an image and a class.

    Args:
        model: A run, or a model file, of a network for whole images.

    Raises:
        ModelError: There is no such model, or it is damaged.
        ConfigError: It does not classify whole images.
    """

    def __init__(self, model: str | Path) -> None:
        path = model_path(model)
        self.card: Card = load_card(path)
        if self.card.labels.scope != "image":
            raise ConfigError(
                f"{model} gives every pixel a class, so its mask shows where it looks; give a model that classifies "
                "whole images"
            )
        self._network: Any = answering_module(path, self.card).network

    def __call__(self, image: Image, index: int) -> Float32[np.ndarray, "h w"]:
        """What in `image` speaks for a class.

        Args:
            image: With the channels that the model was trained on.
            index: Of the class in ``card.labels.names``.

        Returns:
            The image's own size, 0 to 1: 1 where most speaks for the class, 0 everywhere where nothing does, and where
            the network does not see the image.

        Raises:
            InputError: There is no such class.
        """
        import torch

        seen = seen_by(self.card, image)
        found = grad_cam(self._network, torch.from_numpy(seen)[None], index)[0].numpy()
        return _back(found, image.shape, working_shape(image.shape, self.card.recipe.prepare.size))


def grad_cam(network: Classifier, x: Float[Tensor, "n c h w"], index: int) -> Float[Tensor, "n h w"]:
    """Grad-CAM of images: their last features, weighted by the mean slope of a class's logit in each.

    The weighted sum is cut off at 0 and divided by each image's largest value. Of two classes with one logit, the
    logit of the first is that of the second with its sign turned.

    Args:
        network: Its mode is kept, but it answers as in evaluation.
        x: Normalised images.
        index: Of the class.

    Returns:
        0 to 1, of the size of `x`; 0 everywhere where nothing speaks for the class.

    Raises:
        InputError: There is no such class.
        ConfigError: The last features have no places, as in most transformers.

    >>> import torch
    >>> from catenary.models import build
    >>> found = grad_cam(build("classifier", widths=(4, 8)), torch.rand(2, 3, 32, 24), 1)
    >>> found.shape, bool(found.min() >= 0)
    (torch.Size([2, 32, 24]), True)
    """
    import torch
    from torch.nn import functional as F

    classes = max(2, network.classes)
    if not 0 <= index < classes:
        raise InputError(f"the network knows classes 0 to {classes - 1}, found {index}; give one of these")
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            maps = network.maps(x)
        if maps.ndim != 4:
            raise ConfigError(
                f"the last features of encoder '{getattr(network.encoder, 'name', '')}' are no maps of the image; "
                "take a convolutional network, such as resnet34, where saliency is wanted"
            )
        with torch.enable_grad():
            maps.requires_grad_(True)
            logits = network.judged(maps)[:, :, 0, 0]
            score = logits[:, index] if network.classes > 1 else (2 * index - 1) * logits[:, 0]
            (slopes,) = torch.autograd.grad(score.sum(), maps)
    finally:
        network.train(training)
    weighted = (slopes.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True).relu()
    drawn = F.interpolate(weighted, size=x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    top = drawn.amax((1, 2), keepdim=True)
    return torch.where(top > 0, drawn / top.clamp_min(1e-30), 0.0)


def _back(
    found: Float32[np.ndarray, "ph pw"], shape: tuple[int, ...], working: tuple[int, ...]
) -> Float32[np.ndarray, "h w"]:
    """A map of what the network saw, on the image of `shape` that it saw at size `working` in a frame.

    Where the frame mirrored the image, the larger of a pixel's values counts.
    """
    height, width = working
    frame = (found.shape[0], found.shape[1])
    index = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(np.float32)
    rows, columns = np.rint(np.moveaxis(framed(index, frame), -1, 0)).astype(int)
    own: NDArray[np.float32] = np.zeros((height, width), np.float32)
    np.maximum.at(own, (rows, columns), found)
    drawn: NDArray[np.float32] = resize_image(own[None], tuple(shape))[0]
    return drawn
