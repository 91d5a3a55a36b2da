"""The pages: those that were built, and a plain one that lists the API."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from catenary.serve.settings import Settings

__all__ = ["add_pages"]

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code,pre{font:14px/1.45 ui-monospace,monospace}pre{overflow:auto;padding:.6rem;border:1px solid #8886}"
    "h2{margin-top:2rem;font-size:1.1rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem "
    ".6rem .2rem 0;vertical-align:top;border-bottom:1px solid #8884}"
)
_UNBUILT = (
    "<h1>catenary</h1><p>The server runs, but its page is not built. In the project: <code>make web</code>, then "
    "start the server again. Programs can use it at once: <a href='/docs'>the API</a>.</p>"
)


def add_pages(app: FastAPI, settings: Settings) -> None:
    """Add ``/docs``, and the built pages at all addresses that no route has."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(_page("catenary API", _listed(app.openapi())))

    if (settings.static / "index.html").is_file():
        app.mount("/", StaticFiles(directory=settings.static, html=True), name="pages")
        return

    @app.get("/", include_in_schema=False)
    async def unbuilt(request: Request) -> Response:
        return HTMLResponse(_page("catenary", _UNBUILT))


def _page(title: str, body: str) -> str:
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>{body}</html>"
    )


def _listed(schema: dict[str, Any]) -> str:
    """Routes and types of an OpenAPI description as a page without scripts."""
    parts = [f"<h1>{escape(schema['info']['title'])} {escape(schema['info']['version'])}</h1>"]
    parts.append(
        f"<p>{escape(schema['info']['description'])} For programs: <a href='/openapi.json'>openapi.json</a>.</p>"
    )
    for path, methods in schema["paths"].items():
        for method, one in methods.items():
            parts.append(f"<h2 id='{escape(one['operationId'])}'><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(one.get('description', one.get('summary', '')))}</p>")
            parts.append(_table(_parameters(one)))
            states = ", ".join(f"{code} {escape(_type(answer))}".strip() for code, answer in one["responses"].items())
            parts.append(f"<p>Answers: {states}</p>")
    for name, kind in schema.get("components", {}).get("schemas", {}).items():
        rows = [
            (field, _kind(about), about.get("description", "")) for field, about in kind.get("properties", {}).items()
        ]
        parts.append(
            f"<h2 id='{escape(name)}'>{escape(name)}</h2><p>{escape(kind.get('description', ''))}</p>{_table(rows)}"
        )
    return "".join(parts)


def _parameters(one: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = [(p["name"], p["in"], p.get("description", "")) for p in one.get("parameters", ())]
    for content in one.get("requestBody", {}).get("content", {}).values():
        rows += [
            (n, "form", about.get("description", "")) for n, about in content["schema"].get("properties", {}).items()
        ]
    return rows


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = (f"<tr><td><code>{escape(a)}</code><td>{escape(b)}<td>{escape(c)}</tr>" for a, b, c in rows)
    return f"<table>{''.join(cells)}</table>" if rows else ""


def _type(answer: dict[str, Any]) -> str:
    content = answer.get("content", {})
    return next((_kind(one.get("schema", {})) or kind for kind, one in content.items()), "")


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", ""))
