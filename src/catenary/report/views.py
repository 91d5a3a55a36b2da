"""What the page shows of a `Document`: rows for its tables, charts, pictures. No HTML here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from catenary.data.labels import LabelSet
from catenary.metrics.evaluation import Baseline, CaseScores, Difference, Evaluation, Interval
from catenary.metrics.registry import METRICS
from catenary.report.charts import Bar, agreement, curve, interval_rows, strip
from catenary.report.data import GalleryCase
from catenary.report.document import DatasetEntry, Document, Splits
from catenary.report.pictures import DISCREPANCY, data_uri, discrepancy, fit_box, grey, outline, square
from catenary.report.volumes import agree, case_columns
from catenary.report.words import Nouns, count, metric_label, metric_meaning, nouns_of, number
from catenary.types import IGNORE

__all__ = ["curve_charts", "data_facts", "gallery", "measured", "pick_cases", "ranked", "scores"]

NOTHING = Interval(value=None, n=0)
#: Longer side of a gallery picture in pixels.
SIDE = 360
#: The overlap scores shown first; whichever of them an evaluation has.
MAIN = ("dice", "iou")
#: The scores of the second table: what overlap alone does not tell.
SECOND = ("sensitivity", "precision", "thresholded_jaccard", "boundary_iou", "nsd", "hd95", "object_f1")
#: What is added to them where volumes were scored.
OF_VOLUMES = ("volume_error",)


def scores(doc: Document) -> dict[str, Any]:
    """Tables and charts of the scores."""
    best = doc.baselines.get(doc.headline.baseline)
    main = [metric for metric in MAIN if metric in doc.mean]
    several = len(doc.classes) > 1
    columns = case_columns(doc)
    bars = [_bar(name, row, best.classes[name] if best else {}) for name, row in doc.classes.items()]
    if several:
        bars.append(_bar("mean", doc.mean, best.mean if best else {}))
    spoken = "; ".join(f"{bar.name} {number(bar.value)}, {number(bar.low)} to {number(bar.high)}" for bar in bars)
    rows = [_main_row(doc, name, main) for name in doc.classes]
    if several:
        rows.append(_main_row(doc, None, main))
    return {
        "dice": doc.mean["dice"],
        "iou": doc.mean.get("iou", NOTHING),
        "rival": best.mean["dice"].value if best else None,
        "rows_chart": interval_rows(bars, name="rows", alt=f"Dice with 95 % interval: {spoken}", label="Dice"),
        "main_metrics": main,
        "main_rows": rows,
        "second_metrics": [m for m in (*SECOND, *(OF_VOLUMES if doc.volumes else ())) if m in doc.mean],
        "second_rows": [(name, False, row) for name, row in doc.classes.items()]
        + ([("mean", True, doc.mean)] if several else []),
        "gain": _gain(doc),
        "gain_damage": _beside(doc.gain.damage.items()) if doc.gain else [],
        "full_tables": [_full_table(doc, name, best) for name in doc.classes],
        "confusion": _confusion(doc),
        "strip_chart": _strip(doc) if doc.cases else "",
        "case_columns": list(columns),
        "case_rows": [
            {
                "name": case.name,
                "group": case.group,
                "mean": dice,
                "cells": [cell(case, target) for target in case.classes for cell in columns.values()],
            }
            for case, dice in reversed(ranked(doc.cases))
        ],
    }


def _bar(name: str, row: Mapping[str, Interval], rival: Mapping[str, Interval]) -> Bar:
    own, other = row["dice"], rival.get("dice", NOTHING)
    return Bar(name, *(math.nan if v is None else v for v in (own.value, own.low, own.high, other.value)))


def _gain(doc: Document) -> list[tuple[str, Any]]:
    """Dice before and after by class, and their mean; empty where training started from nothing."""
    if doc.gain is None:
        return []
    rows = [(name, found["dice"]) for name, found in doc.gain.classes.items()]
    rows += [("mean", doc.gain.mean["dice"])] if len(rows) > 1 else []
    return _beside(rows)


def _beside(rows: Iterable[tuple[str, Difference]]) -> list[tuple[str, Any]]:
    return [(name, {"before": row.a, "after": row.b, "difference": _interval(row)}) for name, row in rows]


def _interval(row: Difference) -> Interval:
    return Interval(value=row.value, low=row.low, high=row.high, n=row.n)


def _main_row(doc: Document, name: str | None, metrics: Sequence[str]) -> dict[str, Any]:
    """A row of the first table; the mean over the classes when `name` is None."""
    own, pooled = (doc.mean, doc.pooled_mean) if name is None else (doc.classes[name], doc.pooled[name])
    rivals = [rival.mean if name is None else rival.classes[name] for rival in doc.baselines.values()]
    parts = [
        {
            "score": own[metric],
            "rivals": [rival.get(metric, NOTHING).value for rival in rivals],
            "pooled": pooled.get(metric, NOTHING),
        }
        for metric in metrics
    ]
    return {"name": "mean" if name is None else name, "total": name is None, "parts": parts}


def _full_table(doc: Document, name: str, best: Baseline | None) -> dict[str, Any]:
    rival = best.classes[name] if best else {}
    own, pooled = doc.classes[name], doc.pooled[name]
    nouns = nouns_of(doc.volumes)
    rows = [
        {
            "label": metric_label(metric),
            "meaning": metric_meaning(metric, tolerance=doc.tolerance, unit=doc.unit, nouns=nouns),
            "score": own[metric],
            "pooled": pooled.get(metric, NOTHING),
            "rival": rival.get(metric, NOTHING).value,
        }
        for metric in [m for m in METRICS if m in own] + [m for m in own if m not in METRICS]
    ]
    return {"name": name, "rows": rows, "notes": _notes(doc, name, nouns)}


def _notes(doc: Document, name: str, nouns: Nouns) -> list[str]:
    """What else was counted for a target: empty images, objects."""
    notes = []
    if name in doc.empty and (empty := doc.empty[name]).n_truth_empty + empty.n_pred_empty:
        notes.append(
            f"Absent from {empty.n_truth_empty} of {count(empty.images, nouns.image)}, not predicted in "
            f"{empty.n_pred_empty}, both in {empty.n_both_empty}."
        )
    if name in doc.objects:
        o = doc.objects[name]
        notes.append(
            f"Objects: {o.true} true, {o.predicted} predicted, {o.matched} matched; {count(o.merges, 'merge')}, "
            f"{count(o.splits, 'split')}."
        )
    return notes


def ranked(cases: Sequence[CaseScores]) -> list[tuple[CaseScores, float | None]]:
    """Cases with their mean Dice, best first, those without one last; ties in the order of the names."""
    pairs = []
    for case in cases:
        known = [value for row in case.classes.values() if (value := row.get("dice")) is not None]
        pairs.append((case, sum(known) / len(known) if known else None))
    return sorted(pairs, key=lambda pair: (math.inf if pair[1] is None else -pair[1], pair[0].name))


def _confusion(doc: Document) -> list[dict[str, Any]]:
    rows = []
    for i, (name, counts) in enumerate(zip(doc.confusion_names, doc.confusion, strict=True)):
        total = sum(counts)
        shares = [
            {"text": _share_text(c, total), "ratio": f"{c / total:.3f}" if total else "0", "right": i == j}
            for j, c in enumerate(counts)
        ]
        rows.append({"name": name, "shares": shares, "total": f"{total:,}".replace(",", " ")})
    return rows


def _share_text(part: int, total: int) -> str:
    """A share of a row, in which "none at all" and "hardly any" differ.

    >>> _share_text(0, 9), _share_text(1, 10**6), _share_text(1, 8)
    ('0', '< 0.1 %', '12.5 %')
    """
    if part == 0:
        return "0" if total else "–"
    return "< 0.1 %" if part / total < 0.001 else f"{100 * part / total:.1f} %"


def _strip(doc: Document) -> str:
    values = {
        name: [math.nan if (v := case.classes.get(name, {}).get("dice")) is None else v for case in doc.cases]
        for name in doc.classes
    }
    medians = []
    for name, column in values.items():
        kept = [v for v in column if math.isfinite(v)]
        medians.append(
            f"{name}: median {number(float(np.median(kept)))}, from {number(min(kept))} to {number(max(kept))}"
            if kept
            else f"{name}: none"
        )
    return strip(
        values,
        name="strip",
        alt="Dice of every case. " + "; ".join(medians),
        label=f"Dice of one {nouns_of(doc.volumes).image}",
    )


def pick_cases(evaluation: Evaluation, number_of: int = 6) -> list[str]:
    """Names of cases worth looking at, from best to worst mean Dice: the best, the median, the worst, others between.

    Cases without any Dice (nothing known in them) are passed over.
    """
    order = [case.name for case, dice in ranked(evaluation.cases) if dice is not None]
    if not order:
        return []
    last = len(order) - 1
    chosen = sorted({0, last})  # the first halving below adds the median
    while len(chosen) < min(number_of, len(order)):
        left = max(range(len(chosen) - 1), key=lambda i: chosen[i + 1] - chosen[i])
        chosen.insert(left + 1, (chosen[left] + chosen[left + 1]) // 2)
    return [order[i] for i in chosen]


def gallery(doc: Document, cases: Sequence[GalleryCase], labels: LabelSet) -> dict[str, Any]:
    """Pictures of the cases, from best to worst, and the keys to their colours."""
    order = [case.name for case, _ in ranked(doc.cases)]
    place = {name: i for i, name in enumerate(order)}
    known = {case.name: case.classes for case in doc.cases}
    shown: list[dict[str, Any]] = []
    for case in sorted(cases, key=lambda case: place.get(case.name, len(order))):
        dice = {name: row.get("dice") for name, row in known.get(case.name, {}).items()} or dict(case.dice)
        row = {"view": case.view, "panels": _panels(case, labels, dice)}
        if case.view and shown and shown[-1]["name"] == case.name:  # another plane of the same volume
            shown[-1]["rows"].append(row)
            continue
        shown.append(
            {
                "name": case.name,
                "role": _role(place.get(case.name), len(order)),
                "scores": "Dice: " + ", ".join(f"{name} {number(value)}" for name, value in dice.items()),
                "note": case.note,
                "rows": [row],
            }
        )
    used = sorted({int(v) for case in cases for label in (case.truth, case.prediction) for v in np.unique(label)})
    errors = DISCREPANCY if labels.count > 2 else {k: v for k, v in DISCREPANCY.items() if k != "wrong class"}
    return {
        "gallery": shown,
        "planes": any(case.view for case in cases),
        "class_key": [
            (_css(labels.display_colour(i)), labels.names[i]) for i in used if 0 < i < labels.count and i != IGNORE
        ],
        "error_key": [(_css(colour), kind) for kind, colour in errors.items()],
    }


def _role(place: int | None, total: int) -> str:
    if place is None:
        return "Case"
    if total > 1 and place in (0, total - 1):
        return "Best" if place == 0 else "Worst"
    if total > 2 and place == (total - 1) // 2:
        return "Median"
    return f"Rank {place + 1} of {total}"


def _panels(case: GalleryCase, labels: LabelSet, dice: Mapping[str, float | None]) -> list[dict[str, Any]]:
    image, truth, prediction = (square(a, case.aspect, SIDE) for a in (case.image, case.truth, case.prediction))
    # Lines are drawn at full size and as thick as they must be to survive the shrinking.
    width = max(1, round(1.4 * max(truth.shape) / SIDE))
    spoken = ", ".join(f"{name} {number(value)}" for name, value in dice.items())
    name = f"{case.name}, {case.view}" if case.view else case.name
    # The colours of a scan are its sequences, not its own; lines would drown in them.
    below = grey(image) if case.view else image
    drawn = (
        ("image", f"Image {name}", image),
        ("truth", f"True outlines on {name}", outline(below, truth, labels, width=width)),
        ("prediction", f"Predicted outlines on {name}", outline(below, prediction, labels, width=width)),
        (
            "right and wrong",
            f"Where the prediction of {name} is right and wrong; Dice: {spoken}",
            discrepancy(truth, prediction, image),
        ),
    )
    panels = []
    for caption, alt, picture in drawn:
        small = fit_box(picture, SIDE)
        height, breadth = small.shape[:2]
        panels.append({"source": data_uri(small), "width": breadth, "height": height, "alt": alt, "caption": caption})
    return panels


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def measured(doc: Document) -> dict[str, Any]:
    """Agreement of measured shares with the truth, for each target."""
    rows, charts = [], []
    for index, target in enumerate(doc.dataset.targets):
        pairs = np.array([(m.truth, m.prediction) for m in doc.measurements if m.target == target])
        if len(pairs) == 0:
            continue
        truth, found = pairs.T
        how = agree(truth, found)
        rows.append(
            {
                "name": target,
                "truth": float(truth.mean()),
                "prediction": float(found.mean()),
                "bias": how.bias,
                "error": float(np.abs(found - truth).mean()),
                "low": how.low,
                "high": how.high,
                "validation": doc.share_errors.get(target),
            }
        )
        scored = count(len(pairs), nouns_of(doc.volumes).image)
        alt = f"Predicted against true share of {target} in {scored}, bias {100 * how.bias:.2f} points"
        charts.append(agreement([*truth * 100], [*found * 100], name=f"agreement{index}", alt=alt, label=target))
    return {
        "measured": rows,
        "agreement_charts": charts,
        "quantities": _quantities(doc),
        "quantity_charts": _quantity_charts(doc),
    }


def _quantities(doc: Document) -> list[dict[str, Any]]:
    """Each published quantity over the scored cases: means, bias, root mean square difference."""
    by_name: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for entry in doc.quantities:
        kept = by_name.setdefault((entry.quantity, entry.unit), [])
        if entry.truth is not None and entry.prediction is not None:
            kept.append((entry.truth, entry.prediction))
    rows = []
    for (name, unit), pairs in by_name.items():
        truth, found = np.array(pairs, float).reshape(-1, 2).T
        some = len(pairs) > 0
        rows.append(
            {
                "name": name.replace("_", " "),
                "unit": unit,
                "n": len(pairs),
                "truth": float(truth.mean()) if some else None,
                "prediction": float(found.mean()) if some else None,
                "bias": float((found - truth).mean()) if some else None,
                "rms": float(np.sqrt(((found - truth) ** 2).mean())) if some else None,
            }
        )
    return rows


def _quantity_charts(doc: Document) -> list[str]:
    """The true and the predicted curve of each quantity that is a function of a distance."""
    charts = []
    for index, entry in enumerate(doc.curves):
        sides = {"true masks": entry.truth, "predicted masks": entry.prediction}
        lines = {word: (entry.distance, [math.nan if v is None else v for v in side]) for word, side in sides.items()}
        gaps = [
            abs(a - b) for a, b in zip(entry.truth, entry.prediction, strict=True) if a is not None and b is not None
        ]
        label = entry.quantity.replace("_", " ")
        alt = f"{label} over distance, true and predicted masks"
        alt += f", at most {max(gaps):.3f} apart" if gaps else ", not defined"
        charts.append(curve(lines, name=f"quantity{index}", alt=alt, label=label, across=entry.unit, dots=False))
    return charts


def curve_charts(history: Sequence[Mapping[str, float | None]], monitor: str) -> list[str]:
    """Loss, validation score and learning rate over the steps; those that were logged."""
    if not history:
        return []

    def column(name: str) -> list[float]:
        return [math.nan if (v := row.get(name)) is None else float(v) for row in history]

    def has(name: str) -> bool:
        return any(math.isfinite(v) for v in column(name))

    steps, charts = column("step"), []
    losses = {word: (steps, column(key)) for word, key in (("training", "train_loss"), ("validation", "val_loss"))
              if has(key)}  # fmt: skip
    if losses:
        alt = "Loss over the steps: " + ", ".join(f"{w} {_ends(y)}" for w, (_, y) in losses.items())
        charts.append(curve(losses, name="loss", alt=alt, label="Loss", across="step"))
    if has("val_score"):
        values = [-v for v in column("val_score")] if monitor == "loss" else column("val_score")
        best = int(np.nanargmin(values) if monitor == "loss" else np.nanargmax(values))
        label = f"Validation {metric_label(monitor)}"
        alt = f"{label} over the steps: {_ends(values)}, best {number(values[best])} at step {steps[best]:.0f}"
        lines = {"score": (steps, values)}
        charts.append(curve(lines, name="score", alt=alt, label=label, across="step", mark=(steps[best], values[best])))
    if has("lr"):
        alt = f"Learning rate over the steps: {_ends(column('lr'), 6)}"
        charts.append(curve({"lr": (steps, column("lr"))}, name="rate", alt=alt, label="Learning rate", across="step"))
    return charts


def _ends(values: Sequence[float], digits: int = 3) -> str:
    kept = [v for v in values if math.isfinite(v)]
    return f"from {number(kept[0], digits)} to {number(kept[-1], digits)}"


def data_facts(dataset: DatasetEntry, divided: Splits, *, pixel: str = "pixel") -> dict[str, Any]:
    """The data set in words, its classes and its splits; `pixel` is what has a class: pixel, voxel or image."""
    print_ = dataset.fingerprint
    facts: list[tuple[str, str]] = [("Data set", dataset.name)]
    if dataset.folder and dataset.folder != dataset.name:
        facts.append(("Folder", dataset.folder))
    facts.append(("Licence", dataset.licence or "none stated"))
    task = {
        "binary": "one class beside the background" if pixel != "image" else "one class against another",
        "exclusive": f"several classes, one for each {pixel}",
        "overlapping": "regions that may overlap",
    }
    facts.append(("Task", f"{task[dataset.task]}: {', '.join(dataset.targets)}"))
    if print_:
        facts += _fingerprint_facts(print_)
    splits = [(word, names) for part, word in _PARTS if (names := getattr(divided, part))]
    return {"data_facts": facts, "class_rows": _class_rows(print_), "splits": splits}


_PARTS = (("train", "training"), ("val", "validation"), ("test", "test"), ("left_out", "left out"))


def _fingerprint_facts(print_: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = [print_.get(f"size_{which}") for which in ("min", "median", "max")]
    facts = [("Training cases", f"{print_.get('cases', '–')}, from {count(int(print_.get('groups') or 0), 'group')}")]
    if all(sizes):
        words = [" × ".join(str(n) for n in size) for size in sizes if size]
        axes = " × ".join("dhw"[-1 - words[0].count("×") :])
        span = words[0] if len(set(words)) == 1 else f"{words[0]} to {words[2]}, median {words[1]}"
        facts.append((f"Size, {axes}", span))
    facts.append(("Channels", f"{print_.get('channels', '–')}, {print_.get('dtype', '')}"))
    for key, label in (("mean", "Mean of each channel"), ("std", "Standard deviation")):
        if print_.get(key):
            facts.append((label, ", ".join(number(v, 2) for v in print_[key])))
    return facts


def _class_rows(print_: Mapping[str, Any]) -> list[dict[str, Any]]:
    names, shares = print_.get("class_names") or (), print_.get("class_shares") or ()

    def at(key: str, index: int) -> Any:
        values = print_.get(key) or ()
        return values[index] if 0 <= index < len(values) else None

    rows = []
    for i, name in enumerate(names[: len(shares)]):
        row = {"name": name, "share": shares[i], "presence": at("class_presence", i)}
        # Object facts are kept for foreground classes only.
        row |= {word: at(key, i - 1) for word, key in _OBJECT_FACTS}
        rows.append(row)
    return rows


_OBJECT_FACTS = (("objects", "object_count"), ("diameter", "object_diameter"), ("thickness", "thickness"))
