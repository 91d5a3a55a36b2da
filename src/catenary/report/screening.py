"""The page of a screening: one photo a sheet, with its outlines, what was measured, what is said and what is not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from catenary.data.labels import LabelSet
from catenary.io.files import write_text
from catenary.report.html import fill
from catenary.report.pictures import data_uri, outline, to_rgb8
from catenary.report.words import count

__all__ = ["Gauge", "Sheet", "disc_pictures", "write_screening"]

#: Longer side of a picture on the page.
SHOWN = 640
LABELS = LabelSet(names=("background", "rim", "cup"))


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """A probability on its line.

    Attributes:
        name: What is judged.
        found: Name of the class that was decided.
        positive: Whether that is the second of the two classes.
        value: Probability of the second class.
        low, high: Its interval; None where it is not known.
        threshold: From where the second class is decided.
    """

    name: str
    found: str
    positive: bool
    value: float
    low: float | None
    high: float | None
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What the page shows of one photo.

    Attributes:
        name: Of the file.
        result: In a word or two.
        stopped_at: Stage that stopped it; empty when none did.
        reason: Why.
        photo, disc: Pictures as data addresses; empty where there is none.
        quality: Verdict of the quality gate.
        vcdr: Vertical cup-to-disc ratio; None where it is not defined.
        gauges: What the judges say.
        facts: Rows ``(what, value)``.
        warnings: What makes the answers doubtful.
    """

    name: str
    result: str
    stopped_at: str = ""
    reason: str = ""
    photo: str = ""
    disc: str = ""
    quality: str = ""
    vcdr: float | None = None
    gauges: tuple[Gauge, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def disc_pictures(array: UInt8[np.ndarray, "c h w"], mask: UInt8[np.ndarray, "h w"] | None) -> tuple[str, str]:
    """The photo with the outlines of disc and cup, and the disc alone, as data addresses; "" where there is no disc.

    Args:
        array: The photo.
        mask: 0 background, 1 rim, 2 cup; None where none was sought.
    """
    image = to_rgb8(array)
    scale = min(1.0, SHOWN / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if mask is None or not mask.any():
        return data_uri(small), ""
    shrunk = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    margin = max(8, (int(rows[-1]) - int(rows[0])) // 3)
    box = tuple(slice(max(0, int(side[0]) - margin), int(side[-1]) + margin + 1) for side in (rows, columns))
    near, label = np.ascontiguousarray(image[box]), np.ascontiguousarray(mask[box])
    factor = SHOWN / max(near.shape[:2])
    wide = (max(1, round(near.shape[1] * factor)), max(1, round(near.shape[0] * factor)))
    near = np.asarray(cv2.resize(near, wide, interpolation=cv2.INTER_CUBIC), np.uint8)
    label = np.asarray(cv2.resize(label, wide, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    return data_uri(_outlined(small, shrunk, 1)), data_uri(_outlined(near, label, 2))


def _outlined(image: NDArray[np.uint8], mask: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Both outlines; that of the disc runs around the rim and the cup."""
    whole = outline(image, (mask > 0).astype(np.uint8), LABELS, width=width)
    return outline(whole, np.where(mask == 2, 2, 0).astype(np.uint8), LABELS, width=width)


def write_screening(sheets: Sequence[Sheet], stages: Sequence[str], path: Path) -> None:
    """Write the page.

    Args:
        sheets: One a photo.
        stages: Names of the stages, in their order.
        path: The HTML file.

    Raises:
        OutputError: The file cannot be written.
    """
    stopped = sum(bool(sheet.stopped_at) for sheet in sheets)
    lede = f"{count(len(sheets), 'photo')}, {len(sheets) - stopped} answered, {stopped} without an answer."
    judges = list(dict.fromkeys(gauge.name for sheet in sheets for gauge in sheet.gauges))
    view = {"lede": lede, "created": time.strftime("%Y-%m-%d %H:%M"), "stages": stages, "judges": judges}
    write_text(path, fill("screening.html.j2", sheets=sheets, view=view))
