"""The layout of xBD: an image before and one after a disaster, with the damage of each building."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from catenary.data.cases import Case
from catenary.data.pairs import Found, finding
from catenary.io import IMAGE_SUFFIXES
from catenary.io.polygons import DAMAGE
from catenary.types import IGNORE

__all__ = ["xbd_layout"]

_PRE, _POST = "_pre_disaster", "_post_disaster"
#: Folders of the published set and the part they stand for.
_PARTS = {"": None, "train": "train", "tier1": "train", "tier3": "train", "hold": "val", "test": "test"}


def xbd_layout(root: Path) -> Found | None:
    """Scenes of ``images/X_pre_disaster.png`` and ``X_post_disaster.png`` with ``labels/X_post_disaster.json``.

    Where that is missing ``targets/X_post_disaster_target.png`` serves; all may lie within ``train/``, ``tier3/``,
    ``hold/`` and ``test/``. A case is a scene; its image holds the bands before, then those after. Buildings without
    a grade are ignored. The type of disaster is what the JSON file of an event's first scene states.
    """
    names = (name for name, value in DAMAGE.items() if value != IGNORE)
    found = Found(layout="xBD", classes=("background", *names), ignore=IGNORE)
    alone: list[str] = []
    types: dict[str, str] = {}
    seen = False
    for part, split in _PARTS.items():
        images = root / part / "images"
        files = {file.stem: file for file in images.glob("*") if file.suffix.lower() in IMAGE_SUFFIXES}
        for stem, after in sorted(files.items()):
            if not stem.endswith(_POST):
                continue
            seen = True
            scene = stem.removesuffix(_POST)
            before, mask = files.get(scene + _PRE), _mask(root / part, stem)
            if before is None or mask is None:
                alone.append(scene)
            else:
                event = scene.rpartition("_")[0]
                if not types.get(event):  # one file an event: there are thousands of scenes
                    types[event] = _disaster(mask)
                found.cases.append(
                    Case(name=scene, images=(before, after), mask=mask, split=split, disaster=types[event])
                )
    if alone:
        text = "scenes lack the image before or the label file, and are left out"
        found.findings.append(finding("warning", "unpaired", text, "add what is missing", alone))
    return found if seen else None


def _mask(place: Path, stem: str) -> Path | None:
    choices = (place / "labels" / f"{stem}.json", place / "targets" / f"{stem}_target.png")
    return next((file for file in choices if file.is_file()), None)


def _disaster(mask: Path) -> str:
    """The type of disaster that a label file states; a damaged one is told where its polygons are read."""
    if mask.suffix != ".json":
        return ""
    try:
        record: Any = json.loads(mask.read_bytes())
        return str(record["metadata"].get("disaster_type") or "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
