"""Training patches: which case, where, how changed. Batch n is a pure function of the seed and n.

Because of that a resumed run sees exactly the patches that an unbroken one would have seen, and every process of
several takes its own share of the same global batch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from catenary.augment.batch import make_patch, make_volume_patch
from catenary.data.cases import Dataset
from catenary.io.files import atomic
from catenary.predict.prepare import Normaliser, prepare, resize_label, told_of
from catenary.recipe import Recipe
from catenary.types import IGNORE

__all__ = ["Batch", "Case", "Patches", "Store", "as_channels", "patch_of", "prefetch"]

_POINTS = 4096
#: Share of the patches that are not told the type of disaster, so that the network also learns to do without.
_UNTOLD = 0.25
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Case:
    """One case at working resolution, ready for sampling.

    Attributes:
        image: ``(h, w, c)`` or ``(d, h, w, c)`` in the file's own type.
        label: uint8 ``(h, w)`` or ``(d, h, w)``.
        scale, offset: Normalisation ``x * scale + offset``, one number a channel.
        clip: The range ``(low, high)`` of each channel before that, or None.
        extent: Intensity range that augmentation measures its changes against.
        points: Class index -> some of its pixels ``(n, rank)``, as rows and columns.
        whole: The class of the whole image, where it has one; `label` then holds nothing else.
        told: What the network is told of the disaster, see `catenary.predict.prepare.told_of`.
    """

    image: NDArray[Any]
    label: NDArray[np.uint8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    clip: tuple[NDArray[np.float32], NDArray[np.float32]] | None
    extent: tuple[float, float]
    points: dict[int, NDArray[np.int32]]
    whole: int | None = None
    told: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


class Store:
    """Cases at working resolution, read when first wanted and kept while they fit into `limit` bytes.

    Those for `training` have their objects grown, where the recipe says so. With a folder on `disk`, cases that no
    longer fit go there as memory maps, so that large volumes are read and resampled once.
    """

    def __init__(
        self,
        dataset: Dataset,
        names: Sequence[str],
        recipe: Recipe,
        *,
        limit: int = 4 << 30,
        training: bool = False,
        disk: Path | None = None,
    ) -> None:
        self.names = tuple(names)
        self.scope = dataset.labels.scope
        self._dataset = dataset
        self._size, self._spacing = recipe.prepare.size, recipe.prepare.spacing
        self._dilate = recipe.sample.dilate if training else 0
        self._disasters = recipe.model.disasters
        self._normaliser = Normaliser.from_config(recipe.prepare)
        self._limit = limit
        self._disk = disk
        self._kept: OrderedDict[int, Case] = OrderedDict()
        self._spilled: dict[int, Case] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def classes(self) -> list[NDArray[np.int64]]:
        """For each class of whole images the places of its cases."""
        labels = np.array([-1 if (c := self._dataset[name].label) is None else c for name in self.names])
        return [np.flatnonzero(labels == index) for index in range(self._dataset.labels.count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Case:
        with self._lock:
            if index in self._spilled:
                return self._spilled[index]
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        case = self._load(index)
        with self._lock:
            if index not in self._kept:
                self._kept[index] = case
                self._bytes += case.image.nbytes + case.label.nbytes
            while self._bytes > self._limit and len(self._kept) > 1:
                oldest, old = self._kept.popitem(last=False)
                self._bytes -= old.image.nbytes + old.label.nbytes
                if self._disk is not None and oldest not in self._spilled:
                    image, label = (self._on_disk(oldest, what, getattr(old, what)) for what in ("image", "label"))
                    self._spilled[oldest] = replace(old, image=image, label=label)
        return case

    def _load(self, index: int) -> Case:
        case = self._dataset[self.names[index]]
        image, label = self._dataset.read_pair(case)
        prepared = prepare(image, self._normaliser, self._size, self._spacing)
        array, (scale, offset, low, high) = prepared.array, prepared.coefficients
        label = resize_label(label, array.shape[1:])
        truth = label if not self._dilate else grown(label, self._dilate)
        extent = (float(array.min()), float(array.max()))
        points = {}
        rng = np.random.default_rng(index)
        for value in np.unique(label) if self.scope == "pixel" else ():
            if value not in (0, IGNORE):
                where = np.argwhere(label == value).astype(np.int32)
                points[int(value)] = where if len(where) <= _POINTS else rng.permutation(where)[:_POINTS]
        return Case(
            image=np.ascontiguousarray(np.moveaxis(array, 0, -1)),
            label=truth,
            scale=scale,
            offset=offset,
            clip=None if low is None or high is None else (low, high),
            extent=extent,
            points=points,
            whole=case.label if self.scope == "image" else None,
            told=told_of(case.disaster, self._disasters),
        )

    def _on_disk(self, index: int, what: str, array: NDArray[Any]) -> NDArray[Any]:
        assert self._disk is not None
        path = self._disk / f"{index}_{what}.npy"
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)
        mapped: NDArray[Any] = np.load(path, mmap_mode="r")
        return mapped


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step sees: ``image (b, h, w, c)`` or ``(b, d, h, w, c)``, ``label`` without c, the normalisation, and what
    the network is told of each disaster."""

    image: NDArray[Any]
    label: NDArray[np.uint8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    told: NDArray[np.float32]


class Patches:
    """The stream of training batches.

    Args:
        store: The training cases.
        recipe: Decides patch, batch, foreground share and augmentation.
        rank, world: This process and the number of processes; the global batch is divided among them.
    """

    def __init__(self, store: Store, recipe: Recipe, *, rank: int = 0, world: int = 1) -> None:
        self.store = store
        self._recipe = recipe
        self._rank, self._world = rank, world
        self._order: dict[int, NDArray[np.int64]] = {}

    def batch(self, step: int) -> Batch:
        """Batch number `step`, from 0."""
        size = self._recipe.sample.batch
        first = (step * self._world + self._rank) * size
        drawn = [self._patch(first + i) for i in range(size)]
        images, labels, scales, offsets = zip(*drawn, strict=True)
        told = np.stack([self._told(first + i) for i in range(size)])
        return Batch(
            image=np.stack(images), label=np.stack(labels), scale=np.stack(scales), offset=np.stack(offsets), told=told
        )

    def _told(self, sample: int) -> NDArray[np.float32]:
        told = self.store[self._case_of(sample)].told
        untold = np.random.default_rng([self._recipe.train.seed, 11, sample]).random() < _UNTOLD
        return told * np.float32(not untold)

    def _patch(self, sample: int) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        recipe = self._recipe
        rng = np.random.default_rng([recipe.train.seed, sample])
        case = self.store[self._case_of(sample)]
        shape, low, high = case.label.shape, *case.extent
        patch = patch_of(recipe, len(shape))
        if case.points and rng.random() < recipe.sample.foreground:
            values = sorted(case.points)
            # The rarer a class in the case, the more often a patch is centred on it.
            weights = 1 / np.sqrt([len(case.points[v]) for v in values])
            where = case.points[values[rng.choice(len(values), p=weights / weights.sum())]]
            # Off-centre by up to a quarter, so that the network learns nothing from the position.
            found = where[rng.integers(len(where))]
            centre = [float(p) + rng.uniform(-0.25, 0.25) * side for p, side in zip(found, patch, strict=True)]
        else:
            centre = [rng.uniform(0, side) for side in shape]
        middle = tuple(_inside(c, n, p) for c, n, p in zip(centre, shape, patch, strict=True))
        if case.whole is not None:
            middle = tuple(side // 2 for side in shape)
        make: Callable[..., tuple[NDArray[Any], NDArray[np.uint8]]] = (
            make_patch if len(shape) == 2 else make_volume_patch
        )
        cut = partial(
            make, case.image, case.label, recipe.augment, centre=middle, patch=patch, rng=rng, low=low, high=high,
        )  # fmt: skip
        if len(shape) == 2:
            image, label = cut(dates=1 if recipe.model.fusion == "none" else 2)
        else:
            image, label = cut(flat=recipe.model.rank == 2)
        if case.clip is not None:
            image = np.clip(image, case.clip[0], case.clip[1]).astype(np.float32)
        if case.whole is not None:
            return image, np.full((1,) * len(shape), case.whole, np.uint8), case.scale, case.offset
        if len(shape) > recipe.model.rank:  # the neighbouring slices as channels of the one in the middle
            return (
                as_channels(image), label[len(label) // 2],
                np.tile(case.scale, len(label)), np.tile(case.offset, len(label)),
            )  # fmt: skip
        return image, label, case.scale, case.offset

    def _case_of(self, sample: int) -> int:
        epoch, position = divmod(sample, len(self.store))
        if epoch not in self._order:
            rng = np.random.default_rng([self._recipe.train.seed, 7, epoch])
            self._order[epoch] = (
                self._balanced(rng) if self._recipe.sample.balance else rng.permutation(len(self.store))
            )
            self._order.pop(epoch - 4, None)
        return int(self._order[epoch][position])

    def _balanced(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """As many cases as there are, each class as often; those of a rare class come several times."""
        classes = [c for c in self.store.classes if len(c)]
        every = [np.concatenate([rng.permutation(c) for _ in range(-(-len(self.store) // len(c)))]) for c in classes]
        turns = np.arange(len(self.store))
        drawn = np.array([every[turn % len(every)][turn // len(every)] for turn in turns], np.int64)
        return rng.permutation(drawn)


def grown(label: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Every class but the background grown by `radius` pixels over the background, later classes over earlier ones.

    What is ignored stays, and no class grows over another's own pixels.

    >>> grown(np.array([[0, 0, 1, 2, 0, 0, 255]], np.uint8), 1).tolist()
    [[0, 1, 1, 2, 2, 0, 255]]
    """
    classes = np.where(label == IGNORE, 0, label).astype(np.uint8)
    if label.ndim == 3:
        from scipy.ndimage import grey_dilation
        from skimage import morphology

        footprint: Any = morphology.ball(radius)  # type: ignore[no-untyped-call]
        wide = np.asarray(grey_dilation(classes, footprint=footprint), np.uint8)
    else:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        wide = np.asarray(cv2.dilate(classes, kernel), np.uint8)
    return np.where(label == 0, wide, label)


def patch_of(recipe: Recipe, rank: int) -> tuple[int, ...]:
    """Size of a training patch in a case of `rank` axes; a network of rank 2 sees a few slices of a volume.

    >>> from catenary.recipe import override
    >>> patch_of(override(Recipe(), ["sample.patch=[64,96]", "model.slices=3"]), 3)
    (3, 64, 96)
    """
    patch = recipe.sample.patch
    return patch if len(patch) == rank else (recipe.model.slices, *patch)


def as_channels(slab: NDArray[Any]) -> NDArray[Any]:
    """Slices ``(d, h, w, c)`` as channels ``(h, w, d * c)`` of one image, all channels of the first slice first."""
    return np.ascontiguousarray(np.moveaxis(slab, 0, 2)).reshape(*slab.shape[1:3], -1)


def _inside(centre: float, side: int, patch: int) -> int:
    """Keep a patch within its image where it fits; else centre it."""
    return side // 2 if patch >= side else int(min(max(centre, patch // 2), side - patch + patch // 2))


def prefetch(make: Callable[[int], _T], first: int, *, threads: int = 1, ahead: int = 3) -> Iterator[_T]:
    """``make(first), make(first + 1), ...`` in order, made ahead of time in threads."""
    with ThreadPoolExecutor(threads, thread_name_prefix="patches") as pool:
        waiting: OrderedDict[int, Future[_T]] = OrderedDict()
        step = first
        try:
            while True:
                while len(waiting) < ahead:
                    following = step + len(waiting)
                    waiting[following] = pool.submit(make, following)
                yield waiting.pop(step).result()
                step += 1
        finally:
            for future in waiting.values():
                future.cancel()
