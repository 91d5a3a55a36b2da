"""What the commands print: tables on standard output, drawn by rich when there is something to draw."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from catenary.cli.settings import Setting
    from catenary.data.cases import Dataset
    from catenary.data.findings import Finding
    from catenary.data.fingerprint import Fingerprint
    from catenary.metrics.classes import ClassComparison, ClassEvaluation
    from catenary.metrics.evaluation import Comparison, DamagePixels, DamageScores, Evaluation, Interval
    from catenary.models import Description
    from catenary.plan import Plan
    from catenary.predict import PredictionRecord
    from catenary.predict.class_files import ClassRecord
    from catenary.recipe import Recipe
    from catenary.workflow import Mapped, Registration, Run, SceneRecord, Screened

__all__ = [
    "add_row",
    "classes",
    "comparison",
    "damage",
    "dataset",
    "evaluation",
    "files",
    "findings",
    "models",
    "new_table",
    "plan",
    "predictions",
    "recipe",
    "recipes",
    "registration",
    "run",
    "scenes",
    "screened",
    "settings",
    "the_console",
]

#: Width of tables that do not go to a terminal.
PIPE_WIDTH = 120
#: Scores shown, where they were measured; the report holds all of them.
SHOWN = ("dice", "iou", "boundary_iou")
SHOWN_OF_CLASSES = (
    "auc", "sensitivity", "specificity", "precision", "npv", "balanced_accuracy", "f1", "mcc",
    "sensitivity_at_specificity", "brier", "calibration_error",
)  # fmt: skip


def the_console() -> Console:
    """Where results are printed; as wide as needed where nobody looks at a terminal."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process here; `main` does it in its own way

    width = None if sys.stdout.isatty() else max(PIPE_WIDTH, shutil.get_terminal_size().columns)
    return Plain(width=width, highlight=False, emoji=False)


