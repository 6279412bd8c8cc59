"""The compiled kernel computes what torch computes, bit for bit, whatever it is given."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from exme.search.merging.arithmetic import compiled, plain
from exme.search.merging.arithmetic.compiled import Kernel, kernel
from exme.search.merging.arithmetic.plain import Operand
from exme.search.merging.methods.method import Mask

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
C = (0.4, -0.7, 1.3, 0.2, 2.5)
MASKS = {
    "none": Mask(),
    "trim": Mask(low=0.02, high=0.1),
    "drop": Mask(keep=0.3, key=(77, 2**32 - 5)),
    "rank": Mask(keep=0.3, slope=0.002, key=(5, 9)),
    "trim and drop": Mask(low=0.02, keep=0.6, key=(1, 2)),
}
# What is rounded to, and what the model computes in.
TARGETS = [
    *((d, d) for d in DTYPES),
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float32),
    (torch.bfloat16, torch.float16),
]


@pytest.fixture(scope="module", params=["as it is built here", "one lane"])
def built(request: pytest.FixtureRequest) -> Kernel:
    found = kernel()
    if found is None:
        pytest.skip("no C compiler here")
    if request.param == "one lane":  # as on processors without AVX-512
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "FLAGS", (*compiled.FLAGS, "-mno-avx512f"))
            found = kernel.__wrapped__()
        if found is None:
            pytest.skip("only x86 has more lanes than one")
    return found


def operands(count: int, dtypes: tuple[torch.dtype, ...], size: int, mask: str):
    generator = torch.Generator().manual_seed(size + count)
    base = torch.randn(size, generator=generator)
    found = []
    for i in range(count):
        values = base + 0.05 * torch.randn(size, generator=generator)
        ranks = torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator)
        is_delta = count == 5 and i == 2
        values = (values - base) if is_delta else values.to(dtypes[i % len(dtypes)])
        needed = ranks if mask == "rank" else None
        found.append(Operand(values, C[i], MASKS[mask], needed, is_delta))
    return base.to(dtypes[0]), found


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("elects", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_kernel_and_torch_agree_bit_for_bit(
    built: Kernel, count: int, elects: bool, mask: str
) -> None:
    if torch.float16 not in built.dtypes:
        pytest.skip("this compiler knows no float16")
    kinds = [*((d,) for d in DTYPES), DTYPES]
    for dtypes, (dtype, live), size in itertools.product(kinds, TARGETS, (1, 17, 2500)):
        base, given = operands(count, dtypes, size, mask)
        for index in (0, 2**32 - 100):
            one, other = torch.empty(size, dtype=live), torch.empty(size, dtype=live)
            finite = plain.merge(one, base, given, elects=elects, dtype=dtype, index=index)
            assert built.takes(other, base, given, dtype)
            found = built.merge(other, base, given, elects=elects, dtype=dtype, index=index)
            assert finite == found
            assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_checkpoints_the_base_is_copied_bit_for_bit(
    built: Kernel, dtype: torch.dtype
) -> None:
    base = torch.tensor([1.0, -0.0, 3.5, -1e-7]).to(dtype)
    out = torch.empty_like(base)
    assert built.merge(out, base, [], elects=False, dtype=dtype)
    assert torch.equal(out.view(torch.uint8), base.view(torch.uint8))


@pytest.mark.parametrize("live", DTYPES, ids=str)
def test_an_overflow_is_noticed(built: Kernel, live: torch.dtype) -> None:
    base = torch.zeros(3000, dtype=live)
    other = base.clone()
    other[2999] = torch.finfo(live).max
    out = torch.empty_like(base)
    given = [Operand(other, 2.0)]
    assert not built.merge(out, base, given, elects=False, dtype=live)
    assert not plain.merge(out, base, given, elects=False, dtype=live)
    assert built.merge(out, base, [Operand(other, 0.5)], elects=False, dtype=live)


def test_several_threads_make_the_same_bits(built: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_SPLIT", 1000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    base, given = operands(2, (torch.bfloat16,), 10_007, "drop")
    one, other = torch.empty_like(base), torch.empty_like(base)
    built.merge(one, base, given, elects=True, dtype=torch.bfloat16)
    plain.merge(other, base, given, elects=True, dtype=torch.bfloat16)
    assert torch.equal(one, other)


def test_what_the_kernel_does_not_take_is_left_to_torch(built: Kernel) -> None:
    base = torch.zeros(4)
    assert not built.takes(base.double(), base, [], torch.float32)
    assert not built.takes(base, torch.zeros(4, 2)[:, 0], [], torch.float32)
    assert not built.takes(base, base, [Operand(base, 1.0)] * 17, torch.float32)


@pytest.mark.parametrize("broken", ["no compiler", "switched off", "compiler fails"])
def test_without_a_compiler_there_is_no_kernel(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "switched off":
        monkeypatch.setenv("EXME_COMPILE", "0")
    elif broken == "no compiler":
        monkeypatch.setenv("CC", str(tmp_path / "nothing"))
    else:
        script = tmp_path / "cc"
        script.write_text("#!/bin/sh\nexit 1\n")
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
    assert kernel.__wrapped__() is None
