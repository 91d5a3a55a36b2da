"""From a plan and cases to weights."""

from catenary.train.loop import Job, Trained, launch
from catenary.train.probe import best_device, measure

__all__ = ["Job", "Trained", "best_device", "launch", "measure"]
