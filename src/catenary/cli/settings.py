"""``catenary settings``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

__all__ = ["Setting", "every_setting", "settings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One field of the configuration, as ``--set`` writes it."""

    key: str
    kind: str
    default: str
    meaning: str


def settings(
    start: Annotated[
        str, typer.Argument(metavar="START", show_default=False, help="Only fields that begin so, as in model.")
    ] = "",
) -> None:
    """Every field that --set can change.

    Each with its type, its default and its meaning. A field that nobody sets is chosen from the data by the planner.

    Examples:
        catenary settings
        catenary settings model.
    """
    from catenary.cli import show
    from catenary.errors import ConfigError, near_match

    known = every_setting()
    chosen = [setting for setting in known if setting.key.startswith(start)]
    if not chosen:
        names = {setting.key for setting in known} | {setting.key.partition(".")[0] for setting in known}
        close = near_match(start, names)
        if not close.startswith("did"):
            close = near_match(start, {name for name in names if "." not in name})
        raise ConfigError(f"no field begins with '{start}'; {close}")
    show.settings(chosen)


def every_setting() -> list[Setting]:
    """All fields in the order of the recipe, read from the models themselves.

    >>> next(setting for setting in every_setting() if setting.key == "sample.batch")
    Setting(key='sample.batch', kind='integer >= 1', default='8', meaning='patches a step and device')
    """
    from catenary.recipe import Recipe, fields

    schema = Recipe.model_json_schema()
    defaults = Recipe()
    found = []
    for key, meaning in fields().items():
        section, _, name = key.rpartition(".")
        owner: Mapping[str, Any] = schema
        holder: Any = defaults
        if section:
            owner = schema["$defs"][type(getattr(defaults, section)).__name__]
            holder = getattr(defaults, section)
        default = json.dumps(holder.model_dump(mode="json")[name]).strip('"')
        found.append(Setting(key=key, kind=_kind(owner["properties"][name]), default=default, meaning=meaning))
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words.

    >>> _kind({"type": "number", "minimum": 0, "maximum": 1}), _kind({"type": "array", "items": {"type": "integer"}})
    ('number 0 to 1', '[integer, ...]')
    """
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "true | false", "null": "null"}
    kind = str(schema.get("type", "object"))
    if kind == "array":
        parts = schema.get("prefixItems")
        return "[" + (", ".join(map(_kind, parts)) if parts else _kind(schema.get("items", {})) + ", ...") + "]"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{words[kind]} {low:g} to {high:g}"
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[name]:g}" for name, sign in bounds.items() if name in schema]
    return " ".join([words.get(kind, kind), " and ".join(limits)]).strip()
