"""What ExMe asks of vLLM's workers by name: vLLM mixes this class into each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class WorkerExtension:
    """See the module; `self` is a worker."""

    model_runner: Any
    weight_transfer_engine: Any
    exme_largest: torch.Tensor | None

    def exme_report(self) -> dict[str, Any]:
        """How candidates are written; see `ExmeTransfer.report`."""
        found: dict[str, Any] = self.weight_transfer_engine.report()
        return found

    def exme_failure(self) -> str:
        """Why the last candidate cannot be used; empty where it can."""
        return str(self.weight_transfer_engine.failure)

    def exme_watch_logits(self) -> None:
        """Keep the largest logit that is computed: NaN and infinity spoil it."""
        model = self.model_runner.get_model()
        compute = model.compute_logits
        self.exme_largest = None

        def watched(*arguments: Any, **settings: Any) -> torch.Tensor | None:
            logits: torch.Tensor | None = compute(*arguments, **settings)
            if logits is not None and logits.numel():
                largest, seen = logits.amax(), self.exme_largest
                self.exme_largest = largest if seen is None else torch.maximum(seen, largest)
            return logits

        model.compute_logits = watched

    def exme_logits_finite(self) -> bool:
        """Whether all logits since the last question were finite."""
        largest, self.exme_largest = self.exme_largest, None
        return largest is None or bool(largest.isfinite())

    def exme_take_drafts(self, prompts: Sequence[Any], is_greedy: bool) -> None:
        """See `Proposer.take`."""
        self.model_runner.drafter.take(prompts, is_greedy)

    def exme_draft_counts(self) -> dict[str, int]:
        """Steps, drafted tokens, those that were right, and tokens in all, since the last question."""
        drafter = self.model_runner.drafter
        found: dict[str, int] = drafter.counts
        drafter.counts = dict.fromkeys(found, 0)
        return found
