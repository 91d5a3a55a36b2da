"""One pass over all files of a data set: what the doctor, the splits and the fingerprint need to know."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from pydantic import BaseModel, ConfigDict

from catenary.data.cases import Case, Dataset
from catenary.data.encoding import decode
from catenary.data.facts import CaseFacts, image_facts, label_facts, soft_edges
from catenary.data.labels import LabelSet
from catenary.errors import CatenaryError
from catenary.io import read_mask
from catenary.types import Progress, silent

__all__ = ["CaseFacts", "Survey", "odd_values", "survey"]


class Survey(BaseModel):
    """The facts of every case, in the data set's order. ``model_dump_json`` and ``model_validate_json`` keep it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: tuple[CaseFacts, ...]

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, name: str) -> CaseFacts:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, CaseFacts]:
        return {facts.name: facts for facts in self.facts}


def survey(dataset: Dataset, *, progress: Progress = silent, threads: int = 2) -> Survey:
    """Read every file once and measure it.

    A file that cannot be read never ends the pass: it becomes the `CaseFacts.trouble` of its case, which the
    doctor reports as an error.

    Args:
        dataset: The open data set.
        progress: Called after each case with ``("reading", done, total)``.
        threads: Files decoded at the same time; the decoders release the interpreter's lock.
    """
    total = len(dataset.cases)
    facts = []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, found in enumerate(pool.map(lambda case: _look(dataset, case), dataset.cases), start=1):
            facts.append(found)
            progress("reading", done, total)
    return Survey(facts=tuple(facts))


def _look(dataset: Dataset, case: Case) -> CaseFacts:
    """Facts of one case; what goes wrong is a fact as well."""
    known = {"name": case.name, "group": case.group or case.name, "split": case.split}
    try:
        image = dataset.read_image(case)
        found = image_facts(image.array, image.valid)
        found |= _look_at_mask(dataset, case.mask) if case.mask is not None else {}
    except CatenaryError as error:
        return CaseFacts(**known, trouble=str(error))
    except Exception as error:  # a decoder's own failure on a damaged file must not end the pass for the others
        return CaseFacts(**known, trouble=f"{type(error).__name__}: {error}")
    return CaseFacts(**known, **found)


def _look_at_mask(dataset: Dataset, path: Path) -> dict[str, Any]:
    raw, labels = read_mask(path), dataset.labels
    unexpected = odd_values(raw, labels)
    soft = bool(unexpected) and raw.ndim == 2 and soft_edges(raw, labels.file_values)
    return label_facts(decode(raw, labels), classes=labels.count) | {"unexpected": unexpected, "soft": soft}


def odd_values(raw: Shaped[np.ndarray, "h w *c"], labels: LabelSet) -> dict[str, int]:
    """Values (or colours) of a mask file that are no class, with their number of pixels.

    Args:
        raw: The mask as its file holds it: numbers, or RGB.
        labels: What is known; painted masks may hold any colour.

    >>> odd_values(np.array([[0, 1], [7, 7]], np.uint8), LabelSet(names=("background", "cell")))
    {'7': 2}
    """
    if labels.encoding == "painted":
        return {}
    if labels.encoding == "colour" and raw.ndim == 3:
        packed = raw[..., :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        known = {(r << 16) + (g << 8) + b for r, g, b in (*labels.colours, labels.ignore_colour or labels.colours[0])}
        values, counts = np.unique(packed, return_counts=True)
        odd = [(int(v), int(c)) for v, c in zip(values, counts, strict=True) if int(v) not in known]
        return {f"({v >> 16}, {v >> 8 & 255}, {v & 255})": c for v, c in odd}
    raw = raw if raw.ndim == 2 else raw[..., 0]
    known = {*labels.file_values, *(() if labels.ignore is None else (labels.ignore,))}
    values, counts = np.unique(raw, return_counts=True)
    return {str(v): int(c) for v, c in zip(values, counts, strict=True) if int(v) not in known}
