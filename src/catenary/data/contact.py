"""A contact sheet: the cases of a data set at a glance, classes outlined and tinted; of a volume one slice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from catenary.data.cases import Dataset, without_data
from catenary.data.findings import Finding
from catenary.data.labels import LabelSet
from catenary.errors import CatenaryError, InputError
from catenary.io.files import atomic
from catenary.types import IGNORE, Image

__all__ = ["contact_sheet", "fullest_slice", "overlay", "to_rgb"]

_PAPER, _INK, _GREY, _MARGIN, _CAPTION, _GAP = (250, 250, 248), (32, 36, 42), (120, 126, 134), 20, 22, 12
_EMPTY = (236, 237, 238)
_MARKS = {"error": (200, 40, 40), "warning": (214, 126, 0), "note": (0, 108, 178)}
_RANK = {"error": 0, "warning": 1, "note": 2}


def to_rgb(image: Shaped[np.ndarray, "c h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """An image of any type and number of channels as something to look at.

    8-bit images stay as they are unless they are very dark, or grey and flat; all else is stretched from the 0.5th
    to the 99.5th percentile, the channels together so that colours keep their balance. One channel becomes grey,
    two red and green; of more than three the first three are shown.

    >>> to_rgb(np.array([[[0, 1000]]], np.uint16))[0].tolist()
    [[0, 0, 0], [255, 255, 255]]
    """
    shown = image[:3] if len(image) != 2 else np.concatenate([image, np.zeros_like(image[:1])])
    values = shown.astype(np.float32)
    finite = np.isfinite(values)
    sample = values[:, :: max(1, values.shape[1] // 256), :: max(1, values.shape[2] // 256)]
    sample = sample[np.isfinite(sample)]
    low, high = (float(q) for q in np.quantile(sample, (0.005, 0.995))) if sample.size else (0.0, 1.0)
    colour = len(image) >= 3 and not np.array_equal(image[0], image[1])
    if image.dtype == np.uint8 and (high > 100 if colour else high - low > 128):
        low, high = 0.0, 255.0
    if high <= low:
        low, high = low - 1.0, high + 1.0
    values = np.where(finite, values, low)
    scaled = np.clip((values - low) * (255.0 / (high - low)), 0, 255)
    rgb = np.rint(scaled).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(rgb if len(rgb) == 3 else np.repeat(rgb, 3, axis=0), 0, 2))


def overlay(
    rgb: UInt8[np.ndarray, "h w 3"], label: UInt8[np.ndarray, "h w"], labels: LabelSet, *, tint: float = 0.22
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with each foreground class tinted and outlined in its colour; ignored pixels are hatched grey.

    Args:
        rgb: The picture.
        label: Class indices of the same size.
        labels: Where the colours come from.
        tint: Opacity of the fill, 0 to 1; outlines are opaque.
    """
    import cv2

    out = rgb.astype(np.float32)
    lines = np.zeros(label.shape, np.uint8)
    for index in range(1, labels.count):
        inside = (label == index).astype(np.uint8)
        if not inside.any():
            continue
        colour = np.array(labels.display_colour(index), np.float32)
        out[inside > 0] += tint * (colour - out[inside > 0])
        # A border between two classes is drawn once, by the later one; eroding with a bright border keeps the line
        # off the frame of the picture.
        later = ((label >= index) & (label != IGNORE)).astype(np.uint8)
        edge = inside & (1 - cv2.erode(later, np.ones((3, 3), np.uint8), borderValue=1))
        lines[edge > 0] = index
        out[(cv2.dilate(edge, np.ones((3, 3), np.uint8)) > 0) & (label == 0)] *= 0.6  # a shade outside: seen on white
    for index in range(1, labels.count):
        out[lines == index] = labels.display_colour(index)
    unknown = label == IGNORE
    if unknown.any():
        rows, columns = np.indices(label.shape)
        out[unknown & ((rows + columns) % 8 < 2)] = 160
    return np.rint(out).astype(np.uint8)


def fullest_slice(label: UInt8[np.ndarray, "d h w"]) -> int:
    """Index of the slice ``[h, w]`` with the most foreground; the middle one where there is none.

    >>> label = np.zeros((5, 2, 2), np.uint8)
    >>> fullest_slice(label)
    2
    >>> label[3, 0] = 1
    >>> fullest_slice(label)
    3
    """
    counts = ((label > 0) & (label != IGNORE)).sum((1, 2))
    return int(counts.argmax()) if counts.any() else len(label) // 2


