"""Serving the application on a port."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from catenary.errors import ConfigError
from catenary.serve.app import create_app
from catenary.serve.foreman import WORKER
from catenary.serve.settings import Settings
from catenary.serve.store import Store

__all__ = ["configured", "data_folder", "run"]


def run(settings: Settings, *, told: Callable[[str], object] = print, worker: Sequence[str] = WORKER) -> None:
    """Serve until somebody interrupts; what runs then is run again at the next start.

    Args:
        settings: What is served, and how.
        told: Takes the address when the server listens.
        worker: How the process is started that does the work.

    Raises:
        ConfigError: The port is in use, or may not be used.
        ModelError: A model cannot be opened.
        OutputError: The data folder is in use, or cannot be written.
    """
    listening = _listening(settings)
    try:
        Store(settings.data).close()  # said before anything is begun
        app = create_app(settings, worker=worker)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        told(f"http://{shown}:{port}")
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
        uvicorn.Server(configured(app)).run(sockets=[listening])
    finally:
        listening.close()


def configured(app: Any) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        http="h11",
        h11_max_incomplete_event_size=1 << 16,
        ws="none",
        proxy_headers=False,
        server_header=False,
        backlog=256,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=30,
        access_log=False,
        log_level="warning",
        log_config=None,
    )


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio switches off the delay of small packets (40 ms an answer) only where the protocol is named
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere it would let two servers share a port
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host, settings.port))
        found.listen(256)
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            reason = "it is in use, perhaps by another catenary serve"
        raise ConfigError(
            f"the server cannot listen on port {settings.port} of {settings.host}: {reason}; choose another --port"
        ) from error
    return found


def data_folder() -> str:
    """Where jobs lie when nobody says so: the platform's folder for a user's data."""
    from platformdirs import user_data_dir

    return user_data_dir("catenary", appauthor=False)
