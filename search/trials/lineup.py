"""A study's candidates as runners of a race, read off its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from exme.search.merging import Candidate
from exme.search.racing import Field, Floats, Order, Runner, estimate, leg, single_stratum

from .race_log import RaceLog
from .ranking import distance
from .trial import TrialRecord


@dataclass(frozen=True)
class Lineup:
    """All candidates that were scored, in the order in which they were begun.

    Attributes:
        runners: the candidates.
        trials: the last trial of each.
    """

    runners: tuple[Runner, ...]
    trials: tuple[TrialRecord, ...]

    def place_of(self, candidate: Candidate) -> int | None:
        """A candidate's place among the runners."""
        digests = [t.candidate.digest for t in self.trials if t.candidate is not None]
        return digests.index(candidate.digest) if candidate.digest in digests else None

    def open_places(self) -> list[int]:
        """Places of those that are neither complete nor rejected nor barred."""
        return [
            i for i, r in enumerate(self.runners) if not (r.rejected or r.barred or r.is_complete)
        ]


def line_up(
    trials: Sequence[TrialRecord], field: Field, point: Callable[[Candidate], Floats]
) -> Lineup:
    """The runners of a study.

    Args:
        trials: all trials.
        field: what is raced over.
        point: a candidate's place in [0, 1] within the bounds of now, shape (d,).
    """
    last: dict[str, TrialRecord] = {}
    for trial in trials:
        if trial.candidate is None or trial.duplicate_of is not None:
            continue
        if trial.scores is not None or trial.race_log is not None:
            last[trial.candidate.digest] = trial
    numbered = {t.number: t for t in last.values()}
    runners = []
    for trial in last.values():
        assert trial.candidate is not None
        runner = _runner(trial, point(trial.candidate), numbered, field)
        runners.append(
            replace(runner, penalty=trial.penalty, barred=trial.barred, distance=distance(trial))
        )
    return Lineup(tuple(runners), tuple(last.values()))


def _values(trial: TrialRecord) -> Floats:
    if trial.scores is not None:
        return np.array(trial.scores.values)
    assert trial.race_log is not None
    return trial.race_log.partial.values


@cache
def _whole(count: int) -> Order:
    """All documents in their order, of candidates that have seen them all."""
    alike = single_stratum(count)
    return Order(np.arange(count), alike.appeal, alike)


def _runner(
    trial: TrialRecord, point: Floats, numbered: Mapping[int, TrialRecord], field: Field
) -> Runner:
    mine = _values(trial)
    if trial.race_log is None or trial.scores is not None:
        return Runner(point, _whole(len(mine)), mine)
    race_log = trial.race_log
    seen = mine[race_log.draw.order.documents]
    legs = []
    for start, number in race_log.legs:
        rival = numbered[number]
        legs.append(leg(start, _values(rival), field, trial.penalty - rival.penalty))
    rejected = race_log.lost_to is not None
    return Runner(point, race_log.draw.order, seen[: race_log.partial.count], tuple(legs), rejected)


def suite_means(race_log: RaceLog, sizes: Sequence[int]) -> tuple[float, ...] | None:
    """A candidate's estimated mean on each suite; None where it has seen no document of one."""
    order, values, start, means = race_log.draw.order, race_log.partial.values, 0, []
    for size in sizes:
        part = slice(start, start + size)
        start += size
        within = order.within(part)
        seen = values[part][within.documents]
        seen = seen[~np.isnan(seen)]
        if not len(seen):
            return None
        means.append(estimate(seen, within).mean)
    return tuple(means)
