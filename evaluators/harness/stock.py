"""lm-eval's own `hf` model over the resident model: the reference, and the fallback."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
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

from .generation import samples
from .noise import quiet


class SeededHFLM(HFLM):  # type: ignore[misc]  # lm_eval is not typed
    """lm-eval's `hf` model, whose random answers depend on their requests alone.

    Each is drawn by itself, from a seed made of its prompt, its settings and how often it was asked
    for before: the same in every run, whatever else is asked for.
    """

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """See `Engine.generate_until`."""
        drawn = [place for place, request in enumerate(requests) if samples(request.args[1])]
        plain = [r for r in requests if not samples(r.args[1])]
        said = iter(super().generate_until(plain, disable_tqdm=disable_tqdm) if plain else ())
        asked: Counter[str] = Counter()
        answers: dict[int, str] = {}
        for place in drawn:
            told = json.dumps(requests[place].args, sort_keys=True, default=str)
            digest = hashlib.sha256(f"{asked[told]}:{told}".encode()).digest()
            asked[told] += 1
            with torch.random.fork_rng():
                torch.manual_seed(int.from_bytes(digest[:8], "big"))
                answers[place] = super().generate_until([requests[place]], disable_tqdm=True)[0]
        return [answers[p] if p in answers else next(said) for p in range(len(requests))]


class StockEngine(SeededHFLM):
    """lm-eval's `hf` model over a resident model, with its tokenisation remembered.

    The prompts of a study never change, so each is tokenised at its first use only; everything
    else is lm-eval's own code.

    Args:
        model: the resident model; its weights may be replaced between evaluations.
        tokenizer: the base's tokenizer.
        batch_size: rows per batch.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> None:
        with quiet():
            super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        self._encoded: dict[tuple[Any, ...], list[int]] = {}
        self._batches: dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]] = {}

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """See `Engine.generate_until`."""
        with quiet():
            answers: list[str] = super().generate_until(requests, disable_tqdm=disable_tqdm)
        return answers

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """See `Engine.loglikelihood`."""
        with quiet():
            found: list[tuple[float, bool]] = super().loglikelihood(
                requests, disable_tqdm=disable_tqdm
            )
        return found

    def tok_encode(self, string: str, *args: Any, **kwargs: Any) -> list[int]:
        """Token ids of a string, tokenised at its first use."""
        key = (string, args, tuple(sorted(kwargs.items())))
        if key not in self._encoded:
            self._encoded[key] = super().tok_encode(string, *args, **kwargs)
        return list(self._encoded[key])

    def tok_batch_encode(
        self, strings: Sequence[str], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded ids and attention mask of a batch, tokenised at its first use."""
        key = (tuple(strings), args, tuple(sorted(kwargs.items())))
        if key not in self._batches:
            self._batches[key] = super().tok_batch_encode(list(strings), *args, **kwargs)
        return self._batches[key]

    def count_tokens(self, text: str) -> int:
        """See `harness.Engine.count_tokens`."""
        return len(self.tok_encode(text, add_special_tokens=False))

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
