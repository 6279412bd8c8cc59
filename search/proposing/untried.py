"""What has not been tried yet: no proposal may be a candidate whose score is settled.

A candidate is settled where nothing that is done about it would be scored: it is complete, it has lost its race, it could
not be scored, it is beyond the bound on the shift, or another worker is scoring it. One that was left is not settled.
Candidates are compared by their digests, as `Loop` does: proposals that differ may make one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product

import numpy as np

from exme.search.merging import DECIMALS, Candidate
from exme.search.study import Value
from exme.search.trials import TrialRecord

from .box import Box

# So many points are drawn in search of one that is new. Only where nothing or nearly nothing is new they all fail.
DRAWS = 256
# A space of no more proposals than this is gone through one by one.
SMALL = 4096


def is_settled(trial: TrialRecord) -> bool:
    """Whether a trial leaves nothing to be scored of its candidate, for now at least."""
    if trial.barred and trial.is_scored:
        return True
    return trial.scores is not None or trial.state in ("rejected", "failed", "running")


class Untried:
    """The proposals that are worth making, after some trials.

    Args:
        trials: all of the study's.
        box: what can be proposed now.
        place: moves a proposal to where the study allows it.
        candidate: that a proposal makes.
    """

    def __init__(
        self,
        trials: Sequence[TrialRecord],
        box: Box,
        place: Callable[[Mapping[str, Value]], dict[str, Value]],
        candidate: Callable[[Mapping[str, Value]], Candidate],
    ) -> None:
        self._box, self._place, self._candidate = box, place, candidate
        self._settled = {
            t.candidate.digest for t in trials if t.candidate is not None and is_settled(t)
        }

    def may_be(self, candidate: Candidate) -> bool:
        """Whether a candidate may be scored: it is not settled."""
        return candidate.digest not in self._settled

    def has(self, proposal: Mapping[str, Value]) -> bool:
        """Whether a proposal may be made: its candidate is not settled."""
        return self.may_be(self._candidate(self._place(proposal)))

    def draw(self, seed: int) -> dict[str, Value] | None:
        """One of them by chance; None where none was found, so that nothing is left to try.

        Args:
            seed: of the draws.
        """
        generator = np.random.default_rng(seed)
        found = self._all(generator) if self._size() <= SMALL else self._drawn(generator)
        return next((self._place(proposal) for proposal in found if self.has(proposal)), None)

    def _size(self) -> float:
        """How many proposals there are at most that differ by more than coefficients are rounded by."""
        numbers = [
            1 + round((high - low) * 10**DECIMALS) for low, high in self._box.bounds.values()
        ]
        return float(np.prod([*numbers, *map(len, self._box.choices.values())], dtype=float))

    def _all(self, generator: np.random.Generator) -> Iterator[dict[str, Value]]:
        """Every proposal, in an order by chance."""
        step = 10.0**-DECIMALS
        values: list[list[Value]] = [
            [min(low + i * step, high) for i in range(1 + round((high - low) / step))]
            for low, high in self._box.bounds.values()
        ]
        values += [list(options) for options in self._box.choices.values()]
        every = list(product(*values))
        names = [*self._box.bounds, *self._box.choices]
        for i in generator.permutation(len(every)):
            yield dict(zip(names, every[int(i)], strict=True))

    def _drawn(self, generator: np.random.Generator) -> Iterator[dict[str, Value]]:
        def one() -> dict[str, Value]:
            numbers = {n: float(generator.uniform(*b)) for n, b in self._box.bounds.items()}
            chosen = {n: str(generator.choice(o)) for n, o in self._box.choices.items()}
            return {**numbers, **chosen}

        return islice(iter(one, None), DRAWS)
