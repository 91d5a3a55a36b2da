"""A run's folder: where everything is, and how to open it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catenary.data.splits import Splits
from catenary.errors import ModelError
from catenary.metrics.evaluation import Evaluation
from catenary.plan import Plan
from catenary.predict.card import MODEL

if TYPE_CHECKING:
    from catenary.metrics.classes import ClassEvaluation
    from catenary.predict import Predictor
    from catenary.predict.classify import ClassPredictor

__all__ = ["EVALUATION", "MODEL", "PLAN", "SPLITS", "Run", "load", "read_evaluation", "read_scores"]

PLAN, SPLITS, EVALUATION = "plan.json", "splits.json", "evaluation.json"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training.

    Attributes:
        path: The folder.
        plan: What was decided and why.
        splits: Which cases were trained on, validated on and tested on.
        evaluation: Scores on the test cases; on the validation cases when there is no test part.
        report: The HTML report.
        minutes: Wall-clock minutes of the whole call.
        start: What the network started from, in words.
    """

    path: Path
    plan: Plan
    splits: Splits
    evaluation: Evaluation | ClassEvaluation
    report: Path
    minutes: float
    start: str = "fresh weights"


def load(run: str | Path, *, engine: str = "auto") -> Predictor | ClassPredictor:
    """Open the model of a run, or a single ``model.safetensors`` file: one that segments, or one that classifies.

    Args:
        run: Folder of a run, or its model file.
        engine: ``"auto"`` (OpenVINO on CPU when installed), ``"torch"``, ``"openvino"`` or ``"onnx"``.

    Raises:
        ModelError: There is no model, or it is damaged or foreign.
    """
    from catenary.predict import load_card, open_predictor
    from catenary.predict.classify import open_classifier

    opener = open_classifier if load_card(run).labels.scope == "image" else open_predictor
    return opener(Path(run), engine=engine)


def read_evaluation(run: str | Path) -> Evaluation:
    """The test scores that a run has recorded.

    Raises:
        ModelError: The folder holds no finished run, or one that classifies whole images.
    """
    found = read_scores(run)
    if not isinstance(found, Evaluation):
        raise ModelError(f"{run} classifies whole images; give a run that segments")
    return found


def read_scores(run: str | Path) -> Evaluation | ClassEvaluation:
    """The test scores that a run has recorded, of masks or of whole images.

    Raises:
        ModelError: The folder holds no finished run.
    """
    path = Path(run) / EVALUATION
    if not path.is_file():
        raise ModelError(f"{run} holds no {EVALUATION}; give the folder of a finished run, or evaluate it first")
    try:
        known = json.loads(path.read_text("utf-8"))
        if "targets" in known:
            from catenary.metrics.classes import ClassEvaluation

            return ClassEvaluation.model_validate(known)
        return Evaluation.model_validate(known)
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({type(error).__name__}); run `catenary evaluate` again") from error
