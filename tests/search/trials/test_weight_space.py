"""Where candidates stand in weight space."""

from __future__ import annotations

import numpy as np
import pytest

from exme.search.merging import Candidate
from exme.search.trials import Gram
from exme.search.trials.weight_space import WeightSpace, root_of, space_of


def gram(cosine: float, lengths: tuple[float, ...] = (1.0, 1.0)) -> Gram:
    """Inner products of task vectors of these lengths that all have one cosine."""
    k = len(lengths)
    cosines = np.full((k, k), cosine) + (1 - cosine) * np.eye(k)
    return Gram(tuple("abcdefgh"[:k]), {"": cosines * np.outer(lengths, lengths)})


def space(cosine: float | None, k: int = 2) -> WeightSpace:
    """A space of checkpoints without groups."""
    names = tuple("abcdefgh"[:k])
    found = None if cosine is None else gram(cosine, (1.0,) * k)
    return WeightSpace(names, (), (), root_of(names, found))


def candidate(**coefficients: float) -> Candidate:
    """A plain sum."""
    return Candidate(coefficients, "exme", "float32", dict.fromkeys(coefficients, "x"))


@pytest.mark.parametrize("cosine", [-0.5, 0.0, 0.3, 0.85])
def test_distances_are_those_of_the_weights_in_lengths_of_a_task_vector(cosine: float) -> None:
    """However long the task vectors are: |z - z'|^2 = d' R d, but for the hundredth by which cosines are shrunk."""
    places = space_of([candidate(a=1.0, b=0.0)], gram(cosine, (3.0, 0.5))).places(
        [candidate(a=1.3, b=-0.2), candidate(a=0.1, b=0.9)]
    )
    d = np.array([1.2, -1.1])
    expected = d @ np.array([[1, 0.99 * cosine], [0.99 * cosine, 1]]) @ d
    assert ((places[0] - places[1]) ** 2).sum() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cosine", "k", "each"),
    [
        (None, 2, 1.2),  # not measured: what was chosen on models whose cosine is a tenth
        (0.1, 2, 1.2),
        (0.0, 2, 1.2),  # no further where they have nothing in common
        (-0.5, 2, 1.2),
        (1.0, 2, 0.66),  # one direction: a task vector and a third
        (1.0, 8, 0.165),
        (0.1, 4, 0.6),
    ],
)
def test_the_usual_mix_takes_less_of_task_vectors_that_go_the_same_way(
    cosine: float | None, k: int, each: float
) -> None:
    found = space(cosine, k).usual
    assert found == pytest.approx(dict.fromkeys("abcdefgh"[:k], each), abs=1e-3)


def test_the_usual_place_is_where_the_usual_candidate_is() -> None:
    names, groups = ("a", "b"), ("low", "high")
    both = WeightSpace(names, groups, ("density",), root_of(names, gram(0.4)))
    made = Candidate(
        both.usual, "ties", "float32", dict.fromkeys(names, "x"), parameters={"density": 1.0}
    )
    assert both.places([made])[0] == pytest.approx(both.usual_place)
