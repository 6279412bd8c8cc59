"""The merge itself, by torch and by the kernel, against float64: rounded once, inputs given back untouched."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings, strategies as st

from exme.search.merging.arithmetic.compiled import kernel
from tests.helpers.models.merges import make
from tests.helpers.models.rounding import assert_rounded_once, reference

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
COEFFICIENTS = ((0.3, 0.7), (1.0, 1.0), (1.3, -0.4), (1.5, 0.0), (0.0, 25.0), (-5.0, 3.3333))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.cpu().contiguous().view(torch.uint8)


def draw(seed: int, dtypes: Sequence[torch.dtype], shape: tuple[int, ...] = (64, 33)):
    """A base and fine-tunes of it whose deltas are a hundredth of its weights."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    tuned = [base + 0.01 * torch.randn(shape, generator=generator) for _ in dtypes[1:]]
    return [t.to(dtype) for t, dtype in zip([base, *tuned], dtypes, strict=True)]


@dataclass(frozen=True)
class Way:
    """One of the ways in which merges are made."""

    device: str
    compiled: bool

    def merge(
        self,
        base: torch.Tensor,
        others: Sequence[torch.Tensor],
        coefficients: Sequence[float],
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """The candidate as `Merger` makes it; the checkpoints are named in their order."""
        checkpoints = {f"c{i}": {"w": t.to(self.device)} for i, t in enumerate(others)}
        named = dict(zip(checkpoints, coefficients, strict=True))
        found = make(
            {"w": base.to(self.device)}, checkpoints, named, dtype=dtype, compiled=self.compiled
        )
        return found["w"].cpu()


@pytest.fixture(
    scope="module", params=["torch", "kernel", pytest.param("cuda", marks=pytest.mark.gpu)]
)
def way(request: pytest.FixtureRequest) -> Way:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if request.param == "kernel" and kernel() is None:
        pytest.skip("no C compiler")
    return Way("cuda" if request.param == "cuda" else "cpu", request.param == "kernel")


# Against float64 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sources", [*((d, d, d) for d in DTYPES), DTYPES, DTYPES[::-1]], ids=str)
def test_a_candidate_is_float64_rounded_once_up_to_float32_error(
    way: Way,
    sources: tuple[torch.dtype, ...],
    dtype: torch.dtype,
    coefficients: tuple[float, float],
) -> None:
    base, *others = draw(3, sources)
    got = way.merge(base, others, coefficients, dtype)
    assert got.dtype == dtype
    assert got.shape == base.shape
    assert_rounded_once(got, base, others, coefficients)


def test_float32_is_exact_where_every_step_is(way: Way) -> None:
    base = torch.tensor([1.0, -2.0, 0.5, 0.0])
    others = [base + 0.25, base - 0.5]
    got = way.merge(base, others, (1.5, 0.5), torch.float32)
    assert torch.equal(got, base + 1.5 * 0.25 - 0.5 * 0.5)


def test_bfloat16_sources_are_not_added_in_bfloat16(way: Way) -> None:
    base = torch.full((1,), 256.0, dtype=torch.bfloat16)
    tuned = [torch.full_like(base, 258.0)] * 3  # the next bfloat16 number
    got = way.merge(base, tuned, (0.4, 0.4, 0.4), torch.bfloat16)
    assert got.item() == 258.0  # 258.4; in bfloat16 each 0.8 would be lost


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_three_checkpoints_are_rounded_once_too(way: Way, dtype: torch.dtype) -> None:
    base, *others = draw(5, (torch.bfloat16,) * 4)
    coefficients = (0.7, 0.9, -0.35)
    got = way.merge(base, others, coefficients, dtype)
    assert_rounded_once(got, base, others, coefficients)


# What comes back bit for bit ----------------------------------------------------------------------


@pytest.mark.parametrize("sources", [*((d, d, d) for d in DTYPES), DTYPES], ids=str)
def test_zero_coefficients_give_back_the_base(way: Way, sources: tuple[torch.dtype, ...]) -> None:
    base, *others = draw(1, sources)
    base[0, 0] = -0.0
    got = way.merge(base, others, (0.0, 0.0), base.dtype)
    assert torch.equal(bits(got), bits(base))


@pytest.mark.parametrize("sources", [*((d, d, d) for d in DTYPES), DTYPES], ids=str)
@pytest.mark.parametrize("which", [0, 1])
def test_a_unit_vector_gives_back_its_checkpoint(
    way: Way, sources: tuple[torch.dtype, ...], which: int
) -> None:
    base, *others = draw(2, sources)
    base *= 3000  # so far away that base + (checkpoint - base) would not be the checkpoint
    others = [t / 3000 for t in others]
    unit = [float(i == which) for i in range(2)]
    got = way.merge(base, others, unit, others[which].dtype)
    assert torch.equal(bits(got), bits(others[which]))


def test_the_sources_are_not_changed(way: Way) -> None:
    sources = [t.to(way.device) for t in draw(4, (torch.float32,) * 3)]
    before = [bits(t).clone() for t in sources]
    for coefficients in COEFFICIENTS:
        way.merge(sources[0], sources[1:], coefficients, torch.float32)
    assert all(torch.equal(bits(t), b) for t, b in zip(sources, before, strict=True))


def test_an_empty_and_a_zero_dimensional_tensor_are_tensors_too(way: Way) -> None:
    for shape in ((0,), (0, 4), ()):
        base = torch.ones(shape)
        got = way.merge(base, [base + 1], [0.5], torch.float32)
        assert torch.equal(got, torch.full(shape, 1.5))


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
    way: Way, drawn: tuple[torch.Tensor, list[torch.Tensor], list[float]], dtype: torch.dtype
) -> None:
    base, others, coefficients = drawn
    if sum(c != 0 for c in coefficients) == 1 and 1.0 in coefficients:
        source = others[coefficients.index(1.0)]
        assert torch.equal(way.merge(base, others, coefficients, dtype), source.to(dtype))
        return
    assert_rounded_once(way.merge(base, others, coefficients, dtype), base, others, coefficients)


