"""Linear: a weighted mean of the checkpoints, also known as a model soup.

    candidate = sum_i w_i theta_i,  w_i >= 0,  sum_i w_i = 1,  that is c_i = w_i

Source: Wortsman et al. 2022, arXiv:2203.05482, sec. 2.
"""

from __future__ import annotations

from .method import Coefficients, Method, Parameters


class Linear(Method):
    """A weighted mean: coefficients add up to one.

    The sampler proposes, for every checkpoint but the last, its share of what the ones before it
    left over, so that every point of the simplex has one description and none is out of bounds.
    """

    name = "linear"
    title = "Linear"
    paper = "arXiv:2203.05482"
    extrapolates = False

    def parameters(self) -> tuple[str, ...]:
        """``share of <name>`` for every checkpoint but the last."""
        return tuple(f"share of {name}" for name in self.checkpoints[:-1])

    def to_coefficients(self, parameters: Parameters) -> dict[str, float]:
        """Effective coefficients of a proposal."""
        left, coefficients = 1.0, {}
        for name in self.checkpoints[:-1]:
            coefficients[name] = left * parameters[f"share of {name}"]
            left -= coefficients[name]
        return coefficients | {self.checkpoints[-1]: left}

    def to_parameters(self, coefficients: Coefficients) -> dict[str, float]:
        """Inverse of `to_coefficients`; shares of nothing are 0."""
        left, parameters = 1.0, {}
        for name in self.checkpoints[:-1]:
            share = coefficients[name] / left if left > 0 else 0.0
            parameters[f"share of {name}"] = min(max(share, 0.0), 1.0)  # rounding may pass 1
            left -= coefficients[name]
        return parameters

    def default_bounds(self, low: float, high: float) -> dict[str, tuple[float, float]]:
        """Shares run from 0 to 1, whatever the study's bounds."""
        return dict.fromkeys(self.parameters(), (0.0, 1.0))
