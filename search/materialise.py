"""The merge itself: base + sum_i c_i * (theta_i - base), tensor by tensor.

Pure functions: tensors in, tensor out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from exme.tasks.errors import ShapeMismatch


def combine(
    name: str,
    base: torch.Tensor,
    checkpoints: Sequence[torch.Tensor],
    coefficients: Sequence[float],
    dtype: torch.dtype,
) -> torch.Tensor:
    """Add a weighted sum of deltas to the base.

    At a unit vector and at zero the source itself is returned, so that a search that starts at its
    inputs scores exactly them.

    Args:
        name: the parameter's name, for errors.
        base: parameter tensor, shape (*p), any float dtype.
        checkpoints: n tensors of shape (*p), any float dtypes.
        coefficients: n numbers, dimensionless; above 1 extrapolates.
        dtype: dtype of the result.
    Returns:
        Shape (*p); accumulated in float32, rounded once.
    Raises:
        ShapeMismatch: names the parameter and both shapes.
    Source: Ilharco et al. 2023, arXiv:2212.04089, eq. 2; with the coefficients of `space` it is
        ExMe, arXiv:2503.04834, and ExPO, arXiv:2404.16792.
    """
    for tensor in checkpoints:
        if tensor.shape != base.shape:
            raise ShapeMismatch(
                f"tensor '{name}': shape {list(tensor.shape)}, the base's is {list(base.shape)}"
            )
    active = [(c, t) for c, t in zip(coefficients, checkpoints, strict=True) if c != 0.0]
    if not active:
        return base.to(dtype)
    if len(active) == 1 and active[0][0] == 1.0:
        return active[0][1].to(dtype)
    origin = base.float()
    total = origin
    for coefficient, tensor in active:
        total = torch.add(total, tensor.float() - origin, alpha=coefficient)
    return total.to(dtype)
