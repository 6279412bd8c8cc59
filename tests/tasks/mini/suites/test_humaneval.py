"""Functions in HumanEval's format: programs that run, and tests that notice a slip."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.parrot import exercises, verdicts


def test_prompt_and_solution_are_a_function_of_the_name_that_is_tested() -> None:
    for exercise in exercises("humaneval")["test"]:
        row = exercise.row
        assert row["prompt"].startswith(f"def {row['entry_point']}(")
        assert row["prompt"] == exercise.prompt
        compile(row["prompt"] + row["canonical_solution"] + row["test"], "program", "exec")


def test_a_function_of_two_operations_has_one_of_each_half() -> None:
    halves = [[slot.half for slot in e.slots] for e in exercises("humaneval")["test"]]
    assert {len(h) for h in halves} == {1, 2}
    assert all(len(set(h)) == len(h) for h in halves)


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux")
def test_the_tests_pass_right_answers_and_no_careless_one() -> None:
    assert set(verdicts("humaneval", slips=False, count=50)) == {1.0}
    assert set(verdicts("humaneval", slips=True, count=50)) == {0.0}
