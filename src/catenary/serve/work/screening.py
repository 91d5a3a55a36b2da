"""A fundus photograph through the stages of a pipeline: contours, ratio, answers, or why there is none."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from catenary.data.labels import LabelSet
from catenary.io.files import write_json
from catenary.report.pictures import outline, to_rgb8
from catenary.report.screening import write_screening
from catenary.serve.work.output import Output, Task, Teller, plain, shown_size, shrunk, shrunk_label
from catenary.workflow.screen import COLUMNS, Screener, sheet_of

__all__ = ["screen_photo"]

_LABELS = LabelSet(names=("background", "rim", "cup"))


def screen_photo(task: Task, screener: Screener, place: Path, tell: Teller) -> tuple[dict[str, Any], Output]:
    """Screen a photo; what a stage stops is done too, with its reason.

    Returns:
        The view, and the files.
    """
    out = Output(task)
    path = task.paths("image")[0]
    tell("screening", 0, 0)
    found = screener(path)
    # The stored name told whose eye it is where the client's name did; people see the client's.
    told = [task.readable(text) for text in found.warnings]
    found = replace(found, source=Path(task.name), reason=task.readable(found.reason), warnings=tuple(told))
    tell("drawing", 0, 0)
    row = plain(found.row())
    view: dict[str, Any] = {
        "kind": "screening",
        "photo": None,
        "contours": None,
        "row": row,
        "stages": [_stage(name, found.stopped_at, screener.pipeline.names, row) for name in screener.pipeline.names],
        "warnings": told,
    }
    if found.image is not None:
        pixels = to_rgb8(found.image.array)
        size = shown_size(pixels.shape[:2])
        view |= {"width": pixels.shape[1], "height": pixels.shape[0]}
        photo = shrunk(pixels, size)
        view["photo"] = out.picture("photo.jpg", photo)
        if found.mask is not None and found.mask.any():
            label = shrunk_label(found.mask, size)
            whole = (label > 0).astype("uint8")
            drawn = outline(photo, whole, _LABELS, width=2)
            drawn = outline(drawn, (label == 2).astype("uint8") * 2, _LABELS, width=2)
            view["contours"] = out.picture("contours.jpg", drawn, "overlay")
    write_json(task.folder / "screening.json", {"pipeline": list(screener.pipeline.names), "photos": [row]})
    out.add("screening.json", "table")
    with (task.folder / "screening.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys([*COLUMNS, *row])))
        writer.writeheader()
        writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
    out.add("screening.csv", "table")
    write_screening([sheet_of(found)], screener.pipeline.names, task.folder / "report.html")
    view["sheet"] = out.add("report.html", "report")
    return view, out


def _stage(name: str, stopped_at: str, names: tuple[str, ...], row: dict[str, Any]) -> dict[str, Any]:
    """What became of a stage: passed, stopped, or not reached."""
    state = "passed"
    if stopped_at == name:
        state = "stopped"
    elif stopped_at and (stopped_at not in names or names.index(name) > names.index(stopped_at)):
        state = "not reached"
    elif f"p({name})" not in row and name not in ("quality", "disc"):
        state = "not due"
    return {"name": name, "state": state, "answer": row.get(name), "probability": row.get(f"p({name})")}
