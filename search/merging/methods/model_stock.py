"""Model Stock: the mean of the checkpoints, drawn towards the base as far as they disagree.

    candidate = t mean_i(theta_i) + (1 - t) base
    t = k cos(theta) / (1 + (k - 1) cos(theta)),  cos(theta) the mean cosine of two task vectors

tensor by tensor, for k checkpoints: c_i = t / k. Here the ratio t multiplies whichever coefficients
the search proposes (the paper's are 1 / k), and ``stock`` says how much of it: 1 + stock (t - 1), so
that 0 is the plain sum and 1 the paper. Where the denominator is zero, t is zero, as in mergekit.

Source: Jang et al. 2024, arXiv:2403.19522, eq. 5 and 7.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from exme.tasks import UserError

from .method import Coefficients, Facts, KnownPoint, Merge, Method, Parameter, Parameters, Term


class ModelStock(Method):
    """Coefficients shrunk in every tensor by the angle between the task vectors."""

    name = "model_stock"
    title = "Model Stock"
    paper = "arXiv:2403.19522"
    own = (Parameter("stock", 0.0, 1.0, 0.0, "how much of the ratio: 0 none, 1 the paper's"),)

    @classmethod
    def check(cls, checkpoints: Sequence[str]) -> None:
        """Refuse a single checkpoint."""
        if len(checkpoints) < 2:
            raise UserError(
                "method 'model_stock' compares checkpoints, the study has one; use `method: expo`"
            )

    def starts(self) -> list[KnownPoint]:
        """The paper's."""
        return [KnownPoint("model stock", self.mean(), {"stock": 1.0}, self.name)]

    @classmethod
    def is_plain(cls, coefficients: Coefficients, parameters: Parameters) -> bool:
        """Without any of the ratio, and for the base."""
        return parameters["stock"] == 0 or not any(coefficients.values())

    @classmethod
    def instruct(cls, coefficients: Coefficients, parameters: Parameters, facts: Facts) -> Merge:
        """See `Method.instruct`; the ratio is that of the checkpoints that take part."""
        names = list(coefficients)
        if len(names) < 2:
            return super().instruct(coefficients, parameters, facts)
        cosines = [facts.cosine(a, b) for a, b in itertools.combinations(names, 2)]
        mean = sum(cosines) / len(cosines)
        denominator = 1 + (len(names) - 1) * mean
        ratio = len(names) * mean / denominator if abs(denominator) > 1e-6 else 0.0
        factor = 1 + parameters["stock"] * (ratio - 1)
        if factor == 0:
            return Merge(())
        return Merge(tuple(Term(name, factor * c) for name, c in coefficients.items()))
