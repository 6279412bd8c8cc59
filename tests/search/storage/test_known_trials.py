"""What a worker keeps of trials that have ended: their records, and little beside them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from tests.helpers.searches.crew import Crew


def test_records_are_the_same_whether_read_once_or_anew_at_every_trial(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 12)
    with crew.open() as search:
        for _ in range(12):
            assert search.loop.trial() is not None
            search.storage.trials()
        with crew.open() as other:
            assert search.storage.trials() == other.storage.trials()
            assert search.storage.work() == other.storage.work() != {}
            assert search.storage.importance() == other.storage.importance()


def test_a_trial_can_be_read_whole_after_its_record_was_made(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 3)
    with crew.open() as search:
        number = search.loop.trial()
        assert number is not None
        record = search.storage.trials()[number]
        whole = search.storage.frozen(number).user_attrs
        assert record.candidate is not None
        assert whole["candidate"] == record.candidate.to_json()
        assert whole["worker"]["pid"] and whole["scores"] and whole["look"]["documents"] == 64
        held = search.storage.study.get_trials(deepcopy=False)[number].user_attrs
        assert set(held) == {"origin"}


@pytest.mark.slow
def test_a_trial_more_takes_few_kilobytes(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 400, sampler="random")
    with crew.open() as search:

        def run(count: int) -> int:
            for _ in range(count):
                search.loop.trial()
                search.storage.trials()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = run(170)  # (what is believed is fitted to so many candidates at most)
            after = run(100)
        finally:
            tracemalloc.stop()
    # 9.6 KiB where Optuna's cache keeps every attribute
    assert (after - before) / 100 < 6 * 1024
