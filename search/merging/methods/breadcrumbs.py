"""Breadcrumbs: without the largest and the smallest elements of every delta.

    d_i = theta_i - base where its magnitude is neither among its tensor's `gamma` largest nor below
          the `density` largest that follow them, else 0
    candidate = base + sum_i c_i d_i

Elements as large as one of the two limits are kept.

Source: Davari and Belilovsky 2024, arXiv:2312.06795, sec. 3.
"""

from __future__ import annotations

from .method import (
    KEEP_ALL,
    Coefficients,
    Facts,
    KnownPoint,
    Mask,
    Merge,
    Method,
    Parameter,
    Parameters,
    Term,
)


class Breadcrumbs(Method):
    """Task vectors without outliers and without dust, added."""

    name = "breadcrumbs"
    title = "Breadcrumbs"
    paper = "arXiv:2312.06795"
    own = (
        Parameter("density", 0.05, 1.0, 1.0, "share of every delta's elements that is kept"),
        Parameter("gamma", 0.0, 0.1, 0.0, "share of the largest elements that is left out"),
    )

    def starts(self) -> list[KnownPoint]:
        """The paper's: a hundredth of the largest and 85% of the smallest left out."""
        own = {"density": 0.14, "gamma": 0.01}
        return [KnownPoint("breadcrumbs", self.mean(), own, self.name)]

    @classmethod
    def is_plain(cls, coefficients: Coefficients, parameters: Parameters) -> bool:
        """When nothing is left out."""
        whole = parameters["density"] >= 1 and parameters["gamma"] <= 0
        return whole or not any(coefficients.values())

    @classmethod
    def instruct(cls, coefficients: Coefficients, parameters: Parameters, facts: Facts) -> Merge:
        """See `Method.instruct`; a density that leaves no room for gamma wins over the dust."""
        gamma = parameters["gamma"]
        last = min(1.0, parameters["density"] + gamma)
        terms = []
        for name, c in coefficients.items():
            low = facts.magnitude(name, last) if last < 1 else 0.0
            high = facts.magnitude_below(name, gamma) if gamma > 0 else KEEP_ALL.high
            terms.append(Term(name, c, Mask(low=low, high=high)))
        return Merge(tuple(terms))
