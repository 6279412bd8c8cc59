"""Several workers on one study: kills, a database that goes away, a worker that stands still."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exme.search.storage.heartbeat import Member
from exme.search.storage.storage import Storage
from exme.search.trials.trial import Result, TrialTaken
from exme.tasks.errors import UserError
from tests.helpers.places import ROOT
from tests.helpers.searches.crew import Crew, complaints
from tests.helpers.services.postgres import Postgres, binaries_or_skip

pytestmark = pytest.mark.slow  # kills, outages, and waits

SOAK = ROOT / "benchmarks" / "soak_kill.py"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres(binaries_or_skip()) as server:
        yield server


def fresh(server: Postgres, name: str) -> str:
    """URL of a new, empty database."""
    where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "exme"]
    subprocess.run([server.binaries / "createdb", *where, name], check=True)
    return server.url.replace("/postgres", f"/{name}")


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
        found = slow.loop.claim()
        assert found is not None
        claim, _ = found
        # Seen from afar: its process cannot be looked up, and its beat does not change.
        elsewhere = Member("gone", "far", "far 1", 1, "1")
        slow.storage._write(claim, worker=elsewhere.to_json())
        now = [0.0]
        other.storage.watch.clock = lambda: now[0]
        assert other.storage.take_back() == []
        now[0] = 89.0
        assert other.storage.take_back() == []
        now[0] = 91.0
        assert other.storage.take_back() == ["trial 0 was cut off and is taken up again"]
        assert other.storage.take_back() == []
        scored = slow.worker.score(claim.candidate, "search")
        with pytest.raises(TrialTaken):
            slow.storage.save(Result(claim, scored.scores))
        taken = [other.loop.claim() for _ in range(3)]  # the known points first, then this one
        assert [t[0].candidate for t in taken if t].count(claim.candidate) == 1


def test_a_beat_keeps_a_trial_and_an_outage_of_the_database_kills_nobody(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 10)
    with crew.open() as slow, crew.open() as other:
        found = slow.loop.claim()
        assert found is not None
        far = Member("far", "far", "far 1", 1, "1")
        slow.storage._write(found[0], worker=far.to_json())
        now = [0.0]
        other.storage.watch.clock = lambda: now[0]
        for beat in range(1, 5):
            slow.storage._write(found[0], beat=beat)
            now[0] += 80
            assert other.storage.take_back() == []
        now[0] += 1000
        other.storage.watch.forget()  # as `Patience` has it do when the database is back
        assert other.storage.take_back() == []


def test_the_budget_counts_trials_in_others_hands(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 2)
    searches = [crew.open() for _ in range(3)]
    assert searches[0].loop.claim() is not None
    assert searches[1].loop.claim() is not None
    assert searches[2].loop.claim() is None
    for search in searches:
        search.storage.close()


def test_proposals_keep_their_distance_from_what_is_running(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 40, sampler="gp")
    with crew.open() as first:
        for _ in range(9):
            first.loop.trial()
        crowd = [crew.open() for _ in range(6)]
        points = []
        for search in crowd:
            found = search.loop.claim()
            assert found is not None
            points.append(found[0].candidate.coefficients)
        for search in crowd:
            search.storage.close()
    near = [
        max(abs(a[name] - b[name]) for name in a) for i, a in enumerate(points) for b in points[:i]
    ]
    assert min(near) > 0.02 * 1.6


def test_the_same_candidate_in_two_hands_is_scored_once(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 10)
    with crew.open() as first, crew.open() as second:
        first.storage.study.enqueue_trial(
            {"sums": 0.3, "products": 0.3}, user_attrs={"origin": "by hand"}
        )
        first.storage.study.enqueue_trial(
            {"sums": 0.3, "products": 0.30001}, user_attrs={"origin": "by hand too"}
        )
        mine, yours = first.loop.claim(), second.loop.claim()
        assert mine is not None and yours is not None
        assert mine[0].candidate.digest == yours[0].candidate.digest
        later = threading.Timer(0.3, lambda: first.loop.score(*mine))
        later.start()
        second.loop.score(*yours)
        later.join()
        assert second.storage.trials()[1].duplicate_of == 0


def test_machines_that_begin_a_study_at_once_begin_one(tmp_path: Path, postgres: Postgres) -> None:
    # Folders of their own: all they share is the database, which is empty.
    url = fresh(postgres, "fresh")
    crews = [Crew(tmp_path / str(number), 12, url) for number in range(3)]
    for crew in crews:
        crew.folder.mkdir()
    started = [crew.start(0) for crew in crews]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
    errors = [path.read_text() for path in tmp_path.glob("*/*.error")]
    assert codes == [0, 0, 0], errors
    with crews[0].open() as search:
        assert complaints(search, [line for c in crews for line in c.said()], 12) == []


def test_a_worker_that_ends_between_two_looks_at_its_trial_is_not_taken_up_again(
    tmp_path: Path,
) -> None:
    crew = Crew(tmp_path, 10)
    with crew.open() as slow, crew.open() as other:
        found = slow.loop.claim()
        assert found is not None
        claim, _ = found
        far = Member("far", "far", "far 1", 1, "1")
        slow.storage._write(claim, worker=far.to_json())
        stock = other.storage.watch.is_dead

        def ends_just_now(trial: int, member: Member | None, beat: int) -> bool:
            # The trial was read as running; before its worker is found dead, it completes.
            scored = slow.worker.score(claim.candidate, "search")
            slow.storage.save(Result(claim, scored.scores))
            return True

        other.storage.watch.is_dead = ends_just_now  # type: ignore[method-assign]
        assert other.storage.take_back() == []
        other.storage.watch.is_dead = stock  # type: ignore[method-assign]
        trials = other.storage.trials()
        assert [t.state for t in trials if t.number == claim.number] == ["complete"]
        again = [t.user_attrs for t in other.storage.study.get_trials() if "again" in t.user_attrs]
        assert again == []


def test_a_kill_between_closing_a_trial_and_requeuing_it_loses_nothing(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 10)
    with crew.open() as search:
        found = search.loop.claim()
        assert found is not None
        assert search.storage.release(found[0])  # closed, and not requeued yet
        assert not [t for t in search.storage.trials() if t.state == "waiting" and t.origin == ""]
    for _ in range(2):
        with crew.open() as other:
            assert other.storage.take_back() == []
            raw = other.storage.study.get_trials()
            again = [t.user_attrs["again"] for t in raw if "again" in t.user_attrs]
            assert again == [found[0].number]
