"""Pretrained weights for the encoders: fetched, checked, fitted to any number of channels.

Nothing is ever half loaded: either every weight of the encoder comes from the file, or there is an error that says
what does not fit. Only safetensors files are read, because a pickle (``.pth``, ``.pt``, ``.bin``) can run code.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from catenary.errors import ConfigError, ModelError, near_match
from catenary.models.encoders import Backbone, encoder_of
from catenary.types import Progress, silent

__all__ = [
    "Pretrained",
    "adapted",
    "input_statistics",
    "load_encoder",
]

_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")
#: Names under which timm's modules keep what translates the names of other sources into their own.
_TRANSLATORS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
#: Only counts steps; files of old versions lack it.
_COUNTER = ".num_batches_tracked"

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """What was loaded.

    Attributes:
        name: The encoder, with the tag of its weights when they came from the hub.
        file: Where they were read.
        arrays: How many arrays were taken, all that the encoder has.
        unused: How many the file has besides (the classifier's, deeper stages').
        mean, std: Of the images that it was trained on, see `input_statistics`, for images of range 0..1.
    """

    name: str
    file: Path
    arrays: int
    unused: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load_encoder(network: nn.Module, source: str | Path, *, progress: Progress = silent) -> Pretrained:
    """Give the encoder of `network` pretrained weights; the rest of it keeps its own.

    The first layer is fitted to the network's channels, see `adapted`.

    Args:
        network: A `catenary.models.encoder_unet.EncoderUNet`, a classifier on timm, or what has such an `encoder`.
        source: ``"hub"`` for the weights that timm names first, ``"hub:TAG"`` for others of its list (as
            ``"hub:tv_in1k"``), or a ``.safetensors`` file of timm or, where the names are the same (ResNet, VGG), of
            torchvision. What the cache of the hub holds is used without a network; ``HF_HOME`` and ``HF_HUB_OFFLINE``
            are heeded.
        progress: Told of the download.

    Raises:
        ConfigError: The network has no such encoder, or there is no such tag.
        ModelError: The weights cannot be fetched or read, are a pickle, or are not those of the encoder; the network
            is then as it was.
    """
    encoder = encoder_of(network)
    name = encoder.name
    if str(source) == "hub" or str(source).startswith("hub:"):
        tag = str(source).partition(":")[2]
        name = f"{name.partition('.')[0]}.{tag}" if tag else name
        name, file = _from_hub(name, progress)
    else:
        file = Path(source).expanduser()
    weights = _read(file)
    found, taken = _fitted(encoder, weights, file)
    state = encoder.net.state_dict()
    with torch.no_grad():
        for key, value in found.items():
            state[key].copy_(value)
        for key in encoder.added:
            state[key].zero_()
    mean, std = input_statistics(name, encoder.channels)
    return Pretrained(name=name, file=file, arrays=len(found), unused=len(weights) - taken, mean=mean, std=std)


def adapted(weight: Float[Tensor, "o c h w"], channels: int) -> Float[Tensor, "o d h w"]:
    """The weights of a first convolution for another number of channels.

    For one channel they are summed, so that a grey image gives what it gave when repeated in each channel; for
    more they are repeated in turn and scaled by ``c / d``, so that the answers stay of the same size.

    >>> adapted(torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1), 1).flatten()
    tensor([7.])
    >>> adapted(torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1), 4).flatten()
    tensor([0.7500, 1.5000, 3.0000, 0.7500])
    """
    given = weight.shape[1]
    if channels == given:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, torch.arange(channels) % given] * (given / channels)


def input_statistics(encoder: str, channels: int, *, top: float = 1.0) -> Statistics:
    """Mean and standard deviation of the images that an encoder was trained on, for the recipe's ``prepare``.

    With them an encoder sees what it knows. `catenary.recipe.Prepare` in mode ``"dataset"`` holds constants in the
    files' own units, so that they depend on what stands for white there.

    Args:
        encoder: Its name, with the tag of the weights where they are not timm's first.
        channels: Of the images. One takes the average over the colours; more take them in turn, as `adapted` does.
        top: White: 1 for images of range 0..1, 255 for 8 bits, 65535 for full 16 bits.

    Returns:
        ``(mean, std)``, a number a channel.

    Raises:
        ModelError: timm does not know them.

    >>> mean, std = input_statistics("resnet34", 1, top=255)
    >>> round(mean[0], 2), round(std[0], 2)
    (114.5, 57.63)
    """
    config = _known(encoder)
    if config is None:
        raise ModelError(
            f"timm has no input statistics of encoder '{encoder}'; set prepare.mean and prepare.std, or "
            "prepare.normalise to 'image'"
        )
    return _spread(config.mean, channels, top), _spread(config.std, channels, top)


def _spread(values: Sequence[float], channels: int, top: float) -> tuple[float, ...]:
    if channels == 1:
        return (top * sum(values) / len(values),)
    return tuple(top * float(values[i % len(values)]) for i in range(channels))


def _known(name: str) -> Any:
    """What timm knows of the weights `name`, None for nothing."""
    import timm
    from timm.models import get_pretrained_cfg

    architecture, _, tag = name.partition(".")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ConfigError(f"encoder '{architecture}' has no weights '{tag}'; {near_match(tag, tags)}")
    return get_pretrained_cfg(name)


def _from_hub(name: str, progress: Progress) -> tuple[str, Path]:
    """The full name of the weights, and the file in the hub's cache, downloaded when it is not there."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    config = _known(name)
    if config is None or not config.hf_hub_id:
        raise ModelError(f"the hub has no weights of encoder '{name}'; give a .safetensors file as model.weights")
    full = f"{name.partition('.')[0]}.{config.tag}" if config.tag else name
    repository, _, revision = config.hf_hub_id.partition("@")
    file = "open_clip_model.safetensors" if "open_clip" in (config.hf_hub_filename or "") else "model.safetensors"
    kept = try_to_load_from_cache(repository, file, revision=revision or None)
    if isinstance(kept, str):
        return full, Path(kept)
    progress(f"downloading {full}", 0, 1)
    try:
        path = Path(hf_hub_download(repository, file, revision=revision or None))
    except Exception as error:  # the hub, its transport and the disk have no common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(
            f"the weights of encoder '{full}' are not in the cache and the hub did not give them ({reason}); on a "
            f"machine with a network run 'hf download {repository} {file} --local-dir .', bring the file here and set "
            f"model.weights to its path, or set model.weights to '' to train from scratch"
        ) from error
    progress(f"downloading {full}", 1, 1)
    return full, path


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ModelError(
            f"there is no file {file} with weights; give the path of a .safetensors file, or 'hub' to download them"
        )
    if file.suffix in _PICKLES:
        raise ModelError(
            f"{file} is a pickle, which can run code, and is not opened; where you trust it, convert it: python -c "
            f"\"import torch, safetensors.torch as s; s.save_file(torch.load('{file.name}', map_location='cpu', "
            f"weights_only=True), '{file.stem}.safetensors')\""
        )
    try:
        return load_file(str(file))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ModelError(
            f"{file} cannot be read as safetensors ({error}); it is damaged or of another kind, so fetch it again"
        ) from error


