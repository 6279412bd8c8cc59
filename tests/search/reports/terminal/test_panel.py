"""The picture of a search in a terminal."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from exme.search.reports.pages.scene import Scene, failed_of, scene_of
from exme.search.reports.terminal.plane_map import colour_scale, plane_map
from exme.search.study.study_sections import BudgetSection
from exme.search.trials.standing import difference, standings
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.panel import TRIALS, drawn, view


@pytest.mark.parametrize("width", [60, 80, 96, 120, 200])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in drawn(view(), width).splitlines())


def test_it_says_what_matters() -> None:
    text = drawn(view(), 120, note="Working on it.")
    best, other = standings(TRIALS)[5], standings(TRIALS)[1]
    found, gain = best.interval, difference(best, other)
    assert f"{found.estimate:.1%} [{found.low:.1%}, {found.high:.1%}]" in text
    assert "+1.100 × (sums − base)" in text
    # The difference of the two scores that are shown.
    assert gain.estimate == pytest.approx(0.18) == pytest.approx(best.mean - other.mean)
    assert f"{100 * gain.estimate:+.1f} points" in text and "over products" in text
    assert "7 of 20" in text
    assert "about 26 s left" in text  # 13 trials of 2 s
    assert "700 documents, 14 s of scoring" in text
    assert "Working on it." in text


@pytest.mark.parametrize("width", [60, 80, 96, 100, 120])
def test_what_wraps_stays_beside_its_label(width: int) -> None:
    lines = [line.strip("│ \n")[:8] for line in drawn(view(), width).splitlines()]
    begin = lines.index(next(line for line in lines if line.startswith("Best")))
    raw = drawn(view(), width).splitlines()[begin:]
    for line in raw[: next(i for i, line in enumerate(raw) if "trial  " in line)]:
        label = line[3:11].strip()
        assert label in ("", "Best", "Gain", "So far", "Budget", "Spent"), line


def test_the_map_is_left_out_where_there_is_no_room() -> None:
    assert "★ best" in drawn(view(), 120)
    assert "★ best" not in drawn(view(), 80)


def scene(trials: tuple[TrialRecord, ...] = TRIALS, best: int = 5) -> Scene:
    found = standings(trials)
    return scene_of(found, found[best], failed_of(trials))


def test_the_best_stands_where_its_coefficients_are() -> None:
    shown = scene()
    lines = [line.plain for line in plane_map(shown, 30, 10)]
    assert [len(line) for line in lines] == [30] * 10
    (row,) = [i for i, line in enumerate(lines) if "★" in line]
    column = lines[row].index("★")
    (x0, x1), (y0, y1) = shown.limits.values()
    assert x0 + (column + 0.5) / 30 * (x1 - x0) == pytest.approx(1.1, abs=(x1 - x0) / 30)
    assert y1 - (row + 0.5) / 10 * (y1 - y0) == pytest.approx(1.2, abs=(y1 - y0) / 10)
    assert sum(line.count("◆") for line in lines) == 3  # base, sums, products


def test_without_colours_a_higher_score_is_a_denser_character() -> None:
    lines = [line.plain for line in plane_map(scene(), 30, 10, colours=False)]
    assert set("".join(lines)) & set("#%")
    assert "▀" not in "".join(lines)


@pytest.mark.parametrize("colours", [True, False])
def test_the_maps_colours_have_their_ends(colours: bool) -> None:
    shown = scene()
    line = colour_scale(shown, 12, colours=colours)
    low, high = (f"{score:.1f}%" for score in (min(shown.scores), max(shown.scores)))
    assert line.plain.startswith(f"{low} ") and line.plain.endswith(f" {high}")
    if colours:
        shades = [str(part.style) for part in line.spans if part.style != "dim"]
        assert (shades[0], shades[-1]) == ("#440154", "#fde725")  # viridis' ends
        assert "dim" not in str(line.style)  # which would make them others than the map's
    else:
        assert line.plain in drawn(view(), 120)


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ((), "No candidate has been scored yet."),
        (TRIALS[:1], "40.0%"),
        (TRIALS[:2], "none yet: the best is an input"),
        ((*TRIALS, TrialRecord(7, "failed", "gp", message="not finite")), "failed not finite"),
    ],
)
def test_a_search_is_shown_at_any_time(trials: tuple[TrialRecord, ...], words: str) -> None:
    assert words in drawn(view(trials), 120)


def test_every_limit_of_the_budget_has_its_bar() -> None:
    text = drawn(view(documents=1000, minutes=10), 120)
    assert "700 of 1,000" in text
    assert "0.2333 of 10" in text
    assert "about 6 s left" in text  # 300 documents at 2 s a hundred


@pytest.mark.parametrize("width", [60, 66, 80, 88, 112, 200])
def test_headings_and_results_of_trials_are_whole_at_every_width(width: int) -> None:
    lines = drawn(view(), width).splitlines()
    (head,) = (line for line in lines if " trial " in line and "score" in line)
    assert "documents" in head.split()
    shown = [name for name in ("time", "origin", "candidate") if name in head.split()]
    assert shown == ["time", "origin", "candidate"][: sum(width >= w for w in (66, 88, 112))]
    rows = lines[lines.index(head) + 1 :][: len(TRIALS)]
    for row, trial in zip(rows, TRIALS, strict=True):
        assert "…" not in row and row.split()[1] == str(trial.number)
        assert re.search(r"\d+\.\d% \[\d+\.\d%, \d+\.\d%\]", row)
        if "candidate" in head.split():
            assert trial.candidate is not None
            coefficients = trial.candidate.coefficients
            assert (
                f"sums {coefficients['sums']:.2f} products {coefficients['products']:.2f} " in row
            )


def test_the_score_so_far_has_its_ends() -> None:
    (line,) = (line for line in drawn(view(), 80).splitlines() if "So far" in line)
    first, last = re.findall(r"\d+\.\d%", line)
    assert float(first.rstrip("%")) < float(last.rstrip("%"))


def test_a_limit_of_the_budget_says_what_it_counts() -> None:
    text = drawn(replace(view(), budget=BudgetSection(trials=20, documents=1000, minutes=10)), 120)
    counted = re.findall(r"Budget +\S+ +([\d.,]+ of [\d.,]+ \w+(?: tried)?)", text)
    assert counted == [
        "7 of 20 candidates tried",
        "700 of 1,000 documents",
        "0.2333 of 10.0 minutes",
    ]
