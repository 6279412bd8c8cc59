"""On the prompts of every suite, mini and real, the fast engine answers what lm-eval's model answers.

Each suite meets two of the shapes here; `EXME_SWEEP=8 pytest tests/evaluators/fast/test_suites_exact.py`
has every suite meet all of them, on eight documents each.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.harness import Judge
from exme.tasks.documents import MINI_DATA, load_documents
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite
from tests.helpers.models.shapes import SHAPES, Asked, least_gap, make, stock, tokenizer

SUITES = ["gsm8k", "math", "humaneval", "mbpp", "mmlu", "bbh", "ifeval"]
MINI = [name for name in SUITES if (MINI_DATA / name).is_dir()]
SWEEP = int(os.environ.get("EXME_SWEEP", "0"))
TIE = 1e-4  # logits that are nearer than this may change places with the order of additions
LONGEST = 24


def shapes_of(suite: str) -> list[str]:
    names = list(SHAPES)
    first = SUITES.index(suite)
    return names if SWEEP else [names[(first + step) % len(names)] for step in (0, 3)]


def requests_of(suite: str, data: str) -> list[Any]:
    """Every request of some documents, its answer cut to what a test has time for."""
    loaded = load_suite(suite)
    if data != "mini":  # of mmlu's and bbh's many subjects, two
        some = dict(list(loaded.lm_eval_tasks.items())[:2])
        loaded = loaded.model_copy(update={"lm_eval_tasks": some})
    documents = load_documents(loaded, data, search=SWEEP or 3, report=1, seed=0)
    try:
        judge = Judge(documents, "search")
    except UserError as error:
        pytest.skip(str(error))  # an optional package is missing
    found: list[Any] = []
    for requests in judge._requests:
        for request in requests:
            context, asked = request.args
            if request.request_type == "generate_until":
                asked = {**asked, "max_gen_toks": LONGEST}
            found.append(Asked((context, asked)))
    return found


def assert_same_answers(
    model: Any, requests: list[Any], ours: list[str], theirs: list[str]
) -> None:
    """Strings are equal, except where the plain model itself is at a near tie."""
    reference = stock(model, 1)
    for request, our, their in zip(requests, ours, theirs, strict=True):
        if our == their:
            continue
        prompt = reference.encode_prompt(request.args[0], reference.max_length - LONGEST)
        answer = tokenizer().encode(their)
        assert abs(least_gap(model, prompt, answer)) < TIE, (our, their)


def assert_exact(shape: str, requests: list[Any]) -> None:
    model = copy.deepcopy(make(shape))
    model.config.max_position_embeddings = 1024  # some real prompts are longer: cut on the left
    generated = isinstance(requests[0].args[1], dict)
    engines = [FastEngine(stock(model, size)) for size in (64, 1)]
    assert not any(engine.fallback for engine in engines)
    if generated:
        for size in (1, 64):
            theirs = stock(model, size).generate_until(requests)
            for engine in engines:
                assert_same_answers(model, requests, engine.generate_until(requests), theirs)
        return
    for size in (1, 64):
        sums = stock(model, size).loglikelihood(requests)
        for engine in engines:
            ours = engine.loglikelihood(requests)
            assert [hit for _, hit in ours] == [hit for _, hit in sums]
            assert [x for x, _ in ours] == pytest.approx([x for x, _ in sums], abs=1e-4)


@pytest.mark.parametrize("suite", MINI)
def test_answers_to_mini_suites_are_lm_evals(suite: str) -> None:
    requests = requests_of(suite, "mini")
    for shape in shapes_of(suite):
        assert_exact(shape, requests)


@pytest.mark.parametrize("suite", SUITES)
def test_answers_to_real_suites_are_lm_evals(suite: str, shared: Path) -> None:
    requests = requests_of(suite, str(shared / "data"))
    for shape in shapes_of(suite):
        assert_exact(shape, requests)