def _fitted(encoder: Backbone, weights: Mapping[str, Tensor], file: Path) -> tuple[dict[str, Tensor], int]:
    """The encoder's arrays by its own names, and how many of the file's that took.

    Raises:
        ModelError: Not all are there, or the file belongs to a larger network.
    """
    tried = _match(encoder, weights)
    if tried.problem:
        translated = _translated(encoder.name, weights)
        again = _match(encoder, translated) if translated else tried
        tried = again if not again.problem or again.fits > tried.fits else tried
    if tried.problem:
        raise ModelError(
            f"{file} does not hold the weights of encoder '{encoder.name}': {tried.problem}; give a file of that "
            "network, or set model.encoder to the one that the file is of"
        )
    return tried.found, tried.fits


@dataclass(frozen=True)
class _Match:
    found: dict[str, Tensor]
    fits: int
    problem: str


def _match(encoder: Backbone, weights: Mapping[str, Tensor]) -> _Match:
    first = _first_layers(encoder)
    found: dict[str, Tensor] = {}
    parts, problem, wanted = set(), "", 0
    for key, value in encoder.net.state_dict().items():
        if key in encoder.added:
            continue
        source = next((name for name in _spellings(key) if name in weights), None)
        if source is None and key.endswith(_COUNTER):
            continue
        wanted += 1
        if source is None:
            problem = problem or f"the first that does not is {key} of {[*value.shape]}, which the file lacks"
            continue
        parts.add(source.partition(".")[0])
        given = weights[source]
        if source in first and given.ndim == 4 and value.ndim == 4 and value.shape[1] == encoder.channels:
            given = adapted(given, encoder.channels)
        if given.shape == value.shape:
            found[key] = given
        else:
            shapes = f"{[*value.shape]}, which is {[*given.shape]} in the file"
            problem = problem or f"the first that does not is {key} of {shapes}"
    if problem:
        problem = f"{len(found)} of {wanted} arrays fit, {problem}"
    else:
        known = _every_name(encoder.name)
        more = [
            name
            for name in weights
            if name not in known and name.partition(".")[0] in parts and not name.endswith(_COUNTER)
        ]
        if more:
            problem = f"all {wanted} arrays fit, but it has {len(more)} more in the same parts, the first {more[0]}"
    return _Match(found, len(found), problem)


def _first_layers(encoder: Backbone) -> set[str]:
    config = getattr(encoder.net, "pretrained_cfg", None) or {}
    names = config.get("first_conv") or ()
    return {f"{name}.weight" for name in ((names,) if isinstance(names, str) else names)}


def _spellings(key: str) -> list[str]:
    """How the whole network may call what the network cut at its features calls `key`.

    >>> _spellings("stages_0.conv.weight")
    ['stages_0.conv.weight', 'stages.0.conv.weight']
    """
    top, dot, rest = key.partition(".")
    spelt = [key]
    spelt += [f"{top[:i]}.{top[i + 1 :]}{dot}{rest}" for i, letter in enumerate(top) if letter == "_"]
    return spelt + ([rest] if top in ("model", "body") else [])


@cache
def _every_name(name: str) -> frozenset[str]:
    """The names of all arrays of the whole network, classifier and all."""
    return frozenset(_whole(name).state_dict())


def _whole(name: str) -> Any:
    import timm

    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return timm.create_model(name, pretrained=False)


def _translated(name: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The weights under the names of timm, where it knows how their source names them."""
    whole = _whole(name)
    module = importlib.import_module(type(whole).__module__)
    for translator in (getattr(module, found, None) for found in _TRANSLATORS):
        if translator is None:
            continue
        for arguments in ((dict(weights), whole), (dict(weights),)):
            try:
                return dict(translator(*arguments))
            except Exception:  # weights of another network may break it in any way, and then are not its own
                continue
    return None
