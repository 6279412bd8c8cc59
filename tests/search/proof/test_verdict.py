"""The first sentence of a report: proved, or not, and what is recommended."""

from __future__ import annotations

import dataclasses

import pytest

from exme.search.proof.verdict import verdict
from tests.helpers.searches.outcomes import before_the_proof, pair, scored, search, trial


def test_a_clear_gain_is_proved() -> None:
    result = verdict(search(*pair(160, 88, 200, 1000)))
    assert result.sentence == (
        "Proved: merged scores 7.2 points above sums, the best input "
        "(95% interval of the gain 4.1 to 11.0, one-sided p < 0.0001, 1000 report documents)."
    )
    assert (result.proved, result.recommended, result.best_input) == (True, "merged", "sums")


def test_a_small_gain_may_be_chance() -> None:
    result = verdict(search(*pair(60, 50, 200, 1000)))
    assert result.sentence == (
        "Not proved: merged scores 1.0 points above sums, the best input (95% interval of the gain "
        "-1.1 to 3.6, one-sided p = 0.17, 1000 report documents). That may be chance."
    )
    assert (result.state, result.recommended) == ("not proved", "merged")


def test_word_interval_and_p_value_agree_where_a_one_sided_test_at_5_percent_would_prove() -> None:
    """94 against 70 of 500: p is between 2.5 and 5%; with a 95% interval that holds 0 nothing is proved."""
    result = verdict(search(*pair(94, 70, 200, 500)))
    assert result.gain is not None
    assert 0.025 < result.gain.p < 0.05
    assert result.gain.low < 0
    assert result.state == "not proved"


def test_an_end_of_an_interval_is_never_written_as_0_where_it_is_not() -> None:
    """The lower end decides the word, so its sign must be seen."""
    for won in range(60, 120):
        result = verdict(search(*pair(won, 70, 200, 500)))
        assert result.gain is not None
        low = result.sentence.split("interval of the gain ")[1].split(" to ")[0]
        assert (float(low) > 0) == result.proved


def test_a_loss_recommends_the_best_input() -> None:
    result = verdict(search(*pair(50, 62, 200, 1000)))
    assert result.sentence == (
        "No gain: merged scores 1.2 points below sums, the best input (95% interval of the gain "
        "-3.3 to 1.4, 1000 report documents). Use sums."
    )
    assert (result.state, result.recommended) == ("no gain", "sums")


def test_a_tie_recommends_the_input() -> None:
    result = verdict(search(*pair(30, 30, 200, 1000)))
    assert result.sentence.startswith("No gain: merged scores the same as sums, the best input (")
    assert result.recommended == "sums"


def test_a_clear_loss_is_never_called_proved() -> None:
    result = verdict(search(*pair(88, 160, 200, 1000)))
    assert result.gain is not None
    assert result.gain.p > 0.99
    assert not result.proved


def test_a_winner_that_is_an_input_is_no_gain() -> None:
    outcome = search([0] * 40, [1] * 10 + [0] * 30, merged=None)
    result = verdict(dataclasses.replace(outcome, winner=outcome.trials[1]))
    assert result.sentence == (
        "No gain: no merge scored higher than every input on the search documents. "
        "Use sums (25.0% on 40 report documents)."
    )
    assert (result.state, result.recommended, result.gain) == ("no gain", "sums", None)


def test_a_direction_is_no_input_that_the_proof_waits_for() -> None:
    """A task vector that the study computed has a coefficient, and is not scored on its own."""
    outcome = search(*pair(160, 88, 200, 1000))
    inputs = outcome.inputs[:2]  # minus is taken for a direction
    assert verdict(dataclasses.replace(outcome, inputs=inputs)).state == "not yet"
    assert verdict(dataclasses.replace(outcome, inputs=inputs, names=("base", "sums"))).proved


def test_before_the_proof_nothing_is_recommended() -> None:
    result = verdict(before_the_proof())
    assert result.sentence == "Not proved yet: nothing has been scored on the report documents."
    assert (result.state, result.recommended) == ("not yet", "")


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
    assert (result.state, result.recommended) == ("not yet", "")


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
        "Not proved: merged scores 0.125 above sums, the best input (95% interval of the gain "
    )
    assert "%)" not in result.sentence


def test_scores_without_bounds_are_called_approximate_and_never_proved() -> None:
    """100 documents on which merged is better by 2 to 3, in a metric that is no share."""
    merged, best = [7.0 + i % 2 for i in range(100)], [5.0] * 100
    result = verdict(search(merged, best))
    assert result.state == "not proved"
    assert "(approximate 95% interval 2.4 to 2.6, 100 report documents)" in result.sentence
    assert result.sentence.endswith("for one rare loss may undo every gain.")


def test_one_document_is_called_one_document() -> None:
    assert " 1 report document)" in verdict(search([1], [0])).sentence


def test_entries_on_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="not the same documents"):
        verdict(search([1, 0, 1], [0, 0]))
