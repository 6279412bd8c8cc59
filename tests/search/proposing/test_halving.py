"""A training run's checkpoints are halved down to the best ones, at a quarter of what scoring all of them takes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exme.search.merging.candidate import Candidate
from exme.search.proposing.halving import BASE, Halving, best_of, rungs
from exme.search.racing.goal import Goal
from exme.search.racing.strata import Floats
from exme.search.trials.shift import Gram

GOAL = Goal((1.0,))


def halving(names: int, count: int, gram: Floats | None = None) -> Halving:
    made = {name: Candidate({}, "exme", "bfloat16", {name: name}) for name in labels(names)}
    inner = None if gram is None else Gram(tuple(labels(names)[1:]), {"": gram})
    return Halving(made, 2, count, inner)


def labels(names: int) -> list[str]:
    return [BASE, *(f"checkpoint-{i}" for i in range(names))]


@pytest.mark.parametrize("count", [128, 256, 512, 1000, 5000])
@pytest.mark.parametrize(("entrants", "most"), [(3, 1), (4, 1.05), (8, 2), (12, 3), (20, 5.3)])
def test_ranking_takes_a_quarter_of_scoring_all_in_full(
    entrants: int, most: float, count: int
) -> None:
    found = halving(entrants, count)
    assert found.documents <= most * count
    assert found.rungs[0].entrants == entrants
    assert all(
        b.entrants == max(2, -(-a.entrants // 2))
        for a, b in zip(found.rungs, found.rungs[1:], strict=False)
    )
    documents = [rung.documents for rung in found.rungs]
    assert documents == sorted(set(documents)) and documents[-1] < count


def test_whoever_is_not_too_many_is_not_ranked() -> None:
    assert rungs(2, 2, 256) == () and rungs(1, 2, 256) == ()


def test_it_says_what_it_takes() -> None:
    told = str(halving(8, 256))
    assert told == (
        "8 checkpoints and the base on 16 search documents, then 4 on 96; the best 2 are kept"
    )
    assert halving(8, 256).documents == 9 * 16 + 4 * 80


# Shares of documents solved along a run of eight, none of them what the rule was tried on.
CURVES = {
    "rises and stays": [0.31, 0.4, 0.47, 0.52, 0.55, 0.57, 0.58, 0.58],
    "turns over": [0.35, 0.5, 0.6, 0.62, 0.55, 0.47, 0.4, 0.36],
    "two humps": [0.3, 0.48, 0.4, 0.33, 0.36, 0.5, 0.44, 0.4],
    "one spike": [0.4, 0.4, 0.4, 0.4, 0.58, 0.4, 0.4, 0.4],
    "collapses": [0.5, 0.55, 0.6, 0.02, 0.01, 0.01, 0.01, 0.01],
    "all alike": [0.45] * 8,
    "next to nothing": [0.01, 0.02, 0.02, 0.04, 0.06, 0.05, 0.03, 0.02],
}


def outcomes(curve: list[float], count: int, seed: int) -> tuple[Floats, Floats]:
    """Values of the base and eight checkpoints by document, and inner products of their task vectors.

    Task vectors go on from each other in ever smaller steps; documents are hard for all, and near checkpoints solve the same.
    """
    rng = np.random.default_rng([seed, 11])
    steps = 0.5 + rng.normal(size=(len(curve), 60)) / np.sqrt(np.arange(1, len(curve) + 1))[:, None]
    path = np.concatenate([np.zeros((1, 60)), steps.cumsum(0)])
    apart = np.linalg.norm(path[:, None] - path[None], axis=2)
    alike = 0.35 + 0.6 * np.exp(-apart / apart[0].mean()) + 0.05 * np.eye(len(path))
    latent = np.linalg.cholesky(alike) @ rng.normal(size=(len(path), count))
    shares = np.array([0.3, *curve])
    return (latent < stats.norm.ppf(shares)[:, None]).astype(float), path[1:] @ path[1:].T


def kept_by(found: Halving, values: Floats) -> tuple[list[str], int]:
    """Who is kept where documents come in their order, and how many were scored."""
    names, table, spent = found.names, np.full(values.shape, np.nan), 0
    places = {name: i for i, name in enumerate(found.candidates)}
    for number, rung in enumerate(found.rungs):
        for name in ([BASE] if number == 0 else []) + names:
            row = table[places[name]]
            spent += int(np.isnan(row[: rung.documents]).sum())
            row[: rung.documents] = values[places[name], : rung.documents]
        ranked = best_of(found, table, names, [slice(0, values.shape[1])], GOAL)
        names = ranked[: max(found.best, -(-rung.entrants // 2))]
    return names, spent


@pytest.mark.parametrize("curve", CURVES)
def test_the_kept_two_are_the_best_or_within_noise_of_them(curve: str) -> None:
    shares, lost = np.array(CURVES[curve]), []
    for seed in range(12):
        values, gram = outcomes(CURVES[curve], 256, seed)
        names, spent = kept_by(halving(8, 256, gram), values)
        assert spent <= 2 * 256 and len(names) == 2
        kept = shares[[int(name.partition("-")[2]) for name in names]]
        lost.append((shares.max() - kept.max(), np.sort(shares)[-2:].mean() - kept.mean()))
    best, both = np.mean(lost, axis=0)
    # The standard error of a difference of two scores on the 96 documents of the last round is about 4 points.
    assert best <= 0.03 and both <= 0.05


def test_nearness_in_weight_space_helps_where_curves_are_smooth() -> None:
    smooth = ["rises and stays", "turns over"]

    def lost(with_gram: bool) -> float:
        total = 0.0
        for curve in smooth:
            shares = np.array(CURVES[curve])
            for seed in range(30):
                values, gram = outcomes(CURVES[curve], 128, seed)
                names, _ = kept_by(halving(8, 128, gram if with_gram else None), values)
                total += shares.max() - max(shares[int(n.partition("-")[2])] for n in names)
        return total

    assert lost(True) < lost(False)


def test_of_equals_the_earlier_is_kept() -> None:
    values = np.tile(np.array([1.0, 0.0]), (9, 64))
    found = halving(8, 128)
    assert best_of(found, values, found.names, [slice(0, 128)], GOAL)[:2] == found.names[:2]


def test_a_suite_that_nobody_has_seen_tells_nothing() -> None:
    values, gram = outcomes(CURVES["one spike"], 128, 0)
    found = halving(8, 128, gram)
    some = values.copy()
    some[:, 64:] = np.nan
    parts, goal = [slice(0, 64), slice(64, 128)], Goal((0.5, 0.5))
    alone = best_of(found, values[:, :64], found.names, [slice(0, 64)], GOAL)
    assert best_of(found, some, found.names, parts, goal) == alone
