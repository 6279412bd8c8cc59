"""Out of memory: half as much at a time, the same answers, and it is remembered."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from exme.evaluators.fast import likelihood, memory, nodes
from exme.evaluators.fast.decoding import decode
from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.memory import Budget, bytes_per_token, is_out_of_memory
from exme.evaluators.fast.prompts.cache import KVCache
from tests.helpers.models.shapes import QUESTIONS, Asked, generations, make, prompts, stock

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
]


def fail_above(monkeypatch: pytest.MonkeyPatch, rows: int, error: RuntimeError) -> list[int]:
    """Let passes over more than so many rows fail; the sizes that were asked for."""
    asked: list[int] = []
    for module in (decode, likelihood, nodes):
        stock_forward = module.forward

        def forward(
            model: Any, pieces: Any, *args: Any, _real: Any = stock_forward, **kwargs: Any
        ) -> Any:
            asked.append(len(pieces))
            if len(pieces) > rows:
                raise error
            return _real(model, pieces, *args, **kwargs)

        monkeypatch.setattr(module, "forward", forward)
    return asked


def think_rows_short(fast: FastEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every answer expected to be one token long."""
    real_rows = fast._rows

    def rows_thought_short(*arguments: Any) -> list[decode.Row]:
        rows = real_rows(*arguments)
        for row in rows:
            row.expected = 1
        return rows

    monkeypatch.setattr(fast, "_rows", rows_thought_short)


