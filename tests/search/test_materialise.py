"""The merge itself against float64: `combine` rounds once and gives its inputs back untouched."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exme.search.merging.materialise import combine
from exme.tasks.errors import ShapeMismatch

FLOAT32 = 2.0**-24  # unit roundoff
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
COEFFICIENTS = ((0.3, 0.7), (1.0, 1.0), (1.3, -0.4), (1.5, 0.0), (0.0, 25.0), (-5.0, 3.3333))


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


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.cpu().contiguous().view(torch.uint8)


def draw(seed: int, dtypes: Sequence[torch.dtype], shape: tuple[int, ...] = (64, 33)):
    """A base and fine-tunes of it whose deltas are a hundredth of its weights."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    tuned = [base + 0.01 * torch.randn(shape, generator=generator) for _ in dtypes[1:]]
    return [t.to(dtype) for t, dtype in zip([base, *tuned], dtypes, strict=True)]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return str(request.param)


# Against float64 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sources", [*((d, d, d) for d in DTYPES), DTYPES, DTYPES[::-1]], ids=str)
def test_a_candidate_is_float64_rounded_once_up_to_float32_error(
    device: str,
    sources: tuple[torch.dtype, ...],
    dtype: torch.dtype,
    coefficients: tuple[float, float],
) -> None:
    base, *others = draw(3, sources)
    got = combine("w", base.to(device), [t.to(device) for t in others], coefficients, dtype)
    assert got.dtype == dtype
    assert got.shape == base.shape
    assert_rounded_once(got, base, others, coefficients)


def test_float32_is_exact_where_every_step_is(device: str) -> None:
    base = torch.tensor([1.0, -2.0, 0.5, 0.0], device=device)
    others = [base + 0.25, base - 0.5]
    got = combine("w", base, others, (1.5, 0.5), torch.float32)
    assert torch.equal(got, base + 1.5 * 0.25 - 0.5 * 0.5)


def test_bfloat16_sources_are_not_added_in_bfloat16(device: str) -> None:
    base = torch.full((1,), 256.0, dtype=torch.bfloat16, device=device)
    tuned = [torch.full_like(base, 258.0)] * 3  # the next bfloat16 number
    got = combine("w", base, tuned, (0.4, 0.4, 0.4), torch.bfloat16)
    assert got.item() == 258.0  # 258.4; in bfloat16 each 0.8 would be lost


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_three_checkpoints_are_rounded_once_too(device: str, dtype: torch.dtype) -> None:
    base, *others = draw(5, (torch.bfloat16,) * 4)
    coefficients = (0.7, 0.9, -0.35)
    got = combine("w", base.to(device), [t.to(device) for t in others], coefficients, dtype)
    assert_rounded_once(got, base, others, coefficients)


# What comes back bit for bit ----------------------------------------------------------------------


@pytest.mark.parametrize("sources", [*((d, d, d) for d in DTYPES), DTYPES], ids=str)
def test_zero_coefficients_give_back_the_base(
    device: str, sources: tuple[torch.dtype, ...]
) -> None:
    base, *others = [t.to(device) for t in draw(1, sources)]
    base[0, 0] = -0.0
    got = combine("w", base, others, (0.0, 0.0), base.dtype)
    assert torch.equal(bits(got), bits(base))


@pytest.mark.parametrize("sources", [*((d, d, d) for d in DTYPES), DTYPES], ids=str)
@pytest.mark.parametrize("which", [0, 1])
def test_a_unit_vector_gives_back_its_checkpoint(
    device: str, sources: tuple[torch.dtype, ...], which: int
) -> None:
    base, *others = [t.to(device) for t in draw(2, sources)]
    base *= 3000  # so far away that base + (checkpoint - base) would not be the checkpoint
    others = [t / 3000 for t in others]
    unit = [float(i == which) for i in range(2)]
    got = combine("w", base, others, unit, others[which].dtype)
    assert torch.equal(bits(got), bits(others[which]))


