"""What stands before every request: its name for the server, its page, its token; and the headers of every answer.

A plain ASGI layer, so that streams pass through it.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from catenary.serve.metrics import Metrics
from catenary.serve.problem import Problem
from catenary.serve.settings import LOOPBACK, Settings

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Methods that change nothing.
SAFE = ("GET", "HEAD", "OPTIONS")
#: What needs the token where there is one; pages and their scripts hold nothing of anybody.
GUARDED = ("/api", "/metrics", "/docs", "/openapi.json", "/phone/models", "/phone/models.json")
#: Pages run their own scripts and WebAssembly, and fetch from here alone.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; connect-src 'self' data: "
    "blob:; frame-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Answers of the API run nothing, whatever they hold.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}

log = logging.getLogger("catenary.serve")


class Guard:
    """The layer; wraps an ASGI application.

    Args:
        app: What is guarded.
        settings: Names, token.
        metrics: Counts every answer.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: Settings, metrics: Metrics):
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, told = time.perf_counter(), False

        async def sent(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                told = True
                message["headers"] = _with_headers(scope["path"], list(message.get("headers", ())))
                seconds = time.perf_counter() - started
                self._metrics.answered(_route(scope), _method(scope), message["status"], seconds)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, sent)
        except Problem as problem:
            if told:
                raise
            response = JSONResponse(problem.body(), problem.status, headers=problem.headers)
            await response(scope, receive, sent)
        except Exception:
            log.exception("a request for %s failed", _route(scope))
            if told:
                raise
            mistake = Problem(500, "the server made a mistake, which its log tells; please report it")
            await JSONResponse(mistake.body(), 500)(scope, receive, sent)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        self._check_host(host)
        if scope["method"] not in SAFE:
            self._check_origin(headers, host)
        path = scope["path"]
        if self._settings.token and any(path == one or path.startswith(one + "/") for one in GUARDED):
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not self.knows(given):
                raise Problem(
                    401,
                    "the token is missing or wrong; send the header 'Authorization: Bearer TOKEN'",
                    headers={"www-authenticate": "Bearer"},
                )

    def knows(self, token: str) -> bool:
        """Whether a token is the right one, in a time that does not depend on where it differs."""
        return hmac.compare_digest(token.encode(), self._settings.token.encode())

    def _check_host(self, host: str) -> None:
        """A page elsewhere can make a name of its own mean this machine; what came by such a name is refused."""
        match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+)(:\d+)?", host)
        name = match[1].strip("[]").lower() if match else ""
        named = {one.lower() for one in self._settings.hosts}
        if self._settings.is_loopback:
            if name in named or name in LOOPBACK or re.fullmatch(r"127(\.\d{1,3}){3}", name):
                return
        elif name and (not named or name in named):
            return
        shown = host[:80] if host.isprintable() else "?"
        raise Problem(
            421, f"the server is not called '{shown}'; call it by its own name, or start it with --allow NAME"
        )

    @staticmethod
    def _check_origin(headers: dict[str, str], host: str) -> None:
        """Pages of other places must not change anything here."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != host):
            raise Problem(403, "a page of another place asked for this; use the page of this server")


def _with_headers(path: str, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    known = {name.lower() for name, _ in headers}
    is_data = path.startswith(("/api", "/health", "/metrics", "/openapi.json"))
    wanted = dict(_HEADERS)
    wanted["content-security-policy"] = DATA_POLICY if is_data else PAGE_POLICY
    if is_data:
        wanted["cache-control"] = "no-store"
    elif path.startswith("/assets/"):  # their names change with their content
        wanted["cache-control"] = "public, max-age=31536000, immutable"
    else:
        wanted["cache-control"] = "no-cache"
    new = [(name.encode(), value.encode()) for name, value in wanted.items() if name.encode() not in known]
    return headers + new


def _route(scope: Scope) -> str:
    """The pattern that a request matched, so that ids do not become labels."""
    route = getattr(scope.get("route"), "path", "")
    return str(route) or "pages"


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in (*SAFE, "POST", "DELETE", "PUT", "PATCH") else "other"
