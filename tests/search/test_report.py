from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.scores import DocumentScores
from exme.search import plots
from exme.search.candidate import Candidate
from exme.search.outcome import Entry, Outcome, TrialRecord
from exme.search.report import write_report
from exme.search.statistics import compare, mean_interval
from exme.search.verdict import verdict

NAMES = ("sums", "minus")


def candidate(*coefficients: float) -> Candidate:
    values = dict(zip(NAMES, coefficients, strict=True))
    return Candidate(values, "exme", "bfloat16", {"base": "aa"})


def scored(
    values: Sequence[float], split: str = "report", **audit: tuple[float, ...]
) -> DocumentScores:
    documents = tuple(f"{split}{i}" for i in range(len(values)))
    numbers = tuple(map(float, values))
    return DocumentScores("gsm8k", split, "exact_match,strict-match", documents, numbers, 7, audit)


def solved(count: int, of: int, split: str = "search") -> DocumentScores:
    return scored([1] * count + [0] * (of - count), split)


def pair(won: int, lost: int, both: int, n: int) -> tuple[list[float], list[float]]:
    """Values of two models that differ on `won` + `lost` of n documents and share `both`."""
    rest = [0.0] * (n - won - lost - both)
    merged = [1.0] * won + [0.0] * lost + [1.0] * both + rest
    best = [0.0] * won + [1.0] * lost + [1.0] * both + rest
    return merged, best


def trial(
    number: int, place: tuple[float, float], count: int | None = None, **other: Any
) -> TrialRecord:
    fields: dict[str, Any] = {"state": "complete", "origin": "gp", "seconds": 2.5} | other
    scores = None if count is None else solved(count, 200)
    return TrialRecord(number, candidate=candidate(*place), scores=scores, **fields)


def search(
    merged: Sequence[float], best: Sequence[float], /, looks: int = 1, **other: Any
) -> Outcome:
    """A finished search: `merged` and `best` are values on the report documents, of `sums`."""
    trials = (
        trial(0, (1, 0), 70, origin="sums alone"),
        trial(1, (0, 1), 60, origin="minus alone"),
        trial(2, (0.5, 0.5), 80, origin="mean"),
        trial(3, (0.8, 0.7), 90),
    )
    low = [0] * len(best)
    inputs = (
        Entry("base", candidate(0, 0), scored(low), solved(20, 200)),
        Entry("sums", candidate(1, 0), scored(best), trials[0].scores),
        Entry("minus", candidate(0, 1), scored(low), trials[1].scores),
    )
    winner = trials[3]
    fields: dict[str, Any] = {
        "study": "mini",
        "task": "gsm8k",
        "bounds": {"sums": (-0.5, 2.0), "minus": (-0.5, 3.0)},
        "trials": trials,
        "winner": winner,
        "inputs": inputs,
        "merged": Entry("merged", candidate(0.8, 0.7), scored(merged), winner.scores),
        "looks": looks,
    }
    return Outcome(**(fields | other))


def before_the_proof(**other: Any) -> Outcome:
    fields: dict[str, Any] = {"looks": 0, "inputs": (), "merged": None}
    return search([1, 0], [0, 0], **(fields | other))


def table(text: str, heading: str) -> list[dict[str, str]]:
    """Rows of the first table below a heading, as dictionaries."""
    lines = text.split(f"## {heading}")[1].strip().split("\n")
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines[: next((i for i, x in enumerate(lines) if not x.startswith("|")), None)]
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


# The p-values and limits of these sentences were worked out apart from our code: binomial sums in
# fractions, and equation 7 of Bonett and Price with z = 1.959964.


def test_a_clear_gain_is_proved() -> None:
    result = verdict(search(*pair(160, 88, 200, 1000)))
    assert result.sentence == (
        "Proved: merged beats sums, the best input, by 7.2 points "
        "(95% interval 4.1 to 10.2, one-sided p < 0.0001, 1000 report documents)."
    )
    assert (result.proved, result.recommended, result.best_input) == (True, "merged", "sums")


