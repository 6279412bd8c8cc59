"""The fast engine's log-likelihoods are lm-eval's, within rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.memory import bytes_per_token
from tests.helpers.models.shapes import SHAPES, Asked, make, prompts, stock

CHOICES = [" A", " B", " C", " the apples in a box", " the apples", "\nAnswer: 12"]


def asked() -> list[Any]:
    return [Asked((context, choice)) for context in prompts() for choice in CHOICES]


def assert_near(ours: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> None:
    for (our, our_greedy), (their, their_greedy) in zip(ours, theirs, strict=True):
        assert our == pytest.approx(their, abs=1e-4)
        assert our_greedy == their_greedy


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch_size", [1, 64])
def test_log_likelihoods_equal_lm_evals(shape: str, batch_size: int) -> None:
    model = make(shape)
    fast = FastEngine(stock(model, batch_size))
    requests = asked() if batch_size > 1 else asked()[::7]
    assert_near(fast.loglikelihood(requests), stock(model, batch_size).loglikelihood(requests))
    assert fast.profile.tokens["choices"] > 0


def test_contexts_that_do_not_fit_together_are_scored_one_after_another() -> None:
    model = make("llama")
    expected = FastEngine(stock(model, 8)).loglikelihood(asked())
    fast = FastEngine(stock(model, 8))
    for tokens in (60, 1):  # less than one of the contexts has
        fast.budget.cache_bytes = tokens * bytes_per_token(model)
        assert_near(fast.loglikelihood(asked()), expected)


def test_choices_of_one_token_share_one_row() -> None:
    model = make("llama")
    fast = FastEngine(reference := stock(model, 8))
    letters = [x for x in "ABCDE" if len(reference.encode_choice("Sam", x)[1]) == 1]
    assert len(letters) > 2
    fast.loglikelihood([Asked((context, letters[0])) for context in prompts()])
    alone = sum(fast.profile.tokens.values())
    fast.loglikelihood([Asked((c, choice)) for c in prompts() for choice in letters])
    assert sum(fast.profile.tokens.values()) == 2 * alone


def test_corners_are_read_as_lm_eval_reads_them() -> None:
    model = make("llama")
    requests: list[Any] = [
        Asked(("", "apples and pears")),  # no context: the prefix token
        Asked(("Two boxes  ", "of pears")),  # blanks move to the continuation
        Asked(("many words " * 400, " and more")),  # cut on the left
        Asked(("x", " many words" * 6)),  # longer than its context
    ]
    ours = FastEngine(stock(model, 4)).loglikelihood(requests)
    assert_near(ours, stock(model, 4).loglikelihood(requests))


def test_long_continuations_that_begin_alike_are_each_scored_whole() -> None:
    model = make("llama")
    alike = " many words" * 50
    endings = (" one two", " one two three", " five" * 70, "")
    requests: list[Any] = [
        Asked((context, alike + ending)) for context in prompts()[:2] for ending in endings
    ]
    ours = FastEngine(stock(model, 4)).loglikelihood(requests)
    # Sums of 200 terms of about minus seven: the last digit of float32 is above 1e-4.
    for (our, _), (their, _) in zip(ours, stock(model, 4).loglikelihood(requests), strict=True):
        assert our == pytest.approx(their, rel=1e-6)


def test_the_greedy_continuation_is_told_from_others() -> None:
    model = make("llama")
    reference = stock(model, 4)
    contexts = prompts()[:4]
    settings = {"until": [], "max_gen_toks": 3}
    greedy = reference.generate_until([Asked((c, settings)) for c in contexts])
    requests: list[Any] = [
        Asked((c, g)) for c, g in zip(contexts, greedy, strict=True) if g.strip()
    ]
    ours = FastEngine(reference).loglikelihood(requests)
    assert_near(ours, reference.loglikelihood(requests))
    assert any(is_greedy for _, is_greedy in ours)


def test_a_context_that_is_anothers_continuation_gets_its_own_logits() -> None:
    model = make("llama")
    reference = stock(model, 1)
    requests: list[Any] = [Asked(("Sam", " eats apples in")), Asked(("Sam eats apples", " in"))]
    context = reference.tok_encode("Sam eats apples")
    (token,) = reference.encode_choice("Sam eats apples", " in")[1]
    with torch.no_grad():
        logits = model(torch.tensor([context])).logits[0, -1]
    expected = float(logits.log_softmax(-1)[token])
    (_, (found, _)) = FastEngine(reference).loglikelihood(requests)
    assert found == pytest.approx(expected, abs=1e-4)
    # lm-eval 0.4.13 takes the first of the other's logits, which are those after "Sam": docs/engine.md.
    (_, (theirs, _)) = reference.loglikelihood(requests)
    assert abs(theirs - expected) > 0.1
