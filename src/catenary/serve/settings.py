"""All settings of the server, and the limits that keep a machine safe from what is sent to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catenary.errors import ConfigError

__all__ = ["Settings", "named_models", "parse_amount", "parse_seconds"]

STATIC = Path(__file__).parent / "static"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
_SPANS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server behaves.

    Attributes:
        models: Name and place of each model: a run's folder, a model file, or a pipeline's folder.
        data: Folder of jobs and results; one server at a time uses it.
        host, port: Where it listens; port 0 takes a free one.
        token: What clients must know; "" for none, which is for the machine itself only.
        hosts: Further names under which the server may be called, for a proxy before it.
        keep: Seconds after its end that a job, its uploads and its results are deleted.
        max_upload: Largest request in bytes.
        max_pixels: Largest photo in pixels; volumes may have four times as many voxels, maps sixteen times.
        timeout: Seconds after which a job is stopped.
        queue: Most jobs that wait.
        uploads: Most uploads at a time.
        idle: Seconds without a byte after which an upload is given up.
        reserve: Bytes of the disk that stay free.
        grace: Seconds that a cancelled job has to stop before it is made to.
        memory: Share of the machine's memory that the worker may take.
        parallel: Photos that are worked on at a time; those of one model share its batches.
        engine: See `catenary.workflow.load`.
        static: Folder of the built pages.
    """

    models: tuple[tuple[str, Path], ...]
    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()
    keep: float = 86400.0
    max_upload: int = 512_000_000
    max_pixels: int = 64_000_000
    timeout: float = 900.0
    queue: int = 100
    uploads: int = 64
    idle: float = 30.0
    reserve: int = 500_000_000
    grace: float = 10.0
    memory: float = 0.8
    parallel: int = 4
    engine: str = "auto"
    static: Path = STATIC

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("there is nothing to serve; name a run, a model file or a pipeline")
        if not self.is_loopback and not self.token:
            raise ConfigError(
                f"the server would be open to everyone who reaches {self.host}, without a token; add --token TEXT (or "
                "set CATENARY_TOKEN), or leave out --host"
            )
        if not self.token.isascii() or not self.token.isprintable() or self.token != self.token.strip():
            raise ConfigError("a token travels in a header, so it has ASCII characters only, without space around it")
        if self.token and len(self.token) < 8:
            raise ConfigError(f"a token of {len(self.token)} characters can be guessed; take at least 8")

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return self.host in LOOPBACK or re.fullmatch(r"127(\.\d{1,3}){3}", self.host) is not None

    @property
    def max_voxels(self) -> int:
        """Largest volume."""
        return 4 * self.max_pixels

    @property
    def max_map(self) -> int:
        """Largest map; it is read in windows."""
        return 16 * self.max_pixels


def named_models(given: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """``NAME=PATH`` or ``PATH`` as names and paths; what has no name is called as its folder or file.

    Raises:
        ConfigError: Two have one name, or a name has characters that addresses do not take.

    >>> named_models(["runs/skin", "eye=runs/disc"])[0][0], named_models(["eye=runs/disc"])
    ('skin', (('eye', PosixPath('runs/disc')),))
    """
    found: dict[str, Path] = {}
    for one in given:
        name, equals, place = one.partition("=")
        if not equals or "/" in name or "\\" in name:
            name, place = "", one
        path = Path(place)
        if not name:
            own = path.resolve()
            name = own.parent.name if own.name == "model.safetensors" else own.name.removesuffix(".safetensors")
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "model"
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
            raise ConfigError(f"'{name}' cannot name a model; use letters, digits, '-', '_' and '.'")
        if name in found:
            raise ConfigError(f"two models are called '{name}'; name one, as in other={place}")
        found[name] = path
    return tuple(found.items())


def parse_amount(text: str) -> int:
    """A number of bytes or pixels.

    Raises:
        ConfigError: It is none.

    >>> parse_amount("512MB"), parse_amount("64M"), parse_amount("1000")
    (512000000, 64000000, 1000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?b?)\s*", text.lower())
    if match is None or match[2] == "b" or float(match[1]) * _UNITS[match[2]] < 1:
        raise ConfigError(f"'{text}' is no amount; write it as in 512MB or 64M")
    return round(float(match[1]) * _UNITS[match[2]])


def parse_seconds(text: str) -> float:
    """A span of time in seconds.

    Raises:
        ConfigError: It is none.

    >>> parse_seconds("24h"), parse_seconds("15min"), parse_seconds("30")
    (86400.0, 900.0, 30.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d|)\s*", text.lower())
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"'{text}' is no span of time; write it as in 30s, 15min, 24h or 7d")
    return float(match[1]) * _SPANS[match[2]]
