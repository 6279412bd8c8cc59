"""Several workers on one study: kills, a database that goes away, a worker that stands still."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exme.search.heartbeat import Member
from exme.search.storage import Storage, TrialTaken
from exme.tasks.errors import UserError

from .crew import Crew, complaints
from .postgres import Postgres, find_binaries

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak_kill.py"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL here (Debian and Ubuntu: apt install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver of PostgreSQL here: pip install 'exme[postgres]'")
    with Postgres(binaries) as server:
        yield server


@pytest.mark.parametrize("storage", ["sqlite", "postgres"])
def test_workers_killed_at_random_moments_lose_and_double_nothing(
    storage: str, request: pytest.FixtureRequest
) -> None:
    if storage == "postgres":
        request.getfixturevalue("postgres")  # to skip where there is none
    found = subprocess.run(
        [sys.executable, SOAK, "--kills", "6", "--trials", "60", "--storage", storage],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "wrong: nothing" in found.stdout


def test_workers_wait_while_the_database_is_away_and_go_on(
    tmp_path: Path, postgres: Postgres
) -> None:
    crew = Crew(tmp_path, 40, postgres.url, seconds=0.1)
    crew.open().storage.close()
    away = [crew.start(number) for number in range(2)]
    deadline = time.monotonic() + 60
    while sum(line.startswith("#") for line in crew.said()) < 5:
        assert time.monotonic() < deadline, crew.said()
        time.sleep(0.05)
    postgres.stop()
    while not any("does not answer" in line for line in crew.said()):
        assert time.monotonic() < deadline, crew.said()
        time.sleep(0.05)
    postgres.start()
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in away]
    assert codes == [0, 0]
    lines = crew.said()
    assert any("answers again after" in line for line in lines)
    with crew.open() as search:
        assert complaints(search, lines, 40) == []


def test_a_password_is_in_no_message(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:9/exme"
    pytest.importorskip("psycopg")
    with pytest.raises(UserError, match="cannot be opened") as caught:
        Storage(url, "study", tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_worker_that_stood_still_learns_that_its_trial_was_given_away(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 10)
    with crew.open() as slow, crew.open() as other:
        found = slow.turns.take()
        assert found is not None
        proposal, candidate = found
        # Seen from afar: its process cannot be looked up, and its beat does not change.
        elsewhere = Member("gone", "far", "far 1", 1, "1")
        proposal.trial.set_user_attr("worker", elsewhere.to_json())
        now = [0.0]
        other.storage.watch.clock = lambda: now[0]
        assert other.storage.recover() == []
        now[0] = 89.0
        assert other.storage.recover() == []
        now[0] = 91.0
        assert other.storage.recover() == ["trial 0 was cut off and is taken up again"]
        assert other.storage.recover() == []
        scored = slow.worker.score(candidate, "search")
        with pytest.raises(TrialTaken):
            slow.storage.save(proposal, candidate, scored.scores, {})
        taken = [other.turns.take() for _ in range(3)]  # the known points first, then this one
        assert [t[1] for t in taken if t].count(candidate) == 1


def test_a_beat_keeps_a_trial_and_an_outage_of_the_database_kills_nobody(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 10)
    with crew.open() as slow, crew.open() as other:
        found = slow.turns.take()
        assert found is not None
        trial = found[0].trial
        trial.set_user_attr("worker", Member("far", "far", "far 1", 1, "1").to_json())
        now = [0.0]
        other.storage.watch.clock = lambda: now[0]
        for beat in range(1, 5):
            trial.set_user_attr("beat", beat)
            now[0] += 80
            assert other.storage.recover() == []
        now[0] += 1000
        other.storage.watch.forget()  # as `Patience` has it do when the database is back
        assert other.storage.recover() == []


def test_the_budget_counts_trials_in_others_hands(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 2)
    searches = [crew.open() for _ in range(3)]
    assert searches[0].turns.take() is not None
    assert searches[1].turns.take() is not None
    assert searches[2].turns.take() is None
    for search in searches:
        search.storage.close()


def test_proposals_keep_their_distance_from_what_is_running(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 40, sampler="gp")
    with crew.open() as first:
        for _ in range(9):
            first._one_trial()
        crowd = [crew.open() for _ in range(6)]
        points = []
        for search in crowd:
            found = search.turns.take()
            assert found is not None
            points.append(found[1].coefficients)
        for search in crowd:
            search.storage.close()
    near = [
        max(abs(a[name] - b[name]) for name in a) for i, a in enumerate(points) for b in points[:i]
    ]
    assert min(near) > 0.02 * 1.6


def test_the_same_candidate_in_two_hands_is_scored_once(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 10)
    with crew.open() as first, crew.open() as second:
        first.storage.enqueue({"sums": 0.3, "products": 0.3}, "by hand")
        first.storage.enqueue({"sums": 0.3, "products": 0.30001}, "by hand too")
        mine, yours = first.turns.take(), second.turns.take()
        assert mine is not None and yours is not None
        assert mine[1].digest == yours[1].digest
        later = threading.Timer(0.3, lambda: first._score(*mine, 0.0))
        later.start()
        second._score(*yours, 0.0)
        later.join()
        assert second.storage.trials()[1].duplicate_of == 0


def test_machines_that_begin_a_study_at_once_begin_one(tmp_path: Path, postgres: Postgres) -> None:
    # Folders of their own: all they share is the database, which is empty.
    subprocess.run(
        [
            postgres.binaries / "createdb",
            "-h",
            "127.0.0.1",
            "-p",
            str(postgres.port),
            "-U",
            "exme",
            "fresh",
        ],
        check=True,
    )
    url = postgres.url.replace("/postgres", "/fresh")
    crews = [Crew(tmp_path / str(number), 12, url) for number in range(3)]
    for crew in crews:
        crew.folder.mkdir()
    started = [crew.start(0) for crew in crews]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
    errors = [path.read_text() for path in tmp_path.glob("*/*.error")]
    assert codes == [0, 0, 0], errors
    with crews[0].open() as search:
        assert complaints(search, [line for c in crews for line in c.said()], 12) == []
