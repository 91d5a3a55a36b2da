"""The model file: weights, and a card that says everything needed to use them. Safetensors, no pickle, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from catenary.data.labels import LabelSet
from catenary.errors import ModelError
from catenary.io.files import atomic
from catenary.metrics.calibration import Calibration
from catenary.metrics.decision import Operating
from catenary.predict.familiar import Familiar
from catenary.predict.hdf5 import is_hdf5, read_hdf5_card, read_hdf5_weights
from catenary.predict.quantities import CasePair
from catenary.recipe import Recipe

__all__ = ["FORMAT", "MODEL", "Card", "load_card", "load_weights", "model_path", "save_model"]

#: Version of the file's content; a newer one is refused by older programs.
FORMAT = 1
#: The model file of a run.
MODEL = "model.safetensors"
_KEY = "catenary"


class Card(BaseModel):
    """What a model file says of itself.

    Attributes:
        format: See `FORMAT`.
        recipe: Every setting, preprocessing included.
        labels: The classes.
        channels: Number of channels of an image.
        rank: 2 for images, 3 for volumes.
        channel_names: Names of the channels, such as the sequences of MRI, where they are known.
        dtype: Type of the training images' pixels.
        thresholds: Threshold of each logit's probability, chosen on validation cases; () for 0.5.
        cleaning: Steps that tidy each target, chosen on validation cases; see `catenary.predict.cleaning`.
        scores: Validation scores.
        share_errors: Root mean square error of each target's share of the pixels, on validation cases.
        quantities: What `catenary.measures` gives on validation cases, from truth and prediction.
        calibration: Makes the probabilities of whole-image classes mean what they say; None for pixels.
        operating: How the threshold of two whole-image classes was chosen.
        familiar: The training images as the network of whole images sees them; see `catenary.predict.familiar`.
        judged: Probability of the second of two whole-image classes and the truth (0 or 1), of each validation case.
        fingerprint: The training data in numbers.
        provenance: What made the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    recipe: Recipe
    labels: LabelSet
    channels: int
    rank: int = 2
    channel_names: tuple[str, ...] = ()
    dtype: str = "uint8"
    thresholds: tuple[float, ...] = ()
    cleaning: dict[str, tuple[str, ...]] = {}
    scores: dict[str, float] = {}
    share_errors: dict[str, float] = {}
    quantities: tuple[CasePair, ...] = ()
    calibration: Calibration | None = None
    operating: Operating | None = None
    familiar: Familiar | None = None
    judged: tuple[tuple[float, int], ...] = ()
    fingerprint: dict[str, Any] = {}
    provenance: dict[str, Any] = {}


def save_model(path: str | Path, weights: Mapping[str, NDArray[Any]], card: Card) -> None:
    """Write weights and card as one file, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.numpy import save_file

    tensors = {name: np.asarray(value, order="C") for name, value in weights.items()}  # numbers stay without an axis
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: card.model_dump_json()})


def model_path(run: str | Path) -> Path:
    """The model file of a run's folder, or the file itself.

    Raises:
        ModelError: There is none.
    """
    path = Path(run)
    if path.is_dir():
        path = path / MODEL
        if not path.is_file():
            raise ModelError(f"{run} holds no {MODEL}; give the folder of a finished run")
    if not path.is_file():
        raise ModelError(f"there is no model {run}; give the folder of a run or its {MODEL}")
    return path


def load_card(path: str | Path) -> Card:
    """Read the card alone; the weights stay on disk.

    Raises:
        ModelError: The file is damaged, of another kind or from a newer version.
    """
    path = model_path(path)
    if is_hdf5(path):
        text = read_hdf5_card(path)
    else:
        with _opened(path) as file:
            text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise ModelError(f"{path} holds weights but no card of catenary; give a model file that catenary wrote")
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or not isinstance(data.get("format", FORMAT), int):
            raise ValueError("it is no table of fields with a format number")
        if data.get("format", FORMAT) > FORMAT:
            raise ModelError(
                f"{path} has format {data['format']}, this version reads up to {FORMAT}; install a newer catenary"
            )
        return Card.model_validate(data)
    except (ValidationError, ValueError) as error:
        raise ModelError(f"the card of {path} cannot be read ({str(error).splitlines()[0]}); train it again") from error


def load_weights(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the weights, name -> array.

    Raises:
        ModelError: The file is damaged or of another kind.
    """
    path = model_path(path)
    if is_hdf5(path):
        return read_hdf5_weights(path)
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no mapping


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80"):
        raise ModelError(
            f"{path} is a pickle or zip file of PyTorch, which can run code when opened; give a model.safetensors"
        )
    try:
        return safe_open(str(path), framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is truncated or no safetensors file ({error}); copy it again") from error
