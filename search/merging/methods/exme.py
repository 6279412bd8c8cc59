"""ExMe: every checkpoint extrapolated from the base, and mixed.

    candidate = base + sum_i c_i (theta_i - base)

The paper extrapolates the two best checkpoints and mixes them, c_1 = beta (1 + alpha_1) and
c_2 = (1 - beta) (1 + alpha_2); without groups its three numbers describe just two coefficients.

Source: arXiv:2503.04834, eq. 3.
"""

from __future__ import annotations

from .method import Method


class ExMe(Method):
    """The checkpoints' task vectors, each with a coefficient of its own."""

    name = "exme"
    title = "ExMe"
    paper = "arXiv:2503.04834"
