"""The verdict by the study's goal: what it says, how often it is wrong, how often it is right."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from exme.evaluators.scores import DocumentScores, Scores, join
from exme.search.merging.candidate import Candidate
from exme.search.proof.finals import best_input
from exme.search.proof.gain import gain_on_suite, gain_over_inputs, share_of_error
from exme.search.proof.outcome import Entry, Outcome
from exme.search.proof.verdict import Verdict, verdict
from exme.search.racing.goal import Goal
from exme.search.statistics.intervals import compare
from exme.search.trials.trial import TrialRecord

SUITES = ("gsm8k", "shop", "mmlu")
LEVEL = (1 / 3,) * 3
GOALS = {
    "mean": Goal(LEVEL),
    "worst": Goal(LEVEL, "worst"),
    "cvar": Goal(LEVEL, "cvar", tail=2),
    "pareto": Goal(LEVEL, "pareto"),
}


def candidate(*coefficients: float) -> Candidate:
    names = ("sums", "products")
    return Candidate(dict(zip(names, coefficients, strict=True)), "exme", "float32", {})


def card(values: Sequence[Sequence[float]]) -> Scores:
    parts = []
    for suite, numbers in zip(SUITES, values, strict=False):
        ids = tuple(map(str, range(len(numbers))))
        parts.append(DocumentScores(suite, "report", "acc", ids, tuple(map(float, numbers)), 0))
    return join(parts)


def outcome(models: dict[str, Any], aim: Goal, use: int = 1) -> Outcome:
    """A finished search; `models` are values by suite of base, sums, products and merged."""
    places = {"base": (0, 0), "sums": (1, 0), "products": (0, 1), "merged": (0.8, 0.7)}
    entries = {n: Entry(n, candidate(*places[n]), card(values)) for n, values in models.items()}
    merged = entries.pop("merged")
    winner = TrialRecord(3, "complete", "gp", merged.candidate, merged.report)
    return Outcome(
        "mini", "all", {}, (winner,), winner, tuple(entries.values()), merged, use, aim=aim
    )


def exact(shares: Mapping[str, Sequence[float]], n: int = 200) -> dict[str, list[list[float]]]:
    """Models that solve the first so many documents of each suite."""
    return {
        name: [[1.0] * round(s * n) + [0.0] * (n - round(s * n)) for s in each]
        for name, each in shares.items()
    }


def drawn(shares: Mapping[str, Sequence[float]], n: int, seed: int) -> dict[str, Any]:
    """Models that solve documents by chance, of difficulties that they share."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(size=(3, n))
    found = {}
    for name, each in shares.items():
        own = generator.normal(size=(3, n))
        # The mean of 0.7 hard + 0.7 own is standard normal: a share is solved below its quantile.
        cuts = np.array([_quantile(s) for s in each])[:, None]
        found[name] = (math.sqrt(0.5) * (hard + own) < cuts).astype(float).tolist()
    return found


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def proved(shares: Mapping[str, Sequence[float]], goal: str, runs: int, n: int = 120) -> float:
    """Share of runs in which the gain was called proved."""
    found = [verdict(outcome(drawn(shares, n, seed), GOALS[goal])).proved for seed in range(runs)]
    return float(np.mean(found))


# A gain on two suites of three: nothing to prove for `worst`, something for the others.
UNEVEN = {
    "base": (0.3, 0.3, 0.3),
    "sums": (0.6, 0.5, 0.5),
    "products": (0.5, 0.6, 0.5),
    "merged": (0.8, 0.8, 0.5),
}
EQUAL = dict.fromkeys(("base", "sums", "products", "merged"), (0.5, 0.5, 0.5))


# 240 runs: a true rate of 0.05 would pass 0.1 in one case of a thousand.
@pytest.mark.parametrize("goal", list(GOALS))
def test_of_equal_models_a_gain_is_seldom_called_proved(goal: str) -> None:
    assert proved(EQUAL, goal, 240, n=60) <= 0.1


def test_a_gain_that_one_suite_lacks_is_seldom_called_proved_for_the_worst_suite() -> None:
    """The least favourable case: large gains on two suites, none on the third."""
    assert proved(UNEVEN, "worst", 240) <= 0.1
    assert proved(UNEVEN, "mean", 20) == 1


@pytest.mark.slow
def test_a_mean_over_the_worst_suites_that_is_zero_is_seldom_called_proved() -> None:
    """40 points gained on one suite, 10 on the next, 10 lost on the last: none in the mean over the worst two."""
    shares = EQUAL | {"merged": (0.9, 0.6, 0.4)}
    assert proved(shares, "cvar", 240) <= 0.1


