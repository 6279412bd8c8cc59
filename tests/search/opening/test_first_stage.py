"""A training run in, one proved model out: its checkpoints are ranked, the best are searched with, none is forgotten."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from exme.search.merging.candidate import Candidate
from exme.search.merging.resident import ResidentModel
from exme.search.reports.pages.report import write_report
from exme.search.running.search import open_search
from exme.search.running.stored_search import open_stored
from exme.search.trials.budget import spent
from exme.tasks.errors import UserError
from tests.helpers.models.training_runs import make_training_run
from tests.helpers.searches.course import Course, of_run
from tests.helpers.searches.opened import Opened, close, study_file

SHARES = (0.2, 0.26, 0.32, 0.42, 0.62, 0.58, 0.4, 0.3)
NAMES = [f"checkpoint-{100 * number}" for number in range(1, 9)]
KNOWN = {"base": 0.2, **dict(zip(NAMES, SHARES, strict=True))}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = [0.15 * number for number in range(1, 9)]
    return make_training_run(tmp_path_factory.mktemp("trained") / "run", course)


def opened(folder: Path, run: Path, stops_after: int | None = None, **changed: Any) -> Opened:
    return Opened(folder, scorer=lambda d: Course(d, KNOWN, stops_after), **of_run(run, **changed))


def course_of(search: Opened) -> Course:
    assert isinstance(search.landscape, Course)
    return search.landscape


def ranked(search: Opened) -> list[Any]:
    return [t for t in search.search.storage.trials() if t.origin.endswith(" ranked")]


def test_the_best_two_are_found_in_twice_one_checkpoints_documents_and_searched_with(
    tmp_path: Path, run: Path
) -> None:
    search = opened(tmp_path, run)
    outcome = search.search.run()
    assert list(search.search.study.checkpoints) == ["checkpoint-500", "checkpoint-600"]
    first = sum(t.documents for t in ranked(search))
    assert first <= 2 * 128 and len(ranked(search)) > 9
    # Nothing is asked twice, and all that was asked is in the budget.
    asked = course_of(search).asked
    assert len(set(asked)) == len(asked) == spent(outcome.trials)[1] <= 1500
    # What the first stage has scored of a kept checkpoint is what the search knows of it.
    alone = next(t for t in outcome.trials if t.origin == "checkpoint-500 alone")
    assert alone.continues is not None and alone.race_log is not None
    assert alone.race_log.partial.count > alone.documents
    lines = search.lines
    assert any("to rank the checkpoints" in line and "up to 10 models" in line for line in lines)
    assert any(line.startswith("First stage: 8 checkpoints and the base on") for line in lines)
    assert any(line.startswith("Kept checkpoint-500 and checkpoint-600") for line in lines)
    assert any("go nearly the same way (cosines up to" in line for line in lines)


def first_stage(search: Opened) -> list[Any]:
    """What it left behind; numbers alone differ after a trial was cut off."""
    found = [t for t in ranked(search) if t.race_log is not None]
    return [(t.origin, t.candidate, t.documents, t.race_log.partial) for t in found]


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 8, 12, 14])
def test_a_search_that_was_cut_off_anywhere_loses_and_doubles_nothing(
    tmp_path: Path, run: Path, after: int
) -> None:
    """Nine calls are of the first round, four of the second; then the search begins."""
    small: dict[str, Any] = {"budget": {"trials": 14}, "documents": {"search": 128, "report": 50}}
    cut = opened(tmp_path / "cut", run, after, **small)
    with pytest.raises(KeyboardInterrupt):
        cut.search.run()
    close(cut)
    again = opened(tmp_path / "cut", run, **small)
    outcome = again.search.run()
    asked = course_of(cut).asked + course_of(again).asked
    assert len(set(asked)) == len(asked) == spent(outcome.trials)[1]
    assert outcome.verdict.is_final and spent(outcome.trials)[0] == 14
    whole = opened(tmp_path / "whole", run, **small)
    whole.search.settle()
    whole.search._rank()
    assert first_stage(again) == first_stage(whole)
    assert again.search.study.checkpoints == whole.search.study.checkpoints


def test_two_workers_rank_together(tmp_path: Path, run: Path) -> None:
    one, two = (opened(tmp_path, run) for _ in range(2))
    errors: list[BaseException] = []

    def work(search: Opened) -> None:
        try:
            search.search.work()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(search,)) for search in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    asked = course_of(one).asked + course_of(two).asked
    assert len(set(asked)) == len(asked)
    assert course_of(one).asked and course_of(two).asked
    kept = [list(search.search.study.checkpoints) for search in (one, two)]
    assert kept == [["checkpoint-500", "checkpoint-600"]] * 2
    assert one.search.settled.sources == two.search.settled.sources


def test_the_proof_is_against_all_inputs_but_those_that_cannot_be_the_best(
    tmp_path: Path, run: Path
) -> None:
    far = {"base": 0.7, NAMES[0]: 0.0, NAMES[1]: 0.0, **dict.fromkeys(NAMES[2:], 0.8)}
    search = Opened(
        tmp_path,
        scorer=lambda d: Course(d, far),
        **of_run(run, documents={"search": 256, "report": 400}, budget={"trials": 14}),
    )
    outcome = search.search.run()
    spared = {each.name: each for each in outcome.left_out}
    assert set(spared) <= {"checkpoint-100", "checkpoint-200"} and spared
    entries = {entry.name for entry in outcome.inputs}
    assert entries == {"base", *NAMES} - set(spared)
    for each in spared.values():
        assert each.p <= each.level == pytest.approx(0.1 * 0.025)
        assert each.by not in spared and each.documents >= 16
    assert outcome.level == pytest.approx(0.9 * 0.025)
    assert outcome.verdict.proved and "95.5% interval" in outcome.verdict.sentence
    digests = [digest for digest, split in course_of(search).calls if split == "report"]
    assert len(set(digests)) == len(digests) == len(entries) + 1

    text = write_report(outcome, tmp_path / "report").read_text(encoding="utf-8")
    section = text.partition("## The training run")[2].partition("##")[0]
    assert "Extrapolation Merging, arXiv:2503.04834" in section
    rows = {line.split(" | ")[0].strip("| "): line for line in section.splitlines()}
    for name, step in zip(NAMES, range(100, 900, 100), strict=True):
        assert f"| {name} | {step} | {2 - 0.0015 * step:.4g} |" in rows[name]
        fate = "kept" if name in search.search.study.checkpoints else "dropped"
        assert (
            rows[name]
            .rstrip(" |")
            .endswith("dropped, left out of the proof" if name in spared else fate)
        )
    assert "merged" in rows and all(name in section.partition("Left out of")[2] for name in spared)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    chart = page.partition("<h2>The training run</h2>")[2].partition("</svg>")[0]
    assert chart.count("<circle") == 9 and 'class="merge"' in chart


def test_a_dropped_checkpoint_that_is_the_best_input_is_named(tmp_path: Path, run: Path) -> None:
    """The search documents mislead: what is dropped by them is the best on the report documents."""

    class Misled(Course):
        def score(self, candidate: Any, split: str) -> Any:
            self.shares = {**KNOWN, "checkpoint-100": 0.9} if split == "report" else KNOWN
            return super().score(candidate, split)

    search = Opened(
        tmp_path, scorer=lambda d: Misled(d, KNOWN), **of_run(run, budget={"trials": 14})
    )
    found = search.search.run().verdict
    assert found.state == "no gain" and found.recommended == "checkpoint-100"


def test_what_is_read_is_what_is_searched(tmp_path: Path, run: Path) -> None:
    search = opened(tmp_path, run, 12, budget={"trials": 14})
    with pytest.raises(KeyboardInterrupt):
        search.search.run()
    close(search)
    midst = open_stored(tmp_path / "test-gsm8k")
    assert midst.view().used[0] == 9 and midst.outcome().verdict.state == "not yet"
    again = opened(tmp_path, run, budget={"trials": 14})
    outcome = again.search.run()
    stored = open_stored(tmp_path / "test-gsm8k")
    assert stored.outcome().verdict == outcome.verdict
    assert stored.outcome().left_out == outcome.left_out
    assert stored.view().used == again.search.view().used
    assert list(stored.study.checkpoints) == ["checkpoint-500", "checkpoint-600"]
    finished = [t for t in again.search.storage.study.get_trials() if t.state.is_finished()]
    assert not [t for t in finished if t.state == TrialState.WAITING]


def test_a_run_that_has_grown_begins_a_fork(tmp_path: Path, run: Path) -> None:
    few = f"{run}/checkpoint-[1-5]00"
    first = Opened(tmp_path, scorer=lambda d: Course(d, KNOWN), **of_run(few))
    close(first)
    with pytest.raises(
        UserError, match=r"checkpoints, .*changed since study 'test-gsm8k' was begun"
    ):
        opened(tmp_path, run)
    forked = opened(tmp_path, run, fork=True)
    assert forked.search.folder.name == "test-gsm8k-fork1"
    assert len(forked.search.inputs()) == 9


def test_a_merge_by_hand_is_of_the_kept_checkpoints_once_these_are_known(
    tmp_path: Path, run: Path
) -> None:
    search = opened(tmp_path, run)
    with pytest.raises(
        UserError, match="which checkpoints of its training run are kept is not known yet"
    ):
        search.search.score({"checkpoint-100": 1.0})
    search.search.work()
    for later in (search, opened(tmp_path, run)):
        with pytest.raises(UserError, match=r"'checkpoint-100' is neither .*have: checkpoint-500"):
            later.search.score({"checkpoint-100": 1.0})
        trial = later.search.score({"checkpoint-500": 0.7, "checkpoint-600": 0.4})
        assert trial.scores is not None and trial.scores.count == 128
        close(later)


def test_no_more_than_are_kept_are_not_ranked(tmp_path: Path, run: Path) -> None:
    two = f"{run}/checkpoint-[56]00"
    search = Opened(
        tmp_path, scorer=lambda d: Course(d, KNOWN), **of_run(two, budget={"trials": 6})
    )
    outcome = search.search.run()
    assert not ranked(search) and outcome.dropped == () and outcome.level == 0.025


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"sampler": "random", "racing": "off"},
        {"sampler": "gp"},
        {"method": "linear"},
        {"method": "ties"},
        {"groups": {"blocks": 2}},
        {"checkpoints_best": 1, "method": "expo"},
        {"checkpoints_best": 3},
        {"goal": "pareto", "suites": ["gsm8k", "math"], "task": "gsm8k,math"},
        {"goal": "worst", "suites": ["gsm8k", "math"], "task": "gsm8k,math"},
    ],
)
def test_whatever_else_a_study_says(tmp_path: Path, run: Path, changed: dict[str, Any]) -> None:
    best = changed.pop("checkpoints_best", 2)
    given = of_run(run, budget={"trials": 14}, **changed)
    given["checkpoints"] = {"run": str(run), "best": best}
    search = Opened(tmp_path, scorer=lambda d: Course(d, KNOWN), **given)
    outcome = search.search.run()
    assert outcome.verdict.is_final
    assert len(search.search.study.checkpoints) == best
    asked = course_of(search).asked
    if search.search.study.racing is not None:
        assert len(set(asked)) == len(asked)


def test_never_more_is_at_hand_than_the_kept_ones_and_one_more(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a whole search and its proof on the mini models: what is merged from, and whose files are mapped, at every candidate."""
    made, at_hand, mapped = set[str](), [0], [0]
    study = of_run(f"{run}/checkpoint-[1-5]00", budget={"trials": 8})
    search = open_search(
        study_file(**study, documents={"search": 16, "report": 4}), name="real", runs=tmp_path
    )
    own = ResidentModel.materialise

    def materialise(self: ResidentModel, candidate: Candidate) -> None:
        own(self, candidate)
        made.update(candidate.coefficients)
        at_hand[0] = max(at_hand[0], len(self.at_hand))
        mapped[0] = max(mapped[0], sum(c.reader.is_open for c in self.sources.every.values()))

    monkeypatch.setattr(ResidentModel, "materialise", materialise)
    with search:
        outcome = search.run()
    assert len(outcome.inputs) + len(outcome.left_out) == 6 and made == set(NAMES[:5])
    assert at_hand[0] == 2 and mapped[0] <= 3
