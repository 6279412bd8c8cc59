"""How far a candidate is shifted from a parent, relative to that parent's own distance from the base.

    shift(c, p) = ||candidate - theta_p|| / ||theta_p - base||

in the Euclidean norm over all merged weights (tied ones once), before the candidate is rounded to its dtype. 0 is the parent
itself, 1 as far from it as it is from the base: the base has shift 1 from every parent, ExPO by alpha has shift alpha.
Of several parents the nearest counts.

Plain sums are linear in c, so the numerator is a quadratic form in the Gram matrix G of the task vectors delta_i,
with e_p the parent's unit vector and a matrix per group of tensors:

    ||candidate - theta_p||^2 = sum_g (c_g - e_p)' G_g (c_g - e_p),        G_g[i, j] = <delta_i, delta_j> over group g

G is computed once per study (`gram`), a candidate's shift takes no look at the weights. Methods that mask or turn deltas are no
such form; study files that ask for a shift of theirs are refused.

**Bound.** Candidates within a bound B of a parent are an ellipsoid about e_p. A proposal beyond all of them is moved along the
straight line to the parent from which it is shifted least, to that one's bound: it is never scored where it was. Inputs are scored in
any case, because gains are measured relative to them, but one that is beyond the bound cannot win (`TrialRecord.barred`).

**Penalty.** What a search goes by falls by so much per unit of shift; scores that people see are as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exme.search.merging import DECIMALS, Candidate, joint
from exme.search.merging.methods import PLAIN
from exme.search.study import Space, StudyFile, Value
from exme.tasks import UserError

from .trial import TrialRecord

Coefficients = Mapping[str, float]

# Where a study keeps the Gram matrix of its task vectors, and what a part of every tensor tells of it; see `StudyRecord.agree_on`.
GRAM, SAMPLED = "gram", "task vectors"


@dataclass(frozen=True)
class Gram:
    """Inner products of task vectors.

    Attributes:
        sources: names of the checkpoints and task vectors, n of them.
        groups: by label of a group of tensors, shape (n, n); one with an empty label without groups.
    """

    sources: tuple[str, ...]
    groups: Mapping[str, NDArray[np.float64]]

    @cached_property
    def norms(self) -> dict[str, float]:
        """Norm of each task vector."""
        total = sum(self.groups.values())
        return dict(zip(self.sources, np.sqrt(np.diag(total)).tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse."""
        groups = {label: matrix.tolist() for label, matrix in self.groups.items()}
        return {"sources": list(self.sources), "groups": groups}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Gram:
        """Inverse of `to_json`."""
        groups = {label: np.array(matrix) for label, matrix in data["groups"].items()}
        return cls(tuple(data["sources"]), groups)


