"""Whether the verdict fools its user: false proofs, coverage of intervals, power, bias of what is called best.

    python -m benchmarks.guarantees [--full] [--json]

A study is a set of report documents, a candidate and its inputs; the word is `exme.search.proof.verdict`'s. Outcomes are real: a
landscape's documents are drawn with replacement, with chances that make the models' true scores exactly what a null says
(`tilted`), and otherwise as near to even as can be. Without an option each null has 500 studies of four landscapes, with
`--full` 2,000. Coverage and bias of what a search shows are those of `benchmarks.estimates`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from exme.evaluators.scores import DocumentScores, Scores, join
from exme.search.merging.candidate import Candidate
from exme.search.proof.gain import gain_over_inputs
from exme.search.proof.outcome import Entry, Outcome
from exme.search.proof.uses import Use, number_of
from exme.search.proof.verdict import verdict
from exme.search.racing.goal import Goal
from exme.search.trials.trial import TrialRecord

from .estimates import coverage, of_best
from .landscape import FOLDER, Floats, load

LANDSCAPES = ("gsm8k", "math", "mmlu", "bbh")
OTHERS = ("gsm8k-mini", "gsm8k-6", "gsm8k-12", "math-6", "mmlu-12")
SEARCHES, ALL_SEARCHES = range(1000, 1025), range(1000, 1100)
COVERED = range(1000, 1200)
DOCUMENTS = 500
Draw = Callable[[np.random.Generator], tuple[Scores, list[Scores]]]


# Studies ---------------------------------------------------------------------------------------------


def card(*suites: Floats) -> Scores:
    """Scores by document of one or several suites."""
    parts = [
        DocumentScores(f"suite{s}", "report", "acc", tuple(map(str, range(len(v)))), tuple(v.tolist()), 0)
        for s, v in enumerate(suites)
    ]  # fmt: skip
    return join(parts)


def judged(merged: Scores, inputs: Sequence[Scores], goal: Goal, use: int = 1) -> bool:
    """Whether a candidate is called proved."""
    names = [f"input{i}" for i in range(len(inputs))]
    made = Candidate(dict.fromkeys(names, 0.5), "exme", "float32", {})
    entries = tuple(
        Entry(n, Candidate({n: 1.0}, "exme", "float32", {}), scores)
        for n, scores in zip(names, inputs, strict=True)
    )
    trial = TrialRecord(9, "complete", "auto", made, merged)
    found = Outcome(
        "s", "t", {}, (trial,), trial, entries, Entry("merged", made, merged), use,
        aim=goal, names=tuple(names),
    )  # fmt: skip
    return verdict(found).proved


def goal_of(suites: int, kind: str = "mean", tail: int = 1) -> Goal:
    """A goal that weighs suites the same."""
    return Goal((1 / suites,) * suites, kind, tail)


# Real outcomes with exact scores ------------------------------------------------------------------------


def tilted(outcomes: Floats, gains: Sequence[float]) -> Floats:
    """Chances of documents under which the first model is better than the others by exactly these gains.

    They are the nearest to even ones (exponential tilting).

    Args:
        outcomes: of the first model and of others, shape (k + 1, n).
        gains: k of them, in [-1, 1].
    Raises:
        ValueError: no chances do that.
    """
    moved = outcomes[0] - outcomes[1:]
    target = np.asarray(gains)

    def loss(pull: Floats) -> tuple[float, Floats]:
        logs = pull @ (moved - target[:, None])
        total = float(special.logsumexp(logs))
        return total, (moved - target[:, None]) @ np.exp(logs - total)

    found = optimize.minimize(loss, np.zeros(len(target)), jac=True, method="BFGS", tol=1e-10)
    chances: Floats = special.softmax(found.x @ (moved - target[:, None]))
    if np.abs(moved @ chances - target).max() > 1e-6:
        raise ValueError("no chances of documents make these gains")
    return chances


def models(name: str, count: int, gain: float, seed: int = 0) -> tuple[Floats, Floats]:
    """A candidate and so many inputs of a landscape, and the chances that make the candidate better by this gain.

    The models are among the better half of the landscape's points, the inputs as like each other as any.
    """
    table = load(FOLDER / f"{name}.npz").outcomes.astype(float)
    means, generator = table.mean(1), np.random.default_rng(seed)
    good = np.flatnonzero(means >= np.quantile(means, 0.5))
    for _ in range(200):
        first = int(generator.choice(good))
        near = good[np.argsort(np.abs(means[good] - (means[first] - gain)))]
        near = near[near != first][: 6 * count]
        if len(near) < count:
            continue
        chosen = table[[first, *generator.choice(near, count, replace=False)]]
        try:
            return chosen, tilted(chosen, [gain] * count)
        except ValueError:
            continue
    raise ValueError(f"{name}: no {count} inputs with a gain of {gain}")


def equal_inputs(name: str, count: int, documents: int = DOCUMENTS, gain: float = 0.0) -> Draw:
    """All inputs are exactly as good as each other, the candidate better by a gain."""

    def draw(generator: np.random.Generator) -> tuple[Scores, list[Scores]]:
        outcomes, chances = models(name, count, gain, int(generator.integers(8)))
        found = outcomes[:, generator.choice(len(chances), documents, p=chances)]
        return card(found[0]), [card(each) for each in found[1:]]

    return draw


def near_copy(name: str, points: float) -> Draw:
    """One input is as good and unrelated, one a copy of the candidate that loses some of what it solves."""

    def draw(generator: np.random.Generator) -> tuple[Scores, list[Scores]]:
        outcomes, chances = models(name, 1, 0.0, int(generator.integers(8)))
        merged, other = outcomes[:, generator.choice(len(chances), DOCUMENTS, p=chances)]
        share = points / float(outcomes[0] @ chances)
        copy = np.where(generator.random(DOCUMENTS) < share, 0.0, merged)
        return card(merged), [card(copy), card(other)]

    return draw


def suites(gains: Sequence[float], copy: float = 0.0) -> Draw:
    """One suite a landscape, with a gain on each over one input, and a near copy as another where asked."""

    def draw(generator: np.random.Generator) -> tuple[Scores, list[Scores]]:
        columns = []
        for name, gain in zip(LANDSCAPES, gains, strict=False):
            outcomes, chances = models(name, 1, gain, int(generator.integers(4)))
            merged, other = outcomes[:, generator.choice(len(chances), 300, p=chances)]
            near = np.where(generator.random(300) < copy, 0.0, merged)
            columns.append((merged, other, near))
        cards = [card(*each) for each in zip(*columns, strict=True)]
        return cards[0], cards[1:] if copy else cards[1:2]

    return draw


def skewed(moved: Callable[[np.random.Generator, int], Floats], documents: int) -> Draw:
    """Real-valued scores whose mean difference is exactly 0; they stay within 0 and 1 where they can."""

    def draw(generator: np.random.Generator) -> tuple[Scores, list[Scores]]:
        difference = moved(generator, documents)
        base = np.full(documents, 0.99) if difference.min() >= -0.99 else np.zeros(documents)
        return card(base + difference), [card(base)]

    return draw


SKEWED: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "1% losses of 0.99": lambda g, n: np.where(g.random(n) < 0.01, -0.99, 0.01),
    "3% losses of 0.5": lambda g, n: np.where(g.random(n) < 0.03, -0.5, 0.5 * 0.03 / 0.97) * 0.6,
    "lognormal losses": lambda g, n: np.exp(0.5) - np.exp(g.normal(size=n)),
    "lognormal losses, sigma 1.5": lambda g, n: np.exp(1.125) - np.exp(1.5 * g.normal(size=n)),
    # A hundredth of the units: nearly all scores are within 0 and 1, the rare large loss is not.
    "small lognormal losses": lambda g, n: 0.01 * (np.exp(0.5) - np.exp(g.normal(size=n))),
}


# What is counted --------------------------------------------------------------------------------------


def count(draw: Draw, studies: int, seed: int, goal: Goal | None = None) -> dict[str, int]:
    """How many of so many studies say proved."""
    generator = np.random.default_rng([20261130, seed])
    proved = 0
    for _ in range(studies):
        merged, inputs = draw(generator)
        proved += judged(merged, inputs, goal or goal_of(len(merged.parts)))
    return {"proved": int(proved), "studies": studies}


def repeated(name: str, studies: int, forks: bool, seed: int, proofs: int = 10) -> dict[str, int]:
    """A user who searches on until it says proved: so many candidates, as good as the inputs, on the same documents."""
    generator = np.random.default_rng([20261130, seed])
    proved = 0
    for _ in range(studies):
        outcomes, chances = models(name, proofs + 1, 0.0, int(generator.integers(8)))
        found = outcomes[:, generator.choice(len(chances), DOCUMENTS, p=chances)]
        inputs, known = [card(found[0]), card(found[1])], list[Use]()
        for number, values in enumerate(found[2:]):
            study = f"mini-fork{number % 3}" if forks else "mini"
            known.append(Use(f"candidate{number}", ("documents",), number, study))
            if judged(card(values), inputs, goal_of(1), number_of(known[-1], known)):
                proved += 1
                break
    return {"proved": proved, "studies": studies}


def false_proofs(studies: int, landscapes: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often 'proved' is said where it is false, by null."""
    found: dict[str, dict[str, int]] = {}
    for seed, name in enumerate(landscapes):
        for inputs in (2, 3, 5, 8):
            key = f"{inputs} equal inputs, {name}"
            found[key] = count(equal_inputs(name, inputs), studies, seed)
        for points in (1, 2, 3):
            key = f"copy {points} points worse beside an equal input, {name}"
            found[key] = count(near_copy(name, points / 100), studies, seed)
    cases: dict[str, tuple[Draw, Goal]] = {
        "mean of suites, gains +5 and -5": (suites([0.05, -0.05]), goal_of(2)),
        "mean of suites, gains +6, -6, 0 and a copy": (suites([0.06, -0.06, 0.0], 0.03), goal_of(3)),
        "worst suite, gains 0, +5, +5": (suites([0.0, 0.05, 0.05]), goal_of(3, "worst")),
        "worst suite, no gains and a copy": (suites([0.0, 0.0], 0.03), goal_of(2, "worst")),
        "mean of the 2 worst of 3, gains -3, +3, +6": (suites([-0.03, 0.03, 0.06]), goal_of(3, "cvar", 2)),
        "mean of the 2 worst of 3, no gains and a copy": (suites([0.0, 0.0, 0.06], 0.03), goal_of(3, "cvar", 2)),
        "front, input equal on both": (suites([0.0, 0.0]), goal_of(2, "pareto")),
        "front, input equal on both and a copy": (suites([0.0, 0.0], 0.03), goal_of(2, "pareto")),
    }  # fmt: skip
    for seed, (key, (draw, goal)) in enumerate(cases.items(), 20):
        found[key] = count(draw, studies, seed, goal)
    for seed, (key, moved) in enumerate(SKEWED.items(), 40):
        for documents in (100, 500):
            found[f"{key}, {documents} documents"] = count(skewed(moved, documents), studies, seed)
    for forks in (False, True):
        key = f"10 repeated proofs{', over forks' * forks}, {landscapes[0]}"
        found[key] = repeated(landscapes[0], studies, forks, 60 + forks)
    return found


