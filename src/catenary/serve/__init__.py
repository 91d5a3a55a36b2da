"""The web app: one server that answers with models that were trained, for a page in the browser and for programs.

`create_app` makes the application (ASGI), `run` serves it. The packages of ``catenary[web]`` are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catenary.serve.app import create_app
    from catenary.serve.server import run
    from catenary.serve.settings import Settings

__all__ = ["Settings", "create_app", "run"]

#: Public name -> module that holds it.
_HOME = {
    "Settings": "catenary.serve.settings",
    "create_app": "catenary.serve.app",
    "run": "catenary.serve.server",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use; what it needs and is not installed is named with its extra."""
    if name not in _HOME:
        raise AttributeError(f"module 'catenary.serve' has no attribute {name!r}")
    from importlib import import_module

    from catenary.errors import MissingExtra

    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client", "platformdirs"):
            raise MissingExtra(package, "web") from error
        raise
