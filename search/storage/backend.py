"""Opening an Optuna storage, SQLite or PostgreSQL; patient while it is away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.trial import FrozenTrial

from exme.tasks import UserError

from .patience import Patience, hide_secrets
from .read_only import reachable
from .run_folders import DATABASE


def open_backend(url: str, patience: Patience) -> BaseStorage:
    """A storage that waits while its database is away.

    Args:
        url: SQLAlchemy URL.
        patience: how it waits; opening itself does not.

    Raises:
        UserError: a package that the URL needs is not installed, or the URL is none.
    """
    url = reachable(url)
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        arguments["connect_args"] = {"timeout": 60}
    try:
        database = RDBStorage(url, engine_kwargs=arguments)
    except ImportError:
        extra = "postgres" if url.startswith("postgresql") else None
        hint = f"pip install 'exme[{extra}]'" if extra else "install the one that its URL names"
        raise UserError(f"storage: the database's driver is not installed; {hint}") from None
    if url.startswith("sqlite"):
        _keep_journal(database.engine)
    return _patient(get_storage(database), patience)


@contextlib.contextmanager
def opening(what: str) -> Iterator[None]:
    """Say in one line why a storage could not be opened.

    Args:
        what: that is opened.

    Raises:
        UserError: with the database's reason, without its password.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  (every database has errors of its own)
        cause = (
            getattr(error, "orig", None) or error
        )  # what SQLAlchemy wraps with an address of its own
        reason = hide_secrets(" ".join(str(cause).split()))[:200]
        raise UserError(
            f"{what} cannot be opened ({type(cause).__name__}: {reason}); check `storage` in the "
            f"study file"
        ) from None


def sqlite_url(folder: Path) -> str:
    """URL of the default storage in a run's folder."""
    return f"sqlite:///{(folder / DATABASE).resolve()}"


def study_names(url: str) -> list[str]:
    """Names of the studies in a storage.

    Raises:
        UserError: the storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    patience = Patience("The storage", lambda line: None, lambda: None, longest=0)
    with opening(f"storage {hide_secrets(url)}"):
        return optuna.get_all_study_names(open_backend(url, patience))


def _keep_journal(engine: Any) -> None:
    """Have SQLite append to one journal instead of writing a new one for every change.

    A trial makes a dozen changes, each of which would wait for the disk two or three times. What a
    process wrote survives its death at any moment; a power cut may take the last seconds with it,
    and leaves a database that is whole.
    """
    from sqlalchemy import event  # noqa: PLC0415  (slow)

    def begin(connection: Any, _: Any) -> None:
        with contextlib.suppress(Exception):  # e.g. on a disk that cannot: then the slow way
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", begin)
    engine.dispose()  # the connection that made the tables


def _patient(inner: BaseStorage, patience: Patience) -> BaseStorage:
    """The same storage, every call of which is tried again while the database is away.

    A call that was cut off may have been carried out. Attributes are then written twice, which
    changes nothing; a trial that was created twice leaves one without an owner, which `recover`
    closes; of a trial that seems to be finished already, the state says whether it was by us.
    """
    methods = {name: _calls(name) for name in [*BaseStorage.__abstractmethods__, *_CONCRETE]}
    made = type("PatientStorage", (BaseStorage,), methods)()
    made.inner, made.patience = inner, patience
    storage: BaseStorage = made
    return storage


def whole_trial(storage: BaseStorage, trial_id: int) -> FrozenTrial:
    """A trial as it is in the database, whatever a cache still holds of it.

    Args:
        storage: of `open_backend`.
        trial_id: the storage's own identifier of the trial.
    """
    inner = storage.inner  # type: ignore[attr-defined]  # an attribute of the class made here
    uncached: BaseStorage = inner._backend
    found: FrozenTrial = storage.patience.call(lambda _: uncached.get_trial(trial_id))  # type: ignore[attr-defined]  # likewise
    return found


# Optuna's storages override these for the sake of their caches.
_CONCRETE = ("get_trial_id_from_study_id_trial_number", "get_best_trial", "remove_session")


def _calls(name: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        def work(attempt: int) -> Any:
            try:
                return getattr(self.inner, name)(*arguments, **named)
            except UpdateFinishedTrialError:
                if not attempt or name != "set_trial_state_values":
                    raise
                wanted = named.get("state", arguments[1] if len(arguments) > 1 else None)
                if self.inner.get_trial(arguments[0]).state != wanted:
                    raise
                return True

        return self.patience.call(work)

    method.__name__ = name
    return method


def artifact_store(folder: Path) -> FileSystemArtifactStore:
    """Files that belong to trials, in a folder that is made where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(folder)
