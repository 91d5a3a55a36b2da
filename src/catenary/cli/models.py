"""``catenary models``."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["models"]


def models(
    start: Annotated[
        str, typer.Argument(metavar="START", show_default=False, help="Only networks whose names begin so.")
    ] = "",
) -> None:
    """Every network: parameters, operations, source.

    Counted for three channels in and one class out, on an image of 256 x 256 (a volume of 64 x 64 x 64 in 3D); a
    multiplication and an addition are two operations. Blocks, skips, topologies and encoders combine freely besides.

    Examples:
        catenary models
        catenary fit lesions --out runs/r2 --set model.name=attention_r2unet
        catenary fit lesions --out runs/any --set model.encoder=convnext_tiny --set transfer.weights=hub
    """
    from catenary.cli import show
    from catenary.errors import ConfigError, near_match
    from catenary.models import MODELS, describe_networks

    names = [name for name in MODELS if name.startswith(start)]
    if not names:
        raise ConfigError(f"no network begins with '{start}'; {near_match(start, MODELS)}")
    show.models(describe_networks(names))
