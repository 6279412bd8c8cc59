"""The space that a search works in, and how its points are written for people.

A method maps the parameters that the sampler proposes to the effective coefficients c_i of
``base + sum_i c_i * (theta_i - base)``. Candidates are compared by c. People read alpha and beta
under this convention: one alpha for all checkpoints,

    1 + alpha = sum_i c_i        beta_i = c_i / (1 + alpha)

so that c_i = beta_i * (1 + alpha): the mix beta of the checkpoints, extrapolated by alpha from the
base. ExMe (arXiv:2503.04834) has one alpha per checkpoint; without coefficient groups its three
numbers alpha_1, alpha_2, beta describe the same two coefficients, and this choice of them is unique.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exme.tasks.errors import UserError

# Extrapolation strengths at which ExPO starts (arXiv:2404.16792, sec. 3: 0.3 and 0.5 were the best
# values for most of its models).
EXPO_STARTS = (0.3, 0.5)

# The best lies on a bound when it is within this share of the interval's width from it.
EDGE = 0.02


@dataclass(frozen=True)
class Reading:
    """Coefficients as people read them.

    Attributes:
        alpha: shared extrapolation, sum of the coefficients minus one; 0 is interpolation.
        beta: share of each checkpoint; None where the coefficients add up to zero.
    """

    alpha: float
    beta: Mapping[str, float] | None

    def __str__(self) -> str:
        if self.beta is None:
            return f"alpha {self.alpha:+.2f}"
        shares = " ".join(f"{value:.2f}" for value in self.beta.values())
        return f"alpha {self.alpha:+.2f}, beta {shares}"


def read(coefficients: Mapping[str, float]) -> Reading:
    """alpha and beta of effective coefficients, by the convention above."""
    total = sum(coefficients.values())
    if abs(total) < 1e-6:  # (no mix to speak of: shares would be arbitrary)
        return Reading(total - 1, None)
    return Reading(total - 1, {name: c / total for name, c in coefficients.items()})


@dataclass(frozen=True)
class KnownPoint:
    """A point that every search tries first.

    Attributes:
        name: as people read it, e.g. ``mean``.
        coefficients: its effective coefficients.
    """

    name: str
    coefficients: Mapping[str, float]


Bounds = Mapping[str, tuple[float, float]]


class ExMe:
    """The checkpoints' task vectors, each with a coefficient of its own (arXiv:2503.04834, eq. 3)."""

    name = "exme"
    widens = True

    def __init__(self, checkpoints: Sequence[str]) -> None:
        self.checkpoints = tuple(checkpoints)

    def parameters(self) -> tuple[str, ...]:
        """Names of what the sampler proposes: here the coefficients themselves."""
        return self.checkpoints

    def to_coefficients(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Effective coefficients of a proposal."""
        return {name: parameters[name] for name in self.checkpoints}

    def to_parameters(self, coefficients: Mapping[str, float]) -> dict[str, float]:
        """Inverse of `to_coefficients`."""
        return {name: coefficients[name] for name in self.checkpoints}

    def default_bounds(self, low: float, high: float) -> dict[str, tuple[float, float]]:
        """Bounds of every parameter when the study states them for coefficients."""
        return dict.fromkeys(self.parameters(), (low, high))


class ExPO(ExMe):
    """One checkpoint, extrapolated from the base: c = 1 + alpha (arXiv:2404.16792, eq. 2)."""

    name = "expo"

    def __init__(self, checkpoints: Sequence[str]) -> None:
        if len(checkpoints) != 1:
            raise UserError(
                f"method 'expo' extrapolates exactly one checkpoint, the study has "
                f"{len(checkpoints)} ({', '.join(checkpoints)}); use `method: exme` for several"
            )
        super().__init__(checkpoints)


class Linear(ExMe):
    """A weighted mean of the checkpoints: coefficients add up to one (Wortsman et al. 2022).

    The sampler proposes, for every checkpoint but the last, its share of what the ones before it
    left over, so that every point of the simplex has one description and none is out of bounds.
    """

    name = "linear"
    widens = False

    def parameters(self) -> tuple[str, ...]:
        """``share of <name>`` for every checkpoint but the last."""
        return tuple(f"share of {name}" for name in self.checkpoints[:-1])

    def to_coefficients(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Effective coefficients of a proposal."""
        left, coefficients = 1.0, {}
        for name in self.checkpoints[:-1]:
            coefficients[name] = left * parameters[f"share of {name}"]
            left -= coefficients[name]
        return coefficients | {self.checkpoints[-1]: left}

    def to_parameters(self, coefficients: Mapping[str, float]) -> dict[str, float]:
        """Inverse of `to_coefficients`; shares of nothing are 0."""
        left, parameters = 1.0, {}
        for name in self.checkpoints[:-1]:
            share = coefficients[name] / left if left > 0 else 0.0
            parameters[f"share of {name}"] = min(max(share, 0.0), 1.0)  # rounding may pass 1
            left -= coefficients[name]
        return parameters

    def default_bounds(self, low: float, high: float) -> dict[str, tuple[float, float]]:
        """Shares run from 0 to 1, whatever the study's bounds."""
        return dict.fromkeys(self.parameters(), (0.0, 1.0))


METHODS: Mapping[str, type[ExMe]] = {m.name: m for m in (ExMe, ExPO, Linear)}


def unit(checkpoints: Sequence[str], name: str, value: float = 1.0) -> dict[str, float]:
    """`value` for one checkpoint, 0 for the others."""
    return {n: value if n == name else 0.0 for n in checkpoints}


def first_points(method: ExMe) -> list[KnownPoint]:
    """Known points that need no score: every checkpoint alone, and their mean."""
    names = method.checkpoints
    points = [KnownPoint(f"{name} alone", unit(names, name)) for name in names]
    if len(names) > 1:
        points.append(KnownPoint("mean", dict.fromkeys(names, 1 / len(names))))
    return points


def expo_points(method: ExMe, best: str) -> list[KnownPoint]:
    """ExPO of the best checkpoint alone; none for a method that cannot extrapolate."""
    if not method.widens:
        return []
    return [
        KnownPoint(f"ExPO {alpha} of {best}", unit(method.checkpoints, best, 1 + alpha))
        for alpha in EXPO_STARTS
    ]


def widen(
    bounds: Bounds, best: Mapping[str, float], limits: tuple[float, float]
) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Move the bounds on which the best point sits half a width further out.

    Args:
        bounds: bounds of each parameter.
        best: the best point so far, by parameter.
        limits: how far bounds may ever go.
    Returns:
        The new bounds, and a sentence for each that moved.
    """
    moved: list[str] = []
    result = {}
    for name, (low, high) in bounds.items():
        width = high - low
        new_low, new_high = low, high
        if best[name] <= low + EDGE * width:
            new_low = min(low, max(limits[0], low - width / 2))
        if best[name] >= high - EDGE * width:
            new_high = max(high, min(limits[1], high + width / 2))
        if (new_low, new_high) != (low, high):
            moved.append(
                f"the best so far has {name} = {best[name]:.2f}, at the edge of "
                f"[{low:g}, {high:g}]: bounds widened to [{new_low:g}, {new_high:g}]"
            )
        result[name] = (new_low, new_high)
    return result, moved
