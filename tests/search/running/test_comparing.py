"""`exme compare`: models scored one at a time on report documents, kept, counted as a use, and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.proof.uses import read_ledger
from exme.search.running.search import open_search
from exme.search.scoring.worker import Worker
from exme.tasks.errors import UserError

COUNT = 16


def write(folder: Path, **changed: Any) -> Path:
    content = {
        "base": "mini/base",
        "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
        "data": "mini",
        "documents": {"search": 8, "report": COUNT},
        "budget": {"trials": 3},
        "sampler": {"name": "random"},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content | changed, sort_keys=False))
    return path


def run(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["compare", *words, "--runs", str(folder / "runs")])


def test_models_score_as_inputs_of_a_study_do_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write(tmp_path)
    words = ["base", "mini/sums", "--study", str(study), "--json"]
    ran = run(tmp_path, *words)
    assert ran.exit_code == 0, ran.exception
    found = json.loads(ran.stdout)
    with open_search(study, runs=tmp_path / "other") as search:
        for name, theirs in (("base", "base"), ("sums", "sums")):
            expected = search.worker.score(search.inputs()[theirs], "report").scores
            told = found["models"][name]["gsm8k"]
            assert (told["score"], told["documents"]) == (pytest.approx(expected.mean), COUNT)

    def score(self: Worker, *asked: Any) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(Worker, "score", score)
    again = run(tmp_path, *words)
    assert json.loads(again.stdout) == found and "Scored before: sums (2 of 2)." in again.stderr
    assert len(read_ledger(tmp_path / "runs")) == 1


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["mini/base", "mini/sums", "--task", "gsm8k", "--documents", "4"]
    whole = Worker.score
    asked: list[str] = []

    def score(self: Worker, *given: Any) -> Any:
        asked.append(self.study.base)
        if asked == ["mini/base", "mini/sums"]:
            raise KeyboardInterrupt
        return whole(self, *given)

    monkeypatch.setattr(Worker, "score", score)
    run(tmp_path, *words)
    assert run(tmp_path, *words).exit_code == 0
    assert asked == ["mini/base", "mini/sums", "mini/sums"]
    assert not list((tmp_path / "runs").rglob("*.partial"))


@pytest.mark.slow
def test_a_comparison_is_a_use_of_a_studys_report_documents(tmp_path: Path) -> None:
    study = write(tmp_path)
    sampled = {"budget": {"trials": 5}}
    with open_search(write(tmp_path, **sampled), runs=tmp_path / "runs") as search:
        outcome = search.run()
    proofs = len(read_ledger(tmp_path / "runs"))
    ran = run(tmp_path, "base", "sums", "--study", str(study), "--json")
    found = json.loads(ran.stdout)
    assert found["use"] == proofs + 1 and len(read_ledger(tmp_path / "runs")) == proofs + 1
    assert found["pairs"][0]["gain"]["level"] == pytest.approx(
        0.05 / (found["use"] * (found["use"] + 1)) / 2  # either may beat the other
    )
    other = json.loads(run(tmp_path, "base", "products", "--study", str(study), "--json").stdout)
    assert other["use"] == proofs + 2
    with open_search(study, runs=tmp_path / "runs") as search:
        assert search.outcome().use == outcome.use  # what was proved before stays
        assert len(search.storage.uses()) == proofs + 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mini/base"], "found one model (mini/base), expected two or more"),
        (["mini/base", "mini/sums"], "--task is missing"),
        (["mini/base", "mini/sum", "--task", "gsm8k"], "did you mean 'mini/sums'"),
        (["mini/base", "mini/sums", "--task", "gsm8"], "did you mean 'gsm8k'"),
        (["a=mini/sums", "b=mini/sums", "--task", "gsm8k"], "a and b are the same model"),
        (
            ["mini/base", "mini/sums", "--task", "gsm8k", "--metric", "acc"],
            "--metric is of lm-eval's",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_and_counts_as_no_use(
    tmp_path: Path, words: list[str], message: str
) -> None:
    ran = run(tmp_path, *words)
    assert isinstance(ran.exception, UserError) and message in str(ran.exception)
    assert not read_ledger(tmp_path / "runs")
