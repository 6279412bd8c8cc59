"""`checkpoints` names checkpoints one by one, or a training run: by a rule on what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exme.search.study.study_file import StudyFile, load_study_file
from exme.search.study.training_run import as_searched, is_ranked, is_training_run, keeping
from exme.tasks.errors import UserError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in (10, 20, 30, 40):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"")
    return tmp_path / "run"


def study(checkpoints: object, **changed: Any) -> StudyFile:
    return StudyFile.model_validate({"base": "mini/base", "checkpoints": checkpoints} | changed)


@pytest.mark.parametrize(
    ("checkpoints", "expected"),
    [
        ({"run": "run", "best": 2}, True),
        ({"run": "run/checkpoint-*"}, True),
        ({"run": "run/checkpoint-*", "best": 9}, True),
        ({"run": "run"}, False),
        ({"run": "run", "best": "other/folder"}, False),
        ({"run": "run/checkpoint-*", "more": "folder"}, False),
        ({"best": 2}, True),
        ("run", False),
    ],
)
def test_a_run_is_told_by_what_is_written_alone(checkpoints: object, expected: bool) -> None:
    assert is_training_run(checkpoints) == expected


def test_a_run_is_its_checkpoints(run: Path) -> None:
    for given in ({"run": str(run), "best": 2}, {"run": f"{run}/checkpoint-*"}):
        found = study(given)
        assert list(found.checkpoints) == [f"checkpoint-{step}" for step in (10, 20, 30, 40)]
        assert found.training_run is not None and found.training_run.best == 2
        assert found.training_run.steps["checkpoint-30"] == 30
        assert is_ranked(found)


def test_checkpoints_of_these_names_stay_checkpoints(run: Path) -> None:
    found = study({"run": str(run / "checkpoint-10"), "best": str(run / "checkpoint-20")})
    assert list(found.checkpoints) == ["run", "best"] and found.training_run is None
    assert not is_ranked(found) and as_searched(found) is found


def test_what_was_kept_is_read_again_without_the_files(run: Path) -> None:
    kept = keeping(study({"run": str(run), "best": 2}), ["checkpoint-20", "checkpoint-30"])
    for step in (10, 20, 30, 40):
        (run / f"checkpoint-{step}" / "model.safetensors").unlink()
    again = StudyFile.model_validate(kept.model_dump(mode="json"))
    assert again == kept and not is_ranked(again)
    assert again.training_run is not None
    assert list(again.training_run.dropped) == ["checkpoint-10", "checkpoint-40"]


def test_no_more_checkpoints_than_are_kept_are_not_ranked(run: Path) -> None:
    assert not is_ranked(study({"run": str(run), "best": 4}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"checkpoints": {"best": 2}}, "stands alone, found no run"),
        ({"checkpoints": {"run": "RUN", "best": 2, "math": "x"}}, "stands alone, found math"),
        ({"checkpoints": {"run": "RUN", "best": 5}}, "checkpoints.best: expected 1 to 4"),
        ({"checkpoints": {"run": "RUN", "best": True}}, "checkpoints.best: expected 1 to 4"),
        ({"checkpoints": {"run": 7, "best": 2}}, "checkpoints.run: expected a trainer's folder"),
        ({"starts": [{"checkpoint-10": 1.0}]}, "starts: names checkpoints, and which"),
        ({"shift": {"parent": "checkpoint-10", "bound": 1}}, "shift.parent: names checkpoints"),
        ({"vocabulary": "union"}, "vocabulary: union is not for a training run"),
        ({"budget": {"trials": 5}}, "ranking 4 checkpoints and the base takes 5 trials"),
        ({"method": "expo"}, "extrapolates exactly one checkpoint, found 2"),
    ],
)
def test_what_cannot_be_is_refused(run: Path, changed: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"checkpoints": {"run": str(run), "best": 2}} | changed
    if isinstance(given["checkpoints"].get("run"), str):
        given["checkpoints"] = {**given["checkpoints"], "run": str(run)}
    with pytest.raises(UserError, match=said):
        study(**given)


def test_the_field_is_no_key_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: mini/base\ntraining_run: {run: x}\n")
    with pytest.raises(UserError, match="unknown key 'training_run'; write checkpoints"):
        load_study_file(path)
