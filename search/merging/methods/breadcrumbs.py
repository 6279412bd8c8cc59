"""Breadcrumbs: without the largest and the smallest elements of every delta.

    d_i = theta_i - base where its magnitude is neither among its tensor's `gamma` largest nor below
          the `density` largest that follow them, else 0
    candidate = base + sum_i c_i d_i

Elements as large as one of the two limits are kept.

Source: Davari and Belilovsky 2024, arXiv:2312.06795, sec. 3.
"""

from __future__ import annotations

import math

from .method import Facts, KnownPoint, Mask, MaskingMethod, Parameter, Parameters


class Breadcrumbs(MaskingMethod):
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
    def keeps_all(cls, parameters: Parameters) -> bool:
        """See `MaskingMethod.keeps_all`."""
        return parameters["density"] >= 1 and parameters["gamma"] <= 0

    @classmethod
    def mask(cls, checkpoint: str, parameters: Parameters, facts: Facts) -> Mask:
        """See `MaskingMethod.mask`; a density that leaves no room for gamma wins over the dust."""
        gamma = parameters["gamma"]
        last = min(1.0, parameters["density"] + gamma)
        return Mask(
            low=facts.magnitude(checkpoint, last) if last < 1 else 0.0,
            high=facts.magnitude_below(checkpoint, gamma) if gamma > 0 else math.inf,
        )
