"""The network that is exported, and the tiles on which its copies are held against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from catenary.export.description import describe
from catenary.export.drift import Drift, drift_of
from catenary.io.files import file_digest
from catenary.predict.backends import TorchEngine
from catenary.predict.card import Card, load_card
from catenary.predict.engines import Opened, Samples, samples_like

__all__ = ["Original"]

#: Gives probabilities ``(n, k, *s)``, of whole images ``(n, k)``, of tiles ``(n, c, *s)``.
Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Original:
    """A model file with its answers in full precision.

    Attributes:
        path: The model file.
        card: Its card.
        name: What it is called, for people.
        check: ``(n, c, *s)``: tiles on which its copies are compared with it.
        ranges: ``(m, c, *s)``: tiles of other images that tell the ranges of integers; None where there are none.
        on: What `check` shows, in words.
        made_up: They are no real images.
    """

    path: Path
    card: Card
    name: str
    check: Float32[np.ndarray, "n c *s"]
    ranges: Float32[np.ndarray, "m c *s"] | None = None
    on: str = ""
    made_up: bool = False

    @staticmethod
    def opened(path: Path, *, name: str, samples: Samples | None = None, on: str = "") -> Original:
        """The model of a file; with made-up tiles where no samples are given.

        Raises:
            ModelError: The file is damaged or of another kind.
        """
        card = load_card(path)
        if samples is None:
            return Original(path=path, card=card, name=name, check=samples_like(card), on="made-up tiles", made_up=True)
        return Original(path=path, card=card, name=name, check=samples.check, ranges=samples.ranges, on=on)

    @cached_property
    def engine(self) -> TorchEngine:
        """torch in full precision."""
        return TorchEngine(self.path, self.card, exact=True)

    @cached_property
    def wanted(self) -> NDArray[np.float32]:
        """Its own answers to `check`."""
        return answers(self.engine, self.check)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model file, in hexadecimal."""
        return file_digest(self.path)

    def compare(self, forward: Forward) -> Drift:
        """How far the answers of a copy depart."""
        return drift_of(
            answers(forward, self.check),
            self.wanted,
            self.card,
            size=self.check.shape[2:],
            on=self.on,
            made_up=self.made_up,
        )

    def description(self, precision: str, drift: Drift | None = None) -> dict[str, Any]:
        """See `catenary.export.description.describe`; with the drift that was measured."""
        found = describe(self.card, name=self.name, precision=precision, digest=self.digest, opened=Opened(self.engine))
        return found if drift is None else found | {"drift": drift.model_dump(mode="json")}


def answers(forward: Forward, tiles: Float32[np.ndarray, "n c *s"]) -> NDArray[np.float32]:
    """Answers to tiles, given one by one, which bounds the memory."""
    return np.concatenate([forward(tile[None]).copy() for tile in tiles])
