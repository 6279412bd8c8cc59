"""Optuna's samplers, every candidate scored on all documents: what forty lines by hand do."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler

from benchmarks.landscape import Floats

from .half import Half


def sampled(make: Callable[[int], BaseSampler]) -> Callable[[Half, int], list[Floats]]:
    """A search by a sampler: the points that it tries, in order."""

    def run(half: Half, trials: int) -> list[Floats]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="maximize", sampler=make(half.seed))
            names = [str(i) for i in range(half.size)]
            space = {
                n: FloatDistribution(float(low), float(high))
                for n, (low, high) in zip(names, half.landscape.bounds, strict=True)
            }
            found = []
            for _ in range(trials):
                trial = study.ask(space)  # type: ignore[arg-type]
                point = np.array([trial.params[n] for n in names])
                study.tell(trial, half.score(point))
                found.append(point)
        return found

    return run


SAMPLERS: dict[str, Callable[[Half, int], list[Floats]]] = {
    "Optuna GP": sampled(lambda seed: optuna.samplers.GPSampler(seed=seed)),
    "Optuna TPE": sampled(lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True)),
    "Optuna CMA-ES": sampled(lambda seed: optuna.samplers.CmaEsSampler(seed=seed)),
}
