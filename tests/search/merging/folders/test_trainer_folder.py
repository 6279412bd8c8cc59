"""A trainer's folder is read for its checkpoints, steps and losses; what is not whole is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from exme.search.merging.folders.trainer_folder import training_run
from exme.tasks.errors import UserError
from tests.helpers.models.adapters import PLAIN, make_adapter
from tests.helpers.models.small_models import make_family


def checkpoint(folder: Path, step: int | None = None, **logged: float) -> Path:
    """A folder that looks like a checkpoint's from outside."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    if step is not None:
        history = [{"step": step, **logged}]
        state = {"global_step": step, "log_history": history}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def test_checkpoints_are_in_order_of_their_steps_with_what_the_trainer_says(tmp_path: Path) -> None:
    for step in (1000, 200, 30):
        checkpoint(tmp_path / f"checkpoint-{step}", step, eval_loss=step / 1000)
    (tmp_path / "checkpoint-30" / "optimizer.pt").write_bytes(b"no pickle")
    (tmp_path / "runs").mkdir()
    found = training_run(str(tmp_path))
    assert [c.name for c in found] == ["checkpoint-30", "checkpoint-200", "checkpoint-1000"]
    assert [c.step for c in found] == [30, 200, 1000]
    assert [c.loss for c in found] == [0.03, 0.2, 1.0]
    assert [Path(c.folder) for c in found] == [tmp_path / c.name for c in found]


def test_the_step_is_the_trainers_else_the_folders_and_the_loss_is_of_that_step(
    tmp_path: Path,
) -> None:
    checkpoint(tmp_path / "checkpoint-5", 7, loss=3.0)
    checkpoint(tmp_path / "checkpoint-9")
    state = {"global_step": 9, "log_history": [{"step": 8, "eval_loss": 1.0}, "odd"]}
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text(json.dumps(state))
    checkpoint(tmp_path / "last")
    found = training_run(f"{tmp_path}/*")
    assert [(c.name, c.step, c.loss) for c in found] == [
        ("checkpoint-5", 7, None),
        ("checkpoint-9", 9, None),
        ("last", None, None),
    ]


def test_a_pattern_over_two_runs_names_them_apart(tmp_path: Path) -> None:
    for run in ("one", "two"):
        checkpoint(tmp_path / run / "checkpoint-10")
    found = training_run(f"{tmp_path}/*/checkpoint-*")
    assert {c.name for c in found} == {"one-checkpoint-10", "two-checkpoint-10"}


def test_adapters_are_checkpoints_too(tmp_path: Path) -> None:
    family = make_family(tmp_path / "family")
    adapter = make_adapter(family["base"], tmp_path / "made", **PLAIN)
    for step in (10, 20):
        shutil.copytree(adapter, tmp_path / "run" / f"checkpoint-{step}")
    assert [c.step for c in training_run(str(tmp_path / "run"))] == [10, 20]


def no_checkpoints(run: Path) -> str:
    run.mkdir()
    return str(run)


def a_model(run: Path) -> str:
    (checkpoint(run) / "config.json").write_text("{}")
    return str(run)


def still_written(run: Path) -> str:
    checkpoint(run / "checkpoint-10", 10)
    (run / "checkpoint-20").mkdir()
    (run / "checkpoint-20" / "config.json").write_text("{}")
    return str(run)


def damaged_state(run: Path) -> str:
    checkpoint(run / "checkpoint-10")
    (run / "checkpoint-10" / "trainer_state.json").write_text('{"global_step": 1')
    return str(run)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_checkpoints, r"no checkpoints in .*checkpoint-\*$"),
        (a_model, "it is a model itself: give it with --checkpoint"),
        (still_written, r"checkpoint-20 has no weights .* its trainer may still be writing it"),
        (damaged_state, r"trainer_state.json: not readable as JSON"),
        (str, r"no such folder .* or a pattern such as '.*/checkpoint-\*'"),
        (lambda run: f"{run}/checkpoint-*", r"no checkpoints in"),
    ],
)
def test_what_is_no_run_of_whole_checkpoints_is_refused(
    tmp_path: Path, make: object, said: str
) -> None:
    assert callable(make)
    with pytest.raises(UserError, match=said) as error:
        training_run(make(tmp_path / "run"))
    assert "\n" not in str(error.value)
