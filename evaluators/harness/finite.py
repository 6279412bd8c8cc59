"""Whether a model's logits stay finite while it answers.

An answer made of NaN looks like any other: the largest of NaNs is a token. A hook on the output layer
keeps a running maximum on the device, which NaN and infinity spoil; it is read once per evaluation.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel


class FiniteLogits:
    """Watches a model's output layer; works with every engine, for all call the model.

    Args:
        model: the model; one without an output layer of its own is not watched.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._largest: torch.Tensor | None = None
        head = model.get_output_embeddings()
        if head is not None:
            head.register_forward_hook(self._see)

    def _see(self, module: Any, arguments: Any, logits: torch.Tensor) -> None:
        if logits.numel():
            largest = logits.detach().amax()  # NaN if any is
            seen = self._largest
            self._largest = largest if seen is None else torch.maximum(seen, largest)

    def begin(self) -> None:
        """Forget what was seen."""
        self._largest = None

    def check(self) -> None:
        """Refuse what was seen since `begin`.

        Raises:
            FloatingPointError: a logit was NaN or infinity.
        """
        if self._largest is not None and not bool(self._largest.isfinite()):
            raise FloatingPointError("the model's logits are not finite")
