"""What goes between the judge and who uses it: engines, how prompts are put, what comes out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lm_eval.api.instance import Instance

from exme.evaluators import DocumentScores

from .generation import limit_of


class Engine(Protocol):
    """What the judge asks of a model; lm-eval's model interface, reduced to what suites use."""

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Greedy continuation of each request's context, cut before its first stop string."""
        ...

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Log-likelihood (nats) of each request's continuation, and whether it is the greedy one."""
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        ...


@dataclass(frozen=True)
class Chat:
    """How prompts are put to a chat model; passed through to lm-eval.

    Attributes:
        apply: renders messages by the tokenizer's chat template; None leaves prompts plain.
        system: system prompt; without a template it stands before the prompt.
        multiturn: few-shot examples as turns of the conversation, not as one user message.
    """

    apply: Callable[..., str] | None = None
    system: str | None = None
    multiturn: bool = True


PLAIN = Chat()


@dataclass(frozen=True)
class Evaluation:
    """One candidate's scores and what it answered.

    Attributes:
        scores: per-document scores.
        answers: the raw generated text per document, in the order of ``scores.documents``; empty
            strings for suites that compare log-likelihoods.
        engine_seconds: wall time that the engine itself took.
    """

    scores: DocumentScores
    answers: tuple[str, ...]
    engine_seconds: float


def answer_limit(request: Instance) -> int:
    """Most tokens of an answer."""
    return limit_of(request.args[1])


def is_cut(engine: Engine, request: Instance, answer: str) -> bool:
    """Whether an answer has as many tokens as it may; one that ended of itself there counts too."""
    limit = answer_limit(request)
    # Most answers are far from it: a token has a byte at least.
    return len(answer.encode()) >= limit and engine.count_tokens(answer) >= limit


def responses(engine: Engine, instances: Sequence[Instance]) -> list[tuple[Instance, Any]]:
    """Every request with its response; each kind of request goes to the engine in one call."""
    by_type: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_type[instance.request_type].extend([instance] * (instance.repeats or 1))
    found: list[tuple[Instance, Any]] = []
    for request_type, requests in by_type.items():
        found += zip(requests, getattr(engine, request_type)(requests), strict=True)
    return found
