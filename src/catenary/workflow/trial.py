"""One trial of a search: planned, trained and scored as `fit` does it, but on the validation cases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catenary.errors import ConfigError, ModelError, TrainingError
from catenary.io.files import write_json, write_text
from catenary.metrics.evaluation import Evaluation, Scorer
from catenary.plan import Plan
from catenary.recipe import Recipe, choose, parse
from catenary.search import Trial, best_of
from catenary.search.study import Attempt, Failed, Pruned, Study
from catenary.types import Progress
from catenary.workflow.fit import train_model
from catenary.workflow.look import Known, decide_plan
from catenary.workflow.run import EVALUATION, MODEL, PLAN

__all__ = ["best_so_far", "metric_of", "planned", "run_trial"]


def run_trial(attempt: Attempt, *, study: Study, folder: Path, known: Known, progress: Progress) -> float:
    """Train and score one trial; `Failed` and `Pruned` say why there is no score."""
    where = folder / "trials" / f"{attempt.number:04d}"
    attempt.note(folder=str(where.absolute()))
    ended = True
    try:
        return _train_and_score(attempt, where, study, known, _share(progress, study, attempt.number))
    except Pruned:
        raise
    except (TrainingError, ConfigError, ModelError) as error:
        raise Failed(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        if isinstance(error, MemoryError) or "memory" in text:
            raise Failed("the memory is used up; a smaller sample.batch, sample.patch or width needs less") from error
        raise Failed(f"{type(error).__name__}: {text}") from error
    except BaseException:
        ended = False  # it goes on from its checkpoint when the search does
        raise
    finally:
        if ended:
            shutil.rmtree(where / "checkpoint", ignore_errors=True)


def _train_and_score(attempt: Attempt, where: Path, study: Study, known: Known, progress: Progress) -> float:
    from catenary.predict import save_model

    plan = planned(study, known, attempt.settings)
    _prepare(where, plan)
    pruned: list[str] = []

    def judge(round_: int, score: float) -> str:
        if attempt.report(round_, score):
            monitor = plan.recipe.train.monitor
            pruned.append(
                f"its {monitor} of {abs(score):.3f} after validation {round_} of {plan.recipe.train.validations} was "
                "behind other trials by then"
            )
        return pruned[-1] if pruned else ""

    trained, card = train_model(where, known, plan, judge=judge, progress=progress)
    attempt.note(steps=trained.steps)
    if pruned:
        raise Pruned(pruned[-1])
    save_model(where / MODEL, trained.weights, card)
    evaluation = _measure(where, known)
    write_text(where / EVALUATION, evaluation.model_dump_json(indent=1))
    value = evaluation.mean[metric_of(plan.recipe)].value
    if value is None:
        raise Failed("no validation image gives a score, as none has known pixels; check the masks")
    return value


def planned(study: Study, known: Known, settings: Mapping[str, Any]) -> Plan:
    """The plan of a trial: what all share, its own settings, and what the planner makes of both."""
    made = decide_plan(known, choose(parse(study.record["recipe"]), settings), timed=False)
    shared = {key: reason for key, reason in study.record["reasons"].items() if key not in settings}
    reasons = {
        key: "searched" if key in settings else shared.get(key, reason) if reason.startswith("set by") else reason
        for key, reason in made.reasons.items()
    }
    reasons |= dict.fromkeys(settings, "searched")
    return made.model_copy(update={"reasons": reasons})


def _prepare(where: Path, plan: Plan) -> None:
    """The trial's folder; what another attempt with other settings left there goes."""
    recipe = plan.recipe.model_dump(mode="json")
    before = where / "recipe.json"
    if where.exists() and not (before.is_file() and json.loads(before.read_text("utf-8")) == recipe):
        shutil.rmtree(where)
    write_json(before, recipe)
    write_json(where / PLAN, plan.model_dump(mode="json"))


def _measure(where: Path, known: Known) -> Evaluation:
    """Scores on the validation cases through the predictor, at each image's own resolution."""
    from catenary.predict import open_predictor

    predictor = open_predictor(where, engine="torch")
    dataset = known.dataset
    scorer = Scorer(dataset.labels, spacing=dataset.grid.spacing, unit=dataset.grid.unit, metrics=("dice", "iou"))
    for name in known.splits.val:
        case = dataset[name]
        image, label = dataset.read_pair(case)
        prediction = predictor(image)
        answer = prediction.mask if prediction.regions is None else prediction.regions
        scorer.add(name, case.group, label, answer)
    return scorer.result("val")


def metric_of(recipe: Recipe) -> str:
    """What trials are compared by: Dice, unless training watches the IoU."""
    return "iou" if recipe.train.monitor == "iou" else "dice"


def _share(progress: Progress, study: Study, number: int) -> Progress:
    """A trial's progress as a part of the whole search's."""
    rows = study.trials()
    ended, total = sum(row.state in ("complete", "pruned", "failed") for row in rows), len(rows)
    best = best_so_far(rows)

    def tell(what: str, done: int, of: int) -> None:
        if what.startswith("training:"):
            share = done / of if of else 0.0
            progress(
                f"searching: trial {number + 1} of {total}, {what.partition(': ')[2].partition(',')[0]}{best}",
                int(1000 * (ended + 0.99 * share)),
                1000 * total,
            )

    return tell


def best_so_far(rows: Sequence[Trial]) -> str:
    """The best score in words, for a progress line."""
    best = best_of(rows)
    return "" if best is None else f", best {best.value:.3f}"
