"""The routes: models, jobs, their files, and how the server is."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse

from catenary.io import stem
from catenary.serve.archive import zipped
from catenary.serve.catalogue import Served
from catenary.serve.foreman import Foreman
from catenary.serve.intake import new_job
from catenary.serve.metrics import CONTENT_TYPE_LATEST, Metrics
from catenary.serve.phone import Bundles
from catenary.serve.problem import Problem
from catenary.serve.receive import received
from catenary.serve.schemas import BundleInfo, Failure, Health, JobInfo, JobList, ModelInfo, Options
from catenary.serve.settings import Settings
from catenary.serve.store import Job, Store
from catenary.serve.tiles import DEEPEST, tile

__all__ = ["Desk", "router"]

#: Longest that an answer is held back for, and seconds between signs of life on a stream of events.
LONGEST_WAIT, HEARTBEAT = 120.0, 15.0
#: Tiles that are drawn at a time.
DRAWING = 2
#: What a browser may show in place; everything else is saved, and nothing is ever a page of this server.
INLINE = ("image/png", "image/jpeg", "application/json", "application/geo+json", "application/gzip")

router = APIRouter()
JobId = Annotated[str, InPath(pattern="^[0-9a-f]{20}$", description="Of the job.")]
_OPTIONS = " ".join(f"{name}: {field.description}" for name, field in Options.model_fields.items())
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "model": {
                            "type": "string",
                            "description": "Name of the model; may be left out when one is served.",
                        },
                        "image": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "The image; of a scan also several files: the slices, or a file a channel.",
                        },
                        "post": {"type": "string", "format": "binary", "description": "The later of two dates."},
                        "footprints": {"type": "string", "format": "binary", "description": "Outlines of buildings."},
                        "options": {"type": "string", "description": "JSON. " + _OPTIONS},
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}


def fails(*states: int) -> dict[int | str, dict[str, Any]]:
    """How a route's refusals are described."""
    return {state: {"model": Failure} for state in (*states, 401, 403, 421)}


