"""The application: routes, guard, pages, and the work behind them, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from catenary.serve.api import Desk, problem_response, router
from catenary.serve.catalogue import catalogue
from catenary.serve.foreman import WORKER, Foreman
from catenary.serve.guard import Guard
from catenary.serve.metrics import Metrics
from catenary.serve.pages import add_pages
from catenary.serve.phone import Bundles
from catenary.serve.problem import Problem
from catenary.serve.settings import Settings
from catenary.serve.store import Store

__all__ = ["create_app"]

#: Newer releases can send what happens elsewhere, where the environment says so; older ones ignore this.
_SILENT: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
ABOUT = (
    "Send images to trained models and get masks, measurements, maps and classes. A job is one case; it waits in a "
    "queue, tells how far it is, and its results can be fetched until they are deleted. Nothing leaves this machine."
)


def create_app(settings: Settings, *, worker: Sequence[str] = WORKER) -> FastAPI:
    """Make the application (ASGI); its models are described at once, and opened by a worker when it starts.

    Args:
        settings: What is served, and how.
        worker: How the process is started that does the work.

    Raises:
        ModelError: A model cannot be opened.
    """
    import catenary

    models = catalogue(settings.models)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await asyncio.to_thread(Store, settings.data)
        foreman = Foreman(settings, store, models, metrics, command=worker)
        bundles = Bundles(settings, models)
        app.state.desk = Desk(settings, store, models, foreman, metrics, bundles)
        foreman.start()
        bundles.start()
        try:
            yield
        finally:
            await bundles.stop()
            await foreman.stop()
            store.close()

    app = FastAPI(
        title="catenary", version=catenary.__version__, description=ABOUT, lifespan=lifespan, docs_url=None,
        redoc_url=None, openapi_url="/openapi.json", telemetry=_SILENT,
    )  # fmt: skip
    app.include_router(router)
    add_pages(app, settings)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)

    state = app.state

    def guarded(app: Any) -> Guard:
        guard = state.guard = Guard(app, settings, metrics)
        return guard

    app.add_middleware(guarded)
    _watch(app, metrics)
    return app


def _watch(app: FastAPI, metrics: Metrics) -> None:
    """Values that are asked for whenever the metrics are read."""

    def jobs(status: str) -> float:
        desk: Desk | None = getattr(app.state, "desk", None)
        return 0.0 if desk is None else float(desk.store.count(status))

    def memory() -> float:
        import psutil

        desk: Desk | None = getattr(app.state, "desk", None)
        try:
            return (
                0.0
                if desk is None or desk.foreman.pid is None
                else float(psutil.Process(desk.foreman.pid).memory_info().rss)
            )
        except psutil.Error:
            return 0.0

    metrics.watch("jobs_waiting", "Jobs that wait", lambda: jobs("queued"))
    metrics.watch("jobs_running", "Jobs that run", lambda: jobs("running"))
    metrics.watch("worker_memory_bytes", "Resident memory of the worker", memory)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("query", "path", "body"))
    return problem_response(Problem(422, f"'{where}' cannot be used: {first['msg'].lower()}; see /docs"))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        404: "there is nothing at this address; see /docs",
        405: "this address does not take that method; see /docs",
    }
    message = words.get(error.status_code, str(error.detail))
    return problem_response(Problem(error.status_code, message, headers=dict(error.headers or {})))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody is there to read it; the number is for the metrics
