"""DELLA: drop by magnitude, elect signs, merge.

    r = rank of |delta| in its row, 0 the smallest, 1 the largest
    m ~ Bernoulli(density + epsilon (2 r - 1)), per element;  d_i = m delta_i / that chance
    DELLA:         merged where they agree in sign, as in TIES
    DELLA-linear:  candidate = base + sum_i c_i d_i

Large elements are dropped less often than small ones, in a window of 2 epsilon around the density.
Ranks are kept in 255ths, a byte for every element of every checkpoint. mergekit rescales the delta
as a whole to its former sum of magnitudes instead of every element by its chance.

Source: Deep et al. 2024, arXiv:2406.11617, sec. 3 (MagPrune; its epsilon is 2 epsilon here).
"""

from __future__ import annotations

from .method import Facts, KnownPoint, Mask, MaskingMethod, Parameter, Parameters

STEPS = 255
LEAST = 0.01  # no element is rescaled more than a hundredfold


class DellaLinear(MaskingMethod):
    """Task vectors thinned by chances that grow with magnitude, added."""

    name = "della_linear"
    title = "DELLA-linear"
    paper = "arXiv:2406.11617"
    own = (
        Parameter("density", 0.05, 1.0, 1.0, "mean chance of an element to be kept"),
        Parameter("epsilon", 0.0, 0.2, 0.0, "half the width of the window of chances"),
    )
    is_random = True

    def starts(self) -> list[KnownPoint]:
        """Half the elements, with mergekit's default window."""
        own = {"density": 0.5, "epsilon": 0.15}
        return [KnownPoint(f"{self.title} 0.5", self.mean(), own, self.name)]

    @classmethod
    def mask(cls, checkpoint: str, parameters: Parameters, facts: Facts) -> Mask:
        """See `MaskingMethod.mask`; the window is narrowed where it would leave (0, 1]."""
        density = parameters["density"]
        epsilon = max(0.0, min(parameters["epsilon"], density - LEAST, 1 - density))
        return Mask(keep=density - epsilon, slope=2 * epsilon / STEPS, key=facts.key(checkpoint))


class Della(DellaLinear):
    """Task vectors thinned by chances that grow with magnitude, merged where they agree."""

    name = "della"
    title = "DELLA"
    elects = True
