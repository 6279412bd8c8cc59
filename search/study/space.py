"""The space that a search works in, and how its points are written for people.

The sampler proposes coefficients, one per checkpoint and group of tensors, the method's own
parameters, and the method itself where the study names several. A method maps them to the effective
coefficients c_i of ``base + sum_i c_i * m_i(theta_i - base)``. Candidates are compared by c. People read alpha and beta
under this convention: one alpha for all checkpoints,

    1 + alpha = sum_i c_i        beta_i = c_i / (1 + alpha)

so that c_i = beta_i * (1 + alpha): the mix beta of the checkpoints, extrapolated by alpha from the
base. Where a coefficient is below 0, or all are next to 0, there is no mix to be extrapolated, and none is shown
(0.7 and -0.6 would read as shares of 7 and -6). ExMe (arXiv:2503.04834) has one alpha per checkpoint; without coefficient groups its three
numbers alpha_1, alpha_2, beta describe the same two coefficients, and this choice of them is unique.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exme.search.merging import Candidate, Spec, joint
from exme.search.merging.methods import (
    METHODS,
    PLAIN,
    KnownPoint,
    Method,
    Parameter,
    TaskArithmetic,
)
from exme.tasks import UserError

# Extrapolation strengths at which ExPO starts (arXiv:2404.16792, sec. 3: 0.3 and 0.5 were the best
# values for most of its models).
EXPO_STARTS = (0.3, 0.5)

_ALONE = " alone"


# Coefficients that add up to less are no mix to speak of: the candidate is next to the base.
LEAST_MIX = 0.1


@dataclass(frozen=True)
class Reading:
    """Coefficients as people read them.

    Attributes:
        alpha: shared extrapolation, sum of the coefficients minus one; 0 is interpolation. None where the
            coefficients are no mix: one is below 0, or they add up to less than `LEAST_MIX`.
        beta: share of each checkpoint; None where alpha is.
        is_base: all coefficients are 0.
    """

    alpha: float | None
    beta: Mapping[str, float] | None
    is_base: bool = False

    def __str__(self) -> str:
        if self.is_base:
            return "the base"
        if self.alpha is None or self.beta is None:
            return ""
        shares = " ".join(f"{value:.2f}" for value in self.beta.values())
        return f"alpha {round(self.alpha, 2) + 0.0:+.2f}, beta {shares}"  # (never -0.00)


def read(coefficients: Mapping[str, float]) -> Reading:
    """alpha and beta of effective coefficients, by the convention above."""
    total, least = sum(coefficients.values()), min(coefficients.values(), default=0.0)
    if least < 0 or total < LEAST_MIX:
        return Reading(None, None, is_base=not any(coefficients.values()))
    return Reading(total - 1, {name: c / total for name, c in coefficients.items()})


Bounds = Mapping[str, tuple[float, float]]
Value = float | str

METHOD = "method"


class Space:
    """All that a search may propose.

    Args:
        methods: of the study; the first stands for what they share.
        groups: labels of the groups of tensors, empty without groups.
        spec: the groups as the study says them.
        seed: of the methods' random parts.

    Raises:
        UserError: a method does not fit the checkpoints, or the others.
    """

    def __init__(
        self,
        methods: Sequence[str],
        checkpoints: Sequence[str],
        *,
        groups: Sequence[str] = (),
        spec: Spec | None = None,
        seed: int = 0,
    ) -> None:
        self.methods = {name: METHODS[name](checkpoints) for name in methods}
        self.first: Method = next(iter(self.methods.values()))
        self.groups, self._spec, self._seed = tuple(groups), spec or {}, seed
        for name, method in self.methods.items():
            if len(methods) > 1 and (method.parameters() != method.checkpoints or name == "expo"):
                raise UserError(
                    f"method '{name}' cannot be one of several, for it has proposals of its own; "
                    f"use `exme`, whose sums include its own"
                )
        for name in self.own:
            if name in checkpoints:
                raise UserError(
                    f"checkpoint name '{name}' is that of a parameter of {', '.join(methods)}, too; give the "
                    f"checkpoint another"
                )

    @property
    def own(self) -> dict[str, Parameter]:
        """The methods' own parameters by name; methods that share a name share the parameter."""
        found: dict[str, Parameter] = {}
        for method in self.methods.values():
            for parameter in method.own:
                found.setdefault(parameter.name, parameter)
        return found

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the proposals from which coefficients are made."""
        names = self.first.parameters()
        if not self.groups:
            return names
        return tuple(joint(name, group) for group in self.groups for name in names)

    @property
    def is_special(self) -> bool:
        """Whether there is more to propose than one coefficient per checkpoint."""
        return bool(self.groups or self.own or self.choices)

    @property
    def size(self) -> str:
        """How large the space is, in a sentence."""
        count = len(self.coefficients)
        parts = [f"{count} coefficient{'s' * (count != 1)}"]
        if self.groups:
            parts[0] += (
                f" ({len(self.first.parameters())} in each of {len(self.groups)} groups: "
                f"{', '.join(self.groups)})"
            )
        parts += [f"{p.name} ({p.meaning})" for p in self.own.values()]
        if len(self.methods) > 1:
            parts.append(f"the method ({', '.join(self.methods)})")
        total = count + len(self.own) + (len(self.methods) > 1)
        return f"The search has {total} parameter{'s' * (total != 1)}: {', '.join(parts)}."

    def bounds(self, low: float, high: float) -> dict[str, tuple[float, float]]:
        """Bounds of every number when the study states them for coefficients."""
        inner = self.first.default_bounds(low, high)
        found = dict(inner)
        if self.groups:
            found = {joint(n, group): b for group in self.groups for n, b in inner.items()}
        return found | {p.name: (p.low, p.high) for p in self.own.values()}

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """What is chosen rather than measured: the method, where there are several."""
        return {METHOD: tuple(self.methods)} if len(self.methods) > 1 else {}

    def to_parameters(
        self,
        coefficients: Mapping[str, float],
        parameters: Mapping[str, float] | None = None,
        *,
        method: str | None = None,
        grouped: Mapping[str, Mapping[str, float]] | None = None,
    ) -> dict[str, Value]:
        """The proposal that makes these coefficients; the same in every group that is not named."""
        found: dict[str, Value] = {}
        for group in self.groups or ("",):
            values = (grouped or {}).get(group, coefficients)
            for name, value in self.first.to_parameters(values).items():
                found[joint(name, group) if group else name] = value
        given = parameters or {}
        found |= {name: given.get(name, p.neutral) for name, p in self.own.items()}
        if self.choices:
            found[METHOD] = method if method in self.methods else self.first.name
        return found

    def of_point(self, point: KnownPoint) -> dict[str, Value]:
        """The proposal that makes a known point."""
        return self.to_parameters(
            point.coefficients, point.parameters, method=point.method, grouped=point.grouped
        )

    def of_candidate(self, candidate: Candidate) -> dict[str, Value]:
        """The proposal that makes a candidate."""
        return self.to_parameters(
            candidate.coefficients,
            candidate.parameters,
            method=candidate.method,
            grouped=candidate.grouped,
        )

    def candidate(
        self, proposal: Mapping[str, Value], *, dtype: str, sources: Mapping[str, str]
    ) -> Candidate:
        """The candidate of a proposal; one that is a plain sum is called that, whoever proposed it."""
        method = self.methods[str(proposal.get(METHOD, self.first.name))]
        numbers = {n: float(v) for n, v in proposal.items() if not isinstance(v, str)}
        # Facts of tensors are kept for every thousandth.
        own = {p.name: round(numbers[p.name], 3) for p in method.own}
        grouped = {
            group: method.to_coefficients(
                {name: numbers[joint(name, group)] for name in method.parameters()}
            )
            for group in self.groups
        }
        coefficients = {} if grouped else method.to_coefficients(numbers)
        name, seed = method.name, self._seed if method.is_random else 0
        if name not in PLAIN and all(
            method.is_plain(values, own) for values in grouped.values() or [coefficients]
        ):
            name, seed, own = TaskArithmetic.name, 0, {}
        return Candidate(
            coefficients, name, dtype, sources, seed, own, self._spec if grouped else {}, grouped
        )


def unit(checkpoints: Sequence[str], name: str, value: float = 1.0) -> dict[str, float]:
    """`value` for one checkpoint, 0 for the others."""
    return {n: value if n == name else 0.0 for n in checkpoints}


def alone(name: str) -> str:
    """Origin of the trial of a checkpoint by itself: ``sums alone``."""
    return f"{name}{_ALONE}"


def name_alone(origin: str) -> str:
    """The checkpoint of such a trial; empty for other origins."""
    return origin.removesuffix(_ALONE) if origin.endswith(_ALONE) else ""


def first_points(method: Method) -> list[KnownPoint]:
    """Known points that need no score: every checkpoint alone, and their mean."""
    names = method.checkpoints
    mean = [KnownPoint("mean", method.mean())] if len(names) > 1 else []
    return [*(KnownPoint(alone(name), unit(names, name)) for name in names), *mean]


def expo_points(method: Method, best: str) -> list[KnownPoint]:
    """ExPO of the best checkpoint alone; none for a method that cannot extrapolate."""
    if not method.extrapolates:
        return []
    return [
        KnownPoint(f"ExPO {alpha} of {best}", unit(method.checkpoints, best, 1 + alpha))
        for alpha in EXPO_STARTS
    ]
