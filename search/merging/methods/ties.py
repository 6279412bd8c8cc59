"""TIES: trim, elect signs, merge disjointly.

    d_i = (theta_i - base) where |theta_i - base| is among its tensor's `density` largest, else 0
    gamma = sign(sum_i c_i d_i), per element; A = {i: sign(c_i d_i) = gamma}
    candidate = base + lambda sum_{i in A} c_i d_i / sum_{i in A} |c_i|,  lambda = sum_i |c_i|

The paper weighs all checkpoints equally and has lambda beside them: c_i = lambda / k is the paper,
and 1 + alpha, as people read the coefficients, is its lambda. The trim is per tensor, as in mergekit;
the paper's code ranks all elements of a model together. Elements as large as the smallest that is
kept are all kept.

Source: Yadav et al. 2023, arXiv:2306.01708, sec. 3.2.
"""

from __future__ import annotations

from .method import Facts, KnownPoint, Mask, MaskingMethod, Parameter, Parameters


class Ties(MaskingMethod):
    """Trimmed task vectors, merged where they agree in sign."""

    name = "ties"
    title = "TIES"
    paper = "arXiv:2306.01708"
    own = (Parameter("density", 0.05, 1.0, 1.0, "share of every delta's elements that is kept"),)
    elects = True

    def starts(self) -> list[KnownPoint]:
        """The paper's: the largest fifth, lambda = 1."""
        return [KnownPoint("TIES 0.2", self.mean(), {"density": 0.2}, self.name)]

    @classmethod
    def mask(cls, checkpoint: str, parameters: Parameters, facts: Facts) -> Mask:
        """See `MaskingMethod.mask`."""
        return Mask(low=facts.magnitude(checkpoint, parameters["density"]))
