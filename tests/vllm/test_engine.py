"""The engine answers what lm-eval's `hf` model answers, with drafts of earlier candidates, and is probed before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.harness import Chat, Judge, StockEngine
from exme.evaluators.harness.generation import seeds
from exme.evaluators.vllm.engine import VllmEngine
from exme.evaluators.vllm.probe import compare, reference_logprobs
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import write_model
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.location import locate
from exme.search.merging.sources.sources import Sources
from exme.tasks.documents import load_documents
from exme.tasks.suite import load_suite
from tests.helpers.models.served import Open, begin

POINTS = (
    {"sums": 1.0, "products": 0.0},
    {"sums": 0.9, "products": 0.2},
    {"sums": 0.9, "products": 0.3},
)


@pytest.fixture(scope="module")
def sources() -> Sources:
    checkpoints = {n: Checkpoint(n, locate(f"mini/{n}", who=n)) for n in ("sums", "products")}
    return Sources(Checkpoint("base", locate("mini/base", who="base")), checkpoints)


@pytest.fixture(scope="module")
def engine(open_engine: Open, sources: Sources) -> VllmEngine:
    found = open_engine(sources.base.folder, unpacked=False)
    begin(found, sources)
    return found


def judge(suite: str, count: int) -> Judge:
    documents = load_documents(load_suite(suite), "mini", search=count, report=1, seed=0)
    return Judge(documents, "search", Chat())


def by_transformers(sources: Sources, candidate: Candidate, folder: Path) -> StockEngine:
    folder.mkdir()
    write_model(folder, sources, candidate, code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return StockEngine(model, AutoTokenizer.from_pretrained(folder), 8)


def test_generated_answers_are_those_of_the_hf_model_with_drafts_of_earlier_candidates(
    engine: VllmEngine, sources: Sources, tmp_path: Path
) -> None:
    asked = judge("gsm8k", 16)
    steps = []
    for number, point in enumerate(POINTS):
        candidate = Candidate(point, "exme", "bfloat16", {})
        engine.update(candidate.to_json())
        [_] = engine.call("exme_draft_counts")
        found = asked.score(engine)
        [counts] = engine.call("exme_draft_counts")
        expected = asked.score(by_transformers(sources, candidate, tmp_path / str(number)))
        assert found.answers == expected.answers
        assert found.scores.values == expected.scores.values
        steps.append(counts["steps"])
    assert counts["right"] > 0
    assert steps[-1] < steps[0]


def test_log_likelihoods_are_those_of_the_hf_model(
    engine: VllmEngine, sources: Sources, tmp_path: Path
) -> None:
    candidate = Candidate(POINTS[1], "exme", "bfloat16", {})
    engine.update(candidate.to_json())
    asked = judge("mmlu", 12)
    requests = [r for document in asked._requests for r in document]
    ours = engine.loglikelihood(requests)
    theirs = by_transformers(sources, candidate, tmp_path / "out").loglikelihood(requests)
    for (value, greedy), (expected, is_greedy) in zip(ours, theirs, strict=True):
        assert value == pytest.approx(expected, abs=2e-4)
        assert greedy == is_greedy


def test_random_answers_are_those_of_their_seeds_whatever_else_is_asked(
    engine: VllmEngine,
) -> None:
    from vllm import SamplingParams, TokensPrompt

    asked = judge("gsm8k", 4)
    drawn = {"until": ["Question:"], "max_gen_toks": 24, "do_sample": True, "temperature": 1.0}
    requests = [
        replace(r[0], arguments=(r[0].args[0], settings))
        for r in asked.requests
        for settings in (drawn, drawn, {"until": ["Question:"], "max_gen_toks": 24})
    ]
    answers = engine.generate_until(requests)
    assert engine.generate_until(requests) == answers
    alone = [engine.generate_until([request])[0] for request in requests]
    assert alone[::3] == answers[::3]
    assert alone[2::3] == answers[2::3]  # greedy, though the settings do not say so
    assert alone[1::3] != answers[1::3]  # asked for once more, so drawn once more
    engine.call("exme_take_drafts", [], False)
    first = [seed for seed in seeds(requests) if seed is not None][::2]
    by_vllm = engine.model.model.generate(
        [
            TokensPrompt(prompt_token_ids=engine.tokenizer(r.args[0])["input_ids"])
            for r in requests[::3]
        ],
        [SamplingParams(temperature=1.0, seed=s, max_tokens=24, stop=["Question:"]) for s in first],
        use_tqdm=False,
    )
    assert [o.outputs[0].text for o in by_vllm] == answers[::3]


def by_itself(source: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(source.folder, dtype=torch.float32).eval()


def test_the_probe_believes_the_base_and_not_another_model(
    engine: VllmEngine, sources: Sources
) -> None:
    engine.update(Candidate({"sums": 0.0, "products": 0.0}, "exme", "bfloat16", {}).to_json())
    prompts = [engine.tokenizer(p)["input_ids"][:64] for p in judge("gsm8k", 4).prompts]
    ours = engine.token_logprobs(prompts)
    same = reference_logprobs(by_itself(sources.base), prompts)
    assert compare(ours, same).within("float32")
    other = reference_logprobs(by_itself(sources.checkpoints["sums"]), prompts)
    assert not compare(ours, other).within("bfloat16")


def test_logits_that_are_not_finite_are_seen(engine: VllmEngine) -> None:
    engine.check_logits()
    engine.token_logprobs([[1, 5, 9]])
    engine.check_logits()
