"""Jobs in SQLite and a folder each; they survive a restart.

The database stays locked while the store is open, so that two servers cannot share one folder, and the lock goes with
the process, however it ends.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catenary.errors import OutputError, writing

__all__ = ["ENDED", "Job", "Store"]

#: States from which a job does not go on.
ENDED = ("done", "failed", "cancelled")
#: After so many starts a job that never ended is given up: it may be what ends the server.
MOST_STARTS = 3
_COLUMNS = (
    "id", "model", "kind", "name", "status", "lane", "inputs", "options", "created", "started", "ended", "error",
    "view", "files", "starts", "alone",
)  # fmt: skip
_PLAIN = ("inputs", "options", "view", "files")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, model TEXT NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, status TEXT NOT NULL, lane TEXT NOT NULL, inputs TEXT NOT NULL, options TEXT NOT NULL,
  created REAL NOT NULL, started REAL, ended REAL, error TEXT, view TEXT NOT NULL, files TEXT NOT NULL,
  starts INTEGER NOT NULL, alone INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_of_status ON jobs (status, number);
CREATE INDEX IF NOT EXISTS jobs_of_end ON jobs (ended);
"""


@dataclass(kw_only=True)
class Job:
    """One case: an image, a pair, a volume or a photo, and what became of it.

    Attributes:
        id: Twenty hexadecimal digits by chance.
        model: Name of the served model.
        kind: What is made of it: ``"image"``, ``"classes"``, ``"volume"``, ``"map"`` or ``"screening"``.
        name: What the client calls it, for display only.
        status: ``"queued"``, ``"running"``, or one of `ENDED`.
        lane: ``"quick"``: several at a time; ``"long"``: one after the other.
        inputs: Role and stored name of each upload, and its name at the client.
        options: What was asked for.
        created, started, ended: Seconds since 1970.
        error: Why it failed, in one sentence.
        view, files: See `catenary.serve.schemas`.
        starts: How often it was begun.
        alone: It was running when the worker died among others, and is tried without them.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(10))
    model: str
    kind: str
    name: str
    status: str = "queued"
    lane: str = "quick"
    inputs: list[dict[str, str]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    view: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    starts: int = 0
    alone: bool = False


class Store:
    """The jobs of a data folder.

    Args:
        folder: Made when needed.

    Raises:
        OutputError: Another server uses it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with writing(folder):
            (folder / "jobs").mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None, check_same_thread=False, timeout=0.2)
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise OutputError(
                    f"the folder {folder} is in use by another server; stop that one, or name another with --data"
                ) from error
            raise OutputError(f"the jobs in {folder} cannot be opened ({error}); name another --data") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise OutputError(
                f"{folder}/jobs.sqlite is damaged ({error}); remove it, or name another --data"
            ) from error

    def close(self) -> None:
        """Give the folder back."""
        self._db.close()

    def job_folder(self, job_id: str) -> Path:
        """Where the files of a job lie."""
        return self.folder / "jobs" / job_id

    def add(self, job: Job) -> None:
        """Keep a new job."""
        marks = ", ".join("?" * len(_COLUMNS))
        self._db.execute(f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})", _row(job))

    def save(self, job: Job) -> None:
        """Keep what has changed of a job."""
        sets = ", ".join(f"{name} = ?" for name in _COLUMNS)
        self._db.execute(f"UPDATE jobs SET {sets} WHERE id = ?", (*_row(job), job.id))

    def get(self, job_id: str) -> Job | None:
        """A job; None where there is none of that name."""
        found = self._select("WHERE id = ?", (job_id,))
        return found[0] if found else None

    def recent(self, limit: int, offset: int = 0) -> list[Job]:
        """Jobs, the most recent first."""
        return self._select("ORDER BY number DESC LIMIT ? OFFSET ?", (limit, offset))

    def count(self, *states: str) -> int:
        """Number of jobs in these states, of all without one."""
        where = f"WHERE status IN ({', '.join('?' * len(states))})" if states else ""
        return int(self._db.execute(f"SELECT COUNT(*) FROM jobs {where}", states).fetchone()[0])

    def waiting(self, limit: int, lane: str) -> list[Job]:
        """Jobs that wait in a lane, the oldest first."""
        return self._select("WHERE status = 'queued' AND lane = ? ORDER BY number LIMIT ?", (lane, limit))

    def ahead_of(self, job: Job) -> int:
        """Number of jobs that wait before this one."""
        mine = "(SELECT number FROM jobs WHERE id = ?)"
        query = f"SELECT COUNT(*) FROM jobs WHERE status = 'queued' AND lane = ? AND number < {mine}"
        return int(self._db.execute(query, (job.lane, job.id)).fetchone()[0])

    def remove(self, job_id: str) -> None:
        """Forget a job and delete its files."""
        self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        shutil.rmtree(self.job_folder(job_id), ignore_errors=True)

    def expired(self, before: float) -> list[Job]:
        """Jobs that ended before a time."""
        return self._select("WHERE ended < ? ORDER BY ended LIMIT 500", (before,))

    def recover(self) -> int:
        """After a start: what was running waits again (how many, is returned); what has no record is deleted."""
        again = self._select("WHERE status = 'running'", ())
        for job in again:
            job.status, job.started = "queued", None
            if job.starts >= MOST_STARTS:
                job.status, job.ended = "failed", time.time()
                job.error = f"the server ended {job.starts} times while this was running; try it with a smaller image"
            self.save(job)
        known = {row[0] for row in self._db.execute("SELECT id FROM jobs")}
        shutil.rmtree(self.folder / "uploads", ignore_errors=True)
        for place in (self.folder / "jobs").iterdir():
            if place.name not in known:
                shutil.rmtree(place, ignore_errors=True)
        return sum(job.status == "queued" for job in again)

    def _select(self, rest: str, values: Sequence[Any]) -> list[Job]:
        rows = self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs {rest}", values).fetchall()
        return [_job(row) for row in rows]


def _row(job: Job) -> tuple[Any, ...]:
    values = {name: getattr(job, name) for name in _COLUMNS}
    for name in _PLAIN:
        values[name] = json.dumps(values[name], ensure_ascii=False)
    return tuple(int(value) if isinstance(value, bool) else value for value in values.values())


def _job(row: Sequence[Any]) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _PLAIN:
        values[name] = json.loads(values[name])
    values["alone"] = bool(values["alone"])
    return Job(**values)
