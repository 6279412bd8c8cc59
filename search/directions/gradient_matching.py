"""Uncertainty-based gradient matching: task vectors weighted by diagonal Fisher estimates.

    theta_0 + alpha * sum_t Hbar^-1 (H_0 + H_t + delta) (theta_t - theta_0)
    Hbar = H_0 + alpha * sum_t H_t + delta

H_0 and H_t are elementwise: the mean over examples of the squared gradient of log p(reference answer |
prompt), at the base's and at the checkpoint's own weights.

Source: Daheim et al. 2024, arXiv:2310.12808, its merge of several tasks with squared gradients for Hessians. Ours: all
models are measured on the same search documents; alpha is 1; delta is a tenth of the mean of sum_t H_t over
the tensor, so that it has the Fisher's own scale. With delta far above the Fishers this is task arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .bench import Batch, Bench
from .direction import Found, Write
from .losses import likelihoods


class GradientMatching:
    """See the module.

    Attributes:
        alpha: weight of every task vector.
        damping: delta as a share of the mean of sum_t H_t.
    """

    alpha = 1.0
    damping = 0.1

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        fishers = {who: self._fisher(bench, who) for who in ("base", *bench.names)}
        for tensor in bench.tensors:
            write(tensor, self._merge(bench, tensor, fishers))
        return Found(settings={"alpha": self.alpha, "damping": self.damping})

    def _fisher(self, bench: Bench, who: str) -> Mapping[str, torch.Tensor]:
        """Diagonal Fisher of a source: one backward pass an example."""
        found = bench.arrays()
        bench.load(who)

        def square(tensor: str, gradient: torch.Tensor) -> None:
            squared = gradient.to(bench.real).square().div_(len(bench.examples))
            found[tensor].add_(squared.cpu())

        bench.gradients(_log_likelihood, square, rows=1)
        return found

    def _merge(
        self, bench: Bench, tensor: str, fishers: Mapping[str, Mapping[str, torch.Tensor]]
    ) -> torch.Tensor:
        h = {who: found[tensor].to(bench.device) for who, found in fishers.items()}
        deltas = bench.deltas(tensor)
        together = sum((h[who] for who in bench.names), torch.zeros_like(h["base"]))
        # Where nothing is known of a tensor, any damping makes it the plain sum.
        delta = float(self.damping * together.mean()) if together.numel() else 0.0
        delta = delta or 1.0
        bar = h["base"] + self.alpha * together + delta
        total = torch.zeros_like(bar)
        for who, vector in deltas.items():
            total += (h["base"] + h[who] + delta) / bar * vector
        return self.alpha * total


def _log_likelihood(bench: Bench, batch: Batch) -> torch.Tensor:
    return likelihoods(bench, batch).sum()
