"""``catenary tune``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catenary.cli.options import Data, Epochs, Group, Minutes, RecipeName, Settings, Steps

if TYPE_CHECKING:
    from catenary.workflow import Tuned

__all__ = ["tune"]

#: Trials that are printed; the report holds all.
SHOWN = 8


class Sampler(StrEnum):
    """How trials are drawn."""

    tpe = "tpe"
    random = "random"
    grid = "grid"


class Pruner(StrEnum):
    """What ends poor trials early."""

    median = "median"
    hyperband = "hyperband"
    none = "none"


def tune(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder of the search.")],
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES|FILE",
            help="A field and its range or values, as in train.lr=1e-4..1e-2:log or sample.batch=4,8; may be given "
            "many times; or a .toml file of such lines. Left out, a space is chosen from the data.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of trials; 20, or all points of a grid.")
    ] = None,
    minutes: Minutes = 0.0,
    epochs: Epochs = 0,
    steps: Steps = 0,
    sampler: Annotated[
        Sampler, typer.Option(metavar="|".join(Sampler), help="Bayesian, random, or every combination.")
    ] = Sampler.tpe,
    pruner: Annotated[
        Pruner, typer.Option(metavar="|".join(Pruner), help="What ends poor trials after a validation round.")
    ] = Pruner.median,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that train side by side.")] = 1,
    recipe: RecipeName = "default",
    settings: Settings = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Database that several searches share; DIR/study.db when left out."),
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the search there; others join it by this name.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of what the sampler draws.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in DIR.")] = False,
    group: Group = None,
) -> None:
    """Search for settings that train better.

    Trains many times, each within the budget (--minutes, --epochs or --steps are those of one trial), and compares by
    the score on the validation cases; test cases are never used. Writes the best recipe, ready for fit, a table of
    all trials and a report. The same command with --storage and --study on another machine joins the search.

    Examples:
        catenary tune lesions --out searches/skin --minutes 2 --workers 2
        catenary tune lesions --out searches/lr --steps 300 --space train.lr=1e-4..1e-2:log --space model.dropout=0..0.5
        catenary fit lesions --out runs/tuned --recipe searches/skin/best.json --minutes 30
    """
    from catenary import workflow
    from catenary.cli.progress import show_progress

    with show_progress() as progress:
        found = workflow.tune(
            data,
            out=out,
            space=space,
            sampler=sampler.value,
            trials=trials,
            minutes=minutes,
            epochs=epochs,
            steps=steps,
            recipe=recipe,
            settings=list(settings or ()),
            storage=storage,
            study=study,
            workers=workers,
            pruner=pruner.value,
            seed=seed,
            resume=resume,
            group=group,
            progress=progress,
        )
    _show(found)


def _show(found: Tuned) -> None:
    """The best trials, and where everything is."""
    from catenary.cli import show
    from catenary.search import describe

    ranked = sorted((t for t in found.trials if t.value is not None), key=lambda t: (-(t.value or 0), t.number))
    numbers = [state for trial in found.trials if (state := trial.state)]
    counts = ", ".join(f"{numbers.count(s)} {s}" for s in ("complete", "pruned", "failed") if s in numbers)
    table = show.new_table(
        "trial", f"validation {found.metric}", *found.settings, title=f"{len(numbers)} trials: {counts}"
    )
    for trial in ranked[:SHOWN]:
        value = f"{trial.value:.3f}"
        show.add_row(table, trial.number, value, *(describe(trial.settings[key]) for key in found.settings))
    show.the_console().print(table)
    if found.gain is not None and found.gain.value is not None:
        gain = found.gain
        told = "" if gain.low is None else f" (95 % interval {gain.low:+.3f} to {gain.high:+.3f})"
        print(f"Against the planner's own choice: {gain.value:+.3f}{told}. Test cases were not used.")
    show.files({"report": found.report, "recipe": found.recipe, "table": found.table})
    print(f"Train with it: catenary fit DATA --recipe {found.recipe} --out RUN")
