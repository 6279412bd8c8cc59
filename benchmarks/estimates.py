"""Whether scores and their intervals are what they say: `python -m benchmarks.estimates gsm8k --seeds 40`.

Outcomes are real ones of a landscape, and those that it would have if merges that are carried too far collapsed.
`coverage` asks of candidates that were scored in part how often the printed
interval holds the truth; `of_best` replays searches on half of the documents and compares what is shown of the best
with what it scores on the other half. A landscape takes about a second a seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from exme.search.merging.candidate import Candidate
from exme.search.racing.belief import Belief
from exme.search.racing.field import Field, Runner, draw
from exme.search.statistics.intervals import Interval
from exme.search.trials.expected import collapsed, expected_scores
from exme.search.trials.ranking import best_trial
from exme.search.trials.standing import standing_of, standings
from exme.search.trials.weight_space import space_of

from .landscape import FOLDER, Floats, Landscape, load
from .search_gain.half import Half
from .search_gain.product import Replay, point_of

# Documents of a search at most; candidates looked at; documents that each has seen.
_DOCUMENTS, _PLACES, _PARTS = 256, (1, 2, 5, 10), (16, 32, 64, 128)
_RARE = 0.01
# Where two coefficients, in widths of their bounds, add up to more, nothing is solved beyond the cliff: a sixth of a grid.
_CLIFF = 1.45
_BUDGETS = (1, 2, 4, 8, 20)
# Of a table's points the best share: their luck on one half of the documents is the best's, nearly.
_TOP = 5


def with_cliff(landscape: Landscape) -> Landscape:
    """The same with a cliff: where the coefficients are too large nothing is solved."""
    low, high = landscape.bounds.T
    living = ((landscape.points - low) / (high - low)).sum(1) <= _CLIFF
    outcomes = landscape.outcomes & living[:, None]
    return replace(landscape, name=f"{landscape.name} with a cliff", outcomes=outcomes)


def coverage(landscape: Landscape, seeds: Sequence[int]) -> dict[str, float]:
    """How often the printed 95% interval holds the score on documents like these, by case.

    Candidates are points of the table, drawn at random; the search documents are drawn with replacement from the
    landscape's, so that the score on documents like these is the mean over the landscape. Cases: the first, second,
    fifth and tenth candidate on 16 to 128 documents; those of them that solve nothing, and the same where 1% or 99% is
    solved, all four candidates together.

    Args:
        landscape: whose outcomes.
        seeds: one search a seed and case.
    """
    found: dict[str, list[bool]] = {}
    for seed in seeds:
        for m in _PARTS:
            for name, outcomes in _outcomes(landscape, np.random.default_rng([seed, m])):
                n = min(_DOCUMENTS, landscape.count)
                if m > n // 2:
                    continue
                for place, truth, held in _held(landscape, outcomes, m, n, seed):
                    cases = [name or f"candidate {place}"] + ["collapsed"] * (
                        truth == 0 and not name
                    )
                    for case in cases:
                        found.setdefault(f"{landscape.name}, {case}, {m} documents", []).append(
                            held
                        )
    return {name: float(np.mean(held)) for name, held in found.items()}


def _outcomes(landscape: Landscape, generator: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """The table's outcomes, and those thinned out until next to nothing, or next to all, is solved."""
    table = landscape.outcomes.astype(float)
    yield "", table
    kept = generator.uniform(size=landscape.count) < _RARE / table.mean()
    yield f"{_RARE:.0%} solved", table * kept
    yield f"{1 - _RARE:.0%} solved", 1 - table * kept


def _held(
    landscape: Landscape, outcomes: Floats, m: int, n: int, seed: int
) -> Iterator[tuple[int, float, bool]]:
    """Truths, and whether intervals hold them, when so many candidates have seen m of n documents each."""
    generator = np.random.default_rng([seed, m, 1])
    documents = generator.integers(landscape.count, size=n)
    field, runners, chosen = Field((n,)), list[Runner](), list[int]()
    for place in range(1, max(_PLACES) + 1):
        number = int(generator.integers(len(outcomes)))
        order = draw(runners, field, seed).order
        seen = outcomes[number][documents][order.documents[:m]]
        runners.append(Runner(landscape.points[number], order, seen))
        chosen.append(number)
        if place in _PLACES:
            interval = _shown(landscape, runners, landscape.points[chosen])[-1]
            truth = float(outcomes[number].mean())
            yield place, truth, interval.low - 1e-9 <= truth <= interval.high + 1e-9


