"""What the page shows of grades of building damage."""

from __future__ import annotations

from typing import Any

from catenary.metrics.evaluation import DamageBuildings, DamagePixels
from catenary.report.document import Document

__all__ = ["damage"]


def damage(doc: Document) -> dict[str, Any]:
    """Tables of the section "Building damage"; the part ``damage`` is None where the classes are no grades."""
    scores = doc.damage
    if scores is None:
        return {"damage": None}
    pixels, buildings = scores.pixels, scores.buildings
    rows = [
        {
            "name": grade,
            "share": scores.shares[grade],
            "found": pixels.grades[grade],
            "trivial": scores.trivial_f1[grade],
            "strict": pixels.strict[grade],
            "matched": buildings.grades[grade],
            "whole": buildings.strict[grade],
        }
        for grade in pixels.grades
    ]
    return {
        "damage": {
            "model": _main(pixels),
            "rivals": [(name, _main(rival)) for name, rival in scores.baselines.items()],
            "rows": rows,
            "confusion": _buildings(buildings),
            "rules": [(name[:1].upper() + name[1:], rule) for name, rule in scores.conventions.items()],
        }
    }


def _main(pixels: DamagePixels) -> list[Any]:
    return [pixels.score, pixels.localisation, pixels.damage, *pixels.grades.values()]


def _buildings(found: DamageBuildings) -> list[dict[str, Any]]:
    """Buildings by true and predicted grade: the numbers, coloured by their share of the row."""
    rows = []
    for i, (name, counts) in enumerate(zip(found.confusion_names, found.confusion, strict=True)):
        cells = [
            # No building that is none was counted.
            {"text": str(n) if i or j else "", "ratio": f"{n / max(sum(counts), 1):.3f}", "right": 0 < i == j}
            for j, n in enumerate(counts)
        ]
        rows.append({"name": name if i else "no building", "cells": cells, "total": sum(counts)})
    return rows
