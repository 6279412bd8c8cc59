"""Tensors in memory as the sources of a merge, and merges in float64 written down a second time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from exme.search.merging.candidate import Candidate
from exme.search.merging.materialise import Merger
from exme.search.merging.sources.fetched import Fetched
from exme.search.merging.sources.residence import Part

Tensors = Mapping[str, torch.Tensor]


class Given:
    """A residence made of dictionaries: tensors by name, of the base and of each checkpoint."""

    frugal = False

    def __init__(self, base: Tensors, checkpoints: Mapping[str, Tensors]) -> None:
        self._base, self._checkpoints = base, checkpoints

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        found = {name: tensors[tensor] for name, tensors in self._checkpoints.items()}
        return Fetched(self._base[tensor], found)

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[Part]:
        for tensor, device in tensors:
            whole = slice(0, self._base[tensor].numel())
            yield tensor, whole, self.fetch(tensor, device).part(whole)

    def room(self, count: int) -> torch.Tensor:
        return torch.empty(count, dtype=torch.uint8)


def make(
    base: Tensors,
    checkpoints: Mapping[str, Tensors],
    coefficients: Mapping[str, float],
    method: str = "task_arithmetic",
    *,
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
    **other: Any,
) -> dict[str, torch.Tensor]:
    """A candidate of these tensors, all at once, on their device."""
    given = Given(base, checkpoints)
    merger = Merger(given, dtype, compiled=compiled)
    candidate = Candidate(coefficients, method, str(dtype).removeprefix("torch."), {}, **other)
    found = {}
    merges = merger.instructions(candidate, list(base))
    for name, part, fetched in given.stream([(n, t.device) for n, t in base.items()]):
        found[name] = torch.empty(base[name].shape, dtype=dtype, device=base[name].device)
        assert merger.write(name, part, merges[name], fetched, found[name].view(-1))
    return found


# The same methods in float64 -----------------------------------------------------------------------


def top(delta: torch.Tensor, share: float) -> torch.Tensor:
    """Mask of the largest share of a delta's elements."""
    count = max(1, int(share * delta.numel()))
    order = delta.abs().reshape(-1).sort(descending=True, stable=True).indices
    mask = torch.zeros(delta.numel(), dtype=torch.bool)
    mask[order[:count]] = True
    return mask.reshape(delta.shape)


def disjoint(deltas: Mapping[str, torch.Tensor], c: Mapping[str, float]) -> torch.Tensor:
    """Elected signs, the weighted mean of those that agree, times the sum of the weights."""
    parts = torch.stack([c[name] * deltas[name] for name in deltas])
    sizes = torch.tensor([abs(c[name]) for name in deltas], dtype=torch.float64)
    elected = torch.where(parts.sum(0) >= 0, 1.0, -1.0)
    agree = (parts.sign() == elected).double()
    weight = torch.einsum("i...,i->...", agree, sizes)
    total = (parts * agree).sum(0)
    return torch.where(weight > 0, total / weight.clamp(min=1e-300), 0.0) * sizes.sum()


def expected(
    method: str,
    base: torch.Tensor,
    checkpoints: Mapping[str, torch.Tensor],
    c: Mapping[str, float],
    own: Mapping[str, float],
) -> torch.Tensor:
    """One tensor by a method without chance, in float64, written from the paper."""
    base = base.double()
    deltas = {name: t.double() - base for name, t in sorted(checkpoints.items())}
    if method == "ties":
        trimmed = {n: torch.where(top(d, own["density"]), d, 0.0) for n, d in deltas.items()}
        return base + disjoint(trimmed, c)
    if method == "breadcrumbs":
        gamma, last = own["gamma"], own["density"] + own["gamma"]
        kept = {}
        for name, delta in deltas.items():
            mask = top(delta, last)
            if int(gamma * delta.numel()):
                mask &= ~top(delta, gamma)
            kept[name] = torch.where(mask, delta, 0.0)
        return base + sum(c[n] * d for n, d in kept.items())
    if method == "slerp":
        (one, first), (other, second) = deltas.items()
        total = c[one] + c[other]
        t = c[other] / total
        cosine = (first * second).sum() / (first.norm() * second.norm())
        omega = torch.arccos(cosine)
        arc = torch.sin((1 - t) * omega) * first + torch.sin(t * omega) * second
        return base + total * arc / torch.sin(omega)
    if method == "model_stock":
        names = list(deltas)
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        cosines = [
            (deltas[a] * deltas[b]).sum() / (deltas[a].norm() * deltas[b].norm()) for a, b in pairs
        ]
        mean = sum(cosines) / len(cosines)
        ratio = len(names) * mean / (1 + (len(names) - 1) * mean)
        return base + (1 + own["stock"] * (ratio - 1)) * sum(c[n] * d for n, d in deltas.items())  # type: ignore[no-any-return]
    return base + sum(c[n] * d for n, d in deltas.items())
