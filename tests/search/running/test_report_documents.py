"""What is scored on report documents when a search is over: the suites of `also`, after the proof."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.harness.interface import Chat
from exme.evaluators.harness.verify import hf_model, lm_eval_scores
from exme.search.merging.candidate import Candidate
from exme.search.proof.outcome import Outcome
from exme.search.proof.uses import read_ledger
from exme.search.reports.exports.export import export_best
from exme.search.reports.pages.report import write_report
from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.running.stored_search import open_stored
from exme.search.scoring.worker import Scored
from exme.tasks import SuiteDocuments, UserError
from exme.tasks.mini import MODELS
from tests.helpers.models.cards import card
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import study_file

SIZES = {"search": 64, "report": 24}


class Counted(Landscape):
    """A landscape that remembers on which suites it scored report documents, and may break off."""

    scored: list[tuple[str, str]]
    after: int | None = None

    def score(self, candidate: Candidate, split: str) -> Scored:
        suite = self.documents[0].suite.suite
        if split == "report" and suite != "gsm8k":
            if self.after is not None and len(self.scored) == self.after:
                raise KeyboardInterrupt
            self.scored.append((candidate.digest, suite))
        return super().score(candidate, split)


def opened(
    runs: Path,
    scored: list[tuple[str, str]],
    after: int | None = None,
    peak: Mapping[str, float] = PEAK,
    **changed: Any,
) -> Search:
    def make(documents: Sequence[SuiteDocuments]) -> Landscape:
        made = Counted(documents, peak)
        made.scored, made.after = scored, after
        return made

    study = study_file(documents=SIZES, **changed)
    return open_search(study, "gsm8k", name="test", runs=runs, worker=make)


def run(runs: Path, scored: list[tuple[str, str]], **changed: Any) -> Outcome:
    with opened(runs, scored, **changed) as search:
        return search.run()


@pytest.mark.slow
def test_what_else_changed_is_what_lm_eval_says_of_the_same_models(tmp_path: Path) -> None:
    """The search is a landscape's; both models are then scored by the real worker, and by lm-eval alone."""
    run(tmp_path, [])
    study = study_file(documents=SIZES, also=["mmlu"])
    with open_search(study, "gsm8k", name="test", runs=tmp_path) as search:
        outcome = search.run()
        export_best(search, tmp_path / "merged")
        (documents,) = search.also
    (found,) = outcome.also
    ours = {"merged": found.merged, found.over: found.other}
    folders = {"merged": tmp_path / "merged", found.over: MODELS / found.over}
    theirs = {}
    for name, folder in folders.items():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        chat = Chat()
        model = hf_model(model, AutoTokenizer.from_pretrained(folder), 8)
        theirs[name] = lm_eval_scores(documents, "report", model, chat).per_document
        scores = ours[name]
        assert dict(zip(scores.documents, scores.values, strict=True)) == theirs[name]
    differences = [theirs["merged"][d] - theirs[found.over][d] for d in theirs["merged"]]
    assert len(differences) == SIZES["report"]
    assert found.gain.estimate == pytest.approx(np.mean(differences))
    assert (found.gain.won, found.gain.lost) == (differences.count(1.0), differences.count(-1.0))


@pytest.mark.slow
def test_each_model_is_scored_once_on_each_suite_however_often_it_is_broken_off(
    tmp_path: Path,
) -> None:
    scored: list[tuple[str, str]] = []
    for after in range(4):
        with (
            opened(tmp_path, scored, after, also=["mmlu", "bbh"]) as search,
            pytest.raises(KeyboardInterrupt),
        ):
            search.run()
    outcome = run(tmp_path, scored, also=["mmlu", "bbh"])
    assert run(tmp_path, scored, also=["mmlu", "bbh"]).also == outcome.also
    assert outcome.merged is not None
    best = outcome.verdict.best_input
    pair = {e.candidate.digest for e in (outcome.merged, *outcome.inputs) if e.name == best}
    pair.add(outcome.merged.candidate.digest)
    assert sorted(scored) == sorted((d, s) for d in pair for s in ("mmlu", "bbh"))
    later = run(tmp_path, scored, also=["mmlu", "bbh", "ifeval"])
    assert [s for _, s in scored[4:]] == ["ifeval", "ifeval"]
    assert [each.merged.suite for each in later.also] == ["mmlu", "bbh", "ifeval"]
    assert [e.merged.suite for e in run(tmp_path, scored, also=["bbh"]).also] == ["bbh"]
    assert len(scored) == 6
    # Read without models, it is the same.
    stored = open_stored(tmp_path / "test-gsm8k")
    assert [each.merged.suite for each in stored.outcome().also] == ["bbh"]


