"""What the fast engine asks of lm-eval: how prompts become tokens and how tokens become answers.

`harness.StockEngine` fulfils `Reference` with lm-eval's own code, so that both engines agree on
every corner: special tokens, truncation, prefix token, aliases of settings, stop strings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Request(Protocol):
    """The part of lm-eval's `Instance` that engines read."""

    @property
    def args(self) -> tuple[Any, ...]:
        """(context, settings) to generate, (context, continuation) to score."""
        ...


@dataclass(frozen=True)
class Generation:
    """One request's settings, with lm-eval's defaults and aliases resolved.

    Attributes:
        until: stop strings in lm-eval's order; the last is the text of the tokeniser's end token.
        max_new_tokens: most tokens to generate.
        others: whatever else the request asks for, such as ``temperature``.
    """

    until: tuple[str, ...]
    max_new_tokens: int
    others: Mapping[str, Any]

    @property
    def is_greedy(self) -> bool:
        """Whether nothing but greedy decoding is asked for."""
        plain = {"do_sample": (False,), "temperature": (0, None)}
        return all(value in plain.get(key, ()) for key, value in self.others.items())


class Reference(Protocol):
    """lm-eval's `hf` model over the same weights, and its tokenisation.

    Attributes:
        model: the resident model.
        tokenizer: the base's.
        batch_size: rows per batch, as the study says; sets how much memory a batch may take.
        max_length: most tokens that the model takes.
        softmax_dtype: dtype in which log-likelihoods are normalised; None is the model's.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    batch_size: int
    max_length: int
    softmax_dtype: torch.dtype | None

    def why_not_plain(self) -> str | None:
        """Why decoding is more than greedy decoding of a causal model; None where it is not."""
        ...

    def generation(self, settings: Mapping[str, Any]) -> Generation:
        """A request's settings, resolved."""
        ...

    def encode_prompt(self, context: str, max_tokens: int) -> list[int]:
        """Token ids of a context to continue, cut on the left to `max_tokens`."""
        ...

    def encode_choice(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Token ids of a context and of its continuation."""
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        ...

    def finish(self, tokens: Sequence[int], until: Sequence[str]) -> str:
        """The answer that generated tokens stand for, cut at its stop strings."""
        ...

    def generate_until(self, requests: list[Any]) -> list[str]:
        """lm-eval's own answers."""
        ...

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """lm-eval's own log-likelihoods."""
        ...
