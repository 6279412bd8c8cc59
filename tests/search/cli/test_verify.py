"""`exme verify`: it agrees where scores are lm-eval's, and says so where they are not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from exme.evaluators.fast.engine import FastEngine
from exme.search.cli.verify import differences, table, verify_study
from exme.tasks.errors import UserError
from tests.helpers.searches.hearing import Hearing

STUDY = {
    "base": "mini/base",
    "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
    "suites": ["gsm8k"],
    "data": "mini",
    "documents": {"search": 64, "report": 8},
    "batch_size": 8,
}


def write(folder: Path, **changed: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | changed))
    return path


@pytest.mark.slow
def test_scores_are_lm_evals(tmp_path: Path) -> None:
    [parity] = verify_study(write(tmp_path), "gsm8k", "sums", 12, tmp_path / "runs")
    assert parity.equal
    assert parity.count == 12
    assert parity.ours == parity.theirs > 0
    assert "| gsm8k | exact_match,strict-match | 12 |" in table([parity])
    assert not (tmp_path / "runs").exists()  # the study's own run is not touched


def test_a_suite_without_examples_is_put_to_lm_eval_without_any(tmp_path: Path) -> None:
    study = write(tmp_path, suites=["math"])
    [parity] = verify_study(study, "math", "sums", 6, tmp_path / "runs")
    assert parity.equal


def test_a_differing_score_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: FastEngine, requests: list[Any]) -> list[str]:
        return ["#### -1" for _ in requests]

    monkeypatch.setattr(FastEngine, "generate_until", wrong)
    [parity] = verify_study(write(tmp_path, max_gen_toks=80), "gsm8k", "sums", 8, tmp_path / "runs")
    assert not parity.equal
    assert parity.ours == 0
    assert len(parity.differing) == round(parity.theirs * 8) > 0


def test_answers_that_differ_and_score_the_same_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = FastEngine.generate_until

    def longer(self: FastEngine, requests: list[Any]) -> list[str]:
        answers = stock(self, requests)
        return [answers[0] + " ", *answers[1:]]

    monkeypatch.setattr(FastEngine, "generate_until", longer)
    [parity] = verify_study(write(tmp_path, max_gen_toks=8), "gsm8k", "base", 6, tmp_path / "runs")
    assert parity.ours == parity.theirs == 0  # a weak model, cut short
    assert not parity.differing
    assert len(parity.answering) == 1
    assert not parity.equal
    assert "5 of 6 (answers and scores)" in table([parity])
    assert differences(parity) == [f"gsm8k: answers differ on 1 documents: {parity.answering[0]}"]


def test_it_says_what_it_does_and_nothing_else_is_on_the_screen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    screen = Hearing()
    study = write(tmp_path, max_gen_toks=8)
    [parity] = verify_study(study, "gsm8k", "sums", 4, tmp_path / "runs", screen)
    assert screen.lines == ["Loading checkpoint sums (mini/sums)."]
    assert screen.notes[-2:] == [
        "gsm8k: 4 documents, by ExMe (fast)",
        "gsm8k: the same by lm-eval's hf model",
    ]
    assert table([parity]).startswith("Model: checkpoint sums (mini/sums)\n")
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")
    # (what libraries log is on the screen, too, where no test listens)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model 'sumz'.*did you mean 'sums'"):
        verify_study(write(tmp_path), None, "sumz", 8, tmp_path / "runs")
    with pytest.raises(UserError, match="not begun yet"):
        verify_study(write(tmp_path), None, "best", 8, tmp_path / "runs")
