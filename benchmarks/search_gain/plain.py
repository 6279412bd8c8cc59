"""What people do without a search: fixed points, lines and grids, each point scored on all search documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.landscape import Floats

from .half import Half

Points = Callable[[Half], Sequence[Floats]]

LOW, HIGH = 0.3, 2.4  # of grids in the coefficients
ALPHAS = (0.0, 2.0)  # of grids in alpha and beta


def in_coefficients(side: int) -> Points:
    """A grid in two coefficients; with more checkpoints as many equal mixes, for a grid would be a cube."""

    def points(half: Half) -> list[Floats]:
        few = half.landscape.checkpoints
        if few != 2:
            return [half.spread([c] * few) for c in np.linspace(LOW, HIGH, side * side)]
        axis = np.linspace(LOW, HIGH, side)
        return [half.spread([a, b]) for a in axis for b in axis]

    return points


def in_alpha_beta(side: int) -> Points:
    """A grid in alpha and the first checkpoint's share; the others share the rest evenly."""

    def points(half: Half) -> list[Floats]:
        few = half.landscape.checkpoints
        found = []
        for alpha in np.linspace(*ALPHAS, side):
            for beta in np.linspace(0, 1, side):
                shares = [beta, *[(1 - beta) / (few - 1)] * (few - 1)]
                found.append(half.spread([(1 + alpha) * share for share in shares]))
        return found

    return points


def equal_mix(alphas: Sequence[float]) -> Points:
    """Equal shares of all checkpoints, extrapolated by alpha."""

    def points(half: Half) -> list[Floats]:
        few = half.landscape.checkpoints
        return [half.spread([(1 + alpha) / few] * few) for alpha in alphas]

    return points


def expo(alphas: Sequence[float]) -> Points:
    """Each checkpoint alone, extrapolated by alpha."""

    def points(half: Half) -> list[Floats]:
        return [(1 + alpha) * one for alpha in alphas for one in half.inputs]

    return points


def fixed(value: float) -> Points:
    """The same coefficient for every checkpoint."""

    def points(half: Half) -> list[Floats]:
        return [half.spread([value] * half.landscape.checkpoints)]

    return points


def inputs(half: Half) -> Sequence[Floats]:
    """No merge at all."""
    return half.inputs


PLAIN: Mapping[str, Points] = {
    "best input": inputs,
    "fixed (1, 1)": fixed(1.0),
    "fixed (1.5, 1.5)": fixed(1.5),
    **{f"{k} x {k} grid in coefficients": in_coefficients(k) for k in (3, 4, 5)},
    **{f"{k} x {k} grid in alpha and beta": in_alpha_beta(k) for k in (3, 4, 5)},
    **{f"equal mix, {k} alphas": equal_mix(np.linspace(0.5, 3, k).tolist()) for k in (2, 4, 8, 20)},
    **{f"ExPO, {k} alphas": expo(np.linspace(0.3, 1.5, k).tolist()) for k in (1, 2, 4, 10)},
}


def named(points: Sequence[Floats], half: Half) -> Floats:
    """The one that scores most on the search documents; the first of equals. A single one needs no score."""
    if len(points) == 1:
        return points[0]
    return points[int(np.argmax([half.score(p) for p in points]))]


def cost(points: Sequence[Floats]) -> float:
    """Budget that naming one takes, in times all search documents."""
    return 0.0 if len(points) == 1 else float(len(points))
