"""A search that many processes share, kept in a database by Optuna (Akiba et al. 2019).

All trials of a search exist from its beginning, numbered and waiting; a worker takes one at a time, whichever machine
it runs on, so that their number is exact and a grid is covered once. A trial whose process died waits again under the
same number and goes on from its checkpoint. What a trial draws depends on the seed and on its number, not on who runs
it.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catenary.errors import ConfigError
from catenary.search.backend import (
    label,
    make_pruner,
    make_sampler,
    open_storage,
    opening,
    quiet,
    show_url,
    suggest,
    tupled,
    unlabel,
    using,
)
from catenary.search.space import Choices, Range, space_from_data
from catenary.search.trials import Trial

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna import Trial as OptunaTrial
    from optuna.trial import FrozenTrial

__all__ = ["Attempt", "Failed", "Pruned", "Study"]

#: Seconds to wait for a search that another process is just setting up.
SETUP_SECONDS = 60.0
#: A trial whose process died this often (not by an interrupt) is given up.
DEATHS = 2


class Pruned(Exception):
    """Raised by a trial that ends early since others were better by then."""


class Failed(Exception):
    """Raised by a trial that failed in a way that concerns only itself."""


class _Surplus(Exception):
    """A trial that was asked for when none was waiting any more."""


class Attempt:
    """A trial while it runs.

    Attributes:
        number: Of the trial.
        settings: Searched field -> value.
    """

    def __init__(self, number: int, settings: Mapping[str, Any], trial: OptunaTrial, prunes: bool) -> None:
        self.number, self.settings = number, dict(settings)
        self._trial, self._prunes = trial, prunes

    def report(self, round_: int, score: float) -> bool:
        """Record the score of a validation round; True when the trial should end."""
        self._trial.report(score, round_)
        return self._prunes and bool(self._trial.should_prune())

    def note(self, **facts: Any) -> None:
        """Record plain facts beside the score."""
        for name, value in facts.items():
            self._trial.set_user_attr(name, value)


class Study:
    """One search in a storage.

    Args:
        url: Optuna's storage URL.
        name: Of the study.

    Attributes:
        url, name: Where it is.
        record: What was asked for: ``space``, ``sampler``, ``pruner``, ``seed``, ``points`` (the settings that some
            trials begin with) and whatever else `create` was given.

    Raises:
        ConfigError: The storage cannot be opened.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.record: dict[str, Any] = {}
        self.space: dict[str, Range | Choices] = {}
        self._study: OptunaStudy | None = None
        self._surplus = False
        with quiet(), opening(url):
            self._storage = open_storage(url)

    def exists(self) -> bool:
        """Whether the storage holds a study of this name."""
        import optuna

        with quiet(), opening(self.url):
            return self.name in optuna.get_all_study_names(self._storage)

    def create(self, record: Mapping[str, Any], trials: int) -> bool:
        """Begin the search; False when another process was faster."""
        import optuna

        with quiet(), opening(self.url):
            try:
                study = optuna.create_study(storage=self._storage, study_name=self.name, direction="maximize")
            except optuna.exceptions.DuplicatedStudyError:
                return False
            self._adopt(study, record)
            study.set_user_attr("trials", trials)
            self.reclaim()
            study.set_user_attr("search", self.record)  # last: whoever joins waits for it
        return True

    def join(self) -> None:
        """Take over what another process has begun.

        Raises:
            ConfigError: The study is not one of ours.
        """
        import optuna

        with quiet(), opening(self.url):
            study = optuna.load_study(storage=self._storage, study_name=self.name)
            until = time.monotonic() + SETUP_SECONDS
            while "search" not in study.user_attrs:
                if "trials" not in study.user_attrs or time.monotonic() > until:
                    raise ConfigError(
                        f"the study '{self.name}' in {show_url(self.url)} was not begun by catenary tune, or its "
                        "beginning was interrupted; choose another --study"
                    )
                time.sleep(0.2)
            self._adopt(study, study.user_attrs["search"])

    @property
    def size(self) -> int:
        """Number of trials that the search is to hold."""
        return int(self._live.user_attrs["trials"])

    def extend(self, trials: int) -> None:
        """Let the search hold at least so many trials."""
        with quiet(), using(self.url):
            if trials > self.size:
                self._live.set_user_attr("trials", trials)
                self.reclaim()

    def waiting(self) -> int:
        """Number of trials that nobody has begun."""
        return sum(row.state == "waiting" for row in self.trials())

    def reclaim(self) -> None:
        """Let every trial wait again that has no result and no process that works on it."""
        import optuna
        from optuna.trial import TrialState

        with quiet(), using(self.url):
            study = self._live
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if _dead(trial.user_attrs.get("process")):
                    try:
                        study.tell(trial.number, state=TrialState.FAIL)
                    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
                        continue  # another process told it at the same moment
            attempts = self._attempts()
            for number in range(self.size):
                found = attempts.get(number, [])
                if not found or (_state(found) == "waiting" and found[-1].state == TrialState.FAIL):
                    start = found[-1].params if found else None
                    study.enqueue_trial(start or self._start(number), user_attrs={"number": number})

    def work(self, train: Callable[[Attempt], float], *, go_on: Callable[[], bool] = lambda: True) -> None:
        """Train waiting trials, one after another, until none is left.

        Args:
            train: Gives a trial's value, or raises `Pruned` or `Failed`; anything else ends the work.
            go_on: Asked before each trial.

        Raises:
            OutputError: The storage was lost.
        """
        with quiet(), using(self.url):
            while go_on() and not self._surplus:
                self.reclaim()
                if not self.waiting():
                    return
                self._live.optimize(lambda trial: self._objective(trial, train), n_trials=1, catch=(Failed, _Surplus))

    def trials(self) -> list[Trial]:
        """Every trial by its number."""
        with quiet(), using(self.url):
            attempts = self._attempts()
        return [self._row(number, attempts.get(number, [])) for number in range(self.size)]

    @property
    def _live(self) -> OptunaStudy:
        assert self._study is not None, "create or join first"
        return self._study

    def _adopt(self, study: OptunaStudy, record: Mapping[str, Any]) -> None:
        self.record = json.loads(json.dumps(record))
        self.space = space_from_data(self.record["space"])
        study.sampler = make_sampler(self.record)
        study.pruner = make_pruner(self.record)
        self._study = study

    def _objective(self, trial: OptunaTrial, train: Callable[[Attempt], float]) -> float:
        import optuna

        if "number" not in trial.user_attrs:
            self._surplus = True
            raise _Surplus
        number = int(trial.user_attrs["number"])
        if self._taken(number, trial.number):
            trial.set_user_attr("duplicate", True)
            raise _Surplus
        began = time.perf_counter()
        trial.set_user_attr("process", _process())
        settings = {key: suggest(trial, key, dimension) for key, dimension in self.space.items()}
        attempt = Attempt(number, settings, trial, self.record["pruner"] != "none")
        try:
            value = train(attempt)
        except Pruned as reason:
            attempt.note(reason=str(reason))
            raise optuna.TrialPruned from reason
        except Failed as reason:
            attempt.note(reason=str(reason))
            raise
        except KeyboardInterrupt:
            attempt.note(interrupted=True)
            raise
        finally:
            attempt.note(minutes=(time.perf_counter() - began) / 60)
        return value

    def _attempts(self) -> dict[int, list[FrozenTrial]]:
        """Number -> everything that was begun under it, in order."""
        found: dict[int, list[FrozenTrial]] = {}
        for trial in self._live.get_trials(deepcopy=False):
            if "number" in trial.user_attrs and "duplicate" not in trial.user_attrs:
                found.setdefault(int(trial.user_attrs["number"]), []).append(trial)
        return found

    def _taken(self, number: int, attempt: int) -> bool:
        """Whether a trial has a result or another attempt: two workers may let it wait again at the same moment."""
        from optuna.trial import TrialState

        others = [trial for trial in self._attempts()[number] if trial.number != attempt]
        return _state(others) in ("complete", "pruned", "failed") or any(
            other.number < attempt and other.state in (TrialState.RUNNING, TrialState.WAITING) for other in others
        )

    def _start(self, number: int) -> dict[str, Any]:
        """What a trial begins with instead of drawing it."""
        points: list[dict[str, Any]] = self.record["points"]
        return {key: label(tupled(value)) for key, value in points[number].items()} if number < len(points) else {}

    def _row(self, number: int, attempts: Sequence[FrozenTrial]) -> Trial:
        from optuna.trial import TrialState

        state = _state(attempts)
        ended = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "running": TrialState.RUNNING}
        wanted = [t for t in attempts if state not in ended or t.state == ended[state]]
        last = wanted[-1] if wanted else None
        if last is None:
            return Trial(number=number, state=state, settings={}, rounds={})
        facts = last.user_attrs
        reason = facts.get("reason", "")
        if state == "failed" and not reason:
            reason = f"its process died {DEATHS} times, most likely since the memory was used up"
        return Trial(
            number=number,
            state=state,
            settings={k: unlabel(self.space[k], v) for k, v in last.params.items() if k in self.space},
            value=last.value if state == "complete" else None,
            rounds=dict(sorted(last.intermediate_values.items())),
            minutes=float(facts.get("minutes", 0.0)),
            steps=int(facts.get("steps", 0)),
            reason=reason,
            host=str(facts.get("process", "")).partition("/")[0],
            folder=str(facts.get("folder", "")),
        )