def power(studies: int, name: str = "gsm8k-mini") -> dict[str, float]:
    """How often 'proved' is said where it is true."""
    return {
        f"gain {100 * gain:.0f} points, {documents} documents, {inputs} inputs": count(
            equal_inputs(name, inputs, documents, gain), studies, inputs
        )["proved"]
        / studies
        for gain in (0.03, 0.05, 0.07)
        for documents in (250, 500, 1000)
        for inputs in (1, 2, 3, 5)
    }


def gain_coverage(studies: int, landscapes: Sequence[str]) -> dict[str, float]:
    """How often the interval of the gain over every input holds the true one."""
    found = {}
    for seed, name in enumerate(landscapes):
        for inputs in (1, 3, 5):
            for gain in (0.0, 0.05):
                draw = equal_inputs(name, inputs, DOCUMENTS, gain)
                generator = np.random.default_rng([20261130, 80 + seed])
                held = 0
                for _ in range(studies):
                    merged, others = draw(generator)
                    named = [(str(i), each) for i, each in enumerate(others)]
                    interval = gain_over_inputs(merged, named, goal_of(1), 0.025)
                    held += interval.low <= gain <= interval.high
                key = f"gain of {100 * gain:.0f} points over {inputs} equal inputs, {name}"
                found[key] = held / studies
    return found


