"""The fast engine's answers are lm-eval's, string for string, whatever is drafted."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from exme.evaluators.fast.decoding.store import DraftStore, document_key
from exme.evaluators.fast.engine import FastEngine
from tests.helpers.models.shapes import (
    SHAPES,
    VOCABULARY,
    Asked,
    generations,
    least_gap,
    make,
    prompts,
    stock,
    tokenizer,
)

TIE = 1e-4  # logits that are nearer than this may change places with the order of additions


def assert_same(model: Any, requests: list[Any], ours: list[str], theirs: list[str]) -> int:
    """Strings are equal, except behind a near tie of the plain model; how many such there are."""
    reference = stock(model, 1)
    ties = 0
    for request, our, their in zip(requests, ours, theirs, strict=True):
        if our == their:
            continue
        context, asked = request.args
        generation = reference.generation(asked)
        most = reference.max_length - generation.max_new_tokens
        prompt = reference.encode_prompt(context, most)
        answer = tokenizer().encode(their)
        assert abs(least_gap(model, prompt, answer)) < TIE, (context, our, their)
        ties += 1
    return ties


def answers_of(store: DraftStore, model: Any, requests: list[Any]) -> list[tuple[Any, Any]]:
    """Prompts and the answers' tokens, as the engine left them in its store."""
    reference = stock(model, 1)
    found = []
    for request in requests:
        context, asked = request.args
        generation = reference.generation(asked)
        most = generation.max_new_tokens
        prompt = reference.encode_prompt(context, reference.max_length - most)
        found.append((prompt, store.answers(document_key(prompt, generation.until, most))[0]))
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_generated_strings_equal_lm_evals(shape: str) -> None:
    model = make(shape)
    requests = generations(prompts(), until=["ing", "\n\n"])
    store = DraftStore()
    fast = FastEngine(stock(model, 64), store)
    assert fast.fallback is None
    theirs = stock(model, 64).generate_until(requests)
    assert len(set(theirs)) > len(theirs) // 2  # the comparison must not hold for want of variety
    ties = assert_same(model, requests, fast.generate_until(requests), theirs)
    assert ties <= 1
    # Every token is the plain model's own choice, whatever lm-eval says.
    for prompt, answer in answers_of(store, model, requests):
        assert least_gap(model, prompt, answer) > -TIE
    # Again, now drafted from the answers themselves, and one row at a time.
    assert fast.generate_until(requests) == fast.generate_until(requests)
    alone = FastEngine(stock(model, 1))
    alone.budget.most_rows = alone.budget.pass_tokens = 1
    few = requests[::3]
    assert (
        assert_same(model, few, alone.generate_until(few), stock(model, 1).generate_until(few)) <= 1
    )


@pytest.mark.parametrize("shape", ["llama", "mistral"])
def test_eager_models_are_answered_alike(shape: str) -> None:
    model = make(shape, attention="eager")
    requests = generations(prompts()[:6])
    fast = FastEngine(stock(model, 64))
    assert fast.fallback is None
    theirs = stock(model, 64).generate_until(requests)
    assert assert_same(model, requests, fast.generate_until(requests), theirs) == 0
    assert model.config._attn_implementation == "eager"


HOSTILE = st.lists(
    st.one_of(
        st.just([]),
        st.just([1]),  # the end token
        st.lists(st.integers(0, VOCABULARY - 1), max_size=40),
        st.tuples(st.integers(0, 15), st.lists(st.integers(0, VOCABULARY - 1), max_size=6)),
    ),
    max_size=4,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drafts=HOSTILE, seed=st.integers(0, 2**16))
@pytest.mark.parametrize("shape", ["llama", "mistral"])
def test_no_draft_changes_an_answer(shape: str, drafts: list[Any], seed: int) -> None:
    model = make(shape)
    requests = generations(prompts()[3:9], until=["th"], most=16)
    plain = FastEngine(stock(model, 8), (honest := DraftStore()))
    expected = plain.generate_until(requests)
    draw = random.Random(seed)
    store = DraftStore()
    reference = stock(model, 8)
    for request, (prompt, answer) in zip(
        requests, answers_of(honest, model, requests), strict=True
    ):
        generation = reference.generation(request.args[1])
        key = document_key(prompt, generation.until, generation.max_new_tokens)
        for draft in drafts:
            if isinstance(draft, tuple):  # right up to a place, then wrong, then right again
                at, wrong = draft
                store.add(key, [*answer[:at], *wrong, *answer[at + draw.randint(0, 2) :]])
            else:
                store.add(key, draft)
    fast = FastEngine(stock(model, 8), store)
    assert fast.generate_until(requests) == expected
    assert fast.generate_until(requests) == expected