def new_table(*columns: str, title: str = "", right: Sequence[str] = ()) -> Table:
    """A table in the style of all commands; see `add_row`."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, expand=False
    )
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def add_row(table: Table, *cells: object, style: str = "") -> None:
    """A row of plain text: a ``[`` in a name is a bracket, not rich's markup."""
    from rich.text import Text

    table.add_row(*(Text(str(cell)) for cell in cells), style=style)


def settings(rows: Iterable[Setting]) -> None:
    """A table of fields for ``--set``."""
    table = new_table("field", "type", "default", "meaning")
    for row in rows:
        add_row(table, row.key, row.kind, row.default, row.meaning)
    the_console().print(table)


def dataset(data: Dataset, fingerprint: Fingerprint | None) -> None:
    """What a data set holds."""
    table = new_table("what", "found", title=data.name)
    table.show_header = False
    whole = data.labels.scope == "image"
    known = sum((case.label if whole else case.mask) is not None for case in data.cases)
    add_row(table, "cases", f"{len(data.cases)}, {known} with a {'class' if whole else 'mask'} ({data.layout})")
    sources = sorted({case.source for case in data.cases if case.source})
    if sources:
        add_row(table, "sources", f"{len(sources)}: {', '.join(sources)}")
    groups = {case.group for case in data.cases}
    if len(groups) < len(data.cases):
        add_row(table, "groups", len(groups))
    if fingerprint is not None:
        small, large = (" x ".join(map(str, size)) for size in (fingerprint.size_min, fingerprint.size_max))
        axes = "rows x columns" if fingerprint.rank == 2 else "slices x rows x columns"
        add_row(table, "size", small if small == large else f"{small} to {large} ({axes})")
        named = f" ({', '.join(data.channel_names)})" if len(data.channel_names) == fingerprint.channels else ""
        channels = f"{fingerprint.channels} channel{'s'[: fingerprint.channels > 1]}{named} of {fingerprint.dtype}"
        add_row(table, "pixels", channels)
        for name, share, presence in zip(
            fingerprint.class_names, fingerprint.class_shares, fingerprint.class_presence, strict=True
        ):
            told = f"{100 * share:.3g} % of the pixels, in {100 * presence:.0f} % of the cases"
            if whole:
                told = f"{100 * share:.3g} % of the images"
            add_row(table, f"class {name.removeprefix('class ')}", told)
    for name, members in data.labels.regions.items():
        add_row(table, f"region {name}", " + ".join(data.labels.names[i] for i in members))
    spacing, unit = data.grid.spacing, data.grid.unit
    if spacing is None and fingerprint is not None and fingerprint.rank == 3:
        spacing, unit = fingerprint.spacing_median, fingerprint.spacing_unit
    if spacing:
        add_row(table, "spacing", f"{' x '.join(f'{step:.4g}' for step in spacing)} {unit or ''}".strip())
    if data.licence:
        add_row(table, "licence", data.licence)
    the_console().print(table)


def findings(found: Sequence[Finding]) -> None:
    """What the doctor found, worst first, each with its remedy."""
    console = the_console()
    if not found:
        print("Nothing wrong was found.")
        return
    table = new_table("level", "what", "remedy", title="Findings")
    styles = {"error": "red", "warning": "yellow", "note": ""}
    for finding in sorted(found, key=lambda one: list(styles).index(one.level)):
        add_row(table, finding.level, finding.message, finding.remedy, style=styles[finding.level])
    console.print(table)


def plan(made: Plan) -> None:
    """Each decision with its reason."""
    table = new_table("field", "value", "reason", title="Plan")
    for field, value, reason in made.rows():
        add_row(table, field, value, reason)
    console = the_console()
    console.print(table)
    if made.expected_steps:
        print(f"About {made.expected_steps} optimiser steps are expected.")


def evaluation(measured: Evaluation | ClassEvaluation) -> None:
    """Scores by class with their 95 % intervals, and what needs no learning below them."""
    from catenary.metrics.evaluation import Evaluation
    from catenary.metrics.table import table_rows

    if not isinstance(measured, Evaluation):
        classes(measured)
        return

    header, *rows = table_rows(measured, SHOWN)
    cases = "1 case" if measured.n == 1 else f"{measured.n} cases"
    table = new_table("class", *header[1:], title=f"{measured.split}: {cases}, with 95 % intervals")
    learnt = len(rows) - len(measured.baselines)
    for number, (name, *scores) in enumerate(rows):
        if number == learnt:
            table.add_section()
            add_row(table, "without learning", *[""] * len(scores), style="dim")
        if number >= learnt:
            add_row(table, f"  {name.removeprefix('without learning: ')}", *scores, style="dim")
        else:
            add_row(table, name, *scores, style="bold" if name == "mean" else "")
    the_console().print(table)
    if measured.damage is not None:
        damage(measured.damage)
    if measured.trained_on:
        print(
            f"Caution: the model was trained on {len(measured.trained_on)} of these {measured.n} images, so that the "
            "scores are better than those of new images."
        )


def classes(measured: ClassEvaluation) -> None:
    """Scores of whole images with their 95 % intervals, and their confusion matrix."""
    from catenary.metrics.classresults import SCORES

    several = len(measured.targets) > 1
    images = "1 image" if measured.n == 1 else f"{measured.n} images"
    title = f"{measured.split}: {images} in {measured.groups} groups, with 95 % intervals over groups"
    table = new_table("score", *measured.targets, *(["mean"] if several else []), title=title)
    columns = [*(measured.classes[name] for name in measured.targets), *([measured.mean] if several else [])]
    for key in SHOWN_OF_CLASSES:
        if any(key in column for column in columns):
            add_row(table, SCORES[key].title, *(column.get(key, "–") for column in columns))
    the_console().print(table)
    counts = new_table("truth", *(f"called {name}" for name in measured.names), right=measured.names)
    for name, row in zip(measured.names, measured.confusion, strict=True):
        add_row(counts, name, *row)
    the_console().print(counts)
    for note in measured.notes:
        print(f"Note: {note}")


def damage(scores: DamageScores) -> None:
    """The xView2 score beside trivial answers, and how many buildings were found and graded rightly."""

    def column(one: DamagePixels) -> list[Interval]:
        return [one.score, one.localisation, one.damage, *one.grades.values()]

    grades = list(scores.pixels.grades)
    names = ("xView2 score", "localisation F1", "damage", *(f"F1 {grade}" for grade in grades))
    rivals = [column(one) for name, one in scores.baselines.items() if name.endswith("predicted buildings")]
    trivial = [None] * 3 + [scores.trivial_f1[grade] for grade in grades]
    rival = f"all {grades[0]} or all {grades[-1]} on its buildings"
    table = new_table("building damage", "model", rival, "2p / (1 + p)")
    for name, own, extra, *others in zip(names, column(scores.pixels), trivial, *rivals, strict=True):
        best = max((other.value for other in others if other.value is not None), default=None)
        shown = ("" if value is None else f"{value:.3f}" for value in (best, extra))
        add_row(table, name, own, *shown, style="bold" if name == names[0] else "")
    the_console().print(table)
    found = scores.buildings
    print(
        f"Buildings: {found.true} true, {found.predicted} predicted, {found.matched} matched, "
        f"{found.right} of these with the right grade."
    )
    if scores.absent:
        print(
            f"No true pixel holds {', '.join(scores.absent)}, which the published score counts as 0; "
            f"over the grades that are there it is {scores.pixels.score_present}."
        )


def registration(found: Registration) -> None:
    """How far two images lie apart, and where the result is."""
    metres = f" ({found.largest * found.pixel:.1f} m)" if found.pixel else ""
    rows, columns = found.shift
    print(
        f"Median shift {rows:+.2f} rows, {columns:+.2f} columns; the largest {found.largest:.1f} pixels{metres}; "
        f"reliable in {100 * (1 - found.alignment.unsure):.0f} % of the common area"
    )
    for note in found.notes:
        print(f"Note: {note}")
    files({"alignment": found.path, "picture": found.picture})


def run(done: Run, **more: Path) -> None:
    """Scores of a finished run, and where everything is."""
    from catenary.metrics.evaluation import Evaluation

    evaluation(done.evaluation)
    if done.start != "fresh weights":
        print(f"Started from {done.start}.")
    files({"run": done.path, "report": done.report, **{what.replace("_", " "): path for what, path in more.items()}})
    what = "Segment" if isinstance(done.evaluation, Evaluation) else "Classify"
    print(f"{what} new images with: catenary predict {done.path} IMAGE... --out DIR")


def files(written: Mapping[str, Path]) -> None:
    """Where results are."""
    table = new_table("what", "path")
    table.show_header, table.box = False, None
    for what, path in written.items():
        add_row(table, what, path)
    the_console().print(table)


def predictions(records: Sequence[PredictionRecord] | Sequence[ClassRecord], out: Path) -> int:
    """How many masks were written where, or the class of each image; what is doubtful or failed; the exit code."""
    from catenary.predict.class_files import ClassRecord

    done = [record for record in records if not record.error]
    engines = sorted({record.engine for record in done})
    by = f" by {' and '.join(engines)}" if engines else ""
    answers = {record.source: record.answer for record in done if isinstance(record, ClassRecord)}
    if answers:
        table = new_table("image", "class", "probability")
        for source, answer in answers.items():
            if answer is not None:
                add_row(table, source.name, answer.name, f"{answer.probability[answer.label]:.3f}")
        the_console().print(table)
    what = f"class{'es'[: 2 * (len(done) != 1)]}" if answers else f"mask{'s'[: len(done) != 1]}"
    print(f"{len(done)} {what} written to {out}{by}")
    for record in records:
        for warning in record.warnings:
            print(f"catenary: warning: {record.source}: {warning}", file=sys.stderr)
    for record in records:
        if record.error:
            print(f"catenary: error: {record.error}", file=sys.stderr)
    return 2 if len(done) < len(records) else 0


def screened(found: Sequence[Screened], out: Path) -> int:
    """What was said of each photograph, and where it is; the exit code."""
    judges = list(dict.fromkeys(name for one in found for name in one.answers))
    table = new_table("photo", "result", *(f"p({name})" for name in judges), "vertical cup/disc", "quality")
    for one in found:
        chances = [f"{one.answers[name].probability[1]:.2f}" if name in one.answers else "" for name in judges]
        ratio = "" if one.vcdr is None else f"{one.vcdr[0]:.2f}"
        quality = "" if one.quality is None else one.quality.verdict
        add_row(table, one.source.name, one.result, *chances, ratio, quality)
    the_console().print(table)
    for one in found:
        for warning in one.warnings:
            print(f"catenary: warning: {one.source}: {warning}", file=sys.stderr)
        if one.stopped_at:
            print(f"catenary: {one.source}: stopped at {one.stopped_at}: {one.reason}", file=sys.stderr)
    files({"table": out / "screening.csv", "report": out / "report.html"})
    print("These are answers of a model, no diagnosis.")
    return 2 if any(one.stopped_at == "reading" for one in found) else 0


def mapped(done: Mapped) -> None:
    """What a map shows, and where it is."""
    if done.buildings is not None:
        counts = done.buildings
        table = new_table("damage", "buildings", "share")
        for name, number in counts.grades.items():
            add_row(table, name, str(number), f"{100 * number / max(1, counts.count):.1f} %")
        rest = {"no building seen": counts.no_building, "no data": counts.no_data, "no outline": counts.no_outline}
        for name, number in rest.items():
            if number:
                add_row(table, name, str(number), f"{100 * number / max(1, counts.count):.1f} %")
        the_console().print(table)
    for note in done.notes:
        print(f"Note: {note}")
    written = {"map": done.files.classes, "confidence": done.files.confidence}
    if done.files.probability is not None:
        written["probability"] = done.files.probability
    if done.buildings is not None:
        written["buildings"] = done.buildings.path
    if done.alignment is not None:
        written["alignment"] = done.alignment
    files(written | {"page": done.page})
    print(f"{done.minutes:.1f} min by {done.engine}")


def scenes(records: Sequence[SceneRecord], out: Path) -> int:
    """What became of each place, and where its page is; the exit code."""
    table = new_table("scene", "buildings", "damage", "page")
    for record in records:
        if record.error:
            add_row(table, record.name, "", "failed", "")
        elif record.done is None:
            add_row(table, record.name, "", "was there already", record.scene.out)
        else:
            counted = record.done.buildings
            grades = ", ".join(f"{name} {n}" for name, n in counted.grades.items()) if counted else ""
            add_row(table, record.name, str(counted.count) if counted else "", grades, record.done.page)
    the_console().print(table)
    for record in records:
        for note in record.done.notes if record.done else ():
            print(f"Note: {record.name}: {note}")
        if record.error:
            print(f"catenary: error: {record.name}: {record.error}", file=sys.stderr)
    failed = sum(bool(record.error) for record in records)
    print(f"{len(records) - failed} of {len(records)} scenes mapped; listed in {out / 'scenes.csv'}")
    return 2 if failed else 0


def comparison(both: Comparison | ClassComparison) -> None:
    """Two runs and their paired differences."""
    from catenary.metrics.evaluation import Comparison
    from catenary.metrics.table import comparison_rows

    if not isinstance(both, Comparison):
        print(both)
        return

    header, *rows = comparison_rows(both, SHOWN)
    groups = "" if both.groups == both.n else f" in {both.groups} groups"
    table = new_table(*header, title=f"{both.n} cases{groups}, paired; difference = {both.b} - {both.a}")
    for row in rows:
        add_row(table, *row)
    the_console().print(table)


def models(found: Sequence[Description]) -> None:
    """Networks with what they cost."""
    table = new_table("network", "parameters", "GFLOPs", "image", "source", right=("parameters", "GFLOPs"))
    for one in found:
        size = " x ".join(map(str, one.size))
        add_row(table, one.name, f"{one.parameters:,}".replace(",", " "), f"{one.gflops:.1f}", size, one.source)
    the_console().print(table)


def recipes(found: Mapping[str, str]) -> None:
    """Recipes with their first sentence."""
    table = new_table("recipe", "what it is for")
    for name, text in found.items():
        add_row(table, name, text)
    the_console().print(table)
    print("More about one of them: catenary recipes NAME")


def recipe(one: Recipe, text: str) -> None:
    """What a recipe says of itself and every field that it sets."""
    print(text + "\n")
    table = new_table("field", "value")
    for section, fields in one.model_dump(mode="json", exclude_unset=True).items():
        if isinstance(fields, dict):
            for key, value in fields.items():
                add_row(table, f"{section}.{key}", str(value))
    if table.row_count:
        the_console().print(table)
