"""Files of a result, and what all kinds share: names, renditions for the screen, tables."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catenary.errors import InputError
from catenary.io import image_size, read_image, write_image
from catenary.io.files import atomic
from catenary.types import Image

__all__ = ["SHOWN", "Output", "Task", "Teller", "plain", "shown_size", "shrunk", "shrunk_label"]

#: Longer side of what a page shows.
SHOWN = 4096
_TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".tif": "image/tiff", ".csv": "text/csv", ".json": "application/json",
    ".geojson": "application/geo+json", ".nii.gz": "application/gzip", ".html": "text/html", ".gpkg":
    "application/geopackage+sqlite3",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job as the worker gets it.

    Attributes:
        id, model, kind, name: See `catenary.serve.store.Job`.
        options: What was asked for.
        inputs: Role, path and the client's name of each upload.
        folder: Where results go.
        limit: Most pixels that are read.
    """

    id: str
    model: str
    kind: str
    name: str
    options: Mapping[str, Any]
    inputs: Sequence[Mapping[str, str]]
    folder: Path
    limit: int = 1 << 28

    def read(self, path: Path) -> Image:
        """An upload, under the client's name; a series of slices is only now known to be small enough.

        Raises:
            InputError: It is too large, or cannot be read.
        """
        shape = image_size(path)
        if math.prod(shape) > self.limit:
            raise InputError(
                f"{path} has {'x'.join(map(str, shape))} pixels, more than the {self.limit / 1e6:.0f} million that "
                "this server takes; give a smaller one"
            )
        return replace(read_image(path), source=self.name)

    def paths(self, *roles: str) -> list[Path]:
        """The uploads of some roles, in their order."""
        return [Path(one["path"]) for one in self.inputs if one["role"] in roles]

    def readable(self, text: str) -> str:
        """A message with the clients' names of the files in place of ours, and without our folders."""
        for one in sorted(self.inputs, key=lambda one: -len(one["path"])):
            text = text.replace(one["path"], one["name"]).replace(Path(one["path"]).name, one["name"])
        return text.replace(f"{self.folder}/", "").replace(str(self.folder), "the result")


class Teller:
    """A `Progress` that also counts the tiles a network looks at.

    Args:
        tell: Takes stage, done and total.
        check: Raises when the work is to stop.
        pause: Least seconds between two news of one stage.
    """

    def __init__(self, tell: Callable[[str, int, int], None], check: Callable[[], None], *, pause: float = 0.2) -> None:
        self._tell, self._check, self._pause = tell, check, pause
        self._last = ("", 0.0)
        self._seen = self._expected = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See `catenary.types.Progress`."""
        self._check()
        now = time.monotonic()
        if stage != self._last[0] or now - self._last[1] >= self._pause:
            self._last = stage, now
            self._tell(stage, done, total)

    def expect(self, tiles: int) -> None:
        """Say how many tiles a network is going to look at, to have them told as progress."""
        self._seen, self._expected = 0, tiles

    def looks(self, tiles: int) -> None:
        """A network is about to look at some tiles."""
        if not self._expected:
            self._check()
            return
        self("segmenting", min(self._seen, self._expected), self._expected)
        self._seen += tiles


@dataclass
class Output:
    """The files of a result.

    Attributes:
        task: Whose.
        files: What has been added.
    """

    task: Task
    files: list[dict[str, Any]] = field(default_factory=list)

    def url(self, name: str) -> str:
        """Where a client gets a file."""
        return f"/api/jobs/{self.task.id}/files/{name}"

    def add(self, name: str, role: str) -> str:
        """Tell of a file that lies in the folder; returns its address.

        Args:
            name: Of the file.
            role: ``"mask"``, ``"overlay"``, ``"table"``, ``"probability"``, ``"vectors"``, ``"report"``, ... ;
                ``"view"`` for what only the page needs.
        """
        path = self.task.folder / name
        suffix = ".nii.gz" if name.endswith(".nii.gz") else path.suffix
        self.files.append(
            {
                "name": name,
                "role": role,
                "type": _TYPES.get(suffix, "application/octet-stream"),
                "bytes": path.stat().st_size,
                "url": self.url(name),
            }
        )
        return self.url(name)

    def picture(self, name: str, pixels: NDArray[np.uint8], role: str = "view") -> str:
        """Write ``(h, w)`` or ``(h, w, 3)`` as PNG or JPEG, and add it."""
        array = pixels if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
        write_image(self.task.folder / name, array)
        return self.add(name, role)

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
        """Write rows as CSV, and add it."""
        path = self.task.folder / name
        with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            for row in rows:
                writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
        return self.add(name, "table")


def shown_size(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of what a page shows.

    >>> shown_size((500, 400)), shown_size((8192, 4096))
    ((500, 400), (4096, 2048))
    """
    factor = min(1.0, SHOWN / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def shrunk(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Pixels ``(h, w, ...)`` brought to a size, averaged over areas."""
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size[::-1], interpolation=cv2.INTER_AREA))


def shrunk_label(label: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A label map brought to a size by the nearest pixel."""
    if label.shape == size:
        return label
    return np.asarray(cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def plain(value: Any) -> Any:
    """Data as JSON takes it: numbers of numpy as Python's, what is not finite as None.

    >>> plain({"a": np.float32(0.5), "b": (np.int64(2), float("nan"))})
    {'a': 0.5, 'b': [2, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
