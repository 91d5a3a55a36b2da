"""The processes of a search: each takes trials from one study until none waits."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from catenary.errors import CatenaryError, ConfigError, OutputError, TrainingError
from catenary.search.study import Study
from catenary.types import Progress, silent
from catenary.workflow.look import Known
from catenary.workflow.trial import best_so_far, run_trial

__all__ = ["threads", "train_together"]

#: Seconds between two looks at what the workers do.
POLL = 1.0


@contextmanager
def threads(workers: int) -> Iterator[None]:
    """This worker's share of the machine's threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_together(study: Study, folder: Path, known: Known, workers: int, progress: Progress) -> None:
    """Train until no trial waits, here or in processes of their own."""
    if workers == 1:
        study.work(partial(run_trial, study=study, folder=folder, known=known, progress=progress))
        return
    context = multiprocessing.get_context("spawn")
    team = []
    for number in range(workers):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_worker, args=(study.url, study.name, folder, known, workers, theirs), name=f"tune-{number}"
        )
        process.start()
        theirs.close()
        team.append((process, mine))
    try:
        while any(process.is_alive() for process, _ in team):
            _tell(study, progress)
            next((process for process, _ in team if process.is_alive()), team[0][0]).join(POLL)
    finally:
        for process, _ in team:
            if process.is_alive():
                process.terminate()
        for process, _ in team:
            process.join()
        study.reclaim()
    _tell(study, progress)
    for process, mine in team:
        if mine.poll():
            try:
                kind, text = mine.recv()
            except EOFError:  # it ended without a word: well, or by a signal
                kind, text = "", ""
            if kind:
                raise {"ConfigError": ConfigError, "OutputError": OutputError}.get(kind, TrainingError)(text)
        if process.exitcode:
            raise TrainingError(
                f"a worker died (exit code {process.exitcode}), most likely since the memory was used up; "
                "go on with --resume and fewer --workers"
            )


def _tell(study: Study, progress: Progress) -> None:
    rows = study.trials()
    ended = sum(row.state in ("complete", "pruned", "failed") for row in rows)
    running = ", ".join(str(row.number + 1) for row in rows if row.state == "running")
    now = f", running {running}" if running else ""
    progress(f"searching: {ended} of {len(rows)} trials{best_so_far(rows)}{now}", ended, len(rows))


def _worker(url: str, name: str, folder: Path, known: Known, workers: int, answer: Connection) -> None:
    """One process of a search."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes an interrupt on
    parent = multiprocessing.parent_process()
    try:
        with threads(workers):
            study = Study(url, name)
            study.join()
            study.work(
                partial(run_trial, study=study, folder=folder, known=known, progress=silent),
                go_on=lambda: parent is None or parent.is_alive(),
            )
    except KeyboardInterrupt:
        pass
    except CatenaryError as error:
        answer.send((type(error).__name__, str(error)))
    except Exception as error:
        answer.send(("TrainingError", f"a worker failed: {type(error).__name__}: {' '.join(str(error).split())}"))
