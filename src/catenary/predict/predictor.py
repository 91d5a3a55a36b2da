"""read -> prepare -> predict (tile, forward, blend) -> restore: from an image to an answer on its own grid."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import ConfigError, InputError
from catenary.geometry import geometry_of
from catenary.io import read_image
from catenary.predict.backends import Engine, least_side
from catenary.predict.card import Card, load_card, model_path
from catenary.predict.engines import Opened, Samples, open_engine
from catenary.predict.measure import drop_small, measure
from catenary.predict.prediction import Prediction, paint_regions
from catenary.predict.prepare import Coefficients, Normaliser, normalise, prepare, working_shape
from catenary.predict.quantities import quantities
from catenary.predict.tiles import Rows, Tiling, blend, in_memory, pad_to
from catenary.types import IGNORE, Image

__all__ = ["Predictor", "open_predictor"]

#: Probabilities of larger images (pixels times logits) are kept only when they are asked for.
KEPT = 1 << 26
#: Longest side of a tile on CPU; larger tiles waste less on overlap but leave the caches.
TILE = 512


class Predictor:
    """A model ready for use; call it with a file, an `Image` or an array.

    Args:
        card: What the model file says of itself.
        opened: The engine that runs it.
        overlap: How far neighbouring tiles overlap, see `catenary.recipe.Predict`.
        tta: Average over flips.
        halo: Throw the outer ring of each tile away instead of blending, so that the tiled answer equals the answer
            for the whole image (for networks whose normalisation does not look at the whole image).
        tile: Size of a tile ``(h, w)``; the recipe's when None.

    Attributes:
        card, engine, drift, notes: What was opened.
        normaliser: What its pixels are normalised with.
    """

    def __init__(
        self,
        card: Card,
        opened: Opened,
        *,
        overlap: float | None = None,
        tta: bool = False,
        halo: bool = False,
        tile: tuple[int, int] | None = None,
    ) -> None:
        self.card = card
        self.engine: Engine = opened.engine
        self.drift, self.notes = opened.drift, opened.notes
        self.normaliser = Normaliser.from_config(card.recipe.prepare)
        self._overlap = card.recipe.predict.overlap if overlap is None else overlap
        self._tta = tta or card.recipe.predict.tta
        self._tile = tile or card.recipe.predict.tile
        self._geometry = geometry_of(**card.recipe.model.model_dump())
        self._halo = 0
        if halo or self._geometry.valid:  # unpadded networks need real context around each tile
            if self._geometry.whole:
                raise ConfigError(
                    f"an answer of this network depends on the whole tile ({card.recipe.model.norm} normalisation, "
                    f"block {card.recipe.model.block}); a halo is of no use"
                )
            self._halo = self._geometry.reach

    def __call__(self, source: str | Path | Image | NDArray[Any], *, probability: bool | None = None) -> Prediction:
        """Segment one image.

        Args:
            source: A file, an `Image`, or an array ``(h, w)``, ``(h, w, c)`` or ``(c, h, w)``.
            probability: Keep the probabilities; None keeps them unless the image is very large.

        Raises:
            InputError: It cannot be read, has another number of channels than the model, or holds NaN.
        """
        image = _as_image(source, self.card)
        warnings = [*self.notes, *_warnings(image, self.card)]
        keep = (
            image.shape[0] * image.shape[1] * self.card.labels.channels <= KEPT if probability is None else probability
        )
        mask, regions, kept = self._segment(image, keep)
        if image.valid is not None and not image.valid.all():
            mask[~image.valid] = IGNORE
            for planes, nothing in ((regions, False), (kept, np.nan)):
                if planes is not None:
                    planes[:, ~image.valid] = nothing
            share = 1 - float(image.valid.mean())
            warnings.append(
                f"{image.source}: {100 * share:.1f} % of the pixels hold no data; they are {IGNORE} in the mask and "
                "count in no measurement"
            )
        labels = self.card.labels
        return Prediction(
            mask=mask,
            probability=kept,
            regions=regions,
            grid=image.grid,
            labels=labels,
            measurements=measure(mask, labels, image.grid, self.card.share_errors),
            warnings=tuple(warnings),
            image=image,
            quantities=quantities(self.card.recipe.predict.measures, mask, image, labels, self.card.quantities)
            if self.card.recipe.predict.measures
            else (),
        )

    def bands(self, image: Image) -> Iterator[NDArray[np.float32]]:
        """Probabilities at working resolution as bands ``(k, rows, w)`` from top to bottom, constant in memory."""
        ready = prepare(image, self.normaliser, self.card.recipe.prepare.size)
        shape, tiling = ready.array.shape[1:], self.tiling(image.shape)
        left = shape[0]
        for band in self.blended(in_memory(pad_to(ready.array, tiling.shape), tiling), tiling, ready.coefficients):
            rows = min(left, band.shape[1])
            if rows > 0:
                yield band[:, :rows, : shape[1]]
            left -= rows

    def blended(
        self, rows: Rows, tiling: Tiling, coefficients: Coefficients, *, first: int = 0, last: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """The bands of `catenary.predict.tiles.blend`, of pixels that are normalised with `coefficients`."""
        return blend(
            lambda tiles: self._answer(tiles, coefficients),
            rows,
            tiling,
            logits=self.card.labels.channels,
            batch=max(1, self.card.recipe.predict.batch * 256 * 256 // (tiling.tile[0] * tiling.tile[1])),
            first=first,
            last=last,
        )

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        """How an image of `shape`, its own size, is cut."""
        least, recipe = least_side(self.card), self.card.recipe
        tile = self._tile or tuple(
            max(side, TILE, 2 * self._halo + self._geometry.multiple) for side in recipe.sample.patch
        )
        return Tiling.of(
            tuple(max(side, least) for side in working_shape(shape, recipe.prepare.size)),
            tile=tile,
            overlap=round(self._overlap * min(self._tile or recipe.sample.patch)),
            halo=self._halo,
            multiple=self._geometry.multiple,
        )

    @property
    def tile_settings(self) -> tuple[object, ...]:
        """What decides how images are cut and answers joined: overlap, flips, halo, tile."""
        return self._overlap, self._tta, self._halo, list(self._tile)

    def seam_difference(self, image: Image, *, side: int = 1024) -> float | None:
        """Share of pixels whose class the tiling changes: tiles against one tile over the same pixels.

        Measured on the middle `side` x `side` pixels; None where they need no more than one tile.
        """
        rows, columns = (slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + side) for n in image.shape)
        valid = None if image.valid is None else image.valid[rows, columns]
        part = replace(image, array=np.ascontiguousarray(image.array[:, rows, columns]), valid=valid)
        tiling = self.tiling(part.shape)
        if tiling.tile == tiling.shape:
            return None
        whole = copy(self)
        whole._tile = tiling.shape
        decided = [np.concatenate([p.decide(band) for band in p.bands(part)], axis=-2) for p in (self, whole)]
        return float(np.mean(decided[0] != decided[1]))

    def _answer(self, tiles: NDArray[Any], coefficients: Coefficients) -> NDArray[np.float32]:
        x = np.stack([normalise(tile, *coefficients) for tile in tiles])
        if not self._tta:
            return self.engine(x)
        total = self.engine(x).copy()
        for axes in ((2,), (3,), (2, 3)):
            total += np.flip(self.engine(np.ascontiguousarray(np.flip(x, axes))), axes)
        total /= 4
        return total

    def _segment(
        self, image: Image, keep: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None, NDArray[np.float32] | None]:
        labels = self.card.labels
        resized = working_shape(image.shape, self.card.recipe.prepare.size) != image.shape
        if resized:
            probability = _enlarge(np.concatenate([band.copy() for band in self.bands(image)], axis=1), image.shape)
            decided = self.decide(probability)
            kept = probability if keep else None
        else:
            parts, bands = [], []
            for band in self.bands(image):
                parts.append(self.decide(band))
                if keep:
                    bands.append(band.copy())
            decided = np.concatenate(parts, axis=-2)
            kept = np.concatenate(bands, axis=1) if keep else None
        smallest = self.card.recipe.predict.smallest
        if labels.task == "overlapping":
            planes = [drop_small(plane, smallest) for plane in decided] if smallest else decided
            regions = np.asarray(planes, bool)
            return paint_regions(regions, labels), regions, kept
        return drop_small(decided, smallest) if smallest else decided, None, kept

    def decide(self, probability: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Class indices ``(h, w)``; for regions 0/1 planes ``(r, h, w)``.

        Grades of two dates share the probability of one building: it is there when that is above one half, however
        unsure its grade is, and has the likeliest grade.
        """
        labels = self.card.labels
        if labels.task == "exclusive" and self.card.recipe.model.fusion != "none":
            winner = self._likeliest(probability[1:]) + np.uint8(1)
            winner[probability[0] >= 0.5] = 0
            return winner
        if labels.task == "exclusive":
            return self._likeliest(probability)
        limits = np.asarray(self.card.thresholds or [0.5] * len(probability), np.float32)
        over = (probability > limits[:, None, None]).astype(np.uint8)
        return over[0] if labels.task == "binary" else over

    @staticmethod
    def _likeliest(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
        # A running maximum is several times faster than argmax over the first axis.
        best, winner = probability[0].copy(), np.zeros(probability.shape[1:], np.uint8)
        for index in range(1, len(probability)):
            better = probability[index] > best
            np.copyto(winner, np.uint8(index), where=better)
            np.maximum(best, probability[index], out=best)
        return winner


def open_predictor(
    run: str | Path,
    *,
    engine: str = "auto",
    tta: bool = False,
    overlap: float | None = None,
    halo: bool = False,
    tile: tuple[int, int] | None = None,
    samples: Samples | None = None,
) -> Predictor:
    """Open the model of a run or a single model file.

    Args:
        run: Folder of a run, or a ``model.safetensors``.
        engine: ``"auto"``, ``"torch"``, ``"openvino"`` or ``"onnx"``.
        tta, overlap, halo, tile: See `Predictor`.
        samples: See `catenary.predict.engines.open_engine`.

    Raises:
        ModelError: There is no model, it is damaged or foreign, or the engine departs from it.
        MissingExtra: The engine's package is not installed.
    """
    path = model_path(run)
    card = load_card(path)
    wanted = card.recipe.predict.engine if engine == "auto" else engine
    opened = open_engine(wanted, path, card, samples=samples)
    return Predictor(card, opened, tta=tta, overlap=overlap, halo=halo, tile=tile)


def _enlarge(probability: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bring probabilities back to the input's own size."""
    import cv2

    planes = [cv2.resize(p, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR) for p in probability]
    return np.stack(planes).astype(np.float32, copy=False)


def _as_image(source: str | Path | Image | NDArray[Any], card: Card) -> Image:
    image = source
    if isinstance(image, str | Path):
        image = read_image(image)
    elif not isinstance(image, Image):
        array = np.asarray(image)
        if array.ndim == 2:
            array = array[None]
        elif array.ndim == 3 and array.shape[0] != card.channels and array.shape[2] == card.channels:
            array = np.moveaxis(array, -1, 0)
        if array.ndim != 3:
            raise InputError(f"an image array has 2 or 3 axes, found shape {np.shape(image)}; give (h, w, c)")
        image = Image(array=np.ascontiguousarray(array))
    if image.array.dtype.kind not in "buif":
        raise InputError(f"{image.source} has pixels of type {image.array.dtype}; give whole or real numbers")
    if image.channels != card.channels:
        raise InputError(
            f"{image.source} has {image.channels} channel(s) but the model was trained on {card.channels}; convert it, "
            "or use a model trained on such images"
        )
    if min(image.shape) == 0:
        raise InputError(f"{image.source} has no pixels (size {image.shape}); give a whole image")
    if image.array.dtype.kind == "f" and not np.isfinite(image.array).all():
        count = int((~np.isfinite(image.array)).sum())
        raise InputError(f"{image.source} has {count} pixels that are NaN or infinite; replace them")
    if image.array.dtype == np.bool_:
        image = replace(image, array=image.array.astype(np.uint8))
    return image


def _warnings(image: Image, card: Card) -> list[str]:
    """What makes the answer doubtful: an input unlike those of the training set."""
    found = []
    low, high = float(image.array.min()), float(image.array.max())
    if low == high:
        found.append(f"{image.source}: every pixel is {low:g}; there is nothing to segment")
    if str(image.array.dtype) != card.dtype:
        found.append(f"{image.source}: pixels are {image.array.dtype}, the model was trained on {card.dtype}")
    trained = card.fingerprint
    if trained.get("low") and trained.get("high") and low != high:
        bottom, top = min(trained["low"]), max(trained["high"])
        step = max(1, image.array[0].size // 100_000)
        middle = float(np.median(image.array.reshape(image.channels, -1)[:, ::step]))
        reach = 0.5 * (top - bottom)
        if not bottom - reach <= middle <= top + reach:
            found.append(
                f"{image.source}: the median intensity {middle:g} lies far outside the training images' range "
                f"{bottom:g} to {top:g}"
            )
    return found
