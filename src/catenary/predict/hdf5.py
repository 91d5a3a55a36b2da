"""A model as HDF5, for programs that know that format: one data set an array, the card as an attribute.

``h5py`` reads it without catenary: ``file["weights"]["heads.0.weight"][:]``, ``json.loads(file.attrs["catenary"])``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import MissingExtra, ModelError
from catenary.io.files import atomic

__all__ = ["SUFFIXES", "is_hdf5", "read_hdf5_card", "read_hdf5_weights", "write_hdf5"]

SUFFIXES = (".h5", ".hdf5")
_ATTRIBUTE, _GROUP = "catenary", "weights"


def is_hdf5(path: Path) -> bool:
    """Whether a file is to be read as HDF5, by its ending."""
    return path.suffix.lower() in SUFFIXES


def write_hdf5(path: str | Path, weights: dict[str, NDArray[Any]], card: str) -> None:
    """Write arrays and a card (its JSON) as one file, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
        MissingExtra: h5py is not installed.
    """
    h5py = _h5py()
    with atomic(path) as temporary, h5py.File(str(temporary), "w") as file:
        file.attrs[_ATTRIBUTE] = card
        group = file.create_group(_GROUP)
        for name, value in weights.items():
            group.create_dataset(name, data=value, compression="gzip" if np.ndim(value) else None)


def read_hdf5_card(path: Path) -> str | None:
    """The card's JSON; None when the file has none.

    Raises:
        ModelError: The file is damaged or no HDF5.
    """
    with _opened(path) as file:
        text = file.attrs.get(_ATTRIBUTE)
        return None if text is None else str(text)


def read_hdf5_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays by name.

    Raises:
        ModelError: The file is damaged or no HDF5.
    """
    with _opened(path) as file:
        return {name: np.asarray(value[()]) for name, value in file[_GROUP].items()}


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "export") from None
    return h5py


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = _h5py()
    try:
        with h5py.File(str(path), "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path} is truncated or no HDF5 file of a model ({error}); export it again") from error
