"""Trials in Weights & Biases or MLflow, through Optuna's own callbacks.

A copy for people to look at: the storage stays the only place where results live, and a tracker that
fails does not end a search.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from exme.tasks import UserError

Tracker = Literal["wandb", "mlflow"]

METRIC = "score"


class Tracking:
    """Tells trackers of trials.

    Args:
        trackers: where to; ``wandb`` and ``mlflow`` are set up as their own documentation says, by
            their environment variables and log-ins.
        study: the study's name: a run there, or MLflow's experiment.
        folder: the run's folder, for what they write on this machine.
        say: where it is said that one of them failed, once.

    Raises:
        UserError: a tracker's package is missing, or it cannot be begun.
    """

    def __init__(
        self, trackers: Sequence[Tracker], study: str, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._callbacks: dict[str, Any] = {}
        for name in dict.fromkeys(trackers):
            with _undeprecated():
                self._callbacks[name] = _begin(name, study, folder)

    def tell(self, study: Any, trial: Any) -> None:
        """Pass on a trial that has ended.

        Args:
            study: Optuna's study.
            trial: one of its frozen trials.
        """
        for name, callback in list(self._callbacks.items()):
            try:
                with _undeprecated():
                    callback(study, trial)
            except Exception as error:  # noqa: BLE001  (a copy is not worth a search)
                del self._callbacks[name]
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._say(f"{name}: no trials go there any more ({reason}); the search goes on.")


def _begin(name: Tracker, study: str, folder: Path) -> Any:
    try:
        importlib.import_module(name)
        callbacks = importlib.import_module(f"optuna_integration.{name}")
    except ImportError as error:
        raise UserError(
            f'track: {name}: {error}; run pip install "exme[{name}]", or leave it out of `track`'
        ) from None
    try:
        if name == "wandb":
            project = os.environ.get("WANDB_PROJECT", "exme")
            settings = {"project": project, "name": study, "dir": str(folder)}
            return callbacks.WeightsAndBiasesCallback(metric_name=METRIC, wandb_kwargs=settings)
        default = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        address = os.environ.get("MLFLOW_TRACKING_URI", default)
        return callbacks.MLflowCallback(tracking_uri=address, metric_name=METRIC)
    except Exception as error:  # noqa: BLE001  (theirs are many: no log-in, no network, ...)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"track: {name} cannot be begun ({reason}); see its documentation, or leave it out"
        ) from None


@contextlib.contextmanager
def _undeprecated() -> Iterator[None]:
    """Optuna deprecates its callbacks; constraints hold the version that has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
