"""Places and rows of mosaics as Ray tasks, on this machine or on many that share a file system."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catenary.errors import CatenaryError, ConfigError, MissingExtra, OutputError
from catenary.types import Progress, silent
from catenary.workflow.mosaic import Mapped, MapScene, MapSettings, begin_scene, finish_scene, predictor_of, runs

if TYPE_CHECKING:
    from catenary.predict import Predictor
    from catenary.predict.mosaic import MosaicJob

__all__ = ["map_on_cluster"]

#: Rows of tiles in a task: each task repeats the row above its own, and what a killed one has written is kept.
ROWS = 8
#: How often a task is given to another worker when its own dies.
RETRIES = 5


def map_on_cluster(
    run: Path,
    scenes: Mapping[str, MapScene],
    settings: MapSettings,
    predictor: Predictor,
    *,
    address: str,
    workers: int,
    progress: Progress,
) -> dict[str, Mapped | CatenaryError]:
    """Map places; the bytes are those of one process.

    Aligning a place, parts of its rows, and joining them are tasks, those of all places side by side.

    Args:
        run: The model, where all workers see it.
        scenes: The places by name; what is unfinished there is gone on with.
        settings: How.
        predictor: The model opened here, which also made the conversion that the workers use.
        address: ``"local"``, or where a cluster answers.
        workers: Tasks at a time on a local cluster.
        progress: Told of the rows of tiles.

    Returns:
        The map of each place, or why it could not be made.

    Raises:
        MissingExtra: ray is not installed.
        ConfigError: No cluster answers there.
        OutputError: Workers died again and again.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "cluster") from None
    _connect(ray, address, workers)
    try:
        return _Work(ray, run, scenes, settings, predictor, workers, progress).done()
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise OutputError(
            f"a worker failed {RETRIES} times ({reason}); what is done is kept, go on with --resume"
        ) from error
    finally:
        ray.shutdown()


class _Work:
    """The tasks under way, and what came of the places."""

    def __init__(
        self,
        ray: Any,
        run: Path,
        scenes: Mapping[str, MapScene],
        settings: MapSettings,
        predictor: Predictor,
        workers: int,
        progress: Progress,
    ) -> None:
        self._ray, self._run, self._scenes, self._settings = ray, run, scenes, settings
        self._predictor, self._workers, self._progress = predictor, workers, progress
        self._jobs: dict[str, MosaicJob] = {}
        self._parts: dict[str, int] = {}
        self._found: dict[str, Mapped | CatenaryError] = {}
        self._started = {name: time.time() for name in scenes}
        self._waiting: dict[Any, tuple[str, str]] = {}
        for name, scene in scenes.items():
            self._give("begin", name, _begin, scene)

    def done(self) -> dict[str, Mapped | CatenaryError]:
        """Wait for all of them."""
        while self._waiting:
            ready, _ = self._ray.wait([*self._waiting], timeout=2)
            for task in ready:
                what, name = self._waiting.pop(task)
                try:
                    self._take(what, name, self._ray.get(task))
                except self._ray.exceptions.RayTaskError as error:
                    cause = error.cause
                    if not isinstance(cause, CatenaryError):
                        raise cause if isinstance(cause, Exception) else OutputError(str(error)) from error
                    self._found.setdefault(name, cause)
            self._tell()
        return self._found

    def _give(self, what: str, name: str, function: Any, *values: Any) -> None:
        task = self._ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(function)
        self._waiting[task.remote(self._run, self._settings, *values)] = what, name

    def _take(self, what: str, name: str, value: Any) -> None:
        """What follows from a task that is done."""
        from catenary.predict.mosaic import rows_left

        if what == "finish":
            self._found[name] = value
            return
        if what == "begin":
            self._jobs[name] = value
            missing = rows_left(self._predictor, value)
            each = max(1, min(ROWS, -(-len(missing) // max(1, self._workers))))
            parts = [tuple(missing[start : start + each]) for start in range(0, len(missing), each)]
            self._parts[name] = len(parts)
            for part in parts:
                self._give("part", name, _part, value, part)
        else:
            self._parts[name] -= 1
        if not self._parts[name] and name not in self._found:
            self._give("finish", name, _finish, self._jobs[name], self._scenes[name], self._started[name])

    def _tell(self) -> None:
        from catenary.predict.mosaic import rows_left

        every = sum(len(self._predictor.tiling(job.shape).starts(0)) for job in self._jobs.values())
        left = sum(len(rows_left(self._predictor, job)) for name, job in self._jobs.items() if name not in self._found)
        if every:
            self._progress("predicting on the cluster", every - left, every)


def _connect(ray: Any, address: str, workers: int) -> None:
    import logging

    # Nothing leaves the machine unasked: neither statistics of use nor a page on a port.
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address == "local":
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start`, or say local"
        ) from error


@lru_cache(1)
def _opened(run: Path, settings: MapSettings) -> Predictor:
    """The model, once a worker."""
    return predictor_of(run, settings)


def _begin(run: Path, settings: MapSettings, scene: MapScene) -> MosaicJob:
    """A task: align a place, and lay down what is to be done; one that is repeated finds what it did before."""
    return begin_scene(_opened(run, settings), run, scene, settings, resume=True, progress=silent)


def _part(run: Path, settings: MapSettings, job: MosaicJob, rows: tuple[int, ...]) -> None:
    """A task: those of `rows` that are not there yet."""
    from catenary.predict.mosaic import predict_rows, rows_left

    predictor = _opened(run, settings)
    left = set(rows_left(predictor, job))
    for first, last in runs([number for number in rows if number in left]):
        predict_rows(predictor, job, first, last)


def _finish(run: Path, settings: MapSettings, job: MosaicJob, scene: MapScene, started: float) -> Mapped:
    """A task: join the rows of a place, its buildings and its page."""
    return finish_scene(_opened(run, settings), job, scene, settings, started=started, progress=silent)
