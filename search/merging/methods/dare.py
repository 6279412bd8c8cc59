"""DARE: drop and rescale.

    m ~ Bernoulli(density), per element;  d_i = m (theta_i - base) / density
    DARE-linear:  candidate = base + sum_i c_i d_i
    DARE-TIES:    the same d_i, merged where they agree in sign, as in TIES

`density` is one minus the paper's drop rate p. Draws are a function of the candidate's seed, the
tensor's and the checkpoint's names and the element's place (`draws.py`): the same candidate is the
same model on every machine.

Source: Yu et al. 2024, arXiv:2311.03099, eq. 3 and 4.
"""

from __future__ import annotations

from .method import Facts, KnownPoint, Mask, MaskingMethod, Parameter, Parameters


class DareLinear(MaskingMethod):
    """Randomly thinned and rescaled task vectors, added."""

    name = "dare_linear"
    title = "DARE-linear"
    paper = "arXiv:2311.03099"
    own = (Parameter("density", 0.05, 1.0, 1.0, "chance of an element to be kept, then rescaled"),)
    is_random = True

    def starts(self) -> list[KnownPoint]:
        """Half and a tenth of the elements; the paper drops up to nine in ten."""
        return [
            KnownPoint(f"{self.title} {density}", self.mean(), {"density": density}, self.name)
            for density in (0.5, 0.1)
        ]

    @classmethod
    def mask(cls, checkpoint: str, parameters: Parameters, facts: Facts) -> Mask:
        """See `MaskingMethod.mask`."""
        return Mask(keep=parameters["density"], key=facts.key(checkpoint))


class DareTies(DareLinear):
    """Randomly thinned and rescaled task vectors, merged where they agree in sign."""

    name = "dare_ties"
    title = "DARE-TIES"
    elects = True
