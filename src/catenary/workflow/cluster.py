"""Parts of a mosaic as Ray tasks, on this machine or on many that share a file system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from catenary.errors import ConfigError, MissingExtra, OutputError
from catenary.types import Progress

if TYPE_CHECKING:
    from catenary.predict import Predictor
    from catenary.predict.mosaic import MosaicJob

__all__ = ["predict_on_cluster"]

#: Rows of tiles in a task: each task repeats the row above its own, and what a killed one has written is kept.
ROWS = 8
#: How often a task is given to another worker when its own dies.
RETRIES = 5


def predict_on_cluster(
    run: Path,
    options: dict[str, Any],
    predictor: Predictor,
    job: MosaicJob,
    *,
    address: str,
    workers: int,
    progress: Progress,
) -> None:
    """Predict all rows of a job that are missing; the bytes are those of one process.

    Args:
        run: The model, where all workers see it.
        options: Of `catenary.predict.open_predictor`.
        predictor: The same, opened here.
        job: What to do.
        address: ``"local"``, or where a cluster answers.
        workers: Tasks at a time on a local cluster.
        progress: Told of the rows of tiles.

    Raises:
        MissingExtra: ray is not installed.
        ConfigError: No cluster answers there.
        OutputError: A part failed again and again.
    """
    from catenary.predict.mosaic import rows_left

    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "cluster") from None
    every = len(predictor.tiling(job.shape).starts(0))
    missing = rows_left(predictor, job)
    _connect(ray, address, workers)
    try:
        task = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(_part)
        each = max(1, min(ROWS, -(-len(missing) // max(1, workers))))
        parts = [tuple(missing[start : start + each]) for start in range(0, len(missing), each)]
        waiting = [task.remote(run, options, job, part) for part in parts]
        while waiting:
            done, waiting = ray.wait(waiting, timeout=2)
            ray.get(done)
            progress("predicting on the cluster", every - len(rows_left(predictor, job)), every)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else OutputError(str(error)) from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise OutputError(
            f"a worker failed {RETRIES} times ({reason}); what is done is kept, go on with --resume"
        ) from error
    finally:
        ray.shutdown()


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


def _part(run: Path, options: dict[str, Any], job: MosaicJob, rows: tuple[int, ...]) -> None:
    """A task: those of `rows` that are not there yet."""
    from catenary.predict import open_predictor
    from catenary.predict.mosaic import predict_rows, rows_left
    from catenary.workflow.mosaic import runs

    predictor = open_predictor(run, **options)
    left = set(rows_left(predictor, job))
    for first, last in runs([number for number in rows if number in left]):
        predict_rows(predictor, job, first, last)
