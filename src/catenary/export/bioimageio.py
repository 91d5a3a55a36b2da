"""A network with the description of the BioImage Model Zoo (https://bioimage.io), ``rdf.yaml`` of version 0.5.

The input is what an image is at working size, in its file's numbers; their normalisation is part of the description, so
that any program of that family runs the model. What their steps cannot say (a normalisation by the body of a scan, two
dates brought together) is said in words, and the input is then normalised already.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.errors import MissingExtra, OutputError, writing
from catenary.export.formats import Written, write
from catenary.export.original import Original
from catenary.io import write_image
from catenary.io.files import atomic, write_text
from catenary.predict.agreement import classes_of
from catenary.predict.card import Card
from catenary.predict.prepare import Normaliser, normalise

__all__ = ["RDF", "write_bioimageio"]

RDF = "rdf.yaml"
_WEIGHTS, _INPUT, _OUTPUT, _README, _COVER = (
    "weights.onnx",
    "test_input.npy",
    "test_output.npy",
    "README.md",
    "cover.png",
)
_AXES = ("z", "y", "x")


def write_bioimageio(original: Original, folder: Path, *, precision: str = "fp32", limit: float) -> Written:
    """Write weights, description, a test input with its answer, a page and a picture into an empty folder.

    Args:
        original: The network.
        folder: Made when needed.
        precision, limit: See `catenary.export.formats.write`.

    Raises:
        MissingExtra: bioimageio.core is not installed.
        OutputError: The folder is in use or cannot be written.
        ModelError: See `catenary.export.formats.write`.
    """
    spec = _spec()
    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise OutputError(f"{folder} is in use; choose a new folder for --out")
    written = write(original, folder / _WEIGHTS, to="onnx", precision=precision, limit=limit)
    _keep_one_answer(folder / _WEIGHTS)
    steps = _preprocessing(original.card, spec)
    raw, seen = _test_input(original, described=steps is not None)
    answer = original.engine(seen[None])
    answer = answer.reshape(len(answer), -1) if original.card.labels.scope == "image" else answer
    with writing(folder):
        np.save(folder / _INPUT, raw[None])
        np.save(folder / _OUTPUT, answer)
        write_text(folder / _README, _page(original, written.description, described=steps is not None))
        write_image(folder / _COVER, _cover(raw, answer[0], original.card))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that theirs uses
            _write_rdf(original, folder, steps or [], str(raw.dtype), spec)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return Written(path=folder, description=written.description, drift=written.drift, size=size)


def _write_rdf(original: Original, folder: Path, steps: list[Any], dtype: str, spec: Any) -> None:
    from bioimageio.spec import ValidationContext, save_bioimageio_yaml_only
    from bioimageio.spec.common import FileDescr, RelativeFilePath

    card = original.card
    with ValidationContext(root=folder, perform_io_checks=True):

        def file(name: str) -> Any:
            return FileDescr(source=RelativeFilePath(PurePosixPath(name)))

        model = spec.ModelDescr(
            name=_name(original.name),
            description=f"Finds {', '.join(card.labels.names[1:])}" if card.labels.scope == "pixel"
            else f"Tells {', '.join(card.labels.names)} apart",
            documentation=file(_README),
            covers=[file(_COVER)],
            tags=["segmentation" if card.labels.scope == "pixel" else "classification", f"{card.rank}d"],
            inputs=[
                spec.InputTensorDescr(
                    id=spec.TensorId("x"), axes=_input_axes(original, spec), test_tensor=file(_INPUT),
                    data=spec.IntervalOrRatioDataDescr(type=dtype), preprocessing=steps,
                )
            ],
            outputs=[
                spec.OutputTensorDescr(
                    id=spec.TensorId("probability"), axes=_output_axes(original, spec), test_tensor=file(_OUTPUT),
                    data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
                )
            ],
            weights=spec.WeightsDescr(
                onnx=spec.OnnxWeightsDescr(
                    source=RelativeFilePath(PurePosixPath(_WEIGHTS)), opset_version=_opset(folder / _WEIGHTS)
                )
            ),
        )  # fmt: skip
        save_bioimageio_yaml_only(model, folder / RDF)


def _input_axes(original: Original, spec: Any) -> list[Any]:
    card = original.card
    told = original.description("fp32")["input"]
    rank = card.recipe.model.rank
    axes = [spec.BatchAxis(), spec.ChannelAxis(channel_names=_channels(card))]
    for name, patch, least, multiple in zip(_AXES[-rank:], told["patch"], told["least"], told["multiple"], strict=True):
        size = patch if told["framed"] else spec.ParameterizedSize(min=least, step=multiple)
        axes.append(spec.SpaceInputAxis(id=spec.AxisId(name), size=size))
    return axes


def _output_axes(original: Original, spec: Any) -> list[Any]:
    card = original.card
    names = card.labels.names if card.labels.task == "exclusive" else card.labels.target_names
    axes = [spec.BatchAxis(), spec.ChannelAxis(channel_names=_identifiers(names))]
    if card.labels.scope == "pixel":
        for name in _AXES[-card.recipe.model.rank :]:
            size = spec.SizeReference(tensor_id=spec.TensorId("x"), axis_id=spec.AxisId(name))
            axes.append(spec.SpaceOutputAxis(id=spec.AxisId(name), size=size))
    return axes


def _preprocessing(card: Card, spec: Any) -> list[Any] | None:
    """The normalisation as their steps; None where these cannot say it."""
    wish = card.recipe.prepare
    space = tuple(spec.AxisId(name) for name in _AXES[-card.recipe.model.rank :])
    channel = spec.AxisId("channel")
    copies = card.recipe.model.channels // max(1, len(wish.mean) or card.recipe.model.channels)
    real = spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32"))
    steps: list[Any] = [real]
    if wish.window:
        low, high = wish.window
        steps.append(spec.ClipDescr(kwargs=spec.ClipKwargs(min=low, max=high)))
    if wish.match and wish.normalise in ("dataset", "range"):
        return None
    if wish.normalise == "dataset":
        kwargs = spec.FixedZeroMeanUnitVarianceAlongAxisKwargs(
            mean=[*wish.mean] * copies, std=[*wish.std] * copies, axis=channel
        )
        return [*steps, spec.FixedZeroMeanUnitVarianceDescr(kwargs=kwargs), real]
    if wish.normalise == "image":
        return [*steps, spec.ZeroMeanUnitVarianceDescr(kwargs=spec.ZeroMeanUnitVarianceKwargs(axes=space)), real]
    if wish.normalise == "percentile":
        ends = spec.ScaleRangeKwargs(axes=space, min_percentile=1.0, max_percentile=99.0)
        signed = spec.ScaleLinearKwargs(gain=2.0, offset=-1.0)
        return [*steps, spec.ScaleRangeDescr(kwargs=ends), spec.ScaleLinearDescr(kwargs=signed), real]
    if wish.normalise == "range" and card.dtype in ("uint8", "uint16"):
        gain = 1 / float(np.iinfo(card.dtype).max)
        return [*steps, spec.ScaleLinearDescr(kwargs=spec.ScaleLinearKwargs(gain=gain, offset=0.0)), real]
    return steps if wish.normalise == "none" else None


def _test_input(original: Original, *, described: bool) -> tuple[NDArray[Any], Float32[np.ndarray, "c *s"]]:
    """An image ``(c, *s)`` in numbers like those of its file, and the same as the network sees it.

    The tiles at hand are normalised; one is brought back to the range of the training images.
    """
    tile = original.check[0]
    if not described:
        return tile, tile
    card = original.card
    wish = card.recipe.prepare
    if wish.normalise == "dataset":
        copies = len(tile) // len(wish.mean)
        std, mean = (np.tile(values, copies).reshape(-1, *(1,) * (tile.ndim - 1)) for values in (wish.std, wish.mean))
        raw = tile * std + mean
    elif wish.normalise == "none":
        raw = tile
    else:
        least, most = float(tile.min()), float(tile.max())
        top = float(np.iinfo(card.dtype).max) if card.dtype in ("uint8", "uint16") else 1000.0
        raw = (tile - least) * (top / (most - least or 1.0))
    if card.dtype in ("uint8", "uint16"):
        raw = np.clip(np.rint(raw), 0, np.iinfo(card.dtype).max).astype(card.dtype)
    else:
        raw = raw.astype(np.float32)
    normaliser = Normaliser.from_config(wish)
    found = normaliser.coefficients(raw[: len(wish.mean)] if wish.normalise == "dataset" else raw)
    scale, offset, low, high = (None if one is None else np.tile(one, len(raw) // len(one)) for one in found)
    assert scale is not None
    assert offset is not None
    seen = normalise(raw, scale, offset, low, high)
    return raw, seen


def _cover(raw: NDArray[Any], answer: NDArray[np.float32], card: Card) -> NDArray[np.uint8]:
    """The image, and beside it the image with what was found: ``(3, h, 2 w)``."""
    picture, planes = raw.astype(np.float32), answer
    if picture.ndim == 4:
        picture, planes = picture[:, picture.shape[1] // 2], planes[:, planes.shape[1] // 2]
    picture = picture[:3] if len(picture) >= 3 else picture[:1].repeat(3, 0)
    low, high = float(picture.min()), float(picture.max())
    shown = ((picture - low) * (255 / (high - low or 1.0))).astype(np.uint8)
    marked = shown.copy()
    if card.labels.scope == "pixel":
        decided = classes_of(planes[None], card)[0]
        layers = [decided == value for value in range(1, card.labels.count)] if decided.ndim == 2 else [*decided]
        for value, layer in enumerate(layers, start=1):
            colour = np.asarray(card.labels.display_colour(min(value, card.labels.count - 1)), np.float32)
            marked[:, layer] = (0.5 * marked[:, layer] + 0.5 * colour[:, None]).astype(np.uint8)
    return np.ascontiguousarray(np.concatenate([shown, marked], axis=2))


def _page(original: Original, told: Mapping[str, Any], *, described: bool) -> str:
    """The page of the model: what it is, what goes in, how a mask is made, what it was measured to do, its limits."""
    entry, answer, trained = told["input"], told["output"], told["trained"]
    size = f"the longer side brought to {entry['size']} pixels" if entry["size"] else "the image's own size"
    if entry["spacing"]:
        size = f"resampled to a spacing of {' x '.join(f'{n:g}' for n in entry['spacing'])}"
    normalised = (
        "Normalisation is part of the description."
        if described
        else f"The input is normalised already ('{entry['normalise']}'): the zoo's steps cannot say how."
    )
    limits = ", ".join(f"{n:g}" for n in answer["thresholds"])
    decided = f"probability above {limits}" if limits else "the likeliest class"
    scores = ", ".join(f"{name} {value:.3f}" for name, value in told["scores"].items())
    return (
        f"# {original.name}\n\n"
        f"Trained with catenary {told['catenary']} on {trained['data'] or 'unnamed data'}"
        f"{' (licence of the data: ' + trained['licence'] + ')' if trained['licence'] else ''}.\n\n"
        f"## Input\n\n{entry['channels']} channel(s), {size}. {normalised}\n\n"
        f"## Output\n\nProbabilities of {', '.join(answer['targets'])}; decided: {decided}.\n\n"
        f"## Validation\n\nOn validation cases of its own data: {scores or 'not recorded'}. Scores on other images, "
        "cameras or laboratories can be lower; measure them before you rely on the model.\n"
    )


def _channels(card: Card) -> list[str]:
    number = card.recipe.model.channels
    if len(card.channel_names) == number:
        return _identifiers(card.channel_names)
    return ["red", "green", "blue"] if number == 3 and card.dtype == "uint8" else [f"channel{i}" for i in range(number)]


def _identifiers(names: tuple[str, ...]) -> list[str]:
    """Names of letters, digits and underscores that differ from each other."""
    plain = [re.sub(r"\W+", "_", name).strip("_").lower() or "class" for name in names]
    plain = [f"class_{name}" if name[0].isdigit() else name for name in plain]
    return [f"{name}_{i}" if plain.count(name) > 1 else name for i, name in enumerate(plain)]


def _name(name: str) -> str:
    """A name of 5 to 128 letters, digits, spaces, minus and underscores."""
    plain = re.sub(r"[^\w\- ]+", " ", name).strip() or "model"
    return (plain if len(plain) >= 5 else f"catenary {plain}")[:128]


def _keep_one_answer(path: Path) -> None:
    """Leave out the features of whole images, which the zoo has no use for."""
    import onnx

    model = onnx.load(str(path))
    del model.graph.output[1:]
    with atomic(path) as temporary:
        onnx.save(model, str(temporary))


def _opset(path: Path) -> int:
    import onnx

    return int(max(one.version for one in onnx.load(str(path)).opset_import if one.domain in ("", "ai.onnx")))


def _spec() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that theirs uses
            from bioimageio.spec.model import v0_5
    except ImportError:
        raise MissingExtra("bioimageio.core", "export") from None
    return v0_5
