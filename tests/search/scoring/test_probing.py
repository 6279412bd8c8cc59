"""How long a document takes, on a clock of the engine's."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from exme.evaluators.harness import Engine, Judge
from exme.search.scoring import probing
from exme.search.scoring.probing import seconds_per_document


class Timed:
    """A judge whose engine takes a second to begin with, and so long for a document."""

    def __init__(self, count: int, each: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.documents, self.each, self.now = range(count), each, 0.0
        self.lots: list[list[int]] = []
        monkeypatch.setattr(probing, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def score(self, engine: Any, chosen: Sequence[int]) -> None:
        self.now += len(chosen) * self.each + (0 if self.lots else 1.0)
        self.lots.append(list(chosen))

    score_targets = score


def measured(judge: Timed, batch: int) -> float:
    return seconds_per_document(cast("Judge", judge), cast("Engine", None), batch)


@pytest.mark.parametrize(("each", "lots"), [(0.4, 1), (0.1, 3), (0.001, 4)])
def test_lots_grow_until_one_took_long_enough(
    each: float, lots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Timed(256, each, monkeypatch)
    assert measured(judge, 4) == pytest.approx(each)
    assert [len(lot) for lot in judge.lots] == [1, 4, 8, 16, 32][: 1 + lots]
    seen = [place for lot in judge.lots for place in lot]
    assert seen == list(range(len(seen)))  # none twice, for an answer that is known is drafted


@pytest.mark.parametrize("count", [1, 2, 5, 31])
def test_few_documents_are_enough(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Timed(count, 0.01, monkeypatch)
    assert measured(judge, 4) == pytest.approx(0.01)
    assert all(place < count for lot in judge.lots for place in lot)