def test_a_small_gain_may_be_noise_and_is_recommended_all_the_same() -> None:
    result = verdict(search(*pair(60, 50, 200, 1000)))
    assert result.sentence == (
        "May be noise: merged beats sums, the best input, by 1.0 points "
        "(95% interval -1.1 to 3.1, one-sided p = 0.20, 1000 report documents)."
    )
    assert (result.proved, result.recommended) == (False, "merged")


def test_the_verdicts_p_value_is_one_sided() -> None:
    """1 against 7 of 21, after Bentur et al. 2009: 9 of 256 outcomes are as good or better."""
    result = verdict(search(*pair(7, 1, 4, 21)))
    assert result.comparison
    assert result.comparison.difference.low > 0
    assert result.sentence == (
        "Proved: merged beats sums, the best input, by 28.6 points "
        "(95% interval 1.3 to 50.8, one-sided p = 0.0352, 21 report documents)."
    )


def test_a_loss_recommends_the_best_input() -> None:
    result = verdict(search(*pair(50, 62, 200, 1000)))
    assert result.sentence == (
        "Not better: merged scores 1.2 points below sums, the best input (95% interval of the "
        "difference -3.3 to 0.9, p = 0.30, 1000 report documents). Use sums."
    )
    assert (result.proved, result.recommended) == (False, "sums")


def test_a_tie_recommends_the_input() -> None:
    result = verdict(search(*pair(30, 30, 200, 1000)))
    assert result.sentence == (
        "Not better: merged scores the same as sums, the best input (95% interval of the "
        "difference -1.5 to 1.5, p = 1.00, 1000 report documents). Use sums."
    )
    assert not result.proved


def test_a_clear_loss_is_never_called_proved() -> None:
    result = verdict(search(*pair(88, 160, 200, 1000)))
    assert result.comparison
    assert result.comparison.p_value < 0.05
    assert not result.proved


def test_a_winner_that_is_an_input_is_no_gain() -> None:
    outcome = search([0] * 40, [1] * 10 + [0] * 30, merged=None)
    result = verdict(dataclasses.replace(outcome, winner=outcome.trials[1]))
    assert result.sentence == (
        "No gain: the best candidate on the search documents is minus, itself an input. "
        "Use sums (25.0% on 40 report documents)."
    )
    assert (result.recommended, result.comparison) == ("sums", None)


def test_before_the_proof_nothing_is_recommended() -> None:
    result = verdict(before_the_proof())
    assert result.sentence == "Not proved yet: nothing has been scored on the report documents."
    assert (result.proved, result.recommended) == (False, "")


def test_a_proof_that_was_interrupted_is_no_proof() -> None:
    result = verdict(search([1, 1], [0, 1], merged=None))
    assert result.sentence == "Not proved yet: merged not yet scored on the report documents."
    assert result.recommended == "sums"


def test_a_proof_that_lacks_an_input_is_no_proof() -> None:
    outcome = search(*pair(160, 88, 200, 1000))
    result = verdict(dataclasses.replace(outcome, inputs=outcome.inputs[:1]))
    assert result.sentence == (
        "Not proved yet: sums and minus not yet scored on the report documents."
    )
    assert (result.proved, result.recommended) == (False, "")


def test_a_search_without_a_complete_trial_has_found_nothing() -> None:
    failed = trial(0, (1, 0), state="failed", message="not finite")
    result = verdict(before_the_proof(trials=(failed,), winner=None))
    assert result.sentence == "Nothing found yet: no trial is complete (1 failed)."


def test_the_base_counts_as_an_input() -> None:
    outcome = search([1, 1, 1, 0], [0, 1, 0, 0])
    base = dataclasses.replace(outcome.inputs[0], report=scored([1, 1, 0, 0]))
    assert verdict(dataclasses.replace(outcome, inputs=(base, *outcome.inputs[1:]))).best_input == (
        "base"
    )


