"""DOGE: task vectors moved so that they disturb each other less, off the subspace that they share; no data.

    theta_0 + sum_i lambda_i M_i * (t_i + Delta)
    Delta minimises  sum_j < sum_i lambda_i (t_i + Delta) - t_j, t_j >^2  by projected gradient steps

for each matrix by itself: the gradient is projected off the shared subspace, so that what the task vectors
have in common stays. M_i keep the largest 30% of t_i + Delta by magnitude, lambda_i = eta / ||t_i||.

Source: Wei et al. 2025, arXiv:2501.01230, its data-free objective and projected descent: t_j stands for minus the gradient of task
j's loss, the subspace has a sixth of the matrix's rank, 400 steps. Ours: the steps are plain ones of
length 1 / L, L the gradient's Lipschitz constant, so that the loss falls at every one; they stay within the
span of the projected t_j, so they are run on k numbers. The subspace is that of the shorter side: from
each t_i the first n/k singular vectors, from all of these the n/6 that are shared most. Vectors (norms,
biases) have no Delta. eta is 2/k times the mean norm of the t_i, so that lambda_i is about 2/k whatever
the model's scale: a quarter for the paper's eight tasks.
"""

from __future__ import annotations

import torch

from .bench import Bench
from .direction import Found, Write


class Doge:
    """See the module.

    Attributes:
        steps: gradient steps.
        rank: of the shared subspace, as a share of the shorter side.
        keep: share of elements that the masks keep.
        scale: k times the mean of lambda_i, about.
    """

    steps = 400
    rank = 1 / 6
    keep = 0.3
    scale = 2.0

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""

    @torch.no_grad()
    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        losses: list[float] = [0.0] * (self.steps + 1)
        for tensor in bench.tensors:
            deltas = torch.stack(list(bench.deltas(tensor).values()))
            weights = self.weights(deltas)
            shift = torch.zeros_like(deltas[0])
            if deltas.dim() == 3 and deltas.numel():
                shift, history = self.shift(deltas, weights)
                losses = [total + one for total, one in zip(losses, history, strict=True)]
            write(tensor, self.merge(deltas, shift, weights))
        return Found(
            losses=tuple(losses),
            settings={"steps": self.steps, "rank": self.rank, "keep": self.keep},
        )

    def weights(self, deltas: torch.Tensor) -> torch.Tensor:
        """lambda_i of a tensor's k deltas: shape (k,); 0 for one that is zero."""
        norms = deltas.flatten(1).norm(dim=1)
        eta = self.scale / len(norms) * norms.mean()
        return torch.where(norms > 0, eta / norms.clamp_min(1e-30), 0.0)

    def shift(
        self, deltas: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, list[float]]:
        """Delta of a matrix.

        Args:
            deltas: shape (k, m, n).
            weights: lambda_i, shape (k,).
        Returns:
            Delta, shape (m, n), and the loss at Delta = 0 and after every step, relative to the
            square of the task vectors' squared norms.
        """
        is_tall = deltas.shape[1] >= deltas.shape[2]
        tall = deltas if is_tall else deltas.transpose(1, 2)
        shared = self.shared(tall)
        free = tall - tall @ shared @ shared.T
        flat, moved = tall.flatten(1).double(), free.flatten(1).double()
        among = moved @ moved.T  # <P t_i, t_j>: the projection is symmetric
        total = weights.double().sum()
        gap = flat @ (weights.double() @ flat) - flat.square().sum(1)
        unit = flat.square().sum(1).square().sum().clamp_min(1e-300)
        a = torch.zeros_like(gap)
        steepest = 2 * total.square() * torch.linalg.eigvalsh(among)[-1].clamp_min(1e-300)
        history = []
        for step in range(self.steps + 1):
            residual = gap + total * (among @ a)
            history.append(float(residual.square().sum() / unit))
            if step < self.steps:
                a = a - 2 * total * residual / steepest
        found = torch.einsum("k,kmn->mn", a.to(free.dtype), free)
        return (found if is_tall else found.T), history

    def shared(self, tall: torch.Tensor) -> torch.Tensor:
        """Orthonormal basis of the shared subspace: shape (n, r), of deltas of shape (k, m, n)."""
        k, _, n = tall.shape
        projectors = torch.zeros(n, n, dtype=tall.dtype, device=tall.device)
        for delta in tall:
            mine = _leading(delta.T @ delta, max(1, n // k))
            projectors += mine @ mine.T
        return _leading(projectors, max(1, round(n * self.rank)))

    def merge(
        self, deltas: torch.Tensor, shift: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """sum_i lambda_i M_i * (t_i + Delta)."""
        total = torch.zeros_like(shift)
        kept = max(1, round(self.keep * shift.numel()))
        for delta, weight in zip(deltas, weights, strict=True):
            values = delta + shift
            sizes = values.abs().flatten()
            if not sizes.numel():
                continue
            least = sizes.kthvalue(sizes.numel() - kept + 1).values
            total += weight * torch.where(values.abs() >= least, values, 0.0)
        return total


def _leading(symmetric: torch.Tensor, most: int) -> torch.Tensor:
    """Eigenvectors of the largest eigenvalues: so many, or fewer where the others are about zero.

    A LoRA adapter's delta has few; the rest would be any vectors at all.
    """
    values, vectors = torch.linalg.eigh(symmetric)  # the smallest first
    values, vectors = values[-most:], vectors[:, -most:]
    found: torch.Tensor = vectors[:, values > 1e-6 * values[-1]]
    return found
