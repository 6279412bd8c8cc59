"""lm-eval's own `hf` model over the resident model: the reference, and the fallback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from exme.evaluators.fast import Generation

from .generation import seeds
from .noise import quiet
from .remembering import Remembering


class SeededHFLM(HFLM):  # type: ignore[misc]  # lm_eval is not typed
    """lm-eval's `hf` model, whose random answers depend on their requests alone.

    Each is drawn by itself, from a seed of its own (`generation.seeds`).
    """

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """See `Engine.generate_until`."""
        drawn = {place: seed for place, seed in enumerate(seeds(requests)) if seed is not None}
        plain = [r for place, r in enumerate(requests) if place not in drawn]
        said = iter(super().generate_until(plain, disable_tqdm=disable_tqdm) if plain else ())
        answers: dict[int, str] = {}
        for place, seed in drawn.items():
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                answers[place] = super().generate_until([requests[place]], disable_tqdm=True)[0]
        return [answers[p] if p in answers else next(said) for p in range(len(requests))]


class StockEngine(Remembering, SeededHFLM):
    """lm-eval's `hf` model over a resident model, with its tokenisation remembered.

    Everything else is lm-eval's own code.

    Args:
        model: the resident model; its weights may be replaced between evaluations.
        batch_size: rows per batch.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        self._batches: dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]] = {}

    def tok_batch_encode(
        self, strings: Sequence[str], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded ids and attention mask of a batch, tokenised at its first use."""
        key = (tuple(strings), args, tuple(sorted(kwargs.items())))
        if key not in self._batches:
            self._batches[key] = super().tok_batch_encode(list(strings), *args, **kwargs)
        return self._batches[key]

    # What the fast engine asks of its reference (fast/reference.py).

    def why_not_plain(self) -> str | None:
        """See `Reference.why_not_plain`."""
        if self.backend != "causal":
            return f"it is a {self.backend} model"
        if self.think_end_token is not None or self.mixed_precision_dtype is not None:
            return "lm-eval is told to cut its thoughts, or to compute in mixed precision"
        return None

    def generation(self, settings: Mapping[str, Any]) -> Generation:
        """See `Reference.generation`."""
        with quiet():
            others: dict[str, Any] = dict(normalize_gen_kwargs(dict(settings), self.max_gen_toks))
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(others.pop("until"), eos=eos)
        return Generation(tuple(until), others.pop("max_gen_toks"), others)

    def encode_prompt(self, context: str, max_tokens: int) -> list[int]:
        """See `Reference.encode_prompt`."""
        with quiet():
            ids, _ = super().tok_batch_encode(
                [context], left_truncate_len=max_tokens, truncation=self.truncation
            )
        found: list[int] = ids[0].tolist()
        return found

    def encode_choice(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """See `Reference.encode_choice`."""
        if context:
            pair: tuple[list[int], list[int]] = self._encode_pair(context, continuation)
            return pair
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens[:1] == [self.prefix_token_id]:
            return tokens[:1], tokens[1:]
        return [self.prefix_token_id], tokens

    def finish(self, tokens: Sequence[int], until: Sequence[str]) -> str:
        """See `Reference.finish`."""
        text = self.tok_decode(list(tokens))
        return str(postprocess_generated_text(text, list(until), think_end_token=None))