def _shown(landscape: Landscape, runners: Sequence[Runner], points: Floats) -> list[Interval]:
    """What people are shown of each candidate; points in coefficients, shape (k, d)."""
    candidates = [
        Candidate(dict(zip(landscape.names, map(float, point), strict=True)), "exme", "", {})
        for point in points
    ]
    space = space_of(candidates, None)
    places, values = space.places(candidates), np.stack([runner.values for runner in runners])
    living = ~collapsed(values, share=True)
    belief = Belief(places[living], values[living], space.usual_place)
    means = np.where(living, belief.mean(places), np.nan)
    return [score for _, score in expected_scores(runners, means, slice(0, values.shape[1]))]


def bias(
    landscape: Landscape, seeds: Sequence[int], budgets: Sequence[float] = _BUDGETS
) -> dict[str, float]:
    """By how many points the score shown of the best is above its score on fresh documents, on average: `of_best`."""
    return of_best(landscape, seeds, budgets)[0]


def of_best(
    landscape: Landscape, seeds: Sequence[int], budgets: Sequence[float] = _BUDGETS
) -> tuple[dict[str, float], dict[str, float]]:
    """What is shown of the best beside its score on fresh documents: bias in points, and coverage of the interval.

    A search sees a random half of the documents; the other half is fresh. For the bias, from each difference is taken
    how much easier the search half is for the table's best fifth of points, times the slope of one on the other: that
    is 0 on average, and takes out most of the noise. For the coverage, the fresh half is a sample itself: held is an
    interval whose distance to its score is within both errors.

    Args:
        landscape: whose outcomes.
        seeds: one search a seed; at least three.
        budgets: after how many times all search documents.
    """
    rows, easier = [], []
    count = -(-len(landscape.outcomes) // _TOP)
    top = landscape.outcomes[np.argsort(-landscape.outcomes.mean(1))[:count]]
    for seed in seeds:
        mixed = np.random.default_rng([seed, 5]).permutation(landscape.count)
        n = landscape.count // 2
        half, fresh = np.isin(np.arange(landscape.count), mixed[:n]), mixed[n:]
        easier.append(top[:, half].mean() - top[:, fresh].mean())
        searched = landscape.of(landscape.name, half)
        rows.append(
            [
                _beside(shown, landscape.solve(point)[fresh])
                for shown, point in _bests(searched, seed, budgets)
            ]
        )
    table, luck = np.array(rows), np.array(easier)
    names = [f"{landscape.name}, best at {budget:g} times all documents" for budget in budgets]
    off, held = {}, {}
    for k, name in enumerate(names):
        slope = np.cov(table[:, k, 0], luck)[0, 1] / max(luck.var(ddof=1), 1e-12)
        off[name] = 100 * float((table[:, k, 0] - slope * luck).mean())
        held[name] = float(table[:, k, 1].mean())
    return off, held


def _beside(shown: Interval, outcomes: Floats) -> tuple[float, bool]:
    """How far a score is above that on fresh documents, and whether its interval allows for it."""
    away = shown.estimate - float(outcomes.mean())
    reach = shown.estimate - shown.low if away > 0 else shown.high - shown.estimate
    return away, abs(away) <= np.hypot(reach, 1.96 * np.sqrt(outcomes.var() / len(outcomes)))


def _bests(
    landscape: Landscape, seed: int, budgets: Sequence[float]
) -> Iterator[tuple[Interval, Floats]]:
    """What is shown of the best, and the best, when each budget is used up."""
    half = Half(landscape, seed, np.arange(landscape.count), np.arange(0))
    replay = Replay(half)
    for budget in budgets:
        replay.run(budget)
        history = replay.history()
        best = best_trial(history.trials)
        assert best is not None and best.candidate is not None
        shown = standing_of(standings(history.trials), best.candidate.digest)
        assert shown is not None
        yield shown.interval, point_of(best.candidate, half)


def main() -> None:
    """Print both of some landscapes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("landscapes", nargs="*", help="default: all")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    chosen = parser.parse_args()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    for name in chosen.landscapes or sorted(path.stem for path in FOLDER.glob("*.npz")):
        real = load(FOLDER / f"{name}.npz")
        for landscape in (real, with_cliff(real)) if len(real.names) == 2 else (real,):
            for case, share in coverage(landscape, seeds).items():
                print(f"{case}: {share:.1%}")
            off, held = of_best(landscape, seeds)
            for case, points in off.items():
                print(f"{case}: {points:+.2f} points, within its interval {held[case]:.1%}")


if __name__ == "__main__":
    main()
