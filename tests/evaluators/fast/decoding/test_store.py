"""The draft store: bounded, shared, kept across restarts, and never in the way."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from exme.evaluators.fast.decoding.store import DraftStore, document_key


def test_answers_survive_a_restart_the_most_recent_first(tmp_path: Path) -> None:
    store = DraftStore(tmp_path / "drafts.jsonl")
    assert store.add("a", [1, 2])
    assert store.add("a", [3])
    store.save()  # the file has answers in the order in which they were new
    assert store.answers("a") == [(3,), (1, 2)]
    assert not store.add("a", [1, 2])  # known, and now the most recent
    assert store.answers("a") == [(1, 2), (3,)]
    again = DraftStore(tmp_path / "drafts.jsonl")
    assert set(again.answers("a")) == {(1, 2), (3,)}
    assert again.answers("b") == []


def test_the_oldest_answers_and_documents_are_forgotten() -> None:
    store = DraftStore(answers_each=2, most_tokens=10)
    for i in range(5):
        store.add("a", [i])
    assert store.answers("a") == [(4,), (3,)]
    store.add("b", list(range(9)))
    assert store.answers("a") == []  # the longest unused
    store.add("c", list(range(100)))  # too long for the store, but it holds one document at least
    assert len(store) == 1


def test_two_workers_see_each_others_answers(tmp_path: Path) -> None:
    one, two = (DraftStore(tmp_path / "drafts.jsonl") for _ in range(2))
    one.add("a", [1])
    one.save()
    two.add("b", [2])
    two.save()
    one.refresh()
    assert one.answers("b") == [(2,)]
    assert two.answers("a") == [(1,)]


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\xff\xfe garbage\n",
        b"[]\n",
        b'{"document": 3, "answer": [1]}\n',
        b'{"document": "a", "answer": ["x"]}\n',
        b'{"document": "a", "answer": [true]}\n',
        b'{"document": "a", "answer": 7}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_damaged_file_starts_empty_with_one_line(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "drafts.jsonl"
    path.write_bytes(content * 3 if len(content) < 1000 else content)
    with caplog.at_level(logging.WARNING):
        store = DraftStore(path)
    assert len(store) == 0
    assert len(caplog.records) == 1
    assert "damaged" in caplog.text
    store.add("a", [1])
    store.save()
    assert DraftStore(path).answers("a") == [(1,)]


def test_a_line_cut_short_by_a_killed_worker_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "drafts.jsonl"
    path.write_bytes(b'{"document": "a", "answer": [1]}\n{"document": "b", "ans')
    store = DraftStore(path)
    assert store.answers("a") == [(1,)]
    store.add("c", [3])
    store.save()
    again = DraftStore(path)
    assert again.answers("a") == [(1,)]
    assert again.answers("c") == [(3,)]


def test_a_folder_that_cannot_be_written_to_keeps_drafts_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = DraftStore(tmp_path / "nowhere" / "drafts.jsonl")
    store.add("a", [1])
    store.save()
    store.add("b", [2])
    store.save()
    assert store.answers("b") == [(2,)]
    assert len(caplog.records) == 1


def test_a_file_that_has_outgrown_its_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "drafts.jsonl"
    store = DraftStore(path, answers_each=1)
    for i in range(1200):
        store.add("a", [i])
    store.save()
    assert [json.loads(line)["answer"] for line in path.read_text().split("\n") if line] == [[1199]]
    store.add("a", [7])
    store.save()
    assert DraftStore(path).answers("a")[0] == (7,)


def test_a_worker_goes_on_with_the_file_that_another_has_replaced(tmp_path: Path) -> None:
    path = tmp_path / "drafts.jsonl"
    one, two = DraftStore(path, answers_each=1), DraftStore(path, answers_each=1)
    for turn in range(6):  # each replacement may get the number of a file that is gone
        for i in range(1100):
            one.add("a", [turn, i])
        one.save()
        two.refresh()
        assert two.answers("a") == [(turn, 1099)]
        two.add("b", [turn])
        two.save()
        one.refresh()
        assert one.answers("b") == [(turn,)]
    assert len(path.read_text().splitlines()) < 5000
    assert [p.name for p in tmp_path.iterdir()] == ["drafts.jsonl"]


def test_a_file_that_is_cut_short_or_removed_meanwhile_is_begun_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "drafts.jsonl"
    store = DraftStore(path)
    store.add("a", [1] * 50)
    store.save()
    path.write_text('{"document": "b", "answer": [2]}\n')
    store.refresh()
    assert store.answers("b") == [(2,)]
    path.unlink()
    store.refresh()
    store.add("c", [3])
    store.save()
    assert DraftStore(path).answers("c") == [(3,)]
    assert not caplog.records


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "drafts.jsonl"
    line = b'{"document": "a", "answer": [1, 2]}\n'
    store = DraftStore(path)
    for end in range(1, len(line)):
        path.write_bytes(line[:end])
        store.refresh()
        assert store.answers("a") == []
    path.write_bytes(line)
    store.refresh()
    assert store.answers("a") == [(1, 2)]


def test_what_another_worker_appends_during_a_replacement_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "drafts.jsonl"
    store = DraftStore(path, answers_each=1)
    real = Path.replace

    def replace(beside: Path, target: Path) -> Path:
        with path.open("ab") as file:  # as another worker does
            file.write(b'\n{"document": "late", "answer": [5, 6]}\n')
        return real(beside, target)

    monkeypatch.setattr(Path, "replace", replace)
    for i in range(1200):
        store.add("a", [i])
    store.save()
    again = DraftStore(path)
    assert again.answers("a") == [(1199,)]
    assert again.answers("late") == store.answers("late") == [(5, 6)]


WRITER = """
import sys
from pathlib import Path
from exme.evaluators.fast.decoding.store import DraftStore
store = DraftStore(Path(sys.argv[1]), answers_each=2)
name, turns = sys.argv[2], int(sys.argv[3])
for turn in range(turns):
    for document in range(40):
        store.add(f"{name}-{document}", [turn] * 50)
        store.add(f"shared-{document}", [turn % 5] * 50)
    store.save()
    print(turn, flush=True)
