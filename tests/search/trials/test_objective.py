"""Several suites: the mean of their gains."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from exme.evaluators.scores import Scorecard, join
from exme.search.proof.verdict import verdict
from exme.search.reports.pages.report import write_report
from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.statistics.intervals import compare, mean_interval
from exme.search.study.study_file import load_study_file
from exme.tasks.errors import UserError
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.two_suites import OWN, data, scores, study_file

__all__ = ["data"]  # a fixture


def card(*suites: list[float]) -> Scorecard:
    found = join([scores(f"suite{i}", values) for i, values in enumerate(suites)])
    assert isinstance(found, Scorecard)
    return found


def test_every_suite_weighs_the_same_whatever_its_size() -> None:
    both = card([1.0] * 10, [0.0, 1.0])
    assert both.mean == 0.75
    assert both.count == 12
    assert both.standard_error == pytest.approx(0.25)  # half of the second's 0.5


def test_one_suite_is_its_own_card() -> None:
    one = scores("a", [1.0])
    assert join([one]) is one
    assert one.parts == (one,)


def test_a_card_has_no_suite_twice() -> None:
    with pytest.raises(ValueError, match="each once"):
        join([scores("a", [1.0]), scores("a", [0.0])])


def test_the_difference_of_means_is_the_mean_of_differences() -> None:
    better, worse = card([1.0] * 40, [1.0] * 9 + [0.0]), card([1.0] * 20 + [0.0] * 20, [0.0] * 10)
    result = compare(better, worse)
    assert result.difference.estimate == pytest.approx((0.5 + 0.9) / 2)
    assert 0.4 < result.difference.low < 0.7 < result.difference.high
    assert result.p_value < 0.001
    assert (result.won, result.lost) == (29, 0)
    assert compare(better, better).p_value == pytest.approx(1.0)
    interval = mean_interval(worse)
    assert interval.low < worse.mean < interval.high


def test_cards_of_other_suites_are_not_compared() -> None:
    other = join([scores("x", [1.0]), scores("y", [1.0])])
    with pytest.raises(ValueError, match="not the same suites"):
        compare(card([1.0], [1.0]), other)


def open_all(tmp_path: Path, data: Path, task: str) -> tuple[Search, io.StringIO]:
    text = io.StringIO()
    screen = Screen(Console(file=text, width=300, soft_wrap=True))
    study = study_file(data=str(data))
    search = open_search(
        study,
        task,
        name="test",
        runs=tmp_path / "runs",
        screen=screen,
        worker=lambda d: Landscape(d, PEAK),
    )
    return search, text


@pytest.mark.parametrize("task", ["all", "gsm8k,shop"])
def test_a_search_on_several_suites_reports_each(tmp_path: Path, data: Path, task: str) -> None:
    search, text = open_all(tmp_path, data, task)
    with search:
        outcome = search.run()
        report = write_report(outcome, search.folder).read_text()
        again = search.outcome()
    assert search.folder.name == f"test-{task.replace(',', '+')}"
    assert "  over the best input there: gsm8k " in text.getvalue()
    assert again == outcome  # what was stored is what was scored
    assert "120 report documents of 2 suites" in verdict(outcome).sentence
    for part in ("## By suite", "| gsm8k | exact_match,strict-match |", "| shop |", "(Bonferroni)"):
        assert part in report


def test_an_unknown_suite_among_several_is_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UserError, match=r"suite 'shp' is not in suites \(have: gsm8k, shop\)"):
        open_all(tmp_path, data, "gsm8k,shp")


def test_a_suite_that_runs_code_is_refused_unless_the_study_allows_it(
    tmp_path: Path, shared: Path
) -> None:
    study = study_file(suites=["humaneval"], data=str(shared / "data"))
    with pytest.raises(UserError, match="run_generated_code is not true"):
        open_search(study, runs=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_example_suite_of_the_docs_is_searched_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(OWN.parents[2])  # its `data` is meant from the project's root
    study = load_study_file(OWN / "study.yaml")
    few = study.documents.model_copy(update={"search": 8, "report": 8})
    small = study.model_copy(update={"documents": few})
    with open_search(small, name="own", runs=tmp_path, trials=1) as search:
        outcome = search.run()
    assert outcome.task == "shop"
    assert [e.report.suite for e in outcome.inputs] == ["shop"] * 3


def test_the_docs_show_the_example_suite_as_it_is() -> None:
    text = (OWN.parents[1] / "suites.md").read_text()
    shown = text.split("```yaml\n")[1].split("```")[0]
    assert shown in (OWN / "shop.yaml").read_text()
