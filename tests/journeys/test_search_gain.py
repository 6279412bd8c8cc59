"""The measure of what a search gains replays the product's own trials."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exme.search.proposing import auto
from exme.search.trials import believed


@pytest.fixture
def product(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(root))
    return importlib.import_module("benchmarks.search_gain.product")


def half_of(name: str, seed: int) -> Any:
    half = importlib.import_module("benchmarks.search_gain.half")
    landscape = importlib.import_module("benchmarks.landscape")
    (found,) = half.halves(landscape.load(landscape.FOLDER / f"{name}.npz"), [seed])
    return found


def made(trials: Any) -> list[Any]:
    return [(t.origin, t.candidate.coefficients, t.candidate.grouped, t.documents) for t in trials]


@pytest.mark.parametrize(("name", "seed"), [("math", 0), ("math", 1), ("math-6", 0)])
def test_a_replay_has_the_trials_of_a_search(
    tmp_path: Path, product: Any, name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = half_of(name, seed)
    with product.opened(found, product.study_of(found, 1.5), tmp_path) as search:
        search.work()
        # the search has measured the models that stand in for the landscape's
        monkeypatch.setattr(product, "_gram", lambda half: search.settled.objective.gram)
        replay = product.Replay(found)
        replay.run(1.5)
        assert made(search.trials) == made(replay.trials)
        assert len(replay.trials) > 15


def test_a_search_goes_on_beyond_the_candidates_that_the_model_is_fitted_to(
    product: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(believed, "MOST", 12)
    monkeypatch.setattr(believed, "FIRST", 3)
    replay = product.Replay(half_of("gsm8k", 3))
    replay.run(4.0)
    known = replay.history().believed
    assert len(known.trials) > 20
    assert len(known.suites[0].points) <= 12
    numbers = sorted(trial.number for trial in known.trials[: len(known.suites[0].points)])
    assert numbers[:1] == [0]  # the first ones stand for all, too


def test_several_workers_spend_the_same_budget(product: Any) -> None:
    found = half_of("math", 0)
    one, four = product.Replay(found), product.Replay(found)
    one.run(1.0)
    four.run(1.0, 4)
    spent = [sum(t.documents for t in replay.trials) for replay in (one, four)]
    assert spent == [found.count, found.count]
    digests = [t.candidate.digest for t in four.trials if t.continues is None]
    assert len(set(digests)) == len(digests)


def test_of_many_checkpoints_half_of_the_wide_points_are_mixes(product: Any) -> None:
    replay = product.Replay(half_of("eight-2", 0))
    replay.run(1.0)
    history = replay.history()
    usual = sum(history.settled.weight_space.usual.values())
    drawn = auto.pool(history, np.random.default_rng(0))[1 : 1 + auto.WIDE]
    totals = np.array([sum(map(float, proposal.values())) for proposal in drawn])
    shares = np.array([[*p.values()] for p in drawn]) / totals[:, None]
    mixes, uniform = slice(0, None, 2), slice(1, None, 2)
    assert totals[mixes].max() <= auto.MOST * usual + 1e-9
    assert (np.diff(np.histogram(totals[mixes], 4, (0, auto.MOST * usual))[0]) < 20).all()
    assert totals[uniform].min() > auto.MOST * usual / 2  # which is why there are mixes
    assert shares[mixes].max() > 0.8  # from single checkpoints
    assert shares[mixes].max(1).min() < 0.25  # to even mixes of all eight


def test_of_two_checkpoints_wide_points_are_drawn_all_over_the_bounds(product: Any) -> None:
    replay = product.Replay(half_of("math", 0))
    replay.run(1.0)
    drawn = auto.pool(replay.history(), np.random.default_rng(0))[1 : 1 + auto.WIDE]
    points = np.array([[*p.values()] for p in drawn])
    assert len(np.unique((points // 0.8).clip(0, 2), axis=0)) == 9  # in every ninth of the square
