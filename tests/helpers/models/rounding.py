"""A merge in float64, and how far one rounding and float32 arithmetic may be from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

FLOAT32 = 2.0**-24  # unit roundoff


def reference(
    base: torch.Tensor, others: Sequence[torch.Tensor], coefficients: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The candidate in float64, and how far float32 arithmetic may be from it.

    Each of the n steps rounds a delta, a coefficient, their product and the sum so far: standard
    error analysis (Higham 2002, Accuracy and Stability of Numerical Algorithms, sec. 3.1).
    """
    origin = base.double()
    terms = [
        c * (t.double() - origin) for c, t in zip(coefficients, others, strict=True) if c != 0.0
    ]
    exact = origin + sum(terms, torch.zeros_like(origin))
    size = sum((t.abs() for t in terms), torch.zeros_like(origin))
    n = len(terms)
    return exact, 1.01 * FLOAT32 * ((n + 3) * size + n * origin.abs()) + 1e-40


def half_ulp(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Half the distance between neighbours of `dtype` at `values` (float64)."""
    info = torch.finfo(dtype)
    _, exponent = torch.frexp(values.abs().clamp(min=info.tiny))
    return 0.5 * info.eps * torch.ldexp(torch.ones_like(values), exponent - 1)


def assert_rounded_once(
    got: torch.Tensor,
    base: torch.Tensor,
    others: Sequence[torch.Tensor],
    coefficients: Sequence[float],
) -> None:
    exact, error = reference(base, others, coefficients)
    if got.dtype == torch.float32:  # the sum is float32 already
        bound = error
    else:
        bound = error + half_ulp(exact.abs() + error, got.dtype)
    off = (got.cpu().double() - exact).abs() > bound
    assert not off.any(), (got.cpu()[off][:3], exact[off][:3], bound[off][:3])
