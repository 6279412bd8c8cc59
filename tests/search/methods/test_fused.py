"""The Triton kernel computes what torch computes: on a GPU, or on the CPU by Triton's interpreter.

    TRITON_INTERPRET=1 pytest tests/search/methods/test_fused.py

with `triton` installed. The interpreter rounds products before it adds them (`tl.fma`), so that sums may differ
in float32's last bit there; elections have no such step and are the same, bit for bit.
"""

from __future__ import annotations

import os

import pytest
import torch

from exme.search.merging.arithmetic import plain
from exme.search.merging.arithmetic.fused import Fused, fused
from exme.search.merging.arithmetic.plain import Operand

from .test_compiled import MASKS, TARGETS, operands

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@pytest.fixture(
    params=[
        pytest.param(
            "cpu", marks=pytest.mark.skipif(not INTERPRETED, reason="TRITON_INTERPRET is not 1")
        ),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    pytest.importorskip("triton")
    if request.param == "cuda" and INTERPRETED:
        pytest.skip("Triton is interpreted")
    return torch.device(request.param)


@pytest.fixture
def kernel(device: torch.device) -> Fused:
    found = fused()
    assert found is not None
    return found


def moved(given: list[Operand], device: torch.device) -> list[Operand]:
    return [
        Operand(
            o.values.to(device),
            o.coefficient,
            o.mask,
            None if o.ranks is None else o.ranks.to(device),
            o.is_delta,
        )
        for o in given
    ]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("elects", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_kernel_and_torch_agree(
    kernel: Fused, device: torch.device, count: int, elects: bool, mask: str
) -> None:
    exact = device.type == "cuda" or (elects and mask != "rank")
    for (dtype, live), index in zip(TARGETS, (0, 2**32 - 100, 7, 0, 5, 2**33), strict=True):
        if live not in (dtype, torch.float32):
            continue
        base, given = operands(count, DTYPES, 2500, mask)
        base, given = base.to(device), moved(given, device)
        one, other = torch.empty_like(base, dtype=live), torch.empty_like(base, dtype=live)
        finite = plain.merge(one, base, given, elects=elects, dtype=dtype, index=index)
        assert kernel.takes(other, base, given, dtype)
        found = kernel.merge(other, base, given, elects=elects, dtype=dtype, index=index)
        assert bool(found) == bool(finite)
        if exact:
            assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))
            continue
        # The same elements are kept; a sum may round to the neighbour.
        step = {torch.bfloat16: 2**-7, torch.float16: 2**-10, torch.float32: 2**-20}[dtype]
        off = (one.double() - other.double()).abs() > step * one.double().abs() + 1e-6
        assert not off.any()
        assert (one != other).float().mean() < (0.01 if dtype != torch.float32 else 1)


@pytest.mark.parametrize("live", DTYPES, ids=str)
def test_an_overflow_is_noticed(kernel: Fused, device: torch.device, live: torch.dtype) -> None:
    base = torch.zeros(3000, dtype=live, device=device)
    other = base.clone()
    other[2999] = torch.finfo(live).max
    out = torch.empty_like(base)
    for coefficient, finite in ((2.0, False), (0.5, True)):
        given = [Operand(other, coefficient)]
        assert bool(kernel.merge(out, base, given, elects=False, dtype=live)) == finite


def test_what_the_kernel_does_not_take_is_left_to_torch(
    kernel: Fused, device: torch.device
) -> None:
    base = torch.zeros(4, device=device)
    some = [Operand(base, 1.0)]
    assert kernel.takes(base, base, some, torch.float32)
    assert not kernel.takes(base, base, [], torch.float32)
    assert not kernel.takes(base.double(), base, some, torch.float32)
    assert not kernel.takes(base, torch.zeros(4, 2, device=device)[:, 0], some, torch.float32)
    assert not kernel.takes(base, base, some * 17, torch.float32)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXME_TRITON", "0")
    assert fused.__wrapped__() is None


def test_without_a_gpu_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fused.__wrapped__() is None
