"""Files as one zip that is made while it is sent."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["zipped"]


class _Pipe:
    """A file that is written once and read in pieces."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._place = 0

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._blocks.append(bytes(data))
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        """How many bytes there were."""
        return self._place

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        """What has gathered."""
        blocks, self._blocks = self._blocks, []
        return b"".join(blocks)


def zipped(paths: Sequence[Path]) -> Iterator[bytes]:
    """A zip in pieces: neither memory nor disk holds all of it. Results are packed already.

    Args:
        paths: Files; those that are not there are left out.

    Yields:
        Bytes, in order.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as out:  # type: ignore[call-overload]
        for path in paths:
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo(path.name, time.localtime(path.stat().st_mtime)[:6])
            with path.open("rb") as source, out.open(entry, "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)
                    yield pipe.taken()
    yield pipe.taken()
