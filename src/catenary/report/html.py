"""Writing the report: ``report.html``, one file that needs nothing else, and ``report.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catenary.errors import writing
from catenary.io.files import write_text
from catenary.metrics.registry import METRICS
from catenary.report.content import document
from catenary.report.damage import damage
from catenary.report.data import ReportData
from catenary.report.document import Document, FindingEntry
from catenary.report.views import curve_charts, data_facts, gallery, measured, scores
from catenary.report.volumes import compared
from catenary.report.words import (
    SPLIT_WORDS,
    count,
    decimals,
    figures,
    interval,
    metric_label,
    nouns_of,
    number,
    percent,
    sentence,
)

__all__ = ["fill", "provenance_rows", "render", "training_view", "worst_first", "write_report"]

TEMPLATES = Path(__file__).parent / "templates"

#: Keys of the provenance in the order and words of the page; others follow under their own name.
_PROVENANCE = {
    "created": "Created",
    "seed": "Seed",
    "training_minutes": "Training, minutes",
    "minutes": "Minutes",
    "training_steps": "Training, steps",
    "start": "Started from",
    "ended": "Training ended",
    "hardware": "Hardware",
    "engine": "Engine",
    "tiles": "Tiles",
    "versions": "Versions",
    "data": "Data set",
    "licence": "Licence of the data",
    "cases": "Cases",
}


def write_report(data: ReportData, folder: Path) -> Path:
    """Write ``report.html`` and ``report.json`` into `folder`, which is made when it is missing.

    Args:
        data: What to tell.
        folder: Where to.

    Returns:
        The HTML file.

    Raises:
        OutputError: The folder cannot be written; what stood there before is untouched.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    doc = document(data)
    page = render(doc, data)
    write_text(folder / "report.json", doc.model_dump_json(indent=1) + "\n")
    target = folder / "report.html"
    write_text(target, page)
    return target


def render(doc: Document, data: ReportData) -> str:
    """The page as HTML text: numbers from `doc`, pictures from `data`."""
    from markupsafe import Markup

    parts: dict[str, Any] = scores(doc) | measured(doc) | gallery(doc, data.gallery, data.labels)
    parts |= data_facts(doc.dataset, doc.splits, pixel=nouns_of(doc.volumes).pixel)
    parts |= damage(doc) | compared(doc) | provenance_rows(doc.provenance) | nouns_of(doc.volumes)._asdict()
    parts["provenance"].insert(0, ("Network", doc.model))
    parts |= training_view(doc.history, data.monitor, doc.provenance)
    parts["rules"] = [
        (name.replace("_", " ").capitalize(), rule) for name, rule in doc.conventions.items() if name not in METRICS
    ]
    parts["metric_rules"] = [(metric_label(name), rule) for name, rule in doc.conventions.items() if name in METRICS]
    parts["findings"] = worst_first(doc.findings)
    for key in ("rows_chart", "strip_chart"):
        parts[key] = Markup(parts[key])
    for key in ("agreement_charts", "volume_charts", "quantity_charts"):
        parts[key] = [Markup(chart) for chart in parts[key]]
    parts["contents"] = _contents(doc, parts)
    return fill("report.html.j2", doc=doc, view=parts, split_word=SPLIT_WORDS.get(doc.split, doc.split))


def fill(template: str, **values: Any) -> str:
    """A template with its values and the style that all pages share; text is escaped, `Markup` is not."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "sentence": sentence,
        "interval": interval,
        "decimals": decimals,
        "count": count,
        "figures": figures,
        "metric": metric_label,
        "words": lambda text: text.replace("_", " "),
    }
    style = Markup(environment.get_template("style.css.j2").render())
    return environment.get_template(template).render(style=style, **values)


def _contents(doc: Document, parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    sections = (
        ("scores", "Scores", True),
        ("damage", "Building damage", doc.damage),
        ("cases", "Cases", parts["gallery"]),
        ("spread", "Every case", parts["strip_chart"]),
        ("measurements", "Measurements", parts["measured"]),
        ("training", "Training", parts["curve_charts"]),
        ("data", "Data", True),
        ("plan", "Plan", doc.plan),
        ("conventions", "Conventions", True),
        ("provenance", "Provenance", True),
    )
    return [(anchor, name) for anchor, name, there in sections if there]


def worst_first(findings: Sequence[FindingEntry]) -> list[FindingEntry]:
    """Errors, then warnings, then notes."""
    return sorted(findings, key=lambda f: ("error", "warning", "note").index(f.level))


def training_view(
    history: Sequence[Mapping[str, float | None]], monitor: str, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The course of training as charts, and how it ended."""
    from markupsafe import Markup

    charts = [Markup(chart) for chart in curve_charts(history, monitor)]
    note = "The ring marks the model that was kept." if charts else ""
    if charts and isinstance(provenance.get("ended"), str):
        note += f" Training ended: {provenance['ended']}."
    return {"curve_charts": charts, "training_note": note}


def provenance_rows(known: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, seeds and commands in words, for the end of a report."""
    commands = known.get("commands") or known.get("command") or []
    rows = [(word, _say(known[key])) for key, word in _PROVENANCE.items() if key in known]
    rows += [
        (key.replace("_", " ").capitalize(), _say(value))
        for key, value in known.items()
        if key not in _PROVENANCE and key not in ("command", "commands")
    ]
    return {
        "commands": [commands] if isinstance(commands, str) else commands,
        "provenance": [(word, text) for word, text in rows if text],
        "created": _say(known.get("created", ""))[:10],
    }


def _say(value: Any) -> str:
    """Plain data on one line.

    >>> _say({"torch": "2.4", "python": "3.11"})
    'torch 2.4, python 3.11'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_say(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_say(item) for item in value)
    return "" if value is None else str(value)
