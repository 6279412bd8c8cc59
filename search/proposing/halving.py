"""The first stage of a study of a training run: which of its checkpoints are worth searching with.

Successive halving (Karnin, Koren and Somekh 2013, ICML; Jamieson and Talwalkar 2016, arXiv:1502.07943): all are scored on the
same first documents of the search's common order, the better half goes on to further ones, until so many are left as are
kept. A quarter of what scoring all of them in full would take is shared out evenly among the rungs, so that eight
checkpoints take as many documents as two do.

Who is better is told by a `Belief` over the task vectors as they lie: checkpoints of a run are near each other and score
alike, so that a few documents of one tell of its neighbours. A rung is judged by its own documents alone, so that whoever
comes later, or knows more, decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from exme.search.merging import Candidate
from exme.search.racing import Belief, Floats, Goal, common_draw
from exme.search.trials import Gram, values_of

from .allocation import block_size
from .box import Box
from .proposal import Proposal

if TYPE_CHECKING:
    from .history import History

BASE = "base"
# Of the documents that scoring all checkpoints in full would take.
SHARE = 0.25
# Share of a checkpoint's square that is its own: however near two of a run are, their scores may jump.
OWN = 0.05
# Where the usual place of a good merge would be: the checkpoints alone are none, and nothing is known of them beforehand.
_NOWHERE = 1e3


@dataclass(frozen=True)
class Rung:
    """A round of halving.

    Attributes:
        entrants: checkpoints that take part.
        documents: that each of them has seen after it.
    """

    entrants: int
    documents: int


@dataclass(frozen=True)
class Halving:
    """What is ranked in a first stage.

    Attributes:
        candidates: the base and the checkpoints, each by itself, by name, in the order of training.
        best: so many checkpoints are kept.
        count: number of search documents.
        gram: inner products of the task vectors; None where they were not measured.
    """

    candidates: Mapping[str, Candidate]
    best: int
    count: int
    gram: Gram | None = None

    @property
    def names(self) -> list[str]:
        """The checkpoints."""
        return [name for name in self.candidates if name != BASE]

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """The rounds, the base being in the first alone: it is an input in any case."""
        return rungs(len(self.names), self.best, self.count)

    def __str__(self) -> str:
        """``8 checkpoints and the base on 16 search documents, then 4 on 96; the best 2 are kept``."""
        steps = [f"{rung.entrants} on {rung.documents}" for rung in self.rungs[1:]]
        first = f"{len(self.names)} checkpoints and the base on {self.rungs[0].documents} search documents"
        return f"{', then '.join([first, *steps])}; the best {self.best} are kept"

    @property
    def documents(self) -> int:
        """Documents that all of it takes."""
        first, seen, total = self.rungs[0].documents if self.rungs else 0, 0, 0
        for rung in self.rungs:
            total += rung.entrants * (rung.documents - seen)
            seen = rung.documents
        return total + first

    @cached_property
    def places(self) -> Floats:
        """Where the base and the checkpoints are, in lengths of an average task vector; shape (K + 1, K)."""
        names = self.names
        inner = np.eye(len(names))
        if self.gram is not None:
            order = [self.gram.sources.index(name) for name in names]
            inner = np.sum(list(self.gram.groups.values()), 0)[np.ix_(order, order)]
            inner = inner / (float(np.diag(inner).mean()) or 1.0)
        root = np.linalg.cholesky(inner + OWN * np.eye(len(names)))
        return np.concatenate([np.zeros((1, len(names))), root])


def rungs(entrants: int, best: int, count: int) -> tuple[Rung, ...]:
    """The rounds that halve so many checkpoints down to the best ones.

    Args:
        entrants: checkpoints.
        best: so many are kept.
        count: search documents.
    """
    sizes = []
    left = entrants
    while left > best:
        sizes.append(left)
        left = max(best, -(-left // 2))
    size, budget, seen, found = block_size(count), SHARE * entrants * count, 0, []
    for place, running in enumerate(sizes):
        scored = running + (place == 0)  # the base
        blocks = max(1, int(budget / (len(sizes) - place) / scored / size))
        more = min(blocks * size, count - 1 - seen)  # (no candidate is complete in a first stage)
        budget -= more * scored
        seen += more
        found.append(Rung(running, seen))
    return tuple(found)


def next_of_halving(history: History) -> Proposal | None:
    """What is to be scored next in a first stage; None where all that is due is in others' hands, or it is over."""
    halving = history.settled.halving
    assert halving is not None
    due, _ = _progress(history, halving)
    running = {candidate.digest for candidate in history.running}
    for name, documents in due:
        candidate = halving.candidates[name]
        if candidate.digest not in running:
            return Proposal({}, f"{name} ranked", candidate, documents, Box({}, {}))
    return None


