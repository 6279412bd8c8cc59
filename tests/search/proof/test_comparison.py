"""Who beats whom: by the tests of the proof, at a level that the pairs share."""

from __future__ import annotations

import numpy as np
import pytest

from exme.evaluators.scores import DocumentScores, join
from exme.search.proof.comparison import compare_models
from exme.search.proof.gain import ERROR
from exme.search.statistics.paired import Table


def scores(values: list[int], suite: str = "gsm8k") -> DocumentScores:
    ids = tuple(str(i) for i in range(len(values)))
    return DocumentScores(suite, "report", "acc,none", ids, tuple(map(float, values)), 0)


def drawn(share: float, seed: int, count: int = 200) -> list[int]:
    return [int(v) for v in np.random.default_rng(seed).random(count) < share]


def test_pairs_are_tested_as_tables_of_wins_and_losses_at_a_level_that_they_share() -> None:
    models = {"a": drawn(0.3, 1), "b": drawn(0.6, 2), "c": drawn(0.33, 3)}
    found = compare_models({name: scores(values) for name, values in models.items()})
    assert [{p.better, p.worse} for p in found.pairs] == [{"a", "b"}, {"a", "c"}, {"b", "c"}]
    for pair in found.pairs:
        ours, theirs = models[pair.better], models[pair.worse]
        won = sum(x > y for x, y in zip(ours, theirs, strict=True))
        lost = sum(x < y for x, y in zip(ours, theirs, strict=True))
        table, level = Table(won, lost, 200), ERROR / 2 / (2 * 3)
        assert (pair.gain.won, pair.gain.lost) == (won, lost) and won >= lost
        assert pair.gain.low == pytest.approx(table.low(level))
        assert pair.gain.high == pytest.approx(table.high(level))
        assert pair.proved == (table.p < level)
    assert found.pairs[0].sentence.startswith("b beats a by ")
    assert "that may be chance (99.2% interval of the gain" in found.pairs[1].sentence


def test_suites_count_alike_and_a_later_use_is_tested_at_its_own_level() -> None:
    one = join([scores(drawn(0.7, 4, 50), "gsm8k"), scores(drawn(0.5, 5, 400), "mmlu")])
    other = join([scores(drawn(0.5, 6, 50), "gsm8k"), scores(drawn(0.5, 7, 400), "mmlu")])
    found = compare_models({"one": one, "other": other}, use=3)
    (pair,) = found.pairs
    mean = np.mean([a.mean - b.mean for a, b in zip(one.parts, other.parts, strict=True)])
    assert pair.gain.estimate == pytest.approx(abs(mean))
    assert pair.gain.level == pytest.approx(ERROR / (3 * 4) / 2)
    assert "in use 3 of these 450 report documents of 2 suites" in pair.sentence


def test_models_that_answer_alike_are_no_better_and_nobody_says_what_a_gain_needs() -> None:
    same = scores([1, 0, 1, 1])
    found = compare_models({"one": same, "other": same})
    assert found.pairs[0].sentence.startswith("one and other score the same; that may be chance")
    assert not found.pairs[0].proved and found.needs == ""


def test_scores_without_bounds_prove_nothing() -> None:
    def nll(shift: float) -> DocumentScores:
        values = tuple(-v - shift for v in np.random.default_rng(0).random(60))
        ids = tuple(map(str, range(60)))
        return DocumentScores("own", "report", "perplexity,none", ids, values, 0, {}, False)

    (pair,) = compare_models({"one": nll(1.0), "other": nll(0.0)}).pairs
    assert (pair.better, pair.proved) == ("other", False)
    assert "scores without bounds allow no proof (approximate 97.5% interval" in pair.sentence
