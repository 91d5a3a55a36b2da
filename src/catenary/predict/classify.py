"""From an image to the probabilities of its classes, calibrated on validation cases, and the class that is decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from catenary.errors import ConfigError, ModelError
from catenary.metrics.vennabers import venn_abers
from catenary.predict.backends import WholeEngine
from catenary.predict.card import Card, load_card, model_path
from catenary.predict.engines import Opened, Samples, open_engine
from catenary.predict.familiar import Likeness
from catenary.predict.inputs import as_image, doubts
from catenary.predict.prepare import Normaliser, framed, normalise, prepare
from catenary.types import Image

__all__ = ["ClassPredictor", "Classified", "open_classifier", "seen_by", "span"]


@dataclass(frozen=True, kw_only=True)
class Classified:
    """What a classifier says of one image.

    Attributes:
        names: The classes.
        probability: Calibrated probability of each ``(k,)``; they add up to 1.
        plain: The same before calibration.
        label: Index of the class that is decided.
        threshold: Probability of the second of two classes from which it is decided; None for more classes.
        interval: Range of the probability of the second of two classes that validation cases leave, see
            `span`; None where they are too few, for more classes, and for averaged answers.
        likeness: How the image compares with the training images; None where that is not known.
        warnings: What makes the answer doubtful.
    """

    names: tuple[str, ...]
    probability: Float64[np.ndarray, " k"]
    plain: Float64[np.ndarray, " k"]
    label: int
    threshold: float | None
    interval: tuple[float, float] | None = None
    likeness: Likeness | None = None
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the class that is decided."""
        return self.names[self.label]


class ClassPredictor:
    """A model of image-level classes ready for use; call it with a file, an `Image` or an array.

    Args:
        card: What the model file says of itself.
        opened: The engine that runs it.
        tta: Average over flips, along the axes that training mirrored.
        others: Further models whose probabilities are averaged with this one's.

    Raises:
        ConfigError: The others know other classes or channels.
        ModelError: The model segments images and does not classify them.

    Attributes:
        card, engine, drift, notes: What was opened.
    """

    def __init__(self, card: Card, opened: Opened, *, tta: bool = False, others: Sequence[ClassPredictor] = ()) -> None:
        if card.labels.scope != "image":
            raise ModelError(
                f"this model segments ({', '.join(card.labels.names)}) and does not classify whole images; give one "
                "that was trained on class folders"
            )
        for other in others:
            if (other.card.labels.names, other.card.channels) != (card.labels.names, card.channels):
                raise ConfigError(
                    f"models that answer together must know the same classes and channels, found "
                    f"{', '.join(other.card.labels.names)} beside {', '.join(card.labels.names)}; leave that one out"
                )
        self._others = tuple(others)
        self.card: Card = card
        assert isinstance(opened.engine, WholeEngine)  # all that open_engine opens
        self.engine: WholeEngine = opened.engine
        self.drift, self.notes = opened.drift, opened.notes
        self._normaliser = Normaliser.from_config(card.recipe.prepare)
        self._tta = tta or card.recipe.predict.tta

    def __call__(self, source: str | Path | Image | NDArray[Any]) -> Classified:
        """Classify one image.

        Raises:
            InputError: It cannot be read, or is not of the kind that the model was trained on.
        """
        return next(self.many([source]))

    def many(self, sources: Iterable[str | Path | Image | NDArray[Any]]) -> Iterator[Classified]:
        """Classify images, several at once; see `__call__`."""
        rest = iter(sources)
        alone = not (self._tta or self._others)  # an average is another score than validation cases were given
        while some := [as_image(one, self.card) for one in islice(rest, self.card.recipe.predict.batch)]:
            plain, features = self.looked_at(some)
            exact = plain if self.card.calibration is None else self.card.calibration(plain)
            known = self.card.familiar
            alike: list[Likeness | None] = [*known.judge(features)] if known is not None else [None] * len(some)
            for image, raw, probability, likeness in zip(some, plain, exact, alike, strict=True):
                strange = (f"{image.source}: {likeness.words}",) if likeness is not None and likeness.words else ()
                yield Classified(
                    names=self.card.labels.names,
                    probability=probability,
                    plain=raw,
                    label=self.decide(probability),
                    threshold=self.threshold,
                    interval=span(raw, probability, self.card.judged) if alone else None,
                    likeness=likeness,
                    warnings=(*self.notes, *strange, *doubts(image, self.card)),
                )

    def looked_at(self, images: Sequence[Image]) -> tuple[Float64[np.ndarray, "n k"], Float32[np.ndarray, "n f"]]:
        """Probabilities as the networks give them, of all classes, mean over flips and models; and the last features
        of this network."""
        x = np.stack([seen_by(self.card, image, self._normaliser) for image in images])
        answer, features = self.engine.with_features(x)
        own, features = self._every_class(answer), features.copy()  # an engine may use its memory again
        flips = [2 + axis for axis, chance in enumerate(self.card.recipe.augment.flip) if chance > 0]
        for axis in flips if self._tta else []:
            own = own + self._every_class(self.engine(np.ascontiguousarray(np.flip(x, axis))))
        if self._tta:
            own = own / (1 + len(flips))
        return np.mean([own, *(other.looked_at(images)[0] for other in self._others)], axis=0), features

    @property
    def threshold(self) -> float | None:
        """Probability of the second of two classes from which it is decided; None for more classes."""
        if self.card.labels.count > 2:
            return None
        return self.card.thresholds[0] if self.card.thresholds else 0.5

    def decide(self, probability: Float64[np.ndarray, " k"]) -> int:
        """Index of the class that is decided for calibrated probabilities."""
        if self.threshold is None:
            return int(probability.argmax())
        return int(probability[1] >= self.threshold)

    def _every_class(self, answer: Float32[np.ndarray, "n k 1 1"]) -> NDArray[np.float64]:
        """Of two classes a network answers for the second only."""
        found: NDArray[np.float64] = answer.reshape(len(answer), -1).astype(np.float64)
        return found if found.shape[1] > 1 else np.concatenate([1 - found, found], axis=1)


