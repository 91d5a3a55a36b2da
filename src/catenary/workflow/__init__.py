"""The only orchestration: what the command line's commands do, as functions of the same names.

Nothing here imports torch until something is trained or converted.
"""

from catenary.workflow.assess import compare, evaluate
from catenary.workflow.demo import demo
from catenary.workflow.export import export
from catenary.workflow.fit import fit
from catenary.workflow.look import Inspection, inspect, plan
from catenary.workflow.mosaic import Mapped, predict_mosaic
from catenary.workflow.register import Registration, align
from catenary.workflow.run import Run, load
from catenary.workflow.tune import Tuned, tune
from catenary.workflow.use import predict

__all__ = [
    "Inspection",
    "Mapped",
    "Registration",
    "Run",
    "Tuned",
    "align",
    "compare",
    "demo",
    "evaluate",
    "export",
    "fit",
    "inspect",
    "load",
    "plan",
    "predict",
    "predict_mosaic",
    "tune",
]
