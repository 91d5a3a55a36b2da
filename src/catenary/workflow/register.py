"""`align`: two images of one place, laid onto each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from catenary.align import Alignment, align_rasters
from catenary.errors import OutputError, writing
from catenary.io import write_image
from catenary.io.raster import open_raster
from catenary.report import to_rgb8
from catenary.types import Image, Progress, silent

__all__ = ["Registration", "align"]

ALIGNMENT, PICTURE = "alignment.json", "alignment.png"
#: Longer side of the picture in pixels.
SHOWN = 1024
TINT = (255, 90, 0)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What `align` found.

    Attributes:
        alignment: The displacement field.
        shift: Median shift over the reliable nodes, rows and columns, in pixels of the first image.
        largest: Largest shift among them, in pixels.
        pixel: Side of a pixel in metres, None where the CRS is not in metres.
        path: The displacement field as a small file, see `catenary.align.read_alignment`.
        picture: The two images in squares by turns, before and after, unsure places tinted.
        notes: What the user should know.
    """

    alignment: Alignment
    shift: tuple[float, float]
    largest: float
    pixel: float | None
    path: Path
    picture: Path
    notes: tuple[str, ...]


def align(
    pre: str | Path,
    post: str | Path,
    *,
    out: str | Path,
    pre_crs: str | None = None,
    post_crs: str | None = None,
    block: int = 256,
    reach: int = 32,
    progress: Progress = silent,
) -> Registration:
    """Find how a later image of a place is displaced against an earlier one, whatever their CRS and resolution.

    Both are read window by window; memory does not grow with their size.

    Args:
        pre: The earlier image, georeferenced; its grid counts.
        post: The later one.
        out: Folder for ``alignment.json`` and ``alignment.png``.
        pre_crs, post_crs: Coordinate reference system of a file that states none.
        block: Side in pixels of the blocks that are compared.
        reach: How far in pixels a block is looked for around the shift of the whole scene.
        progress: Told of the blocks.

    Raises:
        InputError: A file cannot be read or placed on earth, or the two have no pixel in common.
        ConfigError: `block` or `reach` is too small.
        OutputError: The folder cannot be written, or holds an alignment already.
        MissingExtra: rasterio is not installed.
    """
    folder = Path(out)
    if (folder / ALIGNMENT).exists():
        raise OutputError(f"{folder} already holds an alignment; choose another --out")
    with (
        open_raster(pre, crs=pre_crs) as first,
        open_raster(post, crs=post_crs) as original,
        original.onto(first) as second,
    ):
        found = align_rasters(first, second, block=block, reach=reach, progress=progress)
        picture = _picture(first.overview(SHOWN), second.overview(SHOWN), found)
        pixel = first.grid.spacing[0] if first.grid.spacing else None
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sure = found.shifts[found.reliable]
    notes = []
    if not len(sure):
        notes.append("the images agree nowhere, so nothing is shifted; are they of one place?")
    elif found.unsure > 0.05:
        notes.append(
            f"{100 * found.unsure:.0f} % of the common area is unsure (tinted in the picture); look there first"
        )
    median = np.median(sure, axis=0) if len(sure) else np.zeros(2)
    write_image(folder / PICTURE, np.moveaxis(picture, -1, 0))
    return Registration(
        alignment=found,
        shift=(float(median[0]), float(median[1])),
        largest=float(np.linalg.norm(sure, axis=1).max()) if len(sure) else 0.0,
        pixel=pixel,
        path=found.save(folder / ALIGNMENT),
        picture=folder / PICTURE,
        notes=tuple(notes),
    )


def _picture(first: Image, second: Image, alignment: Alignment) -> NDArray[np.uint8]:
    """Both in squares by turns: as they are, with the shifts as arrows, and aligned, with unsure places tinted."""
    height, width = first.shape
    factor = alignment.shape[0] / height, alignment.shape[1] / width
    at = [np.arange(n) * f for n, f in zip(first.shape, factor, strict=True)]
    shift = alignment.between(alignment.shifts, *at)
    y = (shift[0] / factor[0] + np.arange(height)[:, None]).astype(np.float32)
    x = (shift[1] / factor[1] + np.arange(width)[None]).astype(np.float32)
    one, other = to_rgb8(first.array), to_rgb8(second.array)
    moved = cv2.remap(other, x, y, cv2.INTER_LINEAR)
    squares = (np.indices((height, width)) // max(8, max(height, width) // 16)).sum(axis=0) % 2 == 0
    before, after = (np.where(squares[..., None], one, picture) for picture in (other, moved))
    known = np.stack([alignment.reliable, alignment.common], axis=-1).astype(float)
    reliable, common = alignment.between(known, *at) > 0.5
    unsure = common & ~reliable
    after[unsure] = after[unsure] // 2 + np.array(TINT, np.uint8) // 2
    _draw_arrows(before, alignment, factor)
    gap = np.full((height, 8, 3), 255, np.uint8)
    return np.concatenate([before, gap, after], axis=1)


def _draw_arrows(picture: NDArray[np.uint8], alignment: Alignment, factor: tuple[float, float]) -> None:
    """The shifts of reliable nodes, lengthened so that the largest nearly reaches the next node."""
    found = alignment.shifts[alignment.reliable]
    if not len(found):
        return
    apart = min(np.diff(alignment.rows, append=np.inf).min(), np.diff(alignment.columns, append=np.inf).min())
    apart = apart if np.isfinite(apart) else min(alignment.shape) / 2
    scale = 0.8 * apart / max(1e-9, float(np.linalg.norm(found, axis=1).max()))
    for i, j in np.argwhere(alignment.reliable):
        start = np.array([alignment.columns[j] / factor[1], alignment.rows[i] / factor[0]])
        end = start + scale * alignment.shifts[i, j, ::-1] / np.array(factor[::-1])
        ends = [tuple(round(float(v)) for v in point) for point in (start, end)]
        cv2.arrowedLine(picture, ends[0], ends[1], (0, 0, 0), 3, cv2.LINE_AA, tipLength=0.3)
        cv2.arrowedLine(picture, ends[0], ends[1], (255, 255, 0), 1, cv2.LINE_AA, tipLength=0.3)
