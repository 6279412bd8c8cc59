"""What a sampler may propose, and what it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .space import Bounds, Value


@dataclass(frozen=True)
class Known:
    """A trial as samplers see it.

    Attributes:
        origin: who proposed it.
        parameters: of its proposal.
        values: what is maximised, or the estimate of it where it was scored in part; several for a
            Pareto front; None while it is running.
    """

    origin: str
    parameters: Mapping[str, Value]
    values: tuple[float, ...] | None


@dataclass(frozen=True)
class Box:
    """What can be proposed now.

    Attributes:
        bounds: of each parameter that is a number.
        choices: parameters that are chosen, not measured, with their choices.
    """

    bounds: Bounds
    choices: Mapping[str, tuple[str, ...]]

    def nearest(self, proposal: Mapping[str, Value]) -> dict[str, Value]:
        """A proposal, its numbers within the bounds: coefficients are kept rounded."""
        inner = {n: min(max(float(proposal[n]), a), b) for n, (a, b) in self.bounds.items()}
        return {**inner, **{name: proposal[name] for name in self.choices}}
