"""Networks by name: each a line of literal numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from catenary.errors import ConfigError, near_match
from catenary.models.blocks import pick
from catenary.models.unet import UNet

__all__ = ["MODELS", "build", "literals", "parameters", "receptive_field"]

#: Networks, name -> function of flat keyword arguments (the fields of `catenary.recipe.Model`) that builds one.
MODELS: dict[str, Callable[..., nn.Module]] = {
    # Ronneberger et al. 2015; the paper's own has padding="valid" and dropout=0.5 besides
    "unet": partial(UNet, widths=(64, 128, 256, 512, 1024), convs=2, norm="none", activation="relu", up="transpose"),
    "unet_small": partial(
        UNet, widths=(16, 32, 64, 128, 256), convs=2, norm="batch", activation="relu", up="transpose"
    ),
}


def build(name: str = "unet", **settings: object) -> nn.Module:
    """A network of `MODELS` with freshly drawn weights (`torch.manual_seed` decides them).

    Args:
        name: Which network.
        settings: Fields of `catenary.recipe.Model` that differ from the network's own numbers.

    Raises:
        ConfigError: On an unknown network, an unknown setting, or a setting out of its range.

    >>> parameters(build("unet", channels=1))
    31030593
    >>> build("unett")
    Traceback (most recent call last):
    catenary.errors.ConfigError: unknown network 'unett'; did you mean 'unet'?
    """
    maker = pick(MODELS, name, "network")
    known = inspect.signature(maker).parameters
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ConfigError("; ".join(f"network '{name}' has no setting '{k}', {near_match(k, known)}" for k in unknown))
    return maker(**settings)


def literals(name: str) -> dict[str, object]:
    """The numbers that make the network `name` what it is: what `build` uses where no setting says otherwise.

    >>> literals("unet_small")["widths"]
    (16, 32, 64, 128, 256)
    """
    maker = pick(MODELS, name, "network")
    return dict(maker.keywords) if isinstance(maker, partial) else {}


def parameters(module: nn.Module) -> int:
    """Number of trained values (weights and biases; running statistics are not counted).

    >>> parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in module.parameters())


def receptive_field(module: nn.Module) -> int | None:
    """How far an output pixel sees: beyond this many pixels, along an axis, the input cannot change it.

    Tiles with such a margin, cut at multiples of the network's ``geometry.multiple``, give the whole image's answer.

    Args:
        module: A network of `MODELS`.

    Returns:
        The largest distance in pixels over all positions; None where an output pixel depends on the whole image
        (instance or group normalisation) or the network does not say.

    >>> receptive_field(build("unet_small")), receptive_field(build("unet_small", norm="instance"))
    (107, None)
    """
    reach = getattr(module, "reach", None)
    return None if reach is None else int(reach)