def test_the_sources_are_not_changed(device: str) -> None:
    sources = [t.to(device) for t in draw(4, (torch.float32,) * 3)]
    before = [bits(t).clone() for t in sources]
    for coefficients in COEFFICIENTS:
        combine("w", sources[0], sources[1:], coefficients, torch.float32)
    assert all(torch.equal(bits(t), b) for t, b in zip(sources, before, strict=True))


def test_another_shape_is_refused_by_name_with_both_shapes() -> None:
    with pytest.raises(ShapeMismatch, match=r"tensor 'w': shape \[3\], the base's is \[2\]"):
        combine("w", torch.zeros(2), [torch.zeros(3)], [1.0], torch.float32)


def test_an_empty_and_a_zero_dimensional_tensor_are_tensors_too(device: str) -> None:
    for shape in ((0,), (0, 4), ()):
        base = torch.ones(shape, device=device)
        got = combine("w", base, [base + 1], [0.5], torch.float32)
        assert torch.equal(got, torch.full(shape, 1.5, device=device))


# Algebra ------------------------------------------------------------------------------------------

numbers = st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=8)
coefficient = st.floats(-5, 30).map(lambda c: round(c, 4))


@st.composite
def merges(draw_: st.DrawFn) -> tuple[torch.Tensor, list[torch.Tensor], list[float]]:
    """A base, one to four checkpoints and their coefficients, each source in a dtype of its own."""
    values = draw_(numbers)
    count = draw_(st.integers(1, 4))
    same = st.lists(st.floats(-1000, 1000, width=32), min_size=len(values), max_size=len(values))
    base = torch.tensor(values).to(draw_(st.sampled_from(DTYPES)))
    others = [torch.tensor(draw_(same)).to(draw_(st.sampled_from(DTYPES))) for _ in range(count)]
    return base, others, draw_(st.lists(coefficient, min_size=count, max_size=count))


@settings(max_examples=200, deadline=None)
@given(merges(), st.sampled_from([torch.bfloat16, torch.float32]))
def test_any_merge_is_float64_rounded_once(
    merge: tuple[torch.Tensor, list[torch.Tensor], list[float]], dtype: torch.dtype
) -> None:
    base, others, coefficients = merge
    if sum(c != 0 for c in coefficients) == 1 and 1.0 in coefficients:
        source = others[coefficients.index(1.0)]
        assert torch.equal(combine("w", base, others, coefficients, dtype), source.to(dtype))
        return
    assert_rounded_once(combine("w", base, others, coefficients, dtype), base, others, coefficients)


@settings(max_examples=50, deadline=None)
@given(merges())
def test_the_order_of_the_checkpoints_matters_to_float32_rounding_only(
    merge: tuple[torch.Tensor, list[torch.Tensor], list[float]],
) -> None:
    base, others, coefficients = merge
    _, error = reference(base, others, coefficients)
    first = combine("w", base, others, coefficients, torch.float32).double()
    for order in itertools.permutations(range(len(others))):
        permuted = combine(
            "w", base, [others[i] for i in order], [coefficients[i] for i in order], torch.float32
        )
        assert ((permuted.double() - first).abs() <= 2 * error).all()


@settings(max_examples=50, deadline=None)
@given(numbers, st.lists(coefficient, min_size=1, max_size=3))
def test_a_checkpoint_equal_to_the_base_adds_nothing(
    values: list[float], coefficients: list[float]
) -> None:
    base = torch.tensor(values)
    got = combine("w", base, [base.clone() for _ in coefficients], coefficients, torch.float32)
    assert torch.equal(got, base)


@settings(max_examples=50, deadline=None)
@given(merges(), st.data())
def test_a_checkpoint_with_coefficient_zero_is_as_good_as_absent(
    merge: tuple[torch.Tensor, list[torch.Tensor], list[float]], data: st.DataObject
) -> None:
    base, others, coefficients = merge
    position = data.draw(st.integers(0, len(others)))
    more = [*others[:position], torch.full_like(base, 7.0), *others[position:]]
    zero = [*coefficients[:position], 0.0, *coefficients[position:]]
    without = combine("w", base, others, coefficients, torch.float32)
    assert torch.equal(bits(combine("w", base, more, zero, torch.float32)), bits(without))
