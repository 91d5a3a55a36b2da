"""What is wrong with a data set, before a network learns it.

A check is a function from the facts to findings; `CHECKS` lists them. Errors stop training, warnings are shown and
put in the report, notes say what is worth knowing. Every finding names the cases, the value found and the remedy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from catenary.data.cases import Dataset
from catenary.data.class_checks import class_in_parts, classes_of_images, shortcuts
from catenary.data.facts import CaseFacts
from catenary.data.findings import Finding
from catenary.data.leaks import duplicates, order, possible_groups, torn_groups
from catenary.data.splits import Splits
from catenary.data.survey import Survey
from catenary.errors import DataError

__all__ = ["CHECKS", "MINIMUM_SIDE", "examine", "stop_on_errors"]

#: Images (and slices of volumes) with a shorter side cannot be segmented by a network that halves them a few times.
MINIMUM_SIDE = 8
#: Ratio of the spacings of two scans, or of the axes of one, that is worth a note, and one that is rather an error.
_UNEVEN, _WILD = 2.0, 10.0

_RARE = 0.01
_LEVELS = {"error": 0, "warning": 1, "note": 2}


def examine(dataset: Dataset, survey: Survey, split: Splits | None = None) -> tuple[Finding, ...]:
    """All findings, errors first.

    Args:
        dataset: The cases; findings made while opening it are passed on.
        survey: Facts of the same cases.
        split: A division to be checked for leaks; None before there is one.
    """
    seen = [finding for check in CHECKS for finding in check(dataset, survey.facts, split)]
    # What opening noticed in a sample of the files, a check has now measured in all of them.
    found = [f for f in dataset.findings if f.code not in {s.code for s in seen}] + seen
    unique = {(f.code, f.message, f.cases): f for f in found}
    return tuple(sorted(unique.values(), key=lambda f: _LEVELS[f.level]))


def stop_on_errors(findings: Sequence[Finding]) -> None:
    """Refuse a data set with errors.

    Raises:
        DataError: All errors in one message, a line each.

    >>> stop_on_errors([])
    """
    errors = [f for f in findings if f.level == "error"]
    if not errors:
        return
    lines = [f"{f.message}; {f.remedy}" for f in errors]
    if len(lines) == 1:
        raise DataError(lines[0])
    raise DataError("\n".join([f"the data set has {len(lines)} errors:", *(f"  - {line}" for line in lines)]))


def _named(facts: Sequence[CaseFacts], shown: int = 3) -> str:
    """The first few names.

    >>> _named([CaseFacts(name=n, group=n, trouble="x") for n in "abcde"])
    'a, b, c and 2 more'
    """
    names = [f.name for f in facts]
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def _names(facts: Sequence[CaseFacts]) -> tuple[str, ...]:
    return tuple(f.name for f in facts)


def _files(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    for bad in (f for f in facts if f.trouble):
        yield Finding(
            level="error",
            code="unreadable",
            message=f"case '{bad.name}' cannot be read: {bad.trouble}",
            remedy="replace the file, or take the case out of the data set",
            cases=(bad.name,),
        )
    for bad in (f for f in facts if f.readable and any(f.mask_size) and f.size != f.mask_size):
        image, mask = ("x".join(str(n) for n in size) for size in (bad.size, bad.mask_size))
        turned = bad.rank == 2 and bad.size == bad.mask_size[::-1]
        axes = "h x w" if bad.rank == 2 else "d x h x w"
        yield Finding(
            level="error",
            code="size-mismatch",
            message=f"case '{bad.name}': the image is {image} pixels ({axes}), its mask {mask}",
            remedy="one of the two is turned by 90 degrees (EXIF orientation): save both upright"
            if turned
            else "export the mask at the size of the image, or correct the pairing",
            cases=(bad.name,),
        )
    for bad in (f for f in facts if f.misplaced and f.size == f.mask_size):
        what, _, remedy = bad.misplaced.partition("; ")
        yield Finding(level="error", code="grid-mismatch", message=what, remedy=remedy, cases=(bad.name,))
    ranks = Counter(f.rank for f in facts if f.readable)
    if len(ranks) > 1:
        odd = [f for f in facts if f.readable and f.rank != ranks.most_common(1)[0][0]]
        yield Finding(
            level="error",
            code="mixed-ranks",
            message=f"{ranks[2]} cases are images and {ranks[3]} are volumes: {_named(odd)}",
            remedy="keep images and volumes in two data sets",
            cases=_names(odd),
        )
    small = [f for f in facts if f.readable and min(f.size[-2:]) < MINIMUM_SIDE]
    if small:
        least = min(small, key=lambda f: min(f.size[-2:]))
        yield Finding(
            level="error",
            code="too-small",
            message=f"{_images(small)} shorter than {MINIMUM_SIDE} px on a side, the least "
            f"{'x'.join(map(str, least.size))}: {_named(small)}",
            remedy=f"take them out, or enlarge them to at least {MINIMUM_SIDE} px",
            cases=_names(small),
        )


def _images(facts: Sequence[CaseFacts]) -> str:
    return f"{len(facts)} image{' is' if len(facts) == 1 else 's are'}"


def _volumes(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    scans = [f for f in facts if f.readable and f.rank == 3]
    flat = [f for f in scans if f.size[0] == 1]
    if flat:
        yield Finding(
            level="warning",
            code="single-slice",
            message=f"{len(flat)} of {len(scans)} volumes have one slice only: {_named(flat)}",
            remedy="a localiser or a failed export? take them out, or if all are such, save them as images",
            cases=_names(flat),
        )
    unplaced = [f for f in scans if not f.placed]
    if unplaced:
        yield Finding(
            level="note",
            code="no-orientation",
            message=f"{len(unplaced)} of {len(scans)} volumes do not say how they lie in space: {_named(unplaced)}",
            remedy="they are taken as they are stored; make sure that all are stored in one orientation",
            cases=_names(unplaced),
        )
    yield from _spacings(scans)


def _spacings(scans: Sequence[CaseFacts]) -> Iterator[Finding]:
    known = [f for f in scans if f.spacing]
    if known and len(known) < len(scans):
        without = [f for f in scans if not f.spacing]
        yield Finding(
            level="warning",
            code="no-spacing",
            message=f"{len(without)} of {len(scans)} volumes do not state their spacing: {_named(without)}",
            remedy="export them with it, or state it for all as spacing and unit in dataset.toml",
            cases=_names(without),
        )
    if not known:
        return
    steps = np.array([f.spacing for f in known])
    middle = np.median(steps, axis=0)
    unit = known[0].unit
    ratio = float((steps.max(0) / steps.min(0)).max())
    if ratio > _UNEVEN:
        away = np.abs(np.log(steps / middle)).max(1)
        odd = [known[i] for i in np.argsort(-away, kind="stable") if away[i] > np.log(_UNEVEN) / 2]
        least, most = (" x ".join(f"{step:.3g}" for step in ends) for ends in (steps.min(0), steps.max(0)))
        yield Finding(
            level="warning" if ratio > _WILD else "note",
            code="mixed-spacing",
            message=f"the spacing of the volumes runs from {least} to {most} {unit} (d x h x w): {_named(odd)}",
            remedy="check the headers of the extreme ones (units, a localiser?), or take them out"
            if ratio > _WILD
            else "bring all to one by prepare.spacing, so that a structure has one size in voxels",
            cases=_names(odd),
        )
    if middle.max() / middle.min() > _UNEVEN:
        yield Finding(
            level="note",
            code="anisotropic",
            message=f"voxels are {middle.max() / middle.min():.2g} times as long along one axis as along another: "
            f"{' x '.join(f'{step:.3g}' for step in middle)} {unit} (d x h x w)",
            remedy="a network that halves the fine axes first (model.pools), or one of rank 2, suits them",
        )


def _intensities(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    read = [f for f in facts if f.readable]
    if not read:
        return
    broken = [f for f in read if f.not_finite]
    if broken:
        yield Finding(
            level="error",
            code="not-finite",
            message=f"{len(broken)} images hold NaN or infinite values, {sum(f.not_finite for f in broken)} in all: "
            f"{_named(broken)}",
            remedy="replace these values (by the background level, for example) or mark them as no data in the file",
            cases=_names(broken),
        )
    flat = [f for f in read if f.constant]
    if flat:
        yield Finding(
            level="warning",
            code="constant-image",
            message=f"{_images(flat)} one flat colour (value {flat[0].maximum[0]:g}): {_named(flat)}",
            remedy="a failed export or an empty field: take them out unless they are meant",
            cases=_names(flat),
        )
    channels = Counter(f.channels for f in read)
    if len(channels) > 1:
        common = channels.most_common(1)[0][0]
        odd = [f for f in read if f.channels != common]
        told = ", ".join(f"{count} with {n}" for n, count in channels.most_common())
        yield Finding(
            level="error",
            code="mixed-channels",
            message=f"images differ in their number of channels ({told}): {_named(odd)}",
            remedy="save all with the same channels (all grey, or all RGB without alpha)",
            cases=_names(odd),
        )
        return
    dtypes = Counter(f.dtype for f in read)
    if read[0].rank == 3:
        yield from _scales([f for f in read if not f.constant], dtypes)
        yield from _channels(read)
        return
    if len(dtypes) > 1:
        odd = [f for f in read if f.dtype != dtypes.most_common(1)[0][0]]
        told = ", ".join(f"{count} {name}" for name, count in dtypes.most_common())
        yield Finding(
            level="warning",
            code="mixed-types",
            message=f"images differ in their number type ({told}): {_named(odd)}",
            remedy="save all in one type and range, or normalise each image by itself: --set prepare.normalise=image",
            cases=_names(odd),
        )
    yield from _ranges([f for f in read if not f.constant], mixed=len(dtypes) > 1)
    yield from _channels(read)


def _ranges(facts: Sequence[CaseFacts], *, mixed: bool) -> Iterator[Finding]:
    if len(facts) < 2 or mixed:
        return
    reach = np.array([max(q[-3] - q[2] for q in f.quantiles) for f in facts])  # 1st to 99th percentile
    middle = float(np.median(reach))
    odd = [f for f, r in zip(facts, reach, strict=True) if r > 0 and not 1 / 50 <= r / max(middle, 1e-30) <= 50]
    if odd and middle > 0:
        values = ", ".join(f"{f.minimum[0]:g} to {f.maximum[0]:g}" for f in odd[:3])
        yield Finding(
            level="warning",
            code="mixed-ranges",
            message=f"{len(odd)} images have an intensity range over 50 times wider or narrower than the usual "
            f"{middle:g} ({values}): {_named(odd)}",
            remedy="bring all to one scale (0..1 beside 0..255?), or normalise each image by itself: "
            "--set prepare.normalise=image",
            cases=_names(odd),
        )


def _scales(facts: Sequence[CaseFacts], dtypes: Counter[str]) -> Iterator[Finding]:
    """A note where scans have no common scale, as those of MRI: their type says little, and nothing is wrong."""
    highest = sorted(max(f.maximum) for f in facts)
    uneven = len(facts) > 1 and any(reach > 50 * max(least, 1e-30) for least, reach in _reaches(facts))
    if not uneven and len(dtypes) == 1:
        return
    told = f" ({', '.join(f'{count} {name}' for name, count in dtypes.most_common())})" if len(dtypes) > 1 else ""
    what = "are not on one scale of intensities" if uneven else "differ in their number type"
    yield Finding(
        level="note",
        code="mixed-ranges",
        message=f"the scans {what}: their maxima run from {highest[0]:.4g} to {highest[-1]:.4g}{told}",
        remedy="usual for MRI, which has no unit: normalise each scan by itself, --set prepare.normalise=image; CT in "
        "Hounsfield units should not differ so",
    )


def _reaches(facts: Sequence[CaseFacts]) -> list[tuple[float, float]]:
    """Of each channel the smallest and the largest range, from the 1st to the 99th percentile, of a scan."""
    spans = np.array([[q[-3] - q[2] for q in f.quantiles] for f in facts])
    return [(float(some[some > 0].min(initial=np.inf)), float(some.max())) for some in spans.T]


def _channels(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    count = facts[0].channels
    if count > 1 and all(f.same_channels for f in facts):
        yield Finding(
            level="note",
            code="same-channels",
            message=f"the {count} channels are the same in every image: grey images saved as colour",
            remedy="nothing needs to be done; saved as grey they would take less space and time",
        )
        return
    for channel in range(count if count > 1 else 0):
        values = {(f.minimum[channel], f.maximum[channel]) for f in facts}
        if len(values) == 1 and len(set(next(iter(values)))) == 1:
            yield Finding(
                level="note",
                code="constant-channel",
                message=f"channel {channel + 1} of {count} is {next(iter(values))[0]:g} everywhere in every image",
                remedy="it tells the network nothing (an alpha channel?); leave it out when the images are exported",
            )


def _masks(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    if dataset.labels.scope == "image":
        return
    soft = [f for f in facts if f.unexpected and f.soft]
    if soft:
        share = max(sum(f.unexpected.values()) / max(1, math.prod(f.mask_size)) for f in soft)
        yield Finding(
            level="warning",
            code="soft-masks",
            message=f"{len(soft)} masks have in-between values along their edges, up to {100 * share:.1f} % of the "
            f"pixels ({_values(soft)}): smoothed when they were scaled, or saved as JPEG: {_named(soft)}",
            remedy="0/255 masks are cut at half, in others such pixels are ignored; better export the masks again as "
            "PNG, scaled without smoothing",
            cases=_names(soft),
        )
    wrong = [f for f in facts if f.unexpected and not f.soft]
    if wrong:
        known = (
            dataset.file_labels.file_values if dataset.file_labels.encoding == "index" else dataset.file_labels.colours
        )
        yield Finding(
            level="error",
            code="unexpected-values",
            message=f"{len(wrong)} masks hold values that are no class ({_values(wrong)}; classes are "
            f"{', '.join(map(str, known))}): {_named(wrong)}",
            remedy="name the missing class or the ignore value in dataset.toml, or correct the masks",
            cases=_names(wrong),
        )
    labelled = [f for f in facts if f.readable and f.counts]
    blank = [f for f in labelled if not f.labelled]
    if blank:
        yield Finding(
            level="warning",
            code="nothing-judged",
            message=f"{len(blank)} masks mark every pixel as to be ignored: {_named(blank)}",
            remedy="they are left out; check the ignore value",
            cases=_names(blank),
        )
    empty = [f for f in labelled if f.labelled and f.foreground == 0]
    judged = len(labelled) - len(blank)
    if empty and len(empty) == judged:
        yield Finding(
            level="error",
            code="all-empty",
            message=f"all {judged} masks are empty: every pixel is '{dataset.labels.names[0]}'",
            remedy="check that the masks were exported, and that class values are right (0/1 masks shown as black?)",
            cases=_names(empty),
        )
    elif empty:
        many = len(empty) > judged / 2
        yield Finding(
            level="warning" if many else "note",
            code="empty-masks",
            message=f"{len(empty)} of {judged} masks are empty: {_named(empty)}",
            remedy="right if these images show nothing to be found; annotate them, or take them out, if not",
            cases=_names(empty),
        )


def _values(facts: Sequence[CaseFacts]) -> str:
    total: Counter[str] = Counter()
    for f in facts:
        total.update(f.unexpected)
    told = ", ".join(f"{value} in {count} px" for value, count in total.most_common(5))
    return told + (f" and {len(total) - 5} more values" if len(total) > 5 else "")


def _classes(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    labelled = [f for f in facts if f.readable and f.labelled]
    if not labelled or dataset.labels.scope == "image":
        return
    counts = np.array([f.counts for f in labelled], np.int64)
    total = counts.sum(0)
    if not total[1:].any():
        return  # all empty: an error of its own
    shares = total / total.sum()
    for index, name in enumerate(dataset.labels.names):
        holding = [f for f, row in zip(labelled, counts, strict=True) if row[index]]
        if not holding:
            yield Finding(
                level="warning",
                code="absent-class",
                message=f"class '{name}' (index {index}) occurs in no mask",
                remedy="take it out of the class list, or check its value; nothing can be learnt of it",
            )
            continue
        if index and shares[index] < _RARE:
            yield Finding(
                level="note",
                code="rare-class",
                message=f"class '{name}' covers {100 * shares[index]:.2g} % of the pixels, in {len(holding)} of "
                f"{len(labelled)} images",
                remedy="patches are drawn around it on purpose; judge it by its own score, not by accuracy",
            )
        if index and split is not None:
            yield from class_in_parts(name, holding, split)


def _numbers(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    usable = [f for f in facts if f.readable and f.labelled]
    groups = len({f.group for f in usable})
    what = "a class" if dataset.labels.scope == "image" else "a mask"
    if usable and groups < 2:
        alone = len(usable) == 1
        yield Finding(
            level="error",
            code="too-few-cases",
            message="the data set has one labelled case only"
            if alone
            else f"all {len(usable)} labelled cases are of one group ('{usable[0].group}')",
            remedy="at least 3 are needed to train, validate and test (2 with split.test=0); "
            + (
                "add cases" + ", or cut the image into several" * (what == "a mask")
                if alone
                else "give a group pattern that tells them apart"
            ),
            cases=_names(usable),
        )
    elif not usable:
        yield Finding(
            level="error",
            code="too-few-cases",
            message=f"none of the {len(facts)} cases has an image and {what} that can be read and judged",
            remedy=f"add {'masks' if what == 'a mask' else 'images'}; at least 3 labelled cases are needed to train, "
            "validate and test",
        )


def _leaks(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    read = [f for f in facts if f.readable]
    series = list(order(read, split))
    # In a dense series neighbours are near copies by nature: that is told once, as an order.
    yield from duplicates(read, split, near=not series, dataset=dataset)
    yield from series
    yield from torn_groups(read, split)
    yield from possible_groups(read)


#: All checks, in the order in which findings of one level are shown.
CHECKS: tuple[Callable[[Dataset, Sequence[CaseFacts], Splits | None], Iterator[Finding]], ...] = (
    _files,
    _numbers,
    _volumes,
    _intensities,
    _masks,
    _classes,
    classes_of_images,
    _leaks,
    shortcuts,
)
