"""What mask files hold, and how it becomes class indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.typing import NDArray

from catenary.data.findings import Finding
from catenary.data.labels import LabelSet
from catenary.errors import CatenaryError, DataError
from catenary.io import read_mask
from catenary.types import IGNORE

__all__ = ["decode", "work_out"]

#: Masks that are looked at to work out the encoding; the doctor checks all of them against it.
SAMPLED = 64
#: More distinct values than this in index masks are no classes.
MOST_CLASSES = 64
#: An exact colour that covers this share of a painted mask was put there on purpose.
PAINTED_SHARE = 0.002


def decode(raw: Shaped[np.ndarray, "h w *c"], labels: LabelSet) -> UInt8[np.ndarray, "h w"]:
    """Class indices of a mask as its file holds it; values that are no class become `IGNORE`.

    Damaged 0/255 masks (anti-aliased or JPEG) are cut at half.

    >>> decode(np.array([[0, 255, 7]], np.uint8), LabelSet(names=("background", "cell"), values=(0, 255)))
    array([[0, 1, 0]], dtype=uint8)
    """
    if labels.encoding == "index":
        return _decode_index(raw if raw.ndim == 2 else raw[..., 0], labels)
    packed = _pack(raw)
    default = 0 if labels.encoding == "painted" else IGNORE
    label = np.full(packed.shape, default, np.uint8)
    for index, colour in enumerate(labels.colours):
        if labels.encoding == "painted" and index == 0:
            continue
        label[packed == _code(colour)] = index
    if labels.ignore_colour is not None:
        label[packed == _code(labels.ignore_colour)] = IGNORE
    return label


def work_out(
    masks: Sequence[Path], classes: Sequence[str] | None = None, *, ignore: int | None = None
) -> tuple[LabelSet, tuple[Finding, ...]]:
    """The label set that a sample of mask files speaks of.

    Raises:
        DataError: No mask can be read, or the values look like an image rather than classes.
    """
    step = max(1, len(masks) // SAMPLED)
    raws = []
    for path in masks[::step]:
        try:
            raws.append(read_mask(path))
        except CatenaryError:
            continue  # the doctor tells about it
    if not raws:
        raise DataError(f"none of {len(masks)} masks can be read; the first is {masks[0]}")
    if any(raw.ndim == 3 for raw in raws):
        return _from_colours([raw for raw in raws if raw.ndim == 3], classes)
    return _from_values(raws, classes, ignore)


def _from_values(
    raws: Sequence[NDArray[Any]], classes: Sequence[str] | None, ignore: int | None
) -> tuple[LabelSet, tuple[Finding, ...]]:
    counts: Counter[int] = Counter()
    for raw in raws:
        values, numbers = np.unique(raw, return_counts=True)
        counts.update(dict(zip((int(v) for v in values), (int(n) for n in numbers), strict=True)))
    values_ = sorted(value for value in counts if value != ignore)
    findings: list[Finding] = []
    total = sum(counts.values())
    ends = counts[0] + counts[255]
    if (
        len(values_) > 2
        and counts[0]
        and counts[255]
        and max(values_) == 255
        and ends / total > 0.8
        and len(values_) > 8
    ):
        findings.append(
            Finding(
                level="warning",
                code="soft-masks",
                message=f"masks that should hold 0 and 255 hold {len(values_)} values, "
                f"{100 * (1 - ends / total):.1f} % of the pixels lie between: they were anti-aliased or saved as JPEG",
                remedy="values are cut at 128; export the masks again as PNG without smoothing",
            )
        )
        values_ = [0, 255]
    elif ignore is None and 255 in values_ and len(values_) >= 3 and values_[-2] < 128 and values_[0] == 0:
        ignore = 255
        values_.remove(255)
        findings.append(
            Finding(
                level="note",
                code="ignore-value",
                message=f"value 255 beside the classes {', '.join(map(str, values_))} is taken for 'unknown'",
                remedy="if 255 is a class, say so in dataset.toml with values = [...]",
            )
        )
    if len(values_) > MOST_CLASSES:
        raise DataError(
            f"the masks hold {len(values_)} different values, too many for classes; give index masks, or name the "
            "classes and their values in dataset.toml"
        )
    if values_[0] != 0 or len(values_) == 1:
        values_ = sorted({0, *values_}) if len(values_) > 1 or values_[0] != 0 else [0, 255 if max(values_) > 1 else 1]
    names = _names(len(values_), classes)
    if classes and len(classes) > len(values_) and values_ == list(range(len(values_))):
        values_, names = list(range(len(classes))), tuple(classes)
    return LabelSet(names=names, values=tuple(values_), ignore=ignore), tuple(findings)


def _from_colours(raws: Sequence[NDArray[Any]], classes: Sequence[str] | None) -> tuple[LabelSet, tuple[Finding, ...]]:
    counts: Counter[int] = Counter()
    for raw in raws:
        codes, numbers = np.unique(_pack(raw), return_counts=True)
        counts.update(dict(zip((int(c) for c in codes), (int(n) for n in numbers), strict=True)))
    total = sum(counts.values())
    colours = [_colour(code) for code, _ in counts.most_common(MOST_CLASSES)]
    if len(counts) <= MOST_CLASSES:
        background = (0, 0, 0) if (0, 0, 0) in colours else colours[0]
        rest = sorted(colour for colour in colours if colour != background)
        names = _names(1 + len(rest), classes)
        return LabelSet(names=names, encoding="colour", colours=(background, *rest)), ()
    painted = sorted(
        colour
        for colour in colours
        if max(colour) - min(colour) > 60 and counts[_code(colour)] / total >= PAINTED_SHARE
    )
    if not painted:
        raise DataError(
            f"the masks are RGB with {len(counts)} colours and no colour stands out as a class; give index masks, or "
            "name the classes and their colours in dataset.toml"
        )
    told = ", ".join(map(str, painted))
    finding = Finding(
        level="note",
        code="painted-masks",
        message=f"the masks are pictures with classes painted over them: {told} are classes, all else is background",
        remedy="if a colour is missing or is none, name them in dataset.toml with [[class]] name and colour",
    )
    names = _names(1 + len(painted), classes)
    return LabelSet(names=names, encoding="painted", colours=((0, 0, 0), *painted)), (finding,)


def _names(count: int, classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is not None and len(classes) in (count, count - 1):
        return tuple(classes) if len(classes) == count else ("background", *classes)
    if classes is not None and len(classes) < count:
        raise DataError(f"{len(classes)} class names were given but the masks hold {count} classes; name all of them")
    if classes is not None:
        return tuple(classes)[:count]
    return ("background", "foreground") if count == 2 else ("background", *(f"class {i}" for i in range(1, count)))


def _decode_index(raw: NDArray[Any], labels: LabelSet) -> UInt8[np.ndarray, "h w"]:
    values = labels.file_values
    low, high = int(raw.min(initial=0)), int(raw.max(initial=0))
    size = max(high, *values, labels.ignore or 0) + 1
    if low < 0 or size > 1 << 16:
        label = np.full(raw.shape, IGNORE, np.uint8)
        for index, value in enumerate(values):
            label[raw == value] = index
        return label
    table = np.full(size, IGNORE, np.uint8)
    if tuple(values) == (0, 255):
        table[:128], table[128:] = 0, 1
    table[list(values)] = np.arange(len(values), dtype=np.uint8)
    if labels.ignore is not None:
        table[labels.ignore] = IGNORE
    found: NDArray[np.uint8] = table[raw]
    return found


def _pack(raw: NDArray[Any]) -> NDArray[np.int64]:
    if raw.ndim == 2:
        raw = np.repeat(raw[..., None], 3, axis=2)
    packed: NDArray[np.int64] = raw[..., :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return packed


def _code(colour: tuple[int, int, int]) -> int:
    return (colour[0] << 16) + (colour[1] << 8) + colour[2]


def _colour(code: int) -> tuple[int, int, int]:
    return code >> 16, code >> 8 & 255, code & 255
