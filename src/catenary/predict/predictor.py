"""read -> prepare -> predict (tile, forward, blend) -> restore: from an image to an answer on its own grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.errors import ConfigError, ModelError, near_match
from catenary.geometry import axes_of
from catenary.predict.backends import Engine, least_sides
from catenary.predict.bands import averaged, body_box, cropped, placed, slabs
from catenary.predict.card import Card, load_card, model_path
from catenary.predict.cleaning import clean_label, clean_mask
from catenary.predict.engines import Opened, Samples, open_engine
from catenary.predict.frames import in_frame, margins, widened
from catenary.predict.inputs import as_image, doubts
from catenary.predict.measure import drop_small, measure
from catenary.predict.prediction import Prediction, nest_regions, paint_regions
from catenary.predict.prepare import Coefficients, Normaliser, normalise, prepare, told_of, working_shape
from catenary.predict.quantities import quantities
from catenary.predict.refine import refined
from catenary.predict.resample import resample_bands, running_argmax
from catenary.predict.tiles import Rows, Tiling, blend, in_memory, pad_to
from catenary.types import IGNORE, Image

__all__ = ["Predictor", "open_predictor"]

#: Probabilities of larger images (pixels times logits) are kept only when they are asked for.
KEPT = 1 << 26
#: Longest side of a tile on CPU; larger tiles waste less on overlap but leave the caches.
TILE = 512
#: Slices of a volume that a network of rank 2 answers at once.
SLAB = 8
#: Voxels around the body of a scan that are looked at too, where what is empty is left out.
MARGIN = 8


class Predictor:
    """A model ready for use; call it with a file, an `Image` or an array.

    Args:
        card: What the model file says of itself.
        opened: The engine that runs it.
        overlap: How far neighbouring tiles overlap, see `catenary.recipe.Predict`.
        tta: Average over flips, along the axes that training mirrored.
        halo: Throw the outer ring of each tile away instead of blending, so that the tiled answer equals the answer
            for the whole image (for networks whose normalisation does not look at the whole image).
        tile: Size of a tile ``(h, w)``; the recipe's when None.
        others: Further models whose probabilities are averaged with this one's, for example of other folds.
        disaster: Type of the disaster in images that do not state it themselves; ``""`` where it is not known.

    Raises:
        ConfigError: A halo is asked for that is of no use, the others know other classes or channels, or a disaster is
            given to a model that is not told of any.

    Attributes:
        card, engine, drift, notes: What was opened.
        normaliser: What its pixels are normalised with.
        disaster: See above.
    """

    def __init__(
        self,
        card: Card,
        opened: Opened,
        *,
        overlap: float | None = None,
        tta: bool = False,
        halo: bool = False,
        tile: tuple[int, ...] | None = None,
        others: Sequence[Predictor] = (),
        disaster: str = "",
    ) -> None:
        for other in others:
            if (other.card.labels, other.card.channels, other.card.rank) != (card.labels, card.channels, card.rank):
                raise ConfigError(
                    f"models that answer together must know the same classes and channels, found "
                    f"{', '.join(other.card.labels.names)} of {other.card.channels} channels beside "
                    f"{', '.join(card.labels.names)} of {card.channels}; leave that one out"
                )
        self._others = tuple(others)
        self.card: Card = card
        self.disaster = disaster
        self.engine: Engine = opened.engine
        self.drift, self.notes = opened.drift, opened.notes
        self.notes += _notes_of(disaster, card)
        self.normaliser = Normaliser.from_config(card.recipe.prepare)
        self._overlap = card.recipe.predict.overlap if overlap is None else overlap
        self._tta = tta or card.recipe.predict.tta
        self._tile = tile or card.recipe.predict.tile
        if self._tta and not self._mirrored():
            self.notes += ("training mirrored no axis, so there are no flips to average over; --tta changes nothing",)
        self._axes = axes_of(**card.recipe.model.model_dump())
        self._halo = (0,) * len(self._axes)
        if halo or self._axes[0].valid:  # unpadded networks need real context around each tile
            if self._axes[0].whole:
                raise ConfigError(
                    f"an answer of this network depends on the whole tile ({card.recipe.model.norm} normalisation, "
                    f"block {card.recipe.model.block}); a halo is of no use"
                )
            self._halo = tuple(axis.reach for axis in self._axes)

    def __call__(self, source: str | Path | Image | NDArray[Any], *, probability: bool | None = None) -> Prediction:
        """Segment one image.

        Args:
            source: A file, an `Image`, or an array ``(h, w)``, ``(h, w, c)``, ``(c, h, w)`` or ``(c, d, h, w)``.
            probability: Keep the probabilities; None keeps them unless the image is very large or a volume.

        Raises:
            InputError: It cannot be read, has another number of channels than the model, or holds NaN.
        """
        image = as_image(source, self.card)
        warnings = [*self.notes, *doubts(image, self.card)]
        small = len(image.shape) == 2 and math.prod(image.shape) * self.card.labels.channels <= KEPT
        keep = small if probability is None else probability
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
        """Probabilities at working resolution as bands ``(k, rows, *w)`` from top to bottom, constant in memory.

        Of a volume only the box around its body is looked at; the rest is background.
        """
        prepare_ = self.card.recipe.prepare
        ready = prepare(image, self.normaliser, prepare_.size, prepare_.spacing)
        array = ready.array
        box = body_box(array, margin=MARGIN) if array.ndim == 4 else tuple(slice(0, n) for n in array.shape[1:])
        frame = self.frame(array.ndim - 1)
        box = widened(box, array.shape[1:], frame)
        part = array[:, *box]
        around = margins(part.shape[1:], frame)
        framed = in_frame(part, ((0, 0), *around))
        tiling = self._tiling(framed.shape[1:])
        padded = pad_to(framed, tiling.shape)
        volume_as_slices = len(tiling.shape) > self.card.recipe.model.rank
        rows = slabs(padded, tiling, self.card.recipe.model.slices) if volume_as_slices else in_memory(padded, tiling)
        first = tuple(before for before, _ in around)
        answers = self.blended(rows, tiling, ready.coefficients, disaster=image.disaster)
        bands = cropped(answers, part.shape[1:], first)
        if self.card.recipe.predict.refine:
            spacing = prepare_.spacing or image.grid.spacing
            bands = refined(
                bands,
                lambda start, end: normalise(part[:, start:end], *ready.coefficients),
                part.shape[1],
                weight=self.card.recipe.predict.refine,
                exclusive=self.card.labels.task == "exclusive",
                spacing=spacing if spacing and len(spacing) == part.ndim - 1 else None,
            )
        return bands if part.shape == array.shape else placed(bands, box, array.shape[1:], self.card.labels)

    def frame(self, rank: int) -> tuple[int, ...]:
        """What an image of `rank` axes is seen in at least: a training patch, unless tiles of another size are set."""
        patch = (1,) * len(self._axes) if self._tile else self.card.recipe.sample.patch
        return (1,) * (rank - len(patch)) + patch

    def blended(
        self,
        rows: Rows,
        tiling: Tiling,
        coefficients: Coefficients,
        *,
        first: int = 0,
        last: int | None = None,
        disaster: str = "",
    ) -> Iterator[NDArray[np.float32]]:
        """The bands of `catenary.predict.tiles.blend`, of pixels that are normalised with `coefficients`."""
        told = told_of(disaster or self.disaster, self.card.recipe.model.disasters)
        return blend(
            lambda tiles: self._answer(tiles, coefficients, told),
            rows,
            tiling,
            logits=self.card.labels.channels,
            batch=max(1, self.card.recipe.predict.batch * 256 * 256 // math.prod(tiling.tile)),
            first=first,
            last=last,
        )

    def tiling(self, shape: tuple[int, ...], spacing: tuple[float, ...] | None = None) -> Tiling:
        """How an image of `shape`, its own size, is cut; a volume as if all of it held something."""
        return self._tiling(self._working(shape, spacing))

    def _tiling(self, shape: tuple[int, ...]) -> Tiling:
        recipe, axes, halo = self.card.recipe, self._axes, self._halo
        patch = self._tile or recipe.sample.patch
        tile: tuple[int, ...] = self._tile
        if not tile:
            # Larger tiles waste less on overlap. What looks at a whole tile gets volumes cut as in training.
            least = [TILE] * 2 if len(axes) == 2 else [p if axes[0].whole else p * 3 // 2 for p in patch]
            tile = tuple(max(p, n, 2 * h + a.multiple) for p, n, h, a in zip(patch, least, halo, axes, strict=True))
        shortest = min(patch)
        overlap = tuple(round(self._overlap * (shortest if len(axes) == 2 else side)) for side in patch)
        multiple = tuple(axis.multiple for axis in axes)
        sides = least_sides(self.card)
        if len(shape) > len(axes):  # slices are cut one by one
            tile, overlap, halo, multiple, sides = (SLAB, *tile), (0, *overlap), (0, *halo), (1, *multiple), (1, *sides)
        return Tiling.of(
            tuple(max(n, s) for n, s in zip(shape, sides, strict=True)),
            tile=tile,
            overlap=overlap,
            halo=halo,
            multiple=multiple,
        )

    @property
    def averages(self) -> bool:
        """Whether further models answer too."""
        return bool(self._others)

    @property
    def tile_settings(self) -> tuple[object, ...]:
        """What decides how images are cut and answers joined: overlap, flips, halo, tile."""
        return self._overlap, self._tta, max(self._halo), list(self._tile)

    def seam_difference(self, image: Image, *, side: int = 1024) -> float | None:
        """Share of pixels whose class the tiling changes: tiles against one tile over the same pixels.

        Measured on the middle `side` x `side` pixels; None where they need no more than one tile.
        """
        if len(image.shape) == 3:
            return None
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

    def _answer(
        self, tiles: NDArray[Any], coefficients: Coefficients, told: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        copies = tiles.shape[1] // len(coefficients[0])  # neighbouring slices as channels
        scale, offset, low, high = coefficients
        if copies > 1:
            scale, offset = np.tile(scale, copies), np.tile(offset, copies)
            low, high = (None if end is None else np.tile(end, copies) for end in (low, high))
        x = np.stack([normalise(tile, scale, offset, low, high) for tile in tiles])
        slabs = x.shape[2] if x.ndim - 2 > self.card.recipe.model.rank else 0
        if slabs:  # (n, c, d, h, w) -> (n * d, c, h, w)
            x = np.ascontiguousarray(x.swapaxes(1, 2)).reshape(-1, x.shape[1], *x.shape[3:])
        if len(told):
            planes = np.broadcast_to(told[:, None, None], (len(x), len(told), *x.shape[2:]))
            x = np.concatenate([x, planes], axis=1)
        total = self.engine(x)
        if self._tta:
            total = total.copy()
            axes = [2 + axis for axis in self._mirrored()]
            flips = [some for n in range(1, len(axes) + 1) for some in combinations(axes, n)]
            for some in flips:
                total += np.flip(self.engine(np.ascontiguousarray(np.flip(x, some))), some)
            total /= 1 + len(flips)
        return total.reshape(-1, slabs, *total.shape[1:]).swapaxes(1, 2) if slabs else total

    def _mirrored(self) -> tuple[int, ...]:
        """Axes of the network along which training flipped its patches; an answer to other flips would be a guess."""
        rank = self.card.recipe.model.rank
        chances = self.card.recipe.augment.flip[-rank:]
        first = rank - len(chances)
        return tuple(first + axis for axis, chance in enumerate(chances) if chance > 0)

    def _segment(
        self, image: Image, keep: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None, NDArray[np.float32] | None]:
        labels, shape = self.card.labels, image.shape
        planes = (len(labels.target_names),) if labels.task == "overlapping" else ()
        decided = np.zeros((*planes, *shape), np.uint8)
        kept = np.zeros((labels.channels, *shape), np.float32) if keep else None
        row = 0
        streams = [one._own_size(image) for one in (self, *self._others)]
        for band in averaged(streams) if self._others else streams[0]:
            end = row + band.shape[1]
            decided[(*(slice(None) for _ in planes), slice(row, end))] = self.decide(band)
            if kept is not None:
                kept[:, row:end] = band
            row = end
        smallest, steps = self.card.recipe.predict.smallest, self.card.cleaning
        if labels.task == "overlapping":
            cleaned = [drop_small(plane, smallest) for plane in decided] if smallest else decided
            pairs = zip(cleaned, labels.target_names, strict=True)
            regions = nest_regions(
                np.stack([clean_mask(plane > 0, steps.get(name, ())) for plane, name in pairs]), labels
            )
            return paint_regions(regions, labels), regions, kept
        label = drop_small(decided, smallest) if smallest else decided
        return clean_label(label, labels, steps) if steps else label, None, kept

    def _own_size(self, image: Image) -> Iterator[NDArray[np.float32]]:
        """Bands of probabilities at the image's own size."""
        return resample_bands(self.bands(image), self._working(image.shape, image.grid.spacing), image.shape)

    def _working(self, shape: tuple[int, ...], spacing: tuple[float, ...] | None) -> tuple[int, ...]:
        """Size of an image at working resolution."""
        wanted = self.card.recipe.prepare
        return working_shape(shape, wanted.size, spacing, wanted.spacing)

    def decide(self, probability: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Class indices ``(*s)`` of probabilities ``(k, *s)``; for regions 0/1 planes ``(r, *s)``.

        Grades of two dates share the probability of one building: it is there when that is above one half, however
        unsure its grade is, and has the likeliest grade.
        """
        labels = self.card.labels
        if labels.task == "exclusive" and self.card.recipe.model.fusion != "none":
            winner = running_argmax(probability[1:]) + np.uint8(1)
            winner[probability[0] >= 0.5] = 0
            return winner
        if labels.task == "exclusive":
            return running_argmax(probability)
        limits = np.asarray(self.card.thresholds or [0.5] * len(probability), np.float32)
        over = (probability > limits.reshape(-1, *(1,) * (probability.ndim - 1))).astype(np.uint8)
        return over[0] if labels.task == "binary" else over


def open_predictor(
    run: str | Path,
    *,
    engine: str = "auto",
    tta: bool = False,
    overlap: float | None = None,
    halo: bool = False,
    tile: tuple[int, ...] | None = None,
    samples: Samples | None = None,
    others: Sequence[str | Path] = (),
    disaster: str = "",
) -> Predictor:
    """Open the model of a run or a single model file.

    Args:
        run: Folder of a run, or a ``model.safetensors``.
        engine: ``"auto"``, ``"torch"``, ``"openvino"`` or ``"onnx"``.
        tta, overlap, halo, tile: See `Predictor`.
        samples: See `catenary.predict.engines.open_engine`.
        others: Runs or model files that answer together with this one.
        disaster: See `Predictor`.

    Raises:
        ConfigError: The others know other classes or channels, or the model is not told of any `disaster`.
        ModelError: There is no model, it is damaged, foreign or no segmentation, or the engine departs from it.
        MissingExtra: The engine's package is not installed.
    """
    path = model_path(run)
    card = load_card(path)
    if card.labels.scope == "image":
        raise ModelError(f"{run} gives whole images a class and makes no masks; give a model that segments")
    wanted = card.recipe.predict.engine if engine == "auto" else engine
    opened = open_engine(wanted, path, card, samples=samples)
    more = [
        open_predictor(one, engine=engine, tta=tta, overlap=overlap, halo=halo, tile=tile, disaster=disaster)
        for one in others
    ]
    return Predictor(card, opened, tta=tta, overlap=overlap, halo=halo, tile=tile, others=more, disaster=disaster)


def _notes_of(disaster: str, card: Card) -> tuple[str, ...]:
    """What to know of a disaster that the model shall be told."""
    known = card.recipe.model.disasters
    if disaster and not known:
        raise ConfigError(
            f"this model was trained without types of disaster, found '{disaster}'; leave it out, or train one with "
            "--set data.disasters=true"
        )
    if not disaster or told_of(disaster, known).any():
        return ()
    return (f"the model has not learnt '{disaster}' and is told no type of disaster; {near_match(disaster, known)}",)
