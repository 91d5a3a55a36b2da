"""The only orchestration: what the command line's commands do, as functions of the same names.

Nothing here imports torch until something is trained or converted.
"""

from catenary.workflow.assess import compare, evaluate
from catenary.workflow.city import write_city
from catenary.workflow.crop import crop
from catenary.workflow.demo import demo
from catenary.workflow.export import Exported, export
from catenary.workflow.fields import Fields, fields
from catenary.workflow.fit import fit
from catenary.workflow.join import pipeline
from catenary.workflow.look import Inspection, inspect, plan
from catenary.workflow.mosaic import Mapped, MapScene, MapSettings, predict_mosaic
from catenary.workflow.register import Registration, align
from catenary.workflow.run import Run, load
from catenary.workflow.scenes import SceneRecord, find_scenes, predict_mosaics
from catenary.workflow.screen import Screened, screen
from catenary.workflow.tune import Tuned, tune
from catenary.workflow.use import predict

__all__ = [
    "Exported",
    "Fields",
    "Inspection",
    "MapScene",
    "MapSettings",
    "Mapped",
    "Registration",
    "Run",
    "SceneRecord",
    "Screened",
    "Tuned",
    "align",
    "compare",
    "crop",
    "demo",
    "evaluate",
    "export",
    "fields",
    "find_scenes",
    "fit",
    "inspect",
    "load",
    "pipeline",
    "plan",
    "predict",
    "predict_mosaic",
    "predict_mosaics",
    "screen",
    "tune",
    "write_city",
]
