"""Georeferenced images for tests."""

import cv2
import numpy as np
import rasterio

UTM = "EPSG:32637"
ORIGIN = (500_000.0, 4_100_000.0)


def town(side, seed=0):
    """Roofs, roads and texture, as uint8 ``(3, side, side)``."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.normal(size=(side, side)).astype(np.float32), (0, 0), 6) * 150 + 110
    for _ in range(side // 4):
        (y, x), (h, w), value = rng.integers(0, side, 2), rng.integers(6, 30, 2), rng.integers(30, 230)
        cv2.rectangle(ground, (int(x), int(y)), (int(x + w), int(y + h)), float(value), -1)
    ground = cv2.GaussianBlur(ground, (0, 0), 0.8)
    return np.clip(np.stack([ground, 0.9 * ground + 10, 0.8 * ground]), 0, 255).astype(np.uint8)


def write(path, array, *, crs=UTM, transform=None, **more):
    transform = transform or rasterio.Affine(0.5, 0, ORIGIN[0], 0, -0.5, ORIGIN[1])
    profile = {"count": len(array), "height": array.shape[1], "width": array.shape[2], "dtype": array.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile, **more) as file:
        file.write(array)
    return path


def displaced(array, rows, columns):
    """What lay at ``(y, x)`` lies at ``(y + rows, x + columns)``; shifts may be arrays."""
    y, x = np.indices(array.shape[1:]).astype(np.float32)
    source = (x - columns).astype(np.float32), (y - rows).astype(np.float32)
    planes = [cv2.remap(plane, *source, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT) for plane in array]
    return np.stack(planes)
