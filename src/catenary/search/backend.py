"""What Optuna needs for a search: its storage, samplers, pruners and distributions; and its errors in our words."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catenary.errors import CatenaryError, ConfigError, MissingExtra, OutputError
from catenary.search.space import Choices, Range, Space

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna import Trial as OptunaTrial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "distributions",
    "label",
    "make_pruner",
    "make_sampler",
    "need_optuna",
    "open_storage",
    "opening",
    "quiet",
    "show_url",
    "suggest",
    "tupled",
    "unlabel",
    "using",
]

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "hyperband", "none")

#: Seconds to wait for a database that another process has locked.
LOCK_SECONDS = 60.0
#: A process that has not been heard of for so many seconds is dead; it is heard of every fifth of that.
SILENT_SECONDS = 300


def need_optuna() -> None:
    """Tell early when the package is missing.

    Raises:
        MissingExtra: It is.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtra("optuna", "tune") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna's log lines and its remarks on its own interface kept to itself, for as long as the block lasts."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", category=FutureWarning, module="optuna")
            warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes", category=UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def show_url(url: str) -> str:
    """A storage's address without its password.

    >>> show_url("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    head, at, tail = url.rpartition("@")
    scheme, slashes, who = head.partition("://")
    if not at or not slashes or ":" not in who:
        return url
    return f"{scheme}://{who.partition(':')[0]}:***@{tail}"


@contextmanager
def opening(url: str) -> Iterator[None]:
    """Errors of a storage on first contact, as one sentence."""
    import sqlalchemy.exc
    from optuna.exceptions import OptunaError

    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"the storage {show_url(url)} needs a database driver that is not installed ({_first_line(error)}); "
            "install it with pip"
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, OptunaError, OSError, RuntimeError) as error:
        raise ConfigError(f"the storage {show_url(url)} cannot be used: {_why(error)}") from error


@contextmanager
def using(url: str) -> Iterator[None]:
    """Errors of a storage during the search, as one sentence."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except CatenaryError:
        raise
    except Exception as error:
        lost: BaseException | None = error  # Optuna may stumble over the loss with an error of its own
        while lost is not None and not isinstance(lost, sqlalchemy.exc.SQLAlchemyError | StorageInternalError):
            lost = lost.__cause__ or lost.__context__
        if lost is None:
            raise
        raise OutputError(
            f"the storage {show_url(url)} was lost during the search: {_why(lost)}; then go on with --resume"
        ) from error


def _why(error: BaseException) -> str:
    """The reason and the remedy."""
    inner: BaseException = error.__cause__ or error
    reason = _first_line(getattr(inner, "orig", None) or inner)
    if "locked" in reason:
        return "it is locked by another program; close that, or choose another --storage"
    if "not a database" in reason:
        return "the file is no database; choose another --storage"
    if "URL" in reason or "NoSuchModule" in type(inner).__name__:
        return f"{reason}; write it as sqlite:///FILE, postgresql://USER@HOST/NAME or mysql://USER@HOST/NAME"
    return f"{reason}; check the address, the rights and that the database runs"


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def open_storage(url: str) -> RDBStorage:
    """Connect to a database, with its tables made when needed.

    Raises:
        ConfigError: An SQLite file would lie in no folder; see `opening` for what else can be wrong.
    """
    import sqlalchemy.event
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage

    class Patient(RDBStorage):
        """A missed sign of life is no error; should the storage be lost, what comes next tells."""

        def record_heartbeat(self, trial_id: int) -> None:
            with suppress(StorageInternalError, sqlalchemy.exc.SQLAlchemyError):
                super().record_heartbeat(trial_id)

    sqlite = url.startswith("sqlite")
    if sqlite:
        path = url.partition(":///")[2]
        folder = Path(path).absolute().parent
        if path and not path.startswith(":") and not folder.is_dir():
            raise ConfigError(f"the storage {url} lies in no folder that exists; make {folder} first")
    storage = Patient(
        url,
        engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else {},
        heartbeat_interval=SILENT_SECONDS // 5,
        grace_period=SILENT_SECONDS,
    )
    if sqlite:
        # SQLite locks no rows: without the lock of the whole file, two workers could take the same waiting trial.
        sqlalchemy.event.listen(
            storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
        )
    return storage


def make_pruner(record: Mapping[str, Any]) -> BasePruner:
    """What ends poor trials; never in the first third of a training, when little is decided."""
    from optuna import pruners

    rounds = int(record["rounds"])
    if record["pruner"] == "median":
        return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(2, rounds // 3))
    if record["pruner"] == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=rounds, reduction_factor=3)
    return pruners.NopPruner()


def make_sampler(record: Mapping[str, Any]) -> BaseSampler:
    """The sampler of a search, begun anew for each trial from the seed and the trial's number.

    TPE: Bergstra et al. 2011, over all fields jointly. A running trial counts as poor, so that workers keep apart.
    """
    import numpy as np
    from optuna.samplers import BaseSampler, RandomSampler, TPESampler

    def fresh(number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([int(record["seed"]), number]).generate_state(1)[0])
        if record["sampler"] == "tpe":
            startup = int(record["startup"])
            return TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)
        return RandomSampler(seed=seed)

    class Numbered(BaseSampler):
        inner = fresh(0)

        def before_trial(self, study: OptunaStudy, trial: FrozenTrial) -> None:
            self.inner = fresh(int(trial.user_attrs.get("number", 0)))

        def infer_relative_search_space(self, study: OptunaStudy, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            return self.inner.infer_relative_search_space(study, trial)

        def sample_relative(
            self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            return self.inner.sample_relative(study, trial, search_space)

        def sample_independent(
            self, study: OptunaStudy, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            return self.inner.sample_independent(study, trial, param_name, param_distribution)

    return Numbered()


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space as Optuna has it; values that are lists become text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for key, d in space.items():
        if isinstance(d, Choices):
            found[key] = CategoricalDistribution([label(value) for value in d.values])
        elif d.whole:
            found[key] = IntDistribution(int(d.low), int(d.high), log=d.log)
        else:
            found[key] = FloatDistribution(d.low, d.high, log=d.log)
    return found


def suggest(trial: OptunaTrial, key: str, dimension: Range | Choices) -> Any:
    """Draw a field's value."""
    if isinstance(dimension, Choices):
        return unlabel(dimension, trial.suggest_categorical(key, [label(value) for value in dimension.values]))
    if dimension.whole:
        return trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)


def label(value: Any) -> Any:
    """A value as Optuna's storages keep it."""
    return json.dumps(value) if isinstance(value, tuple) else value


def unlabel(dimension: Range | Choices, kept: Any) -> Any:
    """The value that a storage keeps as `kept`."""
    if isinstance(dimension, Choices):
        return next(value for value in dimension.values if label(value) == kept)
    return kept


def tupled(value: Any) -> Any:
    """A list as the tuple that it was before it went through JSON."""
    return tuple(value) if isinstance(value, list) else value
