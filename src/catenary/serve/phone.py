"""Pipelines as bundles for the page on a phone: made once, in a process of its own, and kept in the data folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from catenary.serve.catalogue import Served
from catenary.serve.settings import Settings

__all__ = ["EXPORT", "Bundles"]

#: How a bundle is made.
EXPORT = (sys.executable, "-m", "catenary", "export")
BUNDLE = "bundle.json"

log = logging.getLogger("catenary.serve")


class Bundles:
    """The bundles of all pipelines that are served.

    Args:
        settings: Where the data folder is.
        models: What is served.
    """

    def __init__(self, settings: Settings, models: dict[str, Served]) -> None:
        self._root = settings.data / "phone"
        self._pipelines = [one for one in models.values() if one.kind == "pipeline"]
        self._task: asyncio.Task[None] | None = None
        self.troubles: dict[str, str] = {}

    def start(self) -> None:
        """Begin to make what is not there yet."""
        if self._pipelines:
            self._task = asyncio.create_task(self._make_all())

    async def stop(self) -> None:
        """Leave what is being made."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def offers(self, *, patience: float = 120.0) -> list[dict[str, Any]]:
        """Name, address and version of each bundle; waits for those that are being made."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=patience)
        found = []
        for one in self._pipelines:
            path = self._folder(one) / BUNDLE
            if path.is_file():
                version = json.loads(path.read_text("utf-8"))["version"]
                found.append({"name": one.name, "url": f"models/{one.name}/{BUNDLE}", "version": version})
        return found

    def file(self, name: str, file: str) -> Path | None:
        """A file of a bundle; None where there is none."""
        for one in self._pipelines:
            path = self._folder(one) / file
            if one.name == name and file in _listed(self._folder(one)) and path.is_file():
                return path
        return None

    def _folder(self, one: Served) -> Path:
        return self._root / f"{one.name}-{one.told['sha256'][:16]}"

    async def _make_all(self) -> None:
        for left in self._root.glob(".writing-*"):  # of one that was killed
            shutil.rmtree(left, ignore_errors=True)
        for one in self._pipelines:
            folder = self._folder(one)
            if (folder / BUNDLE).is_file():
                continue
            for old in self._root.glob(f"{one.name}-*"):
                shutil.rmtree(old, ignore_errors=True)
            self._root.mkdir(parents=True, exist_ok=True)
            try:
                await self._make(one, folder)
            except OSError as error:
                self.troubles[one.name] = f"the bundle for phones cannot be made ({error})"
            if trouble := self.troubles.get(one.name):
                log.warning("%s: %s", one.name, trouble)

    async def _make(self, one: Served, folder: Path) -> None:
        words = [*EXPORT, str(one.path), "--to", "phone", "--out", str(folder)]
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, 10)  # answers go first
        try:
            _, told = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            lines = told.decode("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
            self.troubles[one.name] = lines[-1].removeprefix("catenary: ").removeprefix("error: ")


def _listed(folder: Path) -> set[str]:
    """Names of the files of a bundle, by its own list."""
    try:
        stages = json.loads((folder / BUNDLE).read_text("utf-8"))["stages"]
    except (OSError, ValueError, KeyError):
        return set()
    return {BUNDLE, *(stage["model"]["file"] for stage in stages if "model" in stage)}
