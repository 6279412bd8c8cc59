"""Strata, orders, and what a part of the documents says about all."""

from __future__ import annotations

import numpy as np
import pytest

from exme.search.racing.strata import Floats, Strata, draw_order, estimate, single_stratum, stratify

N = 200


def trials(seed: int = 0) -> list[Floats]:
    """Five trials; a quarter of the documents all solve, a quarter none, the rest some."""
    generator = np.random.default_rng(seed)
    chance = np.repeat([0.0, 0.35, 0.65, 1.0], N // 4)
    return [(generator.random(N) < chance).astype(float) for _ in range(5)]


def test_documents_are_grouped_by_how_many_trials_solved_them() -> None:
    values = trials()
    strata = stratify(values)
    solved = np.sum(values, axis=0)
    for label in range(strata.labels.max() + 1):
        inside, above = solved[strata.labels == label], solved[strata.labels == label + 1]
        assert not len(above) or inside.max() < above.min()
    assert 2 <= len(strata.variance) <= 4


def test_documents_on_which_trials_differ_come_earlier_and_no_document_is_left_out() -> None:
    values = trials()
    strata = stratify(values)
    solved = np.sum(values, axis=0)
    disputed = (solved > 0) & (solved < 5)
    first = [draw_order(strata, seed).documents[:40] for seed in range(200)]
    share = np.mean([disputed[d].mean() for d in first])
    assert share > disputed.mean() + 0.04  # 0.41 of all; 200 orders say it to about 0.005
    counts = np.bincount(np.concatenate(first), minlength=N)
    assert counts.min() > 0
    assert sorted(draw_order(strata, 1).documents) == list(range(N))


def test_documents_are_drawn_with_the_probabilities_that_the_race_weighs_by() -> None:
    strata = Strata(np.array([0, 1, 1]), np.array([1.0, 0.5, 0.5]), np.full(2, 0.1))
    orders = [draw_order(strata, seed) for seed in range(6000)]
    first = np.bincount([o.documents[0] for o in orders], minlength=3) / 6000
    assert first == pytest.approx([0.5, 0.25, 0.25], abs=0.025)
    after_0 = [o.documents[1] for o in orders if o.documents[0] == 1]
    assert np.mean(np.array(after_0) == 0) == pytest.approx(1 / 1.5, abs=0.05)
    assert orders[0].left[0] == pytest.approx(2)


def test_the_same_seed_draws_the_same_order() -> None:
    strata = stratify(trials())
    assert (draw_order(strata, [7, 3]).documents == draw_order(strata, [7, 3]).documents).all()
    assert (draw_order(strata, [7, 3]).documents != draw_order(strata, [7, 4]).documents).any()


@pytest.mark.parametrize("control", [False, True])
def test_estimates_are_unbiased_and_as_sure_as_they_say(control: bool) -> None:
    values = trials()
    x = trials(seed=9)[0]
    strata = stratify(values)
    base = np.mean(values, axis=0) if control else None
    found = []
    for seed in range(1500):
        order = draw_order(strata, seed)
        found.append(estimate(x[order.documents[:40]], order, base))
    means = np.array([e.mean for e in found])
    errors = np.array([e.standard_error for e in found])
    assert means.mean() == pytest.approx(x.mean(), abs=4 * means.std() / np.sqrt(len(means)))
    assert np.sqrt((errors**2).mean()) == pytest.approx(means.std(), rel=0.25)


def test_strata_make_an_estimate_surer_than_chance_alone() -> None:
    values, x = trials(), trials(seed=9)[0]
    spread = {}
    for name, strata in {"strata": stratify(values), "chance": single_stratum(N)}.items():
        orders = [draw_order(strata, seed) for seed in range(400)]
        spread[name] = np.std([estimate(x[o.documents[:40]], o).mean for o in orders])
    assert spread["strata"] < 0.8 * spread["chance"]


def test_a_complete_trial_is_known_exactly() -> None:
    x = trials(seed=3)[1]
    order = draw_order(stratify(trials()), 0)
    found = estimate(x[order.documents], order, trials(seed=4)[0])
    assert found.mean == pytest.approx(x.mean())
    assert (found.standard_error, found.count) == (0.0, N)


def test_two_documents_that_agree_do_not_make_a_certainty() -> None:
    order = draw_order(single_stratum(N), 0)
    assert estimate(np.ones(2), order).standard_error > 0.1


def test_trials_that_saw_a_part_of_the_documents_make_strata_too() -> None:
    values = trials()
    for number, value in enumerate(values):
        value[number::7] = np.nan
    assert len(stratify(values).labels) == N
