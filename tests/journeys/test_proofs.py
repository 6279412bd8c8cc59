"""Proofs of whole searches: who is scored on the report documents, and what each use of them counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.proof.outcome import Outcome
from exme.search.proof.uses import LEDGER, read_ledger
from exme.search.proof.verdict import NO_GAIN, PROVED, verdict
from exme.search.reports.exports.export import export_best, export_trials
from exme.search.running.search import open_search
from exme.search.running.stored_search import open_stored
from exme.tasks.errors import UserError
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import Opened, close, study_file

# Another top, so that another candidate is named.
ELSEWHERE = {"sums": 0.4, "products": 1.4}


def searched(
    runs: Path,
    name: str = "test",
    fork: bool = False,
    peak: Mapping[str, float] = PEAK,
    **changed: Any,
) -> Outcome:
    """A search of a given name that is over."""
    with open_search(
        study_file(**changed),
        "gsm8k",
        name=name,
        runs=runs,
        fork=fork,
        worker=lambda d: Landscape(d, peak),
    ) as search:
        return search.run()


def test_forks_and_renamed_studies_use_the_same_report_documents(tmp_path: Path) -> None:
    first = searched(tmp_path)
    forked = searched(tmp_path, fork=True, dtype="float16")
    renamed = searched(tmp_path, name="fresh start", peak=ELSEWHERE)
    assert [o.use for o in (first, forked, renamed)] == [1, 2, 3]
    levels = [found.level for o in (first, forked, renamed) if (found := verdict(o).gain)]
    assert levels == pytest.approx([0.05 / 2, 0.05 / 6, 0.05 / 12])
    assert "in use 3 of these 400 report documents" in verdict(renamed).sentence
    assert [use.study for use in read_ledger(tmp_path)] == [
        "test-gsm8k", "test-gsm8k-fork1", "fresh start-gsm8k",
    ]  # fmt: skip


def test_the_same_search_again_is_no_further_use(tmp_path: Path) -> None:
    assert [searched(tmp_path).use, searched(tmp_path).use] == [1, 1]
    assert len(read_ledger(tmp_path)) == 1


@pytest.mark.slow
def test_a_study_that_was_deleted_has_used_its_documents_all_the_same(tmp_path: Path) -> None:
    searched(tmp_path)
    for file in (tmp_path / "test-gsm8k").glob("study.db*"):
        file.unlink()
    assert searched(tmp_path, peak=ELSEWHERE).use == 2


def test_a_run_that_was_copied_elsewhere_has_used_its_documents_there_too(tmp_path: Path) -> None:
    searched(tmp_path / "here")
    shutil.copytree(tmp_path / "here" / "test-gsm8k", tmp_path / "there" / "test-gsm8k")
    again = searched(tmp_path / "there", name="renamed", peak=ELSEWHERE)
    gain = verdict(again).gain
    assert again.use == 2 and gain is not None and gain.level == pytest.approx(0.05 / 6)


def test_other_report_documents_are_used_for_the_first_time(tmp_path: Path) -> None:
    searched(tmp_path)
    other = searched(tmp_path, name="other", documents={"search": 128, "report": 300})
    assert other.use == 1


def test_studies_in_one_database_are_counted_without_a_common_folder(tmp_path: Path) -> None:
    """As machines do that share a database; here the ledger of one is taken away."""
    opened = Opened(tmp_path)
    opened.search.run()
    use = opened.search.storage.uses()[0]
    close(opened)
    (tmp_path / LEDGER).unlink()
    again = Opened(tmp_path)
    assert again.search.storage.uses() == [use]
    assert again.search.outcome().use == 1
    close(again)


def test_a_use_is_written_down_before_its_candidate_is_scored(tmp_path: Path) -> None:
    class Killed(Landscape):
        def score(self, candidate: Any, split: str) -> Any:
            if split == "report":
                raise KeyboardInterrupt
            return super().score(candidate, split)

    opened = Opened(tmp_path, scorer=lambda d: Killed(d, PEAK))
    with pytest.raises(KeyboardInterrupt):
        opened.search.run()
    close(opened)
    assert len(read_ledger(tmp_path)) == 1
    assert searched(tmp_path).use == 1  # the same candidate, taken up again


def test_a_proof_that_breaks_is_one_line_and_goes_on_later(tmp_path: Path) -> None:
    class Broken(Landscape):
        def score(self, candidate: Any, split: str) -> Any:
            if split == "report":
                raise ValueError("the metric raised KeyError on document test/7: 'gold'")
            return super().score(candidate, split)

    opened = Opened(tmp_path, scorer=lambda d: Broken(d, PEAK))
    with pytest.raises(UserError, match=r"^the proof breaks off: .* on document test/7: 'gold'\)"):
        opened.search.run()
    close(opened)
    assert searched(tmp_path).use == 1


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study file."""
    file = tmp_path / "hill.yaml"
    file.write_text(yaml.safe_dump(study_file().model_dump(exclude_none=True)), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("peak", "state", "use"),
    [(PEAK, PROVED, "merged"), ({"sums": 1.0, "products": 0.0}, NO_GAIN, "sums")],
)
def test_status_ends_in_the_verdict_whatever_it_is(
    study: Path, peak: dict[str, float], state: str, use: str
) -> None:
    runs = study.parent / "runs"
    with open_search(study, runs=runs, worker=lambda d: Landscape(d, peak)) as search:
        said = verdict(search.run())
    assert (said.state, said.recommended) == (state, use)
    view = open_stored(study, None, runs).view()
    assert view.verdict is not None
    assert view.verdict.sentence == said.sentence and view.proved == view.to_prove
    shown = CliRunner().invoke(app, ["status", str(study), "--runs", str(runs)]).output
    assert said.sentence[:40] in shown and "models scored" not in shown
    assert state in CliRunner().invoke(app, ["status", "--runs", str(runs)]).output
    told = CliRunner().invoke(app, ["status", str(study), "--runs", str(runs), "--json"]).output
    assert json.loads(told)["verdict"]["state"] == state


def test_an_export_of_what_is_not_to_be_used_says_so(tmp_path: Path) -> None:
    opened = Opened(tmp_path / "runs", peak={"sums": 1.0, "products": 0.0})
    outcome = opened.search.run()
    assert verdict(outcome).recommended == "sums"
    best = export_best(opened.search, tmp_path / "best")
    assert best.verdict.startswith("No gain: ")  # the winner is sums itself
    (mean,) = export_trials(opened.search, tmp_path / "mean", number=2)
    assert mean.verdict.startswith("Not the best candidate: trial 2")


class Fooled(Landscape):
    """On the report documents the base is best: what the search found does not hold there."""

    def share(self, coefficients: Any) -> float:
        return (
            super().share(coefficients)
            if not self.is_report
            else 0.6 - sum(coefficients.values()) / 9
        )

    is_report = False

    def score(self, candidate: Any, split: str) -> Any:
        self.is_report = split == "report"
        return super().score(candidate, split)


def test_an_export_of_a_winner_that_does_not_hold_names_the_model_to_use(tmp_path: Path) -> None:
    opened = Opened(tmp_path / "runs", scorer=lambda d: Fooled(d, PEAK))
    found = verdict(opened.search.run())
    assert (found.state, found.recommended) == (NO_GAIN, "base")
    best = export_best(opened.search, tmp_path / "best")
    assert best.verdict.startswith("This is not the model to use. No gain: merged scores ")
    assert best.verdict.endswith("Use base.")
