"""Uses of report documents are counted over all studies, however they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from exme.search.proof.uses import (
    LEDGER,
    Use,
    digest_of,
    key_of,
    number_of,
    read_ledger,
    write_ledger,
)
from exme.search.racing.goal import Goal
from exme.tasks.documents import Document
from exme.tasks.errors import UserError


def use(test: str, order: int, documents: str = "aa", study: str = "mini") -> Use:
    return Use(test, (documents,), order, study)


def test_uses_are_numbered_by_when_they_were_begun() -> None:
    known = [use("c", 3), use("a", 1), use("b", 2, study="mini-fork1")]
    assert [number_of(each, known) for each in known] == [3, 1, 2]


def test_a_candidate_that_is_proved_again_is_no_further_use() -> None:
    known = [use("a", 1), use("b", 2), use("a", 3, study="renamed")]
    assert number_of(known[2], known) == 1
    assert number_of(use("c", 4), known) == 3


def test_other_documents_have_uses_of_their_own() -> None:
    known = [use("a", 1), use("b", 2, documents="bb")]
    assert number_of(known[1], known) == 1


def test_a_study_of_several_suites_counts_what_was_used_on_each() -> None:
    alone = Use("a", ("gsm8k",), 1, "one")
    both = Use("b", ("gsm8k", "mmlu"), 2, "two")
    assert number_of(both, [alone, both]) == 2
    assert number_of(Use("c", ("mmlu",), 3, "three"), [alone, both]) == 2


def test_the_same_documents_in_another_order_and_under_other_names_are_the_same() -> None:
    rows = [{"question": "1 + 1", "answer": "2"}, {"question": "2 + 2", "answer": "4"}]
    one = [Document(f"test/{i}", "gsm8k", row) for i, row in enumerate(rows)]
    other = [Document(f"train/{i}", "gsm8k", row) for i, row in enumerate(rows[::-1])]
    assert digest_of(one) == digest_of(other)
    assert digest_of(one) != digest_of(one[:1])


def test_the_ledger_keeps_each_use_once(tmp_path: Path) -> None:
    for found in (use("a", 1), use("b", 2), use("a", 3)):
        write_ledger(tmp_path, found)
    assert read_ledger(tmp_path) == [use("a", 1), use("b", 2)]


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    write_ledger(tmp_path, use("a", 1))
    with (tmp_path / LEDGER).open("a", encoding="utf-8") as stream:
        stream.write('{"test": "b", "docu\n[1]\n\n')
    write_ledger(tmp_path, use("c", 2))
    assert [found.test for found in read_ledger(tmp_path)] == ["a", "c"]


def test_a_ledger_that_cannot_be_written_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / LEDGER).mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_ledger(tmp_path, use("a", 1))


def test_a_line_that_was_cut_off_without_an_end_takes_no_later_one_with_it(tmp_path: Path) -> None:
    write_ledger(tmp_path, use("a", 1))
    with (tmp_path / LEDGER).open("a", encoding="utf-8") as stream:
        stream.write('{"test": "b", "docu')
    write_ledger(tmp_path, use("c", 2))
    assert [found.test for found in read_ledger(tmp_path)] == ["a", "c"]


def test_another_goal_metric_or_prompt_is_another_test() -> None:
    """The same candidate on the same documents is then another chance for a lucky result."""
    goals = [Goal(), Goal((0.5, 0.5)), Goal((0.5, 0.5), "worst"), Goal((0.5, 0.5), "cvar", 2)]
    tests = {key_of("c", {"suites": metric}, goal) for metric in ("a", "b") for goal in goals}
    assert len(tests) == 8
    assert key_of("c", {}, Goal(keep=(0.1,))) == key_of("c", {}, Goal())
