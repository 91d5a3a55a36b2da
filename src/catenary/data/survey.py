"""One pass over all files of a data set: what the doctor, the splits and the fingerprint need to know."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict

from catenary.data.cases import Case, Dataset, without_data
from catenary.data.encoding import unexpected
from catenary.data.facts import CaseFacts, foreground_facts, image_facts, label_facts, soft_edges
from catenary.errors import CatenaryError, InputError
from catenary.types import Image, Progress, silent

__all__ = ["CaseFacts", "Survey", "survey"]


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
        grid = image.grid
        found = image_facts(image.array, image.valid)
        found |= {"spacing": grid.spacing or (), "unit": grid.unit or ""}
        found |= {"placed": len(image.shape) == 2 or grid.affine is not None}
        if dataset.labels.scope == "image":
            found |= _class_facts(case.label, dataset.labels.count)
        elif case.mask is not None:
            found |= _look_at_mask(dataset, case, image)
    except CatenaryError as error:
        return CaseFacts(**known, trouble=str(error))
    except Exception as error:  # a decoder's own failure on a damaged file must not end the pass for the others
        return CaseFacts(**known, trouble=f"{type(error).__name__}: {error}")
    return CaseFacts(**known, **found)


def _class_facts(label: int | None, classes: int) -> dict[str, Any]:
    """Facts of an image with one class: as of a mask of one pixel, without objects."""
    nothing = (0,) * (classes - 1)
    return {
        "counts": tuple(int(label == index) for index in range(classes)),
        "objects": nothing,
        "diameters": nothing,
        "thickness": nothing,
    }


def _look_at_mask(dataset: Dataset, case: Case, image: Image) -> dict[str, Any]:
    raw, labels = dataset.read_mask(case), dataset.file_labels
    found: dict[str, Any] = {}
    try:
        raw = dataset.fitted(case, raw, image)
    except InputError as error:
        found["misplaced"] = str(error)
    found["unexpected"] = odd = unexpected(raw, labels)
    found["soft"] = bool(odd) and soft_edges(raw, labels.file_values)
    label = without_data(dataset.decode(raw), image.valid)
    found |= label_facts(label, classes=dataset.labels.count, spacing=image.grid.spacing if raw.ndim == 3 else None)
    return found | (foreground_facts(image.array, label) if label.shape == image.shape else {})
