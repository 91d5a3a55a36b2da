"""What can go wrong, as one small tree.

::

    CatenaryError            catch this to catch everything below
    ├── InputError           a file, folder or array given by the user cannot be used
    │   └── DataError        a data set as a whole cannot be used (the doctor's errors)
    ├── ConfigError          a setting is unknown, out of range or contradicts another
    ├── ModelError           a model file is missing, damaged, of another kind, or an engine disagrees with it
    ├── MissingExtra         an optional package is not installed
    ├── OutputError          a result cannot be written (no right, no space)
    └── TrainingError        training cannot go on (loss not finite, outputs collapsed)

Every message is one sentence of three parts: what is wrong, the value found, the remedy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "CatenaryError",
    "ConfigError",
    "DataError",
    "InputError",
    "MissingExtra",
    "ModelError",
    "OutputError",
    "TrainingError",
    "near_match",
    "writing",
]


class CatenaryError(Exception):
    """Base of all errors that catenary raises on purpose; the command line prints only its message."""


class InputError(CatenaryError):
    """A file, folder or array given by the user cannot be used."""


class DataError(InputError):
    """A data set as a whole cannot be used."""


class ConfigError(CatenaryError):
    """A setting is unknown, out of range or contradicts another."""


class ModelError(CatenaryError):
    """A model file is missing, damaged or of another kind, or an engine disagrees with it."""


class MissingExtra(CatenaryError, ImportError):
    """An optional package is not installed.

    >>> str(MissingExtra("openvino", "fast"))
    "openvino is not installed; install it with: pip install 'catenary[fast]'"
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'catenary[{extra}]'")


class OutputError(CatenaryError):
    """A result cannot be written."""


class TrainingError(CatenaryError):
    """Training cannot go on."""


def near_match(word: str, known: Iterable[str]) -> str:
    """The part of a message that helps with a misspelt name.

    >>> near_match("dept", ["depth", "widths"])
    "did you mean 'depth'?"
    >>> near_match("zzz", ["depth", "widths"])
    'known are: depth, widths'
    """
    names = sorted(known)
    found = difflib.get_close_matches(word, names, n=1)
    return f"did you mean '{found[0]}'?" if found else "known are: " + ", ".join(names)


@contextmanager
def writing(target: object) -> Iterator[None]:
    """Turn the operating system's errors while a result is written into an `OutputError` that names the target."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {target}: {reason}; check the folder's rights and the free space, or choose another --out"
        ) from error