def test_the_report_says_what_else_changed_and_that_it_is_no_proof(tmp_path: Path) -> None:
    outcome = run(tmp_path, [], also=["mmlu", "gsm8k"])  # (gsm8k is searched on)
    (found,) = outcome.also
    text = write_report(outcome, tmp_path).read_text()
    section = text[text.index("## What else changed") :].split("## ")[1]
    rows = [line for line in section.splitlines() if line.startswith("| mmlu")]
    assert len(rows) == 1 and f"| {100 * found.merged.mean:.1f}% (" in rows[0]
    assert "This is not the proof" in section
    assert "What else changed" in (tmp_path / "report.html").read_text()
    assert section.strip() in card(outcome)  # of its export


@pytest.mark.slow
def test_a_look_is_a_use_of_those_documents_and_intervals_share_its_level(tmp_path: Path) -> None:
    run(tmp_path, [], peak={"sums": 1.4, "products": 0.9}, also=["mmlu"])
    with open_search(
        study_file(documents=SIZES, also=["mmlu", "bbh"]),
        name="other",
        runs=tmp_path,
        worker=lambda documents: Landscape(documents, PEAK),
    ) as search:
        mmlu, bbh = search.run().also
    assert (mmlu.use, bbh.use) == (2, 1)
    assert mmlu.gain.level == pytest.approx(0.05 / (2 * 3) / 2)
    assert bbh.gain.level == pytest.approx(0.05 / (1 * 2) / 2)
    studies = [use.study for use in read_ledger(tmp_path)]
    assert studies.count("compare") == 3


def test_nothing_else_is_scored_where_the_winner_is_an_input(tmp_path: Path) -> None:
    scored: list[tuple[str, str]] = []
    outcome = run(tmp_path, scored, peak={"sums": 1.0, "products": 0.0}, also=["mmlu"])
    assert outcome.merged is None and outcome.also == () and scored == []


@pytest.mark.slow
def test_a_suite_that_cannot_be_scored_costs_neither_the_verdict_nor_the_others(
    tmp_path: Path,
) -> None:
    def make(documents: Sequence[SuiteDocuments]) -> Landscape:
        if documents[0].suite.suite == "mmlu":
            raise UserError("suite 'mmlu': no room for its prompts")
        return Landscape(documents, PEAK)

    text = io.StringIO()
    with open_search(
        study_file(documents=SIZES, also=["mmlu", "bbh"]),
        "gsm8k",
        runs=tmp_path,
        worker=make,
        screen=Screen(Console(file=text, width=200, soft_wrap=True)),
    ) as search:
        outcome = search.run()
    assert outcome.verdict.is_final and [e.merged.suite for e in outcome.also] == ["bbh"]
    assert "mmlu cannot be scored (suite 'mmlu': no room for its prompts)" in text.getvalue()


def test_as_many_documents_are_taken_as_there_are(tmp_path: Path) -> None:
    with opened(tmp_path, [], also=["bbh"]) as search:
        assert [len(each.report) for each in search.also] == [SIZES["report"]]
    study = study_file(documents={"search": 8, "report": 1000}, also=["bbh"])
    with open_search(study, "gsm8k", runs=tmp_path / "more") as search:
        assert 0 < len(search.also[0].report) < 1000 == len(search.documents[0].report)


def test_a_suite_that_cannot_be_used_is_refused_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run_generated_code"):
        opened(tmp_path, [], also=["humaneval"])
    with pytest.raises(UserError, match=r"no suite 'mmli'.*did you mean 'mmlu'"):
        study_file(also=["mmli"])
    with pytest.raises(UserError, match="also: 'mmlu' is named twice"):
        study_file(also=["mmlu", "mmlu"])
    assert not (tmp_path / "test-gsm8k").exists()
