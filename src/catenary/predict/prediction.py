"""An answer on the image's own grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.io import write_image, write_mask, write_probability
from catenary.types import Grid, Image

__all__ = ["Prediction", "as_regions", "nest_regions", "paint_regions"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one image.

    Attributes:
        mask: Class indices, of the image's own size.
        probability: One plane a logit (all classes where they exclude one another, else each target); None for images
            so large that it was not kept.
        regions: One boolean plane a region where targets overlap; None otherwise.
        grid: Where the pixels lie: the input's.
        labels: The classes.
        measurements: One row a target, see `catenary.predict.measure`.
        quantities: One row a quantity, see `catenary.predict.quantities`; none unless the recipe names a set.
        warnings: What makes the answer doubtful.
        image: The image that was segmented.
    """

    mask: UInt8[np.ndarray, "*s"]
    probability: Float32[np.ndarray, "k *s"] | None
    regions: Bool[np.ndarray, "r *s"] | None
    grid: Grid
    labels: LabelSet
    measurements: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]
    image: Image
    quantities: tuple[Mapping[str, Any], ...] = ()

    @property
    def colours(self) -> list[tuple[int, int, int]]:
        """Display colour of each class."""
        return [self.labels.display_colour(index) for index in range(self.labels.count)]

    def save(self, path: str | Path) -> None:
        """Write the mask; its pixels are class indices, its palette shows them in the classes' colours.

        Raises:
            OutputError: The ending is not known or the file cannot be written.
        """
        write_mask(path, self.mask, colours=self.colours, grid=self.grid)

    def save_probability(self, path: str | Path) -> None:
        """Write the probabilities as a float32 TIFF, one channel a logit; nothing where they were not kept."""
        if self.probability is not None:
            write_probability(path, self.probability, grid=self.grid)

    def overlay(self, *, alpha: float = 0.35) -> UInt8[np.ndarray, "h w 3"]:
        """The image with the classes tinted and outlined; of a volume the slice that holds most of them."""
        from catenary.data.contact import fullest_slice, overlay, to_rgb

        array, mask = self.image.array, self.mask
        if mask.ndim == 3:
            place = fullest_slice(mask)
            array, mask = array[:1, place], mask[place]
        return overlay(to_rgb(array), mask, self.labels)

    def save_overlay(self, path: str | Path) -> None:
        """Write `overlay` as a picture.

        Raises:
            OutputError: The ending is not known or the file cannot be written.
        """
        write_image(path, np.ascontiguousarray(np.moveaxis(self.overlay(), -1, 0)))


def nest_regions(regions: Bool[np.ndarray, "r *s"], labels: LabelSet) -> Bool[np.ndarray, "r *s"]:
    """Regions cut to those that they are a part of, so that a label map can hold them: no cup outside of a disc.

    Each region is decided for itself, and nothing else keeps a part within its whole.

    >>> labels = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    >>> nest_regions(np.array([[[True, True, False]], [[False, True, True]]]), labels)[1]
    array([[False,  True, False]])
    """
    nested = regions.copy()
    for index, around in enumerate(labels.target_within()):
        for other in around:
            nested[index] &= regions[other]
    return nested


def paint_regions(regions: Bool[np.ndarray, "r *s"], labels: LabelSet) -> UInt8[np.ndarray, "*s"]:
    """A label map from overlapping regions: later regions are painted over earlier ones.

    Each region is painted with its first class that no later region contains.

    >>> labels = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    >>> paint_regions(np.array([[[True, True, False]], [[False, True, False]]]), labels)
    array([[1, 2, 0]], dtype=uint8)
    """
    mask = np.zeros(regions.shape[1:], np.uint8)
    members = labels.target_members()
    for index, (plane, classes) in enumerate(zip(regions, members, strict=True)):
        later: set[int] = {c for other in members[index + 1 :] for c in other}
        mask[plane] = next((c for c in classes if c not in later), classes[0])
    return mask


def as_regions(mask: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.bool_]:
    """Boolean plane of each target of a label map."""
    return np.stack([np.isin(mask, classes) for classes in labels.target_members()])
