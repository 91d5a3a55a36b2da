"""Writing whole files or none: a temporary name first, the real one when all is there."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catenary.errors import writing

__all__ = ["atomic", "ending", "file_digest", "write_json", "write_text"]


def ending(path: Path) -> str:
    """The ending of a file's name in small letters, ``.nii.gz`` in one piece.

    >>> ending(Path("a.b.NII.GZ")), ending(Path("a.b.png"))
    ('.nii.gz', '.png')
    """
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; the file is read in pieces.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def atomic(path: str | Path, suffix: str | None = None) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends well, and vanishes when it does not.

    The temporary file lies in the same folder, since only within one file system is the renaming indivisible.

    Args:
        path: The final file; its folder is made when needed.
        suffix: Ending of the temporary name, for libraries that choose a format by it; that of `path` by default.

    Raises:
        OutputError: The file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(Path(folder) / "new" / "a.txt") as temporary:
    ...         _ = temporary.write_text("all of it")
    ...     [file.name for file in (Path(folder) / "new").iterdir()]
    ['a.txt']
    """
    target = Path(path)
    temporary = target.with_name(f".writing-{secrets.token_hex(6)}{target.suffix if suffix is None else suffix}")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a UTF-8 text file, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
    return Path(path)


def write_json(path: str | Path, data: Any) -> Path:
    """Write plain data as indented JSON, whole or not at all; NaN is refused.

    Raises:
        OutputError: The file cannot be written.
    """
    return write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