def test_stop_strings_cut_where_lm_eval_cuts() -> None:
    model = make("llama")
    contexts = prompts()[:8]
    free = stock(model, 1).generate_until(generations(contexts, most=24))
    draw = random.Random(0)
    for _ in range(12):
        text = draw.choice(free)
        stops = []
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(text) - 4)
            stops.append(text[at : at + draw.randint(1, 4)])
        # lm-eval looks for stops in the names of special tokens, too, which no answer shows: what it
        # then answers depends on its batch size.
        names = tokenizer().all_special_tokens
        stops = [stop for stop in stops if not any(stop in name for name in names)]
        requests = generations(contexts, until=stops, most=24)
        ours = FastEngine(stock(model, 8)).generate_until(requests)
        assert ours == stock(model, 8).generate_until(requests), stops
        # Alone, lm-eval's row also stops at a stop string inside a special token's name, which no
        # answer shows; beside others it goes on.
        if not any(stop in str(tokenizer().pad_token) for stop in stops):
            assert ours == stock(model, 1).generate_until(requests), stops


def test_the_end_token_ends_an_answer_and_is_not_part_of_it() -> None:
    model = make("llama", seed=1)
    with torch.no_grad():
        model.lm_head.weight[1] *= 4  # the end token comes up often
    requests = generations(prompts(), most=24)
    ours = FastEngine(stock(model, 8)).generate_until(requests)
    assert ours == stock(model, 8).generate_until(requests)
    lengths = {len(tokenizer().encode(answer)) for answer in ours}
    assert len(lengths) > 2  # some ended early


def test_prompts_longer_than_the_model_are_cut_on_the_left() -> None:
    model = make("llama")
    requests = generations(["many words " * 400 + q for q in ("one", "two")], most=8)
    ours = FastEngine(stock(model, 8)).generate_until(requests)
    assert ours == stock(model, 8).generate_until(requests)


def test_repeated_requests_and_different_settings_keep_their_order() -> None:
    model = make("qwen2")
    contexts = prompts()[:3]
    requests = [
        *generations(contexts, most=5),
        *generations(contexts, most=9, until=["e"]),
        *generations(contexts, most=5),
    ]
    ours = FastEngine(stock(model, 8)).generate_until(requests)
    assert ours == stock(model, 8).generate_until(requests)
    assert FastEngine(stock(model, 8)).generate_until([]) == []


@pytest.mark.parametrize(
    "asked",
    [{"max_gen_toks": 6}, {"until": "a", "max_new_tokens": 6}, {"max_tokens": 6}],
)
def test_settings_are_read_as_lm_eval_reads_them(asked: dict[str, Any]) -> None:
    model = make("llama")
    requests: list[Any] = [Asked((context, asked)) for context in prompts()[:3]]
    ours = FastEngine(stock(model, 8)).generate_until(requests)
    assert ours == stock(model, 8).generate_until(requests)


def test_settings_that_lm_eval_refuses_are_refused_alike() -> None:
    model = make("llama")
    requests: list[Any] = [Asked((context, {"until": None})) for context in prompts()[:2]]
    with pytest.raises(Exception) as theirs:  # noqa: PT011  (whatever it is)
        stock(model, 8).generate_until(requests)
    with pytest.raises(type(theirs.value), match=re.escape(str(theirs.value))):
        FastEngine(stock(model, 8)).generate_until(requests)


def test_what_is_not_greedy_goes_to_lm_eval(caplog: pytest.LogCaptureFixture) -> None:
    model = make("llama")
    asked = {"until": [], "max_gen_toks": 4, "do_sample": True, "temperature": 0.7}
    requests: list[Any] = [Asked((context, asked)) for context in prompts()[:2]]
    fast = FastEngine(stock(model, 8))
    torch.manual_seed(0)
    ours = fast.generate_until(requests)
    torch.manual_seed(0)
    assert ours == stock(model, 8).generate_until(requests)
    assert "stock, not fast, for some requests" in caplog.text
    assert not fast.profile.passes


def test_a_repetition_penalty_in_the_models_settings_goes_to_lm_eval() -> None:
    model = make("llama", seed=3)
    model.generation_config.repetition_penalty = 1.3
    try:
        requests = generations(prompts()[:2], most=8)
        fast = FastEngine(stock(model, 8))
        assert fast.generate_until(requests) == stock(model, 8).generate_until(requests)
        assert not fast.profile.passes
    finally:
        model.generation_config.repetition_penalty = None


def test_drafts_make_the_second_candidate_cheaper(tmp_path: Path) -> None:
    model = make("llama")
    requests = generations(prompts(), most=24)
    fast = FastEngine(stock(model, 64), DraftStore(tmp_path / "drafts.jsonl"))
    first = fast.generate_until(requests)
    passes = sum(fast.profile.passes.values())
    assert fast.generate_until(requests) == first
    assert sum(fast.profile.passes.values()) < 1.5 * passes
    # And so does a search that is taken up again.
    resumed = FastEngine(stock(model, 64), DraftStore(tmp_path / "drafts.jsonl"))
    assert resumed.generate_until(requests) == first
    assert sum(resumed.profile.passes.values()) < passes / 2
