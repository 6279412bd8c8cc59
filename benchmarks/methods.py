"""Ways to search, to be replayed on a landscape. Each is a generator of `Step`s."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from scipy import stats

from exme.search.proposing.allocation import is_left, next_look, survey
from exme.search.proposing.proposer import Choice
from exme.search.racing.field import Field, Racing, Runner, advance, draw, face, incumbent_of

from .landscape import Floats, Landscape


@dataclass(frozen=True)
class Step:
    """Where a search stands.

    Attributes:
        documents: scored so far.
        best: the point that it would name now, in coefficients.
        owed: documents still to be scored to have `best` scored on all.
        stopped: point that lost just now, with the point that it lost to.
        runners: all candidates, where the search races.
    """

    documents: int
    best: Floats
    owed: int = 0
    stopped: tuple[Floats, Floats] | None = None
    runners: tuple[Runner, ...] = ()


Method = Callable[[Landscape, int], Iterator[Step]]


def known_points(landscape: Landscape) -> list[Floats]:
    """What every search of ours tries first: each checkpoint alone, their mean, ExPO of the best."""
    d, few = len(landscape.names), landscape.checkpoints
    alone = [(np.arange(d) % few == i).astype(float) for i in range(few)]
    best = max(alone, key=lambda p: float(landscape.solve(p).mean()))
    return [*alone, np.full(d, 1 / few), 1.3 * best, 1.5 * best]


def ours(racing: Racing) -> Method:
    """Racing, strata and the knowledge gradient (`exme.search.proposing.allocation`)."""

    def run(landscape: Landscape, seed: int) -> Iterator[Step]:
        low, width = landscape.bounds[:, 0], np.ptp(landscape.bounds, axis=1)
        field = Field((landscape.count,))
        runners: list[Runner] = []
        outcomes: list[Floats] = []
        spent = looks = 0
        known = known_points(landscape)
        few, d = landscape.checkpoints, len(landscape.names)
        blocks = [list(range(i, d, few)) for i in range(few)] if d > few else []
        state = None
        while True:
            if known:
                choice = Choice((known.pop(0) - low) / width, None, 0.0, racing.chunk)
            else:
                assert state is not None
                choice = next_look(runners, state, racing, seed, looks, blocks)
            number = choice.begun
            if number is None:
                number = len(runners)
                order = draw(runners, field, seed).order
                runners.append(Runner(choice.point, order, np.zeros(0)))
                outcomes.append(landscape.solve(low + width * choice.point))
            looks += 1
            runner = face(runners[number], runners, field)
            stopped = None
            aim = len(runner.seen) + choice.documents
            while True:
                at = len(runner.seen)
                chosen = runner.order.documents[at : min(aim, at + racing.chunk)]
                runner = advance(runner, outcomes[number][chosen], racing, field)
                spent += len(chosen)
                if runner.stopped:
                    rival = incumbent_of(runners, field)
                    assert rival is not None
                    stopped = (low + width * runner.point, low + width * runners[rival].point)
                if len(runner.seen) >= aim or runner.stopped or runner.is_complete:
                    break
                if is_left(runner, runners, racing, field):
                    break
            runners[number] = runner
            state = survey(runners, racing, field)
            done = 0 if state.leader is None else len(runners[state.leader].seen)
            owed = landscape.count - done
            yield Step(spent, low + width * state.best, owed, stopped, tuple(runners))

    return run


def random_full(landscape: Landscape, seed: int) -> Iterator[Step]:
    """Random points, all documents."""
    generator = np.random.default_rng(seed)
    low, high = landscape.bounds.T
    best, score, spent = low, -math.inf, 0
    while True:
        point = generator.uniform(low, high)
        found = float(landscape.solve(point).mean())
        spent += landscape.count
        if found > score:
            best, score = point, found
        yield Step(spent, best)


def cmaes_full(landscape: Landscape, seed: int) -> Iterator[Step]:
    """CMA-ES with all documents for every candidate, as mergekit-evolve does.

    Hansen 2016, arXiv:1604.00772, with its default settings; from the checkpoints' mean, with a step
    of a sixth of the bounds' width. Points out of bounds are drawn again.
    """
    generator = np.random.default_rng(seed)
    low, high = landscape.bounds.T
    d = len(low)
    mean, sigma = (np.full(d, 1 / landscape.checkpoints) - low) / (high - low), 1 / 6
    size = 4 + int(3 * math.log(d))
    raw = math.log((size + 1) / 2) - np.log(np.arange(1, size + 1))
    mu = size // 2
    weights = raw[:mu] / raw[:mu].sum()
    effective = 1 / (weights**2).sum()
    c_sigma = (effective + 2) / (d + effective + 5)
    d_sigma = 1 + 2 * max(0.0, math.sqrt((effective - 1) / (d + 1)) - 1) + c_sigma
    c_c = (4 + effective / d) / (d + 4 + 2 * effective / d)
    c_1 = 2 / ((d + 1.3) ** 2 + effective)
    c_mu = min(1 - c_1, 2 * (effective - 2 + 1 / effective) / ((d + 2) ** 2 + effective))
    chi = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))
    covariance, path_s, path_c = np.eye(d), np.zeros(d), np.zeros(d)
    best, top, spent, generation = mean, -math.inf, 0, 0
    while True:
        generation += 1
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 1e-20))
        drawn, scores = [], []
        for _ in range(size):
            for _ in range(100):
                y = root @ generator.normal(size=d)
                x = mean + sigma * y
                if ((x >= 0) & (x <= 1)).all():
                    break
            x = np.clip(x, 0, 1)
            score = float(landscape.solve(low + (high - low) * x).mean())
            spent += landscape.count
            drawn.append((x - mean) / sigma)
            scores.append(score)
            if score > top:
                best, top = x, score
            yield Step(spent, low + (high - low) * best)
        ranked = np.array(drawn)[np.argsort(-np.array(scores), kind="stable")[:mu]]
        move = weights @ ranked
        mean = mean + sigma * move
        inverse = vectors / np.sqrt(np.maximum(values, 1e-20)) @ vectors.T
        path_s = (1 - c_sigma) * path_s + math.sqrt(
            c_sigma * (2 - c_sigma) * effective
        ) * inverse @ move
        length = float(np.linalg.norm(path_s))
        small = (
            length / math.sqrt(1 - (1 - c_sigma) ** (2 * generation)) < (1.4 + 2 / (d + 1)) * chi
        )
        path_c = (1 - c_c) * path_c + small * math.sqrt(c_c * (2 - c_c) * effective) * move
        lost = (1 - small) * c_c * (2 - c_c)
        covariance = (
            (1 - c_1 - c_mu + c_1 * lost) * covariance
            + c_1 * np.outer(path_c, path_c)
            + c_mu * (ranked.T * weights) @ ranked
        )
        sigma *= math.exp(c_sigma / d_sigma * (length / chi - 1))
        sigma = min(sigma, 1.0)


def optuna_gp(*, wilcoxon: bool, known: bool, p_threshold: float = 0.1) -> Method:
    """Optuna's GPSampler, on all documents or with WilcoxonPruner's rule after every document.

    A pruned trial is told its mean so far, as the pruner's documentation advises. With `known` the
    search begins with our known points, else with Optuna's 10 random ones.
    """

    def run(landscape: Landscape, seed: int) -> Iterator[Step]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        start = known_points(landscape) if known else []
        sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=len(start) or 10)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        names = landscape.names
        for point in start:
            study.enqueue_trial(dict(zip(names, map(float, point), strict=True)))
        space: dict[str, BaseDistribution] = {
            n: FloatDistribution(float(low), float(high))
            for n, (low, high) in zip(names, landscape.bounds, strict=True)
        }
        generator = np.random.default_rng(seed)
        spent = 0
        best: tuple[float, Floats, dict[int, float], Floats] | None = None
        while True:
            trial = study.ask(space)
            point = np.array([trial.params[n] for n in names])
            outcome = landscape.solve(point)
            order = generator.permutation(landscape.count)
            values = outcome[order]
            count, stopped = landscape.count, None
            if wilcoxon and best is not None:
                others = np.array([best[2].get(int(i), np.nan) for i in order])
                count = pruned_at(values, others, best[0], p_threshold) or landscape.count
                if count < landscape.count:
                    stopped = (point, best[3])
            spent += count
            mean = float(values[:count].mean())
            study.tell(trial, mean)
            if best is None or mean > best[0]:
                seen = {int(i): float(v) for i, v in zip(order[:count], values, strict=False)}
                best = (mean, point, seen, point)
            yield Step(spent, best[1], 0, stopped)

    return run


def pruned_at(values: Floats, best: Floats, best_mean: float, threshold: float) -> int | None:
    """Document after which optuna.pruners.WilcoxonPruner would prune; None for never.

    Its test, `scipy.stats.wilcoxon(..., zero_method="zsplit")`, for differences of -1, 0 and 1 at all
    numbers of documents at once, by the normal approximation that scipy uses where there are ties.

    Args:
        values: the trial's, 0 or 1, in order, shape (n,).
        best: the best trial's on the same documents, NaN where it has none, shape (n,).
        best_mean: of the best trial.
        threshold: of the p-value.
    """
    difference = np.nan_to_num(values - best)
    n = (~np.isnan(best)).cumsum().astype(float)
    won, lost = (difference > 0).cumsum(), (difference < 0).cumsum()
    zero = n - won - lost
    moved = won + lost
    rank_zero, rank_moved = (zero + 1) / 2, zero + (moved + 1) / 2
    plus = rank_moved * won + rank_zero * zero / 2
    mean = n * (n + 1) / 4
    square = n * (n + 1) * (2 * n + 1) - (zero**3 - zero) / 2 - (moved**3 - moved) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (plus - mean) / np.sqrt(square / 24)
    p = np.nan_to_num(stats.norm.cdf(z), nan=1.0)
    running = values.cumsum() / np.arange(1, len(values) + 1)
    hits = np.flatnonzero((p < threshold) & (n >= 2) & (best_mean > running))
    return int(hits[0]) + 1 if len(hits) else None
