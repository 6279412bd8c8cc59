"""Who proposes the next point: Optuna's samplers, within bounds that may widen.

Optuna's samplers assume that bounds never change. Here the bounds belong to the study's history,
and this sampler hands the current ones to the sampler that does the work. The trials that other
workers have in hand are known to `gp` and `tpe`, which count on the worst for them; whoever proposes,
a proposal keeps its distance from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from .space import Bounds

# A proposal keeps this share of a bound's width from every trial that is running, in one
# coefficient at least. Nearer candidates solve nearly the same documents.
DISTANCE = 0.02
# So many points are drawn by chance in search of one that does.
_DRAWS = 64


def trial_seed(seed: int, number: int) -> int:
    """A seed for one trial: what it proposes depends on the history, not on the process."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


class BoundedSampler(BaseSampler):
    """Proposes all parameters together, from the sampler that the study names.

    Args:
        name: ``gp``, ``tpe``, ``random`` or ``qmc``.
        seed: the study's seed.
        bounds: bounds of each parameter now.
        known: number of known points, which stand for the usual random start.
        choices: parameters that are chosen, not measured, with their choices.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        bounds: Bounds,
        known: int,
        choices: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.name = name
        self.seed = seed
        self.bounds = bounds
        self.known = known
        self.choices = choices or {}

    def _inner(self, number: int) -> BaseSampler:
        seed = trial_seed(self.seed, number)
        if self.name == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=self.known)
        if self.name == "tpe":
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=self.known, multivariate=True, constant_liar=True
            )
        if self.name == "qmc":  # its points belong to one sequence, hence to one seed
            return optuna.samplers.QMCSampler(seed=self.seed, scramble=True)
        return optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters, with the bounds of now."""
        return {
            **{name: FloatDistribution(low, high) for name, (low, high) in self.bounds.items()},
            **{name: CategoricalDistribution(options) for name, options in self.choices.items()},
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A proposal; empty where the inner sampler leaves the parameters to chance."""
        inner = self._inner(trial.number)
        inner.before_trial(study, trial)
        found = inner.sample_relative(study, trial, search_space)
        running = [
            other.params
            for other in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if other.number != trial.number and search_space.keys() <= other.params.keys()
        ]
        if not running:
            return found
        chance = optuna.samplers.RandomSampler(seed=trial_seed(self.seed, trial.number) ^ 1)
        # What is left to chance is drawn here, to be measured;
        for draw in range(_DRAWS):
            if not found or draw:
                found = {
                    name: chance.sample_independent(study, trial, name, distribution)
                    for name, distribution in search_space.items()
                }
            if all(self.is_apart(found, other) for other in running):
                break
        return found

    def is_apart(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether two points differ in a choice, or by `DISTANCE` in a coefficient."""
        if any(one[name] != other[name] for name in self.choices):
            return True
        return any(
            abs(one[name] - other[name]) > DISTANCE * (high - low)
            for name, (low, high) in self.bounds.items()
        )

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """One parameter by chance, from a stream of its own."""
        seed = trial_seed(self.seed, trial.number) ^ trial_seed(1, hash_name(param_name))
        sampler = optuna.samplers.RandomSampler(seed=seed)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Let the inner sampler keep its books."""
        self._inner(trial.number).after_trial(study, trial, state, values)


def hash_name(name: str) -> int:
    """A number for a name, the same in every process (unlike ``hash``)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