def test_scores_that_are_no_accuracies_keep_their_unit() -> None:
    merged, best = [0.5, 0.75, 0.25, 0.5], [0.25, 0.5, 0.5, 0.25]
    result = verdict(search(merged, best))
    assert result.sentence.startswith(
        "May be noise: merged beats sums, the best input, by 0.125 (95% interval "
    )
    assert "%)" not in result.sentence


def test_one_document_is_called_one_document() -> None:
    assert verdict(search([1], [0])).sentence.endswith("1 report document).")


def test_entries_on_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="not the same documents"):
        verdict(search([1, 0, 1], [0, 0]))


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


def test_the_numbers_in_the_table_are_those_of_the_scores(tmp_path: Path) -> None:
    outcome = search(*pair(160, 88, 200, 1000))
    rows = {row["model"]: row for row in table(written(outcome, tmp_path), "Scores")}
    assert list(rows) == ["merged", "base", "sums", "minus"]
    assert outcome.merged
    for entry in (outcome.merged, *outcome.inputs):
        assert entry.search
        for scores, column in ((entry.report, "report"), (entry.search, "search")):
            interval = mean_interval(scores)
            shown = re.findall(r"[\d.]+", rows[entry.name][f"{column} documents"])
            wanted = (interval.estimate, interval.low, interval.high)
            assert shown == [f"{100 * value:.1f}" for value in wanted]
    for entry in outcome.inputs:
        result = compare(outcome.merged.report, entry.report)
        row = rows[entry.name]
        assert (row["won"], row["lost"]) == (str(result.won), str(result.lost))
        gain = row["merged minus this, points"]
        assert gain.startswith(f"{100 * result.difference.estimate:+.1f} (")


def test_the_table_says_how_many_documents_and_which_test(tmp_path: Path) -> None:
    text = written(search(*pair(6, 3, 1, 20)), tmp_path)
    assert "on 20 report documents (chosen with seed 7) and 200 search documents" in text
    assert "McNemar's exact test" in text
    assert "exact_match,strict-match" in text


def test_a_second_look_is_told_and_corrected_for(tmp_path: Path) -> None:
    text = written(search(*pair(20, 7, 10, 100), looks=6), tmp_path)
    assert text.split("\n")[2].startswith("**May be noise:")
    assert "one-sided p = 0.0575 corrected for 6 looks" in text.split("\n")[2]
    assert "looked at 6 times" in text


def test_one_look_needs_no_correction(tmp_path: Path) -> None:
    text = written(search(*pair(20, 7, 10, 100)), tmp_path)
    assert "looked at once" in text
    assert "Bonferroni" not in text


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
    assert rows[3]["coefficients"] == "sums 0.8000, minus 0.7000"
    assert rows[3]["alpha, beta"] == "alpha +0.50, beta 0.53 0.47"
    assert rows[3]["score (95%)"].startswith("45.0% (")
    assert rows[3]["seconds"] == "2.5"
    assert rows[4]["note"] == r"failed: weights of a\|b are not finite"
    assert rows[4]["score (95%)"] == "–"
    assert rows[5]["note"] == "same candidate as trial 2"
    assert rows[6]["note"] == "running"


def test_bounds_and_their_widenings_are_told(tmp_path: Path) -> None:
    text = written(search([1], [0], widened=("minus sat at 2: widened to 3",)), tmp_path)
    assert "- minus: -0.5 to 3\n- minus sat at 2: widened to 3\n" in text
    assert "- never widened" in written(search([1], [0]), tmp_path)


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
    assert "not been looked at yet" in text
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
    outcome = search([0, 0], [0, 1], merged=None, looks=0)
    text = written(dataclasses.replace(outcome, winner=outcome.trials[0]), tmp_path)
    assert "Only the inputs have been scored on the report documents so far." in text
    assert list(table(text, "Scores")[0]) == ["model", "report documents", "search documents"]


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