# The whole ---------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="2,000 studies a null")
    parser.add_argument("--studies", type=int, help="studies a null")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of tables"
    )
    options = parser.parse_args()
    studies = options.studies or (2000 if options.full else 500)
    begun = time.monotonic()
    names = [*LANDSCAPES, *OTHERS] if options.full else LANDSCAPES
    seeds = ALL_SEARCHES if options.full else SEARCHES
    result: dict[str, Any] = {
        "false_proved": false_proofs(studies, LANDSCAPES),
        "coverage": gain_coverage(studies, LANDSCAPES),
        "power": power(studies),
        "bias": {},
    }
    for name in names:
        landscape = load(FOLDER / f"{name}.npz")
        off, held = of_best(landscape, seeds[: max(3, studies)])
        result["bias"] |= off
        result["coverage"] |= coverage(landscape, COVERED[:studies]) | held
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        _tell(result, time.monotonic() - begun)


def _tell(result: dict[str, Any], seconds: float) -> None:
    """The tables, in Markdown."""
    print("| null | studies | called proved | upper 99% limit |\n|---|---|---|---|")
    for name, found in result["false_proved"].items():
        limit = stats.beta.ppf(0.99, found["proved"] + 1, found["studies"] - found["proved"])
        print(f"| {name} | {found['studies']:,} | {found['proved'] / found['studies']:.1%} | {limit:.1%} |")  # fmt: skip
    for title in ("power", "coverage"):
        print(f"\n| {title} | share |\n|---|---|")
        for name, share in result[title].items():
            print(f"| {name} | {share:.1%} |")
    print("\n| bias of the best's score | points |\n|---|---|")
    for name, points in result["bias"].items():
        print(f"| {name} | {points:+.1f} |")
    print(f"\n{seconds:.0f} s")


if __name__ == "__main__":
    main()
