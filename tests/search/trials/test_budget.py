"""Candidates and trials are counted the same way wherever they are told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exme.search.reports.dashboard.study_note import study_note
from exme.search.reports.pages import plots
from exme.search.reports.pages.report import write_report
from exme.search.trials.budget import counted
from tests.helpers.searches.opened import Opened, close
from tests.helpers.searches.outcomes import trial


def test_another_round_is_a_trial_and_no_candidate() -> None:
    first, second = trial(0, (1, 0), 70), trial(1, (0, 1), 60)
    again, known = replace(first, number=2, continues=0), replace(second, number=3, duplicate_of=1)
    assert counted([first]) == "1 candidate in 1 trial"
    assert counted([first, second, again, known]) == "2 candidates in 4 trials"


def test_every_surface_counts_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(outcome: Any, path: Path) -> str:
        path.write_bytes(b"PNG")
        return "What is shown."

    monkeypatch.setattr(plots, "plot_plane", draw)
    opened = Opened(tmp_path, sampler="auto", racing={"chunk": 16}, budget={"trials": 6})
    opened.search.work()
    outcome = opened.search.outcome()
    numbers = [t.number for t in opened.search.trials]
    assert len(numbers) > 6 and numbers == list(range(len(numbers)))  # some have several rounds
    told = f"6 candidates in {len(numbers)} trials"
    assert f"The search is over: {told}." in opened.lines
    lines = [line for line in opened.lines if line.startswith("#")]
    assert re.search(r"left 0 candidates", lines[-1]) and lines[-1].startswith(f"#{numbers[-1]} ")
    assert any(re.search(r"\(\d+ to score 6 candidates, 4 models", x) for x in opened.lines)
    text = write_report(outcome, tmp_path).read_text()
    assert "| candidates tried | 6 |" in text
    assert f"one for each round | {len(numbers)} |" in text
    page = (tmp_path / "report.html").read_text()
    assert f"<b>6</b><span>candidates in {len(numbers)} trials" in page
    assert f"{told}." in study_note(outcome, None)
    assert told in repr(outcome)
    ((_, words, share),) = opened.search.view().progress
    assert (words, share) == ("6 of 6 candidates", 1.0)
    close(opened)
