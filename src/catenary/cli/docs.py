"""``python -m catenary.cli.docs`` prints ``docs/cli.md``: every help text as the program gives it."""

from __future__ import annotations

import contextlib
import io
import os

from catenary.cli.main import COMMANDS, WIDTH, main

__all__ = ["help_text", "page"]

_HEAD = """\
# The command line

A command parses its arguments, calls the Python function of the same name in `catenary.workflow`, and prints what came
back; both give the same files. Tables go to standard output, progress and errors to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 2 | the input, a setting or the command line is wrong: one sentence says what, and the remedy |
| 1 | the work failed: training collapsed, a result could not be written |
| 130, 143 | interrupted, terminated: finished files are complete, `catenary fit ... --resume` goes on |
| 141 | the reader of the output (as in `catenary settings \\| head`) went away |

This page is made by `make docs`; a test compares it with the program.
"""


def help_text(*words: str) -> str:
    """What ``catenary WORDS --help`` prints."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return printed.getvalue()


def page() -> str:
    """The whole page in Markdown."""
    parts = [_HEAD, f"## catenary\n\n```text\n{help_text()}```\n"]
    parts += [f"## catenary {name}\n\n```text\n{help_text(name)}```\n" for name in COMMANDS]
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
