"""Trials copied to trackers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from exme.search.tracking import Tracking
from exme.tasks.errors import UserError

from .test_runner import Opened


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