def span(
    plain: Float64[np.ndarray, " k"], probability: Float64[np.ndarray, " k"], judged: Sequence[tuple[float, int]]
) -> tuple[float, float] | None:
    """The range that validation cases leave (`catenary.metrics.vennabers`), wide enough to hold the probability too.

    Few validation cases are calibrated by one number or not at all; the probability may then lie beside the range, and
    both say what it can be.

    Args:
        plain, probability: Before and after calibration.
        judged: See `catenary.metrics.vennabers.venn_abers`.

    >>> cases = [(i / 20, int(i > 10)) for i in range(20)]
    >>> span(np.array([0.8, 0.2]), np.array([0.8, 0.2]), cases)
    (0.0, 0.2)
    """
    found = venn_abers(float(plain[1]), judged) if len(plain) == 2 else None
    return None if found is None else (min(found[0], float(probability[1])), max(found[1], float(probability[1])))


def seen_by(card: Card, image: Image, normaliser: Normaliser | None = None) -> Float32[np.ndarray, "c h w"]:
    """An image as the network of a card sees it: at its size, in its frame, normalised."""
    wanted = card.recipe.prepare
    ready = prepare(image, normaliser or Normaliser.from_config(wanted), wanted.size)
    height, width = card.recipe.sample.patch
    frame = framed(np.ascontiguousarray(np.moveaxis(ready.array, 0, -1)), (height, width))
    return normalise(np.moveaxis(frame, -1, 0), *ready.coefficients)


def open_classifier(
    run: str | Path,
    *,
    engine: str = "auto",
    tta: bool = False,
    samples: Samples | None = None,
    others: Sequence[str | Path] = (),
) -> ClassPredictor:
    """Open the model of a run or a single model file.

    Args:
        run: Folder of a run, or a ``model.safetensors``.
        engine: ``"auto"``, ``"torch"``, ``"openvino"`` or ``"onnx"``.
        tta: See `ClassPredictor`.
        samples: See `catenary.predict.engines.open_engine`.
        others: Runs or model files that answer together with this one.

    Raises:
        ConfigError: The others know other classes or channels.
        ModelError: There is no model, it is damaged, foreign or no classifier, or the engine departs from it.
        MissingExtra: The engine's package is not installed.
    """
    path = model_path(run)
    card = load_card(path)
    wanted = card.recipe.predict.engine if engine == "auto" else engine
    opened = open_engine(wanted, path, card, samples=samples)
    return ClassPredictor(
        card, opened, tta=tta, others=[open_classifier(one, engine=engine, tta=tta) for one in others]
    )
