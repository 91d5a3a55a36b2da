"""What is made of a job, one file a kind: pixels in, files and a view for the page out. It runs in the worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from catenary.serve.work.output import Output, Task, Teller

__all__ = ["Runner", "runner_of"]

#: Takes the job, its opened model, the place of that, and what is told of the progress; gives the view and the files.
Runner = Callable[[Task, Any, Path, Teller], tuple[dict[str, Any], Output]]


def runner_of(kind: str) -> Runner:
    """The function that makes a kind of result; its file is imported when it is first needed."""
    from importlib import import_module

    module, name = _RUNNERS[kind]
    found: Runner = getattr(import_module(f"catenary.serve.work.{module}"), name)
    return found


#: Kind of a job -> module and function.
_RUNNERS = {
    "image": ("images", "segment_image"),
    "classes": ("classes", "classify_image"),
    "volume": ("volumes", "segment_volume"),
    "map": ("maps", "map_place"),
    "screening": ("screening", "screen_photo"),
}
