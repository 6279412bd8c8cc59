"""Where an evaluation's time goes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class Profile:
    """Seconds, passes and tokens by the kind of work."""

    def __init__(self) -> None:
        self.timer: Callable[[], float] = time.perf_counter
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.passes: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()

    @contextmanager
    def clock(self, work: str, tokens: int = 0) -> Iterator[None]:
        """Time one pass, or one piece of other work (with no tokens)."""
        with self.clock_all({work: tokens}):
            yield

    @contextmanager
    def clock_all(self, tokens: Mapping[str, int]) -> Iterator[None]:
        """Time one pass over tokens of several kinds of work: each has its share of the seconds.

        The pass counts as one of the kind that has most.
        """
        start = self.timer()
        yield
        seconds = self.timer() - start
        whole = sum(tokens.values())
        for work, size in tokens.items():
            self.seconds[work] += seconds * (size / whole if whole else 1.0)
            self.tokens[work] += size
        if whole:
            self.passes[max(tokens, key=tokens.__getitem__)] += 1
