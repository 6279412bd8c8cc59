"""DOGE by its stated optimality, and against its steps done densely."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from exme.search.directions.doge import Doge
from tests.helpers.models.directions import bench, compute, family


def given(k: int = 3, m: int = 18, n: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(k)
    common = torch.randn(m, n, generator=generator, dtype=torch.float64)
    return common + torch.randn(k, m, n, generator=generator, dtype=torch.float64)


def loss(deltas: torch.Tensor, weights: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Its objective, term by term."""
    merged = torch.zeros_like(shift)
    for weight, delta in zip(weights, deltas, strict=True):
        merged = merged + weight * (delta + shift)
    return torch.stack([((merged - d) * d).sum() ** 2 for d in deltas]).sum()


@pytest.mark.parametrize(("m", "n"), [(18, 12), (12, 18), (12, 12)])
def test_the_steps_are_projected_gradient_steps_on_the_whole_matrix(m: int, n: int) -> None:
    deltas, method = given(m=m, n=n), Doge()
    method.steps = 30
    weights = method.weights(deltas)
    found, history = method.shift(deltas, weights)
    tall = deltas if m >= n else deltas.transpose(1, 2)
    shared = method.shared(tall)

    def project(x: torch.Tensor) -> torch.Tensor:
        return x - x @ shared @ shared.T if m >= n else x - shared @ shared.T @ x

    flat = torch.stack([project(d).flatten() for d in deltas])
    length = 2 * weights.sum() ** 2 * torch.linalg.eigvalsh(flat @ flat.T)[-1]
    shift = torch.zeros(m, n, dtype=torch.float64)
    unit = sum(float(d.square().sum()) ** 2 for d in deltas)
    for expected in history[:-1]:
        leaf = shift.clone().requires_grad_()
        value = loss(deltas, weights, leaf)
        assert float(value.detach()) / unit == pytest.approx(expected, rel=1e-9)
        (slope,) = torch.autograd.grad(value, leaf)
        shift = shift - project(slope) / length
    torch.testing.assert_close(found, shift, rtol=1e-9, atol=1e-12)
    moved = found @ shared if m >= n else shared.T @ found
    assert float(moved.abs().max()) < 1e-12  # nothing of it lies in the shared subspace


def test_the_loss_falls_at_every_step_to_the_least_there_is() -> None:
    deltas, method = given(), Doge()
    weights = method.weights(deltas)
    _, history = method.shift(deltas, weights)
    assert all(after <= before + 1e-15 for before, after in itertools.pairwise(history))
    assert history[-1] < history[0]
    # The objective is quadratic: its least value off the subspace, by least squares.
    shared = method.shared(deltas)
    free = (deltas - deltas @ shared @ shared.T).flatten(1)
    flat = deltas.flatten(1)
    gap = flat @ (weights @ flat) - flat.square().sum(1)
    system = weights.sum() * (free @ free.T)
    least = torch.linalg.lstsq(system, -gap[:, None]).solution[:, 0]
    residual = gap + system @ least
    unit = float(flat.square().sum(1).square().sum())
    assert history[-1] == pytest.approx(float(residual.square().sum()) / unit, abs=1e-9)


def test_the_shared_subspace_holds_what_all_task_vectors_have_in_common() -> None:
    generator = torch.Generator().manual_seed(3)
    direction = torch.nn.functional.normalize(
        torch.randn(12, generator=generator, dtype=torch.float64), dim=0
    )
    deltas = 0.01 * torch.randn(3, 20, 12, generator=generator, dtype=torch.float64)
    for delta in deltas:
        column = torch.randn(20, generator=generator, dtype=torch.float64)
        delta += 5 * torch.outer(column, direction)
    shared = Doge().shared(deltas)
    assert shared.shape == (12, 2)
    torch.testing.assert_close(shared.T @ shared, torch.eye(2, dtype=torch.float64))
    assert float((shared.T @ direction).norm()) > 0.9999


def test_a_delta_of_low_rank_adds_no_vectors_that_it_does_not_have() -> None:
    generator = torch.Generator().manual_seed(4)
    left, right = (torch.randn(2, n, 1, generator=generator).double() for n in (20, 12))
    deltas = left @ right.transpose(1, 2)
    shared = Doge().shared(deltas)
    assert shared.shape == (12, 2)
    inside = torch.linalg.lstsq(right[..., 0].T, shared).solution
    torch.testing.assert_close(right[..., 0].T @ inside, shared)


def test_weights_are_the_inverse_of_norms_whatever_the_scale() -> None:
    deltas, method = given(k=2), Doge()
    weights = method.weights(deltas)
    norms = deltas.flatten(1).norm(dim=1)
    assert float(weights[0] * norms[0]) == pytest.approx(float(weights[1] * norms[1]))
    torch.testing.assert_close(method.weights(1000 * deltas), weights)
    assert method.weights(torch.zeros(2, 3, 3)).tolist() == [0.0, 0.0]


def test_the_masks_keep_three_tenths(tmp_path: Path) -> None:
    deltas, method = given(k=2, m=20, n=10), Doge()
    one = method.merge(deltas[:1], torch.zeros(20, 10, dtype=torch.float64), torch.ones(1))
    assert int((one != 0).sum()) == 60
    least = one[one != 0].abs().min()
    assert int((deltas[0].abs() >= least).sum()) == 60
    written, _ = compute(method, bench(family(tmp_path), tmp_path / "s"))
    share = (written["model.layers.0.mlp.up_proj.weight"] != 0).double().mean()
    assert 0.3 <= float(share) <= 0.6  # of two checkpoints
