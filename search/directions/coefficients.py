"""Coefficients learnt by gradient: of checkpoints, or of checkpoints in groups of tensors.

    d loss / d c[i, g] = sum over the tensors t of group g of <d loss / d theta[t], theta_i[t] - base[t]>

so that one backward pass serves any number of coefficients. Adam steps, each followed by clipping to the
bounds; the best coefficients seen are kept, so that the loss never ends above that of the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from exme.search.merging import Groups

from .bench import Bench, Loss


@dataclass(frozen=True)
class Learnt:
    """Coefficients by group and checkpoint, and the loss at the start and after each step."""

    coefficients: Mapping[str, Mapping[str, float]]
    losses: tuple[float, ...]


def gradient(
    bench: Bench, loss: Loss, groups: Groups | None, at: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """Loss and its gradient in the coefficients.

    Args:
        groups: g groups of tensors; None is one of all.
        at: coefficients, shape (g, k), of k checkpoints in the bench's order.
    Returns:
        The loss, and the gradient, shape (g, k), float64.
    """
    labels = () if groups is None else groups.labels
    row = {t: labels.index(groups.of(t)) if groups is not None else 0 for t in bench.tensors}
    values = at.tolist()
    column = {name: i for i, name in enumerate(bench.names)}
    bench.mix(lambda tensor, name: values[row[tensor]][column[name]])
    found = torch.zeros(at.shape, dtype=torch.float64)

    def project(tensor: str, slope: torch.Tensor) -> None:
        for name, delta in bench.deltas(tensor).items():
            product = (slope.to(delta.dtype) * delta).sum(dtype=torch.float64)
            found[row[tensor], column[name]] += product.cpu()

    return bench.gradients(loss, project), found


def learn(
    bench: Bench,
    loss: Loss,
    *,
    start: float,
    bounds: tuple[float, float],
    steps: int,
    rate: float,
    groups: Groups | None,
) -> Learnt:
    """Minimise a loss over coefficients.

    Args:
        start: value of every coefficient at the start.
        bounds: lowest and highest coefficient.
        steps: of Adam; one pass over all examples each, and one at the end.
        groups: see `gradient`; the label of one of all is empty.
    """
    labels = ("",) if groups is None else groups.labels
    at = torch.full((len(labels), len(bench.names)), start, dtype=torch.float64)
    adam = torch.optim.Adam([at], lr=rate)
    best, losses = at.clone(), []
    for step in range(steps + 1):
        value, slope = gradient(bench, loss, groups, at)
        losses.append(value)
        if value <= min(losses):
            best = at.clone()
        if step < steps:
            at.grad = slope
            adam.step()
            at.clamp_(*bounds)
    found = {
        label: dict(zip(bench.names, row, strict=True))
        for label, row in zip(labels, best.tolist(), strict=True)
    }
    return Learnt(found, tuple(losses))
