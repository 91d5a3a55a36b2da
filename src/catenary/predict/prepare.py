"""What happens to pixels before a network sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.recipe import Prepare

__all__ = ["Normaliser", "resize_image", "resize_label", "working_shape"]


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Normalisation."""

    mode: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @staticmethod
    def from_config(config: Prepare) -> Normaliser:
        """From the recipe's section."""
        return Normaliser(mode=config.normalise, mean=config.mean, std=config.std)

    def coefficients(self, array: NDArray[Any]) -> tuple[Any, Any, Any, Any]:
        """Scale, offset, low, high."""
        c = array.shape[0]
        if self.mode == "dataset":
            m, s = np.array(self.mean), np.array(self.std)
        elif self.mode == "image":
            f = array.reshape(c, -1).astype(np.float64)
            m, s = f.mean(1), np.maximum(f.std(1), 1e-6)
        else:
            m, s = np.zeros(c), np.full(c, 255.0)
        return (1 / s).astype(np.float32), (-m / s).astype(np.float32), None, None


def working_shape(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Working shape."""
    h, w = shape
    if not size:
        return h, w
    f = size / max(h, w)
    return max(1, round(h * f)), max(1, round(w * f))


def resize_image(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize image."""
    import cv2

    if array.shape[1:] == shape:
        return array
    return np.stack([cv2.resize(c, shape[::-1], interpolation=cv2.INTER_AREA) for c in array])


def resize_label(label: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize label."""
    import cv2

    if label.shape == shape:
        return label
    return np.asarray(cv2.resize(label, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
