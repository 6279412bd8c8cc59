"""What a merge method is: a space of parameters, and an instruction for every tensor.

Every method is base + sum_i c_i * m_i(theta_i - base). A method says which coefficients c_i and masks
m_i a tensor has, from its parameters and from what is known of the tensor's deltas (`Facts`); the
arithmetic over the elements is shared (`plain.py`, `kernel.c`). Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

Coefficients = Mapping[str, float]
Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Mask:
    """Which elements of a delta are kept; those that are drawn are divided by their chance.

    Attributes:
        low: smallest magnitude that is kept; `high` the largest.
        keep: chance of an element to be kept; 1 keeps all.
        slope: added to the chance for every 255th of the element's rank in its row.
        key: of the draws, see `draws.py`; 0, 0 where nothing is drawn.
    """

    low: float = 0.0
    high: float = math.inf
    keep: float = 1.0
    slope: float = 0.0
    key: tuple[int, int] = (0, 0)

    @property
    def keeps_all(self) -> bool:
        """Whether it is no mask at all."""
        return self == KEEP_ALL


KEEP_ALL = Mask()


@dataclass(frozen=True)
class Term:
    """One checkpoint's part in a tensor: its effective coefficient and its mask."""

    checkpoint: str
    coefficient: float
    mask: Mask = KEEP_ALL


@dataclass(frozen=True)
class Merge:
    """How one tensor of a candidate is made; equal instructions make equal bits.

    Attributes:
        terms: checkpoints whose coefficient is not zero, in the order of their names.
        elects: signs are elected and those that agree averaged (TIES), instead of a plain sum.
    """

    terms: tuple[Term, ...]
    elects: bool = False

    def __post_init__(self) -> None:
        if len(self.terms) < 2:  # a checkpoint by itself always agrees with itself
            object.__setattr__(self, "elects", False)

    @property
    def copy_of(self) -> str | None:
        """``base`` or the checkpoint that this is, bit for bit; None for a true merge."""
        if not self.terms:
            return "base"
        first = self.terms[0]
        alone = len(self.terms) == 1 and first.coefficient == 1.0 and first.mask.keeps_all
        return first.checkpoint if alone else None


class Facts(Protocol):
    """What is known of one tensor's deltas, found out once per study."""

    def magnitude(self, checkpoint: str, share: float) -> float:
        """The smallest magnitude among a share of a delta's elements, the largest of them.

        Args:
            checkpoint: whose delta.
            share: of the elements, at least one of them; in steps of 0.001.
        """
        ...

    def magnitude_below(self, checkpoint: str, share: float) -> float:
        """The largest magnitude that is not among that share; the share may be no element."""
        ...

    def cosine(self, one: str, other: str) -> float:
        """Cosine of the angle between two deltas; 0 where one of them is zero."""
        ...

    def key(self, checkpoint: str) -> tuple[int, int]:
        """Key of the draws for this tensor of this checkpoint, from the candidate's seed."""
        ...


@dataclass(frozen=True)
class Parameter:
    """A method's own parameter, which the sampler proposes beside the coefficients.

    Attributes:
        name: as the study and the recipe name it.
        low: lowest value; `high` the highest.
        neutral: the value at which the method leaves deltas as they are.
        meaning: in a few words.
    """

    name: str
    low: float
    high: float
    neutral: float
    meaning: str


@dataclass(frozen=True)
class KnownPoint:
    """A point that every search tries first.

    Attributes:
        name: as people read it, e.g. ``mean``.
        coefficients: its effective coefficients.
        parameters: of the method; neutral where they are not named.
        method: whose point it is; None where any will do.
        grouped: effective coefficients by group; empty where all groups have the same.
    """

    name: str
    coefficients: Coefficients
    parameters: Parameters = field(default_factory=dict)
    method: str | None = None
    grouped: Mapping[str, Coefficients] = field(default_factory=dict)


class Method:
    """A merge method: base of all methods, and what most of them share.

    Args:
        checkpoints: their names, in the study's order.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    own: ClassVar[tuple[Parameter, ...]] = ()
    extrapolates: ClassVar[bool] = True
    is_random: ClassVar[bool] = False

    def __init__(self, checkpoints: Sequence[str]) -> None:
        self.check(checkpoints)
        self.checkpoints = tuple(checkpoints)

    @classmethod
    def check(cls, checkpoints: Sequence[str]) -> None:
        """Refuse a number of checkpoints that the method is not made for, with a ValueError."""

    # The space -----------------------------------------------------------------------------------

    def parameters(self) -> tuple[str, ...]:
        """Names of the proposals from which coefficients are made: here the coefficients."""
        return self.checkpoints

    def to_coefficients(self, parameters: Parameters) -> dict[str, float]:
        """Effective coefficients of a proposal."""
        return {name: parameters[name] for name in self.checkpoints}

    def to_parameters(self, coefficients: Coefficients) -> dict[str, float]:
        """Inverse of `to_coefficients`."""
        return {name: coefficients[name] for name in self.checkpoints}

    def default_bounds(self, low: float, high: float) -> dict[str, tuple[float, float]]:
        """Bounds of every such proposal when the study states them for coefficients."""
        return dict.fromkeys(self.parameters(), (low, high))

    def starts(self) -> list[KnownPoint]:
        """The paper's own settings, tried after the inputs and their mean."""
        return []

    def mean(self, total: float = 1.0) -> dict[str, float]:
        """Equal coefficients that add up to `total`."""
        return dict.fromkeys(self.checkpoints, total / len(self.checkpoints))

    # The instructions ----------------------------------------------------------------------------

    @classmethod
    def is_plain(cls, coefficients: Coefficients, parameters: Parameters) -> bool:
        """Whether the plain sum of the deltas is what this method makes, too."""
        return True

    @classmethod
    def instruct(cls, coefficients: Coefficients, parameters: Parameters, facts: Facts) -> Merge:
        """The instruction for one tensor.

        Args:
            coefficients: of the checkpoints that take part, none zero, in the order of their names.
        """
        return Merge(tuple(Term(name, c) for name, c in coefficients.items()))


class MaskingMethod(Method):
    """A method that masks every delta, then adds them, or merges them where they agree in sign (`elects`, as TIES does)."""

    elects: ClassVar[bool] = False

    @classmethod
    def keeps_all(cls, parameters: Parameters) -> bool:
        """Whether no element is left out at these parameters."""
        return parameters["density"] >= 1

    @classmethod
    def mask(cls, checkpoint: str, parameters: Parameters, facts: Facts) -> Mask:
        """Which elements of a checkpoint's delta in this tensor are kept, where some are not."""
        raise NotImplementedError

    @classmethod
    def is_plain(cls, coefficients: Coefficients, parameters: Parameters) -> bool:
        """When nothing is left out, with nobody to disagree with."""
        whole = cls.keeps_all(parameters) and (not cls.elects or is_alone(coefficients))
        return whole or not any(coefficients.values())

    @classmethod
    def instruct(cls, coefficients: Coefficients, parameters: Parameters, facts: Facts) -> Merge:
        """See `Method.instruct`."""
        whole = cls.keeps_all(parameters)
        terms = [
            Term(name, c, KEEP_ALL if whole else cls.mask(name, parameters, facts))
            for name, c in coefficients.items()
        ]
        return Merge(tuple(terms), elects=cls.elects)


def is_alone(coefficients: Coefficients) -> bool:
    """Whether at most one checkpoint takes part."""
    return sum(c != 0 for c in coefficients.values()) <= 1
