"""Progress of long work: bars with the time left on a terminal, a line now and then elsewhere.

Work reports through the callback `catenary.types.Progress`, ``progress(what, done, total)``. What stands before the
first comma or colon of `what` names the work; the rest (a loss, a file) may change from call to call. A total of 0
means that nobody knows it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from catenary.types import Progress

__all__ = ["plain", "show_progress"]


@contextmanager
def show_progress() -> Iterator[Progress]:
    """The `Progress` that suits where standard error goes."""
    if not sys.stderr.isatty():
        yield plain(lambda line: print(line, file=sys.stderr, flush=True))
        return

    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}
        over: set[str] = set()

        def progress(what: str, done: int, total: int) -> None:
            name = _name(what)
            if name not in tasks or (name in over and done < total):
                tasks[name] = bars.add_task(what, total=None)
                over.discard(name)
            bars.update(tasks[name], description=what, completed=done, total=total or None)
            if done >= total > 0:
                over.add(name)

        yield progress


def _name(what: str) -> str:
    """The part of a message that stays the same.

    >>> _name("training, loss 0.3")
    'training'
    """
    return re.split("[,:]", what, maxsplit=1)[0]


def plain(
    tell: Callable[[str], object],
    *,
    clock: Callable[[], float] = time.monotonic,
    every: float = 0.1,
    pause: float = 1.0,
) -> Progress:
    """A `Progress` of plain lines: one for each tenth of the work, at most one in `pause` seconds but for the last.

    Args:
        tell: Takes one line.
        clock: Seconds that only grow.
        every: Share of the work between two lines.
        pause: Least seconds between two lines; work that is over sooner is not mentioned at all.

    >>> seconds = iter(range(0, 1000, 30))
    >>> progress = plain(print, clock=lambda: float(next(seconds)))
    >>> for done in range(0, 101, 50):
    ...     progress("training, loss 0.3", done, 100)
    training, loss 0.3: 50 %, 30 s left
    training, loss 0.3: 100 %, 1 min 00 s
    """
    begun: dict[str, tuple[float, float]] = {}  # name -> when, and the share that was done by then (a resumed run)
    shown: dict[str, float] = {}
    last = clock()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last
        if total <= 0:
            return
        now, name, share = clock(), _name(what), min(done / total, 1.0)
        if name not in begun or (shown[name] >= 1 > share):
            begun[name], shown[name] = (now, share), share
        if shown[name] >= 1:
            return
        start, had = begun[name]
        rested = now - max(last, start) >= pause or (share >= 1 and shown[name] > had)  # an end follows a beginning
        due = rested and int(share / every + 1e-9) > int(shown[name] / every + 1e-9)
        if due:
            spent = now - start
            rest = f"{_duration(spent * (1 - share) / (share - had))} left" if share < 1 else _duration(spent)
            tell(f"{what}: {100 * share:.0f} %, {rest}")
            last = now
        if due or share >= 1:
            shown[name] = share

    return progress


def _duration(seconds: float) -> str:
    """Seconds in words.

    >>> _duration(59.6), _duration(7265.0)
    ('1 min 00 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
