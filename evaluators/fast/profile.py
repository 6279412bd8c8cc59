"""Where an evaluation's time goes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Profile:
    """Seconds, passes and tokens by the kind of work, since the last `reset`."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.passes: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()

    def reset(self) -> None:
        """Begin anew."""
        for counter in (self.seconds, self.passes, self.tokens):
            counter.clear()

    @contextmanager
    def clock(self, work: str, tokens: int = 0) -> Iterator[None]:
        """Time one pass, or one piece of other work (with no tokens)."""
        start = time.perf_counter()
        yield
        self.seconds[work] += time.perf_counter() - start
        if tokens:
            self.passes[work] += 1
            self.tokens[work] += tokens
