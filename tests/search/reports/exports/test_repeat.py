"""The study that repeats a search elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from exme.search.merging.sources.location import public_names
from exme.search.reports.exports.repeat import places_to_give, study_to_repeat
from exme.search.study.study_file import StudyFile, load_study_file
from exme.search.study.training_run import TrainingRunSection


def test_a_study_to_repeat_keeps_settings_and_drops_what_is_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    study = StudyFile.model_validate(
        {
            "base": f"{tmp_path}/ann/base",
            "checkpoints": {"a": f"{tmp_path}/ann/a", "b": "owner/b@v1"},
            "storage": "postgresql://ann:secret@db.example.org/runs",
            "measure": f"{tmp_path}/mine.py:score",
            "data": f"{tmp_path}/ann/documents",
            "racing": None,
            "budget": {"documents": 999},
            "vllm": {"tensor_parallel_size": 2, "engine_args": {"download_dir": "models/ann"}},
        }
    )
    names = public_names({"base": study.base, **study.checkpoints})
    text = study_to_repeat(study, names)
    assert not re.search("ann|secret|example", text)
    (tmp_path / "study.yaml").write_text(text)
    again = load_study_file(tmp_path / "study.yaml")
    assert (again.racing, again.budget.documents, again.vllm.tensor_parallel_size) == (None, 999, 2)
    assert again.measure == study.measure
    assert again.checkpoints == {"a": "./a", "b": "owner/b@v1"}
    told = ["./base", "./a", "./documents", "mine.py"]
    assert places_to_give(study, names) == told and ", ".join(told) in text


def test_a_study_of_a_training_run_is_repeated_from_the_run(tmp_path: Path) -> None:
    study = StudyFile.model_validate(
        {"base": "owner/base", "checkpoints": {"last": f"{tmp_path}/ann/sft/checkpoint-9"}}
    )
    run = TrainingRunSection(
        run=f"{tmp_path}/ann/sft/checkpoint-*",
        best=1,
        dropped={"first": f"{tmp_path}/ann/sft/checkpoint-5"},
    )
    study = study.model_copy(update={"training_run": run})
    names = public_names({"base": study.base, **study.checkpoints})
    text = study_to_repeat(study, names)
    assert yaml.safe_load(text)["checkpoints"] == {"run": "./sft/checkpoint-*", "best": 1}
    assert "ann" not in text and "training_run" not in text
    assert places_to_give(study, names) == ["./sft/checkpoint-*"]
