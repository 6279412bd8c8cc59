"""Who proposes the next point: Optuna's samplers, within the study's bounds.

The running trials of other workers are known to `gp` and `tpe`, which count on the worst for them; whoever
proposes, a proposal keeps its distance from them.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from .box import Box, Known
from .history import History

# A proposal keeps this share of a bound's width from every trial that is running, in one
# coefficient at least. Nearer candidates solve nearly the same documents.
DISTANCE = 0.02
# So many points are drawn by chance in search of one that does.
_DRAWS = 64


def trial_seed(seed: int, number: int) -> int:
    """A seed for one trial: what it proposes depends on the history, not on the process."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def distributions(box: Box) -> dict[str, BaseDistribution]:
    """What can be proposed now, as Optuna has it."""
    return {
        **{name: FloatDistribution(low, high) for name, (low, high) in box.bounds.items()},
        **{name: CategoricalDistribution(options) for name, options in box.choices.items()},
    }


def _cmaes(seed: int, known: int) -> BaseSampler:
    """Its state is in the study's trials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.CmaEsSampler(
            seed=seed,
            n_startup_trials=known,
            consider_pruned_trials=True,
            lr_adapt=True,
            warn_independent_sampling=False,
        )


# What makes a sampler of Optuna's kind, of a seed and the number of known points, which stand for its random start.
# A new one is named in `study_sections.SAMPLER_NAMES`, too.
SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "gp": lambda seed, known: optuna.samplers.GPSampler(seed=seed, n_startup_trials=known),
    "tpe": lambda seed, known: optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=known, multivariate=True, constant_liar=True
    ),
    "cmaes": _cmaes,
    "qmc": lambda seed, _: optuna.samplers.QMCSampler(seed=seed, scramble=True),
    "random": lambda seed, _: optuna.samplers.RandomSampler(seed=seed),
}


class BoundedSampler(BaseSampler):
    """Proposes all parameters together, from the sampler that the study names.

    Args:
        history: of the study.
    """

    def __init__(self, history: History) -> None:
        settled = history.settled
        self.history, self.settled = history, settled
        self.name, self.seed, self.box = settled.sampler, settled.seed, history.box
        # Known points stand for the usual random start.
        self.known = settled.plan.known_count
        self.is_bounded = settled.plan.shift is not None

    def _inner(self, number: int) -> BaseSampler:
        # Points of qmc belong to one sequence, hence to one seed.
        seed = self.seed if self.name == "qmc" else trial_seed(self.seed, number)
        return SAMPLERS.get(self.name, SAMPLERS["random"])(seed, self.known)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters, with their bounds."""
        return distributions(self.box)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A proposal that is worth making; empty where the inner sampler leaves its parameters to chance."""
        found = self._proposed(study, trial, search_space)
        # What is left to chance is drawn here, as it would be, to be seen.
        whole = found or {
            name: self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }
        if self.history.untried.has(whole):
            return found
        return self.history.untried.draw(trial_seed(self.seed, trial.number) ^ 7) or found

    def _proposed(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As `sample_relative`, of a candidate that may be settled."""
        inner, seen = self._inner(trial.number), study
        if self.settled.is_racing and self.name in ("gp", "tpe"):  # estimates are ours
            seen = self._study(self.history.known(), search_space)
            mine = seen.ask().number  # samplers write to the trial they propose for
            trial = seen.get_trials(deepcopy=False)[mine]
        inner.before_trial(seen, trial)
        if self.name == "cmaes":  # choices are left to chance
            numbers = {name: search_space[name] for name in self.box.bounds}
            found = inner.sample_relative(seen, trial, numbers)
            for name in self.box.choices if found else ():
                found[name] = self.sample_independent(study, trial, name, search_space[name])
        else:
            found = inner.sample_relative(seen, trial, search_space)
        running = [
            other.params
            for other in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if other.number != trial.number and search_space.keys() <= other.params.keys()
        ]
        if not running and not self.is_bounded:
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
        return self._moved(study, trial, found, search_space) if self.is_bounded else found

    def _moved(
        self,
        study: Study,
        trial: FrozenTrial,
        found: dict[str, Any],
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """A proposal where the study allows it.

        A sampler that is drawn to what is out of bounds is moved to one place again and again: where
        something near was tried already, points are drawn by chance.
        """
        moved = self.settled.within(found)
        if moved == found:
            return found
        tried = [
            other.params
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and search_space.keys() <= other.params.keys()
        ]
        chance = optuna.samplers.RandomSampler(seed=trial_seed(self.seed, len(tried)) ^ 5)
        for _ in range(_DRAWS):
            if all(self.is_apart(moved, other) for other in tried):
                break
            drawn = {
                name: chance.sample_independent(study, trial, name, distribution)
                for name, distribution in search_space.items()
            }
            moved = self.settled.within(drawn)
        return moved

    def _study(
        self, history: Sequence[Known], search_space: Mapping[str, BaseDistribution]
    ) -> Study:
        """The history as a study in memory, in which trials that were scored in part are complete."""
        counts = [len(known.values) for known in history if known.values is not None]
        study = optuna.create_study(directions=["maximize"] * max(counts, default=1))
        for known in history:
            spaces = dict(search_space)
            for name in self.box.bounds:  # an input may lie beyond them
                value = float(known.parameters[name])
                low, high = self.box.bounds[name]
                spaces[name] = FloatDistribution(min(low, value), max(high, value))
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: known.parameters[name] for name in spaces},
                    distributions=spaces,
                    values=known.values,
                    state=TrialState.RUNNING if known.values is None else TrialState.COMPLETE,
                )
            )
        return study

    def is_apart(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether two points differ in a choice, or by `DISTANCE` in a coefficient."""
        if any(one[name] != other[name] for name in self.box.choices):
            return True
        return any(
            abs(one[name] - other[name]) > DISTANCE * (high - low)
            for name, (low, high) in self.box.bounds.items()
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
