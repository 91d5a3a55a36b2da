"""From an upload to a job: which model, which kind of result, and whether all that it needs is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from catenary.errors import near_match
from catenary.measures.fundus import eye_of
from catenary.serve.catalogue import Served
from catenary.serve.kinds import ENDINGS, VECTORS, Facts, facts_of, kind_of
from catenary.serve.problem import Problem
from catenary.serve.receive import Form, Part
from catenary.serve.schemas import Options
from catenary.serve.settings import Settings
from catenary.serve.store import Job

__all__ = ["new_job"]

#: Photos with more pixels than this wait in the lane of long work.
QUICK = 6_000_000
ROLES = ("image", "post", "footprints")


def new_job(form: Form, models: dict[str, Served], settings: Settings, jobs: Path) -> Job:
    """Check an upload and move its files to the folder of a new job.

    Args:
        form: What was received.
        models: What is served.
        settings: The limits.
        jobs: Folder of all jobs.

    Raises:
        Problem: A field or a file is missing, of the wrong kind, too large or damaged.
    """
    served = _model(form, models)
    options = _options(form.fields.get("options", ""))
    unknown = [
        *(set(form.fields) - {"model", "options"}),
        *(part.role for part in form.files if part.role not in ROLES),
    ]
    if unknown:
        raise Problem(422, f"there is no field '{unknown[0]}'; {near_match(unknown[0], ('model', 'options', *ROLES))}")
    facts = [_looked_at(part, settings) for part in form.files]
    facts = _as_dates(facts) if served.dates == 2 else facts
    kind = _job_kind(served, facts)
    by_role = {role: [one for one in facts if one[0].role == role] for role in ROLES}
    quick = kind in ("image", "classes", "screening") and sum(_pixels(fact) for _, fact in facts) <= QUICK
    first = by_role["image"][0][0].name
    job = Job(
        model=served.name, kind=kind, name=first, lane="quick" if quick else "long", options=options.model_dump()
    )  # fmt: skip
    folder = jobs / job.id / "in"
    folder.mkdir(parents=True)
    for number, (part, fact) in enumerate(facts):
        stored = _stored_name(part, fact, number)
        os.replace(part.path, folder / stored)
        job.inputs.append({"role": part.role, "file": stored, "name": part.name})
    return job


def _model(form: Form, models: dict[str, Served]) -> Served:
    name = form.fields.get("model", "")
    if not name and len(models) == 1:
        name = next(iter(models))
    if not name:
        raise Problem(422, f"the form has no field 'model'; name one of {', '.join(models)}")
    if name not in models:
        shown = name[:80] if name.isprintable() else "?"
        raise Problem(404, f"there is no model '{shown}'; {near_match(shown, models)}", code="no_model")
    trouble = models[name].trouble()
    if trouble:
        raise Problem(503, trouble, code="model_missing")
    return models[name]


def _options(text: str) -> Options:
    try:
        return Options.model_validate_json(text) if text.strip() else Options()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise Problem(422, f"the options cannot be used: {where}: {first['msg'].lower()}; see /docs") from error


def _looked_at(part: Part, settings: Settings) -> tuple[Part, Facts]:
    """A file under an ending that fits its content, and what its header tells."""
    if not part.size:
        raise Problem(422, f"'{part.name}' is empty; choose it again")
    kind = kind_of(part.path)
    if kind is None:
        raise Problem(
            415,
            f"'{part.name}' is of no kind that is read here by its content; give PNG, JPEG, BMP, TIFF, GeoTIFF, NIfTI, "
            "DICOM or a zip of DICOM",
        )
    if (kind in VECTORS) != (part.role == "footprints"):
        wanted = "polygons as GeoJSON, GeoPackage or FlatGeobuf" if part.role == "footprints" else "an image"
        raise Problem(415, f"'{part.name}' is {kind}, but '{part.role}' is for {wanted}; send it in its own field")
    path = part.path.with_name(part.path.name + ENDINGS[kind])
    os.replace(part.path, path)
    return replace(part, path=path), facts_of(path, kind, part.name, settings)


def _as_dates(facts: list[tuple[Part, Facts]]) -> list[tuple[Part, Facts]]:
    """Two images of a pair that were both sent as `image` are the earlier and the later one."""
    images = [one for one in facts if one[0].role == "image"]
    if len(images) == 2 and not any(part.role == "post" for part, _ in facts):
        later = images[1][0]
        moved = replace(later, role="post")
        return [(moved, fact) if part is later else (part, fact) for part, fact in facts]
    return facts


def _job_kind(served: Served, facts: Sequence[tuple[Part, Facts]]) -> str:
    """What is made, after a look at whether the files suit the model."""
    count = {role: sum(part.role == role for part, _ in facts) for role in ROLES}
    images = [fact for part, fact in facts if part.role != "footprints"]
    if not count["image"]:
        raise Problem(422, "the form has no file 'image'; send one")
    if count["footprints"] > 1 or count["post"] > 1:
        raise Problem(422, "the form has several files where one belongs ('post', 'footprints'); send one of each")
    if count["post"] and served.dates == 1:
        raise Problem(422, f"the model '{served.name}' looks at one image; leave out 'post'")
    if served.dates == 2 and (count["image"], count["post"]) != (1, 1):
        raise Problem(422, f"the model '{served.name}' compares two dates; send 'image' (before) and 'post' (after)")
    is_series = served.rank == 3 and (len({f.kind for f in images}) == 1)
    if count["image"] > 1 and not is_series:
        raise Problem(422, f"a job is one image, found {count['image']}; send a request for each")
    for part, fact in facts:
        if part.role != "footprints":
            _check_rank(served, part, fact)
    placed = all(fact.placed for fact in images)
    maps = placed and served.kind in ("segmentation", "damage") and served.rank == 2 and _can_map(served)
    if count["footprints"] and not maps:
        raise Problem(422, "footprints are for georeferenced images and a model that makes maps; leave them out")
    if served.kind == "pipeline":
        return "screening"
    if served.kind == "classification":
        return "classes"
    if served.rank == 3:
        return "volume"
    return "map" if maps else "image"


def _check_rank(served: Served, part: Part, fact: Facts) -> None:
    scan = fact.kind in ("nifti", "nifti.gz", "zip")
    rank = 3 if scan else len(fact.shape)
    if rank and rank != served.rank:
        found, wanted = ("a volume", "images") if rank == 3 else ("an image", "volumes")
        raise Problem(
            422, f"'{part.name}' is {found}, but the model '{served.name}' takes {wanted}; choose another model"
        )


def _can_map(served: Served) -> bool:
    """Whether a model answers window by window, see `catenary.predict.mosaic.begin_mosaic`."""
    assert served.card is not None
    return not served.card.recipe.prepare.size and served.card.labels.task != "overlapping"


def _pixels(fact: Facts) -> int:
    return fact.shape[0] * fact.shape[1] if len(fact.shape) == 2 else 0


def _stored_name(part: Part, fact: Facts, number: int) -> str:
    """A name of our own; that of a photo says whose eye it shows where its own name did."""
    side = {"right": "_OD", "left": "_OS", None: ""}[eye_of(part.name)] if part.role == "image" else ""
    return f"{part.role}{number:04d}{side}{ENDINGS[fact.kind]}"
