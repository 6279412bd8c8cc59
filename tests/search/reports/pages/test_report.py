from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path
from typing import Any

import pytest

from exme.search.proof.outcome import Entry, Outcome
from exme.search.proof.verdict import verdict
from exme.search.reports.pages import plots
from exme.search.reports.pages.report import write_report
from exme.search.statistics.intervals import compare, mean_interval
from exme.search.trials.standing import standing_of, standings
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.outcomes import before_the_proof, candidate, pair, scored, search, trial


def table(text: str, heading: str) -> list[dict[str, str]]:
    """Rows of the first table below a heading, as dictionaries."""
    lines = text.split(f"## {heading}")[1].strip().split("\n")
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines[: next((i for i, x in enumerate(lines) if not x.startswith("|")), None)]
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def written(outcome: Outcome, folder: Path) -> str:
    path = write_report(outcome, folder)
    assert path == folder / "report.md"
    return path.read_text(encoding="utf-8")


@pytest.fixture
def blank_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes a second; test_plots.py looks at the pictures."""

    def draw(outcome: Outcome, path: Path) -> str:
        path.write_bytes(b"PNG")
        return "What is shown."

    monkeypatch.setattr(plots, "plot_plane", draw)


pytestmark = pytest.mark.usefixtures("blank_picture")


def test_the_verdict_comes_first(tmp_path: Path) -> None:
    outcome = search(*pair(160, 88, 200, 1000))
    lines = written(outcome, tmp_path).split("\n")
    assert lines[0] == "# mini: gsm8k"
    assert lines[2] == f"**{verdict(outcome).sentence}**"


def test_the_merge_in_words_and_the_next_command_stand_below_it(tmp_path: Path) -> None:
    outcome = search(*pair(160, 88, 200, 1000), facts={"study file": "mine.yaml"})
    assert outcome.winner is not None and outcome.winner.candidate is not None
    used = {n: c for n, c in outcome.winner.candidate.coefficients.items() if c}
    lines = written(outcome, tmp_path).split("\n")
    (formula,) = (line for line in lines if line.startswith("merged = base"))
    assert lines.index(formula) == 4
    terms = re.findall(r"([+−]) ([\d.]+) × \((\w+) − base\)", formula)
    signed = {name: float(c) * (1 if sign == "+" else -1) for sign, c, name in terms}
    assert signed == pytest.approx(used, abs=0.005)
    shares = {name: float(c) for c, name in re.findall(r"(-?\d+)% of (\w+)", formula)}
    assert shares == pytest.approx({name: 100 * c for name, c in used.items()}, abs=0.5)
    command = "exme export mine.yaml --task gsm8k --out merged"
    assert f"Next: `{command}` writes the model as a folder." in lines
    words = "".join(f"<span>{word}</span> " for word in command.split())
    assert f"<code>{words.strip()}</code>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_numbers_in_the_table_are_those_of_the_scores(tmp_path: Path) -> None:
    outcome = search(*pair(160, 88, 200, 1000))
    rows = {row["model"]: row for row in table(written(outcome, tmp_path), "Scores")}
    assert list(rows) == ["merged", "base", "sums", "minus"]
    assert outcome.merged
    for entry in (outcome.merged, *outcome.inputs):
        assert entry.search
        found = standing_of(standings(outcome.trials), entry.candidate.digest)
        expected = mean_interval(entry.search) if found is None else found.interval
        for interval, column in (
            (mean_interval(entry.report), "report documents"),
            (expected, "expected by the search documents"),
        ):
            shown = re.findall(r"[\d.]+", rows[entry.name][column])
            wanted = (interval.estimate, interval.low, interval.high)
            assert shown == [f"{100 * value:.1f}" for value in wanted]
    for entry in outcome.inputs:
        result = compare(outcome.merged.report, entry.report)
        row = rows[entry.name]
        assert (row["won"], row["lost"]) == (str(result.won), str(result.lost))
        gain = row["merged minus this, points (95%)"]
        assert gain.startswith(f"{100 * result.difference.estimate:+.1f} (")


def test_the_table_says_how_many_documents_and_which_test(tmp_path: Path) -> None:
    text = written(search(*pair(6, 3, 1, 20)), tmp_path)
    assert "on 20 report documents (chosen with seed 7) and 200 search documents" in text
    assert "that merged is not better than this input (exact paired test)" in text
    assert "exact_match,strict-match" in text


def test_a_later_use_of_the_report_documents_is_told_and_tested_at_its_level(
    tmp_path: Path,
) -> None:
    text = written(search(*pair(20, 7, 10, 100), use=6), tmp_path)
    assert text.split("\n")[2].startswith("**Not proved:")
    assert "tested at 0.0012 in use 6 of these 100 report documents" in text.split("\n")[2]
    assert "This is use 6 of these report documents" in text
    assert "merged minus this, points (99.8%)" in text


def test_the_first_use_says_what_it_spends(tmp_path: Path) -> None:
    text = written(search(*pair(20, 7, 10, 100)), tmp_path)
    assert "The report documents were used once, after the search" in text
    assert "proved in at most 2.5% of searches" in text


def test_the_verdicts_word_and_the_tables_interval_agree(tmp_path: Path) -> None:
    """94 against 70 of 500: p is between 2.5 and 5%."""
    text = written(search(*pair(94, 70, 10, 500)), tmp_path)
    assert text.split("\n")[2].startswith("**Not proved:")
    row = next(r for r in table(text, "Scores") if r["model"] == "sums")
    assert row["merged minus this, points (95%)"].startswith("+4.8 (-")
    assert 0.025 < float(row["p"]) < 0.05


def test_shares_of_empty_and_unextracted_answers_are_shown(tmp_path: Path) -> None:
    outcome = search([1, 0, 1, 1], [0, 0, 1, 0])
    audited = scored([1, 0, 1, 1], empty=(0.0, 0.0, 0.0, 0.0), unextracted=(1.0, 0.0, 0.0, 0.0))
    merged = Entry("merged", candidate(0.8, 0.7), audited)
    text = written(dataclasses.replace(outcome, merged=merged), tmp_path)
    rows = table(text, "Answers that could not be scored as meant")
    assert rows[0] == {"model": "merged", "empty": "0.0%", "unextracted": "25.0%"}
    assert rows[1] == {"model": "base", "empty": "–", "unextracted": "–"}


def test_the_best_candidate_is_shown_with_alpha_beta_and_their_convention(tmp_path: Path) -> None:
    text = written(search([1, 0], [0, 0]), tmp_path)
    where = f"Trial 3 (gp), alpha = 0.5000, digest `{candidate(0.8, 0.7).digest}`."
    assert "1 + alpha = sum of c_i and beta_i = c_i / (1 + alpha)" in text
    assert table(text, f"The best candidate\n\n{where}\n") == [
        {"checkpoint": "sums", "coefficient c": "0.8000", "share beta": "0.5333"},
        {"checkpoint": "minus", "coefficient c": "0.7000", "share beta": "0.4667"},
    ]


def test_it_is_said_when_the_best_has_the_same_coefficients_in_all_groups(tmp_path: Path) -> None:
    """Documents that do not tell groups apart: the search stays with what they can tell."""
    apart = dataclasses.replace(
        candidate(0.8, 0.7),
        grouped={"low": {"sums": 0.6, "minus": 0.7}, "high": {"sums": 1.0, "minus": 0.7}},
        groups={"by": "layer"},
    )
    found = search([1, 0], [0, 0])
    same = [*found.trials, dataclasses.replace(found.trials[1], number=4, candidate=apart)]
    told = "Of 1 scored candidates whose groups have different ones, none was chosen."
    assert told in written(dataclasses.replace(found, trials=tuple(same)), tmp_path)
    assert "All groups of tensors" not in written(found, tmp_path)
    winner = dataclasses.replace(found.trials[3], candidate=apart)
    best = dataclasses.replace(found, trials=tuple(same), winner=winner)
    assert "All groups of tensors" not in written(best, tmp_path)


def test_every_trial_is_listed_with_what_became_of_it(tmp_path: Path) -> None:
    trials = (
        *search([1], [0]).trials,
        trial(4, (1.9, 1.9), state="failed", message="weights of a|b\nare not finite"),
        trial(5, (0.5, 0.5), 80, duplicate_of=2),
        TrialRecord(6, "running", "gp"),
    )
    rows = table(written(search([1], [0], trials=trials), tmp_path), "Trials")
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4", "5", "6"]
    assert rows[0]["origin"] == "sums alone"
    assert rows[3]["coefficients"] == "sums 0.80, minus 0.70"
    assert rows[3]["alpha, beta"] == "alpha +0.50, beta 0.53 0.47"
    known = standings(trials)
    assert rows[3]["score (95%)"].startswith(f"{100 * known[3].mean:.1f}% (")
    assert rows[5]["score (95%)"] == rows[2]["score (95%)"]
    assert rows[3]["seconds"] == "2.5"
    assert rows[4]["note"] == r"failed: weights of a\|b are not finite"
    assert rows[4]["score (95%)"] == "–"
    assert rows[5]["note"] == "same candidate as trial 2"
    assert rows[6]["note"] == "running"


def test_bounds_are_told(tmp_path: Path) -> None:
    assert "- minus: -0.5 to 3\n" in written(search([1], [0]), tmp_path)


def test_facts_for_repeating_it_are_listed(tmp_path: Path) -> None:
    facts = {"torch": "2.8", "command": "make search | tee log"}
    rows = table(written(search([1], [0], facts=facts), tmp_path), "To repeat it")
    assert rows == [
        {"fact": "torch", "value": "2.8"},
        {"fact": "command", "value": r"make search \| tee log"},
    ]


def test_a_report_before_the_proof_shows_the_search(tmp_path: Path) -> None:
    text = written(before_the_proof(), tmp_path)
    assert "**Not proved yet" in text
    assert "have not been used yet" in text
    assert "## Scores" not in text
    assert len(table(text, "Trials")) == 4
    assert (tmp_path / "plane.png").exists()


def test_a_report_without_a_complete_trial_has_no_picture(tmp_path: Path) -> None:
    failed = trial(0, (1, 0), state="failed", message="not finite")
    text = written(before_the_proof(trials=(failed,), winner=None), tmp_path)
    assert "plane.png" not in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_a_report_without_any_trial_says_so(tmp_path: Path) -> None:
    assert "None yet." in written(before_the_proof(trials=(), winner=None), tmp_path)


def test_a_winner_that_is_an_input_has_no_differences_to_show(tmp_path: Path) -> None:
    outcome = search([0, 0], [0, 1], merged=None, use=0)
    text = written(dataclasses.replace(outcome, winner=outcome.trials[0]), tmp_path)
    assert "Only the inputs have been scored on the report documents so far." in text
    assert list(table(text, "Scores")[0]) == [
        "model",
        "report documents",
        "expected by the search documents",
    ]


def test_the_page_has_the_same_tables_and_shows_names_as_they_are(tmp_path: Path) -> None:
    facts = {"command": "make *search* | tee <log>", "torch": "2.8"}
    text = written(search([1, 0], [0, 0], facts=facts), tmp_path)
    page = html.unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "<td>make *search* | tee <log></td>" in page
    for heading in ("Scores", "Trials", "Cost", "To repeat it"):
        for row in table(text, heading):
            cells = "".join(f"<td>{cell}</td>" for cell in row.values())
            assert cells.replace("\\|", "|") in page


def test_the_folder_is_made(tmp_path: Path) -> None:
    assert "# mini" in written(before_the_proof(), tmp_path / "a" / "b")


def test_a_later_report_replaces_the_earlier_one(tmp_path: Path) -> None:
    written(before_the_proof(), tmp_path)
    assert "**Proved" in written(search(*pair(160, 88, 200, 1000)), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plane.png", "report.html", "report.md"]


def test_an_interrupted_drawing_leaves_the_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = written(before_the_proof(), tmp_path)

    def interrupted(outcome: Outcome, path: Path) -> str:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(plots, "plot_plane", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(search([1, 1], [0, 1]), tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == earlier
    assert (tmp_path / "plane.png").read_bytes() == b"PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plane.png", "report.html", "report.md"]


def test_a_report_that_cannot_be_written_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(search([1, 1], [0, 1]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_table_shows_the_comparisons_that_the_verdict_makes(tmp_path: Path) -> None:
    """One input is graded: the verdict then bets on every document, and so does the table."""
    outcome = search(*pair(14, 3, 50, 200))
    graded = dataclasses.replace(outcome.inputs[2], report=scored([0.5] * 10 + [0.0] * 190))
    outcome = dataclasses.replace(outcome, inputs=(*outcome.inputs[:2], graded))
    found = verdict(outcome)
    assert found.gain is not None
    row = next(r for r in table(written(outcome, tmp_path), "Scores") if r["model"] == "sums")
    low = next(cell for name, cell in row.items() if name.startswith("merged minus this"))
    assert (float(low.split("(")[1].split(" to ")[0]) > 0) == found.proved
    assert float(row["p"]) == pytest.approx(found.gain.p, abs=0.001)