def test_a_candidate_that_an_input_matches_everywhere_is_seldom_called_beyond_it() -> None:
    shares = {
        "base": (0.2, 0.2, 0.2),
        "sums": (0.7, 0.6, 0.5),
        "products": (0.3, 0.3, 0.3),
        "merged": (0.7, 0.6, 0.5),
    }
    assert proved(shares, "pareto", 240) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("goal", list(GOALS))
def test_a_gain_on_every_suite_is_proved_in_most_runs(goal: str) -> None:
    """10 points on every suite with 500 documents each."""
    shares = EQUAL | {"merged": (0.6, 0.6, 0.6)}
    assert proved(shares, goal, 40, n=500) >= 0.8


def test_the_interval_of_the_lowest_gain_covers_it() -> None:
    """Gains of 5, 6 and 7 points: the lowest of three estimates is below 5 on average, the interval is not off."""
    shares = EQUAL | {"merged": (0.55, 0.56, 0.57)}
    for goal, truth in (("worst", 0.05), ("cvar", 0.055)):
        held = []
        for seed in range(200):
            models = drawn(shares, 150, seed)
            found = gain_over_inputs(
                card(models["merged"]), [("sums", card(models["sums"]))], GOALS[goal], 0.025
            )
            held.append(found.low <= truth <= found.high)
        assert np.mean(held) >= 0.92  # 95%, less 2 standard errors of the simulation


def near_copy(seed: int, n: int = 400) -> dict[str, Any]:
    """Merged is as good as products, an unrelated input, and 2 points better than sums, nearly a copy of it."""
    generator = np.random.default_rng(seed)
    merged = generator.random((3, n)) < 0.5
    copy = merged & (generator.random((3, n)) >= 0.04)  # loses 4% of what merged solves
    products = np.where(generator.random((3, n)) < 0.3, generator.random((3, n)) < 0.5, merged)
    models = {"base": merged & False, "sums": copy, "products": products, "merged": merged}
    return {name: values.astype(float).tolist() for name, values in models.items()}


@pytest.mark.slow
@pytest.mark.parametrize("goal", list(GOALS))
def test_a_near_copy_beside_an_equal_stranger_does_not_make_a_proof(goal: str) -> None:
    """Tested against the input that came out best alone, a third of these was called proved."""
    found = [verdict(outcome(near_copy(seed), GOALS[goal])).proved for seed in range(200)]
    assert np.mean(found) <= 0.06


def test_the_lowest_gain_is_over_every_input_and_not_over_the_best_alone() -> None:
    merged = [1.0] * 60 + [0.0] * 40
    copy = [1.0] * 52 + [0.0] * 48  # 8 lost, none won: surely worse
    other = [0.0] * 10 + [1.0] * 50 + [1.0] * 5 + [0.0] * 35  # 10 lost, 5 won: perhaps as good
    inputs = [("copy", card([copy])), ("other", card([other]))]
    found = gain_over_inputs(card([merged]), inputs, Goal(), 0.025)
    assert found.over == ("other",)
    assert found.p == pytest.approx(
        max(gain_over_inputs(card([merged]), [i], Goal(), 0.025).p for i in inputs)
    )
    assert not found.proved
    assert gain_over_inputs(card([merged]), inputs[:1], Goal(), 0.025).proved
    assert gain_on_suite(card([merged]), inputs, 0, 0.025).low == found.low


def test_all_uses_of_report_documents_spend_no_more_than_the_error() -> None:
    spent = [share_of_error(m) for m in range(1, 2000)]
    assert spent[0] == 0.025
    assert 0.0499 < sum(spent) < 0.05


def of(shares: Mapping[str, Sequence[float]], aim: Goal, use: int = 1) -> Verdict:
    return verdict(outcome(exact(shares), aim, use))


SPECIAL = {"base": (0.1, 0.1, 0.1), "sums": (0.6, 0.2, 0.5), "products": (0.2, 0.6, 0.5)}


def test_a_gain_on_every_suite_is_one_on_the_worst() -> None:
    found = of(SPECIAL | {"merged": (0.8, 0.7, 0.7)}, GOALS["worst"])
    assert found.proved and found.recommended == "merged"
    assert found.sentence.startswith(
        "Proved: merged gains 10.0 points on its worst suite, shop, over products, the best input there (95% interval "
    )
    assert found.sentence.endswith("one-sided p < 0.0001, 600 report documents of 3 suites).")
    assert found.gain is not None and found.gain.p < 1e-4
    assert (found.gain.won, found.gain.lost) == (20, 0)


