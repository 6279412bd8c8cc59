"""Facts of deltas and draws by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exme.search.merging.arithmetic.draws import SCALE, draw_key, draws, limit, scaled
from exme.search.merging.arithmetic.tensor_tables import FactBook, magnitudes, ranks
from exme.search.merging.sources.fetched import Delta

CPU = torch.device("cpu")


def delta_of(values: torch.Tensor) -> Delta:
    return Delta(torch.zeros_like(values), values)


def ranks_of(values: torch.Tensor) -> torch.Tensor:
    room = torch.empty(values.numel(), dtype=torch.uint8)
    return ranks(delta_of(values), room).reshape(values.shape)


@pytest.mark.parametrize("frugal", [False, True])
@pytest.mark.parametrize("count", [1, 3, 1000, 4321, 300_000])
def test_magnitudes_are_those_of_a_sort(count: int, frugal: bool) -> None:
    delta = torch.randn(count, generator=torch.Generator().manual_seed(count)).round(decimals=2)
    table = magnitudes(delta_of(delta), frugal=frugal)
    ordered = delta.abs().sort(descending=True).values
    for share in (0.0, 0.001, 0.1, 0.29, 0.5, 0.999, 1.0):
        kept = int(share * count)
        assert table[0, round(share * 1000)] == ordered[max(1, kept) - 1]
        assert table[1, round(share * 1000)] == ordered[min(kept, count - 1)]


def test_finding_magnitudes_does_not_change_the_delta() -> None:
    delta = torch.tensor([3.0, -1.0, 2.0])
    magnitudes(delta_of(delta))
    assert delta.tolist() == [3.0, -1.0, 2.0]


def test_an_empty_tensor_has_magnitudes_too() -> None:
    assert not magnitudes(delta_of(torch.empty(0, 4))).any()


def test_ranks_run_from_0_to_255_in_every_row() -> None:
    delta = torch.tensor([[0.1, -0.4, 0.2], [5.0, 6.0, -7.0]])
    assert ranks_of(delta).tolist() == [[0, 255, 128], [0, 128, 255]]


def test_a_vector_is_one_row_and_a_number_too() -> None:
    assert ranks_of(torch.tensor([2.0, -1.0])).tolist() == [255, 0]
    assert ranks_of(torch.tensor(2.0)).tolist() == 0  # type: ignore[comparison-overlap]


def test_facts_are_found_once() -> None:
    asked = []

    def delta(tensor: str, checkpoint: str) -> Delta:
        asked.append((tensor, checkpoint))
        return delta_of(torch.tensor([1.0, 2.0] if checkpoint == "a" else [2.0, -1.0]))

    book = FactBook(delta)
    for _ in range(3):
        facts = book.of("w", 0)
        assert facts.magnitude("a", 0.5) == 2.0
        assert facts.cosine("a", "b") == facts.cosine("b", "a") == 0.0
        assert facts.cosine("a", "a") == pytest.approx(1.0)
    assert len(asked) == 5  # a's magnitudes, and two deltas for each of two angles


def test_a_delta_of_zeros_has_no_angle() -> None:
    book = FactBook(lambda tensor, who: delta_of(torch.full((3,), float(who != "a"))))
    assert book.of("w", 0).cosine("a", "b") == 0.0


# Draws --------------------------------------------------------------------------------------------


def test_draws_do_not_depend_on_where_one_begins_to_count() -> None:
    key = draw_key(3, "w", "math")
    whole = draws(key, 0, 1000, CPU)
    parts = [draws(key, start, start + 100, CPU) for start in range(0, 1000, 100)]
    assert torch.equal(whole, torch.cat(parts))


def uniform(key: tuple[int, int], start: int, stop: int) -> torch.Tensor:
    return draws(key, start, stop, CPU).double() / 2**32


def test_draws_are_those_of_this_version() -> None:
    """Recorded: a change would make other models of the candidates that people have."""
    found = draws(draw_key(0, "model.norm.weight", "math"), 0, 3, CPU)
    assert found.tolist() == [2235535396, 2328050929, 2642201117]
    assert draws((1, 2), 2**32 - 1, 2**32 + 1, CPU).tolist() == [2692407057, 3705524719]


def test_chances_are_kept_to_32_bits_and_the_last_rank_stays_within_them() -> None:
    assert limit(0.5) == 2**31 - 1
    assert float(np.float32(SCALE)) == SCALE
    for keep in (0.1, 0.3, 0.7, 0.999):
        last = np.float32(255) * np.float32(scaled((1 - keep) / 255)) + np.float32(scaled(keep))
        assert 2**32 - 4096 < last < 2**32  # which a conversion to 32 bits takes


@pytest.mark.parametrize("other", [(4, "w", "math"), (3, "v", "math"), (3, "w", "code")])
def test_seeds_tensors_and_checkpoints_have_draws_of_their_own(other: tuple[int, str, str]) -> None:
    one = uniform(draw_key(3, "w", "math"), 0, 200_000)
    two = uniform(draw_key(*other), 0, 200_000)
    assert abs(torch.corrcoef(torch.stack([one, two]))[0, 1]) < 0.01


def test_draws_are_uniform_and_neighbours_know_nothing_of_each_other() -> None:
    found = uniform(draw_key(0, "w", "math"), 0, 1_000_000)
    counts = torch.histc(found, 100, 0, 1)
    chi_squared = ((counts - 10_000) ** 2 / 10_000).sum()
    assert 50 < chi_squared < 160  # 99 degrees of freedom: mean 99, standard deviation 14
    for lag in (1, 2, 64, 1024):
        pair = torch.stack([found[:-lag], found[lag:]])
        assert abs(torch.corrcoef(pair)[0, 1]) < 0.005


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.9])
def test_what_one_checkpoint_keeps_says_nothing_of_what_another_keeps(chance: float) -> None:
    """Their draws share a first round; of 300 pairs, a count 4.5 deviations off is one in 500."""
    count, worst = 20_000, 0.0
    for pair in range(300):
        kept = [draws(draw_key(pair, "w", who), 0, count, CPU) < limit(chance) for who in "ab"]
        both = float((kept[0] & kept[1]).sum())
        deviation = (count * chance**2 * (1 - chance**2)) ** 0.5
        worst = max(worst, abs(both - count * chance**2) / deviation)
    assert 1 < worst < 4.5
