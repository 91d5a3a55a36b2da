"""Images that wait for one network at the same time are answered in one batch; work is watched between batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catenary.predict.backends import Engine, WholeEngine

__all__ = ["WATCH", "Together"]

#: Called with the number of tiles before a network looks at them; raises to stop the work. One a thread.
WATCH: ContextVar[Callable[[int], None] | None] = ContextVar("WATCH", default=None)


@dataclass(eq=False)
class _Asked:
    """Tiles of one thread, and their answers."""

    x: NDArray[np.float32]
    whole: bool
    outputs: tuple[NDArray[np.float32], ...] = ()
    error: BaseException | None = None
    done: bool = field(default=False)


class Together:
    """An engine that many threads may call; those that wait while it works are answered together.

    Nobody waits for company: the first one goes alone, and who comes in the meantime goes together, as far as the tiles
    have one size.

    Args:
        engine: What answers.
        most: Tiles that it is given at a time, where several callers share a batch.

    >>> class Double:
    ...     name = "double"
    ...     def __call__(self, x):
    ...         return 2 * x
    >>> Together(Double())(np.ones((1, 1, 2, 2), np.float32)).sum()
    np.float32(8.0)
    """

    def __init__(self, engine: Engine, *, most: int = 8) -> None:
        self.name = engine.name
        self.batches: list[int] = []
        self._engine, self._most = engine, most
        self._waiting: list[_Asked] = []
        self._lock, self._running = threading.Lock(), threading.Lock()

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `catenary.predict.backends.Engine`."""
        return self._ask(x, whole=False)[0]

    def with_features(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `catenary.predict.backends.WholeEngine`."""
        answer, features = self._ask(x, whole=True)
        return answer, features

    def _ask(self, x: NDArray[np.float32], *, whole: bool) -> tuple[NDArray[np.float32], ...]:
        watch = WATCH.get()
        if watch is not None:
            watch(len(x))
        mine = _Asked(x, whole)
        with self._lock:
            self._waiting.append(mine)
        while not mine.done:
            with self._running:
                if not mine.done:
                    self._answer(self._next(mine))
        if mine.error is not None:
            raise mine.error
        return mine.outputs

    def _next(self, mine: _Asked) -> list[_Asked]:
        """This one, and those that wait and fit into its batch."""
        with self._lock:
            group, size = [mine], len(mine.x)
            for other in self._waiting:
                fits = other.whole == mine.whole and other.x.shape[1:] == mine.x.shape[1:]
                if other is not mine and fits and size + len(other.x) <= self._most:
                    group.append(other)
                    size += len(other.x)
            self._waiting = [one for one in self._waiting if one not in group]
        self.batches.append(len(group))
        del self.batches[:-1000]
        return group

    def _answer(self, group: list[_Asked]) -> None:
        try:
            x = group[0].x if len(group) == 1 else np.concatenate([one.x for one in group])
            outputs = self._outputs(x, group[0].whole)
            start = 0
            for one in group:  # copies, since an engine may use its memory again
                one.outputs = tuple(output[start : start + len(one.x)].copy() for output in outputs)
                start += len(one.x)
        except BaseException as error:
            for one in group:
                one.error = error
        finally:
            for one in group:
                one.done = True

    def _outputs(self, x: NDArray[np.float32], whole: bool) -> tuple[Any, ...]:
        if whole:
            assert isinstance(self._engine, WholeEngine)  # what classifiers are opened with
            return self._engine.with_features(x)
        return (self._engine(x),)
