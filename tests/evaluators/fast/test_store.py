"""The draft store: bounded, shared, kept across restarts, and never in the way."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from exme.evaluators.fast.store import DraftStore, document_key


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


def test_what_ends_an_answer_is_part_of_a_documents_name() -> None:
    names = {
        document_key([1, 2], ["x"], 5),
        document_key([1, 2], ["y"], 5),
        document_key([1, 2], ["x"], 6),
        document_key([1, 3], ["x"], 5),
    }
    assert len(names) == 4
