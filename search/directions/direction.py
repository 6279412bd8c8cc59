"""What a direction is: computed once, it gives a task vector or starting coefficients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from .bench import Bench

# Takes one tensor of a task vector, in the shape of the base's.
Write = Callable[[str, "torch.Tensor"], None]


@dataclass(frozen=True)
class Found:
    """What a direction came to, beside the task vector that it wrote.

    Attributes:
        coefficients: starting coefficients by checkpoint; empty where it wrote a task vector. With
            groups, their mean over the groups.
        grouped: starting coefficients by group and checkpoint; empty without groups.
        losses: of what it minimised, from its start on; empty for a closed form.
        settings: the numbers that it was computed with.
    """

    coefficients: Mapping[str, float] = field(default_factory=dict)
    grouped: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)


class Direction(Protocol):
    """One method. Its class holds its settings, as numbers with names."""

    def check(self, bench: Bench) -> None:
        """Refuse what the method does not apply to, before anything is computed.

        Raises:
            UserError: says why, and what to do.
        """
        ...

    def compute(self, bench: Bench, write: Write) -> Found:
        """Compute the direction.

        Args:
            bench: sources, prompts and the live model.
            write: is given every tensor of `bench.tensors` once, one at a time; is not called by a
                direction that gives coefficients.
        """
        ...
