"""Trials copied to trackers."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import optuna
import pytest

from exme.search.running.tracking import Tracking
from exme.tasks.errors import UserError
from tests.helpers.searches.opened import Opened


def test_every_trial_of_a_search_reaches_weights_and_biases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    pytest.importorskip("optuna_integration.wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged: list[dict[str, Any]] = []
    stock = wandb.Run.log

    def log(run: Any, data: dict[str, Any], **more: Any) -> None:
        logged.append(data)
        stock(run, data, **more)

    monkeypatch.setattr(wandb.Run, "log", log)
    opened = Opened(tmp_path, track=["wandb"], racing="off", budget={"trials": 4})
    try:
        trials = opened.search.run().trials
    finally:
        wandb.finish()
    scored = [t.value for t in trials if t.scores is not None]
    assert len(scored) == 4
    assert [entry["score"] for entry in logged] == scored
    assert all({"sums", "products"} <= set(entry) for entry in logged)
    assert list((opened.search.folder / "wandb").glob("offline-run-*/*.wandb"))


def test_every_trial_of_a_search_reaches_mlflow(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("optuna_integration.mlflow")
    opened = Opened(tmp_path, track=["mlflow"], racing="off", budget={"trials": 4})
    trials = opened.search.run().trials
    client = mlflow.MlflowClient(f"sqlite:///{(opened.search.folder / 'mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name(opened.search.storage.study.study_name)
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(r.data.metrics["score"] for r in runs) == sorted(
        t.value or 0 for t in trials if t.scores
    )


class Recorder:
    """Stands for a callback of optuna-integration where the trackers are not installed: keeps what it is given."""

    made: ClassVar[list[Recorder]] = []

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.told: list[tuple[int, dict[str, Any], list[float] | None]] = []
        Recorder.made.append(self)

    def __call__(self, study: Any, trial: Any) -> None:
        assert trial.state.is_finished()
        self.told.append((trial.number, dict(trial.params), trial.values))


CALLBACKS = {"wandb": "WeightsAndBiasesCallback", "mlflow": "MLflowCallback"}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """Both trackers, as far as ExMe knows them: two modules and a callback each."""
    monkeypatch.setattr(Recorder, "made", [])
    monkeypatch.setitem(sys.modules, "optuna_integration", ModuleType("optuna_integration"))
    for name, callback in CALLBACKS.items():
        module = ModuleType(f"optuna_integration.{name}")
        setattr(module, callback, Recorder)
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, f"optuna_integration.{name}", module)
        monkeypatch.delenv("WANDB_PROJECT", raising=False)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Recorder.made


@pytest.mark.parametrize("racing", ["off", {"chunk": 20}])
def test_each_tracker_is_told_of_every_trial_in_turn(
    recorded: list[Recorder], tmp_path: Path, racing: Any
) -> None:
    opened = Opened(tmp_path, track=["wandb", "mlflow"], racing=racing, budget={"trials": 4})
    trials = [t for t in opened.search.run().trials if t.state != "waiting"]
    assert len(recorded) == 2
    for tracker in recorded:
        assert [number for number, _, _ in tracker.told] == [t.number for t in trials]
        for (_, parameters, values), trial in zip(tracker.told, trials, strict=True):
            assert trial.candidate is not None and set(parameters) == {"sums", "products"}
            known = trial.scores or trial.estimate
            assert known is not None and values == [known.mean]


def test_trackers_are_set_up_as_the_study_and_their_own_settings_say(
    recorded: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracking(["wandb", "mlflow", "wandb"], "mini-gsm8k", tmp_path, print)
    wandb, mlflow = (made.settings for made in recorded)
    assert wandb["metric_name"] == mlflow["metric_name"] == "score"
    assert wandb["wandb_kwargs"] == {"project": "exme", "name": "mini-gsm8k", "dir": str(tmp_path)}
    assert mlflow["tracking_uri"] == f"sqlite:///{tmp_path.resolve() / 'mlflow.db'}"
    monkeypatch.setenv("WANDB_PROJECT", "merges")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    Tracking(["wandb", "mlflow"], "mini-gsm8k", tmp_path, print)
    wandb, mlflow = (made.settings for made in recorded[2:])
    assert wandb["wandb_kwargs"]["project"] == "merges"
    assert mlflow["tracking_uri"] == "http://127.0.0.1:5000"


def test_a_tracker_that_cannot_be_begun_is_refused_in_one_line(
    recorded: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Recorder, **settings: Any) -> None:
        raise PermissionError("no log-in\nhere")

    monkeypatch.setattr(Recorder, "__init__", refuse)
    with pytest.raises(
        UserError, match=r"wandb cannot be begun \(PermissionError: no log-in here\)"
    ):
        Tracking(["wandb"], "name", tmp_path, print)


@pytest.mark.parametrize("name", CALLBACKS)
def test_the_real_callbacks_take_what_the_recorder_is_given(name: str) -> None:
    module = pytest.importorskip(f"optuna_integration.{name}")
    known = inspect.signature(getattr(module, CALLBACKS[name])).parameters
    given = {"wandb": {"metric_name", "wandb_kwargs"}, "mlflow": {"metric_name", "tracking_uri"}}
    assert given[name] <= set(known)


class Broken:
    """A tracker whose server is gone."""

    calls = 0

    def __call__(self, study: Any, trial: Any) -> None:
        Broken.calls += 1
        raise ConnectionError("no route to host")


def test_a_tracker_that_fails_is_named_once_and_ends_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    tracking = Tracking([], "name", tmp_path, said.append)
    tracking._callbacks["wandb"] = Broken()
    study = optuna.create_study()
    for _ in range(3):
        tracking.tell(study, None)
    assert Broken.calls == 1
    assert said == [
        "wandb: no trials go there any more (ConnectionError: no route to host); the search goes on."
    ]


def test_a_missing_package_is_refused_before_anything_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    opened = Opened(tmp_path, track=["mlflow"])
    with pytest.raises(UserError, match=r'track: mlflow.*pip install "exme\[mlflow\]"'):
        opened.search.run()
    assert opened.search.storage.trials() == []


def test_a_study_may_be_tracked_from_any_day_on(tmp_path: Path) -> None:
    opened = Opened(tmp_path, track=["wandb"])
    assert "track" not in opened.search.storage.study.user_attrs["pinned"]