@pytest.mark.parametrize("error", ERRORS)
def test_generation_goes_on_with_half_the_rows(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    model = make("llama")
    requests = generations(prompts(), most=12)
    expected = FastEngine(stock(model, 8)).generate_until(requests)
    asked = fail_above(monkeypatch, 3, error)
    fast = FastEngine(stock(model, 8))
    assert fast.fallback is None
    before = fast.budget.most_rows
    assert fast.generate_until(requests) == expected
    assert max(asked) > 3
    assert fast.budget.most_rows < before
    # Remembered: the next evaluation asks for no more than what fitted.
    asked.clear()
    assert fast.generate_until(requests) == expected
    assert max(asked) <= 3


def test_log_likelihoods_go_on_with_half_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    requests: list[Any] = [Asked((c, x)) for c in prompts() for x in (" one", " two of them")]
    expected = FastEngine(stock(model, 8)).loglikelihood(requests)
    fail_above(monkeypatch, 3, ERRORS[0])
    fast = FastEngine(stock(model, 8))
    before = fast.budget.pass_tokens
    found = fast.loglikelihood(requests)
    assert [hit for _, hit in found] == [hit for _, hit in expected]
    assert [total for total, _ in found] == pytest.approx([t for t, _ in expected], abs=1e-4)
    assert fast.budget.pass_tokens < before


def test_when_not_even_one_row_fits_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    fast = FastEngine(stock(model, 8))
    fail_above(monkeypatch, 0, ERRORS[0])
    with pytest.raises(torch.OutOfMemoryError):
        fast.generate_until(generations(prompts()[:2]))
    with pytest.raises(torch.OutOfMemoryError):
        fast.loglikelihood([Asked(("a b c", " d"))])


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    fast = FastEngine(stock(model, 8))
    fail_above(monkeypatch, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        fast.generate_until(generations(prompts()[:2]))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_tokens_follow_from_the_budget_and_one_always_fits() -> None:
    budget = Budget(cache_bytes=1000, pass_tokens=64, most_rows=16)
    assert budget.tokens(bytes_per_token=8) == 125
    assert budget.tokens(bytes_per_token=2000) == 1
    while budget.halve():
        pass
    assert (budget.most_rows, budget.pass_tokens) == (1, 1)


def test_freed_memory_is_given_back_oftener_where_the_cache_takes_most_of_what_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[bool] = []
    monkeypatch.setattr(memory, "give_back_freed", lambda: given.append(True))
    budget = Budget(cache_bytes=1000, pass_tokens=64, most_rows=16)
    for _ in range(32):
        budget.passed(16)
    assert len(given) == 1
    budget.scarce = True
    for _ in range(32):
        budget.passed(16)
    assert len(given) == 33


@pytest.mark.parametrize(("fits", "scarce"), [(0.5, True), (8.0, False)])
def test_memory_is_scarce_where_not_all_fits(fits: float, scarce: bool) -> None:
    model = make("llama")
    requests = generations(prompts(), most=12)
    fast = FastEngine(stock(model, 8))
    expected = fast.generate_until(requests)
    assert fast._decoder._cache is not None
    whole = fast._decoder._cache.tokens
    fast = FastEngine(stock(model, 8))
    fast.budget.cache_bytes = int(fits * whole) * bytes_per_token(model)
    assert fast.generate_until(requests) == expected
    assert fast.budget.scarce == scarce


def watch(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[decode.Row]]:
    """Tokens of the cache at every pass, and rows that were sent back before they were done."""
    sizes: list[int] = []
    waited: list[decode.Row] = []
    real_pass, real_wait = decode.Decoder._pass, decode.Decoder._take_out

    def measured(self: Any, drafts: Any, cache: KVCache) -> None:
        sizes.append(cache.tokens)
        assert cache.free >= 0
        for row, draft in drafts.items():
            assert row.cached + row.new(draft) <= row.place.room
        real_pass(self, drafts, cache)

    def wait(self: Any, row: decode.Row, cache: KVCache) -> None:
        waited.extend([] if row.done else [row])
        real_wait(self, row, cache)

    monkeypatch.setattr(decode.Decoder, "_pass", measured)
    monkeypatch.setattr(decode.Decoder, "_take_out", wait)
    return sizes, waited


def test_rows_longer_than_expected_make_others_wait_and_the_cache_stays_within_its_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make("llama")
    texts = prompts()
    expected = FastEngine(stock(model, 8)).generate_until(generations(texts, most=40))
    fast = FastEngine(stock(model, 8))
    fast.budget.cache_bytes = 200 * bytes_per_token(model)
    think_rows_short(fast, monkeypatch)
    sizes, waited = watch(monkeypatch)
    assert fast.generate_until(generations(texts, most=40)) == expected
    assert waited, "no row was sent back"
    assert max(sizes) <= 200, sizes


def test_rows_that_enter_with_long_drafts_stay_within_the_budget_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make("llama")
    texts = prompts()
    fast = FastEngine(stock(model, 8))
    expected = fast.generate_until(generations(texts, most=40))
    # What is remembered is now drafted: every row enters with 40 tokens more than it is thought to need.
    fast.budget.cache_bytes = 200 * bytes_per_token(model)
    fast.budget.pass_tokens = 4096
    think_rows_short(fast, monkeypatch)
    sizes, _ = watch(monkeypatch)
    assert fast.generate_until(generations(texts, most=40)) == expected
    assert max(sizes) <= 200, sizes


def test_what_rows_share_counts_against_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    subjects = (
        "A tree has 9 leaves and 4 nests. " * 9,
        "Two cars need 8 wheels, six need 24. " * 9,
    )
    texts = [f"{subject}{text}" for subject in subjects for text in QUESTIONS]
    expected = FastEngine(stock(model, 8)).generate_until(generations(texts, most=20))
    fast = FastEngine(stock(model, 8))
    most = 400
    fast.budget.cache_bytes = most * bytes_per_token(model)
    held: list[int] = []
    real = decode.Decoder._pass

    def measured(self: Any, drafts: Any, cache: KVCache) -> None:
        nodes = {node for row in drafts for node in row.leaf.chain}
        assert all(node.cached == len(node.tokens) for node in nodes)
        shared = sum(len(node.tokens) for node in nodes)
        assert cache.tokens - cache.free >= shared + sum(row.place.room for row in drafts)
        assert cache.tokens <= most
        held.append(cache.tokens - cache.free)
        real(self, drafts, cache)

    monkeypatch.setattr(decode.Decoder, "_pass", measured)
    assert fast.generate_until(generations(texts, most=20)) == expected
    assert max(held) > most // 2, "the budget was hardly used"
    assert fast._decoder._cache is not None
    assert fast._decoder._cache.free == fast._decoder._cache.tokens, "all was given back"


def test_a_shared_prompt_longer_than_a_pass_is_computed_in_parts() -> None:
    model = make("mistral")  # whose window hides what lies further back
    requests = generations(prompts(), most=12)
    expected = FastEngine(stock(model, 8)).generate_until(requests)
    fast = FastEngine(stock(model, 8))
    fast.budget.pass_tokens = 7
    assert fast.generate_until(requests) == expected
    assert fast.profile.passes["prefix"] >= fast.profile.tokens["prefix"] // 7


def test_a_row_longer_than_the_whole_budget_is_decoded_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make("llama")
    texts = prompts()[:4]
    expected = FastEngine(stock(model, 8)).generate_until(generations(texts, most=40))
    fast = FastEngine(stock(model, 8))
    fast.budget.cache_bytes = 10 * bytes_per_token(model)
    think_rows_short(fast, monkeypatch)
    sizes, _ = watch(monkeypatch)
    assert fast.generate_until(generations(texts, most=40)) == expected
    assert max(sizes) > 40


def test_no_row_is_lost_where_memory_ends_while_rows_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    requests = generations(prompts(), most=12)
    expected = FastEngine(stock(model, 8)).generate_until(requests)
    real, calls = KVCache.take, [0]

    def take(self: KVCache, room: int) -> Any:
        calls[0] += 1
        if calls[0] == 4:  # three rows are in
            raise ERRORS[0]
        return real(self, room)

    monkeypatch.setattr(KVCache, "take", take)
    fast = FastEngine(stock(model, 8))
    assert fast.generate_until(requests) == expected
    assert calls[0] > 4
