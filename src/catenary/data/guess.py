"""What the classes are, read off the mask files themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy import int64
from numpy.typing import NDArray

from catenary.data.encoding import code, colour, histogram, is_coloured, pack
from catenary.data.facts import soft_edges
from catenary.data.findings import Finding
from catenary.data.labels import LabelSet
from catenary.data.paint import clean_colours, painted_colours
from catenary.errors import CatenaryError, DataError
from catenary.io import read_mask
from catenary.types import IGNORE

__all__ = ["work_out"]

#: Pixels and files that are looked at to work out the encoding; the survey checks all of them against it.
ENOUGH_PIXELS, ENOUGH_FILES = 1 << 26, 512
#: More distinct values or colours than this are no classes.
MOST_CLASSES = 64
#: Numbers up to this beside 255 are class indices, and 255 then means "unknown".
LAST_INDEX = 32

#: Masks of more colours than this are pictures; they take longer to count, and fewer tell enough.
_MANY = 4096
_GOLDEN = (5**0.5 - 1) / 2
_BACKGROUND = ("background", "bg", "other", "none", "void")


def work_out(
    masks: Sequence[Path], classes: Sequence[str] | None = None, *, ignore: int | None = None
) -> tuple[LabelSet, tuple[Finding, ...]]:
    """The label set that mask files speak of, and what is to be said about it.

    Args:
        masks: The files; so many of them are read, evenly spread, as 64 million pixels need.
        classes: Names, background first or left out.
        ignore: File value that means "unknown", where somebody stated it.

    Raises:
        DataError: No mask can be read, the values are no classes, or the names do not fit them.
    """
    seen = list(_look(masks))
    if not seen:
        raise DataError(f"none of the {len(masks)} masks can be read, the first is {masks[0]}; check the files")
    if _is_coloured(seen):
        total: Counter[int] = Counter()
        for one in seen:
            total.update({code((v, v, v)): n for v, n in one.values.items()} if one.colours is None else one.colours)
        return _from_colours(total, classes)
    return _from_values(seen, classes, ignore)


@dataclass(frozen=True)
class _Seen:
    """Histogram of one file: `values` of numbers, `colours` where it is RGB or a palette (packed)."""

    values: Mapping[int, int]
    colours: Mapping[int, int] | None
    palette: Mapping[int, int] | None
    raw: NDArray[Any] | None


def _look(masks: Sequence[Path]) -> Iterator[_Seen]:
    # Multiples of the golden ratio visit any list evenly, wherever the visit ends.
    order = sorted(range(len(masks)), key=lambda i: (i * _GOLDEN) % 1.0)
    pixels = kept = 0
    for index in order[:ENOUGH_FILES]:
        try:
            coloured = read_mask(masks[index], palette="colour")
            raw = read_mask(masks[index]) if is_coloured(coloured) else coloured
        except CatenaryError:
            continue  # the survey tells about it
        values = {} if is_coloured(raw) else histogram(raw)
        soft = len(values) > 4 and kept < 4
        kept += soft
        colours = histogram(pack(coloured)) if is_coloured(coloured) else None
        pixels += (raw[..., 0].size if is_coloured(raw) else raw.size) * (4 if len(colours or ()) > _MANY else 1)
        palette = None
        if colours is not None and not is_coloured(raw):
            pairs = histogram((raw.astype(int64) << 24) | pack(coloured))
            palette = {pair >> 24: pair & 0xFFFFFF for pair in pairs}
        yield _Seen(values, colours, palette, raw if soft else None)
        if pixels > ENOUGH_PIXELS:
            return


def _is_coloured(seen: Sequence[_Seen]) -> bool:
    """Whether colours carry the meaning: RGB files, or palettes that differ from file to file."""
    if all(one.colours is None for one in seen):
        return False
    meaning: dict[int, int] = {}
    for one in seen:
        if one.colours is not None and one.palette is None:
            return True
        for index, packed in (one.palette or {}).items():
            if meaning.setdefault(index, packed) != packed:
                return True
    return len(meaning) > MOST_CLASSES


def _from_values(
    seen: Sequence[_Seen], classes: Sequence[str] | None, ignore: int | None
) -> tuple[LabelSet, tuple[Finding, ...]]:
    total: Counter[int] = Counter()
    for one in seen:
        total.update(one.values)
    values = sorted(value for value in total if value != ignore)
    findings: list[Finding] = []
    if _is_soft(total, seen):
        between = sum(n for value, n in total.items() if value not in (0, IGNORE)) / total.total()
        findings.append(_soft(len(values), between))
        values = [0, 255]
    elif ignore is None and values and (guess := _unknown(values)) is not None:
        if values == [0, 1, 255] and not any({1, 255} <= one.values.keys() for one in seen):
            findings.append(_mixed(sum(1 in one.values for one in seen), sum(255 in one.values for one in seen)))
            values = [0, 255]
        else:
            ignore = guess
            values.remove(guess)
            findings.append(_taken_for_unknown(guess, values))
    if classes is None and (len(values) > MOST_CLASSES or _are_instances(seen)):
        raise DataError(
            f"the masks hold {len(values)} different values, {values[0]} to {values[-1]}: that are numbers of single "
            "objects or grey levels, no classes; write masks with one value a class, or name the classes and their "
            "values in dataset.toml"
        )
    if values and values[0] < 0:
        raise DataError(
            f"the masks hold the value {values[0]}; classes are numbers from 0, ignore = -1 goes into dataset.toml"
        )
    if values and values[0] > 0:
        findings.append(_without_background(values))
        values.insert(0, 0)
    if len(values) < 2:
        values = [0, 1]
    values, names = _named(values, classes)
    return LabelSet(names=names, values=tuple(values), ignore=ignore), tuple(findings)


def _from_colours(total: Counter[int], classes: Sequence[str] | None) -> tuple[LabelSet, tuple[Finding, ...]]:
    colours = {colour(packed): count for packed, count in total.items()}
    findings: list[Finding] = []
    clean = clean_colours(colours) or (tuple(colours) if len(colours) <= MOST_CLASSES else ())
    if clean:
        if len(clean) < len(colours):
            between = 1 - sum(colours[c] for c in clean) / sum(colours.values())
            findings.append(_soft(len(colours), between, cut="other colours count as background"))
        # Black is background by custom; without black, the colour that covers most.
        background = (0, 0, 0) if (0, 0, 0) in clean else max(clean, key=lambda c: (colours[c], c))
        classes_ = sorted(c for c in clean if c != background)
        encoding = "painted" if findings else "colour"
    else:
        background, classes_, encoding = (0, 0, 0), sorted(painted_colours(colours)), "painted"
        if not classes_:
            raise DataError(
                f"the masks are RGB with {len(colours)} colours and none stands out as a class; write masks with one "
                "value a class, or name the classes and their colours in dataset.toml"
            )
        findings.append(
            Finding(
                level="note",
                code="painted-masks",
                message=f"the masks are pictures with classes painted over them: {_told(classes_)} are classes, all "
                "else is background",
                remedy="if a colour is missing or is none, name them in dataset.toml with [[class]] name and colour",
            )
        )
    if not classes_:
        classes_ = [(255, 255, 255)]
    if classes is not None and len(classes_) > 1:
        raise DataError(
            f"the masks tell {len(classes_) + 1} classes by colour ({_told([background, *classes_])}), so names alone "
            "do not say which is which; name them in dataset.toml with [[class]] name and colour"
        )
    _, names = _named(list(range(1 + len(classes_))), classes)
    if len(classes_) > 1:
        findings.append(
            Finding(
                level="note",
                code="colour-classes",
                message="the classes are told by colour: "
                + ", ".join(f"{n} {c}" for n, c in zip(names[1:], classes_, strict=True)),
                remedy="name them in dataset.toml with [[class]] name and colour",
            )
        )
    return LabelSet(names=names, encoding=encoding, colours=(background, *classes_)), tuple(findings)


def _is_soft(total: Mapping[int, int], seen: Sequence[_Seen]) -> bool:
    """Whether 0/255 masks were smoothed or compressed: many values between, rare, and along the edges."""
    values = sorted(total)
    if len(values) < 5 or values[0] != 0 or values[-1] != 255 or not any(128 <= v < 255 for v in values):
        return False
    if (total[0] + total[255]) < 0.8 * sum(total.values()):
        return False
    raws = [one.raw for one in seen if one.raw is not None]
    return bool(raws) and all(soft_edges(raw, (0, 255)) for raw in raws)


def _unknown(values: Sequence[int]) -> int | None:
    """The value that means "unknown" beside small class indices: 255, or -1."""
    if values[0] == -1 and len(values) >= 3:
        return -1
    rest = [value for value in values if value != IGNORE]
    return IGNORE if values[-1] == IGNORE and len(rest) >= 2 and rest[0] >= 0 and rest[-1] <= LAST_INDEX else None


def _are_instances(seen: Sequence[_Seen]) -> bool:
    """Whether files number their objects: 0..n without a gap, with a large n that differs from file to file."""
    tops = [max(one.values) for one in seen if sorted(one.values) == list(range(len(one.values)))]
    return len(tops) >= 3 and len(tops) == len(seen) and max(tops) > 8 and len(set(tops)) > len(tops) / 2


def _named(values: list[int], classes: Sequence[str] | None) -> tuple[list[int], tuple[str, ...]]:
    """Values and names of the same length; names may leave out the background, masks may lack a class."""
    if classes is None:
        gaps = values[-1] != len(values) - 1 and values[-1] <= LAST_INDEX
        rest = [f"class {value if gaps else index}" for index, value in enumerate(values)][1:]
        return values, ("background", *(rest if len(rest) > 1 else ["foreground"]))
    names = tuple(classes)
    readings = [names] if names[:1] and names[0].strip().lower() in _BACKGROUND else [names, ("background", *names)]
    given = list(range(len(names)))
    if len(names) > 1 and values[: len(names)] == given and values[-1] != len(values) - 1:
        return given, names  # 0, 1, 2 and a stray 9: the names fit without it, and the doctor tells of it
    for named in readings:
        if values == list(range(len(named))):
            return values, named
        if len(named) == len(values) and values[-1] >= len(readings[-1]):
            return values, named  # 0, 128, 255: too large for indices, so in their order
    given = list(range(len(names)))
    if len(names) > 1 and values[: len(names)] == given and values[-1] != len(values) - 1:
        return given, names  # 0, 1, 2 and a stray 9: the names fit without it, and the doctor tells of it
    for named in readings:
        if values[-1] < len(named):
            return list(range(len(named))), named
    raise DataError(
        f"{len(names)} class names were given ({', '.join(names)}) but the masks hold {len(values)} values "
        f"({', '.join(map(str, values[:12]))}); name each, or state them in dataset.toml with [[class]] name and value"
    )


def _told(colours: Sequence[tuple[int, int, int]]) -> str:
    return ", ".join(map(str, colours))


def _soft(count: int, between: float, *, cut: str = "values are cut at 128") -> Finding:
    return Finding(
        level="warning",
        code="soft-masks",
        message=f"masks that should hold a few exact values hold {count}, {100 * between:.2g} % of the pixels lie "
        "between: they were anti-aliased, scaled smoothly, or saved as JPEG",
        remedy=f"{cut}; better export the masks again as PNG, without smoothing",
    )


def _mixed(ones: int, whites: int) -> Finding:
    return Finding(
        level="error",
        code="mixed-values",
        message=f"{ones} of the masks looked at hold 0 and 1, and {whites} hold 0 and 255: "
        "is 255 the class, or unknown?",
        remedy="write all masks alike, or state ignore = 255 in dataset.toml",
    )


def _taken_for_unknown(value: int, classes: Sequence[int]) -> Finding:
    return Finding(
        level="note",
        code="ignore-value",
        message=f"value {value} beside the classes {', '.join(map(str, classes))} is taken for 'unknown' and "
        "not counted",
        remedy=f"state ignore = {value} in dataset.toml if that is right, or its class with [[class]] name and value",
    )


def _without_background(values: Sequence[int]) -> Finding:
    return Finding(
        level="note",
        code="no-background",
        message=f"the masks hold {', '.join(map(str, values[:12]))} and no 0: each is taken for a class, beside a "
        "background that never occurs",
        remedy="if one is the background, say so in dataset.toml with [[class]] name and value, background first",
    )
