"""How many rows fit: a budget of memory, halved when it was too much, and remembered."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch
from transformers import PreTrainedModel

from exme.evaluators import give_back_freed

_SHARE = 0.4  # of the memory that is free: the rest is for activations and for others
_MESSAGES = ("not enough memory", "can't allocate memory", "out of memory")


@dataclass
class Budget:
    """What one batch may hold; shared by all batches of a study.

    Attributes:
        cache_bytes: keys and values of rows' own tokens.
        pass_tokens: tokens of one forward pass; it sets the size of activations.
        most_rows: rows at a time; beyond it a row costs as much as it saves.
        scarce: whether the cache takes most of what it may, so that freed memory is not to lie idle beside it.
    """

    cache_bytes: int
    pass_tokens: int
    most_rows: int
    scarce: bool = False
    _passed: int = 0  # tokens since freed memory was given back

    def tokens(self, bytes_per_token: int) -> int:
        """Own tokens that fit, of all rows together; one at least."""
        return max(1, self.cache_bytes // bytes_per_token)

    def fit(self, wanted: int, bytes_per_token: int) -> int:
        """Tokens of a cache: as many as are wanted, or as fit; from now on memory is `scarce` or not."""
        fitting = self.tokens(bytes_per_token)
        self.scarce = 2 * wanted > fitting
        return min(wanted, fitting)

    def halve(self) -> bool:
        """Make do with half; False where nothing is left to halve."""
        if self.most_rows == 1 and self.pass_tokens == 1:
            return False
        self.cache_bytes //= 2
        self.pass_tokens = max(1, self.pass_tokens // 2)
        self.most_rows = max(1, self.most_rows // 2)
        return True

    def passed(self, tokens: int) -> None:
        """A pass of so many tokens is done: now and then what it freed is given back to the system.

        Not at once, for what comes back costs time: a tenth of humaneval's where it was done after every full pass.
        """
        self._passed += tokens
        if self._passed >= (self.pass_tokens // 4 if self.scarce else 8 * self.pass_tokens):
            give_back_freed()
            self._passed = 0


def measure_budget(model: PreTrainedModel, batch_size: int, max_length: int) -> Budget:
    """A budget from the memory that is free now, and no more than lm-eval's model would take.

    Args:
        batch_size: rows that the study lets lm-eval's model hold, each of full length.
        max_length: tokens of full length.
    """
    free = psutil.virtual_memory().available
    # A pass of some hundred tokens keeps a processor's caches and arithmetic busy. Rows share a pass:
    # many more of them than of a padded batch.
    tokens, rows = 512, 128
    stock = batch_size * max_length * bytes_per_token(model)
    return Budget(min(int(free * _SHARE), stock), tokens, rows)


def bytes_per_token(model: PreTrainedModel) -> int:
    """Size of one token's keys and values in all layers."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed for want of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        message in str(error).lower() for message in _MESSAGES
    )