def _state(attempts: Sequence[FrozenTrial]) -> Any:
    """What has become of a trial, from all its attempts."""
    from optuna.trial import TrialState

    states = {attempt.state for attempt in attempts}
    for state, word in ((TrialState.COMPLETE, "complete"), (TrialState.PRUNED, "pruned")):
        if state in states:
            return word
    if any("reason" in attempt.user_attrs for attempt in attempts if attempt.state == TrialState.FAIL):
        return "failed"
    if TrialState.RUNNING in states:
        return "running"
    deaths = [a for a in attempts if a.state == TrialState.FAIL and not a.user_attrs.get("interrupted")]
    return "failed" if len(deaths) >= DEATHS and TrialState.WAITING not in states else "waiting"


def _host() -> str:
    return f"{socket.gethostname()}-{uuid.getnode():x}"


def _process() -> str:
    """This process, told from any other on any machine, also from a later one of the same number."""
    import psutil

    return f"{_host()}/{os.getpid()}/{psutil.Process().create_time():.0f}"


def _dead(process: str | None) -> bool:
    """Whether a process of this machine has ended; of others only their silence tells."""
    import psutil

    host, _, rest = (process or "").partition("/")
    if host != _host():
        return False
    number, _, created = rest.partition("/")
    try:
        found = psutil.Process(int(number))
        return bool(abs(found.create_time() - float(created)) > 2) or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
