"""Whether an engine computes what the model says: log-probabilities beside transformers', before they are believed.

A wrong dtype, kernel or layout answers fluently and wrongly; scores would not show it. And whether it takes all that
it is asked: prompts that are longer, with their answers, than a sequence may be are cut, which only a log says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from exme.evaluators.harness import Judge, longest_requests
from exme.tasks import UserError

from .settings import VllmSettings, longest_sequence, positions

# Largest difference allowed, as a share of the spread of the log-probabilities, by the engine's dtype.
TOLERANCE = {"float32": 0.01, "bfloat16": 0.05, "float16": 0.05}
# So many prompts, of so many tokens each.
PROMPTS, TOKENS = 4, 96


@dataclass(frozen=True)
class Agreement:
    """What a probe found.

    Attributes:
        difference: largest difference of a token's log-probability, in nats.
        spread: standard deviation of the reference's, in nats.
        tokens: how many were compared.
    """

    difference: float
    spread: float
    tokens: int

    def within(self, dtype: str) -> bool:
        """Whether an engine that computes in this dtype is to be believed."""
        return self.difference <= TOLERANCE[dtype] * self.spread  # (NaN is not)

    def told(self, dtype: str) -> str:
        """In words."""
        return (
            f"log-probabilities of {self.tokens} tokens differ from transformers' by at most "
            f"{self.difference:.2g} nats, {self.difference / self.spread:.2%} of their spread "
            f"({TOLERANCE[dtype]:.0%} allowed in {dtype})"
        )


def compare(ours: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> Agreement:
    """Compare log-probabilities of the same tokens of the same prompts."""
    mine = torch.tensor([p for row in ours for p in row], dtype=torch.float64)
    theirs = torch.tensor([p for row in reference for p in row], dtype=torch.float64)
    difference = float((mine - theirs).abs().max())
    return Agreement(difference, float(theirs.std()), len(mine))


@torch.inference_mode()
def reference_logprobs(model: Any, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-probability of every token but the first, by a transformers model on the CPU.

    Args:
        model: that is to be compared with.
        prompts: tokens of each.
    """
    found = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)])
        scores = model(ids).logits[0, :-1].float().log_softmax(-1)
        found.append(scores.gather(1, ids[0, 1:, None])[:, 0].tolist())
    return found


def check_lengths(
    judge: Judge, reference: Any, config: Mapping[str, Any], settings: VllmSettings
) -> str:
    """What people are to know of a suite's prompts; empty where none is cut.

    Args:
        reference: lm-eval's model over the base.

    Raises:
        UserError: a prompt would be cut, and the model takes longer ones; names the key.
    """
    most, limit = longest_sequence(config, settings), positions(config)
    long = longest_requests(judge, reference, most)
    if not long:
        return ""
    suite, (document, tokens) = judge.suite.suite, long[0]
    if limit is None or most < limit:
        said = "set" if settings.max_model_len is not None else "the default"
        raise UserError(
            f"vllm.max_model_len: {most} ({said}), and document {document} of suite '{suite}' takes up to "
            f"{tokens} tokens with its answer; set it to {min(tokens, limit or tokens)} or more"
        )
    return (
        f"Suite '{suite}': with their answers {len(long)} of {len(judge.documents)} {judge.split} documents are "
        f"longer than the model's {limit} positions; lm-eval's `vllm` model cuts their beginning."
    )
