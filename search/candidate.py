"""A candidate: everything that decides its weights, in a value that travels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Effective coefficients are rounded to this many decimals: finer differences change no bfloat16
# weight that matters, and equal candidates then have equal digests.
DECIMALS = 4


@dataclass(frozen=True)
class Candidate:
    """base + sum_i c_i * (theta_i - base), with what is needed to make it again.

    Attributes:
        coefficients: effective coefficient c_i of each checkpoint by its name, dimensionless.
        method: the merge method that proposed them; changes how they are shown, not the weights.
        dtype: dtype to which the weights are rounded once, e.g. ``bfloat16``.
        sources: fingerprint (SHA-256) of the base (key ``base``) and of each checkpoint.
        seed: seed of the method's random parts; 0 where it has none.
    """

    coefficients: Mapping[str, float]
    method: str
    dtype: str
    sources: Mapping[str, str]
    seed: int = 0

    def __post_init__(self) -> None:
        rounded = {}
        for name, value in self.coefficients.items():
            if not math.isfinite(value):
                raise ValueError(f"coefficient of '{name}' is {value}")
            rounded[name] = round(float(value), DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
        object.__setattr__(self, "coefficients", rounded)

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the weights, 16 hexadecimal digits; the method is not part."""
        decisive = self.to_json()
        del decisive["method"]
        text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse."""
        return {
            "coefficients": dict(self.coefficients),
            "method": self.method,
            "dtype": self.dtype,
            "sources": dict(self.sources),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        """Inverse of `to_json`."""
        return cls(
            coefficients=data["coefficients"],
            method=data["method"],
            dtype=data["dtype"],
            sources=data["sources"],
            seed=int(data.get("seed", 0)),
        )
