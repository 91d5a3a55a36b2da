"""The text of ``--help``: what is needed first, every option on one line where it fits, examples last."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any

from typer.core import TyperCommand

__all__ = ["Command", "lay_out"]


class Command(TyperCommand):
    """A command whose help is laid out here, so that it reads the same whichever release of typer draws it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text of this command."""
        lay_out(self, ctx, formatter)


def lay_out(command: Any, ctx: Any, formatter: Any) -> None:
    """Write usage, the docstring, arguments, options and the docstring's examples."""
    text, _, examples = inspect.cleandoc(command.help or "").partition("\n\nExamples:\n")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    needed = [f"[{_name(p)}]" if not p.required else _name(p) for p in arguments]
    needed += [_name(p) for p in options if p.required]
    tail = ["COMMAND [OPTIONS]"] if hasattr(command, "list_commands") else ["[OPTIONS]"]
    formatter.write_usage(ctx.command_path, " ".join([*needed, *tail]))
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(text)
    for title, parameters in (("Arguments", arguments), ("Options", options)):
        rows = [(_name(p), _meaning(p)) for p in parameters]
        if title == "Options":
            rows.append(("--help", "Show this message."))
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
    if examples:
        with formatter.section("Examples"), formatter.indentation():
            formatter.write("".join(f"  {line.strip()}\n" for line in examples.splitlines()))


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
    return ", ".join(parameter.opts) + value


def _meaning(parameter: Any) -> str:
    default = parameter.default
    if isinstance(default, Enum):
        default = default.value
    shown = (
        f" [default: {default}]" if default and not callable(default) and parameter.param_type_name == "option" else ""
    )
    return f"{parameter.help or ''}{' [required]' if parameter.required else ''}{shown}"