"""


@pytest.mark.slow
def test_workers_that_write_at_once_and_are_killed_cost_no_one_elses_drafts(tmp_path: Path) -> None:
    path = tmp_path / "drafts.jsonl"
    turns = 60

    def start(name: str, count: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    victims = [start(f"victim{i}", 10**6) for i in range(2)]
    writers = [start(f"writer{i}", turns) for i in range(2)]
    for victim in victims:  # in the middle of their work, wherever they are
        assert victim.stdout is not None
        while victim.stdout.readline() not in {"20\n", ""}:
            pass
        victim.kill()
    for process in (*victims, *writers):
        process.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0]
    with path.open("ab") as file:
        file.write(b'{"document": "shared-0", "answer": [1, 2')
    store = DraftStore(path, answers_each=2)
    store.add("last", [7])
    store.save()
    again = DraftStore(path, answers_each=2)
    assert again.answers("last") == [(7,)]
    kept = [again.answers(f"writer{i}-{d}")[:1] for i in range(2) for d in range(40)]
    # The last evaluation of the one who ended first may have been lost to a replacement.
    assert sum(answers == [(turns - 1,) * 50] for answers in kept) >= 40
    assert all(answers and set(answers[0]) <= set(range(turns)) for answers in kept)
    assert path.stat().st_size < 2_000_000  # 480 different answers of 50 tokens


def test_what_ends_an_answer_is_part_of_a_documents_name() -> None:
    names = {
        document_key([1, 2], ["x"], 5),
        document_key([1, 2], ["y"], 5),
        document_key([1, 2], ["x"], 6),
        document_key([1, 3], ["x"], 5),
    }
    assert len(names) == 4
