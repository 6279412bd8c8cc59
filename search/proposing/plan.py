"""What to try next, and when to stop: decided from the study's history alone.

Nothing here is remembered between calls, so a resumed search goes on exactly where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from exme.search.directions import DIRECTIONS, vectors
from exme.search.merging.methods import KnownPoint, Method
from exme.search.study import Space, StudyFile, Value, expo_points, first_points, unit
from exme.search.trials import Shift, TrialRecord, has_ended


class Plan:
    """A study's space, known points and bounds.

    Args:
        study: the study file.
        groups: labels of the study's groups of tensors, where it has some.
        directions: the study's directions as they were computed, by name; before that none is known.
        shift: the study's measure of shift, with its bound; None where it has none, or is not measured yet.
    """

    def __init__(
        self,
        study: StudyFile,
        groups: Sequence[str] = (),
        directions: Mapping[str, Mapping[str, Any]] | None = None,
        shift: Shift | None = None,
    ) -> None:
        spec = study.groups.spec if study.groups is not None else {}
        self.inputs = tuple(study.checkpoints)
        self.directions = study.directions
        self.proposals = Space(
            study.methods,
            [*self.inputs, *vectors(study.directions)],
            groups=groups,
            spec=spec,
            seed=study.sampler.seed,
        )
        self.method: Method = self.proposals.first
        alone = Space(study.methods, self.inputs)  # points that need no direction
        self.first = first_points(alone.first)
        for method in alone.methods.values():
            self.first += method.starts()
        self.first += [
            _start(number, start, self.inputs) for number, start in enumerate(study.starts, 1)
        ]
        if directions:
            self.first += [self._of_direction(name, directions[name]) for name in self.directions]
        self.first = [self._with_directions(point) for point in self.first]
        self.shift = shift
        self._whole = self.proposals.bounds(*study.space.coefficients)
        inner = {} if shift is None else shift.box(self.proposals, self.inputs)
        # Bounds of each parameter: the study's, and no further than the bound on the shift reaches.
        self.bounds: Mapping[str, tuple[float, float]] = {
            name: (max(low, inner[name][0]), min(high, inner[name][1]))
            if name in inner
            else (low, high)
            for name, (low, high) in self._whole.items()
        }
        known = [*self.first, *self._expo_points(self.inputs[0])]
        self.known_count = sum(not self._is_too_far(point) for point in known)

    def _of_direction(self, name: str, record: Mapping[str, Any]) -> KnownPoint:
        """A direction's task vector in full, or the coefficients that it found."""
        if DIRECTIONS[name].gives == "vector":
            return KnownPoint(name, unit(self.method.checkpoints, name))
        return KnownPoint(name, record["coefficients"], grouped=record["grouped"])

    def _with_directions(self, point: KnownPoint) -> KnownPoint:
        """A point of the checkpoints alone, in the whole space."""
        zeros = dict.fromkeys(self.method.checkpoints, 0.0)
        return replace(
            point,
            coefficients=zeros | dict(point.coefficients),
            grouped={label: zeros | dict(values) for label, values in point.grouped.items()},
        )

    def too_far(self) -> list[tuple[str, float]]:
        """Known points that are not tried, for they are beyond the bound on the shift: names and shifts."""
        assert self.shift is not None
        return [
            (point.name, self.shift.nearest(point.coefficients, point.grouped)[1])
            for point in self.first
            if self._is_too_far(point)
        ]

    def _is_too_far(self, point: KnownPoint) -> bool:
        """Whether a point is beyond the bound; inputs are scored in any case."""
        if self.shift is None or point.name in {f"{name} alone" for name in self.inputs}:
            return False
        return self.shift.is_beyond(self.shift.nearest(point.coefficients, point.grouped)[1])

    def _expo_points(self, best: str) -> list[KnownPoint]:
        """ExPO of the best checkpoint, where a method can extrapolate."""
        methods = self.proposals.methods.values()
        return next((points for m in methods if (points := expo_points(m, best))), [])

    def of_point(self, point: KnownPoint) -> dict[str, Value]:
        """The proposal that makes a known point."""
        return self.proposals.of_point(point)

    def due_points(self, trials: Sequence[TrialRecord]) -> list[KnownPoint]:
        """Known points that can be tried now; those that were tried already may be among them.

        ExPO waits until every checkpoint was tried, for it starts from the best one.
        """
        ended = {t.origin: t for t in trials if has_ended(t)}
        alone = {f"{name} alone": name for name in self.inputs}
        best = _best_start([ended[origin] for origin in alone if origin in ended])
        points = list(self.first)
        if best is not None and all(origin in ended for origin in alone):
            points += self._expo_points(alone[best.origin])
        points = [p for p in points if not self._is_too_far(p)]
        return [p for p in points if self._is_within(p)]

    def _is_within(self, point: KnownPoint) -> bool:
        return all(
            low <= value <= high for value, (low, high) in _pairs(self.of_point(point), self._whole)
        )


def _start(number: int, start: Mapping[str, float], inputs: Sequence[str]) -> KnownPoint:
    """A point that the study gives; checkpoints that it leaves out have no part in it."""
    coefficients = {name: float(start.get(name, 0.0)) for name in inputs}
    own = {name: float(value) for name, value in start.items() if name not in coefficients}
    return KnownPoint(f"start {number}", coefficients, own)


def _best_start(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The best of the checkpoints alone, by what is known of them."""

    def score(trial: TrialRecord) -> tuple[float, int]:
        mean = trial.scores.mean if trial.scores else trial.estimate.mean if trial.estimate else 0.0
        return mean, -trial.number

    return max(trials, key=score, default=None)


def _pairs(
    proposal: Mapping[str, Value], bounds: Mapping[str, tuple[float, float]]
) -> list[tuple[float, tuple[float, float]]]:
    return [(float(proposal[name]), pair) for name, pair in bounds.items()]
