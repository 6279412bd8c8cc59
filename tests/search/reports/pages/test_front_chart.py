"""The Pareto front as the page draws it: which candidates are on it, and where they stand."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from exme.evaluators.scores import join
from exme.search.proof.outcome import Entry, Outcome
from exme.search.racing.goal import Goal
from exme.search.reports.pages.front_chart import FrontChart, front_charts, front_trials
from exme.search.reports.pages.report import write_report
from exme.search.reports.pages.search_sections import best_sections
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.outcomes import candidate, search
from tests.helpers.searches.two_suites import scores

# Documents of a hundred that each candidate solves, of suites a and b; the first two are the inputs.
SOLVED = [(50, 40), (40, 52), (60, 45), (45, 60), (55, 55), (54, 54), (60, 44), (20, 20)]


def solved(counts: tuple[int, ...], split: str = "search") -> object:
    parts = [
        scores(name, [1.0] * n + [0.0] * (100 - n), split)
        for name, n in zip("abc", counts, strict=False)
    ]
    return join(parts)


def outcome(*more: int) -> Outcome:
    """A search for a front over suites a and b, and c where `more` says how many documents of it all solve."""
    trials = tuple(
        TrialRecord(i, "complete", "gp", candidate(i == 0, i == 1) if i < 2 else candidate(i, 0.5),
                    solved((*counts, *more)))  # type: ignore[arg-type]
        for i, counts in enumerate(SOLVED)
    )  # fmt: skip
    inputs = tuple(
        Entry(name, trials[i].candidate, solved((*SOLVED[i], *more), "report"), trials[i].scores)  # type: ignore[arg-type]
        for i, name in enumerate(("sums", "minus"))
    )
    winner = trials[4]
    merged = Entry("merged", candidate(4, 0.5), solved((55, 55, *more), "report"), winner.scores)  # type: ignore[arg-type]
    count = 2 + len(more)
    return replace(
        search([1], [0]), trials=trials, winner=winner, inputs=inputs, merged=merged, task="a+b",
        aim=Goal((1 / count,) * count, "pareto"),
    )  # fmt: skip


def beaten(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one != other and other[0] >= one[0] and other[1] >= one[1]


def test_the_front_is_who_is_beaten_by_nobody() -> None:
    expected = {
        i for i, one in enumerate(SOLVED) if not any(beaten(one, other) for other in SOLVED)
    }
    found = front_trials(outcome())
    assert {t.number for t in found} == expected == {2, 3, 4}


def chart_of(given: Outcome) -> FrontChart:
    (chart,) = front_charts(given)
    return chart


def test_better_scores_stand_further_right_and_higher() -> None:
    chart = chart_of(outcome())
    assert (chart.across, chart.up) == ("a", "b")
    assert len(chart.dots) == len(SOLVED)
    for (one, dot), (two, other) in itertools.permutations(
        zip(SOLVED[:-1], chart.dots[:-1], strict=True), 2
    ):
        assert (one[0] > two[0]) == (dot.x > other.x)
        assert (one[1] > two[1]) == (dot.y < other.y)  # SVG counts downwards
    assert [dot.whole for dot in chart.dots] == [i in (2, 3, 4) for i in range(len(SOLVED))]
    line = [tuple(map(float, point.split(","))) for point in chart.line.split()]
    assert line == sorted((d.x, d.y) for d in chart.dots if d.whole)


def test_its_scores_are_those_of_the_table_beside_it() -> None:
    given = outcome()
    chart = chart_of(given)
    (table,) = (s for s in best_sections(given) if s.title == "The Pareto front")
    rows = table.blocks[0].rows  # type: ignore[union-attr]
    assert len(rows) == 3
    for trial, _, a, b, _ in rows:
        assert f": a {a}, b {b}; " in chart.dots[int(trial)].words


def test_the_front_goes_by_the_scores_that_are_shown() -> None:
    """Not by what was counted, by which trial 4 is ahead of trial 5; the one that was proved is in the table all the same."""
    given = outcome()
    believed = [
        replace(t, means=(0.61, 0.61) if t.number == 5 else tuple(p.mean for p in t.scores.parts))
        for t in given.trials
        if t.scores is not None
    ]
    given = replace(given, trials=tuple(believed), winner=believed[4])
    assert [t.number for t in front_trials(given)] == [5]
    assert [dot.whole for dot in chart_of(given).dots] == [i == 5 for i in range(len(SOLVED))]
    (table,) = (s for s in best_sections(given) if s.title == "The Pareto front")
    rows = table.blocks[0].rows  # type: ignore[union-attr]
    assert [(row[0], *row[2:]) for row in rows] == [
        ("5", "61.0%", "61.0%", ""),
        ("4", "55.0%", "55.0%", "knee"),
    ]


def test_one_that_is_far_behind_stands_on_the_edge_and_leaves_the_others_their_room() -> None:
    chart = chart_of(outcome())
    others = [dot.x for dot in chart.dots[:-1]]
    assert max(others) - min(others) > 200  # of 350
    assert chart.dots[-1].x <= min(others)


def test_the_knee_and_the_inputs_are_marked_and_named() -> None:
    given = outcome()
    chart = chart_of(given)
    assert [dot.words for dot, _ in chart.marks] == ["best", "sums", "minus"]
    places = [(dot.x, dot.y) for dot, _ in chart.marks]
    assert places == [(chart.dots[i].x, chart.dots[i].y) for i in (4, 0, 1)]


def test_a_third_suite_has_a_picture_of_its_own() -> None:
    assert [(c.across, c.up) for c in front_charts(outcome(30))] == [("a", "b"), ("a", "c")]


@pytest.mark.parametrize("goal", ["mean", "worst"])
def test_other_goals_have_no_front(goal: str) -> None:
    assert front_charts(replace(outcome(), aim=Goal((0.5, 0.5), goal))) == []


def test_the_page_shows_it(tmp_path: Path) -> None:
    write_report(outcome(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<h2>The front: a and b</h2>" in page
    assert len(re.findall('<circle class="front"', page)) == 3