def contact_sheet(
    dataset: Dataset,
    names: Sequence[str],
    path: str | Path,
    *,
    findings: Sequence[Finding] = (),
    columns: int = 6,
    cell: int = 256,
    most: int = 48,
) -> Path:
    """Write a PNG of overlays with names below and a legend of the classes, or the class of each whole image.

    Cases with errors come first, then those with warnings, each with a coloured mark and the finding's code; the
    others follow in their order. A case that cannot be read shows why.

    Args:
        dataset: Where the cases are read from.
        names: Cases to show.
        path: PNG file to write.
        findings: Findings to mark.
        columns: Cases a row.
        cell: Side of a picture's square in pixels.
        most: Cases shown at most; what is left out is said in the heading.

    Raises:
        InputError: `names` is empty.
        OutputError: The file cannot be written.
    """
    if not names:
        raise InputError("there is no case to draw; give the names of at least one case")
    marks = _marks(findings, names)
    order = sorted(names, key=lambda name: _RANK[marks[name][0]] if name in marks else len(_RANK))
    chosen = _thinned(order, marks, most)
    columns = max(1, min(columns, len(chosen)))
    rows = [chosen[i : i + columns] for i in range(0, len(chosen), columns)]
    pictures = {name: _picture(dataset, name, cell) for name in chosen}
    heights = [max(pictures[name].height for name in row) for row in rows]
    heading = f"{dataset.name}: {len(names)} cases" + (f", {len(chosen)} shown" * (len(chosen) < len(names)))
    labels, whole = dataset.labels, dataset.labels.scope == "image"
    legend = [(labels.names[i], labels.display_colour(i)) for i in range(1, labels.count)] if not whole else []
    width = max(2 * _MARGIN + columns * cell + (columns - 1) * _GAP, 480)
    y = _MARGIN + _header(None, heading, legend, width) + 10
    sheet = Pillow.new("RGB", (width, y + sum(heights) + len(rows) * (_CAPTION + _GAP)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _header(draw, heading, legend, width)
    for row, height in zip(rows, heights, strict=True):
        for column, name in enumerate(row):
            box = (_MARGIN + column * (cell + _GAP), y, cell, height)
            kind = dataset[name].label
            caption = name if not whole or kind is None else f"{name}: {labels.names[kind]}"
            _draw_case(sheet, draw, pictures[name], caption, box, marks.get(name))
        y += height + _CAPTION + _GAP
    target = Path(path)
    with atomic(target) as temporary:
        sheet.save(temporary, format="PNG", compress_level=4)
    return target


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _marks(findings: Sequence[Finding], names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Case -> level and code of its worst finding. A finding that holds for most of the cases marks none."""
    marks: dict[str, tuple[str, str]] = {}
    for finding in sorted(findings, key=lambda f: _RANK[f.level]):
        if len(finding.cases) > max(3, len(names) // 2) and finding.level != "error":
            continue
        for name in finding.cases:
            marks.setdefault(name, (finding.level, finding.code))
    return marks


def _thinned(order: Sequence[str], marks: dict[str, tuple[str, str]], most: int) -> list[str]:
    """At most `most` names: marked ones first, then an even choice of the rest."""
    marked = [name for name in order if name in marks][:most]
    plain = [name for name in order if name not in marks]
    room = min(most - len(marked), len(plain))
    return marked + [plain[i] for i in np.linspace(0, len(plain) - 1, room).round().astype(int)] if room else marked


def _header(
    draw: ImageDraw.ImageDraw | None, heading: str, legend: Sequence[tuple[str, tuple[int, int, int]]], width: int
) -> int:
    """Draw heading and legend (or only measure them); the height they take."""
    title, small = _font(22), _font(15)
    if draw is not None:
        draw.text((_MARGIN, _MARGIN), heading, _INK, font=title)
    x, y = _MARGIN, _MARGIN + 36
    for name, colour in legend:
        need = 34 + int(small.getlength(name))
        if x + need > width - _MARGIN and x > _MARGIN:
            x, y = _MARGIN, y + 24
        if draw is not None:
            draw.rectangle((x, y + 2, x + 14, y + 16), fill=colour, outline=_GREY)
            draw.text((x + 21, y), name, _INK, font=small)
        x += need
    return y + 24 - _MARGIN


def _draw_case(
    sheet: Pillow.Image,
    draw: ImageDraw.ImageDraw,
    picture: Pillow.Image,
    caption: str,
    box: tuple[int, int, int, int],
    mark: tuple[str, str] | None,
) -> None:
    x, y, width, height = box
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=_EMPTY)
    sheet.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
    font = _font(13)
    if mark is not None:
        colour = _MARKS[mark[0]]
        draw.rectangle((x - 3, y - 3, x + width + 2, y + height + 2), outline=colour, width=3)
        draw.rectangle((x, y, x + font.getlength(mark[1]) + 14, y + 20), fill=colour)
        draw.text((x + 6, y + 2), mark[1], (255, 255, 255), font=font)
    draw.text((x + 1, y + height + 4), _shortened(caption, font, width), _INK, font=font)


def _picture(dataset: Dataset, name: str, cell: int) -> Pillow.Image:
    """Overlay at the cell's size, or the reason why there is none."""
    try:
        return Pillow.fromarray(_overlaid(dataset, name, cell))
    except CatenaryError as error:
        reason = str(error)
    except Exception as error:  # a damaged file must not cost the whole sheet
        reason = f"{type(error).__name__}: {error}"
    picture = Pillow.new("RGB", (cell, cell * 2 // 3), _EMPTY)
    font = _font(13)
    lines = _wrapped(reason, font, cell - 24)[: max(1, (picture.height - 36) // 18)]
    ImageDraw.Draw(picture).multiline_text((12, 28), "\n".join(lines), _GREY, font=font, spacing=4)
    return picture


def _overlaid(dataset: Dataset, name: str, cell: int) -> NDArray[np.uint8]:
    """Drawn on the scaled image, so that outlines stay crisp, one pixel wide."""
    import cv2

    case = dataset[name]
    found = dataset.read_image(case)
    image, label = found.array, None
    if case.mask is not None:
        label = dataset.fitted(case, dataset.read_mask(case), found)
        label = without_data(dataset.decode(label), found.valid)
    if image.ndim == 4:
        place = image.shape[1] // 2 if label is None else fullest_slice(label)
        image, label = image[:1, place], None if label is None else label[place]  # sequences are no colours
    height, width = image.shape[1:]
    tall, wide = (n * s for n, s in zip((height, width), _aspect(found), strict=True))
    scale = cell / max(tall, wide)
    size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
    step = max(1, int(1 / scale / 4))  # resampling needs no more than four pixels for one
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    rgb = cv2.resize(to_rgb(image[:, ::step, ::step]), size, interpolation=way).astype(np.uint8, copy=False)
    if label is None:
        return rgb
    small = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
    counts = np.bincount(label.ravel(), minlength=256)
    for index in sorted(np.flatnonzero(counts[1:IGNORE]) + 1, key=lambda i: -counts[i])[:8] if scale < 1 else ():
        # The rarest last, so that cracks and vessels thinner than a pixel of the sheet stay in one piece.
        small[cv2.resize((label == index).astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.35] = index
    return overlay(rgb, small, dataset.labels)


def _aspect(image: Image) -> tuple[float, float]:
    """Height and width of a pixel of a volume's slice in the finer of the two; pixels of images count as square."""
    spacing = image.grid.spacing
    if spacing is None or len(spacing) != 3:
        return 1.0, 1.0
    return spacing[1] / min(spacing[1:]), spacing[2] / min(spacing[1:])


def _shortened(text: str, font: Any, width: int) -> str:
    """The text, its middle left out when it is too long: the ends tell names apart."""
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 4 and font.getlength(text[: keep // 2] + "…" + text[-(keep // 2) :]) > width:
        keep -= 1
    return text[: keep // 2] + "…" + text[-(keep // 2) :]


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        for piece in (word[i : i + 24] for i in range(0, len(word), 24)):
            longer = f"{lines[-1]} {piece}".strip()
            if font.getlength(longer) > width and lines[-1]:
                lines.append(piece)
            else:
                lines[-1] = longer
    return lines
