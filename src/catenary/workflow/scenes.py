"""`predict_mosaics`: maps of several places in one go, a folder each."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catenary.errors import CatenaryError, ConfigError, InputError, writing
from catenary.io.files import atomic
from catenary.io.vectors import VECTOR_SUFFIXES
from catenary.types import Progress, silent
from catenary.workflow.mosaic import Mapped, MapScene, MapSettings, check_scene, map_scene, predictor_of

__all__ = ["SceneRecord", "find_scenes", "predict_mosaics"]

SCENES = "scenes.csv"
#: Endings of georeferenced images that are looked for in a folder.
RASTERS = (".tif", ".tiff", ".vrt")
#: What tells the dates of a pair apart in names that are else the same.
_DATE = re.compile(r"^(pre|post|before|after)[_\-. ]|[_\-. ](pre|post|before|after)([_\-. ]disaster)?$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class SceneRecord:
    """What became of a place.

    Attributes:
        name: Its name.
        scene: What was asked for.
        done: Its map; None when it failed, or was there already.
        error: Why it failed, in one sentence; empty when it did not.
    """

    name: str
    scene: MapScene
    done: Mapped | None = None
    error: str = ""


def find_scenes(
    pre: Sequence[Path], post: Sequence[Path] = (), footprints: Sequence[Path] = (), *, out: Path
) -> dict[str, MapScene]:
    """Places by name, from files in the same order or folders of files of the same names.

    Names may differ by ``pre_``, ``_pre``, ``before``, ``_pre_disaster`` and the like.

    Args:
        pre: Images, of two dates the earlier ones; or a folder of them.
        post: The later ones, or a folder of them; empty for one date.
        footprints: A file for all places, as many as there are places, or a folder of them; empty for none.
        out: Results go to folders of the places' names in it.

    Raises:
        InputError: A folder holds no images, or an image has no partner.
        ConfigError: The numbers do not match.

    >>> scenes = find_scenes([Path("a/x_pre.tif"), Path("a/y_pre.tif")], [Path("x.tif"), Path("y.tif")], out=Path("o"))
    >>> [(name, scene.post.name, scene.out.as_posix()) for name, scene in scenes.items()]
    [('x', 'x.tif', 'o/x'), ('y', 'y.tif', 'o/y')]
    """
    by_name = any(path.is_dir() for path in (*pre, *post))
    first, later, outlines = _files(pre, RASTERS), _files(post, RASTERS), _files(footprints, VECTOR_SUFFIXES)
    names = _names(first)
    if by_name and later:
        later = _partners(names, first, later, "later image")
    if len(later) not in (0, len(first)):
        raise ConfigError(f"{len(first)} --pre and {len(later)} --post do not make pairs; give as many of both")
    if len(outlines) > 1 and any(path.is_dir() for path in footprints):
        outlines = _partners(names, first, outlines, "footprint file")
    if len(outlines) not in (0, 1, len(first)):
        raise ConfigError(
            f"{len(outlines)} --footprints for {len(first)} images; give one for all, or as many, in the same order"
        )
    return {
        name: MapScene(
            pre=image,
            post=later[index] if later else None,
            footprints=outlines[min(index, len(outlines) - 1)] if outlines else None,
            out=out / name,
        )
        for index, (name, image) in enumerate(zip(names, first, strict=True))
    }


def predict_mosaics(
    run: str | Path,
    scenes: Mapping[str, MapScene],
    *,
    out: str | Path,
    settings: MapSettings | None = None,
    resume: bool = False,
    cluster: str | None = None,
    workers: int = 2,
    progress: Progress = silent,
) -> list[SceneRecord]:
    """Map several places, each as `catenary.workflow.predict_mosaic` does, and list them in ``scenes.csv``.

    What cannot be opened is said before anything is done. A place that fails under way becomes a record with an error,
    the others go on.

    Args:
        run: Folder of a run, or a model file.
        scenes: The places by name, see `find_scenes`.
        out: Folder of ``scenes.csv``.
        settings: How; the defaults of `MapSettings` when None.
        resume: Go on with what an interrupted call left; places whose map is there are left as they are.
        cluster: Run places and parts of them as Ray tasks: ``"local"``, or the address of a cluster.
        workers: Tasks at a time on a local cluster.
        progress: Told of all long steps.

    Raises:
        ModelError: The model cannot be opened.
        InputError: A file cannot be read or placed.
        ConfigError: A setting does not suit, or a displacement was given, which is of one place.
        OutputError: A folder cannot be written, or holds a result or, without `resume`, an unfinished one.
        MissingExtra: A package of ``catenary[geo]`` or ``catenary[cluster]`` is not installed.
    """
    settings = settings or MapSettings()
    if len(scenes) > 1 and str(settings.align) not in ("auto", "none"):
        raise ConfigError(f"--align {settings.align} is of one place, found {len(scenes)}; use auto or none")
    left = {name: scene for name, scene in scenes.items() if not (resume and scene.finished)}
    for scene in left.values():
        check_scene(scene, settings, resume=resume)
    predictor = predictor_of(Path(run), settings)
    if cluster is not None:
        from catenary.workflow.cluster import map_on_cluster

        found = map_on_cluster(
            Path(run), left, settings, predictor, address=cluster, workers=workers, progress=progress
        )
    else:
        found = {}
        for number, (name, scene) in enumerate(left.items(), 1):
            told = _of_many(progress, f"{name} ({number} of {len(left)}): ")
            try:
                found[name] = map_scene(predictor, Path(run), scene, settings, resume=resume, progress=told)
            except CatenaryError as error:
                found[name] = error
    records = [_record(name, scene, found.get(name)) for name, scene in scenes.items()]
    _write_table(Path(out) / SCENES, records)
    return records


def _record(name: str, scene: MapScene, found: Mapped | CatenaryError | None) -> SceneRecord:
    if isinstance(found, CatenaryError):
        return SceneRecord(name=name, scene=scene, error=str(found))
    return SceneRecord(name=name, scene=scene, done=found)


def _of_many(progress: Progress, name: str) -> Progress:
    return lambda what, done, total: progress(name + what, done, total)


def _write_table(path: Path, records: Sequence[SceneRecord]) -> None:
    """A row a place: where its map is, its buildings by grade, what went wrong."""
    grades = list(dict.fromkeys(g for r in records if r.done and r.done.buildings for g in r.done.buildings.grades))
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("scene", "folder", "state", "buildings", *grades, "minutes", "error"))
        for record in records:
            done, counted = record.done, record.done.buildings if record.done else None
            state = "failed" if record.error else "mapped" if done else "was there"
            counts: list[object] = [""] * (1 + len(grades))
            if counted:
                counts = [counted.count, *(counted.grades.get(grade, 0) for grade in grades)]
            minutes = f"{done.minutes:.2f}" if done else ""
            writer.writerow((record.name, record.scene.out, state, *counts, minutes, record.error))


def _files(given: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """Files as they are, and those in folders in the order of their names."""
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [f for f in sorted(path.iterdir()) if f.suffix.lower() in suffixes and not f.name.startswith(".")]
        if not inside:
            raise InputError(f"the folder {path} holds no {', '.join(suffixes)}; name the files, or another folder")
        found += inside
    return found


def _plain(path: Path) -> str:
    """What is left of a name without the mark of a date."""
    return _DATE.sub("", path.stem) or path.stem


def _names(files: Sequence[Path]) -> list[str]:
    """A name of its own for each place."""
    for name in (_plain, lambda path: path.stem, lambda path: f"{path.parent.name}_{path.stem}"):
        names = [name(path) for path in files]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"{files[0].name} and others are the same places twice; name each once")


def _partners(names: Sequence[str], first: Sequence[Path], others: Sequence[Path], what: str) -> list[Path]:
    """The file for each place, by its name."""
    known = {_plain(path): path for path in others}
    alone = [path for name, path in zip(names, first, strict=True) if _plain(path) not in known and name not in known]
    alone += [path for path in others if _plain(path) not in {_plain(image) for image in first} | set(names)]
    if alone:
        raise InputError(
            f"{len(alone)} of the images and {what}s have no partner of the same name, the first is {alone[0]}; rename "
            "or remove them"
        )
    return [known.get(_plain(path)) or known[name] for name, path in zip(names, first, strict=True)]
