"""What a search's scores depend on."""

from __future__ import annotations

import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from exme.search.storage.known_trials import importance


def scored(count: int) -> list[tuple[FrozenTrial, float]]:
    """Trials on a grid of a and b, whose score depends on a alone."""
    trials = []
    for n in range(count):
        params = {"a": (n % 8) / 8, "b": (n // 8) / 8}
        distributions: dict[str, BaseDistribution] = {
            name: FloatDistribution(0, 1) for name in params
        }
        value = -((params["a"] - 0.5) ** 2)
        trials.append(
            (create_trial(params=params, distributions=distributions, value=value), value)
        )
    return trials


def test_it_names_the_parameter_that_matters() -> None:
    shares = importance(scored(64))
    assert set(shares) == {"a", "b"}
    assert shares["a"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_it_says_nothing_of_too_few_trials_or_of_trials_that_are_all_alike() -> None:
    assert importance([]) == {}
    assert importance(scored(1)) == {}
    assert importance([(trial, 0.0) for trial, _ in scored(20)]) == {}
