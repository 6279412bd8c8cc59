"""Task arithmetic: task vectors, scaled and added.

    candidate = base + sum_i lambda_i (theta_i - base),  that is c_i = lambda_i

The same sums as ExMe's, from another starting point: the paper adds all task vectors with one
lambda, and finds 0.3 to 0.5 the best for most of its models.

Source: Ilharco et al. 2023, arXiv:2212.04089, sec. 2 and 4.
"""

from __future__ import annotations

from .exme import ExMe
from .method import KnownPoint

LAMBDA = 0.4


class TaskArithmetic(ExMe):
    """Scaled task vectors, added to the base."""

    name = "task_arithmetic"
    title = "Task arithmetic"
    paper = "arXiv:2212.04089"
    extrapolates = False

    def starts(self) -> list[KnownPoint]:
        """All task vectors with one lambda."""
        return [KnownPoint(f"sum at {LAMBDA}", dict.fromkeys(self.checkpoints, LAMBDA))]
