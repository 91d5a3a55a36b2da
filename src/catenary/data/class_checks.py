"""What is wrong with a data set whose images have one class each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from catenary.data.cases import Dataset
from catenary.data.facts import CaseFacts
from catenary.data.findings import Finding
from catenary.data.pairs import finding
from catenary.data.shortcuts import class_from_facts, source_from_image
from catenary.data.splits import Splits
from catenary.data.survey import Survey

__all__ = ["class_in_parts", "classes_of_images", "shortcuts"]

#: How many times as common as the rarest class the commonest may be before that is told.
_UNEQUAL = 5.0
#: Area under the ROC curve from which a source, or a class, counts as told.
_TOLD = 0.8
#: And from which mean colours are worth a note.
_HINTED = 0.7


def classes_of_images(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    """Classes that are absent, alone or rare, missing from a part, and groups of several classes."""
    if dataset.labels.scope != "image":
        return
    names = dataset.labels.names
    usable = [f for f in facts if f.readable and f.labelled]
    of = {f.name: f.counts.index(max(f.counts)) for f in usable}
    members = [[f for f in usable if of[f.name] == index] for index in range(len(names))]
    for name, mine in zip(names, members, strict=True):
        if len(mine) < 2:
            learnt = sum(len(others) >= 2 for others in members)
            yield Finding(
                level="warning" if learnt >= 2 else "error",
                code="single-image-class" if mine else "absent-class",
                message=f"class '{name}' has {'one image only' if mine else 'no image'}"
                + (f" ({mine[0].name})" if mine else ""),
                remedy="add images of it, or take it out of the classes: it cannot be learnt and tested",
                cases=tuple(f.name for f in mine),
            )
        elif split is not None:
            yield from class_in_parts(name, mine, split)
    sizes = [len(mine) for mine in members]
    if min(sizes) > 1 and max(sizes) > _UNEQUAL * min(sizes):
        rare, common = (sizes.index(size) for size in (min(sizes), max(sizes)))
        yield Finding(
            level="note",
            code="unequal-classes",
            message=f"classes are very unequal: {sizes[rare]} images are '{names[rare]}', {sizes[common]} are "
            f"'{names[common]}'; who always says '{names[common]}' is right in {100 * max(sizes) / sum(sizes):.0f} %",
            remedy="judge by sensitivity, specificity and AUC, not by accuracy; training draws the classes equally "
            "often with sample.balance=true",
        )
    yield from _mixed_groups(usable, of, names)


def _mixed_groups(usable: Sequence[CaseFacts], of: dict[str, int], names: Sequence[str]) -> Iterator[Finding]:
    groups: dict[str, list[CaseFacts]] = {}
    for f in usable:
        groups.setdefault(f.group, []).append(f)
    mixed = {group: mine for group, mine in groups.items() if len({of[f.name] for f in mine}) > 1}
    if mixed:
        first = next(iter(mixed.values()))
        told = [next(f for f in first if of[f.name] == index) for index in sorted({of[f.name] for f in first})]
        shown = " and ".join(f"{f.name} {names[of[f.name]]}" for f in told)
        yield Finding(
            level="note",
            code="group-in-two-classes",
            message=f"{len(mixed)} of {len(groups)} groups (patients) hold more than one class: {shown}",
            remedy="right where two eyes or two visits differ; correct the classes where they cannot",
            cases=tuple(f.name for mine in mixed.values() for f in mine),
        )


def class_in_parts(name: str, holding: Sequence[CaseFacts], split: Splits) -> Iterator[Finding]:
    """Warning when a class is missing from a part of the division."""
    where = {part for f in holding if (part := split.part_of(f.name))}
    without = [part for part, names in split.parts.items() if names and part not in where]
    if without:
        groups = len({f.group for f in holding})
        yield Finding(
            level="warning",
            code="class-not-in-part",
            message=f"class '{name}' occurs in no {' and no '.join(without)} case: it is in {len(holding)} cases of "
            f"{groups} group{'s' * (groups != 1)} only",
            remedy="add cases that show it, or try another split.seed; "
            + ("it cannot be learnt" if "train" in without else "its score there says nothing"),
            cases=tuple(f.name for f in holding),
        )


def shortcuts(dataset: Dataset, facts: Sequence[CaseFacts], split: Splits | None) -> Iterator[Finding]:
    """Whether file, colour or source give the class of an image away."""
    if dataset.labels.scope != "image":
        return
    known = {case.name for case in dataset.cases}
    survey = Survey(facts=tuple(f for f in facts if f.name in known and f.labelled))
    yield from _trivial(dataset, survey)
    found = source_from_image(dataset, survey)
    if found is None or not (found.clear[0] and found.told >= _TOLD):
        yield from _one_class_sources(dataset)
        return
    told = (
        f"coarse look, colours and size of an image tell its source ({', '.join(found.sources)}) at AUC "
        f"{found.told:.2f}, 0.50 being chance"
    )
    if found.clear[1]:
        table = "; ".join(
            f"{source}: " + ", ".join(f"{n} {name}" for n, name in zip(row, found.classes, strict=True))
            for source, row in zip(found.sources, found.cases, strict=True)
        )
        yield Finding(
            level="warning",
            code="source-gives-class",
            message=f"the source gives the class away: {told}, and who knows the source alone tells the class at AUC "
            f"{found.known:.2f} (Cramer's V {found.association:.2f}; {table})",
            remedy="add images of every class from each source, or leave sources out; judge the model on a source that "
            "it never saw: --set split.source=NAME",
        )
    else:
        yield Finding(
            level="note",
            code="source-in-image",
            message=f"{told}; how source and class go together (0 to 1, Cramer's V): {found.association:.2f}",
            remedy="look at the scores of each source, and hold one out as the test: --set split.source=NAME",
        )


def _trivial(dataset: Dataset, survey: Survey) -> Iterator[Finding]:
    found = class_from_facts(dataset, survey)
    if found is None:
        return
    (files, files_clear), (colours, colours_clear), words = found
    if files_clear and files >= _TOLD:
        yield Finding(
            level="warning",
            code="class-from-file",
            message=f"a classifier that sees only size, black rim and format of the files reaches AUC {files:.2f} "
            f"(chance 0.50); {words}",
            remedy="a network will learn that: export the images of all classes alike, cropped to the field of view",
        )
    elif colours_clear and colours >= _HINTED:
        yield Finding(
            level="note",
            code="class-from-colours",
            message=f"a classifier that sees only size, black rim and mean colours reaches AUC {colours:.2f} "
            "(chance 0.50)",
            remedy="a model must clearly beat that; were all classes taken by one camera, in one light?",
        )


def _one_class_sources(dataset: Dataset) -> Iterator[Finding]:
    labels: dict[str, set[int]] = {}
    for case in dataset.cases:
        if case.source and case.label is not None:
            labels.setdefault(case.source, set()).add(case.label)
    single = [source for source, held in labels.items() if len(held) == 1]
    if len(labels) > 1 and single:
        text = f"{len(single)} of {len(labels)} sources hold one class only"
        remedy = "a model can tell them by the camera: add images of another class from there, or leave them out"
        yield finding("warning", "one-class-source", text, remedy, single)
