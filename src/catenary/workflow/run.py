"""A run's folder: where everything is, and how to open it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catenary.data.splits import Splits
from catenary.errors import ModelError
from catenary.metrics.evaluation import Evaluation
from catenary.plan import Plan
from catenary.predict.card import MODEL

if TYPE_CHECKING:
    from catenary.predict import Predictor

__all__ = ["EVALUATION", "MODEL", "PLAN", "SPLITS", "Run", "load", "read_evaluation"]

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
    evaluation: Evaluation
    report: Path
    minutes: float
    start: str = "fresh weights"


def load(run: str | Path, *, engine: str = "auto") -> Predictor:
    """Open the model of a run, or a single ``model.safetensors`` file.

    Args:
        run: Folder of a run, or its model file.
        engine: ``"auto"`` (OpenVINO on CPU when installed), ``"torch"``, ``"openvino"`` or ``"onnx"``.

    Raises:
        ModelError: There is no model, or it is damaged or foreign.
    """
    from catenary.predict import open_predictor

    return open_predictor(Path(run), engine=engine)


def read_evaluation(run: str | Path) -> Evaluation:
    """The test scores that a run has recorded.

    Raises:
        ModelError: The folder holds no finished run.
    """
    path = Path(run) / EVALUATION
    if not path.is_file():
        raise ModelError(f"{run} holds no {EVALUATION}; give the folder of a finished run, or evaluate it first")
    try:
        return Evaluation.model_validate_json(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({type(error).__name__}); run `catenary evaluate` again") from error