def test_a_loss_on_one_suite_is_none_for_the_mean_and_one_for_the_worst() -> None:
    shares = SPECIAL | {"merged": (0.8, 0.55, 0.7)}
    assert of(shares, GOALS["mean"]).proved
    found = of(shares, GOALS["worst"])
    assert not found.proved
    assert found.sentence.startswith("Not proved: merged loses 5.0 points on its worst suite, shop")
    # The goal would take it: every input loses more on its own worst suite.
    assert (found.state, found.recommended) == ("not proved", "merged")
    assert "By this goal every input loses more (sums, the next, 40.0 points)." in found.sentence


def test_an_input_that_is_worse_nowhere_is_recommended_for_the_worst_suite() -> None:
    shares = SPECIAL | {"sums": (0.6, 0.6, 0.5), "merged": (0.9, 0.5, 0.9)}
    found = of(shares, GOALS["worst"])
    assert found.recommended == found.best_input == "sums"
    assert found.sentence.endswith("Use sums.")


def test_the_mean_over_the_worst_suites_is_named_with_them() -> None:
    found = of(SPECIAL | {"merged": (0.9, 0.65, 0.6)}, GOALS["cvar"])
    assert found.proved and found.gain is not None
    assert found.gain.estimate == pytest.approx(0.075)
    assert (
        "gains 7.5 points in the mean over its 2 worst suites, shop and mmlu, over the best input on each"
        in found.sentence
    )


def test_every_further_use_of_the_report_documents_is_tested_at_a_stricter_level() -> None:
    shares = SPECIAL | {"merged": (0.8, 0.63, 0.7)}  # 6 won on the worst suite, none lost
    for goal in ("worst", "pareto"):
        assert of(shares, GOALS[goal]).proved
    found = of(shares, GOALS["worst"], use=10)
    assert not found.proved and found.gain is not None and found.gain.low <= 0
    assert found.sentence.startswith("Not proved: ") and "99.9% interval" in found.sentence
    assert "tested at 0.00045 in use 10 of these 600 report documents" in found.sentence


def test_a_knee_is_proved_where_no_input_is_as_good_everywhere() -> None:
    found = of(SPECIAL | {"merged": (0.5, 0.5, 0.5)}, GOALS["pareto"])
    assert found.proved and found.recommended == "merged"
    assert "which is least ahead of sums: on shop, by 30.0 points (95% interval" in found.sentence
    below = of(SPECIAL | {"merged": (0.55, 0.2, 0.5)}, GOALS["pareto"])
    assert not below.proved and below.recommended == "sums"
    assert below.sentence.startswith("No gain: sums scores at least as high as merged, the knee")


def test_the_mean_is_weighted_as_the_study_says() -> None:
    shares = SPECIAL | {"merged": (0.5, 0.9, 0.5)}
    assert of(shares, GOALS["mean"]).proved
    found = of(shares, Goal((1.0, 0.0, 0.0)))
    assert found.best_input == "sums" and found.recommended == "sums"
    assert "scores 10.0 points below sums, the best input, in the weighted mean" in found.sentence
    assert found.gain is not None and found.gain.estimate == pytest.approx(-0.1)


def keeping(least: float, merged: tuple[float, float, float]) -> Verdict:
    aim = Goal((1.0, 0.0, 0.0), keep=(-math.inf, -math.inf, least))
    return of(SPECIAL | {"merged": merged}, aim)


def test_what_is_to_be_kept_is_said_with_its_interval() -> None:
    kept = keeping(-0.05, (0.9, 0.1, 0.6))
    assert kept.proved
    assert (
        "What is to be kept is kept: 10.0 points above sums on mmlu (95% interval of the gain "
        in kept.sentence
    )
    assert kept.sentence.endswith("; may lose at most 5.0 points).")
    unsure = keeping(-0.01, (0.9, 0.1, 0.5))
    assert (
        unsure.proved
        and "Kept by the estimate, not for sure: the same as sums on mmlu" in unsure.sentence
    )
    assert [k.holds for k in unsure.kept] == [True] and not unsure.kept[0].is_sure


def test_a_gain_that_breaks_what_is_to_be_kept_is_not_proved_and_not_recommended() -> None:
    found = keeping(-0.05, (0.9, 0.1, 0.3))
    assert not found.proved and found.recommended == "sums"
    assert found.state == "broken constraint"
    assert found.sentence.startswith(
        "Broken constraint: merged scores 20.0 points below sums on mmlu"
    )
    assert found.sentence.endswith("Use sums.")


def test_an_input_that_breaks_it_is_not_the_best_input() -> None:
    shares = SPECIAL | {"sums": (0.6, 0.2, 0.3), "merged": (0.9, 0.1, 0.5)}
    aim = Goal((1.0, 0.0, 0.0), keep=(-math.inf, -math.inf, -0.05))
    assert best_input(outcome(exact(shares), aim)).name == "products"


