"""lm-eval's own `hf` model over the resident model: the reference, and the fallback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .quiet import quiet


class StockEngine(HFLM):  # type: ignore[misc]  # lm_eval is not typed
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
