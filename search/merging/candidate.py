"""A candidate: everything that decides its weights, in a value that travels."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .methods import PLAIN

# Effective coefficients are rounded to this many decimals: finer differences change no bfloat16
# weight that matters, and equal candidates then have equal digests.
DECIMALS = 4


Coefficients = Mapping[str, float]


@dataclass(frozen=True)
class Candidate:
    """base + sum_i c_i * m_i(theta_i - base), with what is needed to make it again.

    Attributes:
        coefficients: effective coefficient c_i of each checkpoint by its name, dimensionless; where
            there are groups, their mean over the groups, for people to read.
        method: the merge method; among methods that make plain sums it changes how candidates are
            shown, not the weights.
        dtype: dtype to which the weights are rounded once, e.g. ``bfloat16``.
        sources: fingerprint (SHA-256) of the base (key ``base``) and of each checkpoint.
        seed: seed of the method's random parts; 0 where it has none.
        parameters: the method's own parameters, e.g. its ``density``.
        groups: how tensors are grouped, as the study says it (`Groups`); empty without groups.
        grouped: effective coefficients by group and checkpoint; empty without groups. Groups that
            all have the same coefficients are no groups.
    """

    coefficients: Coefficients
    method: str
    dtype: str
    sources: Mapping[str, str]
    seed: int = 0
    parameters: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)
    grouped: Mapping[str, Coefficients] = field(default_factory=dict)

    def __post_init__(self) -> None:
        grouped = {label: _rounded(values) for label, values in self.grouped.items()}
        coefficients: Coefficients = self.coefficients
        groups: Mapping[str, Any] = dict(self.groups)
        if grouped:
            first = next(iter(grouped.values()))
            coefficients = {
                name: sum(values[name] for values in grouped.values()) / len(grouped)
                for name in first
            }
            if all(values == first for values in grouped.values()):
                coefficients, grouped = first, {}
        object.__setattr__(self, "coefficients", _rounded(coefficients))
        object.__setattr__(self, "parameters", _rounded(self.parameters) or _NONE)
        object.__setattr__(self, "groups", groups if grouped else _NONE)
        object.__setattr__(self, "grouped", grouped or _NONE)

    @property
    def in_words(self) -> str:
        """``sums 0.72 products 2.51``, with the method and its parameters where it is more than a sum."""
        own = "".join(f" {name} {value:g}" for name, value in self.parameters.items())
        method = "" if self.method in PLAIN else f" {self.method}{own}"
        groups = f" (means of {len(self.grouped)} groups)" if self.grouped else ""
        return (
            " ".join(f"{name} {c:.2f}" for name, c in self.coefficients.items()) + groups + method
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what decides the weights, 16 hexadecimal digits; names of sums are not part."""
        decisive = self.to_json()
        if self.method in PLAIN:
            del decisive["method"]
        text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse. What is empty is left out."""
        content: dict[str, Any] = {
            "coefficients": dict(self.coefficients),
            "method": self.method,
            "dtype": self.dtype,
            "sources": dict(self.sources),
            "seed": self.seed,
        }
        if self.parameters:
            content["parameters"] = dict(self.parameters)
        if self.grouped:
            content["groups"] = dict(self.groups)
            content["grouped"] = {label: dict(values) for label, values in self.grouped.items()}
        return content

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        """Inverse of `to_json`."""
        return cls(
            coefficients=data["coefficients"],
            method=data["method"],
            dtype=data["dtype"],
            sources=data["sources"],
            seed=int(data.get("seed", 0)),
            parameters=data.get("parameters", {}),
            groups=data.get("groups", {}),
            grouped=data.get("grouped", {}),
        )


# One for all: a study holds thousands of candidates, and most have neither groups nor parameters of their own.
_NONE: dict[str, Any] = {}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Finite numbers, rounded."""
    rounded = {}
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"coefficient of '{name}' is {value}")
        rounded[sys.intern(name)] = round(float(value), DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    return rounded
