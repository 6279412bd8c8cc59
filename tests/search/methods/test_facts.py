"""Facts of deltas and draws by counting."""

from __future__ import annotations

import pytest
import torch

from exme.search.methods.draws import draw_key, uniform
from exme.search.methods.facts import FactBook, magnitudes, ranks

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [1, 3, 1000, 4321])
def test_magnitudes_are_those_of_a_sort(count: int) -> None:
    delta = torch.randn(count, generator=torch.Generator().manual_seed(count))
    table = magnitudes(delta)
    ordered = delta.abs().sort(descending=True).values
    for share in (0.0, 0.001, 0.1, 0.29, 0.5, 0.999, 1.0):
        kept = int(share * count)
        assert table[0, round(share * 1000)] == ordered[max(1, kept) - 1]
        assert table[1, round(share * 1000)] == ordered[min(kept, count - 1)]


def test_finding_magnitudes_does_not_change_the_delta() -> None:
    delta = torch.tensor([3.0, -1.0, 2.0])
    magnitudes(delta)
    assert delta.tolist() == [3.0, -1.0, 2.0]


def test_an_empty_tensor_has_magnitudes_too() -> None:
    assert not magnitudes(torch.empty(0, 4)).any()


def test_ranks_run_from_0_to_255_in_every_row() -> None:
    delta = torch.tensor([[0.1, -0.4, 0.2], [5.0, 6.0, -7.0]])
    assert ranks(delta).tolist() == [[0, 255, 128], [0, 128, 255]]


def test_a_vector_is_one_row_and_a_number_too() -> None:
    assert ranks(torch.tensor([2.0, -1.0])).tolist() == [255, 0]
    assert ranks(torch.tensor(2.0)).tolist() == 0  # type: ignore[comparison-overlap]


def test_facts_are_found_once() -> None:
    asked = []

    def delta(tensor: str, checkpoint: str) -> torch.Tensor:
        asked.append((tensor, checkpoint))
        return torch.tensor([1.0, 2.0]) if checkpoint == "a" else torch.tensor([2.0, -1.0])

    book = FactBook(delta)
    for _ in range(3):
        facts = book.of("w", 0)
        assert facts.magnitude("a", 0.5) == 2.0
        assert facts.cosine("a", "b") == facts.cosine("b", "a") == 0.0
        assert facts.cosine("a", "a") == pytest.approx(1.0)
    assert len(asked) == 5  # a's magnitudes, and two deltas for each of two angles


def test_a_delta_of_zeros_has_no_angle() -> None:
    book = FactBook(lambda tensor, who: torch.zeros(3) if who == "a" else torch.ones(3))
    assert book.of("w", 0).cosine("a", "b") == 0.0


# Draws --------------------------------------------------------------------------------------------


def test_draws_do_not_depend_on_where_one_begins_to_count() -> None:
    key = draw_key(3, "w", "math")
    whole = uniform(key, 0, 1000, CPU)
    parts = [uniform(key, start, start + 100, CPU) for start in range(0, 1000, 100)]
    assert torch.equal(whole, torch.cat(parts))


def test_draws_are_those_of_the_first_version() -> None:
    """Recorded: a change would make other models of the candidates that people have."""
    found = uniform(draw_key(0, "model.norm.weight", "math"), 0, 3, CPU)
    assert (found * 2**24).int().tolist() == [506667, 13129240, 4534588]
    far = uniform((1, 2), 2**32 - 1, 2**32 + 1, CPU)
    assert (far * 2**24).int().tolist() == [10517119, 7179516]


@pytest.mark.parametrize("other", [(4, "w", "math"), (3, "v", "math"), (3, "w", "code")])
def test_seeds_tensors_and_checkpoints_have_draws_of_their_own(other: tuple[int, str, str]) -> None:
    one = uniform(draw_key(3, "w", "math"), 0, 200_000, CPU)
    two = uniform(draw_key(*other), 0, 200_000, CPU)
    assert abs(torch.corrcoef(torch.stack([one, two]))[0, 1]) < 0.01


def test_draws_are_uniform_and_neighbours_know_nothing_of_each_other() -> None:
    found = uniform(draw_key(0, "w", "math"), 0, 1_000_000, CPU)
    counts = torch.histc(found, 100, 0, 1)
    chi_squared = ((counts - 10_000) ** 2 / 10_000).sum()
    assert 50 < chi_squared < 160  # 99 degrees of freedom: mean 99, standard deviation 14
    for lag in (1, 2, 64, 1024):
        pair = torch.stack([found[:-lag], found[lag:]])
        assert abs(torch.corrcoef(pair)[0, 1]) < 0.005
