"""NP Merge: for every weight, how much of it comes from the one checkpoint and how much from the other.

    W = a * W_A + (1 - a) * W_B  elementwise,   a = sigmoid(p),   p learnt by gradient from 0

    d loss / d p = d loss / d W * (W_A - W_B) * a (1 - a)

More than two checkpoints are merged one after the other, in the study's order: the result of one merge is
the next one's A.

Source: Orozco Camacho et al. 2024, arXiv:2412.15467, its elementwise merge and learnt sigmoid. Ours: fine-tunes of one base need
no alignment of neurons; the loss is the mean negative log-likelihood of reference answers by bytes; Adam,
20 steps of rate 0.1 over all examples. p, its moments and its gradient stand in mapped files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .bench import Bench
from .direction import Found, Write
from .losses import answer_nll

Arrays = Mapping[str, torch.Tensor]

# A weight's own gradient is tiny; Adam's usual 1e-8 would stand in its place.
TINY = 1e-15


class NPMerge:
    """See the module.

    Attributes:
        steps: of Adam, for each pair; `rate` its rate.
        betas: of Adam's two means.
    """

    steps = 20
    rate = 0.1
    betas = (0.9, 0.999)

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        first: Arrays | None = None  # deltas of A, where it is no checkpoint
        losses: list[float] = []
        for other in bench.names[1:]:
            pair = Pair(bench, first or bench.names[0], other)
            losses += self._learn(bench, pair)
            first = pair.result(bench.arrays())
        assert first is not None
        for tensor in bench.tensors:
            write(tensor, first[tensor])
        return Found(losses=tuple(losses), settings={"steps": self.steps, "rate": self.rate})

    def _learn(self, bench: Bench, pair: Pair) -> list[float]:
        one, two = self.betas
        mean, square = bench.arrays(), bench.arrays()
        losses = []
        for step in range(1, self.steps + 1):
            losses.append(pair.gradient())
            scale = (1 - two**step) ** 0.5 / (1 - one**step)
            for tensor in bench.tensors:
                slope = pair.slope[tensor]
                mean[tensor].mul_(one).add_(slope, alpha=1 - one)
                square[tensor].mul_(two).addcmul_(slope, slope, value=1 - two)
                move = mean[tensor] / square[tensor].sqrt().add_(TINY)
                pair.p[tensor].sub_(move, alpha=self.rate * scale)
        pair.write()
        return [*losses, bench.total(answer_nll)]


class Pair:
    """Two sources and the share of the first in every weight.

    Args:
        one: A: a checkpoint's name, or deltas from the base.
        other: B: a checkpoint's name.

    Attributes:
        p: logits of the shares, by tensor; `slope`: the loss's gradient in them.
    """

    def __init__(self, bench: Bench, one: str | Arrays, other: str) -> None:
        self._bench, self._one, self._other = bench, one, other
        self.p, self.slope = bench.arrays(), bench.arrays()

    def _deltas(self, tensor: str) -> tuple[torch.Tensor, torch.Tensor]:
        deltas = self._bench.deltas(tensor)
        other = deltas[self._other].cpu()
        return (
            deltas[self._one].cpu() if isinstance(self._one, str) else self._one[tensor],
            other,
        )

    def merged(self, tensor: str) -> torch.Tensor:
        """Delta of the merge as it is, on the CPU."""
        one, other = self._deltas(tensor)
        return other + self.p[tensor].sigmoid() * (one - other)

    @torch.no_grad()
    def write(self) -> None:
        """Write the merge as it is into the live model."""
        for tensor in self._bench.tensors:
            merged = self._bench.base(tensor) + self.merged(tensor).to(self._bench.device)
            self._bench.live[tensor].data.copy_(merged)

    def gradient(self) -> float:
        """The loss of the merge as it is; its gradient in p is in `slope` then."""
        for tensor in self._bench.tensors:
            self.slope[tensor].zero_()
        self.write()

        def project(tensor: str, gradient: torch.Tensor) -> None:
            one, other = self._deltas(tensor)
            share = self.p[tensor].sigmoid()
            inner = gradient.to("cpu", one.dtype) * (one - other)
            self.slope[tensor].add_(inner.mul_(share * (1 - share)))

        return self._bench.gradients(answer_nll, project)

    def result(self, out: Arrays) -> Arrays:
        """The merge's deltas, written to `out`."""
        for tensor in self._bench.tensors:
            out[tensor].copy_(self.merged(tensor))
        return out
