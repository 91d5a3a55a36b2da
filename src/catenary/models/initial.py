"""Weights before training."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from catenary.models.layers import pick

__all__ = ["INITS", "initialise"]

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.Linear)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


def _he(layer: nn.Module) -> None:
    """N(0, sqrt(2 / n)), n the values that one output value is summed from (He et al. 2015, as the paper has it).

    What no activation follows (kernel 1: heads and resizing; transposed convolutions) gets sqrt(1 / n), and so do
    dense layers. A transposed convolution whose stride is its kernel sums one value a channel, which `torch.nn.init`
    would count otherwise.
    """
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    if isinstance(layer, _TRANSPOSED):
        nn.init.normal_(weight, std=weight.shape[0] ** -0.5)
    else:
        gain = 2.0 if weight[0, 0].numel() > 1 else 1.0
        nn.init.normal_(weight, std=(gain / weight[0].numel()) ** 0.5)


def _normal(layer: nn.Module) -> None:
    """N(0, 0.01)."""
    assert isinstance(layer.weight, nn.Parameter)
    nn.init.normal_(layer.weight, std=0.01)


#: Ways to draw the first weights of a layer; biases are zero in all.
INITS: dict[str, Callable[[nn.Module], None]] = {"he": _he, "normal": _normal}


def initialise(module: nn.Module, how: str = "he") -> None:
    """Draw the weights of every convolution and dense layer in `module` anew; biases become 0.

    Normalisations stay the identity.

    Args:
        module: Any network.
        how: A name of `INITS`.

    Raises:
        ConfigError: On an unknown name.
    """
    draw = pick(INITS, how, "initialisation")
    for layer in module.modules():
        if isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED)):
            draw(layer)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
