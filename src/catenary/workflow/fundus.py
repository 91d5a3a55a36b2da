"""Made-up photos of the back of the eye as data sets: disc and cup, healthy or glaucoma, stable or progressing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from catenary.errors import ConfigError, InputError, OutputError, near_match, writing
from catenary.io.files import write_text
from catenary.io.pictures import write_jpeg, write_png
from catenary.phantoms.fundus import CAMERAS, Eye, fundus, random_patient
from catenary.types import Progress, silent

__all__ = ["SETS", "write_fundus"]

#: Folders that are written: the first has masks, the others classes of whole photos, the negative one first.
SETS: dict[str, tuple[str, ...]] = {
    "segmentation": (),
    "classes": ("healthy", "glaucoma"),
    "progression": ("stable", "progressing"),
}

_DESCRIPTION = """\
name = "phantom fundus photos"
classes = ["background", "rim", "cup"]
group = '^(p\\d+)'

[regions]
disc = ["rim", "cup"]
cup = ["cup"]
"""


def write_fundus(
    folder: str | Path,
    *,
    patients: int = 20,
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    cameras: Sequence[str] = ("clinic",),
    shortcut: float = 0.0,
    view: float | None = None,
    reach: float | None = None,
    progress: Progress = silent,
) -> Path:
    """Write photos of both eyes of patients, of `catenary.phantoms.fundus.fundus`, as three data sets.

    ``segmentation``: ``images/p000_OD.jpg``, ``masks/p000_OD.png`` and ``dataset.toml`` with the regions disc and cup.
    ``classes``: ``healthy/`` and ``glaucoma/`` with ``manifest.csv`` (image, label, group, source). ``progression``:
    the same of the eyes with glaucoma, ``stable/`` and ``progressing/``. Groups are patients, sources are cameras. OD
    is a right eye, OS a left one.

    Args:
        folder: Made when needed.
        patients: How many.
        size: Pixels ``(h, w)``.
        seed: Patient number i depends on `seed` and i only, so a longer set begins with the shorter one.
        cameras: Keys of `catenary.phantoms.fundus.CAMERAS`; each patient is seen by one of them.
        shortcut: Share of the patients whose camera tells the diagnosis, a leak to be found: the last camera where an
            eye has glaucoma, else the first.
        view: Degrees across the field of view; see `fundus`.
        reach: Of the field of view beyond the picture; see there.
        progress: Told of each patient.

    Returns:
        The folder.

    Raises:
        ConfigError: There are no patients or cameras, or the shortcut is not 0 to 1.
        InputError: A camera is not known, or see `fundus`.
        OutputError: The folder cannot be written, or holds such a set already.
    """
    folder = Path(folder)
    if patients < 1 or not cameras or not 0 <= shortcut <= 1:
        raise ConfigError(
            f"a set of fundus photos needs at least one patient and one camera and a shortcut of 0 to 1, found "
            f"{patients}, {len(cameras)} and {shortcut}; correct them"
        )
    for camera in cameras:
        if camera not in CAMERAS:
            raise InputError(f"there is no camera '{camera}'; {near_match(camera, CAMERAS)}")
    there = [name for name in SETS if (folder / name).exists()]
    if there:
        raise OutputError(f"{folder} already holds {there[0]}; choose another folder")
    rows: dict[str, list[dict[str, str]]] = {name: [] for name in SETS}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
            stage = Path(temporary)
            for number in range(patients):
                rng = np.random.default_rng([seed, number])
                eyes = random_patient(rng)
                camera = _camera(rng, eyes, cameras, shortcut)
                for eye in eyes:
                    name = f"p{number:03d}_{'OD' if eye.side == 'right' else 'OS'}"
                    found = fundus(rng, size, eye=eye, camera=camera, view=view, reach=reach)
                    picture = np.ascontiguousarray(found.image.transpose(1, 2, 0))
                    write_jpeg(stage / "segmentation" / "images" / f"{name}.jpg", picture)
                    write_png(stage / "segmentation" / "masks" / f"{name}.png", found.label)
                    for kind, label in _labels(eye).items():
                        write_jpeg(stage / kind / label / f"{name}.jpg", picture)
                        row = {"image": f"{label}/{name}.jpg", "label": label, "group": name[:-3], "source": camera}
                        rows[kind].append(row)
                progress("draw fundus photos", number + 1, patients)
            write_text(stage / "segmentation" / "dataset.toml", _DESCRIPTION)
            made = ["segmentation", *(kind for kind in SETS if rows[kind])]
            for kind in made[1:]:
                write_text(stage / kind / "manifest.csv", _table(rows[kind]))
            for name in made:
                (stage / name).rename(folder / name)
    return folder


def _camera(rng: np.random.Generator, eyes: Sequence[Eye], cameras: Sequence[str], shortcut: float) -> str:
    """Drawn at random, or after the diagnosis."""
    drawn = cameras[int(rng.integers(len(cameras)))]
    if rng.random() >= shortcut:
        return drawn
    return cameras[-1] if any(eye.glaucoma for eye in eyes) else cameras[0]


def _labels(eye: Eye) -> dict[str, str]:
    """The class of an eye in each of the `SETS` that has it."""
    labels = {"classes": SETS["classes"][eye.glaucoma]}
    return labels | {"progression": SETS["progression"][eye.progressing]} if eye.glaucoma else labels


def _table(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