def kept_of(history: History) -> list[str] | None:
    """The checkpoints that a first stage keeps, in the order of training; None while it is not over."""
    halving = history.settled.halving
    assert halving is not None
    return _progress(history, halving)[1]


def _progress(history: History, halving: Halving) -> tuple[list[tuple[str, int]], list[str] | None]:
    """What the rung of now still lacks, by name, in documents; and who is kept once nothing does."""
    table, failed = _outcomes(history, halving)
    order = common_draw(history.field, history.settled.seed).order.documents
    names, before = halving.names, 0
    for rung in halving.rungs:
        first = [BASE] * (before == 0)
        mine = [n for n in (*first, *names) if n not in failed]
        seen = {n: int((~np.isnan(table[n])).sum()) for n in mine}
        due = [(n, rung.documents - seen[n]) for n in mine if seen[n] < rung.documents]
        if due:
            return due, None
        names = [n for n in names if n not in failed]
        if len(names) > halving.best:
            after = max(halving.best, -(-rung.entrants // 2))
            values = np.full((len(halving.candidates), history.field.count), np.nan)
            shown = order[: rung.documents]
            for row, name in zip(values, halving.candidates, strict=True):
                row[shown] = table[name][shown]
            names = best_of(halving, values, names, history.field.parts, history.field.goal)[:after]
            names = [n for n in halving.names if n in names]
        before = rung.documents
    return [], names


def best_of(
    halving: Halving, values: Floats, names: Sequence[str], parts: Sequence[slice], goal: Goal
) -> list[str]:
    """Checkpoints by what is believed of them, the best first; of equals the earlier.

    Args:
        halving: what is ranked.
        values: of the base and all checkpoints by document, NaN where not scored, shape (K + 1, n).
        names: of those to be ordered.
        parts: the documents of each suite; one of which none was seen tells nothing.
        goal: its weights of the suites.
    """
    usual = np.full(halving.places.shape[1], _NOWHERE)
    merits = np.zeros(len(values))
    for part, weight in zip(parts, goal.weights, strict=True):
        known = ~np.isnan(values[:, part]).all(1)
        if weight > 0 and known.any():
            belief = Belief(halving.places[known], values[known, part], usual)
            merits += weight * belief.mean(halving.places)
    places = {name: place for place, name in enumerate(halving.candidates)}
    return sorted(names, key=lambda name: (-round(float(merits[places[name]]), 9), places[name]))


def _outcomes(history: History, halving: Halving) -> tuple[dict[str, Floats], set[str]]:
    """Each candidate's values by document, NaN where not scored, and who could not be scored."""
    digests = {candidate.digest: name for name, candidate in halving.candidates.items()}
    table = {name: np.full(history.field.count, np.nan) for name in digests.values()}
    failed = set()
    for trial in history.trials:
        name = digests.get(trial.candidate.digest) if trial.candidate is not None else None
        if name is None:
            continue
        if trial.state == "failed":
            failed.add(name)
        elif trial.is_scored:
            table[name] = values_of(trial)
    return table, failed
