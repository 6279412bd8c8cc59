"""What may be proposed, what a sampler knows, and where a proposal stands within the bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from exme.search.racing import Floats
from exme.search.study import Bounds, Value


@dataclass(frozen=True)
class Known:
    """A trial as samplers see it.

    Attributes:
        parameters: of its proposal.
        values: what is maximised, or the estimate of it where it was scored in part; several for a
            Pareto front; None while it is running.
    """

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

    def holding(self, proposal: Mapping[str, Value]) -> Box:
        """The same, its bounds moved outwards to hold a proposal."""
        wide = {
            n: (min(a, float(proposal[n])), max(b, float(proposal[n])))
            for n, (a, b) in self.bounds.items()
        }
        return Box(wide, self.choices)


def point_of(proposal: Mapping[str, Value], bounds: Bounds) -> Floats:
    """A proposal's place, shape (d,)."""
    return np.array(
        [(float(proposal[n]) - low) / ((high - low) or 1.0) for n, (low, high) in bounds.items()]
    )
