"""When something was scored, by the clock on the wall."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

# The clock on the wall is looked at once: sittings and machines need a common one, but setting it moves nothing within a process.
_ZERO = time.time() - time.monotonic()


def this_moment() -> float:
    """Seconds since 1970."""
    return _ZERO + time.monotonic()


@dataclass(frozen=True)
class Clock:
    """When one worker scored something, in seconds since 1970 by its machine's clock.

    A sitting lasts from the command that begins or takes up a search until its process ends.

    Attributes:
        sitting: when this sitting began.
        begin: when the worker was done with what came before; so what lies between two trials counts with the second.
        end: when it was scored.
    """

    sitting: float
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """That it took."""
        return max(0.0, self.end - self.begin)

    def to_json(self) -> list[float]:
        """Plain JSON types; `from_json` is the inverse."""
        return [round(moment, 2) for moment in (self.sitting, self.begin, self.end)]

    @classmethod
    def from_json(cls, data: Sequence[float]) -> Self:
        """Inverse of `to_json`."""
        return cls(*map(float, data))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of what spans of time cover together, in seconds: workers beside each other count once, pauses not at all."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