@settings(max_examples=50, deadline=None)
@given(merges())
def test_the_order_of_the_checkpoints_matters_to_float32_rounding_only(
    way: Way,
    drawn: tuple[torch.Tensor, list[torch.Tensor], list[float]],
) -> None:
    base, others, coefficients = drawn
    _, error = reference(base, others, coefficients)
    first = way.merge(base, others, coefficients, torch.float32).double()
    for order in itertools.permutations(range(len(others))):
        permuted = way.merge(
            base, [others[i] for i in order], [coefficients[i] for i in order], torch.float32
        )
        assert ((permuted.double() - first).abs() <= 2 * error).all()


@settings(max_examples=50, deadline=None)
@given(numbers, st.lists(coefficient, min_size=1, max_size=3))
def test_a_checkpoint_equal_to_the_base_adds_nothing(
    way: Way, values: list[float], coefficients: list[float]
) -> None:
    base = torch.tensor(values)
    got = way.merge(base, [base.clone() for _ in coefficients], coefficients, torch.float32)
    assert torch.equal(got, base)


@settings(max_examples=50, deadline=None)
@given(merges(), st.data())
def test_a_checkpoint_with_coefficient_zero_is_as_good_as_absent(
    way: Way, drawn: tuple[torch.Tensor, list[torch.Tensor], list[float]], data: st.DataObject
) -> None:
    base, others, coefficients = drawn
    position = data.draw(st.integers(0, len(others)))
    more = [*others[:position], torch.full_like(base, 7.0), *others[position:]]
    zero = [*coefficients[:position], 0.0, *coefficients[position:]]
    without = way.merge(base, others, coefficients, torch.float32)
    assert torch.equal(bits(way.merge(base, more, zero, torch.float32)), bits(without))
