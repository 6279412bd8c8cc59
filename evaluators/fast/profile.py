"""Where an evaluation's time goes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Profile:
    """Seconds, passes and tokens by the kind of work, since the last `reset`.

    Args:
        timer: the clock, in seconds.
    """

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self.timer = timer
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.passes: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()

    def reset(self) -> None:
        """Begin anew."""
        self.seconds.clear()
        self.passes.clear()
        self.tokens.clear()

    @contextmanager
    def clock(self, work: str, tokens: int = 0) -> Iterator[None]:
        """Time one pass, or one piece of other work (with no tokens)."""
        start = self.timer()
        yield
        self.seconds[work] += self.timer() - start
        if tokens:
            self.passes[work] += 1
            self.tokens[work] += tokens
