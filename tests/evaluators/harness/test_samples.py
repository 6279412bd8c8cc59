"""lm-eval's sample files, as its own tracker writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval.loggers import EvaluationTracker
from typer.testing import CliRunner

from exme.evaluators.harness.samples import is_samples, read_samples
from exme.search.cli.main import app
from exme.tasks.errors import UserError


def write(folder: Path, task: str, values: list[float], **changed: Any) -> Path:
    """Samples of one model on one task, by lm-eval's tracker."""
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.model_name_sanitized = "model"
    tracker.date_id = "2026-11-30T19-17-40.123456"
    samples = [
        {
            "doc_id": place,
            "doc": {"question": f"{place}?"},
            "target": "1",
            "arguments": [("q", {})],
            "resps": [["1"]],
            "filtered_resps": ["1"],
            "filter": name,
            "metrics": ["acc"],
            "doc_hash": f"{changed.get('salt', '')}{place:064d}",
            "prompt_hash": "p",
            "target_hash": "t",
            "acc": value if name == "none" else 0.0,
        }
        for name in changed.get("filters", ["none"])
        for place, value in enumerate(values)
    ]
    tracker.save_results_samples(task, samples)
    return folder


def test_values_come_back_in_the_order_of_the_documents(tmp_path: Path) -> None:
    values = [float(place % 3 == 0) for place in range(12)]
    folder = write(tmp_path / "a", "my_task", values)
    assert is_samples(folder) and not is_samples(tmp_path / "nothing")
    found = read_samples(folder)
    assert (found.suite, found.metric, found.count) == ("my_task", "acc,none", 12)
    assert found.mean == pytest.approx(4 / 12)
    by_id = {
        d.split("/")[1].split(":")[0]: v
        for d, v in zip(found.parts[0].documents, found.values, strict=True)
    }
    assert [by_id[str(place)] for place in range(12)] == values


def test_subjects_of_a_suite_are_one_suite(tmp_path: Path) -> None:
    write(tmp_path, "mmlu_anatomy", [1.0, 0.0])
    write(tmp_path, "mmlu_virology", [1.0, 1.0, 0.0])
    found = read_samples(tmp_path)
    assert (found.suite, found.count) == ("mmlu", 5)
    assert found.mean == pytest.approx(3 / 5)


def test_the_direction_is_that_of_the_results_beside(tmp_path: Path) -> None:
    folder = write(tmp_path, "my_task", [0.25, 0.75, 0.25])
    assert read_samples(folder).mean == pytest.approx(1.25 / 3)
    stated = {"higher_is_better": {"my_task": {"acc": False}}}
    (folder / "model" / "results_2026.json").write_text(json.dumps(stated))
    found = read_samples(folder)
    assert found.scale.turn(found.mean) == pytest.approx(1.25 / 3) and found.mean == pytest.approx(
        1.75 / 3
    )


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("ac", r"no metric 'ac' \(have: acc,none\); did you mean"),
        ("acc,strict", r"no filter 'strict' \(have: acc,none\)"),
    ],
)
def test_a_metric_that_is_not_there_is_named(tmp_path: Path, metric: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_samples(write(tmp_path, "my_task", [1.0]), metric)


@pytest.mark.parametrize("line", ["", "{}", "[1]", '{"doc_id": 1, "metrics": ["acc"]}', "nonsense"])
def test_what_is_no_sample_is_refused_in_a_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "samples_x.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(UserError) as refused:
        read_samples(file)
    assert "samples_x.jsonl" in str(refused.value) and "\n" not in str(refused.value)


def test_two_runs_of_lm_eval_are_compared_without_a_model(tmp_path: Path) -> None:
    good = write(
        tmp_path / "good", "my_task", [1.0] * 30 + [0.0] * 10, filters=["none", "flexible"]
    )
    poor = write(
        tmp_path / "poor", "my_task", [1.0] * 12 + [0.0] * 28, filters=["none", "flexible"]
    )
    words = ["compare", str(good), f"bad={poor}", "--metric", "acc,none"]
    ran = CliRunner().invoke(app, [*words, "--json"])
    assert ran.exit_code == 0, ran.exception
    (pair,) = json.loads(ran.stdout)["pairs"]
    assert (pair["better"], pair["worse"], pair["proved"]) == ("good", "bad", True)
    assert (pair["won"], pair["lost"], pair["gain"]["estimate"]) == (18, 0, pytest.approx(0.45))
    told = CliRunner().invoke(app, words)
    assert "good beats bad by 45.0 points (97.5% interval of the gain" in told.stdout


@pytest.mark.parametrize(
    ("values", "changed", "message"),
    [
        (
            [1.0, 0.0],
            {},
            "good has 3 documents by acc,none, other 2 by acc,none, 2 of them the same",
        ),
        ([1.0, 0.0, 1.0], {"salt": "x"}, "0 of them the same; they must agree"),
    ],
)
def test_samples_of_other_documents_are_refused(
    tmp_path: Path, values: list[float], changed: dict[str, str], message: str
) -> None:
    good = write(tmp_path / "good", "my_task", [1.0, 0.0, 1.0])
    other = write(tmp_path / "other", "my_task", values, **changed)
    ran = CliRunner().invoke(app, ["compare", str(good), str(other)])
    assert isinstance(ran.exception, UserError) and message in str(ran.exception)
