"""What lies around a segmented object, cut out of its image: how one stage of a pipeline hands over to the next."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from catenary.data.extent import bounding_box, equivalent_diameter
from catenary.errors import ConfigError, InputError
from catenary.types import Image

__all__ = ["Margin", "around"]


class Margin(BaseModel):
    """How far around an object is kept.

    Attributes:
        pixels: In pixels of the image; 0 where `diameters` counts.
        diameters: In diameters of a disc as large as the object, so that the camera's resolution does not matter.

    >>> str(Margin.read("50px")), str(Margin.read("0.6")), Margin.read("0.5").of(1000)
    ('50px', '0.6', 18)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixels: int = Field(0, ge=0)
    diameters: float = Field(0.0, ge=0, le=20)

    @classmethod
    def read(cls, text: str) -> Margin:
        """A margin from ``"50px"`` or ``"0.6"``.

        Raises:
            ConfigError: It is neither.
        """
        found = re.fullmatch(r"(\d+)px|(\d*\.?\d+)", text.strip())
        if not found or (found[2] and float(found[2]) > 20):
            raise ConfigError(f"a margin is given in pixels (50px) or in diameters (0.6), found '{text}'; correct it")
        return cls(pixels=int(found[1])) if found[1] else cls(diameters=float(found[2]))

    def __str__(self) -> str:
        return f"{self.pixels}px" if self.pixels else f"{self.diameters:g}"

    def of(self, area: int) -> int:
        """The margin in pixels around an object of so many pixels."""
        return self.pixels or round(self.diameters * float(equivalent_diameter(float(area), 2)))


def around(image: Image, mask: Bool[np.ndarray, "h w"], margin: Margin, *, cover: bool = True) -> Image:
    """The box around an object and its margin; what lies further from the object than the margin is black.

    Args:
        image: ``(c, h, w)``.
        mask: Where the object is.
        margin: See `Margin`.
        cover: Whether the corners of the box, further away than the margin, are made black.

    Raises:
        InputError: The mask is empty, or has another size.

    >>> image = Image(array=np.full((1, 9, 9), 7, np.uint8))
    >>> mask = np.zeros((9, 9), bool); mask[4, 4] = True
    >>> around(image, mask, Margin(pixels=1)).array[0].tolist()
    [[0, 7, 0], [7, 7, 7], [0, 7, 0]]
    """
    if mask.shape != image.shape:
        raise InputError(
            f"the mask of {image.source} has the size {mask.shape} and the image {image.shape}; give its own"
        )
    if not mask.any():
        raise InputError(f"nothing was found in {image.source} to cut out")
    reach = margin.of(int(mask.sum()))
    box = bounding_box(mask, margin=reach)
    part = np.ascontiguousarray(image.array[:, *box])
    if cover:
        away: NDArray[Any] = cv2.distanceTransform((~mask[box]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        part = np.where(away <= reach, part, part.dtype.type(0))
    return replace(image, array=part, valid=None if image.valid is None else image.valid[box])
