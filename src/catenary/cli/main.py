"""The entry point: the list of commands, and what happens to errors.

``catenary --help`` answers from `COMMANDS` alone; the file of a command is imported when the command is used, and what
the command needs (numpy, torch, ...) when it runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from catenary.cli.help import Command, lay_out
from catenary.errors import CatenaryError, ConfigError, InputError, MissingExtra, ModelError, near_match

__all__ = ["COMMANDS", "main", "program"]

#: Command -> its line in ``catenary --help``. The module ``catenary.cli.<command>`` holds a function of the same name.
COMMANDS: dict[str, str] = {
    "inspect": "What is there and what is wrong; trains nothing.",
    "plan": "What a run would do, and why; trains nothing.",
    "fit": "Train a model and evaluate it.",
    "predict": "Segment images of any size.",
    "evaluate": "Measure a model: table, JSON and report.",
    "tune": "Search for settings that train better.",
    "crop": "Cut the discs out of fundus photographs.",
    "pipeline": "Join trained stages to a screening pipeline.",
    "screen": "Screen fundus photographs for glaucoma.",
    "align": "Lay two images of one place onto each other.",
    "fields": "Tell from visual fields over the years which eyes get worse.",
    "compare": "Set two runs side by side, case by case.",
    "recipes": "Ready recipes for published systems.",
    "models": "Every network: parameters, operations, source.",
    "export": "Write a model, or those of a pipeline, for other programs.",
    "serve": "Serve models to a page in the browser and to programs.",
    "settings": "Every field that --set can change.",
    "city": "Draw a made-up city before and after a storm, with the damage of every building.",
    "demo": "The whole path on made-up images, in a few minutes.",
}

BAD_INPUT, FAILED, INTERRUPTED, TERMINATED, CLOSED_PIPE = 2, 1, 130, 143, 141
WIDTH = 100
REPORT_TO = "this should not happen, please report it with the output of the same command and --traceback"


class Commands(TyperGroup):
    """The commands of `COMMANDS`, imported one at a time."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command, built from its module; None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"catenary.cli.{cmd_name}")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name=cmd_name, cls=Command)(getattr(module, cmd_name))
        return typer.main.get_command(app)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, or an error with the near match."""
        if args and args[0] not in COMMANDS:
            raise ConfigError(f"there is no command '{args[0]}'; {near_match(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in the help text, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text of the whole program."""
        lay_out(self, ctx, formatter)
        self.format_commands(ctx, formatter)
        formatter.write("\nMore about one of them: catenary COMMAND --help\n")


def _show_version(wanted: bool) -> bool:
    if wanted:
        import catenary

        typer.echo(f"catenary {catenary.__version__}")
        raise typer.Exit()
    return wanted


def _catenary(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from; every command takes it.")
    ] = False,
) -> None:
    """A folder of images and masks goes in; a segmentation model you can trust, and what it measures, comes out."""


def program() -> Any:
    """The whole command line as one callable object (of typer's own kind)."""
    app = typer.Typer(
        name="catenary",
        cls=Commands,
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"max_content_width": WIDTH},
    )
    app.callback()(_catenary)
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; never raises.

    Args:
        argv: The arguments without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done, 2 the input, a setting or the command line is wrong, 1 the work failed, 130 interrupted,
        143 terminated, 141 the reader of the output went away.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in arguments
    arguments = [word for word in arguments if word != "--traceback"] or ["--help"]
    _prepare_process()
    try:
        # Not the command's own main(), which turns interrupts and closed pipes into exits of its own.
        command = program()
        with command.make_context("catenary", arguments) as context:
            code = command.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.Exit as done:
        return int(done.exit_code)
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if traceback:
            import traceback as standard

            standard.print_exception(error)
        message, code = _explain(error, arguments)
        print(f"catenary: {message}", file=sys.stderr)
        return code


class _Terminated(KeyboardInterrupt):
    """The process was asked to end; cleans up on the way out as an interrupt does."""


def _prepare_process() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that lacks a character gets "?", not an exception
            stream.reconfigure(errors="replace")
    owner = os.getpid()

    def terminate(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a forked worker inherits the handler but has nothing to clean up
            os._exit(TERMINATED)
        raise _Terminated

    try:
        signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread: the embedding program has its own handlers
        return


def _explain(error: BaseException, arguments: Sequence[str]) -> tuple[str, int]:
    """The sentence and the exit code for an error."""
    if isinstance(error, KeyboardInterrupt):
        ended = "terminated" if isinstance(error, _Terminated) else "interrupted"
        code = TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
        if arguments[0] in ("fit", "tune"):
            return f"{ended}; the same command with --resume goes on from the last checkpoint", code
        if arguments[0] == "predict" and "--pre" in arguments:
            return f"{ended}; the same command with --resume goes on", code
        return f"{ended}; finished files are complete, nothing is half written", code
    if isinstance(error, CatenaryError):
        bad_input = isinstance(error, InputError | ConfigError | ModelError | MissingExtra)
        return f"error: {error}", BAD_INPUT if bad_input else FAILED
    if hasattr(error, "format_message"):  # a usage error; its class has moved between releases of typer
        return f"error: {_usage(error, arguments)}", BAD_INPUT
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        remedy = "give less, as in --set sample.batch=2 or --set sample.patch=[128,128], or free memory"
        return f"error: the memory is used up; {remedy}", FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"error: the system refused{where}: {error.strerror}; check the path, its rights and the space", FAILED
    text = " ".join(str(error).split())
    return f"error: {type(error).__name__}: {text or 'no message'}; {REPORT_TO}", FAILED


def _usage(error: Any, arguments: Sequence[str]) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "catenary"
    if option := getattr(error, "option_name", ""):
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        if option not in known:
            return f"there is no option '{option}'; {near_match(option, [*known, '--help'])}"
    text = " ".join(str(error.format_message()).split()).rstrip(".").replace("Value error, ", "")  # pydantic's word
    return f"{text[:1].lower()}{text[1:]}; see {command} --help"