@dataclass(frozen=True)
class Shift:
    """A study's measure of shift.

    Attributes:
        gram: of the task vectors.
        parents: those from which it is measured; the nearest counts.
        bound: highest shift that is allowed; infinite where any is.
        penalty: what a unit of shift costs, in the metric's unit.
    """

    gram: Gram
    parents: tuple[str, ...]
    bound: float = math.inf
    penalty: float = 0.0
    _known: dict[str, tuple[str, float]] = field(default_factory=dict, compare=False, repr=False)

    def of(self, candidate: Candidate) -> tuple[str, float]:
        """The nearest parent and the shift from it.

        Raises:
            ValueError: the candidate is no plain sum.
        """
        if candidate.digest not in self._known:
            if candidate.method not in PLAIN:
                raise ValueError(f"method '{candidate.method}' makes no plain sums")
            self._known[candidate.digest] = self.nearest(candidate.coefficients, candidate.grouped)
        return self._known[candidate.digest]

    def nearest(
        self, coefficients: Coefficients, grouped: Mapping[str, Coefficients] | None = None
    ) -> tuple[str, float]:
        """The nearest parent and the shift from it, of effective coefficients, by group where they differ."""
        return min(
            ((parent, self._shift(coefficients, grouped or {}, parent)) for parent in self.parents),
            key=lambda pair: pair[1],
        )

    def _shift(
        self, coefficients: Coefficients, grouped: Mapping[str, Coefficients], parent: str
    ) -> float:
        squared = 0.0
        for label, matrix in self.gram.groups.items():
            values = grouped.get(label, coefficients)
            moved = np.array([values.get(n, 0.0) - (n == parent) for n in self.gram.sources])
            squared += float(moved @ matrix @ moved)
        return math.sqrt(max(0.0, squared)) / self.gram.norms[parent]

    def is_beyond(self, shift: float) -> bool:
        """Whether a shift is more than the study allows."""
        return shift > self.bound * (1 + 1e-9)  # (1.3 - 1 is a little more than 0.3)

    def within(self, proposal: Mapping[str, Value], space: Space) -> dict[str, Value]:
        """The proposal itself, or where it is beyond the bound, what is on it on the way to the nearest parent."""
        if self.bound == math.inf:
            return dict(proposal)
        made = space.candidate(proposal, dtype="float32", sources={})
        parent, shift = self.nearest(made.coefficients, made.grouped)
        if not self.is_beyond(shift):
            return dict(proposal)
        # Coefficients are rounded afterwards: so far that the bound holds for certain.
        slack = 0.5 * 10**-DECIMALS * sum(self.gram.norms.values()) / self.gram.norms[parent]
        share = max(0.0, self.bound - slack) / shift

        def moved(values: Coefficients) -> dict[str, float]:
            return {n: (n == parent) + share * (c - (n == parent)) for n, c in values.items()}

        grouped = {label: moved(values) for label, values in made.grouped.items()}
        found = space.to_parameters(moved(made.coefficients), grouped=grouped)
        return {**proposal, **{name: found[name] for name in space.coefficients}}

    def box(self, space: Space, inputs: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Bounds of the coefficients beyond which every candidate is beyond the bound; inputs are within.

        The half-width of an ellipsoid about a parent in direction i is B ||delta_p|| sqrt((G_g^-1)_ii). Empty where
        nothing is bounded, and where proposals are no coefficients.
        """
        if self.bound == math.inf or space.first.parameters() != space.first.checkpoints:
            return {}
        found = {}
        for label, matrix in self.gram.groups.items():
            ridge = 1e-12 * np.trace(matrix) * np.eye(len(matrix))
            reach = np.sqrt(np.diag(np.linalg.inv(matrix + ridge)))
            for name, width in zip(self.gram.sources, reach, strict=True):
                ends = [float(name == other) for other in inputs]
                for parent in self.parents:
                    half = self.bound * self.gram.norms[parent] * float(width)
                    ends += [(name == parent) - half, (name == parent) + half]
                found[joint(name, label) if label else name] = min(ends), max(ends)
        return found

    def judge(self, trial: TrialRecord) -> TrialRecord:
        """A trial with its shift, and what that costs it."""
        if trial.candidate is None or trial.candidate.method not in PLAIN:
            return trial
        parent, shift = self.of(trial.candidate)
        penalty, barred = self.penalty * shift, self.is_beyond(shift)
        judged = replace(
            trial,
            parent=parent,
            shift=shift,
            penalty=penalty,
            barred=barred,
            feasible=trial.feasible and not barred,
        )
        return trial if judged == trial else judged


def settle_shift(study: StudyFile, gram: Gram) -> Shift | None:
    """A study's measure of shift; None where the study does not ask.

    Args:
        study: its file.
        gram: of the task vectors.

    Raises:
        UserError: a parent is the base itself.
    """
    section = study.shift
    if section is None:
        return None
    parents = [section.parent] if section.parent is not None else list(study.checkpoints)
    moved = [name for name in parents if gram.norms[name] > 0]
    if not moved:
        verb = "are" if len(parents) > 1 else "is"
        raise UserError(
            f"shift: {' and '.join(parents)} {verb} the base itself, so that nothing can be measured "
            f"relative to its task vector; name another `shift.parent`, or leave `shift` out"
        )
    unit = 1.0 if study.measure == "target_nll" else 0.01
    bound = math.inf if section.bound is None else section.bound
    return Shift(gram, tuple(moved), bound, unit * (section.penalty or 0.0))