def test_a_weighted_comparison_is_the_weighted_mean_of_differences() -> None:
    a, b = card(exact({"x": (0.8, 0.5, 0.5)})["x"]), card(exact({"x": (0.5, 0.6, 0.5)})["x"])
    found = compare(a, b, weights=(0.5, 0.25, 0.25))
    assert found.difference.estimate == pytest.approx(0.5 * 0.3 - 0.25 * 0.1)
    level, plain = compare(a, b, weights=LEVEL), compare(a, b)
    assert level.p_value == plain.p_value
    assert level.difference.low == pytest.approx(plain.difference.low)


def solves(*counts: tuple[int, int]) -> list[list[float]]:
    """A model's values on suites: so many solved, so many not."""
    return [[1.0] * won + [0.0] * lost for won, lost in counts]


def said(aim: Goal, use: int = 1, **models: Sequence[Sequence[float]]) -> Verdict:
    base = [[0.0] * len(suite) for suite in models["merged"]]
    return verdict(outcome({"base": base, "products": base} | models, aim, use))


def test_of_models_that_keep_what_is_to_be_kept_the_best_is_used() -> None:
    """The base scores 2 points above merged, and breaks what is to be kept; merged does not."""
    aim = Goal((0.8, 0.2), keep=(-math.inf, -0.05))
    found = said(
        aim,
        sums=solves((150, 50), (0, 200)),
        products=solves((60, 140), (100, 100)),
        merged=solves((120, 80), (100, 100)),
    )
    assert (found.state, found.recommended) == ("not proved", "merged")
    assert (
        "2.0 points below sums" in found.sentence and "breaks what is to be kept" in found.sentence
    )


def test_a_front_names_the_suite_whose_gain_it_tells() -> None:
    few, many = [1.0] * 3 + [0.0] * 7, [1.0] * 80 + [0.0] * 920
    found = said(
        Goal((0.5, 0.5), "pareto"),
        sums=[[0.0] * 3 + [1.0] + [0.0] * 6, [0.0] * 80 + [1.0] * 20 + [0.0] * 900],
        products=[[0.0] * 10, [0.0] * 1000],
        merged=[few, many],
    )
    assert found.gain is not None and found.gain.suites == ("gsm8k",)
    assert "least ahead of sums: on gsm8k, by 20.0 points" in found.sentence


def test_a_front_counts_suites_of_weight_above_0_alone() -> None:
    found = said(
        Goal((1.0, 0.0), "pareto"),
        sums=solves((40, 60), (50, 50)),
        merged=solves((30, 70), (90, 10)),
    )
    assert (found.state, found.recommended) == ("no gain", "sums")
    assert "No gain: sums scores at least as high as merged" in found.sentence


def test_gains_that_cancel_are_a_tie_whatever_the_rounding() -> None:
    """Gains of 1, 2 and -3 of 10: their mean is 0, as floats 1.4e-17."""
    found = said(
        Goal(LEVEL),
        sums=solves((4, 6), (3, 7), (8, 2)),
        merged=solves((5, 5), (5, 5), (5, 5)),
    )
    assert (found.state, found.recommended) == ("no gain", "sums")
    assert "merged scores the same as sums" in found.sentence


def test_nothing_to_lose_is_written_without_a_sign() -> None:
    found = said(
        Goal((0.5, 0.5), keep=(0.0, 0.0)),
        sums=solves((40, 60), (40, 60)),
        merged=solves((60, 40), (60, 40)),
    )
    assert "may lose at most 0.0 points" in found.sentence and "-0.0" not in found.sentence


def test_metrics_whose_names_say_that_they_have_no_bounds_prove_nothing() -> None:
    """A little better on all documents seen, by a metric that may be far worse on one that was not."""
    merged, best = [[0.52] * 500], [[0.5] * 500]
    models = {"base": best, "sums": best, "products": best, "merged": merged}
    plain = outcome(models, Goal())
    assert verdict(plain).proved
    entries = [*plain.inputs, plain.merged]
    lost = [
        dataclasses.replace(e, report=dataclasses.replace(e.report.parts[0], metric="perplexity"))
        for e in entries
        if e is not None
    ]
    found = verdict(dataclasses.replace(plain, inputs=tuple(lost[:-1]), merged=lost[-1]))
    assert found.state == "not proved" and "approximate 95% interval" in found.sentence


def test_a_caution_is_of_a_gain_alone() -> None:
    shares = SPECIAL | {"merged": (0.5, 0.5, 0.5)}
    assert of(shares, Goal((1.0, 0.0, 0.0))).caution == ""
