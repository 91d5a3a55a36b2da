"""The process that does the work: it keeps the models open and answers jobs, so that no job can end the server.

It speaks lines of JSON: jobs and cancellations come in on standard input, news go out on standard output. When the
input ends, so does it: a server that was killed leaves nobody behind.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from catenary.errors import CatenaryError, OutputError
from catenary.io.files import write_json
from catenary.serve.together import WATCH, Together
from catenary.serve.work.output import Task, Teller, plain

__all__ = ["RESULT", "Worker", "main"]

#: In a job's folder: the view and the files of what is done.
RESULT = "result.json"


class Cancelled(Exception):
    """Somebody does not want this job any more."""


class Worker:
    """Models that are open, and the jobs that run.

    Args:
        models: Name, path and kind of each.
        engine: See `catenary.workflow.load`.
        tell: Takes a piece of news.
    """

    def __init__(self, models: dict[str, dict[str, str]], engine: str, tell: Callable[[dict[str, Any]], None]) -> None:
        self._models, self._engine, self._tell = models, engine, tell
        self._opened: dict[tuple[str, bool], Any] = {}
        self._opening = threading.Lock()
        self._cancelled: set[str] = set()

    def open_all(self) -> None:
        """Open every model, and say how long that took or why it failed."""
        for name in self._models:
            started, trouble = time.perf_counter(), ""
            try:
                self.model(name)
            except Exception as error:
                trouble = _sentence(error)
            self._tell({"is": "opened", "model": name, "seconds": time.perf_counter() - started, "trouble": trouble})
        self._tell({"is": "ready"})

    def cancel(self, job_id: str) -> None:
        """Stop a job before its next batch of tiles."""
        self._cancelled.add(job_id)

    def begin(self, told: dict[str, Any]) -> None:
        """Run a job in a thread of its own."""
        told["folder"] = Path(told["folder"])
        threading.Thread(target=self.run, args=(Task(**told),), daemon=True).start()

    def run(self, task: Task) -> None:
        """Run a job to its end, and tell how that was."""
        news: dict[str, Any] = {"is": "ended", "id": task.id, "status": "done", "error": None}
        try:
            task.folder.mkdir(parents=True, exist_ok=True)
            news["batch"] = self._made(task)
        except Cancelled:
            news["status"] = "cancelled"
        except Exception as error:
            news |= {"status": "failed", "error": task.readable(_sentence(error))}
        finally:
            self._cancelled.discard(task.id)
        self._tell(news)

    def model(self, name: str, *, tta: bool = False, disaster: str = "") -> Any:
        """A model, opened once however many ask; other ways to use it share its network."""
        with self._opening:
            if (name, False) not in self._opened:
                self._opened[name, False] = _open(self._models[name], self._engine)
            found = self._opened[name, False]
            if self._models[name]["kind"] == "pipeline" or not (tta or disaster):
                return found
            from catenary.predict.engines import Opened

            opened = Opened(found.engine, drift=found.drift, notes=found.notes)
            if disaster and self._models[name]["kind"] != "classification":
                return type(found)(found.card, opened, tta=tta, disaster=disaster)
            if (name, True) not in self._opened:
                self._opened[name, True] = type(found)(found.card, opened, tta=True)
            return self._opened[name, True]

    def _made(self, task: Task) -> int:
        """Do the work; returns the number of images that shared the last batch."""
        from catenary.serve.work import runner_of

        def check() -> None:
            if task.id in self._cancelled:
                raise Cancelled

        def news(stage: str, done: int, total: int) -> None:
            self._tell({"is": "progress", "id": task.id, "stage": stage, "done": done, "total": total})

        tell = Teller(news, check)
        tell("reading", 0, 0)
        model = self.model(task.model, tta=bool(task.options.get("tta")), disaster=task.options.get("disaster", ""))
        token = WATCH.set(tell.looks)
        try:
            view, out = runner_of(task.kind)(task, model, Path(self._models[task.model]["path"]), tell)
        finally:
            WATCH.reset(token)
        write_json(task.folder / RESULT, {"view": plain(view), "files": out.files})
        batches = getattr(getattr(model, "engine", None), "batches", None)
        return batches[-1] if batches else 1


def _open(model: dict[str, str], engine: str) -> Any:
    from catenary.workflow import load
    from catenary.workflow.screen import open_pipeline

    if model["kind"] == "pipeline":
        screener = open_pipeline(model["path"], engine=engine)
        for one in screener.models:
            one.engine = Together(one.engine)
        return screener
    found = load(model["path"], engine=engine)
    found.engine = Together(found.engine)
    return found


def _sentence(error: Exception) -> str:
    """What a client is told; what should not happen is printed with its traceback, too."""
    if isinstance(error, OutputError) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    if isinstance(error, CatenaryError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory that this server allows is used up; give a smaller image"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk of the server is full; try again later"
    traceback.print_exception(error)
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text or 'no message'}; this should not happen, the server's log has more"


def main() -> None:
    """Speak with the server until it ends."""
    news = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log and not between the lines
    lock = threading.Lock()

    def tell(what: dict[str, Any]) -> None:
        with lock, suppress(BrokenPipeError, ValueError):
            news.write(json.dumps(what) + "\n")
            news.flush()

    settings = json.loads(sys.stdin.readline())
    _bound(settings["memory"])
    worker = Worker(settings["models"], settings["engine"], tell)
    threading.Thread(target=worker.open_all, daemon=True).start()
    _listen(worker, sys.stdin)
    os._exit(0)  # threads that still work must not keep the process


def _listen(worker: Worker, orders: TextIO) -> None:
    for line in orders:
        order = json.loads(line)
        if order["do"] == "run":
            worker.begin(order["job"])
        elif order["do"] == "cancel":
            worker.cancel(order["id"])
        elif order["do"] == "stop":
            return


def _bound(share: float) -> None:
    """Let allocations fail beyond a share of the memory, rather than the whole machine."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        import psutil

        limit = int(share * psutil.virtual_memory().total)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    main()
