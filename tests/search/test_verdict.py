"""The first sentence of a report: proved, or not, and what is recommended."""

from __future__ import annotations

import dataclasses

import pytest

from exme.search.verdict import verdict

from .outcomes import before_the_proof, pair, scored, search, trial

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
