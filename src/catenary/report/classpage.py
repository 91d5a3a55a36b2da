"""The report of whole-image classes: ``report.html``, one file that needs nothing else, and ``report.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catenary.errors import writing
from catenary.io.files import write_text
from catenary.report.classes import class_view
from catenary.report.content import run_facts
from catenary.report.data import ClassCase, ClassReportData
from catenary.report.document import ClassDocument
from catenary.report.html import fill, provenance_rows, training_view, worst_first
from catenary.report.pictures import data_uri, fit_box
from catenary.report.views import data_facts
from catenary.report.words import SPLIT_WORDS, percent

__all__ = ["write_class_report"]

#: Longer side of a picture in pixels.
SHOWN = 280


def write_class_report(data: ClassReportData, folder: Path) -> Path:
    """Write ``report.html`` and ``report.json`` into `folder`, which is made when it is missing.

    Args:
        data: What to tell.
        folder: Where to.

    Returns:
        The HTML file.

    Raises:
        OutputError: The folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    doc = ClassDocument(**run_facts(data), evaluation=data.evaluation, chosen=list(data.chosen))
    classes = class_view(data.evaluation)
    view: dict[str, Any] = data_facts(doc.dataset, doc.splits, pixel="image") | provenance_rows(doc.provenance)
    view |= training_view(doc.history, data.monitor, doc.provenance)
    view["provenance"].insert(0, ("Network", doc.model))
    view["findings"] = worst_first(doc.findings)
    view["gallery"] = _gallery(data.gallery, data)
    view["contents"] = [
        *classes["contents"],
        *([("looks", "Images")] if data.gallery else []),
        *([("training", "Training")] if view["curve_charts"] else []),
        ("data", "Data"),
        *([("plan", "Plan")] if doc.plan else []),
        ("provenance", "Provenance"),
    ]
    split = SPLIT_WORDS.get(data.evaluation.split, data.evaluation.split)
    page = fill("classreport.html.j2", doc=doc, view=view, classes=classes, split_word=split)
    write_text(folder / "report.json", doc.model_dump_json(indent=1) + "\n")
    target = folder / "report.html"
    write_text(target, page)
    return target


def _gallery(cases: Sequence[ClassCase], data: ClassReportData) -> list[dict[str, Any]]:
    answers = {case.name: case for case in data.evaluation.cases}
    names = data.evaluation.names
    rows = []
    for case in cases:
        known = answers[case.name]
        share = percent(known.probability[names.index(known.called)])
        rows.append(
            {
                "name": case.name,
                "image": data_uri(fit_box(case.image, SHOWN)),
                "looks": "" if case.looks is None else data_uri(fit_box(case.looks, SHOWN)),
                "right": known.truth == known.called,
                "told": f"{known.called} ({share}), truly {known.truth}",
                "warning": case.warning,
            }
        )
    return rows