class Desk:
    """What the routes share.

    Attributes:
        settings, store, models, foreman, metrics, bundles: See there.
        uploads: Number of uploads that run.
        drawing: Holds tiles back while others are drawn.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        models: dict[str, Served],
        foreman: Foreman,
        metrics: Metrics,
        bundles: Bundles,
    ) -> None:
        self.settings, self.store, self.models = settings, store, models
        self.foreman, self.metrics, self.bundles = foreman, metrics, bundles
        self.uploads = 0
        self.drawing = asyncio.Semaphore(DRAWING)

    def job(self, job_id: str) -> Job:
        """A job.

        Raises:
            Problem: There is none of that name.
        """
        found = self.store.get(job_id)
        if found is None:
            raise Problem(404, "there is no such job; it may have been deleted when its time was over")
        return found

    def told(self, job: Job) -> dict[str, Any]:
        """A job as clients see it."""
        progress: dict[str, Any] | None = None
        if job.status == "queued":
            progress = {
                "stage": "waiting",
                "done": 0,
                "total": 0,
                "seconds_left": None,
                "ahead": self.store.ahead_of(job),
            }
        elif job.status == "running":
            now = self.foreman.progress(job.id)
            progress = {"stage": "starting", "done": 0, "total": 0, "seconds_left": None, "ahead": 0}
            if now is not None:
                progress |= {"stage": now.stage, "done": now.done, "total": now.total, "seconds_left": now.seconds_left}
        return {
            "id": job.id,
            "model": job.model,
            "kind": job.kind,
            "name": job.name,
            "status": job.status,
            "progress": progress,
            "error": None if job.error is None else {"message": job.error},
            "created": job.created,
            "started": job.started,
            "ended": job.ended,
            "expires": None if job.ended is None else job.ended + self.settings.keep,
            "view": job.view or None,
            "files": job.files,
        }


def desk_of(request: Request) -> Desk:
    """What the application keeps for its routes."""
    desk: Desk = request.app.state.desk
    return desk


@router.get("/health", response_model=Health, tags=["server"], summary="Whether the server can answer")
async def health(request: Request) -> dict[str, Any]:
    """Without the token, where one is set, no names are told."""
    import catenary

    desk = desk_of(request)
    troubles = {name: served.trouble() or desk.foreman.troubles.get(name, "") for name, served in desk.models.items()}
    status = "degraded" if any(troubles.values()) else "ok" if desk.foreman.ready else "starting"
    known = not desk.settings.token or request.app.state.guard.knows(
        request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    )
    queue = {"waiting": desk.store.count("queued"), "running": desk.store.count("running")}
    return {"status": status, "version": catenary.__version__, "models": troubles if known else {}, "queue": queue}


@router.get(
    "/metrics", tags=["server"], summary="Counters for Prometheus", response_class=PlainTextResponse, responses=fails()
)
async def metrics(request: Request) -> Response:
    """In the text format of Prometheus."""
    return Response(desk_of(request).metrics.page(), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/models", response_model=list[ModelInfo], tags=["models"], responses=fails())
async def models(request: Request) -> list[dict[str, Any]]:
    """The models that are served."""
    desk = desk_of(request)
    return [
        {"trouble": served.trouble() or desk.foreman.troubles.get(name, "")} | served.told
        for name, served in desk.models.items()
    ]


@router.post(
    "/api/jobs", status_code=202, response_model=JobInfo, tags=["jobs"], openapi_extra=_UPLOAD,
    responses=fails(400, 404, 408, 413, 415, 422, 429, 503, 507),
)  # fmt: skip
async def submit(
    request: Request,
    response: Response,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Hold the answer back for up to so long.")] = 0.0,
) -> dict[str, Any]:
    """Send an image, a pair, a volume or a photo to a model."""
    desk = desk_of(request)
    limit = desk.settings.queue
    if desk.store.count("queued") >= limit or desk.uploads >= desk.settings.uploads:
        raise Problem(
            429, f"{limit} jobs wait already; send it again in some seconds", headers={"retry-after": "5"}
        )  # fmt: skip
    desk.uploads += 1
    try:
        async with received(request, desk.settings) as form:
            job = await asyncio.to_thread(new_job, form, desk.models, desk.settings, desk.store.folder / "jobs")
    finally:
        desk.uploads -= 1
    try:
        desk.foreman.submit(job)
    except sqlite3.OperationalError as error:
        await asyncio.to_thread(shutil.rmtree, desk.store.job_folder(job.id), ignore_errors=True)
        raise Problem(507, f"the job cannot be recorded ({error}); try again later") from error
    if wait > 0:
        job = await _ended_within(desk, job, wait)
    response.headers["location"] = f"/api/jobs/{job.id}"
    return desk.told(job)


async def _ended_within(desk: Desk, job: Job, seconds: float) -> Job:
    try:
        async with asyncio.timeout(seconds):
            async for now in desk.foreman.changes(job.id):
                job = now or job
    except TimeoutError:
        job = desk.store.get(job.id) or job
    return job


@router.get("/api/jobs", response_model=JobList, tags=["jobs"], responses=fails(422))
async def jobs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
) -> dict[str, Any]:
    """Jobs, the most recent first."""
    desk = desk_of(request)
    found = desk.store.recent(limit, offset)
    return {"total": desk.store.count(), "offset": offset, "jobs": [desk.told(job) for job in found]}


@router.get("/api/jobs/{job_id}", response_model=JobInfo, tags=["jobs"], responses=fails(404, 422))
async def job(request: Request, job_id: JobId) -> dict[str, Any]:
    """One job: how far it is, or what came of it."""
    desk = desk_of(request)
    return desk.told(desk.job(job_id))


@router.get(
    "/api/jobs/{job_id}/events", tags=["jobs"], summary="A job as server-sent events",
    responses=fails(404, 422) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    response_class=StreamingResponse,
)  # fmt: skip
async def events(request: Request, job_id: JobId) -> StreamingResponse:
    """The job now, and again whenever it changes, until it has ended."""
    desk = desk_of(request)
    desk.job(job_id)

    async def stream() -> AsyncIterator[str]:
        async for now in desk.foreman.changes(job_id, pause=HEARTBEAT):
            yield ":\n\n" if now is None else f"event: job\ndata: {json.dumps(desk.told(now))}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


@router.post("/api/jobs/{job_id}/cancel", response_model=JobInfo, tags=["jobs"], responses=fails(404, 422))
async def cancel(request: Request, job_id: JobId) -> dict[str, Any]:
    """Stop a job; one that has ended stays as it is."""
    desk = desk_of(request)
    await desk.foreman.cancel(desk.job(job_id))
    return desk.told(desk.job(job_id))


@router.delete("/api/jobs/{job_id}", status_code=204, tags=["jobs"], responses=fails(404, 422))
async def remove(request: Request, job_id: JobId) -> Response:
    """Delete a job with its uploads and results."""
    desk = desk_of(request)
    await desk.foreman.remove(desk.job(job_id))
    return Response(status_code=204)


@router.get(
    "/api/jobs/{job_id}/files/{name}", tags=["jobs"], response_class=FileResponse, responses=fails(404, 422),
    summary="A file of a result",
)  # fmt: skip
async def file(request: Request, job_id: JobId, name: str) -> FileResponse:
    """Names are those that the job lists."""
    desk = desk_of(request)
    found = desk.job(job_id)
    listed = next((one for one in found.files if one["name"] == name), None)
    path = desk.store.job_folder(job_id) / "out" / (listed["name"] if listed else "")
    if listed is None or not path.is_file():
        raise Problem(404, "the job has no such file; its field 'files' lists them")
    kind = listed["type"] if listed["type"] in INLINE else "application/octet-stream"
    how = "inline" if listed["type"] in INLINE else "attachment"
    named = _disposition(how, f"{stem(Path(found.name))}_{name}")
    return FileResponse(path, media_type=kind, headers={"content-disposition": named})


@router.get(
    "/api/jobs/{job_id}/archive", tags=["jobs"], response_class=StreamingResponse, responses=fails(404, 409, 422),
    summary="All files of a result as one zip",
)  # fmt: skip
async def archive(request: Request, job_id: JobId) -> StreamingResponse:
    """What only the page needs is left out."""
    desk = desk_of(request)
    found = desk.job(job_id)
    if found.status != "done":
        raise Problem(409, f"the job is {found.status} and has no result; wait until it is done")
    folder = desk.store.job_folder(job_id) / "out"
    paths = [folder / one["name"] for one in found.files if one["role"] != "view"]
    named = _disposition("attachment", f"{stem(Path(found.name))}.zip")
    return StreamingResponse(zipped(paths), media_type="application/zip", headers={"content-disposition": named})


@router.get(
    "/api/jobs/{job_id}/tiles/{layer}/{z}/{x}/{y}.png", tags=["jobs"], response_class=Response,
    responses=fails(404, 422) | {200: {"content": {"image/png": {}}}}, summary="A tile of a map",
)  # fmt: skip
async def map_tile(
    request: Request,
    job_id: JobId,
    layer: Literal["pre", "post", "damage", "confidence"],
    z: Annotated[int, InPath(ge=0, le=DEEPEST)],
    x: Annotated[int, InPath(ge=0)],
    y: Annotated[int, InPath(ge=0)],
) -> Response:
    """Web mercator, 256 pixels, y from the north; transparent where the map has nothing."""
    desk = desk_of(request)
    found = desk.job(job_id)
    name = (found.view.get("rasters") or {}).get(layer)
    if name is None or max(x, y) >= 2**z:
        raise Problem(404, "the job has no such tile; its field 'view' lists the layers of a map")
    path = desk.store.job_folder(job_id) / ("in" if layer in ("pre", "post") else "out") / name
    served = desk.models.get(found.model)
    colours = served.colours if served is not None else ()
    async with desk.drawing:
        data = await asyncio.to_thread(tile, path, layer, z, x, y, colours)
    return Response(data, media_type="image/png", headers={"cache-control": "private, max-age=3600"})


@router.get("/phone/models.json", tags=["phone"], responses=fails(), summary="Bundles for phones")
async def offers(request: Request) -> list[BundleInfo]:
    """Those that are being made are waited for."""
    return [BundleInfo(**one) for one in await desk_of(request).bundles.offers()]


@router.get(
    "/phone/models/{name}/{file}", tags=["phone"], response_class=FileResponse, responses=fails(404, 422),
    summary="A file of a bundle",
)  # fmt: skip
async def bundled(request: Request, name: str, file: str) -> FileResponse:
    """The bundle's own list, `bundle.json`, names the others."""
    path = desk_of(request).bundles.file(name, file)
    if path is None:
        raise Problem(404, "there is no such bundle, or it has no such file; see /phone/models.json")
    kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
    return FileResponse(path, media_type=kind, headers={"cache-control": "no-cache"})


def _disposition(how: str, name: str) -> str:
    """A header that names a file, whatever letters a client's name has."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[-120:]
    return f"{how}; filename=\"{safe}\"; filename*=UTF-8''{quote(name[-120:], safe='')}"


def problem_response(problem: Problem) -> JSONResponse:
    """A refusal as an answer."""
    return JSONResponse(problem.body(), problem.status, headers=problem.headers)
