"""Every method against float64 and by hand; what holds for all of them."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings, strategies as st

from exme.search.merging.arithmetic.draws import draw_key, draws
from exme.search.merging.methods import METHODS, PLAIN
from exme.tasks.errors import UserError
from tests.helpers.models.merges import disjoint, expected, make

NAMES = ("chat", "code", "math")
C = {"math": 0.7, "code": 0.5, "chat": 0.3}
OWN = {
    "ties": {"density": 0.3},
    "breadcrumbs": {"density": 0.5, "gamma": 0.05},
    "model_stock": {"stock": 0.6},
    "dare_linear": {"density": 0.4},
    "dare_ties": {"density": 0.4},
    "della": {"density": 0.5, "epsilon": 0.15},
    "della_linear": {"density": 0.5, "epsilon": 0.15},
}
SURE = ("exme", "linear", "task_arithmetic", "ties", "breadcrumbs", "model_stock", "slerp")


def draw(shape: tuple[int, ...] = (40, 25), seed: int = 0, alike: float = 0.5):
    """A base and three fine-tunes whose deltas share a part."""
    generator = torch.Generator().manual_seed(seed)

    def noise() -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    base, common = noise(), noise()
    return base, {n: base + 0.1 * (alike * common + noise()) for n in NAMES}


def merge(method: str, base, others, c, own=None, **options):
    wrapped = {name: {"w": tensor} for name, tensor in others.items()}
    found = make({"w": base}, wrapped, c, method, parameters=own or {}, **options)
    return found["w"]


# Against float64 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 25), (1000,), (7,)], ids=str)
@pytest.mark.parametrize("method", SURE)
def test_a_method_is_its_papers_formula_in_float64(method: str, shape: tuple[int, ...]) -> None:
    base, others = draw(shape)
    c = dict(list(C.items())[:2]) if method == "slerp" else C
    others = {name: others[name] for name in c}
    own = OWN.get(method, {})
    found = merge(method, base, others, c, own)
    wanted = expected(method, base, others, c, own)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della", "della_linear"])
def test_random_drops_keep_the_share_they_should_and_rescale_by_their_chance(method: str) -> None:
    base = torch.zeros(400, 500)
    delta = torch.linspace(-1, 1, 500).repeat(400, 1)
    found = merge(method, base, {"math": base + delta}, {"math": 1.0}, OWN[method])
    kept = found != 0
    assert kept.float().mean() == pytest.approx(OWN[method]["density"], abs=0.005)
    # Rescaled, every column's mean is the delta's: 400 draws of a chance of at least 0.35.
    spread = 5 * delta[0].abs() * ((1 - 0.35) / 0.35 / 400) ** 0.5
    assert ((found.mean(0) - delta[0]).abs() <= spread + 1e-6).all()


def test_della_linear_adds_what_each_checkpoint_by_itself_is_thinned_to() -> None:
    base, others = draw()
    alone = [merge("della_linear", base, others, {n: C[n]}, OWN["della"]) for n in NAMES]
    whole = merge("della_linear", base, others, C, OWN["della"])
    added = base.double() + sum(one.double() - base.double() for one in alone)
    torch.testing.assert_close(whole.double(), added, rtol=0, atol=1e-5)


def test_della_keeps_large_elements_more_often_than_small_ones() -> None:
    delta = torch.linspace(0.001, 1, 1000).repeat(500, 1)
    found = merge("della", torch.zeros_like(delta), {"math": delta}, {"math": 1.0}, OWN["della"])
    share = (found != 0).float().mean(0)
    assert share[:100].mean() == pytest.approx(0.5 - 0.15 * 0.9, abs=0.01)
    assert share[-100:].mean() == pytest.approx(0.5 + 0.15 * 0.9, abs=0.01)


def test_dare_ties_elects_among_what_was_kept() -> None:
    base, others = draw()
    found = merge("dare_ties", base, others, C, {"density": 0.4}, seed=5)
    kept = {}
    for name in NAMES:
        drawn = draws(draw_key(5, "w", name), 0, base.numel(), base.device).reshape(base.shape)
        delta = others[name].double() - base.double()
        kept[name] = torch.where(drawn / 2**32 < 0.4, delta / 0.4, 0.0)
    torch.testing.assert_close(found.double(), base.double() + disjoint(kept, C), rtol=0, atol=1e-6)


# By hand ------------------------------------------------------------------------------------------


def test_ties_on_a_4_by_4_matrix_drawn_by_hand() -> None:
    base = torch.zeros(4, 4)
    one = torch.tensor([[9.0, -8, 7, -6], [5, 0.1, 0.1, 0.1], [0.1] * 4, [4, 3, 2, 1]])
    two = torch.tensor([[3.0, 9, 8, -7], [-6, 0.2, 0.2, 0.2], [0.2] * 4, [5, -4, 0.2, 2]])
    # The eight largest of each:
    #   one: 9 -8 7 -6 / 5 . . . / . . . . / 4 3 2 .    two: 3 9 8 -7 / -6 . . . / . . . . / 5 -4 . 2
    wanted = torch.tensor(
        [
            [6.0, 9.0, 7.5, -6.5],  # both; -8 + 9 elects plus; both; both
            [-6.0, 0.0, 0.0, 0.0],  # 5 - 6 elects minus
            [0.0, 0.0, 0.0, 0.0],
            [4.5, -4.0, 2.0, 2.0],  # both; 3 - 4 elects minus; one alone; two alone
        ]
    )
    found = merge(
        "ties", base, {"math": one, "code": two}, {"math": 0.5, "code": 0.5}, {"density": 0.5}
    )
    assert torch.equal(found, wanted)


def test_ties_that_cancel_elect_plus() -> None:
    one, two = torch.tensor([2.0, -2.0]), torch.tensor([-2.0, 2.0])
    found = merge(
        "ties",
        torch.zeros(2),
        {"math": one, "code": two},
        {"math": 0.5, "code": 0.5},
        {"density": 1.0},
    )
    assert torch.equal(found, torch.tensor([2.0, 2.0]))


def test_slerp_halfway_between_two_orthogonal_task_vectors_keeps_their_length() -> None:
    base = torch.ones(2)
    others = {"math": base + torch.tensor([1.0, 0.0]), "code": base + torch.tensor([0.0, 1.0])}
    found = merge("slerp", base, others, {"math": 0.5, "code": 0.5})
    torch.testing.assert_close(found - base, torch.full((2,), 0.5**0.5))


def test_model_stock_of_orthogonal_task_vectors_is_the_base_and_of_equal_ones_their_mean() -> None:
    base = torch.zeros(2)
    c, own = {"math": 0.5, "code": 0.5}, {"stock": 1.0}
    orthogonal = {"math": torch.tensor([1.0, 0.0]), "code": torch.tensor([0.0, 1.0])}
    assert torch.equal(merge("model_stock", base, orthogonal, c, own), base)
    equal = dict.fromkeys(("math", "code"), torch.tensor([1.0, 2.0]))
    assert torch.equal(merge("model_stock", base, equal, c, own), torch.tensor([1.0, 2.0]))


# What holds for all -------------------------------------------------------------------------------

EVERY = sorted(METHODS)


def pick(method: str, c: dict[str, float]) -> dict[str, float]:
    """So many checkpoints as the method takes."""
    count = {"slerp": 2, "expo": 1}.get(method, 3)
    return dict(list(c.items())[:count])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("method", EVERY)
def test_zero_coefficients_give_the_base_bit_for_bit(method: str, dtype: torch.dtype) -> None:
    base, others = draw()
    base[0, 0] = -0.0
    base, others = base.to(dtype), {n: t.to(dtype) for n, t in others.items()}
    found = merge(method, base, others, dict.fromkeys(NAMES, 0.0), OWN.get(method), dtype=dtype)
    assert torch.equal(found.view(torch.uint8), base.view(torch.uint8))


@pytest.mark.parametrize("method", EVERY)
def test_unit_vectors_with_neutral_parameters_give_the_checkpoint(method: str) -> None:
    base, others = draw()
    neutral = {parameter.name: parameter.neutral for parameter in METHODS[method].own}
    for name in NAMES:
        unit = {n: float(n == name) for n in NAMES}
        assert METHODS[method].is_plain(unit, neutral)
        assert torch.equal(merge(method, base, others, unit, neutral), others[name])


@pytest.mark.parametrize("method", EVERY)
def test_permuting_the_sources_changes_nothing(method: str) -> None:
    base, others = draw()
    c = pick(method, C)
    results = [
        merge(
            method, base, {n: others[n] for n in order}, {n: c[n] for n in order}, OWN.get(method)
        )
        for order in itertools.permutations(c)
    ]
    assert all(torch.equal(found, results[0]) for found in results)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della", "della_linear"])
def test_another_seed_drops_other_elements_and_the_same_seed_the_same(method: str) -> None:
    base, others = draw()
    one, again, other = (merge(method, base, others, C, OWN[method], seed=s) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([m for m in EVERY if m not in ("slerp", "expo")]),
    st.lists(st.floats(0.01, 2), min_size=3, max_size=3),
    st.integers(0, 1000),
)
def test_whatever_is_scaled_by_a_power_of_two_scales_the_merge(
    method: str, values: list[float], seed: int
) -> None:
    """About a base of zero every method is homogeneous in the deltas, exactly so for powers of 2."""
    _, others = draw((11, 9), seed)
    base = torch.zeros(11, 9)
    c = dict(zip(NAMES, values, strict=True))
    small = merge(method, base, others, c, OWN.get(method))
    large = merge(method, base, {n: 4 * t for n, t in others.items()}, c, OWN.get(method))
    assert torch.equal(4 * small, large)


def test_only_sums_are_called_plain() -> None:
    base, others = draw()
    for method in PLAIN:
        assert METHODS[method].own == ()
        assert torch.equal(
            merge(method, base, others, C), merge("task_arithmetic", base, others, C)
        )


@pytest.mark.parametrize(
    ("method", "count", "said"),
    [
        ("slerp", 3, "goes from one checkpoint to another, the study has 3"),
        ("model_stock", 1, "compares checkpoints, the study has one"),
        ("expo", 2, "extrapolates exactly one checkpoint, the study has 2"),
    ],
)
def test_a_number_of_checkpoints_that_a_method_is_not_for_is_refused(
    method: str, count: int, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        METHODS[method](NAMES[:count])


@pytest.mark.parametrize("method", EVERY)
def test_every_method_names_its_paper_in_its_docstring(method: str) -> None:
    import importlib

    module = importlib.import_module(METHODS[method].__module__)
    assert module.__doc__ is not None
    assert "Source:" in module.__doc__
    assert METHODS[method].paper.removeprefix("arXiv:") in module.__doc__
