"""Local contrast: each pixel against its neighbourhood, so that thin things look alike wherever the light is.

A vessel in the dark half of a fundus photograph, or on a brighter retina, differs from what lies around it as one in
the bright half does, though its own brightness is another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from numpy.typing import NDArray

from catenary.errors import ConfigError

__all__ = ["MIDDLE", "SPREAD", "local_contrast"]

#: What the neighbourhood's mean and one of its standard deviations become: 8 bits hold three deviations either way.
MIDDLE, SPREAD = 128.0, 40.0
#: Standard deviation of the neighbourhood, as a share of the longer side: a few widths of the widest vessel.
_REACH = 0.025
#: Pixels darker than this share of the brightest in every channel are the rim around a round field.
_RIM = 0.1
#: Deviation of a neighbourhood that is flat but for the noise of 8 bits, as a share of the brightest pixel.
_FLAT = 0.008


def local_contrast(
    array: Shaped[np.ndarray, "c *s"], valid: Bool[np.ndarray, "*s"] | None = None
) -> UInt8[np.ndarray, "c *s"]:
    """Each channel less the mean of its neighbourhood, in its standard deviations; 128 and 40 to one.

    The neighbourhood is a Gaussian of 2.5 % of the longer side. A black rim, and pixels without data, do not enter it
    and become 128.

    Args:
        array: Pixels ``(c, h, w)`` of any type, not negative.
        valid: Where there are data; None for everywhere.

    Raises:
        ConfigError: A volume.

    >>> ramp = np.tile(np.arange(100, 200, dtype=np.uint8), (1, 100, 1))
    >>> ramp[0, 50, 50] += 40
    >>> found = local_contrast(ramp)
    >>> int(found[0, 50, 50]) > 200, bool(abs(found[0, 20, 20:80].astype(int) - 128).max() < 9)
    (True, True)
    """
    import cv2

    if array.ndim != 3:
        raise ConfigError(
            "local contrast is of images, found a volume; normalise it otherwise: --set prepare.normalise=body"
        )
    sigma = max(1.0, _REACH * max(array.shape[1:]))
    most = max(float(array.max(initial=0)), 1e-12)
    inside = (array > _RIM * most).any(axis=0)
    known = inside if valid is None else inside & valid
    weight = np.asarray(known, np.float32)

    def near(plane: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(plane * weight, (0, 0), sigma), np.float32)

    total = np.maximum(near(weight), 1e-3)
    out = np.full(array.shape, round(MIDDLE), np.uint8)
    for plane, target in zip(array, out, strict=True):
        whole = np.asarray(plane, np.float32)
        apart = whole - near(whole) / total
        spread = np.sqrt(near(apart * apart) / total + np.float32((_FLAT * most) ** 2))
        target[known] = np.clip(np.rint(MIDDLE + SPREAD * apart / spread), 0, 255).astype(np.uint8)[known]
    return out
