"""Gives jobs to the worker, watches it, and starts another one when it has died or had to be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from catenary.serve.catalogue import Served
from catenary.serve.metrics import Metrics
from catenary.serve.problem import Problem
from catenary.serve.receive import free_space
from catenary.serve.settings import Settings
from catenary.serve.store import ENDED, Job, Store

__all__ = ["WORKER", "Foreman", "Progress"]

#: How a worker is started.
WORKER = (sys.executable, "-m", "catenary.serve.worker")
#: Seconds between two looks at the clock, and at what is too old.
TICK, SWEEP = 0.25, 30.0
#: Seconds before a worker that dies at once is started again, doubled each time, at most the last.
BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
_LINE = 1 << 24

log = logging.getLogger("catenary.serve")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: In a word.
        done, total: Of the stage; a total of 0 is not known.
        seconds_left: Of the stage, by its pace so far; None where that is not known.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None


@dataclass(kw_only=True)
class _Flight:
    """A job that the worker has."""

    job: Job
    deadline: float
    kill_at: float | None = None
    progress: Progress | None = None
    stage_began: float = 0.0
    stage_first: int = 0


class Foreman:
    """The one who hands out work; lives in the event loop.

    Args:
        settings: See there.
        store: The jobs.
        models: What is served.
        metrics: Counts what happens.
        command: How a worker is started.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        models: dict[str, Served],
        metrics: Metrics,
        *,
        command: Sequence[str] = WORKER,
    ) -> None:
        self._settings, self._store, self._models, self._metrics = settings, store, models, metrics
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._flights: dict[str, _Flight] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = self._ready = False
        self._killed_for: str | None = None
        self.troubles: dict[str, str] = {}
        self.opened: dict[str, float] = {}

    @property
    def ready(self) -> bool:
        """Whether a worker has its models open."""
        return self._ready

    @property
    def pid(self) -> int | None:
        """Process of the worker."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Take up what an earlier server left, and begin."""
        again = self._store.recover()
        if again:
            log.info("%d jobs that were running are run again", again)
        self._tasks = [asyncio.create_task(self._keep_worker()), asyncio.create_task(self._keep_time())]

    async def stop(self) -> None:
        """Stop the worker; what was running waits for the next start."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._kill()
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 5)
        for flight in self._flights.values():
            flight.job.status, flight.job.started = "queued", None
            flight.job.starts -= 1  # an orderly end is not its fault
            self._store.save(flight.job)
        self._flights.clear()
        for events in self._watchers.values():
            for event in events:
                event.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def submit(self, job: Job) -> None:
        """Take a new job, whose files lie in its folder."""
        self._store.add(job)
        self._metrics.submitted(job.kind)
        self._pump()

    def progress(self, job_id: str) -> Progress | None:
        """How far a running job is."""
        flight = self._flights.get(job_id)
        return None if flight is None else flight.progress

    async def cancel(self, job: Job) -> None:
        """Stop a job: at once when it waits, between tiles when it runs, and by force when it does not listen."""
        if job.status == "queued":
            self._end(job, "cancelled")
            return
        flight = self._flights.get(job.id)
        if flight is not None and flight.kill_at is None:
            flight.kill_at = time.monotonic() + self._settings.grace
            await self._send({"do": "cancel", "id": job.id})

    async def remove(self, job: Job) -> None:
        """Forget a job and all of its files, after stopping it."""
        if job.status not in ENDED:
            await self.cancel(job)
            async for now in self.changes(job.id):
                if now is None or now.status in ENDED:
                    break
        self._flights.pop(job.id, None)
        await asyncio.to_thread(shutil.rmtree, self._store.job_folder(job.id), ignore_errors=True)
        self._store.remove(job.id)
        self._notify(job.id)

    async def changes(self, job_id: str, *, pause: float = 0.0) -> AsyncIterator[Job | None]:
        """A job now, and whenever something about it changes; None when nothing did for `pause` seconds (0: never)."""
        event = asyncio.Event()
        watchers = self._watchers.setdefault(job_id, set())
        watchers.add(event)
        try:
            while True:
                event.clear()
                job = self._store.get(job_id)
                if job is None:
                    return
                yield job
                if job.status in ENDED or self._stopping:
                    return
                while not event.is_set():
                    try:
                        await asyncio.wait_for(event.wait(), pause or None)
                    except TimeoutError:
                        yield None
        finally:
            watchers.discard(event)
            if not watchers:
                self._watchers.pop(job_id, None)

    def _notify(self, job_id: str) -> None:
        for event in self._watchers.get(job_id, ()):
            event.set()

    def _pump(self) -> None:
        """Hand out what can be begun."""
        if not self._ready or self._stopping or any(flight.job.alone for flight in self._flights.values()):
            return
        for lane, most in (("quick", self._settings.parallel), ("long", 1)):
            busy = sum(flight.job.lane == lane for flight in self._flights.values())
            for job in self._store.waiting(max(0, most - busy), lane):
                if job.alone and self._flights:
                    return  # it waits until the others are done, and they for it
                self._begin(job)
                if job.alone:
                    return

    def _begin(self, job: Job) -> None:
        try:
            free_space(self._settings.data, self._settings)
        except Problem as problem:
            self._end(job, "failed", problem.message)
            return
        now = time.monotonic()
        job.status, job.started, job.starts = "running", time.time(), job.starts + 1
        self._store.save(job)
        self._flights[job.id] = _Flight(job=job, deadline=now + self._settings.timeout)
        folder = self._store.job_folder(job.id)
        inputs = [one | {"path": str(folder / "in" / one["file"])} for one in job.inputs]
        told = {
            "id": job.id, "model": job.model, "kind": job.kind, "name": job.name, "options": job.options,
            "inputs": inputs, "folder": str(folder / "out"), "limit": self._limit(job.kind),
        }  # fmt: skip
        self._write({"do": "run", "job": told})
        self._notify(job.id)

    def _limit(self, kind: str) -> int:
        """Most pixels of an input whose header was too scattered to be looked at before."""
        return self._settings.max_voxels if kind == "volume" else self._settings.max_pixels

    def _end(self, job: Job, status: str, error: str | None = None) -> None:
        """Record how a job ended, and delete its uploads where no map is drawn from them."""
        self._flights.pop(job.id, None)
        job.status, job.error, job.ended = status, error, time.time()
        folder = self._store.job_folder(job.id)
        if status == "done":
            try:
                found = json.loads((folder / "out" / "result.json").read_text("utf-8"))
                job.view, job.files = found["view"], found["files"]
            except (OSError, ValueError, KeyError) as trouble:
                log.error("the result of job %s cannot be read: %s", job.id, trouble)
                job.status, job.error = "failed", "its result cannot be read; send it again"
        if job.status != "done":
            shutil.rmtree(folder, ignore_errors=True)
        elif job.kind != "map":
            shutil.rmtree(folder / "in", ignore_errors=True)
        self._store.save(job)
        self._metrics.ended(job.kind, job.status, job.ended - (job.started or job.ended), job.ended - job.created)
        self._notify(job.id)
        self._pump()

    async def _keep_worker(self) -> None:
        pause = BACKOFF
        while not self._stopping:
            self._ready, began = False, time.monotonic()
            try:
                await self._one_worker()
            except OSError as error:
                log.error("no worker can be started: %s", error)
            if self._ready or time.monotonic() - began > LONGEST_BACKOFF:
                pause = BACKOFF
            self._ready = False
            try:
                self._after_death()
            except sqlite3.Error:
                log.exception("what became of jobs could not be recorded")
            if not self._stopping:
                self._metrics.worker_died()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_BACKOFF)

    async def _one_worker(self) -> None:
        """Start a worker, and listen until it is gone."""
        self._killed_for = None
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE,
            start_new_session=True,
        )  # fmt: skip
        models = {one.name: {"path": str(one.path), "kind": one.kind} for one in self._models.values()}
        self._write({"models": models, "engine": self._settings.engine, "memory": self._settings.memory})
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                try:
                    self._hear(json.loads(line))
                except Exception:  # a full disk, a line that is none: the next job shall find a foreman
                    log.exception("news of the worker could not be dealt with")
            await self._process.wait()
        finally:
            self._kill()

    def _hear(self, news: dict[str, Any]) -> None:
        if news["is"] == "opened":
            self.troubles[news["model"]] = news["trouble"]
            self.opened[news["model"]] = news["seconds"]
            if news["trouble"]:
                log.error("the model '%s' cannot be opened: %s", news["model"], news["trouble"])
        elif news["is"] == "ready":
            self._ready = True
            self._pump()
        elif news["is"] == "progress" and news["id"] in self._flights:
            self._advance(self._flights[news["id"]], news)
            self._notify(news["id"])
        elif news["is"] == "ended" and news["id"] in self._flights:
            if "batch" in news:
                self._metrics.batched(news["batch"])
            self._end(self._flights[news["id"]].job, news["status"], news["error"])

    @staticmethod
    def _advance(flight: _Flight, news: dict[str, Any]) -> None:
        now, old = time.monotonic(), flight.progress
        if old is None or old.stage != news["stage"] or news["done"] < old.done:
            flight.stage_began, flight.stage_first = now, news["done"]
        made, left = news["done"] - flight.stage_first, None
        if news["total"] > 0 and made > 0:
            left = round((now - flight.stage_began) * max(0, news["total"] - news["done"]) / made, 1)
        flight.progress = Progress(stage=news["stage"], done=news["done"], total=news["total"], seconds_left=left)

    def _after_death(self) -> None:
        """Say what becomes of the jobs that a worker had."""
        flights, self._flights = list(self._flights.values()), {}
        code = None if self._process is None else self._process.returncode
        for flight in flights:
            job = flight.job
            if job.id == self._killed_for:
                if flight.kill_at is not None:
                    self._end(job, "cancelled")
                else:
                    limit = self._settings.timeout
                    self._end(job, "failed", f"it took longer than {limit:g} s and was stopped; give a smaller image")
            elif self._stopping or self._killed_for is not None:  # it died for another one
                self._again(job, alone=job.alone)
            elif len(flights) == 1:
                self._end(job, "failed", f"the work on it ended unexpectedly ({_reason(code)}); give a smaller image")
            else:  # one of several is to blame, nobody knows which
                self._again(job, alone=True)

    def _again(self, job: Job, *, alone: bool) -> None:
        job.status, job.started, job.alone = "queued", None, alone
        job.starts -= not self._stopping
        self._store.save(job)
        self._notify(job.id)

    async def _keep_time(self) -> None:
        swept = 0.0
        while not self._stopping:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for flight in list(self._flights.values()):
                late = now > flight.deadline if flight.kill_at is None else now > flight.kill_at
                if late and self._killed_for is None:
                    self._killed_for = flight.job.id
                    self._kill()
            if now - swept > SWEEP:
                swept = now
                try:
                    await self._sweep()
                except (sqlite3.Error, OSError):
                    log.exception("old jobs could not be deleted")

    async def _sweep(self) -> None:
        """Delete jobs whose time is over."""
        for job in self._store.expired(time.time() - self._settings.keep):
            await asyncio.to_thread(shutil.rmtree, self._store.job_folder(job.id), ignore_errors=True)
            self._store.remove(job.id)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _write(self, order: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _send(self, order: dict[str, Any]) -> None:
        self._write(order)
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()


def _reason(code: int | None) -> str:
    """Why a process ended, in words.

    >>> _reason(-9), _reason(3)
    ('signal SIGKILL, perhaps for want of memory', 'exit code 3')
    """
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"signal {name}{', perhaps for want of memory' if name == 'SIGKILL' else ''}"
